"""From a name to an address: cluster DNS for pods, the world's DNS for everybody else.

Cluster DNS follows the Kubernetes DNS specification 1.1.0 and the pod's resolver: search path
NAMESPACE.svc.cluster.local, svc.cluster.local, cluster.local with ndots:5. Names outside are known only as far as the
input makes them known: hosts of Ingresses, of Gateways' listeners and HTTPRoutes, and of load balancers.
"""

import difflib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from ..cluster import Cluster
from ..controllers import Controller
from ..decision import Candidate, Decision, Place, Rejected
from ..endpoints import of_port
from ..objects import Service
from ..routes import takers
from ..traffic import Flow

DOMAIN = "cluster.local"
SUFFIX = f".svc.{DOMAIN}"
NDOTS = 5
MAX_ALIASES = 8  # resolvers give up on longer chains, and on circles


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """Which address the client gets for `flow.destination`."""
    if place.kind != "pod":
        return _outside(view, flow, place, "the node's resolver" if place.kind == "node" else "public DNS")
    asked: list[Rejected] = []
    for name in search(flow.destination, place.name.partition("/")[0]):
        answer = _lookup(view, name)
        if answer is None:
            asked.append(Rejected(name, "NXDOMAIN: no such Service"))
            continue
        aliases = []
        while isinstance(answer, str) and len(aliases) < MAX_ALIASES:  # a CNAME: the name goes on as another
            aliases.append(answer)
            answer = _lookup(view, answer)
        if answer is None or isinstance(answer, str):
            cname = replace(flow, destination=aliases[-1])
            alias = f"{name} is an alias (ExternalName) of " + ", of ".join(dict.fromkeys(aliases))
            return _outside(view, cname, place, alias, asked, arrived=flow)
        what, addresses = answer
        found = name + "".join(f", an alias (ExternalName) of {a}" for a in aliases)
        why = f"{flow.destination} is {what}, found as {found}{_after(asked)}"
        if not addresses:
            return _decision(flow, place, asked, action="unresolved", why=f"{why}, which has no ready pod")
        brief = (flow.destination, f" ({name}{_after(asked)})")
        return _decision(flow, place, asked, addresses, action="forward", why=why, brief=brief)
    return _outside(view, flow, place, "cluster DNS asks further up", asked)


def _decision(
    flow: Flow, place: Place, asked: Sequence[Rejected], addresses: Sequence[tuple[str, str]] = (), **rest: Any
) -> Decision:
    """`addresses`: (what has it, address) of each."""
    candidates = tuple(Candidate(name, a, place, replace(flow, destination=a)) for name, a in addresses)
    balancer = "dns-shuffle" if len(candidates) > 1 else None
    common = {"candidates": candidates, "balancer": balancer, "rejected": tuple(asked)}
    return Decision("dns", place, "connection", flow, **common, **rest)


def _after(asked: Sequence[Rejected]) -> str:
    n = len(asked)
    return f" after {n} other name{'s' * (n > 1)} that {'do' if n > 1 else 'does'} not exist" if n else ""


def search(name: str, namespace: str) -> list[str]:
    """The cluster names a pod's resolver tries, in order, before it asks for the name as it stands."""
    absolute = [name.rstrip(".")] if name.rstrip(".").endswith("." + DOMAIN) else []
    if name.endswith(".") or name.count(".") >= NDOTS:
        return absolute
    return [f"{name}.{suffix}" for suffix in (f"{namespace}.svc.{DOMAIN}", f"svc.{DOMAIN}", DOMAIN)] + absolute


def service_named(view: Cluster, name: str, namespace: str | None) -> Service | None:
    """The Service that a client in `namespace` means by a DNS name of it, or of a pod of a headless one."""
    if namespace is None:
        return None
    for full in search(name, namespace):
        service, pod = _service_of(view, full)
        if service and (service.headless or not pod):
            return service
    return None


def _service_of(view: Cluster, full: str) -> tuple[Service | None, list[str]]:
    """The Service that a full name is of, and what stands before it: nothing, or a pod's host name."""
    labels = full.removesuffix(SUFFIX).split(".")
    if not full.endswith(SUFFIX) or len(labels) not in (2, 3):
        return None, []
    return view.services.get((labels[-1], labels[-2])), labels[:-2]


def _lookup(view: Cluster, name: str) -> tuple[str, list[tuple[str, str]]] | str | None:
    """What cluster DNS answers for a full name: (what it is, (name, address) of each), an alias, None for NXDOMAIN."""
    service, pod = _service_of(view, name)
    if service is None or (pod and (service.spec.type == "ExternalName" or not service.headless)):
        return None
    if service.spec.type == "ExternalName":
        return service.spec.externalName.rstrip(".").lower()
    address = service.spec.clusterIP
    if not service.headless:
        return (f"ClusterIP {address} of {service}", [(str(service), address)]) if address else None
    found = {e.ip: e.name or e.ip for port in service.spec.ports for e in of_port(view, service, port) if e.ready}
    if not service.spec.ports:
        endpoints = [e for s in view.slices(service) for e in s.endpoints if e.conditions.ready is not False]
        found = {e.addresses[0]: e.addresses[0] for e in endpoints}
    if pod:  # HOSTNAME.SERVICE: a pod's subdomain has to be the Service
        specs = {ip: view.pod_at[ip].spec for ip in found if ip in view.pod_at}
        named = [ip for ip, spec in specs.items() if [spec.hostname, spec.subdomain] == [*pod, service.name]]
        found = {ip: found[ip] for ip in named}
        if not found:
            return None
    return f"headless {service}: the addresses of its {len(found)} ready pods", [(n, ip) for ip, n in found.items()]


