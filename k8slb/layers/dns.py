"""From a name to an address: cluster DNS for pods, the world's DNS for everybody else.

Cluster DNS follows the Kubernetes DNS specification 1.1.0 and the pod's resolver: search path
NAMESPACE.svc.cluster.local, svc.cluster.local, cluster.local with ndots:5. Names outside are known only as far as the
input makes them known: hosts of Ingresses and of load balancers.
"""

from __future__ import annotations

import difflib
from dataclasses import replace

from ..cluster import Cluster
from ..controllers import Controller
from ..decision import Candidate, Decision, Place, Rejected
from ..endpoints import of_port
from ..errors import NotModelled
from ..objects import Ingress, Pod, Service
from ..traffic import Flow

DOMAIN = "cluster.local"
NDOTS = 5
MAX_ALIASES = 8  # resolvers give up on longer chains, and on circles


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """Which address the client gets for `flow.destination`."""
    if place.kind != "pod":
        return _outside(view, flow, place, "the node's resolver" if place.kind == "node" else "public DNS", ())
    namespace = place.name.partition("/")[0]
    asked: list[Rejected] = []
    for name in search(flow.destination, namespace):
        answer = _lookup(view, name, flow, place)
        if answer is None:
            asked.append(Rejected(name, "NXDOMAIN: no such Service"))
            continue
        aliases = []
        while isinstance(answer, str) and len(aliases) < MAX_ALIASES:  # a CNAME: the name goes on as another
            aliases.append(answer)
            answer = _lookup(view, answer, flow, place)
        if answer is None or isinstance(answer, str):
            cname = replace(flow, destination=aliases[-1])
            alias = f"{name} is an alias (ExternalName) of " + ", of ".join(dict.fromkeys(aliases))
            return _outside(view, cname, place, alias, tuple(asked), arrived=flow)
        what, candidates = answer
        found = name + "".join(f", an alias (ExternalName) of {a}" for a in aliases)
        why = f"{flow.destination} is {what}, found as {found}" + _after(len(asked))
        common = {"layer": "dns", "place": place, "grain": "connection", "flow": flow, "rejected": tuple(asked)}
        if not candidates:
            return Decision(**common, action="unresolved", why=f"{why}, which has no ready pod")
        balancer = "dns-shuffle" if len(candidates) > 1 else None
        brief = (flow.destination, f" ({name}{_after(len(asked))})")
        return Decision(**common, action="forward", why=why, brief=brief, candidates=candidates, balancer=balancer)
    return _outside(view, flow, place, "cluster DNS asks further up", tuple(asked))


def _after(misses: int) -> str:
    return (
        f" after {misses} other name{'s' * (misses > 1)} that {'do' if misses > 1 else 'does'} not exist"
        if misses
        else ""
    )


