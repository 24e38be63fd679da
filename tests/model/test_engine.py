"""Connections, affinity and change over time: what is remembered, for how long, and what each request comes to."""

from collections import Counter
from math import sqrt

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import k8slb

some = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
ORDERS, PAYMENTS = "http://order-service", "https://myshop.example.com/payments/process/101"
BALANCED = "http://203.0.113.11"  # the load balancer that order-service gets
SHOP = k8slb.load("shop")
STICKY = """
apiVersion: v1
kind: Service
metadata: {name: order-service}
spec:
  type: LoadBalancer
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: %d}}
  ports: [{port: 80, targetPort: 8081, nodePort: 30099}]
"""
FREE = SHOP.apply(
    "{apiVersion: v1, kind: Service, metadata: {name: order-service}, spec: {type: LoadBalancer, "
    "ports: [{port: 80, targetPort: 8081, nodePort: 30099}]}}"
)
UDP = k8slb.load("""
apiVersion: v1
kind: Service
metadata: {name: dns}
spec: {selector: {app: dns}, ports: [{port: 53, protocol: UDP}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: dns}
spec:
  replicas: 2
  selector: {matchLabels: {app: dns}}
  template:
    metadata: {labels: {app: dns}}
    spec: {containers: [{name: c, ports: [{containerPort: 53, protocol: UDP}]}]}
""")
SCHEDULERS = ["rr", "wrr", "lc", "wlc", "sh", "mh", "sed", "nq"]


def sticky(timeout=10800, mode="iptables"):
    return SHOP.apply(STICKY % timeout).with_proxy(mode=mode)


def pods_of(cluster):
    return {f"{p.status.podIP}:8081" for p in cluster.pods if p.name.startswith("order")}


def pods(run):
    return run.table["pod"].astype(str).to_numpy()


@st.composite
def runs(draw):
    """(cluster, what it becomes, arguments of send)."""
    mode = draw(st.sampled_from(["iptables", "nftables", "ipvs"]))
    cluster = draw(st.sampled_from([FREE, sticky(), sticky(2)]))
    cluster = cluster.with_proxy(mode, draw(st.sampled_from(SCHEDULERS)) if mode == "ipvs" else None)
    times = draw(st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.5, 3.0]), unique=True, max_size=3))
    becomes = {}
    for t in sorted(times):
        other = cluster.scale("order", draw(st.integers(0, 5))).scale("payment", draw(st.integers(0, 3)))
        becomes[t] = other.scale("ingress-nginx-controller", draw(st.integers(1, 3)))
    clients = draw(st.sampled_from([1, 1, 7, 40]))
    given = {"requests": 200, "rate": 50.0, "becomes": becomes or None, "clients": clients}
    given["connections"] = draw(st.sampled_from([None, 40, 60, 200]))
    given["behind_nat"] = draw(st.sampled_from([0.0, 0.6])) if clients > 1 else 0.0
    given["max_age"] = draw(st.sampled_from([None, None, 0.7]))
    given["seed"] = draw(st.integers(0, 2**32))
    return cluster, becomes, given


@some
@given(runs(), st.sampled_from([ORDERS, BALANCED, PAYMENTS, "http://172.18.0.3:30099"]))
def test_every_request_is_accounted_for(run, url):
    cluster, _, given = run
    outcome = cluster.send(url, **given)
    table = outcome.table
    answered = table["status"].notna() if "status" in table else np.zeros(200, bool)
    lost = table["lost"].notna() if "lost" in table else np.zeros(200, bool)
    assert (answered ^ lost).all() and lost.sum() == outcome.lost
    assert sum(outcome.counts("pod").values()) <= answered.sum()
    assert table.equals(cluster.send(url, **given).table)


@some
@given(runs())
def test_a_connection_keeps_its_pod_while_it_lives(run):
    cluster, becomes, given = run
    outcome = cluster.send(ORDERS, **given)
    table, last, moved = outcome.table, {}, 0
    moments = [(0.0, pods_of(cluster)), *((t, pods_of(c)) for t, c in becomes.items())]
    for row in table.itertuples():
        now = next(there for t, there in reversed(moments) if t <= row.time)
        pod = getattr(row, "pod", None)
        assert pod in now if isinstance(pod, str) else not now or given["connections"]
        before = last.get(row.connection)
        if before is not None and given["max_age"] is None:
            passed = [there for t, there in moments if before[0] < t <= row.time]
            if all(before[1] in there for there in passed):
                assert pod == before[1]
            else:
                moved += 1
        last[row.connection] = (row.time, pod) if isinstance(pod, str) else None
    assert outcome.run.reset >= moved if given["max_age"] is None else True


