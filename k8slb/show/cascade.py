"""kube-proxy's iptables lottery with any probabilities: what comes to each rule, and what it takes of all.

`cascade("1/3", "1/2", 1)` is the drawing with its table, `Lottery()` the same with controls.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from random import Random
from typing import Any

import ipywidgets as widgets

from ..errors import InputError, shown
from ..layers.kube_proxy.lottery import examined, own, walk
from .kinds import number, style, text
from .picture import Picture
from .plots import cascade_png
from .scenes.cascade import HEAD, Rule, chain
from .steps import MOST, Steps
from .svg import share_text, table


@dataclass(frozen=True, repr=False)
class Cascade(Picture):
    """A row a rule: what comes to it as a frame, what it takes (`shares`, of all connections) as the filled part."""

    shares: tuple[Fraction, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()  # under HEAD


def cascade(*probabilities: str | float, services: int = 4) -> Cascade:
    """A chain of rules with these probabilities, such as "1/3" or 0.5, in a cluster with so many Services.

    Rule i takes its probability of the connections that come to it; KUBE-SERVICES has a rule for each Service.
    """
    for chance in map(str, probabilities):
        if not re.fullmatch(r"\d{1,9}/0*[1-9]\d{0,8}|\d(\.\d{1,20})?", chance) or Fraction(chance) > 1:
            raise InputError(f"{shown(chance)} is no probability", expected="such as 1/3 or 0.5, at most 1")
    # 1/3 typed without quotes comes as 0.3333333333333333 and is meant as the fraction.
    chances = tuple(Fraction(str(chance)).limit_denominator(10**9) for chance in probabilities)
    steps = walk(chances)
    told = [map(share_text, step) for step in steps]
    rows = tuple((str(i), str(c), *both) for i, (c, both) in enumerate(zip(chances, told, strict=True), 1))
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    lines = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in (HEAD, *rows)]
    png = cascade_png([f"rule {i}: {chance}" for i, chance, *_ in rows], [(float(a), float(b)) for a, b in steps])
    shares = tuple(takes for _, takes in steps)
    return Cascade(png, _sentence(chances, shares, services), "\n".join(lines), shares, rows)


def _sentence(chances: tuple[Fraction, ...], shares: tuple[Fraction, ...], services: int) -> str:
    told, left = f"The rules take {', '.join(map(str, shares))} of all connections", 1 - sum(shares)
    if left:
        return f"{told}; {share_text(left)} are taken by none, and nothing answers them."
    met = examined(services, chances)
    total, *parts = (f"{round(float(count), 1):,}" for count in (sum(met.values()), *met.values()))
    chains = ", ".join(f"{count} in {chain}" for chain, count in zip(met, parts, strict=True))
    return f"{told}. On average a new one meets {total} rules of kube-proxy's chains: {chains}."


class Lottery(widgets.VBox):
    """`cascade` with controls: how many pods, the probabilities of their rules, how many Services."""

    def __init__(self, pods: int = 3, services: int = 4):
        self.pods, self.services = number("pods", pods, 1, 10), number("Services", services, 1, 10_000, log=True)
        self.rules, self.shown = text("probability of each rule", ""), widgets.HTML()
        self.rules.widget.layout.width = "36em"
        self.shown.add_class("k8slb-text")
        self.chain, self.steps = widgets.HTML(), Steps(self._step)
        self.chain.add_class("k8slb-text")
        controls = [self.pods.widget, self.rules.widget, self.services.widget]
        super().__init__([style(), *controls, self.steps, self.chain, self.shown])
        self.add_class("k8slb-panel")
        for control, act in ((self.pods, self._own), (self.rules, self._draw), (self.services, self._draw)):
            control.source.observe(act, "value")
        self._own()

    def _own(self, _: Any = None) -> None:
        """kube-proxy's own probabilities for so many pods."""
        self.rules.source.value = ", ".join(map(str, own(self.pods.value)))

    def _draw(self, _: Any = None) -> None:
        typed = [part.strip() for part in self.rules.value.split(",")]
        try:
            if len(typed) != self.pods.value:
                raise InputError(f"{len(typed)} probabilities", expected=f"{self.pods.value}, with commas between")
            self.cascade = cascade(*typed, services=self.services.value)
        except InputError as error:
            self.shown.value = f"<p role='alert'>&#9888; {escape(str(error))}</p>"
            return
        self.line = f"cascade({', '.join(map(repr, typed))}, services={self.services.value})"
        self.chances = [Fraction(row[1]) for row in self.cascade.rows]
        self.steps.allow(MOST)
        self._step()
        code = f"<p>The same in Python:</p><pre class='k8slb-line' tabindex='0'>{escape(self.line)}</pre>"
        told = f"<p role='status'>{escape(self.cascade.sentence)}</p>"
        self.shown.value = f"{told}{code}"

    def taken(self, many: int) -> list[int | None]:
        """Who takes each of the first `many` connections (None: no rule): each rule throws a die of its own."""
        dice = Random(0)
        return [next((i for i, c in enumerate(self.chances) if dice.random() < c), None) for _ in range(many)]

    def _step(self) -> None:
        """The chain as the steps have it, and its numbers."""
        at = self.steps.at
        taken, told = self.taken(at), "Step lets a connection fall through the rules."
        if at:
            by = "by no rule: nothing answers it" if taken[-1] is None else f"by rule {taken[-1] + 1}"
            told = f"Connection {at:,} is taken {by}."
        rules = [Rule(f"rule {i}", chance) for i, chance in enumerate(self.chances, 1)]
        about = "all connections; frame: what comes to a rule, filled: what it takes"
        drawn = chain(rules, taken, told, True, "a new connection", about)
        self.chain.value = drawn.svg + table(drawn.head, drawn.rows)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return super()._repr_mimebundle_(**kwargs) | self.cascade.still
