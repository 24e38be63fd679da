"""What real components answered, kept in data/recordings/ with versions, date, machine and command."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from ..chance import chi_square_p
from ..errors import InputError, shown
from ..front import Cluster
from ..manifests import DATA, table_of
from .asked import Question
from .cases import Case, drawn


@dataclass(frozen=True)
class Recording:
    """One recorded run: `facts` as they were counted, `about` says with which versions, when, where and how."""

    name: str
    facts: Mapping[str, Any]
    about: Mapping[str, str]

    @property
    def counts(self) -> dict[str, int]:
        """Requests by pod, each "ip:port"."""
        return dict(self.facts.get("counts", {}))

    @property
    def versions(self) -> str:
        return self.facts.get("versions", self.about["versions"])

    @property
    def date(self) -> str:
        return self.facts.get("date", self.about["date"])

    @cached_property
    def case(self) -> Case:
        """What was asked, as data; `python -m k8slb.real record` asks it again. InputError where nothing can."""
        if "input" not in self.facts:
            raise InputError(f"{self.name} cannot be asked again", expected="a recording with its input")
        return Case(self.name, self.facts["input"])

    @property
    def cluster(self) -> Cluster:
        """The cluster that was asked."""
        return self.case.cluster

    @property
    def question(self) -> Question:
        """What it was asked; `question.model` is the model's Outcome."""
        return self.case.question

    @property
    def comparable(self) -> bool:
        """Whether the model has exact shares of what was counted, so that `beside` needs none."""
        exact = self.case.exact if "counts" in self.facts and not self.case.given.get("users") else None
        return exact is not None and drawn(self.facts).keys() <= exact.keys()

    @property
    def compared(self) -> str:
        """What was counted and what the model counts, as text."""
        rows, facts, modelled = [("", "real", "model")], self.facts, self.case.modelled()
        for name in dict.fromkeys([*modelled, *(name for name in ("status", "lost") if name in facts)]):
            if name not in ("picks", "drawn", "connections", "same_pod_twice_in_a_row"):
                real, model = facts.get(name, {}), modelled.get(name, {})
                real = sorted(real.values()) if isinstance(model, list) else real
                real, model = (v if isinstance(v, dict) else {"": v} for v in (real, model))
                told = name.replace("_", " ")
                every = {**real, **model}
                every = sorted(every, key=int) if all(map(str.isdigit, every)) else every
                rows += [(f"{told} {k}".strip(), str(real.get(k, 0)), str(model.get(k, 0))) for k in every]
        first, second, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
        lines = [f"  {what:<{first}}  {real:<{second}}  {model}".rstrip() for what, real, model in rows]
        return "\n".join([f"{self.name} ({self.versions}; {self.date})", *lines])

    def beside(self, exact: Mapping[str, Any] | None = None):
        """A picture of the recorded counts with the model's exact shares ({name: share}; its own if none are given) on
        them, and the probability that chance alone makes so great a difference. Names may differ where both are in the
        same order."""
        from ..show.plots import shares_picture  # loads matplotlib

        rows, spread, sentence, table = self.rows(exact)
        return shares_picture(rows, spread, sentence, table)

    def rows(self, exact: Mapping[str, Any] | None = None):
        """What `beside` draws: rows (name, count, share, exact share), the spread of chance, sentence, table."""
        counts = drawn(self.facts) if exact is None else self.counts
        model = self.case.exact if exact is None else exact
        if model is None:
            raise InputError(f"the model's shares in {self.name} depend on load", expected="facts to compare")
        order = {pod: i for i, pod in enumerate(self.counts)}  # by address
        shares = {
            name: float(model[name]) for name in sorted(model, key=lambda end: order.get(end.split()[0], len(order)))
        }
        if not counts or len(counts) > len(shares) or not math.isclose(sum(shares.values()), 1):
            raise InputError(f"{self.name} counted {len(counts)} pods", expected="the model's shares of as many")
        if not set(counts) <= set(shares):
            counts = dict(zip(shares, counts.values(), strict=True))
        total = sum(counts.values())
        square, freedom, p = chi_square_p(counts, shares)
        spread = 2 * max(math.sqrt(e * (1 - e) / total) for e in shares.values())
        fits = f"p = {p:.2g} (chi-square {square:.2f}, {freedom} degrees of freedom)"
        if "input" in self.facts and self.case.given.get("sequence"):
            spread, fits = self.question.model.spread  # no chance
        fits = fits if freedom else "nothing is left to chance"
        what = self.case.given["draws"] if "input" in self.facts else "request"
        sentence = f"{total:,} real {what}s, {self.versions}, beside the model: {fits}."
        rows = [(name, counts.get(name, 0), counts.get(name, 0) / total, share) for name, share in shares.items()]
        table = "\n".join(f"  {n:<20} {c:>7,} recorded {s:6.1%}  model {e:6.1%}" for n, c, s, e in rows)
        return rows, spread, sentence, table

    def __str__(self) -> str:
        facts = {key: value for key, value in self.facts.items() if key not in ("input", "versions", "date")}
        told = [f"  {key.replace('_', ' ')}: {value}" for key, value in facts.items()]
        return "\n".join([f"{self.name} ({self.versions}; {self.date})", *told])

    __repr__ = __str__


@cache
def _file(kind: str) -> dict[str, Any]:
    return table_of(f"recordings/{kind}")


def recording(name: str) -> Recording:
    """The recording `KIND/RUN`, such as "netfilter/nftables/clusterip-3"."""
    kinds = sorted(path.stem for path in (DATA / "recordings").glob("*.json"))
    kind, _, run = str(name).partition("/")
    known = [f"{kind}/{run}" for run in _file(kind).get("runs", ())] if kind in kinds else kinds
    if name not in known or kind not in kinds:
        near = difflib.get_close_matches(str(name), known, 3, 0.3) or known[:3]
        raise InputError(f"there is no recording {shown(name)}", expected="such as " + ", ".join(near))
    return Recording(name, _file(kind)["runs"][run], _file(kind)["about"])
