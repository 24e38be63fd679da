"""The load balancer in front of a Service of type LoadBalancer: which node, or which pod, gets the connection.

Which one it is and how it is set, the YAML says (`k8slb.loadbalancers`). A layer 4 balancer hashes each connection over
its healthy targets; over many source ports that is uniform. A node gets it with the balancer's address still as its
destination (ipMode VIP) or at its node port; a pod gets it as any pod does. Without cross-zone there are two decisions:
DNS gives one address per zone, and each serves its own zone's targets.
"""

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from typing import NamedTuple

from ..cluster import Cluster
from ..decision import Candidate, Decision, Memory, OnFailure, Place, Rejected, to_endpoint
from ..endpoints import leaving, of_port, ready_on_nodes
from ..errors import NotModelled
from ..loadbalancers import AWS, LoadBalancer, setting
from ..objects import Service, ServicePort
from ..scheduling import some
from ..traffic import Flow, inside, network_of

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
UNSURE = "names no class or aws-load-balancer-type: taken to be AWS' controller's, else it is a Classic Load Balancer"
IN_ZONE = " in "  # the place of one zone's address: "203.0.113.10 in zone-a"


class Target(NamedTuple):
    """Where a connection might go; why it is not registered there, or why its health check fails ("" for neither)."""

    to: Candidate
    zone: str
    absent: str
    fails: str = ""


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """Where the connection to the load balancer's address `flow.destination` goes."""
    address, zone = flow.destination, place.name.partition(IN_ZONE)[2]
    service = view.balancer_at[address]
    lb = setting(service, view.nodes)
    port = next((p for p in service.spec.ports if p.port == flow.port and p.protocol == flow.protocol), None)
    common = {"layer": "cloud-lb", "place": place, "grain": lb.grain, "flow": flow, "action": "drop"}
    routes = lb.grain == "request"  # layer 7: takes each request by itself, on connections of its own
    if port is None:
        listens = ", ".join(f"{p.port}/{p.protocol}" for p in service.spec.ports)
        return Decision(**common, why=f"the load balancer of {service} listens on {listens} only")
    ingress = next(i for i in service.status.loadBalancer.ingress if address in (i.ip, i.hostname))
    if routes and (not flow.request or flow.request.scheme != "http"):
        raise NotModelled(f"anything but http at an {lb.title} ({service})")
    keeps = lb.keeps_destination and bool(ingress.ip) and ingress.ipMode == "VIP"
    to_pods, ranges = lb.targets == ("ip",), service.spec.loadBalancerSourceRanges
    if not keeps and ranges and not any(inside(flow.source, r) for r in ranges):
        why = f"{flow.source} is in none of the loadBalancerSourceRanges ({', '.join(ranges)}) of {service}"
        return Decision(**common, why=why)
    if not (keeps or to_pods or port.nodePort):
        return Decision(**common, why=f"{service} has no node port that its load balancer could send to")
    arriving = flow if keeps else replace(flow, destination="", port=port.nodePort)
    targets = list((_pods if to_pods else _nodes)(view, arriving, service, port, lb))
    there = [t for t in targets if not t.absent]
    chosen = [t for t in there if not (t.fails and lb.checked)] or (there if lb.fails_open else [])
    warnings, failing = [], [t for t in chosen if t.fails]
    if failing:
        warnings.append(f"{some(t.to.name for t in failing)}: gets traffic although {failing[0].fails}")
    if lb.name == "aws-nlb" and not service.spec.loadBalancerClass and AWS + "type" not in service.metadata.annotations:
        warnings.append(f"{service} {UNSURE}")
    if lb.name == "metallb-l2":
        if any(o.kind == "BGPAdvertisement" for o in view.objects):
            raise NotModelled("MetalLB in BGP mode (the input has a BGPAdvertisement)")
        chosen = sorted(chosen, key=lambda t: sha256(f"{t.to.name}#{address}".encode()).digest())[:1]
    zones = sorted({t.zone for t in chosen})
    if zone:
        chosen = [t for t in chosen if t.zone == zone]
    left = f"not in {zone}, and cross-zone is off" if zone else "another node announces the address"
    got, kind = {t.to.address for t in chosen}, "pod" if to_pods else "node"
    reasons = ((t.to, t.absent or t.fails or left) for t in targets)
    rejected = tuple(Rejected(f"{kind} {to.name}", why) for to, why in reasons if to.address not in got)
    if not chosen and routes:
        if lb.no_target is None:
            raise NotModelled(f"what a {lb.title} without targets answers ({service})")
        common |= {"action": "respond", "status": lb.no_target, "rejected": rejected}
        return Decision(**common, why=f"the {lb.title} of {service} has no target")
    if lb.name == "gcp-proxy" and len(zones) > 1:
        raise NotModelled(f"how a {lb.title} shares requests among zones ({service} has targets in {len(zones)})")
    if not chosen:
        why = "no pod is ready, so it has no target" if to_pods else "no node passes the health check"
        return Decision(**common, why=why, rejected=rejected)
    facts = {"load_balancer": lb.name}
    common |= {"action": "forward", "rejected": rejected, "warnings": tuple(warnings), "facts": facts}
    if not lb.cross_zone and len(zones) > 1 and not zone:
        why = f"the {lb.title} of {service}: {address} stands for its addresses in {len(zones)} zones with a healthy "
        why += "target, one a zone, which DNS gives out evenly; cross-zone is off"
        brief = (address, " (DNS gives one address a zone; cross-zone is off)")
        ways = tuple(Candidate(z, address, Place("cloud-lb", address + IN_ZONE + z), flow) for z in zones)
        return Decision(**common, why=why, brief=brief, candidates=ways, balancer="cloud-lb-zone")
    if flow.protocol != "UDP" and lb.targets[0] not in lb.keeps_source:
        own = _own_address(view, zones.index(zone) if zone else 0)
        chosen = [t._replace(to=replace(t.to, flow=replace(t.to.flow, source=own))) for t in chosen]
    if routes:
        header = ("x-forwarded-for", flow.source)
        request = replace(flow.request, headers=(*(h for h in flow.request.headers if h[0] != header[0]), header))
        chosen = [t._replace(to=replace(t.to, flow=replace(t.to.flow, request=request))) for t in chosen]
    algorithm, policy = next(iter(lb.balancers.items()))
    by_client = lb.hashes_client_ip and service.spec.sessionAffinity == "ClientIP"
    how = "by a hash of the " + ("client's address" if by_client else "connection")
    how = f"as it alone answers ARP for {address}" if lb.name == "metallb-l2" else how
    how = f"by {algorithm.replace('_', ' ').lower()}, for each request" if routes else how
    picks = f"one of {len(chosen)} {kind}s" if len(chosen) > 1 else f"the {kind} {chosen[0].to.name}"
    onward = "the packet keeps its destination" if keeps else f"to node port {port.nodePort}"
    onward = "straight there, no node in between" if to_pods else onward
    conntrack = Memory("conntrack", "5-tuple")
    return Decision(
        **common,
        why=f"the {lb.title} of {service}: {picks} {how}; {onward}",
        brief=(place.name, f", {how}"),
        candidates=tuple(t.to for t in chosen),
        balancer=policy if len(chosen) > 1 else None,
        state=("cloud-lb", place, service.namespace, service.name, port.name or port.port),
        remembers=() if routes else (conntrack, Memory("ClientIP", flow.source)) if by_client else (conntrack,),
        on_failure=OnFailure() if routes else None,
    )


