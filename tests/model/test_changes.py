"""Rollouts, deaths, drains and autoscaling: what is lost, until who has noticed."""

from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import k8slb
from k8slb.changes.lives import ending, readiness
from k8slb.changes.rollout import fenceposts
from k8slb.decision import Place, Timeline

some = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SHOP = k8slb.load("shop")
FIVE = SHOP.scale("order", 5)
ORDERS, PAGE = "http://order-service", "https://myshop.example.com/orders"
SURGE = {"max_surge": 1, "max_unavailable": 0, "starts_in": 1}
LOCAL = SHOP.scale("order", 2).apply(
    "{kind: Service, metadata: {name: order-service}, spec: {type: LoadBalancer, externalTrafficPolicy: Local, "
    "ports: [{port: 80, targetPort: 8081}]}}"
)


def with_template(cluster, text):
    """The Deployment order with these fields in its pod template's spec."""
    return cluster.apply(f"{{kind: Deployment, metadata: {{name: order}}, spec: {{template: {{spec: {{{text}}}}}}}}}")


def container(text):
    return f"containers: [{{name: order, ports: [{{containerPort: 8081}}], {text}}}]"


def states(change, name):
    return next(life.steps for life in change.lives if life.one.name == name)


HOOK = with_template(FIVE, container("lifecycle: {preStop: {exec: {command: [/stop]}}}"))
LONG = with_template(FIVE, container("lifecycle: {preStop: {sleep: {seconds: 31}}}"))
STUCK = """{kind: Deployment, metadata: {name: order}, spec: {strategy: {rollingUpdate: {maxSurge: 0,
maxUnavailable: 0%}}}}"""


# --- rollout ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delay", "pre_stop", "lost"), [(2, 0, 200), (5, 0, 500), (15, 5, 1000), (15, 15, 0), (2, 2, 0), (2, 9, 0)]
)
def test_requests_lost_by_a_rollout(delay, pre_stop, lost):
    """100 a second over 5 pods: each loses its 20 a second from SIGTERM on until everybody knows that it terminates."""
    begin = FIVE.rollout("order", pre_stop=pre_stop, propagation=delay, **SURGE)
    assert begin.lost() == begin.lost(ORDERS) == lost
    assert begin.lost(rate=50) == lost / 2
    run = begin.send(seed=3)
    assert abs(run.lost - lost) <= 4 * sqrt(lost)
    in_turn = FIVE.with_proxy("ipvs", "rr").rollout("order", pre_stop=pre_stop, propagation=delay, **SURGE)
    assert in_turn.lost() == in_turn.send(arrivals="constant").lost == lost


def test_fewer_pods_lose_more_each():
    """With maxUnavailable the rest carry the same load: 20 a second of the first pod, 25 of each other."""
    assert FIVE.rollout("order", propagation=2, max_surge=1, max_unavailable=1).lost() == 2 * (20 + 4 * 25)


def test_the_least_pre_stop_is_what_the_slowest_needs():
    begin = FIVE.rollout("order", propagation={"node": 1, "node-a": 4.5, "pod": 2}, **SURGE)
    seconds, why = begin.smallest_pre_stop()
    assert seconds == 5 and "with 4 s 50 requests" in why  # half a second of 20 a second, five times
    assert not begin.again(pre_stop=5).lost() and begin.again(pre_stop=4).lost() == pytest.approx(50)
    assert begin.smallest_pre_stop(ORDERS, via="node-b").seconds == 1
    assert FIVE.rollout("order", propagation=0).smallest_pre_stop() == (0, "with none at all nothing is lost")
    assert FIVE.rollout("order", propagation=30, grace=10).smallest_pre_stop().seconds is None
    none = FIVE.scale("order", 0).rollout("order")
    assert none.smallest_pre_stop(ORDERS) == (None, "there is no pod to replace") and "0 pods" in none.title


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "pods"),
    [
        ("25%", "25%", 10, (3, 2)),  # up, down
        ("25%", "25%", 3, (1, 0)),
        ("30%", "0%", 10, (3, 0)),
        (0, "10%", 5, (0, 1)),  # both come to 0: one is let go
        (2, 7, 3, (2, 3)),
        ("100%", 0, 4, (4, 0)),
    ],
)
def test_percentages_are_rounded_as_the_controller_does(surge, unavailable, replicas, pods):
    assert fenceposts(surge, unavailable, replicas) == pods


