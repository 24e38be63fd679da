"""What Kong picks with (3.9, from its Lua source; not run); each worker process counts for itself."""

from bisect import bisect_right
from functools import lru_cache
from math import gcd

from .base import connections, hashing, named, weight_shares
from .ewma import answered, averages, faded
from .parts import Known, Ring, able, down, kept, known, lowest, text, up, xxh32

POINTS, SLOTS = 160, 10_000  # points for each target if weights are equal; places on the ring (upstreams.slots)


@named("kong-round-robin", exact=weight_shares)
def round_robin(peers, state, rng, key=None, now=0.0) -> int | None:
    """Over and over the same wheel: each target weight / common divisor times, shuffled when targets change."""
    wheel = kept(state, peers, lambda: _wheel(peers, rng))
    state["turn"] = (state.get("turn", 0) + 1) % max(1, len(wheel))
    return wheel[state["turn"]] if wheel else None


def _wheel(peers, rng) -> list[int]:
    step = gcd(*(p.weight for p in peers)) or 1
    wheel = [i for i, p in enumerate(peers) for _ in range(p.weight // step)]
    rng.shuffle(wheel)
    return wheel


@named("kong-least-connections", counts=True)
def least_connections(peers, state, rng, key=None, now=0.0) -> int | None:
    """The least (open connections + 1) / weight; which of equals is up to the heap: idle, it leaves some out."""
    heap = kept(state, peers, list)
    for i in able(peers):  # at first, and where connections were closed since the last pick
        _set(heap, i, peers, state)
    if not heap:
        return None
    picked = heap[0][1]
    _set(heap, picked, peers, state, more=1)
    return picked


def _set(heap: list, i: int, peers, state, more: int = 0) -> None:
    at = next((at for at, entry in enumerate(heap) if entry[1] == i), len(heap))
    entry = (connections(state, peers[i])[0] + 1 + more) / peers[i].weight, i
    if heap[at : at + 1] != [entry]:
        heap[at : at + 1] = [entry]
        down(heap, up(heap, at))


@hashing("kong-consistent-hashing")
def consistent_hashing(peers, state, rng, key=None, now=0.0) -> int | None:
    """Ketama on 10,000 places: from the key's place downwards to the first that a target holds."""
    places = _ring(known(peers))
    return places[bisect_right(places, (_place(text(key)), len(peers))) - 1][1] if places else None


def _place(data: bytes) -> int:
    value = xxh32(data)
    return (value - (value >> 31 << 32)) % SLOTS  # a signed number there


@lru_cache(64)
def _ring(targets: Known) -> Ring:
    """160 places for each target, shared out by weight; a place that is taken costs one more try."""
    total, places = sum(w for _, w in targets), {}
    ordered = [(a.rpartition(":"), w, i) for i, (a, w) in enumerate(targets) if w]
    for (ip, _, port), weight, i in sorted(ordered, key=lambda t: (t[0][0], int(t[0][2]))):
        left, n = max(1, int(weight / total * len(ordered) * POINTS)), 0
        while left and n < SLOTS:
            n += 1
            if (place := _place(f"{ip}::{port} {n}".encode())) not in places:
                places[place] = i
                left -= 1
    return sorted(places.items())


@named("kong-latency", answered=answered)
def latency(peers, state, rng, key=None, now=0.0) -> int | None:
    """The lowest moving average of answer times for its weight, of all targets; equals at random.

    Not of two: Kong 3.9 means to draw two and compares all (its issue 14961).
    """
    kept = averages(state, peers, now, lambda past, n: sum(past) / max(1, n))
    scores = {i: faded(kept, peers[i].address, now) / peers[i].weight for i in able(peers)}
    least = lowest(scores)
    return rng.choice(least) if least else None
