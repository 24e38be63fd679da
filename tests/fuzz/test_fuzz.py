"""Whatever the input: an answer or a K8slbError, in bounded time. K8SLB_FUZZ=100000 asks for so many documents."""

import copy
import json
import os
import random
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import k8slb
from k8slb.manifests import DATA

DOCUMENTS = int(os.environ.get("K8SLB_FUZZ", 2500))
SLOWEST = 60.0  # seconds of this process for one document (one may ask for 30,000 pods); a hang takes longer
RICH = Path(__file__).with_name("rich.yaml").read_text()
BUNDLED = [file.read_text() for file in sorted(Path(DATA, "manifests").rglob("*.yaml"))]
URLS = [
    "http://order-service",
    "http://order-service.default/x?y=1",
    "https://myshop.example.com/payments/process/101",
    "http://myshop.example.com/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
    "http://a",
    "tcp://172.18.0.2:30080",
    "udp://10.96.0.100:53",
    "http://203.0.113.10/",
    "http://web.example.org/a/b?q=xyz",
    "http://é..ü/%00/../..",
]
WHO = [None, "external", "node:node-a", "node:a", "pod:default/order-1", "pod:a", "pod:default/client"]
ODD = [
    *(
        "",
        " ",
        "a",
        "A",
        "é",
        "null",
        "~",
        "-1",
        "0",
        "65535",
        "65536",
        "1e999",
        ".nan",
        "1_0",
        "0x1F",
        "yes",
        "\u202e",
    ),
    *("a" * 300, "\x1b[31m", "\x00", "\ud800", "<b>&amp;</b>", "{{ .Values.x }}", "10.0.0.1", "10.0.0.0/33", "::1"),
    *(
        "10.0.0.0/32,::/0",
        " 10.0.0.0/8",
        "fd00::/8",
        "255.255.255.255",
        "/a*a*a*a*a*b",
        "^(a+)+$",
        "/(a|a)*",
        "*.a",
        ".",
        "/",
    ),
]


def ask(text, rng: random.Random) -> bool:
    """Load `text` and ask a few questions; False if it is refused."""
    started = time.process_time()
    try:
        cluster = k8slb.load(text)
    except k8slb.InputError as error:
        assert str(error).isprintable() and len(str(error)) < 5_000, str(error)
        return False
    who = {"from_": rng.choice(WHO), "via": rng.choice([None, None, "node-b"])}
    edits = [
        lambda: cluster,
        lambda: cluster.with_proxy(mode=rng.choice(["ipvs", "nftables"]), scheduler="rr"),
        lambda: cluster.scale("order", rng.randrange(5)),
        lambda: cluster.apply(text),
    ]
    for url in rng.sample(URLS, 2):
        for question in (
            lambda edited, url: str(edited),
            lambda edited, url: told(edited.trace(url, **who, seed=rng.randrange(99))),
            lambda edited, url: whole(edited.shares(url, **who)),
            lambda edited, url: counted(edited.send(url, requests=20, connections=rng.choice([None, 3]), **who)),
        ):
            try:
                question(rng.choice(edits)(), url)
            except k8slb.K8slbError as error:
                assert str(error).strip()
    assert time.process_time() - started < SLOWEST
    return True


def told(trace):
    assert str(trace.why()) and json.dumps(trace.to_dict())


def whole(shares):
    assert sum(shares.values()) + sum(shares.answered.values()) + shares.lost == 1 and json.dumps(shares.to_dict())


def counted(run):
    assert sum(run.counts("status").values()) + run.lost == 20 and str(run) and json.dumps(run.to_dict())


# --- mutations: manifests that are nearly right ----------------------------------------------------------------------


def mutated_text(rng: random.Random) -> str:
    """A bundled file with characters, lines or words changed."""
    lines = rng.choice(BUNDLED).splitlines(keepends=True)
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
            lines[i] = (
                lines[i][:at] + rng.choice(":-[]{}&*!|>'\"%@`#,?\t\n\x00\x7fé\u2028" + lines[i]) + lines[i][at + 1 :]
            )
        elif how == 4:
            key, colon, _ = lines[i].partition(":")
            lines[i] = f"{key}{colon} {rng.choice(ODD)}\n"
        elif how == 5:
            del lines[i : i + rng.randrange(1, 3)]
            lines = lines or ["\n"]
        else:  # the value of another line with this key
            key = lines[i].partition(":")[0]
            like = [
                x.partition(":")[2]
                for x in "".join(BUNDLED).splitlines(keepends=True)
                if x.partition(":")[0].strip("- ") == key.strip("- ")
            ]
            lines[i] = f"{key}:{rng.choice(like)}" if like and ":" in lines[i] else lines[i]
    return "".join(lines)


