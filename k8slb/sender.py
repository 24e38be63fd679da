"""What every way of sending has: where a flow stands and what is decided there, and the ledger of what came of it."""

from collections import Counter, defaultdict
from random import Random
from typing import Any

import numpy as np

from .balancers import balancer
from .balancers.base import Balancer
from .clients import Clients
from .decision import Candidate, Decision, Place, Timeline
from .failures import gave_up
from .path import cookie_of, decide

CONTROLLERS = ("ingress", "gateway")  # whose replicas have a column
Column = tuple[dict[str, int], np.ndarray]


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

    def ended(self, decision: Decision, proxy: Decision | None, who: Any) -> None:
        """The last decision for these requests; where what a proxy dialled failed, the proxy answers."""
        if decision.layer in CONTROLLERS:
            self.put(f"{decision.layer}_pod", who, decision.flow.to)
        if decision.action in ("reject", "drop") and proxy:
            decision = gave_up(proxy, decision, 0)
        if decision.action == "respond":
            if decision.layer == "pods":
                self.put("pod", who, decision.flow.to)
            self.put("status", who, str(decision.status or "open"))
        else:
            self.put("lost", who, decision.action)


class At:
    """Where a flow stands and what is decided there between two changes of the cluster; `onward` fills up."""

    __slots__ = ("affinity", "cookie", "decision", "entry", "index", "key")
    __slots__ += ("memory", "onward", "plain", "policy", "state", "stays")

    def __init__(self, timeline: Timeline, key: tuple, now: float):
        self.key, self.decision = key, decide(timeline, *key, now)
        remembered = {m.kind: m for m in self.decision.remembers}
        self.entry = remembered.get("conntrack") if self.decision.layer == "kube-proxy" else None
        self.policy = balancer(self.decision.balancer) if self.decision.balancer else None
        self.state = self.decision.state or key
        # a cookie is the user's: it says the same to each replica
        kept, said = cookie_of(self.decision), tuple(x for x in self.state if isinstance(x, str))
        self.stays = bool(kept and kept.stays)
        self.cookie = (kept.key, *said, self.decision.flow.backend) if kept and self.policy else None
        self.affinity = kept if self.cookie and not self.policy.hashes else remembered.get("ClientIP")
        self.index = {c.address: i for i, c in enumerate(self.decision.candidates)}
        self.onward: list[At | None] = [None] * len(self.decision.candidates)
        special = self.affinity or self.cookie or self.decision.ejects
        self.plain = not self.policy or (len(self.onward) == 1 and not special and not self.policy.counts)


class Sender:
    """The requests of one run. Then `ledger` has what became of them, `picks` how often each balancer picked, `used` at
    which places, `alike` how many picks that carry as many requests each would spread them as much; `reset` and `aged`
    count connections, `notes` say what else there was. `held`: how many connections stay open to the end (None: one for
    each request, closed at once).
    """

    def __init__(self, timeline: Timeline, clients: Clients, requests: int, held: int | None, time: Any, seed: int):
        self.timeline, self.clients, self.requests, self.held, self.time = timeline, clients, requests, held, time
        self.instants, self.epoch, self.rng, self.ledger = timeline.instants, 0, Random(seed), Ledger(requests)
        self.used: dict[str, set[Place]] = defaultdict(set)
        self.picks: Counter[str] = Counter()
        self.alike: dict[str, float] = {}
        self.reset = self.aged = 0
        self.notes: list[str] = []
        self.balancers: dict[str, Balancer] = {}
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
                    if end.layer == "pods" and end.action != "reject":  # a pod that nobody picks is known as well
                        names = self.ledger.columns["pod"][0]
                        names.setdefault(end.flow.to, len(names))
        return at

    def picked_by(self, at: At) -> None:
        self.balancers[at.policy.name] = at.policy
        self.used[at.policy.name].add(at.decision.place)

    def onward(self, at: At, index: int, epoch: int | None = None) -> At:
        if at.onward[index] is None:
            candidate, via = at.decision.candidates[index], at.key[2] if at.decision.layer == "dns" else None
            at.onward[index] = self.at((candidate.place, candidate.flow, via), epoch)
        return at.onward[index]
