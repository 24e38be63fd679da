"""What changes from one cluster to another, told: as text, as JSON, for a pull request."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import Any, NamedTuple

from ...cluster import grouped
from ...errors import marked_up, one_line
from ...manifests import table_of

TABLE = table_of("diff")
KINDS = TABLE["kinds"]
SHARES, CUT, STAY, LOAD = "shares of pods", "open connections end", "open connections stay", "depends on load"
BAD = ("no answer", "5xx", "404", "4xx")
MOST = 20  # rows of a table before the rest is folded away, pods of a change in a table


class Change(NamedTuple):
    """One change: what (of `KINDS`), the first questions that it is of, and how many; before and after, in words; the
    share of each pod before and after (of the open connections: of those that end), None where it depends on load."""

    what: str
    asked: tuple[str, ...]
    count: int
    before: str
    after: str
    pods: Mapping[str, tuple[Fraction | None, Fraction | None]] = {}

    @property
    def labels(self) -> tuple[str, str]:
        return ("share: ", "why:   ") if self.what in (CUT, STAY) else ("before:", "after: ")

    @property
    def of(self) -> str:
        return self.asked[0] + (f" and {self.count - 1:,} more" if self.count > 1 else "")

    @property
    def told(self) -> list[str]:
        """The pods, a line each."""
        shares = (
            (pod, percent(a), "" if self.what in (CUT, STAY) else f" -> {percent(b)}")
            for pod, (a, b) in self.pods.items()
        )
        rows = [f"{pod}: {share}{then}" for pod, share, then in islice(shares, MOST)]
        return rows + [f"and {len(self.pods) - MOST:,} more pods"] * (len(self.pods) > MOST)


@dataclass(frozen=True)
class Difference:
    """The changes, the worst first; `asked` counts what was asked, `notes` say what was not. True where anything
    changes, or may: what is modelled on one side only is a change."""

    changes: tuple[Change, ...]
    asked: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)

    @property
    def verdict(self) -> str:
        counts = grouped((c.what, c.count) for c in self.changes)
        told = ", ".join(f"{what} ({sum(n):,})" for what, n in counts.items())
        left = self.asked.get("not modelled", 0)
        known = f"; {left:,} question{'s' * (left > 1)} not modelled, before and after" * bool(left)
        return (f"changes: {told}" if told else "nothing changes for any request") + known

    @property
    def counted(self) -> list[str]:
        counts = ((what, n) for what, n in self.asked.items() if what != "not modelled")  # which notes say, with why
        told = (f"{n:,} {what.removesuffix('s') if n == 1 else what}" for what, n in counts)
        return ["asked of both: " + ", ".join(told), *self.notes]

    def __str__(self) -> str:
        out = [self.verdict, ""]
        for c in self.changes[: 5 * MOST]:
            better = c.what.endswith("answered") and not c.before.startswith("404")  # which may be as it should
            worse = c.what.endswith(BAD) or (c.what == "findings" and c.after.startswith("broken"))
            mark = "better" if better else "worse" if worse else "change"
            out += [f"{mark:6} {c.what}: {c.of}"]
            out += [f"         {label} {told}" for label, told in zip(c.labels, (c.before, c.after), strict=True)]
            out += [f"         {line}" for line in c.told]
        left = len(self.changes) - 5 * MOST
        out += [f"and {left:,} more changes (-o json has all)"] * (left > 0)
        return "\n".join(map(one_line, [*out, *[""] * bool(self), *self.counted]))

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON: {"changes": [{"what", "asked": [up to 3], "count", "before", "after", "pods":
        {NAMESPACE/NAME: [share before, after]}}], "verdict", "asked": {what: count}, "notes"}; shares are fractions as
        text, null where they depend on load."""
        changes = []
        for c in self.changes:
            pods = {pod: [s if s is None else str(s) for s in both] for pod, both in c.pods.items()}
            changes.append(c._asdict() | {"asked": list(c.asked), "pods": pods})
        return {"changes": changes, "verdict": self.verdict, "asked": dict(self.asked), "notes": list(self.notes)}

    @property
    def markdown(self) -> str:
        """For a comment on a pull request: a verdict and a table, whose rows from the 21st on are folded away."""
        top = "| change | of | before | after |\n| --- | --- | --- | --- |"
        rows = [f"| {' | '.join(_cells(c))} |" for c in self.changes]
        out = [f"**k8slb diff**: {marked_up(self.verdict)}", "", *[top] * bool(rows), *rows[:MOST], ""]
        if more := rows[MOST : 10 * MOST]:
            out += [f"<details><summary>{len(more)} more changes</summary>", "", top, *more, "", "</details>", ""]
        left = [f"{len(rows) - 10 * MOST:,} more changes are in the JSON"] * (len(rows) > 10 * MOST)
        return "\n".join([*out, *(marked_up(line) + "  " for line in (*left, *self.counted))])


def _cells(c: Change) -> Iterator[str]:
    yield from map(marked_up, (c.what, c.of, c.before))
    yield "<br>".join(map(marked_up, (c.after, *c.told)))


def percent(share: Fraction | None) -> str:
    """1/3 = 33.3%, as far as a fraction can be read."""
    if share is None:
        return LOAD
    return (
        f"{share} = {float(share):.1%}" if 1 < share.denominator < 1000 else f"{float(share):.3%}".replace(".000", "")
    )
