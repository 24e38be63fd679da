"""Latency as people feel it: what most wait, what the unlucky wait, and how sure the mean is.

Queues start empty, so the first requests are served too soon. The start that is cut is the one without which the
standard error of the mean is smallest, by means of five (MSER-5: White, Cobb and Spratt, "A comparison of five steady-
state truncation heuristics for simulation", Winter Simulation Conference 2000); at most half is cut. Requests near each
other wait in the same queue and say little more than one: the band around the mean comes from 20 batches in a row
(batch means: Schmeiser, Operations Research 30 (1982) 556), by Student's t with 19 degrees of freedom, wider where a
batch resembles the one before it (as in Skart: Tafazzoli and Wilson, IIE Transactions 43 (2011) 110). Ten pods busy 80%
of the time need 30,000 requests until the band holds the true mean 95 times of 100; with 10,000 it does 87 times.
"""

from dataclasses import asdict, dataclass
from math import floor, isnan, log10, nan

from ..few import np

BATCHES, STUDENT = 20, 2.093  # 97.5% of Student's t with 19 degrees of freedom
LEAST = 10 * BATCHES  # requests for a band: fewer say nothing of how they hang together


@dataclass(frozen=True)
class Latency:
    """Of `requests` served: mean, quantiles and the longest, in seconds, after the first `cut` were left out.

    `band`: with 95% confidence the mean of endlessly many is within `mean` ± `band` (nan: too few requests to tell).
    """

    requests: int
    mean: float
    band: float
    p50: float
    p95: float
    p99: float
    max: float
    cut: int = 0

    @property
    def about(self) -> str:
        """The mean and its band."""
        return span(self.mean) + ("" if isnan(self.band) else f" ± {span(self.band, 2)}")

    def __str__(self) -> str:
        if not self.requests:
            return "no request was served"
        left = f"; the first {self.cut:,} cut as warm-up" if self.cut else ""
        return f"mean {self.about}, p50 {span(self.p50)}, p99 {span(self.p99)}, at most {span(self.max)}{left}"

    __repr__ = __str__

    def to_dict(self) -> dict[str, float | None]:
        return {k: None if isnan(v) else v for k, v in asdict(self).items()}


def measured(seconds: np.ndarray, steady: bool = True) -> Latency:
    """What `seconds`, in order of sending, come to; the warm-up is cut where all stays as it is (`steady`)."""
    cut = warm_up(seconds) if steady else 0
    kept = seconds[cut:]
    if not len(kept):
        return Latency(0, nan, nan, nan, nan, nan, nan)
    mean = float(kept.mean())
    p50, p95, p99, most = np.quantile(kept, (0.5, 0.95, 0.99, 1.0)).tolist()
    return Latency(len(kept), mean, STUDENT * standard_error(kept), p50, p95, p99, most, cut)


def warm_up(seconds: np.ndarray) -> int:
    """How many of the first requests to leave out (MSER-5)."""
    count = len(seconds) // 5
    if len(seconds) < LEAST:
        return 0
    means = seconds[: 5 * count].reshape(count, 5).mean(1)
    if np.ptp(means) <= 1e-6 * means.max():
        return 0  # rounding is no warm-up
    means -= means.mean()
    left = np.arange(count, 0, -1)
    total, squares = (np.cumsum(x[::-1])[::-1] for x in (means, means * means))
    error = ((squares - total * total / left) / left**2)[: count // 2 + 1]
    return 5 * int(error.argmin())


def standard_error(values: np.ndarray) -> float:
    """Of the mean, by batch means; nan for fewer than 200 values."""
    return float(_error(_batches(values).mean(1))) if len(values) >= LEAST else nan


def slower(values: np.ndarray, points: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(seconds, the share of requests that take longer, half its 95% band), down to one in 1,000, or ten of all."""
    least = min(1.0, max(1e-3, 10 / len(values)))
    seconds = np.unique(np.quantile(values, 1 - np.geomspace(1, least, points)))
    if len(values) < LEAST:
        share = 1 - np.searchsorted(np.sort(values), seconds, "right") / len(values)
        return seconds, share, np.full(len(seconds), nan)
    each = 1 - np.array([np.searchsorted(np.sort(b), seconds, "right") / len(b) for b in _batches(values)])
    return seconds, each.mean(0), STUDENT * _error(each)


def _batches(values: np.ndarray) -> np.ndarray:
    return values[len(values) % BATCHES :].reshape(BATCHES, -1)


def _error(means: np.ndarray) -> np.ndarray:
    """The standard error of the mean of batch means in a row, as if each said a share of the one before it again."""
    apart = means - means.mean(0)
    squares = (apart * apart).sum(0)
    again = np.clip((apart[1:] * apart[:-1]).sum(0) / np.where(squares > 0, squares, 1), 0, 0.9)
    return np.sqrt(squares / (BATCHES - 1) / BATCHES * (1 + again) / (1 - again))


def span(seconds: float, digits: int = 3) -> str:
    """A time in so many digits and the unit that fits: "51.2 ms"."""
    if not seconds > 0:
        return "0 s" if seconds == 0 else "unknown"
    unit = min(3, max(0, -floor(log10(seconds * 1.0005) / 3)))
    number = seconds * 1000**unit
    return f"{number:,.{max(0, digits - 1 - floor(log10(number * 1.0005)))}f} {('s', 'ms', 'µs', 'ns')[unit]}"
