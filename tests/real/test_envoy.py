"""Envoy on loopback, beside the model: a Gateway's routes, the specification's Ingresses, a sidecar's policies."""

from collections import Counter
from fractions import Fraction

import pytest
from real.test_proxies import at_addresses, otherwise, pods
from truth import test_gateway
from truth.gateway_yaml import NS, gateway, listener, load, route, service, to

import k8slb
from k8slb.chance import chi_square_p
from k8slb.errors import K8slbError
from k8slb.real import envoy, proxies

pytestmark = pytest.mark.skipif(bool(lacks := proxies.missing("envoy")), reason=lacks)
UNLIKELY = 1e-4


def named(view, answer):
    """NAMESPACE/SERVICE of the pod that answered, else the status."""
    ip = answer["pod"].partition(":")[0]
    return f"{NS}/{view.pod_at[ip].metadata.labels['app']}" if ip else answer["status"]


def alike(cluster, urls, **asked):
    """Each URL asked of Envoy and of the model's trace: (what is answered, what came to the pod, redirect) of both."""
    with proxies.running(cluster, "envoy") as proxy:
        answers = proxy.fetch([{"url": url} | asked for url in urls])
    for url, answer in zip(urls, answers, strict=True):
        told = cluster.trace(url, **asked).to_dict()
        onward = told["forwarded"] if told["pod"] else {"path": "", "host": ""}
        model = (test_gateway.got(told), told.get("location") or "", onward["path"], onward["host"])
        real = (named(cluster, answer), answer["location"], answer["received"], answer["seen"].get("host", ""))
        yield url, real, model


# --- a Gateway -------------------------------------------------------------------------------------------------------


def test_the_122_cases_of_the_conformance_suite():
    cluster_of = test_gateway.suites.__wrapped__()
    by_cluster: dict = {}
    for case in test_gateway.FACTS["cases"]:
        by_cluster.setdefault(id(cluster_of(case)), []).append(case)
    odd, asked = {}, 0
    for cases in by_cluster.values():
        with proxies.running(view := cluster_of(cases[0]), "envoy") as proxy:
            answers = proxy.fetch([request(case) for case in cases])
        for case, answer in zip(cases, answers, strict=True):
            wanted, seen = case.get("forwarded", {}), answer["seen"]
            headers = {k: v for k, v in seen["headers"].items() if k not in ("x-forwarded-for", "x-forwarded-proto")}
            right = [
                named(view, answer) == (case["expect"] if isinstance(case["expect"], int) else f"{NS}/{case['expect']}")
            ]
            right += [seen[part] == wanted[part] for part in ("path", "host") if part in wanted]
            right += [headers == {k.lower(): v for k, v in wanted["headers"].items()}] if "headers" in wanted else []
            if not all(right):
                odd[case["id"]] = answer
            asked += 1
    assert (odd, asked) == ({}, 122)


def request(case):
    method, _, url = case["ask"].partition(" ")
    host, slash, path = url.partition("/")
    headers = case.get("headers", {}) | {"Host": host}
    return {"url": f"http://{host.partition(':')[0]}{slash}{path}", "method": method, "headers": headers}


def cases_of(function):
    """The cases of a test of test_gateway.py."""
    return next(mark.args[1] for mark in function.pytestmark if mark.name == "parametrize")


def test_rewrites_and_redirects():
    """The two tables of test_gateway.py, each case on a host of its own."""
    routes, urls = [], []
    for n, (asked, prefix, text, _) in enumerate(cases_of(test_gateway.test_replaced_prefixes)):
        change = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": text}}
        rewrite = to(
            "v1", matches=test_gateway.prefixed(prefix), filters=[{"type": "URLRewrite", "urlRewrite": change}]
        )
        routes.append(route(rewrite, name=f"a{n}", hosts=[f"a{n}.example"]))
        moved = {"matches": rewrite["matches"], "filters": [{"type": "RequestRedirect", "requestRedirect": change}]}
        routes.append(route(moved, name=f"b{n}", hosts=[f"b{n}.example"]))
        urls += [f"http://a{n}.example{asked}", f"http://b{n}.example{asked}"]
    for n, (asked, redirect, *_) in enumerate(cases_of(test_gateway.test_redirects)):
        if asked.startswith("http:"):
            moved = {"filters": [{"type": "RequestRedirect", "requestRedirect": redirect}]}
            routes.append(route(moved, name=f"c{n}", hosts=[f"c{n}.example"]))
            urls.append(asked.replace("h.example", f"c{n}.example"))
    assert [
        (u, real) for u, real, model in alike(load(gateway(*test_gateway.PORTS), *routes), urls) if real != model
    ] == []


