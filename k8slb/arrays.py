"""Many requests at once.

A million requests meet only a few dozen different decisions: those that stand at the same place with the same flow
share one. While the cluster is still and nothing but connections is remembered, balancers that are memoryless or take
turns pick for all of them in one array operation. So do the queues at pods and replicas, stage by stage, in order of
arrival there; and balancers that go by load, where each request decides and goes straight to a pod.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from math import inf, log, sqrt
from typing import Any

from . import queues
from .balancers.base import BALANCERS
from .connections import fills
from .decision import Decision, Memory, Work
from .failures import failed, tries_of
from .few import np
from .path import MAX_HOPS, in_circles, key_of
from .sender import At, Sender

Group = tuple[At, At | None, np.ndarray]  # where they stand, the proxy that sent them, the requests in order of time


class Remembers(Exception):
    """What happens next depends on what happened before: only requests in order of arrival can tell."""


class AtOnce(Sender):
    """All requests hop by hop, those at one place with one flow together."""

    def __init__(self, *common: Any, connection: np.ndarray, arrays: np.random.Generator):
        super().__init__(*common)
        self.connection, self.arrays, self.alike = connection, arrays, self.picks
        self.everyone = np.arange(self.requests) if self.held else connection
        self.when = self.time  # the second at which each stands where it is
        self.spent, self.worked = defaultdict(lambda: np.zeros(self.requests)), {}
        self._served: dict[str, int] = {}  # by whom; how many that are still to arrive there
        self._tracked: list[tuple[Memory, np.ndarray]] = []  # conntrack's entries, and when they were made

    def run(self) -> None:
        who, everyone = self.clients, self.everyone
        of = who.start_of[who.address_of[self.connection % who.users]] if len(who.starts) > 1 else None
        standing: dict[tuple[At, At | None], list[np.ndarray]] = defaultdict(list)  # (where, the proxy that sent it)
        for i, start in enumerate(who.starts):
            mine = everyone if of is None else everyone[of == i]
            if len(mine):
                standing[self.at((start.place, start.flow, start.via)), None].append(mine)
        for hop in range(MAX_HOPS + 1):
            moving: dict[object, list[Group]] = defaultdict(list)
            there = [(*where, self._in_order(parts)) for where, parts in standing.items()]
            for at, proxy, mine in self._queued(there):
                decision = in_circles(at.decision) if hop == MAX_HOPS else at.decision
                if decision.limits:
                    raise Remembers
                if decision.action == "forward":
                    moving[at.state].append((at, proxy, mine))
                else:
                    answers = proxy and failed(proxy.decision, decision.action, None)
                    status = proxy.decision.on_failure.answer(decision.action) if answers else decision.status
                    self.ledger.ended(decision, "respond" if answers else decision.action, status, mine)
            standing = defaultdict(list)
            loaded = self._loaded(moving)
            for state, several in moving.items():
                picks = loaded.get(state)  # of each request, where there are several groups
                if picks is None:
                    together = self._together(several)
                    picks = self._picks(*several[0][:2], together)
                    picks = self._each_own(together, picks) if len(several) > 1 else picks
                for at, proxy, mine in several:
                    own = picks[mine] if len(several) > 1 or state in loaded else picks
                    for index, chosen in self._split(mine, own, len(at.onward)):
                        self.ledger.passed(at.decision, at.decision.candidates[index], chosen)
                        standing[self.onward(at, index), at if at.decision.on_failure else proxy].append(chosen)
        if self.worked:
            self.until = float(self.when.max())
            self.latency = np.subtract(self.when, self.time, out=self.when)
        last = float(self.latency.max()) if self.worked and self._tracked else 0.0
        if any(fills(entry, made, last) for entry, made in self._tracked):
            raise Remembers

    def _in_order(self, parts: list[np.ndarray], anew: bool = False) -> np.ndarray:
        """These requests in order of time, of several at once by their number."""
        if len(parts) == 1 and not anew:
            return parts[0]
        who = np.concatenate(parts)
        if self.when is self.time:
            return np.sort(who, kind="stable")
        when = self.when[who]
        order = np.argsort(when, kind="stable")
        when = when[order]
        return who[order] if (when[1:] > when[:-1]).all() else who[np.lexsort((who, self.when[who]))]

    def _together(self, groups: Iterable[Group]) -> np.ndarray:
        """All of them in order of time."""
        return self._in_order([who for *_, who in groups])

    # --- queues ---

    def _queued(self, groups: list[Group]) -> list[Group]:
        """They wait their turn where a request takes time, and are served. Those who then go on alike are one group."""
        places, onward = defaultdict[str, list[Group]](list), []
        for group in groups:
            decision = group[0].decision
            waits = self.time is not None and decision.work and not decision.splits
            (places[decision.place.name] if waits else onward).append(group)
        for name, several in places.items():
            together, (at, proxy, _) = self._together(several), several[0]
            decision, work, many = at.decision, at.decision.work, len(together)
            if name not in self._served:
                if work.queue is not None:
                    raise Remembers
                unit, self.when = self._units(work, many), self.time.copy() if self.when is self.time else self.when
                longest = queues.serve(work, self.when, self.spent[decision.layer], together, unit)
                if longest > _patience(a.decision for a, *_ in several):
                    raise Remembers
                one = work.workers == 1
                over = self._over(self.when[together[-1:] if one else together], inf if one else unit * work.mean)
                self._worked(decision, float(unit.sum()) * work.mean - float(over.sum()), many)
            if self._served[name] != many:
                raise Remembers  # others come as well, who were not known when these were served
            self._served[name] = 0
            alike = [(at, proxy, together)] if len({_goes(a, p) for a, p, _ in several}) == 1 else several
            onward += [(a, p, self._in_order([mine], anew=work.workers > 1)) for a, p, mine in alike]
        return onward

    def _units(self, work: Work, many: int) -> np.ndarray:
        """So many service times, for a mean of 1."""
        if work.spread == "exponential":
            return self.arrays.standard_exponential(many)
        if work.spread == "lognormal":
            variance = log(1 + work.cv**2)
            return np.exp(sqrt(variance) * self.arrays.standard_normal(many) - variance / 2)
        return np.ones(many)

    def _over(self, left: np.ndarray, took: np.ndarray | float) -> np.ndarray:
        """The seconds of work after the last request was sent, of those who leave then and `took` so long; one worker
        is busy without a break until the last of its queue leaves."""
        return np.minimum(np.maximum(left - self.time[-1], 0.0), took) if self.time[-1] else np.zeros(1)

    def _worked(self, decision: Decision, busy: float, many: int) -> None:
        self.worked[decision.flow.to] = busy, decision.work.workers
        self._served[decision.place.name] = many

    # --- picks ---

    def _loaded(self, moving: dict[object, list[Group]]) -> dict[object, np.ndarray]:
        """What balancers that go by load pick, for each state and request: who picks a pod counts there until it is
        served, so picks and queues are one."""
        asking = {state: several for state, several in moving.items() if self._by_load(*several[0][:2])}
        if not asking:
            return {}
        ats, everyone = [several[0][0] for several in asking.values()], chain.from_iterable(asking.values())
        ends = {end.place.name: end for at in ats for end in self._ends(at)}
        pods, works, together = list(ends), [end.work for end in ends.values()], self._together(everyone)
        if len({(w.spread, w.cv) for w in works}) > 1 or self._served.keys() & ends.keys():
            raise Remembers
        mean, which = np.array([w.mean for w in works]), np.zeros(1, np.int16)
        if len(ats) > 1:
            which = np.empty(self.requests, np.int16)
            for i, several in enumerate(asking.values()):
                which[np.concatenate([m for *_, m in several])] = i
            which = which[together]
        for several in asking.values():
            self._track(*several[0][:2], self._together(several))
        arrival = self.when if together is self.everyone else self.when[together]
        unit = self._units(works[0], len(together))
        queue_of = [[pods.index(end.place.name) for end in self._ends(at)] for at in ats]
        peers, kernel = ats[0].decision.candidates, ats[0].policy.kernel
        alike = len(ats) == 1 and len({p.weight for p in peers}) == 1 and peers[0].weight
        alike = alike and len(peers) == len(pods) < queues.MOST
        if kernel and alike and all(w.workers == 1 for w in works):
            picks, left = queues.picked(kernel, self.arrays, arrival, unit, mean)
        else:
            asked = [
                (at.policy, at.decision.candidates, at.memory, key_of(at.decision), q, at.decision.on_failure)
                for at, q in zip(ats, queue_of, strict=True)
            ]
            which = np.broadcast_to(which, len(together))
            picks, left = queues.in_turn(arrival, unit, mean, [w.workers for w in works], which, asked, self.rng)
            if (picks < 0).any():
                raise Remembers
        spent, picks = left - arrival, picks.astype(_small(len(pods)))
        if (spent > _patience(ends.values())).any():
            raise Remembers
        queue_of = np.array([np.resize(q, max(map(len, queue_of))) for q in queue_of], picks.dtype)
        pod = queue_of[which, picks]
        took = unit * mean[pod]
        busy, many = np.bincount(pod, took - self._over(left, took), len(pods)), np.bincount(pod, minlength=len(pods))
        for i in np.flatnonzero(many):
            self._worked(ends[pods[i]], float(busy[i]), int(many[i]))
        for i, at in enumerate(ats):
            self.picked_by(at)
            self.picks[at.policy.name] += int((which == i).sum()) if len(ats) > 1 else len(picks)
        if together is self.everyone and self.when is self.time:
            self.when, self.spent["pods"] = left, spent
            return dict.fromkeys(asking, picks)
        self.when = self.when.copy()
        self.when[together], self.spent["pods"][together] = left, spent
        return dict.fromkeys(asking, self._each_own(together, picks))

    def _each_own(self, who: np.ndarray, picks: np.ndarray) -> np.ndarray:
        """The picks for `who`, by the number of the request."""
        found = np.zeros(self.requests, picks.dtype)
        found[who] = picks
        return found

    def _ends(self, at: At) -> list[Decision]:
        return [self.onward(at, i).decision for i in range(len(at.onward))]

    def _by_load(self, at: At, proxy: At | None) -> bool:
        """Whether this balancer goes by load, picks for each request, and leads straight to pods that take time. What a
        function of a learner's goes by is not known."""
        policy = at.policy
        if self.time is None or not policy or BALANCERS.get(policy.name) is not policy or len(at.onward) == 1:
            return False
        if not (policy.counts or policy.answered) or self._remembers(at) or not self._each(at, proxy):
            return False
        ends = self._ends(at)
        return all(e.action == "respond" and e.work and e.work.queue is None and not e.limits for e in ends)

    def _each(self, at: At, proxy: At | None) -> bool:
        """Whether each request is decided by itself: a proxy dials for each."""
        return at.decision.grain == "request" or proxy is not None or self.held in (None, self.requests)

    def _remembers(self, at: At) -> bool:
        """Whether what is picked there may depend on what became of earlier requests."""
        entry, held, lasting = at.entry, self.held, self.held and self.time is not None and self.time[-1]
        if at.affinity or (entry and held and (held > entry.capacity or lasting > (entry.unused or entry.timeout))):
            return True
        return bool(at.cookie or ((tries_of(at.decision) > 1 or at.outliers) and self._may_fail(at.decision, at, 5)))

    def _track(self, at: At, proxy: At | None, who: np.ndarray) -> None:
        """Each of these connections makes an entry; so few never fill a table."""
        if at.entry and proxy is None and self.time is not None and not self.held and len(who) > at.entry.capacity:
            first = who is self.everyone and self.when is self.time
            self._tracked.append((at.entry, self.time if first else self.when[who]))

    def _picks(self, at: At, proxy: At | None, who: np.ndarray) -> np.ndarray:
        """The index of the candidate for each request in `who`: one pick per connection, or per request at L7."""
        if self._remembers(at):
            raise Remembers
        self._track(at, proxy, who)
        if len(at.onward) == 1 or at.policy is None:
            return np.zeros(len(who), dtype=np.int8)
        if at.decision.layer != "pods":
            self.picked_by(at)
        if self._each(at, proxy):
            return self._draw(at, len(who))
        first, which = np.unique(self.connection[who], return_inverse=True)
        return self._draw(at, len(first))[which]

    def _may_fail(self, proxy: Decision, at: At, depth: int) -> bool:
        """Whether what it leads to may be a failure, which the proxy's next pick depends on: a try uses up a turn, a
        peer is ejected."""
        end = at.decision
        if end.action == "forward":
            ways = (self.onward(at, i) for i in range(len(at.onward)))
            return depth > 0 and any(self._may_fail(proxy, way, depth - 1) for way in ways)
        return failed(proxy, end.action, end.status) or bool(proxy.ejects and (end.status or 0) >= 500)

    def _draw(self, at: At, units: int) -> np.ndarray:
        """Picks for `units` arrivals in a row, as the balancer's own `pick` would give them."""
        policy, peers, count = at.policy, at.decision.candidates, len(at.onward)
        small = _small(count)
        if at.decision.layer != "pods":
            self.picks[policy.name] += units
        if policy.memoryless and len({p.weight for p in peers}) == 1:
            return self.arrays.integers(0, count, units, dtype=small)
        if policy.memoryless:
            reached = np.cumsum([float(share) for share in policy.exact(peers, None)])
            return np.searchsorted(reached[:-1], self.arrays.random(units), side="right").astype(small)
        if not policy.cycle or not all(p.weight for p in peers):
            raise Remembers
        state = at.memory
        first = policy.pick(peers, state, self.rng, None, 0.0)
        state["at"] = (first + policy.cycle * (units - 1)) % count
        turns = ((first + policy.cycle * np.arange(count)) % count).astype(small)
        return np.tile(turns, units // count + 1)[:units]

    def _split(self, who: np.ndarray, picks: np.ndarray, count: int) -> Iterator[tuple[int, np.ndarray]]:
        """(index, the requests that picked it, in order of arrival) for every candidate that was picked."""
        if count == 1:
            yield 0, who
            return
        ordered = np.argsort(picks, kind="stable")
        ordered = ordered if who is self.everyone else who[ordered]
        ends = np.cumsum(np.bincount(picks, minlength=count))
        for index, (begin, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            if end > begin:
                yield index, ordered[begin:end]


def _goes(at: At, proxy: At | None) -> tuple:
    """How those who stand there go on: alike, where this is the same."""
    end = at.decision
    fails = end.action == "forward" and (end.on_failure or proxy)
    return end.state, end.flow.to, end.action, end.status, end.candidates, fails


def _patience(ends: Iterable[Decision]) -> float:
    """The seconds for which whoever asks waits for an answer."""
    return min((p for end in ends if (p := end.flow.patience) is not None), default=inf)


def _small(count: int) -> type:
    """For numbers below `count`: so small they are sorted fast."""
    return np.int16 if count < queues.MOST else np.int32
