"""Queues in arrays: when each request of a long series leaves, and whom balancers that count pick meanwhile.

A server never stops what it began and takes requests in the order in which they came, so when one leaves is known as it
arrives. Arrays are float64, in seconds, in order of arrival. `fast` has the same `serve`, `least` and `two` as stand
here, compiled: random numbers are drawn outside, so that both give the same to the last bit.
"""

import sys
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush, heapreplace
from importlib.util import find_spec
from math import inf
from random import Random
from types import ModuleType
from typing import Any

from .balancers.base import closed, forgotten, opened
from .connections import LINGERS
from .decision import Work
from .few import np

MOST = 30_000  # queues that a kernel picks from
LARGE = 500_000  # requests from which on it pays to load numba, where it is installed


def departures(arrival: np.ndarray, service: np.ndarray, workers: int = 1) -> np.ndarray:
    """When each leaves one queue in front of so many workers, one after the other."""
    free, left = [-inf] * min(workers, len(arrival)), []
    for now, takes in zip(arrival.tolist(), service.tolist(), strict=True):
        left.append((free[0] if free[0] > now else now) + takes)
        heapreplace(free, left[-1])
    return np.array(left)


def lindley(arrival: np.ndarray, service: np.ndarray) -> np.ndarray:
    """`departures` of one worker but for rounding: the last to begin a busy period plus all service since (Lindley,
    1952), for all at once in four passes."""
    served = np.cumsum(service)
    begun = arrival.copy()
    begun[1:] -= served[:-1]
    np.maximum.accumulate(begun, out=begun)
    begun += served
    return begun


def serve(work: Work, when: np.ndarray, spent: np.ndarray, who: np.ndarray, unit: np.ndarray) -> float:
    """They, who come at `when` in this order, are served: then `when` has when they leave, and `spent` what they took.

    `unit`: their service times, for a mean of 1. Gives the longest that one took.
    """
    at_once = work.workers == 1 and work.spread != "constant"  # else one may leave just as another comes: no rounding
    if at_once and (fast := sys.modules.get("k8slb.fast")):  # it gains too little to be loaded for it
        return fast.serve(work.mean, when, spent, who, unit)
    arrival, service = when[who], unit * work.mean
    when[who] = left = lindley(arrival, service) if at_once else departures(arrival, service, work.workers)
    took = left - arrival
    spent[who] += took
    return float(took.max())


def compiled(many: int) -> ModuleType | None:
    """`fast`, where it pays to load it for so many requests, and where it can be."""
    if "k8slb.fast" not in sys.modules and (many < LARGE or find_spec("numba") is None):
        return None
    try:
        from . import fast  # loads numba
    except (ImportError, RuntimeError):  # it does not go with this numpy, or may write nowhere
        return None
    return fast


def picked(
    kernel: str, rng: np.random.Generator, arrival: np.ndarray, unit: np.ndarray, mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(picks, departures) of a balancer with that `kernel` (see Balancer); one worker for each queue, which takes
    `unit` times its `mean`."""
    chosen = getattr(compiled(len(arrival)) or sys.modules[__name__], "least" if kernel == "least" else "two")
    if kernel == "least":
        return chosen(arrival, unit, mean)
    many, others = len(mean), kernel == "two others"
    one, other = (rng.integers(0, most, len(arrival), dtype=np.int16) for most in (many, many - others))
    if others:
        other += other >= one
    return chosen(arrival, unit, mean, one, other)


def least(arrival: np.ndarray, unit: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each joins the queue with the fewest requests, of several such the last."""
    mean = mean[::-1].tolist()
    there, free, low = [0] * len(mean), [0.0] * len(mean), 0  # nobody has fewer than `low`
    leaving, picks, left = [(inf, 0)], [], []
    for now, takes in zip(arrival.tolist(), unit.tolist(), strict=True):
        while leaving[0][0] <= now:
            i = heappop(leaving)[1]
            there[i] -= 1
            if there[i] < low:
                low = there[i]
        while True:
            try:
                i = there.index(low)
                break
            except ValueError:
                low += 1
        there[i] = low + 1
        begins = free[i]
        free[i] = leaves = (begins if begins > now else now) + takes * mean[i]
        heappush(leaving, (leaves, i))
        picks.append(i)
        left.append(leaves)
    return len(mean) - 1 - np.array(picks, dtype=np.int16), np.array(left)


def two(
    arrival: np.ndarray, unit: np.ndarray, mean: np.ndarray, one: np.ndarray, other: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each joins the queue `one`, or the `other` if that has fewer requests."""
    mean = mean.tolist()
    queues, picks, left = [deque[float]() for _ in mean], [], []
    for now, takes, i, j in zip(arrival.tolist(), unit.tolist(), one.tolist(), other.tolist(), strict=True):
        queue = queues[i]
        while queue and queue[0] <= now:
            queue.popleft()
        if queue and i != j:
            others = queues[j]
            while others and others[0] <= now:
                others.popleft()
            if len(others) < len(queue):
                i, queue = j, others
        leaves = (queue[-1] if queue else now) + takes * mean[i]
        queue.append(leaves)
        picks.append(i)
        left.append(leaves)
    return np.array(picks, dtype=np.int16), np.array(left)


def in_turn(
    arrival: np.ndarray,
    unit: np.ndarray,
    mean: np.ndarray,
    workers: Sequence[int],
    which: np.ndarray,
    asked: Sequence[tuple],
    rng: Random,
) -> tuple[np.ndarray, np.ndarray]:
    """(picks, departures) by what the balancers themselves pick, one after the other; -1 where one refuses.

    `which` of `asked` picks for a request: (balancer, peers, its state, key, the queue of each peer, whether it learns
    of answers).
    """
    mean, free = mean.tolist(), [[-inf] * min(k, len(arrival)) for k in workers]
    ending: list[tuple[float, int, tuple, Any, float]] = []  # (when, number, who picked, the peer, when it came)
    lingering, picks, left = deque[tuple[float, dict, Any]](), [], []
    for number, (now, takes, i) in enumerate(zip(arrival.tolist(), unit.tolist(), which.tolist(), strict=True)):
        while ending and ending[0][0] <= now:
            then, _, (policy, _, state, _, _, learns), peer, began = heappop(ending)
            if learns and policy.answered:
                policy.answered(state, peer, then - began, then)
            closed(state, peer)
            lingering.append((then + LINGERS, state, peer))
        while lingering and lingering[0][0] <= now:
            forgotten(*lingering.popleft()[1:])
        policy, peers, state, key, queues, _ = asked[i]
        index = policy.pick(peers, state, rng, key, now)
        picks.append(-1 if index is None else index)
        left.append(now)
        if index is not None:
            busy = free[queues[index]]
            left[-1] = max(busy[0], now) + takes * mean[queues[index]]
            heapreplace(busy, left[-1])
            opened(state, peers[index])
            heappush(ending, (left[-1], number, asked[i], peers[index], now))
    return np.array(picks, dtype=np.int32), np.array(left)
