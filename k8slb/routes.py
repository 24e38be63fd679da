"""HTTPRoutes, whoever follows them: which rule takes a request, and what becomes of the request then.

Gateway API release 1.6.1 (apis/v1/httproute_types.go). A Gateway has the routes attached to a listener, a mesh those
whose parent is a Service: `table` orders them once, `take` finds the rule, `decide` follows it.

The most specific hostname (as the listener's leaves it) keeps a request: it does not fall through to the routes of a
less specific one; of routes whose hostnames come to the same there, the more specific comes first. Then Exact, then
RegularExpression (the API leaves its rank open; it has to match the whole text, as in Envoy), then the longest
PathPrefix; a match with a method, the most headers, the most query parameters; the oldest route, the first by
namespace/name, the first rule.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from .cluster import Cluster
from .decision import Decision, Rejected
from .errors import NotModelled
from .objects import HTTPRoute
from .objects import gateways as api
from .objects.meshes import seconds
from .patterns import whole
from .traffic import Flow, Request
from .upstream import among


@dataclass(frozen=True, slots=True)
class Entry:
    """One match of one rule of a route (`i`, `j`: their numbers), under one of the route's hostnames ("" for any)."""

    route: HTTPRoute
    i: int
    j: int
    host: str
    match: api.HTTPRouteMatch
    headers: tuple[tuple[str, api.NamedMatch], ...]  # of equivalent names only the first counts
    order: tuple

    @property
    def rule(self) -> api.HTTPRouteRule:
        return self.route.spec.rules[self.i]

    @property
    def at(self) -> tuple[str | int, ...]:
        return ("spec", "rules", self.i, "matches", self.j)

    @property
    def times(self) -> tuple[float, float]:
        """The seconds for a try and for all of them (0: as long as it takes)."""
        return seconds(self.rule.timeouts.backendRequest), seconds(self.rule.timeouts.request)

    @property
    def named(self) -> str:
        return f"{self.route.namespace}/{self.route.name} rule {self.rule.name or self.i}"

    def __str__(self) -> str:
        match, path = self.match, self.match.path
        told = [f"path {path.value} ({path.type})", *([f"method {match.method}"] if match.method else [])]
        for kind, wanted in (("header", match.headers), ("query parameter", match.queryParams)):
            told += [f"{kind} {w.name} {'like' if w.type != 'Exact' else '='} {w.value}" for w in wanted]
        return ", ".join(told)


def _entry(route: HTTPRoute, i: int, j: int, host: str, match: api.HTTPRouteMatch) -> Entry:
    headers = tuple({h.name.lower(): h for h in reversed(match.headers)}.items())
    specific = (-len(match.path.value), not match.method, -len(headers), -len(match.queryParams))
    order = (*specific, route.metadata.creationTimestamp, f"{route.namespace}/{route.name}", i, j)
    return Entry(route, i, j, host, match, headers, order)


Paths = dict[tuple[str, str], list[Entry]]  # (type, the path without a prefix's last /), in the order of precedence
Table = Mapping[str, Mapping[str, Paths]]  # by the hostname that a listener leaves of a route's, and the route's own


def table(routes: Iterable[tuple[HTTPRoute, Collection[str]]], within: str = "") -> Table:
    """`routes`, each with its hostnames (none: any), in order of precedence, for a listener of the hostname `within`.

    To be made once for a cluster. Hostnames that have nothing in common with the listener's are left out.
    """
    hosts: dict[str, dict[str, Paths]] = {}
    for route, hostnames in routes:
        for host in hostnames or ("",):
            common = shared(host, within)
            if common is None:
                continue
            paths = hosts.setdefault(common, {}).setdefault(host, {})
            for i, rule in enumerate(route.spec.rules):
                for j, match in enumerate(rule.matches or (api.HTTPRouteMatch(),)):
                    kind, path = match.path.type, match.path.value
                    key = {"Exact": path, "PathPrefix": path.removesuffix("/")}.get(kind, "")
                    paths.setdefault((kind, key), []).append(_entry(route, i, j, host, match))
    for entries in (e for by_host in hosts.values() for paths in by_host.values() for e in paths.values()):
        entries.sort(key=lambda e: e.order)
    return hosts


def _leading(paths: Paths, path: str) -> Iterator[Entry]:
    """The entries whose path may match, the first to be asked first."""
    yield from paths.get(("Exact", path), ())
    yield from paths.get(("RegularExpression", ""), ())
    start = path.removesuffix("/") + "/"
    while start:
        start = start.rpartition("/")[0]
        yield from paths.get(("PathPrefix", start), ())


def shared(one: str, other: str) -> str | None:
    """What two hostnames have in common: the more specific of them ("" for any), None for nothing."""
    for wide, narrow in ((one, other), (other, one)):
        if wide in ("", narrow) or (wide.startswith("*.") and narrow.endswith(wide[1:])):
            return narrow
    return None


