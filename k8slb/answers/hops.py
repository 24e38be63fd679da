"""Where requests go: the share of each pod, how it is picked, and how often a request moves between nodes and zones."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from .. import path
from ..balancers import balancer
from ..cluster import Cluster
from ..decision import Decision, Place, Timeline
from ..errors import NotModelled
from ..failures import Outcome, Spread, after_failures, mixed
from ..kubectl import BALANCING
from .trace import FAILED

Share = Fraction | None  # None: it depends on load


class Ways(NamedTuple):
    """All that can become of a question: the share of each end (a pod by NAMESPACE/NAME), the expected moves of a
    request between nodes and between zones (of first tries; empty: they depend on load), how one of several is picked;
    `why` there are no exact shares, or (no ends) no answer."""

    shares: Mapping[Outcome, Share]
    moves: tuple[Fraction, ...] = ()
    picks: frozenset[str] = frozenset()
    why: str = ""

    @property
    def pods(self) -> dict[str, Share]:
        """The share of each pod, whatever it answers."""
        return summed((what.split()[0], s) for (kind, what), s in self.shares.items() if kind in ("pod", "failed"))

    @property
    def parts(self) -> dict[str, Share]:
        """The share of each kind of answer: "" (a good one), "404", "4xx", "5xx", "no answer"."""
        found = summed((_kind(*end), share) for end, share in self.shares.items())
        return dict.fromkeys(found, Fraction(1)) if len(found) == 1 else found

    def __str__(self) -> str:
        told = summed((_told(*end), share) for end, share in self.shares.items())
        return ", ".join(told if len(told) == 1 else (f"{s or 'some'} {what}" for what, s in told.items())) or self.why


def ways(view: Cluster, starts: Iterable[path.Start]) -> Ways:
    """Of questions that set out at `starts`, as many from each; what is not modelled is said in `why`."""
    try:
        found = [_ways(view, begin) for begin in starts]
    except NotModelled as told:
        return Ways({}, why=": ".join(str(told).split(": ")[:2]))
    if not found:
        return Ways({("lost", "absent"): Fraction(1)})
    every = summed((end, share and share / len(found)) for one in found for end, share in one.shares.items())
    moves = tuple(sum(moved) / len(found) for moved in zip(*(one.moves for one in found), strict=False))
    return Ways(every, moves, frozenset().union(*(one.picks for one in found)), max(one.why for one in found))


def _ways(view: Cluster, begin: path.Start) -> Ways:
    picks, moves, why = set[str](), (), ""
    try:
        shares, moves = _ahead(Timeline.still(view), begin.place, begin.flow, begin.via, {}, picks)
    except NotModelled as told:  # what can become of it is seen where all are picked at random
        why = str(told).removeprefix("not modelled: exact shares of ").removesuffix("; use send")
        own = tuple((layer, "iptables-random") for layer in BALANCING)
        still = view.once("at random", lambda: Timeline.still(replace(view, own_balancers=own, _memo={})))
        shares = dict.fromkeys(path.shares(still, begin))
    ends = summed((_named(view, *end), share) for end, share in shares.items() if share != 0)
    return Ways(ends, moves, frozenset(picks), why)


def _ahead(
    timeline: Timeline, place: Place, flow: path.Flow, via: str | None, known: dict, picks: set[str], depth: int = 0
) -> tuple[Spread, tuple[Fraction, Fraction]]:
    """What becomes of a flow from `place` on, as `path.shares` has it, and its expected moves."""
    if (place, flow) in known:
        return known[place, flow]
    view, decision = timeline.at(), path.decide(timeline, place, flow, via)
    decision = path.in_circles(decision) if depth >= path.MAX_HOPS else decision
    if decision.action != "forward":
        return {path.outcome_of(decision): Fraction(1)}, (Fraction(0), Fraction(0))
    picks |= _picked(decision)
    onward, shares = via if decision.layer == "dns" else None, path.exact_shares(decision)
    ahead = [_ahead(timeline, c.place, c.flow, onward, known, picks, depth + 1) for c in decision.candidates]
    ways, moved = [spread for spread, _ in ahead], [Fraction(0), Fraction(0)]
    for c, share, (_, then) in zip(decision.candidates, shares, ahead, strict=True):
        for i, (here, there) in enumerate(zip(_where(view, decision.place), _where(view, c.place), strict=True)):
            moved[i] += share * (then[i] + (here != there and "" not in (here, there)))
    ended = after_failures(decision, ways, shares) if decision.on_failure else mixed(zip(shares, ways, strict=True))
    known[place, flow] = ended, tuple(moved)
    return known[place, flow]


def _picked(decision: Decision) -> set[str]:
    """How one of several is picked there, who is remembered, and what is admitted."""
    if not decision.balancer or decision.layer == "pods":
        return set()
    kept = {f"{m.kind} affinity, {m.timeout or 0:g} s" for m in decision.remembers if m.kind != "conntrack"}
    limits = {f"{x.name}: {x.rate or x.burst:g}" + " a second" * bool(x.rate) for x in decision.limits}
    return {balancer(decision.balancer).name} | kept | limits


def _where(view: Cluster, place: Place) -> tuple[str, str]:
    """(node, zone) of a place; "" where it has none, or none is known."""
    pod = view.pod_named.get(tuple(place.name.split("/", 1))) if place.kind in ("pod", "process") else None
    name = place.name if place.kind == "node" else pod.spec.nodeName if pod else ""
    return name, view.node[name].zone if name in view.node else ""


def _named(view: Cluster, kind: str, what: str) -> Outcome:
    """An end with the name of its pod, as addresses move when pods come and go."""
    address, _, status = what.partition(" ")
    ip, _, port = address.rpartition(":")
    pod = view.pod_behind(ip, int(port)) if kind in ("pod", "failed") else None
    return kind, f"{pod.namespace}/{pod.name} {status}".strip() if pod else what


def _kind(kind: str, what: str) -> str:
    status = {"lost": "no answer", "pod": ""}.get(kind, what.split()[-1])
    return {"4": "4xx", "5": "5xx", "2": "", "3": ""}.get(status[:1], status) if status != "404" else status


def _told(kind: str, what: str) -> str:
    if kind in ("answered", "failed"):
        return f"answered {what.split()[-1]}"
    return "answered by a pod" if kind == "pod" else FAILED.get(what, "no such address")


def summed(pairs: Iterable[tuple[object, Share]]) -> dict:
    """The sum for each key; a sum with an unknown share is unknown."""
    total: dict[object, Share] = {}
    for key, share in pairs:
        sofar = total.get(key, Fraction(0))
        total[key] = None if None in (sofar, share) else sofar + share
    return total
