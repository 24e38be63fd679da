"""Charts with matplotlib's Figure, never pyplot: widget callbacks run on another thread, and pyplot is global."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .picture import Picture

# petroff10, made to be told apart by colour-blind readers (Petroff 2021)
PALETTE = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
MOST_BARS = 40


def png_of(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100, metadata={"Software": None}, pil_kwargs={"compress_level": 1})
    return out.getvalue()


Row = tuple[str, int, float, float | None]  # (pod, requests, share, exact share)


def shares_picture(rows: Sequence[Row], spread: float, sentence: str, table: str) -> Picture:
    """A bar a pod: its share of the requests; a mark for its exact share; whiskers for the spread of chance."""
    drawn = rows[:MOST_BARS]
    figure, axes = _bars([(name, share) for name, _, share, _ in drawn], sentence, "share of the requests", "sampled")
    exact = [(i, share) for i, (_, _, _, share) in enumerate(drawn) if share is not None]
    if exact:
        at, shares = zip(*exact, strict=True)
        label = "exact, and the spread of chance"
        axes.errorbar(shares, at, xerr=spread, fmt="D", color="#1a1a1a", markersize=5, capsize=4, label=label)
    axes.set_xlim(0, max([0.01, *(r[2] for r in drawn), *(s + spread for _, s in exact)]) * 1.15)
    for i, (_, count, _, _) in enumerate(drawn):
        axes.annotate(f"{count:,}", (1, i), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=9)
    if drawn:
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    more = len(rows) - len(drawn)
    return Picture(png_of(figure), sentence, table + (f"\n  ({more} more pods are not drawn)" if more > 0 else ""))


def _bars(rows: Sequence[tuple[str, float]], sentence: str, what: str, label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, max(1.8, 0.36 * len(rows) + 1.2)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(rows)), [share for _, share in rows], color=PALETTE[0], height=0.6, label=label)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    axes.set_xlabel(what)
    axes.set_title(sentence, fontsize=9, loc="left", wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
