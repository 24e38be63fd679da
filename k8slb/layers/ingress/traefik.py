"""Traefik 3.7 (provider kubernetesIngress): the routers it makes of Ingresses, compared with the real 3.7.15.

A path becomes a rule such as Host("h") && PathPrefix("/p"); of the rules that match, the longest text wins, so Exact
loses to Prefix and no host is nearer than another. Prefix compares characters; with strictPrefixMatching elements, and
its longer text then beats longer paths too. Of equal lengths any may win, anew at every reload. A Service without an
endpoint makes no router. The provider's options are read from the arguments of its containers. Taken as its chart has
it: the entry points web (http) and websecure (https). X-Forwarded-Server, the replica's own name, is left out.
It waits as long as a pod takes (responseHeaderTimeout 0, the default).
"""

import json
import posixpath
import re
from dataclasses import dataclass
from functools import partial
from hashlib import sha1
from urllib.parse import quote, unquote

from ...cluster import Cluster
from ...controllers import Controller
from ...decision import Lazily, Memory, Rejected
from ...endpoints import of_port
from ...errors import NotModelled
from ...objects import Object, Service
from ...traffic import Flow, Request
from ...upstream import Policy
from .match import Answered, Found, Index, Matched, Route, Terms, behind, by_age, default, routes_by_host, takers

