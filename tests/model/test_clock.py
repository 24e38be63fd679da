"""Time as requests meet it one after the other: queues, time-outs, connection pools, slow start, storms of retries."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import k8slb
from k8slb.connections import Connections
from k8slb.remembered import Admission, Circuit

ORDERS, PAYMENTS, DNS = "http://order-service", "https://myshop.example.com/payments/process/101", "udp://dns:53"
SHOP = k8slb.load("shop")
ONE = SHOP.scale("order", 1)
CONTROLLER = SHOP.scale("ingress-nginx-controller", 1)
MESH = SHOP.apply("{kind: Namespace, metadata: {name: default, labels: {istio-injection: enabled}}}")
ODD = """
apiVersion: v1
kind: Pod
metadata: {name: odd, labels: {app: order}, annotations: {k8slb/fail: "%s", k8slb/service-time: 1ms}}
spec: {containers: [{name: c, ports: [{containerPort: 8081}]}]}
"""
TWICE = "retries: {attempts: 2, perTryTimeout: 1s, retryOn: 5xx}"


def rule(policy):
    spec = f"host: order-service, trafficPolicy: {{{policy}}}"
    return f"{{kind: DestinationRule, metadata: {{name: rule, namespace: default}}, spec: {{{spec}}}}}"


def virtual(said):
    spec = f"hosts: [order-service], http: [{{{said}, route: [{{destination: {{host: order-service}}}}]}}]"
    return f"{{kind: VirtualService, metadata: {{name: orders, namespace: default}}, spec: {{{spec}}}}}"


def in_order(cluster, url, **asked):
    """Sent one after the other, as the cluster changes in the end."""
    return cluster.send(url, **{"becomes": {1e9: cluster}, "seed": 1} | asked).run


def status(run):
    names, codes = run.columns["status"]
    return np.array([*names, ""])[codes]


def near(values, expected, batches=30):
    """Within three standard errors, by means of batches; the first tenth is not counted."""
    means = np.array([part.mean() for part in np.array_split(values[len(values) // 10 :], batches)])
    return abs(means.mean() - expected) <= 3 * means.std(ddof=1) / sqrt(batches)


# --- queues, by theory ---


@pytest.mark.parametrize(
    ("said", "rate", "expected"),
    [
        ({"service_time": "10ms exponential"}, 80.0, 0.05),  # M/M/1: 1 / (100 - 80)
        ({"service_time": "10ms"}, 80.0, 0.03),  # M/D/1, by Pollaczek and Khinchine
        ({"service_time": "10ms lognormal 2"}, 50.0, 0.035),  # M/G/1: 10 + 10 * 0.5 * (1 + 4) / 2 / (1 - 0.5)
        ({"service_time": "10ms exponential", "workers": 4}, 320.0, 0.017455),  # M/M/4, by Erlang C
    ],
)
def test_one_queue_as_theory_says(said, rate, expected):
    cluster = ONE.with_pods("order", **said)
    run = in_order(cluster, ORDERS, requests=60_000, rate=rate)
    assert near(run.latency, expected) and np.array_equal(run.latency, run.spent["pods"])
    ((busy, workers),) = run.worked.values()
    assert busy / workers / run.until == pytest.approx(rate * 0.01 / workers, rel=0.03)


def test_a_queue_with_a_limit_loses_as_theory_says():
    """M/M/1/4 at full load: each of its five states is as likely, so a fifth find it full."""
    cluster = ONE.with_pods("order", service_time="10ms exponential", queue=3)
    run = in_order(cluster, ORDERS, requests=60_000, rate=100.0)
    lost = status(run) == "503"
    assert near(lost, 0.2) and run.columns["reason"][0] == ["queue full"] and run.columns["stage"][0] == ["pods"]
    assert not run.latency[lost].any()


@pytest.mark.parametrize(("users", "think", "expected"), [(4, 0.03, 0.020380), (1, 0.03, 0.01), (6, 0.0, 0.06)])
def test_a_closed_loop_as_mean_value_analysis_says(users, think, expected):
    cluster = ONE.with_pods("order", service_time="10ms exponential")
    asked = {"requests": 60_000, "connections": users, "think": f"{think}s exponential", "seed": 1}
    run = cluster.send(ORDERS, **asked).run
    assert near(run.latency, expected) and (np.diff(run.time) >= 0).all()
    assert run.time[-1] / 60_000 == pytest.approx((expected + think) / users, rel=0.02)  # Little
    own = run.time[run.connection == 0]
    assert (np.diff(own) >= run.latency[run.connection == 0][:-1] - 1e-9).all()


def test_two_stages_and_both_ways_to_send():
    """The same in arrays and one after the other: exactly where nothing is random but the arrivals."""
    timed = CONTROLLER.with_pods("ingress-nginx-controller", service_time="1ms")
    timed = timed.with_pods("payment", service_time="9ms")
    asked = {"requests": 5000, "rate": 190.0, "via": "node-a", "seed": 3}
    arrays, loop = timed.send(PAYMENTS, **asked).run, in_order(timed, PAYMENTS, **asked)
    assert np.allclose(arrays.latency, loop.latency) and arrays.worked.keys() == loop.worked.keys()
    for layer in ("ingress", "pods"):
        assert np.allclose(arrays.spent[layer], loop.spent[layer]) and loop.spent[layer].min() > 0
    assert np.allclose(loop.latency, loop.spent["ingress"] + loop.spent["pods"])
    random = timed.with_pods("payment", service_time="9ms exponential").with_balancer("ingress", "nginx-least-conn")
    asked |= {"requests": 60_000}
    arrays, loop = random.send(PAYMENTS, **asked).run, in_order(random, PAYMENTS, **asked)
    apart = [np.array([b.mean() for b in np.array_split(run.latency, 30)]) for run in (arrays, loop)]
    assert abs(np.mean(apart[0] - apart[1])) < 4 * np.std(apart, ddof=1) * sqrt(2 / 30)


# --- time-outs ---


def test_who_has_timed_out_is_served_all_the_same():
    """M/M/1: more than x seconds take exp(-20 x) of all; a time-out changes nothing for the others."""
    cluster = MESH.scale("order", 1).with_pods("order", service_time="10ms exponential")
    patient = in_order(cluster, ORDERS, requests=40_000, rate=80.0)
    run = in_order(cluster.apply(virtual("timeout: 100ms")), ORDERS, requests=40_000, rate=80.0)
    late = status(run) == "504"
    assert near(late, np.exp(-2)) and run.worked == patient.worked
    assert np.allclose(run.latency, np.minimum(patient.latency, 0.1))
    assert run.columns["reason"][0] == ["timed out after 0.1 s"] and run.columns["stage"][0] == ["pods"]
    assert (run.columns["pod"][1][late] == -1).all()


def test_work_that_is_left_at_the_end_keeps_nobody_busy_before():
    """10 s each, nobody waits longer than 1. What comes with the last request, and is left then, does not count."""
    slow = MESH.scale("order", 1).with_pods("order", service_time="10s").apply(virtual("timeout: 1s"))
    assert slow.send(ORDERS, arrivals=[0.0, 99.0]).utilisation == {"10.0.0.5:8081": pytest.approx(10 / 99)}
    two = slow.with_pods("order", workers=2)
    assert two.send(ORDERS, arrivals=[0.0, 1.0, 1.0, 21.0]).utilisation == {"10.0.0.5:8081": pytest.approx(30 / 42)}


def test_a_retry_is_picked_when_the_first_has_failed_and_queues_again():
    cluster = MESH.scale("order", 2).with_pods("order", service_time="2s", workers=9).apply(virtual(TWICE))
    cluster = cluster.apply(rule("loadBalancer: {simple: ROUND_ROBIN}"))
    gone = cluster.with_pods("order", service_time="500ms")
    run = cluster.send(ORDERS, arrivals=[0.0, 0.1], becomes={1.5: gone}, seed=1).run
    # The second tries begin at 1.0 and 1.1 with two seconds of work each, of which a quarter is done at 1.5, when pods
    # become four times as fast: 0.375 s are left for the first, 0.4 for the second.
    assert status(run).tolist() == ["200", "200"] and run.latency == pytest.approx([1.875, 1.8])
    run = cluster.send(ORDERS, arrivals=[0.0, 0.1, 99.0], becomes={1.5: gone}, seed=1).run
    assert sum(busy for busy, _ in run.worked.values()) == pytest.approx(1.5 + 0.125 + 1.4 + 0.15 + 0.875 + 0.8)


@pytest.mark.parametrize(("said", "back"), [("", False), ("connectionPool: {http: {maxRetries: 3}},", True)])
def test_a_storm_of_retries_outlives_its_cause(said, back):
    """Ten pods can do 100 a second, 90 come; for 20 s half of the pods are away. With three tries of a second each 270
    come, and each waits longer than anybody waits for it. With a limit on retries all is well after half a minute."""
    cluster = MESH.scale("order", 10).with_pods("order", service_time="100ms", queue=20).apply(virtual(TWICE))
    cluster = cluster.apply(rule(said + "loadBalancer: {simple: ROUND_ROBIN}"))
    run = cluster.send(ORDERS, rate=90.0, duration=150, becomes={20.0: cluster.scale("order", 5), 40.0: cluster}).run
    served = np.histogram(run.time[status(run) == "200"], [0, 20, 70, 150])[0] / [20, 50, 80]
    assert served[0] > 85 and (served[2] > 80) == back
    assert back or served[2] < 1  # though the pods are never idle


@pytest.mark.parametrize(("rate", "again"), [(0.01, 0.0), (1.0, 0.2), (5.0, 0.34)])
def test_a_retry_in_turn_may_hit_the_same_dead_pod(rate, again):
    """One of three pods never answers in time. The retry has the next turn, if no others came meanwhile: of a Poisson
    number of others with mean 1 it is 2, 5, ... with probability 0.19, with mean 5 0.34; retries take turns as well."""
    dead = (ODD % "0").replace("app: order", "app: payment").replace("1ms", "9s")
    dead = dead.replace("containerPort: 8081", "name: http, containerPort: 8082")
    notes = "proxy-read-timeout: '1', nginx.ingress.kubernetes.io/proxy-next-upstream-tries: '2'"
    notes = f"{{kind: Ingress, metadata: {{name: app-ingress, annotations: {{nginx.ingress.kubernetes.io/{notes}}}}}}}"
    cluster = CONTROLLER.apply(dead).apply(notes).with_pods("odd", workers=9999)
    run = cluster.send(PAYMENTS, 20_000, rate=rate, seed=1).run
    names, codes = run.columns["tries"]
    twice = np.array(names)[codes] == "2"
    assert (status(run)[twice] == "504").mean() == pytest.approx(again, abs=0.02)
    assert (status(run)[~twice] == "200").all()


# --- whom time deceives ---


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("envoy-round-robin", 0.2, 0.2), ("envoy-least-request", 0.32, 0.36), ("linkerd-p2c-ewma", 0.38, 0.40)],
)
def test_a_pod_that_fails_fast_attracts_requests(name, low, high):
    """One of five. Who picks the better of two gives it all for which it is drawn: 1 - (4 / 5)^2 where the two may be
    the same, else 2 / 5."""
    cluster = MESH.scale("order", 4).with_pods("order", service_time="100ms exponential").apply(ODD % "1")
    cluster = cluster.apply(virtual("retries: {attempts: 0}")).with_balancer("mesh", name)
    share = (status(cluster.send(ORDERS, 10_000, rate=50.0, seed=1).run) == "500").mean()
    assert low <= share <= high


@pytest.mark.parametrize(
    ("balancer", "least", "most"),
    [
        ("simple: ROUND_ROBIN", 900, 990),  # 20 a second come for 60 s, 4 a second are served: 960
        ("simple: ROUND_ROBIN, warmup: {duration: 60s}", 350, 450),  # four times 100 f / (4 + f) - 4 from f = 0.17 on
        ("simple: ROUND_ROBIN, warmupDurationSecs: 60s", 350, 450),
        ("simple: ROUND_ROBIN, warmup: {duration: 60s, aggression: 2}", 500, 700),
        ("simple: ROUND_ROBIN, warmup: {duration: 300s}", 0, 10),
        ("simple: LEAST_REQUEST", 0, 30),
    ],
)
def test_a_cold_pod_and_slow_start(balancer, least, most):
    """The fifth pod does its first minute at a tenth of its speed: who waits for it at the end of that minute."""
    four = MESH.scale("order", 4).with_pods("order", service_time="25ms", cold="60s 0.1")
    four = four.apply(rule(f"loadBalancer: {{{balancer}}}"))
    five = four.scale("order", 5)
    run = four.send(ORDERS, arrivals=np.arange(0, 70, 0.01), becomes={10.0: five}, seed=1).run
    new = {p.status.podIP for p in five.pods} - {p.status.podIP for p in four.pods}
    names, codes = run.columns["pod"]
    its = codes == next(i for i, name in enumerate(names) if name.split(":")[0] in new)
    assert least <= (its & (run.time + run.latency > 70)).sum() <= most
    others = run.latency[~its & (run.time > 10)]
    assert others.max() < 2.0


def test_a_bad_pod_is_ejected_while_others_queue():
    """A fifth of the answers are errors until the pod is ejected; then it is asked once in a while. A tenth of five may
    be ejected, if nothing is said: none."""
    cluster = MESH.scale("order", 4).with_pods("order", service_time="50ms exponential").apply(ODD % "1")
    cluster = cluster.apply(virtual("retries: {attempts: 0}"))
    share = {}
    for most in (10, 20):
        said = f"loadBalancer: {{simple: ROUND_ROBIN}}, outlierDetection: {{maxEjectionPercent: {most}}}"
        run = cluster.apply(rule(said)).send(ORDERS, rate=50.0, duration=200, clients=1).run
        share[most] = (status(run) == "500").mean()
    assert share[10] == pytest.approx(0.2, abs=0.001) and 0.001 < share[20] < 0.01


# --- connections ---


def pool(held, pending, pods=1, more=""):
    said = f"connectionPool: {{tcp: {{maxConnections: {held}}}, http: {{http1MaxPendingRequests: {pending}}}}}, {more}"
    return MESH.scale("order", pods).apply(rule(said + "loadBalancer: {simple: ROUND_ROBIN}"))


def test_requests_wait_for_a_connection_and_overflow():
    """One pod that serves 50 at a time, two connections, three who may wait: M/M/2/5."""
    cluster = pool(2, 3).with_pods("order", service_time="10ms exponential", workers=50)
    run = cluster.send(ORDERS, 60_000, rate=200.0, seed=1).run
    weights = np.array([1, 2, 2, 2, 2, 2])  # load 2 for two
    assert near(status(run) == "503", weights[5] / weights.sum())
    assert run.columns["refused_by"][0] == ["http1MaxPendingRequests"] == run.columns["reason"][0]
    assert run.columns["stage"][0] == ["mesh"]
    served = status(run) == "200"
    waiting = (weights * [0, 0, 0, 1, 2, 3]).sum() / weights.sum() / 200 / (9 / 11)
    assert near(run.latency[served], waiting + 0.01) and near(run.spent["pods"][served], 0.01)


def test_who_waits_for_a_connection_gives_up_in_time():
    cluster = pool(1, 10).with_pods("order", service_time="700ms", workers=9).apply(virtual("timeout: 1s"))
    run = cluster.send(ORDERS, arrivals=[0.0, 0.1, 0.2, 1.0, 3.0], seed=1).run
    # The second has a connection at 0.7 and would have its answer at 1.4: its connection is closed at 1.1, so the
    # fourth goes at once; the third has given up at 1.2... on a connection that it got at 1.1.
    assert status(run).tolist() == ["200", "504", "504", "200", "200"]
    assert run.latency == pytest.approx([0.7, 1.0, 1.0, 0.9, 0.7])


# What a client saw of Envoy 1.40 (one worker thread, round robin; limits lifted as Istio does, but for those named):
# after how many seconds each request, sent so many seconds after the one before, had its answer.
BAD = {"fail": "1 503", "service_time": "300ms"}
TRIED = "retries: {attempts: 2, retryOn: 5xx}"
ENVOY = [
    (
        ("connectionPool: {tcp: {maxConnections: 4}, http: {http1MaxPendingRequests: 4}}", "retries: {attempts: 0}"),
        (3, {"service_time": "400ms"}, 0.0531),
        "0.4 0.4 0.4 0.4 0.64 0.65 0.49 0.88 0.9 0.49 1.13 1.14 0 0 0 0 0 1.22 0.4 1.05 0 0.4 0 0 0.49 1.13 1.14 0 0 0",
    ),
    (
        ("connectionPool: {tcp: {maxConnections: 1}}", "retries: {attempts: 1, perTryTimeout: 900ms, retryOn: 5xx}"),
        (1, {"service_time": "700ms"}, 0.1),  # the time for a try begins once it has a connection
        "0.7 1.3 1.9",
    ),
    (("connectionPool: {http: {maxRetries: 4}}", TRIED), (1, BAD, 0.005), "0.91 0.91 0.91 0.9 0.3 0.3 0.3 0.3 0.3 0.3"),
    (("retryBudget: {percent: 50}", TRIED), (1, BAD, 0.005), "0.61 0.6 0.9 0.91 0.9 0.31 0.3 0.3 0.31 0.31"),
    (
        ("retryBudget: {percent: 20, minRetryConcurrency: 2}", TRIED),
        (1, BAD, 0.005),
        "0.61 0.6 0.9 0.91 0.3 0.3 0.3 0.3 0.3 0.3 0.3 0.3 0.3 0.3 0.3 0.31 0.3 0.3 0.3 0.3",
    ),
]


@pytest.mark.parametrize(("said", "pods", "took"), ENVOY, ids=[said[0].split(": ", 1)[0] for (said, *_) in ENVOY])
def test_connections_and_retries_as_envoy_has_them(said, pods, took):
    (policy, route), (many, work, each), took = said, pods, [float(x) for x in took.split()]
    cluster = MESH.scale("order", many).with_pods("order", **work, workers=99).apply(virtual(route))
    cluster = cluster.apply(rule(policy + ", loadBalancer: {simple: ROUND_ROBIN}"))
    run = cluster.send(ORDERS, arrivals=np.arange(len(took)) * each, seed=1).run
    assert run.latency == pytest.approx(took, abs=0.02)
    refused = run.columns["refused_by"][1] >= 0 if "refused_by" in run.columns else np.zeros(len(took), bool)
    assert ((np.array(took) == 0) == refused).all()


@pytest.mark.parametrize(("rate", "lost"), [(20.0, 1 - 131_072 / 240_000), (10.0, 0.0)])
def test_closed_connections_fill_the_conntrack_table(rate, lost):
    """Each stays for two minutes (TIME_WAIT): 2,000 a second are 240,000, more than 131,072; here a hundredth of it."""
    table = "conntrack: {maxPerCore: 327, min: 1311}"  # a node is taken to have four cores
    text = f"{{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, {table}}}"
    cluster = k8slb.load(["shop", text])
    sent = cluster.send(ORDERS, rate=rate, duration=360, arrivals="constant", via="node-a")
    run = sent.run
    full = run.columns["lost"][1] >= 0 if "lost" in run.columns else np.zeros(1)
    assert full.mean() == pytest.approx(lost, abs=0.001)
    assert not lost or run.time[full.argmax()] == pytest.approx(65.55)
    assert not lost or run.columns["reason"][0] == ["conntrack table full"]


def test_a_stale_udp_entry_is_kept_alive_by_who_uses_it():
    """No endpoint is left, so kube-proxy lets entries be. A source port that asks each second meets the dead pod for
    ever, one that waits for 35 s each time meets the rule, which refuses."""
    dns = k8slb.load("""
