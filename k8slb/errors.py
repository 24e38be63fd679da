"""What k8slb says when it cannot answer, one clear message and no traceback for a reader's mistake; and meanwhile."""

import operator
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        where = f"{self.file}:{self.line}" if self.file and self.line else self.file
        text = ": ".join(filter(None, (where, self.field, self.problem)))
        return one_line(text + (f"; expected {self.expected}" if self.expected else ""))


class NotModelled(K8slbError):
    """A question k8slb leaves out: it says so instead of guessing."""

    def __str__(self) -> str:
        return "not modelled: " + one_line(super().__str__())


class NotHere(K8slbError):
    """A real component or a library that this machine does not have: what is missing, and how to get it."""


@contextmanager
def libraries() -> Iterator[None]:
    """A library that is not here is a sentence: in a browser not all of them are."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise NotHere(f"this takes {error.name}, which is not here") from None


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


def printable(text: object) -> str:
    """`text` without control characters, so that a name from a manifest cannot steer a terminal."""
    text = str(text)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(ch if ch.isprintable() or ch == "\n" else f"\\x{ord(ch):02x}" for ch in text)


def one_line(text: object, limit: int = 10_000) -> str:
    """`text` as it stands in a line of ours: what comes from a manifest begins no line, which could say anything."""
    text = printable(text).replace("\n", "\\n")
    return text if len(text) <= limit else f"{text[:limit]}... and {len(text) - limit:,} more characters"


def marked_up(text: object) -> str:
    """Text as Markdown and HTML show it as it is: no markup, no link, nobody mentioned.

    GitHub looks for @NAME and #NUMBER in what is shown, so a space without width comes after the mark."""
    marks = r"""[^\w\s.,:;/()=+%?!"'-]|_|(?<=www)\.|:(?=//|[\w+-]*:)"""
    return re.sub(marks, lambda m: f"&#{ord(m[0])};" + "&#8203;" * (m[0] in "@#"), one_line(text))


def annotation(level: str, text: object, **at: object) -> str:
    """The workflow command by which GitHub Actions shows `text` as an error, a warning or a notice, `at` a file's line
    (docs.github.com, "Workflow commands for GitHub Actions")."""

    def quoted(value: object, more: str = "") -> str:
        return "".join(f"%{ord(ch):02X}" if ch in "%\n" + more else ch for ch in printable(value))

    place = ",".join(f"{key}={quoted(value, ':,')}" for key, value in at.items())
    return f"::{level} {place}".rstrip() + f"::{quoted(text)}"


def shown(value: object, limit: int = 60) -> str:
    """A value from a manifest as a message quotes it: short, printable."""
    text = one_line(repr(value) if not isinstance(value, str) else f'"{value}"')
    return text if len(text) <= limit else text[: limit - 3] + "..."
