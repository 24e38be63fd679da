"""What a node's kube-proxy rules do with a connection: which endpoint, and which addresses are rewritten.

Kubernetes 1.36, all modes (pkg/proxy); what differs between the modes stands in the file of the mode. kube-proxy never
sees the packet: it wrote the rules, the kernel follows them, once per connection.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from types import ModuleType

from ...cluster import Cluster, Reached
from ...decision import Candidate, Decision, Memory, Place, Rejected
from ...endpoints import Eligible, Endpoint, eligible, of_port
from ...errors import NotModelled
from ...traffic import Flow
from . import iptables, ipvs, nftables

MODES: dict[str, ModuleType] = {"iptables": iptables, "nftables": nftables, "ipvs": ipvs}
CONNTRACK = {
    "TCP": 86400.0,
    "UDP": 30.0,
    "SCTP": 210.0,
}  # seconds an established entry lasts: kube-proxy sets TCP's, the kernel the rest


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """Where the rules of the node `place` send a new connection to `flow.to`."""
    mode = MODES[view.mode]
    common = {"layer": "kube-proxy", "place": place, "grain": "connection", "flow": flow}
    reached = view.door(flow.destination, flow.port, flow.protocol)
    if reached is None:
        return _no_rule(view, flow, mode, common)
    service, port, door = reached
    if door == "LoadBalancer" and not _allowed(service.spec.loadBalancerSourceRanges, flow.source):
        ranges = ", ".join(service.spec.loadBalancerSourceRanges)
        why = f"{flow.source} is in none of the loadBalancerSourceRanges ({ranges}) of {service}"
        return Decision(**common, action="drop", why=why)
    sets = eligible(view, service, port, place.name)
    endpoints, which, masquerade = _policy(view, flow, place, reached, sets, mode)
    rejected = _rejected(reached, sets, endpoints)
    title = f"{service}{':' + port.name if port.name else ''} {door}"
    if not endpoints:
        action = "drop" if sets.has_any and mode.LOCAL_DROPS else "reject"
        matched = len(of_port(view, service, port))
        why = f"{title}: {which}; " + ("the packet is dropped" if action == "drop" else "the connection is refused")
        if not matched:
            why += " (its selector and ports match no pod)"
        return Decision(**common, action=action, why=why, rejected=rejected)
    ordered = mode.ordered(endpoints)
    node = view.node[place.name]
    candidates = tuple(_candidate(view, flow, e, masquerade, node.address) for e in ordered)
    remembers = [Memory("conntrack", "5-tuple", CONNTRACK.get(flow.protocol))]
    if service.spec.sessionAffinity == "ClientIP":
        timeout = service.spec.sessionAffinityConfig.clientIP.timeoutSeconds
        remembers.append(Memory("ClientIP", flow.source, timeout, mode.AFFINITY_LIMIT))
    return Decision(
        **common,
        action="forward",
        why=f"{title}: {which}, {mode.HOW}",
        brief=f"{place}, {view.mode}: {flow.to} of {service.name}"
        + (f", {which}" if "Local" in which or "terminating" in which else ""),
        candidates=candidates,
        rejected=rejected,
        balancer=mode.balancer_name(view),
        state=(
            "kube-proxy",
            place,
            service.namespace,
            service.name,
            port.name or port.port,
            door if view.mode == "ipvs" else "",
        ),
        remembers=tuple(remembers),
        rules={e.address: mode.rule(service, port, ordered, i) for i, e in enumerate(ordered)},
        facts={"mode": view.mode, "masqueraded": masquerade},
    )


def _candidate(view: Cluster, flow: Flow, endpoint: Endpoint, masquerade: bool, node: str) -> Candidate:
    itself = endpoint.ip == flow.source  # hairpin: the answer must come back through this node
    source = node if masquerade or itself else flow.source
    onward = replace(flow, destination=endpoint.ip, port=endpoint.port, source=source)
    pod = view.pod_behind(endpoint.ip, endpoint.port)
    place = Place("pod", f"{pod.namespace}/{pod.name}") if pod else Place("endpoint", endpoint.ip)
    return Candidate(pod.name if pod else endpoint.name or endpoint.ip, endpoint.address, place, onward)


def _policy(view: Cluster, flow: Flow, place: Place, reached: Reached, sets: Eligible, mode: ModuleType):
    """(endpoints, which set that is and why, whether the source is rewritten to the node's address)."""
    spec = reached.service.spec
    from_pod = _local_source(view, flow.source, place)
    from_node = flow.source in {a.address for a in view.node[place.name].status.addresses}
    if reached.door == "ClusterIP":
        masquerade = bool(view.running.cluster_cidr) and not from_pod
        if spec.internalTrafficPolicy == "Local":
            return sets.local, f"internalTrafficPolicy Local leaves {_count(sets.local)} on {place}", masquerade
        return sets.cluster, f"{_count(sets.cluster)} ready", masquerade
    if spec.externalTrafficPolicy == "Local":
        if from_pod or from_node:
            return (
                sets.cluster,
                f"{_count(sets.cluster)}: externalTrafficPolicy Local does not bind callers inside",
                from_node,
            )
        if not sets.local and not mode.LOCAL_DROPS:
            return sets.cluster, f"none on {place}, so IPVS takes {_count(sets.cluster)} anywhere", False
        return sets.local, f"externalTrafficPolicy Local leaves {_count(sets.local)} on {place}", False
    return sets.cluster, f"{_count(sets.cluster)} ready", True


def _count(endpoints: tuple[Endpoint, ...]) -> str:
    draining = " (terminating, as no other is left)" if endpoints and not endpoints[0].ready else ""
    return f"{len(endpoints) or 'no'} endpoint{'s' if len(endpoints) != 1 else ''}{draining}"


def _local_source(view: Cluster, source: str, place: Place) -> bool:
    """kube-proxy's detectLocalMode: is this source a pod's address, as far as this node's rules can tell?"""
    mode = view.proxy_config.detectLocalMode or "ClusterCIDR"
    if mode == "NodeCIDR":
        cidr = view.node[place.name].spec.podCIDR
    elif mode == "ClusterCIDR":
        cidr = view.running.cluster_cidr
    else:
        raise NotModelled(f"detectLocalMode {mode}")
    return bool(cidr) and any(_inside(source, c) for c in cidr.split(","))


def _inside(address: str, cidr: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(cidr.strip(), strict=False)


def _allowed(ranges: tuple[str, ...], source: str) -> bool:
    return not ranges or any(_inside(source, r) for r in ranges)


def _rejected(reached: Reached, sets: Eligible, chosen: tuple[Endpoint, ...]) -> tuple[Rejected, ...]:
    taken = set(chosen)
    elsewhere = [(e, "on another node") for e in sets.cluster if e not in taken]
    others = [(e, why) for e, why in sets.rejected if e not in taken]
    return tuple(
        Rejected(f"{e.name or 'endpoint'} {e.address}", why, reached.service, ("spec",))
        for e, why in (*others, *elsewhere)
    )


def _no_rule(view: Cluster, flow: Flow, mode: ModuleType, common: dict) -> Decision:
    service = view.cluster_ips.get(flow.destination) or view.balancer_at.get(flow.destination)
    if service is not None:
        ports = ", ".join(f"{p.port}/{p.protocol}" for p in service.spec.ports)
        action, what = (
            ("drop", "the packet leaves by normal routing and nothing answers")
            if not mode.REFUSES_OTHER_PORTS
            else ("reject", "other ports of a Service's address are refused")
        )
        return Decision(
            **common, action=action, why=f"{service} has the ports {ports}, not {flow.port}/{flow.protocol}: {what}"
        )
    why = f"no node port {flow.port}/{flow.protocol} is allocated, and nothing else is known to listen there"
    return Decision(**common, action="reject", why=why)
