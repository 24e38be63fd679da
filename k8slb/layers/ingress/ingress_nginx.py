"""ingress-nginx 1.15.1 (kubernetes/ingress-nginx, its last release): the locations it writes, as nginx matches them.

Rules as in internal/ingress/controller/{location,controller,template}.go of that version; matching as nginx does it:
an exact location, else the first regular expression in order, else the longest prefix.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from urllib.parse import quote, unquote

from ...cluster import Cluster, grouped
from ...controllers import Controller
from ...decision import Lazily, Rejected
from ...errors import NotModelled, shown
from ...objects import Ingress, IngressBackend
from ...patterns import search
from ...traffic import Flow, Request
from . import nginx_annotations as notes
from . import nginx_upstreams as backends
from .match import Answered, Matched, Route, age_unknown, by_age, routes_by_host, takers, with_headers
from .nginx_annotations import MODELLED, Terms, annotation, listed
from .nginx_upstreams import Upstream, is_canary, name_of

DEFAULT_CERTIFICATE = "ingress-nginx's self-signed default"
port_of = backends.port_of


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
    """One server block: its locations in the order they are tried, and why they are regular expressions, if so.

    `kept`: by path and kind, before they become blocks. `younger`: those with a path that an older Ingress has, by
    where that stands. `alone`: canaries of no other. `to`: the host that this one only redirects to.
    """

    locations: list[Location]
    encrypted: bool = False
    regex_because: str = ""
    kept: dict[tuple[str, str], Location] = field(default_factory=dict)
    younger: dict[tuple, list[Location]] = field(default_factory=dict)
    app_root: Ingress | None = None
    to: str = ""
    alone: list[Rejected] = field(default_factory=list)
    by_path: dict[tuple[str, str], Location] = field(default_factory=dict)  # (kind, path)

    def __post_init__(self) -> None:
        for loc in self.locations:
            self.by_path.setdefault((loc.kind, loc.path), loc)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What ingress-nginx writes for a cluster: server blocks by host ("" is nginx's catch-all server "_"), upstreams by
    name."""

    servers: dict[str, Server]
    upstreams: dict[str, Upstream]


def configuration(view: Cluster, controller: Controller) -> Configuration:
    """Made once per cluster."""
    key = ("configuration", controller.name)
    if key not in view._memo:
        ingresses = [i for i in by_age(controller.ingresses) if not is_canary(i)]
        named = grouped((h, i) for i in ingresses for h in {r.host for r in i.spec.rules})
        routes = {"": []} | routes_by_host(ingresses)
        table = {host: _server(host, named[host] if host else ingresses, own) for host, own in routes.items()}
        canaries = [i for i in by_age(controller.ingresses) if is_canary(i)]
        beside = [(table.get(host), _of_route(r)) for host, own in routes_by_host(canaries).items() for r in own]
        beside += [(table[""], _default(i)) for i in canaries if i.spec.defaultBackend]
        every = chain(*(server.kept.values() for server in table.values()), (loc for _, loc in beside))
        upstreams = backends.upstreams(every)
        for server, loc in beside:  # goes with the same host and path
            main = server.kept.get((loc.path, loc.kind)) if server else None
            if main and name_of(main) and name_of(loc) not in ("", name_of(main)):
                upstreams[name_of(main)].canaries.append(loc)
            elif server:
                told = "a canary, and no other Ingress has this path"
                server.alone.append(Rejected(loc.path, told, loc.ingress, loc.at))
        table |= {alias: table[host] for alias, host in _other_names(named, "server-alias") if alias not in table}
        www = {name: Server([], to=to) for name, to in _other_names(named, "from-to-www-redirect") if name not in table}
        view._memo[key] = Configuration(table | www, upstreams)
    return view._memo[key]


def _other_names(named: dict[str, list[Ingress]], why: str) -> Iterator[tuple[str, str]]:
    """(a further name, the host it leads to)."""
    for host, ingresses in named.items():
        asking = next((i for i in ingresses if annotation(i, why) not in ("", "false")), None)
        if asking and why == "server-alias":  # the oldest Ingress's alone; no expressions
            yield from ((alias.lower(), host) for alias in listed(asking, why) if alias[0] not in "~*")
        elif asking and host and host[0] != "*":
            yield host.removeprefix("www.") if host.startswith("www.") else f"www.{host}", host


