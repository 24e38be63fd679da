"""The small vocabulary all layers share: a place, a decision with its candidates, a hop, a timeline.

A layer answers one question, `decide(view, flow, place, now) -> Decision`, and has no memory: what is remembered
between decisions (conntrack, ClientIP affinity, counters) the decision declares and the engine keeps, per place.
"""

from bisect import bisect_right
from collections import UserList
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any, Literal, NamedTuple, Self

from .cluster import Cluster
from .endpoints import Endpoint
from .errors import InputError, shown
from .objects import Object, Pod
from .traffic import Flow

Action = Literal["forward", "reject", "drop", "respond", "unresolved"]
Grain = Literal["connection", "request"]


class Place(NamedTuple):
    """Where something happens, and whose state it uses: kind "outside", "cloud-lb", "node", "pod" or "endpoint"."""

    kind: str
    name: str

    def __str__(self) -> str:
        return self.name


def pod_place(pod: Pod) -> Place:
    return Place("pod", f"{pod.namespace}/{pod.name}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way the flow can go on: where, and how it looks there."""

    name: str
    address: str
    place: Place
    flow: Flow
    weight: int = 1


def to_endpoint(view: Cluster, endpoint: Endpoint, flow: Flow) -> Candidate:
    """The way of `flow` to an endpoint: to its pod, where the input has one there."""
    pod = view.pod_behind(endpoint.ip, endpoint.port)
    place = pod_place(pod) if pod else Place("endpoint", endpoint.ip)
    onward = replace(flow, destination=endpoint.ip, port=endpoint.port)
    return Candidate(pod.name if pod else endpoint.name or endpoint.ip, endpoint.address, place, onward)


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


class Lazily(UserList):
    """A list that is made when it is first looked into: `make` gives its items. For what only explains a decision."""

    def __init__(self, make: Callable[[], Iterable]):
        self._make = make

    @cached_property
    def data(self) -> list:
        return list(self._make())


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of a decision, so that it is not taken again: by `key`, for `timeout` seconds after its last
    use (`unused`: after its only use, where that differs), for at most `capacity` keys (None: no limit).

    "cookie": the client brings back what it was given (`key` names the cookie): the text a hash works on where the
    balancer hashes, else the candidate. `stays`: when that fails, it is tried again rather than another."""

    kind: Literal["conntrack", "ClientIP", "cookie"]
    key: str
    timeout: float | None = None
    capacity: int | None = None
    unused: float | None = None
    stays: bool = field(default=False, repr=False)


@dataclass(frozen=True, slots=True)
class Limit:
    """What a place admits of each `key` (such as a client's address) before it answers `status` itself (0: refuses).

    So many requests a second (`rate`) and `burst` more at once; kind "connections": `burst` at once. `name` is the
    setting. Where a place decides twice, one of the two decisions declares it; one that answers itself may as well.

    The others are a proxy's circuit breakers for one backend: how many requests are under way there at once
    ("requests"), how many retries ("retries"; or the part `rate` of what is under way, if that is more), how many
    connections carry one request each ("pool"), and how many requests wait for one of them ("pending").
    """

    kind: Literal["rate", "connections", "requests", "retries", "pool", "pending"]
    key: str
    burst: int
    rate: float = 0.0
    status: int = 503
    name: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many retries there may be: `ratio` of the requests of the last `window` seconds, and `floor` a second."""

    ratio: float
    floor: float = 0.0
    window: float = 10.0


@dataclass(frozen=True, slots=True)
class OnFailure:
    """What a proxy does when the chosen peer fails: `tries` in all, then the status for a refusal or a time-out.

    An answer of one of `statuses` is a failure too, for the `methods` named (empty: all); the last one goes to the
    client. Whether one is tried again while others are left, its balancer says. `late`: how many tries may time out,
    where the whole request has its time too (the tries' time-outs use it up; None: all of them). `total`: that time, in
    seconds (0: any).
    """

    tries: int = 1
    refused: int = 502
    timed_out: int = 504
    statuses: frozenset[int] = frozenset()
    methods: frozenset[str] = frozenset()
    budget: Budget | None = None
    late: int | None = None
    total: float = 0.0

    def answer(self, action: str) -> int:
        """The status for a peer that refused ("reject") or stayed silent."""
        return self.refused if action == "reject" else self.timed_out


@dataclass(frozen=True, slots=True)
class Ejects:
    """Outlier detection: a peer is left out for `base` seconds (each time longer, up to `longest`) after `consecutive`
    failures, while 100 * (ejected + 1) / peers is at most `percent`; when fewer than `panic` percent are left, all are
    used. The defaults are Envoy's (1.40, outlier_detection.proto)."""

    consecutive: int = 5
    interval: float = 10.0
    base: float = 30.0
    longest: float = 300.0
    percent: float = 10.0
    panic: float = 50.0
    at_least_one: bool = False


@dataclass(frozen=True, slots=True)
class Warmup:
    """Slow start: for `window` seconds after it came a peer has max(`least`, (seconds / window) ** (1 / `aggression`))
    of its weight (Envoy 1.40, edf_lb_base: applySlowStartFactor)."""

    window: float
    least: float = 0.1
    aggression: float = 1.0

    def weight(self, seconds: float) -> float:
        return 1.0 if seconds >= self.window else max(self.least, (seconds / self.window) ** (1 / self.aggression))


@dataclass(frozen=True, slots=True)
class Work:
    """What a request costs where it is served: `mean` seconds of one of `workers` (`cv`: standard deviation over mean).

    Where all are busy it waits its turn. `queue`: how many may wait (None: any number); one more is answered 503. For
    `cold` seconds after it became ready a pod works at `speed` of its full speed.
    """

    mean: float
    spread: Literal["constant", "exponential", "lognormal"] = "constant"
    cv: float = 0.0
    workers: int = 1
    queue: int | None = None
    cold: float = 0.0
    speed: float = 1.0


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
    rejected: Sequence[Rejected] = ()
    balancer: str | Callable | None = None  # a name, or a function of one's own
    state: tuple | None = None
    remembers: tuple[Memory, ...] = ()
    on_failure: OnFailure | None = None
    limits: tuple[Limit, ...] = ()
    ejects: Ejects | None = None
    warmup: Warmup | None = None
    key_text: str = ""  # what a hash works on in place of the request's path
    status: int | None = None
    work: Work | None = None
    reason: str = ""  # why it is not answered, in a few words
    rule: str = ""
    rules: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def takes(self) -> float:
        """The seconds that one request takes here on average, or until nobody waits for it any more."""
        return (self.flow.patience if self.action == "drop" else self.work.mean) if self.work else 0.0

    @property
    def splits(self) -> bool:
        """Whether it picks one of several backends (see `upstream.among`), whose pod is picked after it."""
        return any(c.flow.backend is not None and c.place == self.place for c in self.candidates)


@dataclass(frozen=True, slots=True)
class Hop:
    """A decision and the candidate that was picked (None where nothing was forwarded)."""

    decision: Decision
    chosen: Candidate | None = None


@dataclass(frozen=True)
class Timeline:
    """A cluster as it changes, and as each place learns of it: (second, cluster) pairs in order, and `lag`, by how many
    seconds who is late.

    Who: a place, its name ("node-b"), what it does ("ingress", "gateway", "mesh") or its kind ("node", "pod",
    "cloud-lb"); the first of these that is there counts, and nobody else is late. What really answers at a place is
    seen `at` once. A still cluster is a timeline of one.
    """

    moments: tuple[tuple[float, Cluster], ...]
    lag: Mapping[Place | str, float] = field(default_factory=dict)

    @classmethod
    def still(cls, cluster: Cluster) -> Self:
        return cls(((0.0, cluster),))

    @classmethod
    def changing(cls, first: Cluster, becomes: "Mapping[float, Cluster] | Timeline") -> "Timeline":
        """`first`, and the clusters it becomes after so many seconds; a Timeline is one already. InputError for what is
        no such mapping, and for another cluster's Timeline."""
        if isinstance(becomes, Timeline):
            if becomes.moments[0][1] is not first:
                raise InputError("this is the change of another cluster", expected="a change made from this very one")
            return becomes
        if not isinstance(becomes, Mapping):
            expected = "{SECONDS: CLUSTER, ...}, or what rollout, drain, ... give"
            raise InputError(f"{shown(becomes)} is no change over time", expected=expected)
        for after, cluster in becomes.items():
            if not (isinstance(after, (int, float)) and 0 < after < 1e12 and isinstance(cluster, Cluster)):
                told = f"{shown(after)}: {shown(type(cluster).__name__)} is no change over time"
                raise InputError(told, expected="seconds above 0, and the cluster from then on")
        return cls(((0.0, first), *((float(t), becomes[t]) for t in sorted(becomes))))

    @cached_property
    def instants(self) -> list[float]:
        """The seconds, from 0 on, between which no place learns of a change."""
        lags = {0.0, *self.lag.values()}
        return sorted({0.0} | {t + lag for t, _ in self.moments[1:] for lag in lags})

    @cached_property
    def _times(self) -> list[float]:
        return [t for t, _ in self.moments]

    def at(self, now: float = 0.0) -> Cluster:
        """The cluster as it is at `now`: what is really there to answer."""
        return self.moments[max(0, bisect_right(self._times, now) - 1)][1]

    def seen_by(self, place: Place, now: float = 0.0, role: str = "") -> Cluster:
        """The cluster as `place` knows it at `now`; `role`: what it does there."""
        lag = next((self.lag[who] for who in (place, place.name, role, place.kind) if who in self.lag), 0.0)
        return self.at(now - lag + 1e-9)  # so that what is learned at an instant is known at it

    def spans(self, of: Callable[[float], object]) -> list[tuple[float, float, Any]]:
        """(from second, to second, what `of` is then) from 0 to inf, without a break where it stays the same."""
        found: list[tuple[float, float, Any]] = []
        for now, until in zip(self.instants, [*self.instants[1:], inf], strict=True):
            it = of(now)
            begin = found.pop()[0] if found and found[-1][2] == it else now
            found.append((begin, until, it))
        return found

    @property
    def told(self) -> str:
        """What happens, as a sentence goes on."""
        return "the cluster changed after " + ", ".join(f"{t:g}" for t in self._times[1:]) + " s"
