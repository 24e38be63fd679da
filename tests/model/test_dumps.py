"""Dumps of whole clusters, as kubectl prints them: read item by item, and never otherwise than as a whole."""

# ruff: noqa: E501 (tables: a case a line)

import importlib.util
import io
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import k8slb
from k8slb import manifests, reader
from k8slb.positions import Source
from k8slb.reader import items_of, read
from k8slb.terminal import Progress

_spec = importlib.util.spec_from_file_location("dump", Path(__file__).parents[1] / "bench" / "dump.py")
dump = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(dump)
URL = "http://app-1.team-1/x"


@pytest.fixture(scope="module")
def dumps(tmp_path_factory):
    """The same 170 objects as JSON and as YAML."""
    return dump.write(tmp_path_factory.mktemp("dump"), 0.001)


def told(documents):
    """What was read, as text, until the first error and with it."""
    found = []
    try:
        for one in documents:
            paths = [(), ("kind",), ("metadata", "name"), ("spec", "ports", 0, "port"), ("a",)]
            lines = [one.origin.line_of(p) for p in paths]
            found.append((repr(one.value), lines if isinstance(one.value, dict) else 0))
    except k8slb.InputError as error:
        return found, (error.line, error.problem)
    return found, None


def as_a_whole(text):
    return told(one for document in read(Source("x", text)) for one in items_of(document))


def by_items(text):
    """The same item by item, and how many were really read so."""
    source, alone = Source("x", text), 0
    found, error = told(reader.items(source))
    try:
        source, start = reader._from_start(source)
        for _ in (reader._json_items if source.text.startswith("{", start) else reader._yaml_items)(source, start):
            alone += 1
    except reader._Unsure:
        pass
    return found, error, alone


def alike(text, at_least=0):
    (whole, problem), (found, error, alone) = as_a_whole(text), by_items(text)
    assert error == problem, text
    # an error in a List read as a whole comes before its first item
    assert found == whole or (problem and found[: len(whole)] == whole), text
    assert alone >= at_least, text


def test_a_dump_is_read_item_by_item_with_the_lines_of_the_whole(dumps):
    values = [json.loads(dumps[0].read_text())["items"], []]
    for path in dumps:
        text = path.read_text()
        alike(text, len(values[0]))
        lines = text.splitlines()
        for one in reader.items(Source("x", text)):
            key = one.origin.line_of(("metadata", "uid"))
            assert f"{one.value['metadata']['uid']}" in lines[key - 1]
            assert one.value == values[0][len(values[1])]
            values[1].append(one.value)
        values[1].clear()


