"""The panel of a change: what it says is what the model says, and its line of Python gives the same."""

import pytest

import k8slb
from k8slb.course import controls, film

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
