"""What a lesson asks: its prediction and its exercises, which stand beside it in notebooks/questions/NN.py.

An exercise says how an answer is looked at, what is right there, and what lies behind a wrong one.

To add one to lesson 03:
1. In `notebooks/03-*.ipynb` write a Markdown cell (`### Exercise 03.1 ★`, the task, 2 or 3 hints in `<details>`) and
   after it a code cell (the stub; last line `check("03.1", name)`). Give both the tag `exercise:03.1`.
2. In `notebooks/questions/03.py` put it into the tuple EXERCISES. If the answer is a function, write the solution
   as one: `function(id, solution, cases, wrong)`. If not, `Exercise(id, text, observe, wrong, kind, expected)`: text is
   the solution's cell, `observe(answer)` gives {what: value} (`parts` does it for several values; for one write
   `lambda answer: {"the share": answer}`), and `expected()` gives the same as the model has it.
3. `wrong` names two misconceptions or more, '"What is believed": why it is not so.', each with an answer it leads to.
4. `python notebooks/build.py 03` executes the lesson and makes its solutions. The tests find it by themselves.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import module_from_spec, spec_from_file_location
from inspect import getsource
from math import isclose
from numbers import Integral, Real
from types import ModuleType
from typing import Any

from ..errors import shown
from .lab import stored

Seen = dict[str, Any]  # what was looked at -> what the answer gives there
KINDS = {str: "text", Real: "a number", Integral: "a whole number"}


@dataclass(frozen=True)
class Option:
    text: str
    misconception: str = ""  # empty: this is the right one
    refuted: str = ""


@dataclass(frozen=True)
class Prediction:
    question: str
    options: tuple[Option, ...]
    because: str  # why the right one is right, in a sentence

    @property
    def right(self) -> Option:
        (right,) = (option for option in self.options if not option.misconception)
        return right


@dataclass(frozen=True)
class Verdict:
    right: bool | None  # None: not answered yet
    message: str = ""


class Unfit(Exception):
    """The answer is of another kind than the exercise asks for."""

    def __init__(self, expected: str, answer: Any):
        many = f" of {len(answer)}" if isinstance(answer, (list, tuple)) else ""
        super().__init__(f"expected {expected}, not {type(answer).__name__}{many}")


@dataclass(frozen=True)
class Exercise:
    """An answer is judged by what it gives where `observe` looks, compared with what is right there.

    So nothing that is right is typed in, and a known wrong answer is recognised by giving the same as it does.
    """

    id: str
    solution: Callable | str  # a function, or the text of a cell
    observe: Callable[[Any], Seen]
    wrong: dict[str, Any]  # the misconception in a sentence: an answer that shows it
    kind: type = Real  # of the values that observe gives: one of KINDS
    expected: Callable[[], Seen] | None = None  # without: what observe gives for the solution
    imports: str = ""  # lines that a function needs above it in the solution's cell

    def solved(self, stub: str) -> str:
        """The cell with the solution in it: all but the last line of the stub, which checks, is replaced."""
        above, _, last = stub.rpartition("\n")
        code = self.solution if isinstance(self.solution, str) else getsource(self.solution)
        code = f"{self.imports}\n\n\n{code}" if self.imports else code
        return code.strip() + above[len(above.rstrip()) :] + "\n" + last

    @cached_property
    def right(self) -> Seen:
        return self.expected() if self.expected else self.observe(self.solution)

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
        for what in {**self.right, **seen}:
            value = seen.get(what)
            if empty(value):
                yield what, f"{what} is missing."
            elif not isinstance(value, self.kind) or isinstance(value, bool):
                yield what, f"{what} is of type {type(value).__name__}; expected {KINDS[self.kind]}."
            elif not _same(self.right.get(what), value):
                yield what, f"you have {shown(value)} for {what}."

    @cached_property
    def _known(self) -> list[tuple[Seen, str]]:
        return [(self.observe(answer), why) for why, answer in self.wrong.items()]


def function(id: str, solution: Callable, cases: Iterable[tuple], wrong: dict[str, Any], **more: Any) -> Exercise:
    """An exercise whose answer is a function, looked at in each of `cases`; the first is the one of the text."""
    return Exercise(id, solution, calls(solution.__name__, list(cases)), wrong, **more)


def empty(value: Any) -> bool:
    """Whether nothing was filled in yet."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or value is ... or (isinstance(value, (list, tuple, dict)) and not value)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Real) and isinstance(other, Real):
        return isclose(one, other, abs_tol=5e-4)  # 0.123 for 0.12346 shows that it was understood
    return isinstance(one, str) and isinstance(other, str) and one == other


def calls(name: str, cases: list[tuple]) -> Callable[[Any], Seen]:
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


def parts(*names: str) -> Callable[[Any], Seen]:
    """Look at each of several values, which the learner gives as a list or with commas between."""

    def observe(answer: Any) -> Seen:
        if not isinstance(answer, (list, tuple)) or len(answer) > len(names):
            raise Unfit(f"{len(names)} values", answer)
        return dict(zip(names, answer, strict=False))

    return observe


@cache
def questions(lesson: str) -> ModuleType | None:
    """What lesson "02" asks, loaded when asked for; None if it asks nothing."""
    file = stored() / "questions" / f"{lesson}.py"
    if not file.is_file():
        return None
    spec = spec_from_file_location(f"{__name__}_{lesson}", file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lessons() -> list[str]:
    """The lessons that ask something, by number."""
    return sorted(file.stem for file in (stored() / "questions").glob("[0-9][0-9].py"))


def exercises(lesson: str) -> dict[str, Exercise]:
    """Those of lesson "02" by id; none if there is no such lesson."""
    asked = questions(lesson)
    return {exercise.id: exercise for exercise in asked.EXERCISES} if asked else {}
