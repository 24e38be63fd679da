"""Where things stand in a file, found when somebody asks.

No position is stored while reading: an `Origin` knows where an object's text begins and reads that text once more when
a message needs the line of a field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import yaml

Path = tuple[str | int, ...]


@dataclass(frozen=True, eq=False)
class Source:
    """One file's name and text. `json` says which of the two grammars it was read with."""

    file: str
    text: str = field(repr=False)
    json: bool = False


@dataclass(frozen=True, eq=False)
class Origin:
    """Where an object stands: its source, the offset and line (from 1) of its text, and where that text ends."""

    source: Source
    start: int = 0
    end: int = 0
    line: int = 1
    column: int = 0

    @property
    def file(self) -> str:
        return self.source.file

    def line_of(self, path: Path) -> int:
        """The line of the field at `path`, or of the deepest part of it that exists."""
        if not self.source.text:
            return self.line
        try:
            if self.source.json:
                return self._json_line(path)
            return self.line + _yaml_line(" " * self.column + self.source.text[self.start : self.end], path)
        except (yaml.YAMLError, ValueError, IndexError, StopIteration):
            return self.line

    def _json_line(self, path: Path) -> int:
        text, at = self.source.text, self.start
        for key in path:
            found = next((value for name, value in json_members(text, at) if name == key), None)
            if found is None:
                break
            at = found
        return self.line + text.count("\n", self.start, at)


UNKNOWN = Origin(Source("", ""))


@dataclass(frozen=True, eq=False)
class Item(Origin):
    """An item of a List: its position is found in the whole list's text, once, when asked for."""

    whole: Origin = None  # type: ignore[assignment]
    path: Path = ()

    def line_of(self, path: Path) -> int:
        return _index(self.whole)[self.path[-1]].line_of(path)


_indexes: dict[int, tuple[Origin, list[Origin]]] = {}


def _index(whole: Origin) -> list[Origin]:
    """Where each item of a List begins. One pass over the text, kept for the last list asked about."""
    if id(whole) in _indexes:
        return _indexes[id(whole)][1]
    source = whole.source
    if source.json:
        start = next(value for key, value in json_members(source.text, whole.start) if key == "items")
        starts, line, last = [], whole.line, whole.start
        for _, at in json_members(source.text, start):
            line, last = line + source.text.count("\n", last, at), at
            starts.append(Origin(source, at, at, line))
    else:
        starts = _yaml_items(whole)
    _indexes.clear()
    _indexes[id(whole)] = (whole, starts)
    return starts


_SPACE = re.compile(r"[ \t\r\n]*")


def json_members(text: str, at: int) -> Iterator[tuple[str | int, int]]:
    """(key or index, offset of the value) of the JSON object or array at `at`, without building what it skips over."""
    at = _SPACE.match(text, at).end()
    decoder, opening = json.JSONDecoder(), text[at]
    if opening not in "{[":
        return
    index, at = 0, _SPACE.match(text, at + 1).end()
    while text[at] not in "}]":
        key: str | int = index
        if opening == "{":
            key, at = decoder.raw_decode(text, at)
            at = _SPACE.match(text, _SPACE.match(text, at).end() + 1).end()
        yield key, at
        _, at = decoder.raw_decode(text, at)
        at = _SPACE.match(text, at).end()
        if text[at] == ",":
            at = _SPACE.match(text, at + 1).end()
        index += 1


def _walk(text: str) -> Iterator[tuple[list[str | int], int, int, int]]:
    """(path, line from 0, offset, column) of every value in the first document of `text`, in order."""
    loader, path, expecting_key = yaml.CSafeLoader(text), [], []
    for event in iter(loader.get_event, None):
        kind = type(event)
        if kind in (yaml.MappingEndEvent, yaml.SequenceEndEvent):
            expecting_key.pop()
            path.pop()
            if not expecting_key:
                return
        elif kind in (yaml.ScalarEvent, yaml.AliasEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent):
            mark, is_key = event.start_mark, bool(expecting_key) and expecting_key[-1] is True
            if is_key:
                path[-1] = getattr(event, "value", "")
                expecting_key[-1] = False
            elif expecting_key:
                if isinstance(path[-1], int):
                    path[-1] += 1
                else:
                    expecting_key[-1] = True
            yield path, mark.line, mark.index, mark.column
            if kind is yaml.MappingStartEvent:
                path.append("")
                expecting_key.append(True)
            elif kind is yaml.SequenceStartEvent:
                path.append(-1)
                expecting_key.append(None)
            elif not expecting_key:
                return


def _yaml_line(text: str, path: Path) -> int:
    """Line (from 0) in `text` of `path` or of its deepest part that exists; a field's line is its key's."""
    best, depth, wanted = 0, 0, list(path)
    for at, line, _, _ in _walk(text):
        if len(at) > depth and at[: depth + 1] == wanted[: depth + 1]:
            best, depth = line, depth + 1
            if depth == len(wanted):
                break
    return best


def _yaml_items(whole: Origin) -> list[Origin]:
    source = whole.source
    text, starts = " " * whole.column + source.text[whole.start : whole.end], []
    for at, line, offset, column in _walk(text):
        if len(at) == 2 and at[0] == "items" and len(starts) == at[1]:
            starts.append((whole.start + offset - whole.column, whole.line + line, column))
    ends: Sequence[int] = [start for start, _, _ in starts[1:]] + [whole.end]
    return [Origin(source, start, end, line, column) for (start, line, column), end in zip(starts, ends, strict=True)]
