"""Services: who is behind them, by which door, in which shares.

A finding rests on what is in the input. Pods that an operator makes, or that stand in other files, are told of in a
note; containerPort is information only, so a number that no container declares is "surprising" at most.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from fractions import Fraction
from functools import cached_property, reduce
from itertools import product
from math import comb
from operator import attrgetter, itemgetter
from typing import Any

from ... import objects as k8s
from ... import path
from ...cluster import Cluster, grouped
from ...decision import Timeline, pod_place
from ...endpoints import Endpoint, of_port
from ...layers.mesh.members import member_at
from ...scheduling import owners, some
from ..shares import Shares
from ..trace import FAILED
from .finding import TEXTS, Finding, each, of

CONFIGURES = frozenset(TEXTS["kinds that make no pods"])  # "GROUP" or "GROUP/KIND", of kinds that no type reads
GRPC = r"(.*-)?(grpcs?|h2c)(-(?!web|xds).*)?|http2|kubernetes.io/h2c"
MAX_SHARES = 100_000  # nodes times pods of which exact shares are worked out
MOST = 100  # objects of a namespace that a Service is compared with, to find whose pods it may mean
# labels that controllers put on the pods they make, so that no template has them
WRITTEN_LATER = ("statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index", "pod-template-hash")
OVERLOAD = Fraction(6, 5)  # hottest over fair: what the EndpointSlice controller too calls an overload (20%)
USERS = 10  # connections that stay open, in what is said of them
ASIDE = "health|metrics|prom|probe|admin|debug"  # a pod that names no other port may serve where it names none
CHECKED = " A load balancer that asks healthCheckNodePort sends nothing there."
NODE_PORTS = range(30_000, 32_768)  # --service-node-port-range


def part(share: Fraction) -> str:
    """Of connections: "all", "1/3 (33.3%)", or only "33.4%" where the fraction says little."""
    told = f"{100 * float(share):.3g}%"
    return "all" if share == 1 else f"{share} ({told})" if share.denominator <= 100 else told


def _pairs(labels: dict[str, Any]) -> str:
    return ", ".join(f"{k}: {v}" for k, v in labels.items())


@dataclass(frozen=True)
class Door:
    """A port of a Service, and what the texts say of it."""

    view: Cluster
    service: k8s.Service
    index: int

    port = property(lambda self: self.service.spec.ports[self.index])
    target = property(lambda self: f"{self.port.target}/{self.port.protocol}")
    name = property(lambda self: f"{self.port.name or 'no name'}/{self.port.protocol}")
    at = property(lambda self: ("spec", "ports", self.index))
    number = property(attrgetter("port.port"))

    @property
    def url(self) -> str:
        return f"{self.port.protocol.lower()}://{self.service.name}.{self.service.namespace}:{self.number}"

    @property
    def fate(self) -> str:
        """What becomes of all connections where no pod answers any, as the last decision on the way says."""
        last = path.walk(Timeline.still(self.view), path.start(self.view, self.url))[-1].decision
        return f"all connections to {self.url} fail: {FAILED.get(last.action, last.action)}"

    @cached_property
    def pods(self) -> list[k8s.Pod]:
        return [p for p in self.view.selected(self.service.namespace, self.service.spec.selector) if p.running]

    @property
    def pods_told(self) -> str:
        return "1 pod" if len(self.pods) == 1 else f"{len(self.pods):,} pods"

    @property
    def ends(self) -> tuple[Endpoint, ...]:
        return of_port(self.view, self.service, self.port)

    @property
    def ready(self) -> int:
        return sum(e.ready for e in self.ends)

    @property
    def has(self) -> str:
        """The ports that the pods declare."""
        return some(dict.fromkeys(f"{x.name or x.containerPort}/{x.protocol}" for p in self.pods for x in p.spec.ports))


def _assumed(view: Cluster) -> str:
    return "" if view.of(k8s.Node) else " (assumed: the input has no Node)"


def _given(view: Cluster, service: k8s.Service) -> bool:
    """Whether the input's EndpointSlices have endpoints of it."""
    return any(part.raw and part.endpoints for part in view.slices(service))


