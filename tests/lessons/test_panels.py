"""Panels: what they show is what the model says, and every control moves through the comm channel of a real kernel."""

import re
import threading
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from browser.lab import notebook
from driven import driven

import k8slb
from k8slb import path
from k8slb.answers.latency import Latency
from k8slb.show import controls
from k8slb.show.bars import Bar, bars, waits
from k8slb.show.kinds import number
from k8slb.show.panels import panel, rows_of
from k8slb.show.route import called, edges
from k8slb.show.steps import Journeys
from k8slb.show.waymap import drawing, folded

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9][0-9]-*.ipynb"))
ORDERS, PAYMENTS = "http://order-service", "https://myshop.example.com/payments/process/101"
SETUP = """
import os
os.environ["K8SLB_STRICT"] = "1"
import k8slb
from k8slb.show import controls
from k8slb.show.panels import panel
shop = k8slb.load("shop")
"""
LOCAL = "kind: Service\nmetadata: {name: ingress-nginx-controller}\nspec: {externalTrafficPolicy: Local}"
SPECIFICATION = """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: plain}
spec: {controller: k8slb/spec}
---
kind: Ingress
metadata: {name: app-ingress}
spec: {ingressClassName: plain}
"""
NEXT = "error timeout http_503"
CANARY = """
kind: Ingress
metadata:
  name: canary
  annotations: {nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-weight: "20"}
spec:
  ingressClassName: nginx
  rules:
  - host: myshop.example.com
    http: {paths: [{path: /payments, pathType: Prefix, backend: {service: {name: order-service, port: {number: 80}}}}]}
"""
TIMED = ".with_pods('order', service_time='10ms exponential')"
FAILING = """
kind: Deployment
metadata: {name: payment}
spec: {template: {metadata: {annotations: {k8slb/fail: "0.5 503"}}}}
"""


def annotated(**annotations: str) -> str:
    told = ", ".join(f'nginx.ingress.kubernetes.io/{k.replace("_", "-")}: "{v}"' for k, v in annotations.items())
    return f"{{kind: Ingress, metadata: {{name: app-ingress, annotations: {{{told}}}}}}}"


def space(labels: str) -> str:
    return f"{{kind: Namespace, metadata: {{name: default, labels: {labels}}}}}"


@pytest.fixture(scope="module")
def shop():
    return k8slb.load("shop")


# --- the route -------------------------------------------------------------------------------------------------------


def clusters(shop):
    wrong_port = "kind: Service\nmetadata: {name: payment-service}\nspec: {ports: [{port: 80, targetPort: 9999}]}"
    headless = "kind: Service\nmetadata: {name: order-service}\nspec: {clusterIP: None}"
    through_vip = (
        "kind: Ingress\nmetadata:\n  name: app-ingress\n"
        '  annotations: {nginx.ingress.kubernetes.io/service-upstream: "true"}'
    )
    return {
        "as it is": (shop, ORDERS),
        "from outside": (shop, PAYMENTS),
        "many": (shop.scale("order", 40).with_nodes(9), "https://myshop.example.com/orders"),
        "uneven": (shop.apply(LOCAL).with_nodes(2).scale("ingress-nginx-controller", 3), PAYMENTS),
        "a node without": (shop.apply(LOCAL), PAYMENTS),
        "no pods": (shop.scale("order", 0), ORDERS),
        "no endpoints": (shop.scale("payment", 0), PAYMENTS),
        "nobody listens": (shop.apply(wrong_port), PAYMENTS),
        "nobody listens inside": (shop.apply(wrong_port), "http://payment-service"),
        "headless": (shop.apply(headless), "http://order-service:8081"),
        "through the ClusterIP": (shop.apply(through_vip), PAYMENTS),
        "404": (shop, "https://myshop.example.com/nothing"),
        "no name": (shop, "http://nowhere.default.svc.cluster.local"),
        "ipvs": (shop.with_proxy(mode="ipvs"), PAYMENTS),
        "two backends": (shop.apply(CANARY), PAYMENTS),
        "some fail": (shop.apply(FAILING), PAYMENTS),
        "some are tried again": (shop.apply(FAILING).apply(annotated(proxy_next_upstream=NEXT)), PAYMENTS),
        "through ztunnel": (shop.apply(space("{istio.io/dataplane-mode: ambient}")), ORDERS),
        "the source text's": (k8slb.load("source-text"), PAYMENTS),
    }


