"""What `cluster.send` samples beside what queueing theory says of it, through the same call that people type.

python tests/bench/theory.py [REQUESTS] > tests/bench/THEORY.md

Every case is a cluster in YAML, its seed its place in the list; means come with their standard error by batch means.
tests/truth/test_theory.py checks the same cases with fewer requests.
"""

import sys
import time
from collections.abc import Callable
from functools import cache
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench import workloads

import k8slb
from k8slb.answers.latency import standard_error
from k8slb.balancers.base import connections
from k8slb.theory import mg1, mm1, mmc

# --- the formulas ----------------------------------------------------------------------------------------------------


def every_nth(rate: float, service: float, n: int) -> float:
    """E_n/M/1: one of n queues that take Poisson arrivals in turn (Gross et al. 2008, 5.3: GI/M/1)."""
    sigma, low, high = 0.5, 0.0, 1 - 1e-12
    while high - low > 1e-14:  # sigma is the root below 1 of (n lambda / (n lambda + mu (1 - sigma)))^n = sigma
        sigma = (low + high) / 2
        above = (rate / (rate + (1 - sigma) / service)) ** n > sigma
        low, high = (sigma, high) if above else (low, sigma)
    return service / (1 - sigma)


@cache
def shortest_queue(n: int, load: float, longest: int = 8) -> float:
    """Join the shortest of n queues, in service times: the Markov chain of sorted queues, none above `longest`, to its
    steady state step by step. With n = 10 and load 0.8 a longer queue has a probability below 1e-6."""
    states = [()]
    for _ in range(n):
        states = [(*s, k) for s in states for k in range((s[-1] if s else longest) + 1)]
    number = {s: i for i, s in enumerate(states)}
    source, target, rates = [], [], []
    for i, s in enumerate(states):
        first = s.index(s[-1])  # of the shortest, so that the tuple stays in order
        ways = [((*s[:first], s[first] + 1, *s[first + 1 :]), n * load)] if s[-1] < longest else []
        for k in set(s) - {0}:
            last = n - 1 - s[::-1].index(k)
            ways.append(((*s[:last], k - 1, *s[last + 1 :]), float(s.count(k))))
        for state, rate in ways:
            source.append(i)
            target.append(number[state])
            rates.append(rate)
    source, target, rates = np.array(source), np.array(target), np.array(rates)
    fastest = n * (load + 1)
    stays = 1 - np.bincount(source, rates, len(states)) / fastest
    jobs = np.array([sum(s) for s in states])
    p = np.zeros(len(states))
    p[number[(1,) * n]] = 1.0
    before = 0.0
    for step in range(100_000):
        p = p * stays + np.bincount(target, p[source] * rates, len(states)) / fastest
        if step % 100 == 0:
            mean = float(p @ jobs)
            if abs(mean - before) < 1e-9:
                break
            before = mean
    return mean / (n * load)


def best_of_two(load: float, n: float = inf, longest: int = 12) -> float:
    """Two of n drawn, which may be the same, the shorter queue taken, in service times: the fixed point for endlessly
    many (Mitzenmacher, IEEE TPDS 12 (2001) 1094) and what is missing for n (Gast and Van Houdt, A refined mean field
    approximation, POMACS 1 (2017) 33)."""
    s = np.array([load ** (2**i - 1) for i in range(longest + 2)])  # the share of queues with at least i
    k = np.eye(longest)
    drift = np.diag(-2 * load * s[1:-1] - 1) + np.diag(2 * load * s[1:-2], -1) + np.diag(np.ones(longest - 1), 1)
    noise = np.diag(2 * (s[1:-1] - s[2:]))
    spread = np.linalg.solve(np.kron(drift, k) + np.kron(k, drift), -noise.ravel()).reshape(longest, longest)
    squares = np.concatenate([[0.0], np.diag(spread)])
    more = -np.linalg.solve(drift, load * (squares[:-1] - squares[1:]))
    return float(s[1:-1].sum() + more.sum() / n) / load


