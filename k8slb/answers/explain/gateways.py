"""Gateway API and mesh: routes that reach nothing, backends that are not there."""

from collections.abc import Iterator
from urllib.parse import quote

from ... import routes
from ...cluster import Cluster, grouped
from ...decision import Place, pod_place
from ...derive import GATEWAY_CLASSES
from ...layers.gateway import NOT_ATTACHED, attached
from ...layers.mesh.istio import SUFFIX
from ...layers.mesh.members import ROOT, member_at
from ...objects import DestinationRule, Gateway, GatewayClass, HTTPRoute, Service, VirtualService
from ...objects.gateways import GROUP
from ...routes import Entry
from ...traffic import Request
from .asking import folder, host_of, listed, missing, near, percent, twice
from .finding import Finding, each, of


@each(Gateway)
def gateway_as_written(view: Cluster, gateway: Gateway) -> Iterator[Finding]:
    name, listeners = gateway.spec.gatewayClassName, gateway.spec.listeners
    known = {c.name for c in view.of(GatewayClass)} | GATEWAY_CLASSES.keys()
    beside = listed(c.name for c in view.of(GatewayClass) if c.origin.file == gateway.origin.file)
    if name not in known and (like := near(name, known) or beside):
        count = len(view.routes_of.get(("Gateway", *gateway.key[1:]), ()))
        told = {"name": name, "near": like, "routes": count}
        yield of("gateway-class", gateway, "spec", "gatewayClassName", **told)
    spoken: dict[int, str] = {}
    for i, one in enumerate(listeners):
        kind = "TLS" if one.speaks == "HTTPS" else one.speaks
        if one.speaks != "UDP" and spoken.setdefault(one.port, kind) != kind:
            yield of("listeners-conflict", gateway, "spec", "listeners", i, "protocol", one=one, other=spoken[one.port])
        for j, ref in enumerate(one.tls.certificateRefs if one.tls else ()):
            where, at = ref.namespace or gateway.namespace, ("spec", "listeners", i, "tls", "certificateRefs", j)
            granted = routes.granted(view, "Gateway", gateway.namespace, ref, where)
            if where != gateway.namespace and not granted and any(o.namespace == where for o in view.objects):
                yield of("certificate-not-granted", gateway, *at, ref=ref, one=one, namespace=where)


@each(HTTPRoute)
def not_attached(view: Cluster, route: HTTPRoute) -> Iterator[Finding | str]:
    told = {"hosts": listed(route.spec.hostnames or ["any host"]), "rules": len(route.spec.rules)}
    for i, ref in ((i, r) for i, r in enumerate(route.spec.parentRefs) if (r.group, r.kind) == (GROUP, "Gateway")):
        at, key = ("spec", "parentRefs", i), (ref.namespace or route.namespace, ref.name)
        if key not in view.gateways:
            yield from missing("route-without-gateway", view, route, (*at, "name"), key, Gateway, False, **told)
            continue
        gateway = view.gateways[key].gateway
        _, left = view.once(("routes", gateway.key), lambda one=gateway: attached(view, one))
        whys = view.once(("left", gateway.key), lambda left=left: {(o.object.key, o.path[2]): o.why for o in left})
        why, spaces = whys.get((route.key, i)), {x.allowedRoutes.namespaces.from_ for x in gateway.spec.listeners}
        unknown = why == NOT_ATTACHED[1] and "Selector" in spaces and route.namespace not in view.namespaces
        if why and not unknown and not twice(view, gateway):
            words = "{0.name} (port {0.port}, host {0.hostname}, routes from {0.allowedRoutes.namespaces.from_})"
            offered = listed(words.format(x).replace("host ,", "any host,") for x in gateway.spec.listeners)
            yield of("route-not-attached", route, *at, gateway=gateway, why=why, offered=offered, **told)


@each(HTTPRoute)
def read_by_a_mesh(view: Cluster, route: HTTPRoute) -> Iterator[Finding | str]:
    """A route of a Service, where nobody who asks is in a mesh."""
    for i, ref in enumerate(route.spec.parentRefs):
        if (ref.group, ref.kind) == (GROUP, "Service"):
            told = {"service": ref.name, "rules": len(route.spec.rules)}
            yield of("route-parent-group", route, "spec", "parentRefs", i, "kind", **told)
    if named := [ref.name for ref in route.spec.parentRefs if (ref.group, ref.kind) == ("", "Service")]:
        spaces = (Place("pod", f"{space}/client") for space in {o.namespace for o in view.objects})
        if not view.once("meshed", lambda: any(member_at(view, x).mesh for x in (*spaces, *map(pod_place, view.pods)))):
            yield (
                f"{route}: only a mesh reads what it says of Service {listed(named)}, and no pod or Namespace of this "
                "input is in one by its labels, so it changes no request here"
            )


