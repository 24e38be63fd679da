"""Drawings as SVG text, made anew at every move of a control: 30 ms from slider to pixels, where a PNG needs 100.

Colours come from JupyterLab's own variables where it has them, so the drawing follows the light and the dark theme.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

INK, PAPER, LINE, BAR = "var(--jp-ui-font-color1, #1a1a1a)", "var(--jp-layout-color2, #eeeeee)", "#717581", "#3f90da"

Row = tuple[str, str, float, str]  # (pod, address, share from 0 to 1, the share as text)


def nodes_and_shares(groups: Sequence[tuple[str, Sequence[Row]]], told: str) -> str:
    """A box a node, a bar a pod: how much of the traffic each gets. `told` is the sentence for who cannot see it."""
    out, y = [], 4
    for node, rows in groups:
        height = 28 + 24 * max(1, len(rows))
        out.append(f'<rect x="2" y="{y}" width="716" height="{height}" rx="6" fill="{PAPER}" stroke="{LINE}"/>')
        out.append(_text(12, y + 17, node, weight="bold"))
        for i, (pod, address, share, text) in enumerate(rows):
            top = y + 26 + 24 * i
            out.append(_text(12, top + 13, pod))
            out.append(_text(220, top + 13, address))
            out.append(f'<rect x="370" y="{top + 2}" width="{round(240 * share, 1)}" height="14" fill="{BAR}"/>')
            out.append(_text(376 + 240 * share, top + 13, text))
        if not rows:
            out.append(_text(12, y + 39, "no pod of this Service"))
        y += height + 6
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(told)}" viewBox="0 0 720 {y}" '
        f'width="720" style="max-width:100%" font-family="sans-serif" font-size="13">{"".join(out)}</svg>'
    )


def _text(x: float, y: float, text: str, weight: str = "normal") -> str:
    short = text if len(text) < 34 else text[:31] + "..."
    return f'<text x="{round(x, 1)}" y="{y}" fill="{INK}" font-weight="{weight}">{escape(short)}</text>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The same as a table, folded away until somebody asks for it."""
    cells = "".join("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    titles = "".join(f"<th scope='col'>{escape(t)}</th>" for t in head)
    return f"<details><summary>As a table</summary><table><tr>{titles}</tr>{cells}</table></details>"
