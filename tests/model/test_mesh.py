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
    ("cluster", "status", "hidden"),
    [
        (ISTIO, 503, True),  # Istio retries a 503 without being asked
        (ISTIO, 500, False),
        (ISTIO.apply(virtual("[{retries: {attempts: 0}, route: [{destination: {host: order-service}}]}]")), 503, False),
        (
            ISTIO.apply(
                virtual("[{retries: {attempts: 1, retryOn: 5xx}, route: [{destination: {host: order-service}}]}]")
            ),
            500,
            True,
        ),
        (LINKERD, 503, False),
        (annotated(LINKERD, "{retry.linkerd.io/http: 5xx}"), 503, True),
        (annotated(LINKERD, "{retry.linkerd.io/http: gateway-error}"), 500, False),
        (annotated(LINKERD, '{retry.linkerd.io/http: "500-504", retry.linkerd.io/limit: "2"}'), 500, True),
        (annotated(LINKERD, '{retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: "0"}'), 503, False),
        (AMBIENT, 503, False),
        (WAYPOINT, 503, True),
    ],
)
def test_retries(cluster, status, hidden):
    run = cluster.apply(FAILING % status).send(ORDERS, requests=500, seed=1)
    failed = int((run.table["status"] == str(status)).sum())
    assert failed == 0 if hidden else 60 < failed < 140  # of five pods one fails


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
    assert (cluster.send(f"{ORDERS}/v1", requests=300, seed=1).table["status"] == "503").any()
    retried = cluster.apply("{kind: HTTPRoute, metadata: {name: split, annotations: {retry.linkerd.io/http: 5xx}}}")
    assert (retried.send(f"{ORDERS}/v1", requests=300, seed=1).table["status"] == "200").all()


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


def test_what_is_not_modelled_is_told():
    told = ISTIO.apply(virtual("[{fault: {}, timeout: 2s, route: [{destination: {host: order-service}}]}]")).trace(
        ORDERS
    )
    assert [w.split(": ")[1] for w in told.warnings] == [
        "http.0.fault is not modelled",
        "http.0.timeout is not modelled",
    ]
    told = ISTIO.apply(rule("tls: {mode: DISABLE}, connectionPool: {tcp: {}}, outlierDetection: {}")).trace(ORDERS)
    for aside in ("trafficPolicy.tls", "trafficPolicy.connectionPool"):
        assert any(f"{aside} is not modelled" in w for w in told.warnings)
    assert any("caller's zone" in w for w in told.warnings)
    for policy in ("loadBalancer: {simple: PASSTHROUGH}",):
        with pytest.raises(NotModelled):
            ISTIO.apply(rule(policy)).trace(ORDERS)
    with pytest.raises(NotModelled):
        ISTIO.apply(virtual("[{redirect: {uri: /}}]")).trace(ORDERS)


@pytest.mark.parametrize(
    "text",
    [
        rule("loadBalancer: {simple: FASTEST}"),
        rule("loadBalancer: {consistentHash: {httpHeaderName: a, useSourceIp: true}}"),
        rule("outlierDetection: {interval: soon}"),
        rule("outlierDetection: {maxEjectionPercent: 101}"),
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
    for said in ("{retry.linkerd.io/http: often}", '{retry.linkerd.io/http: 5xx, retry.linkerd.io/limit: "x"}'):
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