def _server(host: str, named: list[Ingress], routes: list[Route]) -> Server:
    root = _root(host, named)
    kept, younger = {("/", "Prefix"): root}, {}
    for location in map(_of_route, routes):
        older = kept.get((location.path, location.kind))
        if older is None or (older is root and (host or root.ingress is None)):
            kept[location.path, location.kind] = location
        else:
            younger.setdefault((older.ingress.key, older.at), []).append(location)
    regexes = [loc for loc in kept.values() if loc.rewrite or _uses_regex(loc)]
    ordered = sorted(kept.values(), key=lambda loc: (len(loc.path), loc.path), reverse=True)
    exact = {loc.path for loc in ordered if loc.kind == "Exact"}
    blocks = [block for loc in ordered for block in _blocks(loc, loc.path in exact)]
    because = ""
    if regexes:  # one rewrite on a host turns every path of that host into a regular expression
        blocks = [replace(block, kind="~*") for block in blocks]
        because = f"{'rewrite-target' if regexes[0].rewrite else 'use-regex'} of {regexes[0].ingress}"
    ruled = [loc.ingress for loc in kept.values() if loc.ingress and loc.ingress.spec.rules]
    app_root = next((i for i in ruled if annotation(i, "app-root")), None)
    encrypted = bool(host) and any(i.spec.tls for i in named)
    return Server(blocks, encrypted, because, kept, younger, app_root)


def _root(host: str, named: list[Ingress]) -> Location:
    """What every server begins with: "/" for the defaultBackend of the oldest Ingress that names the host; in the
    catch-all server, for that of the oldest Ingress without rules. A rule for "/" takes its place."""
    owner = next((i for i in named if host or not i.spec.rules), None)
    if owner is None:
        return Location("Prefix", "/", None, (), None)
    return _default(owner, rewrites=bool(host))


def _default(ingress: Ingress, rewrites: bool = False) -> Location:
    return _location("Prefix", "/", ingress, ("spec", "defaultBackend"), ingress.spec.defaultBackend, rewrites)


def _of_route(route: Route) -> Location:
    kind = "Exact" if route.path.pathType == "Exact" else "Prefix"  # ImplementationSpecific is taken as Prefix
    return _location(kind, route.path.path or "/", route.ingress, route.at, route.path.backend)


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


def match(view: Cluster, controller: Controller, request: Request) -> tuple[Matched | Answered, Sequence[Rejected]]:
    """The location that takes `request`, or the answer nginx gives itself; and the host's locations that do not."""
    made = configuration(view, controller)
    mine = takers(request.host)
    host = next(h for h in mine if h in made.servers)
    server, here = made.servers[host], f"{request.scheme}://{request.host}"
    if server.to:
        to = f"{request.scheme}://{server.to}{request.path.removesuffix('/')}"
        return Answered(308, f"from-to-www-redirect of {server.to}: redirect to {to}", to), ()
    uri = normalised(request.path)
    if uri is None:
        return Answered(400, f"{request.path} leads above the root"), ()
    if server.app_root and uri == "/":
        root = annotation(server.app_root, "app-root")
        return Answered(302, f"app-root of {server.app_root}: redirect to {root}", here + root), ()
    found, why, slash = _find(server, uri)
    rejected = Lazily(lambda: (*_not_taken(server, found, uri), *server.alone))
    if slash:
        query = request.path.partition("?")[2]
        to = here + slash + (f"?{query}" if query else "")
        return Answered(301, f"nginx adds the trailing slash of {why}: redirect to {to}", to), rejected
    younger = server.younger.get((found.ingress.key, found.at), ()) if found and found.ingress else ()
    warnings = tuple(w for loc in younger for w in age_unknown(found.ingress, loc.ingress, loc.path))
    encrypted = any(made.servers[h].encrypted for h in mine if h in made.servers)
    answered = _answered(view, found, encrypted, request, uri)
    if answered:
        return replace(answered, warnings=warnings), rejected
    if found is None or found.backend is None:
        told = f"no location of host {host} matches {uri}" if host else f"no rule is for host {request.host} and {uri}"
        return Answered(404, f"{told}: the default backend answers 404", warnings=warnings), rejected
    path, rewritten = _rewritten(found, request.path, uri)
    because = f" (regular expressions because of {server.regex_because})" if server.regex_because else ""
    unknown = ", ".join(notes.PREFIX + n for n in notes.named(found.ingress) if n not in MODELLED)
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
    if server.regex_because:  # then all are regular expressions
        found = next((loc for loc in server.locations if _hit("^" + loc.path, uri)), None)
        return found, str(found), ""
    known = server.by_path
    found, slash = known.get(("=", uri)), known.get(("", uri + "/")) or known.get(("=", uri + "/"))
    if slash and not found:
        return None, str(slash), uri + "/"
    beginnings = (uri[:i] for i in range(len(uri), 0, -1) if uri[i - 1] == "/")  # every prefix location ends with /
    found = found or next((known["", b] for b in beginnings if ("", b) in known), None)
    return found, str(found), ""


