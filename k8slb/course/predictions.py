"""A guess before the answer: the question, what lies behind each wrong answer, and the veil over the panel."""

from html import escape
from typing import Any

import ipywidgets as widgets

from ..errors import K8slbError
from . import progress
from .questions import lessons, questions
from .saved import PREDICTION


class Predict(widgets.VBox):
    """The question `id`, and `behind` (a panel), which shows once a guess is locked or the learner asks for it."""

    def __init__(self, id: str, behind: widgets.Widget):
        if id not in lessons():
            raise K8slbError(f"there is no prediction {id!r}; there are {', '.join(lessons())}")
        self.id, self.behind, self.prediction = id, behind, questions(id).PREDICTION
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
        behind = f"Behind it: “{chosen.misconception}”. {chosen.refuted}"
        return f"✗ Your guess, {chosen.text}, is not right. {behind} {right}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Live the question; for viewers without a kernel the picture and the text of what is behind it."""
        still = self.behind._repr_mimebundle_(**kwargs)
        still = still[0] if isinstance(still, tuple) else still
        kept = {kind: still[kind] for kind in ("image/png", "text/plain") if kind in still}
        return super()._repr_mimebundle_(**kwargs) | kept, {PREDICTION: self.id}
