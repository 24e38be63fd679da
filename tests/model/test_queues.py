"""Queues in arrays: each kernel against its definition, the compiled twins, the balancers themselves and the clock."""

import sys
from importlib import import_module, util
from math import inf
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest
from bench.workloads import INGRESS, SERVICE
from hypothesis import given, settings
from hypothesis import strategies as st

import k8slb
from k8slb import arrays, engine, queues
from k8slb.balancers import balancer
from k8slb.balancers.base import Peer
from k8slb.decision import Work

some = settings(max_examples=60, deadline=None, derandomize=True)


def shop(time="10ms exponential", workers=1):
    return k8slb.load(SERVICE % (4, "10ms")).with_pods("shop", service_time=time, workers=workers)


def twins():
    """`fast` as plain Python, whether numba is there or not; and compiled, where it is."""
    spec = util.spec_from_file_location("interpreted", Path(queues.__file__).with_name("fast.py"))
    plain, numba = util.module_from_spec(spec), sys.modules.get("numba")
    sys.modules["numba"] = SimpleNamespace(njit=lambda **_: lambda function: function)
    try:
        spec.loader.exec_module(plain)
    finally:
        if numba is None:
            del sys.modules["numba"]
        else:
            sys.modules["numba"] = numba
    return [plain, import_module("k8slb.fast")] if util.find_spec("numba") else [plain]


TWINS = twins()
sys.modules.pop("k8slb.fast", None)  # else it would be used


@st.composite
def series(draw, most_workers=1):
    """Arrivals, service times for a mean of 1, and means, in quarters of a second: sums of them are exact, and many
    leave at the moment at which others come."""
    count = draw(st.integers(1, 60))
    gaps = draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
    units = draw(st.lists(st.integers(0, 12), min_size=count, max_size=count))
    means = draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=2, max_size=5))
    return np.cumsum(gaps) / 4, np.array(units) / 4, np.array(means), draw(st.integers(1, most_workers))


def by_definition(arrival, service, workers):
    """Each begins when it is there and one of the workers has done with all that came before."""
    left = []
    for now, takes in zip(arrival, service, strict=True):
        busy_until = sorted(left, reverse=True)
        left.append(max(now, busy_until[workers - 1] if len(left) >= workers else -inf) + takes)
    return left


@some
@given(series(4))
def test_departures_are_those_of_the_definition(made):
    arrival, unit, mean, workers = made
    service = unit * mean[0]
    expected = by_definition(arrival, service, workers)
    assert queues.departures(arrival, service, workers).tolist() == expected
    assert workers > 1 or queues.lindley(arrival, service).tolist() == expected


def test_one_worker_is_as_several_workers_where_there_is_one():
    """The passes over arrays beside the heap."""
    rng = np.random.default_rng(1)
    arrival, service = np.cumsum(rng.exponential(1, 5000)), rng.exponential(0.9, 5000)
    assert np.allclose(queues.lindley(arrival, service), queues.departures(arrival, service), rtol=1e-13, atol=0)


@some
@given(series(), st.integers(0, 2**32))
def test_compiled_or_not_the_numbers_are_the_same(made, seed):
    arrival, unit, mean, _ = made
    rng = np.random.default_rng(seed)
    unit = unit + rng.random(len(unit))  # no exact sums now: the same operations in the same order
    one, other = (rng.integers(0, len(mean), len(unit), dtype=np.int16) for _ in range(2))
    who = rng.permutation(len(unit) + 3)[: len(unit)]
    for fast in TWINS:
        assert np.array_equal(queues.least(arrival, unit, mean), fast.least(arrival, unit, mean))
        assert np.array_equal(queues.two(arrival, unit, mean, one, other), fast.two(arrival, unit, mean, one, other))
        came = np.zeros(len(unit) + 3)
        came[who] = arrival
        plainly, fastly = (came.copy(), came / 3), (came.copy(), came / 3)
        longest = queues.serve(Work(mean[0], "exponential", 1.0), *plainly, who, unit)
        assert longest == fast.serve(mean[0], *fastly, who, unit)
        assert np.array_equal(plainly, fastly)


class Replayed:
    """Random numbers that were drawn before."""

    def __init__(self, one, other):
        self.pairs = zip(one.tolist(), other.tolist(), strict=True)
        self.left = []

    def choice(self, among):
        self.left = self.left or list(next(self.pairs))
        return among[self.left.pop(0)]

    def sample(self, among, many):
        return [among[i] for i in next(self.pairs)]