A, B = (
    "apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a}\n",
    "apiVersion: v1\n  kind: Secret\n  metadata: {name: b}\n",
)
TAIL = 'kind: List\nmetadata:\n  resourceVersion: ""\n'
LISTS = {
    "as kubectl prints it": (f"apiVersion: v1\nitems:\n- {A}- {B}{TAIL}", 2),
    "kind first, indented": (f"apiVersion: v1\nkind: List\nitems:\n  - {A.replace('  ', '    ')}  - kind: B\n    a: 1\n", 2),
    "a line inside a quoted text": (f'apiVersion: v1\nitems:\n- {A}  a: "x\n- apiVersion: v1\n  b"\n- {B}{TAIL}', 0),
    "in single quotes": (f"apiVersion: v1\nitems:\n- {A}  a: 'x\n- kind: 'b'\n  b'\n- {B}{TAIL}", 0),
    "inside a flow list": (f"apiVersion: v1\nitems:\n- {A}  a: [x\n- b: c,\n 3]\n- {B}{TAIL}", 0),
    "inside a block text": (f"apiVersion: v1\nitems:\n- {A}  a: |\n   - kind: x\n\n   - y\n- {B}{TAIL}", 2),
    "a block text with an indent of its own": (f"apiVersion: v1\nitems:\n- {A}  a: |1\n   - kind: x\n- {B}{TAIL}", 2),
    "a folded text at the end": (f"apiVersion: v1\nitems:\n- {A}  a: x\n   - kind y\n- {B}{TAIL}", 2),
    "comments": (f"apiVersion: v1\nitems:\n- {A}# - kind: x\n#\n- {B}# y\n{TAIL}# z\n", 2),
    "an alias of another item": (f"apiVersion: v1\nitems:\n- {A}  a: &x [1]\n- {B}  b: *x\n{TAIL}", 1),
    "an alias of its own": (f"apiVersion: v1\nitems:\n- {A}  a: &x [1]\n  b: *x\n- {B}{TAIL}", 2),
    "a dash alone": (f"apiVersion: v1\nitems:\n- {A}-\n  {B}- {B}{TAIL}", 0),
    "a dash and a tab": (f"apiVersion: v1\nitems:\n- {A}-\t{B}{TAIL}", 0),
    "a list in the list": (f"apiVersion: v1\nitems:\n- {A}- - a: b\n- {B}{TAIL}", 1),
    "an item without value": (f"apiVersion: v1\nitems:\n- {A}- \n- {B}{TAIL}", 1),
    "an anchor, then the top": (f"apiVersion: v1\nitems:\n- {A}- &x\na: b\n- {B}{TAIL}", 0),
    "an item in flow style": (f"apiVersion: v1\nitems:\n- {A}- {{a: b}}\n- {B}{TAIL}", 1),
    "a document after it": (f"apiVersion: v1\nitems:\n- {A}{TAIL}---\nkind: a\n", 0),
    "a document that ends": (f"apiVersion: v1\nitems:\n- {A}...\n- {B}{TAIL}", 0),
    "items twice": (f"apiVersion: v1\nitems:\n- {A}{TAIL}items:\n- {B}", 0),
    "kind twice": (f"apiVersion: v1\nkind: List\nitems:\n- {A}{TAIL}", 0),
    "a key twice in an item": (f"apiVersion: v1\nitems:\n- {A}  kind: x\n- {B}{TAIL}", 0),
    "no List": (f"apiVersion: v1\nitems:\n- {A}- {B}kind: Box\n", 0),
    "no kind": (f"apiVersion: v1\nitems:\n- {A}- {B}", 0),
    "cut off": (f"apiVersion: v1\nitems:\n- {A}- {B[:30]}", 0),
    "cut off in a text": (f"apiVersion: v1\nitems:\n- {A}- {B}  a: 'x\n{TAIL}", 0),
    "cut off in the head": ('apiVersion: v1\nmetadata: "\nitems:\n- a: b\n" \nkind: List\n', 0),
    "line ends of Windows": (f"apiVersion: v1\nitems:\n- {A}- {B}{TAIL}".replace("\n", "\r\n"), 0),
    "a byte order mark": (f"\ufeffapiVersion: v1\nitems:\n- {A}- {B}{TAIL}", 2),
    "indented as a whole": (f"  apiVersion: v1\nitems:\n- {A}- {B}{TAIL}", 0),
    "NUL": (f"apiVersion: v1\nitems:\n- {A}- {B}  a: \0\n{TAIL}", 0),
    "JSON": ('{"apiVersion": "v1", "items": [ {"kind": "a"}, {"kind": "b"} ], "kind": "List"}\n', 2),
    "JSON, kind first": ('{"kind":"List",\n"items":[\n{"kind":"]}"},\n{"kind":"b"}]}', 2),
    "JSON, no List": ('{"items": [{"kind": "a"}], "kind": "Box"}', 0),
    "JSON, items twice": ('{"items": [{"kind": "a"}], "kind": "List", "items": [{"kind": "b"}]}', 0),
    "JSON, kind twice": ('{"kind": "List", "items": [{"kind": "a"}], "kind": "List"}', 0),
    "JSON, a key twice": ('{"kind": "List", "items": [{"kind": "a"},\n {"kind": "b", "kind": "c"}]}', 0),
    "JSON, a comma too many": ('{"kind": "List", "items": [{"kind": "a"},\n{"kind": "b"},\n]}', 2),
    "JSON, a comma too few": ('{"kind": "List", "items": [{"kind": "a"}\n{"kind": "b"}]}', 0),
    "JSON, null and a list": ('{"kind": "List", "items": [{"kind": "a"}, null, [{"kind": "b"}]]}', 1),
    "JSON, cut off": ('{"kind": "List", "items": [{"kind": "a"},\n{"kind": "b"', 0),
    "JSON, then YAML": ('{"kind": "List", "items": [{"kind": "a"}, {"kind": b}]}', 1),
    "JSON, two after each other": ('{"kind": "List", "items": [{"kind": "a"}]}\n{"kind": "List", "items": [{"kind": "b"}]}', 0),
    "JSON, nothing in it": ('{"apiVersion": "v1", "items": [], "kind": "List"}', 0),
}  # fmt: skip


@pytest.mark.parametrize(("text", "alone"), LISTS.values(), ids=LISTS)
def test_what_looks_like_a_dump_is_read_as_it_would_be_as_a_whole(text, alone):
    alike(text, alone)


