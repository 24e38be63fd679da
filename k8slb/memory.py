"""Requests one after the other, in order of arrival, with all that is remembered on the way.

An open connection keeps the way it took (conntrack on the node whose rules it met, a load balancer's flow table, the
proxy it ended at) while its pod exists and its entry lasts. ClientIP affinity keeps an address with a pod, per state of
the decision: a Service port on one node, in IPVS mode a virtual server. A balancer that counts is told of each
connection that opens and closes.

A request is under way for as long as its pod takes (`k8slb/service-time`), however many others the pod has: there are
no queues. So long it counts for limits and balancers, and its answer teaches them nothing. Without times of arrival all
requests come at once, and none that takes any time ends before the last has come. All tries of a request are picked as
it comes, by what is known then.
"""

from bisect import bisect_right
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from .balancers.base import closed, forgotten, opened
from .decision import Candidate, Limit, Place, pod_place
from .endpoints import of_port
from .failures import failed, tries_of, untried
from .path import MAX_HOPS, key_of
from .remembered import Affinity, Outliers
from .sender import At, Sender

TABLE_FULL = "conntrack table full"  # what the column `lost` says of a connection that found no room
PORTS = (32768, 28232)  # the first port a client dials from, and how many there are (Linux: ip_local_port_range)
LINGERS = 120.0  # seconds that IPVS goes on counting a connection that was closed


class _End(NamedTuple):
    """Where a request ends, what who sent it there sees of it (action and status), and the limit that refused it."""

    at: At
    action: str
    status: int | None = None
    limit: str = ""


@dataclass(slots=True, eq=False)
class _Connection:
    """A client's connection: the way it took, and its end, where each of its requests goes on if it is "forward"."""

    user: int
    source: str
    port: int
    assumed: str  # the address by which the decisions know its client
    opened: float
    used: float
    epoch: int
    end: _End
    draw: int = -1
    rules: At | None = None  # the kube-proxy rules whose node has an entry of it
    hops: list[tuple[At, int]] = field(default_factory=list)
    counted: list[Callable] = field(default_factory=list)  # what to do when it closes

    @property
    def failed(self) -> bool:
        return self.end.action not in ("forward", "respond")


