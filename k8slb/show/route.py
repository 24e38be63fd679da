"""Every way that a request can take, as stages of spots with edges between them: what the drawing of a path shows.

The same decisions as `path.shares`, walked forward and merged by place, so the shares that arrive at the pods are
those that `shares` gives.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, cached_property
from operator import itemgetter
from typing import NamedTuple

from .. import path
from ..answers.ways import Share, summed, times
from ..cluster import Cluster, grouped
from ..decision import Decision, Place, Timeline
from ..errors import NotModelled
from ..failures import after_failures, fails
from ..layers.mesh.members import member_at
from ..traffic import Flow

LOST = {"reject": "connection refused", "drop": "no answer", "unresolved": "name does not resolve"}


class Spot(NamedTuple):
    """A box of the drawing: kind "client", "load balancer", "node", "proxy", "backend" (a route has several), "pod",
    "end" (no pod) or "more".

    `note`: the node that a pod runs on, kube-proxy's mode on a node.
    """

    kind: str
    name: str
    address: str = ""
    note: str = ""


class Edge(NamedTuple):
    source: Spot
    target: Spot
    share: Share


class _At(NamedTuple):
    """Where a part of the requests stands: the next decision's place, and the last spot drawn for it.

    `backend` is drawn for that decision where the one before picked it.
    """

    place: Place
    flow: Flow
    via: str | None
    spot: Spot
    depth: int = 0
    backend: Spot | None = None


@dataclass(frozen=True)
class Route:
    """`edges[i]` lead from `stages[i]` to `stages[i + 1]`; an edge's share is of all requests."""

    stages: tuple[tuple[Spot, ...], ...]
    edges: tuple[tuple[Edge, ...], ...]
    controllers: frozenset[str] = frozenset()

    def arriving(self, stage: int) -> dict[Spot, Share]:
        """How much of all requests comes to each spot of a stage."""
        into = self.edges[stage - 1] if stage else ()
        total: dict[Spot, Share] = dict.fromkeys(self.stages[stage], Fraction(0 if stage else 1))
        return total | summed((edge.target, edge.share) for edge in into)

    @cached_property
    def onward(self) -> list[dict[Spot, list[Edge]]]:
        """By stage and spot the edges that lead on from it."""
        return [*(grouped((e.source, e) for e in edges) for edges in self.edges), {}]

    def ends(self) -> dict[Spot, Share]:
        """How much of all requests comes to each spot that nothing leads on from."""
        every = ((i, *found) for i in range(len(self.stages)) for found in self.arriving(i).items())
        return summed((spot, share) for i, spot, share in every if spot not in self.onward[i])

    def way(self, seen: Collection[str]) -> tuple[Spot, ...]:
        """The one way through the spots whose names or addresses were `seen`, one spot a stage."""

        @cache
        def best(stage: int, spot: Spot) -> tuple[int, tuple[Spot, ...]]:
            """(how many were seen, the spots) from `spot` on."""
            ways = [best(stage + 1, e.target) for e in self.onward[stage].get(spot, ())]
            score, way = max(ways, default=(0, ()), key=itemgetter(0))
            return score + (spot.name in seen or spot.address in seen), (spot, *way)

        return best(0, self.stages[0][0])[1]


def route_of(found: Iterable[Iterable[Edge]], controllers: Iterable[str]) -> Route:
    """The route with these edges from each stage to the next, those between the same two spots as one."""
    drawn = []
    for stage in found:
        total = summed((edge[:2], edge.share) for edge in stage)
        drawn.append(tuple(Edge(*pair, total[pair]) for pair in sorted(total, key=lambda pair: [*map(_rank, pair)])))
    stages = [sorted({e.target for e in stage}, key=_rank) for stage in drawn]
    for stage, onward in zip(stages, drawn[1:], strict=False):
        if any(spot.kind == "backend" for spot in stage):  # each stands where its pods do, so that no edges cross
            first = {e.source: _rank(e.target) for e in reversed(onward)}
            stage.sort(key=lambda spot: first.get(spot, _rank(spot)))
    return Route(((drawn[0][0].source,), *map(tuple, stages)), tuple(drawn), frozenset(controllers))


