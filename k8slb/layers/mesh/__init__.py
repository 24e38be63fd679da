"""The service mesh: the proxy beside a client's pod takes kube-proxy's decision, at the place "pod" in its stead.

A sidecar (Istio 1.31 on Envoy 1.40, Linkerd of 2026) and a waypoint read EndpointSlices themselves and pick for each
HTTP request; other TCP, and all that ztunnel carries (Istio's ambient mode without a waypoint), is picked for once per
connection. Who is in no mesh meets kube-proxy as ever. Between two members of one mesh the connection is encrypted, and
the caller's certificate is the flow's `identity`.

Left out: UDP, meshes across clusters, authorization, the objects in `members.ASIDE`, and the address 127.0.0.6 that a
container behind an Istio sidecar sees in its caller's place. Ingress controllers pick themselves and dial pods,
whatever mesh they are in; an Istio sidecar passes that on in plain text.
"""

from dataclasses import replace
from typing import Any

from ... import routes
from ...cluster import Cluster
from ...decision import Decision, Place, Rejected, pod_place, to_endpoint
from ...endpoints import Endpoint
from ...objects import Service, ServicePort
from ...traffic import Flow, Request
from ...upstream import Policy, among, dial, in_time
from . import istio, linkerd
from .istio import Backend, Traffic
from .members import ASIDE, ROOT, Member, certificate, member_at, mtls, namespace

CALLED = {"istio": "the pod's Istio sidecar", "linkerd": "the pod's Linkerd proxy", "waypoint": "the waypoint {}"}
CALLED["ambient"] = "the node's ztunnel (Istio ambient)"
ZTUNNEL = Policy("ztunnel-random", "picks a ready pod at random")


def handles(view: Cluster, flow: Flow, place: Place) -> bool:
    """Whether a proxy of a mesh takes what leaves `place`."""
    if place.kind != "pod" or flow.protocol != "TCP":
        return False
    caller = member_at(view, place)
    if not caller.mesh:
        return False
    reached = view.door(flow.destination, flow.port, "TCP")
    if reached:
        return reached.door == "ClusterIP"
    return not flow.identity and certificate(view, caller, flow.destination, flow.port) != ""


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """What the mesh's proxy for `place` does with the flow."""
    caller, reached = member_at(view, place), view.door(flow.destination, flow.port, "TCP")
    common = {"layer": "mesh", "place": place, "flow": flow, "facts": {"mesh": caller.mesh}, "warnings": ()}
    if reached is None:
        why = f"{CALLED[caller.mesh]} encrypts as {caller.identity}; a pod's own address was asked, so it picks none"
        trusted = to_endpoint(view, Endpoint(flow.destination, flow.port), replace(flow, identity=caller.identity))
        return Decision(grain="connection", action="forward", why=why, candidates=(trusted,), **common)
    service, port, _ = reached
    aside = (o for o in view.of(*ASIDE) if o.namespace in (caller.namespace, service.namespace, ROOT))
    common["warnings"] = tuple(f"{o} is not modelled" for o in aside)
    if service.spec.internalTrafficPolicy == "Local" or service.spec.trafficDistribution:
        common["warnings"] += (f"{service}: internalTrafficPolicy and trafficDistribution are not modelled in a mesh",)
    if caller.mesh == "ambient":
        caller, told = _waypoint(view, service, caller)
        common["warnings"] += told
    to, called = Backend(service, port, f"{service.name}:{port.port}"), CALLED[caller.mesh].format(caller.account)
    speaks = linkerd.speaks_http(view, to) if caller.mesh == "linkerd" else istio.speaks_http(to)
    if flow.request and flow.request.scheme == "http" and speaks and caller.mesh != "ambient":
        return _request(view, caller, flow, to, f"{called} takes requests to {service} one by one", common)
    made = _dialled(view, caller, to, why=f"{called} takes connections to {service}", grain="connection", **common)
    closed = {"action": "reject", "status": None} if made.action == "respond" else {}
    return replace(made, on_failure=None, **closed)


def _waypoint(view: Cluster, service: Service, caller: Member) -> tuple[Member, tuple[str, ...]]:
    """(who decides, warnings) where ztunnel sends connections through a waypoint, by the Service's label or its
    namespace's: taken as one replica, which sees requests."""
    word, labels = "istio.io/use-waypoint", service.metadata.labels
    labels = labels if word in labels else namespace(view, service.namespace).labels
    key = ("Gateway", labels.get(f"{word}-namespace", service.namespace), labels.get(word, "none"))
    if any(o.key == key for o in view.of("Gateway")):
        return Member("waypoint", *key[1:]), ()
    told = f"{service}: the waypoint {key[1]}/{key[2]} is not in the input, so ztunnel goes without"
    return caller, (told,) if key[2] != "none" else ()