def test_the_controllers_own_example():
    """rolling.go: 10 replicas, maxSurge 3, maxUnavailable 2: 3 new ones, 2 old ones go, so 2 more; the rest waits."""
    steps = SHOP.scale("order", 10).rollout("order", max_surge=3, max_unavailable=2, ready_after=7, at=10)
    begun = [s for life in steps.lives for s in life.steps if s[0] == 10]
    assert sorted(s for _, s in begun) == ["starting"] * 5 + ["stopped"] * 2
    assert sum(life.steps[0] == (17, "starting") for life in steps.lives) == 5


@some
@given(
    st.integers(0, 7), st.integers(0, 4), st.integers(0, 4), st.floats(0, 9), st.floats(0, 9), st.integers(0, 5),
    st.sampled_from([{}, {"minReadySeconds": 3}]),
)  # fmt: skip
def test_a_rollout_keeps_its_bounds(replicas, surge, unavailable, pre_stop, delay, ready_after, more):
    shop = SHOP.scale("order", replicas).apply(f"{{kind: Deployment, metadata: {{name: order}}, spec: {more}}}")
    unavailable = unavailable or int(not surge)
    change = shop.rollout(
        "order", pre_stop, delay, ready_after=ready_after, max_surge=surge, max_unavailable=unavailable
    )
    for now, cluster in change.moments:
        pods = [p for p in cluster.pods if p.name.startswith("order")]
        active = [p for p in pods if not p.terminating]
        assert len(active) <= replicas + surge and sum(p.ready for p in active) >= replicas - min(unavailable, replicas)
        assert len({p.status.podIP for p in cluster.pods}) == len(cluster.pods)
        assert [p for p in cluster.pods if not p.name.startswith("order")] == SHOP.pods[3:], now
    names = {p.name for p in change.at(1e9).pods if p.name.startswith("order")}
    assert len(names) == replicas and not names & {f"order-{i + 1}" for i in range(replicas)}
    run = change.send(ORDERS, requests=300, rate=10.0)
    assert run.lost + sum(run.counts("status").values()) == 300


def test_what_the_yaml_says_is_read_and_arguments_win():
    text = "lifecycle: {preStop: {sleep: {seconds: 7}}}, readinessProbe: {initialDelaySeconds: 3, periodSeconds: 4}"
    said = with_template(FIVE, f"terminationGracePeriodSeconds: 9, {container(text)}")
    said = said.apply("{kind: Deployment, metadata: {name: order}, spec: {strategy: {rollingUpdate: {maxSurge: 5}}}}")
    change = said.rollout("order", starts_in=5, max_unavailable=0)
    assert "maxSurge 5, maxUnavailable 0, preStop 7 s of 9 s grace, new pods ready after 7 s" in str(change)
    assert states(change, "order-1") == ((0, "ready"), (17, "terminating"), (24, "stopped"), (25, "gone"))
    assert states(said.rollout("order", pre_stop=0, at=20, max_unavailable=5), "order-5")[1:] == (
        (20, "stopped"),
        (21, "gone"),
    )
    waits = said.apply("{kind: Deployment, metadata: {name: order}, spec: {minReadySeconds: 4}}")
    assert states(waits.rollout("order", starts_in=5, max_unavailable=0), "order-1")[1] == (21, "terminating")
    shell = with_template(FIVE, container('lifecycle: {preStop: {exec: {command: [sh, -c, "sleep 4 && exit"]}}}'))
    assert "preStop 4 s of 30 s" in str(shell.rollout("order"))


@pytest.mark.parametrize(
    ("probe", "starts_in", "seconds"),
    [("", 3, 3), ("periodSeconds: 10", 0, 0), ("periodSeconds: 10", 0.1, 10), ("initialDelaySeconds: 5", 2, 5),
     ("initialDelaySeconds: 5, periodSeconds: 2, successThreshold: 3", 6, 11)],
)  # fmt: skip
def test_ready_once_enough_probes_have_succeeded(probe, starts_in, seconds):
    shop = with_template(SHOP, container(f"readinessProbe: {{{probe}}}" if probe else "readinessProbe: null"))
    assert readiness(shop.pods[0].spec, starts_in) == seconds