@some
@given(series(), st.sampled_from(["ipvs-sed", "ipvs-nq", "envoy-least-request", "traefik-p2c"]), st.integers(0, 2**32))
def test_kernels_pick_as_the_balancers_do(made, name, seed):
    arrival, unit, mean, _ = made
    policy, drawn = balancer(name), {}

    class Kept:  # the draws of the kernel, to give them to the balancer
        def integers(self, *asked, **more):
            drawn[len(drawn)] = found = np.random.default_rng(seed + len(drawn)).integers(*asked, **more)
            return found

    picks, left = queues.picked(policy.kernel, Kept(), arrival, unit, mean)
    rng = Replayed(drawn[0], drawn[1]) if drawn else Random(0)
    peers = [Peer(f"10.0.0.{i}:80") for i in range(len(mean))]
    asked = [(policy, peers, {}, None, range(len(mean)), False)]
    ones = [1] * len(mean)
    slowly = queues.in_turn(arrival, unit, mean, ones, np.zeros(len(unit), int), asked, rng)
    assert picks.tolist() == slowly[0].tolist() and left.tolist() == slowly[1].tolist()


@some
@given(series(3), st.integers(1, 3))
def test_who_counts_is_told_of_all_that_is_open(made, proxies):
    """Each proxy counts its own: least connections by what is open as the request comes, worked out anew each time."""
    arrival, unit, mean, workers = made
    peers, which = [Peer(f"10.0.0.{i}:80") for i in range(len(mean))], np.arange(len(unit)) % proxies
    asked = [(balancer("ipvs-sed"), peers, {}, None, range(len(mean)), False) for _ in range(proxies)]
    picks, left = queues.in_turn(arrival, unit, mean, [workers] * len(mean), which, asked, Random(0))
    for k, now in enumerate(arrival):
        mine = [i for i in range(k) if which[i] == which[k] and left[i] > now]
        there = [sum(picks[i] == pod for i in mine) for pod in range(len(mean))]
        assert picks[k] == max(pod for pod in range(len(mean)) if there[pod] == min(there))
    for pod in range(len(mean)):
        mine = picks == pod
        assert left[mine].tolist() == by_definition(arrival[mine], unit[mine] * mean[pod], workers)


def both(monkeypatch, cluster, url, **more):
    """The same requests in arrays and by the clock."""
    at_once = cluster.send(url, **more).run

    class Never:
        def __init__(self, *_, **__):
            raise arrays.Remembers

    monkeypatch.setattr(engine, "AtOnce", Never)
    return at_once, cluster.send(url, **more).run


@pytest.mark.parametrize("name", ["ipvs-rr", "ipvs-sed", "ipvs-wlc", "nginx-least-conn", "haproxy-leastconn"])
@pytest.mark.parametrize("workers", [1, 3])
def test_arrays_and_the_clock_agree_where_nothing_is_random(monkeypatch, name, workers):
    times = np.cumsum(np.random.default_rng(5).exponential(1 / (350 * workers), 4000)).tolist()
    cluster = shop("10ms", workers).with_balancer("kube-proxy", name)
    used = []
    monkeypatch.setattr(arrays.AtOnce, "_queued", lambda *a, f=arrays.AtOnce._queued: used.append(1) or f(*a))
    one, other = both(monkeypatch, cluster, "http://shop", arrivals=times)
    assert used
    assert np.array_equal(one.columns["pod"][1], other.columns["pod"][1])
    assert np.allclose(one.latency, other.latency, atol=1e-9) and one.latency.max() > 0.02
    assert one.worked.keys() == other.worked.keys()
    for pod, (busy, count) in one.worked.items():
        assert other.worked[pod] == (pytest.approx(busy), count)


def staged(replicas, time, workers, name):
    """Through a controller with so many replicas, which takes time as well, to four pods."""
    cluster = k8slb.load(SERVICE % (4, "9ms") + INGRESS).with_pods("shop", service_time="9ms")
    cluster = cluster.scale("plain", replicas).with_pods("plain", service_time=time, workers=workers)
    turns = cluster.with_balancer("cloud-lb", "ipvs-rr").with_balancer("kube-proxy", "ipvs-rr")
    return turns.with_balancer("ingress", name)


