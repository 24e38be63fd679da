"""What proxies remember and try: limits, cookies, failures and retries, ejections, and balancers of one's own."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import k8slb
from k8slb.balancers.base import BALANCERS, connections
from k8slb.decision import Budget, Candidate, Ejects, Memory, OnFailure, Place
from k8slb.layers import ingress
from k8slb.remembered import Outliers
from k8slb.traffic import Flow

PAYMENTS, ORDERS = "https://myshop.example.com/payments/process/101", "http://order-service"
SHOP = k8slb.load("shop")
ONE = SHOP.scale("ingress-nginx-controller", 1)  # one replica, so one set of counters

ODD = """
apiVersion: v1
kind: Pod
metadata: {name: odd, labels: {app: payment}, annotations: {k8slb/fail: "%s"}}
spec: {containers: [{name: c, ports: [{name: http, containerPort: 8082}]}]}
"""


def annotated(cluster=ONE, **notes):
    lines = "".join(f'    nginx.ingress.kubernetes.io/{k.replace("_", "-")}: "{v}"\n' for k, v in notes.items())
    return cluster.apply(f"kind: Ingress\nmetadata:\n  name: app-ingress\n  annotations:\n{lines}")


@pytest.fixture
def proxy(monkeypatch):
    """Make the controller's decisions for pods as one wants them."""
    dial = ingress.dial

    def changed(**fields):
        monkeypatch.setattr(ingress, "dial", lambda *given, **named: _with(dial(*given, **named), fields))

    return changed


def _with(decision, fields):
    return replace(decision, **fields) if decision.action == "forward" else decision


def near(counts, shares, requests):
    return all(abs(counts.get(k, 0) - requests * p) <= 4 * sqrt(requests * p * (1 - p)) for k, p in shares.items())


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rps", "admitted"), [(1, 6), (2, 11), (10, 51)])
def test_a_limit_admits_its_burst_and_one(rps, admitted):
    """Measured with nginx: an idle client may send so many at once."""
    limited = annotated(limit_rps=rps)
    run = limited.send(PAYMENTS, 100, via="node-a")
    assert run.counts("status") == {"200": admitted, "503": 100 - admitted}
    assert list(run.counts("refused_by").values()) == [100 - admitted] and "all at once" in run.sentence
    replicas = limited.scale("ingress-nginx-controller", 3).send(PAYMENTS, 1000, via="node-a")
    assert replicas.counts("status")["200"] == 3 * admitted
    assert "limit-rps" in str(limited.trace(PAYMENTS).why()) and limited.trace(PAYMENTS).status == 200
    assert sum(limited.shares(PAYMENTS).values()) == 1


def test_a_limit_lets_its_rate_pass():
    run = annotated(limit_rps=10).send(PAYMENTS, rate=40.0, duration=100, via="node-a")
    assert run.counts("status")["200"] == pytest.approx(51 + 10 * run.run.time[-1], abs=2)
    slow = annotated(limit_rps=10).send(PAYMENTS, rate=5.0, duration=100, via="node-a")
    assert slow.counts("status") == {"200": 500}
    local = "kind: Service\nmetadata: {name: ingress-nginx-controller}\nspec: {externalTrafficPolicy: Local}"
    alone = annotated(limit_rps=1).apply(local).send(PAYMENTS, 600, clients=6)  # now by the client's own address
    assert alone.counts("status")["200"] == 6 * 6


def test_a_limit_counts_who_is_refused_anyway():
    """nginx counts a request (phase preaccess) before it asks who sends it (access)."""
    run = annotated(limit_rps=10, denylist_source_range="0.0.0.0/0").send(PAYMENTS, 100, via="node-a")
    assert run.counts("status") == {"403": 51, "503": 49} and sum(run.counts("refused_by").values()) == 49


