"""Meshes: who is in one, what is picked for a request and what for a connection, certificates, retries, ejection."""

from collections import Counter
from fractions import Fraction

import pytest

import k8slb
from k8slb.decision import Place
from k8slb.errors import InputError, NotModelled
from k8slb.layers import mesh
from k8slb.layers.mesh import istio, members

ORDERS, OUTSIDE = "http://order-service", "https://myshop.example.com/orders"
STRANGER, NAMED = "pod:ingress-nginx/ingress-nginx-controller-1", "http://order-service.default"
SHOP = k8slb.load("shop").scale("order", 4)


def space(name="default", labels="{}", annotations="{}"):
    return f"{{kind: Namespace, metadata: {{name: {name}, labels: {labels}, annotations: {annotations}}}}}"


ISTIO = SHOP.apply(space(labels="{istio-injection: enabled}"))
AMBIENT = SHOP.apply(space(labels="{istio.io/dataplane-mode: ambient}"))
LINKERD = SHOP.apply(space(annotations="{linkerd.io/inject: enabled}"))
GATEWAY = """
kind: Gateway
metadata: {name: wp, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
"""
WAYPOINT = AMBIENT.apply(GATEWAY).apply(space(labels="{istio.io/use-waypoint: wp}"))


def rule(policy="", subsets="", host="order-service", name="rule"):
    spec = f"host: {host}, trafficPolicy: {{{policy}}}, subsets: [{subsets}]"
    return f"{{kind: DestinationRule, metadata: {{name: {name}, namespace: default}}, spec: {{{spec}}}}}"


def virtual(http, hosts="order-service", more=""):
    spec = f"hosts: [{hosts}], http: {http} {more}"
    return f"{{kind: VirtualService, metadata: {{name: orders, namespace: default}}, spec: {{{spec}}}}}"


def strict(namespace="default", more="", mode="STRICT"):
    meta = f"{{name: strict, namespace: {namespace}}}"
    return f"{{kind: PeerAuthentication, metadata: {meta}, spec: {{mtls: {{mode: {mode}}} {more}}}}}"


ROUND = rule("loadBalancer: {simple: ROUND_ROBIN}")


GETS = "{name: gets, condition: {method: GET, pathRegex: '/v[12]'}, isRetryable: true}"


def profile(routes, budget="", namespace="default"):
    spec = f"routes: [{routes}]" + (f", retryBudget: {budget}" if budget else "")
    meta = f"{{name: order-service.default.svc.cluster.local, namespace: {namespace}}}"
    return f"{{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {meta}, spec: {{{spec}}}}}"


def port(cluster, **fields):
    spec = ", ".join(f"{k}: {v}" for k, v in {"port": 80, "targetPort": 8081, **fields}.items())
    return cluster.apply(f"{{kind: Service, metadata: {{name: order-service}}, spec: {{ports: [{{{spec}}}]}}}}")


def counts(run, column="pod"):
    found = Counter(run.table[column].astype(str))
    return sorted((n for n in found.values() if n), reverse=True)


def decided(cluster, url=ORDERS, **how):
    return next(h.decision for h in cluster.trace(url, **how).hops if h.decision.layer == "mesh")


# --- for each request, or for each connection -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cluster", "connections", "expected"),
    [
        (SHOP, 1, [400]),
        (AMBIENT, 1, [400]),
        (ISTIO.apply(ROUND), 1, [100] * 4),
        (ISTIO.apply(ROUND), 2, [100] * 4),
        (WAYPOINT.apply(ROUND), 1, [100] * 4),
        (AMBIENT.apply(ROUND), 1, [400]),  # ztunnel reads no DestinationRule
        (port(ISTIO, name="tcp-orders"), 1, [400]),
        (port(ISTIO, name="http-orders", appProtocol="tcp"), 1, [400]),
        (port(ISTIO.apply(ROUND), name="tcp-orders", appProtocol="kubernetes.io/h2c"), 1, [100] * 4),
        (port(LINKERD, appProtocol="linkerd.io/opaque"), 1, [400]),
    ],
)
def test_a_held_connection_is_spread_only_where_requests_are_seen(cluster, connections, expected):
    """As one HTTP/2 connection of 400 streams was by Envoy: 400/0/0/0 at layer 4, 100 each at layer 7."""
    assert counts(cluster.send(ORDERS, requests=400, connections=connections, seed=1)) == expected


@pytest.mark.parametrize("cluster", [ISTIO, WAYPOINT, LINKERD])
def test_the_default_balancers_spread_a_held_connection_as_well(cluster):
    spread = counts(cluster.send(ORDERS, requests=4000, connections=1, seed=1))
    assert len(spread) == 4
    assert sum((n - 1000) ** 2 / 1000 for n in spread) < 16.3  # chi-square, 3 degrees of freedom: 0.1%


