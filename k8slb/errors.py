"""What k8slb says when it cannot answer: one clear message, never a traceback for a reader's mistake; and while it works."""

import operator
from collections.abc import Callable
from numbers import Real

Tell = Callable[[str], None]  # takes what goes on, in a few words, for somebody who waits


def silent(what: str) -> None:
    """Nobody waits."""


class K8slbError(Exception):
    """A message for a person. The command line prints it and exits with 2; a notebook shows it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        """IPython asks this before it prints a traceback (IPython 7 and later)."""
        return [str(self)]


class InputError(K8slbError):
    """Bad input: where it is (``file``, ``line``, ``field``; each may be unknown), what is wrong, what was expected."""

    def __init__(self, problem: str, *, expected: str = "", file: str = "", line: int | None = None, field: str = ""):
        self.problem, self.expected, self.file, self.line, self.field = problem, expected, file, line, field
        super().__init__(problem)

    def __str__(self) -> str:
        file = self.file.replace("\n", "\\x0a")  # a file's name cannot begin a line of ours
        where = f"{file}:{self.line}" if file and self.line else file
        text = ": ".join(filter(None, (where, self.field, self.problem)))
        return printable(text + (f"; expected {self.expected}" if self.expected else ""))


class NotModelled(K8slbError):
    """A question k8slb leaves out: it says so instead of guessing."""

    def __str__(self) -> str:
        return "not modelled: " + printable(super().__str__())


class NotHere(K8slbError):
    """A real component that this machine cannot run: what is missing, and how to get it."""


def whole(number: object, what: str, low: int, high: int) -> int:
    """`number` as an int; InputError if it is no whole number (True, 2.0 and "2" are none) from `low` to `high`."""
    try:
        given = None if isinstance(number, bool) else operator.index(number)  # numpy's integers as well
    except TypeError:
        given = None
    if given is None or not low <= given <= high:
        raise InputError(f"{what} cannot be {shown(number)}", expected=f"a whole number from {low:,} to {high:,}")
    return given


def amount(given: object, what: str, low: float, high: float, expected: str) -> float:
    """`given` as a float; InputError if it is no number (True and "2" are none, numpy's are) from `low` to `high`."""
    if isinstance(given, bool) or not isinstance(given, Real) or not low <= given <= high:
        raise InputError(f"{shown(given)} is no {what}", expected=expected)
    return float(given)


def printable(text: str) -> str:
    """`text` without control characters, so that a name from a manifest cannot steer a terminal."""
    text = str(text)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(ch if ch.isprintable() or ch == "\n" else f"\\x{ord(ch):02x}" for ch in text)


def shown(value: object, limit: int = 60) -> str:
    """A value from a manifest as a message quotes it: short, printable."""
    text = printable(repr(value) if not isinstance(value, str) else f'"{value}"').replace("\n", "\\n")
    return text if len(text) <= limit else text[: limit - 3] + "..."
