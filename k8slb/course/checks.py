"""`check("02.1", answer)`: one line that says whether an answer is right, and if not, what lies behind it."""

from traceback import walk_tb
from typing import Any

from ..errors import K8slbError, printable
from . import progress
from .bounded import bounded
from .questions import Exercise, Unfit, Verdict, exercises, lessons

SECONDS = 2.0
MARKS = {None: "○", True: "✔", False: "✗"}
WORDS = {None: "not answered yet", True: "correct", False: "not right"}


def check(id: str, answer: Any) -> None:
    """Print one line about `answer` to the exercise `id`. Never raises."""
    exercise = exercises(id[:2]).get(id) if isinstance(id, str) else None
    if exercise is None:
        id = id if isinstance(id, str) else type(id).__name__
        there = exercises(id[:2]) or [f"{lesson}.1" for lesson in lessons()]
        verdict = Verdict(False, f"there is no such exercise; there are {', '.join(there)}.")
    else:
        verdict = judged(exercise, answer)
    if verdict.right:
        progress.record("passed", id, "yes")
    line = f"{MARKS[verdict.right]} {id}: {WORDS[verdict.right]}" + (f": {verdict.message}" if verdict.message else "")
    print(printable(" ".join(line.split())))


def judged(exercise: Exercise, answer: Any) -> Verdict:
    """The verdict on an answer that may do anything: raise, never end, be of any type."""
    try:
        return exercise.verdict(bounded(lambda: exercise.look(answer), SECONDS))
    except TimeoutError:
        return Verdict(False, f"{_name(answer)} did not return within {SECONDS:g} s.")
    except (Unfit, K8slbError) as error:
        return Verdict(False, f"{error}.")
    except Exception as error:
        return Verdict(False, _told(error, answer))
    except BaseException as error:  # sys.exit(), or the learner's own interrupt
        return Verdict(False, f"{_name(answer)} ended with {type(error).__name__} instead of returning.")


def _name(answer: Any) -> str:
    return str(getattr(answer, "__name__", "the answer"))


def _told(error: Exception, answer: Any) -> str:
    """The learner's own exception: where it was raised, its type, what it says."""
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    lines = [number for frame, number in walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
    try:
        said = str(error)[:200]
    except Exception:
        said = ""
    where = next(iter(getattr(error, "__notes__", ())), _name(answer))
    told = f"{where} raised {type(error).__name__}" + (f": {said}" if said else "")
    return told + (f" (line {lines[-1]})" if lines else "")
