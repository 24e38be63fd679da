"""What an exercise is: one source for its text, stub, hints, solution and check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import isclose
from numbers import Integral, Real
from typing import Any

from ...errors import shown

Seen = dict[str, Any]  # what was looked at -> what the answer gives there
KINDS = {str: "text", Real: "a number", Integral: "a whole number"}


@dataclass(frozen=True)
class Verdict:
    right: bool | None  # None: not answered yet
    message: str = ""


class Unfit(Exception):
    """The answer is of another kind than the exercise asks for."""

    def __init__(self, expected: str, answer: Any):
        super().__init__(f"expected {expected}, not {type(answer).__name__}")


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """An answer is judged by what it gives where `observe` looks, compared with what is `expected` there.

    So nothing that is right is typed in, and a known wrong answer is recognised by giving the same as it does.
    """

    id: str
    stars: int
    task: str  # Markdown
    stub: str  # the learner's cell, which ends in check(...)
    solution: str  # takes the place of the stub above its last line
    hints: tuple[str, ...]
    kind: type  # of the values that observe gives: one of KINDS
    observe: Callable[[Any], Seen]
    expected: Callable[[], Seen]
    wrong: dict[str, Any]  # the misconception in a sentence: an answer that shows it

    @property
    def lesson(self) -> str:
        return self.id.partition(".")[0]

    @property
    def solved(self) -> str:
        """The cell with the solution in it."""
        above, _, last = self.stub.rpartition("\n")
        return self.solution.strip() + above[len(above.rstrip()) :] + "\n" + last

    def judge(self, answer: Any) -> Verdict:
        return self.verdict(self.look(answer))

    def look(self, answer: Any) -> Seen:
        """Run what the learner wrote; raises whatever that raises."""
        return {} if empty(answer) else self.observe(answer)

    def verdict(self, seen: Seen) -> Verdict:
        if all(map(empty, seen.values())):
            forgotten = [f"{what} gives nothing." for what, value in seen.items() if value is None]  # a missing return
            return Verdict(None, "".join(forgotten[:1]))
        what, problem = next(self._problems(seen), ("", ""))
        if not what:
            return Verdict(True)
        named = [(other, why) for other, why in self._known if _same(other.get(what), seen.get(what))]
        # The same everywhere is surer than the same at the first difference.
        named.sort(key=lambda known: sum(not _same(known[0].get(at), value) for at, value in seen.items()))
        return Verdict(False, " ".join([problem, *(why for _, why in named[:1])]))

    def _problems(self, seen: Seen) -> Iterator[tuple[str, str]]:
        expected = self.expected()
        for what in {**expected, **seen}:
            value = seen.get(what)
            if empty(value):
                yield what, f"{what} is missing."
            elif not isinstance(value, self.kind) or isinstance(value, bool):
                yield what, f"{what} is {shown(value)}; expected {KINDS[self.kind]}, not {type(value).__name__}."
            elif not _same(expected.get(what), value):
                yield what, f"{what} is {shown(value)}."

    @cached_property
    def _known(self) -> list[tuple[Seen, str]]:
        return [(self.observe(answer), why) for why, answer in self.wrong.items()]


def empty(value: Any) -> bool:
    """Whether nothing was filled in yet."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or value is ... or (isinstance(value, (list, tuple, dict)) and not value)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Real) and isinstance(other, Real):
        return isclose(one, other, abs_tol=5e-4)  # 0.123 for 0.12346 shows that it was understood
    return isinstance(one, str) and isinstance(other, str) and one == other


def calls(name: str, cases: Iterable[tuple]) -> Callable[[Any], Seen]:
    """Look at what a function gives in each of `cases`."""

    def observe(answer: Any) -> Seen:
        if not callable(answer):
            raise Unfit(f"the function {name}", answer)
        seen = {}
        for case in cases:
            call = f"{name}({', '.join(map(shown, case))})"
            try:
                seen[call] = answer(*case)
            except Exception as error:
                error.add_note(call)
                raise
        return seen

    return observe
