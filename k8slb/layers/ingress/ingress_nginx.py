"""ingress-nginx 1.15.1 (kubernetes/ingress-nginx, its last release): the locations it writes, as nginx matches them.

Rules as in internal/ingress/controller/{location,controller,template}.go of that version; matching as nginx does it:
an exact location, else the first regular expression in order, else the longest prefix.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from urllib.parse import quote, unquote

from ...cluster import Cluster, grouped
from ...controllers import Controller
from ...decision import Lazily, Rejected
from ...errors import NotModelled, shown
from ...objects import Ingress
from ...patterns import search
from ...traffic import Flow, Request
from . import nginx_annotations as notes
from . import nginx_upstreams as backends
from .match import Answered, Found, Matched, Route, Terms, age_unknown, by_age, default, moved, routes_by_host, takers
from .nginx_annotations import annotation, listed
from .nginx_upstreams import Upstream, is_canary, name_of

port_of = backends.port_of


@dataclass(frozen=True, slots=True)
class Location(Route):
    """One location block: `kind` "=" (exact), "" (prefix) or "~*" (regular expression), and the route it comes from;
    before it is one, a pathType. Without a backend it answers 404. `younger`: routes with the same path."""

    rewrite: str = ""
    younger: tuple[Route, ...] = ()

    def __str__(self) -> str:
        kind, path = ("~* ", f'"^{self.path}"') if self.kind == "~*" else (self.kind and self.kind + " ", self.path)
        return f"location {kind}{path}"


@dataclass(frozen=True, slots=True)
class Server:
    """One server block: its locations in the order they are tried, and why they are regular expressions, if so.

    `kept`: by path and kind, before they become blocks. `alone`: canaries of no other. `to`: the host that this one
    only redirects to.
    """

    locations: list[Location]
    encrypted: bool = False
    regex_because: str = ""
    kept: dict[tuple[str, str], Location] = field(default_factory=dict)
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
    name; the `patterns` among the aliases of servers, which are not modelled; locations that stand there `twice`."""

    servers: dict[str, Server]
    upstreams: dict[str, Upstream]
    patterns: list[str]
    twice: list[str]


def configuration(view: Cluster, controller: Controller) -> Configuration:
    return view.once(("configuration", controller.name), lambda: _configured(by_age(controller.ingresses)))


def _configured(every: list[Ingress]) -> Configuration:
    ingresses, canaries = [i for i in every if not is_canary(i)], [i for i in every if is_canary(i)]
    named = grouped((h, i) for i in ingresses for h in {r.host for r in i.spec.rules})
    routes = {"": []} | routes_by_host(ingresses)
    table = {host: _server(host, named[host] if host else ingresses, own) for host, own in routes.items()}
    beside = [(table.get(host), _location(r)) for host, own in routes_by_host(canaries).items() for r in own]
    beside += [(table[""], _location(default(i), rewrites=False)) for i in canaries if i.spec.defaultBackend]
    kept = chain(*(server.kept.values() for server in table.values()), (loc for _, loc in beside))
    upstreams = backends.upstreams(kept)
    for server, loc in beside:  # goes with the same host and path
        main = server.kept.get((loc.path, loc.kind)) if server else None
        if main and name_of(main) and name_of(loc) not in ("", name_of(main)):
            upstreams[name_of(main)].canaries.append(loc)
        elif server:
            told = "a canary, and no other Ingress has this path"
            server.alone.append(Rejected(loc.path, told, loc.ingress, loc.at))
    aliases = {alias: host for alias, host in _other_names(named, "server-alias") if alias.lower() not in table}
    patterns = [alias for alias in aliases if "*" in alias or alias[0] == "~"]
    hosted = ((h, server, loc) for h, server in table.items() if not server.regex_because for loc in server.locations)
    twice = [
        f"{loc} of host {h or '(any)'}" for h, server, loc in hosted if server.by_path[loc.kind, loc.path] is not loc
    ]
    table |= {alias.lower(): table[host] for alias, host in aliases.items() if alias not in patterns}
    www = {name: Server([], to=to) for name, to in _other_names(named, "from-to-www-redirect") if name not in table}
    return Configuration(table | www, upstreams, patterns, twice)


def _other_names(named: dict[str, list[Ingress]], why: str) -> Iterator[tuple[str, str]]:
    """(a further name, the host it leads to); of a name given twice the first host by the alphabet comes last."""
    for host, ingresses in sorted(named.items(), reverse=True):
        asking = next((i for i in ingresses if annotation(i, why) not in ("", "false")), None)
        if asking and why == "server-alias":  # the oldest Ingress's alone
            yield from ((alias, host) for alias in listed(asking, why))
        elif asking and host and host[0] != "*":
            yield host.removeprefix("www.") if host.startswith("www.") else f"www.{host}", host


