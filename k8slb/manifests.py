"""YAML and JSON in, objects out; every complaint with file, line, field and what was expected.

`read_objects` takes what a person has: a bundled set's name, a file, a folder, text, or a list of these. It never
guesses: what is no manifest is skipped and named, what the API server would refuse is an `InputError`.
"""

import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

from .errors import InputError, Tell, printable, shown, silent, whole
from .objects import CLUSTER_SCOPED, KINDS, REMOVED_GROUPS, SUBDOMAIN, Invalid, Object, ObjectMeta, Other, decoder
from .positions import Source
from .reader import RENDER, Document, items

MAX_SIZE = 1_200_000_000  # bytes of all input together: 50,000 objects as kubectl prints them are 200 to 500 million
MAX_VALUES = 50_000_000  # what can be values in it, at up to 80 bytes each; those 50,000 objects have 15 to 25 million
_SIGNS = ("{", "[", ",", ":", "- ", "? ")  # nothing is a value without one of them before it, but a document
_HERE = Path(__file__).parent
DATA = next((d for d in (_HERE / "data", _HERE.parent / "data") if d.is_dir()), _HERE / "data")
# a set that needs another beside it: the shop as kubectl would apply it, and what only a model needs
BESIDE = {"shop": ("shop", "shop-model")}
# Kinds of Kubernetes' own groups that the model keeps aside; any other name there is a slip of the pen
CLOSED = {
    "": "Binding ComponentStatus ConfigMap Endpoints Event LimitRange List PersistentVolume PersistentVolumeClaim "
    "PodTemplate ReplicationController ResourceQuota ServiceAccount".split(),
    "apps": ["ControllerRevision"],
    "networking.k8s.io": ["IPAddress", "NetworkPolicy"],
    "discovery.k8s.io": [],
}
# What kubectl says in place of objects: a table for people, or why there is none
_SAYS = re.compile(r"\s*((NAMESPACE|LAST SEEN|NAME) +[A-Z]|[Ee]rror( from server.*)?: |No resources f|Unable to con)")
_NO_MANIFEST = re.compile(r"(kustomization|Chart|values.*)\.ya?ml|(.*\.schema|package(-lock)?)\.json")


