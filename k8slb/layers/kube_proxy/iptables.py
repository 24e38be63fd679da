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
TELLS_CALLERS_APART = True
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


def rules(service: Service, port: ServicePort, endpoints: Sequence[Endpoint]) -> dict[str, str]:
    """The rule that sends a connection to each endpoint, by its address, as iptables-save prints it."""
    start = f'-A {service_chain(service, port)} -m comment --comment "{port_name(service, port)} -> '
    found = {}
    for i, address in enumerate(e.address for e in endpoints):
        chance = probability(len(endpoints), i)
        lottery = f"-m statistic --mode random --probability {chance} " if chance else ""
        found[address] = f'{start}{address}" {lottery}-j {endpoint_chain(service, port, address)}'
    return found