class InOrder(Sender):
    """One after the other."""

    def __init__(self, *common: Any, max_age: float | None):
        super().__init__(*common)
        self.max_age, self.now, self.draw = max_age, 0.0, -1  # draw: the last pick on the way
        self.drawn: list[str] = []  # the balancer of each pick
        self._texts: dict[tuple[int, tuple], str] = {}  # in users' cookies
        self._fresh: set[tuple] = set()  # the cookies that are given in answer to this request
        self._users: set[int] = set()  # who have one
        self._limits: set[Limit] = set()
        self.tries = 1
        self._tables: dict[Place, OrderedDict[_Connection, None]] = defaultdict(OrderedDict)
        self._address_of, self._start_of = self.clients.address_of.tolist(), self.clients.start_of.tolist()
        starts = [(start.place, start.flow, start.via) for start in self.clients.starts]
        self._start_at = cache(lambda which, epoch: self.at(starts[which], epoch))
        self._dialled: Counter[int] = Counter()
        self.spent = 0.0  # seconds that the request has taken so far
        self._ending: list[tuple[float, int, Callable]] = []  # what happens then, the earliest first
        self._numbers = count()
        self._lingering: deque[tuple[float, dict, Candidate]] = deque()

    def run(self) -> None:
        connections: dict[int, _Connection] = {}
        ways: dict[tuple, list[int]] = defaultdict(list)
        times, draw_of = self.time if self.time is None else self.time.tolist(), np.full(self.requests, -1)
        for request in range(self.requests):
            if times:
                while self._ending and self._ending[0][0] <= times[request]:
                    self.now, _, happens = heappop(self._ending)
                    happens()
                self.now = times[request]
                self.epoch = bisect_right(self.timeline.instants, self.now) - 1
                while self._lingering and self._lingering[0][0] <= self.now:
                    forgotten(*self._lingering.popleft()[1:])
            number = request % self.held if self.held else request
            connection = connections.get(number)
            if new := connection is None or not self._goes_on(connection):
                connection = self._open(number, connection)
                if self.held:
                    connections[number] = connection
            ways[self._deliver(connection)].append(request)
            draw_of[request] = self.draw
            if new and (not self.held or connection.failed):
                self._close(connection, self.spent)
        retried = any(tries > 1 for tries, *_ in ways)
        for (tries, end, *hops), requests in ways.items():
            who = np.array(requests)
            for at, index in hops:
                self.ledger.passed(at.decision, at.decision.candidates[index], who)
            if end.limit:
                self.ledger.put("refused_by", who, end.limit)
            if retried:
                self.ledger.put("tries", who, str(tries))
            self.ledger.ended(end.at.decision, end.action, end.status, who)
        self.notes += self._noted(sum((tries - 1) * len(requests) for (tries, *_), requests in ways.items()))
        names, carried = np.array(self.drawn), np.bincount(draw_of[draw_of >= 0], minlength=len(self.drawn))
        self.picks.update(self.drawn)
        for name in self.used:
            mine = carried[names == name].astype(float)
            self.alike[name] = mine.sum() ** 2 / max(1.0, (mine**2).sum())

    def _noted(self, retries: int) -> Iterator[str]:
        if users := len(self._users):
            yield f"{users:,} users who keep their cookies" if users > 1 else "one user, who keeps the cookie"
        if retries:
            yield f"{retries:,} retr{'ies' if retries > 1 else 'y'}"
        timed = any(at.decision.takes for at in self._known.values())
        if self.time is None and any(limit.kind == "rate" or timed for limit in self._limits):
            yield "without a rate they come all at once, which is what the limits see"
        open_ = {limit.name for limit in self._limits if limit.kind == "connections" and not timed}
        for name in sorted(open_.difference(self.ledger.columns["refused_by"][0])):
            yield f"{name} refused nobody, as pods take no time to answer here"
        if ejections := sum(kept.ejections for kept in self._kept.values() if isinstance(kept, Outliers)):
            ever = "" if self.time is not None else " for good, as no time passes without a rate"
            yield f"{ejections:,} ejection{'s' * (ejections > 1)}{ever}"

    def _open(self, number: int, before: _Connection | None) -> _Connection:
        """A new connection, and what is decided once for all of it. A UDP client keeps its port."""
        user = number % len(self._address_of)
        address = self._address_of[user]
        at = self._start_at(self._start_of[address], self.epoch)
        _, flow, _ = at.key
        port = PORTS[0] + self._dialled[address] % PORTS[1]
        self._dialled[address] += 1
        port = before.port if before and flow.protocol == "UDP" else port
        source, now = self.clients.addresses[address], self.now
        opened = _Connection(user, source, port, flow.source, now, now, self.epoch, _End(at, "forward"))
        self.draw = -1
        opened.end = self._follow(opened, at, opened.hops, opened.counted, False)
        opened.draw = self.draw
        return opened

    def _deliver(self, connection: _Connection) -> tuple:
        """One request on its connection: (tries, its _End, *hops)."""
        connection.used, self.draw, self.tries = self.now, connection.draw, 1
        if connection.end.action != "forward":
            self.spent = connection.end.at.decision.takes
            return 1, connection.end, *connection.hops
        hops, counted, self.spent = connection.hops.copy(), [], 0.0
        self._fresh.clear()
        end = self._follow(connection, connection.end.at, hops, counted, True)
        self._after(self.spent, *counted)
        return self.tries, end, *hops

    def _follow(self, connection: _Connection, at: At, hops: list, counted: list, whole: bool) -> _End:
        """Its end, or unless `whole` where each of its requests is decided; a proxy on the way may try again."""
        decision, depth, tried, late = at.decision, len(hops), [], 0
        self.spent += decision.takes
        if decision.action != "forward" and not at.admission:
            return _End(at, decision.action, decision.status)
        if decision.grain == "request" and not whole:
            return _End(at, "forward")
        if at.admission:
            self._limits.update(decision.limits)
            source, assumed = self._source(connection, at), decision.flow.source
            limit, under_way = at.admission.asked(decision.limits, source, assumed, self.now)
            if limit:
                self.draw = -1
                return _End(at, "respond" if decision.grain == "request" else "reject", limit.status, limit.name)
            if under_way:
                counted.append(partial(at.admission.under_way.subtract, under_way))
            if decision.action != "forward":
                return _End(at, decision.action, decision.status)
        if depth == MAX_HOPS:
            return _End(at, "drop")  # it goes in circles
        if at.entry and self.held and not whole and not self._enters(connection, at):
            return _End(at, TABLE_FULL)
        if at.budget:
            at.budget.asked(self.now)
        held = len(counted)
        while True:
            begun = self.spent
            index, end = self._pick(connection, at, counted, tried), _End(at, "reject")
            if index is not None:
                hops.append((at, index))
                tried.append(decision.candidates[index])
                end = self._follow(connection, self.onward(at, index), hops, counted, whole)
            if not decision.on_failure:
                return end
            fails = failed(decision, end.action, end.status)
            late += end.action == "drop"
            if index is not None and (at.outliers or (at.policy and at.policy.answered)):
                bad, took = fails or (end.status or 0) >= 500, self.spent - begun
                self._after(self.spent, partial(self._learns, at, tried[-1], bad, took))
            if not fails or index is None or len(tried) >= tries_of(decision, late):
                break
            if at.budget and not at.budget.allowed(self.now):
                break
            self._after(self.spent, *counted[held:])
            del hops[depth:], counted[held:]
            self.tries += 1
        if fails and end.action != "respond":
            return end._replace(action="respond", status=decision.on_failure.answer(end.action))
        return end

    def _learns(self, at: At, peer: Candidate, bad: bool, seconds: float) -> None:
        """What the proxy notes of an answer that took so long, or of none."""
        if at.policy and at.policy.answered and not bad:
            at.policy.answered(at.memory, peer, seconds, self.now)
        if at.outliers:
            at.outliers.saw(peer, bad, at.decision.candidates, self.now)

    def _source(self, connection: _Connection, at: At) -> str:
        """The address a request comes from: the client's, as long as nothing has rewritten it."""
        source = at.decision.flow.source
        return connection.source if source == connection.assumed else source

    def _pick(self, connection: _Connection, at: At, counted: list, tried: Sequence[Candidate]) -> int | None:
        """The candidate that is remembered, else the one that is picked. A user whose pod failed is sent to another:
        not with a cookie that stays, unless it is still new."""
        if at.plain:
            return 0
        policy, source, index = at.policy, self._source(connection, at), None
        who, anew = connection.user if at.cookie else source, tried and (not at.stays or at.cookie in self._fresh)
        affinity = self._affinity(at)
        if affinity and not anew:
            endpoint, draw = affinity.recall(who, self.now)
            index = at.index.get(endpoint)
            self.draw = self.draw if index is None else draw
        if index is None:
            index = self._picked(connection, at, tried, bool(anew))
            if index is None:
                return None
            if affinity and at.cookie:
                self._given(connection.user, at)
            if at.decision.layer != "pods":
                self.picked_by(at)
                if not tried:  # several tries count as one pick, the last
                    self.draw = len(self.drawn)
                    self.drawn.append(policy.name)
        peer = at.decision.candidates[index]
        if affinity:
            affinity.keep(who, peer.address, self.now, self.draw)
        if policy.counts:
            opened(at.memory, peer)
            counted.append(partial(self._closed, at.memory, peer))
        return index

    def _picked(self, connection: _Connection, at: At, tried: Sequence[Candidate], anew: bool) -> int | None:
        """What the balancer picks now."""
        policy, peers = at.policy, at.decision.candidates
        left = at.outliers.left(peers, self.now) if at.outliers else peers
        key = None if policy.memoryless else key_of(at.decision, connection.port, self._source(connection, at))
        hashed = at.cookie and policy.hashes
        left = left if hashed else untried(policy, left, tried)
        for _ in range(20 if hashed and anew else 1):  # new cookies, until the hash of one is none of those that failed
            key = key._replace(text=self._text(connection.user, at, anew)) if hashed else key
            index = policy.pick(left, at.memory, self.rng, key, self.now)
            if index is None or left[index] not in tried:
                break
        return index if index is None or left is peers else at.index[left[index].address]

    def _text(self, user: int, at: At, anew: bool) -> str:
        """The text in the user's cookie, which is drawn for the first answer."""
        if anew or (user, at.cookie) not in self._texts:
            self._given(user, at)
            self._texts[user, at.cookie] = f"{self.rng.getrandbits(128):032x}"
        return self._texts[user, at.cookie]

    def _given(self, user: int, at: At) -> None:
        self._fresh.add(at.cookie)
        self._users.add(user)

    def _affinity(self, at: At) -> Affinity | None:
        """What this decision's state remembers, without endpoints that have been gone since it was last asked."""
        while at.affinity and at.affinity.epoch < self.epoch:
            at.affinity.epoch += 1
            at.affinity.only(self.at(at.key, at.affinity.epoch).index)
        return at.affinity

    # --- what opens, lasts and ends ---

    def _enters(self, connection: _Connection, at: At) -> bool:
        """Whether the node's conntrack table, in order of use, has room for a new entry."""
        table = self._tables[at.decision.place]
        while table and self.now - next(iter(table)).used > at.entry.timeout:
            table.popitem(last=False)
        if len(table) >= at.entry.capacity:
            return False
        table[connection], connection.rules = None, at
        return True

    def _goes_on(self, connection: _Connection) -> bool:
        """Whether an open connection carries one more request; if not it is closed, and why is counted."""
        if connection.failed and not connection.rules:  # tried again after a change
            return connection.epoch == self.epoch and connection.end.action != TABLE_FULL
        gone, old = False, self.max_age is not None and self.now - connection.opened > self.max_age
        if connection.rules:
            entry, table = connection.rules.entry, self._tables[connection.rules.decision.place]
            lasts = entry.unused if entry.unused and connection.used == connection.opened else entry.timeout
            gone = connection not in table or self.now - connection.used > lasts
        while connection.epoch < self.epoch and not gone:
            connection.epoch += 1
            gone = not self._stands(connection, self.timeline.instants[connection.epoch])
            if connection.epoch == self.epoch:
                connection.end = self._follow(connection, self.at(connection.end.at.key), [], [], False)
        if gone or old:
            self.reset += gone and connection.end.at.decision.flow.protocol != "UDP"
            self.aged += not gone
            self._close(connection)
        elif connection.rules:
            table.move_to_end(connection)
        return not (gone or old)

    def _stands(self, connection: _Connection, now: float) -> bool:
        """Whether the node of its rules still exists. TCP: whether the far end does (a pod, a load balancer; the proxy
        beside a client is there as long as that is), as kube-proxy deletes no TCP entry. UDP: whether its entry is left
        alone; those that lead to no serving endpoint are deleted, but not of a Service without endpoints (kube-proxy
        1.36, pkg/proxy/conntrack/cleanup.go); IPVS drops them as well."""
        (place, flow, _), at = connection.end.at.key, connection.rules and connection.rules.decision
        if at and at.place.name not in self.timeline.seen_by(at.place, now).node:
            return False
        if flow.protocol == "UDP":
            if at is None:
                return True
            view = self.timeline.seen_by(at.place, now)
            service = view.door(at.flow.destination, at.flow.port, "UDP")
            serving = {e.address for e in of_port(view, *service[:2]) if e.serving} if service else ()
            return flow.to in serving or (not serving and view.mode != "ipvs")
        if place.kind == "endpoint" or connection.end.at.decision.layer == "mesh":
            return True
        view = self.timeline.seen_by(place, now)
        behind = view.pod_behind(flow.destination, flow.port)
        return flow.destination in view.balancer_at or bool(behind and place == pod_place(behind))

    def _close(self, connection: _Connection, after: float = 0.0) -> None:
        if connection.rules:
            self._tables[connection.rules.decision.place].pop(connection, None)
            connection.rules = None
        self._after(after, *connection.counted)

    def _closed(self, state: dict, peer: Candidate) -> None:
        closed(state, peer)
        if self.time is not None:
            self._lingering.append((self.now + LINGERS, state, peer))

    def _after(self, seconds: float, *happens: Callable) -> None:
        """Have them happen so many seconds from now: without times nothing does that is not at once."""
        for one in happens:
            if not seconds:
                one()
            elif self.time is not None:
                heappush(self._ending, (self.now + seconds, next(self._numbers), one))
