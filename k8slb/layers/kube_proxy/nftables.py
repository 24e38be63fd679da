"""kube-proxy's nftables mode: one rule per Service port, with a map from a random number to the endpoint.

Kubernetes 1.36, pkg/proxy/nftables/proxier.go (GA since 1.33).
"""

from __future__ import annotations

from collections.abc import Sequence

from ...cluster import Cluster
from ...endpoints import Endpoint
from ...objects import Service, ServicePort

HOW = "each new connection picks at random"
TELLS_CALLERS_APART = True
REFUSES_OTHER_PORTS = True
AFFINITY_LIMIT = 65535  # the size of its affinity sets


def balancer_name(view: Cluster) -> str:
    return "nftables-random"


def ordered(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    return list(endpoints)


def rules(service: Service, port: ServicePort, endpoints: Sequence[Endpoint]) -> dict[str, str]:
    """The one rule that picks, the same for each endpoint's address, as nft prints it."""
    numbers = ", ".join(f"{k} : {e.ip} . {e.port}" for k, e in enumerate(endpoints))
    rule = f"meta l4proto {port.protocol.lower()} dnat ip to numgen random mod {len(endpoints)} map {{ {numbers} }}"
    return {e.address: rule for e in endpoints}