CASES = list(clusters(k8slb.load("shop")))


@pytest.mark.parametrize("case", CASES)
def test_edges_carry_every_request_to_the_shares(shop, case):
    cluster, url = clusters(shop)[case]
    route = edges(cluster.timeline, path.start(cluster, url))
    ended = Fraction(0)
    for number_, stage in enumerate(route.edges):
        arriving = route.arriving(number_)
        leaving = {spot: sum(e.share for e in stage if e.source == spot) for spot in arriving}
        assert all(leaving[spot] in (0, share) for spot, share in arriving.items())
        ended += sum(share for spot, share in arriving.items() if not leaving[spot])
        assert sum(e.share for e in stage) == 1 - ended
    ends, outcomes = route.ends(), path.shares(cluster.timeline, path.start(cluster, url))
    assert {s.address: share for s, share in ends.items() if s.kind == "pod"} == cluster.shares(url).reached
    alone = {called(kind, what): p for (kind, what), p in outcomes.items() if kind not in ("pod", "failed")}
    assert {s.name: share for s, share in ends.items() if s.kind == "end"} == alone


@pytest.mark.parametrize("case", CASES)
def test_every_request_of_a_run_has_its_way(shop, case):
    cluster, url = clusters(shop)[case]
    shown = panel(cluster, url, requests=40)
    table = shown.outcome.table
    for number_ in range(1, 41):
        way, row = shown.journeys.way(number_), table.iloc[number_ - 1]
        pairs = {(e.source, e.target) for stage in shown.route.edges for e in stage}
        assert all(pair in pairs for pair in pairwise(way))
        passed = {spot.name for spot in way} | {spot.address for spot in way}
        assert all(row[c] in passed for c in ("ingress_pod", "pod") if isinstance(row.get(c), str))
    counts = {s.address: n for s, n in shown.journeys.counts(40).items() if s.kind == "pod"}
    assert counts == {pod: n for pod, n in shown.outcome.counts().items() if n}


def test_what_stands_between_proxy_and_pods(shop):
    def drawn(cluster, url, kind, **how):
        stages = edges(cluster.timeline, path.start(cluster, url, **how)).stages
        return [[spot.name for spot in stage] for stage in stages if {spot.kind for spot in stage} == {kind}]

    assert drawn(shop.apply(CANARY), PAYMENTS, "backend") == [["order-service", "payment-service"]]
    ambient = shop.apply(space("{istio.io/dataplane-mode: ambient}"))
    assert drawn(ambient, ORDERS, "proxy", from_="pod:default/payment-2") == [["ztunnel on node-b"]]
    sidecars = shop.apply(space("{istio-injection: enabled}"))
    assert drawn(sidecars, ORDERS, "proxy", from_="pod:default/payment-2") == [["sidecar of payment-2"]]


def test_what_depends_on_load_is_drawn_all_the_same(shop):
    least = shop.apply(annotated(load_balance="ewma", proxy_next_upstream=NEXT)).apply(FAILING)
    pods = {s.name: share for s, share in edges(least.timeline, path.start(least, PAYMENTS)).ends().items()}
    assert pods == {"payment-1": None, "payment-2": None}
    limited = panel(shop.apply(annotated(limit_rps="5")), PAYMENTS, rate=100)
    counts, refused = limited.outcome.counts("status"), limited.outcome.counts("refused_by")
    assert limited.rows[-1] == Bar("answered 503", counts["503"], counts["503"] / 1000, None, False)
    assert sum(refused.values()) == counts["503"] > 100 and sum(row.count for row in limited.rows) == 1000
    statuses = limited.outcome.table["status"]
    late = int((statuses == "503").idxmax()) + 1
    assert limited.journeys.way(late)[-1].name == "answered 503"
    assert limited.journeys.counts(late)[limited.journeys.way(late)[-1]] == 1


