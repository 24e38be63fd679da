"""ingress-nginx 1.15.1 (kubernetes/ingress-nginx, its last release): the locations it writes, as nginx matches them.

Rules as in internal/ingress/controller/{location,controller,template}.go of that version; matching as nginx does it:
an exact location, else the first regular expression in order, else the longest prefix.
"""

import re
from dataclasses import dataclass, replace
from math import comb, prod
from urllib.parse import quote, unquote

from ...cluster import Cluster
from ...controllers import Controller
from ...decision import OnFailure, Rejected
from ...errors import NotModelled, shown
from ...objects import Ingress, IngressBackend, Service, ServicePort
from ...traffic import Request
from ...upstream import Policy
from .match import Answered, Matched, Route, age_unknown, by_age, routes_by_host, takers, with_headers

IN_TURN = "takes the next ready pod in turn (a counter per worker of this replica)"
DEFAULT_CERTIFICATE = "ingress-nginx's self-signed default"
PREFIX = "nginx.ingress.kubernetes.io/"
MODELLED = {"rewrite-target", "use-regex", "ssl-redirect", "force-ssl-redirect", "app-root", "service-upstream"}


def annotation(ingress: Ingress, name: str) -> str:
    return ingress.metadata.annotations.get(PREFIX + name, "")


def policy(found: Matched, service: Service) -> Policy:
    """Round robin over pods with three tries; service-upstream dials the ClusterIP."""
    upstream = annotation(found.ingress, "service-upstream") == "true" and not service.headless
    how = "service-upstream" if upstream else IN_TURN
    return Policy("ingress-nginx-round-robin", how, OnFailure(tries=3), cluster_ip=upstream)


def port_of(service: Service, wanted: int | str) -> ServicePort | None:
    """The first port that has this number, name or targetPort: this controller takes the last of them too."""
    return next((p for p in service.spec.ports if str(wanted) in (str(p.port), str(p.target), p.name)), None)


@dataclass(frozen=True, slots=True)
class Location:
    """One location block: `kind` "=" (exact), "" (prefix) or "~*" (regular expression), and where it comes from."""

    kind: str
    path: str
    ingress: Ingress | None
    at: tuple[str | int, ...]
    backend: IngressBackend | None  # None: the default backend, which answers 404
    rewrite: str = ""

    def __str__(self) -> str:
        kind, path = ("~* ", f'"^{self.path}"') if self.kind == "~*" else (self.kind and self.kind + " ", self.path)
        return f"location {kind}{path}"


@dataclass(frozen=True, slots=True)
class Server:
    """One server block: its locations in the order they are tried, and why they are regular expressions, if so."""

    locations: list[Location]
    encrypted: bool
    regex_because: str
    duplicates: list[tuple[Location, Location]]


def servers(view: Cluster, controller: Controller) -> dict[str, Server]:
    """The server blocks by host ("" is nginx's catch-all server "_"). Made once per cluster."""
    key = ("servers", controller.name)
    if key not in view._memo:
        ingresses = [i for i in by_age(controller.ingresses) if annotation(i, "canary") != "true"]
        table = {"": []} | routes_by_host(ingresses)
        view._memo[key] = {host: _server(host, ingresses, routes) for host, routes in table.items()}
    return view._memo[key]


def _server(host: str, ingresses: list[Ingress], routes: list[Route]) -> Server:
    named = [i for i in ingresses if any(r.host == host for r in i.spec.rules)]
    root = _root(host, ingresses, named)
    kept, duplicates = {("/", "Prefix"): root}, []
    for route in routes:
        path = route.path.path or "/"
        kind = "Exact" if route.path.pathType == "Exact" else "Prefix"  # ImplementationSpecific is taken as Prefix
        location = _location(kind, path, route.ingress, route.at, route.path.backend)
        older = kept.get((path, kind))
        if older is None or (older is root and (host or root.ingress is None)):
            kept[path, kind] = location
        else:
            duplicates.append((location, older))
    regexes = [loc for loc in kept.values() if loc.rewrite or _uses_regex(loc)]
    ordered = sorted(kept.values(), key=lambda loc: (len(loc.path), loc.path), reverse=True)
    exact = {loc.path for loc in ordered if loc.kind == "Exact"}
    blocks = [block for loc in ordered for block in _blocks(loc, loc.path in exact)]
    because = ""
    if regexes:  # one rewrite on a host turns every path of that host into a regular expression
        blocks = [replace(block, kind="~*") for block in blocks]
        because = f"{'rewrite-target' if regexes[0].rewrite else 'use-regex'} of {regexes[0].ingress}"
    return Server(blocks, bool(host) and any(i.spec.tls for i in named), because, duplicates)