def edges(timeline: Timeline, begin: path.Start, now: float = 0.0) -> Route:
    """The route of a request that sets out at `begin` in second `now`."""
    view = timeline.seen_by(begin.place, now)
    found: list[list[Edge]] = []
    controllers: set[str] = set()

    def draw(depth: int, source: Spot, target: Spot, share: Share) -> None:
        found.extend([] for _ in range(depth + 1 - len(found)))
        found[depth].append(Edge(source, target, share))

    front: dict[_At, Share] = {_At(begin.place, begin.flow, begin.via, _client(begin)): Fraction(1)}
    for hop in range(path.MAX_HOPS + 1):
        onward: list[tuple[_At, Share]] = []
        for at, share in front.items():
            decision = path.decide(timeline, at.place, at.flow, at.via, now)
            if hop == path.MAX_HOPS:
                decision = path.in_circles(decision)
            controllers |= {str(decision.facts["controller"])} if "controller" in decision.facts else set()
            here, depth = at.backend or _spot(view, decision) or at.spot, at.depth
            if here != at.spot:
                draw(depth, at.spot, here, share)
                depth += 1
            ends = _ends(timeline, decision, at, now)
            for outcome, part in ends.items():
                end = _end(view, outcome)
                if end != here:
                    draw(depth, here, end, times(share, part))
            via = at.via if decision.layer == "dns" else None
            splits = decision.splits and decision.layer != "pods"
            for candidate, part in () if ends else zip(decision.candidates, _exact(decision), strict=True):
                short = candidate.name.rpartition("/")[2].partition(":")[0]
                backend = Spot("backend", short, candidate.name) if splits else None
                onward.append((_At(candidate.place, candidate.flow, via, here, depth, backend), times(share, part)))
            for limit in (x for x in decision.limits if x.kind not in ("pool", "retries")):  # how many depends on load
                end = ("answered", str(limit.status)) if limit.status else ("lost", "reject")
                draw(depth, here, _end(view, end), None)
        front = summed(onward)
    return route_of(found, controllers)


def _client(begin: path.Start) -> Spot:
    kind, name = begin.place
    return Spot("client", {"outside": "client", "pod": f"pod {name}"}.get(kind, name), begin.flow.source)


def _spot(view: Cluster, decision: Decision) -> Spot | None:
    """Where a decision is drawn; None where it is drawn with the spot before (names are looked up by the client)."""
    kind, name = decision.place
    if decision.layer in ("dns", "network"):
        return None
    if decision.layer == "mesh":
        return Spot("proxy", _mesh_proxy(view, decision))
    if kind == "cloud-lb":
        return Spot("load balancer", "load balancer", name.partition(" ")[2] or name)  # "IP in ZONE" behind the IP
    if kind == "node":
        return Spot("node", name, view.node[name].address if name in view.node else "", view.mode)
    if decision.layer == "pods":
        return _pod(view, decision.flow.to)
    return Spot("proxy", name.rpartition("/")[2], decision.flow.to)


def _mesh_proxy(view: Cluster, decision: Decision) -> str:
    mesh = decision.facts.get("mesh") or member_at(view, decision.place).mesh
    pod = view.pod_named.get(tuple(decision.place.name.split("/", 1)))
    if mesh != "ambient":
        return f"sidecar of {decision.place.name.rpartition('/')[2]}"
    node = pod.spec.nodeName if pod else view.nodes[0].name  # a client that the model adds is on the first
    return "waypoint" if decision.grain == "request" else f"ztunnel on {node}"


def _pod(view: Cluster, address: str) -> Spot:
    ip, _, port = address.rpartition(":")
    pod = view.pod_behind(ip, int(port))
    return Spot("pod", pod.name if pod else ip, address, pod.spec.nodeName if pod else "")


def _end(view: Cluster, outcome: path.Outcome) -> Spot:
    kind, what = outcome
    if kind in ("pod", "failed"):  # whatever it answers
        return _pod(view, what.split()[0])
    return Spot("end", called(kind, what))


def called(kind: str, what: str) -> str:
    """What an end without a pod is called, by its outcome or by the column of a run that has it (status, lost)."""
    return LOST.get(what, what) if kind == "lost" else f"answered {what}"


def _ends(timeline: Timeline, decision: Decision, at: _At, now: float) -> dict[path.Outcome, Share]:
    """What it comes to where nothing leads on, or a proxy tries again because some of its pods fail: several tries are
    one step here, to who answers in the end. Empty where the candidates are drawn."""
    if decision.action != "forward":
        return {path.outcome_of(decision): Fraction(1)}
    if not decision.on_failure:
        return {}
    with suppress(NotModelled):
        ways = [path.shares(timeline, path.Start(c.place, c.flow), now) for c in decision.candidates]
        if any(fails(decision, outcome) for way in ways for outcome in way):
            once = replace(decision, balancer=None, ejects=None)
            ends = dict.fromkeys(after_failures(once, ways, [Fraction(1)] * len(ways)))
            with suppress(NotModelled):
                ends = path.shares(timeline, path.Start(at.place, at.flow, at.via), now)
            return ends
    return {}


def _exact(decision: Decision) -> list[Share]:
    try:
        return list(path.exact_shares(decision))
    except NotModelled:
        return [None] * len(decision.candidates)


def _rank(spot: Spot) -> tuple:
    """Addresses by number; what no pod answers comes last, and after it what stands for the rest."""
    numbers = [int(p) for p in spot.address.replace(":", ".").split(".") if p.isdigit()]
    return spot.kind == "more", spot.kind == "end", numbers, spot.name, spot.address
