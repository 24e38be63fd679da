"""Panels: controls above; the path, the distribution, a sentence, and the YAML and Python that do the same beneath.

What is clicked stands above what changes its height, so nothing moves away under the hand.

    panel(shop, "http://order-service", controls.replicas("order"), controls.connections())

A panel takes its cluster as it is, touches nothing but its own widgets (callbacks run on a thread of their own) and
never draws with pyplot.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from html import escape
from threading import RLock
from time import sleep
from typing import Any, Literal, NamedTuple

import ipywidgets as widgets
from IPython import get_ipython

from .. import path
from ..answers.latency import Latency
from ..cluster import Cluster
from ..errors import K8slbError, NotHere, printable
from ..few import np
from . import said
from .bars import Bar, bars, waits
from .controls import Maker
from .kinds import Control, style
from .picture import Picture
from .route import Route, called, edges
from .steps import Journeys, Steps
from .svg import table
from .waymap import drawing

MOST, MOST_IN_SANDBOX = 4, 8
Scene = Callable[["Panel", int], "Drawn"]  # what it looks like inside, once so many requests have been sent


class Drawn(NamedTuple):
    """A drawing as SVG, and the same as a table: column titles, and rows with the numbers that are drawn."""

    svg: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


STEP = "Step sends the first request of the run."


class Panel(widgets.VBox):
    """A live panel of a URL's path and distribution. At most four controls; `sandbox` allows eight in two groups.

    `asked` are the arguments of `Cluster.send`; without them 1,000 requests with seed 0. `outcome` and `route` are what
    is shown, `line` is the Python that gives the same outcome. With `shows="latency"`, which needs a clock (`rate`),
    the bars are how long each pod's requests took; up to 20,000 requests answer a slider at once. `inside` is a scene
    of `show/scenes/`: what a decision looks like where it is taken, moved on by the same steps as the path.
    """

    def __init__(
        self,
        cluster: Cluster,
        url: str,
        *controls: Maker | Control,
        sandbox: bool = False,
        shows: Literal["shares", "latency"] = "shares",
        inside: Scene | None = None,
        **asked: Any,
    ):
        most, self.shows, self.inside = MOST_IN_SANDBOX if sandbox else MOST, shows, inside
        if len(controls) > most:
            raise ValueError(f"{len(controls)} controls are more than a reader can keep apart; at most {most}")
        question = {"url": url, "requests": 1000, "connections": None, "seed": 0, **asked}
        self.cluster, self.question = cluster, question
        self.controls = [c if isinstance(c, Control) else c(cluster, question) for c in controls]
        self._name, self._lock = _name_of(cluster), RLock()
        self.alert, self.drawing, self.scene, self.told = (widgets.HTML() for _ in range(4))
        for shown in (self.alert, self.drawing, self.scene, self.told):
            shown.add_class("k8slb-text")
        self.alert.layout.min_height = "26px"  # nothing jumps when it speaks
        self.steps = Steps(lambda: self._try(self._draw_path))
        self.as_table = widgets.ToggleButton(description="As a table", icon="table", layout={"width": "auto"})
        self._draw()
        self.as_table.observe(lambda _: self._tell(), "value")
        for control in self.controls:
            control.source.observe(lambda _: self._try(self._draw), "value")
        buttons = widgets.HBox([self.steps, self.as_table], layout={"flex_flow": "row wrap"})
        shown = [self.drawing, *([self.scene] if inside else []), self.told]
        super().__init__([style(), *_grouped(self.controls, sandbox), self.alert, buttons, *shown])
        self.add_class("k8slb-panel")

    # --- as the controls have it ---

    def changed(self) -> Cluster:
        """The cluster as the controls have it."""
        return self._changed()[0]

    def _changed(self) -> tuple[Cluster, list[str]]:
        """The cluster, and the Python that makes it."""
        cluster, calls = self.cluster, [self._name]
        for control in self.controls:
            cluster, call = control.done(cluster, control.value)
            calls.append(call)
        return cluster, calls

    def asked(self) -> dict[str, Any]:
        """The arguments of `send` as the controls have them."""
        return reduce(lambda question, c: c.question(question, c.value), self.controls, dict(self.question))

    # --- when something moves ---

    def _try(self, draw: Callable[[], None]) -> None:
        """A failure is one line, and the last drawing stays. Two threads may come here; the last value wins."""
        with self._lock:  # each draws what the controls say by then
            before = self.drawing.value
            try:
                draw()
                if draw != self._draw_path:  # a step leaves standing what is wrong with the controls
                    self.alert.value = ""
            except Exception as error:
                self.drawing.value = before
                meant = isinstance(error, K8slbError)
                told = str(error) if meant else f"k8slb failed here: {type(error).__name__}: {error}"
                self.alert.value = f"<p role='alert'>&#9888; {escape(printable(told))}</p>"
                if not meant and os.environ.get("K8SLB_STRICT") == "1":
                    raise

    def _draw(self) -> None:
        (cluster, calls), asked = self._changed(), self.asked()
        way = {k: asked[k] for k in ("url", "from_", "via", "method", "headers") if asked.get(k) is not None}
        route = edges(cluster.timeline, path.start(cluster, **way))
        # The exact shares go first, in a message of their own, and what was sampled follows a frame later.
        self.drawing.value = f"{drawing(route)}<p>{STEP}</p>"
        sleep(0.001)  # else the thread that sends it waits for Python's lock till the rest is worked out
        outcome = cluster.send(**asked)
        rows = list(rows_of(outcome, route))
        trace = cluster.trace(**way) if route.controllers or outcome.lost == outcome.requests else None
        sentence = said.sentence(outcome, route, trace)
        line = said.line(calls, asked)
        waiting = waits_of(outcome) if self.shows == "latency" else []
        drawn = waits([w[:2] for w in waiting], sentence) if waiting else bars(rows, outcome.spread, sentence)
        chart = f"{drawn}<p role='status'>{escape(sentence)}</p>"
        chart += "".join(f"<p>&#9888; {escape(printable(w))}</p>" for w in (trace.warnings if trace else ()))
        code = said.code(self.cluster, cluster, line)
        self.outcome, self.route, self.journeys = outcome, route, Journeys(route, outcome)
        self.sentence, self.rows, self.line, self._pieces = sentence, rows, line, (chart, code)
        self.waits = waiting
        self.steps.allow(outcome.requests)
        self._look_inside()
        self._tell()

    def _draw_path(self) -> None:
        """The path as the steps have it."""
        at, told, so_far, route = self.steps.at, f"<p>{STEP}</p>", (), self.route
        if at:
            route = self.journeys.route_of(at)
            so_far = self.journeys.told(at), self.journeys.counts(at), self.journeys.way(at)
            told = f"<p role='status'>{escape(so_far[0])}</p>"
        self.drawing.value = drawing(route, *so_far) + told
        self._look_inside()

    def _look_inside(self) -> None:
        """The scene as the steps have it, and its numbers."""
        if self.inside:
            drawn = self.inside(self, self.steps.at)
            self.scene.value = drawn.svg + (table(drawn.head, drawn.rows) if drawn.rows else "")

    def _tell(self) -> None:
        self.told.value = (self._table() if self.as_table.value else "").join(self._pieces)

    def _table(self) -> str:
        return said.table(self.rows, self.route, self.waits)

    def _still(self) -> Picture:
        return self.outcome.plot_latency() if self.waits else self.outcome.plot()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live panel, and for viewers without a kernel the distribution as a PNG and as text."""
        try:
            still = replace(self._still(), sentence=self.sentence).still
        except NotHere:  # nothing draws a PNG in a browser
            still = {"text/plain": self.sentence}
        return super()._repr_mimebundle_(**kwargs) | still


