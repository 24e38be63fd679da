"""A Gateway: which listener a request comes to, and which of the HTTPRoutes attached to it takes the request.

Gateway API release 1.6.1. Listeners are isolated: the one with the most specific hostname has the request, and only
its own routes. A route is attached where its parentRef (name, sectionName, port), the listener's allowedRoutes and the
hostnames of both agree; the reasons are those of the route's status.
"""

from functools import partial
from typing import Any

from .. import routes
from ..cluster import Cluster
from ..controllers import Controller
from ..decision import Decision, Lazily, Place, Rejected
from ..errors import NotModelled
from ..objects import Gateway, HTTPRoute, Listener, Service, ServicePort
from ..objects.gateways import GROUP
from ..traffic import Flow, Request
from ..upstream import Policy, dial, in_time

NOT_ATTACHED = (
    "no listener has that sectionName and port (NoMatchingParent)",
    "the listeners do not allow its kind or its namespace (NotAllowedByListeners)",
    "none of its hostnames is a listener's (NoMatchingListenerHostname)",
)
POLICY = Policy("spec-random", "picks at random (the Gateway API names no balancer)")
NAME_LABEL = "kubernetes.io/metadata.name"  # every namespace has it


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """What the Gateway's replica at `place` does with the request that `flow` carries."""
    controller = view.replica_at[flow.destination]
    gateway, request = controller.gateway, flow.request
    if not controller.modelled:
        raise controller.not_modelled()
    facts = {"controller": controller.name, "gateway": f"{gateway.namespace}/{gateway.name}"}
    common = {"layer": "gateway", "place": place, "flow": flow, "facts": facts}
    unread = tuple(f"{o} ({o.origin.place}) is not modelled" for o in view.of("GRPCRoute", "ListenerSet"))
    answer = partial(Decision, grain="request", warnings=unread, **common)
    refuse = partial(answer, action="reject")
    port, encrypted, warnings = _listened(controller, flow), request.scheme == "https", []
    spoken = ("HTTPS", "TLS") if encrypted else ("HTTP",)
    heard = {x.hostname: x for x in gateway.spec.listeners if x.port == port and x.speaks in spoken}
    listener = next((heard[h] for h in routes.takers(request.host) if h in heard), None)
    if listener is None:
        why = f"no listener of {gateway} on port {port} is for {spoken[0]}" + (f" and {request.host}" if heard else "")
        return answer(action="respond", status=404, why=why) if heard and not encrypted else refuse(why=why)
    if listener.speaks == "TLS":
        raise NotModelled(f"a listener of protocol TLS ({gateway}, {listener.name}): TLSRoutes are not read")
    facts["listener"] = listener.name
    if encrypted:
        facts["certificate"], missing, warnings = _certificate(view, gateway, listener)
        if missing:
            return refuse(why=f"listener {listener.name}: {missing}, so the TLS handshake fails")
    tables, left = view.once(("routes", gateway.key), lambda: attached(view, gateway))
    entry = routes.take(tables[listener.name], request)
    common["rejected"] = Lazily(lambda: (*routes.others(tables[listener.name], entry, request), *left))
    by = f"listener {listener.name} (port {port}, host {listener.hostname or 'any'}): "
    if entry is None:
        covering = {*routes.takers(request.host)}
        for one in (x for x in left if not x.object.spec.hostnames or covering.intersection(x.object.spec.hostnames)):
            warnings.append(f"{one.object} ({one.object.origin.place}) is not attached: {one.why}")
        why = f"{by}no rule of the HTTPRoutes attached to it takes {request.method} {request.host}{request.path}"
        return answer(action="respond", status=404, why=why, rejected=common["rejected"], warnings=(*warnings, *unread))

    def dialled(service: Service, to: ServicePort, request: Request, **told: Any) -> Decision:
        onward = Flow("TCP", flow.destination, "", 0, request)  # a connection of the Gateway's own, from its address
        return in_time(dial(view, service, to, onward, POLICY, **told), *entry.times)

    return routes.decide(view, entry, dialled, port=port, by=by, warnings=tuple(warnings), **common)


def _listened(controller: Controller, flow: Flow) -> int:
    """The listener's port, which its Service may map to another one of the pods."""
    pod = next(p for p in controller.pods if p.status.podIP == flow.destination)
    ports = controller.service.spec.ports if controller.service else ()
    return next((p.port for p in ports if pod.port_for(p.target, p.protocol) == flow.port), flow.port)


def _certificate(view: Cluster, gateway: Gateway, listener: Listener) -> tuple[str | None, str, list[str]]:
    """(the certificate served, what makes its reference invalid, warnings)."""
    ref = next(iter(listener.tls.certificateRefs if listener.tls else ()), None)
    if ref is None:
        return None, "" if listener.tls else "it has no certificate (tls)", []
    where = ref.namespace or gateway.namespace
    name = f"{where}/{ref.name}"
    if where != gateway.namespace and not routes.granted(view, "Gateway", gateway.namespace, ref, where):
        return None, f"no ReferenceGrant in {where} lets it use the Secret {name} (RefNotPermitted)", []
    told = f"the Secret {name} is not in the input; without it the listener has no certificate"
    return name, "", [told] if (where, ref.name) not in view.secrets else []


def attached(view: Cluster, gateway: Gateway) -> tuple[dict[str, routes.Table], list[Rejected]]:
    """(the table of each listener's routes, the routes that name the Gateway in vain)."""
    have: dict[str, list[tuple[HTTPRoute, tuple[str, ...]]]] = {x.name: [] for x in gateway.spec.listeners}
    left: list[Rejected] = []
    for route, ref in view.routes_of.get(("Gateway", gateway.namespace, gateway.name), ()):
        hosts = route.spec.hostnames
        named = [x for x in gateway.spec.listeners if ref.sectionName in ("", x.name) and ref.port in (None, x.port)]
        allowed = [x for x in named if _allows(view, gateway, x, route)]
        fitting = [x for x in allowed if not (hosts and x.hostname) or any(routes.shared(x.hostname, h) for h in hosts)]
        for listener in fitting:
            have[listener.name].append((route, hosts))
        why = next((told for found, told in zip((named, allowed, fitting), NOT_ATTACHED, strict=True) if not found), "")
        if why:
            left.append(Rejected(str(route), why, route, ("spec", "parentRefs", route.spec.parentRefs.index(ref))))
    return {x.name: routes.table(have[x.name], x.hostname) for x in gateway.spec.listeners}, left


def _allows(view: Cluster, gateway: Gateway, listener: Listener, route: HTTPRoute) -> bool:
    allowed = listener.allowedRoutes
    kinds = {(k.group or GROUP, k.kind) for k in allowed.kinds} or {(GROUP, "HTTPRoute")}
    if listener.speaks not in ("HTTP", "HTTPS") or (GROUP, "HTTPRoute") not in kinds:
        return False
    if allowed.namespaces.from_ == "Selector":
        known = view.namespaces.get(route.namespace)
        return allowed.namespaces.selector.matches({NAME_LABEL: route.namespace, **(known.labels if known else {})})
    return allowed.namespaces.from_ == "All" or route.namespace == gateway.namespace
