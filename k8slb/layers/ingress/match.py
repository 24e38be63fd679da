"""What matching a request against Ingress rules comes to, whatever the controller."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ...objects import HTTPIngressPath, Ingress, IngressBackend
from ...traffic import Request


@dataclass(frozen=True, slots=True)
class Matched:
    """A rule matched: where it stands (`at`, a path in the Ingress), its backend, and the path the backend receives."""

    ingress: Ingress
    at: tuple[str | int, ...]
    backend: IngressBackend
    why: str
    path: str
    brief: str
    warnings: tuple[str, ...] = ()

    @property
    def where(self) -> tuple[str, int | None]:
        return self.ingress.where(*self.at)


@dataclass(frozen=True, slots=True)
class Answered:
    """The controller answers by itself."""

    status: int
    why: str
    location: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One path of one rule of one Ingress."""

    ingress: Ingress
    at: tuple[str | int, ...]
    path: HTTPIngressPath

    def __str__(self) -> str:
        return f"{self.path.path or '/'} ({self.path.pathType})"


def by_age(ingresses: tuple[Ingress, ...]) -> list[Ingress]:
    """Oldest first; without a creationTimestamp in the order of the input."""
    return sorted(ingresses, key=lambda i: i.metadata.creationTimestamp)


def age_unknown(taken: Ingress, other: Ingress, path: str) -> tuple[str, ...]:
    """A warning where nothing says which of two Ingresses with the same path is older."""
    ages = {taken.metadata.creationTimestamp, other.metadata.creationTimestamp}
    if taken is other or (len(ages) == 2 and "" not in ages):
        return ()
    return (f"{taken} and {other} have the same path {path} and no creationTimestamp tells which is older: {taken}",)


def routes_by_host(ingresses: list[Ingress]) -> dict[str, list[Route]]:
    """Every path of these Ingresses under its rule's host ("" for any host)."""
    table: dict[str, list[Route]] = {}
    for ingress in ingresses:
        for i, rule in enumerate(ingress.spec.rules):
            routes = table.setdefault(rule.host, [])
            for j, path in enumerate(rule.http.paths if rule.http else ()):
                routes.append(Route(ingress, ("spec", "rules", i, "http", "paths", j), path))
    return table


class Index:
    """The routes of a host, found by path: one that takes a path is written as its beginning, or it with a slash."""

    def __init__(self, routes: Iterable[Any], written: Callable[[Any], str] = lambda route: route.path.path):
        self.routes = list(routes)
        self._by_path: dict[str, list[Any]] = {}
        for route in self.routes:
            self._by_path.setdefault("/" + written(route).removeprefix("/"), []).append(route)

    def near(self, path: str) -> list[Any]:
        """Those that may take `path`, a few of many; of those written alike the order is kept."""
        beginnings = (path[:i] for i in range(1, len(path) + 1))
        return [route for text in (*beginnings, path + "/") for route in self._by_path.get(text, ())]


def takers(host: str) -> tuple[str, str, str]:
    """The hosts of rules that cover `host`, the most specific first: itself, * for its first label, any."""
    return (host, "*." + host.partition(".")[2], "")


def with_headers(request: Request, path: str, headers: dict[str, str]) -> Request:
    """The request as the controller passes it on: TLS ends here, so the scheme is http."""
    kept = {k: v for k, v in request.headers if k not in headers}
    return replace(request, scheme="http", path=path, headers=tuple((kept | headers).items()))
