"""What Caddy picks with (2.11, recorded)."""

from bisect import bisect_right
from itertools import accumulate

from .base import Balancer, weight_shares
from .parts import able, kept


def weighted_round_robin(peers, state, rng, key=None, now=0.0) -> int | None:
    """In blocks: a counter modulo the sum of weights, laid end to end. It counts before it picks: slot 0 comes last."""
    turn, ends = kept(state, peers, lambda: [0]), list(accumulate(p.weight for p in peers))
    turn[0] += 1
    return bisect_right(ends, turn[0] % ends[-1]) if able(peers) else None


SOURCE = "Caddy 2.11.7, reverseproxy/selectionpolicies.go weighted_round_robin, recorded"
CADDY = (Balancer("caddy-weighted-round-robin", weighted_round_robin, SOURCE, weight_shares),)