@some
@given(runs())
def test_an_address_keeps_its_pod_within_the_timeout(run):
    cluster, becomes, given = run
    timeout = cluster.services["default", "order-service"].spec
    if timeout.sessionAffinity != "ClientIP":
        return
    timeout, last = timeout.sessionAffinityConfig.clientIP.timeoutSeconds, {}
    moments = [(t, pods_of(c)) for t, c in becomes.items()]
    table = cluster.send(ORDERS, **given | {"connections": None}).table  # one node, at most 40 addresses
    for row in table.itertuples():
        pod = getattr(row, "pod", None)
        client = getattr(row, "client", None)
        before = last.get(client)
        if before and row.time - before[0] <= timeout:
            passed = [there for t, there in moments if before[0] < t <= row.time]
            assert pod == before[1] or any(before[1] not in there for there in passed)
        last[client] = (row.time, pod) if isinstance(pod, str) else None


@pytest.mark.parametrize("what", [{}, {"connections": 40}, {"clients": 7}], ids=str)
@pytest.mark.parametrize("mode", ["iptables", "ipvs"])
def test_arrays_and_order_of_arrival_agree(mode, what):
    """A cluster that changes after the last request is walked one by one; a still one with arrays."""
    cluster, asked = SHOP.with_nodes(1).with_proxy(mode), {"requests": 6000, "rate": 1000.0, **what}
    still, changing = cluster.send(ORDERS, **asked), cluster.send(ORDERS, becomes={1e9: cluster}, **asked)
    assert still.run.counters == changing.run.counters and still.run.picks == changing.run.picks
    if mode == "ipvs":  # nothing is left to chance
        assert (pods(still) == pods(changing)).all()
    else:
        units = what.get("connections", 6000)
        for run in (still, changing):
            expected = np.full(3, units / 3)
            found = np.array(list(run.counts().values())) * units / 6000
            assert ((found - expected) ** 2 / expected).sum() < 18.4  # chi-square with 2 degrees: p > 1e-4


# same pod on the second visit of `clients` addresses to 3 pods, recorded with Linux 6.18: iptables 1.8.9 legacy and
# nf_tables; nft always kept all
RECORDED = {50: (50, 50), 90: (90, 90), 300: (296, 264), 1000: (354, 345), 3000: (1046, 986)}


@pytest.mark.parametrize("clients", RECORDED)
def test_what_clientip_forgets(clients):
    def same(mode, seed):
        asked = {"requests": 2 * clients, "clients": clients, "via": "node-a", "seed": seed}
        visits = pods(sticky(mode=mode).send(ORDERS, **asked))
        return int((visits[:clients] == visits[clients:]).sum())

    assert same("nftables", 0) == same("ipvs", 0) == clients
    found = [same("iptables", seed) for seed in range(30)]
    for recorded in RECORDED[clients]:
        assert abs(recorded - np.mean(found)) <= 4 * np.std(found, ddof=1)


def test_affinity_is_kept_on_each_node_for_itself():
    table = sticky().send(BALANCED, requests=3000, clients=30).table
    seen = table.groupby(["client", "node"], observed=True)["pod"].nunique()
    assert (seen == 1).all() and (table.groupby("client", observed=True)["pod"].nunique() > 1).sum() > 10


def test_who_is_lost_with_its_pod_stays_with_the_new_one():
    changes = {5.0: sticky().scale("order", 2), 10.0: sticky()}
    table = sticky().send(ORDERS, requests=1500, rate=100.0, clients=90, becomes=changes).table
    third = sorted(pods_of(sticky()))[2]
    assert (table[table.time < 5].pod == third).any() and not (table[table.time >= 5].pod == third).any()


def test_what_affinity_forgets_with_time():
    asked = {"requests": 4000, "clients": 40, "rate": 10.0, "via": "node-a"}
    table = sticky(1).send(ORDERS, **asked).table
    again = table.groupby("client", observed=True)[["time", "pod"]].shift()
    late = table[table.time - again.time > 1].assign(before=again.pod)
    same = (late.pod.astype(str) == late.before.astype(str)).mean()
    assert len(late) > 3000 and abs(same - 1 / 3) < 4 * sqrt(2 / 9 / len(late))
    third = sorted(pods_of(sticky()))[2]  # away for a moment in which few ask, it has lost all its clients
    table = sticky().send(ORDERS, **asked, becomes={200.0: sticky().scale("order", 2), 200.001: sticky()}).table
    had = set(table.client[(table.time < 200) & (table.pod == third)])
    kept = set(table.client[(table.time > 200.001) & (table.pod == third)]) & had
    assert len(had) > 5 and len(kept) < len(had)