def test_sigkill_comes_when_the_grace_is_over_counted_from_the_deletion():
    pod, busy = SHOP.pods[0], SHOP.with_pods("order", service_time="1s").pods[0]
    assert ending(pod, 10, 5, 30) == ((10, "terminating"), (15, "stopped"), (16, "gone"))
    assert ending(pod, 10, 5, 30, 4) == ((10, "terminating"), (15, "stopping"), (19, "stopped"), (20, "gone"))
    assert ending(busy, 10, 5, 30)[1:3] == ((15, "stopping"), (40, "stopped"))  # it may have work until it is killed
    assert ending(pod, 10, 50, 30, 9)[1:3] == ((40, "stopping"), (42, "stopped"))  # preStop used it up: 2 s more
    assert ending(pod, 10, 5, 0) == ((10, "stopped"), (11, "gone"))  # no preStop without grace


def test_work_under_way_is_finished_or_lost():
    """20 users a second on open connections, work of 1 s: what a pod has at SIGTERM is lost, or some of it, or none."""
    slow = FIVE.with_pods("order", service_time="1s", workers=100)
    given = {"seed": 1, "duration": 80, "connections": 50, "arrivals": "constant"}
    lost = {f: slow.rollout("order", 5, 2, finishes_in=f, **SURGE).send(**given) for f in (0, 0.5, None)}
    assert lost[0].lost > lost[0.5].lost > lost[None].lost == 0
    assert set(lost[0].table["reason"].dropna()) == {"its pod died"}
    died = lost[0].table[lost[0].table["lost"].notna()]
    assert (died["latency"] <= 1).all() and died["latency"].mean() == pytest.approx(0.5, abs=0.1)


# --- who knows what --------------------------------------------------------------------------------------------------


def test_each_place_learns_late_and_the_truth_answers():
    change = FIVE.rollout("order", propagation={"node": 2, "node-b": 5, "ingress": 1, "cloud-lb": 7}, at=10, **SURGE)
    first = min(t for life in change.lives[:5] for t, s in life.steps if s == "stopped")
    gone = next(life.one.name for life in change.lives[:5] if life.steps[1][0] == first)

    def knows(place, now, role=""):
        pods = {p.name: p for p in change.seen_by(place, now, role).pods}
        return gone not in pods or pods[gone].terminating

    for place, role, late in ((Place("node", "node-a"), "", 2), (Place("node", "node-b"), "", 5),
                              (Place("pod", "x/y"), "ingress", 1), (Place("pod", "x/y"), "mesh", 0),
                              (Place("cloud-lb", "203.0.113.10"), "", 7), (Place("outside", "x"), "", 0)):  # fmt: skip
        assert not knows(place, first + late - 0.01, role) and knows(place, first + late, role), place
    at = {via: change.losses(ORDERS, via=via) for via in ("node-a", "node-b")}
    assert sum(b - a for a, b, _ in at["node-a"]) == 10 and sum(b - a for a, b, _ in at["node-b"]) == 25
    assert change.losses(PAGE) == []  # ingress-nginx tries another pod
    at_once = FIVE.rollout("order", max_surge=5, max_unavailable=0, propagation={"ingress": 3}, ready_after=7)
    assert at_once.losses(PAGE) == [(17, 20, 1)] and at_once.losses(ORDERS) == []
    for late in (0.1, 0.7, 2.3):  # 10.1 + 2.3 - 2.3 < 10.1
        change = FIVE.pod_dies("order-1", at=10.1, noticed=0, propagation=late)
        assert not change.seen_by(Place("node", "node-a"), 10.1 + late).pods[0].ready, late