def fields(value, path=()):
    """Every path in a document."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from fields(inner, (*path, key))


def mutated_values(rng: random.Random) -> str:
    """Valid keys, wrong values: fields dropped, or given an odd value, another field's, or one of their own kind."""
    documents = [d for text in (rng.choice(BUNDLED), RICH) for d in yaml.load_all(text, yaml.CSafeLoader) if d]
    for _ in range(rng.choice([1, 1, 2, 4])):
        everywhere = [(d, p) for d in documents for p in fields(d) if p]
        document, (*path, last) = rng.choice(everywhere)
        into, before = at(document, path), at(document, (*path, last))
        values = [at(*rng.choice(everywhere)) for _ in range(60)]
        alike = [v for v in values if type(v) is type(before)]
        how = rng.randrange(6)
        if how == 0 and isinstance(into, dict):
            into.pop(last, None)
        elif how == 1:
            into[last] = rng.choice([*ODD, 0, -1, 70000, 2**70, 1.5, True, None, [], {}, [[]], {"a": 1}, [None], ["a"]])
        elif how == 2:
            into[last] = copy.deepcopy(rng.choice(values))
        elif how == 3 and isinstance(before, str):
            into[last] = rng.choice(ODD)
        elif how == 4 and isinstance(before, list):
            into[last] = before * rng.randrange(3)
        else:
            into[last] = copy.deepcopy(rng.choice(alike or values))
    if rng.random() < 0.2:
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    return "\n---\n".join(json.dumps(d, indent=1) for d in documents)


def at(value, path):
    for key in path:
        value = value[key]
    return value


@pytest.mark.parametrize("kind", [mutated_text, mutated_values])
def test_mutated_manifests(kind):
    answered = 0
    for seed in range(DOCUMENTS // 2):
        rng = random.Random(seed)
        text = kind(rng)
        try:
            answered += ask(text, rng)
        except Exception as error:
            raise AssertionError(f"{kind.__name__}, seed {seed}: {error!r}\n{text[:3000]}") from error
    assert DOCUMENTS / 20 < answered < DOCUMENTS / 2 - DOCUMENTS / 20  # both refusals and answers have their turn


# --- no manifests at all ---------------------------------------------------------------------------------------------

some = settings(
    max_examples=DOCUMENTS // 20, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(ODD),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["apiVersion", "kind", "metadata", "name", "spec", "items", "ports", "labels", "<<"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@some
@given(st.binary(max_size=300))
def test_bytes(tmp_path_factory, raw):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(raw)
    ask(file, random.Random(1))


@some
@given(
    st.text(max_size=200), st.sampled_from(["{}", "kind: {}\n", "- &a {}\n- *a\n", '{{"kind": {}}}\n', "{}\n---\n{}\n"])
)
def test_text(text, frame):
    ask("\n" + frame.format(text, text), random.Random(1))


@some
@given(plain, st.sampled_from(["Service", "Deployment", "Pod", "Ingress", "Node", "EndpointSlice", "List", "Thing"]))
def test_structures(value, kind):
    api = {"Deployment": "apps/v1", "Ingress": "networking.k8s.io/v1", "EndpointSlice": "discovery.k8s.io/v1"}
    top = {"apiVersion": api.get(kind, "v1"), "kind": kind, "metadata": {"name": "a"}, "spec": value, "items": value}
    ask(yaml.dump(top, allow_unicode=True), random.Random(1))


@some
@given(st.text(max_size=60), st.tuples(plain, plain, plain, plain, plain))
def test_questions(url, odd):
    from_, via, method, headers, number = odd
    shop = k8slb.load("shop")
    for question in (
        lambda: shop.trace("http://" + url),
        lambda: shop.trace("http://order-service/" + url, from_=from_),
        lambda: shop.trace("http://order-service", via=via, method=method, headers=headers),
        lambda: shop.trace("http://order-service", seed=number),
        lambda: shop.send("http://order-service", requests=number if not isinstance(number, int) else number % 99),
        lambda: shop.send("http://order-service", requests=5, connections=number, rate=via, seed=method),
        lambda: shop.send("http://order-service", rate=number, duration=from_),
        lambda: shop.scale(url, 1),
        lambda: shop.scale("order", number if not isinstance(number, int) else min(number, 99)),
        lambda: shop.apply(url),
        lambda: shop.apply(number),
        lambda: shop.get(url),
        lambda: shop.yaml(url),
        lambda: shop.with_nodes(number),
        lambda: shop.with_proxy(mode=via, scheduler=number),
        lambda: k8slb.load(number),
    ):
        try:
            question()
        except k8slb.K8slbError as error:
            assert str(error)
