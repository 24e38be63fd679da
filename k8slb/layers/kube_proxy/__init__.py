"""What a node's kube-proxy rules do with a connection: which endpoint, and which addresses are rewritten.

Kubernetes 1.36, all modes (pkg/proxy); what differs between the modes stands in the file of the mode. kube-proxy never
sees the packet: it wrote the rules, the kernel follows them, once per connection.
"""

from dataclasses import replace
from types import ModuleType

from ...cluster import Cluster, Reached
from ...decision import Decision, Memory, Place, Rejected, to_endpoint
from ...endpoints import Eligible, Endpoint, node_named, why_none
from ...objects import Service
from ...traffic import Flow, inside
from . import healthz, iptables, ipvs, nftables
from .ports import PROXY_NAME, Port, Setup, port_of, ports, setup

MODES: dict[str, ModuleType] = {"iptables": iptables, "nftables": nftables, "ipvs": ipvs}
# Seconds that a conntrack entry in use lasts, and one used only once: kube-proxy sets TCP's, the kernel the rest.
CONNTRACK = {"TCP": (86400.0, None), "UDP": (120.0, 30.0), "SCTP": (210.0, None)}
TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
CONNTRACK_MAX = 131_072  # entries a node, where kube-proxy is told to leave the kernel's own number
CORES = 4  # that a node is taken to have, for the size of its conntrack table (nf_conntrack_max)


def rules(view: Cluster, node: str) -> str:
    """What kube-proxy keeps on a node, in the form of iptables-save, nft list ruleset or ipvsadm -Sn, by its mode."""
    return MODES[view.mode].text(setup(view, node_named(view, node).name), ports(view, node))


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """Where the rules of the node `place` send a new connection to `flow.to`."""
    mode = MODES[view.mode]
    common = {"layer": "kube-proxy", "place": place, "grain": "connection", "flow": flow}
    own, address, here = setup(view, place.name), flow.destination, view.node[place.name].address
    local = address.startswith("127.")
    reached = view.door(here if local else address, flow.port, flow.protocol)
    if reached is None:
        answered = healthz.decide(view, flow, common) if local or address in view.node_at else None
        return answered or _no_rule(view, flow, mode, common)
    service, port, door = reached
    other = service.metadata.labels.get(PROXY_NAME)
    if other is not None:
        why = f"{service} is labelled {PROXY_NAME}: {other}: kube-proxy leaves it to that proxy, which is not modelled"
        return Decision(**common, action="reject" if door == "NodePort" else "drop", why=why)
    closed = door == "NodePort" and _closed(view, own, address)
    known = port_of(view, service, port, place.name)
    sets = known.sets
    if closed and mode is iptables and sets.has_any and known.doors[-1].refuses:  # by the rule of all local addresses
        why = f"{closed}, and externalTrafficPolicy Local, without an endpoint on {place}, drops it there too"
        return Decision(**common, action="drop", why=why)
    if closed:
        return Decision(**common, action="reject", why=f"{closed}, and nothing else is known to listen there")
    shut_out = known.sources and not any(inside(flow.source, r) for r in known.sources)
    if door == "LoadBalancer" and shut_out and (sets.has_any or view.mode != "iptables"):
        ranges = ", ".join(service.spec.loadBalancerSourceRanges)
        why = f"{flow.source} is in none of the loadBalancerSourceRanges ({ranges}) of {service}"
        rule = mode.refusal(own, known, door, address, firewall=True)
        return Decision(**common, action="drop", why=why, rule=rule)
    endpoints, which, masquerade, warnings = _policy(view, flow, place, own, known, door, mode)
    rejected = _rejected(reached, sets, endpoints)
    title = f"{service}{':' + port.name if port.name else ''} {door}"
    if not endpoints:
        drops = sets.has_any and (mode.TELLS_CALLERS_APART or sets.cluster)
        why = f"{title}: {which}; " + ("the packet is dropped" if drops else "the connection is refused")
        rule = mode.refusal(own, known, door, address, firewall=False)
        if mode is iptables and door in ("LoadBalancer", "externalIP") and flow.source in own.addresses:
            drops, rule = True, ""  # KUBE-EXTERNAL-SERVICES stands in INPUT and FORWARD, not in OUTPUT
            why = f"{title}: {which}; no rule refuses what the node itself sends: it leaves, and nothing answers"
        why += why_none(view, service, port)
        common |= {"reason": "no endpoint on this node" if sets.cluster else "no ready endpoint", "rule": rule}
        return Decision(**common, action="drop" if drops else "reject", why=why, rejected=rejected)
    lasts, unused = CONNTRACK[flow.protocol]
    table = view.proxy_config.conntrack
    size = max(table.min, CORES * table.maxPerCore) if table.maxPerCore else CONNTRACK_MAX
    remembers = [Memory("conntrack", "5-tuple", lasts, size, unused)]
    if known.sticky:
        remembers.append(Memory("ClientIP", flow.source, known.sticky, mode.AFFINITY_LIMIT))
    dice = {e.address: mode.dice(len(endpoints), i) for i, e in enumerate(endpoints)}
    server = door if mode is ipvs else ""

    def seen(endpoint: Endpoint) -> str:  # in a hairpin as well, so that the answer comes back through this node
        if endpoint.ip in own.addresses and flow.source not in own.addresses and mode is not ipvs:
            return flow.source  # a pod on this node's network: what is delivered here never comes to POSTROUTING
        return here if masquerade or endpoint.ip == flow.source else flow.source

    return Decision(
        **common,
        action="forward",
        why=f"{title}: {which}, {ipvs.how(own) if mode is ipvs else 'each new connection picks at random'}",
        brief=(f"{place} ({view.mode})", f", {which}" if "Local" in which or "terminating" in which else ""),
        candidates=tuple(to_endpoint(view, e, replace(flow, source=seen(e))) for e in endpoints),
        rejected=rejected,
        balancer=ipvs.balancer_name(own) if mode is ipvs else f"{view.mode}-random",
        state=("kube-proxy", place, service.namespace, service.name, port.name or port.port, server),
        remembers=tuple(remembers),
        rules=mode.picks(own, known, endpoints, endpoints is sets.local, flow.to),
        facts={"mode": view.mode, "masqueraded": masquerade, "dice": dice},
        warnings=(*warnings, *_hints(view, service)),
    )


