"""simpy: a process for each request, a Resource for each pod, as its documentation does it."""

import random
from itertools import cycle

import simpy
from shapes import CONTROLLER, NODES, REPLICAS, SHAPES, picker


def run(name: str, n: int, seed: int) -> float:
    shape = SHAPES[name]
    random.seed(seed)
    env = simpy.Environment()
    pods = [simpy.Resource(env) for _ in range(shape.pods)]
    pick = picker(shape, lambda i: pods[i].count + len(pods[i].queue))
    nodes, replicas = cycle(range(NODES)), [simpy.Resource(env) for _ in range(REPLICAS)]
    spent = 0.0

    def served(resource, mean):
        with resource.request() as turn:
            yield turn
            yield env.timeout(random.expovariate(1 / mean))

    def request():
        nonlocal spent
        came = env.now
        if shape.how == "stages":
            next(nodes)
            yield from served(random.choice(replicas), CONTROLLER)
        yield from served(pods[pick()], shape.service)
        spent += env.now - came

    def arrivals():
        for _ in range(n):
            yield env.timeout(random.expovariate(shape.rate))
            env.process(request())

    env.process(arrivals())
    env.run()
    return spent / n
