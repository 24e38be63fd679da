"""What layer 7 load balancers of clouds pick with; their hashes of connections are in `uniform`."""

from .base import connections, equal_shares, named
from .ingress_nginx import round_robin
from .parts import lowest


@named("aws-alb-least-outstanding", counts=True)
def least_outstanding(peers, state, rng, key=None, now=0.0) -> int | None:
    """The target with the fewest requests that are not answered yet; one of several such at random."""
    least = lowest({i: connections(state, p)[0] for i, p in enumerate(peers)})
    return rng.choice(least) if least else None


named("aws-alb-round-robin", "gcp-proxy-round-robin", exact=equal_shares, cycle=1)(round_robin)
