"""The Ingress controller: which rule matches a request, and which pod the controller then dials.

Controllers dial pods, not the Service's ClusterIP: they read EndpointSlices themselves, so kube-proxy has no part in
this step unless service-upstream asks for it. What the controllers do differently stands in a file of each.
"""

from functools import partial
from types import ModuleType

from ...cluster import Cluster
from ...controllers import INGRESS_NGINX, SPEC, Controller
from ...decision import Candidate, Decision, Place, Rejected, to_endpoint
from ...endpoints import of_port, why_none
from ...errors import NotModelled
from ...objects import Service, ServicePort
from ...traffic import Flow, Request
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
    answer = partial(Decision, layer="ingress", place=place, grain="request", flow=flow)
    warnings += found.warnings
    if isinstance(found, Answered):
        facts |= {"location": found.location} if found.location else {}
        told = {"facts": facts, "rejected": tuple(rejected), "warnings": tuple(warnings)}
        return answer(action="respond", status=found.status, why=found.why, **told)
    served = view.served[found.ingress.key]
    warnings += [f"{found.ingress}: {served.why}"] if served.assumed and not found.ingress.spec.ingressClassName else []
    service, port, missing = _backend(view, found, how)
    wanted = found.backend.service
    number = port.port if port else wanted.port.wanted
    facts["backend"] = {"namespace": found.ingress.namespace, "service": wanted.name, "port": number}
    onward = how.forwarded(found, request, flow.source)
    facts["forwarded"] = {"host": onward.host, "path": onward.path, "headers": dict(onward.headers)}
    upstream = not missing and how.dials_cluster_ip(found.ingress, service)
    endpoints = [] if missing or upstream else of_port(view, service, port)
    ready = [e for e in endpoints if e.ready]
    unready = [e for e in endpoints if not e.ready]
    rejected += [Rejected(f"{e.name or 'endpoint'} {e.address}", "not ready", service, ("spec",)) for e in unready]
    answer = partial(answer, rejected=tuple(rejected), facts=facts, warnings=tuple(warnings))
    where = "{}:{}".format(*found.where) if found.where[0] else "assumed"
    why = f"{found.why} ({where}) is {wanted.name}:{number}"
    source = flow.destination  # the controller opens a connection of its own, from its own address
    if upstream:
        to = Flow("TCP", source, service.spec.clusterIP, port.port, onward)
        why += "; service-upstream: to the ClusterIP, so kube-proxy's rules pick"
        candidate = Candidate(str(service), to.to, place, to)
        return answer(action="forward", why=why, candidates=(candidate,), on_failure=how.ON_FAILURE)
    if not ready:
        missing = missing or f"{service} has no ready endpoint{why_none(view, service, port)}"
        return answer(action="respond", status=503, why=f"{why}, but {missing}")
    candidates = [to_endpoint(view, e, Flow("TCP", source, "", 0, onward)) for e in ready]
    return answer(
        action="forward",
        why=f"{why}; {how.HOW}, and dials it directly, not through the ClusterIP {service.spec.clusterIP}",
        brief=(f"{found.brief} ({where}) is {wanted.name}:{number}", ", not through its ClusterIP"),
        candidates=tuple(candidates),
        balancer=how.BALANCER,
        state=("ingress", place, found.ingress.namespace, wanted.name, number),
        on_failure=how.ON_FAILURE,
    )


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