def test_an_answer_that_the_route_does_not_have_is_a_row_and_no_pod(shop):
    fewer = shop.apply("kind: Service\nmetadata: {name: order-service}\nspec: {selector: {app: other}}")
    outcome = shop.send(ORDERS, rate=100, becomes={5: fewer})
    route = edges(shop.timeline, path.start(shop, ORDERS))
    assert [*rows_of(outcome, route)][-1] == Bar("connection refused", outcome.lost, outcome.lost / 1000, None, False)
    assert 400 < outcome.lost < 600
    assert [spot.kind for spot in Journeys(route, outcome).way(1000)] == ["client", "node"]


def test_a_step_shows_the_way_of_the_client_that_sends_the_request(shop):
    fleet = shop.with_nodes(3).with_proxy(mode="ipvs", scheduler="sh")
    drawn = panel(fleet, "http://order-service", requests=3, clients=3)
    nodes = drawn.outcome.table["node"].tolist()
    for sent in (1, 2, 3):
        *_, node, pod = drawn.journeys.way(sent)
        assert node.name == nodes[sent - 1] and f": {node.name}, {pod.name}" in drawn.journeys.told(sent)
        assert drawn.journeys.route_of(sent).ends()[pod] == 1  # a hash: all of this client's
    assert len(set(nodes)) == 3


def test_what_does_not_fit_is_one_row(shop):
    cluster, url = clusters(shop)["many"]
    route = edges(cluster.timeline, path.start(cluster, url))
    small, _ = folded(route)
    assert [len(stage) for stage in small.stages] == [1, 1, 6, 2, 12]
    assert small.stages[2][-1].name == "and 4 more" and small.stages[4][-1].name == "and 29 more"
    assert all(sum(e.share for e in stage) == 1 for stage in small.edges)
    assert "and 29 more" in drawing(route, "told")
    svg = bars([Bar(f"pod-{i}", i, i / 780, None) for i in range(40)], (0.0, ""), "told")
    assert svg.count("<rect") == 11 and "and 29 more" in svg


# --- what a panel says -----------------------------------------------------------------------------------------------


def test_the_sentence_says_what_was_sampled_and_expected(shop):
    told = panel(shop, ORDERS, requests=10_000).sentence
    assert "10,000 requests to http://order-service on 10,000 new connections" in told
    assert "expected 1/3 = 33.3% each, ±0.9% (two standard deviations of 10,000 random picks)" in told
    assert "at most 1 request apart" in panel(shop.with_proxy(mode="ipvs"), ORDERS).sentence
    plain = k8slb.load(ROOT / "data/manifests/shop").apply(SPECIFICATION)
    assert "the specification names no balancer: random is used here" in panel(plain, PAYMENTS).sentence


def test_at_most_four_controls_and_eight_in_a_sandbox(shop):
    five = [controls.replicas("order"), controls.nodes(), controls.mode(), controls.seed(), controls.url()]
    with pytest.raises(ValueError, match="at most 4"):
        panel(shop, ORDERS, *five)
    shown = panel(shop, ORDERS, *five, sandbox=True)
    assert [c.value for c in shown.children if "<b>" in str(getattr(c, "value", ""))] == [
        "<b>The cluster</b>",
        "<b>The requests</b>",
    ]
    with pytest.raises(ValueError, match="at most 8"):
        panel(shop, ORDERS, *five, *five, sandbox=True)


