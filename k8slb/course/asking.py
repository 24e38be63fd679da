"""A recording beside the model, and a button that puts the same question to the real thing where this machine can."""

from dataclasses import replace
from html import escape
from typing import Any

import ipywidgets as widgets

from ..errors import K8slbError, printable
from ..real.record import asked_again
from ..real.recordings import Recording, recording
from ..show.bars import Bar, bars
from ..show.kinds import style
from .saved import MOVES

WHO = {"nginx": "real nginx", "haproxy": "real HAProxy", "envoy": "real Envoy", "traefik": "real Traefik"}
WHO |= {"caddy": "real Caddy"}


class Live(widgets.VBox):
    """`live("netfilter/nftables/clusterip-3")`: what was recorded, on the model's shares; beneath it a button that asks
    now, or what this machine lacks. `recording` is the stored one, `fresh` what the button brought (None before).

    What is stored in a notebook, the picture and the text, is the recording's alone, so it is the same everywhere.
    """

    def __init__(self, name: str):
        self.recording, self.fresh = recording(name), None
        case = self.recording.case
        self.who = WHO.get(case.by.partition("-")[0], "the real kernel")
        self.alert, self.told = widgets.HTML(), widgets.HTML()
        self.button = widgets.Button(description=f"Ask {self.who} now", icon="play", layout={"width": "auto"})
        self.button.on_click(lambda _: self.ask())
        if lacking := case.missing:
            self.button.layout.display = "none"
            self.alert.value = _said(f"Here {self.who} cannot be asked: {lacking}.")
        for shown in (recorded := widgets.HTML(_drawn(self.recording)), self.alert, self.told):
            shown.add_class("k8slb-text")
        super().__init__([style(), recorded, self.button, self.alert, self.told])
        self.add_class("k8slb-panel")

    def ask(self) -> None:
        """Put the question once more; a failure is a sentence."""
        self.button.disabled, self.alert.value = True, _said(f"Asking {self.who} ...")
        try:
            facts = asked_again(self.recording.case)
            self.fresh = replace(self.recording, facts=facts)
            self.told.value, self.alert.value = _said("Asked now, here:") + _drawn(self.fresh), ""
        except Exception as error:
            meant = isinstance(error, K8slbError)
            told = str(error) if meant else f"k8slb failed here: {type(error).__name__}: {error}"
            self.alert.value = f"<p role='alert'>&#9888; {escape(printable(told))}</p>"
        finally:
            self.button.disabled = False

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        picture = self.recording.beside() if self.recording.comparable else None
        still = picture.still if picture else {"text/plain": self.recording.compared}
        about = {"image/png": {"alt": picture.sentence}, MOVES: True} if picture else {}
        return super()._repr_mimebundle_(**kwargs) | still, about


live = Live  # as lessons call it


def _said(sentence: str) -> str:
    return f"<p role='status'>{escape(sentence)}</p>"


def _drawn(one: Recording) -> str:
    """Bars on the model's shares where these are exact, else what was counted and what the model counts."""
    if not one.comparable:
        return f"<pre tabindex='0' style='white-space: pre; overflow-x: auto'>{escape(one.compared)}</pre>"
    rows, spread, sentence, _ = one.rows()
    drawn = [Bar(*row, answered=":" in row[0]) for row in rows]
    return bars(drawn, (spread, "what chance leaves"), sentence) + _said(sentence)
