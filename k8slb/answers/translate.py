"""From Ingress to the Gateway API (v1.6): what each controller does with its Ingresses, as far as HTTPRoutes say it.

A host has listeners of its own, so that no request falls through to another host's rules, and a redirect to https is a
route of its own (ingress2gateway does both). Regular expressions stand for those of ingress-nginx, case and open end
included; where a group keeps the rest of the path, PathPrefix and ReplacePrefixMatch do.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from .. import kubectl
from ..cluster import Cluster, grouped
from ..controllers import INGRESS_NGINX, KNOWN, SPEC, TRAEFIK, Controller
from ..errors import InputError, NotModelled, one_line
from ..layers.ingress import SEMANTICS, ingress_nginx
from ..layers.ingress.ingress_nginx import Location, Server
from ..layers.ingress.match import behind, by_age, routes_by_host, takers
from ..layers.ingress.nginx_annotations import PREFIX, annotation, number
from ..layers.ingress.nginx_upstreams import CANARY, name_of
from ..manifests import read_objects, table_of
from ..objects import Ingress, IngressClass
from ..positions import Source
from ..traffic import Request
from .compare import NOWHERE, Answer, Comparison, Probe, compare, mistaken

GROUP, CLASS = "gateway.networking.k8s.io", "k8slb-spec"  # the class of the specification itself, which can be traced
TABLE = table_of("translate")
OPEN, WHY = TABLE["open"], TABLE["because"]  # of how a URL is unlike a rule's path: what the Gateway API leaves open
MOST_LISTENERS, MOST_RULES, REDIRECTS = 64, 16, (301, 302, 303, 307, 308)  # of a Gateway, of an HTTPRoute
_PLAIN = re.compile(r"(?!.*(//|/\.\.?(/|$)|%2[fF]))/([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*")
CATCH_ALL = ("PathPrefix", "/"), ("RegularExpression", "(?i)^/.*")
_LITERAL = re.compile(r"[-\w/.~%@:!&,;=']*")
_REST = re.compile(r"((?:/[-\w.~%]+)*)(?:\(/\|\$\)|/\??)\(\.[*+]\)\$?")  # /path(/|$)(.*), /path/?(.*), /path/(.*)


@dataclass(frozen=True)
class Translation:
    """`yaml`: the Gateway API's objects; `cluster`: the one that has them instead; `untranslated`: what they do not
    say, by FILE:LINE; `changes`: the URLs whose answer changes, before and after; `open`: those to which an
    implementation may answer as before, for of what makes them differ the Gateway API says nothing."""

    yaml: str
    objects: tuple[dict, ...]
    cluster: Cluster
    untranslated: tuple[str, ...]
    changes: Comparison
    open: Comparison

    @property
    def left_open(self) -> list[str]:
        """What the Gateway API leaves open, in a line; none where that is nothing."""
        such = {p.what: str(p) for p, _ in reversed(self.open.rows)}
        examples = " or ".join(such[what] for what in sorted(such))
        return [f"{TABLE['left_open']}: {len(self.open.rows)} URLs, such as {examples}"] * bool(such)

    def __str__(self) -> str:
        lines = [one_line(f"not translated: {note}") for note in self.untranslated]
        lines += [f"{self.changes.told(*row)}\n    ({WHY[reason(*row)]})" for row in self.changes.rows]
        lines.append(self.changes.counted(len(self.changes.rows), "URLs get another answer"))
        return "\n".join([*lines, *map(one_line, self.left_open)])

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON."""
        told: dict[str, Any] = {"objects": list(self.objects), "untranslated": list(self.untranslated)}
        for name, of in (("changes", self.changes), ("open", self.open)):
            rows = zip(of.to_dict()["rows"], of.rows, strict=True)
            told[name] = [cells | {"why": WHY[reason(*row)]} for cells, row in rows]
        return told


