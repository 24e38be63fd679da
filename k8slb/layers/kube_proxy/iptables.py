"""kube-proxy's iptables mode: a chain of rules per Service port, each taken with its own probability.

Kubernetes 1.36, pkg/proxy/iptables/proxier.go: rule i of n (from 0) is taken with probability 1/(n-i), so every
endpoint gets the same share in the end.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from ...cluster import Cluster
from ...endpoints import Endpoint
from ...objects import Service, ServicePort

HOW = "each new connection picks at random"
LOCAL_DROPS = True
REFUSES_OTHER_PORTS = False
AFFINITY_LIMIT = 100  # xt_recent remembers so many addresses per endpoint (ip_list_tot)


def balancer_name(view: Cluster) -> str:
    return "iptables-random"


def ordered(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    return list(endpoints)


def _hash(*parts: str) -> str:
    return base64.b32encode(hashlib.sha256("".join(parts).encode()).digest())[:16].decode()


def port_name(service: Service, port: ServicePort) -> str:
    return f"{service.namespace}/{service.name}" + (f":{port.name}" if port.name else "")


def service_chain(service: Service, port: ServicePort) -> str:
    return "KUBE-SVC-" + _hash(port_name(service, port), port.protocol.lower())


def endpoint_chain(service: Service, port: ServicePort, address: str) -> str:
    return "KUBE-SEP-" + _hash(port_name(service, port), port.protocol.lower(), address)


def probability(n: int, i: int) -> str:
    """Rule i of n as iptables-save prints it: the kernel keeps it as a 31-bit fraction; "" for the last rule."""
    return f"{round((1 / (n - i)) * 2**31) / 2**31:.11f}" if i < n - 1 else ""


def rule(service: Service, port: ServicePort, endpoints: Sequence[Endpoint], i: int) -> str:
    """The rule that sends a connection to endpoint i, as iptables-save prints it."""
    chance, address = probability(len(endpoints), i), endpoints[i].address
    return (
        f'-A {service_chain(service, port)} -m comment --comment "{port_name(service, port)} -> {address}" '
        + (f"-m statistic --mode random --probability {chance} " if chance else "")
        + f"-j {endpoint_chain(service, port, address)}"
    )