def test_a_change_belongs_to_its_cluster():
    change = FIVE.rollout("order", **SURGE)
    same = FIVE.send(ORDERS, duration=60, rate=100, becomes=change, seed=2)
    assert same.table.equals(change.send(ORDERS, duration=60, seed=2).table)
    assert "is rolled out from second 10" in same.sentence
    with pytest.raises(k8slb.InputError, match="another cluster"):
        SHOP.send(ORDERS, rate=10, becomes=change)
    late = Timeline(((0.0, FIVE), (5.0, FIVE.scale("order", 1))), {"node": 3.0})
    assert FIVE.send(ORDERS, duration=20, rate=100, becomes=late, seed=1).lost == pytest.approx(240, abs=60)


def test_a_local_policy_keeps_terminating_pods_until_the_health_check_fails():
    """2 checks 10 s apart: without a pod that still serves, the node's half of the connections is dropped for 20 s."""
    address = next(a for a, s in LOCAL.balancer_at.items() if s.name == "order-service")
    lost = [LOCAL.drain("node-b", propagation=0, pre_stop=s, starts_in=0).lost(f"http://{address}") for s in (0, 5, 20)]
    assert lost == [1000, 750, 0]


def test_a_dip_of_capacity_drives_the_queues():
    """Half a minute at a tenth of the speed: the queue grows and drains, and nobody is lost."""
    fast = SHOP.with_pods("order", service_time="10ms")
    dip = {20.0: SHOP.with_pods("order", service_time="100ms"), 50.0: fast}
    table = fast.send(ORDERS, rate=60, duration=120, becomes=dip, seed=1).table
    slow = table[(table.time > 45) & (table.time < 50)].latency.mean()
    assert slow > 2 > 20 * table[table.time < 20].latency.mean() and table[table.time > 100].latency.mean() < 0.1
    assert (table["status"] == "200").all()


# --- deaths ----------------------------------------------------------------------------------------------------------


def test_a_dead_pod_gets_its_share_until_it_is_noticed():
    four = SHOP.scale("order", 4)
    assert four.pod_dies("order-2", noticed=1, propagation=1).lost() == four.pod_dies("order-2").lost() == 50
    assert four.with_proxy("ipvs").pod_dies("order-2").send(arrivals="constant").lost == 50
    assert four.pod_dies("order-2", how="hang").lost() == 25 * (3 * 10 + 1)  # readinessProbe: 3 failures, 10 s apart
    blind = with_template(four, container("readinessProbe: null"))
    assert blind.pod_dies("order-2", how="hang").lost() == inf
    alive = with_template(four, container("readinessProbe: null, livenessProbe: {periodSeconds: 5}"))
    restarted = alive.pod_dies("order-2", how="hang", starts_in=2)
    assert states(restarted, "order-2") == ((0, "ready"), (10, "hangs"), (25, "starting"), (27, "ready"))
    busy = SHOP.scale("order", 1).with_pods("order", service_time="100ms").pod_dies("order-1", at=30)
    table = busy.send(rate=20.0, seed=1, requests=1000).table
    assert table[table.time < 30].latency.max() > 5  # 20 a second for one that serves 10; its restart forgets them
    assert table[table.time > states(busy, "order-1")[-1][0] + 1].latency.iloc[0] == pytest.approx(0.1)
    refused, silent = (four.pod_dies("order-2", how=how).send(seed=1).counts("lost") for how in ("crash", "hang"))
    assert set(refused) == {"reject"} and set(silent) == {"drop"}


def test_a_dead_node_gets_its_share_until_it_is_missed():
    """5 nodes, 100 a second: a fifth of it for 40 s, as up to 1.31; 50 s since."""
    shop = FIVE.with_nodes(5)
    assert shop.node_dies("node-b", noticed=40, propagation=0).lost() == 800
    assert shop.node_dies("node-b", propagation=0).lost() == 1000
    assert shop.with_proxy("ipvs").node_dies("node-b", noticed=40, propagation=0).send(arrivals="constant").lost == 800
    change = shop.node_dies("node-b", at=10, propagation=1)
    order = [life for life in change.lives if life.one.kind == "Pod" and "order" in life.one.name]
    assert order[0].steps[1:] == ((10, "dead"), (60, "dead, not ready"), (360, "dead, terminating"))
    assert order[1].steps[0] == (360, "starting") and order[1].one.spec.nodeName != "node-b"
    soon = with_template(shop, "tolerations: [{key: node.kubernetes.io/unreachable, effect: NoExecute, "
                         "operator: Exists, tolerationSeconds: 5}]")  # fmt: skip
    assert states(soon.node_dies("node-b"), "order-6")[0] == (65, "starting")
    assert change.losses("http://10.0.0.5:8081", from_="node:node-b") == [(10, inf, 1)]
    whole = {life.one.name: life.steps[-1][1] for life in DAEMON.node_dies("node-b").lives}
    assert whole == {"node-b": "dead, not ready", "agent-node-b": "dead, not ready"}  # a DaemonSet's pods stay


