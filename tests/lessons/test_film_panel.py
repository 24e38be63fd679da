"""The panel of a change: what it says is what the model says, and its line of Python gives the same."""

import re

import pytest

import k8slb
from k8slb.course import controls, film
from k8slb.show.film import lost_at, turns

SLEEP = ("spec", "template", "spec", "containers", 0, "lifecycle", "preStop", "sleep", "seconds")
ONE_FEWER = "{kind: Deployment, metadata: {name: order}, spec: {strategy: {rollingUpdate: {maxSurge: 0}}}}"
HAPPENS = {"crash": ("", "pod_dies", "order-1"), "rollout": (ONE_FEWER, "rollout", "order")}


@pytest.fixture
def shown():
    shop = k8slb.load("shop").scale("order", 4)
    sleep = controls.field("deployment/order", SLEEP, range(31), label="preStop")
    return film(shop, HAPPENS, controls.replicas("order"), sleep, propagation=1)


def moved(shown, *values):
    """The panel with these values, None for as it is; what its line gives is what it shows."""
    for control, value in zip(shown.controls, values, strict=True):
        if value is not None:
            control.source.value = value
    again = eval(shown.line, {"cluster": shown.cluster})
    assert again.table.equals(shown.outcome.table) and not shown.alert.value
    return shown


def test_it_shows_what_is_lost_and_what_helps(shown):
    assert "At 100 requests a second 50 are lost on average" in moved(shown, None, None, None, None).sentence
    assert "preStop" not in shown.sentence, "no preStop helps a pod that crashes"
    assert "second 100 are lost" in moved(shown, None, 8, None, 7).sentence
    rollout = moved(shown, "rollout", 4, 1, 3).sentence
    assert f"second {2 * (25 + 3 * 100 / 3):g} are lost" in rollout and "that loses none: 3 s." in rollout
    assert f"{shown.outcome.lost:,} in this run" in rollout and "maxUnavailable 1" in rollout
    assert "second 0 are lost" in moved(shown, None, None, 3, None).sentence
    assert "Every preStop within the grace period loses some" in moved(shown, "rollout", 1, 0, 30).sentence


def test_the_film_the_table_and_the_yaml(shown):
    moved(shown, "rollout", 5, 2, None)
    assert shown.drawing.value == shown.change.svg(shown.outcome)
    assert "+        lifecycle:" in shown.told.value and "<td>kube-proxy</td>" not in shown.told.value
    shown.as_table.value = True
    assert shown.told.value.count("<td>kube-proxy</td>") == sum(r.what == "kube-proxy" for r in shown.change.rows())
    still = shown._repr_mimebundle_()
    assert still["text/plain"].startswith(shown.sentence) and "image/png" in still


def test_who_is_not_there_is_a_line_and_the_film_stays(shown):
    before = shown.drawing.value
    for event, words in (("crash", "there is no pod"), ("rollout", "no pod of order stands behind a Service")):
        shown.controls[0].source.value = event
        shown.controls[1].source.value = 0
        assert words in shown.alert.value
    shown.controls[0].source.value, shown.controls[1].source.value = "crash", 4
    assert not shown.alert.value and shown.drawing.value == before


def test_the_steps_are_all_that_changes_and_what_it_costs(shown):
    moved(shown, "rollout", 4, 1, 3)
    turned = [row for now in shown.moments for row in turns(shown.rows, now)]
    lasting = [row for row in turned if row.state != "gone"]
    assert [row.begin for row in turned] == sorted(row.begin for row in turned) and len(turned) > 40
    assert sorted(lasting) == sorted(row for row in shown.rows if row.begin > 0), "each once"
    assert {row.who for row in turned if row.state == "gone"} == {f"order-{i}" for i in range(1, 5)}
    lost = []
    for at, now in enumerate(shown.moments, 1):
        shown.steps.clock.value = at
        there, failing = shown.scene.value, [loss for begin, end, loss in shown.losses if begin <= now < end]
        lost.append(int(re.search(r"([\d,]+) lost so far in this run", there)[1]))
        assert lost[-1] == sum(t <= now for t in lost_at(shown.outcome))
        assert (f"{failing[0]:.1%} of new connections are lost now" if failing else "No new connection") in there
        assert ("connection refused" in there or "no answer" in there) == bool(failing)
        assert f"Second {now:g}: " in there and shown.drawing.value.count("stroke-dasharray") == 1
    assert lost == sorted(lost) and lost[-1] == shown.outcome.lost and shown.steps.clock.max == len(lost)
    assert shown.mean_lost() == shown.change.lost() == 2 * (25 + 3 * 100 / 3)
    assert f"{shown.outcome.lost:,} lost so far in this run, 250 on average" in shown.scene.value
    shown.steps.reset()
    assert shown.drawing.value == shown.change.svg(shown.outcome) and "<table>" not in shown.scene.value


def test_whoever_is_late_is_told_with_whom_it_sends_to(shown):
    moved(shown, "crash", 4, 0, 2)
    shown.steps.clock.value = 2
    told, before, after = (
        shown.scene.value,
        "<td>order-1, order-2, order-3, order-4</td>",
        "<td>order-2, order-3, order-4</td>",
    )
    assert "Second 11: Pod order-1: starts; EndpointSlice order-service: up to date. Late: kube-proxy node-a" in told
    assert told.count(before) == 5 and told.count(after) == 1, "three nodes and two proxies, and the list"
