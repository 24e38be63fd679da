"""Requests one after the other, in order of time, with all that is remembered on the way.

An open connection keeps the way it took (conntrack on the node whose rules it met, a load balancer's flow table, the
proxy it ended at) while its pod exists and its entry lasts. ClientIP affinity keeps an address with a pod, per state of
the decision: a Service port on one node, in IPVS mode a virtual server. A balancer that counts is told of each
connection that opens and closes.

With a clock a request is a generator that yields the moment at which it goes on: when its pod is done with it, when the
proxy before that has waited long enough, when a connection is free. What is decided then, such as whom a proxy tries
next, is decided by what is known then. Pods and the replicas of controllers serve in turn (`serving.Station`), also
those for whom nobody waits any more. Until it is answered a request counts for limits and balancers, and these learn
how long it took. Packets take no time, nor does it to find out that one was refused or dropped. In a closed loop each
user sends, waits for the answer, thinks, and sends again.

Without a clock (no times of arrival) all requests come at once, there are no queues, and none that takes any time ends
before the last has come.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import Any

from .balancers.base import forgotten
from .connections import TABLE_FULL, Connection, Connections, End, Way
from .decision import Candidate, Limit, Work
from .failures import failed, tries_of
from .few import np
from .path import MAX_HOPS
from .remembered import Outliers
from .sender import TIMED_OUT, At
from .serving import Station, units

FULL = "queue full"  # the reason of an answer 503 of a pod where as many wait as may


@dataclass(slots=True, eq=False)
class _Proxy:
    """One on a request's way that may try again: where, how much was met and counted before, until when in all; whom it
    tried since when; whether this try has a connection of its `circuit`, or is a retry that counts there."""

    at: At
    depth: int
    held: int
    until: float
    tried: list[Candidate] = field(default_factory=list)
    late: int = 0
    begun: float = 0.0
    connected: bool = False
    retries: bool = False


class InOrder(Connections):
    """One after the other. `think`: (mean, spread, cv) of how long each of `held` users thinks, in a closed loop."""

    def __init__(self, *common: Any, max_age: float | None, think: tuple[float, str, float] | None = None):
        super().__init__(*common, max_age=max_age)
        self.think, self.sent, self.until = think, 0, 0.0
        self._limits: set[Limit] = set()
        self._connections: dict[int, Connection] = {}
        self._ways: dict[tuple, list[int]] = defaultdict(list)
        self._draws = [-1] * self.requests
        self._times = Random(f"{self.seed} times")  # so that picks are the same whatever pods take
        self._going: list[tuple[float, int, Iterator]] = []  # who goes on when, the earliest first
        self._numbers = count()
        self._next = 0.0 if len(self.timeline.instants) > 1 else inf  # change of the cluster
        self._current: Iterator = iter(())
        self.connection = np.arange(self.requests, dtype=np.int64) % (self.held or self.requests)
        self._took = [0.0] * self.requests if self.clock else []
        self.spent: dict[str, Any] = defaultdict(lambda: [0.0] * self.requests)

    # --- time ---

    def run(self) -> None:
        if self.think is not None:
            pause = units(Work(*self.think), Random(f"{self.seed} think"))
            for number in range(self.held or 1):
                self._goes(self._user(number, pause))
        else:
            for request, moment in enumerate(self.time.tolist() if self.clock else [0.0] * self.requests):
                if self.clock:
                    self._pass(moment)
                    self._turn(moment)
                self._goes(self._request(request, request % self.held if self.held else request))
        self._pass(inf)
        self._sums_up()

    def _pass(self, moment: float) -> None:
        """All that happens until then."""
        while self._going and self._going[0][0] <= moment:
            now, _, steps = heappop(self._going)
            self._turn(now)
            self._goes(steps)

    def _turn(self, now: float) -> None:
        self.now = now
        if now >= self._next:
            self.epoch = bisect_right(self.timeline.instants, now) - 1
            self._next = (*self.timeline.instants, inf)[self.epoch + 1]
        while self.lingering and self.lingering[0][0] <= now:
            forgotten(*self.lingering.popleft()[1:])

    def _goes(self, steps: Iterator[float | None]) -> None:
        """One on, to the moment at which it says that it goes on; None: it has ended, or someone else will know."""
        self._current = steps
        moment = next(steps, None)
        if moment is not None:
            self._later(steps, moment)

    def _later(self, steps: Iterator, moment: float) -> None:
        heappush(self._going, (moment, next(self._numbers), steps))

    def _user(self, number: int, pause: Any) -> Iterator[float | None]:
        """One of the users of a closed loop."""
        while self.sent < self.requests:
            request, self.sent = self.sent, self.sent + 1
            self.time[request], self.connection[request] = self.now, number
            yield from self._request(request, number)
            yield self.now + self.think[0] * pause()

    def _request(self, request: int, number: int) -> Iterator[float | None]:
        sent, held = self.now, self.held
        connection = self._connections.get(number) if held else None
        if new := connection is None or not self.goes_on(connection):
            connection = self.open(number, connection)
            if held:
                self._connections[number] = connection
        connection.used, end = sent, connection.end
        way = Way(connection, connection.hops.copy(), [], request, connection.draw)
        if end.action == "forward":
            end = yield from self.follow(way, end.at, True)
            way.release()
        elif end.at.decision.work:
            end = (yield from self._served(way, end.at, sent + (end.at.decision.flow.patience or inf))) or end
        self._ways[way.tries, end, *way.hops].append(request)
        self._draws[request] = way.draw
        if self.clock:
            self._took[request] = self.now - sent
            self.until = self.now
        if new and (not held or connection.failed):
            if way.lasts:
                connection.counted.clear()
            self.close(connection)

    def _served(self, way: Way, at: At, until: float) -> Iterator[float]:
        """Its turn and its time at a place that works; the End of one that finds no room, or is not answered until then
        and nobody waits for it any more."""
        decision, now = at.decision, self.now
        if not self.clock:
            way.lasts = True
            return None
        if at.station is None:
            last = float(self.time[-1]) or inf if self.think is None else inf
            about = (decision.place.name, decision.flow.to, self.timeline, self._times, last)
            at.station = self.kept(Station, decision.place.name, *about)
        done = at.station.serves(decision.work, now)
        if done is None:
            return End(at, "respond", 503 if decision.flow.request else None, reason=FULL)
        dies = at.station.until
        seen = min(done, dies, max(until, now))
        if seen > now:
            yield seen
        self.spent[decision.layer][way.request] += seen - now
        if seen == dies < done:
            return End(at, "reject", reason="its pod died")
        return End(at, "drop", reason=f"{TIMED_OUT} after {decision.flow.patience:g} s") if seen < done else None

    # --- one request ---

    def follow(self, way: Way, at: At, whole: bool) -> Iterator[float | None]:
        hops, proxies, until, epoch, served = way.hops, [], inf, self.epoch, ""
        while True:
            end = None
            if whole and at.works and at.decision.place.name != served:
                served = at.decision.place.name
                end = yield from self._served(way, at, until)
                if end is None and self.clock and at.decision.action == "drop":  # the pod has become faster meanwhile
                    at = self.at((at.key[0], replace(at.key[1], patience=None), at.key[2]))
            if epoch != self.epoch:
                epoch = self.epoch
                at = self.at(at.key) if at.decision.action == "forward" else at
            decision = at.decision
            if end is None:
                if decision.grain == "request" and not whole and (decision.action == "forward" or at.admission):
                    return End(at, "forward")
                end = None if at.passes and len(hops) < MAX_HOPS else self._admitted(way, at, whole)
                if end is None and decision.on_failure:
                    total = decision.on_failure.total
                    proxies.append(_Proxy(at, len(hops), len(way.counted), self.now + total if total else inf))
            while True:
                if end is None:
                    dials = proxies[-1] if decision.on_failure else None
                    index = self.pick(way, at, dials.tried if dials else ())
                    if index is None:
                        end = End(at, "reject", reason=f"{at.policy.name} picks none")
                    else:
                        hops.append((at, index))
                        if dials:
                            dials.begun, served, peer = self.now, "", decision.candidates[index]
                            dials.tried.append(peer)
                            end = (yield from self._connects(dials)) if at.circuit else None
                            until = min(dials.until, self.now + (peer.flow.patience or inf))
                        if end is None:
                            break
                if not proxies:
                    return end
                end = self._tried(way, proxies[-1], end)
                if end is None:
                    at, epoch = proxies[-1].at, self.epoch
                    decision = at.decision
                else:
                    proxies.pop()
            if epoch != self.epoch:  # while it waited for a connection
                to, epoch = decision.candidates[index], self.epoch
                at = self.at((to.place, to.flow, None))
            else:
                at = self.onward(at, index)

    def _admitted(self, way: Way, at: At, whole: bool) -> End | None:
        """The End of one that goes no further than here."""
        decision = at.decision
        if at.admission:
            self._limits.update(decision.limits)
            source, assumed = way.connection.source_at(at), decision.flow.source
            limit, under_way = at.admission.asked(decision.limits, source, assumed, self.now)
            if limit:
                way.draw = -1
                return End(at, "respond" if decision.grain == "request" else "reject", limit.status, limit.name)
            if under_way:
                way.counted.append(partial(at.admission.under_way.subtract, under_way))
        if decision.action != "forward":
            at.end = at.end or End(at, decision.action, decision.status)
            return at.end
        if len(way.hops) == MAX_HOPS:
            return End(at, "drop", reason="goes in circles")
        if at.entry and self.tracks and not whole and not self.enters(way.connection, at):
            return End(at, TABLE_FULL, reason=TABLE_FULL)
        if at.budget:
            at.budget.asked(self.now)
        return None

    def _connects(self, dials: _Proxy) -> Iterator[None]:
        """A connection to the pod that was picked, which it may have to wait for; the End of one that gets none. The
        time for a try begins once it has one, as in Envoy; that for all of them goes on."""
        circuit, peer = dials.at.circuit, dials.tried[-1]
        self._limits.update(dials.at.decision.limits)
        got = circuit.asks(peer.address)
        if got is False and self.clock:
            waits = [self._current, False]
            circuit.queues[peer.address].append(waits)
            if dials.until < inf:
                self._later(self._gives_up(circuit, peer.address, waits), dials.until)
            yield None
            got = waits[1]
            if not got:
                return End(dials.at, "drop", reason=f"{TIMED_OUT} after {dials.at.decision.on_failure.total:g} s")
        dials.connected = got is True
        return End(dials.at, "respond", got.status, got.name) if isinstance(got, Limit) else None

    def _gives_up(self, circuit: Any, peer: str, waits: list) -> Iterator[None]:
        if circuit.leaves(peer, waits):
            self._later(waits[0], self.now)
        yield None

    def _tried(self, way: Way, dials: _Proxy, end: End) -> End | None:
        """What a proxy makes of how its try ended; None: it tries again."""
        at, decision, circuit = dials.at, dials.at.decision, dials.at.circuit
        fails, refused = failed(decision, end.action, end.status), end.limit and end.at is at
        picked = end.at is not at or end.action == "drop"
        dials.late += end.action == "drop"
        if dials.connected and not way.lasts:
            next_ = circuit.over(dials.tried[-1].address, end.action in ("drop", "reject"))
            if next_:
                next_[1] = True
                self._later(next_[0], self.now)
        if circuit:
            circuit.retries -= dials.retries
        dials.connected = dials.retries = False
        if picked and not way.lasts and (at.outliers or (at.policy and at.policy.answered)):
            self._learns(at, dials.tried[-1], fails, end, self.now - dials.begun)
        again = fails and picked and not refused and self.now < dials.until
        again = again and len(dials.tried) < tries_of(decision, dials.late)
        again = again and (not at.budget or at.budget.allowed(self.now))
        if again and (not circuit or circuit.may_retry(end.action == "respond")):
            way.release(dials.held)
            del way.hops[dials.depth :]
            way.tries += 1
            dials.at, dials.retries = self.at(at.key), circuit is not None  # as it is known by now
            if dials.at.decision.action == "forward":
                return None
            if circuit:
                circuit.retries -= 1
            return End(dials.at, dials.at.decision.action, dials.at.decision.status)
        if fails and end.action != "respond":
            return end._replace(action="respond", status=decision.on_failure.answer(end.action))
        return end

    def _learns(self, at: At, peer: Candidate, fails: bool, end: End, seconds: float) -> None:
        """What the proxy notes of an answer that took so long (its status is nothing to a balancer), or of none."""
        if at.policy and at.policy.answered and end.action == "respond":
            at.policy.answered(at.memory, peer, seconds, self.now)
        if at.outliers:
            at.outliers.saw(peer, fails or (end.status or 0) >= 500, at.decision.candidates, self.now)

    # --- what it comes to ---

    def _sums_up(self) -> None:
        retried = any(tries > 1 for tries, *_ in self._ways)
        for (tries, end, *hops), requests in self._ways.items():
            who = np.array(requests)
            for at, index in hops:
                self.ledger.passed(at.decision, at.decision.candidates[index], who)
            if end.limit:
                self.ledger.put("refused_by", who, end.limit)
            if retried:
                self.ledger.put("tries", who, str(tries))
            self.ledger.ended(end.at.decision, end.action, end.status, who, end.reason or end.limit)
        self.notes += self._noted(sum((tries - 1) * len(requests) for (tries, *_), requests in self._ways.items()))
        draws = np.array(self._draws)
        names, carried = np.array(self.drawn), np.bincount(draws[draws >= 0], minlength=len(self.drawn))
        self.picks.update(self.drawn)
        for name in self.used:
            mine = carried[names == name].astype(float)
            self.alike[name] = mine.sum() ** 2 / max(1.0, (mine**2).sum())
        self.latency = np.array(self._took) if self.clock else None
        self.spent = {layer: np.array(seconds) for layer, seconds in self.spent.items()}
        stations = [kept for kept in self._kept.values() if isinstance(kept, Station)]
        last = self.clock and (float(self.time[-1]) or self.until)
        self.worked = {station.address: station.worked(last) for station in stations}

    def _noted(self, retries: int) -> Iterator[str]:
        if users := len(self.users):
            yield f"{users:,} users who keep their cookies" if users > 1 else "one user, who keeps the cookie"
        if retries:
            yield f"{retries:,} retr{'ies' if retries > 1 else 'y'}"
        timed = any(at.decision.takes for at in self._known.values())
        if not self.clock and any(limit.kind == "rate" or timed for limit in self._limits):
            yield "without a rate they come all at once, which is what the limits see"
        open_ = {x.name for x in self._limits if x.kind in ("connections", "requests", "pending") and not timed}
        for name in sorted(open_.difference(self.ledger.columns["refused_by"][0])):
            yield f"{name} refused nobody, as pods take no time to answer here"
        if ejections := sum(kept.ejections for kept in self._kept.values() if isinstance(kept, Outliers)):
            ever = "" if self.clock else " for good, as no time passes without a rate"
            yield f"{ejections:,} ejection{'s' * (ejections > 1)}{ever}"
