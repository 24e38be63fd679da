"""A pod's or a node's life: which state it is in from which second on; how a pod starts and ends; where new ones go.

A state has what the API server is told (Ready, a deletionTimestamp) and what is true (`k8slb/down`). The two differ
until somebody has noticed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import ip_network
from itertools import count, pairwise
from math import ceil, inf
from typing import Any

from ..cluster import Cluster
from ..errors import InputError, NotModelled, amount, shown
from ..layers.pods import SERVICE_TIME
from ..manifests import table_of
from ..objects import DOWN, Condition, Container, Node, Pod, PodSpec, PodStatus, Workload
from ..scheduling import FIRST, addresses, tolerates

EXTENSION = 2.0  # seconds the kubelet gives a container whose preStop has used up the grace period (pod-lifecycle)
MOST = 400_000  # states of pods in one change: half a minute's work to say what is lost
LARGEST = 5_000  # replicas of a workload that changes
NOTICED = 1.0  # seconds until the kubelet sees that a process has ended (genericPlegRelistPeriod)


# state -> (whether the API server is told that it is ready, that it is deleted; what is true, if it does not answer)
STATES: dict[str, tuple[bool, bool, str]] = table_of("states")["states"]
Steps = tuple[tuple[float, str], ...]
Given = float | None


@dataclass(frozen=True)
class Life:
    """`steps`: (second, state from then on) in order; before the first it is not there, nor when it is "gone"."""

    one: Pod | Node
    steps: Steps

    def state(self, now: float) -> str:
        return next((state for t, state in reversed(self.steps) if t <= now), "gone")

    def at(self, now: float) -> Pod | Node | None:
        """The object at `now`, None where it is not there."""
        state = self.state(now)
        return None if state == "gone" else self._made.get(state) or self._made.setdefault(state, self._in(state))

    @cached_property
    def _made(self) -> dict[str, Pod | Node]:
        return {}  # the same object as long as it is in the same state

    def _in(self, state: str) -> Pod | Node:
        (ready, deleted, down), meta, status = STATES[state], self.one.metadata, self.one.status
        notes = {**meta.annotations, DOWN: down} if down else meta.annotations
        meta = replace(meta, annotations=notes, deletionTimestamp="1970-01-01T00:00:00Z" if deleted else "")
        others = (c for c in status.conditions if c.type != "Ready")
        conditions = (*others, Condition("Ready", str(ready)))
        return replace(self.one, metadata=meta, status=replace(status, conditions=conditions))


def moments(cluster: Cluster, lives: Sequence[Life]) -> tuple[tuple[float, Cluster], ...]:
    """(second, cluster) from 0 on."""
    own = {life.one.key: life for life in lives}
    new = [life for life in lives if isinstance(life.one, Pod) and life.steps[0][0] > 0]

    def there(among: Iterable, now: float) -> Iterator:
        found = (own[o.key].at(now) if o.key in own else o for o in among)
        return (o for o in found if o is not None)

    times = sorted({t for life in lives for t, _ in life.steps if t > 0})
    pods = [*cluster.pods, *(life.one for life in new)]
    if len(times) * len(pods) > MOST:
        problem = f"{len(times):,} moments of {len(pods):,} pods are more than can be followed"
        raise InputError(problem, expected=f"at most {MOST:,} in all: fewer pods, or more of them at once")
    return ((0.0, cluster), *((t, cluster.while_running(there(pods, t), there(cluster.nodes, t))) for t in times))


# --- how a pod starts and ends ---------------------------------------------------------------------------------------


def readiness(spec: PodSpec, starts_in: float) -> float:
    """Seconds until a pod is Ready that takes connections after `starts_in`: the first probe that succeeds, and as many
    more as the threshold asks for."""
    longest = number(starts_in, "start-up time")
    for probe in (c.readinessProbe for c in spec.containers if c.readinessProbe):
        failing = ceil(max(0.0, starts_in - probe.initialDelaySeconds) / probe.periodSeconds)
        tries = failing + probe.successThreshold - 1
        longest = max(longest, probe.initialDelaySeconds + tries * probe.periodSeconds)
    return longest


def serving(spec: PodSpec) -> Container:
    """The container that is asked: the first with ports."""
    return next((c for c in spec.containers if c.ports), (*spec.containers, Container())[0])


def pre_stop_of(spec: PodSpec) -> float:
    """The seconds that the serving container's preStop sleeps. NotModelled for a hook that does anything else."""
    hook = serving(spec).lifecycle.preStop
    if hook is None:
        return 0.0
    command = " ".join(hook.exec.command) if hook.exec else ""
    slept = re.search(r"(?:^|[\s/])sleep (\d+(?:\.\d+)?)", command)
    if not (hook.sleep or slept):
        raise NotModelled(f"how long this preStop hook takes ({shown(command)}); say it: pre_stop=SECONDS")
    return float(hook.sleep.seconds if hook.sleep else slept[1])