# --- who is selected -------------------------------------------------------------------------------------------------


def _labels(one: k8s.Object) -> dict[str, str] | None:
    """The labels of the pod that an object is, or of those that it makes; None if it has no pod template."""
    if isinstance(one, (k8s.Pod, k8s.Workload)):
        return (one if isinstance(one, k8s.Pod) else one.spec.template).metadata.labels
    spec = _in(one.raw, "spec", "jobTemplate", "spec") or _in(one.raw, "spec")
    found = _in(spec, "template", "metadata", "labels")
    return {k: str(v) for k, v in found.items()} if isinstance(found, dict) else None


def _declared(one: k8s.Object) -> set[str | int]:
    """The names and numbers of the ports of its pods."""
    spec = one.spec if isinstance(one, k8s.Pod) else one.spec.template.spec if isinstance(one, k8s.Workload) else None
    return {x for c in (spec.containers if spec else ()) for p in c.ports for x in (p.name, p.containerPort) if x}


def operated_by(one: k8s.Object) -> bool:
    """Whether it may be of a kind whose operator makes pods and Services."""
    group = one.apiVersion.rpartition("/")[0]
    own = "." in group and not group.endswith(".k8s.io")
    return isinstance(one, k8s.Other) and own and not {group, f"{group}/{one.kind}"} & CONFIGURES


def _alike(
    service: k8s.Service, one: k8s.Object, has: dict[str, str], selected: bool, fits: bool
) -> tuple[bool, int, float]:
    """How much it looks as if the Service were for the pods of `one`, which another Service selects or not, and whose
    ports fit or which are alone with it: whether it does, how many labels match, how near the others come."""
    selector, beside = service.spec.selector, fits and one.origin.file == service.origin.file
    near = max(SequenceMatcher(None, v, str(has.get(k, ""))).ratio() for k, v in selector.items())
    values = {*selector.values()} & {*map(str, has.values())} - {"true", "false"}
    exact = len(selector.items() & has.items())
    sure = (not selected and bool(exact or values or beside or near >= 0.6)) or (beside and not exact and near >= 0.8)
    return sure or one.name == service.name, exact, near


@each()
def selectors(view: Cluster, _: Any) -> Iterator[Finding | str]:
    makers = [(o, found) for o in view.objects if (found := _labels(o)) is not None]
    by_label = grouped(((m[0].namespace, *label), m) for m in makers for label in m[1].items())
    by_name = grouped(((m[0].namespace, name), m) for m in makers for name in {"", m[0].name})
    of_label = grouped(((m[0].origin.file, *label), m) for m in makers for label in m[1].items())
    operated = view.once("operated", lambda: {o.namespace for o in view.objects if operated_by(o)})
    operators = bool(view.of("CustomResourceDefinition"))
    of_file = Counter(o.origin.file for o in [*view.of(k8s.Service), *(m[0] for m in makers)])
    selected, left, elsewhere = set(), {}, []
    for service in view.of(k8s.Service):
        selector = {k: v for k, v in service.spec.selector.items() if k not in WRITTEN_LATER}
        here = [m for label in selector.items() for m in by_label.get((service.namespace, *label), ())]
        whole = [m for m in here if selector.items() <= m[1].items()]  # perhaps pods that are not made now
        selected |= {one.key for one, _ in whole}
        if selector and service.spec.type != "ExternalName" and not whole and not _given(view, service):
            left[service.key] = service, selector, here
    for service, selector, here in left.values():
        few = [by_name.get((service.namespace, name), [])[:MOST] for name in (service.name, "")]
        file, ports = service.origin.file, {p.target for p in service.spec.ports}
        ranked = (
            (_alike(service, *m, m[0].key in selected, of_file[file] == 2 or bool(ports & _declared(m[0]))), m)
            for m in (*here[:MOST], *few[0], *few[1])
        )
        (sure, exact, _), (one, has) = max(ranked, key=itemgetter(0), default=((False, 0, 0), (None, {})))
        others = min((of_label.get((file, *label), []) for label in selector.items()), key=len)[:MOST]
        away = next((m for m in others if selector.items() <= m[1].items() and m[0].key not in selected), None)
        if away and not exact:
            sure, one, has = True, away[0], away[1] | {"namespace": away[0].namespace}
            selector |= {"namespace": service.namespace}
        if not sure or service.namespace in (*operated, "kube-system") or (operators and not exact):
            elsewhere.append(f"{service.namespace}/{service.name}")
            continue
        wrong = {k: v for k, v in selector.items() if has.get(k) != v}
        told = {"wrong": _pairs(wrong), "has": _pairs({k: has.get(k, "nothing") for k in wrong}), "one": one}
        door = Door(view, service, 0) if service.spec.ports else None
        told |= {"selector": _pairs(service.spec.selector), "fate": door.fate if door else "its name has no address"}
        yield of("selects-nothing", service, "spec", "selector", **told)
    if elsewhere:
        yield f"The pods of these Services are not in the input: {some(elsewhere)}."


