"""A difference as a drawing that stands alone: the changes, the worst first, and the pods' shares as pairs of bars."""

from collections.abc import Iterator
from html import escape
from typing import Any

from ..answers.diff.told import CUT, SHARES, STAY, Change, Difference
from ..errors import one_line
from .svg import BAR, INK, LINE, WIDTH, frame, share_text, text

LINES, DRAWN, PODS = 10, 5, 12  # changes told, changes drawn, pods of each
ROW, LEFT, SCALE = 24, 250, 460


class Drawn(Difference):
    """A difference with its picture."""

    @property
    def svg(self) -> str:
        """The drawing, in its own colours on its own ground, so that it reads on a white page and on a dark one."""
        told = [c for c in self.changes if c.what != SHARES]
        bars = [c for c in self.changes if c.pods and c.what not in (CUT, STAY)]
        lines = [f"{c.what}: {c.of}" for c in told[:LINES]]
        lines += [f"and {len(told) - LINES:,} more changes"] * (len(told) > LINES)
        y, parts = 30, [text(16, 24, one_line(self.verdict), bold=True, room=WIDTH - 32)]
        for line in lines:
            parts.append(text(16, y := y + 20, one_line(line), room=WIDTH - 32))
        for change in bars[:DRAWN]:
            drawn = list(_bars(change, y + 30))
            parts, y = [*parts, *drawn], y + 40 + ROW * min(len(change.pods), PODS + 1)
        if bars:
            left = f"; {len(bars) - DRAWN:,} more such changes are not drawn" * (len(bars) > DRAWN)
            legend = "share of the requests: the upper bar before, the lower one after"
            parts.append(text(16, y := y + 20, legend + left))
        about = f"<title>{escape(one_line(self.verdict))}</title><desc>{escape(str(self))}</desc>"
        ground = f'<rect width="{WIDTH}" height="{y + 16}" rx="6" fill="#ffffff" stroke="{LINE}"/>'
        return frame(y + 16, one_line(self.verdict), [about, ground, *parts]).replace(INK, "#1a1a1a")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self), "image/svg+xml": self.svg}


def _bars(change: Change, y: float) -> Iterator[str]:
    yield text(16, y, one_line(change.of), bold=True, room=WIDTH - 32)
    for i, (pod, shares) in enumerate(list(change.pods.items())[:PODS]):
        top = y + 8 + ROW * i
        yield text(LEFT - 8, top + 14, one_line(pod), "end", room=LEFT - 24)
        for k, (share, colour) in enumerate(zip(shares, (LINE, BAR), strict=True)):
            wide = float(share or 0) * SCALE
            yield f'<rect x="{LEFT}" y="{top + 9 * k}" width="{wide:.1f}" height="8" fill="{colour}"/>'
        told = " -> ".join(share_text(s, percent=False) for s in shares)
        yield text(LEFT + SCALE * float(max(s or 0 for s in shares)) + 8, top + 14, told, room=170)
    if len(change.pods) > PODS:
        yield text(LEFT, y + 22 + ROW * PODS, f"and {len(change.pods) - PODS:,} more pods")
