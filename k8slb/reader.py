"""Text in, plain values out.

Values come from the event stream of PyYAML (of libyaml, its C parser, where it has that) or the standard library's JSON
decoder: nothing is ever executed, and depth and the size of what aliases stand for are bounded while reading.

What `kubectl get` prints of a whole cluster, one List of half a gigabyte, is read an item at a time (`items`).
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from math import isfinite
from typing import Any

import yaml

from .errors import InputError, shown
from .positions import LOADER, SPACE, Item, Origin, Source

MAX_DEPTH = 100  # Kubernetes objects nest about 20 deep; thousands are an attack on the parser
MAX_ALIASED = 1_000_000  # values that the aliases of one file may stand for, counted as often as they are used
LARGE = 50_000_000  # of a text that is longer only what the model reads is kept; the rest is read again if need be
At = Callable[[int], object]  # is told the offset that reading has come to


@dataclass(frozen=True, eq=False)
class Document:
    """One value of a stream (a YAML document, or an item of a List) and where it stands."""

    value: Any
    origin: Origin
    raw: Mapping[str, Any] | None = None  # what is kept of the value, if not itself


class Again(Mapping[str, Any]):
    """A mapping of a large file: it is read once more when it is looked into, as most never are."""

    def __init__(self, origin: Origin):
        self._origin = origin

    def __getitem__(self, key: str) -> Any:
        return _again(self._origin)[key]

    def __iter__(self) -> Iterator[str]:
        return iter(_again(self._origin))

    def __len__(self) -> int:
        return len(_again(self._origin))

    def __bool__(self) -> bool:
        return True  # it names its kind

    def __repr__(self) -> str:
        return repr(_again(self._origin))


@lru_cache(maxsize=1024)
def _again(origin: Origin) -> dict[str, Any]:
    if origin.source.json:
        return _JSON.raw_decode(origin.source.text, origin.start)[0]
    (document,) = _Reader(origin.source).documents(origin.text)
    return document.value


def _item(value: Any, origin: Origin) -> Document:
    return Document(value, origin, Again(origin) if len(origin.source.text) > LARGE else None)


def read(source: Source, at: At = bool) -> Iterator[Document]:
    """Every document of `source`; InputError with file and line where it is not YAML or JSON."""
    source, start = _from_start(source)
    documents = _read_json(source, start) if source.text.startswith(("{", "["), start) else None
    yield from documents or _Reader(source, at).documents(source.text)


def _from_start(source: Source) -> tuple[Source, int]:
    """Without the byte order mark, and where the first word is."""
    text = source.text.removeprefix("\ufeff")
    return (replace(source, text=text) if text is not source.text else source), SPACE.match(text).end()


def _read_json(source: Source, at: int) -> list[Document] | None:
    """The JSON values one after the other; None: flow-style YAML, or the YAML reader names what is wrong."""
    text, found, line = source.text, [], source.text.count("\n", 0, at) + 1
    source = Source(source.file, text, json=True)
    try:
        while at < len(text):
            value, end = _JSON.raw_decode(text, at)
            found.append(Document(value, Origin(source, at, end, line)))
            after = SPACE.match(text, end).end()
            line, at = line + text.count("\n", at, after), after
    except (ValueError, RecursionError):
        return None
    return None if any(_deeper_than(one.value, MAX_DEPTH) for one in found) else found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice")
    return value


_JSON = json.JSONDecoder(object_pairs_hook=_once)


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
    place = {"source": origin.source, "end": origin.end, "line": origin.line, "whole": origin}
    kind, api = value["kind"].removesuffix("List"), value.get("apiVersion")
    told = {"apiVersion": api, "kind": kind} if kind and api else {}  # the API's own lists do not repeat it
    items = ({**told, **item} if isinstance(item, dict) else item for item in items)
    return [Document(item, Item(**place, index=i)) for i, item in enumerate(items)]


def items(source: Source, at: At = bool) -> Iterator[Document]:
    """Every document of `source`, and in place of a List its items, as `read` and `items_of` give them.

    A List that looks as kubectl prints it is cut into its items, each read for itself: as fast, and no more than one
    is in memory. That only holds where it is certain; where it is not, all is read as a whole and goes on from there.
    """
    (source, start), done = _from_start(source), 0
    try:
        for item in (_json_items if source.text.startswith("{", start) else _yaml_items)(source, start):
            yield item
            done += 1
    except _Unsure:
        yield from islice((i for document in read(source, at) for i in items_of(document)), done, None)


class _Unsure(Exception):
    """The text is not, or no longer, of the one form that is known."""


_FEW = r'\s*"(?:apiVersion|kind)"\s*:\s*"[\w./]*"\s*|\s*"metadata"\s*:\s*{\s*(?:"\w+"\s*:\s*"\w*"\s*)?}\s*'
_JSON_HEAD = re.compile(rf'{{(?:(?:{_FEW}),)*\s*"items"\s*:\s*\[\s*')
_JSON_TAIL = re.compile(rf"\](?:,(?:{_FEW}))*}}\s*")
_YAML_HEAD = re.compile(
    r"(?:---\n)?(?:(?:apiVersion|kind): [\w./]+\n|metadata:\n  resourceVersion: \"\w*\"\n)*items:\n( *)- "
)
_KEY = re.compile(r"\w+:[ \n]")  # so the item is a mapping in block style that begins here
_YAML_TAIL = re.compile(r"^[^\s#-]", re.MULTILINE)


def _is_list(documents: Any) -> bool:
    """Whether a List without its items, which is what comes before and after them, is one."""
    try:
        (value,) = (one.value for one in documents)
    except (InputError, ValueError, TypeError):
        return False
    return isinstance(value, dict) and value.get("kind") == "List"


def _json_items(source: Source, at: int) -> Iterator[Document]:
    text, head, end = source.text, _JSON_HEAD.match(source.text, at), source.text.rfind("]")
    tail = _JSON_TAIL.fullmatch(text, max(end, at))
    if not head or not tail or not _is_list(_read_json(Source("", head[0] + tail[0]), 0)):
        raise _Unsure
    source, line, at = Source(source.file, text, json=True), text.count("\n", 0, head.end()) + 1, head.end()
    while at < end:
        try:
            value, stop = _JSON.raw_decode(text, at)
        except (ValueError, RecursionError):
            raise _Unsure from None
        opened = text.count("{", at, stop) + text.count("[", at, stop)
        after = SPACE.match(text, stop).end()
        more, deep = text.startswith(",", after), opened > MAX_DEPTH and _deeper_than(value, MAX_DEPTH)
        if deep or not isinstance(value, dict) or more == (after == end):
            raise _Unsure
        yield _item(value, Origin(source, at, stop, line))
        after = SPACE.match(text, after + 1).end() if more else after
        line, at = line + text.count("\n", at, after), after
    if at != end:
        raise _Unsure


def _yaml_items(source: Source, at: int) -> Iterator[Document]:
    """Of a List in block style. A line that begins an item could only be the inside of a quoted text or of a flow
    collection (what else goes on there is indented deeper), and then what stands before it cannot be read alone."""
    text, head = source.text, _YAML_HEAD.match(source.text, at)
    if not head or text.find("\n---", head.end()) >= 0 or text.find("\n...", head.end()) >= 0:
        raise _Unsure
    first, dash, column = head.end(), f"\n{head[1]}- ", len(head[1]) + 2
    tail = _YAML_TAIL.search(text, max(first, text.rfind(dash, first)))
    end = tail.start() if tail else len(text)
    if not _is_list(_Reader(source).documents(text[: first - column] + text[end:])):
        raise _Unsure
    reader, at, line = _Reader(source), first, text.count("\n", 0, first) + 1
    while at < end:
        stop = text.find(dash, at, end) + 1 or end
        origin = Origin(source, at, stop, line, column)
        try:
            (found,) = reader.documents(origin.text)
        except (InputError, ValueError):
            raise _Unsure from None  # an error, or not all that belongs to it
        if not _KEY.match(text, at):
            raise _Unsure
        yield _item(found.value, origin)
        line, at = line + text.count("\n", at, stop), stop + column


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

    def __init__(self, source: Source, at: At = bool):
        self.source, self.at = source, at
        self.known: dict[str, Any] = {}  # plain scalars repeat a lot: true, TCP, node-a
        self.aliased = 0

    def documents(self, text: str) -> Iterator[Document]:
        self.text = text
        try:
            self.parser = LOADER(text)
            event = self.parser.get_event
            while not isinstance(current := event(), yaml.StreamEndEvent):
                if isinstance(current, yaml.DocumentStartEvent):
                    first = event()
                    begin, value, end = first.start_mark, self._value(first), event().start_mark
                    yield Document(value, Origin(self.source, begin.index, end.index, begin.line + 1, begin.column))
        except yaml.MarkedYAMLError as error:
            raise self._fail(error.problem_mark or error.context_mark, f"not YAML: {error.problem}") from None
        except (yaml.reader.ReaderError, UnicodeEncodeError):
            line = re.split(NO_TEXT, text, maxsplit=1)[0].count("\n") + 1
            problem = "holds a character that is not text, such as NUL"
            raise InputError(problem, expected="YAML or JSON", file=self.source.file, line=line) from None

    def _fail(self, mark: Any, problem: str, expected: str = "") -> InputError:
        around = "".join(self.text.split("\n")[max(0, mark.line - 1) : mark.line + 1])
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
        nodes = began = 0
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
                if len(stack) == 3:  # an item of a List
                    self.at(event.start_mark.index)
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
                self.aliased += size
                if self.aliased > MAX_ALIASED:
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
