"""What fails, or is taken away: a pod's process, a node, a node that is drained. Who notices when, and what is lost
until then."""

from math import inf

from ..cluster import Cluster
from ..endpoints import node_named
from ..errors import InputError, NotModelled, shown
from ..kubectl import find
from ..objects import Pod, Workload
from .change import Change, Seconds, change
from .lives import NOTICED, Given, Life, Replicas, ending, in_order, number, readiness, serving

MONITOR_GRACE = 50.0  # node-monitor-grace-period since Kubernetes 1.32
EVICTED = 300.0  # tolerationSeconds that DefaultTolerationSeconds gives every pod for not-ready and unreachable
STATE = {"crash": "crashed", "hang": "hangs"}
UNREACHABLE = ("node.kubernetes.io/unreachable", "")


def pod_dies(
    cluster: Cluster, name: str, at=10.0, how="crash", noticed: Given = None, propagation: Seconds = 1.0, starts_in=2.0
) -> Change:
    """The process of the pod `name` ends at second `at` ("crash": connections are refused), or answers nothing any more
    ("hang": they time out).

    The API server is told after `noticed` seconds: of a crash 1 (the kubelet looks every second), of a hang the
    readinessProbe's failureThreshold * periodSeconds; without a probe never. After a crash, or once the livenessProbe
    has failed so often, the container is started again (its first restart waits for nothing) and is Ready as the probe
    says, `starts_in` seconds or more later.
    """
    pod: Pod = find(name, [p for p in cluster.pods if p.running], "pod")
    if not isinstance(how, str) or how not in STATE:
        raise InputError(f"{shown(how)} is no way to die", expected="crash or hang")
    container, begin = serving(pod.spec), number(at, "time", 1e-3)
    probes = (container.readinessProbe, container.livenessProbe)
    ready, alive = (p and float(p.failureThreshold * p.periodSeconds) for p in probes)
    told = NOTICED if how == "crash" else ready or alive or inf
    told = begin + (told if noticed is None else number(noticed, "time"))
    again = told if how == "crash" else begin + (alive or inf)
    back = again + readiness(pod.spec, starts_in)
    down = ((begin, STATE[how]), (told, "hangs, not ready"))
    steps = in_order((0.0, "ready"), *down, (again, "starting"), (back, "ready"))
    title = f"{pod.name} {how}{'es' if how == 'crash' else 's'} at second {begin:g}, which "
    title += f"the API server learns at {told:g}" if told < inf else "no probe notices"
    return change(cluster, [Life(pod, steps)], propagation, title)


def node_dies(
    cluster: Cluster, name: str, at=10.0, noticed=MONITOR_GRACE, propagation: Seconds = 1.0, starts_in=2.0
) -> Change:
    """The node `name` falls silent at second `at`: packets to it and to its pods are dropped, so clients wait.

    After `noticed` seconds without a heartbeat the node lifecycle controller says that it and its pods are not ready
    (node-monitor-grace-period: 50 s since Kubernetes 1.32, kubernetes PR 126287; 40 s before). Its pods are evicted
    after their tolerationSeconds for node.kubernetes.io/unreachable (300 s) and made anew elsewhere; those of a
    DaemonSet stay, a StatefulSet's are not replaced while the node object is there. Open TCP connections to them hang
    until a probe or a time-out ends them, at the latest after 924.6 s (Linux, tcp_retries2 = 15).
    """
    node, begin = node_named(cluster, name), number(at, "time", 1e-3)
    known = begin + number(noticed, "node-monitor-grace-period")
    dead = ((0.0, "ready"), (begin, "dead"), (known, "dead, not ready"))
    lives, gone = [Life(node, dead)], []
    for pod, workload in _on(cluster, name):
        mine = (t for t in pod.spec.tolerations if t.key in UNREACHABLE and t.effect in ("NoExecute", ""))
        waits = [t.tolerationSeconds for t in mine] or [EVICTED]
        stays = None in waits or (workload and workload.kind == "DaemonSet")
        evicted = known + (inf if stays else max(0.0, min(waits)))
        lives.append(Life(pod, in_order(*dead, (evicted, "dead, terminating"))))
        gone += [] if stays else [(workload, evicted)]
    title = f"{name} dies at second {begin:g}, which the API server learns at {known:g}"
    via = next((n.name for n in cluster.nodes if n is not node), None)
    return change(cluster, lives + _replaced(cluster, gone, name, starts_in), propagation, title, via=via)


def drain(
    cluster: Cluster, name: str, at=10.0, pre_stop: Given = None, grace: Given = None, propagation=1.0, starts_in=2.0
) -> Change:
    """kubectl drain: the pods of the node `name`, but a DaemonSet's, are evicted at second `at`, all at once, and end
    as gracefully as they can (see `rollout`); Deployments and ReplicaSets make new ones on other nodes (a StatefulSet's
    are not made anew here). NotModelled where the input has a PodDisruptionBudget, which could hold evictions back."""
    if budgets := [o.name for o in cluster.objects if o.kind == "PodDisruptionBudget"]:
        raise NotModelled(f"a drain under PodDisruptionBudgets ({', '.join(budgets)})")
    node, begin = node_named(cluster, name), number(at, "time", 1e-3)
    going = [(p, w) for p, w in _on(cluster, name) if w is None or w.kind != "DaemonSet"]
    lives = [Life(p, ((0.0, "ready"), *ending(p, begin, pre_stop, grace))) for p, _ in going]
    lives += _replaced(cluster, [(w, begin) for _, w in going], name, starts_in)
    title = f"{node.name} is drained at second {begin:g}: "
    title += f"{len(going)} pods are evicted" if len(going) != 1 else "1 pod is evicted"
    return change(cluster, lives, propagation, title)


def _on(cluster: Cluster, node: str) -> list[tuple[Pod, Workload | None]]:
    """The running pods on a node, each with its workload, where the input or what is assumed has that."""
    workloads = (o for o in (*cluster.objects, *cluster.running.assumed) if isinstance(o, Workload))
    owner = {p.key: w for w in workloads for p in Replicas(cluster, w).active}
    return [(p, owner.get(p.key)) for p in cluster.pods if p.running and p.spec.nodeName == node]


def _replaced(cluster: Cluster, gone: list[tuple[Workload | None, float]], node: str, starts_in: float) -> list[Life]:
    """The pods that Deployments and ReplicaSets make elsewhere for those that go at these seconds."""
    made, lives, taken = {}, [], {p.status.podIP for p in cluster.pods}
    for workload, at in gone:
        if workload and workload.kind in ("Deployment", "ReplicaSet"):
            replicas = made.setdefault(workload.key, Replicas(cluster, workload, taken))
            lives.append(replicas.grows(at, readiness(workload.spec.template.spec, starts_in), without=node))
    return lives