def search(name: str, namespace: str) -> list[str]:
    """The cluster names a pod's resolver tries, in order, before it asks for the name as it stands."""
    if name.endswith("."):
        return [name.rstrip(".")]
    suffixes = [f"{namespace}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN]
    tried = [f"{name}.{suffix}" for suffix in suffixes]
    absolute = [name] if name.endswith("." + DOMAIN) else []
    return tried + absolute if name.count(".") < NDOTS else absolute + tried


def service_named(view: Cluster, name: str, namespace: str | None) -> Service | None:
    """The Service that a client in `namespace` means by a DNS name of it, or of a pod of a headless one."""
    if namespace is None:
        return None
    for full in search(name, namespace):
        labels = full.removesuffix(f".svc.{DOMAIN}").split(".")
        service = view.services.get((labels[-1], labels[-2])) if len(labels) in (2, 3) else None
        if service and full.endswith(f".svc.{DOMAIN}") and (len(labels) == 2 or service.headless):
            return service
    return None


def _lookup(view: Cluster, name: str, flow: Flow, place: Place) -> tuple[str, tuple[Candidate, ...]] | str | None:
    """What cluster DNS answers for a full name: (what it is, addresses), an alias, or None for NXDOMAIN."""
    labels = name.removesuffix(f".svc.{DOMAIN}").split(".")
    if not name.endswith(f".svc.{DOMAIN}") or len(labels) not in (2, 3):
        return None
    service = view.services.get((labels[-1], labels[-2]))
    if service is None:
        return None
    if service.spec.type == "ExternalName":
        return service.spec.externalName.rstrip(".").lower() if len(labels) == 2 else None
    if not service.headless:
        address = service.spec.clusterIP
        if len(labels) == 3 or not address:
            return None
        return f"ClusterIP {address} of {service}", (_answer(str(service), address, flow, place),)
    found = {e.ip: e for port in service.spec.ports for e in of_port(view, service, port) if e.ready}
    if not service.spec.ports:
        found = {
            e.addresses[0]: e for s in view.slices(service) for e in s.endpoints if e.conditions.ready is not False
        }
    if len(labels) == 3:
        hosts = {ip for ip in found if _names(view.pod_at.get(ip), labels)}
        found = {ip: found[ip] for ip in hosts}
        if not found:
            return None
    candidates = tuple(_answer(getattr(e, "name", "") or ip, ip, flow, place) for ip, e in found.items())
    return f"headless {service}: the addresses of its {len(candidates)} ready pods", candidates


def _names(pod: Pod | None, labels: list[str]) -> bool:
    """Whether a pod has the name HOSTNAME.SERVICE: its subdomain has to be the Service."""
    return pod is not None and [pod.spec.hostname, pod.spec.subdomain] == labels[:2]


def _answer(name: str, address: str, flow: Flow, place: Place) -> Candidate:
    return Candidate(name, address, place, replace(flow, destination=address))


def _outside(
    view: Cluster, flow: Flow, place: Place, who: str, asked: tuple[Rejected, ...], arrived: Flow | None = None
) -> Decision:
    """The world's answer, as far as the input tells: a load balancer's host name, or an Ingress's host."""
    name = flow.destination.rstrip(".")
    common = {"layer": "dns", "place": place, "grain": "connection", "flow": arrived or flow}
    if name in view.balancer_at:
        service = view.balancer_at[name]
        answer = _answer(str(service), name, flow, place)
        return Decision(
            **common,
            action="forward",
            why=f"{name} is the load balancer of {service}",
            brief=(name, ""),
            candidates=(answer,),
            rejected=asked,
        )
    controller, why, warnings = _controller_for(view, name, guess=place.kind == "outside")
    if controller is None:
        return Decision(**common, action="unresolved", why=f"{who}: {why}", rejected=asked)
    if not controller.modelled:
        raise NotModelled(f"requests through the controller {controller.name} ({why})")
    addresses = _entry(view, controller)
    if not addresses:
        why = f"{who}: {why}, but that controller has no address outside the cluster (no Service of type LoadBalancer)"
        return Decision(**common, action="unresolved", why=why, rejected=asked)
    if addresses[0] in view.node_at and controller.service and controller.service.spec.type == "NodePort":
        warnings += (f"nothing in the input says where DNS points {name}; taken: the nodes, as {controller.service}",)
    candidates = tuple(_answer(f"controller {controller.name}", a, flow, place) for a in addresses)
    return Decision(
        **common,
        action="forward",
        why=why + _after(len(asked)),
        brief=(name, f" ({why})"),
        candidates=candidates,
        rejected=asked,
        balancer="dns-shuffle" if len(candidates) > 1 else None,
        warnings=warnings,
    )


def _controller_for(view: Cluster, name: str, guess: bool) -> tuple[Controller | None, str, tuple[str, ...]]:
    wildcard = "*." + name.partition(".")[2]
    for host in (name, wildcard):
        for ingress in view.hosts.get(host, ()):
            served = view.served[ingress.key]
            if served.controller:
                file, line = ingress.where("spec", "rules")
                return view.controllers[served.controller], f"a host of {ingress}, {file}:{line}", ()
    if name in view.routed_hosts or wildcard in view.routed_hosts:
        raise NotModelled(f"requests through a Gateway (HTTPRoutes name the host {name})")
    ignored: list[Ingress] = view.hosts.get(name, [])
    entries = [c for c in view.controllers.values() if c.modelled and _entry(view, c)]
    if guess and len(entries) == 1 and not name.endswith("." + DOMAIN):
        why = f"no Ingress that is served names {name}; asked as if its DNS pointed at {entries[0].name}"
        told = view.served[ignored[0].key].why if ignored else ""
        warning = f"nothing in the input makes DNS point {name} at this cluster{_meant(view, name)}" + (
            f" ({ignored[0]}: {told})" if told else ""
        )
        return entries[0], why, (warning,)
    told = f" ({ignored[0]} names it: {view.served[ignored[0].key].why})" if ignored else ""
    return None, f"nothing in the input gives {name} an address{told}{_meant(view, name)}", ()


def _meant(view: Cluster, name: str) -> str:
    near = difflib.get_close_matches(name.partition(".")[0], view.services_named, 1, 0.75)
    return f" (did you mean the Service {near[0]}?)" if near else ""


def _entry(view: Cluster, controller: Controller) -> list[str]:
    """The controller's addresses as the world sees them: its load balancer's, or its nodes' on their network."""
    service = controller.service
    if service is not None and service.spec.type == "LoadBalancer":
        return [i.ip or i.hostname for i in service.status.loadBalancer.ingress]
    if service is not None and service.spec.externalIPs:
        return list(service.spec.externalIPs)
    on_nodes = [p.status.podIP for p in controller.pods if p.spec.hostNetwork and p.ready]
    if on_nodes or service is None or service.spec.type != "NodePort":
        return on_nodes
    return [n.address for n in view.nodes]
