"""The Ingress specification itself (networking.k8s.io/v1): no product, no annotations.

The most specific host takes the request (exact, then *.name for one label, then any) and keeps it; the longest matching
path wins, Exact before Prefix; of equal rules the oldest Ingress. Prefix matches path element by path element. The
specification names no balancer: uniform random is used. ImplementationSpecific is left open by it and taken as Prefix.
"""

from ...cluster import Cluster
from ...controllers import Controller
from ...decision import Rejected
from ...objects import HTTPIngressPath, Service
from ...traffic import Request
from ...upstream import Policy
from .match import Answered, Matched, Route, age_unknown, by_age, routes_by_host, takers, with_headers

POLICY = Policy("spec-random", "picks at random (the specification names no balancer)")
DEFAULT_CERTIFICATE = None
port_of = Service.port_of


def policy(found: Matched, service: Service) -> Policy:
    return POLICY


def match(view: Cluster, controller: Controller, request: Request) -> tuple[Matched | Answered, list[Rejected]]:
    """The rule that takes `request`, or 404; and the rules of that host that do not."""
    key = ("routes", controller.name)
    if key not in view._memo:
        view._memo[key] = routes_by_host(by_age(controller.ingresses))
    table = view._memo[key]
    path = request.path.partition("?")[0]
    host = next((h for h in takers(request.host) if h in table), None)
    routes = table.get(host, ())
    fitting = [r for r in routes if matches(r.path, path)]
    fitting.sort(key=_precedence, reverse=True)  # stable: of equal rules the oldest stays first
    rejected = [Rejected(str(r), f"does not match {path}", r.ingress, r.at) for r in routes if r not in fitting]
    if fitting:
        best = fitting[0]
        why_not = f"{best} is longer, or as long and Exact, or older"
        rejected += [Rejected(str(r), f"matches {path} too, but {why_not}", r.ingress, r.at) for r in fitting[1:]]
        why = f"host {host or '(any)'}, path {best}"
        ties = [r.ingress for r in fitting[1:] if _precedence(r) == _precedence(best)]
        warnings = age_unknown(best.ingress, ties[0], best.path.path) if ties else ()
        return Matched(best.ingress, best.at, best.path.backend, why, request.path, f"path {best}", warnings), rejected
    defaults = [i for i in by_age(controller.ingresses) if i.spec.defaultBackend]
    defaults.sort(key=lambda i: (host not in {r.host for r in i.spec.rules}, bool(i.spec.rules)))
    if defaults:
        owner, *others = defaults
        why = f"no rule matches {request.host}{path}, so the defaultBackend"
        told = f"{len(defaults)} Ingresses have a defaultBackend and nothing says whose is meant: {owner}'s"
        at, backend, warnings = ("spec", "defaultBackend"), owner.spec.defaultBackend, (told,) if others else ()
        return Matched(owner, at, backend, why, request.path, "defaultBackend", warnings), rejected
    none = (
        f"no rule is for host {request.host}" if host is None else f"no path of host {host or '(any)'} matches {path}"
    )
    return Answered(404, f"{none} and there is no defaultBackend"), rejected


def matches(rule: HTTPIngressPath, path: str) -> bool:
    """Exact: equal to the letter. Prefix: equal element by element, a trailing slash on either side ignored."""
    if rule.pathType == "Exact":
        return path == rule.path
    wanted, given = elements(rule.path), elements(path)
    return given[: len(wanted)] == wanted


def elements(path: str) -> list[str]:
    inner = path.removeprefix("/").removesuffix("/")
    return inner.split("/") if inner else []


def _precedence(route: Route) -> tuple[int, bool, int]:
    path = route.path.path
    return (len(path.rstrip("/")), route.path.pathType == "Exact", len(path))


def forwarded(found: Matched, request: Request, client: str) -> Request:
    """Nothing is rewritten; no header is promised."""
    return with_headers(request, found.path, {})
