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
from ...errors import InputError, NotModelled, shown
from ...objects import Node
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
    node, address = view.node[place.name], flow.destination
    reached = view.door(node.address if address.startswith("127.") else address, flow.port, flow.protocol)
    if reached is None:
        return _no_rule(view, flow, mode, common)
    service, port, door = reached
    closed = door == "NodePort" and _closed(view, address, node)
    if closed:
        return Decision(**common, action="reject", why=f"{closed}, and nothing else is known to listen there")
    if door == "LoadBalancer" and not _allowed(service.spec.loadBalancerSourceRanges, flow.source):
        ranges = ", ".join(service.spec.loadBalancerSourceRanges)
        why = f"{flow.source} is in none of the loadBalancerSourceRanges ({ranges}) of {service}"
        return Decision(**common, action="drop", why=why)
    sets = eligible(view, service, port, place.name)
    endpoints, which, masquerade, warnings = _policy(view, flow, place, reached, sets, mode)
    rejected = _rejected(reached, sets, endpoints)
    title = f"{service}{':' + port.name if port.name else ''} {door}"
    if not endpoints:
        action = "drop" if sets.has_any and (mode.TELLS_CALLERS_APART or sets.cluster) else "reject"
        matched = len(of_port(view, service, port))
        why = f"{title}: {which}; " + ("the packet is dropped" if action == "drop" else "the connection is refused")
        if not matched:
            why += f" ({_why_none(view, reached)})"
        return Decision(**common, action=action, why=why, rejected=rejected)
    ordered = mode.ordered(endpoints)
    candidates = tuple(_candidate(view, flow, e, masquerade, node.address) for e in ordered)
    remembers = [Memory("conntrack", "5-tuple", CONNTRACK.get(flow.protocol))]
    if service.spec.sessionAffinity == "ClientIP":
        timeout = service.spec.sessionAffinityConfig.clientIP.timeoutSeconds
        remembers.append(Memory("ClientIP", flow.source, timeout, mode.AFFINITY_LIMIT))
    return Decision(
        **common,
        action="forward",
        why=f"{title}: {which}, {mode.HOW}",
        brief=(f"{place} ({view.mode})", f", {which}" if "Local" in which or "terminating" in which else ""),
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
        rules=mode.rules(service, port, ordered),
        facts={"mode": view.mode, "masqueraded": masquerade},
        warnings=warnings,
    )


def _why_none(view: Cluster, reached: Reached) -> str:
    service, port, _ = reached
    if not service.spec.selector:
        return "no selector, no EndpointSlice"
    pods = view.selected(service.namespace, service.spec.selector)
    if pods and isinstance(port.target, str):
        return f"its selector matches {len(pods)} pods, none of which has a port named {port.target}"
    return "its selector matches no pod"


def _candidate(view: Cluster, flow: Flow, endpoint: Endpoint, masquerade: bool, node: str) -> Candidate:
    itself = endpoint.ip == flow.source  # hairpin: the answer must come back through this node
    source = node if masquerade or itself else flow.source
    onward = replace(flow, destination=endpoint.ip, port=endpoint.port, source=source)
    pod = view.pod_behind(endpoint.ip, endpoint.port)
    place = Place("pod", f"{pod.namespace}/{pod.name}") if pod else Place("endpoint", endpoint.ip)
    return Candidate(pod.name if pod else endpoint.name or endpoint.ip, endpoint.address, place, onward)


def _policy(view: Cluster, flow: Flow, place: Place, reached: Reached, sets: Eligible, mode: ModuleType):
    """(endpoints, which set that is and why, whether the source becomes the node's address, warnings)."""
    spec, inner = reached.service.spec, reached.door == "ClusterIP"
    pods = _pods_network(view, place)
    from_pod = any(_inside(flow.source, c) for c in pods)
    from_node = flow.source in {a.address for a in view.node[place.name].status.addresses}
    policy = "internalTrafficPolicy" if inner else "externalTrafficPolicy"
    local = getattr(spec, policy) == "Local"
    masquerade = bool(pods) and not from_pod if inner else not local or from_node
    if not local:
        return sets.cluster, f"{_count(sets.cluster)} ready", masquerade, ()
    if mode.TELLS_CALLERS_APART and not inner and (from_pod or from_node):
        pod = view.pod_at.get(flow.source)
        told = f"{flow.source} is a pod of another node than {place}: the answers come back only if your CNI"
        warnings = (
            (f"{told} gives it the node's address on the way",) if pod and pod.spec.nodeName != place.name else ()
        )
        which = f"{_count(sets.cluster)}: {policy} Local does not bind callers inside"
        return sets.cluster, which, masquerade, warnings
    if sets.local or mode.TELLS_CALLERS_APART or not sets.cluster:
        return sets.local, f"{policy} Local leaves {_count(sets.local)} on {place}", masquerade, ()
    told = f"none on {place}, so IPVS takes {_count(sets.cluster)} anywhere"
    if not (inner or from_pod or from_node):
        return (), f"{told}, whose answers go straight to {flow.source} and are discarded there", masquerade, ()
    return sets.cluster, told, masquerade, ()


def _count(endpoints: tuple[Endpoint, ...]) -> str:
    draining = " (terminating, as no other is left)" if endpoints and not endpoints[0].ready else ""
    return f"{len(endpoints) or 'no'} endpoint{'s' if len(endpoints) != 1 else ''}{draining}"


def _pods_network(view: Cluster, place: Place) -> list[str]:
    """kube-proxy's detectLocalMode: the networks this node's rules take for pods' addresses; none: no detector."""
    mode = view.proxy_config.detectLocalMode or "ClusterCIDR"
    if mode not in ("ClusterCIDR", "NodeCIDR"):
        raise NotModelled(f"detectLocalMode {mode}")
    cidrs = view.running.cluster_cidr if mode == "ClusterCIDR" else view.node[place.name].spec.podCIDR
    return [c.strip() for c in cidrs.split(",") if c.strip()]


def _inside(address: str, cidr: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        raise InputError(f"{shown(cidr)} is no network", expected="a CIDR such as 10.0.0.0/8") from None


def _closed(view: Cluster, address: str, node: Node) -> str:
    """Why node ports do not answer at this address of the node, if so."""
    chosen = view.proxy_config.nodePortAddresses
    if address.startswith("127.") and view.mode != "iptables":
        return f"in {view.mode} mode node ports do not answer on {address}"
    if chosen and not any(address == node.address if c == "primary" else _inside(address, c) for c in chosen):
        return f"nodePortAddresses ({', '.join(chosen)}) leave out {address}"
    other = [a.address for a in node.status.addresses if a.type == "InternalIP" and a.address != node.address]
    if not chosen and view.mode == "nftables" and address in other:
        return f"in nftables mode node ports answer on the primary address {node.address} only"
    return ""


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