def table_of(name: str) -> Any:
    """What stands in data/NAME.json."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Manifests:
    """What was read: `objects` in input order, and what a reader must know about the reading."""

    objects: tuple[Object, ...]
    warnings: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


def bundled() -> list[str]:
    """Names of the manifest sets that come with k8slb."""
    return sorted(p.name for p in (DATA / "manifests").glob("*") if p.is_dir())


def read_objects(
    what: str | os.PathLike | Source | Iterable, *, max_size: int = MAX_SIZE, progress: Tell = silent
) -> Manifests:
    """Every object of `what`. Raises InputError (file, line, field, expected). `progress` is told what is read."""
    skipped: list[str] = []
    warnings: list[str] = []
    objects: dict[tuple[str, str, str], Object] = {}
    budget = [whole(max_size, "max_size", 1, 2**40)]
    values = most = max(MAX_VALUES, max_size // 24)
    for source, strict in _sources(what, skipped, budget):

        def at(offset: int, source: Source = source) -> None:
            share = f"{len(objects):,} objects, {offset / max(1, len(source.text)):.0%}"
            progress(f"reading {source.file}: {share}" if offset else f"reading {source.file}")

        at(0)
        values -= sum(map(source.text.count, _SIGNS))
        if values < 0:
            expected = f"at most {most:,} fields and entries in all, unless --max-size or max_size= says otherwise"
            raise InputError("holds too many values", expected=expected, file=source.file)
        if strict and _SAYS.match(source.text):
            expected = "what kubectl get -o yaml or -o json prints"
            raise InputError("is a table or a complaint of kubectl, no objects", expected=expected, file=source.file)
        for item in items(source, at):
            at(item.origin.end)
            found = _object(item, strict, skipped)
            if found is None:
                continue
            earlier = objects.pop(found.key, None)
            if earlier is not None:
                both = f"{found.origin.place}: {found} stands also at {earlier.origin.place}"
                warnings.append(f"{both}; the last wins, as with repeated kubectl apply")
            objects[found.key] = found
    progress(f"{len(objects):,} objects read")
    if not objects:
        told = f" (skipped {', '.join(skipped[:6])})" if skipped else ""
        raise InputError(f"no Kubernetes object in the input{told}", expected="objects with apiVersion and kind")
    return Manifests(tuple(objects.values()), tuple(warnings), tuple(skipped))


def _sources(what: object, skipped: list[str], budget: list[int]) -> Iterator[tuple[Source, bool]]:
    """(source, strict) of everything asked for; `strict`: named by the reader, so a non-manifest in it is an error."""
    if isinstance(what, Source):
        _spend(len(what.text), what.file, budget)
        yield what, True
    elif isinstance(what, (str, os.PathLike)):
        text = os.fspath(what)
        path = Path(os.path.expanduser(text))
        if isinstance(what, str) and _looks_like_text(text):
            _spend(len(text), "<text>", budget)
            yield Source("<text>", text), True
        elif text in bundled():
            for name in BESIDE.get(text, (text,)):
                yield from _folder(DATA / "manifests" / name, skipped, budget, shown_as=name)
        elif text and os.path.isdir(path):
            yield from _folder(path, skipped, budget, shown_as=text.rstrip("/"))
        elif text and os.path.exists(path):
            yield _file(path, text, budget), True
        else:
            problem = f"{shown(text)} is neither a file, a folder nor a bundled set" if text else "got an empty text"
            raise InputError(problem, expected="a path, YAML text, or one of: " + ", ".join(bundled()))
    elif isinstance(what, Iterable) and not isinstance(what, bytes):
        for one in what:
            yield from _sources(one, skipped, budget)
    else:
        expected = "a path, a bundled set's name, YAML text, or a list of these"
        raise InputError(f"cannot load {shown(what)}", expected=expected)


def _looks_like_text(text: str) -> bool:
    return "\n" in text or text.lstrip().startswith(("{", "[", "apiVersion:", "kind:")) or ": " in text


def _folder(folder: Path, skipped: list[str], budget: list[int], shown_as: str) -> Iterator[tuple[Source, bool]]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            label = f"{shown_as}/{path.relative_to(folder)}".replace("\n", "\\x0a")
            if _NO_MANIFEST.fullmatch(name) or path.suffix not in (".yaml", ".yml", ".json"):
                skipped.append(f"{printable(label)}: no manifest")
            else:
                yield _file(path, label, budget), False


def _file(path: Path, label: str, budget: list[int]) -> Source:
    try:
        with path.open("rb") as file:
            raw = read_bounded(file, budget[0])
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=label) from None
    _spend(len(raw), label, budget)
    return Source(label.replace("\n", "\\x0a"), text_of(raw, label))  # a name cannot begin a line of ours


def read_bounded(file: BinaryIO, limit: int) -> bytes:
    """The bytes of `file`, and no more than one over the limit: a pipe or /dev/zero does not tell its size."""
    parts, left = [], limit + 1
    while left > 0 and (part := file.read(min(left, 2**24))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _spend(size: int, label: str, budget: list[int]) -> None:
    budget[0] -= size
    if budget[0] < 0:
        expected = f"at most {MAX_SIZE:,} bytes of input in all, unless --max-size or max_size= says otherwise"
        raise InputError("is more than the limit leaves", expected=expected, file=label)


def text_of(raw: bytes, label: str) -> str:
    """Bytes as text: UTF-8, or UTF-16 with its mark. InputError for anything else."""
    try:
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return raw.decode("utf-16")
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError("is not text", expected="YAML or JSON in UTF-8", file=label, line=line) from None


def _object(document: Document, strict: bool, skipped: list[str]) -> Object | None:
    raw, origin = document.value, document.origin
    if raw is None:
        return None
    missing = [name for name in ("kind", "apiVersion") if not isinstance(raw, dict) or name not in raw]
    if missing and not strict:
        skipped.append(f"{printable(origin.place)}: no manifest (no kind and apiVersion)")
        return None
    if not isinstance(raw, dict):
        problem, expected = f"is no Kubernetes object but {shown(raw)}", "a mapping with apiVersion and kind"
        raise InputError(problem, expected=expected, file=origin.file, line=origin.line)
    if missing:
        expected = "every object names its apiVersion and kind"
        raise InputError("is missing", expected=expected, file=origin.file, line=origin.line, field=missing[0])
    return decode_mapping(raw, document)


def decode_mapping(raw: dict, document: Document) -> Object:
    """The object that `raw` describes; a complaint names the line in `document`."""
    try:
        return _decoded(raw, document)
    except Invalid as error:
        expected = RENDER if "{{" in error.problem else error.expected
        line, problem = document.origin.line_of(error.path), f"{error.problem} (in {_who(raw)})"
        file, field = document.origin.file, dotted(error.path)
        raise InputError(problem, expected=expected, file=file, line=line, field=field) from None


def _who(raw: dict) -> str:
    metadata = raw["metadata"] if isinstance(raw.get("metadata"), dict) else {}
    name = metadata.get("name", "without a name")
    return f"{shown(raw['kind'], 40).strip(chr(34))} {shown(name).strip(chr(34))}"


def dotted(path: tuple[str | int, ...]) -> str:
    """("spec", "ports", 0, "port") as spec.ports[0].port."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")


