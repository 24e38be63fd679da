"""Charts with matplotlib's Figure, never pyplot: widget callbacks run on another thread, and pyplot is global."""

import io
from collections.abc import Callable, Sequence
from math import isnan
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..answers.latency import Latency, span
from .picture import Picture
from .svg import BAR, MISSED

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


def latency_picture(
    curve: Sequence[np.ndarray], rows: Sequence[tuple[str, Latency]], theory: Callable | None, sentence: str
) -> Picture:
    """The share of requests that take longer, with its band, mean and p99; `rows`: of all, then of each layer."""
    (seconds, share, band), (_, whole) = curve, rows[0]
    unit, name = (1, "s") if whole.p50 >= 1 else (1000, "ms")
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    if not isnan(whole.band):
        axes.fill_between(seconds * unit, share - band, share + band, color=BAR, alpha=0.3, label="95% band")
    axes.plot(seconds * unit, share, color=BAR, label="sampled")
    table = [f"{'':<18}{'mean':>20}{'p50':>10}{'p95':>10}{'p99':>10}{'most':>10}"]
    for title, of in rows:
        table.append(f"{title:<18}{of.about:>20}" + "".join(f"{span(x):>10}" for x in (of.p50, of.p95, of.p99, of.max)))
    if theory:
        axes.plot(seconds * unit, theory(seconds), "--", color="#1a1a1a", label="theory")
        expected = zip(("50%", "5%", "1%"), theory(np.array([whole.p50, whole.p95, whole.p99])), strict=True)
        table.append("theory: " + ", ".join(f"{x:.2%} take longer where {n} did" for n, x in expected))
    for x, told, style in ((whole.mean, "mean", "-"), (whole.p99, "p99", ":")):
        axes.axvline(x * unit, color="#1a1a1a", linestyle=style, linewidth=1, label=f"{told} {span(x)}")
    axes.set(ylim=(min(share[share > 0], default=1e-3) / 1.5, 1.2), yscale="log", xlim=(0, None))
    axes.set_xlabel(f"latency in {name}")
    axes.set_ylabel("share that takes longer")
    return _told(figure, axes, sentence, "\n".join(table))


def over_time_picture(rows: Any, seconds: float, changes: Sequence[float], sentence: str) -> Picture:
    """Above: sent, served and failed in each interval; below: mean and p99. Dashes where the cluster changes."""
    timed = "mean" in rows
    figure = Figure(figsize=(7.2, 2.6 + 2 * timed), layout="constrained")
    above, *below = figure.subplots(1 + timed, 1, sharex=True, squeeze=False)[:, 0]
    ends = [*rows["second"], rows["second"].iloc[-1] + seconds]
    for column, colour, style in (("sent", "#1a1a1a", ":"), ("served", BAR, "-"), ("failed", MISSED, "-")):
        above.stairs(rows[column] / seconds, ends, color=colour, linestyle=style, baseline=None, label=column)
    for axes in below:
        for column, style in (("mean", "-"), ("p99", ":")):
            axes.stairs(rows[column], ends, color=BAR, linestyle=style, baseline=None, label=column)
        axes.set(ylabel="latency in s", ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
    for axes in (above, *below):
        for moment in changes:
            axes.axvline(moment, color="#838793", linestyle="--", linewidth=1)
    above.set(ylabel="requests a second", ylim=(0, None))
    axes.set_xlabel("sent at (s)")
    shown = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(20, len(rows))).astype(int))]
    left_out = f"\n  ({len(rows) - len(shown)} more intervals are drawn only)" if len(rows) > len(shown) else ""
    return _told(figure, above, sentence, shown.to_string(index=False, float_format="{:.4g}".format) + left_out)


def _told(figure: Figure, axes: Axes, sentence: str, table: str) -> Picture:
    axes.set_title(sentence, fontsize=9, loc="left", wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    return Picture(_png(figure), sentence, table)


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
    axes.xaxis.set_major_formatter(lambda x, _: f"{100 * x:.3g}%")  # of 1,000 pods each has 0.1%
    axes.set_xlabel(what)
    return figure, axes


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=100, metadata={"Software": None}, pil_kwargs={"compress_level": 1})
    return out.getvalue()
