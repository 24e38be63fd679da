"""What Traefik picks with (3.7, recorded). A server is known by its URL, here http://ip:port."""

from collections import deque
from math import log

from .base import connections, hashing, named, weight_shares
from .parts import able, down, kept, lowest, up

SAMPLES = 100  # answers that leasttime averages over


@named("traefik-wrr", exact=weight_shares)
def wrr(peers, state, rng, key=None, now=0.0) -> int | None:
    """Earliest deadline first, the next 1 / weight after the last, from servers shuffled at the start.

    Which of several equal deadlines comes first is up to the heap and to rounding: only counts over whole turns hold.
    """
    heap = kept(state, peers, lambda: _heap(peers, rng))
    if not heap:
        return None
    heap[0], heap[-1] = heap[-1], heap[0]
    deadline, i = heap.pop()
    down(heap, 0)
    heap.append((deadline + 1 / peers[i].weight, i))
    up(heap, len(heap) - 1)
    return i


def _heap(peers, rng) -> list[tuple[float, int]]:
    among, heap = able(peers), []
    for i in rng.sample(among, len(among)):
        heap.append((1 / peers[i].weight, i))
        up(heap, len(heap) - 1)
    return heap


@named("traefik-p2c", counts=True, kernel="two others")
def p2c(peers, state, rng, key=None, now=0.0) -> int | None:
    """Of two different ones drawn evenly, whatever the weights, the one with fewer requests in flight.

    Traefik would not even leave out a weight of 0, as is done here.
    """
    among = able(peers)
    return min(rng.sample(among, min(2, len(among))), key=lambda i: connections(state, peers[i])[0], default=None)


@hashing("traefik-hrw")
def hrw(peers, state, rng, key=None, now=0.0) -> int | None:
    """Rendezvous hashing by the client's address: the server with the highest score for this client."""

    def score(i: int) -> float:
        value = 14695981039346656037
        for byte in f"{key.source}http://{peers[i].address}".encode():  # FNV-1a
            value = (value ^ byte) * 1099511628211 & 0xFFFFFFFFFFFFFFFF
        return peers[i].weight / -log(value / 2**64)

    return max(able(peers), key=score, default=None)


def timed(state, peer, seconds, now) -> None:
    """An answer's time counts in whole milliseconds, the last hundred of them."""
    state.setdefault("times", {}).setdefault(peer.address, deque(maxlen=SAMPLES)).append(int(seconds * 1000))


@named("traefik-leasttime", counts=True, answered=timed)
def leasttime(peers, state, rng, key=None, now=0.0) -> int | None:
    """The least mean time to answer, times 1 + requests in flight, for its weight; equals by earliest deadline."""
    times, due, scores = state.setdefault("times", {}), state.setdefault("due", {}), {}
    newcomers = [p for p in peers if p.weight and p.address not in due]
    for peer in rng.sample(newcomers, len(newcomers)):
        due[peer.address] = max(due.values(), default=0.0) + 1 / peer.weight
    for i in able(peers):
        past = times.get(peers[i].address) or [0]
        scores[i] = sum(past) / len(past) * (1 + connections(state, peers[i])[0]) / peers[i].weight
    least = lowest(scores)
    picked = min(least, key=lambda i: due[peers[i].address], default=None)
    if len(least) > 1:
        due[peers[picked].address] += 1 / peers[picked].weight
    return picked
