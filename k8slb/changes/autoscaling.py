"""The HorizontalPodAutoscaler: its formula, its loop, and the pods that start late.

Kubernetes 1.36: tasks/run-application/horizontal-pod-autoscale; pkg/controller/podautoscaler/replica_calculator.go and
horizontal.go. One metric is read: the CPU that pods use, in percent of what they request.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import ceil
from typing import NamedTuple

from ..cluster import Cluster
from ..errors import InputError, NotModelled, amount, shown, whole
from ..kubectl import find
from ..layers.pods import work_of
from ..objects import Behavior, HorizontalPodAutoscaler, ScalingPolicy, Workload
from .change import Change, Seconds, change
from .lives import LARGEST, Given, Life, Replicas, ending, number, readiness

TARGET = 80  # percent, where an autoscaling/v2 object names no metric
UP = (ScalingPolicy("Percent", 100, 15), ScalingPolicy("Pods", 4, 15))
DOWN = (ScalingPolicy("Percent", 100, 15),)
SYNC = 15.0  # horizontal-pod-autoscaler-sync-period
LONGEST = 1e6  # seconds for which the loop is followed
MEMORY = int(3600 / SYNC) + 2  # rounds that windows and periods look back at most (an hour: autoscaling/v2 validation)
STABLE = 300  # seconds for which a lower number has to be wanted


class Sync(NamedTuple):
    """One round of the loop. `used`: percent of the request, on average over the pods measured; `wanted`: by the
    formula; `becomes`: after stabilisation, policies and limits."""

    second: float
    load: float
    replicas: int
    ready: int
    used: int
    wanted: int
    becomes: int


def hpa(replicas: int, used: Sequence[float], target: float = TARGET, unready=0, missing=0, tolerance=0.1) -> int:
    """How many replicas the formula wants: ceil(pods measured * used / target), where the ratio is not within the
    tolerance of 1. All in percent of what a pod requests: `used` of each pod that is measured, `target` on average.

    `unready` pods count as using nothing where it would scale up; `missing` ones (without metrics) as using nothing
    then, and all they request (or the target, where that is more) where it would scale down. If that turns the
    direction round, nothing changes.
    """
    percent = "percent of what a pod requests"
    if not isinstance(used, Iterable):
        raise InputError(f"{shown(used)} says not what each pod uses", expected=f"a list: {percent}")
    used = [amount(one, "use of a pod", 0, 1e9, percent) for one in used]
    target = amount(target, "target", 1e-3, 1e9, f"{percent}, above 0")
    tolerance = amount(tolerance, "tolerance", 0, 1e9, "a share, such as 0.1")
    numbers = (replicas, "replicas"), (unready, "unready"), (missing, "missing")
    replicas, unready, missing = (whole(one, what, 0, 10**6) for one, what in numbers)
    if not used:
        return replicas  # no metrics, no scaling
    ratio = int(sum(used) / len(used)) / target
    if not (unready and ratio > 1) and not missing:
        return replicas if abs(1 - ratio) <= tolerance + 1e-12 else ceil(ratio * len(used) - 1e-9)
    used += [max(100.0, target) if ratio < 1 else 0.0] * missing if ratio != 1 else []
    used += [0.0] * (unready if ratio > 1 else 0)
    again = int(sum(used) / len(used)) / target
    wanted = ceil(again * len(used) - 1e-9)
    turned = (ratio - 1) * (again - 1) < 0 or (again - 1) * (wanted - replicas) < 0
    return replicas if turned or abs(1 - again) <= tolerance + 1e-12 else wanted


@dataclass(frozen=True, repr=False)
class Scaling(Change):
    syncs: tuple[Sync, ...] = field(default=(), repr=False)

    @property
    def table(self):
        """The rounds of the loop as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.syncs)