@pytest.mark.parametrize("name", ["ipvs-rr", "ipvs-sed", "nginx-least-conn"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_arrays_and_the_clock_agree_over_several_stages(monkeypatch, replicas, name):
    times = np.cumsum(np.random.default_rng(6).exponential(1 / 350, 3000)).tolist()
    one, other = both(monkeypatch, staged(replicas, "2ms", 1, name), "http://203.0.113.10", arrivals=times)
    assert np.array_equal(one.columns["pod"][1], other.columns["pod"][1]) and one.columns["pod"][0]
    for layer in ("ingress", "pods"):
        assert np.allclose(one.spent[layer], other.spent[layer], atol=1e-9) and one.spent[layer].max() > 0.002


def test_who_overtakes_at_a_controller_is_first_at_the_pods():
    """Each joins the shortest queue that there is as it comes from the controller."""
    run = staged(1, "5ms exponential", 3, "ipvs-sed").send("http://203.0.113.10", 900, rate=400, seed=2).run
    came, pod = run.time + run.spent["ingress"], run.columns["pod"][1]
    gone, order = came + run.spent["pods"], np.argsort(came)
    assert (np.diff(order) < 0).any()
    for k, request in enumerate(order):
        before = [i for i in order[:k] if gone[i] > came[request]]
        there = [sum(pod[i] == one for i in before) for one in range(4)]
        assert there[pod[request]] == min(there)


@pytest.mark.parametrize("name", ["iptables-random", "envoy-least-request", "ipvs-sed", "aws-alb-least-outstanding"])
def test_a_run_is_the_same_with_and_without_numba(monkeypatch, name):
    cluster = shop().with_balancer("kube-proxy", name)
    one = cluster.send("http://shop", 3000, rate=320, seed=4).run
    monkeypatch.setitem(sys.modules, "k8slb.fast", TWINS[-1])
    other = cluster.send("http://shop", 3000, rate=320, seed=4).run
    assert np.array_equal(one.latency, other.latency)
    assert np.array_equal(one.columns["pod"][1], other.columns["pod"][1])


@some
@given(
    st.sampled_from(["1ms exponential", "10ms", "10ms lognormal 1.5"]),
    st.integers(1, 3),
    st.sampled_from(["iptables-random", "ipvs-rr", "ipvs-sed", "nginx-least-conn", "traefik-p2c"]),
    st.integers(0, 1000),
)
def test_nothing_is_lost_on_the_way(time, workers, name, seed):
    """Each request is served once, by one pod, for its time; what it took is what it spent."""
    outcome = shop(time, workers).with_balancer("kube-proxy", name).send("http://shop", 400, rate=300, seed=seed)
    run = outcome.run
    assert sum(outcome.counts("pod").values()) == 400 and outcome.lost == 0
    assert np.allclose(run.latency, sum(run.spent.values())) and (run.latency > 0).all()
    assert run.until == pytest.approx((run.time + run.latency).max())
    assert sum(busy for busy, _ in run.worked.values()) <= run.latency.sum() * (1 + 1e-9)
    assert all(busy <= run.until * count for busy, count in run.worked.values())


def test_recorded_times_are_kept_and_others_are_told_what_is_wrong():
    cluster = shop("10ms")
    run = cluster.send("http://shop", arrivals=[0.0, 0.5, 0.5, 2.0]).run
    assert run.requests == 4 and run.time.tolist() == [0.0, 0.5, 0.5, 2.0]
    even = cluster.send("http://shop", 4, rate=2, arrivals="constant").run
    assert even.time.tolist() == [0.0, 0.5, 1.0, 1.5] and even.latency.tolist() == pytest.approx([0.01] * 4)
    wrong = (
        {"arrivals": [1.0, 0.5]},
        {"arrivals": [-1.0]},
        {"arrivals": []},
        {"arrivals": [float("nan")]},
        {"arrivals": ["soon"]},
        {"arrivals": "now and then", "rate": 1},
        {"arrivals": [1.0], "rate": 1},
        {"arrivals": 5},
        {"think": "a while", "connections": 2},
        {"think": -1, "connections": 2},
        {"think": "1s"},
        {"think": "1s", "connections": 2, "rate": 1},
    )
    for asked in wrong:
        with pytest.raises(k8slb.InputError):
            cluster.send("http://shop", 10, **asked)
