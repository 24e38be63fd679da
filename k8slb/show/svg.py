"""Drawings as SVG text, made anew at every move of a control: 30 ms from slider to pixels, where a PNG needs 100.

Colours come from JupyterLab's own variables where it has them, so the drawing follows the light and the dark theme.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from html import escape

INK, PAPER = "var(--jp-ui-font-color1, #1a1a1a)", "var(--jp-layout-color2, #eeeeee)"
GROUND = "var(--jp-layout-color0, #ffffff)"
LINE, BAR, DOT, MISSED = "#838793", "#3f90da", "#ffa90e", "#e76300"  # petroff10, all at least 3:1 on white or edged
WIDTH = 900


def frame(height: float, told: str, parts: Iterable[str]) -> str:
    """The whole drawing; `told` is the sentence for who cannot see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(told)}" '
        f'viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" style="max-width:100%;display:block" '
        f'font-family="sans-serif" font-size="13">{"".join(parts)}</svg>'
    )


def text(
    x: float, y: float, told: str, anchor: str = "start", weight: str = "normal", most: int = 40, size: int = 13
) -> str:
    """A text with a rim in the colour of the page, so that lines behind it do not cross it."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}" '
        f'stroke="{GROUND}" stroke-width="3" paint-order="stroke">{escape(shortened(told, most))}</text>'
    )


def label(x: float, y: float, told: str, weight: str = "normal", most: int = 40) -> str:
    """A text inside a box."""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" font-weight="{weight}">{escape(shortened(told, most))}</text>'


def shortened(told: str, most: int) -> str:
    """The middle goes first: names begin and end with what tells them apart."""
    head = (most - 1) // 2
    return told if len(told) <= most else f"{told[:head]}…{told[len(told) - (most - 1 - head) :]}"


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
