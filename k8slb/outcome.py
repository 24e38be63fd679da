"""The table that comes out of `send`, its summaries and its statistics."""

from fractions import Fraction
from functools import cached_property
from math import sqrt
from operator import attrgetter
from typing import Any

import numpy as np

from .answers.shares import Shares
from .decision import Timeline
from .engine import Run
from .errors import InputError, NotModelled, printable, shown
from .memory import TABLE_FULL

COLUMNS = ("client", "node", "ingress_pod", "gateway_pod", "backend", "pod", "status", "tries", "refused_by", "lost")


class Outcome:
    """What became of many requests. Immutable; made by `Cluster.send`.

    `table` has one row a request; `share` and `counts` sum a column up; `plot` draws the pods' shares beside the exact
    ones with the spread that chance alone gives.
    """

    def __init__(self, url: str, run: Run, timeline: Timeline):
        self.url, self.run, self.timeline = url, run, timeline

    requests = property(attrgetter("run.requests"))
    connections = property(attrgetter("run.connections"))

    def counts(self, column: str = "pod") -> dict[str, int]:
        """How many requests each value of a column got, in order of address or name; pods that got none count too."""
        if column not in COLUMNS:
            raise InputError(f"there is no column {shown(column)}", expected="one of: " + ", ".join(COLUMNS))
        names, codes = self.run.columns.get(column, ([], np.empty(0, dtype=np.int32)))
        found = np.bincount(codes[codes >= 0], minlength=len(names)).tolist()
        counts = dict(zip(names, found, strict=True))
        if column == "pod":
            counts = dict.fromkeys((pod for shares in self._exact for pod in shares or ()), 0) | counts
        return dict(sorted(counts.items(), key=lambda item: _in_order(item[0])))

    @cached_property
    def _exact(self) -> list[dict[str, Fraction] | None]:
        """The exact shares under each cluster in turn, None where they depend on load."""
        hashed, found = any(b.hashes for b in self.run.balancers.values()), []
        for _, cluster in self.timeline.moments:
            try:
                found.append(Shares(self.run.clients.shares(Timeline.still(cluster), hashed)).reached)
            except NotModelled:
                found.append(None)
        return found

    @property
    def exact(self) -> dict[str, Fraction] | None:
        """The exact share of each pod over all clients, whatever it answers, of the requests that limits admit; None
        where it depends on load or the cluster changes."""
        return self._exact[0] if len(self._exact) == 1 else None

    def name_of(self, pod: str) -> str:
        """The name of the pod at "ip:port", in the last cluster that has it."""
        return next(filter(None, (cluster.pod_name(pod) for _, cluster in reversed(self.timeline.moments))), "")

    @property
    def lost(self) -> int:
        """Requests that nobody answered: refused, dropped or unresolved."""
        return sum(self.counts("lost").values())

    @property
    def admitted(self) -> float:
        """The share of requests that no limit refused."""
        return 1 - sum(self.counts("refused_by").values()) / self.requests

    @property
    def hottest(self) -> float:
        """The largest share over the fair share (1.0: all pods alike; 0.0: no pod answered)."""
        counts = self.counts("pod")
        return max(counts.values()) * len(counts) / sum(counts.values()) if sum(counts.values()) else 0.0

    @cached_property
    def spread(self) -> tuple[float, str]:
        """(how far a pod's share may be from the exact one, why): two standard deviations, or whole rounds.

        Random picks: multinomial over the picks made (connections, or requests at L7; with affinity addresses). Round
        robin: one request, or connection with all its requests, for each counter.
        """
        if not self.run.counters or (self.exact and max(self.exact.values()) == 1):
            return 0.0, "nothing was left to chance"
        if not self.exact:
            changes = len(self.timeline.moments) > 1
            return 0.0, "not known: " + ("the cluster changes" if changes else "the shares depend on load or cookies")
        last = self.run.balancers[list(self.run.counters)[-1]]
        random = [name for name in self.run.counters if self.run.balancers[name].memoryless]
        split = "backend" in self.run.columns
        if random and (last.memoryless or split):  # of several throws in a row, the one that most make
            last = self.run.balancers[max(reversed(random), key=self.run.alike.__getitem__)]
        picks, alike = self.run.picks[last.name], self.run.alike[last.name]
        alike = max(self.run.alike.values()) if split else alike
        turns = last.cycle or last.name == "ipvs-wrr"  # kube-proxy gives every pod weight 1
        by = "hashed " if last.hashes else "" if turns else "random "
        told = many(picks, f"{by}pick")
        uneven = alike < 0.95 * picks  # some carry more requests than others
        if uneven:
            told += f", as uneven as {alike:.1f} that carry alike"
        if last.hashes and all(n == self.exact.get(pod, 0) * self.requests for pod, n in self.counts().items()):
            return 0.0, "nothing was left to chance"
        if turns and not uneven:
            counters = self.run.counters[last.name]
            apart = f"{counters} counters" if counters > 1 else "one counter"
            apart += ", one worker a replica" if last.name.startswith("ingress-nginx") else ""
            what = "request" if picks == self.requests else "client" if picks < self.connections else "connection"
            told = f"round robin with {apart}: at most {many(counters, what)} apart"
            return counters / picks, told
        p = float(max(self.exact.values(), default=Fraction(0)))
        return 2 * self.admitted * sqrt(p * (1 - p) / alike), f"two standard deviations of {told}"

    # --- as pandas ---

    @cached_property
    def table(self):
        """A pandas DataFrame, one row a request: request, connection, time (s, with a rate), client (the address, with
        several), node, ingress_pod, gateway_pod, backend (where a route has several), pod, status, tries (where a proxy
        tried again), refused_by (a limit), lost. Empty where a request never got so far."""
        import pandas as pd

        columns: dict[str, Any] = {"request": np.arange(self.requests), "connection": self.run.connection}
        if self.run.time is not None:
            columns["time"] = self.run.time
        for name in COLUMNS:
            if name in self.run.columns:
                names, codes = self.run.columns[name]
                columns[name] = pd.Categorical.from_codes(codes, names)
        return pd.DataFrame(columns)

    def share(self, column: str = "pod"):
        """Each value's share of all requests: a pandas Series that sums to 1 where none was lost."""
        import pandas as pd

        shares = {k: v / self.requests for k, v in self.counts(column).items()}
        return pd.Series(shares, name="share", dtype=float).rename_axis(column)

    # --- told ---

    @property
    def sentence(self) -> str:
        users, shared, counts = self.run.clients.users, self.run.clients.behind_nat, self.counts("pod").values()
        text = f"{many(self.requests, 'request')} to {self.url}"
        text += f" from {users:,} clients" if users > 1 else ""
        text += f" ({shared:.0%} behind one address)" if users > 1 and shared else ""
        new = self.connections == self.requests
        text += f" on {self.connections:,} new connections" if new else f" on {many(self.connections, 'connection')}"
        if counts:
            text += f": {many(len(counts), 'pod')}, the busiest got {max(counts):,}, the quietest {min(counts):,}"
        changes = [f"{t:g}" for t, _ in self.timeline.moments[1:]]
        text += f"; the cluster changed after {', '.join(changes)} s" if changes else ""
        answered = {k: v for k, v in self.counts("status").items() if k not in ("200", "open")}
        text += "".join(f"; {v:,} answered {k}" for k, v in answered.items())
        for number, why in ((self.run.reset, "reset"), (self.run.aged, "closed for their age")):
            text += f"; {many(number, 'connection')} {why} and opened anew" if number else ""
        text += "".join(f"; {v:,} refused by {k}" for k, v in self.counts("refused_by").items())
        text += "".join(f"; {note}" for note in self.run.notes)
        full = self.counts("lost").get(TABLE_FULL, 0)
        text += f"; {self.lost:,} lost" if self.lost else ""
        return text + (f" ({full:,} found the {TABLE_FULL})" if full else "") + "."

    @property
    def rows(self) -> list[tuple[str, int, float, float | None]]:
        """(pod, requests, share, exact share) a pod."""
        exact = {pod: float(share) * self.admitted for pod, share in (self.exact or {}).items()}
        return [(k, v, v / self.requests, exact.get(k)) for k, v in self.counts("pod").items()]

    def __str__(self) -> str:
        lines = [self.sentence]
        for pod, count, share, exact in self.rows:
            told = f"  exact {exact:6.1%}" if exact is not None else ""
            lines.append(f"  {self.name_of(pod):<24} {pod:<18} {count:>10,}  {share:6.1%}{told}")
        if self.rows and self.run.counters:
            share, why = self.spread
            lines.append("  expected spread: " + (f"±{share:.1%} ({why})" if self.exact else why))
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
            "clients": self.run.clients.users,
            "reset": self.run.reset,
            "aged": self.run.aged,
            "counts": self.counts("pod"),
            "status": self.counts("status"),
            "lost": self.counts("lost"),
            "hottest": round(self.hottest, 6),
            "exact": None if self.exact is None else {k: str(v) for k, v in self.exact.items()},
        }


def many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count > 1)}"


def _in_order(address: str) -> tuple:
    """Addresses by number, everything else by text."""
    parts = address.replace(":", ".").split(".")
    return (0, [int(p) for p in parts]) if all(p.isdigit() for p in parts) else (1, [address])
