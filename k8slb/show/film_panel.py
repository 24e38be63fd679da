"""A panel of a change: the film of a rollout or a failure, what it loses, and the least preStop that loses nothing.

film(shop, {"order-2 crashes": ("", "pod_dies", "order-2")}, controls.replicas("order"))
"""

from collections.abc import Mapping
from dataclasses import replace
from html import escape
from math import ceil, inf
from typing import Any

from .. import path
from ..cluster import Cluster, grouped
from ..errors import InputError
from ..manifests import table_of
from ..scheduling import some
from . import controls, kinds, said
from .controls import Maker
from .film import DEAD, Row, lanes, learners, lost_at, moments, sends_to, svg, turns
from .kinds import Control
from .panels import Drawn, Panel
from .picture import Picture
from .route import Route, Spot, edges, route_of
from .svg import table
from .waymap import drawing

STEP = "Step goes to the first moment at which anything changes."
BUTTONS = "Go to the next moment", "Go to the next moment every 1.4 seconds", "No moment chosen"
NOW = ("what", "who", "state", "since", "sends to, lists")
WORDS = table_of("states")["words"]
HEAD = ("what", "who", "from", "to", "state")


class Film(Panel):
    """`changes`: what can happen, by name, as (YAML to apply before it or "", the cluster's method, whom it is about);
    the first is shown. Its control, the `others`, and one for `propagation` in seconds: four in all, or fewer.

    `change` is what is shown and `outcome` what was sent meanwhile, with the arguments `asked`.
    """

    def __init__(
        self,
        cluster: Cluster,
        changes: Mapping[str, tuple[str, str, str]],
        *others: Maker | Control,
        propagation: int = 2,
        **asked: Any,
    ):
        first, *_ = changes.values()
        happens = controls.choice("what happens", {name: text for name, (text, *_) in changes.items()})(cluster, asked)
        happens = replace(happens, ask=lambda q, name: q | {"change": changes[name][1:]})
        label = "propagation delay, seconds"
        knows = kinds.number(label, propagation, 0, 30, ask=lambda q, late: q | {"propagation": late})
        asked = {"requests": None, "rate": 100, **asked, "change": first[1:], "propagation": propagation}
        super().__init__(cluster, "", happens, *others, knows, inside=second, **asked)
        for button, told in zip(self.steps.children, BUTTONS, strict=False):
            button.tooltip = told

    def _draw(self) -> None:
        (cluster, calls), asked = self._changed(), self.asked()
        (method, name), late = asked.pop("change"), asked.pop("propagation")
        sent = {k: v for k, v in asked.items() if v not in (None, "")}
        change = getattr(cluster, method)(name, propagation=late)
        if not change.url:
            raise InputError(f"no pod of {name} stands behind a Service", expected="one replica or more")
        outcome = change.send(**sent)
        self.change, self.outcome, self.rows, self.rate = change, outcome, change.rows(), sent["rate"]
        self.losses, self.lost = change.losses(), lost_at(outcome)
        self.moments = moments(self.rows)
        self.moments += [ceil(outcome.run.time[-1])] if outcome.run.time[-1] > self.moments[-1] else []
        lost = f"At {self.rate:g} requests a second {self.mean_lost():g} are lost on average"
        made = [f'{method}("{name}", propagation={late})', f"send({', '.join(f'{k}={v!r}' for k, v in sent.items())})"]
        self.line = ".".join([*filter(None, calls), *made])
        self.steps.allow(len(self.moments))
        self._draw_path()
        code = said.code(self.cluster, cluster, self.line)
        self._say(f"{change.title}. {lost}, {outcome.lost:,} in this run.", code)
        if hasattr(change, "smallest_pre_stop"):  # takes as long as all the rest, so it comes when that is shown
            least = change.smallest_pre_stop().seconds
            told = "Every preStop within the grace period loses some"
            told = told if least is None else f"The least preStop that loses none: {least} s"
            self._say(f"{self.sentence} {told}.", code)

    def _draw_path(self) -> None:
        """The film with a line at the moment that the steps have come to, and beneath it how things are then."""
        now = self.moments[self.steps.at - 1] if self.steps.at else None
        self.drawing.value = svg(self.rows, self.lost, str(self.change), now)
        self._look_inside()

    def mean_lost(self, until: float = inf) -> float:
        """How many of all requests up to then are lost on average."""
        spans = ((min(end, until) - begin) * share for begin, end, share in self.losses if begin < until)
        return round(sum(spans) * self.rate, 9)

    def _say(self, sentence: str, code: str) -> None:
        self.sentence, self._pieces = sentence, (f"<p role='status'>{escape(sentence)}</p>", code)
        self._tell()

    def _table(self) -> str:
        return table(HEAD, [(r.what, r.who, f"{r.begin:g}", f"{r.end:g}", r.state) for r in self.rows])

    def _still(self) -> Picture:
        return self.change.plot(self.outcome)


film = Film  # as lessons call it


def second(panel: Film, at: int) -> Drawn:
    """The scene of a film: the way of a request at the moment of step `at`, and what everybody takes for true then."""
    if not at:
        return Drawn(f"<p>{STEP}</p>", (), ())
    now, change, rows = panel.moments[at - 1], panel.change, panel.rows
    share = next((share for begin, end, share in panel.losses if begin <= now < end), 0)
    lost = sum(t <= now for t in panel.lost)
    so_far = f"{lost:,} lost so far in this run, {panel.mean_lost(now):g} on average"
    there = [row for row in rows if row.begin <= now < row.end]
    late = [row for row in there if row.what not in ("Pod", "Node") and row.state not in ("up to date", DEAD)]
    happens = [row for row in turns(rows, now) if row not in late]
    told = f"Second {now:g}: {_told(happens) or ('no row becomes right' if late else 'the run ends')}. "
    told += f"Late: {_told(late)}. " if late else "Everybody is up to date. "
    told += f"{share:.1%} of new connections are lost now" if share else "No new connection is lost now"
    told += f"; {so_far}."
    route = _to_the_dead(edges(change, path.start(change.at(now), change.url, via=change.via), now))
    way = route.way([spot.name for spot in route.stages[-1] if spot.kind == "end"]) if share else ()
    known = {one[:2]: some(sends_to(change, one, now), 6) for one in learners(change, [x.one for x in change.lives])}
    shown = {row[:2] for its in lanes(rows, None)[0].values() for row in its}
    known |= {r[:2]: "" for r in there if r.state == DEAD}
    found = [(r.what, r.who, r.state, f"{r.begin:g} s", known.get(r[:2], "")) for r in there if r[:2] in shown]
    svg_text = drawing(route, told, None, way) + f"<p role='status'>{escape(told)}</p>"
    return Drawn(svg_text, NOW, (*found, ("requests", "", so_far, "", "")))


def _to_the_dead(route: Route) -> Route:
    """The route with what a pod comes to that takes nothing as its name, not as one more stage."""
    dead = {e.source: e.target.name for stage in route.edges for e in stage if e.source.kind == "pod"}
    named = {spot: Spot("end", f"{spot.name}: {what}", spot.address, spot.note) for spot, what in dead.items()}
    stages = (
        [e._replace(target=named.get(e.target, e.target)) for e in s if e.source not in dead] for s in route.edges
    )
    return route_of(filter(None, stages), route.controllers)


def _told(rows: list[Row]) -> str:
    """What they are, those of one kind and state together."""
    alike = grouped(((row.what, row.state), row.who) for row in rows)
    return "; ".join(f"{what} {some(who)}: {WORDS.get(state, state)}" for (what, state), who in alike.items())
