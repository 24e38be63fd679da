"""A panel of a change: the film of a rollout or a failure, what it loses, and the least preStop that loses nothing.

film(shop, {"order-2 crashes": ("", "pod_dies", "order-2")}, controls.replicas("order"))
"""

from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Any

from ..cluster import Cluster
from ..errors import InputError
from . import controls, kinds, said
from .controls import Maker
from .kinds import Control
from .panels import Panel
from .picture import Picture
from .svg import table

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
        super().__init__(cluster, "", happens, *others, knows, **asked)
        self.steps.layout.display = "none"

    def _draw(self) -> None:
        (cluster, calls), asked = self._changed(), self.asked()
        (method, name), late = asked.pop("change"), asked.pop("propagation")
        sent = {k: v for k, v in asked.items() if v not in (None, "")}
        change = getattr(cluster, method)(name, propagation=late)
        if not change.url:
            raise InputError(f"no pod of {name} stands behind a Service", expected="one replica or more")
        outcome = change.send(**sent)
        lost = f"At {sent['rate']:g} requests a second {change.lost(rate=sent['rate']):g} are lost on average"
        made = [f'{method}("{name}", propagation={late})', f"send({', '.join(f'{k}={v!r}' for k, v in sent.items())})"]
        self.line = ".".join([*filter(None, calls), *made])
        self.change, self.outcome, self.drawing.value = change, outcome, change.svg(outcome)
        code = said.code(self.cluster, cluster, self.line)
        self._say(f"{change.title}. {lost}, {outcome.lost:,} in this run.", code)
        if hasattr(change, "smallest_pre_stop"):  # takes as long as all the rest, so it comes when that is shown
            least = change.smallest_pre_stop().seconds
            told = "Every preStop within the grace period loses some"
            told = told if least is None else f"The least preStop that loses none: {least} s"
            self._say(f"{self.sentence} {told}.", code)

    def _say(self, sentence: str, code: str) -> None:
        self.sentence, self._pieces = sentence, (f"<p role='status'>{escape(sentence)}</p>", code)
        self._tell()

    def _table(self) -> str:
        return table(HEAD, [(r.what, r.who, f"{r.begin:g}", f"{r.end:g}", r.state) for r in self.change.rows()])

    def _still(self) -> Picture:
        return self.change.plot(self.outcome)


film = Film  # as lessons call it
