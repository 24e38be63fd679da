"""ciw: a network of nodes and its own routers; the first node only routes (endless servers, no time)."""

import random

import ciw
from ciw.dists import Deterministic, Exponential
from ciw.routing import Cycle, Leave, LoadBalancing, NetworkRouting, Probabilistic
from shapes import CONTROLLER, NODES, REPLICAS, SHAPES


class LessBusyOfTwo(LoadBalancing):
    def next_node(self, ind):
        one, other = (self.simulation.nodes[i] for i in random.choices(self.destinations, k=2))
        return one if one.number_of_individuals <= other.number_of_individuals else other


def evenly(nodes):
    return Probabilistic(list(nodes), [1 / len(nodes) - 1e-12] * len(nodes))  # at most 1 in all, it insists


def run(name: str, n: int, seed: int) -> float:
    shape = SHAPES[name]
    ciw.seed(seed)
    free = (Deterministic(0.0), float("inf"))
    kinds, routes = [free], []
    if shape.how == "stages":
        nodes = range(2, 2 + NODES)
        replicas = range(nodes.stop, nodes.stop + REPLICAS)
        kinds += [free] * NODES + [(Exponential(1 / CONTROLLER), 1)] * REPLICAS
        pods = range(replicas.stop, replicas.stop + shape.pods)
        routes = [Cycle(list(nodes))] + [evenly(replicas) for _ in nodes] + [evenly(pods) for _ in replicas]
    else:
        pods = range(2, 2 + shape.pods)
        routers = {"random": evenly, "shortest": lambda to: LoadBalancing(list(to), "order"), "two": LessBusyOfTwo}
        routes = [routers[shape.how](pods)]
    kinds += [(Exponential(1 / shape.service), 1)] * shape.pods
    network = ciw.create_network(
        arrival_distributions=[Exponential(shape.rate)] + [None] * (len(kinds) - 1),
        service_distributions=[kind for kind, _ in kinds],
        number_of_servers=[servers for _, servers in kinds],
        routing=NetworkRouting(routes + [Leave() for _ in pods]),
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(n, method="Finish")
    spent = sum(r.exit_date - r.arrival_date for r in simulation.get_all_records())
    return spent / n