def _server(host: str, named: list[Ingress], routes: list[Route]) -> Server:
    """Every server begins with "/", for the defaultBackend of the oldest Ingress that names the host (a rule for "/"
    takes its place); the catch-all server for that of the oldest Ingress without rules."""
    owner = next((i for i in named if host or not i.spec.rules), None)
    root = [_location(default(owner), rewrites=bool(host))] if owner else []
    locations = [*(() if host else root), *map(_location, routes)]
    same = grouped(((loc.path, loc.kind), loc) for loc in locations)
    same = {("/", "Prefix"): root} | same if root else same
    kept = {key: replace(first, younger=tuple(rest)) for key, (first, *rest) in same.items()}
    regexes = [loc for loc in kept.values() if loc.rewrite or _uses_regex(loc)]
    ordered = sorted(kept.values(), key=lambda loc: (len(loc.path), loc.path), reverse=True)
    exact = {loc.path for loc in ordered if loc.kind == "Exact"}
    blocks = [block for loc in ordered for block in _blocks(loc, loc.path in exact)]
    because = ""
    if regexes:  # one rewrite on a host turns every path of that host into a regular expression
        blocks = [replace(block, kind="~*") for block in blocks]
        because = f"{'rewrite-target' if regexes[0].rewrite else 'use-regex'} of {regexes[0].ingress}"
    asking = (loc.ingress for loc in kept.values() if loc.ingress.spec.rules and annotation(loc.ingress, "app-root"))
    encrypted = bool(host) and any(i.spec.tls for i in named)
    return Server(blocks, encrypted, because, kept, next(asking, None))


def _location(route: Route, rewrites: bool = True) -> Location:
    path, kind = route.path or "/", "Exact" if route.kind == "Exact" else "Prefix"  # ImplementationSpecific as Prefix
    target = annotation(route.ingress, "rewrite-target") if rewrites else ""
    return Location(route.ingress, route.at, route.backend, path, kind, target if target != path else "")


def _uses_regex(loc: Location) -> bool:
    return annotation(loc.ingress, "use-regex") == "true"


def _blocks(loc: Location, exact_exists: bool) -> list[Location]:
    """The location blocks of one path: Prefix /foo becomes /foo/ and = /foo."""
    if loc.kind == "Exact":
        return [replace(loc, kind="=")]
    if loc.path == "/" or loc.rewrite or _uses_regex(loc):
        return [replace(loc, kind="")]
    below = replace(loc, kind="", path=loc.path if loc.path.endswith("/") else loc.path + "/")
    return [below] if exact_exists else [below, replace(loc, kind="=")]


def match(view: Cluster, controller: Controller, request: Request) -> Found:
    """The location that takes `request`, or the answer nginx gives itself; and the host's locations that do not."""
    made = configuration(view, controller)
    mine = [h for h in takers(request.host) if h in made.servers]
    host, server, uri = mine[0], made.servers[mine[0]], normalised(request.path)
    found = _find(server, uri) if uri else None
    rejected = Lazily(lambda: (*_not_taken(server, found, uri or request.path), *server.alone))
    warnings = tuple(w for loc in (found.younger if found else ()) for w in age_unknown(found, loc))
    if host != request.host and made.patterns:
        told = f"the server-alias {', '.join(made.patterns)} is not modelled (a pattern): it may be for {request.host}"
        warnings += (told,)
    encrypted = any(made.servers[h].encrypted for h in mine)
    if made.twice:
        told = f"{made.twice[0]} is written twice: nginx refuses all of this configuration (duplicate location)"
        warnings += (f"{told}, and goes on with the one before",)
    for answer in _answers(view, server, found, encrypted, request, uri):
        return replace(answer, warnings=warnings), rejected
    if found is None or found.backend is None:
        told = f"no location of host {host} matches {uri}" if host else f"no rule is for host {request.host} and {uri}"
        return Answered(404, f"{told}: the default backend answers 404", warnings=warnings), rejected
    path, rewritten = _rewritten(found, request.path, uri)
    because = f" (regular expressions because of {server.regex_because})" if server.regex_because else ""
    split, told = backends.split(view, made.upstreams, found, request)
    why, brief = f"host {host or '(any)'}, {found}{rewritten}{because}", f"{found}{rewritten}"
    return Matched(found, why, brief, path, (*warnings, *_refused_path(found), *told), split), rejected


