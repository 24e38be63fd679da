"""What is wrong or surprising in manifests, each with its consequence in numbers and its FILE:LINE."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ...cluster import Cluster, grouped
from ...errors import InputError, NotModelled, Tell, annotation, marked_up, one_line, silent
from ...objects import HTTPRoute, Ingress, Other
from ...scheduling import some
from . import fields, routes, services  # noqa: F401 (they register their checks)
from .finding import CHECKS, Finding

LEVELS = ("broken", "surprising")
NOTES = 10
PLACES = 3  # of a finding that many objects have, so many are named


@dataclass(frozen=True)
class Findings:
    """The findings, broken before surprising, then by file and line. `looked_at` says what there was to look at,
    `notes` what could not be looked at."""

    found: tuple[Finding, ...]
    looked_at: str = ""
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    @property
    def broken(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.found if f.level == "broken")

    @property
    def groups(self) -> list[tuple[list[Finding], list[Finding]]]:
        """By id: (those to tell, the others). What is said of several objects in the same words is told of the first,
        and of those that differ the first three."""
        found = grouped(((one.level, one.id), one) for one in self.found)
        unlike = ({f"{f.what} {f.consequence}".replace(f.object, ""): f for f in reversed(g)} for g in found.values())
        told = [sorted(u.values(), key=g.index)[:PLACES] for u, g in zip(unlike, found.values(), strict=True)]
        return [(t, [f for f in g if f not in t]) for t, g in zip(told, found.values(), strict=True)]

    @property
    def said(self) -> str:
        """What was looked at, and how much of it was found."""
        counts = Counter(f.level for f in self.found)
        told = ", ".join(f"{counts[level]:,} {level}" for level in LEVELS if counts[level])
        return f"{self.looked_at}: {told or 'nothing found'}"

    def to_dict(self) -> dict[str, Any]:
        """{"findings": [{"id", "level", "what", "consequence", "fix", "object", "file", "line"}], "looked_at": text,
        "notes": [text]}; `line` is null where it is not known."""
        return {"findings": [asdict(f) for f in self.found], "looked_at": self.looked_at, "notes": list(self.notes)}

    def __str__(self) -> str:
        told = [_paragraph(*group) for group in self.groups]
        return "\n\n".join([*told, "\n".join(map(one_line, [self.said, *(f"  {note}" for note in self.notes)]))])

    __repr__ = __str__

    @property
    def markdown(self) -> str:
        """A table for the comment on a pull request."""
        rows = [["level", "where", "what", "consequence", "fix"], ["---"] * 5]
        for told, others in self.groups:
            rows += ([f.level, f.place, f.what, f.consequence, f.fix] for f in told)
            rows += [[told[0].level, "", _others(others), "", ""]] * bool(others)
        table = "".join(f"| {' | '.join(map(marked_up, row))} |\n" for row in rows) + "\n" if self.found else ""
        return table + "\n\n".join(map(marked_up, [self.said, *self.notes])) + "\n"

    @property
    def github(self) -> str:
        """An annotation for each finding, as a GitHub workflow prints them."""
        lines = []
        for f in self.found:
            level = "error" if f.level == "broken" else "warning"
            where = {"file": f.file, "line": f.line or 1} if f.file else {}
            lines.append(annotation(level, f"{f.what} {f.consequence} Fix: {f.fix}", **where, title=f.id) + "\n")
        return "".join(lines) or annotation("notice", self.said) + "\n"


def findings(cluster: Cluster, progress: Tell = silent) -> Findings:
    """What all checks find in `cluster`; `progress` is told what is being looked at."""
    found: dict[Finding | str, None] = {}
    for kinds, check in CHECKS:
        objects = cluster.of(*kinds) if kinds else [cluster]
        for i, one in enumerate(objects):
            if i % 100 == 0:
                progress(f"{check.__name__.replace('_', ' ')}: {i + 1:,} of {len(objects):,}")
            try:
                found |= dict.fromkeys(check(cluster, one))
            except NotModelled as left_out:
                found[f"{one}: {left_out}"] = None
            except InputError:  # what nobody can ask for
                continue
    told = [f for f in found if isinstance(f, Finding)]
    told.sort(key=lambda f: (LEVELS.index(f.level), f.file, f.line or 0, f.id, f.object))
    heads = grouped(f.partition(": ")[::2] for f in found if isinstance(f, str))  # told together, as said alike
    notes = [f"{head}: {some(said)}" if said[0] else head for head, said in heads.items()]
    more = [f"{len(notes) - NOTES:,} more notes"] * (len(notes) > NOTES)
    return Findings(tuple(told), _looked_at(cluster), (*notes[:NOTES], *more))


def _looked_at(cluster: Cluster) -> str:
    counts = Counter(o.kind for o in cluster.objects)
    unread = Counter(o.kind for o in cluster.objects if isinstance(o, Other))
    rules = sum(len(r.http.paths) for i in cluster.of(Ingress) for r in i.spec.rules if r.http)
    rules += sum(len(r.spec.rules) for r in cluster.of(HTTPRoute))
    told = [*(counts - unread).items()] + [("rule", rules)] * bool(rules)
    named = ", ".join(f"{n:,} {kind}{('es' if kind.endswith('s') else 's') * (n != 1)}" for kind, n in told)
    return (named or "0 objects") + f" (not looked into: {some(sorted(unread), 12)})" * bool(unread)


def _others(group: list[Finding]) -> str:
    return "and so has " + some([f"{f.object} ({f.place})" if f.place else f.object for f in group], PLACES)


def _paragraph(told: list[Finding], others: list[Finding]) -> str:
    below = [[f"  {x}" for x in (f.place, f.consequence, f"Fix: {f.fix}") if x] for f in told]
    lines = [x for f, its in zip(told, below, strict=True) for x in (f"{f.level}: {f.what}", *its)]
    return "\n".join(map(one_line, lines + [f"  {_others(others)}"] * bool(others)))
