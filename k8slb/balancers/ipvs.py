"""The IPVS schedulers of the Linux kernel: ip_vs 1.2.1 of Linux 6.1, recorded pick for pick.

All walk the list of real servers from the one added last. A weight of 0 takes no new connection, nor does a server at
its upper limit: `state["upper"]`, if there, is {address: most connections} (ipvsadm -x).
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache, partial
from ipaddress import AddressValueError, IPv4Address
from itertools import cycle
from math import gcd, inf

from ..errors import InputError, shown
from .base import Key, Peer, connections, equal_shares, hashing, named, weight_shares
from .parts import filled

OVERHEAD = 257  # an active connection weighs as much as so many inactive ones; 256 on other kernels
SLOTS, PRIME = 256, 4093  # of the tables of sh and dh, of mh
OFFSET, SKIP = 2654435761, 2654446892  # of mh: both words of SipHash's key


@named("ipvs-rr", exact=equal_shares, cycle=-1)
def rr(peers, state, rng, key=None, now=0.0) -> int | None:
    """Round robin, for equal pods: 2, 1, 0, 2, 1, 0, ... whatever the weights (ip_vs_rr)."""
    where, able = {p.address: i for i, p in enumerate(peers)}, set(_available(peers, state))
    # One that was removed hands over to the one walked before it.
    last = next((where[a] for a in state.get("list", [])[state.get("at", 0) :] if a in where), len(peers))
    picked = next((i for i in (*reversed(range(last)), *reversed(range(last, len(peers)))) if i in able), None)
    if picked is not None:
        state["at"], state["list"] = picked, list(where)
    return picked


@named("ipvs-wrr", exact=weight_shares)
def wrr(peers, state, rng, key=None, now=0.0) -> int | None:
    """Weighted round robin, for unequal pods: each pass takes those whose weight reaches a falling bar (ip_vs_wrr).

    The bar falls by the weights' common divisor. The first server ever added set it to its lowest, 1, and a change of
    the list starts a pass anew where the bar is.
    """
    able, step = set(_available(peers, state)), gcd(*(p.weight for p in peers))
    if not able:
        return None
    top = max(p.weight for p in peers) - step + 1
    if state.get("list") != (known := [(p.address, p.weight) for p in peers]):
        bar = min(state.get("bar", 1), top)
        state.update(list=known, at=len(peers), bar=bar - (bar - 1) % step)
    while True:
        state["at"] -= 1
        if state["at"] < 0:
            state["at"] = len(peers) - 1
            state["bar"] = state["bar"] - step if state["bar"] > step else top
        if state["at"] in able and peers[state["at"]].weight >= state["bar"]:
            return state["at"]


@named("ipvs-lc", counts=True)
def lc(peers, state, rng, key=None, now=0.0) -> int | None:
    """Least connections, for connections of unequal length (ip_vs_lc)."""
    return min(_available(peers, state), key=lambda i: _load(peers[i], state), default=None)


@named("ipvs-wlc", counts=True)
def wlc(peers, state, rng, key=None, now=0.0) -> int | None:
    """Least connections for each unit of weight, for unequal pods as well (ip_vs_wlc)."""
    return min(_available(peers, state), key=lambda i: _load(peers[i], state) / peers[i].weight, default=None)


@named("ipvs-sed", counts=True, kernel="least")
def sed(peers, state, rng, key=None, now=0.0) -> int | None:
    """Shortest expected delay: the least (active + 1) / weight; closed connections do not count (ip_vs_sed)."""
    return min(_available(peers, state), key=lambda i: (_active(peers[i], state) + 1) / peers[i].weight, default=None)


@named("ipvs-nq", counts=True, kernel="least")
def nq(peers, state, rng, key=None, now=0.0) -> int | None:
    """Never queue: an idle server first, else as sed (ip_vs_nq)."""
    return next((i for i in _available(peers, state) if not _active(peers[i], state)), sed(peers, state, rng))


@hashing("ipvs-fo")
def fo(peers, state, rng, key=None, now=0.0) -> int | None:
    """Failover: the highest weight takes everything, the others stand by (ip_vs_fo)."""
    return max(_available(peers, state), key=lambda i: peers[i].weight, default=None)


@named("ipvs-ovf", counts=True)
def ovf(peers, state, rng, key=None, now=0.0) -> int | None:
    """Overflow: the highest weight until its active connections exceed it, then the next; then refused (ip_vs_ovf)."""
    room = (i for i in _available(peers, state) if _active(peers[i], state) <= peers[i].weight)
    return max(room, key=lambda i: peers[i].weight, default=None)


@named("ipvs-lblc", counts=True)
def lblc(peers, state, rng, key=None, now=0.0, servers=1) -> int | None:
    """Locality-based least connections, for caches: a destination keeps its server until that is crowded (ip_vs_lblc).

    Crowded: more active connections than weight, while another has less than half its own.
    """
    kept, where = state.setdefault(key.destination, []), {peers[i].address: i for i in _available(peers, state)}
    near = (where[a] for a in kept if a in where)
    picked = min(near, key=lambda i: _load(peers[i], state) / peers[i].weight, default=None)
    idle = any(2 * _active(p, state) < p.weight for p in peers)
    if picked is None or (_active(peers[picked], state) > peers[picked].weight and idle):
        picked = wlc(peers, state, rng)
        if picked is not None and peers[picked].address not in kept:
            kept[:] = [peers[picked].address, *kept][:servers]
    return picked


@named("ipvs-lblcr", counts=True)
def lblcr(peers, state, rng, key=None, now=0.0) -> int | None:
    """lblc with several servers for a destination: a crowded one gets help, for good here (ip_vs_lblcr).

    Recorded one connection after the other only. The kernel drops one of the servers again after a day.
    """
    return lblc(peers, state, rng, key, servers=SLOTS)


def _available(peers: Sequence[Peer], state: dict) -> Iterator[int]:
    """Indices of those that may be picked, from the one added last."""
    upper = state.get("upper", {})
    for i in reversed(range(len(peers))):
        if peers[i].weight > 0 and (not upper or sum(connections(state, peers[i])) < upper.get(peers[i].address, inf)):
            yield i


def _active(peer: Peer, state: dict) -> int:
    return connections(state, peer)[0]


def _load(peer: Peer, state: dict) -> int:
    return OVERHEAD * connections(state, peer)[0] + connections(state, peer)[1]


@hashing("ipvs-sh")
def sh(peers, state, rng, key=None, now=0.0, port=False, fallback=False) -> int | None:
    """Source hashing, so that a client stays: 256 slots, filled by walking the list, weight times each (ip_vs_sh).

    `port` hashes the client's port too (ipvsadm -b sh-port); with `fallback` (-b sh-fallback) the clients of a server
    at weight 0 go to others, else they are refused.
    """
    slot, able = _slot(key.source, key.port * port), set(_available(peers, state))
    table = _walk(tuple(max(1, p.weight) for p in peers)) or (None,)
    slots = (slot, *((2 * slot + k) % SLOTS for k in range(SLOTS * fallback)))
    return next((i for s in slots if (i := table[s % len(table)]) in able), None)


@hashing("ipvs-dh")
def dh(peers, state, rng, key=None, now=0.0) -> int | None:
    """Destination hashing, for caches: sh by the address asked for, weights aside; one VIP, one server (ip_vs_dh)."""
    index = len(peers) - 1 - _slot(key.destination) % max(1, len(peers))
    return index if index in _available(peers, state) else None


@hashing("ipvs-mh")
def mh(peers, state, rng, key=None, now=0.0, port=False) -> int | None:
    """Maglev hashing, so that a client stays and few move when pods change: 4,093 slots (ip_vs_mh).

    `port` hashes the client's port too (ipvsadm -b mh-port). A server set to weight 0 keeps the slots of its last
    weight: its clients are refused.
    """
    last = state.setdefault("last", {})
    last.update((p.address, p.weight) for p in peers if p.weight)
    table = _maglev(tuple((p.address, last.get(p.address, 0)) for p in peers))
    index = table[_siphash(_number(key.source) + key.port * port, OFFSET) % PRIME]
    return index if index in _available(peers, state) else None


@lru_cache(64)
def _walk(times: tuple[int, ...], most: int = SLOTS) -> tuple[int, ...]:
    """Indices from the one added last, each so many times in a row (more than there are slots changes nothing)."""
    return tuple(i for i in reversed(range(len(times))) for _ in range(min(times[i], most)))


@lru_cache(64)
def _maglev(servers: tuple[tuple[str, int], ...]) -> list[int | None]:
    """The server in each slot: in turn, each takes the next weight / gcd free slots in an order of its own."""
    step = gcd(*(w for _, w in servers)) or 1
    turns, ends = _walk(tuple(w // step for _, w in servers), PRIME), [a.rpartition(":") for a, _ in servers]
    ends = [_number(ip) + int(port) for ip, _, port in ends]
    at, skip = [_siphash(e, OFFSET) % PRIME for e in ends], [_siphash(e, SKIP) % (PRIME - 1) + 1 for e in ends]
    return filled(PRIME, cycle(turns), at, skip)


def _siphash(word: int, key: int) -> int:
    """SipHash-1-3 of a 32-bit word, both words of its key the same: the low 32 bits."""
    full, block = 2**64 - 1, 4 << 56 | word & 0xFFFFFFFF
    a, b, c, d = (key ^ int.from_bytes(w, "big") for w in (b"somepseu", b"dorandom", b"lygenera", b"tedbytes"))
    d ^= block
    for n in range(4):  # one round for the block, three at the end
        a, c = a + b & full, c + d & full
        b, d = (b << 13 | b >> 51) & full ^ a, (d << 16 | d >> 48) & full ^ c
        a, c = (a << 32 | a >> 32) + d & full, c + b & full
        b, d = (b << 17 | b >> 47) & full ^ c, (d << 21 | d >> 43) & full ^ a
        c = (c << 32 | c >> 32) & full
        if n == 0:
            a, c = a ^ block, c ^ 0xFF
    return (a ^ b ^ c ^ d) & 0xFFFFFFFF


def _slot(address: str, port: int = 0) -> int:
    return ((_number(address) + port) * 0x61C88647 & 0xFFFFFFFF) >> 24


def _number(address: str) -> int:
    try:
        return int(IPv4Address(address))
    except AddressValueError:
        raise InputError(f"{shown(address)} is no key for an IPVS hash", expected="an IPv4 address") from None


def _over_ports(peers: Sequence[Peer], key: Key | None = None) -> list[Fraction]:
    table = _maglev(tuple((p.address, p.weight) for p in peers))
    return [Fraction(table.count(i), PRIME) for i in range(len(peers))]


named("ipvs-mh-port", exact=_over_ports, hashes=True)(partial(mh, port=True))
