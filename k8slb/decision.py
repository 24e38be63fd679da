"""The small vocabulary all layers share: a place, a decision with its candidates, a hop, a timeline.

A layer answers one question, `decide(view, flow, place, now) -> Decision`, and has no memory: what is remembered
between decisions (conntrack, ClientIP affinity, counters) the decision declares and the engine keeps, per place.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, NamedTuple

from .cluster import Cluster
from .objects import Object
from .traffic import Flow

Action = Literal["forward", "reject", "drop", "respond", "unresolved"]
Grain = Literal["connection", "request"]


class Place(NamedTuple):
    """Where something happens, and whose state it uses: kind "outside", "cloud-lb", "node", "pod" or "endpoint"."""

    kind: str
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way the flow can go on: where, and how it looks there. `share` is exact, None where it depends on load."""

    name: str
    address: str
    place: Place
    flow: Flow
    share: Fraction | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Rejected:
    """A rule, endpoint or node that was considered and not taken, and the field of the input that says so."""

    what: str
    why: str
    object: Object | None = None
    path: tuple[str | int, ...] = ()

    @property
    def where(self) -> tuple[str, int | None]:
        """(file, line); ("", None) where the input says nothing. Looked up only when asked for."""
        return self.object.where(*self.path) if self.object else ("", None)


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of a decision, so that it is not taken again: by `key`, for `timeout` seconds after its last
    use, for at most `capacity` keys (None: no limit)."""

    kind: Literal["conntrack", "ClientIP", "cookie", "pool"]
    key: str
    timeout: float | None = None
    capacity: int | None = None


@dataclass(frozen=True, slots=True)
class OnFailure:
    """What a proxy does when the chosen peer fails: `tries` in all, then the status for a refusal or a time-out."""

    tries: int = 1
    refused: int = 502
    timed_out: int = 504


@dataclass(frozen=True, slots=True)
class Decision:
    """One layer's answer. `state` names the counter a balancer with memory uses: (place, Service port)."""

    layer: str
    place: Place
    grain: Grain
    flow: Flow
    action: Action
    why: str
    brief: tuple[str, str] = ("", "")  # a line a hop: what stands before and after the candidate that was picked
    candidates: tuple[Candidate, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    balancer: str | None = None
    state: tuple | None = None
    remembers: tuple[Memory, ...] = ()
    on_failure: OnFailure | None = None
    status: int | None = None
    rule: str = ""
    rules: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hop:
    """A decision and the candidate that was picked (None where nothing was forwarded)."""

    decision: Decision
    chosen: Candidate | None = None


@dataclass(frozen=True)
class Timeline:
    """A cluster as it changes: (second, cluster) pairs in order, and how many seconds late each place learns of it.

    A still cluster is a timeline of one.
    """

    moments: tuple[tuple[float, Cluster], ...]
    lag: Mapping[Place, float] = field(default_factory=dict)

    @classmethod
    def still(cls, cluster: Cluster) -> Timeline:
        return cls(((0.0, cluster),))

    def seen_by(self, place: Place, now: float = 0.0) -> Cluster:
        """The cluster as `place` knows it at `now`."""
        if len(self.moments) == 1:
            return self.moments[0][1]
        known_until = now - self.lag.get(place, 0.0)
        return self.moments[max(0, bisect_right([t for t, _ in self.moments], known_until) - 1)][1]