def _root(host: str, ingresses: list[Ingress], named: list[Ingress]) -> Location:
    """What every server begins with: "/" for the defaultBackend of the oldest Ingress that names the host; in the
    catch-all server, for that of the oldest Ingress without rules. A rule for "/" takes its place."""
    owner = next((i for i in (named if host else ingresses) if host or not i.spec.rules), None)
    if owner is None:
        return Location("Prefix", "/", None, (), None)
    return _location("Prefix", "/", owner, ("spec", "defaultBackend"), owner.spec.defaultBackend, rewrites=bool(host))


def _location(
    kind: str, path: str, ingress: Ingress, at: tuple, backend: IngressBackend | None, rewrites: bool = True
) -> Location:
    target = annotation(ingress, "rewrite-target")
    return Location(kind, path, ingress, at, backend, target if rewrites and target != path else "")


def _uses_regex(loc: Location) -> bool:
    return loc.ingress is not None and annotation(loc.ingress, "use-regex") == "true"


def _blocks(loc: Location, exact_exists: bool) -> list[Location]:
    """The location blocks of one path: Prefix /foo becomes /foo/ and = /foo."""
    if loc.kind == "Exact":
        return [replace(loc, kind="=")]
    if loc.path == "/" or loc.rewrite or _uses_regex(loc):
        return [replace(loc, kind="")]
    below = replace(loc, kind="", path=loc.path if loc.path.endswith("/") else loc.path + "/")
    return [below] if exact_exists else [below, replace(loc, kind="=")]


def match(view: Cluster, controller: Controller, request: Request) -> tuple[Matched | Answered, list[Rejected]]:
    """The location that takes `request`, or the answer nginx gives itself; and the host's locations that do not."""
    table = servers(view, controller)
    mine = takers(request.host)
    canaries = [i for i in controller.ingresses if annotation(i, "canary") == "true"]
    left_out = [i for i in canaries if any(r.host in mine for r in i.spec.rules)]
    warnings = tuple(f"{i} is a canary, which is not modelled: its rules are left out" for i in left_out)
    host = next(h for h in mine if h in table)
    uri = normalised(request.path)
    if uri is None:
        return Answered(400, f"{request.path} leads above the root"), []
    server = table[host]
    found, why, redirect = _find(server, uri)
    others = [loc for loc in server.locations if loc is not found and loc.backend]
    rejected = [Rejected(str(loc), _why_not(loc, found, uri), loc.ingress, loc.at) for loc in others]
    for loc, by in server.duplicates:
        rejected.append(Rejected(str(loc), f"the older {by.ingress} has the same path", loc.ingress, loc.at))
        if found and by.at == found.at and by.ingress is found.ingress:
            warnings += age_unknown(by.ingress, loc.ingress, loc.path)
    query = request.path.partition("?")[2]
    if redirect:
        to = f"{request.scheme}://{request.host}{redirect}" + (f"?{query}" if query else "")
        return Answered(301, f"nginx adds the trailing slash of {why}: redirect to {to}", to, warnings), rejected
    encrypted = any(h in table and table[h].encrypted for h in mine)
    redirected = _redirected(found, encrypted, request, uri)
    if redirected:
        return redirected, rejected
    if found is None or found.backend is None:
        told = f"no location of host {host} matches {uri}" if host else f"no rule is for host {request.host} and {uri}"
        return Answered(404, f"{told}: the default backend answers 404", warnings=warnings), rejected
    path, rewritten = _rewritten(found, request.path, uri)
    because = f" (regular expressions because of {server.regex_because})" if server.regex_because else ""
    annotations = (k for k in found.ingress.metadata.annotations if k.startswith(PREFIX))
    unknown = ", ".join(sorted(k for k in annotations if k.removeprefix(PREFIX) not in MODELLED))
    warnings += _refused_path(found)
    warnings += (f"{found.ingress} has annotations that are not modelled: {unknown}",) if unknown else ()
    why, brief = f"host {host or '(any)'}, {why}{rewritten}{because}", why + rewritten
    return Matched(found.ingress, found.at, found.backend, why, path, brief, warnings), rejected


def _refused_path(found: Location) -> tuple[str, ...]:
    """strict-validate-path-type, on since 1.12: the admission webhook wants regular expressions declared as such."""
    kind = found.ingress.spec.rules[found.at[2]].http.paths[found.at[5]].pathType if len(found.at) == 6 else ""
    if kind in ("", "ImplementationSpecific") or re.fullmatch(r"[A-Za-z0-9/_.~%-]*", found.path):
        return ()
    refused = f"ingress-nginx's admission webhook refuses {found.path} with pathType {kind}"
    return (f"{refused}; it wants ImplementationSpecific",)


