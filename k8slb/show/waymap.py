"""A route as a drawing: a column a stage, a box a spot, edges as thick as their share, and a request as a dot."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from html import escape

from .route import Edge, Route, Share, Spot, plus
from .svg import DOT, INK, LINE, MISSED, PAPER, WIDTH, frame, label, share_text, text

MOST = {"pod": 12, "end": 12}
MOST_OTHERS = 6
ROW, BOX, RIGHT = 44, 36, 116  # RIGHT: room for shares and counts beside the last column
LETTER, BOLD = 7.2, 7.8  # how wide a letter is


def folded(route: Route) -> tuple[Route, list[dict[Spot, Spot]]]:
    """The route with at most a dozen pods and six of anything else; the rest of a stage is one spot, "and n more"."""
    maps: list[dict[Spot, Spot]] = []
    for stage in route.stages:
        most = max(MOST.get(spot.kind, MOST_OTHERS) for spot in stage)
        kept = stage if len(stage) <= most else stage[: most - 1]
        more = Spot("more", f"and {len(stage) - len(kept)} more")
        maps.append({spot: spot if spot in kept else more for spot in stage})
    edges = []
    for number, stage in enumerate(route.edges):
        merged: dict[tuple[Spot, Spot], Share] = {}
        for edge in stage:
            pair = maps[number][edge.source], maps[number + 1][edge.target]
            merged[pair] = plus(merged.get(pair, Fraction(0)), edge.share)
        edges.append(tuple(Edge(*pair, share) for pair, share in merged.items()))
    stages = tuple(tuple(dict.fromkeys(m.values())) for m in maps)
    return Route(stages, tuple(edges), route.controllers), maps


def drawing(
    route: Route, told: str, counts: Mapping[Spot, int] | None = None, way: tuple[Spot, ...] = (), height: float = 0
) -> tuple[str, float]:
    """(SVG, its height). `counts`: requests so far at the ends; `way`: the spots of the request that the dot is."""
    small, maps = folded(route)
    width, left = _columns(small)
    tallest = max(len(stage) for stage in small.stages)
    high = max(height, tallest * ROW + 8)
    top = [{spot: _top(i, len(stage), high) for i, spot in enumerate(stage)} for stage in small.stages]
    lines, parts, labels = [], [], []
    for i, edges in enumerate(small.edges):
        begin, end = left[i] + width[i], left[i + 1]
        for edge in edges:
            ys = top[i][edge.source] + BOX / 2, top[i + 1][edge.target] + BOX / 2
            thick = 1 + 5 * float(edge.share or 0)
            lines.append(
                f'<line x1="{begin:.1f}" y1="{ys[0]:.1f}" x2="{end:.1f}" y2="{ys[1]:.1f}" '
                f'stroke="{LINE}" stroke-width="{thick:.2f}"/>'
            )
        labels += _labels(edges, (begin, end), top[i], top[i + 1])
    for i, stage in enumerate(small.stages):
        arriving = small.arriving(i)
        onward = {e.source for e in small.edges[i]} if i < len(small.edges) else set()
        for spot in stage:
            ends_here = spot not in onward
            parts += _box(spot, arriving[spot], left[i], top[i][spot], width[i], ends_here)
            x, y = left[i] + width[i] + 8, top[i][spot] + BOX - 4
            if ends_here and counts is not None:
                so_far = sum(counts.get(whole, 0) for whole, drawn in maps[i].items() if drawn == spot)
                parts.append(text(x, y, f"{so_far:,} so far", weight="bold"))
            elif ends_here and spot.kind == "pod" and spot.note:
                parts.append(text(x, y, f"on {spot.note}", most=15))
    spots = [(i, maps[i][spot]) for i, spot in enumerate(way)]
    ends = [(x, top[i][spot] + BOX / 2) for i, spot in spots for x in (left[i], left[i] + width[i])]
    beneath, dot = _dot([*ends[1:-2], (ends[-2][0] - 9, ends[-2][1])] if len(way) > 1 else [])
    return frame(high, told, [*lines, *beneath, *parts, *labels, *dot]), high


def _dot(points: list[tuple[float, float]]) -> tuple[list[str], list[str]]:
    """The way of one request, drawn beneath the boxes, and the dot above them."""
    if not points:
        return [], []
    d = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    way = f'<path d="{d}" fill="none" stroke="{DOT}" stroke-width="4"/>'
    ball = f'<circle class="k8slb-dot" r="8" fill="{DOT}" stroke="{INK}" stroke-width="2"'
    return [way], [f"{ball} style=\"offset-path:path('{d}')\"/>"]


def _columns(route: Route) -> tuple[list[float], list[float]]:
    """The width and left side of each column: as wide as its texts need, the gaps between them alike."""
    width = [max(map(_needs, stage)) + 14 for stage in route.stages]
    room, gaps = WIDTH - RIGHT - 4, len(width) - 1
    if sum(width) > room - 40 * gaps:  # many stages: narrower boxes, and names lose their middle
        width = [w * max(0.3, (room - 40 * gaps) / sum(width)) for w in width]
    gap = min(190.0, (room - sum(width)) / max(1, gaps))
    return width, [2 + sum(width[:i]) + gap * i for i in range(len(width))]


def _needs(spot: Spot) -> float:
    lines = (spot.address, "1/3 = 33.3%", _second(spot, Fraction(1, 3), False))
    return max(min(18, len(spot.name)) * BOLD, *(min(18, len(line)) * LETTER for line in lines))


def _top(index: int, count: int, high: float) -> float:
    return (high - count * ROW) / 2 + index * ROW + (ROW - BOX) / 2


def _box(spot: Spot, share: Share, x: float, y: float, width: float, beside: bool) -> list[str]:
    """The box with its name; the share inside it, or beside it where the address stands inside."""
    edge = MISSED if spot.kind == "end" else LINE
    second = _second(spot, share, beside)
    return [
        f"<g><title>{escape(f'{spot.kind} {spot.name} {spot.address}: {share_text(share)}')}</title>"
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BOX}" rx="5" fill="{PAPER}" stroke="{edge}" '
        f'stroke-width="{2 if spot.kind == "end" else 1}"/></g>',
        label(x + 7, y + (15 if second else 23), spot.name, "bold", int((width - 10) / BOLD)),
        label(x + 7, y + 31, second, most=int((width - 10) / LETTER)),
        text(x + width + 8, y + 15, share_text(share)) if beside else "",
    ]


def _short(share: Share) -> str:
    return "on load" if share is None else share_text(share, percent=False)


def _second(spot: Spot, share: Share, beside: bool) -> str:
    """The second line of a box: the address, or the share where it does not stand beside the box."""
    if beside or spot.kind in ("client", "load balancer"):
        return spot.address
    return f"{_short(share)}, {spot.note}" if spot.note else share_text(share)


def _labels(edges: tuple[Edge, ...], x: tuple[float, float], start: Mapping, end: Mapping) -> list[str]:
    """Shares on the edges: once where a spot's edges are all alike, else one an edge while there is room."""
    out = []
    by_source: dict[Spot, list[Edge]] = {}
    for edge in edges:
        by_source.setdefault(edge.source, []).append(edge)
    for source, mine in by_source.items():
        y = start[source] + BOX / 2
        alike = {e.share for e in mine if e.target.kind != "more"}
        if len(mine) > 1 and len(alike) == 1:
            out.append(text(x[0] + 4, y - 8, _short(mine[0].share) + " each" * (None not in alike), size=11))
        elif len(edges) <= 12:
            at = 0.5 if len(mine) > 1 else 0.08
            out += [
                text(x[0] + (x[1] - x[0]) * at, y + (end[e.target] + BOX / 2 - y) * at - 6, _short(e.share), size=11)
                for e in mine
            ]
    return out