def reason(probe: Probe, answers: tuple[Answer, Answer]) -> str:
    """Why an answer changes, a key of `WHY`: by what differs, else by how the URL is unlike a rule's."""
    one, other = (vars(next(iter(a.shares))) for a in answers)
    differing = {name for name in one if one[name] != other[name]} - {"rule"}
    if "failed" in differing:
        return "failed"
    alone = differing.pop() if len(differing) == 1 else ""
    if alone == "certificate" or (alone in ("path", "location") and probe.what not in OPEN):
        return alone
    return "missing" if (one["status"], other["status"]) == (503, 500) else probe.what


def translate(view: Cluster, gateway_class: str = CLASS) -> Translation:
    """The Gateway API's objects for the Ingresses that controllers serve, for the GatewayClass of this name.

    The answers after it are the specification's (k8slb/spec), whatever implements that class in your cluster.
    InputError where no Ingress leads to a Service through a controller.
    """
    taken: set[tuple] = {o.key for o in view.objects}
    made = [raw for c in view.controllers.values() if c.ingresses for raw in _gateway(view, c, gateway_class, taken)]
    if not made:
        problem = "no Ingress of the input leads to a Service through a controller (a canary alone is none)"
        raise InputError(problem, expected="one to translate")
    spec = _object("GatewayClass", "", gateway_class, {"controllerName": SPEC})
    made = [spec, *made] if gateway_class == CLASS else made
    text = "---\n".join(map(kubectl.written, made))
    head = [line for mark, line in TABLE["said"].items() if mark in text]
    text = "".join(f"# {line}\n" for line in ["Gateway API v1.6, from Ingresses", *head]) + text
    new = read_objects([Source("<translated>", text), Source("<assumed>", kubectl.written(spec))]).objects
    gone = {o.key for o in (*new, *view.of(Ingress, IngressClass))}
    after = view.with_objects([*(o for o in view.objects if o.key not in gone), *new])
    notes = tuple(note for i in view.of(Ingress) for note in _untranslated(view, i))
    told = compare({"before": view, "after": after}).differing
    parts = (tuple(r for r in told.rows if (reason(*r) in OPEN) == left_open) for left_open in (False, True))
    return Translation(text, tuple(made), after, notes, *(replace(told, rows=rows) for rows in parts))


def _object(kind: str, namespace: str, name: str, spec: dict) -> dict:
    meta = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": meta, "spec": spec}


# --- what a controller does ------------------------------------------------------------------------------------------


def _servers(view: Cluster, controller: Controller) -> dict[str, Server]:
    """By host ("" for any): the paths, as ingress-nginx keeps them; of others as the specification has it."""
    if controller.name == INGRESS_NGINX:
        return ingress_nginx.configuration(view, controller).servers
    ingresses, servers = by_age(controller.ingresses), {}
    defaults = [i for i in ingresses if i.spec.defaultBackend and not (i.spec.rules and controller.name == TRAEFIK)]
    defaults.sort(key=lambda i: bool(i.spec.rules))
    for host, routes in ({"": []} | routes_by_host(ingresses)).items():
        kept: dict[tuple[str, str], Location] = {}
        for r in sorted(routes, key=lambda r: -len(r.path)):  # of /a and /a/, which take the same, the longer
            path, kind = r.path or "/", "Exact" if r.kind == "Exact" else "Prefix"
            key = (path if kind == "Exact" else path.rstrip("/"), kind)
            kept.setdefault(key, Location(r.ingress, r.at, r.backend, path, kind))
        for i in ([i for i in defaults if any(r.host == host for r in i.spec.rules)] or defaults)[:1]:
            kept.setdefault(("", "Prefix"), Location(i, (), i.spec.defaultBackend))
        servers[host] = Server([], kept=kept)
    return servers


def _canary(view: Cluster, controller: Controller, loc: Location) -> Location | None:
    """ingress-nginx's canary beside a location's backend."""
    if controller.name != INGRESS_NGINX:
        return None
    return next(iter(ingress_nginx.configuration(view, controller).upstreams[name_of(loc)].canaries), None)


