"""Exact shares, told."""

from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from ..errors import printable


class Shares(dict):
    """{"ip:port": Fraction} of the requests that pods answer well; `answered` {status: Fraction} of the others, whether
    a proxy says so or a pod, `lost` a Fraction; `reached` {"ip:port": Fraction} of those that pods answer at all. Of
    the requests that limits admit, and at a client's first visit. `name_of` names the pod at an "ip:port"."""

    def __init__(self, outcomes: Mapping[tuple[str, str], Fraction], name_of: Callable[[str], str] = lambda _: ""):
        outcomes = dict(sorted(outcomes.items(), key=lambda item: (item[0][0], in_order(item[0][1]))))
        super().__init__({what: p for (kind, what), p in outcomes.items() if kind == "pod"})
        answered, reached, self._name_of = Counter[str](), Counter[str](), name_of
        for (kind, what), p in outcomes.items():
            pod, _, status = what.rpartition(" ") if kind == "failed" else (what, "", what)
            if kind in ("failed", "answered"):
                answered[status] += p
            if kind in ("failed", "pod"):
                reached[pod] += p
        self.answered, self.reached = dict(answered), dict(reached)
        self.lost = sum((p for (kind, _), p in outcomes.items() if kind == "lost"), Fraction(0))

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON: fractions as text."""
        shares, answered = ({k: str(v) for k, v in one.items()} for one in (self, self.answered))
        return {"shares": shares, "answered": answered, "lost": str(self.lost)}

    def __str__(self) -> str:
        rows = [(k, v) for k, v in self.items()] + [(f"answered {k}", v) for k, v in self.answered.items()]
        rows += [("lost", self.lost)] if self.lost else []
        told = (f"{name:<24} {share!s:>8}  {float(share):6.1%}  {self._name_of(name)}" for name, share in rows)
        return printable("\n".join(map(str.rstrip, told)))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """In a notebook: the table, as a dict's own form would hide what is lost."""
        printer.text(str(self) or "no pod answers")


def in_order(address: str) -> tuple:
    """A key that puts addresses in order by number, everything else after them by text."""
    parts = address.replace(":", ".").split(".")
    return (0, [int(p) for p in parts]) if all(p.isdigit() for p in parts) else (1, [address])
