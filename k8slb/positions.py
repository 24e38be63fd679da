"""Where things stand in a file, found when somebody asks.

No position is stored while reading: an `Origin` knows where an object's text begins and reads that text once more when
a message needs the line of a field. What was read so is kept for the objects that were asked about last.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from operator import attrgetter

import yaml

Path = tuple[str | int, ...]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML has it: a tenth of the time


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

    file = property(attrgetter("source.file"))
    place = property(lambda self: f"{self.file}:{self.line}")
    text = property(lambda self: " " * self.column + self.source.text[self.start : self.end])

    def line_of(self, path: Path) -> int:
        """The line of the field at `path`, or of the deepest part of it that exists."""
        if self.source.json:
            return self._json_line(path)
        lines = _yaml_lines(self)
        return self.line + next(lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines)

    def _json_line(self, path: Path) -> int:
        at = self.start
        for key in path:
            if (found := _members(self.source, at).get(key)) is None:
                break
            at = found
        return self.line + self.source.text.count("\n", self.start, at)


UNKNOWN = Origin(Source("", ""))


@dataclass(frozen=True, eq=False)
class Item(Origin):
    """An item of a List: its position is found in the whole list's text, once, when asked for."""

    whole: Origin = UNKNOWN
    index: int = 0

    def line_of(self, path: Path) -> int:
        return _items(self.whole)[self.index].line_of(path)


@lru_cache(maxsize=8)
def _items(whole: Origin) -> list[Origin]:
    """Where each item of a List begins. One pass over the text, kept for the last lists asked about."""
    source, text = whole.source, whole.source.text
    if not source.json:
        walked = _walk(whole.text)
        marks = [mark for at, mark in walked if len(at) == 2 and at[0] == "items"]
        starts = [whole.start + mark.index - whole.column for mark in marks]
        spans = zip(starts, [*starts[1:], whole.end], marks, strict=True)
        return [Origin(source, start, end, whole.line + mark.line, mark.column) for start, end, mark in spans]
    start = next(value for key, value in json_members(text, whole.start) if key == "items")
    found, line, last = [], whole.line, whole.start
    for _, at in json_members(text, start):
        line, last = line + text.count("\n", last, at), at
        found.append(Origin(source, at, at, line))
    return found


SPACE = re.compile(r"[ \t\r\n]*")


def json_members(text: str, at: int) -> Iterator[tuple[str | int, int]]:
    """(key or index, offset of the value) of the JSON object or array at `at`, without building what it skips over."""
    at = SPACE.match(text, at).end()
    decoder, opening = json.JSONDecoder(), text[at]
    if opening not in "{[":
        return
    at = SPACE.match(text, at + 1).end()
    for key in count():
        if text[at] in "}]":
            return
        if opening == "{":
            key, at = decoder.raw_decode(text, at)
            at = SPACE.match(text, SPACE.match(text, at).end() + 1).end()
        yield key, at
        _, at = decoder.raw_decode(text, at)
        at = SPACE.match(text, at).end()
        if text[at] == ",":
            at = SPACE.match(text, at + 1).end()


@lru_cache(maxsize=1024)
def _members(source: Source, at: int) -> dict[str | int, int]:
    return dict(json_members(source.text, at))


def _walk(text: str) -> Iterator[tuple[list[str | int | None], yaml.Mark]]:
    """(path, where) of every key and value in the first document of `text`, in order; a key has its value's path."""
    path: list[str | int | None] = []  # a step into each open collection; None where a key comes next
    for event in yaml.parse(text, LOADER):
        is_key = isinstance(event, yaml.NodeEvent) and bool(path) and path[-1] is None
        if isinstance(event, yaml.NodeEvent):
            if is_key:
                path[-1] = getattr(event, "value", "")
            elif path and isinstance(path[-1], int):
                path[-1] += 1
            yield path, event.start_mark
        elif isinstance(event, yaml.CollectionEndEvent):
            path.pop()
        elif isinstance(event, yaml.DocumentEndEvent):
            return
        if isinstance(event, yaml.CollectionStartEvent):
            path.append(None if isinstance(event, yaml.MappingStartEvent) else -1)
        elif path and isinstance(path[-1], str) and not is_key:
            path[-1] = None  # this key has its value


@lru_cache(maxsize=128)
def _yaml_lines(origin: Origin) -> dict[Path, int]:
    """Line (from 0, in the object's text) of every field, which is its key's, and of the object."""
    lines: dict[Path, int] = {(): 0}
    try:
        for path, mark in _walk(origin.text):
            lines.setdefault(tuple(path), mark.line)
    except yaml.YAMLError:
        pass  # what stands before is known
    return lines
