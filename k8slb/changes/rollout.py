"""A rolling update, from the Deployment's own fields.

What the Deployment controller (1.36, pkg/controller/deployment/rolling.go) does at each moment: as many new pods as
maxSurge lets there be (rounded up), then as few old ones as maxUnavailable lets go (rounded down), again whenever a new
one has become available. Pods that terminate count no more.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from math import ceil, floor
from typing import NamedTuple

from ..cluster import Cluster
from ..errors import InputError, NotModelled, shown, whole
from ..kubectl import find
from ..objects import Workload
from .change import Change, Seconds, change
from .lives import LARGEST, Given, Life, Replicas, drop, ending, graceful, number, readiness


class Least(NamedTuple):
    """The least preStop, in seconds, that loses nothing (None: there is none), and why."""

    seconds: int | None
    why: str


@dataclass(frozen=True, repr=False)
class Rollout(Change):
    again: Callable[..., Change] | None = field(default=None, repr=False)  # the same with another preStop
    grace: float = 30.0

    def smallest_pre_stop(self, url: str | None = None, rate: float = 100.0, **given) -> Least:
        """The least whole number of seconds for preStop that loses none of the requests, found by trying."""
        if not self.lives:
            return Least(None, "there is no pod to replace")
        longest = ceil(self.grace)
        again = cache(lambda seconds: self.again(pre_stop=seconds))
        loses = cache(lambda seconds: again(seconds).lost(url, rate, **given))
        low, high = 0, longest + 1
        slowest = ceil(max((late for who, late in self.lag.items() if isinstance(who, str)), default=0))
        for seconds in (slowest - 1, slowest):  # mostly it is that, and two tries are enough
            if low <= seconds < high:
                low, high = (seconds + 1, high) if loses(seconds) else (low, seconds)
        least = bisect_left(range(longest + 1), 1, low, high, key=lambda seconds: not loses(seconds))
        if not least:
            return Least(0, "with none at all nothing is lost")
        begin, end, _ = again(least - 1).losses(url, **given)[0]
        told = f"with {least - 1} s {loses(least - 1):g} requests are lost at {rate:g} a second, the first from second "
        told += f"{begin:g} to {end:g}: a pod takes no more, and not everybody has learned of it"
        return Least(least if least <= longest else None, told)


def rollout(
    cluster: Cluster,
    name: str,
    pre_stop: Given = None,
    propagation: Seconds = 1.0,
    starts_in: float = 2.0,
    ready_after: Given = None,
    at: float = 10.0,
    grace: Given = None,
    finishes_in: Given = None,
    max_surge: int | str | None = None,
    max_unavailable: int | str | None = None,
) -> Rollout:
    """All pods of the Deployment `name` are replaced, from second `at` on.

    What the YAML says is read, arguments win: `pre_stop` (lifecycle.preStop: sleep, or an exec that sleeps), `grace`
    (terminationGracePeriodSeconds), `max_surge` and `max_unavailable` (numbers or "25%"), `ready_after` (seconds from
    a pod's start until it is Ready: its readinessProbe). Not in the YAML: `starts_in` (seconds until the new process
    takes connections), `finishes_in` (seconds a process goes on after SIGTERM with what it has; 0: exits at once),
    `propagation` (seconds until kube-proxy and other proxies know what the API server knows: a number, or by who:
    {"node": 2, "node-b": 5, "ingress": 1, "cloud-lb": 30}).
    """
    given = {k: v for k, v in locals().items() if k not in ("cluster", "name", "pre_stop")}
    deployment: Workload = find(name, cluster.of(Workload), "Deployment")
    spec, replicas, strategy = deployment.spec, Replicas(cluster, deployment), deployment.spec.strategy
    if deployment.kind != "Deployment" or strategy.type != "RollingUpdate":
        raise NotModelled(
            f"the rollout of a {deployment.kind}, strategy {strategy.type}; a Deployment's RollingUpdate is"
        )
    wanted, old = len(replicas.active), list(replicas.active)
    whole(wanted, "the replicas of a rollout", 0, LARGEST)
    surge = strategy.rollingUpdate.maxSurge if max_surge is None else max_surge
    unavailable = strategy.rollingUpdate.maxUnavailable if max_unavailable is None else max_unavailable
    surge, unavailable = fenceposts(surge, unavailable, wanted)
    stops, lasts = graceful(spec.template.spec, pre_stop, grace)
    ready = readiness(spec.template.spec, starts_in) if ready_after is None else number(ready_after, "time")
    now, new, running, ends = number(at, "time", 1e-3), [], list(old), {}
    while running or len(new) < wanted:
        made = max(0, min(wanted + surge - len(replicas.active), wanted - len(new)))
        new += [replicas.grows(now, ready) for _ in range(made)]
        due = [life.steps[-1][0] + spec.minReadySeconds for life in new]  # when each is available
        going = max(0, min(len(running), len(running) + sum(t <= now for t in due) - (wanted - unavailable)))
        for _ in range(going):
            gone = replicas.shrinks(running)
            drop(running, gone)
            ends[gone.key] = ending(gone, now, stops, lasts, finishes_in)
        if not going and not made:
            now = min(t for t in due if t > now)
    title = f"{deployment} is rolled out from second {at:g} on: {wanted} pod{'s' * (wanted != 1)}, maxSurge {surge}, "
    title += f"maxUnavailable {unavailable}, preStop {stops:g} s of {lasts:g} s grace, new pods ready after {ready:g} s"
    lives = [*(Life(p, ((0.0, "ready"), *ends[p.key])) for p in old), *new]
    again = partial(rollout, cluster, name, **given)
    return change(cluster, lives, propagation, title, Rollout, again=again, grace=lasts)


def fenceposts(surge: int | str, unavailable: int | str, replicas: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as numbers of pods: percentages up, down; 1 unavailable where both come to 0
    (ResolveFenceposts). InputError for both 0, which the API server refuses."""
    if surge in (0, "0%") and unavailable in (0, "0%"):
        raise InputError("maxSurge and maxUnavailable may not both be 0", expected="a pod more or a pod less")

    def pods(given: int | str, rounded: Callable[[float], int]) -> int:
        if isinstance(given, str) and given[:-1].isdecimal() and given[-1] == "%":
            return rounded(int(given[:-1]) * replicas / 100)
        if isinstance(given, str):
            raise InputError(f"maxSurge or maxUnavailable cannot be {shown(given)}", expected='such as 1 or "25%"')
        return whole(given, "maxSurge or maxUnavailable", 0, 10**9)

    up, down = pods(surge, ceil), pods(unavailable, floor)
    if isinstance(unavailable, str) and int(unavailable[:-1]) > 100:
        raise InputError(f"maxUnavailable cannot be {shown(unavailable)}", expected="at most 100%")
    return up, min(down, replicas) if up or down else 1
