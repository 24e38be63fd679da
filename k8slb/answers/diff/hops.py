"""Where requests go: the share of each pod, how it is picked, and how often a request moves between nodes and zones."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from ... import path
from ...balancers import balancer
from ...cluster import Cluster
from ...decision import Decision, Place
from ...errors import NotModelled
from ...failures import Outcome
from ..trace import FAILED
from ..ways import Share, summed, times, ways

MASKED = "source NAT"  # among the picks: where the client's address is replaced before a proxy or a pod sees it


class Ends(NamedTuple):
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


def reached(view: Cluster, every: Sequence[Sequence[path.Met]]) -> Ends:
    """Of questions that can meet `every` of these decisions (`path.met`), as many of each. NotModelled as `ways`."""
    if not every:
        return Ends({("lost", "absent"): Fraction(1)})
    found, part = [ways(met, ("pod",)) for met in every], Fraction(1, len(every))
    shares = summed((_end(view, way.facts), times(way.share, part)) for one in found for way in one.found)
    moved = [_moves(view, met) for met in every]
    picks = (_picked(decision) for met in every for decision, _ in met if decision.action == "forward")
    why = max(str(one.unknown or "") for one in found)
    why = why.removeprefix("not modelled: exact shares of ").removesuffix("; use send")
    often = tuple(sum(n) * part for n in zip(*moved, strict=True)) if all(moved) else ()
    return Ends(shares, often, frozenset().union(*picks), why)


def _moves(view: Cluster, met: Sequence[path.Met]) -> tuple[Fraction, ...]:
    """The expected moves between nodes and between zones, of first tries; none where they depend on load."""
    found: list[tuple[Fraction, ...]] = []
    for decision, onward in met:
        moved, here = [Fraction(0), Fraction(0)], _where(view, decision.place)
        try:
            shares = path.exact_shares(decision)
        except NotModelled:
            return ()
        for c, i, share in zip(decision.candidates, onward, shares, strict=False):
            for k, (one, other) in enumerate(zip(here, _where(view, c.place), strict=True)):
                moved[k] += share * (found[i][k] + (one != other and "" not in (one, other)))
        found.append(tuple(moved))
    return found[-1]


def _picked(decision: Decision) -> set[str]:
    """How one of several is picked there, who is remembered, and what is admitted."""
    hides = decision.layer in ("cloud-lb", "kube-proxy")
    masked = {MASKED} if hides and any(c.flow.source != decision.flow.source for c in decision.candidates) else set()
    if not decision.balancer or decision.layer == "pods":
        return masked
    kept = {f"{m.kind} affinity, {m.timeout or 0:g} s" for m in decision.remembers if m.kind != "conntrack"}
    limits = {f"{x.name}: {x.rate or x.burst:g}" + " a second" * bool(x.rate) for x in decision.limits}
    return {balancer(decision.balancer).name} | kept | limits | masked


def _where(view: Cluster, place: Place) -> tuple[str, str]:
    """(node, zone) of a place; "" where it has none, or none is known."""
    pod = view.pod_named.get(tuple(place.name.split("/", 1))) if place.kind in ("pod", "process") else None
    name = place.name if place.kind == "node" else pod.spec.nodeName if pod else ""
    return name, view.node[name].zone if name in view.node else ""


def _end(view: Cluster, facts: Mapping[str, str]) -> Outcome:
    """An end with the name of its pod, as addresses move when pods come and go."""
    if "pod" not in facts:
        return ("answered", facts["status"]) if facts["action"] == "respond" else ("lost", facts["action"])
    ip, _, port = facts["pod"].rpartition(":")
    pod = view.pod_behind(ip, int(port))
    name = f"{pod.namespace}/{pod.name}" if pod else facts["pod"]
    return ("failed", f"{name} {facts['status']}") if "5" <= facts["status"] < "6" else ("pod", name)


def _kind(kind: str, what: str) -> str:
    status = {"lost": "no answer", "pod": ""}.get(kind, what.split()[-1])
    return {"4": "4xx", "5": "5xx", "2": "", "3": ""}.get(status[:1], status) if status != "404" else status


def _told(kind: str, what: str) -> str:
    if kind in ("answered", "failed"):
        return f"answered {what.split()[-1]}"
    return "answered by a pod" if kind == "pod" else FAILED.get(what, "no such address")
