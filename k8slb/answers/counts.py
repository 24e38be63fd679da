"""Counts as people have them: as `sort | uniq -c`, a CSV, kubectl or k8slb print them, or a name a line on arrival."""

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import InputError, shown, whole
from ..manifests import read_bounded, table_of, text_of
from ..positions import Source

MAX_TEXT, MAX_LINE, MAX_NAMES, MAX_COUNT = 50_000_000, 10_000, 100_000, 10**15
NUMBER = r"[-+]?\d[\d,_']*(?:\.\d*)?(?:[eE][-+]?\d+)?"  # what is meant as one; an address is none
WHOLE = re.compile(r"\d{1,16}|\d{1,3}(?:[,_']\d{3}){1,5}")
COLUMNS = table_of("fingerprints")["columns"]  # what columns of counts, of names and of nodes are called


class Counts(NamedTuple):
    """Requests by name; the `nodes` of the names, where told; the names in `order` of arrival, where known."""

    counts: Mapping[str, int]
    nodes: Mapping[str, str] = MappingProxyType({})
    order: Sequence[str] = ()
    warnings: tuple[str, ...] = ()


def counts_of(what: Any) -> Counts:
    """What stands in a text (or Source, or the file at a Path); a mapping {name: count} or a list of names as well.
    InputError with FILE:LINE for what cannot be read, and where nothing was counted."""
    file = os.fspath(what) if isinstance(what, os.PathLike) else "<text>"
    if isinstance(what, os.PathLike):
        try:
            with Path(file).open("rb") as opened:
                what = text_of(read_bounded(opened, MAX_TEXT), file)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be read: {getattr(error, 'strerror', error)}", file=file) from None
    if isinstance(what, Mapping):
        found = Counts({str(k): whole(n, f"the count of {shown(k)}", 0, MAX_COUNT) for k, n in what.items()})
    elif isinstance(what, (str, Source)):
        source = what if isinstance(what, Source) else Source(file, what)
        if len(source.text) > MAX_TEXT:
            raise InputError("is too much", expected=f"at most {MAX_TEXT:,} characters", file=source.file)
        found = _json(source) or _lines(source)
    else:
        found = _arrived(list(map(str, what)))
    if len(found.counts) > MAX_NAMES:
        raise InputError(f"{len(found.counts):,} names are too many", expected=f"at most {MAX_NAMES:,}")
    if not sum(found.counts.values()):
        raise InputError("nothing was counted", expected="counts of requests, such as: sort access.log | uniq -c")
    return found


def _arrived(names: Sequence[str]) -> Counts:
    counts = Counter(names)
    unlike = "no name comes twice: is each line the name of a pod?"
    return Counts(counts, order=names, warnings=(unlike,) * (len(counts) == len(names) > 5))


def _json(source: Source) -> Counts | None:
    """{"pod-a": 3}, a list of names, or what k8slb prints with -o json; None for what is no JSON."""
    if (first := source.text.lstrip()[:1]) not in ("{", "["):
        return None
    try:
        read = json.loads(source.text)
    except (ValueError, RecursionError) as error:
        if first == "[":  # an IPv6 address begins so too
            return None
        line = getattr(error, "lineno", None)
        raise InputError("is no JSON", expected='{"pod-a": 3}', file=source.file, line=line) from None
    if isinstance(read, dict):
        picks = read.get("picks")
        read = [name for name in picks if name] if isinstance(picks, list) else read.get("counts", read)
    if isinstance(read, list) and all(isinstance(name, str) for name in read):
        return _arrived(read)
    if isinstance(read, dict) and all(type(n) is int and 0 <= n <= MAX_COUNT for n in read.values()):
        return Counts(read)
    raise InputError("holds no counts", expected='{"pod-a": 3}, whole numbers, or a list of names', file=source.file)


def _lines(source: Source) -> Counts:
    lines = [(i, x) for i, x in enumerate(re.split(r"\r\n?|\n", source.text), 1) if x.strip(" \t-=+|")]
    if long := [i for i, line in lines if len(line) > MAX_LINE]:
        raise InputError("is too long", expected=f"{MAX_LINE:,} characters", file=source.file, line=long[0])
    table = _table([line for _, line in lines])
    headed = (
        len(table) > 1
        and len(table[0]) == len(table[1])
        and not any(map(_numeric, table[0]))
        and any(map(_numeric, table[1]))
    )
    columns = dict(enumerate(zip_longest(*table, fillvalue="")))
    numbers = [c for c, cells in columns.items() if 2 * sum(map(_numeric, cells)) >= len(cells)]
    if not numbers:
        return _arrived([line.strip() for _, line in lines])
    called = {k: [c for c, x in columns.items() if headed and x[0].strip().lower() in v] for k, v in COLUMNS.items()}
    if len(numbers) > 1 and not called["count"]:
        expected = "a column named count, requests, hits or total"
        raise InputError(f"{len(numbers)} columns hold numbers", expected=expected, file=source.file, line=lines[0][0])
    others = [c for c in columns if c not in numbers]
    count, name = (called["count"] or numbers)[0], next(iter(called["name"] + others), None)
    node = next(iter(called["node"] + others[1 : 2 * (len(columns) == 3 and not headed)]), None)
    counts, nodes, warnings = Counter[str](), {}, {}
    for row, (line, _) in list(enumerate(lines))[headed:]:
        label = f"#{row + 1}" if name is None else columns[name][row].strip().rstrip(":")
        requests = _whole(columns[count][row].strip(), source.file, line)
        place = columns[node][row].strip() if node is not None else ""
        if not label or (label == "total" and requests == sum(counts.values())):  # curl; echo, and wc -l
            warnings[f"left out {requests:,} at {source.file}:{line}: {label or 'there is no name'}"] = None
            continue
        if label in counts:
            warnings["names that stand twice were added up (uniq -c needs sort before it)"] = None
        counts[label] += requests
        if place and nodes.setdefault(label, place) != place:
            raise InputError(f"{shown(label)} is on two nodes", expected="one", file=source.file, line=line)
    return Counts(counts, nodes, warnings=tuple(warnings))


def _table(lines: Sequence[str]) -> list[list[str]]:
    """The lines in cells: as uniq -c has them, by tab, comma or semicolon, or in columns."""
    uniq = [re.fullmatch(rf"\s*({NUMBER})(?: +(.*))?", line) for line in lines]
    if all(uniq):
        texts = [(found[2] or "").strip() for found in uniq]
        words = [text.split() for text in texts]  # a name, or a name and its node, unless a text of two words
        placed = all(len(w) == 2 for w in words) and len({w[0] for w in words}) == len(words) > 1
        return [[x[1], *(w if placed else filter(None, [t]))] for x, w, t in zip(uniq, words, texts, strict=True)]
    for mark in "\t,;":
        if all(mark in line for line in lines):
            return [next(csv.reader([line], delimiter=mark, skipinitialspace=True)) for line in lines]
    for gap in (r"\s{2,}|\t", r"\s+"):
        cells = [re.split(gap, line.strip()) for line in lines]
        if len({len(row) for row in cells}) == 1 < len(cells[0]):
            return cells
    return [line.strip().rsplit(None, 1) for line in lines]


def _numeric(cell: str) -> bool:
    return bool(re.fullmatch(NUMBER, cell.strip()))


def _whole(text: str, file: str, line: int) -> int:
    if not WHOLE.fullmatch(text) or (count := int(re.sub("[,_']", "", text))) > MAX_COUNT:
        raise InputError(f"{shown(text)} is no count", expected="a whole number, 0 or more", file=file, line=line)
    return count