def _refused_path(found: Location) -> tuple[str, ...]:
    """strict-validate-path-type, on since 1.12: the admission webhook wants regular expressions declared as such."""
    kind = found.ingress.spec.rules[found.at[2]].http.paths[found.at[5]].pathType if len(found.at) == 6 else ""
    if kind in ("", "ImplementationSpecific") or re.fullmatch(r"[A-Za-z0-9/_.~%-]*", found.path):
        return ()
    refused = f"ingress-nginx's admission webhook refuses {found.path} with pathType {kind}"
    return (f"{refused}; it wants ImplementationSpecific",)


def _find(server: Server, uri: str) -> Location | None:
    """The location as nginx finds it; one that only lacks a slash in the request redirects there."""
    if server.regex_because:  # then all are regular expressions
        return next((loc for loc in server.locations if _hit("^" + loc.path, uri)), None)
    known = server.by_path
    found = known.get(("=", uri)) or known.get(("", uri + "/")) or known.get(("=", uri + "/"))
    beginnings = (uri[:i] for i in range(len(uri), 0, -1) if uri[i - 1] == "/")  # every prefix location ends with /
    return found or next((known["", b] for b in beginnings if ("", b) in known), None)


def _not_taken(server: Server, found: Location | None, uri: str) -> Iterator[Rejected]:
    for loc in server.locations:
        if loc is not found and loc.backend:
            matching = uri == loc.path if loc.kind else uri.startswith(loc.path)
            matching = _hit("^" + loc.path, uri) if loc.kind == "~*" else matching
            nearer = "stands earlier (longer paths first)" if loc.kind == "~*" else "is closer"
            why = f"matches {uri} too, but {found} {nearer}" if matching else f"does not match {uri}"
            yield Rejected(str(loc), why, loc.ingress, loc.at)
    for older in server.kept.values():
        for loc in older.younger:
            yield Rejected(str(loc), f"the older {older.ingress} has the same path", loc.ingress, loc.at)


def _hit(pattern: str, text: str) -> re.Match | None:
    try:
        return search(pattern, text, re.IGNORECASE)
    except re.error:
        raise NotModelled(f"the path {shown(pattern)} as a regular expression") from None


def _answers(
    view: Cluster, server: Server, found: Location | None, encrypted: bool, request: Request, uri: str | None
) -> Iterator[Answered]:
    """What nginx answers itself, whoever asks; the first counts."""
    ingress, query = found.ingress if found else None, request.path.partition("?")[2]
    here = f"{request.scheme}://{request.host}"
    if server.to:
        to = f"{request.scheme}://{server.to}{request.path.removesuffix('/')}"
        yield moved(308, f"from-to-www-redirect of {server.to}", to)
    if uri is None:
        yield Answered(400, f"{request.path} leads above the root")
    if server.app_root and uri == "/":
        yield moved(302, f"app-root of {server.app_root}", here + annotation(server.app_root, "app-root"))
    if found and found.kind != "~*" and found.path == f"{uri}/":
        yield moved(301, f"nginx adds the trailing slash of {found}", here + found.path + (query and f"?{query}"))
    if not ingress:
        return
    for told in notes.denied(view, ingress):
        yield Answered(503, f"{ingress} is denied to all: {told}")
    if ingress.spec.rules:  # the catch-all server redirects nobody
        yield from notes.redirects(ingress, request, uri)
        wanted = encrypted and annotation(ingress, "ssl-redirect") != "false"
        if request.scheme == "http" and (wanted or annotation(ingress, "force-ssl-redirect") == "true"):
            yield moved(308, f"ssl-redirect of {ingress}", f"https://{request.host}{request.path}")


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


def terms(view: Cluster, controller: Controller, found: Matched, to: Route, flow: Flow) -> Terms:
    """How the location that `found` names passes the request on: to its own backend, or to its canary's (`to`)."""
    main, client, upstreams = found.route, flow.source, configuration(view, controller).upstreams
    policy = notes.waits(backends.policy(view, controller, upstreams, found, to, flow), main.ingress, flow.request)
    refusal, told = notes.refused(view, main.ingress, flow.request, client)
    told += notes.by_address(view, controller, main.ingress, client)
    log = notes.log_line(flow.request, client, name_of(main), name_of(to) if to is not main else "")
    return Terms(policy, notes.limits(main.ingress, client), refusal, told, log)