def _decoded(raw: dict, document: Document) -> Object:
    for name in ("kind", "apiVersion"):
        if not isinstance(raw[name], str) or not raw[name]:
            raise Invalid(f"must be text, not {shown(raw[name])}", "text", (name,))
    kind, api = raw["kind"], raw["apiVersion"]
    group, _, version = api.rpartition("/")
    served, cls = KINDS.get((group, kind), ("", Other))
    if cls is not Other and version not in served.split():
        right = " or ".join(f"{group}/{v}".lstrip("/") for v in served.split())
        raise Invalid(f"{shown(api)} is not served for {kind}", right, ("apiVersion",))
    if kind in REMOVED_GROUPS.get(group, ()):
        right = next(f"{g}/{v}" for (g, k), (v, _) in KINDS.items() if k == kind)
        raise Invalid(f"{shown(api)} is no longer served for {kind} (since Kubernetes 1.22)", right, ("apiVersion",))
    if cls is Other and group in CLOSED and kind not in CLOSED[group]:
        near = difflib.get_close_matches(kind, [*CLOSED[group], *(k for g, k in KINDS if g == group)], 1)
        raise Invalid(f"{shown(api)} has no kind {shown(kind)}", near[0] if near else "a kind it serves", ("kind",))
    found = decoder(cls)(raw)
    name = found.metadata.name or _unnamed(found, cls, group, document.origin.place)
    namespace = found.metadata.namespace or ("" if kind in CLUSTER_SCOPED else "default")
    if not name:
        raise Invalid("is missing", "every object has a name", ("metadata", "name"))
    if len(name) > 253 or not name.isprintable() or "/" in name or " " in name:
        raise Invalid(f"{shown(name)} is not a name", "lower-case letters, digits, - and .", ("metadata", "name"))
    if namespace and not (len(namespace) <= 63 and re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", namespace)):
        expected = "at most 63 lower-case letters, digits and -"
        raise Invalid(f"{shown(namespace)} is not a namespace", expected, ("metadata", "namespace"))
    metadata = replace(found.metadata, name=name, namespace=namespace)
    if cls is not Other:
        _check_name(kind, metadata)
    kept = raw if document.raw is None else document.raw
    return replace(found, metadata=metadata, raw=kept, origin=document.origin)


def _unnamed(found: Object, cls: type[Object], group: str, place: str) -> str:
    """What an object without metadata.name is called, if it may be without."""
    if base := found.metadata.generateName:  # the API server appends five random characters, we the same five each time
        return f"{base[:58]}{crc32(place.encode()):08x}"[: len(base[:58]) + 5]
    # a program's configuration, such as kubeadm's or kind's, which no API server keeps
    return "kube-proxy" if found.kind == "KubeProxyConfiguration" else "config" * (cls is Other and group not in CLOSED)


_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def _check_name(kind: str, metadata: ObjectMeta) -> None:
    name, label = metadata.name, kind in ("Service", "Namespace")
    if not re.fullmatch(SUBDOMAIN, name) or (label and ("." in name or len(name) > 63)):
        raise Invalid(f"{shown(name)} is not a valid name", "lower-case letters, digits and -", ("metadata", "name"))
    for key, text in metadata.labels.items():
        if len(text) > 63 or not _LABEL_VALUE.fullmatch(text):
            expected = "at most 63 letters, digits, - _ ."
            raise Invalid(f"{shown(text)} is not a label value", expected, ("metadata", "labels", key))