def _not_taken(server: Server, found: Location | None, uri: str) -> Iterator[Rejected]:
    for loc in server.locations:
        if loc is not found and loc.backend:
            matching = uri == loc.path if loc.kind else uri.startswith(loc.path)
            matching = _hit("^" + loc.path, uri) if loc.kind == "~*" else matching
            nearer = "stands earlier (longer paths first)" if loc.kind == "~*" else "is closer"
            why = f"matches {uri} too, but {found} {nearer}" if matching else f"does not match {uri}"
            yield Rejected(str(loc), why, loc.ingress, loc.at)
    older = {(loc.ingress.key, loc.at): loc.ingress for loc in server.kept.values() if loc.ingress}
    for at, locations in server.younger.items():
        for loc in locations:
            yield Rejected(str(loc), f"the older {older[at]} has the same path", loc.ingress, loc.at)


def _hit(pattern: str, text: str) -> re.Match | None:
    try:
        return search(pattern, text, re.IGNORECASE)
    except re.error:
        raise NotModelled(f"the path {shown(pattern)} as a regular expression") from None


def _answered(view: Cluster, found: Location | None, encrypted: bool, request: Request, uri: str) -> Answered | None:
    """What the location answers itself, whoever asks: nginx's rewrite phase."""
    ingress = found.ingress if found else None
    if ingress is None:
        return None
    for told in notes.denied(view, ingress):
        return Answered(503, f"{ingress} is denied to all: {told}")
    if not ingress.spec.rules:  # the catch-all server redirects nobody
        return None
    if moved := notes.redirect(ingress, request, uri):
        return moved
    wanted = encrypted and annotation(ingress, "ssl-redirect") != "false"
    wanted = wanted or annotation(ingress, "force-ssl-redirect") == "true"
    if request.scheme == "http" and wanted:
        to = f"https://{request.host}{request.path}"
        return Answered(308, f"ssl-redirect of {ingress}: redirect to {to}", to)
    return None


def _rewritten(found: Location, asked: str, uri: str) -> tuple[str, str]:
    """(the path the backend receives, what to say of it): rewrite "(?i)PATH" TARGET break."""
    if not found.rewrite:
        return asked, ""
    if re.search(r"\$(?!\d)|://", found.rewrite):
        raise NotModelled(f"the rewrite-target {shown(found.rewrite)} with variables or another host")
    hit = _hit(found.path, uri)
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


def split(view: Cluster, controller: Controller, found: Matched, request: Request) -> backends.Split | None:
    """What a canary does to the request."""
    return backends.split(view, configuration(view, controller).upstreams, found, request)


def terms(view: Cluster, controller: Controller, found: Matched, to: Matched, flow: Flow) -> Terms:
    """How the location `found` passes the request on: to its own backend, or to its canary's (`to`)."""
    ingress, client = found.ingress, flow.source
    policy = backends.policy(view, controller, configuration(view, controller).upstreams, found, to, flow)
    status, why, told = notes.refused(view, ingress, flow.request, client)
    told += notes.by_address(view, controller, ingress, client)
    log = notes.log_line(flow.request, client, name_of(found), name_of(to) if to is not found else "")
    return Terms(policy, notes.limits(ingress, client), Answered(status, why) if status else None, told, log)