apiVersion: v1
kind: Service
metadata: {name: dns}
spec: {selector: {app: dns}, ports: [{port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Pod
metadata: {name: dns, labels: {app: dns}}
spec: {containers: [{name: c, ports: [{containerPort: 53, protocol: UDP}]}]}
""")
    none = dns.apply("{kind: Service, metadata: {name: dns}, spec: {selector: {app: other}}}")
    gone = none.with_objects([o for o in none.objects if o.kind != "Pod"])
    for each, reasons in ((1, {"nothing has that address"}), (35, {"no ready endpoint"})):
        run = dns.send(DNS, arrivals=np.arange(0.0, 20 * each, each), connections=1, becomes={0.5: gone}).run
        assert set(run.columns["reason"][0]) == reasons and (run.columns["lost"][1] >= 0).sum() == 19


# --- all of it ---


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_every_request_has_one_end_and_leaves_nothing_behind(data):
    def draw(*choices):
        return data.draw(st.sampled_from(choices))

    takes = {"service_time": draw("20ms", "20ms exponential", "200ms lognormal 1"), "workers": draw(1, 3)}
    takes |= {"queue": draw(None, 0, 4), "fail": draw(None, "0.3 503"), "cold": draw(None, "1s 0.2")}
    cluster = MESH.with_pods("order", **takes).with_pods("payment", **takes)
    cluster = cluster.with_pods("ingress-nginx-controller", service_time=draw("0s", "1ms", "30ms exponential"))
    cluster = cluster.apply(virtual(draw(TWICE, "timeout: 50ms", "retries: {attempts: 1, perTryTimeout: 30ms}")))
    limits = ("", "tcp: {maxConnections: 1}", "tcp: {maxConnections: 2}, http: {http1MaxPendingRequests: 2}")
    limits += ("http: {http2MaxRequests: 3, maxRetries: 1}",)
    said = f"loadBalancer: {{simple: {draw('ROUND_ROBIN', 'LEAST_REQUEST')}{draw('', ', warmup: {duration: 2s}')}}}"
    said += f", connectionPool: {{{draw(*limits)}}}" + draw("", ", outlierDetection: {maxEjectionPercent: 60}")
    cluster = cluster.apply(rule(said + draw("", ", retryBudget: {percent: 30}")))
    asked = {"seed": draw(0, 1, 2), "clients": draw(1, 5), "becomes": None}
    if draw(True, False):
        asked |= {"rate": draw(20.0, 150.0), "connections": draw(None, 7), "requests": 200}
    else:
        asked |= {"connections": draw(5, 30), "think": draw("0s", "50ms exponential"), "requests": 200}
    if draw(True, False):
        asked["becomes"] = {0.5: cluster.scale("order", 5), 1.2: cluster.scale("order", draw(0, 1)), 1.5: cluster}
    senders = []
    with pytest.MonkeyPatch.context() as patch:
        init = Connections.__init__
        patch.setattr(Connections, "__init__", lambda self, *a, **b: (senders.append(self), init(self, *a, **b))[1])
        for url in (draw(ORDERS, PAYMENTS),):
            run, again = (cluster.send(url, **asked).run for _ in range(2))
            ends = [run.columns.get(name, ([], np.full(200, -1)))[1] >= 0 for name in ("status", "lost")]
            assert (ends[0] ^ ends[1]).all()
            good = np.isin(status(run), ["200"])
            assert ((run.columns.get("stage", ([], np.full(200, -1)))[1] >= 0) == ~good).all()
            assert ((run.columns.get("reason", ([], np.full(200, -1)))[1] >= 0) == ~good).all()
            assert run.columns.keys() == again.columns.keys() and np.array_equal(run.time, again.time)
            assert all(np.array_equal(codes, again.columns[name][1]) for name, (_, codes) in run.columns.items())
            if run.latency is not None:
                assert np.array_equal(run.latency, again.latency) and run.latency.min() >= 0
                assert (sum(run.spent.values()) <= run.latency + 1e-9).all()
                assert run.until == pytest.approx((run.time + run.latency).max())
                assert all(busy <= workers * 1e4 for busy, workers in run.worked.values())
    for sender in senders:
        for kept in sender._kept.values():
            if isinstance(kept, dict):
                assert all(active == 0 for active, _ in kept.get("connections", {}).values())
            if isinstance(kept, Admission):
                assert not +kept.under_way
            if isinstance(kept, Circuit):
                assert kept.requests == kept.retries == kept.waiting == 0 and not any(kept.queues.values())
