"""What each ready-made control does: its YAML diff and its line of Python are true."""

import pytest

import k8slb
from k8slb.show import controls
from k8slb.show.panels import panel

ORDERS, PAYMENTS = "http://order-service", "https://myshop.example.com/payments/process/101"


@pytest.fixture(scope="module")
def shop():
    return k8slb.load("shop")


LOCAL_ORDERS = "kind: Service\nmetadata: {name: order-service}\nspec: {type: NodePort, externalTrafficPolicy: Local}"
BUSY = (lambda c: c.with_nodes(2).scale("order", 5), 'with_nodes(2).scale("order", 5)')
MOVES = [
    (controls.scheduler(), "ipvs wrr", "mode: ipvs"),
    (controls.scheduler(), "nftables", "mode: nftables"),
    (controls.pods_per_node("order"), (3, 0, 1), "kubernetes.io/hostname: node-c"),
    (controls.pods_per_zone("order"), (0, 2, 0), "topology.kubernetes.io/zone: zone-b"),
    (controls.not_ready("order"), 2, "conditions:"),
    (controls.choice("policy", {"as it is": "", "Local": LOCAL_ORDERS}), "Local", "externalTrafficPolicy: Local"),
    (controls.choice("size", {"as it is": "", "busy": BUSY}), "busy", "replicas: 5"),
    (controls.field("service/order-service", ("spec", "ports", 0, "appProtocol")), "http", "appProtocol: http"),
    (controls.caller(), "node:node-b", ""),
    (controls.clients(), 20, ""),
    (controls.requests_per_connection(), 8, ""),
    (controls.rate(), 50, ""),
    (controls.service_time("order"), 30, "k8slb/service-time: 30ms"),
    (controls.service_time("order-2"), 30, "k8slb/service-time: 30ms"),
    (controls.failing("order"), 25, "k8slb/fail: "),
]


@pytest.mark.parametrize(("maker", "value", "written"), MOVES)
def test_the_line_and_the_diff_of_every_maker_are_true(shop, maker, value, written):
    cluster, shown = shop, panel(shop, ORDERS, maker, requests=1200)
    assert shown.changed() is cluster and shown.line == f'cluster.send("{ORDERS}", requests=1200, seed=0)'
    start, before, drawn = shown.controls[0].value, shown.outcome.table, shown.drawing.value + shown.told.value
    shown.controls[0].source.value = value
    assert shown.drawing.value + shown.told.value != drawn and "role='alert'" not in shown.alert.value
    again = eval(shown.line)
    assert again.table.equals(shown.outcome.table) and cluster is shown.cluster
    assert ("YAML" in shown.told.value) == bool(written) and written in shown.told.value
    shown.controls[0].source.value = start
    assert shown.outcome.table.equals(before)


def test_where_pods_are_put_and_which_are_ready(shop):
    shown = panel(shop, ORDERS, controls.pods_per_node("order"), controls.not_ready("payment"))
    shown.controls[0].source.value = (3, 0, 1)
    assert [p.spec.nodeName for p in shown.changed().pods if p.name.startswith("order")] == ["node-a"] * 3 + ["node-c"]
    shown.controls[1].source.value = 1
    assert shown.told.value.count("conditions:") == 2, "in the diff one pod, in the line one"
    assert [shown.changed().pod_name(pod) for pod in shown.changed().shares("http://payment-service")] == ["payment-1"]


def test_clients_and_connections_are_asked_for(shop):
    nat = [controls.clients(), controls.behind_nat(), controls.requests(), controls.requests_per_connection()]
    shown = panel(shop, ORDERS, *nat)
    for control, value in zip(shown.controls, (50, 60, 2000, 7), strict=True):
        control.source.value = value
    asked = {"requests": 2000, "connections": 286, "clients": 50, "behind_nat": 0.6}
    assert asked.items() <= shown.asked().items()
    shown.controls[2].source.value = 700
    assert shown.asked()["connections"] == 100, "still 7 requests on each"


