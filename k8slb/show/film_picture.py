"""The film of a change as a PNG: what `film.svg` draws, for stored notebooks."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .film import COLOURS, LEGEND, Row, lanes
from .picture import Picture
from .plots import _png
from .svg import MISSED


def film_picture(rows: Sequence[Row], lost: Sequence[float] | None, told: str) -> Picture:
    """A bar a state, a row each; the seconds `lost` as marks in the last row. The table says the same."""
    by_lane, below, last = lanes(rows, lost)
    figure = Figure(figsize=(9, 0.26 * len(by_lane) + 1.6), layout="constrained")
    axes = figure.subplots()
    for i, its in enumerate(by_lane.values()):
        spans = [(row.begin, min(row.end, last) - row.begin) for row in its]
        colours = [COLOURS.get(row.state, MISSED) for row in its]
        axes.broken_barh(spans, (i - 0.4, 0.8), facecolors=colours, edgecolor="white")
    axes.plot(lost or [], [len(by_lane)] * len(lost or []), "|", color=MISSED, markersize=11)
    names = [*by_lane, below] if below else [*by_lane]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlim=(0, last), ylim=(len(names) - 0.3, -0.7), xlabel="seconds")
    axes.xaxis.label.set_size(8)
    means = [Patch(color=colour, label=told) for colour, told in LEGEND.items()]
    figure.legend(handles=means, loc="outside lower center", ncols=len(means), fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(told, fontsize=9, loc="left", wrap=True)
    table = [f"  {r.what + ' ' + r.who:<36} {r.begin:>8g} {r.end:>8g}  {r.state}" for r in rows]
    return Picture(_png(figure), told, "\n".join([f"  {'who':<36} {'from':>8} {'to':>8}  state", *table]))
