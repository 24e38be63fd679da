"""Text in, plain values out.

Values come from libyaml's event stream (PyYAML's C parser) or the standard library's JSON decoder: nothing is ever
executed, and depth and the size of what aliases stand for are bounded while reading.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import yaml

from .errors import InputError, shown
from .positions import Item, Origin, Source

MAX_DEPTH = 100  # Kubernetes objects nest about 20 deep; thousands are an attack on the parser
MAX_ALIASED = 1_000_000  # values that the aliases of one document may stand for, counted as often as they are used


@dataclass(frozen=True, eq=False)
class Document:
    """One value of a stream (a YAML document, or an item of a List) and where it stands."""

    value: Any
    origin: Origin


def read(source: Source) -> Iterator[Document]:
    """Every document of `source`; InputError with file and line where it is not YAML or JSON."""
    start = len(source.text) - len(source.text.lstrip("\ufeff \t\r\n"))
    document = _read_json(source, start) if source.text.startswith(("{", "["), start) else None
    if document:
        yield document
    else:
        yield from _Reader(source).documents()


def _read_json(source: Source, start: int) -> Document | None:
    try:
        value = json.loads(source.text[start:], object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None  # flow-style YAML, or several JSON documents: the YAML reader takes it, or names what is wrong
    if _deeper_than(value, MAX_DEPTH):
        return None
    json_source = Source(source.file, source.text, json=True)
    return Document(value, Origin(json_source, start, len(source.text), source.text.count("\n", 0, start) + 1))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice")
    return value


def _deeper_than(value: Any, limit: int) -> bool:
    level, depth = [value], 0
    while level:
        if depth > limit:
            return True
        nested = (v.values() if isinstance(v, dict) else v for v in level if isinstance(v, (dict, list)))
        level, depth = [v for values in nested for v in values if isinstance(v, (dict, list))], depth + 1
    return False


def items_of(document: Document) -> list[Document]:
    """The items of a ``kind: List`` (or ``ServiceList`` and the like), each with its own origin; else the document."""
    value, origin = document.value, document.origin
    if not (isinstance(value, dict) and str(value.get("kind", "")).endswith("List") and "items" in value):
        return [document]
    items = value["items"]
    if items is None:
        return []
    if not isinstance(items, list):
        line = origin.line_of(("items",))
        raise InputError(f"must be a list, not {shown(items)}", file=origin.file, line=line, field="items")
    place = {"source": origin.source, "line": origin.line, "whole": origin}
    return [Document(item, Item(**place, index=i)) for i, item in enumerate(items)]


# YAML 1.1 as sigs.k8s.io/yaml (kubectl, the API server) resolves a plain scalar
_WORDS: dict[str, Any] = {"": None, "~": None} | {w: None for w in ("null", "Null", "NULL")}
_WORDS |= {w: True for w in ("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y")}
_WORDS |= {w: False for w in ("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N")}
RENDER = "plain YAML: render it first: helm template"
NO_TEXT = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\U0010ffff]"  # YAML 1.1's printable characters; long to compile
_INT = re.compile(r"[-+]?(0_*|[1-9][0-9_]*|0b_*[01][01_]*|0x_*[0-9a-fA-F][0-9a-fA-F_]*|0o?_*[0-7][0-7_]*)$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_SPECIAL = {".nan": float("nan")} | {s + ".inf": float(s + "inf") for s in ("", "+", "-")}


def resolve(text: str) -> Any:
    """The value of a plain (unquoted) scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.match(text) and len(text) < 400:
        return int(re.sub(r"^([-+]?0)(?=[0-7])", r"\1o", text.replace("_", "")), 0)  # 017 is 0o17
    if _FLOAT.match(text):
        return float(text) if isfinite(float(text)) else text  # Go's parser refuses 123e4567: it stays text
    return _SPECIAL.get(text.lower(), text)