def _request(view: Cluster, caller: Member, flow: Flow, to: Backend, why: str, common: dict) -> Decision:
    """Layer 7: where the routes of this Service lead each request, whichever connection carries it."""
    answer = {"grain": "request", "action": "respond"}
    if caller.maker == "istio" and (routed := istio.routed(view, to, flow.request)):
        by, route, given = routed
        why, common["warnings"] = f"{why}; {by}: {route}", common["warnings"] + istio.ignored(by)
        if not given:
            return Decision(**answer, **common, status=404, why=why)
        if len(given) > 1 and flow.backend is None:
            weights, brief = [(b.name, b.weight) for b in given], (f"{by}, {route}", "")
            return among(weights, "envoy-weighted-clusters", why=f"{why}, by weight", brief=brief, **common)
        to = given[flow.backend or 0]
        if to.port is None:
            return Decision(**answer, **common, status=503, why=f"{why} is {to.name}, which is no Service port")
        return _dialled(view, caller, to, why=f"{why} is {to.name}", **common)
    linked, said = caller.mesh == "linkerd", to.service.metadata.annotations
    if linked and (profiled := linkerd.profiled(view, caller.namespace, to.service, flow.request)):
        return _dialled(view, caller, replace(to, **profiled[1]), why=f"{why}; {profiled[0]}", **common)
    table = _routes(view, caller, to)
    if not table:
        return _dialled(view, caller, replace(to, **linkerd.annotated(said)) if linked else to, why=why, **common)
    entry = routes.take(table, flow.request)
    common["rejected"] = tuple(routes.others(table, entry, flow.request))
    if entry is None:
        return Decision(**answer, **common, status=404, why=f"{why}; no rule of its HTTPRoutes matches")

    def dialled(service: Service, port: ServicePort, request: Request, **told: Any) -> Decision:
        near = {f"{linkerd.TIMEOUT}request": entry.rule.timeouts.request} | entry.route.metadata.annotations
        own = linkerd.annotated(near, said) if linked else istio.waits(istio.RETRIED, *entry.times)
        return _dialled(view, caller, Backend(service, port, str(service), **own), request, **told)

    return routes.decide(view, entry, dialled, port=to.port.port, by=f"{why}; ", **common)


def _routes(view: Cluster, caller: Member, to: Backend) -> routes.Table:
    """The HTTPRoutes whose parent is this Service port: of the caller's namespace, else of the Service's."""
    given = view.routes_of.get(("Service", *to.service.key[1:]), ())
    mine = [r for r, parent in given if parent.port in (None, to.port.port)]
    near = ([r for r in mine if r.namespace == space] for space in (caller.namespace, to.service.namespace))
    key = ("mesh routes", caller.namespace, *to.service.key[1:], to.port.port)
    return view.once(key, lambda: routes.table((r, ()) for r in next(filter(None, near), ())))


def _traffic(view: Cluster, caller: Member, flow: Flow, to: Backend) -> Traffic:
    """How the caller's proxy picks among the backend's pods."""
    if caller.maker == "linkerd":
        return linkerd.traffic(to)
    return Traffic(ZTUNNEL) if caller.mesh == "ambient" else istio.traffic(view, caller.namespace, to, flow)


def _dialled(view: Cluster, caller: Member, to: Backend, request: Request | None = None, **told: Any) -> Decision:
    """The decision for the pods of the backend's subset, each of which sees the caller's certificate if it can."""
    flow, told = told["flow"], {"brief": f"{told['why'].split(' to ')[0]}: {to.name}", **told}
    traffic, onward = _traffic(view, caller, flow, to), replace(flow, backend=None, request=request or flow.request)
    told["warnings"] += to.warnings + traffic.warnings
    fast = 504 if caller.mesh == "linkerd" else 503  # Linkerd fails fast where there is no endpoint
    made = in_time(dial(view, to.service, to.port, onward, traffic.policy, unavailable=fast, **told), *to.times)
    if made.action == "respond":
        return made
    ways, others = [], []
    for c in made.candidates:
        pod = view.pod_at.get(c.flow.destination)
        if to.subset and not (traffic.subset and pod and traffic.subset.items() <= pod.metadata.labels.items()):
            others.append(Rejected(f"{c.name} {c.address}", f"not of the subset {to.subset}", pod))
        else:
            identity = certificate(view, caller, c.flow.destination, c.flow.port, to.service)
            ways.append(replace(c, flow=replace(c.flow, identity=identity)))
    if not ways:
        why = f"{made.why}, but the subset {to.subset} has no pod"
        own = {"status": 503, "reason": "the subset has no pod", "candidates": (), "balancer": None, "on_failure": None}
        return replace(made, action="respond", why=why, **own)
    known = sum(bool(c.flow.identity) for c in ways)
    sent = f"mTLS as {caller.identity} to {known} of {len(ways)}" if known else "in plain text"
    own = {"place": Place("pod", f"{caller.namespace}/{caller.account}")} if caller.mesh == "waypoint" else {}
    state = ("mesh", own.get("place", made.place), *made.state[2:], to.subset)
    own |= {"rejected": (*made.rejected, *others)} if others else {}
    own["limits"] = istio.limits(traffic, to, made.grain == "request")
    return replace(made, candidates=tuple(ways), why=f"{made.why}; {sent}", state=state, **own)


def refused(view: Cluster, flow: Flow, place: Place) -> Decision | None:
    """The answer of the proxy before the pod at `place` to a caller it does not let in: PeerAuthentication STRICT."""
    pod = view.pod_named.get(tuple(place.name.split("/", 1)))
    if pod is None or flow.identity or member_at(view, place).maker != "istio":
        return None
    mode, rule = mtls(view, pod, flow.port)
    sender = view.pod_at.get(flow.source)
    caller = member_at(view, pod_place(sender)) if sender else None
    if mode != "STRICT" or (caller and certificate(view, caller, flow.destination, flow.port)):
        return None
    blind = caller and caller.mesh == "istio"
    who = "whose sidecar passes on calls to a pod's own address in plain text" if blind else "who is in no mesh"
    why = f"{rule} wants mTLS (STRICT): {pod.name}'s proxy resets the connection of {flow.source}, {who}"
    rejected = (Rejected(str(rule), why, rule, ("spec", "mtls", "mode")),)
    return Decision("mesh", place, "connection", flow, "reject", why, rejected=rejected, reason="mTLS is wanted")
