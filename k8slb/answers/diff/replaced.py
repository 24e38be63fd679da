"""Which pods end when manifests are applied, and why."""

from typing import Any

from ...cluster import Cluster
from ...errors import shown
from ...objects import Object, Pod, Workload
from ...scheduling import owners

ROLLED = ("Deployment", "StatefulSet", "DaemonSet")  # a ReplicaSet leaves the pods that it has


def replaced(before: Cluster, after: Cluster) -> dict[str, str]:
    """{NAMESPACE/NAME: why} of the pods of `before` that go away, or give way to others of the same name. What is
    written is compared: a field that is written at its default counts as changed."""
    old, new = ({o.key: o for o in view.of(Workload, Pod)} for view in (before, after))
    changed: dict[Any, str] = {}  # by what makes the pods
    found = {}
    for pod in before.pods:
        makers = [pod.key]
        while above := [
            owner for owner in owners(old[makers[-1]] if makers[-1] in old else pod) if owner not in makers
        ]:
            makers.append(above[0])
        maker = next((key for key in reversed(makers) if key in old), None)
        if maker is None:
            continue  # of a controller that is assumed
        if maker not in changed:
            changed[maker] = _change(old[maker], new.get(maker))
        there = after.pod_named.get((pod.namespace, pod.name))
        if changed[maker]:
            found[f"{pod.namespace}/{pod.name}"] = changed[maker]
        elif there is None:
            counts = [getattr(o[maker].spec, "replicas", 0) for o in (old, new)]
            why = f"{old[maker]}: replicas {counts[0]} -> {counts[1]}" if counts[0] != counts[1] else f"{pod} is gone"
            found[f"{pod.namespace}/{pod.name}"] = why
        elif pod.spec.nodeName and pod.spec.nodeName not in after.node:
            found[f"{pod.namespace}/{pod.name}"] = f"Node {pod.spec.nodeName} is gone"
    return found


def _change(before: Object, after: Object | None) -> str:
    """Why all pods of a workload end, or a Pod does; "" where they do not for what is written there."""
    if after is None:
        return f"{before} is gone"
    specs = [o.raw.get("spec") or {} for o in (before, after)]
    if isinstance(before, Pod):
        field = first_difference(*specs, "spec")
        return f"{before}: {field}" if field else ""
    waits = specs[1].get("paused") or (specs[1].get("updateStrategy") or {}).get("type") == "OnDelete"
    field = first_difference(*(s.get("template") for s in specs), "spec.template")
    return f"{before} replaces all its pods: {field}" if field and before.kind in ROLLED and not waits else ""


def first_difference(before: Any, after: Any, at: str) -> str:
    """The first field that is not the same, before and after; "" where all are."""
    if before == after:
        return ""
    if isinstance(before, dict) and isinstance(after, dict):
        key = next((k for k in (*before, *after) if before.get(k) != after.get(k)), None)
        return first_difference(before.get(key), after.get(key), f"{at}.{key}") if key is not None else ""
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        i = next(i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)
        return first_difference(before[i], after[i], f"{at}[{i}]")
    told = ("nothing" if v is None else shown(v, 40) for v in (before, after))
    return f"{at} {' -> '.join(told)}"
