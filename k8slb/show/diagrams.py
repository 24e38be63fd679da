"""What is drawn: the way of a request, or a whole cluster from its rules over its Services to the pods on its nodes.

Every share comes from the decisions that traces and exact shares are made of. Big clusters are drawn in part; what is
left out is counted in boxes of their own.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial

from .. import path, routes
from ..answers.compare import NOWHERE, mistaken
from ..answers.summary import summary
from ..cluster import Cluster, grouped
from ..controllers import Controller
from ..decision import Decision, Place, Timeline, pod_place
from ..endpoints import of_port
from ..errors import InputError, NotModelled
from ..layers.gateway import attached
from ..layers.ingress.match import Route, default, routes_by_host
from ..objects import Ingress, Service, ServicePort
from ..scheduling import some
from ..traffic import CLIENT, Flow, Request, flow_of
from .graph import Arrow, Box, Diagram, share_label
from .picture import Picture
from .route import Share, Spot, called, edges
from .waymap import folded

MOST, FEW = 40, 24  # more pods than this, more boxes of another kind, make a picture nobody can read
OF_ALL = "Shares are of all requests."
OF_EACH = "Shares are of the requests that come to where an arrow begins; Services: asked by a pod on the first node."
Key = tuple  # what tells boxes apart: ("end", what it is called), an object's key, ...
Part = Fraction | str  # a share, or why it is no number
Ways = dict[Key, Part]
ALL = Fraction(1)
ON_LOAD = {None: "on load"}
SENT = {"grain": "request", "action": "forward"}


def _diagram(sentence: str, note: str, boxes: Mapping[Key, Box], arrows: Mapping[tuple[Key, Key], Part]) -> Diagram:
    at = {key: i for i, key in enumerate(boxes)}
    drawn = tuple(Arrow(at[a], at[b], share) for (a, b), share in arrows.items())
    return Diagram(sentence, note, tuple(boxes.values()), drawn)


# --- the way of a request --------------------------------------------------------------------------------------------


def route_diagram(cluster: Cluster, url: str, begin: path.Start) -> Diagram:
    """Every way of a request for `url` that sets out at `begin`. A pod or an end stands once, whatever leads to it."""
    route = edges(Timeline.still(cluster), begin)
    small, maps = folded(route)

    def key(stage: int, spot: Spot) -> Key:
        return spot if spot.kind in ("pod", "end") and spot not in small.onward[stage] else (stage, *spot)

    boxes = {key(i, spot): _box(spot, maps[i]) for i, stage in enumerate(small.stages) for spot in stage}
    found = [(key(i, a), key(i + 1, b), share) for i, stage in enumerate(small.edges) for a, b, share in stage]
    arrows = {(a, b): ON_LOAD.get(share, share) for a, b, share in found}
    for to, parts in grouped((b, share) for _, b, share in found).items():
        if len(parts) > 1 and None not in parts:
            boxes[to] = boxes[to]._replace(lines=(*boxes[to].lines, f"{share_label(sum(parts))} together"))
    alike = grouped((ON_LOAD.get(share, share), spot.name) for spot, share in route.ends().items())
    ends = "; ".join(f"{share_label(s)}{' each' * (len(m) > 1)}: {some(m, 3)}" for s, m in alike.items())
    return _diagram(f"{url} from {begin.place}: {ends}", OF_ALL, boxes, arrows)


def _box(spot: Spot, drawn: Mapping[Spot, Spot]) -> Box:
    kinds = dict.fromkeys(f"{full.kind}s" for full, at in drawn.items() if at == spot and spot.kind == "more")
    note = {"node": f"kube-proxy {spot.note}", "pod": f"on {spot.note}"}.get(spot.kind, "") if spot.note else ""
    name, address = (spot.address, "") if spot.kind == "backend" else (spot.name, spot.address)
    return Box(spot.kind, " ".join([name, " and ".join(kinds)]).strip(), (address * (address != name), note))


# --- the whole cluster -----------------------------------------------------------------------------------------------


def cluster_picture(cluster: Cluster) -> Picture:
    """The diagram as a picture, with the cluster's summary as its text."""
    return Picture(cluster_diagram(cluster).png, *summary(cluster).split("\n", 1))


