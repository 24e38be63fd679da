"""Drawings as SVG text, made anew at every move of a control: 30 ms from slider to pixels, where a PNG needs 100.

Colours come from JupyterLab's own variables where it has them, so the drawing follows the light and the dark theme.
"""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from html import escape

INK, PAPER = "var(--jp-ui-font-color1, #1a1a1a)", "var(--jp-layout-color2, #eeeeee)"
GROUND = "var(--jp-layout-color0, #ffffff)"
LINE, BAR, DOT, MISSED = "#838793", "#3f90da", "#ffa90e", "#e76300"  # petroff10, all at least 3:1 on white or edged
WIDTH = 900


def frame(height: float, told: str, parts: Iterable[str], width: float = WIDTH) -> str:
    """The whole drawing; `told` is the sentence for who cannot see it. What most texts share stands here, once."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(told)}" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" style="max-width:100%;display:block" '
        f'font-family="sans-serif" font-size="13" fill="{INK}">{"".join(parts)}</svg>'
    )


def text(x: float, y: float, told: str, anchor: str = "", bold: bool = False, room: float = 900) -> str:
    """A text, its middle left out where it is wider than `room`."""
    how = f' text-anchor="{anchor}"' * bool(anchor) + ' font-weight="bold"' * bold
    return f'<text x="{x:.0f}" y="{y:.0f}"{how}>{escape(shortened(told, room, bold))}</text>'


def axis(left: float, scale: float, step: float, last: float, bottom: float, label: Callable[[float], str]) -> str:
    """The lines and labels of an axis from 0 at `left` to `last`, one every `step`."""
    parts = []
    for i in range(int(last / step + 1e-9) + 1):
        x = left + i * step * scale
        parts.append(f'<path d="M{x:.1f} 2V{bottom}" stroke="{LINE}" stroke-opacity="0.45"/>')
        parts.append(text(x, bottom + 15, label(i * step), "middle"))
    return "".join(parts)


def tag(x: float, y: float, told: str) -> str:
    """A small text in the middle of (x, y) on the colour of the page, so that no line crosses it; a line a word."""
    words = told.split(" ")
    wide, high = max(map(width, words)) * 11 / 13 + 4, 12 * len(words)
    rows = "".join(
        f'<text x="{x:.0f}" y="{y - high / 2 + 12 * i + 10:.0f}" text-anchor="middle" font-size="11">{escape(w)}</text>'
        for i, w in enumerate(words)
    )
    at = f'x="{x - wide / 2:.1f}" y="{y - high / 2:.1f}" width="{wide:.1f}" height="{high}"'
    return f'<rect {at} fill="{GROUND}"/>{rows}'


def dot(points: Sequence[tuple[float, float]]) -> tuple[str, str]:
    """(the way through `points` as a line, a dot that runs along it)."""
    d = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    ball = f'<circle class="k8slb-dot" r="8" fill="{DOT}" stroke="{INK}" stroke-width="2"'
    line = f'<path d="{d}" fill="none" stroke="{DOT}" stroke-width="4"/>'
    return line, f"{ball} style=\"offset-path:path('{d}')\"/>"


def width(told: str, bold: bool = False) -> float:
    """About how wide a text of size 13 is, in the widest font that browsers take for sans-serif (DejaVu Sans)."""
    ems = sum(0.35 if c in "ijl.,:;'|()[]/ -" else 0.41 if c in "frt" else 0.97 if c in "mwMW%" else 0.64 for c in told)
    return 13 * ems * (1.1 if bold else 1)


def shortened(told: str, room: float, bold: bool = False) -> str:
    """The middle goes first: names begin and end with what tells them apart."""
    kept = len(told)
    short = told
    while width(short, bold) > room and kept > 1:
        kept -= 1
        short = f"{told[: kept // 2]}…{told[len(told) - (kept - kept // 2) :]}"
    return short


def share_text(share: Fraction | None, percent: bool = True) -> str:
    """1/3 = 33.3%; only the percentage where the fraction is too long to read."""
    if share is None:
        return "depends on load"
    if share.denominator > 999:
        return f"{float(share):.1%}"
    return f"{share} = {float(share):.1%}" if percent else str(share)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    cells = "".join("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    titles = "".join(f"<th scope='col'>{escape(t)}</th>" for t in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{cells}</tbody></table>"
