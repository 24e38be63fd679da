"""Scenes of kube-proxy and of hashing: what is drawn is the model's, and each step is the run's."""

from collections import Counter
from fractions import Fraction

import pytest

import k8slb
from k8slb.course import Lottery, controls, panel, scenes
from k8slb.show.scenes.ipvs import replayed
from k8slb.show.scenes.picked import picked

ORDERS, PAGE = "http://order-service", "https://myshop.example.com/orders"
BY_ADDRESS = """
kind: Ingress
metadata:
  name: app-ingress
  annotations: {nginx.ingress.kubernetes.io/upstream-hash-by: $remote_addr}
---
kind: Service
metadata: {name: ingress-nginx-controller}
spec: {externalTrafficPolicy: Local}
"""
SIZES = [1, 3, 12, 40]


@pytest.fixture(scope="module")
def shop():
    return k8slb.load("shop")


def at(shown, step):
    shown.steps.clock.value = step
    assert not shown.alert.value
    drawn = shown.inside(shown, step)
    for row in drawn.rows:
        assert all(part in shown.scene.value for part in row if "'" not in part)
    return drawn


@pytest.mark.parametrize("pods", SIZES)
def test_the_chain_has_the_models_shares_and_the_runs_picks(shop, pods):
    shown = panel(shop.scale("order", pods), ORDERS, inside=scenes.cascade)
    drawn = at(shown, 200)
    assert len(drawn.rows) == min(pods, 12) and sum(int(row[4]) for row in drawn.rows) == 200
    shares = [Fraction(row[3].split(" = ")[0]) for row in drawn.rows]
    assert sum(shares) == 1 and set(shares[:11]) == {Fraction(1, pods)}
    names, codes = shown.outcome.run.columns["pod"]
    met = picked(shown.outcome, "kube-proxy", 200)
    assert [p.decision.candidates[p.index].address for p in met] == [names[i] for i in codes[:200]]
    assert ("more rules" in drawn.svg) == (pods > 12)


def test_an_open_connection_meets_no_rule(shop):
    shown = panel(shop, ORDERS, inside=scenes.cascade, connections=1)
    assert "k8slb-dot" in at(shown, 1).svg
    drawn = at(shown, 2)
    assert "meets no rule" in drawn.svg and "k8slb-dot" not in drawn.svg and sum(int(row[4]) for row in drawn.rows) == 1


def test_the_lottery_takes_what_its_rules_say():
    lottery = Lottery()
    lottery.rules.source.value = "1/3, 1/3, 1/3"
    lottery.steps.clock.value = 900
    counts = Counter(lottery.taken(900))
    expected = {0: Fraction(1, 3), 1: Fraction(2, 9), 2: Fraction(4, 27), None: Fraction(8, 27)}
    assert all(abs(counts[who] / 900 - share) < 0.06 for who, share in expected.items())
    assert (
        f"<td>none</td><td></td><td>8/27 = 29.6%</td><td>8/27 = 29.6%</td><td>{counts[None]}</td>"
        in lottery.chain.value
    )


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "lc", "sed", "sh", "mh"])
@pytest.mark.parametrize("pods", SIZES)
def test_each_list_picks_what_the_run_picked(shop, scheduler, pods):
    cluster = shop.with_nodes(8).with_proxy("ipvs", scheduler).scale("order", pods)
    shown = panel(cluster, ORDERS, inside=scenes.ipvs, requests=200, clients=8)
    drawn = at(shown, 200)
    nodes, both, _ = replayed(shown, 200)
    assert len(both) == 200 and all(run == replay for run, replay in both)
    assert [row[4] for row in drawn.rows] == [str(nodes[row[0]].many) for row in drawn.rows] == ["25"] * 8
    assert ("more" in drawn.svg) == (pods > 12)


def test_with_a_clock_what_is_open_counts(shop):
    cluster = shop.with_nodes(2).with_proxy("ipvs", "lc").with_pods("order", service_time="30ms exponential")
    shown = panel(cluster, ORDERS, inside=scenes.ipvs, requests=500, rate=80, clients=2)
    assert all(run == replay for run, replay in replayed(shown, 500)[1])


@pytest.mark.parametrize("pods", SIZES)
def test_the_ring_moves_what_is_the_new_pods(shop, pods):
    cluster = shop.with_nodes(1).scale("order", 4).apply(BY_ADDRESS)
    shown = panel(cluster, PAGE, controls.replicas("order", 40), inside=scenes.ring, requests=60, clients=60)
    shown.controls[0].source.value = pods
    drawn = at(shown, 60)
    assert shown.outcome.share().to_dict() == {pod: pytest.approx(float(x)) for pod, x in shown.outcome.exact.items()}
    assert drawn.rows[-1][4] == "60" and drawn.rows[-1][1] == f"{160 * pods:,}"
    percent = [[float(row[i].rpartition("= ")[2].rstrip("%")) for row in drawn.rows] for i in (2, 3)]
    assert sum(percent[0][:-1]) == pytest.approx(100, abs=1) and sum(percent[1][:-1]) == pytest.approx(
        percent[1][-1], abs=1
    )


def test_names_are_text(shop):
    for scene, cluster in ((scenes.cascade, shop), (scenes.ipvs, shop.with_proxy("ipvs"))):
        shown = panel(cluster, ORDERS, inside=scene)
        met = picked(shown.outcome, "kube-proxy", 1)[0]
        object.__setattr__(met.decision.candidates[met.index], "name", "<script>alert(1)</script>")
        shown.steps.clock.value = 1
        assert "<script" not in shown.scene.value and "&lt;script" in shown.scene.value
