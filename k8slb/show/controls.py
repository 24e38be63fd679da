"""The controls of the lessons, ready-made. Each maker is given to `panel`, which binds it to a cluster and a question.

    panel(shop, "http://order-service", controls.replicas("order"), controls.mode(), controls.connections())

A cluster is read when a panel is made, so one maker serves any number of panels, and no panel moves another's controls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import kubectl
from ..cluster import MODES, Cluster
from ..errors import InputError
from ..objects import Workload
from . import edits
from . import rules as tables
from .kinds import Control, choice, number, pane, text

Maker = Callable[[Cluster, dict[str, Any]], Control]  # of a cluster and the keyword arguments of `send`, url included


# --- the cluster -----------------------------------------------------------------------------------------------------


def replicas(workload: str, most: int = 10) -> Maker:
    """How many replicas a workload has, 0 to `most`."""

    def make(cluster: Cluster, asked: dict[str, Any]) -> Control:
        start = kubectl.find(
            workload, [o for o in cluster.objects if isinstance(o, Workload)], "workload"
        ).spec.replicas
        return number(
            f"replicas of {workload}",
            start,
            0,
            max(most, start),
            edit=lambda c, value: kubectl.scale(c, workload, value),
            call=lambda value: f'scale("{workload}", {value})',
        )

    return make


def nodes(most: int = 6) -> Maker:
    """How many nodes the cluster has, 1 to `most`."""

    def make(cluster: Cluster, asked: dict[str, Any]) -> Control:
        start = len(cluster.nodes)
        edit, call = lambda c, value: kubectl.with_nodes(c, value), lambda value: f"with_nodes({value})"
        return number("nodes", start, 1, max(most, start), edit=edit, call=call)

    return make


def mode() -> Maker:
    """kube-proxy's mode."""

    def make(cluster: Cluster, asked: dict[str, Any]) -> Control:
        edit, call = lambda c, value: kubectl.with_proxy(c, mode=value), lambda value: f'with_proxy(mode="{value}")'
        return choice("kube-proxy mode", cluster.mode, MODES, edit=edit, call=call)

    return make


def field(ref: str, path: str | Sequence[str | int], values: Sequence[Any] | None = None, label: str = "") -> Maker:
    """One field of an object, such as field("service/web", "spec.externalTrafficPolicy", ["Cluster", "Local"]).

    `path` is dotted, or a sequence where a key has dots in it (annotations) or is a list's index. `values`: a range
    gives a number, a list a choice whose first is what a missing field means, None any text ("" removes the field).
    """
    keys = tuple(path.split(".")) if isinstance(path, str) else tuple(path)
    label = label or f"{keys[-1]} of {ref.rpartition('/')[2]}"
    is_text = keys[:1] == ("metadata",)  # labels and annotations hold text, even where it looks like a number

    def make(cluster: Cluster, asked: dict[str, Any]) -> Control:
        before = edits.mapping_of(cluster, ref)
        now = edits.field_of(before, keys)

        def patch(value: Any) -> str:
            written = str(value) if is_text else int(value) if str(value).isdigit() else value
            return edits.patch_text(before, edits.with_field(before, keys, None if value == "" else written))

        meaning = {
            "edit": lambda c, value: kubectl.apply(c, patch(value)),
            "call": lambda value: edits.apply_call(patch(value)),
        }
        if values is None:
            return text(label, "" if now is None else str(now), **meaning)
        if isinstance(values, range):
            return number(label, values[0] if now is None else int(now), values[0], values[-1], **meaning)
        start = values[0] if now is None else now
        return choice(label, start, list(dict.fromkeys([*values, start])), **meaning)

    return make


def yaml_of(ref: str) -> Maker:
    """The YAML of an object to edit, applied as kubectl would apply the edited file."""

    def make(cluster: Cluster, asked: dict[str, Any]) -> Control:
        before = edits.mapping_of(cluster, ref)
        return pane(
            ref,
            kubectl.yaml(cluster, ref),
            edit=lambda c, value: edits.apply_typed(c, before, value),
            call=lambda value: edits.apply_call(edits.typed_patch(before, value)),
        )

    return make


def rules(ingress: str) -> Maker:
    """The rules of an Ingress as a table."""

    def make(cluster: Cluster, asked: dict[str, Any]) -> Control:
        before = edits.mapping_of(cluster, f"ingress/{ingress}" if "ingress/" not in ingress else ingress)
        start = tables.rows_of(before["spec"])
        backends = [f"{s.name}:{p.port}" for s in cluster.services.values() for p in s.spec.ports]
        table = tables.RuleTable(f"rules of Ingress {before['metadata']['name']}", start, backends)

        def patch(rows: tuple[tables.Row, ...]) -> str:
            return edits.patch_text(before, edits.with_field(before, ("spec", "rules"), tables.rules_of(rows)))

        def edit(c: Cluster, rows: tuple[tables.Row, ...]) -> Cluster:
            try:
                return kubectl.apply(c, patch(rows))
            except InputError as error:
                raise tables.of_row(error, rows) from None

        return Control(table, table, start, edit=edit, call=lambda rows: edits.apply_call(patch(rows)))

    return make


# --- the question ----------------------------------------------------------------------------------------------------


def url(*choices: str) -> Maker:
    """The URL that is asked for: any, or one of `choices`."""

    def make(cluster: Cluster, asked: dict[str, Any]) -> Control:
        def ask(q: dict[str, Any], value: str) -> dict[str, Any]:
            return q | {"url": value}

        if choices:
            return choice("URL", asked["url"], list(dict.fromkeys([asked["url"], *choices])), ask=ask)
        return text("URL", asked["url"], ask=ask)

    return make


def connections(low: int = 6, high: int = 100_000, each: int | None = 1) -> Maker:
    """How many connections are opened. Each carries `each` requests; None leaves the number of requests as it is."""

    def make(cluster: Cluster, asked: dict[str, Any]) -> Control:
        def ask(q: dict[str, Any], value: int) -> dict[str, Any]:
            if each is None:
                return q | {"connections": value}
            return q | {"requests": value * each, "connections": None if each == 1 else value}

        start = min(high, max(low, asked["connections"] or asked["requests"]))
        return number("connections", start, low, high, log=True, ask=ask)

    return make


def requests(low: int = 1, high: int = 100_000) -> Maker:
    """How many requests are sent."""

    def make(cluster: Cluster, asked: dict[str, Any]) -> Control:
        start = min(high, max(low, asked["requests"]))
        return number("requests", start, low, high, log=True, ask=lambda q, value: q | {"requests": value})

    return make


def seed(most: int = 100) -> Maker:
    """Another throw of the dice: the same seed gives the same picks."""

    def make(cluster: Cluster, asked: dict[str, Any]) -> Control:
        return number("seed", asked["seed"], 0, max(most, asked["seed"]), ask=lambda q, value: q | {"seed": value})

    return make


def header(name: str, *choices: str) -> Maker:
    """The value of a request header, "" for none: any, or one of `choices`."""

    def make(cluster: Cluster, asked: dict[str, Any]) -> Control:
        start = (asked.get("headers") or {}).get(name, "")

        def ask(q: dict[str, Any], value: str) -> dict[str, Any]:
            others = {k: v for k, v in (q.get("headers") or {}).items() if k != name}
            return q | {"headers": others | ({name: value} if value else {}) or None}

        label = f"header {name}"
        if choices:
            return choice(label, start, [(c or "(none)", c) for c in dict.fromkeys([start, *choices])], ask=ask)
        return text(label, start, ask=ask)

    return make