@each(k8s.Service)
def ports(view: Cluster, service: k8s.Service) -> Iterator[Finding]:
    doors = [Door(view, service, i) for i in range(len(service.spec.ports) * (service.spec.type != "ExternalName"))]
    for door in doors:
        named, protocol = door.port.target, door.port.protocol
        known = [p for p in door.pods if p.port_for(named, protocol) is not None]
        if isinstance(named, str) and door.pods:
            name = "target-port-name" if not known else "target-port-some" if len(known) < len(door.pods) else ""
            if name and (known or not door.ends):
                yield of(name, service, *door.at, "targetPort", door=door, known=len(known))
        slices = [x for x in view.slices(service) if x.endpoints]
        if door.ends and not any(e.ready or (e.serving and e.terminating) for e in door.ends):
            yield of("none-ready", service, *door.at, door=door, count=len(door.ends))
        elif slices and not door.ends and not service.spec.selector:
            has = some(f"{p.name or 'no name'}/{p.protocol}" for part in slices for p in part.ports)
            yield of("slice-port-name", service, *door.at, door=door, has=has, slice=slices[0])
    wanted = {(d.port.target, d.port.protocol) for d in doors}
    aside = all(re.search(f"{ASIDE}|webhook", f"{service.name} {d.port.name}") for d in doors)  # often undeclared
    if not aside and not any(isinstance(target, str) for target, _ in wanted):
        pods = [(p, {(x.containerPort, x.protocol) for x in p.spec.ports}) for p in doors[0].pods]
        serving = [(p, ports) for p, ports in pods if not all(re.search(ASIDE, x.name) for x in p.spec.ports)]
        if without := [p for p, ports in serving if not ports & wanted]:
            name = "target-port-number" if len(without) == len(doors[0].pods) else "target-port-mixed"
            makers = some(list(dict.fromkeys(str((owners(p) or [p.key])[0][2]) for p in without)))
            told = {"makers": makers, "share": part(Fraction(len(without), len(doors[0].pods)))}
            yield of(name, service, *doors[0].at, "targetPort", door=doors[0], **told)


@each(k8s.Pod, k8s.Workload)
def probes(view: Cluster, one: k8s.Pod | k8s.Workload) -> Iterator[Finding]:
    at = ("spec",) if isinstance(one, k8s.Pod) else ("spec", "template", "spec")
    for i, container in enumerate(_in(one.raw, *at, "containers") or ()):
        names = {p.get("name") for p in container.get("ports") or ()}
        for probe, how in product(("readinessProbe", "startupProbe"), ("httpGet", "tcpSocket")):
            port = _in(container, probe, how, "port")
            if isinstance(port, str) and not port.isdigit() and port not in names:
                told = {"probe": probe, "port": port, "container": container.get("name", i)}
                yield of("probe-port-name", one, *at, "containers", i, probe, how, "port", **told)


def _in(raw: Any, *keys: str) -> Any:
    """What stands there, None for nothing."""
    return reduce(lambda at, key: at.get(key) if isinstance(at, dict) else None, keys, raw)


