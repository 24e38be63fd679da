"""What ingress-nginx 1.15 picks with (rootfs/etc/nginx/lua/balancer)."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from random import Random
from typing import Any
from zlib import crc32

from .base import Key, Peer, equal_shares, hashing, named
from .ewma import answered, averages, faded
from .parts import Known, Ring, able, clockwise, ketama, known, ring, text

POINTS, SUBSET = 160, 3  # points on the ring for each endpoint; how many a subset has by default


@named("ingress-nginx-round-robin", exact=equal_shares, cycle=1)
def round_robin(peers: Sequence[int], state: dict, rng: Random, key: Any = None, now: float = 0.0) -> int | None:
    """In turn, from a random start; each worker process of each replica counts for itself."""
    if not peers:
        return None
    state["at"] = (state["at"] + 1 if "at" in state else rng.randrange(len(peers))) % len(peers)
    return state["at"]


@named("ingress-nginx-ewma", answered=answered)
def ewma(peers, state, rng, key=None, now=0.0) -> int | None:
    """Of two different ones drawn evenly the one whose moving average of answer times is lower by now.

    What is in flight does not count. One that never answered counts 0; one added later begins with the others' mean.
    """
    kept = averages(state, peers, now, lambda past, n: sum(past) / len(past) if past else None)
    among = able(peers)
    drawn = rng.sample(among, min(2, len(among)))
    return min(drawn, key=lambda i: faded(kept, peers[i].address, now), default=None)


@hashing("ingress-nginx-chash")
def chash(peers, state, rng, key=None, now=0.0) -> int | None:
    """upstream-hash-by, and cookie affinity by the text in the cookie: the next point on a ring of 160 points each."""
    return clockwise(_ring(known(peers)), crc32(text(key)))


@lru_cache(64)
def _ring(endpoints: Known) -> Ring:
    starts = [(crc32(address.encode()), i) for i, (address, weight) in enumerate(endpoints) if weight]
    return ring(((point, i) for start, i in starts for point in ketama(start, POINTS)), POINTS * len(starts))


def _even(drawn: Callable[[Sequence[Peer], Key], list[int]]) -> Callable[[Sequence[Peer], Key | None], list[Fraction]]:
    def exact(peers: Sequence[Peer], key: Key | None) -> list[Fraction]:
        among = drawn(peers, key)
        return [Fraction(among.count(i), len(among)) for i in range(len(peers))]

    return exact


def _named(peers: Sequence[Peer], key: Key) -> list[int]:
    return [i for i in able(peers) if peers[i].address == key.text] or able(peers)


def subset(peers: Sequence[Peer], key: Key) -> list[int]:
    among = able(peers)
    sets = -(-len(among) // SUBSET)
    ring = _ring(tuple((f"set{i + 1}", 1) for i in range(sets)))
    start = (clockwise(ring, crc32(text(key))) or 0) * SUBSET
    return [among[i % len(among)] for i in range(start, start + SUBSET)] if among else []


@named("ingress-nginx-chash-subset", exact=_even(subset))
def chash_subset(peers, state, rng, key=None, now=0.0) -> int | None:
    """upstream-hash-by-subset: the hash names three neighbours, of which one is drawn; the last three are filled up."""
    three = subset(peers, key)
    return rng.choice(three) if three else None


@named("ingress-nginx-sticky", exact=_even(_named))
def sticky(peers, state, rng, key=None, now=0.0) -> int | None:
    """Cookie affinity, persistent: the pod that the cookie names while it is there, else one at random."""
    among = _named(peers, key)
    return rng.choice(among) if among else None
