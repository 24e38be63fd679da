"""Documents that nobody meant to write: good manifests with something changed, names with markup, and no manifests.

Each kind is a function of a random generator, so a seed names a document. K8SLB_MANIFESTS=FOLDER (or `start_from`) has
the mutations begin with the manifests of that folder instead of the bundled ones.
"""

import json
import os
import pickle
import random
import re
from functools import cache
from pathlib import Path

import yaml

from k8slb.manifests import DATA

HERE = Path(__file__).parent
RICH = (HERE / "rich.yaml").read_text()
FOLDER = os.environ.get("K8SLB_MANIFESTS", "")
ODD = [
    *("", " ", "a", "A", "é", "null", "~", "-1", "0", "65535", "65536", "1e999", ".nan", "1_0", "0x1F", "yes"),
    *("a" * 300, "\x1b[31m", "\x00", "\ud800", "\u202e", "<b>&amp;</b>", "{{ .Values.x }}", "10.0.0.1", "::1"),
    *("10.0.0.0/33", "10.0.0.0/32,::/0", " 10.0.0.0/8", "fd00::/8", "255.255.255.255"),
    *("/a*a*a*a*a*b", "^(a+)+$", "/(a|a)*", "*.a", ".", "/"),
]
# What would become an element, an attribute, another box, a link, a directive or a colour, if it got through raw. The
# word zq is in none of our own output.
MARKUP = [
    "<zq>",
    "</text><zq/>",
    "<script>zq()</script>",
    '" zq="1',
    "' zq='1",
    '"><zq x="',
    "]]><zq/>",
    "--><zq/>",
    "&zq;&#60;zq&#62;",
    '"]; zq [zq=1]; zq -> zq; n0 [label="',
    '\\"]; zq [label="\\',
    '"] --> zq["zq"]\nclick zq href "javascript:zq()"',
    "%%{init: {zq: 1}}%%",
    "`zq` **zq** [zq](javascript:zq) | zq |\n| zq |",
    "\n::error file=zq,line=1::zq\n",
    "::set-env name=zq::%0Azq",
    "\x1b]8;;zq\x07\x1b[31mzq",
    "zq\u202eqz\u2066\u200b\ufeff",
    "zq\u2028zq\x85zq\x00zq\x7f",
    "#quot;]zq#59;",
    "{{zq}} {% zq %} ${zq} $(zq)",
]
SOFT = {"path", "value", "replaceFullPath", "replacePrefixMatch", "annotations", "data", "args", "image", "secretName"}

ROUTED = re.compile(
    r"""kind"?: *["']?(Service|Ingress|HTTPRoute|Gateway)\b"""
)  # of others, the files with any of these


@cache
def seeds(folder: str = "") -> tuple[str, ...]:
    """The texts to begin with."""
    files = Path(folder or Path(DATA, "manifests")).rglob("*")
    wanted = (f for f in sorted(files) if f.suffix in (".yaml", ".yml", ".json") and "provenance" not in f.name)
    texts = (f.read_text(errors="replace") for f in wanted if f.name != "sets.json")
    return tuple(t for t in texts if len(t) < 100_000 and (not folder or ROUTED.search(t)))


@cache
def _lines_like(folder: str) -> dict[str, list[str]]:
    """The values that stand after a key, over all seeds."""
    found: dict[str, list[str]] = {}
    for line in "".join(text if text.endswith("\n") else text + "\n" for text in seeds(folder)).splitlines(
        keepends=True
    ):
        key, _, value = line.partition(":")
        found.setdefault(key.strip("- "), []).append(value)
    return found


@cache
def _parsed(text: str) -> bytes:
    """The objects of a text, pickled: a copy is cheaper than to read it again."""
    try:
        documents = [d for d in yaml.load_all(text, yaml.CSafeLoader) if isinstance(d, dict)]
        json.dumps(documents)
    except (yaml.YAMLError, ValueError, TypeError):  # no YAML, or dates in it
        documents = []
    return pickle.dumps(documents)


def _documents(rng: random.Random) -> list[dict]:
    """Objects to change: of one seed, and of a set with every feature (where no folder was given)."""
    texts = (rng.choice(seeds(FOLDER)), *(() if FOLDER else (RICH,)))
    found = [d for text in texts for d in pickle.loads(_parsed(text))]
    return found or [d for d in pickle.loads(_parsed(RICH))]


def start_from(folder: str) -> None:
    """Mutate the manifests of this folder from now on."""
    global FOLDER
    FOLDER = folder