# --- by which door, in which shares ----------------------------------------------------------------------------------


def over(view: Cluster, asked: Iterable[tuple[Fraction, str, str | None]]) -> tuple[dict[str, Fraction], Fraction]:
    """(the share of each pod, what is lost) of connections of which such a part goes to such a URL, put on a node."""
    shares, lost = Counter[str](), Fraction(0)
    for weight, url, via in asked:
        one = Shares(path.shares(Timeline.still(view), path.start(view, url, via=via)))
        lost += weight * one.lost
        shares.update({pod: weight * share for pod, share in one.reached.items()})
    return dict(shares), lost


@each(k8s.Service)
def near_only(view: Cluster, service: k8s.Service) -> Iterator[Finding | str]:
    """Policies that keep traffic near, where enough is known of where the pods are."""
    made, spec = service.status.loadBalancer.ingress, service.spec
    service = view.services[service.namespace, service.name]
    if not spec.ports or service.headless:
        return
    door, blocked = Door(view, service, 0), ("NoSchedule", "NoExecute")
    nodes = [n for n in view.nodes if n.ready and not any(t.effect in blocked for t in n.spec.taints)]
    ends = [e for e in door.ends if e.ready]
    placed = bool(view.of(k8s.Pod))
    # Nodes of a zone that have none of the pods are alike, unless node ports are open at some only
    closed, own = view.proxy_config.nodePortAddresses, {e.node for e in ends}
    alike = list(grouped(((n.zone, (n.name in own or closed) and n.name), n) for n in nodes).values())
    if not ends or not (placed or len(ends) < len(nodes)) or len(alike) * len(ends) > MAX_SHARES:
        return  # fewer pods than nodes leave some empty wherever they are
    parts, scheme = [(Fraction(len(several), len(nodes)), several[0]) for several in alike], door.port.protocol.lower()
    inside = [(weight, door.url, n.name) for weight, n in parts]
    policies = ("internalTrafficPolicy", "trafficDistribution")
    asked = [(f, inside) for f in policies if getattr(spec, f) not in (None, "Cluster")]
    at_nodes = [(weight, f"{scheme}://{n.address}:{door.port.nodePort}", None) for weight, n in parts]
    outer, local, address = "externalTrafficPolicy", spec.externalTrafficPolicy == "Local", ""
    if local and spec.type == "LoadBalancer" and not spec.loadBalancerSourceRanges:  # which may leave out whoever asks
        address = next((i.ip or i.hostname for i in service.status.loadBalancer.ingress), "")
        asked += [(outer, [(Fraction(1), f"{scheme}://{address}:{door.number}", None)])] * bool(address)
        asked += [(outer, at_nodes)] * bool(door.port.nodePort and not made and view.of(k8s.Node))  # one not made yet
    elif spec.type == "NodePort" and (local or closed):
        asked.append((outer, at_nodes))
    known = {n.name for n in view.of(k8s.Node)} or {"node-a", "node-b", "node-c"}  # else the three of `derive`
    if asked and own - known:
        yield f"The nodes of their pods are not in the input, so what stays near is open: {service}"
        return
    for field, connections in asked:
        shares, lost = over(view, connections)
        hot, fair = max(shares.values(), default=Fraction(0)), (1 - lost) / len(ends)
        told = {"door": door, "field": field, "value": getattr(spec, field), "nodes": len(nodes), "lost": part(lost)}
        told |= {"least": "" if placed or lost == 1 else "at least ", "assumed": _assumed(view)}
        told["empty"] = len({n.name for n in nodes} - own)
        told["unless"] = CHECKED if spec.type == "LoadBalancer" and field == outer else ""
        if lost and told["value"] == "Cluster":
            yield of("node-port-closed", service, *door.at, "nodePort", **told)
        elif lost:
            level = "broken" if field == "internalTrafficPolicy" else "surprising"
            yield of("near-only-lost", service, "spec", field, level=level, **told)
        elif fair and hot / fair >= OVERLOAD:
            told |= {"times": f"{float(hot / fair):.2f}", "pod": view.pod_name(max(shares, key=shares.get))}
            yield of("near-only-uneven", service, "spec", field, hot=part(hot), fair=part(fair), **told)
            break