PREFIX = "traefik.ingress.kubernetes.io/"
ENTRY_POINTS = {"web": "http", "websecure": "https"}
MATCHERS = {"Exact": "Path", "Prefix": "PathPrefix"}
KNOWN = re.compile(
    r"router\.(entrypoints|middlewares|pathmatcher|priority|(observability|tls)(\..*)?)"
    r"|service\.(nativelb|nodeportlb|passhostheader|serversscheme|serverstransport|sticky(\..*)?)"
)
ENCODED = re.compile("(?:%(?!3A|2F|3F|23|5B|5D|40|21|24|26|27|28|29|2A|2B|2C|3B|3D|25)[0-9A-F]{2})+")
port_of, quoted = Service.port_of, partial(json.dumps, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Router(Route):
    """What Traefik makes of a route: its rule as text, the path and the beginning that it takes ("": none), and the
    schemes of its entry points. As it stands it is that of a defaultBackend."""

    rule: str = 'PathPrefix("/")'
    exact: str = ""
    prefix: str = "/"
    priority: int = -(2**31)
    schemes: frozenset[str] = frozenset(ENTRY_POINTS.values())

    def fits(self, path: str) -> bool:
        return path == self.exact or (self.prefix != "" and path.startswith(self.prefix))


def settings(thing: Object) -> dict[str, str]:
    """Its annotations for Traefik, by name without the prefix, in lower case."""
    notes = thing.metadata.annotations
    return {k.removeprefix(PREFIX).lower(): v for k, v in notes.items() if k.startswith(PREFIX)}


def option(controller: Controller, name: str) -> bool:
    """Whether an option of the provider is set on its first replica."""
    args = [a.lower() for p in controller.pods[:1] for c in p.spec.containers for a in c.args]
    return any(f"--providers.kubernetesingress.{name}{end}" in args for end in ("", "=true"))


def terms(view: Cluster, controller: Controller, found: Matched, to: Route, flow: Flow) -> Terms:
    """Weighted round robin and no second try; with the Service's annotations a cookie, or the ClusterIP."""
    named = to.backend.service
    service = view.services[to.ingress.namespace, named.name]
    notes = settings(service)
    if notes.get("service.nativelb", "").lower() == "true":
        return Terms(Policy("traefik-wrr", "nativeLB", cluster_ip=True))
    if not any(k.startswith("service.sticky.cookie") and v.lower() != "false" for k, v in notes.items()):
        return Terms(Policy("traefik-wrr", "takes the next ready pod in turn (wrr)"))
    text = f"_TRAEFIK_BACKEND_{service.namespace}-{service.name}-{named.port.wanted}@kubernetes"
    name = notes.get("service.sticky.cookie.name") or "_" + sha1(text.encode()).hexdigest()[:5]
    how = f"takes the pod that the cookie {name} names, else the next in turn (wrr)"
    return Terms(Policy("traefik-wrr", how, remembers=(Memory("cookie", name),)))


def match(view: Cluster, controller: Controller, request: Request) -> Found:
    """The router that takes `request`, or 404; and the others for its host."""
    if re.search("%(?![0-9A-Fa-f]{2})", request.path.partition("?")[0]):
        return Answered(400, f"a % in {request.path} begins no code"), ()
    routers = view.once(("routers", controller.name), lambda: _routers(controller))
    table = [routers[h] for h in takers(request.host.removesuffix(".")) if h in routers]
    sent, path = paths(request.path)
    fitting = [r for t in table for r in t.near(path) if r.fits(path) and request.scheme in r.schemes]
    fitting.sort(key=lambda r: -r.priority)
    best = next((r for r in fitting if not _missing(view, controller, r)), None)

    def others():
        for r in (r for t in table for r in t.routes if r is not best):
            missing = _missing(view, controller, r)
            why = f"matches {path} too, but has the priority {r.priority}" if r in fitting else f"does not match {path}"
            yield Rejected(r.rule, f"left out: {missing}" if missing else why, r.ingress, r.at)

    if best is None:
        alone = map(default, (i for i in by_age(controller.ingresses) if not i.spec.rules))
        fitting = [Router(r.ingress, r.at, r.backend) for r in alone]
        best = next((r for r in fitting if not _missing(view, controller, r)), None)
    if best is None:
        return Answered(404, f"no router's rule matches {request.host}{path}"), Lazily(others)
    equal = [r for r in fitting if r.priority == best.priority and r.backend != best.backend]
    equal = [r for r in equal if (r.ingress.key, r.rule) != (best.ingress.key, best.rule)]  # of one Ingress: replaced
    named = (f"{r.rule} of {r.ingress}" for r in equal if not _missing(view, controller, r))
    warnings = tuple(f"{text} has the same priority: which wins is chance at every reload" for text in named)
    service, port, _ = behind(view, best)
    if port and (port.port == 443 or port.name.startswith("https")):
        warnings += (f"Traefik speaks TLS to port {port.port} of {service}: taken that its pods do too",)
    rule = f"rule {best.rule}"
    return Matched(best, f"{rule}, priority {best.priority}", rule, sent, warnings), Lazily(others)


def _routers(controller: Controller) -> dict[str, Index]:
    """The routers by host, the last of an Ingress first: of equal rules it is the one that is kept."""
    strict, table = option(controller, "strictprefixmatching"), {}
    for host, routes in routes_by_host(by_age(controller.ingresses)).items():
        made = (_router(host, route, strict) for route in reversed(routes))
        table[host] = Index((r for r in made if r), lambda r: r.exact or r.prefix)
    return table


def _router(host: str, route: Route, strict: bool) -> Router | None:
    """None for what Traefik leaves out: no host and no path, a path without /, or annotations it cannot read."""
    notes, path = settings(route.ingress), route.path
    matcher = MATCHERS.get(route.kind) or notes.get("router.pathmatcher", "PathPrefix")
    priority, points = notes.get("router.priority", "0"), notes.get("router.entrypoints", "web, websecure")
    if path and matcher == "PathRegexp":
        raise NotModelled(f"the path matcher PathRegexp ({route.ingress})")
    unread = [k for k in notes if k.startswith("router.") and not KNOWN.fullmatch(k)]
    if unread or not (host or path) or not re.fullmatch("[+-]?[0-9]{1,18}", priority):
        return None
    if path and (path[0] != "/" or matcher not in MATCHERS.values()):
        return None
    exact, prefix, bare = "", path, path.removesuffix("/")
    if matcher == "Path":
        exact, prefix = path, ""
    elif strict and bare:
        exact, prefix = bare, bare + "/"
    said = [f"{name}({quoted(text)})" for name, text in (("Path", exact), ("PathPrefix", prefix)) if text]
    paths = f"({said[0]} || {said[1]})" if len(said) == 2 else "".join(said)
    rule = " && ".join(filter(None, (f"Host({quoted(host)})" if host else "", paths)))
    schemes = frozenset(ENTRY_POINTS.get(point.strip(), "") for point in points.split(","))
    if any(k.startswith("router.tls") and v.lower() != "false" for k, v in notes.items()):
        schemes -= {"http"}
    number = int(priority) or len(rule.encode())
    told = (rule, exact, prefix or "/" * (not path), number, schemes)
    return Router(route.ingress, route.at, route.backend, path, route.kind, *told)


def _missing(view: Cluster, controller: Controller, router: Router) -> str:
    """Why Traefik makes no router for want of a Service; "" where it makes one."""
    service, port, missing = behind(view, router)
    external, notes = service and service.spec.type == "ExternalName", settings(service) if service else {}
    if external:
        return "" if option(controller, "allowexternalnameservices") else f"{service} is an ExternalName"
    if missing or not all(KNOWN.fullmatch(k) for k in notes if k.startswith("service.")):
        return missing or f"{service} has unknown annotations"
    if notes.get("service.nativelb", "").lower() == "true":
        return f"{service} has no ClusterIP" if service.headless else ""
    serving = option(controller, "allowemptyservices") or any(e.serving for e in of_port(view, service, port))
    return "" if serving else f"{service} has no endpoint"


def paths(asked: str) -> tuple[str, str]:
    """(the path that is passed on, the path that rules are compared with): cleaned, and more of it decoded."""
    given, mark, query = asked.partition("?")
    plain = re.sub("%[0-9A-Fa-f]{2}", _decoded, given)
    clean = posixpath.normpath("/" + plain.lstrip("/"))
    sent = quote(clean + "/" * (plain.endswith("/") and clean != "/"), safe="/:@!$&'()*+,;=~%[]")
    return sent + mark + query, ENCODED.sub(lambda m: unquote(m[0]), sent)


def _decoded(code: re.Match) -> str:
    return unquote(code[0]) if re.fullmatch("[A-Za-z0-9._~-]", unquote(code[0])) else code[0].upper()