def _nodes(view: Cluster, arriving: Flow, service: Service, port: ServicePort, lb: LoadBalancer) -> Iterator[Target]:
    probe, here = lb.probe[service.spec.externalTrafficPolicy], ready_on_nodes(view, service)
    endpoints = of_port(view, service, port)
    serving = {e.node for e in endpoints if e.serving}
    refuses = port.protocol == "TCP" and not any(e.ready or (e.serving and e.terminating) for e in endpoints)
    for node in view.nodes:
        absent = fails = ""
        if EXCLUDED in node.metadata.labels:
            absent = f"labelled {EXCLUDED}"
        elif not node.ready:
            absent = "its Ready condition is not True"
        elif node.down:
            fails = node.down
        elif lb.name == "aws-nlb" and leaving(node):
            absent = "about to be deleted, so deregistered"
        elif probe == "healthz" and leaving(node):
            fails = "its kube-proxy's healthz answers 503: the node is about to be deleted"
        elif probe == "healthCheckNodePort" and not here[node.name]:
            fails = "its healthCheckNodePort answers 503: externalTrafficPolicy is Local and no ready endpoint is on it"
        elif probe == "node port" and service.spec.externalTrafficPolicy == "Local" and not here[node.name]:
            fails = f"its node port {port.nodePort} drops the probe: no ready endpoint is on it"
        elif probe == "node port" and refuses:
            fails = f"its node port {port.nodePort} refuses the probe: no endpoint"
        elif probe == "endpoints" and not serving:  # what MetalLB's speakers watch: serving, terminating or not
            absent = "no endpoint serves"
        elif probe == "endpoints" and service.spec.externalTrafficPolicy == "Local" and node.name not in serving:
            absent = "externalTrafficPolicy is Local and no endpoint on it serves"
        onward = replace(arriving, destination=arriving.destination or node.address)
        yield Target(Candidate(node.name, node.address, Place("node", node.name), onward), node.zone, absent, fails)


def _pods(view: Cluster, arriving: Flow, service: Service, port: ServicePort, lb: LoadBalancer) -> Iterator[Target]:
    for e in of_port(view, service, port):
        node, absent = view.node.get(e.node), "terminating, so being deregistered" if e.terminating else "not ready"
        zone = e.zone or (node.zone if node else "")
        pod = view.pod_behind(e.ip, e.port)
        yield Target(to_endpoint(view, e, arriving), zone, "" if e.ready else absent, pod.down if pod else "")


def _own_address(view: Cluster, zone: int) -> str:
    """The balancer's private address in the zone of that number, on the nodes' network."""
    network = network_of(f"{view.nodes[0].address}/16")
    return str(network[-246 + zone % 200])
