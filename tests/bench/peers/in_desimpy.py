"""desimpy: actions that schedule actions, a deque for each pod, no log."""

import random
from collections import deque
from itertools import cycle

from desimpy import EventScheduler
from shapes import CONTROLLER, NODES, REPLICAS, SHAPES, picker


def run(name: str, n: int, seed: int) -> float:
    shape = SHAPES[name]
    random.seed(seed)
    env = EventScheduler()
    pods = [deque() for _ in range(shape.pods)]  # of times of arrival; the first is being served
    pick = picker(shape, lambda i: len(pods[i]))
    nodes, replicas = cycle(range(NODES)), [deque() for _ in range(REPLICAS)]
    spent, left = 0.0, n

    def join(line, mean, came, then):
        line.append(came)
        if len(line) == 1:
            env.timeout(random.expovariate(1 / mean), lambda: leave(line, mean, then))

    def leave(line, mean, then):
        came = line.popleft()
        if line:
            env.timeout(random.expovariate(1 / mean), lambda: leave(line, mean, then))
        then(came)

    def at_pods(came):
        join(pods[pick()], shape.service, came, done)

    def done(came):
        nonlocal spent
        spent += env.now - came

    def arrive():
        nonlocal left
        if shape.how == "stages":
            next(nodes)
            join(random.choice(replicas), CONTROLLER, env.now, at_pods)
        else:
            at_pods(env.now)
        left -= 1
        if left:
            env.timeout(random.expovariate(shape.rate), arrive)

    env.timeout(random.expovariate(shape.rate), arrive)
    env.run(lambda _: False, logging=False)  # ends when nothing is scheduled
    return spent / n