def _hints(view: Cluster, service: Service) -> tuple[str, ...]:
    """A warning where the EndpointSlice controller would write hints that the model does not work out."""
    auto = service.metadata.annotations.get(TOPOLOGY_MODE, "") in ("Auto", "auto")
    if not auto or any(part.raw for part in view.slices(service)):
        return ()
    return (f"{TOPOLOGY_MODE}: Auto of {service} (hints by the zones' share of CPUs) is not modelled",)


def _policy(view: Cluster, flow: Flow, place: Place, own: Setup, known: Port, door: str, mode: ModuleType):
    """(endpoints, which set that is and why, whether the source becomes the node's address, warnings)."""
    sets, inner = known.sets, door == "ClusterIP"
    from_pod = bool(own.pods) and inside(flow.source, own.pods)
    from_node = flow.source in own.addresses
    policy = "internalTrafficPolicy" if inner else "externalTrafficPolicy"
    local = known.inner_local if inner else known.outer_local
    masquerade = own.masquerade_all or (bool(own.pods) and not from_pod) if inner else not local or from_node
    if not local:
        return sets.cluster, f"{_count(sets.cluster)} ready", masquerade, ()
    if mode.TELLS_CALLERS_APART and not inner and (from_pod or from_node):
        pod = view.pod_at.get(flow.source)
        told = f"{flow.source} is a pod of another node than {place}: the answers come back only if your CNI"
        told = (f"{told} gives it the node's address on the way",)
        which = f"{_count(sets.cluster)}: {policy} Local does not bind callers inside"
        return sets.cluster, which, masquerade, told if pod and pod.spec.nodeName != place.name else ()
    if sets.local or mode.TELLS_CALLERS_APART or not sets.cluster:
        return sets.local, f"{policy} Local leaves {_count(sets.local)} on {place}", masquerade, ()
    told = f"none on {place}, so IPVS takes {_count(sets.cluster)} anywhere"
    if not (inner or from_pod or from_node):
        return (), f"{told}, whose answers go straight to {flow.source} and are discarded there", masquerade, ()
    return sets.cluster, told, masquerade, ()


def _count(endpoints: tuple[Endpoint, ...]) -> str:
    draining = " (terminating, as no other is left)" if endpoints and not endpoints[0].ready else ""
    return f"{len(endpoints) or 'no'} endpoint{'s' if len(endpoints) != 1 else ''}{draining}"


def _closed(view: Cluster, own: Setup, address: str) -> str:
    """Why node ports do not answer at this address of the node, if so."""
    chosen = view.proxy_config.nodePortAddresses
    inside_only = address.startswith("127.")
    if own.localhost if inside_only else own.node_ports is None or address in own.node_ports:
        return ""
    if inside_only and view.mode != "iptables":
        return f"in {view.mode} mode node ports do not answer on {address}"
    if inside_only and own.node_ports is None:
        return f"iptables.localhostNodePorts is false, so node ports do not answer on {address}"
    if chosen:
        return f"nodePortAddresses ({', '.join(chosen)}) leave out {address}"
    return f"in nftables mode node ports answer on the primary address {own.addresses[0]} only"


def _rejected(reached: Reached, sets: Eligible, chosen: tuple[Endpoint, ...]) -> tuple[Rejected, ...]:
    taken = set(chosen)
    others = (*sets.rejected, *((e, "on another node") for e in sets.cluster))
    named = ((f"{e.name or 'endpoint'} {e.address}", why) for e, why in others if e not in taken)
    return tuple(Rejected(what, why, reached.service, ("spec",)) for what, why in named)


def _no_rule(view: Cluster, flow: Flow, mode: ModuleType, common: dict) -> Decision:
    service = view.cluster_ips.get(flow.destination) or view.balancer_at.get(flow.destination)
    if service is None:
        why = f"no node port {flow.port}/{flow.protocol} is allocated, and nothing else is known to listen there"
        return Decision(**common, action="reject", why=why)
    ports = ", ".join(f"{p.port}/{p.protocol}" for p in service.spec.ports)
    why = f"{service} has the ports {ports}, not {flow.port}/{flow.protocol}: "
    if mode.REFUSES_OTHER_PORTS and PROXY_NAME not in service.metadata.labels:
        return Decision(**common, action="reject", why=why + "other ports of a Service's address are refused")
    return Decision(**common, action="drop", why=why + "the packet leaves by normal routing and nothing answers")
