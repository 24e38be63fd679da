"""What layer 7 load balancers of clouds pick with; their hashes of connections are in `uniform`."""

from collections.abc import Sequence
from random import Random

from .base import Key, Peer, connections, equal_shares, named
from .ingress_nginx import round_robin


@named("aws-alb-least-outstanding", counts=True)
def least_outstanding(
    peers: Sequence[Peer], state: dict, rng: Random, key: Key | None = None, now: float = 0.0
) -> int | None:
    """The target with the fewest requests that are not answered yet; one of several such at random."""
    waiting = [connections(state, p)[0] for p in peers]
    return rng.choice([i for i, n in enumerate(waiting) if n == min(waiting)]) if peers else None


named("aws-alb-round-robin", "gcp-proxy-round-robin", exact=equal_shares, cycle=1)(round_robin)
