"""Stacks: at any step each pod's queue is what the table of the run says, counted anew."""

from random import Random

import pytest

import k8slb
from k8slb.course import panel
from k8slb.show.scenes.stacks import stacks, stacks_of

URL = "http://order-service"
MESH = "{kind: Namespace, metadata: {name: default, labels: {istio-injection: enabled}}}"


@pytest.fixture(scope="module")
def shop():
    return k8slb.load("shop")


def stepped(cluster, **asked):
    return panel(cluster, URL, inside=stacks, **asked)


@pytest.mark.parametrize("pods, workers", [(3, 1), (10, 2)])
def test_the_stacks_are_those_of_the_table(shop, pods, workers):
    cluster = shop.apply(MESH).scale("order", pods)
    cluster = cluster.with_pods("order", service_time="10ms exponential", workers=workers, queue=4)
    shown = stepped(cluster, requests=1000, rate=105 * pods * workers)
    table, rng, waited = shown.outcome.table, Random(4), 0
    table = table.assign(end=table["time"] + table["latency"])
    for at in [rng.randint(1, 1000) for _ in range(200)]:
        sent, now = table.iloc[:at], table["time"][at - 1]
        there, over = sent[sent["end"] > now], sent[sent["end"] <= now]
        before = table["time"][at - 2] if at > 1 else 0
        found, to = stacks_of(shown.outcome, at)
        for (pod, stack), i in zip(zip(shown.outcome.counts(), found, strict=True), range(pods), strict=True):
            total = int((there["pod"] == pod).sum())
            waited += total > workers
            mine = over[over["pod"] == pod]
            assert (stack.total, stack.busy) == (total, min(total, workers))
            assert (stack.done, stack.lately) == (len(mine), int((mine["end"] > before).sum()))
            assert (stack.mean == "") == mine.empty and (to == i) == (table["pod"][at - 1] == pod)
    assert waited > 100, "queues are met"
    assert any(status == "503" for status in shown.outcome.counts("status")), "full queues, too"


def test_without_a_clock_it_is_what_was_assigned(shop):
    shown = stepped(shop.apply(MESH).scale("order", 1000).with_pods("order", service_time="10s"), connections=1)
    for at in (1, 400, 1000):
        found, _ = stacks_of(shown.outcome, at)
        assert [s.total for s in found] == [
            int(n) for n in shown.outcome.table["pod"][:at].value_counts()[list(shown.outcome.counts())]
        ]
    assert "The tallest stack is 3 (" in shown.scene.value and "232 of 1,000 pods have none" in shown.scene.value
    assert shown.scene.value.count("<tr>") == 1 + 12 and "and 989 more, the tallest has 2" in shown.scene.value


def test_the_drawing_and_its_table_say_the_same(shop):
    shown = stepped(shop.with_pods("order", service_time="1s"), requests=400, rate=20)
    high = max(s.total for s in stacks_of(shown.outcome, 400)[0])
    assert high > 25 and f">{high}</text>" in shown.scene.value and f"<td>{high}</td>" in shown.scene.value
    shown.steps.clock.value = 5
    assert shown.scene.value.count('class="k8slb-dot"') == 1 and "Request 5 goes to order-" in shown.scene.value
    drawn = shown.inside(shown, 5)
    numbers = [(row[0], int(row[1]) + int(row[2])) for row in drawn.rows]
    assert sum(n for _, n in numbers) == sum(int(row[3]) for row in drawn.rows) == 5
    blocks = drawn.svg.count('height="9"') - 3  # of the legend
    assert blocks == 5
