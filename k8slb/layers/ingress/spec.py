"""The Ingress specification itself (networking.k8s.io/v1): no product, no annotations.

The most specific host takes the request (exact, then *.name for one label, then any) and keeps it; the longest matching
path wins, Exact before Prefix; of equal rules the oldest Ingress. Prefix matches path element by path element. The
specification names no balancer: uniform random is used. ImplementationSpecific is left open by it and taken as Prefix.
Nothing is rewritten, no header is promised.
"""

from collections.abc import Iterator
from typing import Any

from ...cluster import Cluster
from ...controllers import Controller
from ...decision import Lazily, Rejected
from ...objects import Ingress, Service
from ...traffic import Request
from ...upstream import Policy
from .match import Answered, Found, Index, Matched, Route, Terms, age_unknown, by_age, default, routes_by_host, takers

TERMS = Terms(Policy("spec-random", "picks at random (the specification names no balancer)"))
port_of = Service.port_of
BEFORE = "is longer, or as long and Exact, or older"


def terms(*asked: Any) -> Terms:
    return TERMS


def match(view: Cluster, controller: Controller, request: Request) -> Found:
    """The rule that takes `request`, or 404; and the rules of that host that do not."""
    hosts, defaults, count = table(view, controller)
    path = request.path.partition("?")[0]
    host = next((h for h in takers(request.host) if h in hosts), None)
    fitting = [r for r in hosts[host].near(path) if matches(r, path)] if host is not None else []
    fitting.sort(key=precedence, reverse=True)  # stable: of equal rules the oldest stays first

    def others() -> Iterator[Rejected]:
        for r in fitting[1:]:
            yield Rejected(str(r), f"matches {path} too, but {fitting[0]} {BEFORE}", r.ingress, r.at)
        for r in hosts[host].routes if host is not None else ():
            if all(r is not f for f in fitting):
                yield Rejected(str(r), f"does not match {path}", r.ingress, r.at)

    rejected = Lazily(others)
    if fitting:
        best, *rest = fitting
        tied = next((age_unknown(best, r) for r in rest if precedence(r) == precedence(best)), ())
        return Matched(best, f"host {host or '(any)'}, path {best}", f"path {best}", request.path, tied), rejected
    owner = defaults.get(host, defaults.get(None))
    if owner:
        why = f"no rule matches {request.host}{path}, so the defaultBackend"
        told = f"{count} Ingresses have a defaultBackend and nothing says whose is meant: {owner}'s"
        return Matched(default(owner), why, "defaultBackend", request.path, (told,) * (count > 1)), rejected
    none = f"no path of host {host or '(any)'} matches {path}" if host is not None else ""
    return Answered(404, f"{none or f'no rule is for host {request.host}'} and there is no defaultBackend"), rejected


def table(view: Cluster, controller: Controller) -> tuple[dict[str, Index], dict[str | None, Ingress], int]:
    """The routes by host; whose defaultBackend serves a host (None: any other, an Ingress without rules first), of how
    many."""
    return view.once(("routes", controller.name), lambda: _table(by_age(controller.ingresses)))


def _table(ingresses: list[Ingress]) -> tuple[dict[str, Index], dict[str | None, Ingress], int]:
    owners: dict[str | None, Ingress] = {}
    defaults = sorted((i for i in ingresses if i.spec.defaultBackend), key=lambda i: bool(i.spec.rules))
    for ingress in defaults:
        for host in (None, *(rule.host for rule in ingress.spec.rules)):
            owners.setdefault(host, ingress)
    return {host: Index(routes) for host, routes in routes_by_host(ingresses).items()}, owners, len(defaults)


def matches(route: Route, path: str) -> bool:
    """Exact: equal to the letter. Prefix: equal element by element, a trailing slash on either side ignored."""
    bare = f"/{route.path.removeprefix('/')}".removesuffix("/")
    return path == route.path if route.kind == "Exact" else path == bare or path.startswith(bare + "/")


def precedence(route: Route) -> tuple[int, bool, int]:
    """Of the routes that match, the greatest wins; of equal ones the oldest."""
    return (len(route.path.rstrip("/")), route.kind == "Exact", len(route.path))