def test_two_panels_do_not_share_their_controls(shop):
    maker = controls.replicas("order")
    first, second = panel(shop, ORDERS, maker), panel(shop, ORDERS, maker)
    first.controls[0].source.value = 6
    assert second.controls[0].value == 3 and len(second.outcome.counts()) == 3 and len(first.outcome.counts()) == 6


def test_the_diff_shows_what_changed_and_nothing_else(shop):
    shown = panel(shop, ORDERS, controls.replicas("order"), controls.nodes(), controls.mode(), controls.seed())
    assert "YAML" not in shown.told.value
    shown.controls[3].source.value = 7
    assert "YAML" not in shown.told.value, "the question is no YAML"
    shown.controls[0].source.value = 6
    assert "<b>-  replicas: 3</b>\n<b>+  replicas: 6</b>" in shown.told.value
    shown.controls[1].source.value = 4
    shown.controls[2].source.value = "ipvs"
    assert (
        "<b>+  name: node-d</b>" in shown.told.value
        and "<b>-mode: iptables</b>\n<b>+mode: ipvs</b>" in shown.told.value
    )
    for control in shown.controls:
        control.source.value = control.start
    assert "YAML" not in shown.told.value and shown.line == f'cluster.send("{ORDERS}", requests=1000, seed=0)'


def test_fields_of_every_kind(shop):
    annotation = ("metadata", "annotations", "nginx.ingress.kubernetes.io/limit-rps")
    shown = panel(
        shop,
        PAYMENTS,
        controls.field("service/payment-service", ("spec", "ports", 0, "targetPort")),
        controls.field("service/ingress-nginx-controller", "spec.externalTrafficPolicy", ["Cluster", "Local"]),
        controls.field("ingress/app-ingress", annotation, range(0, 100)),
        controls.header("Host", "myshop.example.com", "other.example.com"),
    )
    cluster, port = shop, shown.controls[0].source
    for value, answered in (("8082", "200"), ("http", "200"), ("9999", "502")):
        port.value = value
        assert set(shown.outcome.counts("status")) == {answered}
        assert eval(shown.line).counts("status") == shown.outcome.counts("status")
    shown.controls[1].source.value = "Local"
    shown.controls[2].source.value = 5
    shown.controls[3].source.value = "other.example.com"
    assert set(shown.outcome.counts("status")) == {"404"} and "externalTrafficPolicy: Local" in shown.told.value
    assert eval(shown.line).counts("status") == shown.outcome.counts("status")
    assert "limit-rps: '5'" in cluster.yaml("ingress/app-ingress") or "limit-rps: '5'" in shown.line
    assert controls.header("Host") and shown.asked()["headers"] == {"Host": "other.example.com"}


def test_an_edited_yaml_is_the_object_afterwards(shop):
    shown = panel(shop, ORDERS, controls.yaml_of("service/order-service"))
    cluster, area = shop, shown.controls[0].source
    assert cluster is shown.cluster
    area.value = area.value.replace("  - port: 80\n", "  - port: 80\n    name: web\n") + "  sessionAffinity: ClientIP\n"
    assert shown.changed().yaml("service/order-service") == area.value and not shown.alert.value.count("role='alert'")
    area.value = area.value.replace("  sessionAffinity: ClientIP\n", "")
    assert "sessionAffinity" not in shown.changed().yaml("service/order-service"), "a deleted line is removed"
    assert eval(shown.line).counts() == shown.outcome.counts()


def test_text_from_manifests_adds_nothing_to_the_page(shop):
    shown = panel(shop, ORDERS, controls.url())
    shown.controls[0].source.value = "http://order-service/<img src=x onerror=alert(1)>"
    pieces = [w.value for w in (shown.drawing, shown.told, shown.alert)]
    assert not any("<img" in piece for piece in pieces)
    shown.controls[0].source.value = "http://order-service/%3C<b>"
    pieces = [w.value for w in (shown.drawing, shown.told, shown.alert)]
    assert any("&lt;b&gt;" in piece for piece in pieces) and not any("<b>" in piece for piece in pieces)