def _redirect(view: Cluster, controller: Controller, scheme: str, host: str, path: str) -> dict | None:
    """The filter for the redirect that the controller answers with, if it does: it is asked."""
    host = host.replace("*", "a") or NOWHERE
    try:
        found, _ = SEMANTICS[controller.name].match(view, controller, Request(scheme, host, path, sni=host))
        to, asked = urlsplit(getattr(found, "location", "")), urlsplit(f"{scheme}://{host}")
        told = {k: getattr(to, k) for k in ("scheme", "port", "hostname") if getattr(to, k) != getattr(asked, k)}
    except (KeyError, NotModelled, ValueError):
        return None
    if not to.hostname or found.status not in REDIRECTS:
        return None
    told |= {"path": _full(to.path or "/")} if to.path != path else {}
    return {"type": "RequestRedirect", "requestRedirect": told | {"statusCode": found.status}}


# --- the objects that say it -----------------------------------------------------------------------------------------


def _gateway(view: Cluster, controller: Controller, class_name: str, taken: set[tuple]) -> Iterator[dict]:
    """The Gateways that stand for a controller, grants for certificates elsewhere, and the routes of its hosts."""

    def unused(kind: str, where: str, base: str) -> str:
        name = next(n for k in count(1) if (kind, where, n := base + f"-{k}" * (k > 1)) not in taken)
        taken.add((kind, where, name))
        return name

    servers, first = _servers(view, controller), by_age(controller.ingresses)[0]
    rules = {(h, s): _rules(view, controller, servers, h, s) for h in servers for s in ("http", "https")}
    if not any(rules.values()):  # nothing but canaries
        return
    home, base = first.namespace, first.spec.ingressClassName or "gateway"
    abroad = {i.namespace for i in controller.ingresses} != {home}
    named = [(h, i.namespace, t.secretName) for i in controller.ingresses for t in i.spec.tls for h in t.hosts]
    secrets = {h: (namespace, secret) for h, namespace, secret in reversed(named) if secret}  # the first counts
    listeners: list[tuple[tuple[str, str], dict]] = []  # (the host and scheme whose rules it has, itself)
    for host in dict.fromkeys([*servers, *secrets]):
        owner = next(h for h in takers(host) if h in servers)
        one = {"hostname": host} if host else {}
        one |= {"allowedRoutes": {"namespaces": {"from": "All"}}} if abroad else {}
        if host in servers and (host or rules[host, "http"]):
            name = unused("listener", home, f"{_slug(host)}-http")
            listeners.append(((owner, "http"), {"name": name, "port": 80, "protocol": "HTTP", **one}))
        if secret := next((secrets[h] for h in takers(host)[:2] if host and h in secrets), None):
            name = unused("listener", home, f"{_slug(host)}-https")
            ref = {"name": secret[1]} | ({"namespace": secret[0]} if secret[0] != home else {})
            one |= {"tls": {"certificateRefs": [ref]}}
            listeners.append(((owner, "https"), {"name": name, "port": 443, "protocol": "HTTPS", **one}))
    parents: dict[tuple[str, str], list[dict]] = {}
    for some in _chunks(listeners, MOST_LISTENERS):
        spec = {"gatewayClassName": class_name, "listeners": [one for _, one in some]}
        yield _object("Gateway", home, name := unused("Gateway", home, base), spec)
        for of, one in some:
            parents.setdefault(of, []).append({"name": name, "sectionName": one["name"]})
    for where in sorted({namespace for namespace, _ in secrets.values()} - {home}):
        given = {"from": [{"group": GROUP, "kind": "Gateway", "namespace": home}]}
        given["to"] = [{"group": "", "kind": "Secret"}]
        yield _object("ReferenceGrant", where, unused("ReferenceGrant", where, f"{base}-certificates"), given)
    for host in servers:
        http, https = (parents.get((host, s), []) for s in ("http", "https"))
        parts = [("", https, rules[host, "https"]), ("-ssl-redirect" if https else "", http, rules[host, "http"])]
        if rules[host, "http"] == rules[host, "https"]:
            parts = [("", http + https, rules[host, "http"])]
        for suffix, at, found in parts:
            for where, mine in grouped((i.namespace, (i.name, rule)) for i, rule in found if at).items():
                spec = {"parentRefs": [p | ({"namespace": home} if where != home else {}) for p in at]}
                spec |= {"hostnames": [host]} if host else {}
                for some in _chunks([rule for _, rule in mine], MOST_RULES):
                    name = unused("HTTPRoute", where, f"{mine[0][0]}-{_slug(host)}{suffix}")
                    yield _object("HTTPRoute", where, name, spec | {"rules": some})