def graceful(spec: PodSpec, pre_stop: Given, grace: Given) -> tuple[float, float]:
    """(seconds of preStop, terminationGracePeriodSeconds) as given, else as written. InputError where what is written
    sleeps for longer, as the API server has it (1.36, validateSleepAction)."""
    hook, lasts = serving(spec).lifecycle.preStop, spec.terminationGracePeriodSeconds
    if pre_stop is None and hook and hook.sleep and hook.sleep.seconds > lasts:
        told = f"the API server refuses a preStop that sleeps for {hook.sleep.seconds} s of {lasts} s grace"
        raise InputError(told, expected="a shorter sleep, or a longer terminationGracePeriodSeconds")
    stops = pre_stop_of(spec) if pre_stop is None else number(pre_stop, "preStop")
    return stops, number(spec.terminationGracePeriodSeconds if grace is None else grace, "grace period")


def ending(pod: Pod, at: float, pre_stop: Given = None, grace: Given = None, finishes_in: Given = None) -> Steps:
    """From its deletion on. The kubelet runs preStop, then sends SIGTERM: the process closes its listener and exits
    once it has finished what it has (`finishes_in`: after so long; None: as late as it may where requests take time),
    or is killed when `grace`, counted from the deletion, is over (kubernetes.io, Pod Lifecycle, 1.36)."""
    hook, lasts = graceful(pod.spec, pre_stop, grace)
    begins, kill = at + min(hook, lasts), at + lasts + (EXTENSION if 0 < lasts <= hook else 0.0)
    if finishes_in is None:
        finishes_in = kill if SERVICE_TIME in pod.metadata.annotations else 0.0
    ends = min(begins + number(finishes_in, "time to finish"), kill)
    return in_order((at, "terminating"), (begins, "stopping"), (ends, "stopped"), (ends + NOTICED, "gone"))


def spans(steps: Steps) -> list[tuple[float, float, str]]:
    """(from second, to second, state): each lasts until the next."""
    return [(begin, end, state) for (begin, state), (end, _) in pairwise((*steps, (inf, "")))]


def in_order(*steps: tuple[float, str]) -> Steps:
    """Without those that last no time or never come."""
    return tuple((begin, state) for begin, end, state in spans(steps) if begin < end)


def number(given: Any, what: str, least: float = 0.0) -> float:
    """InputError for what is no number of seconds."""
    return amount(given, what, least, 1e9, f"seconds, from {least:g} to a billion")


def drop(pods: list[Pod], gone: Pod) -> None:
    """Takes this very one out; to compare their values would take long."""
    del pods[next(i for i, pod in enumerate(pods) if pod is gone)]


# --- new pods --------------------------------------------------------------------------------------------------------


class Replicas:
    """The pods of a workload as their number changes: `active` are those that nobody has deleted."""

    def __init__(self, cluster: Cluster, workload: Workload, taken: set[str] | None = None):
        self.cluster, self.workload = cluster, workload
        there = (p for p in cluster.pods if p.namespace == workload.namespace and p.running and p.status.podIP)
        self.active = [p for p in there if workload.spec.selector.matches(p.metadata.labels)]
        self._busy = Counter(p.spec.nodeName for p in self.active)
        names, numbers = {p.name for p in cluster.pods}, count(len(self.active) + 1)
        self._names = (name for n in numbers if (name := f"{workload.name}-{n}") not in names)
        self._taken = {p.status.podIP for p in cluster.pods} if taken is None else taken
        self._free: dict[object, Iterator[str]] = {}

    def grows(self, at: float, takes: float, without: str = "") -> Life:
        """One more, Ready after so many seconds, on the node that has the fewest, but `without`. InputError where none
        takes it."""
        template = self.workload.spec.template
        nodes = [n for n in self.cluster.nodes if tolerates(template.spec, n) and n.name != without]
        if not nodes:
            raise InputError(f"no node takes a new pod of {self.workload}", expected="a node that fits")
        node = min(nodes, key=lambda n: self._busy[n.name])
        self._busy[node.name] += 1
        status = PodStatus("Running", node.address if template.spec.hostNetwork else self._address(node))
        meta = replace(template.metadata, name=next(self._names), namespace=self.workload.namespace)
        typed = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "origin": self.workload.origin}
        self.active.append(Pod(replace(template.spec, nodeName=node.name), status, **typed))
        return Life(self.active[-1], in_order((at, "starting"), (at + takes, "ready")))

    def shrinks(self, among: Sequence[Pod]) -> Pod:
        """Whom a ReplicaSet deletes first of pods alike: one of the node that has the most of the workload's, the last
        of them (pkg/controller, ActivePodsWithRanks)."""
        gone = max(reversed(among), key=lambda p: self._busy[p.spec.nodeName])
        self._busy[gone.spec.nodeName] -= 1
        drop(self.active, gone)
        return gone

    def _address(self, node: Node) -> str:
        own = node.spec.podCIDR
        network = ip_network(own, strict=False) if own else self.cluster.running.network
        free = self._free.setdefault(network, addresses(network, FIRST))
        found = next((a for a in free if a not in self._taken), "")
        self._taken.add(found)
        return found
