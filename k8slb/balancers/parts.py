"""What several balancers are made of: who can be picked, tables kept while peers stay, hashes, points on a ring."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from itertools import accumulate, islice
from random import Random
from typing import Any
from zlib import crc32

from ..errors import InputError, NotModelled, shown
from .base import Key, Peer, connections

Known = tuple[tuple[str, int], ...]
Ring = list[tuple[int, int]]  # (point, the index of its peer), sorted
LARGEST = 2_000_000  # points


def able(peers: Sequence[Peer]) -> list[int]:
    """Indices of those with a weight: no proxy here sends anything to a weight of 0."""
    return [i for i, p in enumerate(peers) if p.weight > 0]


def known(peers: Sequence[Peer]) -> Known:
    """Their (address, weight): what a table is made of and found again by."""
    return tuple((p.address, p.weight) for p in peers)


def kept(state: dict, peers: Sequence[Peer], make: Callable[[], Any]) -> Any:
    """What `make` gave when this list of peers and weights was first seen, as a proxy begins with a new configuration.

    A list without those that were tried in vain has its own, and leaves that of the whole list alone.
    """
    lists = state.setdefault("kept", {})
    if (now := known(peers)) not in lists:
        lists[now] = make()
    return lists[now]


def lowest(scores: dict[int, Any]) -> list[int]:
    """The keys of the lowest value, in their order."""
    least = min(scores.values(), default=None)
    return [i for i, score in scores.items() if score == least]


def weighted(peers: Sequence[Peer], state: dict, rng: Random, key: Key | None = None, now: float = 0.0) -> int | None:
    """One at random, with the probability weight / sum of weights."""
    return rng.choices(range(len(peers)), [p.weight for p in peers])[0] if able(peers) else None


def reached(peers: Sequence[Peer], value: int) -> int | None:
    """The peer whose share of the weights, laid end to end, holds `value` modulo their sum."""
    ends = list(accumulate(p.weight for p in peers))
    return bisect_right(ends, value % ends[-1]) if able(peers) else None


def busier(state: dict, one: Peer, other: Peer) -> bool:
    """Whether `one` has more open connections for its weight than `other`."""
    return connections(state, one)[0] * other.weight > connections(state, other)[0] * one.weight


def text(key: Key) -> bytes:
    """What a hash of the request works on: the key's text (a URI, a header), else the client's address."""
    return (key.text or key.source).encode()


def packed(address: str, what: str) -> bytes:
    """The bytes of an IPv4 or IPv6 address; InputError if it is none."""
    try:
        return ip_address(address).packed
    except ValueError:
        raise InputError(f"{shown(address)} is no key for {what}", expected="an IP address") from None


# --- rings -----------------------------------------------------------------------------------------------------------


def ring(points: Iterable[tuple[int, int]], many: int) -> Ring:
    """The `many` points in order; of equal ones the first given counts. NotModelled where they are too many."""
    if many > LARGEST:
        raise NotModelled(f"a ring of {many:,} points: weights are too large")
    owners: dict[int, int] = {}
    for point, i in points:
        owners.setdefault(point, i)
    return sorted(owners.items())


def ketama(start: int, many: int) -> list[int]:
    """So many 32-bit points: each the CRC-32 of the one before, going on from `start`."""
    points = [0]
    for _ in range(many):
        points.append(crc32(points[-1].to_bytes(4, "little"), start))
    return points[1:]


def clockwise(points: Ring, value: int) -> int | None:
    """The peer of the first point that is not below `value`."""
    return points[bisect_left(points, (value, -1)) % len(points)][1] if points else None


def filled(slots: int, turns: Iterable[int], at: Any, skip: Any) -> list[int | None]:
    """A Maglev table: each in its turn takes the next free slot from its own `at` on, in steps of its own `skip`."""
    table: list[int | None] = [None] * slots
    for i in islice(turns, slots):
        while table[at[i]] is not None:
            at[i] = (at[i] + skip[i]) % slots
        table[at[i]] = i
    return table


# --- heaps, as Go's container/heap and Lua's binaryheap keep them, also among equals ----------------------------------


def up(heap: list, at: int) -> int:
    """Moves an entry up past greater ones; where it comes to stand."""
    while at and heap[at][0] < heap[(at - 1) // 2][0]:
        heap[at], heap[(at - 1) // 2] = heap[(at - 1) // 2], heap[at]
        at = (at - 1) // 2
    return at


def down(heap: list, at: int) -> None:
    """Moves an entry down past lesser ones."""
    while below := heap[2 * at + 1 : 2 * at + 3]:
        child = 2 * at + 1 + (len(below) == 2 and below[1][0] < below[0][0])
        if not heap[child][0] < heap[at][0]:
            return
        heap[at], heap[child] = heap[child], heap[at]
        at = child


# --- xxHash ----------------------------------------------------------------------------------------------------------

P32 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
P64 = 11400714785074694791, 14029467366897019727, 1609587929392839161, 9650029242287828579, 2870177450012600261


def rotated(word: int, by: int, bits: int) -> int:
    word &= (1 << bits) - 1
    return word << by | word >> (bits - by)


def _xxhash(data: bytes, seed: int, bits: int, primes: tuple, turn: int, ends: tuple, shifts: tuple) -> int:
    """Four lanes take a word each in turn; what is left over is taken by `ends`, [(bytes at a time, step)]."""
    (a, b, c, d, e), size, full = primes, bits // 8, (1 << bits) - 1
    at = len(data) - len(data) % (4 * size)
    lanes = [seed + a + b, seed + b, seed, seed - a]
    for n in range(at // size):
        word = int.from_bytes(data[n * size : (n + 1) * size], "little")
        lanes[n % 4] = rotated(lanes[n % 4] + word * b, turn, bits) * a
    value = sum(rotated(lane, by, bits) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) if at else seed + e
    for lane in lanes if at and bits == 64 else ():
        value = (value ^ rotated(lane * b, turn, bits) * a) * a + d
    value += len(data)
    for size, step in ends:
        while at + size <= len(data):
            value, at = step(value, int.from_bytes(data[at : at + size], "little")), at + size
    for shift, prime in zip(shifts, (b, c, 1), strict=True):
        value = ((value & full) ^ (value & full) >> shift) * prime
    return value & full


def xxh32(data: bytes, seed: int = 0) -> int:
    a, _, c, d, e = P32
    ends = (4, lambda v, w: rotated(v + w * c, 17, 32) * d), (1, lambda v, w: rotated(v + w * e, 11, 32) * a)
    return _xxhash(data, seed, 32, P32, 13, ends, (15, 13, 16))


def xxh64(data: bytes, seed: int = 0) -> int:
    a, b, c, d, e = P64
    eight = 8, lambda v, w: rotated(v ^ rotated(w * b, 31, 64) * a, 27, 64) * a + d
    four = 4, lambda v, w: rotated(v ^ w * a, 23, 64) * b + c
    one = 1, lambda v, w: rotated(v ^ w * e, 11, 64) * a
    return _xxhash(data, seed, 64, P64, 31, (eight, four, one), (33, 29, 32))