def _chunks(items: list, size: int) -> list[list]:
    return [items[k : k + size] for k in range(0, len(items), size)]


def _slug(host: str) -> str:
    return re.sub("[^a-z0-9]+", "-", host.replace("*", "wildcard")) or "all-hosts"


def _rules(
    view: Cluster, controller: Controller, servers: Mapping[str, Server], host: str, scheme: str
) -> list[tuple[Ingress, dict]]:
    """The rules of a host's routes for a scheme, each with the Ingress it comes from."""
    server, regex, out = servers[host], bool(servers[host].regex_because), []
    redirect = partial(_redirect, view, controller, scheme, host)
    if server.to:
        owner = next(loc.ingress for loc in servers[server.to].kept.values())
        return [(owner, {"filters": [moved]})] if (moved := redirect("/nowhere")) else []
    found = list(server.kept.values())
    if regex:  # in the order in which they are tried; of a path the first; /a stands for the /a/ before it too
        tried = zip(server.locations, [*server.locations[1:], None], strict=True)
        found = [a for a, b in tried if not (b and (b.ingress, b.at, f"{b.path}/") == (a.ingress, a.at, a.path))]
        found = list({loc.path: loc for loc in reversed(found)}.values())[::-1]
    found.sort(key=lambda loc: loc.path == "/")
    prefixes = any(_kept(loc.path, loc.rewrite) for loc in found)
    if server.app_root and (moved := redirect("/")):
        out.append((server.app_root, {"matches": [_path("Exact", "/")], "filters": [moved]}))
    for loc in found:
        stem, match = loc.path.rstrip("/"), _match(loc, regex, prefixes)
        slash = redirect(stem) if "" != stem != loc.path and not regex else None
        if slash and slash["requestRedirect"].get("path") == _full(loc.path):
            out.append((loc.ingress, {"matches": [_path("Exact", stem)], "filters": [slash]}))
        below = _LITERAL.fullmatch(loc.path) and (regex or loc.kind != "Exact")
        if moved := redirect((loc.path if regex else f"{stem}/") + "~" if below else next(iter(mistaken(loc.path)))):
            out.append((loc.ingress, {"matches": [match], "filters": [moved]}))
        elif loc.backend and loc.backend.service:
            canary = _canary(view, controller, loc)
            refs = [ref for to in (loc, canary) if to and (ref := _ref(view, to))]
            for headers, chosen in _split(canary.ingress, *refs) if len(refs) == 2 else [({}, refs)]:
                backends = {"backendRefs": chosen} if chosen else {}
                out.append((loc.ingress, {"matches": [match | headers], **_rewrite(loc), **backends}))
    every = [r for _, r in out if tuple(r["matches"][0]["path"].values()) in CATCH_ALL and "backendRefs" not in r]
    if "RequestRedirect" in str(every) and all({**r, "matches": 0} == {**every[0], "matches": 0} for _, r in out):
        return [(out[0][0], {"filters": every[0]["filters"]})]
    return out


def _path(kind: str, value: str) -> dict:
    return {"path": {"type": kind, "value": value}}


def _full(path: str) -> dict:
    return {"type": "ReplaceFullPath", "replaceFullPath": path}


