"""What layer 7 load balancers of clouds pick with; their hashes of connections are in `uniform`."""

from collections.abc import Sequence
from random import Random

from .base import Balancer, Key, Peer, connections, equal_shares
from .ingress_nginx import round_robin


def least_outstanding(
    peers: Sequence[Peer], state: dict, rng: Random, key: Key | None = None, now: float = 0.0
) -> int | None:
    """The target with the fewest requests that are not answered yet; one of several such at random."""
    waiting = [connections(state, p)[0] for p in peers]
    return rng.choice([i for i, n in enumerate(waiting) if n == min(waiting)]) if peers else None


ALB = "AWS, Application Load Balancers, target groups: load_balancing.algorithm.type"
GOOGLE = "Compute Engine API v1, BackendService.localityLbPolicy ROUND_ROBIN"
CLOUD = (
    Balancer("aws-alb-round-robin", round_robin, f"{ALB} round_robin; one counter taken", equal_shares, cycle=1),
    Balancer("aws-alb-least-outstanding", least_outstanding, f"{ALB} least_outstanding_requests", counts=True),
    Balancer("gcp-proxy-round-robin", round_robin, f"{GOOGLE}; one counter taken", equal_shares, cycle=1),
)
