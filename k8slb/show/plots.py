"""Charts with matplotlib's Figure, never pyplot: widget callbacks run on another thread, and pyplot is global."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

from ..outcome import Outcome
from .picture import Picture

# petroff10, made to be told apart by colour-blind readers (Petroff 2021)
PALETTE = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
MOST_BARS = 40


def png_of(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100, metadata={"Software": None}, pil_kwargs={"compress_level": 1})
    return out.getvalue()


def shares_picture(outcome: Outcome) -> Picture:
    """A bar a pod: its share of the requests; a mark for its exact share; whiskers for the spread of chance."""
    rows = outcome.rows[:MOST_BARS]
    figure = Figure(figsize=(7.2, max(1.8, 0.36 * len(rows) + 1.2)), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    axes.barh(places, [share for _, _, share, _ in rows], color=PALETTE[0], height=0.6, label="sampled")
    exact = [(i, share) for i, (_, _, _, share) in enumerate(rows) if share is not None]
    if exact:
        at, shares = zip(*exact, strict=True)
        axes.errorbar(
            shares,
            at,
            xerr=outcome.spread[0],
            fmt="D",
            color="#1a1a1a",
            markersize=5,
            capsize=4,
            label="exact, and the spread of chance",
        )
    axes.set_yticks(places, [f"{outcome.names.get(pod, '')} {pod}".strip() for pod, *_ in rows])
    axes.invert_yaxis()
    axes.set_xlim(
        0, max([0.01, *(share for _, _, share, _ in rows), *(s + outcome.spread[0] for _, s in exact)]) * 1.15
    )
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    axes.set_xlabel("share of the requests")
    axes.set_title(outcome.sentence, fontsize=9, loc="left", wrap=True)
    for i, (_, count, share, _) in enumerate(rows):
        axes.annotate(f" {count:,}", (share, i - 0.02), va="bottom", fontsize=8)
    if rows:
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    table = str(outcome).partition("\n")[2]
    more = len(outcome.rows) - len(rows)
    return Picture(
        png_of(figure), outcome.sentence, table + (f"\n  ({more} more pods are not drawn)" if more > 0 else "")
    )
