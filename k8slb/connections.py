"""The connections of one run: how one opens, on which node's table it stands, when it lasts no longer; and whom a
balancer picks for a connection or a request on its way."""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from math import inf
from typing import Any, NamedTuple

from .balancers.base import Peer, closed, opened
from .decision import Candidate, Memory, Place, pod_place
from .endpoints import of_port
from .failures import untried
from .few import np
from .path import key_of
from .remembered import Affinity
from .sender import At, Sender

TABLE_FULL = "conntrack table full"  # what the column `lost` says of a connection that found no room
PORTS = (32768, 28232)  # the first port a client dials from, and how many there are (Linux: ip_local_port_range)
LINGERS = 120.0  # seconds that conntrack (TIME_WAIT) and IPVS go on counting a connection that was closed


def fills(entry: Memory, made: np.ndarray, last: float) -> bool:
    """Whether connections that open at these times, in order, and close within `last` seconds fill the table."""
    most, lasts = entry.capacity, last + (entry.unused or LINGERS)
    return len(made) > most and bool((made[most:] - made[:-most] < lasts).any())


class End(NamedTuple):
    """Where a request ends, what who sent it there sees of it (action and status), the limit that refused it, and why
    it is not answered where the decision does not say it."""

    at: At
    action: str
    status: int | None = None
    limit: str = ""
    reason: str = ""


@dataclass(slots=True, eq=False)
class Connection:
    """A client's connection: the way it took, and its end, where each of its requests goes on if it is "forward"."""

    user: int
    source: str
    port: int
    assumed: str  # the address by which the decisions know its client
    opened: float
    used: float
    epoch: int
    end: End
    draw: int = -1
    rules: At | None = None  # the kube-proxy rules whose node has an entry of it
    hops: list[tuple[At, int]] = field(default_factory=list)
    counted: list[Callable] = field(default_factory=list)  # what to do when it closes

    @property
    def failed(self) -> bool:
        return self.end.action not in ("forward", "respond")

    def source_at(self, at: At) -> str:
        """The address a request comes from: the client's, as long as nothing has rewritten it."""
        source = at.decision.flow.source
        return self.source if source == self.assumed else source


@dataclass(slots=True, eq=False)
class Way:
    """What a request, or a connection as it opens, has met so far. `draw`: its last pick; `fresh`: the cookies that are
    given in answer to it; `lasts`: it meets a pod that takes time, and there is no clock."""

    connection: Connection
    hops: list[tuple[At, int]]
    counted: list[Callable]
    request: int = -1
    draw: int = -1
    tries: int = 1
    fresh: frozenset[tuple] = frozenset()
    lasts: bool = False

    def release(self, first: int = 0) -> None:
        """What was counted from then on is over: without a clock only what took no time."""
        for over in () if self.lasts else self.counted[first:]:
            over()
        del self.counted[first:]


