"""Panels: controls above; the path, the distribution, a sentence, and the YAML and Python that do the same beneath.

    panel(shop, "http://order-service", controls.replicas("order"), controls.connections())

A panel takes its cluster as it is, touches nothing but its own widgets (callbacks run on a thread of their own) and
never draws with pyplot.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import reduce
from html import escape
from threading import RLock
from typing import Any

import ipywidgets as widgets
from IPython import get_ipython

from .. import path
from ..cluster import Cluster
from ..errors import K8slbError, printable
from . import said
from .bars import Bar, bars
from .controls import Maker
from .kinds import Control
from .route import LOST, edges
from .steps import Journeys, Steps
from .waymap import drawing

MOST, MOST_IN_SANDBOX = 4, 8
# A panel's style stands in a widget of its own that never changes: new rules cost the whole page a fresh layout. The
# dot runs along the edges of its request; who asks for less motion sees it stand where the request ended.
STYLE = (
    "<style>.k8slb-yaml textarea{font-family:var(--jp-code-font-family,monospace);line-height:1.35}"
    ".k8slb-text,.k8slb-text .widget-html-content{line-height:1.45}.k8slb-text p{margin:2px 0;max-width:900px}"
    ".k8slb-text pre{white-space:pre-wrap;margin:2px 0 8px;padding:4px 8px;max-width:884px;line-height:1.4;"
    "color:var(--jp-ui-font-color1,#1a1a1a);background:var(--jp-layout-color2,#eee)}"
    ".k8slb-text td,.k8slb-text th{padding:1px 14px 1px 0;text-align:left}.k8slb-line{user-select:all}"
    ".k8slb-dot{offset-distance:100%;offset-rotate:0deg;animation:k8slb-move 1s ease-in-out}"
    "@keyframes k8slb-move{from{offset-distance:0%}to{offset-distance:100%}}"
    "@media (prefers-reduced-motion: reduce){.k8slb-dot{animation:none}}</style>"
)


def panel(
    cluster: Cluster,
    url: str,
    *controls: Maker | Control,
    requests: int = 1000,
    connections: int | None = None,
    seed: int = 0,
    sandbox: bool = False,
    **asked: Any,
) -> Panel:
    """A live panel of a URL's path and distribution. At most four controls; `sandbox` allows eight in two groups.

    `asked` are further arguments of `Cluster.send`: from_, via, method, headers.
    """
    most = MOST_IN_SANDBOX if sandbox else MOST
    if len(controls) > most:
        raise ValueError(f"{len(controls)} controls are more than a reader can keep apart; at most {most}")
    question = {"url": url, "requests": requests, "connections": connections, "seed": seed, **asked}
    return Panel(cluster, question, [c if isinstance(c, Control) else c(cluster, question) for c in controls], sandbox)


class Panel(widgets.VBox):
    """What `panel` makes. `outcome` and `route` are what is shown, `line` is the Python that gives the same outcome."""

    def __init__(self, cluster: Cluster, question: dict[str, Any], controls: list[Control], sandbox: bool = False):
        self.cluster, self.question, self.controls = cluster, question, controls
        self._name, self._lock, self._heights = _name_of(cluster), RLock(), [0.0, 0.0]
        self.drawing, self.distribution = widgets.HTML(), widgets.HTML()
        self.alert, self.stepped, self.table = widgets.HTML(), widgets.HTML(), widgets.HTML()
        for text in (self.alert, self.stepped, self.distribution, self.table):
            text.add_class("k8slb-text")
        self.alert.layout.min_height = self.stepped.layout.min_height = "26px"  # nothing jumps when they speak
        self.steps, as_table = Steps(self._stepped), self._folds("As a table")
        self._draw()
        for control in controls:
            control.source.observe(self._moved, "value")
        buttons = widgets.HBox([self.steps, as_table], layout={"flex_flow": "row wrap"})
        style = widgets.HTML(STYLE, layout={"height": "0", "margin": "0"})
        shown = [style, self.alert, self.drawing, buttons, self.stepped, self.table, self.distribution]
        super().__init__([*_grouped(controls, sandbox), *shown])

    # --- as the controls have it ---

    def changed(self) -> Cluster:
        """The cluster as the controls have it."""
        return reduce(lambda cluster, c: c.change(cluster, c.value), self.controls, self.cluster)

    def asked(self) -> dict[str, Any]:
        """The arguments of `send` as the controls have them."""
        return reduce(lambda question, c: c.question(question, c.value), self.controls, dict(self.question))

    # --- when something moves ---

    def _moved(self, change: Any) -> None:
        with self._lock:  # two threads may come here; each draws what the controls say by then, so the last value wins
            self._try(self._draw)

    def _stepped(self) -> None:
        with self._lock:
            self._try(self._draw_path)

    def _try(self, draw: Callable[[], None]) -> None:
        """A failure is one line, and the last drawing stays."""
        try:
            draw()
            self.alert.value = ""
        except Exception as error:
            meant = isinstance(error, K8slbError)
            told = str(error) if meant else f"k8slb failed here: {type(error).__name__}: {error}"
            self.alert.value = f"<p role='alert'>&#9888; {escape(printable(told))}</p>"
            if not meant and os.environ.get("K8SLB_STRICT") == "1":
                raise

    def _draw(self) -> None:
        cluster, asked = self.changed(), self.asked()
        outcome = cluster.send(**asked)
        way = {k: asked[k] for k in ("url", "from_", "via", "method", "headers") if asked.get(k) is not None}
        route = edges(cluster.timeline, path.start(cluster, **way))
        rows = list(_rows(cluster, outcome, route))
        forwarded = cluster.trace(**way).fact("forwarded")
        sentence = said.sentence(outcome, route, forwarded["path"] if forwarded else None)
        line = said.line(self._name, self.controls, asked)
        chart, self._heights[1] = bars(rows, outcome.spread, sentence, self._heights[1])
        code = said.code(self.cluster, cluster, line)
        # Nothing below can fail, so what is shown is always of one piece.
        self.outcome, self.route, self.journeys = outcome, route, Journeys(route, outcome)
        self.sentence, self.line, self.rows = sentence, line, rows
        self.steps.allow(outcome.requests)
        self._draw_path()
        # As few messages to the browser as can be: each delays the next frame.
        self.distribution.value = f"{chart}<p role='status'>{escape(sentence)}</p>{code}"
        self._tell_table()

    def _tell_table(self) -> None:
        shown = self.table.layout.display is None
        self.table.value = said.table(self.rows, self.route) if shown else ""

    def _draw_path(self) -> None:
        at = self.steps.at
        told, counts = ("", None) if not at else (self.journeys.told(at), self.journeys.counts(at))
        way = self.journeys.way(at) if at else ()
        label = f"{told}; {self.sentence}" if at else self.sentence
        self.drawing.value, self._heights[0] = drawing(self.route, label, counts, way, self._heights[0])
        self.stepped.value = f"<p role='status'>{escape(told or 'Step sends the first request of the run.')}</p>"

    def _folds(self, name: str) -> widgets.ToggleButton:
        """A button that shows and hides the table: a details element would close again at every move."""
        self.table.layout.display = "none"
        button = widgets.ToggleButton(description=name, icon="table", layout={"width": "auto"})

        def turned(change: Any) -> None:
            self.table.layout.display = None if change["new"] else "none"
            button.description = "Hide the table" if change["new"] else name
            with self._lock:
                self._try(self._tell_table)

        button.observe(turned, "value")
        return button

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live panel, and for viewers without a kernel the distribution as a PNG and as text."""
        still, _ = replace(self.outcome.plot(), sentence=self.sentence)._repr_mimebundle_()
        return super()._repr_mimebundle_(**kwargs) | still


