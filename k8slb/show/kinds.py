"""The kinds of control: a number, a choice, a text, a pane of YAML. What each one means comes from who makes it.

Every kind has a visible label. A text is taken when its field is left or Enter is pressed, not at every key.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from traitlets import CFloat, CInt, Tuple, validate

from ..cluster import Cluster

Does = Callable[[Cluster, Any], tuple[Cluster, str]]  # another cluster, and the method call that gives it
WHOLE = {"description_width": "initial"}  # a label is never cut off
STYLE = f"<style>{Path(__file__).with_name('panel.css').read_text(encoding='utf-8')}</style>"


def style() -> widgets.HTML:
    """A panel's style, in a widget of its own that never changes: new rules cost the whole page a fresh layout."""
    return widgets.HTML(STYLE, layout={"height": "0", "margin": "0"})


@dataclass(frozen=True, eq=False)
class Control:
    """One thing that a reader can change. `source` is the part of `widget` that has the value, `start` its first one.

    `does(cluster, value)` gives another cluster, and the method call that does the same, such as `scale("order", 6)`;
    or `ask(question, value)` gives another question and leaves the cluster as it is.
    """

    widget: widgets.Widget
    source: widgets.Widget
    start: Any
    does: Does | None = None
    ask: Callable[[dict[str, Any], Any], dict[str, Any]] | None = None

    @property
    def value(self) -> Any:
        return self.source.value

    def done(self, cluster: Cluster, value: Any) -> tuple[Cluster, str]:
        """What `does` gives; at its start a control changes nothing."""
        return self.does(cluster, value) if self.does and value != self.start else (cluster, "")

    def change(self, cluster: Cluster, value: Any) -> Cluster:
        return self.done(cluster, value)[0]

    def question(self, asked: dict[str, Any], value: Any) -> dict[str, Any]:
        return self.ask(asked, value) if self.ask and value != self.start else asked


class Box(widgets.IntText):
    """A whole number from `low` to `high`; `note` says so where another was typed."""

    def __init__(self, start: int, low: int, high: int, **how: Any):
        self.low, self.high, self.note = low, high, widgets.HTML()
        super().__init__(start, **how)

    @validate("value")
    def _within(self, proposal: Any) -> int:
        asked = proposal["value"]
        told = f"at most {self.high:,} here" if asked > self.high else f"at least {self.low:,} here"
        value = min(self.high, max(self.low, asked))
        self.note.value = "" if value == asked else f"<span role='status'>{told}</span>"
        return value


# Not sent back to the browser that sent it: each message delays the next frame.
class Slider(widgets.IntSlider):
    value = CInt(0).tag(sync=True, echo_update=False)


class LogSlider(widgets.FloatLogSlider):
    value = CFloat(1.0).tag(sync=True, echo_update=False)


def number(label: str, start: int, low: int, high: int, log: bool = False, **meaning: Any) -> Control:
    """A whole number: a box and a slider that follow each other; `log` gives each power of ten the same room."""
    box = Box(start, low, high, description=label, tooltip=label, style=WHOLE)
    box.layout.width = f"{len(label) * 0.55 + 7:.1f}em"
    if log:  # two digits are enough for a slider; the box keeps every number that was typed into it
        slider = LogSlider(start, min=log10(low), max=log10(high), step=0.02)
    else:
        slider = Slider(start, min=low, max=high)
    slider.readout, slider.tooltip, slider.layout.width = False, label, "170px"

    def shown(value: float) -> int:
        return min(high, max(low, round(float(f"{value:.1e}")))) if log else int(value)

    def follow(change: Any) -> None:
        near = log and abs(log10(change["new"] / box.value)) <= slider.step / 2  # where the browser puts what was typed
        if not near and shown(box.value) != shown(change["new"]):
            with box.hold_sync():  # what is drawn goes first, the number after it
                box.value = shown(change["new"])

    slider.observe(follow, "value")
    box.observe(lambda change: setattr(slider, "value", change["new"]), "value")
    return Control(widgets.HBox([box, slider, box.note]), box, start, **meaning)


class _Row(widgets.HBox):
    value = Tuple()


def row(label: str, names: Sequence[str], start: tuple[int, ...], most: int = 20, **meaning: Any) -> Control:
    """A small whole number for each of `names`; the value is the tuple of them."""
    boxes = []
    for name, value in zip(names, start, strict=True):
        boxes.append(Box(value, 0, most, description=name, tooltip=f"{label}: {name}", style=WHOLE))
        boxes[-1].layout.width = f"{len(name) * 0.55 + 5:.1f}em"
        boxes[-1].observe(lambda _: setattr(shown, "value", tuple(box.value for box in boxes)), "value")
    parts = [widgets.Label(f"{label}:"), *boxes, *(box.note for box in boxes)]
    shown = _Row(parts, value=start, layout={"flex_flow": "row wrap"})
    return Control(shown, shown, start, **meaning)


def choice(label: str, start: Any, options: Sequence[Any], **meaning: Any) -> Control:
    """One of a few: buttons for up to three short options, else a list to choose from."""
    few = len(options) <= 3 and sum(len(str(o)) for o in options) < 36
    kind = widgets.ToggleButtons if few else widgets.Dropdown
    styled = WHOLE | ({"button_width": "auto"} if few else {})
    widget = kind(options=options, value=start, description=label, style=styled, layout={"width": "auto"})
    return Control(widget, widget, start, **meaning)


def text(label: str, start: str, **meaning: Any) -> Control:
    widget = widgets.Text(start, description=label, style=WHOLE, continuous_update=False)
    widget.layout.width = f"{min(56, len(label) + max(16, len(start)) + 6) * 0.62:.0f}em"
    return Control(widget, widget, start, **meaning)


def pane(label: str, start: str, **meaning: Any) -> Control:
    """Several lines, such as an object's YAML."""
    area = widgets.Textarea(start, tooltip=label, continuous_update=False, rows=min(24, start.count("\n") + 2))
    area.layout.width = "98%"
    area.add_class("k8slb-yaml")
    title = widgets.Label(f"{label} (takes effect when you leave the field)")
    return Control(widgets.VBox([title, area], layout={"width": "100%"}), area, start, **meaning)
