"""Locked guesses and passed checks, kept beside the learner's copy of a lesson and carried as one file."""

import contextlib
import json
import os
import threading
from pathlib import Path

from ..errors import printable
from .lab import stored

NAME = "progress.json"
KINDS = ("guesses", "passed")
Answers = dict[str, dict[str, str]]

_lock = threading.Lock()  # a button's callback may run beside a cell
_memory: Answers = {kind: {} for kind in KINDS}
_told: set[Path] = set()  # broken files that could not be put aside
_start = Path.cwd()  # where the notebook is; a cell may change the folder later


def folder() -> Path | None:
    """Where progress is kept: beside a learner's copies. The stored lessons, known by their solutions, stay clean."""
    copies = any(_start.glob("[0-9][0-9]-*.ipynb")) and _start.resolve() != stored().resolve()
    return _start if copies and _start.name != "solutions" and not (_start / "solutions").is_dir() else None


def record(kind: str, id: str, value: str) -> None:
    """Remember a guess or a passed check, in memory and, where there is one, in the file."""
    with _lock:
        _fetch()
        _memory[kind][id] = value
        if place := folder():
            with contextlib.suppress(OSError):  # a folder that cannot be written: this kernel remembers
                _write(place / NAME)


def recall(kind: str, id: str) -> str | None:
    """What was recorded, now or on another day."""
    with _lock:
        _fetch()
        return _memory[kind].get(id)


def guesses(notebook: Path) -> tuple[str, ...]:
    """The predictions that were locked beside this notebook, by id; none where that cannot be read."""
    try:
        return tuple(_read(notebook.with_name(NAME))["guesses"])
    except (OSError, ValueError, RecursionError):
        return ()


def save(path: str | Path | None = None) -> None:
    """Write guesses and passed checks to one file, to take along; beside the lesson if no path is given."""
    file = Path(path) if path else _start / NAME
    with _lock:
        try:
            _fetch()
            _write(file)
        except OSError as error:
            return print(f"Not saved: {file}: {error.strerror or error}")
    print(f"Saved in {file}: {_counted()}")


def restore(path: str | Path) -> None:
    """Take over what `save` wrote. Run a prediction's cell again to see its guess."""
    try:
        answers = _read(Path(path))
    except (OSError, ValueError, RecursionError) as error:
        return print(f"Nothing restored: {_why(Path(path), error)}")
    for kind in KINDS:
        for id, value in answers[kind].items():
            record(kind, id, value)
    print(f"Restored from {path}: {_counted()}")


def _counted() -> str:
    return f"{len(_memory['guesses'])} guesses, {len(_memory['passed'])} checks passed"


def _fetch() -> None:
    """Add what stands in the file: another notebook may have written it. Broken, it is put aside with one message."""
    if not (place := folder()) or (file := place / NAME) in _told:
        return
    try:
        answers = _read(file)
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError) as error:
        _told.add(file)
        print(f"Progress starts anew: {_why(file, error)}; the file is kept as {NAME}.broken")
        with contextlib.suppress(OSError):
            os.replace(file, f"{file}.broken")
            _told.discard(file)
        return
    for kind in KINDS:
        _memory[kind] = answers[kind] | _memory[kind]


def _read(file: Path) -> Answers:
    answers = json.loads(file.read_text(encoding="utf-8"))
    for kind in KINDS:
        entries = answers.get(kind) if isinstance(answers, dict) else None
        if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
            raise ValueError(f"no {kind}")
    return answers


def _write(file: Path) -> None:
    # Through a second file, so that whoever reads meanwhile finds the old or the new one, never half of it.
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(json.dumps(_memory, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(draft, file)


def _why(file: Path, error: Exception) -> str:
    return printable(f"{file}: {error.strerror if isinstance(error, OSError) else 'not a file that save() wrote'}")
