"""A guess before the answer: the question, what lies behind each wrong answer, and the veil over the panel."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets as widgets

from ..errors import K8slbError
from . import progress


@dataclass(frozen=True)
class Option:
    text: str
    misconception: str = ""  # empty: this is the right one
    refuted: str = ""


@dataclass(frozen=True)
class Prediction:
    question: str
    options: tuple[Option, ...]
    because: str  # why the right one is right, in a sentence

    @property
    def right(self) -> Option:
        (right,) = (option for option in self.options if not option.misconception)
        return right


PREDICTIONS = {
    "00": Prediction(
        "order-service has 3 ready pods. You send it 1,000 requests on one connection. How many does each pod get?",
        (
            Option(
                "334, 333 and 333",
                "a Service is a process that hands out requests",
                "A Service is an address and a list of pods; no process stands there and counts requests.",
            ),
            Option(
                "about a third each, by chance",
                "each request is balanced",
                "The pick is made when a connection opens; the requests on it follow.",
            ),
            Option("one pod gets all 1,000"),
            Option(
                "whichever pod is least busy gets the next",
                "the cluster looks at the load",
                "The node's rules hold the pods' addresses and nothing about what they are doing.",
            ),
        ),
        "The node picks a pod once, when the connection opens, and every request on it goes there.",
    ),
    "02": Prediction(
        "6 new connections to a Service with 3 pods, in iptables mode, the default. Does each pod get exactly 2?",
        (
            Option(
                "always: they take turns",
                "round robin by default",
                "iptables and nftables pick at random, and no connection knows what the last one got.",
            ),
            Option(
                "mostly: random evens out",
                "random = even",
                "Shares even out over thousands of connections; six are far too few.",
            ),
            Option("about 1 time in 8"),
            Option(
                "about 1 time in 28: one split of 28",
                "every split is equally likely",
                "6/0/0 comes up in one way only, 2/2/2 in 90.",
            ),
        ),
        "Of the 729 ways in which six connections can pick, 90 give 2/2/2.",
    ),
    "09": Prediction(
        "The Ingress says path: /payments and rewrite-target: /. You ask for /payments/process/101. "
        "What path does the pod receive?",
        (
            Option(
                "/payments/process/101",
                "an annotation changes nothing on the way",
                "ingress-nginx writes a new path into the request before it sends it on.",
            ),
            Option(
                "/process/101",
                "rewrite / keeps the rest",
                "The target is the whole new path; the rest stays only if a group captures it and the target names it.",
            ),
            Option("/"),
            Option(
                "none: the answer is 404",
                "Prefix matches the prefix alone",
                "/payments as a Prefix matches everything below it, too.",
            ),
        ),
        "The target is the whole new path, and this path captures nothing that could be put into it.",
    ),
}


class Predict(widgets.VBox):
    """The question `id`, and `behind` (a panel), which shows once a guess is locked or the learner asks for it."""

    def __init__(self, id: str, behind: widgets.Widget):
        if id not in PREDICTIONS:
            raise K8slbError(f"there is no prediction {id!r}; there are {', '.join(PREDICTIONS)}")
        self.id, self.behind, self.prediction = id, behind, PREDICTIONS[id]
        texts = [option.text for option in self.prediction.options]
        wide = {"width": "auto"}
        # A group for each option, reached by Tab and chosen by Space: within a group only the arrow keys move on, and
        # JupyterLab takes those for itself.
        self.choices = [widgets.RadioButtons(options=[text], value=None, layout=wide) for text in texts]
        for choice in self.choices:
            choice.observe(self._choose, names="value")
        self.lock_button = widgets.Button(description="Lock my guess", layout=wide)
        self.show_button = widgets.Button(description="Show me anyway", layout=wide)
        # Both are there from the start, still empty, so that the order on the page is the order of reading.
        self.veil, self.told = widgets.VBox(), widgets.HTML()
        self.lock_button.on_click(self._lock)
        self.show_button.on_click(self._unveil)
        question = widgets.HTML(f"<p>{escape(self.prediction.question)}</p>")
        buttons = widgets.HBox([self.lock_button, self.show_button])
        super().__init__([question, *self.choices, buttons, self.told, self.veil])
        guess = progress.recall("guesses", id)
        for choice in self.choices:
            if guess in choice.options:
                choice.value = guess
                self._unveil()

    @property
    def guess(self) -> str | None:
        """The text of what is chosen, locked or not."""
        return next((choice.value for choice in self.choices if choice.value), None)

    def _choose(self, change: Any) -> None:
        for choice in self.choices:
            if change.new and choice is not change.owner:
                choice.value = None

    def _lock(self, _: Any = None) -> None:
        if self.guess is None:
            return self._tell("○ Choose an answer first.")
        progress.record("guesses", self.id, self.guess)
        self._unveil()

    def _unveil(self, asked: Any = None) -> None:
        for control in (*self.choices, self.lock_button, self.show_button):
            control.disabled = True
        self.veil.children = (self.behind,)
        self._tell(self.feedback(None if asked is self.show_button else self.guess))

    def _tell(self, text: str) -> None:
        self.told.value = f"<p role='status' aria-live='polite'>{escape(text)}</p>"

    def feedback(self, guess: str | None) -> str:
        right = f"Right is: {self.prediction.right.text}. {self.prediction.because}"
        chosen = next((option for option in self.prediction.options if option.text == guess), None)
        if chosen is None:
            return f"○ No guess locked. {right}"
        if chosen is self.prediction.right:
            return f"✔ Your guess is right: {chosen.text}. {self.prediction.because}"
        return (
            f"✗ Your guess, {chosen.text}, is not right. Behind it: “{chosen.misconception}”. {chosen.refuted} {right}"
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Live the question; for viewers without a kernel the picture and the text of what is behind it."""
        still = self.behind._repr_mimebundle_(**kwargs)
        still = still[0] if isinstance(still, tuple) else still
        kept = {kind: still[kind] for kind in ("image/png", "text/plain") if kind in still}
        return super()._repr_mimebundle_(**kwargs) | kept