DAEMON = k8slb.load("""
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}}}
""")


def test_a_load_balancer_leaves_a_dead_node_out_before_the_cluster_does():
    losses = SHOP.node_dies("node-b", at=10).losses("http://myshop.example.com/orders")
    assert losses[0] == (10, 30, pytest.approx(1 / 3 + 2 / 3 * 1 / 2)) and losses[1][:2] == (30, 61)
    held = FIVE.with_nodes(5).node_dies("node-b", at=10, propagation=0)
    run = held.send(ORDERS, via="node-a", duration=100, connections=100, seed=1)
    lost = run.table[run.table["lost"].notna()]
    assert lost["connection"].nunique() > 5 and lost["time"].max() > 95  # what is open hangs, whatever the API says


def test_a_drain_ends_pods_gracefully_and_makes_others_elsewhere():
    change = FIVE.drain("node-b", at=10, pre_stop=3, propagation=3)
    assert change.lost() == 0 and FIVE.drain("node-b", pre_stop=2, propagation=3).lost() == 100 * 2 / 5
    assert not [p for p in change.at(1e9).pods if p.spec.nodeName == "node-b"]
    assert sum(p.name.startswith("order") for p in change.at(1e9).pods) == 5
    assert len({p.status.podIP for p in change.at(1e9).pods}) == len(FIVE.pods)
    nine = SHOP.scale("order", 9).drain("node-b").at(1e9).pods
    where = sorted(p.spec.nodeName for p in nine if p.name.startswith("order"))
    assert where == ["node-a"] * 5 + ["node-c"] * 4
    budget = FIVE.apply("{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: b}}")
    with pytest.raises(k8slb.NotModelled, match="PodDisruptionBudgets"):
        budget.drain("node-b")


def test_a_controller_that_is_assumed_is_made_anew_as_well():
    """The input has no pods of it; a Deployment of one replica is assumed, on node-a."""
    shop = k8slb.load("source-text")
    (replica,) = (p for p in shop.pods if p.namespace == "ingress-nginx")
    assert replica.spec.nodeName == "node-a" and shop.trace(PAGE).status == 200
    for change in (shop.drain("node-a"), shop.node_dies("node-a", noticed=1.0)):
        there = [p for p in change.at(1e9).pods if p.namespace == "ingress-nginx" and not p.terminating]
        assert [p.spec.nodeName != "node-a" for p in there] == [True]
        assert change.at(1e9).trace(PAGE).status == 200


# --- the autoscaler --------------------------------------------------------------------------------------------------


def test_the_formula():
    assert k8slb.hpa(4, [200] * 4, target=100) == 8 and k8slb.hpa(4, [50] * 4, target=100) == 2
    assert k8slb.hpa(10, [82] * 10, target=75) == 10 and k8slb.hpa(10, [83] * 10, target=75) == 12  # tolerance 0.1
    assert k8slb.hpa(10, [100] + [20] * 9, target=75) == 4  # 28% on average hides the pod that is full
    assert k8slb.hpa(4, [100] * 2, target=50, unready=2) == 4  # 4 pods at 50% if those that start count as idle
    assert k8slb.hpa(4, [300] * 2, target=100, unready=2) == 6 and k8slb.hpa(4, [30] * 2, target=100, unready=2) == 1
    assert k8slb.hpa(4, [10] * 2, target=50, missing=2) == 4  # they may use all: 55%, which turns the direction
    assert k8slb.hpa(4, [10] * 3, target=100, missing=1) == 2 and k8slb.hpa(3, [], target=50, unready=3) == 3