def test_each_client_pod_has_a_proxy_that_counts_for_itself():
    run = ISTIO.apply(ROUND).send(ORDERS, requests=400, clients=400, seed=1)  # each proxy takes its first turn only
    spread = counts(run)
    assert len(set(spread)) > 1
    assert sum((n - 100) ** 2 / 100 for n in spread) < 16.3
    strictly = ISTIO.apply(strict()).send(ORDERS, requests=90, clients=30, seed=1)
    assert set(strictly.table["status"]) == {"200"}
    own = ISTIO.apply(rule("loadBalancer: {consistentHash: {useSourceIp: true}}"))
    of = own.send(ORDERS, requests=200, clients=20, seed=1).table.groupby("client", observed=True)["pod"].nunique()
    assert (of == 1).all()


def test_who_decides_and_how():
    told = {
        name: (d.balancer, d.grain, d.place)
        for name, d in {
            "sidecar": decided(ISTIO),
            "ambient": decided(AMBIENT),
            "waypoint": decided(WAYPOINT),
            "linkerd": decided(LINKERD),
            "tls": decided(ISTIO, "https://order-service:80"),
            "tcp": decided(LINKERD, "tcp://order-service:80"),
        }.items()
    }
    client = Place("pod", "default/client")
    assert told == {
        "sidecar": ("envoy-least-request", "request", client),
        "ambient": ("ztunnel-random", "connection", client),
        "waypoint": ("envoy-least-request", "request", Place("pod", "default/wp")),
        "linkerd": ("linkerd-p2c-ewma", "request", client),
        "tls": ("envoy-least-request", "connection", client),
        "tcp": ("linkerd-p2c-ewma", "connection", client),
    }
    assert [h.decision.layer for h in ISTIO.trace(ORDERS).hops] == ["dns", "mesh", "pods"]
    assert [h.decision.layer for h in ISTIO.trace(NAMED, from_=STRANGER).hops] == ["dns", "kube-proxy", "pods"]


def test_a_waypoint_that_is_not_there_is_told_and_does_nothing():
    trace = AMBIENT.apply(space(labels="{istio.io/use-waypoint: wp}")).trace(ORDERS)
    assert any("waypoint default/wp is not in the input" in w for w in trace.warnings)
    none = "{kind: Service, metadata: {name: order-service, labels: {istio.io/use-waypoint: none}}}"
    assert decided(WAYPOINT.apply(none)).balancer == "ztunnel-random"


# --- who is in a mesh -----------------------------------------------------------------------------------------------

POD = (
    "{{kind: Pod, metadata: {{name: p, namespace: apart, labels: {labels}, annotations: {annotations}}}, spec: {spec}}}"
)


@pytest.mark.parametrize(
    ("namespace", "pod", "expected"),
    [
        ({}, {}, ""),
        ({"labels": "{istio-injection: enabled}"}, {}, "istio"),
        ({"labels": "{istio.io/rev: canary}"}, {}, "istio"),
        ({"labels": "{istio-injection: enabled}"}, {"labels": '{sidecar.istio.io/inject: "false"}'}, ""),
        ({"labels": "{istio-injection: enabled}"}, {"annotations": '{sidecar.istio.io/inject: "false"}'}, ""),
        ({}, {"labels": '{sidecar.istio.io/inject: "true"}'}, "istio"),
        ({}, {"annotations": '{sidecar.istio.io/inject: "true"}'}, ""),  # the webhook selects by labels
        ({"labels": "{istio-injection: disabled}"}, {"labels": '{sidecar.istio.io/inject: "true"}'}, ""),
        ({"labels": "{istio-injection: enabled}"}, {"spec": "{hostNetwork: true}"}, ""),
        ({}, {"spec": "{containers: [{name: istio-proxy}]}"}, "istio"),
        ({}, {"spec": "{initContainers: [{name: istio-proxy, restartPolicy: Always}]}"}, "istio"),
        ({"labels": "{istio.io/dataplane-mode: ambient}"}, {}, "ambient"),
        ({"labels": "{istio.io/dataplane-mode: ambient}"}, {"labels": "{istio.io/dataplane-mode: none}"}, ""),
        ({"labels": "{istio.io/dataplane-mode: ambient}"}, {"labels": '{sidecar.istio.io/inject: "true"}'}, "istio"),
        ({"annotations": "{linkerd.io/inject: enabled}"}, {}, "linkerd"),
        ({"annotations": "{linkerd.io/inject: enabled}"}, {"annotations": "{linkerd.io/inject: disabled}"}, ""),
        ({}, {"annotations": "{linkerd.io/inject: enabled}"}, "linkerd"),
        ({}, {"spec": "{containers: [{name: linkerd-proxy}]}"}, "linkerd"),
    ],
)
def test_membership(namespace, pod, expected):
    fields = {"labels": "{}", "annotations": "{}", "spec": "{}"} | pod
    view = SHOP.apply(space("apart", **namespace)).apply(POD.format(**fields))
    assert members.member_at(view, Place("pod", "apart/p")).mesh == expected