# --- cookies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["balanced", "persistent"])
def test_what_sticky_sessions_do_when_pods_come(mode):
    """Hashed cookies move (new - old) / new of the users; a cookie that names the pod moves nobody."""
    three = annotated(SHOP.scale("payment", 3), affinity="cookie", affinity_mode=mode)
    four, asked = three.scale("payment", 4), {"clients": 300, "rate": 300.0, "requests": 3000}
    run = three.send(PAYMENTS, becomes={5.0: four}, behind_nat=0.5, **asked)
    user, pod = np.arange(3000) % 300, run.table.pod.astype(str).to_numpy()
    before, after = (
        [set(pod[(user == u) & when]) for u in range(300)] for when in (run.table.time < 5, run.table.time >= 5)
    )
    assert all(len(x) <= 1 for x in before) and all(len(x) <= 1 for x in after)
    both = [(b, a) for b, a in zip(before, after, strict=True) if b and a]
    moved = sum(b != a for b, a in both) / len(both)
    assert moved == 0 if mode == "persistent" else 0.12 < moved < 0.40
    assert len({pod for b, a in both if b != a for pod in a}) <= 1  # to the new one
    assert "300 users who keep their cookies" in run.sentence and len(run.counts()) == 4
    new = four.send(PAYMENTS, **asked)
    assert len({p for p in new.table.pod}) == 4


def test_a_cookie_says_the_same_to_every_replica():
    run = annotated(SHOP, affinity="cookie").send(PAYMENTS, 500, clients=5)
    assert run.table.groupby(np.arange(500) % 5)["pod"].nunique().tolist() == [1] * 5
    assert len(run.counts("ingress_pod")) == 2
    with pytest.raises(k8slb.NotModelled, match="cookie"):
        annotated(affinity="cookie").shares(PAYMENTS)


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("name", ["spec-random", "ingress-nginx-chash"])
def test_a_cookie_whose_pod_fails(proxy, name, stays):
    """One that stays has its pod tried again, in vain; otherwise another pod is tried, and kept from then on."""
    retried = OnFailure(2, statuses=frozenset({500}))
    proxy(remembers=(Memory("cookie", "C", stays=stays),), on_failure=retried, balancer=name)
    good = ONE.apply(ODD % "0")
    bad = good.with_pods("odd", fail=1)
    at = f"{next(p for p in bad.pods if p.name == 'odd').status.podIP}:"
    run = good.send(PAYMENTS, 1200, rate=100.0, clients=30, becomes={5.0: bad})
    table, user = run.table, np.arange(1200) % 30
    had = {u for u in range(30) if str(table.pod[user == u].iloc[0]).startswith(at)}
    assert len(had) > 3
    late = table[table.time > 6.0]
    answered = late.groupby(user[late.index])["status"].agg(set)
    assert all(answered[u] == ({"500"} if u in had and stays else {"200"}) for u in range(30)), answered


@pytest.mark.parametrize("change", ["false", "true"])
def test_ingress_nginx_changes_a_cookie_on_failure_only_if_told(change):
    retried = "error timeout http_500"
    notes = {"affinity": "cookie", "session_cookie_change_on_failure": change, "proxy_next_upstream": retried}
    good = annotated(ONE.apply(ODD % "0"), **notes)
    run = good.send(PAYMENTS, 1200, rate=100.0, clients=30, becomes={5.0: good.with_pods("odd", fail=1)})
    user, late = np.arange(1200) % 30, run.table.time > 6.0
    failing = {u for u, status in zip(user[late], run.table.status[late], strict=True) if status == "500"}
    assert run.run.notes and (len(failing) > 3 if change == "false" else not failing)


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_pod_that_fails():
    failing = SHOP.with_pods("order", fail="0.3 503")
    shares = failing.shares(ORDERS)
    assert set(shares.values()) == {Fraction(7, 30)} and shares.answered == {"503": Fraction(3, 10)}
    run = failing.send(ORDERS, 9000)
    assert near(run.counts("status"), {"200": 0.7, "503": 0.3}, 9000) and near(run.counts(), run.exact, 9000)
    assert Counter(failing.trace(ORDERS, seed=s).status for s in range(100)).keys() == {200, 503}
    assert failing.with_pods("order", fail=0).shares(ORDERS) == SHOP.shares(ORDERS)
    assert failing.with_pods("order", fail=1).trace(ORDERS).status == 500
    held = failing.send(ORDERS, 3000, connections=3)  # a connection keeps its pod, which fails now and then
    assert (
        near(held.counts("status"), {"503": 0.3}, 3000) and (held.table.groupby("connection").pod.nunique() == 1).all()
    )


@pytest.mark.parametrize("wrong", ["2", "-0.1", "0.1 200", "often", "0.1  500", ""])
def test_a_share_of_failures_that_cannot_be(wrong):
    with pytest.raises(k8slb.InputError, match=r"order.yaml:\d+: k8slb/fail"):
        SHOP.with_pods("order", fail=wrong).trace(ORDERS)


