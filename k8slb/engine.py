"""Many requests at once: memory between decisions, and picks in order of arrival.

A million requests meet only a few dozen different decisions: those that stand at the same place with the same flow
share one. Balancers without memory then pick for all of them in one array operation; the others pick one after the
other, per place and Service port, as they do in reality.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random

import numpy as np

from .balancers import balancer
from .decision import Candidate, Decision, Place, Timeline
from .errors import InputError, shown, whole
from .path import MAX_HOPS, MAX_SEED, Start, decide, gave_up, in_circles
from .traffic import Flow

MAX_REQUESTS = 20_000_000


@dataclass(frozen=True)
class Run:
    """What became of each request, as arrays: `columns` maps a column's name to (names, code of each request).

    Code -1 stands for nothing (a request that never got there). `time` is in seconds where there was a rate.
    `counters` says which balancers picked, in the order of the way, at how many places each; `picks` how often.
    """

    requests: int
    connections: int
    connection: np.ndarray
    time: np.ndarray | None
    columns: dict[str, tuple[list[str], np.ndarray]]
    counters: Mapping[str, int] = field(default_factory=dict)
    picks: Mapping[str, int] = field(default_factory=dict)


class _Column:
    """One column being filled: the names met so far and each request's code."""

    def __init__(self, requests: int):
        self.names: dict[str, int] = {}
        self.codes = np.full(requests, -1, dtype=np.int32)

    def put(self, who: np.ndarray, name: str) -> None:
        self.codes[who] = self.names.setdefault(name, len(self.names))


@dataclass
class _Group:
    """Requests that stand at the same place with the same flow, in order of arrival; the proxy that sent them there."""

    who: np.ndarray
    proxy: Decision | None = None


def send(
    timeline: Timeline,
    begin: Start,
    requests: int,
    connections: int | None = None,
    rate: float | None = None,
    duration: float | None = None,
    seed: int = 0,
) -> Run:
    """Send `requests` over `connections` (each request its own where None; requests take them in turn).

    `rate` (per second) gives the requests Poisson arrival times, `duration` (seconds) their number as rate * duration.
    Raises InputError for numbers that cannot be.
    """
    requests = _how_many(requests, rate, duration)
    connections = requests if connections is None else whole(connections, "connections", 1, MAX_REQUESTS)
    connections, seed = min(connections, requests), whole(seed, "the seed", 0, MAX_SEED)
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.exponential(1 / rate, requests)) if rate else None
    connection = np.arange(requests, dtype=np.int64) % connections
    return _Sender(timeline, begin, connection, connections, time, rng, seed).run()


def _how_many(requests: int, rate: float | None, duration: float | None) -> int:
    for number, what in ((rate, "rate"), (duration, "duration")):
        if number is not None and not (type(number) in (int, float) and 1e-9 < number < 1e12):
            raise InputError(f"{shown(number)} is no {what}", expected="a number above 0")
    if duration is not None:
        if rate is None:
            raise InputError("a duration needs a rate", expected="rate=REQUESTS_PER_SECOND")
        requests = max(1, round(rate * duration))
    return whole(requests, "requests", 1, MAX_REQUESTS)


