"""What a place remembers of requests besides open connections: addresses, how full its limits are, who failed.

Each is kept for one place (a node, a replica, a pod's proxy) and knows nothing of the others.
"""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from math import ceil, floor
from typing import Any

from .decision import Budget, Candidate, Ejects, Limit, Memory

CIRCUIT = ("requests", "retries", "pool", "pending")  # kinds of limits that are a proxy's circuit breakers


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


class Admission:
    """Limits on requests, each a leaky bucket: a request pours in 1, `rate` a second run out, and what does not fit
    above the first one and `burst` is refused (nginx 1.31, ngx_http_limit_req_module.c, with nodelay). Or limits on how
    many are under way: whoever asked says when one is over (`under_way.subtract`)."""

    def __init__(self) -> None:
        self.excess: dict[tuple[str, str], tuple[float, float]] = {}
        self.under_way: Counter[tuple[str, str]] = Counter()

    def asked(self, limits: Sequence[Limit], source: str, assumed: str, now: float) -> tuple[Limit | None, list]:
        """(the limit that refuses a request of `source`, which limits know as `assumed`; else what is under way with
        it); one that is refused counts for none."""
        after, under_way = {}, []
        for limit in limits:
            key = limit.name, source if limit.key == assumed else limit.key
            if limit.kind == "connections":
                if self.under_way[key] >= limit.burst:
                    return limit, []
                under_way.append(key)
            else:
                excess, last = self.excess.get(key, (-1.0, now))
                after[key] = max(0.0, excess - limit.rate * (now - last) + 1), now
                if after[key][0] > limit.burst:
                    return limit, []
        self.excess |= after
        self.under_way.update(under_way)
        return None, under_way


class Circuit:
    """What one proxy has under way to a backend, and the connections that carry it (Envoy 1.40: conn_pool_base.cc,
    resource_manager_impl.h, with one worker thread; compared with the real one).

    With a limit "pool" a request has a connection of its own to the peer that was picked. Of idle ones it takes one;
    else it opens one while there are fewer than `pool`, or none to this peer; else it waits, the first to come first.
    Connections stay open, also idle; one whose request timed out is closed.
    """

    def __init__(self, limits: Sequence[Limit]):
        self.most = {limit.kind: limit for limit in limits}
        self.requests = self.retries = self.waiting = self.connections = 0
        self.open: Counter[str] = Counter()
        self.busy: Counter[str] = Counter()
        self.queues: dict[str, deque] = defaultdict(deque)

    def _full(self, kind: str, count: int) -> Limit | None:
        limit = self.most.get(kind)
        return limit if limit and count >= limit.burst else None

    def asks(self, peer: str) -> Limit | bool:
        """True: it has a connection; False: it has to wait for one; else the limit that refuses it."""
        if "pool" in self.most and self.busy[peer] >= self.open[peer]:
            if full := self._full("pending", self.waiting):
                return full
            if not self._opens(peer):
                self.waiting += 1
                return False
        full = self._full("requests", self.requests)
        if not full:
            self._begins(peer)
        return full or True

    def _opens(self, peer: str) -> bool:
        if self.open[peer] and self._full("pool", self.connections):
            return False
        self.open[peer] += 1
        self.connections += 1
        return True

    def _begins(self, peer: str) -> None:
        self.requests += 1
        self.busy[peer] += 1

    def over(self, peer: str, lost: bool) -> Any:
        """A request has ended (`lost`: with its connection): who waits and may go on, None where nobody."""
        self.requests -= 1
        self.busy[peer] -= 1
        self.open[peer] -= lost
        self.connections -= lost
        queue = self.queues[peer]
        if not queue or (lost and not self._opens(peer)):
            return None
        self.waiting -= 1
        self._begins(peer)
        return queue.popleft()

    def leaves(self, peer: str, who: Any) -> bool:
        """Takes one that waits no longer out of the queue; False if it has a connection already."""
        if who not in self.queues[peer]:
            return False
        self.queues[peer].remove(who)
        self.waiting -= 1
        return True

    def may_retry(self, answered: bool) -> bool:
        """Whether there may be one more retry, which then counts until it is over; a try that was `answered` counts."""
        limit = self.most.get("retries")
        if limit and self.retries >= max(limit.burst, int(limit.rate * (self.requests + self.waiting + answered))):
            return False
        self.retries += 1
        return True


class Outliers:
    """The peers that one proxy has ejected (Envoy 1.40, source/common/upstream/outlier_detection_impl.cc).

    Sweeps every `interval` seconds let a peer return whose time is over; each sweep after that takes back one of the
    times by which the next ejection is longer. Without sweeps (0) a peer returns by itself, and a good answer takes
    back all of them.
    """

    def __init__(self, rule: Ejects):
        self.rule, self.ejections = rule, 0
        self.failures: Counter[str] = Counter()
        self.until: dict[str, float] = {}
        self.times: dict[str, tuple[int, float]] = {}  # how often ejected, and when last back

    def saw(self, peer: Candidate, failed: bool, peers: Sequence[Candidate], now: float) -> None:
        """What came of a request to `peer`, one of `peers`."""
        address, rule = peer.address, self.rule
        self.failures[address] = self.failures[address] + 1 if failed else 0
        if not (failed or rule.interval):
            self.times.pop(address, None)
        if self.failures[address] < rule.consecutive or address in self.until:
            return
        self.failures[address] = 0
        ejected = sum(p.address in self.until for p in peers)
        if 100 * (ejected + 1) <= rule.percent * len(peers) or (rule.at_least_one and not ejected):
            times, back = self.times.get(address, (0, now))
            every = rule.interval or 1.0
            times = max(0, times - (floor(now / every) - floor(back / every)) * bool(rule.interval)) + 1
            over = now + min(rule.base * times, rule.longest)
            self.until[address] = ceil(over / every) * every if rule.interval else over
            self.times[address] = times, self.until[address]
            self.ejections += 1

    def left(self, peers: Sequence[Candidate], now: float) -> Sequence[Candidate]:
        """Who may be picked: those that are not ejected, or all in a panic."""
        if self.until:
            self.until = {address: until for address, until in self.until.items() if until > now}
        if not self.until:
            return peers
        found = [p for p in peers if p.address not in self.until]
        return peers if 100 * len(found) < self.rule.panic * len(peers) else found


class Retries:
    """A budget of retries: how many there were, and requests, in the last `window` seconds."""

    def __init__(self, budget: Budget):
        self.budget, self.requests, self.retries = budget, deque[float](), deque[float]()

    def asked(self, now: float) -> None:
        self.requests.append(now)

    def allowed(self, now: float) -> bool:
        """Whether there may be one more, which then counts."""
        for times in (self.requests, self.retries):
            while times and times[0] <= now - self.budget.window:
                times.popleft()
        room = self.budget.ratio * len(self.requests) + self.budget.floor * self.budget.window
        if len(self.retries) + 1 > room:
            return False
        self.retries.append(now)
        return True
