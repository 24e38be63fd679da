"""The walk through iptables rules: what comes to each rule of a lottery, what it takes, how many rules one meets."""

from collections.abc import Iterable
from fractions import Fraction

from . import iptables


def own(n: int) -> list[Fraction]:
    """The probabilities that kube-proxy gives the rules of n endpoints (n up to 1,000), as fractions again."""
    return [Fraction(iptables.probability(n, i) or 1).limit_denominator(1000) for i in range(n)]


def walk(chances: Iterable[Fraction]) -> list[tuple[Fraction, Fraction]]:
    """For each rule, which takes `chances[i]` of what comes to it: what comes to it and what it takes, of all."""
    left, steps = Fraction(1), []
    for part in chances:
        steps.append((left, left * part))
        left -= left * part
    return steps


def examined(services: int, chances: Iterable[Fraction]) -> dict[str, Fraction]:
    """How many rules of each kind of chain a new connection from a pod meets on average, until a pod is picked.

    The average of `cost.walked` over the Services and the lottery.
    """
    lottery = sum((comes for comes, _ in walk(chances)), Fraction(0))
    return {"KUBE-SERVICES": Fraction(services + 1, 2), "KUBE-SVC": 1 + lottery, "KUBE-SEP": Fraction(2)}
