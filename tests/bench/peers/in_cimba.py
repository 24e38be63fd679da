"""cimba: a process for each server, which takes the times of arrival from its store; all of it compiled."""

import cimba as cb
from cimba import inputs
from shapes import CONTROLLER, NODES, REPLICAS, SHAPES


class Pod(cb.Model):
    farm: cb.Ref["Farm"]
    line: cb.Store[float]
    load: int = 0
    work: cb.Input[float] = inputs.dist.exponential(mean=1.0)

    def __init__(self, mean: float):
        self.work = inputs.dist.exponential(mean=mean)

    def attached(self, owner, field):
        self.farm = owner

    @cb.process
    def serve(self):
        while True:
            came = self.line.get()
            cb.hold(self.work.next())
            self.load -= 1
            self.farm.spent += cb.now() - came
            self.farm.done += 1
            if self.farm.done == self.farm.requests:
                cb.end_trial()


class Replica(Pod):
    @cb.process
    def serve(self):
        while True:
            came = self.line.get()
            cb.hold(self.work.next())
            self.farm.send(came)


class Farm(cb.Model):
    """Requests to a pod at random."""

    requests: cb.Param[int]
    gap: cb.Input[float] = inputs.dist.exponential(mean=1.0)
    pods: list[Pod]
    spent: float = 0.0
    done: int = 0
    mean: cb.Output[float]

    def __init__(self, shape, requests):
        self.requests = requests
        self.gap = inputs.dist.exponential(mean=1 / shape.rate)
        self.pods = [Pod(shape.service) for _ in range(shape.pods)]

    @cb.function
    def pick(self) -> int:
        return int(cb.random.uniform(0.0, 1.0) * len(self.pods))

    @cb.function
    def send(self, came: float) -> None:
        pod = self.pods[self.pick()]
        pod.load += 1
        pod.line.put(came)

    @cb.function
    def enter(self) -> None:
        self.send(cb.now())

    @cb.process
    def arrive(self):
        for _ in range(self.requests):
            cb.hold(self.gap.next())
            self.enter()

    @cb.on_end
    def measure(self):
        self.mean = self.spent / self.done


class Shortest(Farm):
    @cb.function
    def pick(self) -> int:
        best = 0
        for i in range(1, len(self.pods)):
            if self.pods[i].load < self.pods[best].load:
                best = i
        return best


class Two(Farm):
    @cb.function
    def pick(self) -> int:
        one = int(cb.random.uniform(0.0, 1.0) * len(self.pods))
        other = int(cb.random.uniform(0.0, 1.0) * len(self.pods))
        return one if self.pods[one].load <= self.pods[other].load else other


class Stages(Farm):
    replicas: list[Replica]
    node: int = 0

    def __init__(self, shape, requests):
        super().__init__(shape, requests)
        self.replicas = [Replica(CONTROLLER) for _ in range(REPLICAS)]

    @cb.function
    def enter(self) -> None:
        self.node = (self.node + 1) % NODES
        self.replicas[int(cb.random.uniform(0.0, 1.0) * len(self.replicas))].line.put(cb.now())


HOW = {"random": Farm, "shortest": Shortest, "two": Two, "stages": Stages}


def run(name: str, n: int, seed: int) -> float:
    shape = SHAPES[name]
    farm = HOW[shape.how](shape, n)
    results = cb.Experiment(farm, seed=seed).run(workers=1)
    if results.failed.any():
        raise RuntimeError("the trial failed")
    return float(results[farm].mean.values[0, 0])