@pytest.mark.parametrize("name", ["ingress-nginx-round-robin", "spec-random"])
@pytest.mark.parametrize("tries", [1, 2, 3])
def test_retries_are_the_same_exactly_and_sampled(proxy, name, tries):
    proxy(on_failure=OnFailure(tries, statuses=frozenset({500, 503})), balancer=name)
    cluster = ONE.scale("payment", 3).with_pods("payment", fail="0.4")
    shares = cluster.shares(PAYMENTS)
    assert shares.answered == {"500": Fraction(2, 5) ** tries}
    run = cluster.send(PAYMENTS, 6000)
    assert near(run.counts("status"), {k: float(v) for k, v in shares.answered.items()}, 6000)
    assert (f"{sum(int(t) - 1 for t in run.table.tries):,} retries" in run.sentence) if tries > 1 else tries == 1
    last = cluster.trace(PAYMENTS, seed=4)
    assert last.status in (200, 500) and len(last._tries) <= tries


def test_only_one_of_the_pods_fails(proxy):
    """Round robin comes to the pod after a failing one more often; a method that is not named is not tried again."""
    fifth, twelfth = Fraction(1, 5), Fraction(1, 12)
    expected = {
        "ingress-nginx-round-robin": [2 * fifth, 2 * fifth, fifth],
        "spec-random": [5 * twelfth] * 2 + [2 * twelfth],
    }
    for name in expected:
        proxy(on_failure=OnFailure(2, statuses=frozenset({500}), methods=frozenset({"GET"})), balancer=name)
        cluster = ONE.apply(ODD % "0.5")
        shares = cluster.shares(PAYMENTS)
        assert shares.answered == {} and sorted(shares.values(), reverse=True) == expected[name]
        assert near(cluster.send(PAYMENTS, 20_000).counts(), shares, 20_000)
        assert set(cluster.shares(PAYMENTS, method="POST").answered.values()) == {Fraction(1, 6)}


@pytest.mark.parametrize("name", ["ingress-nginx-round-robin", "spec-random"])
def test_pods_that_fail_each_in_its_own_way(proxy, name):
    proxy(on_failure=OnFailure(2, statuses=frozenset({500})), balancer=name)
    cluster = ONE.scale("payment", 3).with_pods("payment", fail=0.25).apply(ODD % "0.75")
    shares, run = cluster.shares(PAYMENTS), cluster.send(PAYMENTS, 20_000)
    assert sum(shares.values()) + shares.answered["500"] == 1 and len(set(shares.reached.values())) > 1
    assert near(run.counts("status"), {"500": float(shares.answered["500"])}, 20_000)
    assert near(run.counts(), {pod: float(share) for pod, share in shares.reached.items()}, 20_000)


def test_a_refused_request_in_trace_shares_and_log():
    """Two pods that refuse, three tries: the third goes to the first again."""
    nobody = "{kind: Service, metadata: {name: payment-service}, spec: {ports: [{port: 80, targetPort: 9}]}}"
    refusing = ONE.apply(nobody)
    trace = refusing.trace(PAYMENTS)
    tried = [h["chosen"] for h in trace.to_dict()["hops"] if h["layer"] == "ingress" and h["chosen"]]
    assert len(tried) == 3 and tried[0] == tried[2] != tried[1] and "tried 3 times" in str(trace)
    assert ", ".join(tried) in trace.log and trace.log.endswith("502 -") and trace.to_dict()["log"] == trace.log
    assert refusing.shares(PAYMENTS).answered == {"502": 1}
    run = refusing.send(PAYMENTS, 30)
    assert run.counts("status") == {"502": 30} and run.counts("tries") == {"3": 30} and "60 retries" in run.sentence


def test_a_budget_of_retries(proxy):
    many = frozenset({500})
    proxy(on_failure=OnFailure(2, statuses=many, budget=Budget(ratio=0.2)))
    run = ONE.with_pods("payment", fail=0.5).send(PAYMENTS, 5000)
    assert run.counts("tries")["2"] == 1000
    proxy(on_failure=OnFailure(2, statuses=many, budget=Budget(ratio=0.0, floor=3.0, window=10.0)))
    run = ONE.with_pods("payment", fail=0.5).send(PAYMENTS, rate=50.0, duration=100.0)
    assert run.counts("tries")["2"] == pytest.approx(300, abs=30)
    with pytest.raises(k8slb.NotModelled, match="retries"):
        ONE.with_pods("payment", fail=0.5).shares(PAYMENTS)


