"""The Ingress controller: which rule matches a request, and which pod the controller then dials.

What the controllers do differently stands in a file of each; what all proxies do with the Service, in `upstream`.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from types import ModuleType

from ...cluster import Cluster
from ...controllers import INGRESS_NGINX, KNOWN, SPEC, TRAEFIK, Controller, Known, unread
from ...decision import Decision, Place
from ...errors import NotModelled
from ...traffic import Flow, Request
from ...upstream import among, dial
from . import ingress_nginx, spec, traefik
from .match import Answered, Route, behind, takers

SEMANTICS: dict[str, ModuleType] = {SPEC: spec, INGRESS_NGINX: ingress_nginx, TRAEFIK: traefik}


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """What the controller's replica at `place` does with the request that `flow` carries."""
    controller = view.replica_at[flow.destination]
    if not controller.modelled:
        raise controller.not_modelled()
    how, own, request = SEMANTICS[controller.name], KNOWN[controller.name], flow.request
    certificate, warnings = certificate_for(view, controller, request) if request.scheme == "https" else (None, [])
    found, rejected = how.match(view, controller, request)
    warnings = (*warnings, *found.warnings, *(() if isinstance(found, Answered) else _beside(view, found.route, own)))
    facts = {"controller": controller.name, "certificate": certificate}
    common = {"layer": "ingress", "place": place, "flow": flow, "facts": facts, "warnings": warnings}
    answer = partial(Decision, grain="request", action="respond", rejected=rejected)
    if isinstance(found, Answered):
        facts |= {"location": found.location} if found.location else {}
        return answer(status=found.status, why=found.why, **common)
    to, split, because = found.route, found.split, ""
    if split:
        chosen = split.decided if flow.backend is None else flow.backend
        if chosen is None:
            backends = list(zip(map(_named, (to, split.canary)), split.weights, strict=True))
            told = {"why": f"{found.why}; {split.why}", "brief": (f"{found.brief}, canary-weight", "")}
            told |= {"rejected": rejected, "remembers": split.remembers}
            return among(backends, "ingress-nginx-canary", **told, **common)
        to, because = (to, split.canary)[chosen], f" ({split.why})" if flow.backend is None else ""
    service, port, missing = behind(view, to, how.port_of)
    if to.backend.service is None:
        raise NotModelled(f"a resource backend ({to.ingress})")
    if service and service.spec.type == "ExternalName":
        raise NotModelled(f"an Ingress backend of type ExternalName ({service})")
    wanted = to.backend.service
    number = port.port if port else wanted.port.wanted
    facts["backend"] = {"namespace": to.ingress.namespace, "service": wanted.name, "port": number}
    passed = _forwarded(request, found.path, flow.source, own.headers)
    facts["forwarded"] = {"host": passed.host, "path": passed.path, "headers": dict(passed.headers)}
    where = "{}:{}".format(*at) if (at := to.ingress.where(*to.at))[0] else "assumed"
    said = f" ({where}) is {wanted.name}:{number}"
    told = {"why": found.why + said + because, "brief": found.brief + said, "rejected": rejected}
    if missing:
        return answer(status=503, why=f"{told['why']}, but {missing}", **common)
    terms = how.terms(view, controller, found, to, flow)
    common |= {"limits": terms.limits, "warnings": warnings + terms.warnings}
    onward = Flow("TCP", flow.destination, "", 0, passed)  # a connection of the controller's own, from its address
    decision = dial(view, service, port, onward, terms.policy, **told, **common)
    if decision.action == "forward" and terms.refusal:
        return answer(status=terms.refusal.status, why=terms.refusal.why, **common)
    facts |= {"log": terms.log} if decision.action == "forward" and terms.log else {}
    return decision


def _beside(view: Cluster, route: Route, own: Known) -> Iterator[str]:
    """What to know of a route that matched: who serves it was assumed; annotations that are not heeded."""
    ingress, (service, *_) = route.ingress, behind(view, route)
    served = view.served[ingress.key]
    if served.assumed and not ingress.spec.ingressClassName:
        yield f"{ingress}: {served.why}"
    for thing in (ingress, service):
        if own.annotations and thing and (names := unread(own, thing)):
            yield f"{thing} has annotations that are not modelled or mean nothing to {own.title}: {names}"


def _named(route: Route) -> str:
    service = route.backend.service
    return f"{service.name}:{service.port.wanted}" if service else str(route.ingress)


def _forwarded(request: Request, path: str, client: str, names: tuple[str, ...]) -> Request:
    """The request as the controller passes it on, with the headers it sets: TLS ends here, so the scheme is http; the
    client is the address this replica saw."""
    values = dict.fromkeys(("x-forwarded-proto", "x-forwarded-scheme", "x-scheme"), request.scheme)
    values |= {"x-forwarded-host": request.host, "x-forwarded-port": "443" if request.scheme == "https" else "80"}
    headers = dict(request.headers) | {name: values.get(name, client) for name in names}
    return replace(request, scheme="http", path=path, headers=tuple(headers.items()))


def certificate_for(view: Cluster, controller: Controller, request: Request) -> tuple[str | None, list[str]]:
    """(the certificate served for the name the client gives as TLS begins, SNI; warnings)."""
    host, own = request.sni, KNOWN[controller.name].certificate
    given = ((i, tls) for i in reversed(controller.ingresses) for tls in reversed(i.spec.tls) if tls.secretName)
    key = ("certificates", controller.name)
    known = view.once(key, lambda: {h: (i.namespace, tls.secretName) for i, tls in given for h in tls.hosts})
    name = next((known[h] for h in takers(host)[:2] if h in known), None)
    if name:
        text = "{}/{}".format(*name)
        told = f"the Secret {text} is not in the input; without it a certificate that clients refuse is served"
        return text, [told] * (name not in view.secrets)
    served = f"{own} is served, which clients refuse" if own else "the specification does not say what is served"
    asked = "a client that asks for an address names no host as TLS begins (SNI)"
    return own, [f"{f'no Ingress has a certificate for {host} under tls' if host else asked}: {served}"]
