"""Charts with matplotlib's Figure, never pyplot: widget callbacks run on another thread, and pyplot is global."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .picture import Picture
from .svg import BAR

MOST_BARS = 40
Row = tuple[str, int, float, float | None]  # (pod, requests, share, exact share)


def shares_picture(rows: Sequence[Row], spread: float, sentence: str, table: str) -> Picture:
    """A bar a pod: its share of the requests; a mark for its exact share; whiskers for the spread of chance."""
    drawn = rows[:MOST_BARS]
    figure, axes = _rows(max(1.8, 0.36 * len(drawn) + 1.2), "share of the requests")
    axes.barh(range(len(drawn)), [row[2] for row in drawn], color=BAR, height=0.6, label="sampled")
    axes.set_yticks(range(len(drawn)), [row[0] for row in drawn])
    axes.set_title(sentence, fontsize=9, loc="left", wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    exact = [(i, share) for i, (*_, share) in enumerate(drawn) if share is not None]
    if exact:
        at, shares = zip(*exact, strict=True)
        label = "exact, and the spread of chance"
        reach = [[spread] * len(shares), [min(spread, 1 - float(s)) for s in shares]]  # no share is more than all
        axes.errorbar(shares, at, xerr=reach, fmt="D", color="#1a1a1a", markersize=5, capsize=4, label=label)
    axes.set_xlim(0, max([0.01, *(r[2] for r in drawn), *(min(1, s + spread) for _, s in exact)]) * 1.15)
    for i, (_, count, _, _) in enumerate(drawn):
        axes.annotate(f"{count:,}", (1, i), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=9)
    if drawn:
        figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    more = len(rows) - len(drawn)
    left_out = f"\n  ({more} more pod{'s are' if more > 1 else ' is'} not drawn)" if more else ""
    return Picture(_png(figure), sentence, table + left_out)


def cascade_png(names: Sequence[str], steps: Sequence[tuple[float, float]]) -> bytes:
    """A row a rule: (what comes to it, what it takes) of all connections, as a frame and its filled part."""
    what = "all connections; frame: what comes to the rule, filled: what it takes"
    figure, axes = _rows(0.34 * len(names) + 0.9, what)
    for part, colour in ((0, "#eeeeee"), (1, BAR)):
        starts, widths = [1 - step[0] for step in steps], [step[part] for step in steps]
        axes.barh(names, widths, left=starts, color=colour, edgecolor="#1a1a1a", height=0.7)
    return _png(figure)


def _rows(height: float, what: str) -> tuple[Figure, Axes]:
    """Axes for a row each, the first one on top; `what` is in percent."""
    figure = Figure(figsize=(7.2, height), layout="constrained")
    axes = figure.subplots()
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    axes.set_xlabel(what)
    return figure, axes


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100, metadata={"Software": None}, pil_kwargs={"compress_level": 1})
    return out.getvalue()
