"""Pods of workloads: how many, on which node, with which address. The same input always gives the same pods."""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from . import objects as k8s
from .errors import InputError

FIRST = 5  # a network's first addresses are left to gateways and to clients that the model adds
MAX_PODS = 200_000
BLOCK = 256  # each workload's pods have a block of their own, so that scaling one moves no other's address
OS = "kubernetes.io/os"  # each kubelet labels its node with it
POD_NAME, POD_INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"  # a StatefulSet's labels


Blocks = list[tuple[int, int, k8s.Pod]]  # (block, place in the block, pod)


@dataclass
class Running:
    """A cluster as it runs. Filled step by step by `derive.complete`; nobody changes it afterwards."""

    nodes: list[k8s.Node] = field(default_factory=list)
    pods: list[k8s.Pod] = field(default_factory=list)
    services: dict[tuple[str, str], k8s.Service] = field(default_factory=dict)
    cluster_cidr: str = ""
    assumed: list[k8s.Object] = field(default_factory=list)  # controllers' workloads and Services not in the input
    assumptions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The pods' network."""
        return ipaddress.ip_network(self.cluster_cidr or "10.0.0.0/16", strict=False)


def some(names: Iterable[str], limit: int = 4) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def schedule(objects: Sequence[k8s.Object], running: Running) -> None:
    """Fill in `running.pods`: those of the input, and those that its workloads would make, on nodes, with addresses."""
    given = [o for o in objects if isinstance(o, k8s.Pod)]
    workloads = [o for o in objects if isinstance(o, k8s.Workload)]
    owned = {owner for p in given for owner in owners(p)}
    owned |= {owner for w in workloads if w.key in owned for owner in owners(w)}
    making = [w for w in workloads if w.key not in owned and all(kind != "Deployment" for kind, _, _ in owners(w))]
    pods = [(0, i, pod) for i, pod in enumerate(given)]
    bare = any(not p.status.podIP for p in given)
    for block, workload in enumerate(making, start=int(bare)):
        if len(pods) + (workload.kind != "DaemonSet") * workload.spec.replicas > MAX_PODS:
            file, line = workload.where("spec", "replicas")
            problem, most = f"too many pods, with those of {workload}", f"at most {MAX_PODS:,} in all"
            raise InputError(problem, expected=most, file=file, line=line, field="spec.replicas")
        pods += [(block, i, pod) for i, pod in enumerate(_pods_of(workload, running))]
    fitting: dict[tuple, list[k8s.Node]] = {}  # the nodes for each combination of nodeSelector and tolerations
    placed = [(b, i, _placed(pod, i, running, fitting)) for b, i, pod in pods]
    homeless = [str(p) for _, _, p in placed if p.status.phase == "Pending" and not p.spec.nodeName]
    if homeless:
        running.warnings.append(f"{some(homeless)}: no node fits (nodeSelector, taints), so Pending, without traffic")
    running.pods = _addressed(placed, objects, running)
    said = {key for n in running.nodes for key in n.metadata.labels}
    unsaid = {key for _, _, p in placed if p.spec.nodeName for key in p.spec.nodeSelector} - said
    if unsaid:
        running.assumptions.append(f"nodes have the labels that pods select and no Node says: {some(sorted(unsaid))}")
    if making:
        running.assumptions.append(
            f"pods of {some(f'{w.kind} {w.name}' for w in making)} are made from their templates, spread evenly over "
            "the nodes, named NAME-1, NAME-2, ..., and ready"
        )


def owners(made: k8s.Object) -> list[tuple[str, str, str]]:
    """The keys of the objects that an object is of: a pod of its ReplicaSet."""
    return [(r.kind, made.namespace, r.name) for r in made.metadata.ownerReferences]


def _pods_of(workload: k8s.Workload, running: Running) -> Iterator[k8s.Pod]:
    spec, template = workload.spec, workload.spec.template
    stateful = workload.kind == "StatefulSet"
    if workload.kind == "DaemonSet":
        names = [(f"{workload.name}-{n.name}", n.name) for n in running.nodes if tolerates(template.spec, n)]
    else:
        first = 0 if stateful else 1
        names = [(f"{workload.name}-{i + first}", template.spec.nodeName) for i in range(spec.replicas)]
    labels, annotations = template.metadata.labels, template.metadata.annotations
    owner = (k8s.Reference(workload.kind, workload.name),)
    status = k8s.PodStatus(phase="Running")
    for name, node in names:
        named = {POD_NAME: name, POD_INDEX: name.rpartition("-")[2]} if stateful else {}
        meta = k8s.ObjectMeta(name, workload.namespace, {**labels, **named}, annotations, ownerReferences=owner)
        own = {"hostname": name, "subdomain": spec.serviceName} if stateful else {}
        placed = replace(template.spec, nodeName=node, **own)
        yield k8s.Pod(placed, status, apiVersion="v1", kind="Pod", metadata=meta, origin=workload.origin)