def _outside(
    view: Cluster, flow: Flow, place: Place, who: str, asked: Sequence[Rejected] = (), arrived: Flow | None = None
) -> Decision:
    """The world's answer, as far as the input tells: a load balancer's host name, an Ingress's host or a Gateway's."""
    name = flow.destination.rstrip(".")
    answer = partial(_decision, arrived or flow, place, asked)
    if name in view.balancer_at:
        service = view.balancer_at[name]
        why = f"{name} is the load balancer of {service}"
        return answer([(str(service), name)], action="forward", why=why, brief=(name, ""))
    controller, why, warnings = _controller_for(view, name, guess=place.kind == "outside")
    if controller is None:
        return answer(action="unresolved", why=f"{who}: {why}")
    if not controller.modelled:
        raise controller.not_modelled()
    addresses = _entry(view, controller)
    if not addresses:
        why = f"{who}: {why}, but that controller has no address outside the cluster (no Service of type LoadBalancer)"
        return answer(action="unresolved", why=why)
    if addresses[0] in view.node_at and controller.service and controller.service.spec.type == "NodePort":
        warnings += (f"nothing in the input says where DNS points {name}; taken: the nodes, as {controller.service}",)
    named = [(_called(controller), a) for a in addresses]
    brief = (name, f" ({why})")
    return answer(named, action="forward", why=why + _after(asked), brief=brief, warnings=warnings)


def _controller_for(view: Cluster, name: str, guess: bool) -> tuple[Controller | None, str, tuple[str, ...]]:
    """(the controller or Gateway that the name leads to, why, warnings)."""
    ingresses = [i for host in (name, "*." + name.partition(".")[2]) for i in view.hosts.get(host, ())]
    served = ((view.controllers[c], i) for i in ingresses if (c := view.served[i.key].controller))
    found = [(c, "a host of {}, {}:{}".format(i, *i.where("spec", "rules"))) for c, i in islice(served, 1)]
    named = next((view.gateway_hosts[h] for h in takers(name) if h in view.gateway_hosts), {})
    found += [(view.gateways[key], f"a host of {by}, {by.origin.place}") for key, by in named.items()]
    if found:
        (taken, why), *others = found
        told = ", ".join(f"{_called(c)} ({why})" for c, why in others)
        warning = f"{name} is {told} as well; nothing in the input says where DNS points; taken: {_called(taken)}"
        return taken, why, (warning,) if others else ()
    ignored = [(i, view.served[i.key].why) for i in view.hosts.get(name, ())]
    alone = (routes for to, routes in view.routes_of.items() if to[0] == "Gateway" and to[1:] not in view.gateways)
    mine = ((r, p) for routes in alone for r, p in routes if {*takers(name)}.intersection(r.spec.hostnames))
    ignored += [(r, f"there is no Gateway {p.name}") for r, p in mine]
    running = (*view.controllers.values(), *view.gateways.values())
    entries = [c for c in running if c.modelled and _entry(view, c)] or [c for c in running if not c.modelled]
    if guess and len(entries) == 1 and not name.endswith("." + DOMAIN):
        kind = "HTTPRoute or listener of a Gateway" if entries[0].gateway else "Ingress that is served"
        entry = _called(entries[0]).removeprefix("controller ")
        why = f"no {kind} names {name}; asked as if its DNS pointed at {entry}"
        told = _meant(view, name) + (" ({}: {})".format(*ignored[0]) if ignored else "")
        return entries[0], why, (f"nothing in the input makes DNS point {name} at this cluster{told}",)
    told = " ({} names it: {})".format(*ignored[0]) if ignored else ""
    return None, f"nothing in the input gives {name} an address{told}{_meant(view, name)}", ()


def _called(controller: Controller) -> str:
    return str(controller.gateway or f"controller {controller.name}")


def _meant(view: Cluster, name: str) -> str:
    near = difflib.get_close_matches(name.partition(".")[0], view.services_named, 1, 0.75)
    return f" (did you mean the Service {near[0]}?)" if near else ""


def _entry(view: Cluster, controller: Controller) -> list[str]:
    """The controller's addresses as the world sees them: its load balancer's, or its nodes' on their network."""
    service, kind = controller.service, controller.service.spec.type if controller.service else ""
    if kind == "LoadBalancer":
        return [i.ip or i.hostname for i in service.status.loadBalancer.ingress]
    if service and service.spec.externalIPs:
        return list(service.spec.externalIPs)
    on_nodes = [p.status.podIP for p in controller.pods if p.spec.hostNetwork and p.ready]
    return on_nodes or ([n.address for n in view.nodes] if kind == "NodePort" else [])