class _Sender:
    def __init__(self, timeline, begin, connection, connections, time, rng, seed):
        self.timeline, self.begin, self.connection, self.connections = timeline, begin, connection, connections
        self.time, self.rng, self.scalar = time, rng, Random(seed)
        self.own_connections = connections == len(connection)
        self.columns: dict[str, _Column] = defaultdict(lambda: _Column(len(connection)))
        self.memory: dict[tuple, dict] = {}
        self.used: dict[str, set] = {}
        self.picked: Counter[str] = Counter()

    def run(self) -> Run:
        everyone = np.arange(len(self.connection))
        groups = {(self.begin.place, self.begin.flow): _Group(everyone)}
        via = self.begin.via
        for hop in range(MAX_HOPS + 4):
            decided = {at: decide(self.timeline, *at, via) for at in groups}
            if hop >= MAX_HOPS:
                decided = {at: in_circles(d) for at, d in decided.items()}
            onward: dict[tuple[Place, Flow], list[_Group]] = defaultdict(list)
            ends = {at: d for at, d in decided.items() if d.action != "forward"}
            for at, decision in ends.items():
                self._end(groups[at], decision)
            moving = defaultdict(list)
            for at, decision in decided.items():
                if at not in ends:
                    kept_by_client = any(m.kind == "ClientIP" for m in decision.remembers)
                    state = (decision.state, decision.flow.source) if kept_by_client else decision.state or at
                    moving[state].append((groups[at], decision))
            for state, several in moving.items():
                self._forward(state, several, onward)
            groups = {at: _merged(parts) for at, parts in onward.items()}
            if not groups:
                break
            if any(d.layer != "dns" for d in decided.values()):
                via = None
        names = {name: (list(c.names), c.codes) for name, c in self.columns.items()}
        return Run(
            len(self.connection),
            self.connections,
            self.connection,
            self.time,
            names,
            {b: len(places) for b, places in self.used.items()},
            self.picked,
        )

    def _forward(self, state: object, several: list[tuple[_Group, Decision]], onward: dict) -> None:
        """One pick for each unit of all the groups that share a balancer's state, in order of arrival."""
        who = np.concatenate([g.who for g, _ in several]) if len(several) > 1 else several[0][0].who
        part = np.repeat(np.arange(len(several)), [len(g.who) for g, _ in several]) if len(several) > 1 else None
        if part is not None:
            order = np.argsort(who, kind="stable")
            who, part = who[order], part[order]
        decision = several[0][1]
        via = self.begin.via if decision.layer == "dns" else None
        lost = (
            [decide(self.timeline, c.place, c.flow, via).action in ("reject", "drop") for c in decision.candidates]
            if decision.on_failure and len(decision.candidates) > 1
            else []
        )
        picks = (
            self._until_served(decision, len(who), state, lost)
            if any(lost)
            else self._picks(decision, several, who, state)
        )
        for i, (group, d) in enumerate(several):
            mine = picks if part is None else picks[part == i]
            for index, chosen in _split(group.who, mine, len(d.candidates)):
                candidate = d.candidates[index]
                self._note(d, candidate, chosen)
                onward[candidate.place, candidate.flow].append(_Group(chosen, d if d.on_failure else group.proxy))

    def _picks(self, decision: Decision, several: list, who: np.ndarray, state: object) -> np.ndarray:
        """The index of the candidate for each request in `who`: one pick per connection, or per request at L7."""
        if len(decision.candidates) == 1 or decision.balancer is None:
            return np.zeros(len(who), dtype=np.int8)
        self.used.setdefault(decision.balancer, set()).add(decision.place)
        if any(m.kind == "ClientIP" for m in decision.remembers):
            kept = self.memory.setdefault((state, "ClientIP"), {})
            if "index" not in kept:
                kept["index"] = int(self._draw(decision, 1, state)[0])
            return np.full(len(who), kept["index"])
        behind_proxy = several[0][0].proxy is not None  # its connections are its own: taken as one for each request
        if decision.grain == "request" or self.own_connections or behind_proxy:
            return self._draw(decision, len(who), state)
        first, which = np.unique(self.connection[who], return_inverse=True)
        return self._draw(decision, len(first), state)[which]

    def _until_served(self, decision: Decision, units: int, state: object, lost: list[bool]) -> np.ndarray:
        """Picks of a proxy some of whose peers refuse: a failed try uses up a turn, then the next is tried."""
        policy, weights = balancer(decision.balancer), [c.weight for c in decision.candidates]
        memory, tries = self.memory.setdefault(state, {}), min(decision.on_failure.tries, len(lost))
        self.used.setdefault(decision.balancer, set()).add(decision.place)
        picks = np.empty(units, dtype=np.int32)
        for unit in range(units):
            for _ in range(tries):
                picks[unit] = policy.pick(weights, memory, self.scalar, None, 0.0)
                if not lost[picks[unit]]:
                    break
        return picks

    def _draw(self, decision: Decision, units: int, state: object) -> np.ndarray:
        """Picks for `units` arrivals in a row. The shortcuts give what the balancer's own `pick` would give."""
        policy, count = balancer(decision.balancer), len(decision.candidates)
        self.picked[policy.name] += units
        weights = [c.weight for c in decision.candidates]
        if policy.memoryless and len(set(weights)) == 1:
            return self.rng.integers(0, count, units, dtype=np.int16 if count < 30_000 else np.int32)
        memory = self.memory.setdefault(state, {})
        if policy.cycle and units > 1:
            first = policy.pick(weights, memory, self.scalar, None, 0.0)
            memory["at"] = (first + policy.cycle * (units - 1)) % count
            return ((first + policy.cycle * np.arange(units, dtype=np.int64)) % count).astype(np.int32)
        return np.array([policy.pick(weights, memory, self.scalar, None, 0.0) for _ in range(units)])

    def _note(self, decision: Decision, candidate: Candidate, who: np.ndarray) -> None:
        if decision.layer == "kube-proxy":
            self.columns["node"].put(who, decision.place.name)
        elif decision.layer == "cloud-lb":
            self.columns["node"].put(who, candidate.name)
        elif decision.layer == "ingress":
            self.columns["ingress_pod"].put(who, decision.flow.to)

    def _end(self, group: _Group, decision: Decision) -> None:
        """The last decision for these requests; where what a proxy dialled failed, the proxy answers."""
        if decision.layer == "ingress":
            self.columns["ingress_pod"].put(group.who, decision.flow.to)
        if decision.action in ("reject", "drop") and group.proxy:
            decision = gave_up(group.proxy, decision, min(group.proxy.on_failure.tries, len(group.proxy.candidates)))
        if decision.action == "respond":
            if decision.layer == "pods":
                self.columns["pod"].put(group.who, decision.flow.to)
            self.columns["status"].put(group.who, str(decision.status or "open"))
        else:
            self.columns["lost"].put(group.who, decision.action)


def _split(who: np.ndarray, picks: np.ndarray, count: int) -> Iterator[tuple[int, np.ndarray]]:
    """(index, the requests that picked it, in order of arrival) for every candidate that was picked."""
    if count == 1:
        yield 0, who
        return
    ordered = who[np.argsort(picks, kind="stable")]
    ends = np.cumsum(np.bincount(picks, minlength=count))
    for index, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if end > begin:
            yield index, ordered[begin:end]


def _merged(parts: list[_Group]) -> _Group:
    """Groups that meet again at one place, in order of arrival."""
    if len(parts) == 1:
        return parts[0]
    return _Group(np.sort(np.concatenate([p.who for p in parts])), parts[0].proxy)
