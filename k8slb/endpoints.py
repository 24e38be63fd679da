"""Which endpoints of a Service are eligible, for whom, where.

kube-proxy 1.36: pkg/proxy/topology.go (CategorizeEndpoints), pkg/proxy/endpointslicecache.go.
"""

from collections import Counter
from dataclasses import dataclass

from .cluster import Cluster
from .errors import InputError, shown
from .objects import Node, Service, ServicePort
from .scheduling import some


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
            for number in (p.port for p in part.ports if (p.name, p.protocol) == (port.name, port.protocol)):
                for e in part.endpoints if number is not None else ():
                    ready, serving = e.conditions.ready is not False, e.conditions.serving
                    bits = (ready, ready if serving is None else serving, e.conditions.terminating is True)
                    hints = (frozenset(h.name for h in named) for named in (e.hints.forNodes, e.hints.forZones))
                    endpoint = Endpoint(e.addresses[0], number, e.targetRef.name, e.nodeName, e.zone, *bits, *hints)
                    if endpoint.address not in found or not endpoint.terminating:
                        found[endpoint.address] = endpoint
        view._memo[key] = tuple(sorted(found.values(), key=lambda e: e.address))
    return view._memo[key]


def why_none(view: Cluster, service: Service, port: ServicePort) -> str:
    """Why a Service port has no endpoint at all, in parentheses; empty if it has one, ready or not."""
    if of_port(view, service, port):
        return ""
    if not service.spec.selector:
        return " (no selector, no EndpointSlice)"
    pods = view.selected(service.namespace, service.spec.selector)
    if pods and isinstance(port.target, str):
        return f" (its selector matches {len(pods)} pods, none of which has a port named {port.target})"
    return " (its selector matches no pod)"


def ready_on_nodes(view: Cluster, service: Service) -> Counter[str]:
    """How many ready addresses each node has, over all ports; a terminating one is not (pkg/proxy/healthcheck)."""
    found = {(e.node, e.ip) for port in service.spec.ports for e in of_port(view, service, port) if e.ready}
    return Counter(node for node, _ in found)


def node_named(view: Cluster, name: object) -> Node:
    """The node of that name; InputError naming the others."""
    if not isinstance(name, str) or name not in view.node:
        raise InputError(f"there is no node {shown(name)}", expected=f"one of: {some(view.node, 10)}")
    return view.node[name]


def leaving(node: Node) -> bool:
    """Whether a node is being deleted, so that its kube-proxy's healthz answers 503."""
    tainted = any(t.key == "ToBeDeletedByClusterAutoscaler" for t in node.spec.taints)
    return tainted or bool(node.metadata.deletionTimestamp)


def reachable_from_outside(service: Service, port: ServicePort) -> bool:
    """kube-proxy's "externally accessible": this port's node port, an externalIP, or a load balancer's address that
    its rules know (ipMode VIP). Through an address of ipMode Proxy it is reached by its node port."""
    vips = (i for i in service.status.loadBalancer.ingress if i.ip and i.ipMode == "VIP")
    return bool(port.nodePort or service.spec.externalIPs or any(vips))


def eligible(view: Cluster, service: Service, port: ServicePort, node: str) -> Eligible:
    """The CLUSTER and LOCAL sets of a Service port as `node` sees them; terminating endpoints only as a last resort.

    A set that none of the Service's policies asks for is empty.
    """
    key = ("eligible", service.namespace, service.name, port.name, port.protocol, node)
    return view.once(key, lambda: _eligible(view, service, port, node))


def _eligible(view: Cluster, service: Service, port: ServicePort, node: str) -> Eligible:
    endpoints, outside = of_port(view, service, port), reachable_from_outside(service, port)
    inner, outer = (p == "Local" for p in (service.spec.internalTrafficPolicy, service.spec.externalTrafficPolicy))
    ready = [e for e in endpoints if e.ready]
    draining = [e for e in endpoints if not e.ready and e.serving and e.terminating]
    near, reason = _near(ready, node, view.node[node].zone if node in view.node else "")
    in_cluster, here = near or draining, []
    if inner and not outside:
        in_cluster, reason = [], f"not on {node}"
    uses_local = inner or (outer and outside)
    if uses_local:
        here = [e for e in ready if e.node == node] or [e for e in draining if e.node == node]
    chosen, has_any = set(in_cluster), bool(in_cluster or (uses_local and (ready or draining)))
    rejected = tuple((e, _why_not(e, reason)) for e in endpoints if e not in chosen)
    return Eligible(tuple(in_cluster), tuple(here), has_any, rejected)


def _why_not(endpoint: Endpoint, reason: str) -> str:
    if endpoint.ready:
        return reason
    if endpoint.terminating and endpoint.serving:
        return "terminating: used only when no endpoint is ready"
    return "terminating and no longer serving" if endpoint.terminating else "not ready"


def _near(ready: list[Endpoint], node: str, zone: str) -> tuple[list[Endpoint], str]:
    """Topology by hints, decided over ready endpoints only (topologyModeFromHints)."""
    if ready and all(e.for_nodes for e in ready) and any(node in e.for_nodes for e in ready):
        return [e for e in ready if node in e.for_nodes], f"hinted for another node than {node}"
    if zone and ready and all(e.for_zones for e in ready) and any(zone in e.for_zones for e in ready):
        return [e for e in ready if zone in e.for_zones], f"hinted for another zone than {zone}"
    return ready, ""