def mutated_text(rng: random.Random) -> str:
    """A file with characters, lines or words changed."""
    lines = rng.choice(seeds(FOLDER)).splitlines(keepends=True)
    for _ in range(rng.choice([1, 1, 2, 5])):
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        how = rng.choice([0, 1, 2, 3, 4, 5, 6, 6, 6, 6])
        if how == 0:
            lines[i], lines[j] = lines[j], lines[i]
        elif how == 1:
            lines.insert(i, lines[j])
        elif how == 2:
            lines[i] = " " * rng.randrange(4) + lines[i]
        elif how == 3:
            at = rng.randrange(len(lines[i]))
            odd = rng.choice(":-[]{}&*!|>'\"%@`#,?\t\n\x00\x7fé\u2028" + lines[i])
            lines[i] = lines[i][:at] + odd + lines[i][at + 1 :]
        elif how == 4:
            lines[i] = f"{lines[i].partition(':')[0]}: {rng.choice(ODD)}\n"
        elif how == 5:
            del lines[i : i + rng.randrange(1, 3)]
            lines = lines or ["\n"]
        else:  # the value of another line with this key
            key, colon, _ = lines[i].partition(":")
            like = _lines_like(FOLDER).get(key.strip("- "))
            lines[i] = f"{key}:{rng.choice(like)}" if like and colon else lines[i]
    return "".join(lines)


def fields(value, path=()):
    """Every path in a document."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from fields(inner, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def mutated_values(rng: random.Random) -> str:
    """Valid keys, wrong values: fields dropped, or given an odd value, another field's, or one of their own kind."""
    documents = _documents(rng)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        everywhere = [(d, p) for d in documents for p in fields(d) if p]
        document, (*path, last) = rng.choice(everywhere)
        into, before = at(document, path), at(document, (*path, last))
        values = [at(*rng.choice(everywhere)) for _ in range(30)]
        alike = [v for v in values if type(v) is type(before)]
        how = rng.choice([0, 1, 2, 3, 4, 5, 5, 5, 5])
        if how == 0 and isinstance(into, dict):
            into.pop(last, None)
        elif how == 1:
            into[last] = rng.choice([*ODD, 0, -1, 70000, 2**70, 1.5, True, None, [], {}, [[]], {"a": 1}, [None], ["a"]])
        elif how == 2:
            into[last] = _copy(rng.choice(values))
        elif how == 3 and isinstance(before, str):
            into[last] = rng.choice(ODD)
        elif how == 4 and isinstance(before, list):
            into[last] = before * rng.randrange(3)
        else:
            into[last] = _copy(rng.choice(alike or values))
    return _written(documents, rng)


def _copy(value):
    return pickle.loads(pickle.dumps(value))


def _written(documents: list[dict], rng: random.Random) -> str:
    if rng.random() < 0.2:
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    return "\n---\n".join(json.dumps(d, indent=rng.choice([None, None, 1])) for d in documents)


def markup(rng: random.Random) -> str:
    """Markup wherever text may stand, and in names that the model keeps aside."""
    documents = _documents(rng)
    texts = [(d, p) for d in documents for p in fields(d) if p and isinstance(at(d, p), str)]
    soft = [(d, p) for d, p in texts if SOFT.intersection(map(str, p))]
    for _ in range(rng.choice([1, 1, 2, 3])):
        document, (*path, last) = rng.choice(soft if soft and rng.random() < 0.9 else texts)
        before, put = at(document, (*path, last)), rng.choice(MARKUP)
        into = at(document, path)
        into[last] = put if rng.random() < 0.4 else before + put if rng.random() < 0.7 else f"/{put}"
        if rng.random() < 0.2 and "metadata" in document and isinstance(document["metadata"], dict):
            document["metadata"].setdefault("annotations", {})
            if isinstance(notes := document["metadata"]["annotations"], dict):
                notes[rng.choice(["nginx.ingress.kubernetes.io/canary-by-header", "k8slb/zq", put])] = put
    if rng.random() < 0.5:
        name = rng.choice(MARKUP).replace("/", "").replace(" ", "_") if rng.random() < 0.9 else rng.choice(MARKUP)
        named = {"apiVersion": "zq.example/v1", "kind": "Zq", "metadata": {"name": name}}
        documents.append(named | rng.choice([{}, {"kind": rng.choice(MARKUP)}]))
    return _written(documents, rng)