def test_identities():
    own = "{kind: Deployment, metadata: {name: order}, spec: {template: {spec: {serviceAccountName: clerk}}}}"
    calls = [(c.apply(own), "pod:default/order-1", "http://payment-service") for c in (ISTIO, AMBIENT, LINKERD)]
    seen = [c.trace(url, from_=who).hops[-1].decision.flow.identity for c, who, url in calls]
    assert seen == ["spiffe://cluster.local/ns/default/sa/clerk"] * 2 + [
        "clerk.default.serviceaccount.identity.linkerd.cluster.local"
    ]
    assert WAYPOINT.trace(ORDERS).hops[-1].decision.flow.identity == "spiffe://cluster.local/ns/default/sa/wp"
    labels = '{sidecar.istio.io/inject: "false"}'
    outside = ISTIO.apply(
        f"{{kind: Deployment, metadata: {{name: order}}, spec: {{template: {{metadata: {{labels: {labels}}}}}}}}}"
    )
    assert outside.trace(ORDERS).hops[-1].decision.flow.identity == ""
    assert outside.trace(ORDERS).status == 200


# --- STRICT ---------------------------------------------------------------------------------------------------------

INGRESS = space("ingress-nginx", labels="{%s}")


@pytest.mark.parametrize(
    ("cluster", "url", "from_", "status"),
    [
        (ISTIO, OUTSIDE, None, 200),
        (ISTIO.apply(strict()), ORDERS, None, 200),
        (ISTIO.apply(strict()), OUTSIDE, None, 502),
        (ISTIO.apply(strict()), NAMED, STRANGER, None),
        (ISTIO.apply(strict("istio-system")), OUTSIDE, None, 502),
        (ISTIO.apply(strict("elsewhere")), OUTSIDE, None, 200),
        (ISTIO.apply(strict("istio-system")).apply(strict(mode="PERMISSIVE")), OUTSIDE, None, 200),
        (ISTIO.apply(strict(more=", selector: {matchLabels: {app: order}}")), OUTSIDE, None, 502),
        (ISTIO.apply(strict(more=", selector: {matchLabels: {app: payment}}")), OUTSIDE, None, 200),
        (
            ISTIO.apply(
                strict(more=", selector: {matchLabels: {app: order}}, portLevelMtls: {8081: {mode: PERMISSIVE}}")
            ),
            OUTSIDE,
            None,
            200,
        ),
        (ISTIO.apply(strict(more=", portLevelMtls: {8081: {mode: UNSET}}")), OUTSIDE, None, 502),
        # a controller in the mesh dials pods: its sidecar knows no Service there, ztunnel knows the pod
        (ISTIO.apply(strict()).apply(INGRESS % "istio-injection: enabled"), OUTSIDE, None, 502),
        (AMBIENT.apply(strict()), OUTSIDE, None, 502),
        (AMBIENT.apply(strict()).apply(INGRESS % "istio.io/dataplane-mode: ambient"), OUTSIDE, None, 200),
    ],
)
def test_strict_refuses_plain_text(cluster, url, from_, status):
    trace = cluster.trace(url, from_=from_)
    assert trace.status == status
    if status is None:
        assert trace.action == "reject"


def test_an_ingress_in_the_mesh_that_asks_for_the_service_is_let_in_and_the_mesh_picks():
    said = '{nginx.ingress.kubernetes.io/service-upstream: "true"}'
    upstream = f"{{kind: Ingress, metadata: {{name: app-ingress, annotations: {said}}}}}"
    trace = ISTIO.apply(strict()).apply(INGRESS % "istio-injection: enabled").apply(upstream).trace(OUTSIDE)
    assert trace.status == 200
    assert [h.decision.layer for h in trace.hops][-3:] == ["ingress", "mesh", "pods"]


# --- headless Services ----------------------------------------------------------------------------------------------


def test_a_headless_service_is_left_to_dns_and_encrypted():
    for cluster in (ISTIO, AMBIENT, LINKERD):
        headless = cluster.apply("{kind: Service, metadata: {name: order-service}, spec: {clusterIP: None}}").apply(
            strict()
        )
        trace = headless.trace("http://order-service:8081")
        assert trace.status == 200
        assert trace.hops[-1].decision.flow.identity
        assert counts(headless.send("http://order-service:8081", requests=40, connections=1)) == [40]


# --- retries, statuses ----------------------------------------------------------------------------------------------

FAILING = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: bad}
spec:
  replicas: 1
  selector: {matchLabels: {app: order, bad: "yes"}}
  template:
    metadata: {labels: {app: order, bad: "yes"}, annotations: {k8slb/fail: "1 %d"}}
    spec: {containers: [{name: order, ports: [{containerPort: 8081}]}]}
