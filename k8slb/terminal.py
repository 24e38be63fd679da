"""What is for a person at a terminal only: colour, and a sign of life while something takes longer than a second."""

import os
import re
import sys
import threading
import time
from contextlib import suppress
from typing import IO

from .errors import printable

COLOURS = {"red": 31, "green": 32, "yellow": 33}
# By the word that a line of a result begins with; the words alone say as much.
PAINT = {"red": "FAIL|ERROR|broken|worse", "green": "ok|better|fits", "yellow": "surprising|warning|unlikely|!"}
_WORDS = [(re.compile(rf"^( *)({words})(?=[ :])", re.MULTILINE), COLOURS[name]) for name, words in PAINT.items()]


def coloured(stream: IO[str]) -> bool:
    """Whether colour is wanted: at a terminal that is not dumb, unless NO_COLOR is set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, stream: IO[str] | None = None) -> str:
    """`text` as `stream` (standard output) shows it. GitHub's runner obeys "::" that begins a line of a log, and "##["
    wherever it stands: no name in ours commands it."""
    if os.environ.get("GITHUB_ACTIONS"):
        text = re.sub(r"(?m)^\s*:(?=:)|##(?=\[)", "\\g<0>\u200b", text)
    if coloured(stream or sys.stdout):
        for words, colour in _WORDS:
            text = words.sub(f"\\1\x1b[{colour}m\\2\x1b[0m", text)
    return text


class Progress:
    """After a second it says what goes on: at a terminal in one line that is renewed and wiped, else in a line each
    time the waiting has doubled. `tell` is given to whoever knows what goes on."""

    def __init__(self, stream: IO[str] | None = None, after: float = 1.0):
        self.stream, self.after = stream or sys.stderr, after
        self.what, self._over, self._shown, self._lock = "working", threading.Event(), False, threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def tell(self, what: str) -> None:
        """What goes on from now. "" wipes the line and says nothing more: for before something else is printed."""
        self.what = printable(what).replace("\n", " ")
        if self._shown and not what:
            self._show(0)

    def __enter__(self) -> "Progress":
        if self.stream:  # there is none where it was closed before we began
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.tell("")

    def _watch(self) -> None:
        began, due = time.monotonic(), self.after
        while not self._over.wait(began + due - time.monotonic()):
            due = self._show(due)

    def _show(self, due: float) -> float:
        """Says it; returns when it is due again, in seconds from the beginning."""
        with self._lock, suppress(OSError, ValueError):  # nobody reads it any more
            line, live = self.what and f"k8slb: {self.what} ({due:.0f} s)", self.stream.isatty()
            if live and (line or self._shown):
                self.stream.write(f"\r\x1b[K{line[:78]}")
            elif line and not live:
                self.stream.write(f"{line}\n")
            self.stream.flush()
            self._shown = bool(line)
            return due + 0.5 if live else due * 2
        return due * 2