def structure(rng: random.Random) -> str:
    """Something of no meaning where a kind's fields should be."""
    kinds = [
        "Service",
        "Deployment",
        "Pod",
        "Ingress",
        "Node",
        "EndpointSlice",
        "List",
        "HTTPRoute",
        "Gateway",
        "Thing",
    ]
    api = {"Deployment": "apps/v1", "Ingress": "networking.k8s.io/v1", "EndpointSlice": "discovery.k8s.io/v1"}
    api |= {kind: "gateway.networking.k8s.io/v1" for kind in ("HTTPRoute", "Gateway")}
    names = [
        "apiVersion",
        "kind",
        "metadata",
        "name",
        "spec",
        "items",
        "ports",
        "labels",
        "rules",
        "selector",
        "<<",
        "a",
    ]

    def value(depth: int):
        how = rng.randrange(8 if depth < 4 else 5)
        if how == 0:
            return rng.choice([None, True, False, 0, -1, 80, 2**70, 1.5, float("inf")])
        if how < 5:
            return rng.choice(rng.choice([ODD, ODD, MARKUP]))
        if how == 5:
            return [value(depth + 1) for _ in range(rng.randrange(4))]
        return {rng.choice(names): value(depth + 1) for _ in range(rng.randrange(5))}

    kind = rng.choice(kinds)
    top = {
        "apiVersion": api.get(kind, "v1"),
        "kind": kind,
        "metadata": {"name": "a"},
        "spec": value(0),
        "items": value(1),
    }
    return yaml.dump(top, allow_unicode=True) if rng.random() < 0.5 else json.dumps(top)


def noise(rng: random.Random) -> str:
    """Any characters, in a frame that lets them be read as YAML or JSON now and then."""
    frame = rng.choice(
        ["{}", "kind: {}\n", "- &a {}\n- *a\n", '{{"kind": {}}}\n', "{}\n---\n{}\n", "a: &x [{}]\nb: {{<<: *x}}\n"]
    )
    signs = rng.choice(
        [":-[]{}&*!|>'\"%@`#,?\t\n a1", "".join(map(chr, range(256))), "\x00\x1b\u2028\ud800\U0001f600é "]
    )
    text = "".join(rng.choice(signs) for _ in range(rng.randrange(120)))
    return "\n" + frame.format(text, text)


CASES = """- url: http://order-service
  from: pod:default/client
  name: the service answers
  headers: {Cookie: a=b}
  expect: {status: 200, action: forward, pod: order-*}
- url: https://myshop.example.com/orders/1?x=2
  requests: 60
  connections: 3
  seed: 4
  given:
  - scale: {name: order, replicas: 2}
  - with_proxy: {mode: ipvs, scheduler: rr}
  expect: {status: 2xx, backend: "*/order-service:80", hottest: "< 2", lost: "0.1%", p99: "< 200ms", pods: ">= 2"}
- {url: "http://myshop.example.com/payments", rate: 20, duration: 2, expect: {status: [200, 404], path: /payments}}
"""
COUNTS = [
    "   512 order-1\n   488 order-2\n     0 order-3\n",
    "pod,count,node\norder-1,512,node-a\norder-2,488,node-b\n",
    "order-1 order-2\norder-1\norder-2\n",
    '{"order-1": 512, "order-2": 488}',
    "NAME      REQUESTS\norder-1   1,024\norder-2   988\n",
]


def cases(rng: random.Random) -> str:
    """A file of cases with something changed, or with markup in it."""
    documents = yaml.load(CASES, yaml.CSafeLoader)
    if rng.random() < 0.4:
        return _scratched(CASES, rng)
    for _ in range(rng.choice([1, 2, 3])):
        everywhere = [p for p in fields(documents) if p]
        *path, last = rng.choice(everywhere)
        odd = [
            *ODD,
            *MARKUP,
            0,
            -1,
            99,
            2**70,
            1.5,
            True,
            None,
            [],
            {},
            [None],
            {"a": 1},
            "< 1",
            ">= 50%",
            "1/3",
            "5xx",
        ]
        at(documents, path)[last] = rng.choice([rng.choice(odd), _copy(at(documents, rng.choice(everywhere)))])
    return rng.choice([json.dumps, lambda value: yaml.dump(value, allow_unicode=True)])(documents)


def counts(rng: random.Random) -> str:
    """Counts of requests with something changed, or none at all."""
    how = rng.randrange(4)
    if how == 0:
        names = [rng.choice([f"pod-{i}", rng.choice(MARKUP)]) for i in range(rng.randrange(1, 9))]
        return "".join(f"{rng.randrange(2000):7} {name}\n" for name in names)
    return noise(rng) if how == 1 else _scratched(rng.choice(COUNTS), rng)


def _scratched(text: str, rng: random.Random) -> str:
    """A text with some of its characters replaced, dropped or repeated."""
    signs = list(text)
    for _ in range(rng.choice([1, 2, 5])):
        i = rng.randrange(len(signs))
        put = rng.choice([*":-[]{}&*!|>'\"%,?\t\n 0159", "", signs[i] * 9, rng.choice(ODD), rng.choice(MARKUP)])
        signs[i] = put
    return "".join(signs)


# The kinds in turn; noise is soon seen through.
TURN = "mutated_values markup mutated_text cases mutated_values markup structure mutated_text counts noise".split()
MANIFESTS = {f.__name__: f for f in (mutated_text, mutated_values, markup, structure, noise)}
OTHERS = {f.__name__: f for f in (cases, counts)}
