"""The controls of the lessons, ready-made. Each maker is given to `panel`, which binds it to a cluster and a question.

    panel(shop, "http://order-service", controls.replicas("order"), controls.mode(), controls.connections())

A cluster is read when a panel is made, so one maker serves any number of panels, and no panel moves another's controls.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from math import ceil
from typing import Any

from .. import kubectl
from ..cluster import MODES, Cluster
from ..derive import ZONE
from ..errors import InputError
from ..layers.pods import FAIL, SERVICE_TIME
from ..objects import Pod, Workload
from ..objects.meshes import seconds
from ..scheduling import owners
from . import edits, kinds
from . import rules as tables
from .kinds import Control, Does, number, pane, text

Asked = dict[str, Any]  # the keyword arguments of `send`, url included
Maker = Callable[[Cluster, Asked], Control]
Field = str | Sequence[str | int]


def maker(build: Callable[..., Control]) -> Callable[..., Maker]:
    """`build(cluster, asked, ...)` as a function of the rest, which waits for the panel's cluster and question."""
    return wraps(build)(lambda *given, **named: lambda cluster, asked: build(cluster, asked, *given, **named))


def _applied(cluster: Cluster, text: str) -> tuple[Cluster, str]:
    """What a control does that applies YAML; "" changes nothing."""
    return kubectl.apply(cluster, text), edits.apply_call(text) if text else ""


def _writes(before: Mapping[str, Any], keys: Sequence[str | int], written: Callable[[Any], Any]) -> Does:
    """What a control does that sets one field of an object to `written(value)`; None removes it."""
    return lambda c, value: _applied(c, edits.patch_text(before, edits.with_field(before, keys, written(value))))


def _called(cluster: Cluster, name: str, *given: Any, **named: Any) -> tuple[Cluster, str]:
    """What a function of kubectl makes of a cluster, and the same as a method call."""
    told = [*map(json.dumps, given), *(f"{k}={json.dumps(v)}" for k, v in named.items())]
    return getattr(kubectl, name)(cluster, *given, **named), f"{name}({', '.join(told)})"


def _workload(cluster: Cluster, name: str) -> Workload:
    return kubectl.find(name, [o for o in cluster.objects if isinstance(o, Workload)], "workload")


def _pods(cluster: Cluster, of: Workload) -> list[Pod]:
    return [p for p in cluster.pods if of.key in owners(p)]


# --- the cluster -----------------------------------------------------------------------------------------------------


@maker
def replicas(cluster: Cluster, asked: Asked, workload: str, most: int = 10) -> Control:
    """How many replicas a workload has, 0 to `most`."""
    start = _workload(cluster, workload).spec.replicas
    most = max(most, start)
    return number(f"replicas of {workload}", start, 0, most, does=lambda c, n: _called(c, "scale", workload, n))


@maker
def nodes(cluster: Cluster, asked: Asked, most: int = 6) -> Control:
    """How many nodes the cluster has, 1 to `most`."""
    start = len(cluster.nodes)
    return number("nodes", start, 1, max(most, start), does=lambda c, count: _called(c, "with_nodes", count))


@maker
def mode(cluster: Cluster, asked: Asked, *names: str) -> Control:
    """kube-proxy's mode, with IPVS's scheduler where it is named: one of `names`, else the three modes."""

    def does(c: Cluster, value: str) -> tuple[Cluster, str]:
        return _called(c, "with_proxy", **dict(zip(("mode", "scheduler"), value.split(), strict=False)))

    now = cluster.mode if not names or cluster.mode != "ipvs" else f"ipvs {cluster.scheduler}"
    options = list(dict.fromkeys([*(names or MODES), now]))
    return kinds.choice("kube-proxy mode", now, options, does=does)


def scheduler() -> Maker:
    """kube-proxy's mode, and for IPVS its scheduler."""
    return mode("iptables", "nftables", *(f"ipvs {name}" for name in ("rr", "wrr", "lc", "sh", "mh")))


