"""The film of a change: a row for each pod, the EndpointSlice, each kube-proxy, proxy and load balancer.

What a pod is, and who still sends to one that takes nothing: the lost requests stand below those stretches.
"""

import re
from collections.abc import Iterable, Sequence
from math import inf
from typing import Any, NamedTuple

from ..cluster import Cluster
from ..decision import Place, Timeline, pod_place
from ..endpoints import of_port
from ..errors import InputError, shown
from ..loadbalancers import setting
from ..objects import Object, Pod, Service
from ..scheduling import some
from .svg import BAR, DOT, GROUND, INK, MISSED, axis, frame, text, width

NEW = "#dddddd"
COLOURS = {"ready": BAR, "up to date": BAR, "starting": NEW, "behind": DOT, "terminating": DOT}  # else MISSED
LEGEND = {  # a colour, and what it means: of a pod, of who sends requests
    BAR: "ready, up to date",
    NEW: "starting",
    DOT: "terminating, behind",
    MISSED: "takes nothing, sends to one that takes nothing",
}
DEAD = "dead"
LEFT, RIGHT, HIGH, MOST = 250, 880, 20, 40


class Row(NamedTuple):
    """Seconds; `end` is inf for what lasts."""

    what: str
    who: str
    begin: float
    end: float
    state: str


class Learner(NamedTuple):
    """Who sends requests, or lists who gets them: where it stands, what it does there, for which Services."""

    what: str
    who: str
    place: Place
    role: str
    services: Sequence[Service]


def film(timeline: Timeline, lives: Sequence[tuple[Object, Sequence[tuple[float, float, str]]]]) -> list[Row]:
    """The rows, of each thing in the order of time: what its state is; of who sends requests whether it knows."""
    rows = [Row(one.kind, one.name, *span) for one, spans in lives for span in spans if span[2] != "gone"]
    found = learners(timeline, [one for one, _ in lives])
    return rows + [row for learner in found for row in _knowing(timeline, *learner)]


def learners(timeline: Timeline, changing: Iterable[Object]) -> list[Learner]:
    """Who sends requests to the pods that change, and the list that they read."""
    pods, cluster = [one for one in changing if isinstance(one, Pod)], timeline.at()
    services = [s for s in cluster.services.values() if any(map(s.selects, pods))]
    found = [("EndpointSlice", s.name, Place("EndpointSlice", s.name), "", [s]) for s in services]
    found += [("kube-proxy", n.name, Place("node", n.name), "", services) for n in cluster.nodes]
    for pod, controller in {p.key: (p, c) for c in cluster.replica_at.values() for p in c.pods}.values():
        role = "gateway" if controller.gateway else "ingress"
        found.append((role, pod.name, pod_place(pod), role, services))
    balancers = {a: s for a, s in cluster.balancer_at.items() if s in services}
    found += [("cloud-lb", a, Place("cloud-lb", a), "", [s]) for a, s in balancers.items()]
    return [Learner(*one) for one in found] if services else []


def sends_to(timeline: Timeline, learner: Learner, now: float) -> list[str]:
    """The pods (or nodes) that get requests from it at `now`."""
    view = timeline.seen_by(learner.place, now, learner.role)
    return [name for _, name in sorted(_targets(view, learner.what, learner.services), key=_numbered)]


