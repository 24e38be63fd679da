"""What theory says of a queue, to lay over what was sampled (`run.plot_latency`). Times in seconds, rates per second.

Poisson arrivals, first come first served, any number may wait. D. Gross et al., Fundamentals of Queueing Theory, 4th
edition (2008): M/M/c in 2.3 (Erlang C), M/G/1 in 5.1 (Pollaczek and Khinchine).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .errors import InputError


class Queue(NamedTuple):
    """The `mean` time from arrival to answer, and `slower(seconds)`, the share of those that take longer (arrays)."""

    mean: float
    slower: Callable[[np.ndarray], np.ndarray]


def mm1(rate: float, service: float) -> Queue:
    """One worker, whose service takes an exponential time of mean `service`."""
    return mmc(rate, service, 1)


def mmc(rate: float, service: float, workers: int) -> Queue:
    """`workers` behind one queue. InputError where they cannot keep up."""
    load, spare = _kept_up(rate * service, workers), workers / service - rate
    blocked = 1.0  # Erlang B, worker by worker
    for k in range(1, workers + 1):
        blocked = load * blocked / (k + load * blocked)
    waits = blocked / (1 - load / workers * (1 - blocked))  # Erlang C: the share that waits at all

    def slower(seconds: np.ndarray) -> np.ndarray:
        t, gap = np.asarray(seconds), 1 / service - spare
        served, waited = np.exp(-t / service), np.exp(-t * spare)
        both = t * served if abs(gap) * service < 1e-6 else (waited - served) / gap  # waited, then served
        return served + waits / service * both

    return Queue(service + waits / spare, slower)


def mg1(rate: float, service: float, cv: float) -> float:
    """The mean for one worker, whose service time has the standard deviation `cv` * `service`."""
    return service + _kept_up(rate * service, 1) * service * (1 + cv * cv) / (2 * (1 - rate * service))


def _kept_up(load: float, workers: int) -> float:
    if not 0 < load < workers:
        raise InputError(f"a load of {load:g} on {workers} workers has no steady state", expected="0 < load < workers")
    return load