@maker
def choice(
    cluster: Cluster, asked: Asked, label: str, options: Mapping[str, str | tuple[Callable[[Cluster], Cluster], str]]
) -> Control:
    """One of several edits, by name: YAML to apply ("" changes nothing), or an edit and the call that does the same.

    choice("policy", {"as it is": "", "two nodes": (lambda c: c.with_nodes(2), "with_nodes(2)")}); the first is shown.
    """

    def does(c: Cluster, name: str) -> tuple[Cluster, str]:
        how = options[name]
        return _applied(c, how) if isinstance(how, str) else (how[0](c), how[1])

    return kinds.choice(label, next(iter(options)), list(options), does=does)


def pods_per_node(workload: str) -> Maker:
    """How many pods of a workload run on each node: a workload a node, selected by its hostname, in its place."""
    return _pods_per(workload, "node", "kubernetes.io/hostname")


def pods_per_zone(workload: str) -> Maker:
    """How many pods of a workload run in each zone: a workload a zone, selected by the nodes' label, in its place."""
    return _pods_per(workload, "zone", ZONE)


@maker
def _pods_per(cluster: Cluster, asked: Asked, workload: str, what: str, label: str) -> Control:
    places = {n.name: n.metadata.labels[label] for n in cluster.nodes if label in n.metadata.labels}
    names = list(dict.fromkeys(places.values()))
    now = Counter(places.get(p.spec.nodeName) for p in _pods(cluster, _workload(cluster, workload)))

    def does(c: Cluster, counts: tuple[int, ...]) -> tuple[Cluster, str]:
        of = _workload(c, workload)
        before = edits.mapping_of(c, f"{of.namespace}/{of.kind.lower()}/{of.name}")
        made = [edits.patch_text(before, kubectl.merged(before, {"spec": {"replicas": 0}}))]
        for name, count in zip(names, counts, strict=True):
            pods = {"metadata": {"labels": {what: name}}, "spec": {"nodeSelector": {label: name}}}
            there = {"replicas": count, "selector": {"matchLabels": {what: name}}, "template": pods}
            pinned = kubectl.merged(before, {"metadata": {"name": f"{of.name}-{name}"}, "spec": there})
            made += [edits.dumped(pinned)] if count else []
        return _applied(c, "---\n".join(made))

    return kinds.row(f"pods of {workload} per {what}", names, tuple(now[name] for name in names), does=does)


@maker
def not_ready(cluster: Cluster, asked: Asked, workload: str, most: int = 10) -> Control:
    """How many of a workload's pods are not ready, the last ones first: their status says so."""
    no = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}

    def does(c: Cluster, count: int) -> tuple[Cluster, str]:
        pods = _pods(c, _workload(c, workload))
        named = ({"kind": "Pod", "metadata": {"namespace": p.namespace, "name": p.name}} for p in pods[-count:])
        return _applied(c, "---\n".join(edits.dumped(pod | no) for pod in named)) if count else (c, "")

    return number(f"pods of {workload} not ready", 0, 0, most, does=does)


@maker
def service_time(cluster: Cluster, asked: Asked, name: str, most: int = 500) -> Control:
    """How many milliseconds a request takes in the pods of a workload, or in one pod; how they spread stays."""
    time, _, spread = _said_of(cluster, name, SERVICE_TIME).partition(" ")
    start, spread = round(1000 * seconds(time or "0s")), f" {spread}" * bool(spread)

    def does(c: Cluster, value: int) -> tuple[Cluster, str]:
        return _called(c, "with_pods", name, service_time=f"{value}ms{spread}")

    return number(f"ms a request takes in {name}", start, 0, max(most, start), does=does)


@maker
def failing(cluster: Cluster, asked: Asked, name: str) -> Control:
    """How many percent of its requests each pod of a workload, or one pod, answers 500."""
    start = round(100 * float((_said_of(cluster, name, FAIL) or "0").partition(" ")[0]))
    return number(f"% that {name} fails", start, 0, 100, does=lambda c, n: _called(c, "with_pods", name, fail=n / 100))


def _said_of(cluster: Cluster, name: str, annotation: str) -> str:
    """An annotation of a pod, or of a workload's template; "" where there is none."""
    whole = [o for o in cluster.objects if isinstance(o, Workload)]
    found = kubectl.find(name, [*whole, *cluster.pods], "workload or pod")
    return (found if isinstance(found, Pod) else found.spec.template).metadata.annotations.get(annotation, "")