def closed_loop(users: int, think: float, *visits: tuple[int, float]) -> float:
    """Mean value analysis (Reiser and Lavenberg, JACM 27 (1980) 313): `visits` are (how many alike, seconds of each of
    them that a request needs on average)."""
    waiting = [0.0] * len(visits)
    for n in range(1, users + 1):
        each = [seconds * (1 + q) for (_, seconds), q in zip(visits, waiting, strict=True)]
        answer = sum(count * time for (count, _), time in zip(visits, each, strict=True))
        waiting = [n / (think + answer) * time for time in each]
    return answer


def lost_and_mean(rate: float, service: float, room: int) -> tuple[float, float]:
    """M/M/1/K: (the share that finds `room` taken, the mean of those served) (Gross et al. 2008, 2.5)."""
    weights = np.array([(rate * service) ** i for i in range(room + 1)])
    p = weights / weights.sum()
    return float(p[-1]), float(p @ np.arange(room + 1)) / (rate * (1 - float(p[-1])))


# --- the cases -------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """`make()` gives (cluster, url, more for send); `measure` what is averaged of a run, a value for each request."""

    what: str
    make: Callable[[], tuple[k8slb.Cluster, str, dict[str, Any]]]
    expected: Callable[[], float]
    by: str
    measure: Callable[[Any], np.ndarray] | None = None

    def sampled(self, requests: int) -> tuple[float, float]:
        """(the mean, its standard error)."""
        cluster, url, more = self.make()
        run = cluster.send(url, requests=requests, seed=CASES.index(self), **more)
        values = self.measure(run) if self.measure else run.run.latency[run.latency.cut :]
        assert self.measure or len(values) + run.latency.cut == requests == run.counts("status")["200"]
        return float(values.mean()), standard_error(values)


def bench(number: int) -> Callable[[], tuple]:
    def make():
        cluster, url, rate, more, _ = getattr(workloads, f"w{number}")()
        return cluster, url, {"rate": rate, **more}

    return make


def pods(count: int, time: str = "10ms exponential", more: str = "", **said: Any) -> k8slb.Cluster:
    return k8slb.load(workloads.SERVICE % (count, "10ms") + more).with_pods("shop", service_time=time, **said)


URL, PROXIED = "http://shop", "http://203.0.113.10"
# Its controller's own work is left out: what is looked at is what it picks.
INGRESS = workloads.INGRESS.replace(', annotations: {k8slb/service-time: "1ms exponential"}', "")


def proxied(count: int, replicas: int, balancer: Any = None) -> k8slb.Cluster:
    cluster = pods(count, more=INGRESS).scale("plain", replicas)
    return cluster.with_balancer("ingress", balancer) if balancer else cluster


def in_turn(mode: str) -> k8slb.Cluster:
    return pods(5).with_proxy(mode="ipvs", scheduler="rr") if mode == "ipvs" else proxied(5, 1, mode)


FULL = {"rate": 120.0}
CASES = [
    Case("W1: random over 10 pods", bench(1), lambda: mm1(80, 0.01).mean, "M/M/1"),
    Case("W2: the shortest of 10 queues", bench(2), lambda: 0.01 * shortest_queue(10, 0.8), "exact Markov chain"),
    Case("W3: best of two of 100 pods", bench(3), lambda: 0.1 * best_of_two(0.8, 100), "refined mean field"),
    Case("W4: balancer, proxies, pods", bench(4), lambda: mm1(200, 0.001).mean + mm1(80, 0.01).mean, "Jackson"),
    Case(
        "4 workers in one pod",
        lambda: (pods(1, workers=4), URL, {"rate": 320}),
        lambda: mmc(320, 0.01, 4).mean,
        "M/M/c",
    ),
    Case("constant work", lambda: (pods(5, "10ms"), URL, {"rate": 400}), lambda: mg1(80, 0.01, 0), "M/D/1"),
    Case(
        "lognormal work, cv 0.5",
        lambda: (pods(5, "10ms lognormal 0.5"), URL, {"rate": 400}),
        lambda: mg1(80, 0.01, 0.5),
        "M/G/1",
    ),
    Case(
        "lognormal work, cv 2",
        lambda: (pods(5, "10ms lognormal 2"), URL, {"rate": 300}),
        lambda: mg1(60, 0.01, 2),
        "M/G/1",
    ),
    Case("ipvs rr over 5", lambda: (in_turn("ipvs"), URL, {"rate": 400}), lambda: every_nth(400, 0.01, 5), "E_5/M/1"),
    Case(
        "nginx-rr over 5",
        lambda: (in_turn("nginx-rr"), PROXIED, {"rate": 400}),
        lambda: every_nth(400, 0.01, 5),
        "E_5/M/1",
    ),
    Case(
        "20 users think 100 ms, one pod",
        lambda: (pods(1), URL, {"connections": 20, "think": "100ms exponential"}),
        lambda: closed_loop(20, 0.1, (1, 0.01)),
        "mean value analysis",
    ),
    Case(
        "60 users think 100 ms, proxy over 5",
        lambda: (proxied(5, 1), PROXIED, {"connections": 60, "think": "100ms exponential"}),
        lambda: closed_loop(60, 0.1, (5, 0.002)),
        "mean value analysis",
    ),
    Case(
        "room for 4, load 1.2: share refused",
        lambda: (pods(1, queue=3), URL, FULL),
        lambda: lost_and_mean(120, 0.01, 4)[0],
        "M/M/1/4",
        lambda run: (run.table["status"] != "200").to_numpy().astype(float),
    ),
    Case(
        "room for 4, load 1.2: mean of those served",
        lambda: (pods(1, queue=3), URL, FULL),
        lambda: lost_and_mean(120, 0.01, 4)[1],
        "M/M/1/4",
        lambda run: run.table.query("status == '200'")["latency"].to_numpy(),
    ),
]