"""


def annotated(cluster, said):
    return cluster.apply(f"{{kind: Service, metadata: {{name: order-service, annotations: {said}}}}}")


@pytest.mark.parametrize(
    ("cluster", "status", "share"),
    [
        (ISTIO, 503, 1 / 5),  # since 1.24 Istio retries a pod's 503 only if it is asked to
        (ISTIO.apply(virtual("[{retries: {attempts: 2}, route: [{destination: {host: order-service}}]}]")), 503, 1 / 5),
        (ISTIO, 500, 1 / 5),
        (ISTIO.apply(virtual("[{retries: {attempts: 0}, route: [{destination: {host: order-service}}]}]")), 503, 1 / 5),
        (
            ISTIO.apply(
                virtual("[{retries: {attempts: 1, retryOn: 5xx}, route: [{destination: {host: order-service}}]}]")
            ),
            500,
            0,
        ),
        (LINKERD, 503, 1 / 5),
        (annotated(LINKERD, "{retry.linkerd.io/http: 5xx}"), 503, 1 / 25),  # a retry may come to the same pod
        (annotated(LINKERD, "{retry.linkerd.io/http: gateway-error}"), 500, 1 / 5),
        (annotated(LINKERD, '{retry.linkerd.io/http: "500-504", retry.linkerd.io/limit: "2"}'), 500, 1 / 125),
        (annotated(LINKERD, '{retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: "0"}'), 503, 1 / 25),  # as not given
        (AMBIENT, 503, 1 / 5),
        (WAYPOINT, 503, 1 / 5),
    ],
)
def test_retries(cluster, status, share):
    run = cluster.apply(FAILING % status).send(ORDERS, requests=5000, seed=1)
    failed = int((run.table["status"] == str(status)).sum())
    assert abs(failed - 5000 * share) <= 4 * (5000 * share * (1 - share)) ** 0.5  # of five pods one fails


@pytest.mark.parametrize(("retry", "share"), [("{}", 2 / 3), ("{retry.linkerd.io/http: 5xx}", 4 / 9)])
def test_linkerds_retries_come_to_the_pod_that_fails_fast(retry, share):
    """linkerd2 11669: of three pods one answers 500 at once, the others after 100 ms; whenever drawn it is taken."""
    cluster = annotated(LINKERD.scale("order", 2).apply(FAILING % 500), retry)
    run = cluster.with_pods("order", service_time="100ms", workers=1000).send(ORDERS, requests=2000, rate=20, seed=1)
    assert run.counts("status")["500"] / 2000 == pytest.approx(share, abs=0.045)


def test_what_a_proxy_answers_where_nobody_does():
    assert [c.scale("order", 0).trace(ORDERS).status for c in (ISTIO, WAYPOINT, LINKERD)] == [503, 503, 504]
    assert AMBIENT.scale("order", 0).trace(ORDERS).action == "reject"
    wrong = "{kind: Service, metadata: {name: order-service}, spec: {ports: [{port: 80, targetPort: 9}]}}"
    assert [c.apply(wrong).trace(ORDERS).status for c in (ISTIO, LINKERD)] == [503, 502]
    assert istio.RETRIED.tries == 3


# --- routes ---------------------------------------------------------------------------------------------------------

SPLIT = (
    "[{route: [{destination: {host: order-service}, weight: 90}, {destination: {host: payment-service}, weight: 10}]}]"
)
ROUTE = """
kind: HTTPRoute
metadata: {name: split, namespace: default}
spec:
  parentRefs: [{group: "", kind: Service, name: order-service, port: 80}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /v1}}]
    backendRefs: [{name: order-service, port: 80, weight: 9}, {name: payment-service, port: 80, weight: 1}]
