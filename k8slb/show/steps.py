"""Requests as dots: one step sends the next request of the simulated run along its way. Nothing moves by itself."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import ipywidgets as widgets
from traitlets import link

from .route import Route, Spot, called, edges

MOST = 1000  # nobody watches more
FIT = {"width": "auto"}


class Steps(widgets.HBox):
    """The buttons; `at` is how many requests have been sent. The clock of "play" is the browser's own."""

    def __init__(self, moved: Callable[[], None]):
        self.clock = widgets.Play(0, 0, MOST, interval=1400, layout={"display": "none"})
        told = ("Send the next request", "Send a request every 1.4 seconds", "No request sent yet")
        step = widgets.Button(description="Step", icon="step-forward", tooltip=told[0], layout=FIT)
        play = widgets.ToggleButton(description="Play", icon="play", tooltip=told[1], layout=FIT)
        back = widgets.Button(description="Back to start", icon="undo", tooltip=told[2], layout=FIT)
        link((play, "value"), (self.clock, "playing"))
        play.observe(lambda change: setattr(play, "description", "Pause" if change["new"] else "Play"), "value")
        step.on_click(lambda _: setattr(self.clock, "value", min(self.clock.value + 1, self.clock.max)))
        back.on_click(lambda _: self.reset())
        self.clock.observe(lambda _: moved(), "value")
        super().__init__([step, play, back, self.clock], layout={"flex_flow": "row wrap"})

    @property
    def at(self) -> int:
        return self.clock.value

    def reset(self) -> None:
        self.clock.playing = False
        self.clock.value = 0

    def allow(self, requests: int) -> None:
        """A new run: from the start, with at most so many steps."""
        self.reset()
        self.clock.max = min(requests, MOST)


class Journeys:
    """The ways of the first requests of a run, worked out as far as they are asked for."""

    def __init__(self, route: Route, outcome: Any):
        self.route, self.outcome = route, outcome  # the route of the first client
        self.way, self._of = cache(self._way), cache(self._of)

    def route_of(self, number: int) -> Route:
        """The route of the client that sends request `number` (from 1): its own node, and its own share of a hash."""
        run = self.outcome.run
        return self._of(int(run.clients.address_of[run.connection[number - 1] % run.clients.users]))

    def _of(self, address: int) -> Route:
        return edges(self.outcome.timeline, self.outcome.run.clients.start_at(address)) if address else self.route

    def _seen(self, number: int) -> set[str]:
        """What the run's columns say of request `number` (from 1)."""
        columns = self.outcome.run.columns.items()
        met = ((column, names[codes[number - 1]]) for column, (names, codes) in columns if codes[number - 1] >= 0)
        return {called(column, name) if column in ("status", "lost") else name for column, name in met}

    def _way(self, number: int) -> tuple[Spot, ...]:
        """The spots that a request passes; without the last where the route does not have what came of it."""
        seen = self._seen(number)
        *way, last = self.route_of(number).way(seen)
        return (*way, last) if seen & {last.name, last.address} else tuple(way)

    def counts(self, number: int) -> Counter[Spot]:
        """How many of the first `number` requests ended where."""
        return Counter(self.way(i)[-1] for i in range(1, number + 1))

    def told(self, number: int) -> str:
        """The spots that are known: where the run tells which, or there is but one."""
        run, seen = self.outcome.run, self._seen(number)
        over = f" on connection {run.connection[number - 1] + 1:,}" if run.connections < run.requests else ""
        ways = list(zip(self.way(number), self.route_of(number).stages, strict=False))
        known = (spot for spot, stage in ways[1:] if len(stage) == 1 or seen & {spot.name, spot.address})
        return f"request {number:,}{over}: {', '.join(s.name for s in known if s.kind != 'load balancer')}"