def test_listeners_are_isolated():
    """By port and by the most specific hostname: no route of another listener is fallen back on."""
    listeners = [
        listener("any"),
        listener("wide", hostname="*.example"),
        listener("narrow", hostname="*.shop.example"),
        listener("one", hostname="x.shop.example"),
        listener("other", 8080),
        listener("mine", 8080, hostname="y.example"),
    ]
    routes = [
        route(to("v1", matches=[{"path": {"value": "/a"}}]), name="any", sectionName="any"),
        route(to("v2"), name="wide", sectionName="wide", hosts=["*.example", "z.shop.example", "y.example"]),
        route(to("v3", matches=[{"path": {"value": "/b"}}]), name="narrow", sectionName="narrow"),
        route(to("v1"), name="late", sectionName="narrow", hosts=["*.deep.shop.example"]),
        route(to("v2"), name="other", sectionName="other", hosts=["y.example", "w.example"]),
        route(to("v3"), name="mine", sectionName="mine"),
    ]
    hosts = "a.test y.example w.example a.b.example shop.example x.shop.example z.shop.example a.deep.shop.example"
    urls = [f"http://{h}{port}{path}" for h in hosts.split() for port in ("", ":8080") for path in ("/a", "/b")]
    found = list(alike(load(gateway(*listeners), *routes), urls))
    assert [(u, real, model) for u, real, model in found if real != model] == []
    assert {real[0] for _, real, _ in found} == {404, *(f"{NS}/v{n}" for n in (1, 2, 3))}


def weighted(*pairs, **rest):
    refs = [{"name": name, "port": 8080, "weight": weight} for name, weight in pairs]
    return {"backendRefs": refs} | rest


def test_backends_by_weight_and_what_stands_in_for_those_that_are_not_there():
    rules = {
        "a": weighted(("v1", 70), ("v2", 30), ("v3", 0)),
        "b": weighted(("v1", 1), ("nobody", 1)),
        "c": weighted(("v1", 1), ("idle", 2)),
        "d": weighted(("v1", 0), ("v2", 0)),
        "e": weighted(("idle", 1)),
    }
    cluster = load(gateway(), *service("idle", 0), *(route(r, name=n, hosts=[f"{n}.test"]) for n, r in rules.items()))
    with proxies.running(cluster, "envoy") as proxy:
        for name in rules:
            real = Counter(str(named(cluster, a)) for a in proxy.fetch([{"url": f"http://{name}.test"}] * 600))
            services, answered = test_gateway.answers(cluster, f"http://{name}.test")
            exact = {f"{NS}/{s}": share for s, share in services.items()} | answered
            assert set(real) == {k for k, share in exact.items() if share}
            assert chi_square_p(real, exact)[2] > UNLIKELY


def test_headers_of_the_answer_and_time_outs():
    changes = {"set": [{"name": "X-Set", "value": "100%"}], "remove": ["X-Pod"]}
    rule = to("v1", filters=[{"type": "ResponseHeaderModifier", "responseHeaderModifier": changes}])
    slow = to("v2", matches=[{"path": {"value": "/slow"}}], timeouts={"request": "100ms"})
    cluster = load(gateway(), route(rule, slow)).with_pods(f"{NS}/v2", service_time="500ms")
    with proxies.running(cluster, "envoy") as proxy:
        plain, late = proxy.fetch([{"url": "http://a.test/"}, {"url": "http://a.test/slow"}])
        model, real = (one.send("http://a.test/slow", requests=3) for one in (cluster, proxy))
    assert (plain["headers"]["x-set"], plain["pod"], late["status"]) == ("100%", "", 504)
    assert model.counts("status") == real.counts("status") == {"504": 3}


def test_where_envoy_is_not_as_the_model_has_the_specification():
    """It compares query parameters as they are written, not decoded (the API leaves it open); and a pod that refuses
    is 503 to it, for which the API names no status."""
    spaced = to("v1", matches=[{"queryParams": [{"name": "q", "value": "a b"}]}])
    down = to("v2", matches=[{"path": {"value": "/down"}}])
    cluster = load(gateway(), route(spaced, down)).with_pods(f"{NS}/v2", down="refuses")
    found = list(alike(cluster, ["http://a.test/?q=a%20b", "http://a.test/down"]))
    assert [(real[0], model[0]) for _, real, model in found] == [(404, f"{NS}/v1"), (503, 502)]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (
            to("v1", filters=[{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "v2", "port": 1}}}]),
            "RequestMirror",
        ),
        (to("v1", filters=[{"type": "CORS", "cors": {}}]), "CORS"),
    ],
)
def test_what_is_not_written_for_envoy_is_refused_by_name(rule, told):
    with pytest.raises(K8slbError, match=f"r rule 0: the filter {told}"):
        proxies.config(load(gateway(), route(rule)), "envoy")