"""
TURNS = ISTIO.apply(ROUND).apply(rule("loadBalancer: {simple: ROUND_ROBIN}", host="payment-service", name="other"))


@pytest.mark.parametrize("routed", [virtual(SPLIT), ROUTE])
@pytest.mark.parametrize(
    "cluster",
    [
        TURNS,
        TURNS.apply(
            space(labels="{istio-injection: null, istio.io/dataplane-mode: ambient, istio.io/use-waypoint: wp}")
        ).apply(GATEWAY),
    ],
)
def test_split_traffic_has_exact_shares(cluster, routed):
    shares = cluster.apply(routed).shares(f"{ORDERS}/v1/x")
    assert sorted(shares.values()) == [Fraction(1, 20)] * 2 + [Fraction(9, 40)] * 4
    spread = cluster.apply(routed).send(f"{ORDERS}/v1/x", requests=4000, connections=1, seed=3)
    paid = spread.table["pod"].astype(str).str.endswith(":8082").sum()
    assert abs(paid - 400) < 4 * 19  # binomial: one deviation is 19


def test_linkerd_follows_an_httproute_and_its_annotations():
    cluster = LINKERD.apply(ROUTE).apply(FAILING % 503)
    assert cluster.trace(f"{ORDERS}/v2").status == 404
    retried = cluster.apply("{kind: HTTPRoute, metadata: {name: split, annotations: {retry.linkerd.io/http: 5xx}}}")
    once, twice = (c.send(f"{ORDERS}/v1", requests=1000, seed=1).counts("status")["503"] for c in (cluster, retried))
    assert 130 < once < 230  # a fifth of nine in ten
    assert 10 < twice < 65  # and a fifth of these


SUBSETS = '{name: good, labels: {app: order}}, {name: bad, labels: {bad: "yes"}}, {name: none, labels: {a: b}}'


@pytest.mark.parametrize(
    ("http", "path", "header", "expected"),
    [
        ("[{match: [{uri: {prefix: /a}}], %s}]", "/ab", "", 200),  # a prefix of the text, not of path elements
        ("[{match: [{uri: {exact: /a}}], %s}]", "/a?b=c", "", 200),
        ("[{match: [{uri: {exact: /a}}], %s}]", "/a/", "", 404),
        ("[{match: [{uri: {regex: '/a.'}}], %s}]", "/abc", "", 404),
        ("[{match: [{uri: {regex: '/a.*'}}], %s}]", "/abc", "", 200),
        ("[{match: [{headers: {X-Who: {exact: me}}}], %s}]", "/", "me", 200),
        ("[{match: [{headers: {x-who: {prefix: m}}}], %s}]", "/", "you", 404),
        ("[{match: [{headers: {x-who: {}}}], %s}]", "/", "you", 200),
        ("[{match: [{uri: {prefix: /a}, method: {exact: POST}}], %s}]", "/a", "", 404),
        ("[{match: [{uri: {prefix: /x}}, {uri: {prefix: /a}}], %s}]", "/a", "", 200),
    ],
)
def test_a_virtual_service_matches_in_order(http, path, header, expected):
    cluster = ISTIO.apply(virtual(http % "route: [{destination: {host: order-service}}]"))
    assert cluster.trace(f"{ORDERS}{path}", headers={"x-who": header} if header else {}).status == expected


def test_subsets():
    cluster = ISTIO.apply(FAILING % 500).apply(rule(subsets=SUBSETS))
    for subset, status in (("bad", 500), ("none", 503), ("unheard-of", 503)):
        to = cluster.apply(virtual(f"[{{route: [{{destination: {{host: order-service, subset: {subset}}}}}]}}]"))
        assert to.trace(ORDERS).status == status
    assert cluster.apply(virtual("[{route: [{destination: {host: nowhere}}]}]")).trace(ORDERS).status == 503


# --- ServiceProfiles ------------------------------------------------------------------------------------------------


def retries(cluster, path="/v1", **how):
    run = cluster.send(f"{ORDERS}{path}", **{"requests": 1000, "seed": 1} | how)
    return sum(int(tries) - 1 for tries in run.table["tries"].astype(str)) if "tries" in run.table else 0


@pytest.mark.parametrize(
    ("budget", "how", "expected"),
    [
        ("", {}, 1000 // 5 + 10 * 10),  # a fifth, and 10 a second: all at once is one window of 10 s
        ("{retryRatio: 0.1, minRetriesPerSecond: 0, ttl: 1m}", {}, 100),
        ("{retryRatio: 1, minRetriesPerSecond: 0, ttl: 1m}", {}, 1000),
        ("{retryRatio: 0, minRetriesPerSecond: 1, ttl: 5s}", {}, 5),
        ("", {"path": "/v3"}, 0),
        ("", {"path": "/v1/more"}, 0),  # the expression is for all of the path
    ],
)
def test_retries_of_a_service_profile_have_a_budget(budget, how, expected):
    cluster = LINKERD.with_pods("order", fail="1 503").apply(profile(GETS, budget))
    assert retries(cluster, **how) == expected


def test_a_budget_refills_with_time():
    cluster = LINKERD.with_pods("order", fail="1 503")
    cluster = cluster.apply(profile(GETS, "{retryRatio: 0, minRetriesPerSecond: 1, ttl: 1s}"))
    run = cluster.send(f"{ORDERS}/v1", requests=400, rate=20, seed=1)
    spent, times = 0, []  # one retry in any second: who comes first after it has the next
    for at, tries in zip(run.table["time"], run.table["tries"].astype(str), strict=True):
        free = not times or at - times[-1] >= 1
        times += [at] * free
        spent += int(tries) - 1 == free
    assert spent == 400
    assert 12 < len(times) < 20


def test_where_a_service_profile_counts():
    failing = LINKERD.apply(FAILING % 503)
    mine = profile(GETS.replace("true", "false"), namespace="apart")
    theirs = failing.apply(profile(GETS))
    assert set(theirs.send(f"{ORDERS}/v1", requests=300, seed=1).table["status"]) == {"200"}
    assert "503" in set(theirs.send(f"{ORDERS}/v1", requests=300, method="POST", seed=1).table["status"])
    # the caller's namespace comes first; and a ServiceProfile comes before annotations and HTTPRoutes
    client = POD.format(labels="{}", annotations="{linkerd.io/inject: enabled}", spec="{containers: [{name: c}]}")
    asked = theirs.apply(client).apply(mine).send(f"{NAMED}/v1", requests=300, from_="pod:apart/p", seed=1)
    assert "503" in set(asked.table["status"])
    both = annotated(failing, "{retry.linkerd.io/http: 5xx, balancer.linkerd.io/failure-accrual: consecutive}")
    assert decided(both).ejects
    both = both.apply(profile(GETS)).apply(ROUTE)
    assert both.trace(f"{ORDERS}/none").status in (200, 503)
    assert decided(both).on_failure.tries == 1
    assert not decided(both).ejects
    with pytest.raises(NotModelled):
        failing.apply(profile("{condition: {any: [{method: GET}]}}")).trace(ORDERS)


# --- time-outs ------------------------------------------------------------------------------------------------------


def timed(said):
    return virtual(f"[{{{said}, route: [{{destination: {{host: order-service}}}}]}}]")


ALONE = ROUTE.replace(", weight: 9}, {name: payment-service, port: 80, weight: 1}", "}")


def on_route(times, said="{}"):
    route = ALONE.replace("split,", f"split, annotations: {said},")
    return route.replace("  - matches", f"  - timeouts: {times}\n    matches")


TWICE = "retries: {attempts: 2, perTryTimeout: 1s"
SLOW = {name: c.with_pods("order", service_time="2s") for name, c in (("istio", ISTIO), ("linkerd", LINKERD))}
SLOW["waypoint"] = WAYPOINT.with_pods("order", service_time="2s")


@pytest.mark.parametrize(
    ("cluster", "status", "tries"),
    [
        (SLOW["istio"], 200, 1),  # nothing has a time-out by default
        (SLOW["istio"].apply(timed("timeout: 1s")), 504, 1),
        (SLOW["istio"].apply(timed("timeout: 0s")), 200, 1),
        (SLOW["istio"].apply(timed("timeout: 2.5s")), 200, 1),
        (SLOW["waypoint"].apply(timed("timeout: 1s")), 504, 1),
        (SLOW["istio"].apply(timed(f"{TWICE}}}")), 504, 1),  # Istio's own retryOn leaves time-outs out
        (SLOW["istio"].apply(timed(f"{TWICE}, retryOn: 5xx}}")), 504, 3),
        (SLOW["istio"].apply(timed(f"{TWICE}, retryOn: 'gateway-error,reset'}}, timeout: 1.5s")), 504, 2),
        (SLOW["istio"].apply(timed(f"{TWICE}, retryOn: 5xx}}, timeout: 900ms")), 504, 1),
        (SLOW["istio"].apply(on_route("{request: 1s}")), 504, 1),
        (SLOW["istio"].apply(on_route("{request: 3s, backendRequest: 1s}")), 504, 1),
        (SLOW["linkerd"], 200, 1),
        (annotated(SLOW["linkerd"], "{timeout.linkerd.io/request: 1s, retry.linkerd.io/http: 5xx}"), 504, 1),
        (annotated(SLOW["linkerd"], "{timeout.linkerd.io/response: 500ms, timeout.linkerd.io/request: 5s}"), 504, 1),
        (annotated(SLOW["linkerd"], "{timeout.linkerd.io/request: 1s}").apply(ALONE), 504, 1),
        (annotated(SLOW["linkerd"], "{timeout.linkerd.io/request: 1s}").apply(on_route("{request: 5s}")), 200, 1),
        (SLOW["linkerd"].apply(on_route("{request: 1s}")), 504, 1),
        (SLOW["linkerd"].apply(on_route("{request: 1s}", "{timeout.linkerd.io/request: 5s}")), 200, 1),
        (SLOW["linkerd"].apply(on_route("{backendRequest: 1s}")), 200, 1),  # Linkerd does not read it
        (SLOW["linkerd"].apply(profile(GETS.replace("true", "true, timeout: 1s"))), 504, 1),
        (annotated(SLOW["linkerd"], "{timeout.linkerd.io/request: 1s}").apply(profile(GETS)), 200, 1),
    ],
)
def test_time_outs(cluster, status, tries):
    """Where all pods take two seconds."""
    trace, run = cluster.trace(f"{ORDERS}/v1"), cluster.send(f"{ORDERS}/v1", requests=20, seed=1)
    assert trace.status == status
    assert set(run.table["status"].astype(str)) == {str(status)}
    assert retries(cluster, requests=20) == 20 * (tries - 1)


def test_another_pod_may_be_in_time():
    slow = ISTIO.apply(FAILING.replace('k8slb/fail: "1 %d"', "k8slb/service-time: 2s"))
    asks = slow.apply(rule("loadBalancer: {simple: RANDOM}")).apply(timed(f"{TWICE}, retryOn: 5xx}}"))
    assert set(asks.send(ORDERS, requests=100, seed=1).table["status"]) == {"200"}
    assert list(asks.shares(ORDERS).values()) == [Fraction(1, 4)] * 4


# --- DestinationRule ------------------------------------------------------------------------------------------------


def test_hashing_keeps_a_user_on_a_pod_and_lacks_one_without_the_header():
    cluster = ISTIO.apply(rule("loadBalancer: {consistentHash: {httpHeaderName: X-User}}"))
    picks = {
        user: {cluster.trace(ORDERS, headers={"x-user": user}, seed=s).pod for s in range(5)} for user in "abcdefgh"
    }
    assert all(len(pods) == 1 for pods in picks.values())
    assert len(set().union(*picks.values())) > 1
    assert decided(cluster).balancer == "envoy-random"
    cookie = ISTIO.apply(rule("loadBalancer: {consistentHash: {maglev: {}, httpCookie: {name: user, ttl: 0s}}}"))
    assert counts(cookie.send(ORDERS, requests=50, connections=5)) == [50]  # one user, who keeps the cookie
    assert decided(cookie, headers={"cookie": "a=b; user=me"}).key_text == "me"


@pytest.mark.parametrize(("percent", "ejected"), [(None, 0), (25, 2), (50, 4), (99, 4)])
def test_outlier_detection_ejects_no_more_than_its_share(percent, ejected):
    """Of eight pods four fail. Where the field says nothing, no more than 10% may be ejected: of eight pods none."""
    said = "consecutive5xxErrors: 5" + (f", maxEjectionPercent: {percent}" if percent else "")
    cluster = ISTIO.apply(FAILING % 500).scale("bad", 4).apply(rule(f"outlierDetection: {{{said}}}"))
    late = cluster.send(ORDERS, requests=4000, connections=1, seed=1).table.iloc[2000:]
    assert late.loc[late["status"] == "500", "pod"].nunique() == 4 - ejected


SHORT = "tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}"


@pytest.mark.parametrize(
    ("pool", "pods", "fields", "admitted"),
    [
        (SHORT, 1, {}, 2),  # as with Istio's own example: one is answered, one waits
        (SHORT, 4, {}, 5),  # each pod may have a connection
        ("tcp: {maxConnections: 6}, http: {http1MaxPendingRequests: 1}", 4, {}, 7),
        ("tcp: {maxConnections: 1}", 4, {}, 10),  # all may wait
        ("http: {http2MaxRequests: 3}", 4, {}, 3),
        ("tcp: {maxConnections: 2}, http: {http2MaxRequests: 3, http1MaxPendingRequests: 1}", 4, {}, 4),
        ("tcp: {maxConnections: 2}, http: {http2MaxRequests: 3, http1MaxPendingRequests: 3}", 2, {}, 5),
        ("tcp: {maxConnections: 1}, http: {http2MaxRequests: 3, http1MaxPendingRequests: 1}", 1, {"name": "grpc-a"}, 3),
        (SHORT, 1, {"name": "http", "appProtocol": "kubernetes.io/h2c"}, 10),
    ],
)
def test_circuit_breakers(pool, pods, fields, admitted):
    """Of ten requests at once, to pods that take a while, those that are under way or wait for a connection; Envoy does
    not retry what it refuses."""
    cluster = port(ISTIO, **fields).apply(rule(f"connectionPool: {{{pool}}}, loadBalancer: {{simple: ROUND_ROBIN}}"))
    cluster = cluster.scale("order", pods)
    slow = cluster.with_pods("order", service_time="100ms").send(ORDERS, requests=10, seed=1)
    assert Counter(slow.table["status"]) == Counter({"200": admitted, "503": 10 - admitted})
    assert "tries" not in slow.table
    assert set(cluster.send(ORDERS, requests=10, seed=1).table["status"]) == {"200"}


def test_circuit_breakers_count_what_is_under_way():
    cluster = ISTIO.with_pods("order", service_time="200ms", workers=1000)
    cluster = cluster.apply(rule("connectionPool: {http: {http2MaxRequests: 2}}"))
    run, ends, refused = cluster.send(ORDERS, requests=400, rate=10, seed=1), [], 0
    for at, status in zip(run.table["time"], run.table["status"].astype(str), strict=True):
        ends = [end for end in ends if end > at]
        assert status == ("200" if len(ends) < 2 else "503")
        ends += [at + 0.2] * (status == "200")
        refused += status == "503"
    # Erlang's loss formula for two places and a load of 2: 2 / (1 + 2 + 2); one deviation of 400 is below 12
    assert abs(refused - 160) < 4 * 12


def test_each_backend_and_each_proxy_has_a_circuit_breaker_of_its_own():
    cluster = ISTIO.with_pods("order", service_time="1s").with_pods("payment", service_time="1s")
    cluster = cluster.apply(rule("connectionPool: {http: {http2MaxRequests: 2}}")).apply(virtual(SPLIT))
    run = cluster.send(ORDERS, requests=100, seed=1)
    orders = run.table[run.table["backend"] == "order-service"]
    assert (orders["status"] == "200").sum() == 2
    assert (run.table[run.table["backend"] == "payment-service"]["status"] == "200").all()
    several = cluster.send(ORDERS, requests=100, clients=3, seed=1).table
    assert (several[several["backend"] == "order-service"]["status"] == "200").sum() == 6
    one = WAYPOINT.with_pods("order", service_time="1s").apply(rule("connectionPool: {http: {http2MaxRequests: 2}}"))
    assert (one.send(ORDERS, requests=100, clients=3, seed=1).table["status"] == "200").sum() == 2


def test_connections_that_are_too_many_are_closed():
    cluster = port(ISTIO, name="tcp-orders").apply(rule("connectionPool: {tcp: {maxConnections: 3}}"))
    held = cluster.send("tcp://order-service:80", requests=10, connections=10, seed=1).table
    assert ((held["lost"] == "reject").sum(), (held["status"] == "open").sum()) == (7, 3)
    assert set(cluster.send("tcp://order-service:80", requests=10, seed=1).table["status"]) == {"open"}


def test_what_is_not_modelled_is_told():
    to = "route: [{destination: {host: order-service}}]"
    told = ISTIO.apply(virtual(f"[{{corsPolicy: {{}}, timeout: 2s, {to}}}]")).trace(ORDERS)
    assert [w.split(": ")[1] for w in told.warnings] == ["http.0.corsPolicy is not modelled"]
    for changing in ("fault: {abort: {httpStatus: 500}}", "match: [{uri: {glob: /a}}]"):  # a guess would be wrong
        with pytest.raises(k8slb.NotModelled, match=f"http.0.{changing[:5]}"):
            ISTIO.apply(virtual(f"[{{{changing}, {to}}}]")).trace(ORDERS)
    given = "tls: {}, connectionPool: {http: {idleTimeout: 1s}}, outlierDetection: {}"
    told = ISTIO.apply(rule(given)).trace(ORDERS)
    for aside in ("tls", "connectionPool.http.idleTimeout"):
        assert any(f"trafficPolicy.{aside} is not modelled" in w for w in told.warnings)
    assert any("caller's zone" in w for w in told.warnings)
    told = annotated(LINKERD, "{retry.linkerd.io/timeout: 1s, timeout.linkerd.io/idle: 1s}").trace(ORDERS).warnings
    assert told == ["retry.linkerd.io/timeout is not modelled", "timeout.linkerd.io/idle is not modelled"]
    told = LINKERD.apply(profile(GETS.replace("true", "true, responseClasses: []"))).trace(ORDERS).warnings
    assert [w.split(": ")[1] for w in told] == ["routes.0.responseClasses is not modelled"]
    with pytest.raises(NotModelled):
        ISTIO.apply(rule("loadBalancer: {simple: PASSTHROUGH}")).trace(ORDERS)
    with pytest.raises(NotModelled):
        ISTIO.apply(virtual("[{redirect: {uri: /}}]")).trace(ORDERS)


@pytest.mark.parametrize(
    "text",
    [
        rule("loadBalancer: {simple: FASTEST}"),
        rule("loadBalancer: {consistentHash: {httpHeaderName: a, useSourceIp: true}}"),
        rule("outlierDetection: {interval: soon}"),
        rule("outlierDetection: {maxEjectionPercent: 101}"),
        rule("connectionPool: {tcp: {maxConnections: many}}"),
        virtual("[{timeout: soon, route: [{destination: {host: a}}]}]"),
        profile("{condition: {method: GET}, isRetryable: 1}"),
        profile(GETS, budget="{retryRatio: 0.2}"),
        virtual("[{match: [{headers: {a: {exact: 1}}}]}]"),
        virtual("[{route: [{destination: {host: a}}, {destination: {host: b}}]}]"),
        strict(mode="ALWAYS"),
        strict(more=", portLevelMtls: {80: {mode: ON}}"),
    ],
)
def test_what_istio_would_refuse_is_an_error(text):
    with pytest.raises(InputError):
        ISTIO.apply(text)


def test_annotations_that_say_nothing_sensible_are_errors():
    for said in (
        "{retry.linkerd.io/http: often}",
        '{retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: "x"}',
        "{timeout.linkerd.io/request: soon}",
    ):
        with pytest.raises(InputError):
            annotated(LINKERD, said).trace(ORDERS)


def test_outside_meshes_nothing_is_asked_twice(monkeypatch):
    """A decision outside meshes costs a look-up: who is in which mesh is worked out once for each place."""
    asked = []
    monkeypatch.setattr(members, "_mesh", lambda view, pod: asked.append(pod.name) or "")
    view = SHOP.scale("order", 3)
    flow = k8slb.traffic.Flow("TCP", "10.0.0.4", "10.96.0.100", 80)
    assert not any(mesh.handles(view, flow, Place("pod", "default/client")) for _ in range(100))
    assert asked == ["client"]