def test_a_viewer_without_a_kernel_gets_a_picture_and_text(shop):
    data = panel(shop, ORDERS, controls.replicas("order"))._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"} <= set(data)
    assert "expected 1/3" in data["text/plain"] and "order-2" in data["text/plain"]


def test_failures_are_one_line_and_keep_the_drawing(shop, monkeypatch):
    def fails(cluster, value):
        raise ZeroDivisionError("made in a test")

    broken = number("breaks", 1, 1, 3, does=fails)
    shown = panel(shop, ORDERS, broken, controls.url())
    before = shown.drawing.value
    shown.controls[1].source.value = "http:/no url"
    assert "role='alert'" in shown.alert.value and "is no URL" in shown.alert.value and shown.drawing.value == before
    shown.controls[1].source.value = ORDERS
    assert "role='alert'" not in shown.alert.value
    broken.source.value = 2
    assert "ZeroDivisionError: made in a test" in shown.alert.value and shown.drawing.value == before
    monkeypatch.setenv("K8SLB_STRICT", "1")
    with pytest.raises(ZeroDivisionError):
        broken.source.value = 3
    monkeypatch.delenv("K8SLB_STRICT")
    with pytest.raises(k8slb.InputError):
        panel(shop, "http:/no url")


def test_rapid_moves_on_two_threads_end_in_the_last_state(shop):
    shown = panel(shop, ORDERS, controls.replicas("order"), controls.seed())
    replicas, seed = (c.source for c in shown.controls)
    threads = [
        threading.Thread(target=lambda: [setattr(replicas, "value", n) for n in [*range(1, 11)] * 3]),
        threading.Thread(target=lambda: [setattr(seed, "value", n) for n in range(1, 31)]),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cluster = shop
    assert (replicas.value, seed.value) == (10, 30)
    assert shown.line == f'cluster.scale("order", 10).send("{ORDERS}", requests=1000, seed=30)'
    assert eval(shown.line).counts() == shown.outcome.counts() and "10 pods" in shown.told.value
    assert cluster.scale("order", 10).shares(ORDERS) == {s.address: p for s, p in shown.route.ends().items()}


# --- through a kernel ------------------------------------------------------------------------------------------------


class Live:
    """A panel `p` in a kernel, its controls moved as JupyterLab moves them."""

    def __init__(self, lesson):
        self.lesson = lesson

    def id_of(self, expression: str) -> str:
        return self.lesson.value_of(f"p.{expression}.model_id").strip("'")

    def check(self, caused: list[dict]) -> set[str]:
        """The drawings that came of a move; it caused no error and printed nothing."""
        assert not [m["content"] for m in caused if m["msg_type"] in ("error", "stream")]
        states = [m["content"]["data"].get("state", {}) for m in caused if m["msg_type"] == "comm_msg"]
        return {s["value"] for s in states if "<svg" in str(s.get("value"))}

    def move(self, expression: str, **state) -> set[str]:
        return self.check(self.lesson.move(self.id_of(expression), **state))

    def click(self, expression: str) -> set[str]:
        return self.check(self.lesson.click(self.id_of(expression)))

    def same_line(self) -> bool:
        """Whether the line of Python gives what the panel shows."""
        return (
            self.lesson.value_of("(eval(p.line).counts(), eval(p.line).lost) == (p.outcome.counts(), p.outcome.lost)")
            == "True"
        )


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    with driven(notebook(tmp_path_factory.mktemp("panels") / "panels.ipynb", SETUP)) as lesson:

        def show(*makers: str, url: str = ORDERS, more: str = "", edit: str = "") -> Live:
            given = ", ".join([*(f"controls.{m}" for m in makers), *filter(None, [more])])
            lesson.value_of(f"cluster = shop{edit}; p = panel(cluster, {url!r}, {given}); None")
            return Live(lesson)

        yield show


def test_numbers_choices_and_texts_redraw_at_every_move(live):
    p = live("replicas('order')", "mode()", "connections()", "url()")
    for value in (0, 5, 10, 3):
        assert p.move("controls[0].widget.children[1]", value=value), "the slider"
        assert p.lesson.value_of("p.controls[0].value") == str(value) and p.same_line()
    for value in (1, 4):
        assert p.move("controls[0].source", value=value) and p.same_line()
    for index in (1, 2, 0):
        assert p.move("controls[1].source", index=index) and p.same_line()
    for value, shown in ((6.0, 6), (812.83, 810), (100_000.0, 100_000)):
        assert p.move("controls[2].widget.children[1]", value=value)
        assert p.lesson.value_of("(p.controls[2].value, p.outcome.connections)") == f"({shown}, {shown})"
    assert p.move("controls[2].source", value=12_345), "typed numbers are kept as they are"
    assert p.lesson.value_of("p.outcome.requests") == "12345" and p.same_line()
    for url in (PAYMENTS, "http://payment-service", "https://myshop.example.com/nothing"):
        assert p.move("controls[3].source", value=url) and p.same_line()


def test_rules_are_added_edited_moved_and_removed(live):
    p = live("rules('app-ingress')", url=PAYMENTS)
    table, rows = "controls[0].widget", "controls[0].widget.children[2].children"
    value = "[tuple(r)[1:] for r in p.controls[0].value]"
    assert p.lesson.value_of("p.line.count('apply')") == "0", "an untouched table changes nothing"
    p.click(f"{table}.children[3]")
    assert p.lesson.value_of(f"len({value})") == "3"
    p.move(f"{rows}[2].children[1]", value="/payments/process")
    assert p.move(f"{rows}[2].children[3]", value="order-service:80")
    assert p.lesson.value_of("len(p.outcome.counts())") == "3" and p.same_line(), "the longest path wins"
    assert p.move(f"{rows}[2].children[2]", index=1), "Exact no longer matches"
    assert p.lesson.value_of("len(p.outcome.counts())") == "2" and p.same_line()
    p.click(f"{rows}[2].children[4]")
    assert p.lesson.value_of(f"{value}[1]") == "('/payments/process', 'Exact', 'order-service:80')"
    p.click(f"{rows}[1].children[5]")
    assert p.lesson.value_of(f"{value}[2][0]") == "'/payments/process'"
    p.move(f"{rows}[2].children[1]", value="process")
    assert "row 3 of the rules" in p.lesson.value_of("p.alert.value")
    p.click(f"{rows}[2].children[6]")
    assert p.lesson.value_of(f"(len({value}), 'alert' in p.alert.value)") == "(2, False)"
    assert p.click(f"{rows}[1].children[6]"), "no rule for payments is left"
    assert p.lesson.value_of("p.outcome.counts('status')") == "{'404': 1000}" and p.same_line()


def test_broken_yaml_is_a_message_with_its_line(live):
    p = live("yaml_of('service/order-service')")
    before = p.lesson.value_of("p.drawing.value")
    text = p.lesson.value_of("print(p.controls[0].value, end='') or p.controls[0].value")
    text = text.strip("'").encode().decode("unicode_escape")
    assert not p.move("controls[0].source", value=text.replace("port: 80", "port: eighty"))
    told = p.lesson.value_of("p.alert.value")
    assert "line 9, &quot;- port: eighty&quot;" in told and "role='alert'" in told.replace('"', "'")
    assert not p.move("controls[0].source", value=text.replace("spec:", "spec: ["))
    assert "not YAML" in p.lesson.value_of("p.alert.value") and p.lesson.value_of("p.drawing.value") == before
    assert p.move("controls[0].source", value=text.replace("app: order", "app: payment"))
    assert "connection refused" in p.lesson.value_of("p.drawing.value") and p.same_line()


def test_requests_go_step_by_step_and_back(live):
    p = live("replicas('payment')", url=PAYMENTS)
    step, play, back, clock = (f"steps.children[{i}]" for i in range(4))
    still = p.lesson.value_of("p.drawing.value")
    assert "k8slb-dot" not in still
    assert p.click(step) and p.click(step) and p.click(step)
    told = p.lesson.value_of("p.drawing.value")
    row = p.lesson.value_of(
        "(lambda r: [r.node, shop.pod_name(r.ingress_pod), shop.pod_name(r.pod)])(p.outcome.table.iloc[2])"
    )
    assert "request 3: " + ", ".join(x.strip("'[] ") for x in row.split(",")) in told
    assert "offset-path" in p.lesson.value_of("p.drawing.value")
    p.move(play, value=True)
    assert p.lesson.value_of("p.steps.clock.playing") == "True"
    assert p.move(clock, value=4) and p.move(clock, value=5), "the browser's clock"
    assert p.lesson.value_of("sum(p.journeys.counts(5).values())") == "5"
    assert p.click(back) and p.lesson.value_of("(p.steps.at, p.steps.clock.playing)") == "(0, False)"
    assert p.lesson.value_of("p.drawing.value") == still
    p.click(step)
    assert p.move("controls[0].source", value=5) and p.lesson.value_of("p.steps.at") == "0", "a move starts again"


# --- how long it takes -----------------------------------------------------------------------------------------------


def test_a_panel_of_latency_says_drawing_sentence_table_and_line_alike(live):
    p = live("rate()", "service_time('order-1')", more="rate=60, requests=3000, shows='latency'", edit=TIMED)
    told = p.lesson.value_of("p.told.value")
    assert "diamond: mean latency" in told and "bar: share of the requests" not in told
    for value in (120, 250):
        mean = p.lesson.value_of("__import__('k8slb').answers.latency.span(p.outcome.latency.mean)").strip("'")
        told = p.lesson.value_of("p.told.value")
        assert f">{mean}, p99 " in told and f"latency: mean {mean} ± " in told and p.same_line()
        p.move("as_table", value=True)
        assert f"<td>all pods</td><td>3,000</td><td>{mean} ± " in p.lesson.value_of("p.told.value")
        p.move("as_table", value=False)
        assert p.move("controls[0].source", value=value)
    alike = "(lambda again: (again.run.latency == p.outcome.run.latency).all())(eval(p.line))"
    assert "True" in p.lesson.value_of(alike) and "rate=250" in p.lesson.value_of("p.line")
    still = p.lesson.value_of("p._repr_mimebundle_()['text/plain']")
    assert "spent at pods" in still and "diamond" not in still
    p.move("controls[1].source", value=0)
    assert p.lesson.value_of("p.alert.value") == "''"


def test_bars_of_latency_stay_on_the_drawing():
    few = Latency(100, 0.05, float("nan"), 0.04, 0.1, 0.2, 0.3)
    many = [(f"pod-{i}", Latency(9000, 0.9 * i, 2.0 * i, i, 2 * i, 3.0 * i, 4 * i)) for i in range(1, 20)]
    drawn = waits([("all pods", few), *many], "told")
    assert "nan" not in drawn and "8 more pods in the table" in drawn and drawn.count("<rect") == 12
    numbers_ = [float(x) for x in re.findall(r'd="M([\d.]+) ', drawn)]
    assert min(numbers_) >= 250 and max(numbers_) <= 740
    assert waits([("all pods", replace(few, mean=0.0, p99=0.0, band=0.0))], "told").count("<rect") == 1


# --- the stored lessons ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_every_slider_of_a_lesson_redraws(path):
    with driven(path) as lesson:
        for model, state in lesson.models("IntSliderModel").items():
            low, high = state["min"], state["max"]
            for value in dict.fromkeys((low, (low + high) // 2, high, low + 1)):
                Live(lesson).check(lesson.move(model, value=value))
