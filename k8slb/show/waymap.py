"""A route as a drawing: a column a stage, a box a spot, edges as thick as their share, and a request as a dot."""

from collections.abc import Mapping
from fractions import Fraction
from html import escape

from . import svg
from .route import Edge, Route, Share, Spot, route_of
from .svg import LINE, MISSED, PAPER, WIDTH, frame, share_text, tag, text

MOST = {"pod": 12, "end": 12}
MOST_OTHERS = 6
ROW, BOX, RIGHT = 44, 36, 116  # RIGHT: room for shares and counts beside the last column
WIDEST = 1150  # where there are many stages
GAP = 38  # between columns, at least: room for a tag


def folded(route: Route) -> tuple[Route, list[dict[Spot, Spot]]]:
    """The route with at most a dozen pods and six of anything else; the rest of a stage is one spot, "and n more"."""
    maps: list[dict[Spot, Spot]] = []
    for stage in route.stages:
        most = max(MOST.get(spot.kind, MOST_OTHERS) for spot in stage)
        kept = stage if len(stage) <= most else stage[: most - 1]
        more = Spot("more", f"and {len(stage) - len(kept)} more")
        maps.append({spot: spot if spot in kept else more for spot in stage})
    moved = ([Edge(maps[i][a], maps[i + 1][b], share) for a, b, share in edges] for i, edges in enumerate(route.edges))
    return route_of(moved, route.controllers), maps


def drawing(route: Route, told: str = "", counts: Mapping[Spot, int] | None = None, way: tuple[Spot, ...] = ()) -> str:
    """The route as SVG. `counts`: requests so far at the ends; `way`: the spots of the request that the dot is."""
    small, maps = folded(route)
    width, left, whole = _columns(small)
    high = max(len(stage) for stage in small.stages) * ROW + 8
    top = [{spot: _top(i, len(stage), high) for i, spot in enumerate(stage)} for stage in small.stages]
    lines, parts, labels = [], [], []
    for i, edges in enumerate(small.edges):
        begin, end = left[i] + width[i], left[i + 1]
        for edge in edges:
            ys = top[i][edge.source] + BOX / 2, top[i + 1][edge.target] + BOX / 2
            thick = 1 + 5 * float(edge.share or 0)
            lines.append(f'<path d="M{begin:.1f} {ys[0]:.0f}L{end:.1f} {ys[1]:.0f}" stroke-width="{thick:.2f}"/>')
        labels += _labels(edges, (begin, end), top[i], top[i + 1])
    for i, stage in enumerate(small.stages):
        arriving = small.arriving(i)
        for spot in stage:
            ends_here = spot not in small.onward[i]
            parts += _box(spot, arriving[spot], left[i], top[i][spot], width[i], ends_here)
            x, y = left[i] + width[i] + 8, top[i][spot] + BOX - 4
            if ends_here and counts is not None:
                so_far = sum(counts.get(whole, 0) for whole, drawn in maps[i].items() if drawn == spot)
                parts.append(text(x, y, f"{so_far:,} so far", bold=True))
            elif ends_here and spot.kind == "pod" and spot.note:
                parts.append(text(x, y, f"on {spot.note}", room=RIGHT - 12))
    spots = [(i, maps[i][spot]) for i, spot in enumerate(way)]
    ends = [(x, top[i][spot] + BOX / 2) for i, spot in spots for x in (left[i], left[i] + width[i])]
    if len(way) > 1:  # the way of one request, drawn beneath the boxes, and the dot above them
        points = [*ends[1:-2], (ends[-2][0] - 9, ends[-2][1])]
        line, ball = svg.dot(points)
        labels.insert(0, line)
        parts.append(ball)
    shares = ", ".join(f"{spot.name} {share_text(share)}" for spot, share in small.ends().items())
    told = f"{told}; the shares: {shares}".lstrip("; ")
    return frame(high, told, [f'<g stroke="{LINE}">', *lines, "</g>", *labels, *parts], whole)


def _columns(route: Route) -> tuple[list[float], list[float], float]:
    """The width and left side of each column, and the whole: as wide as its texts need, the gaps between them alike."""
    width = [max(_needs(*item) for item in route.arriving(i).items()) + 16 for i in range(len(route.stages))]
    gaps = len(width) - 1
    whole = max(WIDTH, min(WIDEST, sum(width) + GAP * gaps + RIGHT + 4))
    room = whole - RIGHT - 4 - GAP * gaps
    while sum(width) > room:  # many stages: the widest column gives way, and its names lose their middle
        widest = width.index(max(width))
        width[widest] -= min(8, max(1, sum(width) - room))
    gap = min(190.0, GAP + (room - sum(width)) / max(1, gaps))
    return width, [2 + sum(width[:i]) + gap * i for i in range(len(width))], whole


def _needs(spot: Spot, share: Share) -> float:
    """Room for what a box says, and for a third of the requests, so that few moves of a control shift the columns."""
    shares = (_second(spot, part, False) for part in (share, Fraction(1, 3)))
    return max(svg.width(spot.name, True), *map(svg.width, (spot.address, "1/3 = 33.3%", *shares)))


def _top(index: int, count: int, high: float) -> float:
    return (high - count * ROW) / 2 + index * ROW + (ROW - BOX) / 2


def _box(spot: Spot, share: Share, x: float, y: float, width: float, beside: bool) -> list[str]:
    """The box with its name; the share inside it, or beside it where the address stands inside."""
    edge = f'stroke="{MISSED}" stroke-width="2"' if spot.kind == "end" else f'stroke="{LINE}"'
    second, room = _second(spot, share, beside), width - 14
    return [
        f"<g><title>{escape(f'{spot.kind} {spot.name} {spot.address}: {share_text(share)}')}</title>"
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BOX}" rx="5" fill="{PAPER}" {edge}/>',
        text(x + 7, y + (15 if second else 23), spot.name, bold=True, room=room),
        text(x + 7, y + 31, second, room=room) if second else "",
        "</g>",
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
    out, sources = [], dict.fromkeys(e.source for e in edges)
    for source in sources:
        mine = [e for e in edges if e.source == source]
        y = start[source] + BOX / 2
        alike = {_short(e.share) for e in mine if e.target.kind != "more"}
        if len(alike) == 1:
            out.append(tag(x[0] + 19, y, alike.pop() + " each" * (len(mine) > 1 and mine[0].share is not None)))
        elif len(edges) <= 12 and (len(sources) == 1 or x[1] - x[0] > 2 * GAP):  # else they hide each other
            at = x[0] + (x[1] - x[0]) * 0.6
            out += [tag(at, y + (end[e.target] + BOX / 2 - y) * 0.6, _short(e.share)) for e in mine]
    return out