class Connections(Sender):
    """`now` is the time in seconds, `clock` whether there is one, `lingering` what conntrack and IPVS still count."""

    def __init__(self, *common: Any, max_age: float | None):
        super().__init__(*common)
        self.max_age, self.now, self.clock = max_age, 0.0, self.time is not None
        self.tracks = self.clock or bool(self.held)  # without a clock what is closed makes room at once
        self._tables: dict[Place, OrderedDict[Connection, None]] = defaultdict(OrderedDict)
        self._waiting: dict[Place, deque[float]] = defaultdict(deque)  # until when, of closed ones
        self.lingering: deque[tuple[float, dict, Candidate]] = deque()
        self._address_of, self._start_of = self.clients.address_of.tolist(), self.clients.start_of.tolist()
        starts = [(start.place, start.flow, start.via) for start in self.clients.starts]
        self._start_at = cache(lambda which, epoch: self.at(starts[which], epoch))
        self._dialled: Counter[int] = Counter()
        self.drawn: list[str] = []  # the balancer of each pick
        self.users: set[int] = set()  # who have a cookie
        self._texts: dict[tuple[int, tuple], str] = {}  # in users' cookies
        self._asked: set[At] = set()  # where a balancer picked

    def follow(self, way: Way, at: At, whole: bool) -> Iterator[float | None]:
        """Its End, or unless `whole` where each of its requests is decided; yields when it goes on (None: someone else
        knows)."""
        raise NotImplementedError

    def reaches(self, way: Way, at: At) -> End:
        """Where a connection leads: no time passes."""
        try:
            next(self.follow(way, at, False))
        except StopIteration as over:
            return over.value
        raise AssertionError("a connection took time to open")

    def open(self, number: int, before: Connection | None) -> Connection:
        """A new connection, and what is decided once for all of it. A UDP client keeps its port."""
        user = number % len(self._address_of)
        address = self._address_of[user]
        at = self._start_at(self._start_of[address], self.epoch)
        _, flow, _ = at.key
        port = PORTS[0] + self._dialled[address] % PORTS[1]
        self._dialled[address] += 1
        port = before.port if before and flow.protocol == "UDP" else port
        source, now = self.clients.addresses[address], self.now
        opened = Connection(user, source, port, flow.source, now, now, self.epoch, End(at, "forward"))
        way = Way(opened, opened.hops, opened.counted)
        opened.end = self.reaches(way, at)
        opened.draw = way.draw
        return opened

    def enters(self, connection: Connection, at: At) -> bool:
        """Whether the node's conntrack table, in order of use, has room for a new entry."""
        table, waiting = self._tables[at.decision.place], self._waiting[at.decision.place]
        if self.held:
            while table and self.now - next(iter(table)).used > at.entry.timeout:
                table.popitem(last=False)
        while waiting and waiting[0] <= self.now:
            waiting.popleft()
        if len(table) + len(waiting) >= at.entry.capacity:
            return False
        table[connection], connection.rules = None, at
        return True

    def goes_on(self, connection: Connection) -> bool:
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
                connection.end = self.reaches(Way(connection, [], []), self.at(connection.end.at.key))
        if gone or old:
            self.reset += gone and connection.end.at.decision.flow.protocol != "UDP"
            self.aged += not gone
            self.close(connection)
        elif connection.rules:
            table.move_to_end(connection)
        return not (gone or old)

    def _stands(self, connection: Connection, now: float) -> bool:
        """Whether the node of its rules still exists. TCP: whether the far end does (a pod, a load balancer; the proxy
        beside a client is there as long as that is), as kube-proxy deletes no TCP entry: a process that ends closes
        its connections, one that is silent does not. UDP: whether its entry is left
        alone; those that lead to no serving endpoint are deleted, but not of a Service without endpoints (kube-proxy
        1.36, pkg/proxy/conntrack/cleanup.go); IPVS drops them as well."""
        (place, flow, _), at = connection.end.at.key, connection.rules and connection.rules.decision
        real = self.timeline.at(now)
        if at and at.place.name not in real.node:
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
        behind = real.pod_behind(flow.destination, flow.port)
        there = behind and place == pod_place(behind) and (not behind.down or behind.down.startswith("silent"))
        return flow.destination in real.balancer_at or bool(there)

    def close(self, connection: Connection) -> None:
        if rules := connection.rules:
            self._tables[rules.decision.place].pop(connection, None)
            connection.rules = None
            if self.clock:
                self._waiting[rules.decision.place].append(self.now + (rules.entry.unused or LINGERS))
        for over in connection.counted:
            over()
        connection.counted.clear()

    def closed(self, state: dict, peer: Candidate) -> None:
        """What a balancer that counts is told of a connection that is over."""
        closed(state, peer)
        if self.clock:
            self.lingering.append((self.now + LINGERS, state, peer))

    # --- picks ---

    def pick(self, way: Way, at: At, tried: Sequence[Candidate]) -> int | None:
        """The candidate that is remembered, else the one that is picked. A user whose pod failed is sent to another:
        not with a cookie that stays, unless it is still new."""
        if at.plain:
            return 0
        policy, connection, index = at.policy, way.connection, None
        who, anew = None, tried and (not at.stays or at.cookie in way.fresh)
        affinity = self._affinity(at) if at.affinity else None
        if affinity:
            who = connection.user if at.cookie else connection.source_at(at)
            if not anew:
                endpoint, draw = affinity.recall(who, self.now)
                index = at.index.get(endpoint)
                way.draw = way.draw if index is None else draw
        if index is None:
            index = self._picked(way, at, tried, bool(anew))
            if index is None:
                return None
            if affinity and at.cookie:
                self._given(way, at)
            if at.decision.layer != "pods":
                if at not in self._asked:
                    self._asked.add(at)
                    self.picked_by(at)
                if not tried:  # several tries count as one pick, the last
                    way.draw = len(self.drawn)
                    self.drawn.append(policy.name)
        peer = at.decision.candidates[index]
        if affinity:
            affinity.keep(who, peer.address, self.now, way.draw)
        if policy.counts:
            opened(at.memory, peer)
            way.counted.append(partial(self.closed, at.memory, peer))
        return index

    def _picked(self, way: Way, at: At, tried: Sequence[Candidate], anew: bool) -> int | None:
        """What the balancer picks now."""
        policy, peers, connection = at.policy, at.decision.candidates, way.connection
        left = at.outliers.left(peers, self.now) if at.outliers else peers
        keyless = policy.memoryless or policy.cycle
        key = None if keyless else key_of(at.decision, connection.port, connection.source_at(at))
        hashed = at.cookie and policy.hashes
        left = left if hashed or not tried else untried(policy, left, tried)
        left = self._warming(at, left) if at.decision.warmup and self.epoch else left
        for _ in range(20 if hashed and anew else 1):  # new cookies, until the hash of one is none of those that failed
            key = key._replace(text=self._text(way, at, anew)) if hashed else key
            index = policy.pick(left, at.memory, self.rng, key, self.now)
            if not tried or index is None or left[index] not in tried:
                break
        return index if index is None or left is peers else at.index[left[index].address]

    def _warming(self, at: At, peers: Sequence[Candidate]) -> Sequence[Candidate | Peer]:
        """Those that came with a change of the cluster have a part of their weight, in steps of a hundredth."""
        if not at.since:
            for epoch in range(self.epoch + 1):
                here = at if epoch == self.epoch else self.at(at.key, epoch)
                known, moment = at.since, self.timeline.instants[epoch] if epoch else -inf
                at.since = {address: known.get(address, moment) for address in here.index}
        warm = at.decision.warmup.weight
        parts = [round(100 * warm(self.now - at.since[p.address])) for p in peers]
        if min(parts, default=100) == 100:
            return peers
        return [Peer(p.address, p.weight * n) for p, n in zip(peers, parts, strict=True)]

    def _text(self, way: Way, at: At, anew: bool) -> str:
        """The text in the user's cookie, which is drawn for the first answer."""
        user = way.connection.user
        if anew or (user, at.cookie) not in self._texts:
            self._given(way, at)
            self._texts[user, at.cookie] = f"{self.rng.getrandbits(128):032x}"
        return self._texts[user, at.cookie]

    def _given(self, way: Way, at: At) -> None:
        way.fresh |= {at.cookie}
        self.users.add(way.connection.user)

    def _affinity(self, at: At) -> Affinity:
        """What this decision's state remembers, without endpoints that have been gone since it was last asked."""
        while at.affinity.epoch < self.epoch:
            at.affinity.epoch += 1
            at.affinity.only(self.at(at.key, at.affinity.epoch).index)
        return at.affinity
