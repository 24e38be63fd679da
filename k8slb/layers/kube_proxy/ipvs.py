"""kube-proxy's IPVS mode: a virtual server per Service port and node, with a scheduler of the kernel.

Kubernetes 1.36, pkg/proxy/ipvs (deprecated since 1.35). The default scheduler is rr, one for the whole node, and its
state is each node's own. All endpoints have weight 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...cluster import Cluster
from ...endpoints import Endpoint
from ...errors import NotModelled
from ...objects import Service, ServicePort

HOW = "each new connection takes the next in turn on this node"
TELLS_CALLERS_APART = False  # one list of servers for all: Local binds pods too; with none local it is everybody
REFUSES_OTHER_PORTS = True
AFFINITY_LIMIT = None


def balancer_name(view: Cluster) -> str:
    if view.scheduler != "rr":
        raise NotModelled(f"the IPVS scheduler {view.scheduler}")
    return "ipvs-rr"


def ordered(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """In the order they are added; the kernel walks them from the last."""
    return list(endpoints)


def rules(service: Service, port: ServicePort, endpoints: Sequence[Endpoint]) -> dict[str, str]:
    """Each real server's line, by its address, as ipvsadm -Sn prints it."""
    flag = "-u" if port.protocol == "UDP" else "-t"
    return {e.address: f"-a {flag} {service.spec.clusterIP}:{port.port} -r {e.address} -m -w 1" for e in endpoints}
