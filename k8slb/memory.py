"""Requests one after the other, in order of arrival, with all that is remembered on the way.

An open connection keeps the way it took (conntrack on the node whose rules it met, a load balancer's flow table, the
proxy it ended at) while its pod exists and its entry lasts. ClientIP affinity keeps an address with a pod, per state of
the decision: a Service port on one node, in IPVS mode a virtual server. A balancer that counts is told of each
connection that opens and closes.
"""

from bisect import bisect_right
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np

from .balancers import balancer
from .balancers.base import closed, forgotten, opened
from .clients import Clients
from .decision import Candidate, Decision, Memory, Place, Timeline, pod_place
from .endpoints import of_port
from .path import MAX_HOPS, decide, gave_up, key_of

TABLE_FULL = "conntrack table full"  # what the column `lost` says of a connection that found no room
PORTS = (32768, 28232)  # the first port a client dials from, and how many there are (Linux: ip_local_port_range)
LINGERS = 120.0  # seconds that IPVS goes on counting a connection that was closed


Column = tuple[dict[str, int], np.ndarray]


class Ledger:
    """What is noted of requests, one or an array of them: by column the names met so far and each request's code."""

    def __init__(self, requests: int):
        self.columns = defaultdict[str, Column](lambda: ({}, np.full(requests, -1, dtype=np.int32)))

    def put(self, column: str, who: Any, name: str) -> None:
        names, codes = self.columns[column]
        codes[who] = names.setdefault(name, len(names))

    def passed(self, decision: Decision, candidate: Candidate, who: Any) -> None:
        if decision.layer == "kube-proxy":
            self.put("node", who, decision.place.name)
        elif decision.layer == "cloud-lb" and candidate.place.kind == "node":
            self.put("node", who, candidate.name)
        elif decision.layer == "ingress":
            self.put("ingress_pod", who, decision.flow.to)

    def ended(self, decision: Decision, proxy: Decision | None, who: Any) -> None:
        """The last decision for these requests; where what a proxy dialled failed, the proxy answers."""
        if decision.layer == "ingress":
            self.put("ingress_pod", who, decision.flow.to)
        if decision.action in ("reject", "drop") and proxy:
            decision = gave_up(proxy, decision, min(proxy.on_failure.tries, len(proxy.candidates)))
        if decision.action == "respond":
            if decision.layer == "pods":
                self.put("pod", who, decision.flow.to)
            self.put("status", who, str(decision.status or "open"))
        else:
            self.put("lost", who, decision.action)


class Affinity:
    """ClientIP: which address stays with which endpoint. An endpoint remembers `capacity` addresses (xt_recent: 100),
    a new one in the place of the one not seen for longest; a visit after more than `timeout` seconds is a first one."""

    def __init__(self, memory: Memory, epoch: int):
        self.timeout, self.capacity, self.epoch = memory.timeout, memory.capacity, epoch
        self.endpoint: dict[str, str] = {}
        self.seen: dict[str, OrderedDict[str, tuple[float, int]]] = defaultdict(OrderedDict)

    def recall(self, address: str, now: float) -> tuple[str | None, int]:
        """(endpoint, the pick that chose it)."""
        endpoint = self.endpoint.get(address)
        last, draw = self.seen[endpoint][address] if endpoint else (0.0, -1)
        return (endpoint, draw) if not self.timeout or now - last <= self.timeout else (None, -1)

    def keep(self, address: str, endpoint: str, now: float, draw: int) -> None:
        if address in self.endpoint:
            del self.seen[self.endpoint[address]][address]
        here = self.seen[endpoint]
        here[address], self.endpoint[address] = (now, draw), endpoint
        if self.capacity and len(here) > self.capacity:
            del self.endpoint[here.popitem(last=False)[0]]

    def only(self, endpoints: dict[str, int]) -> None:
        """Endpoints that are no longer eligible lose their clients."""
        for endpoint in [e for e in self.seen if e not in endpoints]:
            for address in self.seen.pop(endpoint):
                del self.endpoint[address]