@each(k8s.Service)
def one_connection(view: Cluster, service: k8s.Service) -> Iterator[Finding]:
    """gRPC and HTTP/2 through a ClusterIP, where nothing on the way knows requests."""
    proxied = view.once("proxied", lambda: {*_backends(view)})
    outside = service.spec.type == "LoadBalancer"  # for many clients, most of whom come once
    through = not (service.headless or outside or (service.namespace, service.name) in proxied)
    for door in (Door(view, service, i) for i in range(len(service.spec.ports) * through)):
        declared = (
            x.name for p in door.pods[:1] for x in p.spec.ports if door.port.target in (x.name, x.containerPort)
        )
        spoken, pods = door.port.appProtocol or door.port.name or next(declared, ""), door.ready
        meshed = any(member_at(view, pod_place(p)).mesh for p in door.pods[:1])
        stateful = any(kind == "StatefulSet" for p in door.pods for kind, *_ in owners(p))  # each of which has a name
        if pods > 1 and re.fullmatch(GRPC, spoken) and not meshed and not stateful:
            idle = sum((-1) ** (k + 1) * comb(pods, k) * Fraction(pods - k, pods) ** USERS for k in range(1, USERS))
            told = {
                "spoken": spoken,
                "pods": pods,
                "users": USERS,
                "idle": f"{float(idle if pods <= USERS else 1):.2g}",
            }
            field = "appProtocol" if door.port.appProtocol else "name" if door.port.name else "targetPort"
            yield of("one-connection", service, *door.at, field, **told)


def _backends(view: Cluster) -> Iterator[tuple[str, str]]:
    """The Services whose requests a proxy sees one by one: those of Ingresses and of routes."""
    for one in view.of(k8s.Ingress):
        paths = [p.backend for r in one.spec.rules for p in (r.http.paths if r.http else ())]
        yield from ((one.namespace, b.service.name) for b in (*paths, one.spec.defaultBackend) if b and b.service)
    for one in view.of(k8s.HTTPRoute):
        yield from ((b.namespace or one.namespace, b.name) for rule in one.spec.rules for b in rule.backendRefs)


@each(k8s.Service)
def affinity(view: Cluster, service: k8s.Service) -> Iterator[Finding]:
    spec, nodes = service.spec, len(view.nodes)
    pods = Door(view, service, 0).ready if spec.ports and spec.sessionAffinity == "ClientIP" else 0
    if pods > 1 and nodes > 1 and spec.type == "LoadBalancer" and spec.externalTrafficPolicy == "Cluster":
        used = f"{pods * (1 - (1 - 1 / pods) ** nodes):.1f}"
        told = {"pods": pods, "nodes": nodes, "assumed": _assumed(view), "used": used}
        yield of("affinity-per-node", service, "spec", "sessionAffinity", **told)


@each()
def node_ports(view: Cluster, _: Any) -> Iterator[Finding]:
    asked = [(p.nodePort, (s, i)) for s in view.of(k8s.Service) for i, p in enumerate(s.spec.ports) if p.nodePort]
    for number, users in grouped(asked).items():
        first = users[0][0]
        told = {
            "port": number,
            "first": first,
            "place": first.origin.place,
            "low": NODE_PORTS[0],
            "high": NODE_PORTS[-1],
        }
        for service, i in users:
            if service is not first or number not in NODE_PORTS:
                name = "node-port-range" if service is first else "node-port-taken"
                yield of(name, service, "spec", "ports", i, "nodePort", **told)


@each(k8s.KubeProxyConfiguration)
def deprecated(view: Cluster, config: k8s.KubeProxyConfiguration) -> Iterator[Finding]:
    if config.mode == "ipvs":
        yield of("ipvs-deprecated", config, "mode", nodes=len(view.nodes), scheduler=view.scheduler)