def _numbered(target: tuple[str, str]) -> list[str | int]:
    """order-10 comes after order-9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", "/".join(target))]


def _knowing(
    timeline: Timeline, what: str, who: str, place: Place, role: str, services: Sequence[Service]
) -> list[Row]:
    """Whether it sends to the pods that are ready, or still to others."""

    def state(now: float) -> str:
        real, known = timeline.at(now), timeline.seen_by(place, now, role)
        here = real.node.get(who) if place.kind == "node" else real.pod_named.get((*place.name.split("/"),))
        if here and here.down:
            return DEAD  # with it what it believes
        sends, rightly = (_targets(view, what, services) for view in (known, real))
        there = {t: real.pod_named.get(t) or real.node.get(t[1]) for t in sends}
        if missing := sorted(name for (_, name), one in there.items() if one is None or one.down):
            return f"{'lists' if what == 'EndpointSlice' else 'sends to'} {some(missing)}"
        return "up to date" if sends == rightly else "behind"

    return [Row(what, who, *span) for span in timeline.spans(state)]


def _targets(view: Cluster, what: str, services: Sequence[Service]) -> set[tuple[str, str]]:
    """(namespace, name) of the pods that get requests; ("", name) of the nodes that a load balancer sends to."""
    ends = ((s, e) for s in services for p in s.spec.ports for e in of_port(view, s, p))
    pods = {(s.namespace, e.name): e.node for s, e in ends if e.ready}
    if what != "cloud-lb" or any(setting(s, view.nodes).targets == ("ip",) for s in services):
        return set(pods)
    local = any(s.spec.externalTrafficPolicy == "Local" for s in services)
    alive = (n.name for n in view.nodes if n.ready and not n.down)
    return {("", name) for name in alive if not local or name in pods.values()}


# --- drawn -----------------------------------------------------------------------------------------------------------


def lanes(rows: Sequence[Row], lost: Sequence[float] | None) -> tuple[dict[str, list[Row]], str, float]:
    """(the rows by what they are of, with the first pods only where there are many; what stands in the last row; the
    second at which the picture ends)."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(f"{row.what} {row.who}", []).append(row)
    pods = [lane for lane in found if lane.startswith("Pod ")]
    hidden = pods[max(10, MOST - len(found) + len(pods)) :]
    told = [] if lost is None else [f"{len(lost):,} lost requests" if lost else "no request lost"]
    told += [f"{len(hidden)} more pods"] if hidden else []
    last = max((t for row in rows for t in (row.begin, row.end) if t != inf), default=0.0)
    return {lane: its for lane, its in found.items() if lane not in hidden}, "; ".join(told), last * 1.05 + 1


def lost_at(run: Any) -> list[float] | None:
    """The seconds at which a run's requests that came to nothing (lost, or answered 5xx) were sent."""
    if run is None:
        return None
    if getattr(getattr(run, "run", None), "time", None) is None:
        raise InputError(f"{shown(type(run).__name__)} tells no times", expected="what send gave, with a rate")
    table = run.table
    lost = table["lost"].notna() if "lost" in table else table["time"] < 0
    if "status" in table:
        lost |= table["status"].astype(str).str.startswith("5")
    return table["time"][lost].tolist()


def moments(rows: Sequence[Row]) -> list[float]:
    """The seconds at which any row changes, in order."""
    return sorted({t for row in rows for t in (row.begin, row.end)} - {0.0, inf})


def turns(rows: Sequence[Row], now: float) -> list[Row]:
    """What changes at `now`: the rows that begin then, and as "gone" those that end while nothing follows."""
    new = [row for row in rows if row.begin == now]
    follows = {row[:2] for row in new}
    return new + [Row(*row[:2], now, inf, "gone") for row in rows if row.end == now and row[:2] not in follows]


def svg(rows: Sequence[Row], lost: Sequence[float] | None, told: str, now: float | None = None) -> str:
    """The film as SVG; `lost`: the seconds at which requests were lost, None where none were sent; a line at `now`."""
    by_lane, below, last = lanes(rows, lost)
    parts, scale, bottom = [], (RIGHT - LEFT) / last, HIGH * (len(by_lane) + 1) + 6
    for i, (lane, its) in enumerate(by_lane.items()):
        parts.append(text(LEFT - 8, HIGH * i + 18, lane, "end", room=LEFT - 10))
        for row in its:
            x, wide = LEFT + row.begin * scale, (min(row.end, last) - row.begin) * scale
            at = f'x="{x:.1f}" y="{HIGH * i + 5}" width="{wide:.1f}" height="{HIGH - 5}"'
            title = f"<title>{row.state}</title>"
            parts.append(f'<rect {at} fill="{COLOURS.get(row.state, MISSED)}" stroke="{GROUND}">{title}</rect>')
    parts.append(text(LEFT - 8, bottom - 8, below, "end"))
    marks = sorted({round(LEFT + t * scale) for t in lost or () if t <= last})
    parts.append(f'<path d="{"".join(f"M{x} {bottom - 20}v16" for x in marks)}" stroke="{MISSED}" stroke-width="1"/>')
    if now is not None:
        x = LEFT + min(now, last) * scale
        parts.append(f'<path d="M{x:.1f} {bottom}V9" stroke="{INK}" stroke-width="2" stroke-dasharray="6 2"/>')
        parts.append(f'<path d="M{x:.1f} 10l-7 -10h14z" fill="{INK}" stroke="{GROUND}"/>')
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1e9) if last / s <= 14)
    parts.append(axis(LEFT, scale, step, last, bottom, "{:g} s".format))
    x = 0.0
    for colour, means in LEGEND.items():
        swatch = f'<rect x="{x:.0f}" y="{bottom + 24}" width="18" height="12" fill="{colour}"/>'
        parts += [swatch, text(x + 24, bottom + 34, means)]
        x += width(means) + 44
    return frame(bottom + 41, told, parts)
