"""The service mesh: the proxy beside a client's pod takes kube-proxy's decision, once per request."""

from ..cluster import Cluster
from ..decision import Decision, Place
from ..traffic import Flow


def handles(view: Cluster, flow: Flow, place: Place) -> bool:
    """Whether a proxy of a mesh takes what leaves `place`."""
    return False


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """What the mesh's proxy at `place` does with the flow."""
    raise NotImplementedError


def refused(view: Cluster, flow: Flow, place: Place) -> Decision | None:
    """The answer of the proxy before the pod at `place` to a caller it does not let in."""
    return None
