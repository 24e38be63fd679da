"""The balancers of layer 7 proxies against real ones, pick for pick: tests/truth/balancers.json says what ran.

What no binary answered is compared with what the projects' own tests expect (EWMA, Maglev tables, xxHash).
"""

import json
from collections import Counter
from math import inf, sqrt
from pathlib import Path
from random import Random

import pytest

from k8slb.answers.picks import picks
from k8slb.balancers import BALANCERS
from k8slb.balancers.base import Key, Peer
from k8slb.balancers.envoy import maglev_table
from k8slb.balancers.ewma import faded
from k8slb.balancers.parts import xxh32, xxh64

RECORDED = json.loads(Path(__file__).with_name("balancers.json").read_text(encoding="utf-8"))
RUNS = RECORDED["runs"]
NAMES = "abcdef"
SEEDS = range(600)


def title(run):
    return " ".join(str(run.get(k, "")) for k in ("balancer", "weights", "hold", "keys", "how"))


def asked(run, seed=0, n=None):
    """The picks of a run's balancer, asked as a reader would ask it, as one text."""
    weights = list(map(int, run["weights"].split("/")))
    peers = dict(zip((f"127.0.0.{11 + i}:28080" for i in range(len(weights))), weights, strict=True))
    named = dict(zip(peers, NAMES, strict=False))
    hold = run.get("hold", 0)
    hold = (
        inf
        if hold == -1
        else {p: hold[named[p]] for p in peers if named[p] in hold}
        if isinstance(hold, dict)
        else hold
    )
    keys = RECORDED["keys"][run["keys"]] if "keys" in run else None
    found = picks(run["balancer"], peers, n or len(run["picks"]), hold, keys=keys, seed=seed)
    return "".join(named[p] for p in found.picks)


def test_runs_use_what_is_compared():
    assert Counter(run["how"] for run in RUNS).keys() == RECORDED["how"].keys()
    assert all(
        run.keys() <= {"balancer", "weights", "hold", "keys", "picks", "counts", "hosts", "table", "how", "source"}
        for run in RUNS
    )


@pytest.mark.parametrize("run", [r for r in RUNS if r["how"] == "exact"], ids=title)
def test_pick_for_pick(run):
    assert asked(run) == run["picks"]


@pytest.mark.parametrize("run", [r for r in RUNS if r["how"] == "rotation"], ids=title)
def test_pick_for_pick_from_some_point_of_the_period(run):
    period = sum(map(int, run["weights"].split("/")))
    assert run["picks"] in asked(run, n=len(run["picks"]) + period)
    assert 1 < len({asked(run, seed, period) for seed in SEEDS[:30]}) <= period


@pytest.mark.parametrize("run", [r for r in RUNS if r["how"] == "some start"], ids=title)
def test_pick_for_pick_from_some_start(run):
    assert any(asked(run, seed) == run["picks"] for seed in SEEDS)


@pytest.mark.parametrize("run", [r for r in RUNS if r["how"] == "counts"], ids=title)
def test_counts(run):
    """Two samples of the same odds: within four standard deviations of their difference."""
    n, real = 10 * sum(run["counts"]), sum(run["counts"])
    mine = Counter(asked(run, seed=5, n=n))
    for name, count in zip(NAMES, run["counts"], strict=False):
        p = (count + mine[name]) / (n + real)
        assert abs(count / real - mine[name] / n) < 4 * sqrt(p * (1 - p) * (1 / real + 1 / n))


@pytest.mark.parametrize("run", [r for r in RUNS if r["how"] == "table"], ids=lambda run: run["source"])
def test_maglev_tables(run):
    assert maglev_table(tuple(run["hosts"].items()), len(run["table"])) == run["table"]


def test_a_maglev_table_of_the_default_size():
    """Envoy's documentation, load_balancers.rst: weights 1 and 2."""
    table = maglev_table((("A", 1), ("B", 2)))
    assert [table.count(0), table.count(1)] == [21846, 43691]


def test_xxhash():
    """github.com/Cyan4973/xxHash, XSUM; of the lengths of ring keys the rings above."""
    text = b"Nobody inspects the spammish repetition"
    assert (xxh32(b""), xxh32(text), xxh32(text, 1)) == (0x02CC5D05, 0xE2293B2F, 0x534469EA)
    assert (xxh64(b""), xxh64(text), xxh64(b"abc")) == (0xEF46DB3751D8E999, 0xFBCEA83C8A378BF1, 0x44BC2CF5AD770999)


# --- moving averages: rootfs/etc/nginx/lua/test/balancer/ewma_test.lua and tower's peak_ewma.rs -----------------------

A, B, C, D = (Peer(f"10.10.10.{i}:8080") for i in (1, 3, 4, 5))
KEY = Key("10.244.0.2")


def test_ingress_nginx_ewma_moves_by_time():
    kept, answered = {A.address: (0.3, 0.0)}, BALANCERS["ingress-nginx-ewma"].answered
    answered({"averages": kept}, A, 0.12, 5.0)
    assert kept[A.address] == (pytest.approx(0.22917551874827402), 5.0)


def test_ingress_nginx_ewma_picks_the_lower_score():
    state = {"averages": {A.address: (0.2, 19.0), B.address: (1.2, 0.0)}, "seen": {A.address, B.address}}
    assert faded(state["averages"], B.address, 20.0) == pytest.approx(0.16240233988393524)
    ewma = BALANCERS["ingress-nginx-ewma"].pick
    assert {ewma([A, B], state, Random(seed), KEY, 20.0) for seed in range(9)} == {1}
    assert ewma([A], {}, Random(0), KEY, 0.0) == 0


def test_newcomers_begin_with_the_mean():
    gone = "10.10.10.2:8080"
    state = {
        "averages": {A.address: (0.2, 1.0), B.address: (1.2, 1.0), gone: (9.0, 1.0)},
        "seen": {A.address, B.address, gone},
    }
    BALANCERS["ingress-nginx-ewma"].pick([A, B, C, D], state, Random(0), KEY, 2.0)
    assert state["averages"][C.address] == state["averages"][D.address] == (pytest.approx(0.7), 2.0)


def test_one_that_never_answered_wins():
    balancer, state = BALANCERS["ingress-nginx-ewma"], {}
    balancer.pick([A, B], state, Random(0), KEY, 0.0)
    balancer.answered(state, A, 0.001, 0.001)
    assert {balancer.pick([A, B], state, Random(seed), KEY, 0.1) for seed in range(9)} == {1}


def test_linkerd_peaks_at_once_and_fades(monkeypatch):
    """tower's own test: 10 ms at first, decay 1 s."""
    monkeypatch.setattr("k8slb.balancers.ewma.DECAY", 1.0)
    monkeypatch.setattr("k8slb.balancers.ewma.UNKNOWN", 0.010)
    balancer, state = BALANCERS["linkerd-p2c-ewma"], {}
    for now, low, high in ((0.0, 0.010, 0.010), (0.1, 0.009, 0.010), (0.2, 0.008, 0.009)):
        balancer.pick([A, B], state, Random(0), KEY, now)
        assert low <= state["averages"][A.address][0] <= high
    balancer.answered(state, A, 0.5, 0.3)
    assert state["averages"][A.address] == (0.5, 0.3)
    balancer.answered(state, A, 0.1, 1.3)
    assert 0.24 < state["averages"][A.address][0] < 0.25  # 0.5 / e + 0.1 (1 - 1 / e)
