"""Moving averages of answer times, which fade with a time constant of 10 seconds; Linkerd, which picks by them."""

from collections.abc import Callable, Sequence
from math import exp, inf

from .base import Peer, connections, named
from .parts import able

DECAY, UNKNOWN = 10.0, 0.030  # seconds: of the average; what Linkerd takes an endpoint to need that never answered


def averages(state: dict, peers: Sequence[Peer], now: float, start: Callable[[list[float], int], float | None]) -> dict:
    """{address: (average, when it was last touched)}.

    Newcomers begin with `start(averages of the others that are there, how many are there)`; None: with nothing.
    """
    kept, seen = state.setdefault("averages", {}), state.setdefault("seen", set())
    here = [peers[i].address for i in able(peers)]
    if not seen.issuperset(here):
        value = start([kept[a][0] for a in here if a in kept], len(here))
        if value is not None:
            kept |= {a: (value, now) for a in here if a not in seen}
        seen.update(here)
    return kept


def faded(kept: dict, address: str, now: float, seconds: float = 0.0) -> float:
    """The average as if an answer had just taken `seconds`: 0 is what it has come to by now."""
    average, touched = kept.get(address, (0.0, -inf))
    share = exp((touched - now) / DECAY)
    return average * share + seconds * (1 - share)


def answered(state, peer, seconds, now) -> None:
    """The average moves on by the time since it was last touched, however many answers came meanwhile."""
    kept = state.setdefault("averages", {})
    kept[peer.address] = faded(kept, peer.address, now, seconds), now


def peaked(state, peer, seconds, now) -> None:
    """A slower answer counts at once and in full, a faster one as the average fades."""
    answered(state, peer, seconds, now)
    kept = state["averages"]
    kept[peer.address] = max(kept[peer.address], (seconds, now))


@named("linkerd-p2c-ewma", counts=True, answered=peaked, again=True)
def p2c_ewma(peers, state, rng, key=None, now=0.0) -> int | None:
    """Of two different ones drawn evenly, whatever the weights, the lower peak average x (1 + requests in flight)."""
    kept, among = averages(state, peers, now, lambda past, n: UNKNOWN), able(peers)

    def load(i: int) -> float:
        kept[peers[i].address] = faded(kept, peers[i].address, now), now
        return kept[peers[i].address][0] * (1 + connections(state, peers[i])[0])

    return min(rng.sample(among, min(2, len(among))), key=load, default=None)