def test_six_rounds_to_five_times_the_load():
    """What a pod uses is capped, so each round sees 100% at most: 4/3 as many, until the load fits."""
    shop = SHOP.scale("order", 100)
    scaling = shop.autoscale("order", {0: 75, 60: 375}, 1, 75, max_replicas=2000, starts_in=0, metrics_lag=0)
    grown = [s.becomes / 100 for s in scaling.syncs if s.second >= 60][:6]
    assert grown == pytest.approx([1.33, 1.78, 2.37, 3.16, 4.21, 5.0], abs=0.05)  # whole pods
    assert scaling.syncs[-1].becomes == 500


def test_the_loop_of_the_object_in_the_yaml():
    text = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: order}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: order}
  minReplicas: 2
  maxReplicas: 20
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
  behavior: %s
"""
    load = {0: 30.0, 60: 1000.0, 300: 1.0}
    usual = SHOP.apply(text % "{}").autoscale("order", load, capacity=20)
    by = {s.second: s.becomes for s in usual.syncs}
    assert [by[t] for t in (60, 75, 90, 105)] == [3, 6, 6, 12]  # at most twice as many or 4 more; some start
    last = max(t for t, n in by.items() if n == max(by.values()))
    wish = max(s.second for s in usual.syncs if s.wanted >= max(by.values()))
    assert last == wish + 300 and by[last + 15] == 2  # the highest wish of 5 minutes counts, then at once
    slow = "{scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 60}]}, scaleDown: {selectPolicy: Disabled}}"
    steps = [s.becomes for s in SHOP.apply(text % slow).autoscale("order", load, capacity=20).syncs]
    assert steps == sorted(steps) and all(b - a <= 1 for a, b in zip(steps, steps[4:], strict=False))
    assert SHOP.apply(text % "{}").autoscale("order", load, 20, max_replicas=4).at(299).pods[-1].name == "order-4"
    run = usual.send(ORDERS, duration=700, rate=20.0, seed=1)
    assert (
        run.counts("pod")["10.0.0.24:8081"] > 0 and run.lost == usual.send(ORDERS, duration=700, rate=20.0, seed=1).lost
    )


# --- shown, and errors for people ------------------------------------------------------------------------------------


def test_the_film_shows_each_state_and_each_lost_request():
    change = FIVE.rollout("order", pre_stop=1, propagation=3, **SURGE)
    film, run = change.film(), change.send(seed=1)
    assert list(film) == ["what", "who", "from", "to", "state"]
    for (_, who), rows in film.groupby(["what", "who"]):
        assert (rows["from"].iloc[1:].to_numpy() == rows["to"].iloc[:-1].to_numpy()).all(), who
    proxy = film[(film.who == "node-a") & film.state.str.startswith("sends to")]
    assert (proxy["to"] - proxy["from"]).sum() == 10 and len(proxy) == 5
    table, danger = run.table, np.zeros(run.requests, bool)
    for begin, end in zip(proxy["from"], proxy["to"], strict=True):
        danger |= ((table.time >= begin) & (table.time < end)).to_numpy()
    assert danger[table["lost"].notna()].all() and run.lost > 0
    told = FIVE.pod_dies("order-2", noticed=4).film()
    assert told[told.state == "lists order-2"][["from", "to"]].to_numpy().tolist() == [[10, 14]]
    picture = change.plot(run)
    assert picture.png.startswith(b"\x89PNG") and "order-1" in picture.table and str(change) == picture.sentence
    drawn = change.svg(run)
    assert (
        f"{run.lost:,} lost requests" in drawn
        and "<title>sends to order" in drawn
        and "request lost" not in change.svg()
    )


def test_other_clocks_than_a_rate_go_through_a_change():
    change = FIVE.with_pods("order", service_time="10ms").rollout("order", **SURGE)
    assert change.send(arrivals=[1, 2, 30]).table["time"].tolist() == [1, 2, 30]
    users = change.send(think="100ms", connections=20, requests=5000)
    assert users.table["time"].max() > change.instants[1] and users.connections == 20
    none = SHOP.scale("order", 0)
    gone = FIVE.send(ORDERS, rate=9.0, requests=9, becomes={1e-9: none})
    assert gone.lost == 9 and f"{gone.lost} lost requests" in change.svg(gone)  # no request has a status


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: FIVE.rollout("nothing"), "there is no Deployment"),
        (lambda: FIVE.rollout("order", max_surge=0, max_unavailable="0%"), "may not both be 0"),
        (lambda: FIVE.rollout("order", max_surge="a lot"), "cannot be"),
        (lambda: FIVE.rollout("order", max_unavailable="150%"), "at most 100%"),
        (lambda: FIVE.rollout("order", max_surge=["1"]), "cannot be"),
        (lambda: FIVE.rollout("order", pre_stop=-1), "is no preStop"),
        (lambda: SHOP.scale("order", 600).rollout("order", max_surge=1, max_unavailable=0), "more than can be"),
        (lambda: SHOP.scale("order", 6000).rollout("order"), "the replicas of a rollout"),
        (lambda: SHOP.scale("order", 0).rollout("order").lost(), "behind no Service"),
        (lambda: FIVE.rollout("order").lost(rate=float("nan")), "nan is no rate"),
        (lambda: FIVE.rollout("order").svg(FIVE.send(ORDERS, 9)), "with a rate"),
        (lambda: FIVE.rollout("order").svg(3), "with a rate"),
        (lambda: FIVE.rollout("order", propagation={"nod": 1}), "learns of nothing"),
        (lambda: FIVE.rollout("order", propagation="2s"), "is no propagation delay"),
        (lambda: FIVE.node_dies("node-x"), "there is no node"),
        (lambda: FIVE.pod_dies("order-9"), "there is no pod"),
        (lambda: FIVE.pod_dies("order-1", how="rests"), "crash or hang"),
        (lambda: FIVE.pod_dies("order-1", how=["hang"]), "crash or hang"),
        (lambda: FIVE.autoscale("order", {0: 1, 1e8: 2}, capacity=1, max_replicas=3), "no time to autoscale"),
        (lambda: FIVE.autoscale("order", {0: 1}, capacity=1, max_replicas=3, until=9), "no time to autoscale"),
        (lambda: FIVE.autoscale("order", {0: 1}, capacity=1, max_replicas=3, limit="x"), "is no limit"),
        (lambda: k8slb.hpa(3, [float("nan")]), "nan is no use of a pod"),
        (lambda: k8slb.hpa(3, 80), "a list"),
        (lambda: k8slb.hpa(3, [80], target=0), "0 is no target"),
        (lambda: k8slb.hpa(3, [80], missing=0.5), "missing cannot be 0.5"),
        (lambda: FIVE.autoscale("order", {0: 1}, capacity=1), "max_replicas=N"),
        (lambda: FIVE.autoscale("order", {0: 1}, max_replicas=3), "capacity=REQUESTS"),
        (lambda: FIVE.autoscale("order", [1], capacity=1, max_replicas=3), "load over time"),
        (lambda: HOOK.rollout("order"), "pre_stop="),
        (lambda: LONG.rollout("order"), "the API server refuses a preStop that sleeps for 31 s of 30 s grace"),
        (lambda: DAEMON.rollout("agent"), "not modelled: the rollout of a DaemonSet"),
        (lambda: FIVE.with_pods("order", down="asleep").trace(ORDERS), "closed, refuses or silent"),
        (lambda: SHOP.apply(STUCK), "may not be 0 when maxSurge is 0"),
    ],
)  # fmt: skip
def test_errors_are_for_people(ask, words):
    with pytest.raises(k8slb.K8slbError) as error:
        ask()
    assert words in str(error.value)


def test_the_film_shows_who_dies_with_the_node_as_dead():
    film = k8slb.load("shop").node_dies("node-b").film()
    assert film.query("who == 'node-b' and what == 'kube-proxy'")["state"].tolist() == ["up to date", "dead"]
    assert "dead" not in film.query("who == 'node-a'")["state"].tolist()
