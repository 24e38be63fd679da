"""Two maps of the course, live: the routes with how far you are, the levels with what each decides."""

from html import escape
from typing import Any

import ipywidgets as widgets

from ..decision import Decision
from ..errors import K8slbError, NotModelled
from ..front import Cluster
from ..path import exact_shares
from ..show.kinds import style
from ..show.route import Edge, Spot, route_of
from ..show.svg import share_text, table
from ..show.waymap import drawing
from . import progress
from .contents import LEVELS, Lesson, lessons, routes
from .questions import exercises


class Map(widgets.VBox):
    """A button for each of `names`; beneath, `html`, what `tell(index)` says of the chosen one."""

    def __init__(self, label: str, names: list[str]):
        self.choice = widgets.ToggleButtons(options=names, description=label, style={"button_width": "auto"})
        self.choice.observe(lambda _: self._draw(), "value")
        # An output, not an HTML widget: only in what JupyterLab draws itself does a link open a lesson beside this one.
        row, self.shown = widgets.HBox([self.choice]), widgets.Output()
        super().__init__([style(), row, self.shown])
        for part, name in ((row, "k8slb-controls"), (self.shown, "k8slb-text"), (self, "k8slb-panel")):
            part.add_class(name)
        self._draw()

    def _draw(self) -> None:
        self.html = self.tell(self.choice.index)
        self.shown.outputs = ({"output_type": "display_data", "data": {"text/html": self.html}, "metadata": {}},)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return super()._repr_mimebundle_(**kwargs) | {"text/plain": self.plain()}


class Routes(Map):
    """The routes: a lesson a row, with its locked guess and the checks passed, and where to go on. Read from the
    learner's folder whenever it is drawn; what is stored of it says nothing of the learner."""

    def __init__(self) -> None:
        self.routes = routes()
        super().__init__("route", [f"{route.name}: {route.minutes} minutes" for route in self.routes])

    def next(self) -> Lesson | None:
        """The first lesson of the chosen route without a locked guess, or without its first exercise solved."""
        for lesson in self.routes[self.choice.index].lessons:
            if not (progress.recall("guesses", lesson.number) and progress.recall("passed", f"{lesson.number}.1")):
                return lesson
        return None

    def tell(self, index: int) -> str:
        onward, rows = self.next(), []
        for lesson in self.routes[index].lessons:
            asked = exercises(lesson.number)
            passed = sum(progress.recall("passed", id) is not None for id in asked)
            locked = "locked" if progress.recall("guesses", lesson.number) else "not yet"
            minutes = f"{lesson.core} + {lesson.further}"
            told = (link(lesson), escape(lesson.question), minutes, locked, f"{passed} of {len(asked)}")
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in told) + "</tr>")
        said = f"Go on with {link(onward)}: {escape(onward.question)}" if onward else "You have been through all of it."
        head = table(("lesson", "question", "minutes", "guess", "checks passed"), ())
        return f"<p role='status'>{said}</p>{head.replace('<tbody>', '<tbody>' + ''.join(rows))}"

    def plain(self) -> str:
        told = [f"{r.name:<11} {' '.join(x.number for x in r.lessons)}\n{'':<11} {r.sum} minutes" for r in self.routes]
        return "\n".join(told)


class Levels(Map):
    """`Levels(shop)`: a button a level; it shows what is decided there, by the cluster's own trace."""

    def __init__(self, cluster: Cluster):
        self.cluster = cluster
        super().__init__("level", [level.title for level in LEVELS])

    def decided(self, level: Any) -> tuple[Decision, str]:
        """The level's decision, and its line of the trace; K8slbError where the cluster has none."""
        trace = (self.cluster.apply(level.apply) if level.apply else self.cluster).trace(level.url)
        lines = (line for line in str(trace).splitlines() if line.split()[1:2] == [level.layer])
        for hop in trace.hops:
            if hop.decision.layer == level.layer:
                return hop.decision, next(lines)
        raise K8slbError(f"{level.url} meets no {level.layer} here")

    def tell(self, index: int) -> str:
        level = LEVELS[index]
        facts = (("asks", level.asks), ("protocols", level.protocols), ("where", level.scope))
        told = "".join(f"<p><b>{name}</b>: {escape(value)}</p>" for name, value in facts)
        try:
            decision, line = self.decided(level)
            said = f"<p role='status'>{escape(level.url)}: {escape(decision.why)}.</p><pre tabindex='0'>{escape(line)}"
            said += f"</pre>{_drawn(decision)}"
        except K8slbError as error:
            said = f"<p role='alert'>&#9888; {escape(str(error))}</p>"
        onward = ", ".join(link(lesson) for lesson in lessons() if lesson.number in level.lessons)
        return f"{told}<p>{escape(level.heeds)}</p>{said}<p>Lessons: {onward}</p>"

    def plain(self) -> str:
        lines = []
        for level in LEVELS:
            try:
                decision, _ = self.decided(level)
                lines.append(f"{level.title:<20} {level.layer} at {decision.place}, once per {decision.grain}")
                lines += [f"{'':<22}{name:<44} {share}" for name, share in _rows(decision)]
            except K8slbError as error:
                lines.append(f"{level.title:<20} {error}")
        return "\n".join(lines)


def link(lesson: Lesson) -> str:
    return f'<a href="{escape(lesson.file)}">{lesson.number} {escape(lesson.title)}</a>'


def _edges(decision: Decision) -> list[Edge]:
    """From where it is decided to all that it picks among, with exact shares; None where these depend on load."""
    try:
        shares = list(exact_shares(decision))
    except NotModelled:
        shares = [None] * len(decision.candidates)
    here = Spot("proxy", decision.place.name.rpartition("/")[2], decision.layer)
    to = (Spot("pod", c.name, c.address) for c in decision.candidates)
    return [Edge(here, spot, share) for spot, share in zip(to, shares, strict=True)]


def _rows(decision: Decision) -> list[tuple[str, str]]:
    return [(f"{to.name} {to.address}", share_text(share)) for _, to, share in _edges(decision)]


def _drawn(decision: Decision) -> str:
    if not decision.candidates:
        return ""
    head = ("candidate", f"share of the {decision.grain}s")
    return drawing(route_of([_edges(decision)], frozenset())) + table(head, _rows(decision))