class At:
    """Where a flow stands and what is decided there between two changes of the cluster; `onward` fills up."""

    __slots__ = ("affinity", "decision", "entry", "index", "key", "memory", "onward", "policy", "state")

    def __init__(self, timeline: Timeline, key: tuple, now: float):
        self.key, self.decision = key, decide(timeline, *key, now)
        remembered = {m.kind: m for m in self.decision.remembers}
        self.affinity = remembered.get("ClientIP")
        self.entry = remembered.get("conntrack") if self.decision.layer == "kube-proxy" else None
        self.policy = balancer(self.decision.balancer) if self.decision.balancer else None
        self.state = self.decision.state or key
        self.index = {c.address: i for i, c in enumerate(self.decision.candidates)}
        self.onward: list[At | None] = [None] * len(self.decision.candidates)


@dataclass(slots=True, eq=False)
class _Connection:
    """A client's connection: the way it took, and `far`, where each of its requests is decided."""

    source: str
    port: int
    assumed: str  # the address by which the decisions know its client
    opened: float
    used: float
    epoch: int
    far: At
    why: str = ""  # what lost it, if it is not the decision at `far`
    draw: int = -1
    rules: At | None = None  # the kube-proxy rules whose node has an entry of it
    hops: list[tuple[At, int]] = field(default_factory=list)
    counted: list[tuple[dict, Candidate]] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return bool(self.why) or self.far.decision.action not in ("forward", "respond")


class Sender:
    """The requests of one run. Then `ledger` has what became of them, `picks` how often each balancer picked, `used` at
    which places, `alike` how many picks that carry as many requests each would spread them as much; `reset` and `aged`
    count connections. `held`: how many connections stay open to the end (None: one for each request, closed at once).
    """

    def __init__(self, timeline: Timeline, clients: Clients, requests: int, held: int | None, time: Any, seed: int):
        self.timeline, self.clients, self.requests, self.held, self.time = timeline, clients, requests, held, time
        self.instants, self.epoch, self.rng, self.ledger = timeline.instants, 0, Random(seed), Ledger(requests)
        self.used: dict[str, set[Place]] = defaultdict(set)
        self.picks: Counter[str] = Counter()
        self.alike: dict[str, float] = {}
        self.reset = self.aged = 0
        self.states: dict[object, dict] = defaultdict(dict)  # the balancers' own
        self._known: dict[tuple, At] = {}

    def at(self, key: tuple, epoch: int | None = None) -> At:
        epoch = self.epoch if epoch is None else epoch
        at = self._known.get((epoch, key))
        if at is None:
            at = self._known[epoch, key] = At(self.timeline, key, self.instants[epoch])
            at.memory = self.states[at.state]
            for i, candidate in enumerate(at.decision.candidates):
                if candidate.place.kind in ("pod", "endpoint"):
                    end = self.onward(at, i, epoch).decision
                    if end.layer == "pods" and end.action == "respond":  # a pod that nobody picks is known as well
                        names = self.ledger.columns["pod"][0]
                        names.setdefault(end.flow.to, len(names))
        return at

    def onward(self, at: At, index: int, epoch: int | None = None) -> At:
        if at.onward[index] is None:
            candidate, via = at.decision.candidates[index], at.key[2] if at.decision.layer == "dns" else None
            at.onward[index] = self.at((candidate.place, candidate.flow, via), epoch)
        return at.onward[index]


