"""Which endpoints of a Service are eligible, for whom, where.

kube-proxy 1.36: pkg/proxy/topology.go (CategorizeEndpoints), pkg/proxy/endpointslicecache.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from .cluster import Cluster
from .objects import Service, ServicePort


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address and port behind a Service port, as kube-proxy keeps it. `name` is its pod's, where known."""

    ip: str
    port: int
    name: str = ""
    node: str = ""
    zone: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    for_nodes: frozenset[str] = frozenset()
    for_zones: frozenset[str] = frozenset()

    @property
    def address(self) -> str:
        return f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class Eligible:
    """The endpoints one node may use. `rejected` says of each other endpoint why not."""

    cluster: tuple[Endpoint, ...]
    local: tuple[Endpoint, ...]
    has_any: bool
    rejected: tuple[tuple[Endpoint, str], ...] = ()


def of_port(view: Cluster, service: Service, port: ServicePort) -> tuple[Endpoint, ...]:
    """All endpoints of a Service port, ready or not, sorted by the text "ip:port" as kube-proxy sorts them.

    A slice's port belongs to the Service port of the same name and protocol; of duplicates, one that does not
    terminate wins.
    """
    key = ("endpoints", service.namespace, service.name, port.name, port.protocol)
    if key not in view._memo:
        found: dict[str, Endpoint] = {}
        for part in view.slices(service):
            numbers = [p.port for p in part.ports if (p.name, p.protocol) == (port.name, port.protocol)]
            for number in numbers:
                for e in part.endpoints if number is not None else ():
                    conditions = e.conditions
                    endpoint = Endpoint(
                        ip=e.addresses[0],
                        port=number,
                        name=e.targetRef.name,
                        node=e.nodeName,
                        zone=e.zone,
                        ready=conditions.ready is not False,
                        serving=conditions.ready is not False if conditions.serving is None else conditions.serving,
                        terminating=conditions.terminating is True,
                        for_nodes=frozenset(n.name for n in e.hints.forNodes),
                        for_zones=frozenset(z.name for z in e.hints.forZones),
                    )
                    if endpoint.address not in found or not endpoint.terminating:
                        found[endpoint.address] = endpoint
        view._memo[key] = tuple(sorted(found.values(), key=lambda e: e.address))
    return view._memo[key]


def uses_local(service: Service) -> bool:
    spec = service.spec
    return spec.internalTrafficPolicy == "Local" or (
        spec.externalTrafficPolicy == "Local" and reachable_from_outside(service)
    )


def reachable_from_outside(service: Service) -> bool:
    """kube-proxy's "externally accessible": a node port, a load balancer's address or an externalIP."""
    spec = service.spec
    return bool(spec.externalIPs or any(p.nodePort for p in spec.ports) or service.status.loadBalancer.ingress)


def eligible(view: Cluster, service: Service, port: ServicePort, node: str) -> Eligible:
    """The CLUSTER and LOCAL sets of a Service port as `node` sees them; terminating endpoints only as a last resort.

    A set that none of the Service's policies asks for is empty.
    """
    key = ("eligible", service.namespace, service.name, port.name, port.protocol, node)
    if key not in view._memo:
        view._memo[key] = _eligible(of_port(view, service, port), service, view, node)
    return view._memo[key]


def _eligible(endpoints: tuple[Endpoint, ...], service: Service, view: Cluster, node: str) -> Eligible:
    zone = view.node[node].zone if node in view.node else ""
    ready = [e for e in endpoints if e.ready]
    near, reason = _near(ready, node, zone)
    draining = [e for e in endpoints if not e.ready and e.serving and e.terminating]
    in_cluster, here = near or draining, []
    if service.spec.internalTrafficPolicy == "Local" and not reachable_from_outside(service):
        in_cluster, reason = [], f"not on {node}"
    if uses_local(service):
        here = [e for e in ready if e.node == node] or [e for e in draining if e.node == node]
    has_any = bool(in_cluster) or (uses_local(service) and bool(ready or draining))
    chosen = set(in_cluster)
    rejected = []
    for e in endpoints:
        if e in chosen:
            continue
        if e.ready:
            rejected.append((e, reason))
        elif e.terminating and e.serving:
            rejected.append((e, "terminating: used only when no endpoint is ready"))
        else:
            rejected.append((e, "terminating and no longer serving" if e.terminating else "not ready"))
    return Eligible(tuple(in_cluster), tuple(here), has_any, tuple(rejected))


def _near(ready: list[Endpoint], node: str, zone: str) -> tuple[list[Endpoint], str]:
    """Topology by hints, decided over ready endpoints only (topologyModeFromHints)."""
    if ready and all(e.for_nodes for e in ready) and any(node in e.for_nodes for e in ready):
        return [e for e in ready if node in e.for_nodes], f"hinted for another node than {node}"
    if zone and ready and all(e.for_zones for e in ready) and any(zone in e.for_zones for e in ready):
        return [e for e in ready if zone in e.for_zones], f"hinted for another zone than {zone}"
    return ready, ""