@each(HTTPRoute)
def backends_as_written(view: Cluster, route: HTTPRoute) -> Iterator[Finding | str]:
    for i, rule in enumerate(route.spec.rules):
        total, at, name = sum(ref.weight for ref in rule.backendRefs), ("spec", "rules", i), rule.name or i
        mine = [(j, r) for j, r in enumerate(rule.backendRefs) if (r.group, r.kind) == ("", "Service")]  # others: open
        keys = [(ref.namespace or route.namespace, ref.name) for _, ref in mine]
        gateways = [p.name for p in route.spec.parentRefs if p.kind == "Gateway"]
        for service in (view.services[k] for k in keys if k in view.services and gateways):
            if service.spec.sessionAffinity == "ClientIP":
                pods = len(view.selected(service.namespace, service.spec.selector))
                by = {"title": f"Gateway {gateways[0]}", "ingress": route, "pods": pods}
                yield of("affinity-bypassed", service, "spec", "sessionAffinity", **by)
        if rule.backendRefs and not total:
            yield of("route-without-weight", route, *at, "backendRefs", rule=name)
        for (j, ref), key in zip(mine, keys, strict=True):
            why, place = routes.invalid(view, route, ref), (*at, "backendRefs", j)
            told = {"missing": why, "rule": name, "share": percent(ref.weight, total)}
            if why and ref.weight and key not in view.services:
                beside = any(k in view.services for k in keys)
                yield from missing("route-backend", view, route, (*place, "name"), key, Service, beside, **told)
            elif why and ref.weight:
                field = "port" if "has no port" in why else "name"
                yield of("route-backend", route, *place, field, hint="", **told)


@each(Gateway)
def never_taken(view: Cluster, gateway: Gateway) -> Iterator[Finding]:
    """Matches that get no request at this Gateway, because other ones take all that they ask for."""
    tables, _ = view.once(("routes", gateway.key), lambda: attached(view, gateway))
    taken: dict[tuple, list[tuple[Entry, Entry | None]]] = {}
    for table in tables.values():
        for host, paths in ((host, paths) for host, of_host in table.items() for paths in of_host.values()):
            for one in (one for entries in paths.values() for one in entries):
                pairs = [(one, routes.take(table, request)) for request in _meant(one, host)] or [(one, one)]
                taken.setdefault((one.route.key, one.i, one.j), []).extend(pairs)
    for (key, i, _), pairs in taken.items():
        one, by = pairs[0]
        if not any(to is None or (to.route.key, to.i) == (key, i) for _, to in pairs) and by:
            if (by.rule.backendRefs, by.rule.filters) != (one.rule.backendRefs, one.rule.filters):
                place = "{}:{}".format(*by.route.where(*by.at))
                yield of("match-never-taken", one.route, *one.at, one=one, by=by, gateway=gateway, place=place)


def _meant(one: Entry, host: str) -> list[Request]:
    """Requests that an entry asks for; none where a regular expression leaves open which."""
    match, query = one.match, "&".join(f"{quote(q.name)}={quote(q.value)}" for q in one.match.queryParams)
    if any(wanted.type == "RegularExpression" for wanted in (*match.headers, *match.queryParams, match.path)):
        return []
    paths = [match.path.value] + [f"{match.path.value.removesuffix('/')}/below"] * (match.path.type == "PathPrefix")
    headers, end = tuple((h.name.lower(), h.value) for h in match.headers), query and f"?{query}"
    return [Request("http", host_of(host), path + end, match.method or "GET", headers) for path in paths]


@each(VirtualService)
def routes_after_all(view: Cluster, virtual: VirtualService) -> Iterator[Finding]:
    """Routes behind one that takes every request."""
    written = virtual.spec.http
    by = next((i for i, r in enumerate(written) if not r.match), len(written))
    for i, route in [(i, r) for i, r in enumerate(written) if i > by][:1]:
        to = listed(p.destination.host for p in route.route) or "no destination"
        told = {"by": written[by].name or by, "route": route.name or i, "to": to, "count": len(written) - by - 1}
        yield of("mesh-never-taken", virtual, "spec", "http", i, **told)


@each(VirtualService)
def destinations_as_written(view: Cluster, virtual: VirtualService) -> Iterator[Finding | str]:
    parts = [(i, j, r, p) for i, r in enumerate(virtual.spec.http) for j, p in enumerate(r.route)]
    for i, j, route, part in parts:
        total, to = sum(p.weight for p in route.route), part.destination
        at = ("spec", "http", i, "route", j, "destination")
        name, _, where = to.host.removesuffix(SUFFIX).partition(".")
        if (where and not to.host.endswith(SUFFIX)) or view.of("ServiceEntry") or (total and not part.weight):
            continue  # the host may be one that Istio alone knows; or nothing goes there
        where = where or virtual.namespace
        service, hosts = view.services.get((where, name)), [(name, where)]
        hosts += [(f"{name}.{where}{SUFFIX}", space) for space in (where, virtual.namespace, ROOT)]
        told = {"share": percent(part.weight or 1, total or 1), "route": route.name or i, "to": to}
        if service is None:
            beside = any((virtual.namespace, p.destination.host) in view.services for *_, p in parts)
            yield from missing("mesh-no-service", view, virtual, (*at, "host"), (where, name), Service, beside, **told)
            continue
        made = view.once("subsets", lambda: grouped(((r.spec.host, r.namespace), r) for r in view.of(DestinationRule)))
        offered = [s for h in dict.fromkeys(hosts) for r in made.get(h, ()) for s in r.spec.subsets]
        subset = next((s for s in offered if s.name == to.subset), None)
        pods = view.selected(where, service.spec.selector)
        if to.subset and offered and not subset:
            names = listed(s.name for s in offered)
            yield of("mesh-no-subset", virtual, *at, "subset", service=service, names=names, **told)
        elif subset and pods and not any(subset.labels.items() <= p.metadata.labels.items() for p in pods):
            folders = {folder(o) for o in (service, virtual)}
            told |= {"level": "broken" if len(folders) == 1 else "surprising", "service": service, "pods": len(pods)}
            labels = listed(f"{k}={v}" for k, v in subset.labels.items())
            yield of("mesh-empty-subset", virtual, *at, "subset", labels=labels, **told)
