"""What every engine is asked to model: Poisson arrivals, pods that serve one after the other for exponential times.

W1: each request to a pod at random. W2: to the pod with the fewest unfinished requests. W3: to the less busy of two
drawn, which may be the same (as Envoy draws). W4: in turn over 3 nodes (which cost no time), then to one of 2 replicas
of a controller at random (1 ms), then to a pod at random. Times in seconds. `mean`, what a request takes, is theory's
(../theory.py): M/M/1; the chain of join the shortest queue; the refined mean field of Gast and Van Houdt; Jackson's
product form. `spread` is the relative standard deviation of the mean of 100,000 requests.
"""

import random
from typing import NamedTuple


class Shape(NamedTuple):
    rate: float
    pods: int
    service: float
    how: str
    mean: float
    spread: float


NODES, REPLICAS, CONTROLLER = 3, 2, 0.001
SHAPES = {
    "W1": Shape(800.0, 10, 0.010, "random", 0.05, 0.028),
    "W2": Shape(800.0, 10, 0.010, "shortest", 0.013558, 0.012),
    "W3": Shape(800.0, 100, 0.100, "two", 0.19674, 0.012),
    "W4": Shape(400.0, 5, 0.010, "stages", 0.05125, 0.027),
}


def picker(shape: Shape, load):
    """A function that picks a pod's number; `load(i)` is how many requests pod i has not finished."""
    everyone = range(shape.pods)
    if shape.how == "shortest":
        return lambda: min(everyone, key=load)
    if shape.how == "two":
        return lambda: min(random.choices(everyone, k=2), key=load)
    return lambda: random.randrange(shape.pods)