# --- outlier detection -----------------------------------------------------------------------------------------------


def peers(count):
    return [Candidate(f"p{i}", f"10.0.0.{i}:80", Place("pod", f"p{i}"), Flow("TCP", "", "", 80)) for i in range(count)]


@pytest.mark.parametrize(
    ("hosts", "rule", "failing", "used"),
    [
        (4, Ejects(), 1, 4),  # recorded with Envoy 1.40: fewer than 10 hosts, and the default ejects nobody
        (10, Ejects(), 3, 9),
        (4, Ejects(percent=25), 3, 3),
        (4, Ejects(at_least_one=True), 3, 3),
        (4, Ejects(percent=100), 2, 2),
        (4, Ejects(percent=100), 3, 4),  # recorded: a quarter is left, which is below panic's half: all are used
        (4, Ejects(percent=100, panic=0), 4, 0),
    ],
)
def test_how_many_are_ejected(hosts, rule, failing, used):
    all_, proxy = peers(hosts), Outliers(rule)
    for _ in range(5):
        assert len(proxy.left(all_, 0.0)) == hosts
        for peer in all_:
            proxy.saw(peer, peer in all_[:failing], all_, 0.0)
    assert len(proxy.left(all_, 1.0)) == used


def test_how_long_one_is_ejected():
    """30 seconds, then 60, at the next sweep; each sweep without an ejection takes one of them back."""
    all_, proxy = peers(2), Outliers(Ejects(percent=50, consecutive=1))
    spans = []
    for now in (3.0, 45.0, 200.0):
        proxy.saw(all_[0], True, all_, now)
        back = next(t for t in np.arange(now, now + 100, 0.5) if len(proxy.left(all_, float(t))) == 2)
        spans.append(back)
    assert spans == [40.0, 110.0, 230.0]


def test_requests_avoid_who_is_ejected(proxy):
    proxy(ejects=Ejects(percent=50), balancer="spec-random")
    broken = ONE.scale("payment", 4).with_pods("payment", fail="0.9")
    run = broken.send(PAYMENTS, rate=50.0, duration=200.0)
    share = run.counts("status")["500"] / run.requests
    assert share == pytest.approx(0.9, abs=0.02) and "ejections" in run.sentence
    with pytest.raises(k8slb.NotModelled, match="ejected"):
        broken.shares(PAYMENTS)


# --- service times ---------------------------------------------------------------------------------------------------

SLOW = ONE.apply(ODD % "0").with_pods("odd", service_time="2s")  # one of three pods
TIMED = ONE.apply(ODD % "0").with_pods("payment", service_time="300ms", workers=1000)  # where nobody queues
TIMED = TIMED.with_pods("odd", service_time="2s", workers=1000)


@pytest.mark.parametrize(("requests", "passed"), [(10, 3), (3, 3), (1, 1)])
def test_as_many_are_under_way_as_a_limit_says(requests, passed):
    """Measured with nginx: of 10 at once limit-connections 3 admits 3, where an answer takes 100 ms."""
    timed = annotated(limit_connections=3).with_pods("payment", service_time="100ms")
    run = timed.send(PAYMENTS, requests, via="node-a")
    assert run.counts("status")["200"] == passed and "all at once" in run.sentence
    assert sum(run.counts("refused_by").values()) == requests - passed
    assert "pods take no time" in annotated(limit_connections=3).send(PAYMENTS, 10, via="node-a").sentence


def test_a_limit_on_what_is_under_way_refuses_as_erlang_says():
    """Poisson arrivals and three lines: B(3, 4) = 32/3 : 71/3 of 4 calls under way are lost, whatever one takes."""
    timed = annotated(limit_connections=3).with_pods("payment", service_time="100ms", workers=1000)
    run = timed.send(PAYMENTS, rate=40.0, duration=500, via="node-a")
    assert run.admitted == pytest.approx(1 - 32 / 71, abs=0.01)
    assert not any("times" in note or "rate" in note for note in run.run.notes)
    free = timed.with_pods("payment", service_time="0.5ms").send(PAYMENTS, rate=40.0, duration=100, via="node-a")
    assert free.admitted == 1


