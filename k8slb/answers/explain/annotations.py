"""What stands beside an Ingress's rules: its annotations and certificates, where they do not do what they say."""

import re
from collections.abc import Iterator
from math import sqrt

from ... import path
from ...cluster import Cluster, grouped
from ...controllers import INGRESS_NGINX, KNOWN
from ...decision import Timeline, pod_place
from ...endpoints import of_port
from ...layers.ingress import certificate_for
from ...layers.ingress.match import Answered, behind, takers
from ...layers.ingress.nginx_annotations import ALLOWED, DENIED, LIMITS, PREFIX, annotation, number
from ...layers.ingress.nginx_upstreams import is_canary, port_of
from ...layers.mesh.members import member_at
from ...objects import Ingress
from ...traffic import Request
from .asking import NOTES, ask, host_of, listed, meant, near, rules, serving
from .finding import Finding, each, of

NOTE = ("metadata", "annotations")
STICKY = {"affinity": "cookie", "upstream-hash-by": ".", "load-balance": "ewma"}  # what service-upstream undoes
CLUSTER_IP = "/(service-upstream|service.nativelb|use-cluster-ip)$"  # what has controllers dial it
BY_HOST = (
    "nginx.org/ingress-controller",
    "haproxy.org/ingress-controller",
    "ingress-controllers.konghq.com/kong",
)  # TLS
POOL = 20  # the number of connections for which an unevenness is told


@each(Ingress)
def not_read(view: Cluster, ingress: Ingress) -> Iterator[Finding]:
    """Annotations that nobody reads: misspelt, or made for another controller alone."""
    served, notes, known = view.served[ingress.key], ingress.metadata.annotations, NOTES["known"] + NOTES["older"]
    for name in notes:
        prefix, slash, rest = name.partition("/")
        right = near(rest, known, 0.85) if prefix + slash == PREFIX and rest not in known else ""
        right = rest if rest in known and near(prefix + slash, [PREFIX], 0.9) else right
        if right:
            yield of("annotation-misspelt", ingress, *NOTE, name, name=name, right=PREFIX + right)
    made = [k for k in KNOWN.values() if k.annotations and any(n.startswith(k.annotations) for n in notes)]
    own = KNOWN.get(served.controller)  # two projects have the class nginx
    sure = own and own.annotations and not (served.assumed and served.controller == INGRESS_NGINX)
    if made and sure and own not in made:
        given = [n for n in notes if n.startswith(tuple(k.annotations for k in made))]
        told = {"names": listed(given), "count": len(given), "own": own, "whose": listed(k.title for k in made)}
        yield of("annotations-of-another", ingress, *NOTE, given[0], **told)


@each(Ingress)
def undone(view: Cluster, ingress: Ingress) -> Iterator[Finding]:
    """Stickiness, or balancing, that something else undoes."""
    served, nginx = view.served[ingress.key].controller, serving(view, ingress, INGRESS_NGINX)
    known = KNOWN.get(served)
    pooled = nginx and annotation(ingress, "service-upstream") == "true"
    asked = [n for n, only in STICKY.items() if re.match(only, annotation(ingress, n))]
    backends = [behind(view, route, port_of)[:2] for _, route in rules(ingress) if route.backend.service]
    for service, port in {(s.key, p.port): (s, p) for s, p in backends if s and p}.values():
        pods = sum(e.ready for e in of_port(view, service, port))
        told = {"service": service, "pods": pods, "ingress": ingress, "known": known, "names": listed(asked)}
        dialled = any(re.search(CLUSTER_IP, n.lower()) for one in (ingress, service) for n in one.metadata.annotations)
        told |= {"uneven": sqrt((pods - 1) / POOL), "pool": POOL} if pods else {}
        if pooled and asked and pods > 1:
            yield of("sticky-undone", ingress, *NOTE, PREFIX + asked[0], **told)
        elif service.spec.sessionAffinity == "ClientIP" and known and known.dials == "pods":
            told |= {"title": known.title, "replicas": max(1, len(view.controllers[served].pods))}
            if dialled and pods > told["replicas"]:
                yield of("affinity-of-proxies", service, "spec", "sessionAffinity", **told)
            elif not dialled:
                yield of("affinity-bypassed", service, "spec", "sessionAffinity", **told)
        elif pooled and pods > 1:
            own = view.selected(service.namespace, service.spec.selector)[:1]
            if not any(member_at(view, pod_place(p)).mesh for p in own):  # which would see each request
                yield of("pooled-connections", ingress, *NOTE, PREFIX + "service-upstream", **told)


