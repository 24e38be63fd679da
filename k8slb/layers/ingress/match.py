"""What matching a request against Ingress rules comes to, whatever the controller."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...cluster import Cluster, grouped
from ...decision import Limit, Memory, Rejected
from ...objects import Ingress, IngressBackend, Service, ServicePort
from ...upstream import Policy


@dataclass(frozen=True, slots=True)
class Route:
    """A path of a rule of an Ingress, or its defaultBackend: where it stands (`at`), its backend, what it takes
    (`kind`: the pathType)."""

    ingress: Ingress
    at: tuple[str | int, ...]
    backend: IngressBackend | None
    path: str = "/"
    kind: str = "Prefix"

    def __str__(self) -> str:
        return f"{self.path or '/'} ({self.kind})"


def default(ingress: Ingress) -> Route:
    return Route(ingress, ("spec", "defaultBackend"), ingress.spec.defaultBackend)


@dataclass(frozen=True, slots=True)
class Split:
    """A second route beside the one that matched, and how many of the requests each gets (of `weights`); why."""

    canary: Route
    weights: tuple[int, int]
    why: str
    remembers: tuple[Memory, ...] = ()

    @property
    def decided(self) -> int | None:
        """Which of the two gets them all; None where chance decides."""
        return None if all(self.weights) else int(self.weights[1] > 0)


@dataclass(frozen=True, slots=True)
class Matched:
    """The route of a request, why in full and in brief, and the path that the backend receives."""

    route: Route
    why: str
    brief: str
    path: str
    warnings: tuple[str, ...] = ()
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The controller answers by itself."""

    status: int
    why: str
    location: str = ""
    warnings: tuple[str, ...] = ()


Found = tuple[Matched | Answered, Sequence[Rejected]]  # what becomes of a request, and the routes that do not take it


def moved(status: int, because: str, to: str) -> Answered:
    return Answered(status, f"{because}: redirect to {to}", to)


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a matched request is passed on; `refusal`: the proxy's own answer, once it has an endpoint; `log`:
    the line it writes, with the holes {upstream} and {status}."""

    policy: Policy
    limits: tuple[Limit, ...] = ()
    refusal: Answered | None = None
    warnings: tuple[str, ...] = ()
    log: str = ""


def behind(
    view: Cluster, route: Route, port_of: Callable = Service.port_of
) -> tuple[Service | None, ServicePort | None, str]:
    """(the Service that a route names, its port, what is missing of them)."""
    named, namespace = route.backend.service, route.ingress.namespace
    service = view.services.get((namespace, named.name)) if named else None
    if service is None:
        return None, None, f"there is no Service {namespace}/{named.name}" if named else "a resource backend"
    if port := port_of(service, named.port.wanted):
        return service, port, ""
    has = ", ".join(f"{p.name} {p.port}".strip() for p in service.spec.ports)
    return service, None, f"{service} has no port {named.port.wanted} (it has {has})"


def by_age(ingresses: Iterable[Ingress]) -> list[Ingress]:
    """Oldest first; without a creationTimestamp in the order of the input."""
    return sorted(ingresses, key=lambda i: i.metadata.creationTimestamp)


def age_unknown(taken: Route, other: Route) -> tuple[str, ...]:
    """A warning where nothing says whose Ingress is older, of two routes with the same path."""
    one, two = taken.ingress, other.ingress
    ages = {one.metadata.creationTimestamp, two.metadata.creationTimestamp}
    if one is two or (len(ages) == 2 and "" not in ages):
        return ()
    return (f"{one} and {two} have the same path {other.path} and no creationTimestamp tells which is older: {one}",)


def routes_by_host(ingresses: Iterable[Ingress]) -> dict[str, list[Route]]:
    """Every path of these Ingresses under its rule's host ("" for any host)."""
    table: dict[str, list[Route]] = {}
    for ingress in ingresses:
        for i, rule in enumerate(ingress.spec.rules):
            routes = table.setdefault(rule.host, [])
            for j, one in enumerate(rule.http.paths if rule.http else ()):
                at = ("spec", "rules", i, "http", "paths", j)
                routes.append(Route(ingress, at, one.backend, one.path, one.pathType))
    return table


class Index:
    """The routes of a host, found by path: one that takes a path is written as its beginning, or it with a slash."""

    def __init__(self, routes: Iterable[Any], written: Callable[[Any], str] = lambda route: route.path):
        self.routes = list(routes)
        self._by_path = grouped(("/" + written(route).removeprefix("/"), route) for route in self.routes)

    def near(self, path: str) -> list[Any]:
        """Those that may take `path`, a few of many; of those written alike the order is kept."""
        beginnings = (path[:i] for i in range(1, len(path) + 1))
        return [route for text in (*beginnings, path + "/") for route in self._by_path.get(text, ())]


def takers(host: str) -> tuple[str, str, str]:
    """The hosts of rules that cover `host`, the most specific first: itself, * for its first label, any."""
    return (host, "*." + host.partition(".")[2], "")
