"""What every way of sending has: where a flow stands and what is decided there, and the ledger of what came of it."""

from collections import Counter, defaultdict
from collections.abc import Callable
from random import Random
from typing import Any

from .balancers import balancer
from .balancers.base import Balancer
from .clients import Clients
from .decision import Candidate, Decision, Place, Timeline
from .few import np
from .path import cookie_of, decide
from .remembered import CIRCUIT, Admission, Affinity, Circuit, Outliers, Retries

CONTROLLERS = ("ingress", "gateway")  # whose replicas have a column
Column = tuple[dict[str, int], np.ndarray]
TIMED_OUT = "timed out"  # so begins the reason of those whose pod was too slow
TOLD = {"reject": "refused", "drop": "dropped", "unresolved": "no such name"}  # where a decision has no reason


class Ledger:
    """What is noted of requests, one or an array of them: by column the names met so far and each request's code."""

    def __init__(self, requests: int):
        self.columns = defaultdict[str, Column](lambda: ({}, np.full(requests, -1, dtype=np.int32)))

    def put(self, column: str, who: Any, name: str) -> None:
        names, codes = self.columns[column]
        codes[who] = names.setdefault(name, len(names))

    def passed(self, decision: Decision, candidate: Candidate, who: Any) -> None:
        if decision.splits and decision.layer != "pods":
            self.put("backend", who, candidate.name)
        if decision.layer == "kube-proxy":
            self.put("node", who, decision.place.name)
        elif decision.layer == "cloud-lb" and candidate.place.kind == "node":
            self.put("node", who, candidate.name)
        elif decision.layer in CONTROLLERS:
            self.put(f"{decision.layer}_pod", who, decision.flow.to)

    def ended(self, decision: Decision, action: str, status: int | None, who: Any, reason: str = "") -> None:
        """The last decision for these requests, and what their client sees of it: an answer with a status, or none.

        `reason`: why they have no answer of what decided, where the decision does not say it."""
        if decision.layer in CONTROLLERS:
            self.put(f"{decision.layer}_pod", who, decision.flow.to)
        if action == "respond":
            if decision.layer == "pods" and decision.action == "respond" and not reason.startswith(TIMED_OUT):
                self.put("pod", who, decision.flow.to)
            self.put("status", who, str(status or "open"))
        else:
            self.put("lost", who, action)
        if action != "respond" or not 200 <= (status or 200) < 300:
            self.put("stage", who, decision.layer)
            own = TOLD.get(decision.action, f"answered {decision.status}")
            self.put("reason", who, reason or decision.reason or own)


class At:
    """Where a flow stands and what is decided there between two changes of the cluster; `onward` fills up. `kept(kind,
    key, *given)` gives what is remembered there, which others that stand there share: `kind(*given)` at first.

    `passes`: it only goes on. `works`: it takes time here, once where two are decided at one place."""

    __slots__ = ("admission", "affinity", "budget", "circuit", "cookie", "decision", "end", "entry", "index", "key")
    __slots__ += ("memory", "onward", "outliers", "passes", "plain", "policy", "since", "state", "station", "stays")
    __slots__ += ("works",)

    def __init__(self, timeline: Timeline, key: tuple, epoch: int, kept: Callable[..., Any]):
        self.key, self.decision = key, decide(timeline, *key, timeline.instants[epoch])
        decision, place, failure = self.decision, self.decision.place, self.decision.on_failure
        remembered = {m.kind: m for m in decision.remembers}
        self.entry = remembered.get("conntrack") if decision.layer == "kube-proxy" else None
        self.policy = balancer(decision.balancer) if decision.balancer else None
        self.state = decision.state or key
        # a cookie is the user's: it says the same to each replica
        given, said = cookie_of(decision), tuple(x for x in self.state if isinstance(x, str))
        self.stays = bool(given and given.stays)
        self.cookie = (given.key, *said, decision.flow.backend) if given and self.policy else None
        memory = given if self.cookie and not self.policy.hashes else remembered.get("ClientIP")
        self.memory = kept(dict, self.state)  # the balancer's own
        self.affinity = kept(Affinity, self.cookie or self.state, memory, epoch) if memory else None
        breakers = decision.limits and decision.limits[0].kind in CIRCUIT
        self.admission = kept(Admission, place) if decision.limits and not breakers else None
        self.circuit = kept(Circuit, self.state, decision.limits) if breakers else None
        self.outliers = kept(Outliers, self.state, decision.ejects) if decision.ejects else None
        self.budget = kept(Retries, self.state, failure.budget) if failure and failure.budget else None
        self.passes = decision.action == "forward" and not (self.admission or self.entry or self.budget)
        self.works = decision.work is not None and not decision.splits
        # of those who send in order of time: since when a peer that warms up is there, its queue, what comes of an end
        self.since, self.station, self.end = {}, None, None
        self.index = {c.address: i for i, c in enumerate(decision.candidates)}
        self.onward: list[At | None] = [None] * len(decision.candidates)
        special = self.affinity or self.cookie or self.outliers or self.circuit
        self.plain = not self.policy or (len(self.onward) == 1 and not special and not self.policy.counts)


class Sender:
    """The requests of one run. Then `ledger` has what became of them, `picks` how often each balancer picked, `used` at
    which places, `alike` how many picks that carry as many requests each would spread them as much; `reset` and `aged`
    count connections, `notes` say what else there was. `held`: how many connections stay open to the end (None: one for
    each request, closed at once).
    """

    def __init__(self, timeline: Timeline, clients: Clients, requests: int, held: int | None, time: Any, seed: int):
        self.timeline, self.clients, self.requests, self.held, self.time = timeline, clients, requests, held, time
        self.epoch, self.seed, self.rng, self.ledger = 0, seed, Random(seed), Ledger(requests)
        self.used: dict[str, set[Place]] = defaultdict(set)
        self.picks: Counter[str] = Counter()
        self.alike: dict[str, float] = {}
        self.reset = self.aged = 0
        self.notes: list[str] = []
        self.balancers: dict[str, Balancer] = {}
        self._kept: dict[tuple[type, Any], Any] = {}
        self._known: dict[tuple, At] = {}

    def at(self, key: tuple, epoch: int | None = None) -> At:
        epoch = self.epoch if epoch is None else epoch
        at = self._known.get((epoch, key))
        if at is None:
            at = self._known[epoch, key] = At(self.timeline, key, epoch, self.kept)
            for i, candidate in enumerate(at.decision.candidates):
                if candidate.place.kind in ("pod", "endpoint"):
                    end = self.onward(at, i, epoch).decision
                    if end.layer == "pods" and end.action != "reject":  # a pod that nobody picks is known as well
                        names = self.ledger.columns["pod"][0]
                        names.setdefault(end.flow.to, len(names))
        return at

    def kept(self, kind: type, key: Any, *given: Any) -> Any:
        if (kind, key) not in self._kept:
            self._kept[kind, key] = kind(*given)
        return self._kept[kind, key]

    def picked_by(self, at: At) -> None:
        self.balancers[at.policy.name] = at.policy
        self.used[at.policy.name].add(at.decision.place)

    def onward(self, at: At, index: int, epoch: int | None = None) -> At:
        if at.onward[index] is None:
            candidate, via = at.decision.candidates[index], at.key[2] if at.decision.layer == "dns" else None
            at.onward[index] = self.at((candidate.place, candidate.flow, via), epoch)
        return at.onward[index]