@each(Ingress)
def counted_apart(view: Cluster, ingress: Ingress) -> Iterator[Finding]:
    """Limits that each replica counts for itself; what goes by the client's address where that is hidden."""
    controller, routes = serving(view, ingress, INGRESS_NGINX), rules(ingress)
    if not controller or not routes or is_canary(ingress):
        return
    by = [n for n in (*LIMITS, *ALLOWED, DENIED) if annotation(ingress, n)]
    for name in (n for n in LIMITS if number(ingress, n) > 0 and len(controller.pods) > 1):
        told = {"name": name, "limit": number(ingress, name), "replicas": len(controller.pods)}
        all_ = told["limit"] * told["replicas"]
        yield of("limit-per-replica", ingress, *NOTE, PREFIX + name, all=all_, **told)
    if re.search(r"\$\{?(binary_)?remote_addr", annotation(ingress, "upstream-hash-by")):
        by.append("upstream-hash-by")
    front = controller.service
    if by and front and front.origin.file and not view.once("clients are told", lambda: _told(view)):
        begin = path.start(view, ask(view, controller, routes[0][0], meant(routes[0][1].path)[0]).url, "external")
        hops = path.walk(Timeline.still(view), begin)
        seen = next((h.decision.flow.source for h in hops if h.decision.layer == "ingress"), begin.flow.source)
        if seen != begin.flow.source:
            told = {"names": listed(by), "client": begin.flow.source, "seen": seen, "nodes": len(view.nodes)}
            yield of("client-address-hidden", ingress, *NOTE, PREFIX + by[0], front=front, **told)


def _told(view: Cluster) -> bool:
    """Whether a ConfigMap has the controller learn the client's address by other means."""
    settings = (c.raw.get("data") or {} for c in view.of("ConfigMap"))
    return any(str(s.get(k)) == "true" for s in settings for k in ("use-proxy-protocol", "use-forwarded-headers"))


@each(Ingress)
def certificates(view: Cluster, ingress: Ingress) -> Iterator[Finding]:
    tls, notes, served = ingress.spec.tls, ingress.metadata.annotations, view.served[ingress.key].controller
    modelled, controller = serving(view, ingress), view.controllers.get(served)
    if not controller or not tls or not (modelled or served in BY_HOST):
        return
    own, named = KNOWN[controller.name].certificate, {h for t in tls for h in t.hosts}
    told = {"secrets": listed(t.secretName for t in tls if t.secretName), "own": own or "another certificate"}
    for i, rule in enumerate(ingress.spec.rules):
        asked = Request("https", host_of(rule.host), "/", sni=host_of(rule.host))
        if rule.host and rule.host not in named and all(t.hosts for t in tls) and told["secrets"]:
            if certificate_for(view, controller, asked)[0] == own:
                at = ("spec", "rules", i, "host")
                yield of("tls-host-missing", ingress, *at, host=rule.host, hosts=listed(named), **told)
    aliased = any(annotation(ingress, n) for n in ("server-alias", "from-to-www-redirect"))
    aliased = aliased or ingress.spec.defaultBackend
    for i, one in enumerate(tls):
        for j, host in enumerate(one.hosts if not aliased else ()):
            ruled = any(h in view.hosts for h in takers(host))
            ruled = ruled or ("*" in host and any(h.endswith(host[1:]) for h in view.hosts))
            way = ask(view, modelled, host, "/") if modelled and not (ruled or host in view.gateway_hosts) else None
            if way and isinstance(way.found, Answered) and way.found.status == 404:
                at, like = ("spec", "tls", i, "hosts", j), near(host, view.hosts)
                hint = f"; {like} has rules" if like else ""
                yield of("tls-host-without-rule", ingress, *at, host=host, hint=hint)
        made = any(n.startswith(("cert-manager.io/", "kubernetes.io/tls-acme")) for n in notes)
        by_name = view.once("Secrets by name", lambda: grouped((s.name, s.namespace) for s in view.secrets.values()))
        there = by_name.get(one.secretName, ())
        if there and not made and ingress.namespace not in there:
            told |= {"one": one, "there": listed(there), "hosts": listed(one.hosts)}
            yield of("tls-secret-elsewhere", ingress, "spec", "tls", i, "secretName", **told)
