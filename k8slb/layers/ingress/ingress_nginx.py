"""ingress-nginx 1.15.1 (kubernetes/ingress-nginx, its last release): the locations it writes, as nginx matches them.

Rules as in internal/ingress/controller/{location,controller,template}.go of that version; matching as nginx does it:
an exact location, else the first regular expression in order, else the longest prefix.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from ...cluster import Cluster
from ...controllers import Controller
from ...decision import OnFailure, Rejected
from ...objects import Ingress, IngressBackend
from ...traffic import Request
from .match import Answered, Matched, by_age, host_in, routes_by_host, with_headers

BALANCER = "ingress-nginx-round-robin"
HOW = "takes the next ready pod in turn (a counter per worker of this replica)"
ON_FAILURE = OnFailure(tries=3)
DEFAULT_CERTIFICATE = "ingress-nginx's self-signed default"
PREFIX = "nginx.ingress.kubernetes.io/"
MODELLED = {"rewrite-target", "use-regex", "ssl-redirect", "force-ssl-redirect", "app-root", "service-upstream"}


def annotation(ingress: Ingress, name: str) -> str:
    return ingress.metadata.annotations.get(PREFIX + name, "")


def dials_cluster_ip(ingress: Ingress) -> bool:
    return annotation(ingress, "service-upstream") == "true"


@dataclass(frozen=True, slots=True)
class Location:
    """One location block: `kind` "=" (exact), "" (prefix) or "~*" (regular expression), and where it comes from."""

    kind: str
    path: str
    ingress: Ingress
    at: tuple[str | int, ...]
    backend: IngressBackend
    rewrite: str = ""

    def __str__(self) -> str:
        return (
            f'location ~* "^{self.path}"'
            if self.kind == "~*"
            else f"location {self.kind + ' ' * bool(self.kind)}{self.path}"
        )


@dataclass(slots=True)
class Server:
    """One server block: its locations in the order they are tried, and why they are regular expressions, if so."""

    locations: list[Location] = field(default_factory=list)
    regex_because: str = ""
    duplicates: list[tuple[Location, Location]] = field(default_factory=list)


def servers(view: Cluster, controller: Controller) -> dict[str, Server]:
    """The server blocks by host ("" is nginx's catch-all server "_"). Made once per cluster."""
    key = ("servers", controller.name)
    if key not in view._memo:
        ingresses = [i for i in by_age(controller.ingresses) if annotation(i, "canary") != "true"]
        made = {host: _server(routes) for host, routes in routes_by_host(ingresses).items()}
        _default_backends(made, ingresses)
        view._memo[key] = made
    return view._memo[key]


def _server(routes: list) -> Server:
    server = Server()
    kept: dict[tuple[str, str], Location] = {}
    for route in routes:
        path, kind = route.path.path or "/", route.path.pathType
        target = annotation(route.ingress, "rewrite-target")
        location = Location(kind, path, route.ingress, route.at, route.path.backend, target if target != path else "")
        if (path, kind) in kept:
            server.duplicates.append((location, kept[path, kind]))
            continue
        kept[path, kind] = location
        if location.rewrite and not server.regex_because:
            server.regex_because = f"rewrite-target of {route.ingress}"
        if annotation(route.ingress, "use-regex") == "true" and not server.regex_because:
            server.regex_because = f"use-regex of {route.ingress}"
    ordered = sorted(kept.values(), key=lambda loc: loc.path, reverse=True)
    ordered.sort(key=lambda loc: len(loc.path), reverse=True)
    exact = {loc.path for loc in ordered if loc.kind == "Exact"}
    for loc in ordered:
        server.locations += _blocks(loc, loc.path in exact)
    if server.regex_because:  # one rewrite on a host turns every path of that host into a regular expression
        server.locations = [_with(loc, "~*", loc.path) for loc in server.locations]
    return server


def _blocks(loc: Location, exact_exists: bool) -> list[Location]:
    """The location blocks of one path: Prefix /foo becomes /foo/ and = /foo."""
    if loc.kind == "Exact":
        return [_with(loc, "=", loc.path)]
    untouched = loc.kind != "Prefix" or loc.path == "/" or loc.rewrite or annotation(loc.ingress, "use-regex") == "true"
    if untouched:
        return [_with(loc, "", loc.path)]
    below = _with(loc, "", loc.path if loc.path.endswith("/") else loc.path + "/")
    return [below] if exact_exists else [below, _with(loc, "=", loc.path)]


def _with(loc: Location, kind: str, path: str) -> Location:
    return Location(kind, path, loc.ingress, loc.at, loc.backend, loc.rewrite)


def _default_backends(made: dict[str, Server], ingresses: list[Ingress]) -> None:
    """A defaultBackend beside rules serves the rest of those rules' hosts; one without rules every other host."""
    for ingress in ingresses:
        backend = ingress.spec.defaultBackend
        for host in ({r.host for r in ingress.spec.rules} or {""}) if backend else ():
            server = made.setdefault(host, Server())
            if not any(loc.path == "/" and loc.kind in ("", "~*") for loc in server.locations):
                kind = "~*" if server.regex_because else ""
                server.locations.append(Location(kind, "/", ingress, ("spec", "defaultBackend"), backend))


def match(view: Cluster, controller: Controller, request: Request) -> tuple[Matched | Answered, list[Rejected]]:
    """The location that takes `request`, or the answer nginx gives itself; and the host's locations that do not."""
    table = servers(view, controller)
    warnings = tuple(
        f"{i} is a canary, which is not modelled: its rules are left out"
        for i in controller.ingresses
        if annotation(i, "canary") == "true" and any(r.host == request.host for r in i.spec.rules)
    )
    host = host_in(table, request.host)
    uri = normalised(request.path)
    if uri is None:
        return Answered(400, f"{request.path} leads above the root"), []
    server = table[host] if host is not None else Server()
    found, why, redirect = _find(server, uri)
    rejected = [
        Rejected(str(loc), _why_not(loc, found, uri), loc.ingress, loc.at)
        for loc in server.locations
        if loc is not found
    ] + [
        Rejected(str(loc), f"the older {by.ingress} has the same path", loc.ingress, loc.at)
        for loc, by in server.duplicates
    ]
    query = request.path.partition("?")[2]
    if redirect:
        to = f"{request.scheme}://{request.host}{redirect}" + (f"?{query}" if query else "")
        return Answered(301, f"nginx adds the trailing slash of {why}: redirect to {to}", to, warnings), rejected
    if found is None:
        told = f"no location of host {host} matches {uri}" if host else f"no rule is for host {request.host}"
        return Answered(404, f"{told}: the default backend answers 404", warnings=warnings), rejected
    redirected = _redirected(found, request, uri)
    if redirected:
        return redirected, rejected
    path, rewritten = _rewritten(found, request.path, uri)
    brief = why + rewritten
    why += rewritten + (f" (regular expressions because of {server.regex_because})" if server.regex_because else "")
    unknown = sorted(
        k for k in found.ingress.metadata.annotations if k.startswith(PREFIX) and k[len(PREFIX) :] not in MODELLED
    )
    warnings += (f"{found.ingress} has annotations that are not modelled: {', '.join(unknown)}",) if unknown else ()
    return Matched(
        found.ingress, found.at, found.backend, f"host {host or '(any)'}, {why}", path, brief, warnings
    ), rejected


def _find(server: Server, uri: str) -> tuple[Location | None, str, str]:
    """(location, how it is named, path to redirect to) as nginx finds it."""
    for loc in server.locations:
        if loc.kind == "=" and loc.path == uri:
            return loc, str(loc), ""
    for loc in server.locations:
        if loc.kind != "~*" and loc.path == uri + "/":
            return None, str(loc), uri + "/"
    for loc in server.locations:
        if loc.kind == "~*" and _search("^" + loc.path, uri):
            return loc, str(loc), ""
    prefixes = [loc for loc in server.locations if loc.kind == "" and uri.startswith(loc.path)]
    best = max(prefixes, key=lambda loc: len(loc.path), default=None)
    return best, str(best), ""


def _why_not(loc: Location, found: Location | None, uri: str) -> str:
    matching = (
        _search("^" + loc.path, uri) if loc.kind == "~*" else uri == loc.path if loc.kind else uri.startswith(loc.path)
    )
    if not matching:
        return f"does not match {uri}"
    return f"matches {uri} too, but {found} " + (
        "stands earlier (longer paths first)" if loc.kind == "~*" else "is closer"
    )


def _search(pattern: str, text: str) -> re.Match | None:
    try:
        return re.search(pattern, text, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError):
        return None  # nginx refuses such a configuration and keeps the old one; the location never matches


def _redirected(found: Location, request: Request, uri: str) -> Answered | None:
    ingress = found.ingress
    encrypted = any(
        request.host in tls.hosts or "*." + request.host.partition(".")[2] in tls.hosts for tls in ingress.spec.tls
    )
    wanted = annotation(ingress, "force-ssl-redirect") == "true" or (
        encrypted and annotation(ingress, "ssl-redirect") != "false"
    )
    if request.scheme == "http" and wanted:
        to = f"https://{request.host}{request.path}"
        return Answered(308, f"ssl-redirect of {ingress}: redirect to {to}", to)
    root = annotation(ingress, "app-root")
    if root and uri == "/" and found.path == "/":
        return Answered(302, f"app-root of {ingress}: redirect to {root}", f"{request.scheme}://{request.host}{root}")
    return None


def _rewritten(found: Location, asked: str, uri: str) -> tuple[str, str]:
    """(the path the backend receives, what to say of it): rewrite "(?i)PATH" TARGET break."""
    if not found.rewrite:
        return asked, ""
    hit = _search(found.path, uri)
    if hit is None:
        return asked, f"; rewrite-target {found.rewrite} does not apply"
    groups = hit.groups(default="")
    path = re.sub(r"\$(\d)", lambda m: groups[int(m[1]) - 1] if 0 < int(m[1]) <= len(groups) else "", found.rewrite)
    captured = "" if groups else ", and nothing is captured to keep the rest"
    query = asked.partition("?")[2]
    return path + (f"?{query}" if query else ""), f"; rewrite-target {found.rewrite} makes it {path}{captured}"


def normalised(path: str) -> str | None:
    """A request's path as nginx matches it: decoded, // merged, . and .. resolved; None above the root."""
    out: list[str] = []
    given = re.sub(r"/+", "/", unquote(path.partition("?")[0]))
    parts = given.split("/")[1:]
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if part == "..":
            if not out:
                return None
            out.pop()
        elif part != ".":
            out.append(part)
            continue
        if last:
            out.append("")
    return "/" + "/".join(out)


def forwarded(found: Matched, request: Request, client: str) -> Request:
    """The request with the headers ingress-nginx sets; the client is the address this replica saw."""
    port = "443" if request.scheme == "https" else "80"
    headers = {
        "x-real-ip": client,
        "x-forwarded-for": client,
        "x-forwarded-host": request.host,
        "x-forwarded-port": port,
        "x-forwarded-proto": request.scheme,
        "x-forwarded-scheme": request.scheme,
        "x-scheme": request.scheme,
    }
    return with_headers(request, found.path, headers)