def _find(server: Server, uri: str) -> tuple[Location | None, str, str]:
    """(location, how it is named, path to redirect to) as nginx finds it."""
    locations = server.locations
    if server.regex_because:  # then all are regular expressions
        found = next((loc for loc in locations if _search("^" + loc.path, uri)), None)
        return found, str(found), ""
    found = next((loc for loc in locations if loc.kind == "=" and loc.path == uri), None)
    slash = next((loc for loc in locations if loc.path == uri + "/"), None)
    if slash and not found:
        return None, str(slash), uri + "/"
    prefixes = [loc for loc in locations if loc.kind == "" and uri.startswith(loc.path)]
    found = found or max(prefixes, key=lambda loc: len(loc.path), default=None)
    return found, str(found), ""


def _why_not(loc: Location, found: Location | None, uri: str) -> str:
    if loc.kind == "~*":
        matching, nearer = _search("^" + loc.path, uri), "stands earlier (longer paths first)"
    else:
        matching, nearer = uri == loc.path if loc.kind else uri.startswith(loc.path), "is closer"
    return f"matches {uri} too, but {found} {nearer}" if matching else f"does not match {uri}"


def _search(pattern: str, text: str) -> re.Match | None:
    bare = re.sub(r"\\.|\[\^?.[^]]*\]", "x", pattern, flags=re.DOTALL)  # without escapes and character classes
    repeats = len(re.findall(r"[*+{]", bare))
    choices = prod(1 + part.count("|") for part in re.split("[()]", bare)) << len(re.findall(r"(?<![*+}(])\?", bare))
    if re.search(r"\)[*+{]", bare) or comb(len(text) + repeats, repeats) * choices > 10**8:  # the ways there are to try
        raise NotModelled(f"the regular expression {shown(pattern)}: it may take for ever on {shown(text)}")
    try:
        return re.search(re.sub(r"\(\?<(?=\w)", "(?P<", pattern), text, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError):
        raise NotModelled(f"the path {shown(pattern)} as a regular expression") from None


def _redirected(found: Location | None, encrypted: bool, request: Request, uri: str) -> Answered | None:
    ingress = found.ingress if found else None
    if ingress is None or not ingress.spec.rules:  # the catch-all server redirects nobody
        return None
    wanted = encrypted and annotation(ingress, "ssl-redirect") != "false"
    wanted = wanted or annotation(ingress, "force-ssl-redirect") == "true"
    if request.scheme == "http" and wanted:
        to = f"https://{request.host}{request.path}"
        return Answered(308, f"ssl-redirect of {ingress}: redirect to {to}", to)
    root = annotation(ingress, "app-root")
    if root and uri == "/":
        return Answered(302, f"app-root of {ingress}: redirect to {root}", f"{request.scheme}://{request.host}{root}")
    return None


def _rewritten(found: Location, asked: str, uri: str) -> tuple[str, str]:
    """(the path the backend receives, what to say of it): rewrite "(?i)PATH" TARGET break."""
    if not found.rewrite:
        return asked, ""
    if re.search(r"\$(?!\d)|://", found.rewrite):
        raise NotModelled(f"the rewrite-target {shown(found.rewrite)} with variables or another host")
    hit = _search(found.path, uri)
    if hit is None:
        return asked, f"; rewrite-target {found.rewrite} does not apply"
    groups = hit.groups(default="")
    path = re.sub(r"\$(\d)", lambda m: groups[int(m[1]) - 1] if 0 < int(m[1]) <= len(groups) else "", found.rewrite)
    captured = "" if groups else ", and nothing is captured to keep the rest"
    query = asked.partition("?")[2]
    path = quote(path, safe="/:@!$&'()*+,;=~?")
    return path + (f"?{query}" if query else ""), f"; rewrite-target {found.rewrite} makes it {path}{captured}"


def normalised(path: str) -> str | None:
    """A request's path as nginx matches it: decoded, // merged, . and .. resolved; None above the root."""
    given = re.sub(r"/+", "/", unquote(path.partition("?")[0]))
    out: list[str] = []
    for part in (given + "/" if given.endswith(("/.", "/..")) else given).split("/")[1:]:
        if part == ".." and not out:
            return None
        if part == "..":
            out.pop()
        elif part != ".":
            out.append(part)
    return "/" + "/".join(out)


def forwarded(found: Matched, request: Request, client: str) -> Request:
    """The request with the headers ingress-nginx sets; the client is the address this replica saw."""
    headers = {"x-real-ip": client, "x-forwarded-for": client, "x-forwarded-host": request.host}
    headers["x-forwarded-port"] = "443" if request.scheme == "https" else "80"
    headers |= dict.fromkeys(("x-forwarded-proto", "x-forwarded-scheme", "x-scheme"), request.scheme)
    return with_headers(request, found.path, headers)