def takers(host: str) -> Iterator[str]:
    """The hostnames that cover `host`, the most specific first; * stands for one or more labels."""
    yield host
    while "." in host:
        host = host.partition(".")[2]
        yield f"*.{host}"
    yield ""


def take(routes: Table, request: Request) -> Entry | None:
    """The entry that takes `request`; None where no rule does."""
    return next((entry for entry, missed in _asked(routes, request) if missed is None), None)


def _asked(routes: Table, request: Request) -> Iterator[tuple[Entry, object | None]]:
    """The entries whose hostname and path may match, the first to be asked first, and what of it is not met."""
    query, path = request.query, request.path.partition("?")[0]
    for paths in _hosted(routes, request.host):
        for entry in _leading(paths, path):
            yield entry, _missed(entry, request, path, query)


def _hosted(routes: Table, host: str) -> list[Paths]:
    """The routes that have the requests for `host`, those with the most specific hostname first."""
    mine = next((routes[h] for h in takers(host) if h in routes), {})
    return [mine[h] for h in takers(host) if h in mine]


def _missed(entry: Entry, request: Request, path: str, query: Mapping[str, str]) -> object | None:
    """What of a match the request does not meet, given that an Exact path or a PathPrefix does match."""
    match = entry.match
    if match.path.type == "RegularExpression" and not whole(match.path.value, path):
        return match.path
    if match.method and match.method != request.method:
        return match.method
    for name, wanted in entry.headers:
        if not _fits(wanted, request.header(name)):
            return wanted
    return next((q for q in match.queryParams if not _fits(q, query.get(q.name))), None)


def _fits(wanted: api.NamedMatch, given: str | None) -> bool:
    return given is not None and (given == wanted.value if wanted.type == "Exact" else whole(wanted.value, given))


def others(routes: Table, taken: Entry | None, request: Request) -> Iterator[Rejected]:
    """The entries of that host that do not take `request`, and why."""
    path, asked = request.path.partition("?")[0], {id(entry): missed for entry, missed in _asked(routes, request)}
    hosted = (entries for paths in _hosted(routes, request.host) for entries in paths.values())
    for entry in (e for entries in hosted for e in entries if e is not taken):
        missed = asked.get(id(entry), path)
        first = f"matches too, but {taken.named} ({taken}) is more specific, older or first" if taken else ""
        why = first if missed is None else f"does not match {getattr(missed, 'name', path)}"
        yield Rejected(f"{entry.named}: {entry}", why, entry.route, entry.at)


# --- what becomes of the request -------------------------------------------------------------------------------------


def decide(
    view: Cluster, entry: Entry, dialled: Callable[..., Decision], *, flow: Flow, port: int, by: str, **common: Any
) -> Decision:
    """What becomes of a request that `entry` takes: an answer, one of its backends, or a pod of the one picked.

    `dialled(service, port, request, **common)`: what becomes of the request as it is sent on, once the Service port is
    known. `port`: the listener's, for redirects. `by`: how the routes were found. `common`: the Decision's layer,
    place, facts, warnings, rejected.
    """
    route, rule, facts = entry.route, entry.rule, common["facts"]
    common |= {"flow": flow} | ({} if flow.backend is None else {"rejected": ()})  # told with the choice of a backend
    answers = partial(Decision, grain="request", action="respond", **common)
    facts["route"] = entry.named
    at = "{}:{}".format(*route.where(*entry.at)) if route.origin.file else "assumed"
    why = f"{by}{entry} of HTTPRoute {entry.named} ({at})"
    live = [ref for ref in rule.backendRefs if ref.weight]
    names = [_name(route, ref) for ref in live]
    split = len(live) > 1 and flow.backend is None
    ref = live[flow.backend or 0] if live and not split else None
    request, answer, told = flow.request, None, []
    for one in (*rule.filters, *(ref.filters if ref else ())):
        if one.requestRedirect:
            answer = one.requestRedirect
        elif one.type in ("CORS", "ExtensionRef"):
            raise NotModelled(f"the filter {one.type} (HTTPRoute {entry.named})")
        else:
            request = _filtered(request, one, entry.match.path.value)
            told += _told(view, route, one)
    if answer:
        to = _location(request, answer, entry.match.path.value, port)
        facts["location"] = to
        return answers(status=answer.statusCode, why=f"{why}: redirect to {to}")
    if not live:
        what = "all its backendRefs have weight 0" if rule.backendRefs else "it has no backendRefs"
        return answers(status=500, why=f"{why}, but {what}")
    if split:
        weights = [(name, r.weight) for name, r in zip(names, live, strict=True)]
        by_weight = f" by weight, {' : '.join(str(r.weight) for r in live)}"
        common |= {"why": f"{why} shares its requests among {', '.join(names)}{by_weight}"}
        return among(weights, "gateway-weights", brief=(f"HTTPRoute {entry.named}", by_weight), **common)
    name = names[flow.backend or 0]
    where = ref.namespace or route.namespace
    facts["backend"] = {"namespace": where, "service": ref.name, "port": ref.port}
    missing = invalid(view, route, ref)
    if missing:
        return answers(status=500, why=f"{why} is {name}, but {missing}")
    facts["forwarded"] = {"host": request.host, "path": request.path, "headers": dict(request.headers)}
    times = {k: v for k, v in vars(rule.timeouts).items() if v}
    if times:
        facts["timeouts"] = times
        told.append("time-outs: " + ", ".join(f"{k} {v}" for k, v in times.items()))
    common |= {"why": "; ".join([f"{why} is {name}", *told]), "brief": f"HTTPRoute {entry.named} is {name}"}
    service = view.services[where, ref.name]
    return dialled(service, service.port_of(ref.port), request, **common)