def cluster_diagram(cluster: Cluster) -> Diagram:
    """The rules of Ingresses and HTTPRoutes, the Services they lead to, and the pods of these on their nodes."""
    rules = {key: rule for key, *rule in reversed([*_rules(cluster)])}  # of those with the same path the first
    asked = {key: (box, ask()) for key, (box, ask) in [*reversed(rules.items())][:FEW]}
    wanted = {to for _, ways in asked.values() for to in ways}
    services = sorted(cluster.services.values(), key=lambda s: s.key not in wanted)
    boxes = {key: box for key, (box, _) in asked.items()} | {s.key: _service(s) for s in services[:FEW]}
    arrows: dict[tuple[Key, Key], Part] = {}

    def lead(source: Key, ways: Ways, rest: Key, more: str) -> None:
        """Draw the arrows of `ways` to what has a box, and one to the box `rest` for all others."""
        for to, share in ways.items():
            at = to if to in boxes or to[0] == "end" else rest
            boxes.setdefault(at, Box("end", to[1]) if to[0] == "end" else Box("more", more))
            parts = (arrows.get((source, at), Fraction(0)), share)
            arrows[source, at] = next((p for p in parts if isinstance(p, str)), None) or sum(parts)

    for key, (_, ways) in asked.items():
        lead(key, ways, ("more", "Service"), _more(len(services) - FEW, "Service"))
    behind: set[Key] = set()
    each = MOST if len(cluster.pods) <= MOST else max(3, MOST // 2 // max(1, len(services)))
    for service in services[:FEW]:
        ways = _answering(cluster, service)
        pods = sorted((key for key in ways if key[0] != "end"), key=lambda key: key not in boxes)
        kept = pods if len(pods) <= each else pods[: each - 1]
        boxes |= {key: _pod(cluster, key) for key in kept}
        behind.update(pods)
        lead(service.key, ways, ("more", service.key), _more(len(pods) - len(kept), "pod"))
    others = [p.key for p in cluster.pods if p.key not in behind]
    room = max(0, MOST - sum(key in boxes for key in behind))
    boxes |= {key: _pod(cluster, key) for key in others[:room]}
    homes = {p.spec.nodeName for p in cluster.pods}
    idle = [n for n in cluster.nodes if n.name not in homes][:FEW]
    boxes |= {n.key: Box("more", "no pods", group=_home(cluster, n.name)) for n in idle}
    drawn = {box.group for box in boxes.values()}
    hidden = {"rule": len(rules) - FEW, "Service": len(services) - FEW, "pod": len(others) - room}
    hidden["node"] = sum(_home(cluster, n.name) not in drawn for n in cluster.nodes)
    boxes |= {("more", what): Box("more", _more(count, what)) for what, count in hidden.items() if count > 0}
    return _diagram(summary(cluster).partition("\n")[0], OF_EACH, boxes, arrows)


def _more(count: int, what: str) -> str:
    return f"and {count:,} more {what}{'s' * (count > 1)}"


def _named(namespace: str, name: str) -> str:
    return name if namespace == "default" else f"{namespace}/{name}"


def _service(service: Service) -> Box:
    spec, ports = service.spec, ", ".join(f"{p.port} to {p.target}" for p in service.spec.ports)
    at = [f"LoadBalancer {i.ip or i.hostname}" for i in service.status.loadBalancer.ingress]
    to = "headless" if service.headless else spec.externalName or spec.clusterIP
    return Box("service", f"Service {_named(service.namespace, service.name)}", (f"{to}, {ports}".strip(", "), *at))


def _pod(cluster: Cluster, key: Key) -> Box:
    pod = cluster.pod_named.get(key[1:])
    if pod is None:
        return Box("pod", key[1], ("no pod in the input",))
    told = (pod.status.podIP, "" if pod.ready else "not ready")
    return Box("pod" if pod.ready else "waiting", _named(*key[1:]), told, _home(cluster, pod.spec.nodeName))


def _home(cluster: Cluster, name: str) -> str:
    node = cluster.node.get(name)
    return f"{name} {node.address} {node.zone}".strip() if node else name or "no node"


def _answering(cluster: Cluster, service: Service) -> Ways:
    """Where requests for a Service end, at whichever of its ports; "by port" where that makes a difference."""
    found = [_port(cluster, service, port) for port in service.spec.ports if service.spec.type != "ExternalName"]
    alike = all(ways == found[0] for ways in found)
    return {key: share if alike else "by port" for ways in found for key, share in ways.items()}


def _port(cluster: Cluster, service: Service, port: ServicePort) -> Ways:
    ready = [e for e in of_port(cluster, service, port) if e.ready]
    spots: dict[Spot, Share] = {Spot("pod", e.ip, e.address): None for e in ready}
    by, local = "by node", service.spec.internalTrafficPolicy == "Local"
    if not ready or not (local or any(e.for_nodes or e.for_zones for e in ready)):
        proxies = any(e.ip in cluster.replica_at for e in ready)  # which answer HTTP themselves
        scheme = "http" if port.protocol == "TCP" and not proxies else port.protocol.lower()
        number = ready[0].port if service.headless and ready else port.port  # nobody maps a headless Service's ports
        flow = flow_of(f"{scheme}://{service.name}.{service.namespace}:{number}")
        begin = Place("pod", f"{service.namespace}/client"), replace(flow, source=path.client_address(cluster))
        by = "not modelled"
        with suppress(NotModelled):
            spots, by = edges(Timeline.still(cluster), path.Start(*begin)).ends(), "on load"
    return {_key(cluster, spot): by if share is None else share for spot, share in spots.items()}


def _key(cluster: Cluster, spot: Spot) -> Key:
    ip, _, number = spot.address.rpartition(":")
    pod = cluster.pod_behind(ip, int(number)) if spot.kind == "pod" else None
    return pod.key if pod else (spot.kind, spot.address or spot.name)


# --- rules, and where they lead --------------------------------------------------------------------------------------


def _rules(cluster: Cluster) -> Iterator[tuple[Key, Box, Callable[[], Ways]]]:
    """(key, box, where it leads, once that is asked) of each rule of an Ingress or HTTPRoute."""
    every = [(host, r) for host, mine in routes_by_host(cluster.of(Ingress)).items() for r in mine]
    every += [("", default(i)) for i in cluster.of(Ingress) if i.spec.defaultBackend]
    for host, rule in every:
        by = cluster.served[rule.ingress.key].controller
        controller = cluster.controllers.get(by)
        group, says = _front(by or "no controller", controller), (str(rule), str(rule.ingress))
        ask = partial(_of_ingress, cluster, host, rule, controller)
        alone = None if controller and controller.modelled else rule.ingress.key  # else it has one answer for a path
        yield ("rule", by, host, rule.path, rule.kind, alone), Box("rule", host or "(any host)", says, group), ask
    for to, mine in cluster.routes_of.items():  # a Gateway, or the callers of a Service in a mesh
        controller = cluster.gateways.get(to[1:]) if to[0] == "Gateway" else None
        alone = {"": routes.table((r, ()) for r, _ in mine)}, ()
        tables, left = attached(cluster, controller.gateway) if controller else alone
        group = _front(f"HTTPRoutes of {to[0]} {_named(*to[1:])}", controller)
        hosts = (paths for table in tables.values() for hosts in table.values() for paths in hosts.values())
        for e in (e for paths in hosts for entries in paths.values() for e in entries):
            box = Box("rule", e.host or "(any host)", (str(e), f"HTTPRoute {e.named}"), group)
            yield (to, e.route.key, e.i, e.j, e.host), box, partial(_of_route, cluster, e)
        for one in left:
            box = Box("rule", one.what, ("not attached",), group)
            yield (to, one.what), box, partial(dict, {("end", one.why): ALL})


def _front(name: str, controller: Controller | None) -> str:
    at = controller.service.status.loadBalancer.ingress[:1] if controller and controller.service else ()
    return " at ".join([name, *(i.ip or i.hostname for i in at)])


def _of_ingress(cluster: Cluster, host: str, rule: Route, controller: Controller | None) -> Ways:
    """Where a controller sends requests for a path of an Ingress (for a sample of it, where it is an expression)."""
    named = rule.backend.service
    replica = next((p for p in controller.pods if p.status.podIP), None) if controller else None
    why = "not modelled" if controller and not (controller.modelled and not replica) else "not served"
    key = ("Service", rule.ingress.namespace, named.name if named else "")
    otherwise = {key if key[1:] in cluster.services else ("end", why): why}
    if not replica or not controller.modelled:
        return otherwise
    encrypted = any(host in tls.hosts for ingress in controller.ingresses for tls in ingress.spec.tls)
    asked = (host.replace("*", "a", 1) or NOWHERE) + next(iter(mistaken(rule.path or "/")))
    with suppress(InputError):  # a path that nobody can ask for
        flow = replace(flow_of(f"http{'s' * encrypted}://{asked}"), source=CLIENT, destination=replica.status.podIP)
        decide = partial(path.decide, Timeline.still(cluster), pod_place(replica))
        return _backends(cluster, decide, flow, otherwise)
    return otherwise


def _of_route(cluster: Cluster, entry: routes.Entry) -> Ways:
    """Where a rule of an HTTPRoute sends its requests."""

    def decide(flow: Flow) -> Decision:
        common = {"flow": flow, "layer": "gateway", "place": Place("pod", ""), "facts": {}}
        return routes.decide(cluster, entry, lambda *_, **told: Decision(**told, **SENT), port=80, by="", **common)

    request = Request("http", entry.host or NOWHERE, entry.match.path.value)
    return _backends(cluster, decide, Flow("TCP", CLIENT, "", 80, request), {("end", "not modelled"): "not modelled"})


def _backends(cluster: Cluster, decide: Callable[[Flow], Decision], flow: Flow, otherwise: Ways) -> Ways:
    """The Services that a decision leads to, or what is answered instead, each with its share."""
    with suppress(NotModelled):
        first, ways = decide(flow), {}
        several = zip(first.candidates, path.exact_shares(first), strict=True) if first.splits else [(None, ALL)]
        for candidate, share in several:
            decision = decide(candidate.flow) if candidate else first
            to = decision.facts.get("backend") or {}
            key = ("Service", to.get("namespace"), to.get("service"))
            sent = decision.action == "forward" and key[1:] in cluster.services
            key = key if sent else ("end", called(*path.outcome_of(decision)))
            ways[key] = ways.get(key, 0) + share
        return ways
    return otherwise