class InOrder(Sender):
    """One after the other."""

    def __init__(self, *common: Any, max_age: float | None):
        super().__init__(*common)
        self.max_age, self.now, self.draw = max_age, 0.0, -1  # draw: the last pick on the way
        self.drawn: list[str] = []  # the balancer of each pick
        self._affinity: dict[object, Affinity] = {}
        self._tables: dict[Place, OrderedDict[_Connection, None]] = defaultdict(OrderedDict)
        self._address_of, self._start_of = self.clients.address_of.tolist(), self.clients.start_of.tolist()
        self._starts: dict[tuple[int, int], At] = {}
        self._dialled: Counter[int] = Counter()
        self._over: deque[tuple[float, dict, Candidate]] = deque()

    def run(self) -> None:
        connections: dict[int, _Connection] = {}
        ways: dict[tuple, list[int]] = defaultdict(list)
        times, draw_of = self.time if self.time is None else self.time.tolist(), np.full(self.requests, -1)
        for request in range(self.requests):
            if times:
                self.now = times[request]
                self.epoch = bisect_right(self.instants, self.now) - 1
                while self._over and self._over[0][0] <= self.now:
                    forgotten(*self._over.popleft()[1:])
            number = request % self.held if self.held else request
            connection = connections.get(number)
            if connection is None or not self._goes_on(connection):
                connection = self._open(number, connection)
                if self.held:
                    connections[number] = connection
                if not self.held or connection.failed:
                    self._close(connection)
            ways[self._deliver(connection)].append(request)
            draw_of[request] = self.draw
        for (*hops, end, why), requests in ways.items():
            who, proxy = np.array(requests), None
            for at, index in hops:
                self.ledger.passed(at.decision, at.decision.candidates[index], who)
                proxy = at.decision if at.decision.on_failure else proxy
            self.ledger.ended(replace(end.decision, action=why) if why else end.decision, proxy, who)
        names, carried = np.array(self.drawn), np.bincount(draw_of[draw_of >= 0], minlength=len(self.drawn))
        self.picks.update(self.drawn)
        for name in self.used:
            mine = carried[names == name].astype(float)
            self.alike[name] = mine.sum() ** 2 / max(1.0, (mine**2).sum())

    def _open(self, number: int, before: _Connection | None) -> _Connection:
        """A new connection, and what is decided once for all of it. A UDP client keeps its port."""
        address = self._address_of[number % len(self._address_of)]
        which = self._start_of[address]
        start = self.clients.starts[which]
        at = self._starts.get((self.epoch, which))
        if at is None:
            at = self._starts[self.epoch, which] = self.at((start.place, start.flow, start.via))
        self._dialled[address] += 1
        port = PORTS[0] + (self._dialled[address] - 1) % PORTS[1]
        port = before.port if before and start.flow.protocol == "UDP" else port
        source, now = self.clients.addresses[address], self.now
        opened = _Connection(source, port, start.flow.source, now, now, self.epoch, at)
        self.draw = -1
        opened.far, opened.why = self._follow(opened, at, opened.hops, opened.counted, False)
        opened.draw = self.draw
        return opened

    def _deliver(self, connection: _Connection) -> tuple:
        """One request on its connection: (hops, where it ends, what lost it if it is not the decision there)."""
        connection.used, self.draw = self.now, connection.draw
        if connection.why or connection.far.decision.action != "forward":
            return *connection.hops, connection.far, connection.why
        hops, counted = connection.hops.copy(), []
        end, why = self._follow(connection, connection.far, hops, counted, True)
        for state, peer in counted:
            self._count_out(state, peer)
        return *hops, end, why

    def _follow(self, connection: _Connection, at: At, hops: list, counted: list, whole: bool) -> tuple[At, str]:
        """(the end, or unless `whole` where each request is decided; what lost it if it is not the decision there)."""
        while at.decision.action == "forward" and (whole or at.decision.grain == "connection"):
            if len(hops) == MAX_HOPS:
                return at, "drop"  # it goes in circles
            if at.entry and self.held and not whole and not self._enters(connection, at):
                return at, TABLE_FULL
            failure = at.decision.on_failure
            for _ in range(min(failure.tries, len(at.onward)) if failure else 1):
                index = self._pick(connection, at, counted)
                if index is None:
                    return at, "reject"
                onward = self.onward(at, index)
                if onward.decision.action not in ("reject", "drop"):
                    break
            hops.append((at, index))
            at = onward
        return at, ""

    def _pick(self, connection: _Connection, at: At, counted: list) -> int | None:
        decision, policy = at.decision, at.policy
        if policy is None or (len(at.onward) == 1 and not at.affinity and not policy.counts):
            return 0
        source = decision.flow.source  # the client's, as long as nothing has rewritten it
        source = connection.source if source == connection.assumed else source
        affinity, state, index = None, at.memory, None
        if at.affinity:
            affinity = self._affinity_at(at)
            endpoint, draw = affinity.recall(source, self.now)
            index = at.index.get(endpoint)
            self.draw = draw if index is not None else self.draw
        if index is None:
            key = None if policy.memoryless else key_of(decision, connection.port, source)
            index = policy.pick(decision.candidates, state, self.rng, key, self.now)
            if index is None:
                return None
            self.used[policy.name].add(decision.place)
            self.draw = len(self.drawn)
            self.drawn.append(policy.name)
        peer = decision.candidates[index]
        if affinity:
            affinity.keep(source, peer.address, self.now, self.draw)
        if policy.counts:
            opened(state, peer)
            counted.append((state, peer))
        return index

    def _affinity_at(self, at: At) -> Affinity:
        """What this decision's state remembers, without endpoints that have been gone since it was last asked."""
        affinity = self._affinity.get(at.state)
        if affinity is None:
            affinity = self._affinity[at.state] = Affinity(at.affinity, self.epoch)
        while affinity.epoch < self.epoch:
            affinity.epoch += 1
            affinity.only(self.at(at.key, affinity.epoch).index)
        return affinity

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
            return connection.epoch == self.epoch and connection.why != TABLE_FULL
        gone, old = False, self.max_age is not None and self.now - connection.opened > self.max_age
        if connection.rules:
            entry, table = connection.rules.entry, self._tables[connection.rules.decision.place]
            lasts = entry.unused if entry.unused and connection.used == connection.opened else entry.timeout
            gone = connection not in table or self.now - connection.used > lasts
        while connection.epoch < self.epoch and not gone:
            connection.epoch += 1
            gone = not self._stands(connection, self.instants[connection.epoch])
            if connection.epoch == self.epoch:
                connection.far = self.at(connection.far.key)
        if gone or old:
            self.reset += gone and connection.far.decision.flow.protocol != "UDP"
            self.aged += not gone
            self._close(connection)
        elif connection.rules:
            table.move_to_end(connection)
        return not (gone or old)

    def _stands(self, connection: _Connection, now: float) -> bool:
        """Whether the node of its rules still exists. TCP: whether the pod at the far end does, as kube-proxy deletes
        no TCP entry. UDP: whether its entry is left alone; those that lead to no serving endpoint are deleted, but not
        of a Service without endpoints (kube-proxy 1.36, pkg/proxy/conntrack/cleanup.go); IPVS drops them as well."""
        (place, flow, _), at = connection.far.key, connection.rules and connection.rules.decision
        if at and at.place.name not in self.timeline.seen_by(at.place, now).node:
            return False
        if flow.protocol == "UDP":
            if at is None:
                return True
            view = self.timeline.seen_by(at.place, now)
            service = view.door(at.flow.destination, at.flow.port, "UDP")
            serving = {e.address for e in of_port(view, *service[:2]) if e.serving} if service else ()
            return flow.to in serving or (not serving and view.mode != "ipvs")
        behind = self.timeline.seen_by(place, now).pod_behind(flow.destination, flow.port)
        return place.kind == "endpoint" or bool(behind and place == pod_place(behind))

    def _close(self, connection: _Connection) -> None:
        if connection.rules:
            self._tables[connection.rules.decision.place].pop(connection, None)
            connection.rules = None
        for state, peer in connection.counted:
            self._count_out(state, peer)

    def _count_out(self, state: dict, peer: Candidate) -> None:
        closed(state, peer)
        if self.time is not None:
            self._over.append((self.now + LINGERS, state, peer))
