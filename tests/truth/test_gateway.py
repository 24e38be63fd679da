"""What becomes of a request at a Gateway: gateway.json's conformance cases, and the API's own words (release 1.6.1)."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from truth.gateway_yaml import NS, ask, gateway, got, listener, load, route, service, thing, to

import k8slb

FACTS = json.loads((Path(__file__).parent / "gateway.json").read_text())


def answers(cluster, url: str) -> tuple[dict, dict]:
    """({Service: share}, {status: share})"""
    spread = cluster.shares(url)
    by_pod = {p.status.podIP: p.metadata.labels.get("app") for p in cluster.pods}
    services: dict[str, Fraction] = {}
    for address, share in spread.items():
        if ":" in address:
            name = by_pod[address.partition(":")[0]]
            services[name] = services.get(name, 0) + share
    return services, dict(spread.answered)


# --- the conformance suite's cases ---


def rule_of(text: str) -> dict:
    """A rule of gateway.json as the API writes it."""
    routed, *changes = text.split("; ")
    matches, _, backend = routed.rpartition("-> ")
    rule, headers, rewrite = to(backend), {}, {}
    for alternative in filter(None, matches.strip().split(" | ")):
        match: dict = {}
        for part in alternative.split(", "):
            kind, _, value = part.partition(" ")
            name, _, wanted = value.partition("=")
            if kind in ("exact", "prefix"):
                match["path"] = {"type": {"exact": "Exact", "prefix": "PathPrefix"}[kind], "value": value}
            elif kind == "method":
                match["method"] = value
            else:
                field = {"header": "headers", "query": "queryParams"}[kind]
                match.setdefault(field, []).append({"name": name, "value": wanted})
        rule.setdefault("matches", []).append(match)
    for change in changes:
        kind, _, value = change.partition(" ")
        name, _, given = value.partition("=")
        if kind == "host":
            rewrite["hostname"] = value
        elif kind in ("prefix", "path"):
            named = {"prefix": "ReplacePrefixMatch", "path": "ReplaceFullPath"}[kind]
            rewrite["path"] = {"type": named, named[0].lower() + named[1:]: value.removeprefix("to ")}
        else:
            headers.setdefault(kind, []).append(name if kind == "remove" else {"name": name, "value": given})
    filters = [{"type": "URLRewrite", "urlRewrite": rewrite}] if rewrite else []
    filters += [{"type": "RequestHeaderModifier", "requestHeaderModifier": headers}] if headers else []
    return rule | ({"filters": filters} if filters else {})


@pytest.fixture(scope="module")
def suites():
    made = {}

    def cluster(case: dict):
        key = (case["routes"], case.get("gateway"))
        if key not in made:
            hosts = FACTS["gateways"].get(case.get("gateway"), {"http": ""})
            listeners = [listener(n, **({"hostname": h} if h else {})) for n, h in hosts.items()]
            routes = []
            for name, one in FACTS["routes"][case["routes"]].items():
                written = route(*map(rule_of, one["rules"]), name=name, hosts=one.get("hosts", ()))
                parent = written["spec"]["parentRefs"][0]
                written["spec"]["parentRefs"] = [
                    parent | ({"sectionName": s} if s else {}) for s in one.get("sections", [""])
                ]
                routes.append(written)
            made[key] = load(gateway(*listeners), *routes)
        return made[key]

    return cluster


@pytest.mark.parametrize("case", FACTS["cases"], ids=lambda c: c["id"])
def test_conformance(case, suites):
    method, _, url = case["ask"].partition(" ")
    host, slash, path = url.partition("/")  # a port in the Host header does not count
    headers = case.get("headers", {}) | {"Host": host}
    told = ask(suites(case), f"{method} {host.partition(':')[0]}{slash}{path}", headers=headers)
    assert got(told) == (case["expect"] if isinstance(case["expect"], int) else f"{NS}/{case['expect']}")
    wanted = case.get("forwarded", {})
    for name in {"path", "host"} & wanted.keys():
        assert told["forwarded"][name] == wanted[name]
    if "headers" in wanted:
        assert told["forwarded"]["headers"] == {k.lower(): v for k, v in wanted["headers"].items()}


# --- backends: who answers instead of them ---

ELSEWHERE = service("far", namespace="other")


def grant(**changes) -> dict:
    sender = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": NS}
    given = {
        "from": [sender | changes.get("sender", {})],
        "to": [{"group": "", "kind": "Service"} | changes.get("to", {})],
    }
    return thing("ReferenceGrant", "g", given, namespace=changes.get("namespace", "other"))


@pytest.mark.parametrize(
    ("rule", "expect"),
    [
        ({}, 500),
        ({"backendRefs": []}, 500),
        (to("nobody"), 500),
        ({"backendRefs": [{"name": "v1", "port": 1}]}, 500),
        ({"backendRefs": [{"name": "v1", "port": 8080, "kind": "NonExistent"}]}, 500),
        ({"backendRefs": [{"name": "v1", "port": 8080, "group": "apps"}]}, 500),
        ({"backendRefs": [{"name": "v1", "port": 8080, "weight": 0}, {"name": "v2", "port": 8080, "weight": 0}]}, 500),
        ({"backendRefs": [{"name": "far", "namespace": "other", "port": 8080}]}, 500),
        (to("idle"), 503),
        (to("v1", matches=[{"path": {"value": "/other"}}]), 404),
    ],
)
def test_answers_of_the_gateway_itself(rule, expect):
    cluster = load(gateway(), route(rule), *service("idle", 0), *ELSEWHERE)
    assert got(ask(cluster, "GET any.example/")) == expect
    assert answers(cluster, "http://any.example/") == ({}, {str(expect): 1})


@pytest.mark.parametrize(
    ("changes", "permitted"),
    [
        ({}, True),
        ({"to": {"name": "far"}}, True),
        ({"to": {"name": "near"}}, False),
        ({"to": {"kind": "Secret"}}, False),
        ({"to": {"group": "apps"}}, False),
        ({"sender": {"kind": "Gateway"}}, False),
        ({"sender": {"group": ""}}, False),
        ({"sender": {"namespace": "other"}}, False),
        ({"namespace": NS}, False),
    ],
)
def test_reference_grants(changes, permitted):
    rule = {"backendRefs": [{"name": "far", "namespace": "other", "port": 8080}]}
    told = ask(load(gateway(), route(rule), grant(**changes), *ELSEWHERE), "GET any.example/")
    assert got(told) == ("other/far" if permitted else 500)
    assert permitted or "RefNotPermitted" in told["hops"][-1]["why"]


def test_weights_are_exact_shares_and_an_invalid_backend_has_its_own():
    def weighted(*pairs):
        rule = {"backendRefs": [{"name": n, "port": 8080, "weight": w} for n, w in pairs]}
        return answers(load(gateway(), route(rule), *service("idle", 0)), "http://any.example/")

    assert weighted(("v1", 70), ("v2", 30), ("v3", 0)) == ({"v1": Fraction(7, 10), "v2": Fraction(3, 10)}, {})
    assert weighted(("v1", 1), ("nobody", 1)) == ({"v1": Fraction(1, 2)}, {"500": Fraction(1, 2)})
    assert weighted(("v1", 1), ("idle", 2)) == ({"v1": Fraction(1, 3)}, {"503": Fraction(2, 3)})
    assert weighted(("v1", 1), ("nobody", 0)) == ({"v1": 1}, {})
    assert weighted(("v1", 1), ("v1", 2)) == ({"v1": 1}, {})


def test_a_backend_has_filters_of_its_own():
    def ref(name, **changes):
        modifier = {
            "type": "RequestHeaderModifier",
            "requestHeaderModifier": {"set": [{"name": "Backend", "value": name}]},
        }
        return {"name": name, "port": 8080, "filters": [modifier, *changes.get("filters", [])]}

    outer = {"type": "URLRewrite", "urlRewrite": {"hostname": "inner.example"}}
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "redirect.example", "statusCode": 301}}
    rule = {"filters": [outer], "backendRefs": [ref("v1"), ref("v2"), ref("v3", filters=[redirect])]}
    cluster, seen = load(gateway(), route(rule)), set()
    for seed in range(20):
        told = ask(cluster, "GET any.example/a", seed=seed)
        if told["status"] == 301:
            assert told["location"] == "http://redirect.example/a"
        else:
            name, forwarded = told["backend"]["service"], told["forwarded"]
            assert (forwarded["headers"], forwarded["host"]) == ({"backend": name}, "inner.example")
        seen.add(told["status"])
    assert seen == {200, 301}
    assert answers(cluster, "http://any.example/a") == (
        {"v1": Fraction(1, 3), "v2": Fraction(1, 3)},
        {"301": Fraction(1, 3)},
    )


# --- filters ---


def prefixed(value: str) -> list[dict]:
    return [{"path": {"type": "PathPrefix", "value": value}}]


@pytest.mark.parametrize(
    ("asked", "prefix", "replacement", "path"),  # the table beside replacePrefixMatch
    [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo/bar", "/", "/xyz", "/xyz/foo/bar"),
        ("/", "/", "/xyz", "/xyz/"),
        ("/foo/bar?q=/foo", "/foo", "/xyz", "/xyz/bar?q=/foo"),
    ],
)
def test_replaced_prefixes(asked, prefix, replacement, path):
    change = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": replacement}}
    rewrite = to("v1", matches=prefixed(prefix), filters=[{"type": "URLRewrite", "urlRewrite": change}])
    assert ask(load(gateway(), route(rewrite)), f"GET any.example{asked}")["forwarded"]["path"] == path
    redirect = {"matches": prefixed(prefix), "filters": [{"type": "RequestRedirect", "requestRedirect": change}]}
    assert ask(load(gateway(), route(redirect)), f"GET any.example{asked}")["location"] == f"http://any.example{path}"


TLS = {"certificateRefs": [{"name": "cert"}]}
PORTS = [
    listener(),
    listener("alt", 8080),
    listener("https", 443, "HTTPS", tls=TLS),
    listener("tls", 8443, "HTTPS", tls=TLS),
]


@pytest.mark.parametrize(
    ("asked", "redirect", "status", "location"),
    [
        ("http://h.example/a?b=c", {"scheme": "https"}, 302, "https://h.example/a?b=c"),
        ("http://h.example/a", {"scheme": "https", "statusCode": 301}, 301, "https://h.example/a"),
        ("http://h.example/a", {"hostname": "example.org", "statusCode": 308}, 308, "http://example.org/a"),
        ("http://h.example/a", {"port": 8083}, 302, "http://h.example:8083/a"),
        ("http://h.example/a", {"port": 80}, 302, "http://h.example/a"),
        ("http://h.example/a", {"scheme": "https", "port": 443}, 302, "https://h.example/a"),
        ("http://h.example/a", {"scheme": "https", "port": 8443}, 302, "https://h.example:8443/a"),
        ("http://h.example/a", {"scheme": "https", "port": 80}, 302, "https://h.example:80/a"),
        ("http://h.example:8080/a", {"hostname": "example.org"}, 302, "http://example.org:8080/a"),
        ("http://h.example:8080/a", {"port": 80}, 302, "http://h.example/a"),
        ("http://h.example:8080/a", {"scheme": "https"}, 302, "https://h.example/a"),
        ("https://h.example/a", {}, 302, "https://h.example/a"),
        ("https://h.example/a", {"scheme": "http"}, 302, "http://h.example/a"),
        ("https://h.example/a", {"scheme": "http", "port": 8080}, 302, "http://h.example:8080/a"),
        ("https://h.example:8443/a", {"statusCode": 307}, 307, "https://h.example:8443/a"),
        (
            "http://h.example/a",
            {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/b"}},
            302,
            "http://h.example/b",
        ),
    ],
)
def test_redirects(asked, redirect, status, location):
    told = ask(
        load(gateway(*PORTS), route({"filters": [{"type": "RequestRedirect", "requestRedirect": redirect}]})),
        f"GET {asked}",
    )
    assert (told["status"], told["location"], told["backend"]) == (status, location, None)


def test_copies_and_time_outs_are_told():
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "v2", "port": 8080}, "percent": 10}}
    rule = to("v1", filters=[mirror], timeouts={"request": "10s", "backendRequest": "2s"})
    told = ask(load(gateway(), route(rule)), "GET any.example/")
    why = next(h["why"] for h in told["hops"] if h["layer"] == "gateway")
    assert got(told) == f"{NS}/v1"
    assert (
        f"a copy of 10% goes to {NS}/v2:8080; its answer is dropped" in why and "request 10s, backendRequest 2s" in why
    )


@pytest.mark.parametrize(
    ("timeouts", "status", "patience"),
    [
        ({}, 200, None),
        ({"request": "500ms"}, 504, 0.5),
        ({"backendRequest": "500ms"}, 504, 0.5),
        ({"request": "2s", "backendRequest": "500ms"}, 504, 0.5),
        ({"request": "0s"}, 200, None),  # "0s" turns it off
        ({"request": "0s", "backendRequest": "0s"}, 200, None),
        ({"request": "500ms", "backendRequest": "0s"}, 504, 0.5),
        ({"request": "0s", "backendRequest": "500ms"}, 504, 0.5),
        ({"request": "1m", "backendRequest": "1s"}, 200, 1.0),
    ],
)
def test_who_takes_longer_than_the_time_out_is_given_up(timeouts, status, patience):
    """As the conformance tests HTTPRouteTimeoutRequest and HTTPRouteTimeoutBackendRequest, where the pod takes 1 s."""
    cluster = load(gateway(), route(to("v1", timeouts=timeouts))).with_pods("v1", service_time="1s")
    trace, asked = cluster.trace("http://any.example/"), "http://any.example/"
    assert trace.status == status
    assert next(h.chosen.flow.patience for h in trace.hops if h.decision.layer == "gateway") == patience
    assert set(cluster.send(asked, 50).counts("status")) == {str(status)}
    assert (dict(cluster.shares(asked).answered) == {"504": 1}) == (status == 504)


@pytest.mark.parametrize("kind", ["cors", "extensionRef"])
def test_filters_that_are_not_modelled_say_so(kind):
    filters = [{"type": {"cors": "CORS"}.get(kind, "ExtensionRef"), kind: {"group": "g", "kind": "k", "name": "n"}}]
    cluster = load(gateway(), route(to("v1", filters=filters, matches=prefixed("/a")), to("v2")))
    assert got(ask(cluster, "GET any.example/")) == f"{NS}/v2"
    with pytest.raises(k8slb.NotModelled, match="CORS" if kind == "cors" else "ExtensionRef"):
        cluster.trace("http://any.example/a")


# --- which match takes the request ---


@pytest.mark.parametrize(
    ("match", "asked", "headers", "takes"),
    [
        ({"headers": [{"name": "X-V", "value": "v[12]", "type": "RegularExpression"}]}, "/", {"x-v": "v2"}, True),
        ({"headers": [{"name": "X-V", "value": "v[12]", "type": "RegularExpression"}]}, "/", {"x-v": "v20"}, False),
        ({"headers": [{"name": "X-V", "value": "a"}, {"name": "x-v", "value": "b"}]}, "/", {"X-V": "a"}, True),
        ({"headers": [{"name": "X-V", "value": "a"}]}, "/", {"x-v": "A"}, False),
        ({"queryParams": [{"name": "q", "value": "a.*", "type": "RegularExpression"}]}, "/?q=abc", {}, True),
        ({"queryParams": [{"name": "q", "value": "a.*", "type": "RegularExpression"}]}, "/?q=ba", {}, False),
        ({"queryParams": [{"name": "q", "value": "a"}]}, "/?q=a&q=b", {}, True),
        ({"queryParams": [{"name": "q", "value": "a"}]}, "/?q=b&q=a", {}, False),
        ({"queryParams": [{"name": "q", "value": "a b"}]}, "/?q=a%20b", {}, True),
        ({"path": {"type": "RegularExpression", "value": "/v[0-9]+/.*"}}, "/v12/a", {}, True),
        ({"path": {"type": "RegularExpression", "value": "/v[0-9]+"}}, "/v12/a", {}, False),
        ({"path": {"type": "Exact", "value": "/a/"}}, "/a", {}, False),
        ({"path": {"type": "PathPrefix", "value": "/a/"}}, "/a", {}, True),
        ({"path": {"type": "PathPrefix", "value": "/a"}}, "/ab", {}, False),
        ({"path": {"type": "PathPrefix", "value": "/a"}}, "/A", {}, False),
        ({"method": "POST"}, "/", {}, False),
    ],
)
def test_matches(match, asked, headers, takes):
    told = ask(load(gateway(), route(to("v1", matches=[match]))), f"GET any.example{asked}", headers=headers)
    assert got(told) == (f"{NS}/v1" if takes else 404)


def test_the_oldest_route_then_the_first_by_name_has_it():
    def ages(*times):
        names = zip(("b", "a", "c"), times, ("v1", "v2", "v3"), strict=True)
        routes = [route(to(v), name=n, meta={"creationTimestamp": t} if t else None) for n, t, v in names]
        return got(ask(load(gateway(), *routes), "GET any.example/"))

    assert ages("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-01T00:00:00Z") == f"{NS}/v3"
    assert ages("", "", "") == f"{NS}/v2"


# --- listeners and attachment ---

ISOLATED = {"empty": "", "wild": "*.example.com", "deep": "*.foo.example.com", "one": "abc.foo.example.com"}


@pytest.mark.parametrize("own", [False, True], ids=["listeners", "listeners and routes"])
def test_listeners_are_isolated(own):
    hosts = ["bar.com", "*.example.com", "*.foo.example.com", "abc.foo.example.com"] if own else []
    listeners = [listener(n, **({"hostname": h} if h else {})) for n, h in ISOLATED.items()]
    routes = [route(to("v1", matches=prefixed(f"/{n}")), name=n, hosts=hosts, sectionName=n) for n in ISOLATED]
    cluster = load(gateway(*listeners), *routes)
    asked = dict(
        zip(ISOLATED, ("bar.com", "bar.example.com", "bar.foo.example.com", "abc.foo.example.com"), strict=True)
    )
    found = {(a, b): got(ask(cluster, f"GET {host}/{b}")) for a, host in asked.items() for b in ISOLATED}
    assert found == {(a, b): f"{NS}/v1" if a == b else 404 for a in ISOLATED for b in ISOLATED}


@pytest.mark.parametrize(
    ("allowed", "namespace", "parent", "hosts", "reason"),
    [
        ({}, NS, {}, (), ""),
        ({}, "other", {}, (), "NotAllowedByListeners"),
        ({"namespaces": {"from": "All"}}, "other", {}, (), ""),
        ({"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "a"}}}}, "other", {}, (), ""),
        (
            {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "b"}}}},
            "other",
            {},
            (),
            "NotAllowed",
        ),
        ({"kinds": [{"kind": "GRPCRoute"}]}, NS, {}, (), "NotAllowedByListeners"),
        ({"kinds": [{"kind": "GRPCRoute"}, {"kind": "HTTPRoute"}]}, NS, {}, (), ""),
        ({}, NS, {"sectionName": "http"}, (), ""),
        ({}, NS, {"sectionName": "https"}, (), "NoMatchingParent"),
        ({}, NS, {"port": 80}, (), ""),
        ({}, NS, {"port": 81}, (), "NoMatchingParent"),
        ({}, NS, {"port": 80, "sectionName": "other"}, (), "NoMatchingParent"),
        ({}, NS, {}, ("a.shop.example", "other.example"), ""),
        ({}, NS, {}, ("*.example",), ""),
        ({}, NS, {}, ("shop.example",), "NoMatchingListenerHostname"),
    ],
)
def test_attachment(allowed, namespace, parent, hosts, reason):
    team = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other", "labels": {"team": "a"}}}
    web = gateway(listener(hostname="*.shop.example", **({"allowedRoutes": allowed} if allowed else {})))
    rule = {"backendRefs": [{"name": "v1" if namespace == NS else "far", "port": 8080}]}
    cluster = load(team, web, route(rule, namespace=namespace, hosts=hosts, **parent), *ELSEWHERE)
    told = ask(cluster, "GET a.shop.example/")
    assert (got(told) != 404) == (not reason)
    rejected = [r for h in told["hops"] if h["layer"] == "gateway" for r in h["rejected"]]
    assert not reason or any(reason in r["why"] and r["line"] for r in rejected)


def test_certificates_and_listeners_that_speak_otherwise():
    far = {"certificateRefs": [{"name": "cert", "namespace": "other"}]}
    plain, own = listener(), listener("https", 443, "HTTPS", tls=TLS, hostname="a.example")
    cluster = load(gateway(plain, own, listener("far", 443, "HTTPS", tls=far, hostname="far.example")), route(to("v1")))
    told = ask(cluster, "GET https://a.example/")
    assert (told["certificate"], got(told)) == (f"{NS}/cert", f"{NS}/v1") and "Secret" in told["warnings"][0]
    assert ask(cluster, "GET https://b.example/")["action"] == "reject"
    assert "RefNotPermitted" in ask(cluster, "GET https://far.example/")["hops"][-1]["why"]
    secret = grant(sender={"kind": "Gateway"}, to={"kind": "Secret"})
    granted = load(gateway(listener("far", 443, "HTTPS", tls=far)), route(to("v1")), secret)
    assert ask(granted, "GET https://any.example/")["certificate"] == "other/cert"
    passed = {"name": "tls", "port": 443, "protocol": "TLS", "tls": {"mode": "Passthrough"}}
    with pytest.raises(k8slb.NotModelled, match="TLS"):
        load(gateway(passed), route(to("v1"))).trace("https://any.example/")


def test_a_route_whose_gateway_is_missing_says_so():
    told = ask(load(route(to("v1"), hosts=["h.example"])), "GET h.example/")
    assert (
        told["action"] == "unresolved"
        and "HTTPRoute infra/r names it: there is no Gateway web" in told["hops"][0]["why"]
    )


def test_kinds_that_are_not_read_are_named_where_nothing_takes_the_request():
    grpc, listeners = thing("GRPCRoute", "calls", {"parentRefs": [{"name": "web"}]}), thing("ListenerSet", "more", {})
    cluster = load(gateway(listener(hostname="*.example")), route(to("v1"), hosts=["h.example"]), grpc, listeners)
    for url in ("http://other.example/", "http://other.test/"):  # no rule takes the one, no listener the other
        told = cluster.trace(url).to_dict()
        assert told["status"] == 404 and sum("is not modelled" in w for w in told["warnings"]) == 2, told
    assert "is not modelled" not in " ".join(cluster.trace("http://h.example/").to_dict()["warnings"])


BACKEND = {"service": {"name": "v2", "port": {"number": 8080}}}


def test_whose_gateway_it_is():
    def of(class_name, *classes):
        web = thing("Gateway", "web", {"gatewayClassName": class_name, "listeners": [listener()]})
        return load(web, route(to("v1"), hosts=["h.example"]), *classes)

    product = thing("GatewayClass", "prod", {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"})
    for cluster in (of("prod", product), of("istio")):
        with pytest.raises(k8slb.NotModelled, match="gateway"):
            cluster.trace("http://h.example/")
    assert any("the specification itself" in a for a in of("mine").assumptions)
    assert got(ask(of("mine"), "GET h.example/")) == f"{NS}/v1"


def test_a_gateways_own_pods_and_service_are_used():
    label = {"gateway.networking.k8s.io/gateway-name": "web"}
    container = {"name": "proxy", "ports": [{"name": "web", "containerPort": 10080}]}
    template = {"metadata": {"labels": label}, "spec": {"containers": [container]}}
    pods = thing(
        "Deployment", "proxy", {"replicas": 2, "selector": {"matchLabels": label}, "template": template}, "apps/v1"
    )
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    front = thing("Service", "proxy", {"type": "LoadBalancer", "selector": label, "ports": ports}, "v1")
    cluster = load(gateway(), pods, front, route(to("v1"), hosts=["h.example"]))
    told = ask(cluster, "GET h.example/")
    hop = next(h for h in told["hops"] if h["layer"] == "gateway")
    assert got(told) == f"{NS}/v1" and hop["at"].startswith(f"{NS}/proxy-") and hop["destination"].endswith(":10080")
    assert not any("no pods of Gateway" in a for a in cluster.assumptions)


def test_the_address_is_the_gateways_own_and_a_host_of_an_ingress_too_is_said():
    web = gateway() | {"status": {"addresses": [{"type": "IPAddress", "value": "203.0.113.77"}]}}
    rule = {"host": "h.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]}}
    ingress = thing("Ingress", "old", {"rules": [rule]}, "networking.k8s.io/v1")
    told = ask(load(web, route(to("v1"), hosts=["h.example"])), "GET h.example/")
    assert told["hops"][0]["chosen"] == "203.0.113.77" and got(told) == f"{NS}/v1"
    both = ask(load(web, route(to("v1"), hosts=["h.example"]), ingress), "GET h.example/")
    assert got(both) == f"{NS}/v2" and any("Gateway infra/web" in w and "taken" in w for w in both["warnings"])
    assert got(ask(load(web, route(to("v1")), ingress), "GET 203.0.113.77/")) == f"{NS}/v1"


# --- what the API server refuses ---


def filtered(*filters: dict, **rule) -> dict:
    return route({"filters": list(filters), **rule})


REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"port": 81}}
REWRITE = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"}}}
HEADER = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (route(to("v1", matches=[{"path": {"value": "no/slash"}}])), "spec.rules[0].matches[0].path.value"),
        (
            route(to("v1", matches=[{"path": {"type": "Exact", "value": "/a//b"}}])),
            "spec.rules[0].matches[0].path.value",
        ),
        (route(to("v1", matches=[{"path": {"value": "/a/.."}}])), "spec.rules[0].matches[0].path.value"),
        (route(to("v1", matches=[{"path": {"value": "/a%2fb"}}])), "spec.rules[0].matches[0].path.value"),
        (route(to("v1", matches=[{"path": {"type": "Prefix"}}])), "spec.rules[0].matches[0].path.type"),
        (route(to("v1", matches=[{"method": "get"}])), "spec.rules[0].matches[0].method"),
        (
            route(to("v1", matches=[{"headers": [{"name": ":a", "value": "b"}]}])),
            "spec.rules[0].matches[0].headers[0].name",
        ),
        (
            route(to("v1", matches=[{"headers": [{"name": "a", "value": "b"}, {"name": "a", "value": "c"}]}])),
            "spec.rules[0].matches[0].headers[1]",
        ),
        (route(*[to("v1")] * 17), "spec.rules"),
        (route(*[to("v1", matches=[{}] * 10)] * 13), "spec.rules"),
        (route(), "spec.rules"),
        (route(to("v1", name="a"), to("v2", name="a")), "spec.rules[1]"),
        (route({"backendRefs": [{"name": "v1"}]}), "spec.rules[0].backendRefs[0].port"),
        (
            route({"backendRefs": [{"name": "v1", "port": 80, "weight": 1_000_001}]}),
            "spec.rules[0].backendRefs[0].weight",
        ),
        (route(to("v1"), hosts=["1.2.3.4"]), "spec.hostnames[0]"),
        (route(to("v1", timeouts={"request": "soon"})), "spec.rules[0].timeouts.request"),
        (filtered(REDIRECT, REWRITE), "spec.rules[0].filters"),
        (filtered(REDIRECT, **to("v1")), "spec.rules[0].filters[0]"),
        (filtered(HEADER, HEADER, **to("v1")), "spec.rules[0].filters[1]"),
        (
            filtered(REWRITE, **to("v1", matches=[{"path": {"type": "Exact", "value": "/"}}])),
            "spec.rules[0].filters[0]",
        ),
        (filtered(REWRITE, **to("v1", matches=[{}, {}])), "spec.rules[0].filters[0]"),
        (filtered({"type": "URLRewrite"}, **to("v1")), "spec.rules[0].filters[0].urlRewrite"),
        (filtered(HEADER | {"urlRewrite": {}}, **to("v1")), "spec.rules[0].filters[0].urlRewrite"),
        (filtered({"type": "Rewrite"}), "spec.rules[0].filters[0].type"),
        (
            filtered({"type": "RequestRedirect", "requestRedirect": {"statusCode": 300}}),
            "spec.rules[0].filters[0].requestRedirect.statusCode",
        ),
        (
            filtered({"type": "URLRewrite", "urlRewrite": {"hostname": "*.a.example"}}),
            "spec.rules[0].filters[0].urlRewrite.hostname",
        ),
        (gateway(listener(), listener()), "spec.listeners[1]"),
        (gateway(listener(), listener("b")), "spec.listeners[1]"),
        (gateway(listener(tls=TLS)), "spec.listeners[0].tls"),
        (gateway(listener("a", 443, "HTTPS", tls={"mode": "Passthrough"})), "spec.listeners[0].tls"),
        (gateway(listener("a", 443, "HTTPS", tls={})), "spec.listeners[0].tls.certificateRefs"),
        (gateway(listener("a", 5432, "TCP", hostname="a.example")), "spec.listeners[0].hostname"),
        (thing("Gateway", "web", {"gatewayClassName": "c", "listeners": []}), "spec.listeners"),
        (thing("ReferenceGrant", "g", {"to": [{"group": "", "kind": "Service"}]}), "spec.from"),
        (thing("GatewayClass", "c", {"controllerName": "nodomain"}), "spec.controllerName"),
    ],
)
def test_refused(wrong, field):
    with pytest.raises(k8slb.InputError) as error:
        load(wrong)
    assert (error.value.field, error.value.line is not None) == (field, True)
