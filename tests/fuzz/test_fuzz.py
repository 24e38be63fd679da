"""Whatever the input: an answer or a K8slbError, in bounded time, no name raw in it. FUZZ.md tells of a long run.

K8SLB_FUZZ=100000 asks for so many documents, K8SLB_MANIFESTS=FOLDER mutates the manifests of that folder.
"""

import os
import random

import pytest
import yaml
from fuzz.documents import MANIFESTS, ODD, OTHERS
from fuzz.questions import ASK, ask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import k8slb
from k8slb.answers.fingerprint import fingerprint

DOCUMENTS = int(os.environ.get("K8SLB_FUZZ", 2500))
SOME = {"mutated_values": 9, "mutated_text": 5, "markup": 12, "structure": 6, "noise": 20, "cases": 8, "counts": 20}


@pytest.mark.parametrize("kind", SOME)
def test_documents(kind):
    """Every seed is a document; both answers and refusals have their turn."""
    answered, count = 0, DOCUMENTS // SOME[kind]
    for seed in range(count):
        rng = random.Random(seed)
        text = (MANIFESTS | OTHERS)[kind](rng)
        try:
            answered += ASK.get(kind, ask)(text, rng)
        except Exception as error:
            raise AssertionError(f"{kind}, seed {seed}: {error!r}\n{text[:3000]}") from error
    assert answered < count and (kind == "noise" or answered > count / 50)


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
    for question in (lambda: fingerprint(file), lambda: k8slb.load("shop").test(str(file))):
        try:
            question()
        except k8slb.K8slbError as error:
            assert str(error).isprintable()


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
        lambda: shop.draw(url),
        lambda: shop.draw("http://order-service", from_, via, method, headers),
        lambda: shop.test([number]),
        lambda: shop.test([{"url": url, "expect": via, "given": headers}]),
    ):
        try:
            question()
        except k8slb.K8slbError as error:
            assert str(error)
