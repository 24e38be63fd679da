"""How far counts stray by chance: Pearson's chi-square and both of its tails.

Chi-square is what the statistic tends to; where an expected count is below 5, or so few pods that the steps of whole
counts show, the tails are sampled from the multinomial itself, with a fixed seed.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

SAMPLES = 20_000
MANY = 1_000  # degrees of freedom: from there on nothing is sampled
FEW = 10  # degrees of freedom: below, whole counts are too coarse for a continuous tail


class Pearson(NamedTuple):
    """`square` over `freedom` degrees; the probabilities of counts at least as `uneven`, and at least as `even`."""

    square: float
    freedom: int
    uneven: float
    even: float
    sampled: bool = False


def pearson(counts: Sequence[int], shares: Sequence[Any], picks: Mapping[int, int] | None = None) -> Pearson:
    """`counts` against `shares`, of whatever sum. `picks` maps how many requests one pick brings to how many such picks
    there were ({1: total}: each request is picked for); they are independent."""
    total, whole = sum(counts), sum(shares)
    pairs = [(n, float(p / whole)) for n, p in zip(counts, shares, strict=True) if p]
    freedom = len(pairs) - 1
    if any(n and not p for n, p in zip(counts, shares, strict=True)):
        return Pearson(math.inf, freedom, 0.0, 1.0)
    square = sum((n - total * p) ** 2 / (total * p) for n, p in pairs)
    if not freedom:
        return Pearson(square, 0, 1.0, 1.0)
    picks = picks or {1: total}
    scaled = square * total / sum(many * load**2 for load, many in picks.items())
    uneven, even = tails(scaled, freedom)
    large = min(p for _, p in pairs) * sum(picks.values()) >= 5
    if freedom >= MANY and sum(picks.values()) < freedom:  # sparse: no more than Cantelli's inequality allows
        bound = 2 * freedom / (2 * freedom + (scaled - freedom) ** 2)
        return Pearson(square, freedom, *((bound, 1.0) if scaled > freedom else (1.0, bound)))
    if freedom >= MANY or (large and freedom >= FEW):
        return Pearson(square, freedom, uneven, even)
    above, below = _sampled(square, [p for _, p in pairs], picks)
    if large and above < 0.001:  # far out, chi-square tells more than samples can
        return Pearson(square, freedom, uneven, below)
    return Pearson(square, freedom, above, below, True)


def _sampled(square: float, shares: Sequence[float], picks: Mapping[int, int]) -> tuple[float, float]:
    import numpy as np

    rng, p = np.random.default_rng(0), np.array(shares) / sum(shares)
    expected = p * sum(load * many for load, many in picks.items())
    above = below = 0
    for _ in range(10):
        drawn = sum(load * rng.multinomial(many, p, SAMPLES // 10) for load, many in picks.items())
        squares = ((drawn - expected) ** 2 / expected).sum(axis=1)
        above += (squares >= square * (1 - 1e-9)).sum()
        below += (squares <= square * (1 + 1e-9) + 1e-9).sum()
    return (int(above) + 1) / (SAMPLES + 1), (int(below) + 1) / (SAMPLES + 1)


@lru_cache(maxsize=4096)  # of many pods each is a long sum, and the same ones are asked again
def tails(square: float, freedom: int) -> tuple[float, float]:
    """(upper, lower) tail of chi-square, the smaller one to about 10 digits: Q(k/2, x/2) is a finite sum, P(k/2, x/2) a
    series (Abramowitz and Stegun 26.4.4, 26.4.5, 6.5.29)."""
    half, a = square / 2, freedom / 2
    if half <= 0:
        return 1.0, 0.0
    if half < a + 1:
        term = lower = math.exp(a * math.log(half) - half - math.lgamma(a + 1))
        while term > lower * 1e-17:
            a += 1
            term *= half / a
            lower += term
        return 1 - lower, lower
    upper = math.erfc(math.sqrt(half)) if freedom % 2 else 0.0
    term, a = math.exp((a - 1) * math.log(half) - half - math.lgamma(a)), a - 1
    while a >= 0 and term:
        upper += term
        term *= a / half
        a -= 1
    return upper, 1 - upper


@lru_cache(maxsize=64)
def quantile(p: float, freedom: int) -> float:
    """The x below which chi-square stays with probability p."""
    low, high = 0.0, freedom + 10 * math.sqrt(2 * freedom) + 50.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if tails(middle, freedom)[1] < p else (low, middle)
    return high


def power(total: int, shares: Sequence[float], alpha: float = 0.05) -> float:
    """The probability that `total` requests by these shares, of whatever sum, are told from even ones (noncentral
    chi-square)."""
    n = len(shares)
    half = total * (sum(p * p for p in shares) * n / sum(shares) ** 2 - 1) / 2
    critical, spread = quantile(1 - alpha, n - 1), 10 * math.sqrt(half) + 10
    return math.fsum(
        math.exp(j * math.log(half) - half - math.lgamma(j + 1)) * tails(critical, n - 1 + 2 * j)[0]
        for j in range(max(0, int(half - spread)), int(half + spread))
    )


def chi_square_p(counts: Mapping[str, int], shares: Mapping[str, Any]) -> tuple[float, int, float]:
    """(chi-square, degrees of freedom, p): the probability of counts at least this far from the exact shares; 0 where
    something was counted that has no share. Pearson's test, by chi-square alone."""
    total = sum(counts.values())
    square = float(sum((counts.get(e, 0) - total * p) ** 2 / (total * p) for e, p in shares.items() if p))
    freedom = sum(1 for p in shares.values() if p) - 1
    if any(n and not shares.get(e) for e, n in counts.items()):
        return math.inf, freedom, 0.0
    return square, freedom, tails(square, freedom)[0] if freedom else 1.0
