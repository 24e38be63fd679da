"""What kubectl does, on a model: scale, apply, get, and an object's YAML."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import yaml as pyyaml

from . import loadbalancers
from .balancers import balancer
from .cluster import MODES, Cluster
from .controllers import CLASS_ANNOTATION, KNOWN, named
from .derive import node_mapping
from .errors import InputError, K8slbError, shown, whole
from .manifests import decode_mapping
from .objects import KINDS, IngressClass, Node, Object, Pod, Service, Workload
from .positions import UNKNOWN, Source
from .reader import Document, items_of, read, resolve
from .scheduling import owners

SHORT = {"po": "pod", "rs": "replicaset", "ds": "daemonset", "sts": "statefulset", "deploy": "deployment"}
BALANCING = ("kube-proxy", "ingress", "gateway", "mesh", "cloud-lb")
SHORT |= {"svc": "service", "ing": "ingress", "no": "node", "ns": "namespace", "hpa": "horizontalpodautoscaler"}


def scale(cluster: Cluster, name: str, replicas: int) -> Cluster:
    """The same cluster with `replicas` of the workload `name` ("order", "ns/order" or "deployment/order")."""
    replicas = whole(replicas, "the number of replicas", 0, 100_000)
    workload = find(name, [o for o in cluster.objects if isinstance(o, Workload) and o.kind != "DaemonSet"], "workload")
    made = changed(workload, {"spec": {"replicas": replicas}})
    return cluster.with_objects(made if o is workload else o for o in cluster.objects)


def with_proxy(cluster: Cluster, mode: str | None = None, scheduler: str | None = None) -> Cluster:
    """The same cluster with another kube-proxy mode; `scheduler` is IPVS's (rr, wrr, lc, ...)."""
    if mode is not None and mode not in MODES:
        raise InputError(f"{shown(mode)} is no kube-proxy mode", expected="one of " + ", ".join(MODES))
    config = cluster.proxy_config
    patch = {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": config.kind, "mode": mode or cluster.mode}
    patch |= {"clusterCIDR": cluster.running.cluster_cidr or None}
    patch |= {"ipvs": {"scheduler": scheduler}} if scheduler is not None else {}
    return cluster.with_objects([*(o for o in cluster.objects if o is not config), changed(config, patch)])


def with_load_balancer(cluster: Cluster, name: str | None = None, **settings: Any) -> Cluster:
    """The same cluster behind other load balancers: "aws-nlb", "gcp-passthrough", "azure", "metallb-l2" or "generic"
    (layer 4), "aws-alb" or "gcp-proxy" (layer 7).

    Settings: targets="instance" or "ip" (pods), cross_zone=True, health_check=False (all nodes count as healthy),
    algorithm="round_robin" or "least_outstanding_requests" (aws-alb). A
    load balancer that cannot be set so stays as it is; if that is true of all, the error says why (NotModelled or
    InputError). The fields that change are those by which a vendor knows it.
    """
    services = [o for o in cluster.objects if isinstance(o, Service) and o.spec.type == "LoadBalancer"]
    refused: K8slbError = InputError("the input has no Service of type LoadBalancer", expected="one to set")
    made = {}
    for service in services:
        try:
            made[service.key] = changed(service, loadbalancers.edit(service, cluster.nodes, name, **settings))
        except K8slbError as error:
            refused = error
    if not made:
        raise refused
    return cluster.with_objects(made.get(o.key, o) for o in cluster.objects)


def with_controller(cluster: Cluster, name: str) -> Cluster:
    """The same manifests under another Ingress controller: "spec", "ingress-nginx", "traefik", or its full name.

    Every IngressClass becomes its, and an Ingress that no class serves gets one. Its pods are assumed where the input
    has none; those of the controller before stay. InputError for a name that is not known.
    """
    controller, made = named(name), []
    own = KNOWN[controller].class_name or KNOWN[controller].app or "other"
    left = {key for key, served in cluster.served.items() if served.assumed or not served.controller}
    for one in cluster.objects:
        if isinstance(one, IngressClass):
            one = changed(one, {"spec": {"controller": controller}})
        elif one.key in left:
            patch = {"spec": {"ingressClassName": own}}
            if CLASS_ANNOTATION in one.metadata.annotations:
                patch["metadata"] = {"annotations": {CLASS_ANNOTATION: None}}
            one = changed(one, patch)
        made.append(one)
    text = f"{{kind: IngressClass, metadata: {{name: {own}}}, spec: {{controller: {controller}}}}}"
    return apply(cluster.with_objects(made), text) if left else cluster.with_objects(made)


def changed(before: Object, patch: Mapping[str, Any]) -> Object:
    """An object with a patch merged into what was written."""
    raw = merged(before.raw, patch)
    return decode_mapping(raw, Document(raw, before.origin))


def with_nodes(cluster: Cluster, count: int) -> Cluster:
    """The same cluster on `count` nodes (1 to 1,000): the first ones of the input, then node-a, node-b, ..."""
    count = whole(count, "the number of nodes", 1, 1000)
    nodes = [o for o in cluster.objects if isinstance(o, Node)]
    letters = (chr(ord("a") + i) if i < 26 else f"n{i}" for i in range(count))
    taken = {n.name for n in nodes}
    raws = (node_mapping(f"node-{x}", f"zone-{x}") for x in letters if f"node-{x}" not in taken)
    kept = (nodes + [decode_mapping(raw, Document(raw, UNKNOWN)) for raw in raws])[:count]
    return cluster.with_objects([*(o for o in cluster.objects if not isinstance(o, Node)), *kept])


def with_pods(
    cluster: Cluster,
    name: str,
    fail: Any = None,
    service_time: Any = None,
    workers: Any = None,
    queue: Any = None,
    cold: Any = None,
    down: Any = None,
) -> Cluster:
    """The same cluster with other pods of a workload, or another pod, by annotations (layers/pods.py): `fail`, the
    share of requests that each answers 500 (0.1, or "0.1 503" for another one); `service_time` ("20ms exponential"),
    `workers` that serve one request each at a time, `queue` (how many may wait), `cold` ("60s 0.1"), `down` ("closed",
    "refuses" or "silent", whatever their conditions say).
    """
    given = {"fail": fail, "service-time": service_time, "workers": workers, "queue": queue, "cold": cold, "down": down}
    given["fail"] = f"{fail:.6f}".rstrip("0").rstrip(".") if isinstance(fail, float) else fail
    patch = {"metadata": {"annotations": {f"k8slb/{k}": str(v) for k, v in given.items() if v is not None}}}
    there, derived = {o.key: o for o in cluster.objects}, derived_pods(cluster)
    made = find(name, [*(o for o in there.values() if isinstance(o, (Workload, Pod))), *derived], "workload or pod")
    if made.key not in there:
        there |= written_down(made, derived)
        made = there[made.key]

    def with_patch(one: Object) -> Object:
        if one is made and not isinstance(one, Pod):
            return changed(one, {"spec": {"template": patch}})
        its = isinstance(made, Workload) and one.namespace == made.namespace and isinstance(one, Pod)
        return changed(one, patch) if one is made or (its and made.spec.selector.matches(one.metadata.labels)) else one

    return cluster.with_objects(map(with_patch, there.values()))


def derived_pods(cluster: Cluster) -> list[Pod]:
    """The pods that a workload of the input makes, and that the input does not write down."""
    there = {o.key: o for o in cluster.objects}
    workloads = {key for key, o in there.items() if isinstance(o, Workload)}
    return [p for p in cluster.pods if p.key not in there and workloads.intersection(owners(p))]


def written_down(pod: Pod, derived: Iterable[Pod]) -> dict[Any, Object]:
    """A workload's pods as objects, by key: who says something of one of them writes all of them down."""
    its = [p for p in derived if owners(p) == owners(pod)]
    return {p.key: decode_mapping(raw := plain(p), Document(raw, p.origin)) for p in its}


def with_balancer(cluster: Cluster, layer: str, pick: str | Callable | None) -> Cluster:
    """The same cluster, where another balancer picks at "kube-proxy", "ingress", "gateway", "mesh" or "cloud-lb".

    `pick` is a published name (k8slb.picks lists them), or a function pick(peers, state, rng, key, now) of one's own
    that gives an index into `peers`, or None to refuse (see balancers.base.Balancer); None: the layer's own again.
    """
    if layer not in BALANCING:
        raise InputError(f"{shown(layer)} is no layer that picks", expected="one of " + ", ".join(BALANCING))
    kept, name = dict(cluster.own_balancers), getattr(pick, "__name__", type(pick).__name__)
    kept.pop(layer, None)

    def careful(*given: Any) -> Any:
        try:
            return pick(*given)
        except Exception as error:
            raise InputError(f"{name} raised {type(error).__name__}: {error}", expected="a pick") from error

    careful.__name__ = name
    if pick is not None:
        kept[layer] = careful if callable(pick) else balancer(pick).name
    return replace(cluster, own_balancers=tuple(kept.items()), _memo={})


def apply(cluster: Cluster, text: str) -> Cluster:
    """The same cluster with `text` applied as a JSON merge patch: maps merge, lists replace, null removes.

    The text names kind and metadata.name; an object that is not there yet is added. Raises InputError with the
    line in `text`.
    """
    if not isinstance(text, str):
        raise InputError(f"cannot apply {shown(text)}", expected="YAML text")
    objects = list(cluster.objects)
    for document in (item for whole_text in read(Source("<applied>", text)) for item in items_of(whole_text)):
        patch, at = document.value, {"file": "<applied>", "line": document.origin.line}
        if patch is None:
            continue
        names = patch.get("metadata") if isinstance(patch, dict) else None
        if not (isinstance(names, dict) and "name" in names and "kind" in patch):
            raise InputError("names no object", expected="kind and metadata.name", **at)
        kind, name, namespace = patch["kind"], names["name"], names.get("namespace")
        if kind == "Pod":
            derived = derived_pods(cluster.with_objects(objects))
            its = [p for p in derived if p.name == name and namespace in (None, p.namespace)]
            objects += written_down(its[0], derived).values() if len(its) == 1 else ()
        same = [o for o in objects if o.kind == kind and o.name == name and namespace in (None, o.namespace)]
        if len(same) > 1:
            raise InputError(f"there are several of {kind} {name}", expected="a metadata.namespace", **at)
        before = same[0].raw if same else {}
        api = next((f"{g}/{v.split()[0]}".lstrip("/") for (g, k), (v, _) in KINDS.items() if k == kind), None)
        raw = merged({"apiVersion": api, **before} if api else before, patch)
        made = decode_mapping(raw, document)
        objects = [made if same and o is same[0] else o for o in objects] + [made] * (not same)
    return cluster.with_objects(objects)


def find(name: str, among: Iterable[Any], what: str) -> Any:
    """The one of `among` that "name", "ns/name" or "kind/name" means; InputError naming the others if unclear."""
    among, (*before, last) = list(among), str(name).split("/")
    before = [SHORT.get(p, p).lower() for p in before]
    found = [o for o in among if o.name == last and all(p in (o.namespace, o.kind.lower()) for p in before)]
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
    wanted, objects = SHORT.get(str(kind).lower(), str(kind).lower()), everything(cluster)
    wanted = {"ingresses": "ingress", "ingressclasses": "ingressclass"}.get(wanted, wanted)
    found = [o for o in objects if wanted in (o.kind.lower(), o.kind.lower() + "s")]
    if not found:
        kinds = ", ".join(sorted({o.kind.lower() for o in objects}))
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
    return written(dict(raw))


def written(value: Any, unicode: bool = True) -> str:
    """A value as YAML text that Kubernetes reads as the same value; `unicode` False: in ASCII only."""
    return pyyaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=unicode, width=120)


class _Dumper(pyyaml.SafeDumper):
    """Quotes what Kubernetes' YAML would not read as text, such as y and 123e4567; PyYAML's own rules are others."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _quoted(dumper: _Dumper, text: str) -> pyyaml.Node:
    style = None if isinstance(resolve(text), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _quoted)


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