class _Reader:
    """Builds values from libyaml's events: no recursion, bounded depth, no object but dict, list and scalars."""

    def __init__(self, source: Source):
        self.source = source
        self.known: dict[str, Any] = {}  # plain scalars repeat a lot: true, TCP, node-a

    def documents(self) -> Iterator[Document]:
        try:
            self.parser = yaml.CSafeLoader(self.source.text)
            event = self.parser.get_event
            while not isinstance(current := event(), yaml.StreamEndEvent):
                if isinstance(current, yaml.DocumentStartEvent):
                    first = event()
                    begin, value, end = first.start_mark, self._value(first), event().start_mark
                    yield Document(value, Origin(self.source, begin.index, end.index, begin.line + 1, begin.column))
        except yaml.MarkedYAMLError as error:
            raise self._fail(error.problem_mark or error.context_mark, f"not YAML: {error.problem}") from None
        except (yaml.reader.ReaderError, UnicodeEncodeError):
            line = re.split(NO_TEXT, self.source.text, maxsplit=1)[0].count("\n") + 1
            problem = "holds a character that is not text, such as NUL"
            raise InputError(problem, expected="YAML or JSON", file=self.source.file, line=line) from None

    def _fail(self, mark: Any, problem: str, expected: str = "") -> InputError:
        around = "".join(self.source.text.split("\n")[max(0, mark.line - 1) : mark.line + 1])
        if "{{" in around or "{%" in around:
            problem, expected = "holds template braces, so it is no manifest yet", RENDER
        return InputError(problem, expected=expected, file=self.source.file, line=mark.line + 1)

    def _value(self, event: Any) -> Any:
        """The value that starts with `event`, read iteratively: `stack` holds the open collections."""
        parser, known = self.parser.get_event, self.known
        scalar_type, mapping_type, sequence_type = yaml.ScalarEvent, yaml.MappingStartEvent, yaml.SequenceStartEvent
        anchors: dict[str, tuple[Any, int]] = {}
        stack: list[tuple[Any, Any, str | None, int]] = []
        missing = object()
        into: Any = None  # the collection being filled
        waiting: Any = missing  # the key whose value comes next, if `into` is a mapping
        anchor: str | None = None
        nodes = aliased = began = 0
        while True:
            kind = type(event)
            nodes += 1
            if kind is scalar_type:
                text = event.value
                if event.implicit[0]:
                    value = known.get(text, missing)
                    if value is missing:
                        value = known[text] = resolve(text)
                elif event.tag is None or event.implicit[1]:
                    value = text
                else:
                    value = self._tagged(event)
                if event.anchor is not None:
                    anchors[event.anchor] = (value, 1)
            elif kind is mapping_type or kind is sequence_type:
                if waiting is missing and type(into) is dict:
                    raise self._fail(event.start_mark, "a mapping or list as a key", "a text key")
                if event.tag not in (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
                    raise self._fail(event.start_mark, f"the tag {shown(event.tag)} is not Kubernetes YAML")
                stack.append((into, waiting, anchor, began))
                if len(stack) > MAX_DEPTH:
                    raise self._fail(event.start_mark, "nested too deep", f"at most {MAX_DEPTH} levels")
                into, waiting = ({} if kind is mapping_type else []), missing
                anchor, began = event.anchor, nodes
                event = parser()
                continue
            elif kind is yaml.AliasEvent:
                if event.anchor not in anchors:
                    raise self._fail(event.start_mark, f"the alias *{shown(event.anchor)} names no anchor")
                value, size = anchors[event.anchor]
                nodes += size
                aliased += size
                if aliased > MAX_ALIASED:
                    most = f"at most {MAX_ALIASED:,} values"
                    raise self._fail(event.start_mark, "the aliases expand to too much", most)
            else:  # the end of a mapping or list
                value = into
                if type(value) is dict and "<<" in value:
                    value = self._merged(value, event.start_mark)
                if anchor is not None:
                    anchors[anchor] = (value, nodes - began)
                into, waiting, anchor, began = stack.pop()
            if into is None:
                return value
            if type(into) is list:
                into.append(value)
            elif waiting is missing:
                if value is None or isinstance(value, (bool, int, float)):
                    value = "null" if value is None else json.dumps(value)  # as YAML keys become JSON names
                elif not isinstance(value, str):
                    raise self._fail(event.start_mark, "a mapping or list as a key", "a text key")
                if value in into:
                    raise self._fail(event.start_mark, f"the key {shown(value)} stands twice", "each key once")
                waiting = value
            else:
                into[waiting] = value
                waiting = missing
            event = parser()

    def _tagged(self, event: Any) -> Any:
        tag = event.tag.removeprefix("tag:yaml.org,2002:")
        if tag in ("str", "!", "binary", "timestamp"):
            return event.value
        if tag in ("int", "float", "bool", "null"):
            return resolve(event.value)
        raise self._fail(event.start_mark, f"the tag {shown(event.tag)} is not Kubernetes YAML")

    def _merged(self, value: dict, mark: Any) -> dict:
        sources = value.pop("<<")
        merged: dict[str, Any] = {}
        for source in reversed(sources if isinstance(sources, list) else [sources]):
            if not isinstance(source, dict):
                raise self._fail(mark, f"<< merges a mapping, not {shown(source)}")
            merged |= source
        return merged | value