# --- Ingresses, and how Envoy picks ----------------------------------------------------------------------------------


def test_the_specification_s_ingresses():
    odd, asked = otherwise("envoy", "spec", "spec", "both")
    assert (odd, asked) == ({}, 106)


@pytest.mark.parametrize("balancer", ["envoy-ring-hash", "envoy-maglev"])
def test_hashes_pick_for_pick(balancer):
    """The pods' own addresses, which Envoy is given to hash in place of the stand-ins'."""
    cluster = load(gateway(), route(to("big")), *service("big", 7)).with_balancer("gateway", balancer)
    urls = [f"http://a.test/orders/{i}?x={i % 7}" for i in range(300)]
    with proxies.running(cluster, "envoy") as proxy:
        real = [answer["pod"] for answer in proxy.fetch([{"url": url} for url in urls])]
    assert real == [max(shares := cluster.shares(url), key=shares.get) for url in urls]
    assert len(set(real)) == 7


@pytest.mark.parametrize("layer", ["ingress", "gateway"])
def test_round_robin_from_some_start(layer):
    if layer == "ingress":
        cluster, url = at_addresses("envoy-round-robin", "127.3.3.1", "127.3.3.2", "127.3.3.3"), "http://h.test"
    else:
        cluster, url = load(gateway(), route(to("big")), *service("big", 5)), "http://a.test"
        cluster = cluster.with_balancer("gateway", "envoy-round-robin")
    real = pods(proxies.send(cluster, url, "envoy", requests=60))
    model = pods(cluster.send(url, requests=60 + 5))
    assert any(model[i : i + 60] == real for i in range(6))


@pytest.mark.parametrize("balancer", ["envoy-random", "envoy-least-request"])
def test_what_is_random(balancer):
    """One request at a time: two that are drawn have nothing under way, so the first of them it is."""
    cluster = at_addresses(balancer, *(f"127.3.4.{i}" for i in range(1, 6)))
    outcome = proxies.send(cluster, "http://h.test", "envoy", requests=2000)
    exact = dict.fromkeys(outcome.counts("pod"), Fraction(1, 5))
    assert chi_square_p(outcome.counts("pod"), exact)[2] > UNLIKELY
    assert len(exact) == 5


# --- a sidecar -------------------------------------------------------------------------------------------------------

ORDERS = "http://order-service"
TO = "route: [{destination: {host: order-service}}]"
PLAIN, NOT_AGAIN = f"[{{{TO}}}]", f"[{{{TO}, retries: {{attempts: 0}}}}]"
SLOW = {"service_time": "400ms", "workers": 99}
MESH = k8slb.load("shop").apply("{kind: Namespace, metadata: {name: default, labels: {istio-injection: enabled}}}")


def istio(policy, http=NOT_AGAIN, pods=5, subsets="", **first):
    """The shop's orders with that DestinationRule and VirtualService; `first`: annotations of the first pod alone."""
    host, meta = "host: order-service", "metadata: {name: rule, namespace: default}"
    spec = f"{{{host}, trafficPolicy: {{{policy}}}, subsets: [{subsets}]}}"
    cluster = MESH.scale("order", pods).apply(f"{{kind: DestinationRule, {meta}, spec: {spec}}}")
    cluster = cluster.apply(f"{{kind: VirtualService, {meta}, spec: {{hosts: [order-service], http: {http}}}}}")
    return cluster.with_pods("order-1", **first) if first else cluster


ROUND = "loadBalancer: {simple: ROUND_ROBIN}"


def both(cluster, column="status", at_once=1, **asked):
    """What Envoy and the model count."""
    real = proxies.send(cluster, ORDERS, "envoy", at_once=at_once, apart=0.01, **asked)
    return real.counts(column), cluster.send(ORDERS, **asked).counts(column)


@pytest.mark.parametrize(("percent", "came"), [("", 200), (", maxEjectionPercent: 20", 5)])
def test_outlier_detection(percent, came):
    """One of five fails: by default none of so few may be ejected."""
    cluster = istio(f"{ROUND}, outlierDetection: {{consecutive5xxErrors: 5{percent}}}", fail="1")
    real, model = both(cluster, requests=1000)
    assert real == model == {"200": 1000 - came, "500": came}