def _kept(path: str, target: str) -> tuple[str, str] | None:
    """(prefix, what stands for it) where a rewrite-target keeps just the rest of the path: /path(/|$)(.*) and /$2."""
    rest, kept = _REST.fullmatch(path), re.fullmatch(r"(/[^$]*)\$(\d)", target)
    return (rest[1] or "/", kept[1]) if rest and kept and int(kept[2]) == path.count("(") else None


def _rewrite(loc: Location) -> dict:
    """The filter for a rewrite-target, where a filter can say it."""
    kept = _kept(loc.path, loc.rewrite)
    change = {"type": "ReplacePrefixMatch", "replacePrefixMatch": kept[1]} if kept else _full(loc.rewrite)
    said = loc.rewrite and (kept or "$" not in loc.rewrite)
    return {"filters": [{"type": "URLRewrite", "urlRewrite": {"path": change}}]} if said else {}


def _match(loc: Location, regex: bool, prefixes: bool) -> dict:
    """The match that stands for a location; `prefixes`: others of its host become prefixes, and the Gateway API leaves
    open which of a prefix and a regular expression comes first."""
    if kept := _kept(loc.path, loc.rewrite):
        return _path("PathPrefix", kept[0])
    if regex and not (prefixes and _LITERAL.fullmatch(loc.path)):
        return _path("RegularExpression", f"(?i)^{loc.path}" + ("" if loc.path.endswith("$") else ".*"))
    if not _PLAIN.fullmatch(loc.path):
        return _path("RegularExpression", re.escape(loc.path) + ("" if loc.kind == "Exact" else "(/.*)?"))
    return _path("Exact", loc.path) if loc.kind == "Exact" else _path("PathPrefix", loc.path.rstrip("/") or "/")


def _ref(view: Cluster, to: Location) -> dict:
    how = SEMANTICS.get(view.served[to.ingress.key].controller, SEMANTICS[SPEC])
    port = behind(view, to, how.port_of)[1]
    wanted = port.port if port else to.backend.service.port.wanted
    return {"name": to.backend.service.name, "port": wanted} if isinstance(wanted, int) else {}


def _split(canary: Ingress, main: dict, other: dict) -> list[tuple[dict, list[dict]]]:
    """(headers, backends) of each rule that a canary makes of one."""
    weight, total = number(canary, "canary-weight"), max(100, number(canary, "canary-weight-total", 100))
    shared = [main | {"weight": total - weight}, other | {"weight": weight}]
    shared = shared if 0 < weight < total else [other if weight > 0 else main]
    name, value, pattern = (annotation(canary, f"canary-by-header{x}") for x in ("", "-value", "-pattern"))
    asked = [({"value": "always"}, other), ({"value": "never"}, main)]
    if value or pattern:
        asked = [({"value": value} if value else {"type": "RegularExpression", "value": f".*({pattern}).*"}, other)]
    return [({"headers": [{"name": name} | like]}, [to]) for like, to in asked if name] + [({}, shared)]


# --- what they do not say --------------------------------------------------------------------------------------------


def _untranslated(view: Cluster, ingress: Ingress) -> Iterator[str]:
    """What of an Ingress the objects leave out, a line each."""
    served = view.served[ingress.key]
    if not served.controller:
        yield f"{ingress.origin.place}: {ingress}: {served.why}"
        return
    nginx, canary = served.controller == INGRESS_NGINX, annotation(ingress, "canary") == "true"
    prefix = PREFIX if nginx else KNOWN[served.controller].annotations if served.controller in KNOWN else "-"
    paths = [p.path for rule in ingress.spec.rules for p in (rule.http.paths if rule.http else ())]
    for key, text in ingress.metadata.annotations.items():
        name = key.removeprefix(prefix)
        done = nginx and name in TABLE["translated"]
        if name == "rewrite-target" and "$" in text:
            done = done and all(_kept(path, text) for path in paths)
        if key.startswith(prefix) and not done and (not canary or name.startswith(CANARY)):
            why = next(w for start, w in TABLE["why_not"].items() if name.startswith(start))
            file, line = ingress.where("metadata", "annotations", key)
            yield f"{file}:{line}: {ingress}: {name}: {why}"
