"""Ingresses: what becomes of the URLs that their own rules name, at the controller that serves them.

A finding rests on what the model answers, not on how the YAML looks. What may stand in files that are not here (a
Service of a namespace of which nothing is here, a class, a Secret) is no finding, or a "surprising" one.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from ...cluster import Cluster, grouped
from ...controllers import CLASS_ANNOTATION, INGRESS_NGINX, KNOWN, SPEC, TRAEFIK, Controller
from ...errors import InputError, NotModelled
from ...layers.ingress import SEMANTICS, spec
from ...layers.ingress.ingress_nginx import Server, configuration
from ...layers.ingress.match import Answered, Matched, Route, age_unknown, behind, default
from ...layers.ingress.nginx_annotations import PREFIX, annotation, number
from ...layers.ingress.nginx_upstreams import is_canary, name_of
from ...objects import Ingress, Object, Service
from ..compare import TABLE
from . import annotations, gateways  # noqa: F401 (they register their checks)
from .asking import NOTES, ask, listed, meant, missing, near, rules, serving, url_of
from .finding import Finding, each, of

MOST = 200  # paths of a host: of more it is not asked which of them hides another
NOTE = ("metadata", "annotations")


class Wrong(NamedTuple):
    """A finding of one path: its name, the object and field that are to blame, the cause (what has the same is told
    together), the values of its text."""

    name: str
    one: Object
    at: tuple[str | int, ...]
    cause: str
    told: dict[str, Any]


@each(Ingress)
def served_by_nobody(view: Cluster, ingress: Ingress) -> Iterator[Finding | str]:
    served, given = view.served[ingress.key], ingress.spec.ingressClassName
    name = given or ingress.metadata.annotations.get(CLASS_ANNOTATION, "")
    at = ("spec", "ingressClassName") if given else (*NOTE, CLASS_ANNOTATION) if name else ("spec",)
    told = {"urls": listed(url_of(h, r.path or "/") for h, r in rules(ingress)) or "every URL", "served": served}
    if not name and served.assumed and not view.classes:
        yield f"No class is named and none is here, so {KNOWN[served.controller].title} is assumed: {ingress}"
    if served.controller:
        return
    like = near(name, {*view.classes, *(known.class_name for known in KNOWN.values())})
    watched = (a for p in view.pods for c in p.spec.containers for a in c.args if not name)
    taken = any(a.startswith("--watch-ingress-without-class") for a in watched)
    others = not name and any(c.spec.controller != INGRESS_NGINX for c in view.classes.values())  # it may be theirs
    here = {(ingress.namespace, r.backend.service.name) for _, r in rules(ingress) if r.backend.service}
    if not like and (taken or others or name in NOTES["classes"] or not (view.classes or here <= view.services.keys())):
        yield f"Which controller serves them is not known: {ingress}"
    else:
        told["level"] = "broken" if like or view.classes else "surprising"
        told["hint"] = f"; {like} is near" if like else "" if view.classes else "; the class may come from elsewhere"
        yield of("ingress-unserved", ingress, *at, **told)


@each(Ingress)
def rules_as_written(view: Cluster, ingress: Ingress) -> Iterator[Finding | str]:
    """Each path's own URLs, at the controller; the paths of which the same is wrong are told together."""
    controller, every = serving(view, ingress), rules(ingress)
    every += [("", default(ingress))] if ingress.spec.defaultBackend else []
    found = {route.at: list(_unbacked(view, controller, host, route)) for host, route in every}
    beside = not all(found.values())
    canary = controller and controller.name == INGRESS_NGINX and is_canary(ingress)
    for host, route in rules(ingress) if controller else ():
        if _paths(view, controller)[host] > MOST:
            yield f"{url_of(host, '')} has over {MOST} paths: it was not asked which of them hides another"
            break
        with suppress(NotModelled, InputError):
            found[route.at] = found[route.at] or list((_canary if canary else _taken)(view, controller, host, route))
    for several in grouped(((w.name, w.cause), w) for wrongs in found.values() for w in wrongs).values():
        name, one, at, _, told = several[0]
        told |= {"urls": listed(w.told["url"] for w in several), "count": len(several), "paths": len(every)}
        if name == "ingress-backend-missing":
            key = (ingress.namespace, told["service"])
            yield from missing(name, view, one, at, key, Service, beside, **told)
        else:
            yield of(name, one, *at, **told)


def _paths(view: Cluster, controller: Controller) -> Counter[str]:
    """How many paths each host has."""
    made = (host for i in controller.ingresses for host, _ in rules(i))
    return view.once(("paths", controller.name), lambda: Counter(made))


def _unbacked(view: Cluster, controller: Controller | None, host: str, route: Route) -> Iterator[Wrong]:
    """A path whose Service, or its port, is not there."""
    port_of = SEMANTICS[controller.name].port_of if controller else Service.port_of
    service, _, why = behind(view, route, port_of)
    external = service and service.spec.type == "ExternalName"  # which needs no port
    if why and not external and route.backend.service and route.backend.service.port.name != "use-annotation":
        become = "left without a Service"
        with suppress(NotModelled, InputError):
            way = ask(view, controller, host, meant(route.path)[0]) if controller else None
            become = become if way is None else "answered 503" if way.by(route) else way.become
        told = {"url": url_of(host, route.path or "/"), "missing": why, "become": become}
        at = (*route.at, *(() if route.at[-1] == "defaultBackend" else ("backend",)), "service")
        field = "name" if route.backend.service.port.name else "number"
        if service:
            yield Wrong("ingress-backend-port", route.ingress, (*at, "port", field), why, told)
        else:
            name = route.backend.service.name
            yield Wrong("ingress-backend-missing", route.ingress, (*at, "name"), why, told | {"service": name})