def tolerates(spec: k8s.PodSpec, node: k8s.Node) -> bool:
    """Whether a pod may run there. A node runs Linux if it does not say; one that is no part of the input is taken to
    have whatever other labels a pod selects."""
    labels = {OS: "linux"} | node.metadata.labels
    wanted = spec.nodeSelector.items() - labels.items()
    if any(key in labels or node.origin.file for key, _ in wanted):
        return False
    keys = {t.key for t in spec.tolerations}
    blocking = (t for t in node.spec.taints if t.effect in ("NoSchedule", "NoExecute"))
    return all(t.key in keys or "" in keys for t in blocking)


def _placed(pod: k8s.Pod, i: int, running: Running, fitting: dict[tuple, list[k8s.Node]]) -> k8s.Pod:
    if pod.spec.nodeName or not pod.running:
        return pod
    rules = (tuple(pod.spec.nodeSelector.items()), pod.spec.tolerations)
    if rules not in fitting:
        fitting[rules] = [n for n in running.nodes if tolerates(pod.spec, n)]
    nodes = fitting[rules]
    if not nodes:
        return replace(pod, status=replace(pod.status, phase="Pending"))
    return replace(pod, spec=replace(pod.spec, nodeName=nodes[i % len(nodes)].name))


def _addressed(placed: Blocks, objects: Sequence[k8s.Object], running: Running) -> list[k8s.Pod]:
    taken = {p.status.podIP for _, _, p in placed if p.status.podIP}
    network = _cluster_cidr(placed, objects, running)
    node_of = {n.name: n for n in running.nodes}
    silent = [x for x in placed if x[2].running and not x[2].status.podIP and x[2].status.phase != "Pending"]
    blocks = max((b for b, _, _ in silent), default=-1) + 1
    crowded = max((i for _, i, _ in silent), default=0) + FIRST >= BLOCK
    in_blocks = blocks * BLOCK <= network.num_addresses and not crowded
    own_networks = bool(running.nodes) and all(n.spec.podCIDR for n in running.nodes)
    free: dict[object, Iterator[str]] = {}
    found: dict[int, str] = {}
    stranded: list[str] = []
    for block, _, pod in sorted(silent, key=lambda x: (x[1], x[0])):  # first replicas first: scaling up moves few
        node = node_of.get(pod.spec.nodeName)
        if pod.spec.hostNetwork and node:
            found[id(pod)] = node.address
            continue
        within, key, first = network, None, FIRST
        if own_networks and node:
            within, key = ipaddress.ip_network(node.spec.podCIDR, strict=False), node.name
        elif in_blocks:
            key, first = block, block * BLOCK + FIRST
        if key not in free:
            free[key] = addresses(within, first)
        address = next((a for a in free[key] if a not in taken), "")
        if address:
            taken.add(address)
            found[id(pod)] = address
        else:
            stranded.append(str(pod))
    if stranded:
        running.warnings.append(f"{some(stranded)}: no address is left, so Pending")
    if found:
        blockwise = f" from {network}, a block of {BLOCK} a workload" if in_blocks and not own_networks else ""
        running.assumptions.append(f"pods without an address have one in a fixed order{blockwise}")
    return [replace(p, status=replace(p.status, podIP=found[id(p)])) if id(p) in found else p for _, _, p in placed]


def addresses(network: ipaddress.IPv4Network, first: int) -> Iterator[str]:
    """Those of a network from the one with this number on; at least the last."""
    last = network.num_addresses - 1
    return (str(network[i]) for i in range(min(first, last), last + 1))


def _cluster_cidr(placed: Blocks, objects: Sequence[k8s.Object], running: Running) -> ipaddress.IPv4Network:
    """The pods' network: kube-proxy's clusterCIDR, or the smallest that holds what is given, or 10.0.0.0/16."""
    config = next((o for o in objects if isinstance(o, k8s.KubeProxyConfiguration)), None)
    if config and config.mode == "ipvs":
        order = "in the order of their addresses, on every node (kube-proxy adds those of one update in no fixed order)"
        running.assumptions.append(f"IPVS servers are added {order}")
    if config and config.clusterCIDR:
        running.cluster_cidr = config.clusterCIDR.split(",")[0]
        return running.network
    given = [n.spec.podCIDR for n in running.nodes if n.spec.podCIDR]
    hosts = {n.address for n in running.nodes} | {""}
    given += [p.status.podIP for _, _, p in placed if not p.spec.hostNetwork and p.status.podIP not in hosts]
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
        told = f"no KubeProxyConfiguration in the input: mode iptables (the default), clusterCIDR {network}"
        running.assumptions.append(told)
    return network