panel = Panel  # as lessons call it


def rows_of(outcome: Any, route: Route) -> Iterator[Bar]:
    """A bar for each pod, then for each answer that came from no pod: by the exact shares, or met in the run."""
    pods, columns = outcome.counts(), outcome.run.columns
    exact = {s.name: share for s, share in route.ends().items() if s.kind == "end"} | (outcome.exact or {})
    admitted = Fraction(outcome.admitted).limit_denominator(outcome.requests)
    alone = columns["pod"][1] < 0 if "pod" in columns else np.full(outcome.requests, True)
    ends = Counter()
    for kind in filter(columns.__contains__, ("status", "lost")):
        names, codes = columns[kind]
        ends.update({called(kind, name): int((alone & (codes == i)).sum()) for i, name in enumerate(names)})
    for name in pods | exact | ends:
        count, share = pods.get(name, ends[name]), exact.get(name)
        if count or share or name in pods:
            title = f"{outcome.name_of(name)} {name}".strip()
            yield Bar(title, count, count / outcome.requests, share and share * admitted, name in pods)


def waits_of(outcome: Any) -> list[tuple[str, Latency, str]]:
    """(name, latency, how busy it was) of all requests and of each pod that served some; none where nobody did."""
    found = [("all pods", outcome.latency, "")]
    for pod, busy in ((pod, outcome.utilisation.get(pod)) for pod in outcome.counts()):
        told = "" if busy is None else f"{busy:.1%}"
        found.append((f"{outcome.name_of(pod)} {pod}".strip(), outcome.latency_of(pod), told))
    return [wait for wait in found if wait[1].requests]


def _grouped(controls: list[Control], sandbox: bool) -> list[widgets.Widget]:
    """The controls in a row that wraps; a sandbox's in two labelled groups."""
    groups = {"": controls}
    if sandbox:
        groups = {"The cluster": [c for c in controls if not c.ask], "The requests": [c for c in controls if c.ask]}
    shown: list[widgets.Widget] = []
    for title, mine in groups.items():
        row = widgets.HBox([c.widget for c in mine], layout={"flex_flow": "row wrap", "grid_gap": "2px 20px"})
        row.add_class("k8slb-controls")
        if mine:
            shown += [widgets.HTML(f"<b>{title}</b>"), row] if title else [row]
    return shown


def _name_of(cluster: Cluster) -> str:
    """What the notebook calls this cluster, so that the line of Python can be run as it stands."""
    shell = get_ipython()
    names = dict(shell.user_ns) if shell else {}
    return next((n for n, v in names.items() if v is cluster and not n.startswith("_")), "cluster")
