"""Edits of objects as JSON merge patches: what an edited YAML changes, and the text that `apply` takes for it."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from .. import kubectl
from ..cluster import Cluster
from ..errors import InputError
from ..positions import Source
from ..reader import items_of, read

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's: a tenth of the time, at every move of a control
NAMES = (("kind",), ("metadata", "name"), ("metadata", "namespace"))


def mapping_of(cluster: Cluster, ref: str) -> dict[str, Any]:
    """The object "kind/name" or "ns/kind/name" as plain mappings."""
    return yaml.safe_load(kubectl.yaml(cluster, ref))


def patch(before: Any, after: Any) -> Any:
    """The JSON merge patch (RFC 7396) that turns `before` into `after`: None removes, lists are replaced whole."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return after
    changed = {k: patch(before.get(k), v) for k, v in after.items() if k not in before or before[k] != v}
    return changed | {k: None for k in before if k not in after}


def patch_text(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The patch from `before` to `after` as YAML that names its object."""
    names = {k: before["metadata"][k] for k in ("name", "namespace") if k in before["metadata"]}
    changed = patch(before, after)
    metadata = {"metadata": names | (changed.pop("metadata", None) or {})}
    return dumped({"kind": before["kind"]} | metadata | changed)


def dumped(value: Mapping[str, Any]) -> str:
    return yaml.dump(dict(value), Dumper=DUMPER, sort_keys=False, allow_unicode=True, width=120)


def typed_patch(before: Mapping[str, Any], text: str) -> str:
    """The patch that an object's YAML, edited by hand, stands for; lines that were deleted are removed from the object.

    Text that names another object, or several, is applied as it stands.
    """
    documents = [item.value for document in read(Source("<typed>", text)) for item in items_of(document)]
    same = len(documents) == 1 and all(field_of(documents[0], path) == field_of(before, path) for path in NAMES)
    return patch_text(before, documents[0]) if same else text


def apply_typed(cluster: Cluster, before: Mapping[str, Any], text: str) -> Cluster:
    """The cluster with the edited YAML; an InputError quotes the line that was typed."""
    try:
        kubectl.apply(cluster.with_objects(()), text)  # alone first, so that every complaint is about a line of it
        return kubectl.apply(cluster, typed_patch(before, text))
    except InputError as error:
        line = (text.splitlines() or [""])[min(error.line, text.count("\n") + 1) - 1].strip() if error.line else ""
        where = f'line {error.line}, "{line}"' if error.line else ""
        field = ": ".join(part for part in (where, error.field) if part)
        raise InputError(error.problem, expected=error.expected, field=field) from None


def apply_call(text: str) -> str:
    """`apply(...)` as Python, over several lines where the text allows it."""
    plain = '"""' not in text and "\\" not in text
    return f'apply("""\n{text.lstrip()}""")' if plain else f"apply({text!r})"


def with_field(mapping: Any, path: Sequence[str | int], value: Any) -> Any:
    """A copy of `mapping` with one field set, with what leads to it; None removes it, and what is empty without it."""
    key, *rest = path
    copied = list(mapping or ()) if isinstance(key, int) else dict(mapping or {})
    new = with_field(field_of(copied, [key]), rest, value) if rest else value
    if isinstance(key, int) and key == len(copied):
        copied.append(None)
    copied[key] = new
    if value is None and not new:
        del copied[key]
    return copied


def field_of(mapping: Any, path: Sequence[str | int]) -> Any:
    """The field at `path`, None where there is none."""
    for key in path:
        try:
            mapping = mapping[key]
        except (KeyError, IndexError, TypeError):
            return None
    return mapping


def difference(before: Cluster, after: Cluster) -> str:
    """The YAML that differs between two clusters, as a unified diff; "" where they are alike."""
    lines: list[str] = []
    old, new = ({o.key: o for o in cluster.objects} for cluster in (before, after))
    pods = {key for key, o in new.items() if key not in old and o.kind == "Pod"}
    if pods:  # a workload's, written down to be changed: they differ from what the workload makes
        made = after.with_objects(o for o in after.objects if o.key not in pods)
        old |= {pod.key: pod for pod in made.pods if pod.key in pods}
    for key in dict.fromkeys([*old, *new]):
        was, now = old.get(key), new.get(key)
        if was is not now:
            title = f"{(now or was).kind.lower()}/{(now or was).name}"
            texts = (dumped(o.raw or kubectl.plain(o)).splitlines() if o else [] for o in (was, now))
            lines += difflib.unified_diff(*texts, title, title, lineterm="", n=2)
    return "\n".join(lines)