def _rows(cluster: Cluster, outcome: Any, route: Any) -> Iterator[Bar]:
    """A bar for each pod, then for each answer that came from no pod."""
    for pod, *numbers in outcome.rows:
        yield Bar(f"{cluster.pod_name(pod)} {pod}".strip(), *numbers)
    exact = {spot.name: share for spot, share in route.ends().items() if spot.kind == "end"}
    counts = {f"answered {status}": n for status, n in outcome.counts("status").items()}
    counts |= {LOST.get(how, how): n for how, n in outcome.counts("lost").items()}
    for name, share in exact.items():
        count = counts.get(name, 0)
        yield Bar(name, count, count / outcome.requests, None if share is None else float(share), False)


def _grouped(controls: list[Control], sandbox: bool) -> list[widgets.Widget]:
    """The controls in a row that wraps; a sandbox's in two labelled groups."""
    groups = {"": controls}
    if sandbox:
        groups = {"The cluster": [c for c in controls if not c.changes_question]}
        groups["The requests"] = [c for c in controls if c.changes_question]
    shown: list[widgets.Widget] = []
    for title, mine in groups.items():
        if mine:
            shown += [widgets.HTML(f"<b>{title}</b>")] if title else []
            shown.append(
                widgets.HBox([c.widget for c in mine], layout={"flex_flow": "row wrap", "grid_gap": "2px 20px"})
            )
    return shown


def _name_of(cluster: Cluster) -> str:
    """What the notebook calls this cluster, so that the line of Python can be run as it stands."""
    shell = get_ipython()
    names = dict(shell.user_ns) if shell else {}
    return next((n for n, v in names.items() if v is cluster and not n.startswith("_")), "cluster")