@maker
def field(
    cluster: Cluster, asked: Asked, ref: str, path: Field, values: Sequence[Any] | None = None, label: str = ""
) -> Control:
    """One field of an object, such as field("service/web", "spec.externalTrafficPolicy", ["Cluster", "Local"]).

    `path` is dotted, or a sequence where a key has dots in it (annotations) or is a list's index. `values`: a range
    gives a number, a list a choice whose first is what a missing field means, None any text ("" removes the field).
    """
    keys = tuple(path.split(".")) if isinstance(path, str) else tuple(path)
    label = label or f"{keys[-1]} of {ref.rpartition('/')[2]}"
    is_text = keys[:1] == ("metadata",)  # labels and annotations hold text, even where it looks like a number
    before = edits.mapping_of(cluster, ref)
    now = edits.field_of(before, keys)

    def written(value: Any) -> Any:
        plain = str(value) if is_text else int(value) if str(value).isdigit() else value
        return None if value == "" else plain

    does = _writes(before, keys, written)
    if values is None:
        return text(label, "" if now is None else str(now), does=does)
    if isinstance(values, range):
        return number(label, values[0] if now is None else int(now), values[0], values[-1], does=does)
    start = values[0] if now is None else now
    return kinds.choice(label, start, list(dict.fromkeys([*values, start])), does=does)


@maker
def yaml_of(cluster: Cluster, asked: Asked, ref: str) -> Control:
    """The YAML of an object to edit, applied as kubectl would apply the edited file."""
    before = edits.mapping_of(cluster, ref)

    def does(c: Cluster, value: str) -> tuple[Cluster, str]:
        return edits.apply_typed(c, before, value), edits.apply_call(edits.typed_patch(before, value))

    return pane(ref, kubectl.yaml(cluster, ref), does=does)


@maker
def rules(cluster: Cluster, asked: Asked, ingress: str) -> Control:
    """The rules of an Ingress as a table."""
    before = edits.mapping_of(cluster, f"ingress/{ingress}" if "ingress/" not in ingress else ingress)
    start = tables.rows_of(before["spec"])
    backends = [f"{s.name}:{p.port}" for s in cluster.services.values() for p in s.spec.ports]
    table = tables.RuleTable(f"rules of Ingress {before['metadata']['name']}", start, backends)

    write = _writes(before, ("spec", "rules"), tables.rules_of)

    def does(c: Cluster, rows: tuple[tables.Row, ...]) -> tuple[Cluster, str]:
        try:
            return write(c, rows)
        except InputError as error:
            raise tables.of_row(error, rows) from None

    return Control(table, table, start, does=does)


@maker
def weights(cluster: Cluster, asked: Asked, route: str, rule: int = 0, most: int = 100) -> Control:
    """The weights of the backends in one rule of an HTTPRoute, 0 to `most`."""
    before = edits.mapping_of(cluster, f"httproute/{route}" if "httproute/" not in route else route)
    keys = ("spec", "rules", rule, "backendRefs")
    backends = edits.field_of(before, keys)
    now = tuple(b.get("weight", 1) for b in backends)

    does = _writes(before, keys, lambda ws: [b | {"weight": w} for b, w in zip(backends, ws, strict=True)])
    return kinds.row(f"weights in {before['metadata']['name']}", [b["name"] for b in backends], now, most, does=does)


@maker
def controller(cluster: Cluster, asked: Asked, *names: str) -> Control:
    """The Ingress controller that serves the manifests: one of `names`; the first is the cluster's own."""
    return kinds.choice("controller", names[0], list(names), does=lambda c, name: _called(c, "with_controller", name))


# --- the question ----------------------------------------------------------------------------------------------------


def _chosen(label: str, start: str, choices: Sequence[str], ask: Callable[[Asked, str], Asked]) -> Control:
    """Any text, or one of `choices` where there are some."""
    if not choices:
        return text(label, start, ask=ask)
    options = [(choice or "(none)", choice) for choice in dict.fromkeys([start, *choices])]
    return kinds.choice(label, start, options, ask=ask)


