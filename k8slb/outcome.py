"""The table that comes out of `send`, its summaries and its statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np

from .balancers import balancer
from .engine import Run
from .errors import InputError, NotModelled, printable, shown


class Outcome:
    """What became of many requests. Immutable; made by `Cluster.send`.

    `table` has one row a request; `share` and `counts` sum a column up; `plot` draws the pods' shares beside the exact
    ones with the spread that chance alone gives.
    """

    def __init__(self, url: str, run: Run, exact: Callable[[], Mapping[str, Fraction]], name_of: Callable[[str], str]):
        self.url, self.run, self.name_of = url, run, name_of
        self._exact = exact

    @property
    def requests(self) -> int:
        return self.run.requests

    @property
    def connections(self) -> int:
        return self.run.connections

    def counts(self, column: str = "pod") -> dict[str, int]:
        """How many requests each value of a column got, in order of address or name; pods that got none count too."""
        names, codes = self._column(column)
        found = np.bincount(codes[codes >= 0], minlength=len(names)).tolist()
        counts = dict(zip(names, found, strict=True))
        if column == "pod":
            counts = dict.fromkeys(self.exact or (), 0) | counts
        return dict(sorted(counts.items(), key=lambda item: _in_order(item[0])))

    def _column(self, name: str) -> tuple[list[str], np.ndarray]:
        if name not in self.run.columns:
            if name in ("pod", "status", "lost", "node", "ingress_pod"):
                return [], np.empty(0, dtype=np.int32)
            raise InputError(f"there is no column {shown(name)}", expected="one of: " + ", ".join(self.run.columns))
        return self.run.columns[name]

    @cached_property
    def exact(self) -> dict[str, Fraction] | None:
        """The exact share of each pod, None where it depends on load."""
        try:
            return dict(self._exact())
        except NotModelled:
            return None

    @property
    def lost(self) -> int:
        """Requests that nobody answered: refused, dropped or unresolved."""
        return sum(self.counts("lost").values())

    @property
    def hottest(self) -> float:
        """The largest share over the fair share (1.0: all pods alike; 0.0: no pod answered)."""
        counts = self.counts("pod")
        return max(counts.values()) * len(counts) / sum(counts.values()) if sum(counts.values()) else 0.0

    @cached_property
    def spread(self) -> tuple[float, str]:
        """(how far a pod's share may be from the exact one, why): two standard deviations, or whole rounds.

        Random picks: multinomial over the picks made (connections, or requests at L7). Round robin: one request for
        each counter.
        """
        if not self.run.counters or not self.exact:
            return 0.0, "nothing was left to chance"
        last = balancer(list(self.run.counters)[-1])
        if last.cycle:
            counters = self.run.counters[last.name]
            apart = f"{counters} counters" if counters > 1 else "one counter"
            apart += ", one worker a replica" if last.name.startswith("ingress-nginx") else ""
            return (
                counters / self.requests,
                f"round robin with {apart}: at most {counters} request{'s' * (counters > 1)} apart",
            )
        picks = self.run.picks[last.name]
        p = float(max(self.exact.values(), default=Fraction(0)))
        return 2 * sqrt(p * (1 - p) / picks), f"two standard deviations of {picks:,} random pick{'s' * (picks > 1)}"

    # --- as pandas ---

    @cached_property
    def table(self):
        """A pandas DataFrame, one row a request: request, connection, time (s, with a rate), node, ingress_pod, pod,
        status, lost. Empty where a request never got so far."""
        import pandas as pd

        columns: dict[str, Any] = {"request": np.arange(self.requests), "connection": self.run.connection}
        if self.run.time is not None:
            columns["time"] = self.run.time
        for name in ("node", "ingress_pod", "pod", "status", "lost"):
            if name in self.run.columns:
                names, codes = self.run.columns[name]
                columns[name] = pd.Categorical.from_codes(codes, names)
        return pd.DataFrame(columns)

    def share(self, column: str = "pod"):
        """Each value's share of all requests: a pandas Series that sums to 1 where none was lost."""
        import pandas as pd

        counts = self.counts(column)
        return pd.Series({k: v / self.requests for k, v in counts.items()}, name="share", dtype=float).rename_axis(
            column
        )

    # --- told ---

    @property
    def sentence(self) -> str:
        over = (
            f"on {self.connections:,} new connections"
            if self.connections == self.requests
            else (f"on {self.connections:,} connection{'s' * (self.connections > 1)}")
        )
        text = f"{self.requests:,} request{'s' * (self.requests > 1)} to {self.url} {over}"
        counts = self.counts("pod")
        if counts:
            text += (
                f": {len(counts)} pods, the busiest got {max(counts.values()):,}, the quietest {min(counts.values()):,}"
            )
        answered = {k: v for k, v in self.counts("status").items() if k not in ("200", "open")}
        text += "".join(f"; {v:,} answered {k}" for k, v in answered.items())
        return text + (f"; {self.lost:,} lost" if self.lost else "") + "."

    @property
    def rows(self) -> list[tuple[str, int, float, float | None]]:
        """(pod, requests, share, exact share) a pod."""
        exact = self.exact or {}
        return [
            (k, v, v / self.requests, float(exact[k]) if k in exact else None) for k, v in self.counts("pod").items()
        ]

    def __str__(self) -> str:
        lines = [self.sentence]
        for pod, count, share, exact in self.rows:
            told = f"  exact {exact:6.1%}" if exact is not None else ""
            lines.append(f"  {self.name_of(pod):<24} {pod:<18} {count:>10,}  {share:6.1%}{told}")
        if self.rows and self.run.counters:
            lines.append(f"  expected spread: ±{self.spread[0]:.1%} ({self.spread[1]})")
        return printable("\n".join(lines))

    __repr__ = __str__

    def plot(self):
        """The pods' shares as bars, the exact shares as marks, the spread of chance as whiskers."""
        from .show.plots import shares_picture

        rows = [(f"{self.name_of(pod)} {pod}".strip(), *numbers) for pod, *numbers in self.rows]
        return shares_picture(rows, self.spread[0], self.sentence, str(self).partition("\n")[2])

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON."""
        return {
            "url": self.url,
            "requests": self.requests,
            "connections": self.connections,
            "counts": self.counts("pod"),
            "status": self.counts("status"),
            "lost": self.counts("lost"),
            "hottest": round(self.hottest, 6),
            "exact": None if self.exact is None else {k: str(v) for k, v in self.exact.items()},
        }


def _in_order(address: str) -> tuple:
    """Addresses by number, everything else by text."""
    parts = address.replace(":", ".").split(".")
    return (0, [int(p) for p in parts]) if all(p.isdigit() for p in parts) else (1, [address])
