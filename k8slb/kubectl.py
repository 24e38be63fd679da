"""What kubectl does, on a model: scale, apply, get, and an object's YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import yaml as pyyaml

from .cluster import MODES, Cluster
from .derive import node_mapping
from .errors import InputError, shown, whole
from .manifests import decode_mapping
from .objects import KINDS, Node, Object, Workload
from .positions import UNKNOWN, Source
from .reader import Document, items_of, read, resolve

SHORT = {
    "svc": "service",
    "deploy": "deployment",
    "po": "pod",
    "ing": "ingress",
    "no": "node",
    "ns": "namespace",
    "ds": "daemonset",
    "sts": "statefulset",
    "rs": "replicaset",
}


def scale(cluster: Cluster, name: str, replicas: int) -> Cluster:
    """The same cluster with `replicas` of the workload `name` ("order", "ns/order" or "deployment/order")."""
    replicas = whole(replicas, "the number of replicas", 0, 100_000)
    workload = find(name, [o for o in cluster.objects if isinstance(o, Workload) and o.kind != "DaemonSet"], "workload")
    raw = merged(workload.raw, {"spec": {"replicas": replicas}})
    changed = decode_mapping(raw, Document(raw, workload.origin))
    return cluster.with_objects(changed if o is workload else o for o in cluster.objects)


def with_proxy(cluster: Cluster, mode: str | None = None, scheduler: str | None = None) -> Cluster:
    """The same cluster with another kube-proxy mode; `scheduler` is IPVS's (rr, wrr, lc, ...)."""
    if mode is not None and mode not in MODES:
        raise InputError(f"{shown(mode)} is no kube-proxy mode", expected="one of " + ", ".join(MODES))
    changed = {"mode": mode or cluster.mode, "clusterCIDR": cluster.running.cluster_cidr or None}
    changed |= {"ipvs": {"scheduler": scheduler}} if scheduler is not None else {}
    config = cluster.proxy_config
    raw = merged(config.raw or {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": config.kind}, changed)
    made = decode_mapping(raw, Document(raw, config.origin))
    return cluster.with_objects([*(o for o in cluster.objects if o is not config), made])


def with_nodes(cluster: Cluster, count: int) -> Cluster:
    """The same cluster on `count` nodes (1 to 1,000): the first ones of the input, then node-a, node-b, ..."""
    count = whole(count, "the number of nodes", 1, 1000)
    nodes = [o for o in cluster.objects if isinstance(o, Node)]
    names = {n.name for n in nodes}
    letters = (chr(ord("a") + i) if i < 26 else f"n{i}" for i in range(count))
    raws = (raw for letter in letters if (raw := node_mapping(letter))["metadata"]["name"] not in names)
    kept = (nodes + [decode_mapping(raw, Document(raw, UNKNOWN)) for raw in raws])[:count]
    return cluster.with_objects([*(o for o in cluster.objects if not isinstance(o, Node)), *kept])


def apply(cluster: Cluster, text: str) -> Cluster:
    """The same cluster with `text` applied as a JSON merge patch: maps merge, lists replace, null removes.

    The text names kind and metadata.name; an object that is not there yet is added. Raises InputError with the
    line in `text`.
    """
    if not isinstance(text, str):
        raise InputError(f"cannot apply {shown(text)}", expected="YAML text")
    objects = list(cluster.objects)
    for document in (item for whole_text in read(Source("<applied>", text)) for item in items_of(whole_text)):
        patch = document.value
        if patch is None:
            continue
        names = patch.get("metadata") if isinstance(patch, dict) else None
        if not (isinstance(names, dict) and "name" in names and "kind" in patch):
            raise InputError(
                "names no object", expected="kind and metadata.name", file="<applied>", line=document.origin.line
            )
        kind, name, namespace = patch["kind"], names["name"], names.get("namespace")
        same = [o for o in objects if o.kind == kind and o.name == name and namespace in (None, o.namespace)]
        if len(same) > 1:
            raise InputError(
                f"there are several of {kind} {name}",
                expected="a metadata.namespace",
                file="<applied>",
                line=document.origin.line,
            )
        before = same[0].raw if same else {}
        api = next((f"{g}/{v.split()[0]}".lstrip("/") for (g, k), (v, _) in KINDS.items() if k == kind), None)
        raw = merged({"apiVersion": api, **before} if api else before, patch)
        made = decode_mapping(raw, document)
        if same:
            objects[objects.index(same[0])] = made
        else:
            objects.append(made)
    return cluster.with_objects(objects)


def find(name: str, among: Iterable[Any], what: str) -> Any:
    """The one of `among` that "name", "ns/name" or "kind/name" means; InputError naming the others if unclear."""
    among = list(among)
    parts = str(name).split("/")
    found = [
        o
        for o in among
        if o.name == parts[-1]
        and all(p.lower() in (o.namespace, o.kind.lower()) for p in (_long(p) for p in parts[:-1]))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(f"{o.kind.lower()}/{o.namespace}/{o.name}" for o in found[:6])
        raise InputError(f"{shown(name)} is ambiguous", expected=f"one of {several}")
    known = ", ".join(sorted({o.name for o in among})[:10]) or "none"
    raise InputError(f"there is no {what} {shown(name)}", expected=f"one of: {known}")


def everything(cluster: Cluster) -> list[Object]:
    """All objects, the written ones completed, the derived ones added."""
    running = {o.key: o for o in [*cluster.nodes, *cluster.services.values(), *cluster.pods]}
    running |= {s.key: s for service in cluster.services.values() for s in cluster.slices(service)}
    return list(({o.key: o for o in cluster.objects} | running).values())


def of_kind(cluster: Cluster, kind: str) -> list[Object]:
    wanted = _long(str(kind).lower())
    wanted = {"ingresses": "ingress", "ingressclasses": "ingressclass"}.get(wanted, wanted)
    found = [o for o in everything(cluster) if wanted in (o.kind.lower(), o.kind.lower() + "s")]
    if not found and wanted.rstrip("s") not in {o.kind.lower() for o in everything(cluster)}:
        kinds = ", ".join(sorted({o.kind.lower() for o in everything(cluster)}))
        raise InputError(f"there is nothing of kind {shown(kind)}", expected=f"one of: {kinds}")
    return found


def yaml(cluster: Cluster, ref: str) -> str:
    """The YAML of an object, "kind/name" or "ns/kind/name": as written; a derived object as the API would show it."""
    kind, _, name = str(ref).rpartition("/")
    if not kind:
        raise InputError(f"{shown(ref)} names no kind", expected='"kind/name", such as "ingress/app-ingress"')
    namespace, _, kind = kind.rpartition("/")
    found = find(f"{namespace}/{name}" if namespace else name, of_kind(cluster, kind), kind)
    raw = next((o.raw for o in cluster.objects if o.key == found.key), None) or plain(found)
    return pyyaml.dump(dict(raw), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(pyyaml.SafeDumper):
    """Quotes what Kubernetes' YAML would not read as text, such as y and 123e4567; PyYAML's own rules are others."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=None if isinstance(resolve(text), str) else '"'
    ),
)


def _long(kind: str) -> str:
    return SHORT.get(kind, kind)


def merged(before: Any, patch: Any) -> Any:
    """`patch` merged into `before` as a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(before) if isinstance(before, Mapping) else {}
    for key, changed in patch.items():
        if changed is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), changed)
    return result


def plain(value: Any) -> Any:
    """A typed object as plain mappings, without what is at its default."""
    if is_dataclass(value):
        known = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in ("raw", "origin")}
        return {k: plain(v) for k, v in known.items() if plain(v) not in ({}, [], "", None)}
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value
