"""The cloud load balancer in front of a Service of type LoadBalancer: which node gets the connection.

It balances connections over nodes that pass its health check, by a hash of the connection's addresses and ports (AWS
NLB, GCP passthrough, Azure; none of them is round robin). With ipMode VIP (the default) the packet keeps the load
balancer's address as its destination; with ipMode Proxy, or an address that is only a host name, it arrives at the
node port.
"""

from __future__ import annotations

from dataclasses import replace

from ..cluster import Cluster
from ..decision import Candidate, Decision, Memory, Place, Rejected
from ..endpoints import eligible
from ..objects import Node, Service, ServicePort
from ..traffic import Flow

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """Which node gets the connection to the load balancer's address `flow.destination`."""
    service = view.balancer_at[flow.destination]
    port = next((p for p in service.spec.ports if p.port == flow.port and p.protocol == flow.protocol), None)
    common = {"layer": "cloud-lb", "place": place, "grain": "connection", "flow": flow}
    if port is None:
        listens = ", ".join(f"{p.port}/{p.protocol}" for p in service.spec.ports)
        return Decision(**common, action="drop", why=f"the load balancer of {service} listens on {listens} only")
    ingress = next(i for i in service.status.loadBalancer.ingress if flow.destination in (i.ip, i.hostname))
    keeps = bool(ingress.ip) and ingress.ipMode == "VIP"
    if not keeps and not port.nodePort:
        return Decision(**common, action="drop", why=f"{service} has no node port that its load balancer could send to")
    candidates, rejected = [], []
    for node in view.nodes:
        reason = _unfit(view, service, port, node)
        if reason:
            rejected.append(Rejected(f"node {node.name}", reason))
            continue
        onward = flow if keeps else replace(flow, destination=node.address, port=port.nodePort)
        candidates.append(Candidate(node.name, node.address, Place("node", node.name), onward))
    if not candidates:
        return Decision(**common, action="drop", why="no node passes the health check", rejected=tuple(rejected))
    how = "the packet keeps its destination" if keeps else f"to node port {port.nodePort}"
    return Decision(
        **common,
        action="forward",
        why=f"the load balancer of {service}: one of {len(candidates)} nodes by a hash of the connection; {how}",
        brief=(flow.destination, ", by a hash of the connection"),
        candidates=tuple(candidates),
        rejected=tuple(rejected),
        balancer="cloud-lb-flow-hash" if len(candidates) > 1 else None,
        remembers=(Memory("conntrack", "5-tuple"),),
    )


def _unfit(view: Cluster, service: Service, port: ServicePort, node: Node) -> str:
    if EXCLUDED in node.metadata.labels:
        return f"labelled {EXCLUDED}"
    if not node.ready:
        return "its Ready condition is not True"
    if any(t.key == "ToBeDeletedByClusterAutoscaler" for t in node.spec.taints):
        return "its kube-proxy's healthz answers 503: the node is about to be deleted"
    if service.spec.externalTrafficPolicy == "Local":
        here = [e for e in eligible(view, service, port, node.name).local if e.ready]
        if not here:
            return "its healthCheckNodePort answers 503: externalTrafficPolicy is Local and no ready endpoint is on it"
    return ""