def _counted(label: str, asked: Asked, low: int, high: int, log: bool = True) -> Control:
    """A number that `send` takes under the name `label`."""
    start = min(high, max(low, asked.get(label) or low))
    return number(label, start, low, high, log, ask=lambda q, value: q | {label: value})


@maker
def url(cluster: Cluster, asked: Asked, *choices: str) -> Control:
    """The URL that is asked for: any, or one of `choices`."""
    return _chosen("URL", asked["url"], choices, lambda q, value: q | {"url": value})


@maker
def connections(cluster: Cluster, asked: Asked, low: int = 6, high: int = 100_000, each: int | None = 1) -> Control:
    """How many connections are opened. Each carries `each` requests; None leaves the number of requests as it is."""

    def ask(q: Asked, value: int) -> dict[str, Any]:
        if each is None:
            return q | {"connections": value}
        return q | {"requests": value * each, "connections": None if each == 1 else value}

    start = min(high, max(low, asked["connections"] or asked["requests"]))
    return number("connections", start, low, high, log=True, ask=ask)


@maker
def requests(cluster: Cluster, asked: Asked, low: int = 1, high: int = 100_000) -> Control:
    """How many requests are sent."""
    return _counted("requests", asked, low, high)


@maker
def rate(cluster: Cluster, asked: Asked, most: int = 1000) -> Control:
    """How many requests are sent a second."""
    start = round(asked.get("rate") or 1)
    ask = lambda q, value: q | {"rate": value}  # noqa: E731
    return number("requests a second", start, 1, max(most, start), log=True, ask=ask)


@maker
def requests_per_connection(cluster: Cluster, asked: Asked, most: int = 1000) -> Control:
    """How many requests each connection carries; stands after `requests` where there are both."""
    start = max(1, asked["requests"] // (asked["connections"] or asked["requests"]))

    def ask(q: Asked, value: int) -> Asked:
        return q | {"connections": None if value == 1 else ceil(q["requests"] / value)}

    # Without a start it is asked at every move, also where only the requests change.
    return replace(number("requests per connection", start, 1, most, log=True, ask=ask), start=None)


@maker
def clients(cluster: Cluster, asked: Asked, most: int = 1000) -> Control:
    """How many clients send, each from an address of its own."""
    return _counted("clients", asked, 1, most)


@maker
def behind_nat(cluster: Cluster, asked: Asked) -> Control:
    """How many percent of the clients stand behind one NAT, with one address."""
    start = round(100 * (asked.get("behind_nat") or 0))
    return number("% behind one NAT", start, 0, 100, ask=lambda q, value: q | {"behind_nat": value / 100})


@maker
def caller(cluster: Cluster, asked: Asked, *choices: str) -> Control:
    """Who asks, as `from_` of `send`: one of `choices`, else from outside, from each node, or a pod on each node."""
    there = {p.spec.nodeName: f"pod:{p.namespace}/{p.name}" for p in reversed(cluster.pods) if p.status.podIP}
    near = [f"node:{n.name}" for n in cluster.nodes] + [there[n.name] for n in cluster.nodes if n.name in there]
    start = asked.get("from_") or ""
    names = {"": "as the URL asks", "external": "outside"}
    options = dict.fromkeys([start, *(choices or ["external", *near])])
    options = [(names.get(o, o.replace(":", " ", 1)), o) for o in options]
    return kinds.choice("caller", start, options, ask=lambda q, value: q | {"from_": value or None})


@maker
def seed(cluster: Cluster, asked: Asked, most: int = 100) -> Control:
    """Another throw of the dice: the same seed gives the same picks."""
    return _counted("seed", asked, 0, max(most, asked["seed"]), log=False)


@maker
def header(cluster: Cluster, asked: Asked, name: str, *choices: str) -> Control:
    """The value of a request header, "" for none: any, or one of `choices`."""
    start = (asked.get("headers") or {}).get(name, "")

    def ask(q: Asked, value: str) -> dict[str, Any]:
        others = {k: v for k, v in (q.get("headers") or {}).items() if k != name}
        return q | {"headers": others | ({name: value} if value else {}) or None}

    return _chosen(f"header {name}", start, choices, ask)
