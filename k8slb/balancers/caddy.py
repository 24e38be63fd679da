"""What Caddy picks with (2.11, recorded)."""

from .base import named, weight_shares
from .parts import kept, reached


@named("caddy-weighted-round-robin", exact=weight_shares)
def weighted_round_robin(peers, state, rng, key=None, now=0.0) -> int | None:
    """In blocks: a counter modulo the sum of weights, laid end to end. It counts before it picks: slot 0 comes last."""
    turn = kept(state, peers, lambda: [0])
    turn[0] += 1
    return reached(peers, turn[0])
