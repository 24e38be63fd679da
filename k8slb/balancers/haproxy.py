"""What HAProxy picks with (2.6 and 2.8, recorded). Nothing here knows `maxconn`: no server is ever full."""

from bisect import bisect_left
from functools import lru_cache
from heapq import heappop, heappush
from math import gcd
from random import Random

from .base import connections, hashing, named, weight_shares
from .parts import Ring, able, busier, kept, packed, ring

SCALE, NODES = 16, 4096  # what weights are multiplied by within, and the node numbers set aside for each server
FULL = 0xFFFFFFFF


@named("haproxy-roundrobin", exact=weight_shares)
def roundrobin(peers, state, rng, key=None, now=0.0) -> int | None:
    """Weighted round robin on trees: each server has a next position, sum of weights / weight after its last.

    A pick advances the position. A server that is due goes first, else one that was not picked yet, heaviest first;
    after 16 x the sum of weights all start anew.
    """
    trees = kept(state, peers, lambda: _trees(peers))
    total = trees["total"]
    if not total:
        return None
    if not trees["now"] and not trees["new"]:
        trees.update(new=trees["next"], next=[], at=SCALE * total)
    if trees["now"] and (trees["now"][0][0] <= trees["at"] or not trees["new"]):
        due, rest, _, i = heappop(trees["now"])
        rest += peers[i].weight
    else:
        due, rest, i = trees["at"], 0, heappop(trees["new"])[2]
    trees["at"] += 1
    trees["serial"] += 1
    due, rest = due + total // peers[i].weight, rest + total % peers[i].weight
    if rest >= peers[i].weight:
        due, rest = due + 1, rest - peers[i].weight
    if due >= 2 * SCALE * total:
        heappush(trees["next"], (-peers[i].weight, trees["serial"], i))
    else:
        heappush(trees["now"], (due, rest - peers[i].weight, trees["serial"], i))
    return i


def _trees(peers) -> dict:
    total, new = sum(p.weight for p in peers), sorted((-peers[i].weight, i, i) for i in able(peers))
    return {"total": total, "at": SCALE * total, "serial": len(peers), "new": new, "now": [], "next": []}


@named("haproxy-static-rr", exact=weight_shares)
def static_rr(peers, state, rng, key=None, now=0.0) -> int | None:
    """Weighted round robin over a fixed map, which the hashes use as well."""
    table = _map(tuple(p.weight for p in peers))
    turn = kept(state, peers, lambda: [-1])
    turn[0] = (turn[0] + 1) % max(1, len(table))
    return table[turn[0]] if table else None


@named("haproxy-leastconn", counts=True)
def leastconn(peers, state, rng, key=None, now=0.0) -> int | None:
    """The fewest open connections, one more counted, for its weight; an idle one first; equals by longest unchanged."""
    seen = state.setdefault("seen", {})  # address: (open connections, when they last changed, in turns)
    turn, ranks = state.setdefault("turn", 0) + 1, {}
    for i in able(peers):
        opened, (before, since) = connections(state, peers[i])[0], seen.get(peers[i].address, (0, 0))
        if opened != before:
            seen[peers[i].address] = opened, (since := turn)
        ranks[i] = (opened + 1) * NODES // (SCALE * peers[i].weight) if opened else 0, since
    picked = min(ranks, key=ranks.get, default=None)
    if picked is not None:
        seen[peers[picked].address] = connections(state, peers[picked])[0] + 1, turn + 1
    state["turn"] = turn + 1
    return picked


@hashing("haproxy-first")
def first(peers, state, rng, key=None, now=0.0) -> int | None:
    """The first server with a free slot: with no `maxconn` known, always the first that has a weight."""
    return next(iter(able(peers)), None)


@hashing("haproxy-source")
def source(peers, state, rng, key=None, now=0.0) -> int | None:
    """The client's address as a number (of IPv6 its four words, XORed), modulo the sum of weights."""
    address, value = packed(key.source, "HAProxy's source"), 0
    for at in range(0, len(address), 4):
        value ^= int.from_bytes(address[at : at + 4], "big")
    return _mapped(peers, value)


@hashing("haproxy-uri")
def uri(peers, state, rng, key=None, now=0.0) -> int | None:
    """The path up to the question mark, hashed (SDBM), modulo the sum of weights."""
    value = 0
    for byte in (key.text or key.source).partition("?")[0].encode():
        value = (byte - (byte & 0x80) * 2 + value * 65599) & FULL  # a char is signed there
    return _mapped(peers, value)


@named("haproxy-random", counts=True)
def random(peers, state, rng: Random, key=None, now=0.0) -> int | None:
    """Two draws on a ring of 16 points for each unit of weight: the second, unless it has more connections by weight.

    Idle servers are picked as the ring divides: not evenly.
    """
    points = _ring(tuple(p.weight for p in peers))
    if not points:
        return None
    one, two = (_nearest(points, rng.getrandbits(32)) for _ in range(2))
    return one if busier(state, peers[two], peers[one]) else two


@lru_cache(64)
def _map(weights: tuple[int, ...]) -> list[int]:
    """Whose turn it is in each slot: each gains its weight, the first that passed most whole sums loses one."""
    step = gcd(*weights) or 1
    total, scores, slots = sum(weights) // step, [0] * len(weights), []
    able = [i for i, w in enumerate(weights) if w]
    for _ in range(total):
        for i in able:
            scores[i] += weights[i] // step
        slots.append(max(able, key=lambda i: (scores[i] + total) // total))
        scores[slots[-1]] -= total
    return slots


def _mapped(peers, value: int) -> int | None:
    table = _map(tuple(p.weight for p in peers))
    return table[value % len(table)] if table else None


@lru_cache(64)
def _ring(weights: tuple[int, ...]) -> Ring:
    """A point for each of a server's nodes, by the server's number, the first being 1."""
    nodes = ((i, n) for i, w in enumerate(weights) for n in range(w * SCALE))
    return ring(((_avalanche((i + 1) * NODES + n), i) for i, n in nodes), sum(weights) * SCALE)


def _nearest(points: Ring, value: int) -> int:
    after = bisect_left(points, (value, -1)) % len(points)
    (before, one), (beyond, two) = points[after - 1], points[after]
    return one if (value - before) & FULL <= (beyond - value) & FULL else two


def _avalanche(a: int) -> int:
    """Bob Jenkins' hash of an integer, times a large prime."""
    a = a + 0x7ED55D16 + (a << 12) & FULL
    a = a ^ 0xC761C23C ^ a >> 19
    a = a + 0x165667B1 + (a << 5) & FULL
    a = (a + 0xD3A2646C & FULL) ^ a << 9 & FULL
    a = a + 0xFD7046C5 + (a << 3) & FULL
    a = a ^ 0xB55A4F09 ^ a >> 16
    return a * 3221225473 & FULL
