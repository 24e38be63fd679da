"""What matching a request against Ingress rules comes to, whatever the controller."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    rule: int
    index: int
    path: HTTPIngressPath

    @property
    def at(self) -> tuple[str | int, ...]:
        return ("spec", "rules", self.rule, "http", "paths", self.index)

    def __str__(self) -> str:
        return f"{self.path.path or '/'} ({self.path.pathType})"


def by_age(ingresses: tuple[Ingress, ...]) -> list[Ingress]:
    """Oldest first; without a creationTimestamp in the order of the input."""
    return sorted(ingresses, key=lambda i: i.metadata.creationTimestamp)


def routes_by_host(ingresses: list[Ingress]) -> dict[str, list[Route]]:
    """Every path of these Ingresses under its rule's host ("" for any host)."""
    table: dict[str, list[Route]] = {}
    for ingress in ingresses:
        for i, rule in enumerate(ingress.spec.rules):
            routes = table.setdefault(rule.host, [])
            routes += [Route(ingress, i, j, p) for j, p in enumerate(rule.http.paths if rule.http else ())]
    return table


def host_in(table: dict[str, object], host: str) -> str | None:
    """Which host of the table takes the request: exact before wildcard (one label) before any; None for none."""
    for candidate in (host, "*." + host.partition(".")[2], ""):
        if candidate in table:
            return candidate
    return None


def with_headers(request: Request, path: str, headers: dict[str, str]) -> Request:
    """The request as the controller passes it on: TLS ends here, so the scheme is http."""
    kept = {k: v for k, v in request.headers if k not in headers}
    return replace(request, scheme="http", path=path, headers=tuple((kept | headers).items()))
