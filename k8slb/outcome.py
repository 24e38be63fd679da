"""The table that comes out of `send`, its summaries and its statistics."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from math import nan, sqrt
from operator import attrgetter
from typing import Any

from .answers.latency import Latency, measured, slower
from .answers.shares import Shares, in_order
from .balancers.base import weight_shares
from .connections import TABLE_FULL
from .decision import Timeline
from .engine import Run
from .errors import InputError, NotModelled, libraries, printable, shown
from .few import np

COLUMNS = ("client", "node", "ingress_pod", "gateway_pod", "backend", "pod", "status", "tries", "refused_by", "lost")
COLUMNS += ("stage", "reason", "source", "received")
MOST_ROWS = 40  # that are printed: the table has them all


class Outcome:
    """What became of many requests. Immutable; made by `Cluster.send`.

    `table` has one row a request; `share` and `counts` sum a column up; `plot` draws the pods' shares beside the exact
    ones with the spread that chance alone gives. With a clock (a rate, arrivals, think) `latency` says how long it took
    and `over_time` how that changed; `plot_latency` and `plot_over_time` draw them. `failures` says what went wrong.
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
        return dict(sorted(counts.items(), key=lambda item: in_order(item[0])))

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
        chance = last.memoryless or last.hashes
        turns = last.cycle or (last.exact is weight_shares and not chance)  # every pod has weight 1
        by = "hashed " if last.hashes else "" if turns else "random "
        told = many(picks, f"{by}pick")
        uneven = alike < 0.95 * picks  # some carry more requests than others
        if uneven:
            equal = f"{alike:,.1f}".removesuffix(".0")
            told += f" that carry unequally, as uneven as {equal} equal ones"
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

    # --- how long it took ---

    @cached_property
    def latency(self) -> Latency:
        """How long the requests that were served took, to the answer. InputError where nothing takes time.

        Where the cluster changes nothing is cut, and there is no band: there is no one mean to be sure of."""
        still = len(self.timeline.moments) == 1
        return measured(self._took()) if still else replace(measured(self._took(), steady=False), band=nan)

    def latency_of(self, where: str) -> Latency:
        """The same for those that one pod ("ip:port") served; or only what they spent at a layer, waiting and served:
        "ingress", "gateway" or "pods". Nothing is cut but what is cut of all."""
        return measured(self._took(where)[self.latency.cut if where in self.run.spent else 0 :], steady=False)

    def _took(self, where: str = "") -> np.ndarray:
        if self.run.latency is None:
            self._clock()
            expected = 'pods that take time: with_pods("order", service_time="20ms exponential")'
            raise InputError("nothing here takes time, so there is no latency", expected=expected)
        if not where:
            return self.run.latency[self._served]
        if isinstance(where, str) and where in self.run.spent:
            return self.run.spent[where][self._served]
        pods, codes = self.run.columns.get("pod", ([], None))
        if not isinstance(where, str) or where not in pods:
            known = ", ".join([*self.run.spent, *pods])
            raise InputError(f"nothing is known of {shown(where)}", expected=f"one of: {known}")
        return self.run.latency[self._served & (codes == pods.index(where))]

    def _clock(self) -> np.ndarray:
        if self.run.time is None:
            raise InputError("without a clock nothing takes time", expected="send(..., rate=REQUESTS_PER_SECOND)")
        return self.run.time

    @cached_property
    def _served(self) -> np.ndarray:
        """Whether each request was answered 2xx, or had its connection opened."""
        names, codes = self.run.columns.get("status", ([], np.full(self.requests, -1)))
        return np.array([*(n[0] in "2o" for n in names), False])[codes]  # -1 is the last

    @property
    def failures(self) -> dict[tuple[str, str], int]:
        """How many requests were not served, by (the layer where it happened, the reason), the most first."""
        if "reason" not in self.run.columns:
            return {}
        (stages, at), (reasons, why) = (self.run.columns[column] for column in ("stage", "reason"))
        both = np.bincount((at * len(reasons) + why)[why >= 0])
        found = [(stages[i // len(reasons)], reasons[i % len(reasons)]) for i in range(len(both))]
        return {found[i]: int(both[i]) for i in np.argsort(-both, kind="stable") if both[i]}

    @property
    def utilisation(self) -> dict[str, float]:
        """The share of the time that the workers of each pod were busy, until the last request was sent: what is
        still to do then is no part of it."""
        worked = sorted(self.run.worked.items())
        until = float(self.run.time[-1]) or self.run.until if worked else 0.0
        return {pod: min(1.0, busy / (workers * until)) for pod, (busy, workers) in worked}

    # --- as pandas ---

    @cached_property
    @libraries()
    def table(self):
        """A pandas DataFrame, one row a request: request, connection, time (s, with a clock), client (the address, with
        several), node, ingress_pod, gateway_pod, backend (where a route has several), pod, status, tries (where a proxy
        tried again), refused_by (a limit), lost, stage and reason (where and why it was not served), latency (s, with a
        clock) and latency_LAYER (s spent there); of real components source (the address that the pod saw) and received
        (the path that came to it). Empty where a request never got so far. To change it, take a copy."""
        import pandas as pd

        columns: dict[str, Any] = {"request": np.arange(self.requests), "connection": self.run.connection}
        columns |= {"time": self.run.time} if self.run.time is not None else {}
        for name in COLUMNS:
            if name in self.run.columns:
                names, codes = self.run.columns[name]
                columns[name] = pd.Categorical.from_codes(codes, names)
        if self.run.latency is not None:
            columns |= {"latency": self.run.latency} | {f"latency_{k}": v for k, v in self.run.spent.items()}
        for name, array in columns.items():
            if isinstance(array, np.ndarray):  # not copied, so it must not be written to
                columns[name] = array = array.view()
                array.flags.writeable = False
        return pd.DataFrame(columns, copy=False)

    def over_time(self, seconds: float = 1.0):
        """A pandas DataFrame, a row for each `seconds`: second (where it begins), sent (requests in it), and what came
        of these: served, failed, and where anything takes time mean and p99 (of the latency of those served, in s)."""
        import pandas as pd

        time, latency = self._clock(), self.run.latency
        if type(seconds) not in (int, float) or not seconds > 0 or time[-1] / seconds > 1e6:
            raise InputError(f"{shown(seconds)} is no interval", expected="seconds that give at most a million rows")
        rows = pd.DataFrame({"served": self._served, "took": nan if latency is None else latency})
        rows = rows.assign(took=rows["took"].where(self._served)).groupby((time // seconds).astype(int))
        sent, served, took = rows.size(), rows["served"].sum(), rows["took"]
        found = {"sent": sent, "served": served, "failed": sent - served}
        found = pd.DataFrame(found).reindex(range(sent.index[-1] + 1), fill_value=0)
        if latency is not None:
            found = found.assign(mean=took.mean(), p99=took.quantile(0.99))
        return found.rename_axis("second").reset_index().assign(second=lambda row: row["second"] * seconds)

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
        text += f"; {self.timeline.told}" if len(self.timeline.moments) > 1 else ""
        answered = {k: v for k, v in self.counts("status").items() if k not in ("200", "open")}
        text += "".join(f"; {v:,} answered {k}" for k, v in answered.items())
        for number, why in ((self.run.reset, "reset"), (self.run.aged, "closed for their age")):
            text += f"; {many(number, 'connection')} {why} and opened anew" if number else ""
        text += "".join(f"; {v:,} refused by {k}" for k, v in self.counts("refused_by").items())
        text += "".join(f"; {note}" for note in self.run.notes)
        if self.run.latency is not None and self._served.any():
            text += f"; latency: {self.latency}"
        busy, pods = self.utilisation, self.counts("pod")
        for what, its in (("pods", busy.keys() & pods), ("proxies", busy.keys() - pods)):
            if its:
                least, most = (f"{x:.1%}" for x in (min(map(busy.get, its)), max(map(busy.get, its))))
                text += f"; {what} were busy {least if least == most else f'{least} to {most}'} of the time"
        full = self.counts("lost").get(TABLE_FULL, 0)
        text += f"; {self.lost:,} lost" if self.lost else ""
        return text + (f" ({full:,} found the {TABLE_FULL})" if full else "") + "."

    @property
    def rows(self) -> list[tuple[str, int, float, float | None]]:
        """(pod, requests, share, exact share) a pod."""
        exact = {pod: float(share) * self.admitted for pod, share in (self.exact or {}).items()}
        return [(k, v, v / self.requests, exact.get(k)) for k, v in self.counts("pod").items()]

    def __str__(self) -> str:
        lines, busy = [self.sentence], self.utilisation
        for pod, count, share, exact in self.rows[:MOST_ROWS]:
            told = f"  exact {exact:6.1%}" if exact is not None else ""
            told += f"  busy {busy[pod]:6.1%}" if pod in busy else ""
            lines.append(f"  {self.name_of(pod):<24} {pod:<18} {count:>10,}  {share:6.1%}{told}")
        if more := self.rows[MOST_ROWS:]:
            lines.append(f"  and {many(len(more), 'more pod')}")
        if self.run.latency is not None and self.failures:
            lines.append("  not served: " + ", ".join(f"{n:,} at {s} ({r})" for (s, r), n in self.failures.items()))
        if self.rows and self.run.counters:
            share, why = self.spread
            lines.append("  expected spread: " + (f"±{share:.1%} ({why})" if self.exact else why))
        return printable("\n".join(lines))

    __repr__ = __str__

    @libraries()
    def plot(self):
        """The pods' shares as bars, the exact shares as marks, the spread of chance as whiskers."""
        from .show.plots import shares_picture

        rows = [(f"{self.name_of(pod)} {pod}".strip(), *numbers) for pod, *numbers in self.rows]
        return shares_picture(rows, self.spread[0], self.sentence, str(self).partition("\n")[2])

    def plot_latency(self, theory: Callable[[np.ndarray], np.ndarray] | None = None):
        """The share of requests that take longer than any time, with the mean, p99 and the 95% band; `theory` gives the
        same share for an array of seconds, such as `theory.mm1(rate=80, service=0.01).slower`."""
        from .show.plots import latency_picture

        rows = [("all the way", self.latency)] + [(f"spent at {k}", self.latency_of(k)) for k in self.run.spent]
        return latency_picture(slower(self._took()[self.latency.cut :]), rows, theory, self.sentence)

    def plot_over_time(self, seconds: float = 1.0):
        """What was sent, served and failed in each interval, and how long those served took."""
        from .show.plots import over_time_picture

        changes = [moment for moment, _ in self.timeline.moments[1:]]
        return over_time_picture(self.over_time(seconds), seconds, changes, self.sentence)

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
            "failures": [{"stage": s, "reason": r, "requests": n} for (s, r), n in self.failures.items()],
            "latency": None if self.run.latency is None else self.latency.to_dict(),
            "utilisation": {pod: round(share, 6) for pod, share in self.utilisation.items()},
            "hottest": round(self.hottest, 6),
            "exact": None if self.exact is None else {k: str(v) for k, v in self.exact.items()},
        }


def many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count > 1)}"