def autoscale(
    cluster: Cluster,
    name: str,
    load: Mapping[float, float],
    capacity: Given = None,
    target: int | None = None,
    min_replicas: int | None = None,
    max_replicas: int | None = None,
    limit: float = 100.0,
    metrics_lag: float = 15.0,
    until: Given = None,
    propagation: Seconds = 1.0,
    starts_in: float = 2.0,
) -> Scaling:
    """The Deployment `name` under `load`, {second: requests a second from then on}, as its autoscaler scales it.

    A HorizontalPodAutoscaler of the input that names it is read; arguments win. `capacity`: the requests a second that
    use all that one pod requests (where None: its workers over its service time); `limit`: the most a pod can use, in
    percent of its request; `metrics_lag`: how old the metrics are (metrics-server measures every 15 s). The load is
    shared evenly by the pods that are ready. The loop runs every 15 seconds, from the first load to `until`
    (10 minutes after the last change).
    """
    workload: Workload = find(name, cluster.of(Workload), "Deployment")
    if workload.kind not in ("Deployment", "ReplicaSet"):
        raise NotModelled(f"autoscaling a {workload.kind}")
    said = "{0: 75, 60: 375}: seconds, and requests a second from then on"
    if not (isinstance(load, Mapping) and load):
        raise InputError(f"{shown(load)} is no load over time", expected=said)
    load = {amount(at, "second", 0, 1e9, said): amount(rate, "load", 0, 1e9, said) for at, rate in load.items()}
    rules, target, least, most = _settings(cluster, workload, target, min_replicas, max_replicas)
    replicas, takes = Replicas(cluster, workload), readiness(workload.spec.template.spec, starts_in)
    work = work_of(replicas.active[0]) if replicas.active else None
    if capacity is None and work is None:
        raise InputError(f"how much a pod of {name} can do is not known", expected="capacity=REQUESTS_PER_SECOND")
    each = work.workers / work.mean if work else 0.0
    each = each if capacity is None else amount(capacity, "capacity", 1e-9, 1e9, "requests a second")
    changes, late = sorted(load), number(metrics_lag, "age")
    limit = amount(limit, "limit", 0, 1e9, "percent of what a pod requests")
    lives: list[Life] = [Life(p, ((0.0, "ready"),)) for p in replicas.active]
    now, last, syncs = changes[0], changes[-1] + 600 if until is None else number(until, "time"), []
    if not now + SYNC <= last <= now + LONGEST:
        problem = f"from second {now:g} to {last:g} is no time to autoscale"
        raise InputError(problem, expected=f"from {SYNC:g} s to {LONGEST:,.0f} s (until=SECOND)")
    wishes, moved = [(now, len(lives))], []

    def at(second: float) -> float:
        return load[changes[max(0, bisect_right(changes, second) - 1)]]

    while (now := now + SYNC) <= last:
        active = [life for life in lives if life.state(now) in ("ready", "starting")]
        measured = [life for life in active if life.state(max(0.0, now - late)) == "ready"]
        used = min(limit, 100 * at(now - late) / (each * len(measured))) if measured else 0.0
        wanted = hpa(len(active), [used] * len(measured), target, unready=len(active) - len(measured))
        wishes.append((now, wanted))
        del wishes[:-MEMORY], moved[:-MEMORY]
        becomes = min(most, max(least, _stabilised(rules, wishes, moved, now, len(active))))
        ready = sum(life.state(now) == "ready" for life in active)
        whole(becomes, "the replicas of a workload", 0, LARGEST)
        syncs.append(Sync(now, at(now), len(active), ready, int(used), wanted, becomes))
        moved.append((now, becomes - len(active)))
        lives += [replicas.grows(now, takes) for _ in range(becomes - len(active))]
        for _ in range(len(active) - becomes):
            gone = replicas.shrinks(replicas.active)
            i = next(i for i, life in enumerate(lives) if life.one is gone)
            lives[i] = Life(gone, (*(s for s in lives[i].steps if s[0] < now), *ending(gone, now)))
    title = f"{workload} is scaled between {least} and {most} for {target}% of what its pods request: "
    title += " -> ".join(str(n) for n, _ in groupby([s.replicas for s in syncs]))
    return change(cluster, lives, propagation, title, Scaling, syncs=tuple(syncs))


def _stabilised(behavior: Behavior, wishes: list, moved: list, now: float, current: int) -> int:
    """What comes of the replicas wished for at (second, number), the last of them now, after (second, number added).

    Within its stabilisation window no wish counts but the lowest to go up, and the highest to go down; then as far as
    the policies let it go, counted from what there was at the beginning of their period.
    """
    windows = [rules.stabilizationWindowSeconds for rules in (behavior.scaleUp, behavior.scaleDown)]
    since = [now - (usual if given is None else given) for given, usual in zip(windows, (0, STABLE), strict=True)]
    low, high = ([n for t, n in wishes if t >= begin] for begin in since)
    wanted = max(min(current, max(high)), min(low))
    sign, rules, usual = (1, behavior.scaleUp, UP) if wanted > current else (-1, behavior.scaleDown, DOWN)
    if wanted == current or rules.selectPolicy == "Disabled":
        return current
    reach = []
    for policy in rules.policies or usual:
        begin = current - sum(n for t, n in moved if t > now - policy.periodSeconds and n * sign > 0)
        by = policy.value if policy.type == "Pods" else ceil(begin * policy.value / 100)
        reach.append(max(0, by - abs(current - begin)))
    return current + sign * min(abs(wanted - current), (max if rules.selectPolicy == "Max" else min)(reach))


def _settings(cluster: Cluster, workload: Workload, target, least, most) -> tuple[Behavior, int, int, int]:
    """(behavior, target, minReplicas, maxReplicas): as given, else the object's, else the defaults."""
    mine = (o for o in cluster.of(HorizontalPodAutoscaler) if o.namespace == workload.namespace)
    found = next((o.spec for o in mine if o.spec.scaleTargetRef.name == workload.name), None)
    if found is None and most is None:
        raise InputError(f"no HorizontalPodAutoscaler scales {workload}", expected="one, or max_replicas=N")
    metrics = [m.cpu for m in found.metrics] if found else []
    if None in metrics and target is None:
        raise NotModelled(f"autoscaling {workload} by anything but the utilization of cpu")
    said = (metrics or [found.targetCPUUtilizationPercentage if found else None])[0] or TARGET
    target = said if target is None else whole(target, "target", 1, 10**6)
    least = (found.minReplicas if found else 1) if least is None else whole(least, "min_replicas", 1, 100_000)
    most = found.maxReplicas if most is None else whole(most, "max_replicas", least, 100_000)
    return found.behavior if found else Behavior(), target, least, most