def test_one_slow_pod_is_that_pod_alone(shop):
    timed = shop.with_pods("order", service_time="10ms exponential")
    slow = panel(timed, ORDERS, controls.service_time("order-2"), controls.rate(), rate=100, shows="latency")
    assert slow.controls[0].value == 10 and "with_pods" not in slow.line
    slow.controls[0].source.value = 25
    assert '.with_pods("order-2", service_time="25ms exponential").' in slow.line, "as it spread before"
    means = {slow.outcome.name_of(pod): slow.outcome.latency_of(pod).mean for pod in slow.outcome.counts()}
    assert means["order-2"] > 1.5 * max(means["order-1"], means["order-3"]), means
    assert slow.told.value.count("service-time: 25ms exponential") == 1, "in the diff; the line has it in quotes"
    assert slow.changed().shares(ORDERS) == timed.shares(ORDERS), "its address and all others stay"


def test_a_number_beyond_the_range_says_so(shop):
    shown = panel(shop, ORDERS, controls.nodes())
    (control,) = shown.controls
    box, _, note = control.widget.children
    for typed, taken, told in ((50, 6, "at most 6 here"), (0, 1, "at least 1 here"), (4, 4, "")):
        box.value = typed
        assert control.value == taken and len(shown.changed().nodes) == taken and told in note.value
    assert not note.value


def test_fields_that_are_not_there_yet(shop):
    manual = k8slb.load("source-text")
    host = controls.field("ingress/app-ingress", ("spec", "tls", 0, "hosts", 0))
    cluster, shown = manual, panel(manual, PAYMENTS, host)
    shown.controls[0].source.value = "myshop.example.com"
    assert "tls:\n  - hosts:\n    - myshop.example.com\n" in shown.changed().yaml("ingress/app-ingress")
    assert eval(shown.line).counts() == shown.outcome.counts() and cluster is manual
    shown.controls[0].source.value = ""
    assert shown.changed().yaml("ingress/app-ingress") == manual.yaml("ingress/app-ingress")
    secured = panel(shop, PAYMENTS, host)
    assert "the certificate served is default/shop-tls" in secured.sentence
    secured.controls[0].source.value = "other.example.com"
    assert "the certificate served is ingress-nginx" in secured.sentence


def test_the_box_keeps_a_number_that_is_none_of_the_sliders(shop):
    """The browser moves the slider to the step next to what was typed."""
    box, slider, _ = controls.rate(500)(shop, {"rate": 240}).widget.children
    box.value, slider.value = 270, 10**2.44
    assert box.value == 270
    slider.value = 10**2.46
    assert box.value == 290


def test_what_is_wrong_stands_until_it_is_right(shop):
    shown = panel(shop, ORDERS, controls.replicas("order"), controls.caller())
    shown.controls[1].source.value, shown.controls[0].source.value = "pod:default/order-3", 2
    told = shown.alert.value
    assert "there is no pod &quot;default/order-3&quot;" in told
    shown.steps.clock.value += 1
    assert shown.alert.value == told, "a step does not mend it"
    shown.controls[0].source.value = 3
    assert shown.alert.value == ""


def test_a_pod_that_is_named_is_one_of_the_workload(shop):
    not_ready = "{kind: Pod, metadata: {name: order-3}, status: {conditions: [{type: Ready, status: 'False'}]}}"
    said = shop.apply(not_ready)
    assert [(p.name, p.ready) for p in said.pods if p.name.startswith("order")] == [
        ("order-1", True),
        ("order-2", True),
        ("order-3", False),
    ]
    shown = panel(shop, ORDERS, controls.replicas("order"), controls.not_ready("order"))
    shown.controls[0].source.value, shown.controls[1].source.value = 4, 1
    assert shown.told.value.count("+kind: Pod") == 0, "what the workload makes is no news"
