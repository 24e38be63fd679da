"""A Gateway: which HTTPRoute takes the request, what its filters change, and which backend gets it."""

from ..cluster import Cluster
from ..decision import Decision, Place
from ..errors import NotModelled
from ..traffic import Flow


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """What the Gateway's replica at `place` does with the request that `flow` carries."""
    raise NotModelled("requests through a Gateway")
