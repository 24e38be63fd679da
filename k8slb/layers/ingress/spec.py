"""The Ingress specification itself (networking.k8s.io/v1): no product, no annotations.

The most specific host takes the request (exact, then *.name for one label, then any) and keeps it; the longest matching
path wins, Exact before Prefix; of equal rules the oldest Ingress. Prefix matches path element by path element. The
specification names no balancer: uniform random is used. ImplementationSpecific is left open by it and taken as Prefix.
"""

from collections.abc import Iterator, Sequence

from ...cluster import Cluster
from ...controllers import Controller
from ...decision import Lazily, Rejected
from ...objects import HTTPIngressPath, Ingress, Service
from ...traffic import Request
from ...upstream import Policy
from .match import Answered, Index, Matched, Route, age_unknown, by_age, routes_by_host, takers, with_headers

POLICY = Policy("spec-random", "picks at random (the specification names no balancer)")
DEFAULT_CERTIFICATE = None
BEFORE = "is longer, or as long and Exact, or older"
port_of = Service.port_of


def policy(found: Matched, service: Service) -> Policy:
    return POLICY


def match(view: Cluster, controller: Controller, request: Request) -> tuple[Matched | Answered, Sequence[Rejected]]:
    """The rule that takes `request`, or 404; and the rules of that host that do not."""
    key = ("routes", controller.name)
    if key not in view._memo:
        view._memo[key] = _table(by_age(controller.ingresses))
    table, defaults, count = view._memo[key]
    path = request.path.partition("?")[0]
    host = next((h for h in takers(request.host) if h in table), None)
    fitting = [r for r in table[host].near(path) if matches(r.path, path)] if host is not None else []
    fitting.sort(key=_precedence, reverse=True)  # stable: of equal rules the oldest stays first

    def others() -> Iterator[Rejected]:
        for r in fitting[1:]:
            yield Rejected(str(r), f"matches {path} too, but {fitting[0]} {BEFORE}", r.ingress, r.at)
        for r in table[host].routes if host is not None else ():
            if all(r is not f for f in fitting):
                yield Rejected(str(r), f"does not match {path}", r.ingress, r.at)

    rejected = Lazily(others)
    if fitting:
        best = fitting[0]
        why = f"host {host or '(any)'}, path {best}"
        ties = [r.ingress for r in fitting[1:] if _precedence(r) == _precedence(best)]
        warnings = age_unknown(best.ingress, ties[0], best.path.path) if ties else ()
        return Matched(best.ingress, best.at, best.path.backend, why, request.path, f"path {best}", warnings), rejected
    owner = defaults.get(host, defaults.get(None))
    if owner:
        why = f"no rule matches {request.host}{path}, so the defaultBackend"
        told = f"{count} Ingresses have a defaultBackend and nothing says whose is meant: {owner}'s"
        at, backend, warnings = ("spec", "defaultBackend"), owner.spec.defaultBackend, (told,) if count > 1 else ()
        return Matched(owner, at, backend, why, request.path, "defaultBackend", warnings), rejected
    none = (
        f"no rule is for host {request.host}" if host is None else f"no path of host {host or '(any)'} matches {path}"
    )
    return Answered(404, f"{none} and there is no defaultBackend"), rejected


def _table(ingresses: list[Ingress]) -> tuple[dict[str, Index], dict[str | None, Ingress], int]:
    """The routes by host; whose defaultBackend serves a host (None: any other, an Ingress without rules first), of how
    many."""
    owners: dict[str | None, Ingress] = {}
    defaults = sorted((i for i in ingresses if i.spec.defaultBackend), key=lambda i: bool(i.spec.rules))
    for ingress in defaults:
        for host in (None, *(rule.host for rule in ingress.spec.rules)):
            owners.setdefault(host, ingress)
    return {host: Index(routes) for host, routes in routes_by_host(ingresses).items()}, owners, len(defaults)


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