def test_dumps_with_mistakes_are_read_as_they_would_be_as_a_whole(dumps):
    """Characters, lines and blocks of two dumps changed at random."""
    rng, alone = random.Random(7), 0
    for path in dumps:
        found = [one.origin for one in reader.items(Source("x", path.read_text()))]
        text = path.read_text()
        head, tail = text[: found[0].start], text[text.rindex("]" if path.suffix == ".json" else "kind: List") :]
        joint = ",\n        " if path.suffix == ".json" else "- "
        for _ in range(300):
            some = [o.source.text[o.start : o.end] for o in rng.sample(found, 3)]
            changed = list(head + joint.join(some) + tail)
            for _ in range(rng.choice([1, 1, 2, 4])):
                i = rng.randrange(len(head) // 2, len(changed))
                new = rng.choice(
                    ["'", '"', "\n- ", "\n-", "\n", " ", "[", "]", "{", "}", ",", "#", "&a ", "*a", "|", "\\", ""]
                )
                changed[i : i + rng.choice([0, 1, 1, 5])] = [new]
            text = "".join(changed)
            alike(text)
            alone += by_items(text)[2] > 0
    assert alone > 300


@pytest.mark.parametrize("form", [0, 1], ids=["JSON", "YAML"])
def test_what_a_large_file_says_is_read_again_when_asked(dumps, form, monkeypatch):
    small = k8slb.load(dumps[form])
    monkeypatch.setattr(reader, "LARGE", 1000)
    large = k8slb.load(dumps[form])
    assert all(isinstance(o.raw, reader.Again) for o in large.objects)
    assert [dict(o.raw) for o in large.objects] == [o.raw for o in small.objects]
    assert large.yaml("deployment/app-1") == small.yaml("deployment/app-1")
    assert str(large.scale("app-1", 2).trace(URL)) == str(small.scale("app-1", 2).trace(URL))
    patch = "kind: Service\nmetadata: {name: app-1}\nspec: {sessionAffinity: ClientIP}"
    assert large.apply(patch).yaml("service/app-1") == small.apply(patch).yaml("service/app-1")
    assert str(large.explain()) == str(small.explain())


def test_several_json_values_after_each_other():
    one = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}, indent=1)
    several = k8slb.load(one + "\n" + one.replace('"a"', '"b"') + one.replace('"a"', '"c"'))
    assert [o.where("metadata", "name")[1] for o in several.objects] == [5, 12, 18]


@pytest.mark.parametrize(
    "text",
    [
        "NAMESPACE   NAME    READY   STATUS\ndefault     a       1/1     Running\n",
        "NAME   TYPE        CLUSTER-IP\na      ClusterIP   10.0.0.1\n",
        'Error from server (NotFound): pods "x" not found\n',
        'error: the server doesn\'t have a resource type "x"\n',
        "No resources found in default namespace.\n",
    ],
)
def test_what_kubectl_prints_for_people_is_named(text):
    with pytest.raises(k8slb.InputError, match=r"^<stdin>: is a table or a complaint of kubectl.*-o yaml or -o json"):
        k8slb.load(Source("<stdin>", text))


@pytest.mark.parametrize("text", ["[" + "[],\n" * 500 + "]", "- - a\n" * 500, "? a\n" * 999, "a: {b: 1}\n---\n" * 400])
def test_too_many_values_are_refused_before_they_are_read(text, monkeypatch):
    monkeypatch.setattr(manifests, "MAX_VALUES", 700)
    with pytest.raises(k8slb.InputError, match="holds too many values"):
        k8slb.load(Source("x", text), max_size=10_000)


def test_how_far_reading_has_come(dumps):
    for path, text in [(p, p.read_text()) for p in dumps] + [(None, dumps[1].read_text().replace("\n", "\r\n"))]:
        said = []
        k8slb.load(Source("dump", text), progress=said.append)
        shares = [int(s.rpartition(" ")[2][:-1]) for s in said if s.endswith("%")]
        assert shares == sorted(shares) and shares[0] < 5 and shares[-1] >= 99, path
        assert said[0] == "reading dump" and said[-1].endswith("objects read")


# --- the sign of life ------------------------------------------------------------------------------------------------


class Closed(io.StringIO):
    def write(self, text):
        raise BrokenPipeError


def waited(stream, tell="counting", terminal=False):
    stream.isatty = lambda: terminal
    with Progress(stream, after=0.02) as progress:
        progress.tell(tell)
        time.sleep(0.2)
        progress.tell("")
        told = stream.getvalue()
        time.sleep(0.1)
        assert stream.getvalue() == told  # nothing more once something else is printed
    return stream.getvalue()


def test_progress_says_nothing_over_what_is_printed():
    said = waited(io.StringIO(), terminal=True)
    assert said.startswith("\r\x1b[Kk8slb: counting") and said.endswith("\r\x1b[K")
    assert waited(io.StringIO(), "a\n\x1b[31m").startswith("k8slb: a \\x1b[31m (")
    assert waited(Closed()) == ""
    with Progress(io.StringIO(), after=0.02) as progress:
        progress.stream = None


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full"])
def test_a_closed_standard_error_changes_no_answer(closed, dumps):
    asked = f"{sys.executable} -m k8slb shares -f - {URL} {closed} < {dumps[1]}"
    done = subprocess.run(["sh", "-c", asked], capture_output=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    assert done.returncode == 0 and b"app-1" in done.stdout
