"""What a check finds, and how a check is written.

A check is a generator `check(view, one)` with `@each(KIND, ...)` above it: asked about every object of these kinds that
the input has (`@each()`: once, with the cluster as `one`). It yields `of(...)` for a finding and a str for what could
not be looked at (told once, however often it is said). NotModelled ends it for this object and becomes such a note;
InputError (what nobody can ask for) ends it unsaid.

Texts stand in data/findings.json and data/findings-routes.json: {id: {"level", "what", "consequence", "fix"}}, each a
text with {names} for the values that the check gives; {object} is there always. "kinds that make no pods" is a list for
explain/services.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ...manifests import table_of
from ...objects import Object

TEXTS = table_of("findings") | table_of("findings-routes")
Check = Callable[[Any, Any], Iterator["Finding | str"]]
CHECKS: list[tuple[tuple[Any, ...], Check]] = []


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or surprising. `level` is "broken" (some or all requests are not served as written) or
    "surprising" (they are, but not as the YAML looks); `what` names the object, `consequence` says in numbers what
    comes of it, `fix` what to change or to check with; `file` and `line` are those of the field; `object` is
    "KIND NAMESPACE/NAME"."""

    id: str
    level: str
    what: str
    consequence: str
    fix: str
    object: str
    file: str = ""
    line: int | None = None

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


def of(name: str, one: Object, /, *path: str | int, **values: Any) -> Finding:
    """The finding `name` of data/findings*.json on the object `one`, at its field `path` (or the nearest above it)."""
    text = TEXTS[name]
    told = (text[part].format(object=one, **values) for part in ("level", "what", "consequence", "fix"))
    return Finding(name, *told, str(one), *one.where(*path))


def each(*kinds: Any) -> Callable[[Check], Check]:
    """Registers a check for the input's objects of these kinds: types, or names that no type reads."""

    def register(check: Check) -> Check:
        CHECKS.append((kinds, check))
        return check

    return register
