"""The kinds of control: a number, a choice, a text, a pane of YAML. What each one means comes from who makes it.

Every kind has a visible label. A text is taken when its field is left or Enter is pressed, not at every key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

import ipywidgets as widgets
from traitlets import link

from ..cluster import Cluster

WHOLE = {"description_width": "initial"}  # a label is never cut off


@dataclass(frozen=True, eq=False)
class Control:
    """One thing that a reader can change. `source` is the part of `widget` that has the value, `start` its first one.

    `edit(cluster, value)` gives another cluster and `call(value)` is the method call that does the same, such as
    `scale("order", 6)`; or `ask(question, value)` gives another question and leaves the cluster as it is.
    """

    widget: widgets.Widget
    source: widgets.Widget
    start: Any
    edit: Callable[[Cluster, Any], Cluster] | None = None
    call: Callable[[Any], str] | None = None
    ask: Callable[[dict[str, Any], Any], dict[str, Any]] | None = None

    @property
    def value(self) -> Any:
        return self.source.value

    @property
    def changes_question(self) -> bool:
        return self.ask is not None

    def change(self, cluster: Cluster, value: Any) -> Cluster:
        return self.edit(cluster, value) if self.edit and value != self.start else cluster

    def python(self, value: Any) -> str:
        return self.call(value) if self.call and value != self.start else ""

    def question(self, asked: dict[str, Any], value: Any) -> dict[str, Any]:
        return self.ask(asked, value) if self.ask and value != self.start else asked


def number(label: str, start: int, low: int, high: int, log: bool = False, **meaning: Any) -> Control:
    """A whole number: a box and a slider that follow each other; `log` gives each power of ten the same room."""
    box = widgets.BoundedIntText(start, min=low, max=high, description=label, tooltip=label, style=WHOLE)
    box.layout.width = f"{len(label) * 0.55 + 7:.1f}em"
    if log:
        slider = widgets.FloatLogSlider(start, min=log10(low), max=log10(high), step=0.02, readout=False, tooltip=label)
        # Two digits are enough for a slider; the box keeps every number that was typed into it.
        slider.observe(lambda change: _follow(box, _two_digits(change["new"], low, high)), "value")
        box.observe(lambda change: setattr(slider, "value", change["new"]), "value")
    else:
        slider = widgets.IntSlider(start, low, high, readout=False, tooltip=label)
        link((box, "value"), (slider, "value"))
    slider.layout.width = "170px"
    return Control(widgets.HBox([box, slider]), box, start, **meaning)


def _two_digits(value: float, low: int, high: int) -> int:
    return min(high, max(low, round(float(f"{value:.1e}"))))


def _follow(box: widgets.BoundedIntText, value: int) -> None:
    if _two_digits(box.value, box.min, box.max) != value:
        box.value = value


def choice(label: str, start: Any, options: Sequence[Any], **meaning: Any) -> Control:
    """One of a few: buttons for up to three short options, else a list to choose from."""
    few = len(options) <= 3 and sum(len(str(o)) for o in options) < 36
    if few:
        buttons = {**WHOLE, "button_width": "auto"}
        widget = widgets.ToggleButtons(options=options, value=start, description=label, style=buttons)
    else:
        widget = widgets.Dropdown(options=options, value=start, description=label, style=WHOLE)
    widget.layout.width = "auto"
    return Control(widget, widget, start, **meaning)


def text(label: str, start: str, **meaning: Any) -> Control:
    widget = widgets.Text(start, description=label, style=WHOLE, continuous_update=False)
    widget.layout.width = f"{min(56, max(16, len(label) + len(start) + 6)) * 0.62:.0f}em"
    return Control(widget, widget, start, **meaning)


def pane(label: str, start: str, **meaning: Any) -> Control:
    """Several lines, such as an object's YAML."""
    area = widgets.Textarea(start, tooltip=label, continuous_update=False, rows=min(24, start.count("\n") + 2))
    area.layout.width = "98%"
    area.add_class("k8slb-yaml")
    title = widgets.Label(f"{label} (takes effect when you leave the field)")
    return Control(widgets.VBox([title, area], layout={"width": "100%"}), area, start, **meaning)