def first_of_least(peers, state, rng, key=None, now=0.0):
    """The fewest open connections; of several such the first in the list."""
    return min(range(len(peers)), key=lambda i: connections(state, peers[i])[0])


MEMORIES = [("random", None), ("nginx-rr", "nginx-rr"), ("nginx-random-two", "nginx-random-two")]
MEMORIES += [("nginx-least-conn", "nginx-least-conn"), ("haproxy-leastconn", "haproxy-leastconn")]
MEMORIES += [("fewest, ties to the first", first_of_least)]


def mean_wait(replicas: int, balancer: Any, requests: int) -> tuple[float, float]:
    """Before service at 10 pods, each busy 80% of the time, in service times; every replica counts for itself."""
    run = proxied(10, replicas, balancer).send(PROXIED, requests=requests, rate=800, seed=1)
    values = run.run.spent["pods"]
    return float(values.mean()) / 0.01 - 1, standard_error(values) / 0.01


ABOUT = """# Theory beside what is sampled

`python tests/bench/theory.py {requests}`, k8slb {version}, {date}. Means in milliseconds (shares in %) ± one standard
error by batch means, after the warm-up is cut; the last column is the difference in standard errors. The same cases run
as tests (`tests/truth/test_theory.py`).

| workload | requests | sampled | theory | by | apart |
|---|---|---|---|---|---|"""
MORE = """
With endlessly many pods W3 would take {endless:.3f}; joining the shortest of 10 queues is slower than 10 workers behind
one queue, which take {one:.3f}.

## Who counts for itself

The mean wait before service, in service times, at 10 pods that are busy 80% of the time, behind 1 and 20 proxies that
know of their own connections only ({fewer:,} requests; there is no theory for these).

| picks by | 1 proxy | 20 proxies |
|---|---|---|"""


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(ABOUT.format(requests=requests, version=k8slb.__version__, date=time.strftime("%Y-%m-%d")))
    for case in CASES:
        (mean, error), expected = case.sampled(requests), case.expected()
        factor = 100 if "share" in case.what else 1000
        told = f"{mean * factor:.3f} ± {error * factor:.3f} | {expected * factor:.3f}"
        print(f"| {case.what} | {requests:,} | {told} | {case.by} | {(mean - expected) / error:+.1f} |", flush=True)
    bounds = {"endless": 100 * best_of_two(0.8), "one": 1000 * mmc(800, 0.01, 10).mean}
    print(MORE.format(fewer=(fewer := min(requests, 100_000)), **bounds))
    for name, balancer in MEMORIES:
        told = (f"{mean:.2f} ± {error:.2f}" for mean, error in (mean_wait(n, balancer, fewer) for n in (1, 20)))
        print(f"| {name} | {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    main()