def test_sixty_percent_behind_one_address():
    """The pod that has the NAT gets 0.6 + 0.4 / 3 of the requests."""
    shares = [sticky().send(ORDERS, clients=200, behind_nat=0.6, seed=s).table for s in range(100)]
    nat = [(t.pod == t.pod[t.client == "10.0.0.4"].iloc[0]).mean() for t in shares]
    assert abs(np.mean(nat) - (0.6 + 0.4 / 3)) < 4 * sqrt(80 * 2 / 9) / 200 / sqrt(100)
    assert "from 200 clients (60% behind one address)" in SHOP.send(ORDERS, clients=200, behind_nat=0.6).sentence


@pytest.mark.parametrize(("pool", "busy"), [(2, 1.90), (22, 9.02)])
def test_pods_that_a_pool_reaches(pool, busy):
    ten = SHOP.scale("order", 10)
    found = [len(set(x)) for x in pods(ten.send(ORDERS, requests=2000 * pool)).reshape(-1, pool)]
    assert 10 * (1 - 0.9**pool) == pytest.approx(busy, abs=0.005)
    assert abs(np.mean(found) - busy) < 4 * np.std(found) / sqrt(2000) + 0.005


def test_open_connections_stay_when_pods_come():
    ten = SHOP.scale("order", 10)
    for seed in range(20):
        asked = {"requests": 1000, "rate": 100.0, "connections": 2, "becomes": {2.0: ten}, "seed": seed}
        table = SHOP.send(ORDERS, **asked).table
        assert set(table.pod[table.time > 2]) == set(table.pod[table.time < 2]) <= pods_of(SHOP)
    aged = SHOP.send(ORDERS, 10_000, connections=200, rate=1000.0, becomes={2.0: ten}, max_age=1.0)
    late = aged.table[aged.table.time > 5]
    assert aged.run.aged > 200 and aged.run.reset == 0 and aged.counts("lost") == {}
    assert 0.6 < (~late.pod.isin(list(pods_of(SHOP)))).mean() < 0.8  # 7 of 10 pods are new
    through = SHOP.send(PAYMENTS, connections=1)
    assert list(through.counts().values()) == [500, 500]  # a proxy balances each request


def test_least_connection_fills_a_new_pod_first():
    """Recorded (Linux 6.1): 30 held on 3 pods, a fourth is added; the next 10 go there."""
    for scheduler in ("lc", "wlc", "sed", "nq"):
        three = SHOP.with_proxy("ipvs", scheduler)
        asked = {"requests": 40, "connections": 40, "rate": 1.0}
        time = three.send(ORDERS, **asked).table.time
        run = three.send(ORDERS, becomes={(time[29] + time[30]) / 2: three.scale("order", 4)}, **asked)
        assert list(run.counts().values()) == [10] * 4
        aging = three.send(
            ORDERS, 4000, connections=40, rate=100.0, max_age=5.0, becomes={20.0: three.scale("order", 4)}
        )
        held = aging.table[aging.table.time > 26].drop_duplicates("connection").pod.value_counts()
        assert aging.run.aged > 200 and held.max() <= 13  # what is closed is no longer counted


def test_a_pod_that_is_gone_resets_its_connections():
    run = SHOP.send(ORDERS, 3000, connections=60, rate=100.0, becomes={10.0: SHOP.scale("order", 1)})
    held = Counter(run.table.drop_duplicates("connection").pod)
    assert run.run.reset == 60 - held["10.0.0.5:8081"] and run.lost == 0
    assert set(run.table.pod[run.table.time > 10]) == {"10.0.0.5:8081"}
    assert f"{run.run.reset} connections reset and opened anew" in run.sentence


def test_a_proxy_that_stands_keeps_its_clients_connections():
    mesh = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {istio-injection: enabled}}"
    asked = {"requests": 400, "rate": 100.0, "connections": 10}
    for cluster, url in ((SHOP.apply(mesh), ORDERS), (SHOP.with_load_balancer("aws-alb"), PAYMENTS)):
        run = cluster.send(url.replace("https", "http"), becomes={2.0: cluster.scale("order", 6)}, **asked)
        assert run.run.reset == 0


def test_one_pod_leaves_nothing_to_chance():
    run = SHOP.scale("payment", 1).send(PAYMENTS, 300)
    assert run.spread == (0.0, "nothing was left to chance") and "ingress_pod" in run.run.columns


def test_a_node_that_goes_takes_what_it_remembered_with_it():
    balanced = "kind: Service\nmetadata: {name: order-service}\nspec: {type: LoadBalancer, sessionAffinity: ClientIP}"
    three = SHOP.apply(balanced)
    url = f"http://{three.services['default', 'order-service'].status.loadBalancer.ingress[0].ip}"
    asked = {"rate": 20.0, "clients": 20, "becomes": {5.0: three.with_nodes(2), 10.0: three}, "seed": 1}
    assert three.send(url, 400, **asked).lost == 0  # node-c is there, is gone, is back
    held = three.send(url, 400, connections=60, **asked)
    through = held.table.drop_duplicates("connection")
    lost = (through.node[through.time < 5] == "node-c").sum()
    assert held.lost == 0 and held.run.reset >= lost > 0


