"""The distribution as a drawing: a bar a pod for what was sampled, a mark for the exact share, whiskers for chance."""

from collections.abc import Sequence
from fractions import Fraction
from heapq import nlargest
from math import floor, isnan, log10
from typing import NamedTuple

from ..answers.latency import Latency, span
from .svg import BAR, GROUND, INK, MISSED, axis, frame, text

MOST = 12
ROW, LEFT, RIGHT = 24, 250, 740
STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25)


class Bar(NamedTuple):
    name: str
    count: int
    share: float
    exact: Fraction | None
    answered: bool = True  # by a pod


def bars(rows: Sequence[Bar], spread: tuple[float, str], told: str) -> str:
    """The shares in `rows` as SVG; `spread` is how far chance moves them, and why."""
    most_asked = nlargest(len(rows) if len(rows) <= MOST else MOST - 1, range(len(rows)), lambda i: rows[i].count)
    drawn, others = [rows[i] for i in sorted(most_asked)], [r for i, r in enumerate(rows) if i not in most_asked]
    most = min(1.0, max([0.01, *(r.share for r in rows), *(r.exact + spread[0] for r in rows if r.exact is not None)]))
    step = next((s for s in STEPS if most / s <= 6), 0.25)
    scale = (RIGHT - LEFT) / (most * 1.02)
    bottom = ROW * (len(drawn) + bool(others)) + 6
    parts = [axis(LEFT, scale, step, most, bottom, lambda x: f"{x:.1%}" if step < 0.01 else f"{x:.0%}")]
    for i, row in enumerate(drawn):
        parts += _row(row, ROW * i + 4, scale, spread[0], f"{row.count:,} = {row.share:.1%}")
    if others:
        shares = [r.share for r in others]
        parts.append(text(LEFT - 8, bottom - 8, f"and {len(others)} more", "end"))
        parts.append(text(LEFT + 4, bottom - 8, f"{min(shares):.1%} to {max(shares):.1%} each"))
    exact = any(r.exact is not None for r in rows)
    parts.append(text(0, bottom + 34, "bar: share of the requests, sampled" + "; diamond: exact share" * exact))
    if exact and spread[0]:
        parts.append(text(0, bottom + 51, f"line: expected spread, ±{spread[0]:.1%} ({spread[1]})"))
    return frame(bottom + (58 if exact and spread[0] else 41), told, parts)


def waits(rows: Sequence[tuple[str, Latency]], told: str) -> str:
    """The latency of all and of each pod as SVG: a bar to p99, a diamond at the mean, its 95% band as whiskers."""
    drawn = rows[:MOST]
    most = max([1e-9, *(of.p99 for _, of in drawn)])
    step = 10 ** floor(log10(most))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if most / s <= 6)
    scale, bottom = (RIGHT - LEFT) / (most * 1.02), ROW * len(drawn) + 6
    parts = [axis(LEFT, scale, step, most, bottom, lambda x: span(x, 1 + (x > step)) if x else "0")]
    for i, (name, of) in enumerate(drawn):
        bar, band = Bar(name, of.requests, of.p99, of.mean), 0.0 if isnan(of.band) else of.band
        parts += _row(bar, ROW * i + 4, scale, band, f"{span(of.mean)}, p99 {span(of.p99)}")
    legend = "bar: 99 of 100 requests are answered within it; diamond: mean latency; line: its 95% band"
    left_out = f" ({len(rows) - MOST} more pods in the table)" if len(rows) > MOST else ""
    return frame(bottom + 41, told, [*parts, text(0, bottom + 34, legend + left_out)])


def _row(row: Bar, y: float, scale: float, spread: float, told: str) -> list[str]:
    middle = y + ROW / 2
    colour = BAR if row.answered else MISSED
    out = [
        text(LEFT - 8, middle + 4, row.name, "end", room=LEFT - 10),
        f'<rect x="{LEFT}" y="{y + 4:g}" width="{row.share * scale:.1f}" height="{ROW - 8}" fill="{colour}" '
        f'stroke="{INK}" stroke-width="0.8"/>',
        text(RIGHT + 12, middle + 4, told),
    ]
    if row.exact is None:
        return out
    most = (RIGHT - LEFT) / scale
    x, low, top = (LEFT + max(0.0, min(e, most)) * scale for e in (row.exact, row.exact - spread, row.exact + spread))
    for width, ink in ((5, GROUND), (2, INK)):  # a rim, to be seen on the bar and beside it
        ends = f"M{low:.1f} {middle - 5:g}v10M{top:.1f} {middle - 5:g}v10M{low:.1f} {middle:g}H{top:.1f}"
        out.append(f'<path d="{ends if spread else ""}" stroke="{ink}" stroke-width="{width}" fill="none"/>')
    diamond = f"M{x:.1f} {middle - 6:g}l6 6l-6 6l-6 -6z"
    return [*out, f'<path d="{diamond}" fill="{INK}" stroke="{GROUND}" stroke-width="1.5"/>']
