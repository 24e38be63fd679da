"""What real components answered, kept in data/recordings/ with versions, date, machine and command."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..errors import InputError, shown
from ..manifests import DATA, table_of


@dataclass(frozen=True)
class Recording:
    """One recorded run: `facts` as they were counted, `about` says with which versions, when, where and how."""

    name: str
    facts: Mapping[str, Any]
    about: Mapping[str, str]

    @property
    def counts(self) -> dict[str, int]:
        """Connections by endpoint, or by the number of the pod."""
        return dict(self.facts.get("counts", {}))

    def beside(self, exact: Mapping[str, Any]):
        """A picture of the recorded counts with the model's exact shares ({name: share}) on them, and the probability
        that chance alone makes so great a difference. Names may differ where both are in the same order."""
        from ..show.plots import shares_picture  # loads matplotlib

        counts, shares = self.counts, {name: float(share) for name, share in exact.items()}
        if not counts or len(counts) > len(shares) or not math.isclose(sum(shares.values()), 1):
            raise InputError(f"{self.name} counted {len(counts)} pods", expected="the model's shares of as many")
        if not set(counts) <= set(shares):
            counts = dict(zip(shares, counts.values(), strict=True))
        total = sum(counts.values())
        square, freedom, p = chi_square_p(counts, shares)
        fits = f"p = {p:.2g} (chi-square {square:.2f}, {freedom} degrees of freedom)" if freedom else "one pod only"
        what = "requests" if "requests" in self.facts else "connections"
        sentence = f"{total:,} real {what}, {self.about['versions'].partition(',')[0]}, beside the model: {fits}."
        rows = [(name, counts.get(name, 0), counts.get(name, 0) / total, share) for name, share in shares.items()]
        table = "\n".join(f"  {n:<20} {c:>7,} recorded {s:6.1%}  model {e:6.1%}" for n, c, s, e in rows)
        return shares_picture(rows, 2 * max(math.sqrt(e * (1 - e) / total) for *_, e in rows), sentence, table)

    def __str__(self) -> str:
        told = [f"{key.replace('_', ' ')}: {value}" for key, value in self.facts.items()]
        return "\n".join([f"{self.name} ({self.about['versions']}; {self.about['date']})", *(f"  {t}" for t in told)])

    __repr__ = __str__


@cache
def _file(kind: str) -> dict[str, Any]:
    return table_of(f"recordings/{kind}")


def recording(name: str) -> Recording:
    """The recording `KIND/RUN`, such as "kube-proxy/order-clusterip-3/iptables/pod-a/10.96.25.17:80"."""
    kinds = sorted(path.stem for path in (DATA / "recordings").glob("*.json"))
    kind, _, run = str(name).partition("/")
    known = [f"{kind}/{run}" for run in _file(kind).get("runs", ())] if kind in kinds else kinds
    if name not in known or kind not in kinds:
        near = difflib.get_close_matches(str(name), known, 3, 0.3) or known[:3]
        raise InputError(f"there is no recording {shown(name)}", expected="such as " + ", ".join(near))
    return Recording(name, _file(kind)["runs"][run], _file(kind)["about"])


def chi_square_p(counts: Mapping[str, int], shares: Mapping[str, Any]) -> tuple[float, int, float]:
    """(chi-square, degrees of freedom, p): the probability of counts at least this far from the exact shares.

    Pearson's test; p is Q(k/2, x/2), by its recurrence in k.
    """
    total = sum(counts.values())
    square = float(sum((counts.get(e, 0) - total * p) ** 2 / (total * p) for e, p in shares.items() if p))
    half, freedom = square / 2, sum(1 for p in shares.values() if p) - 1
    if freedom == 0:
        return square, 0, 1.0
    a, q = (0.5, math.erfc(math.sqrt(half))) if freedom % 2 else (1.0, math.exp(-half))
    while a < freedom / 2:
        q += half**a * math.exp(-half) / math.gamma(a + 1)
        a += 1
    return square, freedom, q