def test_udp_keeps_a_stale_entry_only_where_no_endpoint_is_left():
    one, none = UDP.scale("dns", 1), UDP.scale("dns", 0)
    asked = {"rate": 100.0, "requests": 1000, "connections": 20}
    moved = UDP.send("udp://dns:53", becomes={5.0: one}, **asked)
    assert moved.lost == 0 and moved.run.reset == 0  # kube-proxy deletes the entries that lead nowhere
    table = UDP.send("udp://dns:53", becomes={3.0: one, 5.0: none}, **asked).table
    assert set(table.lost[table.time > 5]) == {"drop"}  # they lead to a pod that is gone: nothing answers
    fresh = UDP.send("udp://dns:53", becomes={5.0: none}, **asked | {"connections": None})
    assert set(fresh.table.lost[fresh.table.time > 5]) == {"reject"}  # a new source port meets the rule


def test_udp_entries_end():
    def by_port(cluster, rest):
        """The pods that each of 40 source ports reached, ten datagrams `rest` seconds apart."""
        run = cluster.send("udp://dns:53", requests=400, connections=40, rate=40 / rest)
        return [set(ports) for ports in pods(run).reshape(-1, 40).T]

    assert all(len(reached) == 1 for reached in by_port(UDP, 0.4))
    assert np.mean([len(reached) == 2 for reached in by_port(UDP, 70)]) > 0.9  # 30 s after an only use
    assert all(len(reached) == 1 for reached in by_port(UDP.with_proxy("ipvs", "mh"), 70))  # the same port, so hash


def test_a_full_conntrack_table_drops_new_connections():
    small = "kind: KubeProxyConfiguration\nconntrack: {maxPerCore: 1, min: 30}"
    cluster = k8slb.load(["shop", f"apiVersion: kubeproxy.config.k8s.io/v1alpha1\n{small}"])
    run = cluster.send(ORDERS, requests=500, connections=50)
    assert run.counts("lost") == {"conntrack table full": 200} and "200 found the" in run.sentence
    assert run.table.groupby("connection")["pod"].nunique().tolist() == [1] * 30 + [0] * 20
    assert cluster.send(ORDERS, requests=500).lost == 0  # what is closed makes room


BAD = [
    {"clients": 0},
    {"clients": 2.0},
    {"clients": 10**7},
    {"behind_nat": 0.5},
    {"clients": 5, "behind_nat": 1.5},
    {"clients": 5, "behind_nat": float("nan")},
    {"clients": 5, "connections": 4},
    {"clients": 5, "from_": "node:node-a"},
    {"becomes": {5.0: SHOP}},
    {"rate": 1.0, "becomes": {0: SHOP}},
    {"rate": 1.0, "becomes": {"5": SHOP}},
    {"rate": 1.0, "becomes": {5: "shop"}},
    {"rate": 1.0, "becomes": [SHOP]},
    {"rate": 1.0, "becomes": {1.0: SHOP.with_nodes(1)}, "via": "node-c"},
    {"max_age": 5.0},
    {"rate": 1.0, "max_age": 0},
]


@pytest.mark.parametrize("given", BAD, ids=lambda g: ", ".join(f"{k}={v}"[:20] for k, v in g.items()))
def test_bad_input(given):
    with pytest.raises(k8slb.InputError):
        SHOP.send(ORDERS, **given)


@pytest.mark.parametrize("by", ["$remote_addr", "$remote_addr$request_uri"])
def test_clients_that_share_a_decision_hash_each_by_their_own_address(by):
    """ingress-nginx's upstream-hash-by, where the controller sees its clients' addresses."""
    annotated = f"""
{{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {{name: app-ingress, annotations:
  {{nginx.ingress.kubernetes.io/upstream-hash-by: {by}}}}}}}
"""
    local = """
{apiVersion: v1, kind: Service, metadata: {name: ingress-nginx-controller, namespace: ingress-nginx},
 spec: {externalTrafficPolicy: Local}}
"""
    shop, url = k8slb.load("shop").apply(annotated).apply(local), "https://myshop.example.com/orders"
    sent = shop.send(url, requests=60, clients=20, connections=20).table.groupby("client")["pod"].unique()
    asked = {client: shop.trace(url, from_=f"external:{client}").pod for client in sent.index}
    assert len(set(asked.values())) == 3 and {c: [p] for c, p in asked.items()} == sent.map(list).to_dict()
