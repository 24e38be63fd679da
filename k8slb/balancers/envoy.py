"""What Envoy picks with (1.40, recorded); each worker thread counts for itself. `weight` is load_balancing_weight."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from heapq import heapify, heapreplace
from itertools import count
from math import ceil

from .base import connections, equal_shares, hashing, named, weight_shares
from .parts import Known, Ring, able, clockwise, filled, kept, known, ring, text, xxh64

RING, LARGEST, TABLE = 1024, 8 * 1024 * 1024, 65537  # points on a ring, least and most; slots of a Maglev table


@named("envoy-round-robin", exact=weight_shares)
def round_robin(peers, state, rng, key=None, now=0.0) -> int | None:
    """In turn from a random start; with unequal weights the earliest deadline first."""
    among = able(peers)
    if len({peers[i].weight for i in among}) > 1:
        return _earliest(peers, state, rng, lambda peer: 1)
    state["turn"] = state.get("turn", rng.getrandbits(32) - 1) + 1
    return among[state["turn"] % len(among)] if among else None


@named("envoy-least-request", counts=True, kernel="two")
def least_request(peers, state, rng, key=None, now=0.0) -> int | None:
    """Of two drawn, which may be the same, the one with fewer active requests.

    With unequal weights the earliest deadline first, where each active request puts it off as much again.
    """
    among = able(peers)
    if len({peers[i].weight for i in among}) > 1:
        return _earliest(peers, state, rng, lambda peer: 1 + connections(state, peer)[0])
    return min((rng.choice(among) for _ in range(2)), key=lambda i: connections(state, peers[i])[0]) if among else None


@named("envoy-random", exact=equal_shares, memoryless=True)
def random(peers, state, rng, key=None, now=0.0) -> int | None:
    """Each with the same probability, whatever the weights."""
    among = able(peers)
    return rng.choice(among) if among else None


@hashing("envoy-ring-hash")
def ring_hash(peers, state, rng, key=None, now=0.0) -> int | None:
    """The next point on a ring of at least 1,024: hashes of ip:port_0, ip:port_1, ..., as many as the weight says."""
    return clockwise(_ring(known(peers)), xxh64(text(key)))


@hashing("envoy-maglev")
def maglev(peers, state, rng, key=None, now=0.0) -> int | None:
    """A table of 65,537 slots, which hosts fill in turn, each in an order of its own: few move when hosts change."""
    table = maglev_table(known(peers)) if able(peers) else [None]
    return table[xxh64(text(key)) % len(table)]


def _earliest(peers, state, rng, load: Callable) -> int:
    """Earliest deadline first: the next is load / weight after the last; of equal ones the lighter, then the first.

    Envoy reckons in floating point: there, equal deadlines may change places after some hundred picks.
    """
    queue = kept(state, peers, lambda: _started(peers, rng))
    deadline, weight, i = queue[0]
    heapreplace(queue, (deadline + Fraction(load(peers[i]), weight), weight, i))
    return i


def _started(peers, rng) -> list[tuple[Fraction, int, int]]:
    """The deadlines after a random number of picks, so that not all Envoys begin with the same host."""
    total = sum(p.weight for p in peers)
    picks = rng.randrange(total)
    taken = {i: max(0, ceil(Fraction(picks * peers[i].weight, total)) - 1) for i in able(peers)}
    queue = [(Fraction(n + 1, peers[i].weight), peers[i].weight, i) for i, n in taken.items()]
    heapify(queue)
    for _ in range(picks - sum(taken.values())):
        deadline, weight, i = queue[0]
        heapreplace(queue, (deadline + Fraction(1, weight), weight, i))
    return queue


@lru_cache(64)
def _ring(hosts: Known) -> Ring:
    total, many, target = max(1, sum(w for _, w in hosts)), [], 0.0
    least = min((w for _, w in hosts if w), default=1) / total
    scale = min(ceil(least * RING) / least, float(LARGEST))
    for _, weight in hosts:
        target += scale * (weight / total)
        many.append(ceil(target) - sum(many))
    nodes = ((f"{address}_{n}".encode(), i) for i, (address, _) in enumerate(hosts) for n in range(many[i]))
    return ring(((xxh64(node), i) for node, i in nodes), sum(many))


@lru_cache(64)
def maglev_table(hosts: Known, slots: int = TABLE) -> list[int]:
    """The index of the host in each slot; hosts take turns in the order of their addresses."""
    total = sum(w for _, w in hosts)
    keyed = sorted((a.encode(), w / total, i) for i, (a, w) in enumerate(hosts) if w)
    at, skip = {i: xxh64(a) % slots for a, _, i in keyed}, {i: xxh64(a, 1) % (slots - 1) + 1 for a, _, i in keyed}
    return filled(slots, _turns([(share, i) for _, share, i in keyed]), at, skip)


def _turns(shares: list[tuple[float, int]]) -> Iterator[int]:
    """Whose turn it is to fill a slot: the heaviest in every round, others once their share has come up to it."""
    most, due = max(shares)[0], dict.fromkeys((i for _, i in shares), 0.0)
    for turn in count(1):
        for share, i in shares:
            if turn * share >= due[i]:
                due[i] += most
                yield i
