"""What nginx picks with (1.22 to 1.31, recorded); each worker counts for itself unless the upstream has a `zone`."""

from functools import lru_cache
from zlib import crc32

from .base import connections, hashing, named, weight_shares
from .parts import Known, Ring, able, busier, clockwise, ketama, known, lowest, packed, reached, ring, text, weighted

POINTS, TRIES = 160, 20  # points on the ring for each unit of weight; draws before `random two` gives up


@named("nginx-rr", exact=weight_shares)
def rr(peers, state, rng, key=None, now=0.0) -> int | None:
    """Smooth weighted round robin: each gains its weight, the highest is picked and loses what all gained."""
    current, among = state.setdefault("current", {}), able(peers)
    for i in among:
        current[peers[i].address] = current.get(peers[i].address, 0) + peers[i].weight
    picked = max(among, key=lambda i: current[peers[i].address], default=None)
    if picked is not None:
        current[peers[picked].address] -= sum(peers[i].weight for i in among)
    return picked


@named("nginx-least-conn", counts=True)
def least_conn(peers, state, rng, key=None, now=0.0) -> int | None:
    """The fewest open connections for its weight; several such by round robin among them."""
    load = {i: connections(state, peers[i])[0] / peers[i].weight for i in able(peers)}
    least = lowest(load)
    return least[rr([peers[i] for i in least], state, rng)] if len(least) > 1 else next(iter(least), None)


@named("nginx-random-two", counts=True)
def random_two(peers, state, rng, key=None, now=0.0) -> int | None:
    """Two different ones drawn by weight: the second, unless it has more open connections for its weight."""
    first = weighted(peers, state, rng)
    others = (weighted(peers, state, rng) for _ in range(TRIES))
    second = next((i for i in others if i != first), None)
    if second is None:
        return rr(peers, state, rng)
    return first if busier(state, peers[second], peers[first]) else second


@hashing("nginx-ip-hash")
def ip_hash(peers, state, rng, key=None, now=0.0) -> int | None:
    """By the client's network: the first three bytes of an IPv4 address, all sixteen of an IPv6 address."""
    address, value = packed(key.source, "nginx's ip_hash"), 89
    for byte in address[:3] if len(address) == 4 else address:
        value = (value * 113 + byte) % 6271
    return reached(peers, value)


@hashing("nginx-hash")
def key_hash(peers, state, rng, key=None, now=0.0) -> int | None:
    """`hash KEY`: the remainder of a hash by all weights, so that most keys move when a peer comes or goes."""
    return reached(peers, crc32(text(key)) >> 16 & 0x7FFF)


@hashing("nginx-hash-consistent")
def consistent(peers, state, rng, key=None, now=0.0) -> int | None:
    """`hash KEY consistent`: the next point on a ring of 160 points for each unit of weight (ketama)."""
    return clockwise(_ring(known(peers)), crc32(text(key)))


@lru_cache(64)
def _ring(peers: Known) -> Ring:
    starts = [crc32("\0".join(address.rsplit(":", 1)).encode()) for address, _ in peers]
    many = [POINTS * weight for _, weight in peers]
    return ring(((p, i) for i, start in enumerate(starts) for p in ketama(start, many[i])), sum(many))
