"""Pods of workloads: how many, on which node, with which address. The same input always gives the same pods."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from .errors import InputError
from .objects import (
    KubeProxyConfiguration,
    Node,
    Object,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    Service,
    Workload,
)

FIRST = 5  # a network's first addresses are left to gateways and to clients that the model adds
MAX_PODS = 200_000
BLOCK = 256  # each workload's pods have a block of their own, so that scaling one moves no other's address


@dataclass
class Running:
    """A cluster as it runs. Filled step by step by `derive.complete`; nobody changes it afterwards."""

    nodes: list[Node] = field(default_factory=list)
    pods: list[Pod] = field(default_factory=list)
    services: dict[tuple[str, str], Service] = field(default_factory=dict)
    cluster_cidr: str = ""
    assumptions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def some(names: Iterable[str], limit: int = 4) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def schedule(objects: Sequence[Object], running: Running) -> None:
    """Fill in `running.pods`: those of the input, and those that its workloads would make, on nodes, with addresses."""
    given = [o for o in objects if isinstance(o, Pod)]
    workloads = [o for o in objects if isinstance(o, Workload)]
    owned = {(p.namespace, r.kind, r.name) for p in given for r in p.metadata.ownerReferences}
    owned |= {
        (w.namespace, r.kind, r.name)
        for w in workloads
        if (w.namespace, w.kind, w.name) in owned
        for r in w.metadata.ownerReferences
    }
    making = [
        w
        for w in workloads
        if (w.namespace, w.kind, w.name) not in owned
        and not any(r.kind == "Deployment" for r in w.metadata.ownerReferences)
    ]
    pods: list[tuple[int, int, Pod]] = []  # (block, place in the block, pod)
    bare = 0
    for i, pod in enumerate(given):
        pods.append((0, i, pod))
        bare += not pod.status.podIP
    for block, workload in enumerate(making, start=1 if bare else 0):
        if len(pods) + (workload.kind != "DaemonSet") * workload.spec.replicas > MAX_PODS:
            file, line = workload.where("spec", "replicas")
            problem, most = f"too many pods, with those of {workload}", f"at most {MAX_PODS:,} in all"
            raise InputError(problem, expected=most, file=file, line=line, field="spec.replicas")
        pods += [(block, i, pod) for i, pod in enumerate(_pods_of(workload, running))]
    fitting: dict[tuple, list[Node]] = {}  # the nodes for each combination of nodeSelector and tolerations
    placed = [(b, i, _placed(pod, i, running, fitting)) for b, i, pod in pods]
    homeless = [str(p) for _, _, p in placed if p.status.phase == "Pending" and not p.spec.nodeName]
    if homeless:
        running.warnings.append(f"{some(homeless)}: no node fits (nodeSelector, taints), so Pending, without traffic")
    running.pods = _addressed(placed, objects, running)
    if making:
        running.assumptions.append(
            f"pods of {some(f'{w.kind} {w.name}' for w in making)} are made from their templates, spread evenly over "
            "the nodes, named NAME-1, NAME-2, ..., and ready"
        )


def _pods_of(workload: Workload, running: Running) -> list[Pod]:
    spec = workload.spec
    if workload.kind == "DaemonSet":
        names = [(f"{workload.name}-{n.name}", n.name) for n in running.nodes if _tolerates(spec.template.spec, n)]
    else:
        first = 0 if workload.kind == "StatefulSet" else 1
        names = [(f"{workload.name}-{i + first}", spec.template.spec.nodeName) for i in range(spec.replicas)]
    owner = (OwnerReference(workload.kind, workload.name),)
    template = spec.template
    status = PodStatus(phase="Running")
    return [
        Pod(
            apiVersion="v1",
            kind="Pod",
            metadata=ObjectMeta(
                name=name,
                namespace=workload.namespace,
                labels=template.metadata.labels,
                annotations=template.metadata.annotations,
                ownerReferences=owner,
            ),
            spec=_stateful(replace(template.spec, nodeName=node), workload, name),
            status=status,
            origin=workload.origin,
        )
        for name, node in names
    ]


def _stateful(spec: PodSpec, workload: Workload, name: str) -> PodSpec:
    if workload.kind != "StatefulSet":
        return spec
    return replace(spec, hostname=name, subdomain=workload.spec.serviceName)


def _tolerates(spec: PodSpec, node: Node) -> bool:
    labels = node.metadata.labels
    if any(labels.get(k) != v for k, v in spec.nodeSelector.items()):
        return False
    keys = {t.key for t in spec.tolerations}
    blocking = (t for t in node.spec.taints if t.effect in ("NoSchedule", "NoExecute"))
    return all(t.key in keys or "" in keys for t in blocking)


def _placed(pod: Pod, i: int, running: Running, fitting: dict[tuple, list[Node]]) -> Pod:
    if pod.spec.nodeName or not pod.running:
        return pod
    rules = (tuple(pod.spec.nodeSelector.items()), pod.spec.tolerations)
    if rules not in fitting:
        fitting[rules] = [n for n in running.nodes if _tolerates(pod.spec, n)]
    nodes = fitting[rules]
    if not nodes:
        return replace(pod, status=replace(pod.status, phase="Pending"))
    return replace(pod, spec=replace(pod.spec, nodeName=nodes[i % len(nodes)].name))


def _addressed(placed: list[tuple[int, int, Pod]], objects: Sequence[Object], running: Running) -> list[Pod]:
    taken = {p.status.podIP for _, _, p in placed if p.status.podIP}
    network = _cluster_cidr(placed, objects, running)
    node_of = {n.name: n for n in running.nodes}
    silent = [x for x in placed if _wants_address(x[2])]
    blocks = max((b for b, _, _ in silent), default=-1) + 1
    crowded = max((i for _, i, _ in silent), default=0) + FIRST >= BLOCK
    in_blocks = blocks * BLOCK <= network.num_addresses and not crowded
    own_networks = bool(running.nodes) and all(n.spec.podCIDR for n in running.nodes)
    next_free: dict[object, int] = defaultdict(lambda: FIRST)
    found: dict[int, str] = {}
    stranded: list[str] = []
    for block, _, pod in sorted(silent, key=lambda x: (x[1], x[0])):  # first replicas first: scaling up moves few
        node = node_of.get(pod.spec.nodeName)
        if pod.spec.hostNetwork and node:
            found[id(pod)] = node.address
            continue
        within, key, first = network, None, 0
        if own_networks and node:
            within, key = ipaddress.ip_network(node.spec.podCIDR, strict=False), node.name
        elif in_blocks:
            key, first = block, block * BLOCK
        while (address := str(within[min(first + next_free[key], within.num_addresses - 1)])) in taken:
            next_free[key] += 1
            if first + next_free[key] >= within.num_addresses:
                break
        if address in taken:
            stranded.append(str(pod))
            continue
        next_free[key] += 1
        taken.add(address)
        found[id(pod)] = address
    if stranded:
        running.warnings.append(f"{some(stranded)}: no address is left, so Pending")
    if found:
        running.assumptions.append(
            f"pods without an address have one in a fixed order from {network}, a block of {BLOCK} a workload"
            if in_blocks and not own_networks
            else "pods without an address have one in a fixed order"
        )
    return [replace(p, status=replace(p.status, podIP=found[id(p)])) if id(p) in found else p for _, _, p in placed]


def _wants_address(pod: Pod) -> bool:
    return not pod.status.podIP and pod.status.phase != "Pending" and pod.running


def _cluster_cidr(
    placed: Sequence[tuple[int, int, Pod]], objects: Sequence[Object], running: Running
) -> ipaddress.IPv4Network:
    """The pods' network: kube-proxy's clusterCIDR, or the smallest that holds what is given, or 10.0.0.0/16."""
    config = next((o for o in objects if isinstance(o, KubeProxyConfiguration)), None)
    if config and config.clusterCIDR:
        running.cluster_cidr = config.clusterCIDR.split(",")[0]
        return ipaddress.ip_network(running.cluster_cidr, strict=False)
    given = [n.spec.podCIDR for n in running.nodes if n.spec.podCIDR]
    hosts = {n.address for n in running.nodes}
    given += [
        p.status.podIP
        for _, _, p in placed
        if p.status.podIP and not p.spec.hostNetwork and p.status.podIP not in hosts
    ]
    networks = [ipaddress.ip_network(g, strict=False) for g in given]
    networks = [n for n in networks if n.version == 4]
    if networks:
        low = min(int(n.network_address) for n in networks)
        high = max(int(n.broadcast_address) for n in networks)
        network = ipaddress.ip_network((low, 32)).supernet(new_prefix=32 - max((low ^ high).bit_length(), 8))
    else:
        blocks = max((b for b, _, _ in placed), default=0) + 1
        network = ipaddress.ip_network("10.0.0.0/16" if blocks <= BLOCK and len(placed) < 60_000 else "10.0.0.0/10")
    if config is None:  # one that names no clusterCIDR has chosen to detect no local traffic
        running.cluster_cidr = str(network)
        running.assumptions.append(
            f"no KubeProxyConfiguration in the input: mode iptables (the default), clusterCIDR {network}"
        )
    return network
