"""What a balancer is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

Pick = Callable[[Sequence[int], dict, Random, Any, float], int | None]


@dataclass(frozen=True)
class Balancer:
    """A way to pick one of n peers.

    `pick(peers, state, rng, key, now)` gives the index of a peer or None (refused): `peers` are the weights in order,
    `state` is this balancer's own at one place, kept between picks, `key` what a hash would use, `now` seconds.
    `exact` gives each peer's share where it does not depend on load (None: it does). `memoryless`: picks do not depend
    on `state`. `cycle`, for round robin, is +1 or -1: the step from one pick to the next.
    """

    name: str
    pick: Pick
    source: str
    exact: Callable[[Sequence[int]], list[Fraction]] | None = None
    memoryless: bool = False
    cycle: int = 0


def equal_shares(peers: Sequence[int]) -> list[Fraction]:
    return [Fraction(1, len(peers))] * len(peers)