def test_who_has_least_under_way_is_picked():
    """Against a count of one's own: each request goes to a pod that has the fewest, until its pod's time is over."""
    timed = TIMED
    timed = timed.with_balancer("ingress", "nginx-least-conn")
    table = timed.send(PAYMENTS, rate=10.0, duration=60, via="node-a").table
    odd = min(table.pod.unique(), key=lambda pod: timed.pod_name(pod) != "odd")
    ends = {pod: [] for pod in table.pod.unique()}
    for now, pod in zip(table.time, table.pod, strict=True):
        ends = {p: [t for t in times if t > now] for p, times in ends.items()}
        assert len(ends[pod]) == min(map(len, ends.values()))
        ends[pod].append(now + (2.0 if pod == odd else 0.3))
    assert table.pod.value_counts()[odd] < 100
    assert set(timed.send(PAYMENTS, 300, via="node-a").counts().values()) == {100}


def test_a_slow_pod_is_learnt_of_when_it_answers():
    slow = SLOW.with_pods("odd", workers=1000)
    fast = annotated(slow, load_balance="ewma")
    run = fast.send(PAYMENTS, rate=20.0, duration=60, via="node-a")
    odd = next(p.status.podIP for p in SLOW.pods if p.name == "odd")
    counts = {pod.partition(":")[0]: count for pod, count in run.counts().items()}
    assert counts[odd] < run.requests / 6 and fast.send(PAYMENTS, 300).requests == 300
    seen = []
    own = replace(BALANCERS["spec-random"], memoryless=False, answered=lambda s, p, took, now: seen.append((took, now)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BALANCERS, "spec-random", own)
        run = slow.with_balancer("ingress", "spec-random").send(PAYMENTS, rate=2.0, duration=50, via="node-a")
    took = np.where(run.table.pod.str.startswith(odd), 2.0, 0.0)
    ended = sorted(zip(run.table.time + took, took, strict=True))
    assert [now for _, now in seen] == pytest.approx([end for end, _ in ended])
    assert {0.0, 2.0} == {round(t, 9) for t, _ in seen}


def test_a_proxy_waits_only_so_long():
    assert SLOW.send(PAYMENTS, 30, via="node-a").counts("status") == {"200": 30}  # 60 s, the default
    impatient = annotated(SLOW, proxy_read_timeout=1)
    shares, run = impatient.shares(PAYMENTS), impatient.send(PAYMENTS, 3000, via="node-a")
    assert sorted(shares.values()) == [Fraction(1, 2)] * 2 and near(run.counts(), shares, 3000)
    assert run.counts("tries")["2"] == pytest.approx(1500, abs=1)
    once = impatient.shares(PAYMENTS, method="POST")  # it was sent, so it is not tried again
    assert once.answered == {"504": Fraction(1, 3)}
    assert impatient.send(PAYMENTS, 3000, method="POST", via="node-a").counts("status") == {"200": 2000, "504": 1000}
    told = next(t for t in (impatient.trace(PAYMENTS, seed=s, method="POST") for s in range(20)) if t.status == 504)
    assert "odd takes 2 s and ingress-nginx-controller-1 waits 1 s" in str(
        told.why()
    ) and "the request to the pod timed out" in str(told)
    assert annotated(SLOW, proxy_read_timeout=2).shares(PAYMENTS).keys() == SLOW.shares(PAYMENTS).keys()
    assert not impatient.trace(PAYMENTS).warnings
    under_way = annotated(impatient.with_pods("payment", service_time="1.5s"), limit_connections=1)
    run = under_way.send(PAYMENTS, rate=100.0, requests=301, via="node-a")  # three tries of 1 s each
    answered = run.table[run.table.status == "504"]
    assert (answered.time.diff().dropna() >= 3.0).all() and set(answered.tries) == {"3"}


def test_each_try_is_under_way_until_it_ends(monkeypatch):
    """Of a try that times out after 1 s and the next that takes 0.3 s the first counts for 1 s, the next to 1.3 s."""
    picked, learnt, least = [], [], BALANCERS["nginx-least-conn"]

    def pick(peers, state, rng, key, now):
        index = least.pick(peers, state, rng, key, now)
        picked.append((now, peers[index].address, {p.address: connections(state, p)[0] for p in peers}))
        return index

    def answered(state, peer, seconds, now):
        learnt.append((round(seconds, 9), round(now, 9)))

    monkeypatch.setitem(BALANCERS, "nginx-least-conn", replace(least, pick=pick, answered=answered))
    timed = annotated(TIMED.with_balancer("ingress", "nginx-least-conn"), proxy_read_timeout=1)
    run = timed.send(PAYMENTS, rate=10.0, duration=60, via="node-a")
    odd = next(p.status.podIP for p in timed.pods if p.name == "odd") + ":8082"
    ends, expected = {address: [] for address in picked[0][2]} | {odd: []}, []
    for now, address, seen in picked:
        assert seen == {p: sum(t > now for t in ends[p]) for p in seen}
        ends[address].append(now + (1.0 if address == odd else 0.3))
        expected += [(0.3, round(now + 0.3, 9))] * (address != odd)
    assert learnt == sorted(expected, key=lambda e: e[1]) and "retries" in run.sentence
    late = {t for t, p, _ in picked} - set(run.run.time)  # the second tries, each a second after its first
    assert late == {t + 1.0 for t, p, _ in picked if p == odd}


def test_a_connection_is_open_as_long_as_its_request_takes():
    """IPVS counts 256 for one that is open, and 1 for one that was closed within two minutes."""
    slow = (ODD % "0").replace("payment", "order").replace("8082", "8081")
    timed = SHOP.apply(slow).with_pods("order", service_time="300ms", workers=1000)
    timed = timed.with_pods("odd", service_time="2s", workers=1000)
    table = timed.with_proxy(mode="ipvs", scheduler="lc").send(ORDERS, rate=10.0, duration=60).table
    took = {pod: 2.0 if timed.pod_name(pod) == "odd" else 0.3 for pod in table.pod.unique()}
    ends = {pod: [] for pod in took}
    for now, pod in zip(table.time, table.pod, strict=True):
        loads = {p: sum(256 if t > now else 1 for t in times) for p, times in ends.items()}
        assert loads[pod] == min(loads.values())
        ends[pod].append(now + took[pod])
    assert len(took) == 4 and len(set(table.pod.value_counts())) > 1


@pytest.mark.parametrize("name", ["ingress-nginx-round-robin", "spec-random"])
@pytest.mark.parametrize(("total", "late"), [("", None), ("1", 1), ("2", 2), ("1.5", None)])
def test_time_outs_use_up_the_time_of_the_whole_request(proxy, name, total, late):
    """Two pods of five time out and one fails at times: no try begins after `total` seconds of waiting."""
    cluster = ONE.scale("payment", 2).apply(ODD % "0.5").with_pods("payment", service_time="3s")
    more = (ODD % "0").replace("name: odd", "name: %s")
    cluster = annotated(cluster.apply(more % "a").apply(more % "b"), proxy_read_timeout=1)
    cluster = annotated(cluster, proxy_next_upstream_timeout=total) if total else cluster
    assert cluster.trace(PAYMENTS).hops[3].decision.on_failure.late == late  # 1.5 is no number to ingress-nginx
    retried = OnFailure(4, statuses=frozenset({500}), late=late)
    proxy(on_failure=retried, balancer=name)
    shares, run = cluster.shares(PAYMENTS), cluster.send(PAYMENTS, 20_000, via="node-a")
    assert (float(shares.answered.get("504", 0)) > 0.01) == (late is not None)
    assert near(run.counts("status"), {k: float(v) for k, v in shares.answered.items()}, 20_000)
    assert near(run.counts(), {pod: float(share) for pod, share in shares.reached.items()}, 20_000)
    statuses = Counter(cluster.trace(PAYMENTS, seed=s).status for s in range(300)) if name == "spec-random" else {}
    assert near(statuses, {504: float(shares.answered.get("504", 0))}, 300) or not statuses


def test_service_times_that_cannot_be():
    for wrong in ("20", "-1s", "20 ms", "soon", "20ms often", "1s lognormal", ""):
        with pytest.raises(k8slb.InputError, match=r"order.yaml:\d+: k8slb/service-time"):
            SHOP.with_pods("order", service_time=wrong).trace(ORDERS)
    for name, value in (("workers", 0), ("workers", "two"), ("queue", -1), ("cold", "60s"), ("cold", "60s 0.0")):
        with pytest.raises(k8slb.InputError, match=f"k8slb/{name}"):
            SHOP.with_pods("order", service_time="20ms", **{name: value}).trace(ORDERS)
    for spread in ("exponential", "lognormal 0.5"):
        told = SHOP.with_pods("order", service_time=f"20ms {spread}").trace(ORDERS)
        assert told.status == 200 and not told.warnings and "takes about 0.02 s" in str(told)
    timed = SHOP.with_pods("order", service_time="20ms constant")
    assert "takes 0.02 s" in str(timed.trace(ORDERS)) and timed.shares(ORDERS) == SHOP.shares(ORDERS)
    assert timed.send(ORDERS, 500, seed=3).table.equals(SHOP.send(ORDERS, 500, seed=3).table)


# --- balancers of one's own ------------------------------------------------------------------------------------------


def first(peers, state, rng, key, now):
    return 0


def test_a_balancer_of_ones_own():
    own = SHOP.with_balancer("kube-proxy", first)
    assert list(own.send(ORDERS, 100).counts().values()) == [100, 0, 0]
    trace = own.trace(ORDERS)
    assert trace.pod == "10.0.0.5:8081" and "picked by your own first" in trace.warnings[0]
    assert trace.to_dict()["hops"][1]["balancer"] == "first" and "depends on load" in str(trace.why())
    with pytest.raises(k8slb.NotModelled):
        own.shares(ORDERS)
    assert own.with_balancer("kube-proxy", None).shares(ORDERS) == SHOP.shares(ORDERS)
    assert own.scale("order", 2).trace(ORDERS).pod == "10.0.0.5:8081" and SHOP.shares(ORDERS) != {}
    named = SHOP.with_balancer("ingress", "spec-random")
    assert named.shares(PAYMENTS) == SHOP.shares(PAYMENTS) and "spec-random" in named.trace(PAYMENTS).warnings[0]
    none = SHOP.with_balancer("ingress", lambda *given: None)
    assert none.trace(PAYMENTS).status == 502 and none.send(PAYMENTS, 50).counts("status") == {"502": 50}
    nobody = SHOP.with_balancer("kube-proxy", lambda *given: None)
    assert nobody.trace(ORDERS).action == "reject" and nobody.send(ORDERS, 50).counts("lost") == {"reject": 50}


@pytest.mark.parametrize("pick", [lambda *given: 1 // 0, lambda *given: 9, lambda *given: "a", lambda peers: 0])
def test_a_mistake_in_a_balancer_of_ones_own(pick):
    pick.__name__ = "mine"
    for ask in ("trace", "send"):
        with pytest.raises(k8slb.InputError, match="mine"):
            getattr(SHOP.with_balancer("kube-proxy", pick), ask)(ORDERS)
    for layer, wrong in (("dns", first), ("kube-proxy", "no-such"), ("kube-proxy", 3)):
        with pytest.raises(k8slb.InputError):
            SHOP.with_balancer(layer, wrong)


# --- all of it -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_every_request_has_one_outcome(data):
    def draw(*choices):
        return data.draw(st.sampled_from(choices))

    notes = {
        "limit_rps": draw("", 1, 20),
        "affinity": draw("", "cookie"),
        "affinity_mode": draw("balanced", "persistent"),
    }
    notes |= {"proxy_next_upstream": draw("error timeout", "error timeout http_500", "off")}
    cluster = annotated(SHOP, **{k: v for k, v in notes.items() if v != ""})
    cluster = cluster.scale("payment", draw(0, 1, 3)).with_pods("payment", fail=draw(0, 0.3, 1, "0.5 503"))
    asked = {"requests": 300, "clients": draw(1, 7), "rate": draw(None, 30.0), "connections": draw(None, 20)}
    asked |= {"method": draw("GET", "POST"), "becomes": None, "seed": draw(0, 1, 2)}
    if asked["rate"]:
        asked["becomes"] = draw(None, {3.0: cluster.scale("payment", 2), 6.0: cluster.scale("payment", 0)})
    run = cluster.send(PAYMENTS, **asked)
    table = run.table
    assert table["status"].notna().all() and run.lost == 0
    refused = table["refused_by"].notna() if "refused_by" in table else np.zeros(300, bool)
    pod = table["pod"].notna() if "pod" in table else np.zeros(300, bool)
    assert not (refused & pod).any() and set(table.status[refused]) <= {"503"}
    tries = table["tries"].astype(int) if "tries" in table else np.ones(300, int)
    most = 1 if asked["method"] == "POST" or notes["proxy_next_upstream"] != "error timeout http_500" else 3
    assert tries.min() >= 1 and tries.max() <= most
    assert table.equals(cluster.send(PAYMENTS, **asked).table)