@pytest.mark.parametrize(
    ("http", "first", "left"),
    [
        (NOT_AGAIN, {"fail": "1 503"}, {"200": 80, "503": 20}),
        (PLAIN, {"fail": "1 503"}, {"200": 80, "503": 20}),  # Istio's two retries are not for what a pod answers
        (f"[{{{TO}, retries: {{attempts: 2, retryOn: '503'}}}}]", {"fail": "1 503"}, {"200": 100}),
        (PLAIN, {"fail": "1 500"}, {"200": 80, "500": 20}),
        (PLAIN, {"down": "refuses"}, {"200": 100}),
        (NOT_AGAIN, {"down": "refuses"}, {"200": 80, "503": 20}),
        (f"[{{{TO}, timeout: 100ms}}]", SLOW, {"200": 80, "504": 20}),
        (f"[{{{TO}, retries: {{attempts: 1, perTryTimeout: 100ms, retryOn: 5xx}}}}]", SLOW, {"200": 100}),
    ],
)
def test_retries_and_time_outs(http, first, left):
    real, model = both(istio(ROUND, http, **first), requests=100)
    assert real == model == left


@pytest.mark.parametrize(
    ("pool", "many", "admitted"),
    [
        ("http: {http2MaxRequests: 3}", 4, 3),
        ("tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}", 4, 5),
        ("tcp: {maxConnections: 6}, http: {http1MaxPendingRequests: 1}", 4, 7),
        ("tcp: {maxConnections: 1}", 4, 10),
    ],
)
def test_circuit_breakers(pool, many, admitted):
    """Of ten requests almost at once, to pods that take a while."""
    cluster = istio(f"connectionPool: {{{pool}}}, {ROUND}", pods=many).with_pods("order", service_time="300ms")
    real, model = both(cluster, at_once=10, requests=10)
    assert real == model == {k: v for k, v in {"200": admitted, "503": 10 - admitted}.items() if v}


@pytest.mark.parametrize("by", ["useSourceIp: true", "useSourceIp: true, maglev: {}", "httpHeaderName: X-User"])
def test_consistent_hashes(by):
    cluster = istio(f"loadBalancer: {{consistentHash: {{{by}}}}}")
    asked = {"requests": 200, "clients": 100} if "Source" in by else {"requests": 20, "headers": {"X-User": "anna"}}
    real, model = proxies.send(cluster, ORDERS, "envoy", **asked), cluster.send(ORDERS, **asked)
    assert pods(real) == pods(model)


def test_subsets_by_weight():
    to = "{destination: {host: order-service, subset: SUBSET}, weight: WEIGHT}"
    parts = ", ".join(to.replace("SUBSET", n).replace("WEIGHT", str(w)) for n, w in (("all", 3), ("none", 1)))
    cluster = istio(
        ROUND, f"[{{route: [{parts}]}}]", subsets="{name: all, labels: {app: order}}, {name: none, labels: {a: b}}"
    )
    real, model = both(cluster, requests=1000)
    exact = cluster.shares(ORDERS)
    assert real.keys() == model.keys() == {"200", "503"}
    assert chi_square_p(real, {"200": sum(exact.values()), "503": exact.answered["503"]})[2] > UNLIKELY


@pytest.mark.parametrize(("simple", "near"), [("LEAST_REQUEST", 0.03), ("ROUND_ROBIN", 0)])
def test_a_pod_that_fails_fast_attracts_requests(simple, near):
    """Fifty users who never wait: four pods take 50 ms, the first fails within one."""
    cluster = istio(f"loadBalancer: {{simple: {simple}}}").with_pods("order", service_time="50ms", workers=1000)
    cluster = cluster.with_pods("order-1", service_time="1ms", workers=1000, fail="1")
    real = proxies.send(cluster, ORDERS, "envoy", requests=2000, connections=50, at_once=50)
    model = cluster.send(ORDERS, requests=2000, connections=50, think="0s")
    assert abs(real.counts("status")["500"] - model.counts("status")["500"]) <= 2000 * near
    assert model.counts("status")["500"] > 600 or not near


def test_what_a_sidecar_is_not_given_is_refused_by_name():
    matched = f"[{{match: [{{uri: {{prefix: /a}}}}], {TO}}}]"
    for cluster in (istio(ROUND, matched), istio(f"{ROUND[:-1]}, warmup: {{duration: 60s}}}}")):
        with pytest.raises(
            K8slbError, match=r"(a match|warmup of Service default/order-service) is not written for Envoy"
        ):
            proxies.config(cluster, "envoy", ORDERS)


def test_one_http2_connection_at_layer_4_and_7():
    one, two = envoy.http2(400), envoy.http2(400, connections=2)
    assert sorted(one["layer_4"].values()) == [0, 0, 0, 400]
    assert sorted(two["layer_4"].values()) == [0, 0, 200, 200]
    assert one["layer_7"] == two["layer_7"] == dict.fromkeys("abcd", 100)