def _name(route: HTTPRoute, ref: api.HTTPBackendRef) -> str:
    kind = "" if ref.kind == "Service" else f"{ref.kind} "
    return f"{kind}{ref.namespace or route.namespace}/{ref.name}" + (f":{ref.port}" if ref.port else "")


def invalid(view: Cluster, route: HTTPRoute, ref: api.ObjectReference) -> str:
    """Why requests to this backend get 500, as the route's status would say; "" for a valid one."""
    where = ref.namespace or route.namespace
    if (ref.group, ref.kind) != ("", "Service"):
        return f"a backend of kind {'/'.join(filter(None, (ref.group, ref.kind)))} is unknown (InvalidKind)"
    if where != route.namespace and not granted(view, "HTTPRoute", route.namespace, ref, where):
        return f"no ReferenceGrant in {where} lets HTTPRoutes of {route.namespace} use it (RefNotPermitted)"
    service = view.services.get((where, ref.name))
    if service is None:
        return f"there is no Service {where}/{ref.name} (BackendNotFound)"
    if service.spec.type == "ExternalName":
        raise NotModelled(f"an HTTPRoute's backend of type ExternalName ({service})")
    return "" if service.port_of(ref.port) else f"{service} has no port {ref.port} (BackendNotFound)"


def granted(view: Cluster, kind: str, namespace: str, ref: api.ObjectReference, where: str) -> bool:
    """Whether a ReferenceGrant in the namespace `where` lets the Gateway API's `kind` in `namespace` refer to `ref`."""
    return any(g.lets(kind, namespace, ref) for g in view.grants.get(where, ()))


def _filtered(request: Request, one: api.HTTPRouteFilter, prefix: str) -> Request:
    if one.urlRewrite:
        host = one.urlRewrite.hostname or request.host
        return replace(request, host=host, path=_path(request.path, one.urlRewrite, prefix))
    changes = one.requestHeaderModifier
    if not changes:
        return request
    headers = dict(request.headers) | {h.name.lower(): h.value for h in changes.set}
    for h in changes.add:
        had = headers.get(h.name.lower())
        headers[h.name.lower()] = h.value if had is None else f"{had},{h.value}"
    gone = {name.lower() for name in changes.remove}
    return replace(request, headers=tuple((k, v) for k, v in headers.items() if k not in gone))


def _path(asked: str, rewrite: api.URLRewrite, prefix: str) -> str:
    """The path after a rewrite; the query stays."""
    change: api.HTTPPathModifier | None = rewrite.path
    path, mark, query = asked.partition("?")
    if change and change.replaceFullPath is not None:
        path = change.replaceFullPath
    elif change:
        path = change.replacePrefixMatch.removesuffix("/") + path[len(prefix.removesuffix("/")) :]
    return (path if path.startswith("/") else f"/{path}") + mark + query


def _location(request: Request, redirect: api.URLRewrite, prefix: str, listener: int) -> str:
    """A scheme of its own brings that scheme's port, else the listener's port stays; a usual port is left out."""
    usual = {"http": 80, "https": 443}
    scheme = redirect.scheme or request.scheme
    port = redirect.port or (usual[scheme] if redirect.scheme else listener)
    host = (redirect.hostname or request.host) + ("" if port == usual[scheme] else f":{port}")
    return f"{scheme}://{host}{_path(request.path, redirect, prefix)}"


def _told(view: Cluster, route: HTTPRoute, one: api.HTTPRouteFilter) -> Iterator[str]:
    mirror, answered = one.requestMirror, one.responseHeaderModifier
    if mirror:
        missing = invalid(view, route, mirror.backendRef)
        part = f" of {mirror.percent}%" if mirror.percent is not None else " of a part" if mirror.fraction else ""
        name = _name(route, mirror.backendRef)
        yield f"no copy goes to {name}: {missing}" if missing else f"a copy{part} goes to {name}; its answer is dropped"
    if answered:
        changed = [*(h.name for h in (*answered.set, *answered.add)), *answered.remove]
        yield f"the answer's headers change: {', '.join(changed)}"
