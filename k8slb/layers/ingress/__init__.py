"""The Ingress controller: which rule matches a request, and which pod the controller then dials.

What the controllers do differently stands in a file of each; what all proxies do with the Service, in `upstream`.
"""

from dataclasses import replace
from functools import partial
from types import ModuleType

from ...cluster import Cluster
from ...controllers import INGRESS_NGINX, SPEC, TRAEFIK, Controller
from ...decision import Decision, Place
from ...errors import NotModelled
from ...objects import Service, ServicePort
from ...traffic import Flow, Request
from ...upstream import among, dial
from . import ingress_nginx, spec, traefik
from .match import Answered, Matched, takers
from .nginx_annotations import Terms

SEMANTICS: dict[str, ModuleType] = {SPEC: spec, INGRESS_NGINX: ingress_nginx, TRAEFIK: traefik}


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """What the controller's replica at `place` does with the request that `flow` carries."""
    controller = view.replica_at[flow.destination]
    if not controller.modelled:
        raise controller.not_modelled()
    how, request = SEMANTICS[controller.name], flow.request
    certificate, warnings = certificate_for(view, controller, request) if request.scheme == "https" else (None, [])
    found, rejected = how.match(view, controller, request)
    facts = {"controller": controller.name, "certificate": certificate}
    common = {
        "layer": "ingress",
        "place": place,
        "flow": flow,
        "facts": facts,
        "warnings": (*warnings, *found.warnings),
    }
    answer = partial(Decision, grain="request", action="respond", rejected=rejected)
    if isinstance(found, Answered):
        facts |= {"location": found.location} if found.location else {}
        return answer(status=found.status, why=found.why, **common)
    served = view.served[found.ingress.key]
    if served.assumed and not found.ingress.spec.ingressClassName:
        common["warnings"] += (f"{found.ingress}: {served.why}",)
    to, because = found, ""
    if split := how.split(view, controller, found, request) if hasattr(how, "split") else None:
        common["warnings"] += split.warnings
        canary = replace(found, ingress=split.canary.ingress, at=split.canary.at, backend=split.canary.backend)
        chosen = split.decided if flow.backend is None else flow.backend
        if chosen is None:
            backends = list(zip(map(_named, (found, canary)), split.weights, strict=True))
            told = {"why": f"{found.why}; {split.why}", "brief": (f"{found.brief}, canary-weight", "")}
            told |= {"rejected": rejected, "remembers": split.remembers}
            return among(backends, "ingress-nginx-canary", **told, **common)
        to, because = (found, canary)[chosen], f" ({split.why})" if flow.backend is None else ""
    service, port, missing = _backend(view, to, how)
    wanted = to.backend.service
    number = port.port if port else wanted.port.wanted
    facts["backend"] = {"namespace": to.ingress.namespace, "service": wanted.name, "port": number}
    passed = how.forwarded(found, request, flow.source)
    facts["forwarded"] = {"host": passed.host, "path": passed.path, "headers": dict(passed.headers)}
    where = "{}:{}".format(*at) if (at := to.where)[0] else "assumed"
    said = f" ({where}) is {wanted.name}:{number}"
    told = {"why": found.why + said + because, "brief": found.brief + said, "rejected": rejected}
    if missing:
        return answer(status=503, why=f"{told['why']}, but {missing}", **common)
    own = hasattr(how, "terms")
    terms = how.terms(view, controller, found, to, flow) if own else Terms(how.policy(found, service))
    common |= {"limits": terms.limits, "warnings": common["warnings"] + terms.warnings}
    onward = Flow("TCP", flow.destination, "", 0, passed)  # a connection of the controller's own, from its address
    decision = dial(view, service, port, onward, terms.policy, **told, **common)
    if decision.action == "forward" and terms.refusal:
        return answer(status=terms.refusal.status, why=terms.refusal.why, **common)
    facts |= {"log": terms.log} if decision.action == "forward" and terms.log else {}
    return decision


def _named(found: Matched) -> str:
    service = found.backend.service
    return f"{service.name}:{service.port.wanted}" if service else str(found.ingress)


def _backend(view: Cluster, found: Matched, how: ModuleType) -> tuple[Service | None, ServicePort | None, str]:
    """(Service, its port, what is missing of them)."""
    if found.backend.service is None:
        raise NotModelled(f"a resource backend ({found.ingress})")
    name, wanted = found.backend.service.name, found.backend.service.port.wanted
    service = view.services.get((found.ingress.namespace, name))
    if service is None:
        return None, None, f"there is no Service {found.ingress.namespace}/{name}"
    if service.spec.type == "ExternalName":
        raise NotModelled(f"an Ingress backend of type ExternalName ({service})")
    port = how.port_of(service, wanted)
    if port is None:
        has = ", ".join(f"{p.name} {p.port}".strip() for p in service.spec.ports)
        return service, None, f"{service} has no port {wanted} (it has {has})"
    return service, port, ""


def certificate_for(view: Cluster, controller: Controller, request: Request) -> tuple[str | None, list[str]]:
    """(the certificate served for the name the client gives as TLS begins, SNI; warnings)."""
    host, own = request.sni, SEMANTICS[controller.name].DEFAULT_CERTIFICATE
    key = ("certificates", controller.name)
    if key not in view._memo:
        given = ((i, tls) for i in reversed(controller.ingresses) for tls in reversed(i.spec.tls) if tls.secretName)
        view._memo[key] = {h: (i.namespace, tls.secretName) for i, tls in given for h in tls.hosts}
    name = next((view._memo[key][h] for h in takers(host)[:2] if h in view._memo[key]), None)
    if name:
        told = "the Secret {}/{} is not in the input; without it a certificate that clients refuse is served".format(
            *name
        )
        return "{}/{}".format(*name), [] if name in view.secrets else [told]
    served = f"{own} is served, which clients refuse" if own else "the specification does not say what is served"
    if not host:
        return own, [f"a client that asks for an address names no host as TLS begins (SNI): {served}"]
    return own, [f"no Ingress has a certificate for {host} under tls: {served}"]
