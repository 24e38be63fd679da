"""The Ingress controller: which rule matches a request, and which pod the controller then dials.

What the controllers do differently stands in a file of each; what all proxies do with the Service, in `upstream`.
"""

from dataclasses import replace
from functools import partial
from types import ModuleType

from ...cluster import Cluster
from ...controllers import INGRESS_NGINX, SPEC, Controller
from ...decision import Decision, Place
from ...errors import NotModelled
from ...objects import Service, ServicePort
from ...traffic import Flow, Request
from ...upstream import dial
from . import ingress_nginx, spec
from .match import Answered, Matched, takers

SEMANTICS: dict[str, ModuleType] = {SPEC: spec, INGRESS_NGINX: ingress_nginx}


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """What the controller's replica at `place` does with the request that `flow` carries."""
    controller = view.replica_at[flow.destination]
    if not controller.modelled:
        raise NotModelled(f"requests through the controller {controller.name}")
    how, request = SEMANTICS[controller.name], flow.request
    certificate, warnings = certificate_for(view, controller, request) if request.scheme == "https" else (None, [])
    found, rejected = how.match(view, controller, request)
    facts = {"controller": controller.name, "certificate": certificate}
    common = {"layer": "ingress", "place": place, "flow": flow, "facts": facts}
    common["warnings"] = warnings = (*warnings, *found.warnings)
    answer = partial(Decision, grain="request", action="respond", rejected=tuple(rejected), **common)
    if isinstance(found, Answered):
        facts |= {"location": found.location} if found.location else {}
        return answer(status=found.status, why=found.why)
    served = view.served[found.ingress.key]
    if served.assumed and not found.ingress.spec.ingressClassName:
        common["warnings"] = (*warnings, f"{found.ingress}: {served.why}")
    service, port, missing = _backend(view, found, how)
    wanted = found.backend.service
    number = port.port if port else wanted.port.wanted
    facts["backend"] = {"namespace": found.ingress.namespace, "service": wanted.name, "port": number}
    request = how.forwarded(found, request, flow.source)
    facts["forwarded"] = {"host": request.host, "path": request.path, "headers": dict(request.headers)}
    where = "{}:{}".format(*found.where) if found.where[0] else "assumed"
    said = f" ({where}) is {wanted.name}:{number}"
    told = {"why": found.why + said, "brief": found.brief + said}
    if missing:
        return replace(answer(status=503, why=f"{told['why']}, but {missing}"), warnings=common["warnings"])
    onward = Flow("TCP", flow.destination, "", 0, request)  # a connection of the controller's own, from its address
    return dial(view, service, port, onward, how.policy(found, service), rejected=rejected, **told, **common)


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
    """(the certificate served for the name the client asked for, warnings)."""
    host, own = request.host, SEMANTICS[controller.name].DEFAULT_CERTIFICATE
    offered = [(ingress, tls) for ingress in controller.ingresses for tls in ingress.spec.tls if tls.secretName]
    for covering in takers(host)[:2]:
        for ingress, tls in offered:
            if covering in tls.hosts:
                name = f"{ingress.namespace}/{tls.secretName}"
                told = f"the Secret {name} is not in the input; without it a certificate that clients refuse is served"
                return name, [told] if (ingress.namespace, tls.secretName) not in view.secrets else []
    served = f"{own} is served, which clients refuse" if own else "the specification does not say what is served"
    return own, [f"no Ingress has a certificate for {host} under tls: {served}"]
