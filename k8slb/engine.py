"""Many requests at once.

A million requests meet only a few dozen different decisions: those that stand at the same place with the same flow
share one. While the cluster is still and nothing but connections is remembered, balancers that are memoryless or take
turns pick for all of them in one array operation. Everything else goes one after the other (`memory.InOrder`).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .balancers.base import Balancer
from .clients import Clients, clients_of
from .decision import Decision, Timeline
from .errors import InputError, shown, whole
from .failures import failed, tries_of
from .memory import InOrder
from .path import MAX_HOPS, MAX_SEED, Start, in_circles
from .sender import At, Sender

MAX_REQUESTS = 20_000_000


@dataclass(frozen=True)
class Run:
    """What became of each request, as arrays: `columns` maps a column's name to (names, code of each request).

    Code -1 stands for nothing (a request that never got there). `time` is in seconds where there was a rate.
    `counters` says which balancers picked, in the order of the way, at how many places each; `picks` how often, and
    `alike` how many picks of equal weight would spread the requests as much (fewer where some picks carry more).
    `reset` and `aged` count connections that were opened anew, because what they led to was gone or for their age.
    `notes` say what was remembered otherwise: cookies, retries, ejections, what a limit saw.
    """

    requests: int
    connections: int
    connection: np.ndarray
    time: np.ndarray | None
    columns: dict[str, tuple[list[str], np.ndarray]]
    clients: Clients
    counters: Mapping[str, int] = field(default_factory=dict)
    picks: Mapping[str, int] = field(default_factory=dict)
    alike: Mapping[str, float] = field(default_factory=dict)
    reset: int = 0
    aged: int = 0
    notes: tuple[str, ...] = ()
    balancers: Mapping[str, Balancer] = field(default_factory=dict)


class _Remembers(Exception):
    """What happens next depends on what happened before: only requests in order of arrival can tell."""


def send(
    timeline: Timeline,
    begin: Start,
    requests: int,
    connections: int | None = None,
    rate: float | None = None,
    duration: float | None = None,
    seed: int = 0,
    clients: int = 1,
    behind_nat: float = 0.0,
    max_age: float | None = None,
) -> Run:
    """Send `requests` over `connections` (each request its own where None; requests take them in turn, as connections
    take the clients).

    `rate` (per second) gives the requests Poisson arrival times, `duration` (seconds) their number as rate * duration.
    Raises InputError for numbers that cannot be.
    """
    requests = _how_many(requests, rate, duration, max_age)
    held = None if connections is None else min(requests, whole(connections, "connections", 1, MAX_REQUESTS))
    seed = whole(seed, "the seed", 0, MAX_SEED)
    views = [cluster for _, cluster in timeline.moments]
    for what, given in (("a change over time", len(views) > 1), ("max_age", max_age is not None)):
        if given and rate is None:
            raise InputError(f"{what} needs times of arrival", expected="rate=REQUESTS_PER_SECOND")
    who = clients_of(views, begin, clients, behind_nat)
    if held is not None and held < min(who.users, requests):
        problem = f"{held:,} connections are too few for {who.users:,} clients"
        raise InputError(problem, expected="at least one for each")
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.exponential(1 / rate, requests)) if rate else None
    connection = np.arange(requests, dtype=np.int64) % (held or requests)
    common = (timeline, who, requests, held, time, seed)
    try:
        if max_age is not None or len(views) > 1:
            raise _Remembers
        sender: Sender = _AtOnce(*common, connection=connection, arrays=rng)
        sender.run()
    except _Remembers:
        sender = InOrder(*common, max_age=max_age)
        sender.run()
    columns = {name: (list(names), codes) for name, (names, codes) in sender.ledger.columns.items() if names}
    if who.users > 1:
        columns["client"] = (list(who.addresses), who.address_of[connection % who.users].astype(np.int32))
    counters = {name: len(places) for name, places in sender.used.items()}
    picked = (counters, sender.picks, sender.alike, sender.reset, sender.aged, tuple(sender.notes), sender.balancers)
    return Run(requests, held or requests, connection, time, columns, who, *picked)


def _how_many(requests: int, rate: float | None, duration: float | None, max_age: float | None) -> int:
    for number, what in ((rate, "rate"), (duration, "duration"), (max_age, "max_age")):
        if number is not None and not (type(number) in (int, float) and 1e-9 < number < 1e12):
            raise InputError(f"{shown(number)} is no {what}", expected="a number above 0")
    if duration is not None:
        if rate is None:
            raise InputError("a duration needs a rate", expected="rate=REQUESTS_PER_SECOND")
        requests = max(1, round(rate * duration))
    return whole(requests, "requests", 1, MAX_REQUESTS)


class _AtOnce(Sender):
    """All requests hop by hop, those at one place with one flow together."""

    def __init__(self, *common: Any, connection: np.ndarray, arrays: np.random.Generator):
        super().__init__(*common)
        self.connection, self.arrays, self.alike = connection, arrays, self.picks

    def run(self) -> None:
        who, everyone = self.clients, np.arange(self.requests)
        of = who.start_of[who.address_of[self.connection % who.users]] if len(who.starts) > 1 else None
        standing: dict[tuple[At, At | None], list[np.ndarray]] = defaultdict(list)  # (where, the proxy that sent it)
        for i, start in enumerate(who.starts):
            mine = everyone if of is None else everyone[of == i]
            if len(mine):
                standing[self.at((start.place, start.flow, start.via)), None].append(mine)
        for hop in range(MAX_HOPS + 1):
            moving: dict[object, list[tuple[At, At | None, np.ndarray]]] = defaultdict(list)
            for (at, proxy), parts in standing.items():
                mine = parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))
                decision = in_circles(at.decision) if hop == MAX_HOPS else at.decision
                if decision.limits:
                    raise _Remembers
                if decision.action == "forward":
                    moving[at.state].append((at, proxy, mine))
                else:
                    answers = proxy and failed(proxy.decision, decision.action, None)
                    status = proxy.decision.on_failure.answer(decision.action) if answers else decision.status
                    self.ledger.ended(decision, "respond" if answers else decision.action, status, mine)
            standing = defaultdict(list)
            for several in moving.values():
                together = np.sort(np.concatenate([m for *_, m in several])) if len(several) > 1 else several[0][2]
                picks = self._picks(several[0][0], several[0][1] is not None, together)
                for at, proxy, mine in several:
                    own = picks if len(several) == 1 else picks[np.searchsorted(together, mine)]
                    for index, chosen in _split(mine, own, len(at.onward)):
                        self.ledger.passed(at.decision, at.decision.candidates[index], chosen)
                        standing[self.onward(at, index), at if at.decision.on_failure else proxy].append(chosen)

    def _picks(self, at: At, proxied: bool, who: np.ndarray) -> np.ndarray:
        """The index of the candidate for each request in `who`: one pick per connection, or per request at L7."""
        entry, held, lasting = at.entry, self.held, self.held and self.time is not None and self.time[-1]
        if at.affinity or (entry and held and (held > entry.capacity or lasting > (entry.unused or entry.timeout))):
            raise _Remembers
        if at.cookie or ((tries_of(at.decision) > 1 or at.outliers) and self._may_fail(at.decision, at, 5)):
            raise _Remembers
        if len(at.onward) == 1 or at.policy is None:
            return np.zeros(len(who), dtype=np.int8)
        if at.decision.layer != "pods":
            self.picked_by(at)
        if at.decision.grain == "request" or proxied or held in (None, self.requests):  # a proxy dials for each request
            return self._draw(at, len(who))
        first, which = np.unique(self.connection[who], return_inverse=True)
        return self._draw(at, len(first))[which]

    def _may_fail(self, proxy: Decision, at: At, depth: int) -> bool:
        """Whether what it leads to may be a failure, which the proxy's next pick depends on: a try uses up a turn, a
        peer is ejected."""
        end = at.decision
        if end.action == "forward":
            return depth > 0 and any(
                self._may_fail(proxy, self.onward(at, i), depth - 1) for i in range(len(at.onward))
            )
        return failed(proxy, end.action, end.status) or bool(proxy.ejects and (end.status or 0) >= 500)

    def _draw(self, at: At, units: int) -> np.ndarray:
        """Picks for `units` arrivals in a row, as the balancer's own `pick` would give them."""
        policy, peers, count = at.policy, at.decision.candidates, len(at.onward)
        if at.decision.layer != "pods":
            self.picks[policy.name] += units
        if policy.memoryless and len({p.weight for p in peers}) == 1:
            return self.arrays.integers(0, count, units, dtype=np.int16 if count < 30_000 else np.int32)
        if policy.memoryless:
            reached = np.cumsum([float(share) for share in policy.exact(peers, None)])
            return np.searchsorted(reached[:-1], self.arrays.random(units), side="right")
        if not policy.cycle or not all(p.weight for p in peers):
            raise _Remembers
        state = at.memory
        first = policy.pick(peers, state, self.rng, None, 0.0)
        state["at"] = (first + policy.cycle * (units - 1)) % count
        return ((first + policy.cycle * np.arange(units, dtype=np.int64)) % count).astype(np.int32)


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