def _taken(view: Cluster, controller: Controller, host: str, route: Route) -> Iterator[Wrong]:
    """A path that gets no request, or other ones than it says; an Exact path may well be rewritten to one."""
    nginx, expression = controller.name == INGRESS_NGINX, re.search(TABLE["expression"], route.path)
    server = configuration(view, controller).servers[host] if nginx else Server([])
    because, key = server.regex_because, (route.ingress.key, route.at)
    asked = meant(route.path)[: 1 if route.kind == "Exact" else 2]
    ways, further = [ask(view, controller, host, p) for p in asked], route.path + "X"
    others = [w.found.route for w in ways if isinstance(w.found, Matched)]
    answered = {w.found.status for w in ways if isinstance(w.found, Answered)}
    one, at, told = route.ingress, (*route.at, "path"), {"url": ways[0].url, "become": ways[0].become, "route": route}
    for loc in (x for x in server.locations if not because and (x.ingress.key, x.at) == key):
        to = server.by_path[loc.kind, loc.path]
        if to is not loc:
            yield Wrong("location-twice", one, at, loc.path, told | {"loc": loc, "to": to, "place": _place(to)})
    if not any(w.by(route) for w in ways):
        open_ = because or (controller.name, route.kind) == (SPEC, "ImplementationSpecific")  # whether it is a pattern
        own = (route.ingress.namespace, route.backend)
        alike = answered - {404} or any((o.ingress.namespace, o.backend) == own for o in others)
        if expression and not open_ and not alike:
            yield Wrong("path-is-no-expression", one, at, route.path, told | {"by": KNOWN[controller.name].title})
        elif others and not expression and not alike:
            to, alike = others[0], others[0].path == route.path and (nginx or others[0].kind == route.kind)
            share = "all or 0, by chance at every reload," if alike and controller.name == TRAEFIK else "0"
            why = "the same path" if alike else f"{to}, which comes first there"
            why += ", and nothing here says which is older" * (alike and nginx and bool(age_unknown(to, route)))
            told |= {"to": to, "place": _place(to), "why": why, "share": share}
            yield Wrong("path-hidden", one, at, route.path, told)
        return
    if nginx and len(ways) == 2 and all(w.by(route) for w in ways) and ways[0].found.path == ways[1].found.path:
        told |= {"to": ways[0].found.path, "below": ways[1].url}
        yield Wrong("rewrite-without-capture", one, (*NOTE, PREFIX + "rewrite-target"), "", told)
    plain = not expression and route.kind != "ImplementationSpecific"
    if because and plain and not spec.matches(route, further):
        way, (name, _, by) = ask(view, controller, host, further), because.partition(" of ")
        asker = view.once("Ingresses by name", lambda: {str(i): i for i in view.of(Ingress)})[by]
        told = {"url": way.url, "route": route, "host": host or "any host", "name": name, "one": one}
        if way.by(route) and route.backend.service:
            yield Wrong("paths-become-expressions", asker, (*NOTE, PREFIX + name), host, told)


def _place(route: Route) -> str:
    return "{}:{}".format(*route.ingress.where(*route.at))


def _canary(view: Cluster, controller: Controller, host: str, route: Route) -> Iterator[Wrong]:
    """A canary that gets no request, or all."""
    one, way, server = route.ingress, ask(view, controller, host, route.path or "/"), configuration(view, controller)
    kept = server.servers[host].kept if host in server.servers else {}
    named = {(h, r.path or "/", "Exact" if r.kind == "Exact" else "Prefix") for h, r in rules(one)}
    main = kept.get((route.path or "/", "Exact" if route.kind == "Exact" else "Prefix"))
    weight, total = number(one, "canary-weight"), max(100, number(one, "canary-weight-total", 100))
    chosen = any(annotation(one, f"canary-by-{by}") for by in ("header", "cookie"))
    told = {"url": way.url, "become": way.become, "weight": weight, "total": total}
    if main is None:
        told["level"] = "broken" if len(view.hosts[host]) > 1 else "surprising"
        yield Wrong("canary-without-main", one, (*route.at, "path"), "", told)
    elif weight > total or (weight <= 0 and not chosen):
        given = "canary-weight" if annotation(one, "canary-weight") else "canary"
        share = "100%" if weight > total else "0%"
        yield Wrong("canary-weight", one, (*NOTE, PREFIX + given), "", told | {"share": share})
    else:
        hosts = ((h, server.servers[h].kept) for h in _paths(view, controller) if h in server.servers)
        every = {(h, *at) for h, kept in hosts for at, to in kept.items() if name_of(to) == name_of(main)}
        if more := sorted(every - named):
            told |= {"service": name_of(main), "more": listed(url_of(h, path) for h, path, _ in more)}
            yield Wrong("canary-beyond", one, (*route.at, "path"), name_of(main), told)


@each(Ingress)
def wildcard_covered(view: Cluster, ingress: Ingress) -> Iterator[Finding]:
    """A host of its own takes all requests from the wildcard's rules, those that it has no path for as well."""
    controller = serving(view, ingress)
    exact = view.once("hosts by parent", lambda: grouped((h.partition(".")[2], h) for h in view.hosts if "*" not in h))
    for host, route in rules(ingress) if controller else ():
        mine = exact.get(host[2:], ())[:MOST] if host.startswith("*.") else ()
        ways = [(ask(view, controller, h, meant(route.path)[0]), view.hosts[h][0]) for h in mine]
        missed = [(w.url, by) for w, by in ways if isinstance(w.found, Answered) and w.found.status == 404]
        if missed:
            told = {"urls": listed(url for url, _ in missed), "other": missed[0][1], "route": route, "host": host}
            yield of("wildcard-covered", ingress, *route.at[:3], "host", count=len(missed), **told)
