"""`k8slb test`: every expectation can hold and can fail, what is wrong in a file is said with its line, and the forms
that other programs read are read back."""

import json
import re
import shlex
from fractions import Fraction
from xml.etree import ElementTree

import pytest
import yaml
from truth.ingress_yaml import manifests

import k8slb
from k8slb import path
from k8slb.answers.checks import EXPECT, FIELDS
from k8slb.answers.ways import ways
from k8slb.cli import _parser, main
from k8slb.errors import InputError
from k8slb.manifests import DATA
from k8slb.positions import Source

SHOP = k8slb.load("shop")
PAY, ORDERS, HTTP = (
    f"{scheme}://myshop.example.com{p}"
    for scheme, p in [("https", "/payments/1"), ("https", "/orders"), ("http", "/orders?a=b")]
)
CANARY = [{"rules": ["a.example /pay Prefix old"]}]
CANARY += [{"rules": ["a.example /pay Prefix new"], "annotations": {"canary": "true", "canary-weight": "10"}}]
SPLIT = k8slb.load(manifests(CANARY, "ingress-nginx"))
EVIL = "]]>\x1b[31m\n::error::x <b>&\"' ##[error]\x00\ufffe | `x`"


def asked(cluster, **case):
    (row,) = cluster.test([{"url": "http://order-service", **case}]).rows
    return row


# --- each expectation, right and wrong -------------------------------------------------------------------------------

TRACED = [  # (cluster, case, what, right, wrong)
    (
        SHOP,
        {"url": PAY},
        "status",
        [200, "200", "2xx", "< 400", ["201", 200], {200: 1}, {"2xx": "100%"}],
        [201, "5xx", ">= 400", [404, "3xx"], {200: "1/2"}, {404: 1}, None],
    ),
    (SHOP, {"url": PAY}, "action", ["forward", ["drop", "forward"]], ["respond"]),
    (SHOP, {"url": HTTP}, "action", ["respond"], ["forward"]),
    (
        SHOP,
        {"url": PAY},
        "backend",
        ["default/payment-service:80", "payment-service:80", "default/payment-service", "payment-service"],
        ["default/order-service:80", "other/payment-service:80", "payment-service:81", "payment", None],
    ),
    (SHOP, {"url": HTTP}, "backend", [None, [None, "x"]], ["order-service"]),
    (SHOP, {"url": PAY}, "path", ["/payments/1"], ["/", None]),
    (SHOP, {"url": PAY}, "certificate", ["default/shop-tls"], ["default/other", None]),
    (SHOP, {"url": HTTP}, "certificate", [None], ["default/shop-tls"]),
    (SHOP, {"url": HTTP}, "location", ["https://myshop.example.com/orders?a=b"], ["https://myshop.example.com", None]),
    (SHOP, {"url": PAY}, "controller", ["k8s.io/ingress-nginx"], ["traefik.io/ingress-controller", None]),
    (SHOP, {"from": "pod:default/payment-1"}, "source_seen", ["10.0.1.5"], ["10.0.1.6", None]),
    (
        SHOP,
        {},
        "pod",
        ["order-*", {"order-1": "1/3", "10.0.0.6:8081": "> 33%, < 34%"}, [f"order-{i}" for i in (1, 2, 3)]],
        ["order-1", ["order-1", "order-2"], {"order-1": "1/2"}, {"payment-1": "> 0"}, None],
    ),
    (SHOP, {}, "shares", [{"order-*": 1}, {"order-4": 0}], [{"order-*": "99%"}]),
    (
        SPLIT,
        {"url": "http://a.example/pay"},
        "backend",
        [{"old": "9/10", "default/new:80": "10%"}, ["old", "new"]],
        ["old", "new", {"new": "11%"}],
    ),
    (
        SPLIT.with_pods("new-1", fail=0.5),
        {"url": "http://a.example/pay"},
        "status",
        [{200: "39/40", 500: "1/40"}],
        [200],
    ),
    (SHOP, {"url": "http://nope.example/"}, "status", [404], [200]),
    (SHOP, {"url": "http://10.96.0.100/"}, "action", ["drop"], ["reject"]),
    (SHOP, {"url": "http://10.96.0.100/"}, "status", [None], [200]),
    (SHOP, {"url": "tcp://order-service:80"}, "status", ["open"], [200, None]),
]
SERVED = SHOP.with_pods("order", service_time="10ms")
SENT = [
    (SHOP, {}, "hottest", ["<= 1.5", "> 1, < 1.5"], [1, "< 1", ">= 3"]),
    (SHOP, {"connections": 1}, "hottest", [3, "== 3", "!= 1", "6/2"], [1]),
    (SHOP, {"connections": 1}, "pods", [1], [2, "> 1"]),
    (SHOP, {}, "lost", [0, "0%", "< 1"], [1, "> 0%"]),
    (SHOP.with_pods("order-1", down="refuses"), {}, "lost", ["> 25%, < 40%", "<= 400"], [0, "< 20%"]),
    (SHOP.with_pods("order-1", down="refuses"), {"requests": 300}, "status", [{200: ">= 60%"}], [200, {200: 1}]),
    (SHOP, {"requests": 300}, "pod", [{"order-1": ">= 25%"}], ["order-1", {"order-1": 1}]),
    *[
        (
            SERVED,
            {"rate": 1, "arrivals": "constant", "requests": 50},
            what,
            ["10ms", "< 0.011", "> 9999 us"],
            ["< 10ms", 1],
        )
        for what in ("mean", "p50", "p95", "p99", "max")
    ],
]


@pytest.mark.parametrize(
    ("cluster", "case", "what", "right", "wrong"), [*TRACED, *SENT], ids=lambda x: x if isinstance(x, str) else ""
)
def test_each_expectation_holds_and_fails(cluster, case, what, right, wrong):
    for value in right:
        row = asked(cluster, **case, expect={what: value})
        assert (row.result, row.error) == ("ok", ""), value
    for value in wrong:
        row = asked(cluster, **case, expect={what: value})
        assert row.result == "FAIL", value
        assert not row.figures[0].holds and row.figures[0].found


def test_every_key_of_the_schema_is_tried_above():
    assert {what for _, _, what, _, _ in [*TRACED, *SENT]} == set(EXPECT)


def test_a_failure_says_what_is_expected_what_is_and_which_line_did_it():
    told = str(SHOP.test([{"url": ORDERS, "expect": {"backend": "default/payment-service:80", "status": 200}}]))
    assert "backend: expected default/payment-service:80, is default/order-service:80" in told
    assert "(shop/ingress.yaml:17) is order-service:80" in told and "status:" not in told
    row = asked(SPLIT, url="http://a.example/pay", expect={"backend": "old"})
    assert row.figures[0].found == "9/10 default/old:80, 1/10 default/new:80"
    assert "10 of 100 requests, at random, go to the canary" in row.told and "is new:80" in row.told
    down = SHOP.with_pods("payment", down="refuses: it restarts")
    assert "refuses: it restarts" in asked(down, url=PAY, expect={"status": 200}).told


@pytest.mark.parametrize(
    "cluster",
    [
        SHOP.with_pods("payment-1", fail=0.25),
        SHOP.with_pods("payment-1", down="refuses").with_pods("order-2", down="silent"),
        SHOP.with_pods("payment", down="refuses").scale("order", 0),
        SHOP.with_pods("payment-1", down="silent").translate().cluster,
        SHOP.with_balancer("ingress", "nginx-ip-hash"),
        SHOP.with_balancer("kube-proxy", "ipvs-sh"),
    ],
    ids=["fails", "down", "nobody", "gateway", "hashed", "hashed below"],
)
def test_the_ways_agree_with_traces_and_with_exact_shares(cluster):
    facts = ("backend", "path", "location", "certificate", "controller", "pod", "source_seen")
    for url in (PAY, ORDERS, HTTP, "http://order-service", "http://nope.example/", "http://10.96.0.100/"):
        found = ways(path.met(cluster.timeline, path.start(cluster, url)), facts).found
        assert sum(way.share for way in found) == 1 and all(way.share for way in found)
        for seed in range(12):
            trace = cluster.trace(url, seed=seed)
            told = trace.to_dict()
            backend, forwarded = told["backend"], told["forwarded"]
            wanted = {name: told[name] for name in ("location", "controller", "pod", "source_seen", "action")}
            wanted |= {"backend": backend and "{namespace}/{service}:{port}".format(**backend)}
            wanted |= {"path": forwarded["path"] if forwarded and trace.served else None}
            wanted |= {"certificate": told["certificate"] if url.startswith("https") else None}
            wanted |= {"status": str(told["status"] or "")}
            assert {k: v or "" for k, v in wanted.items()} in [
                {k: way.facts.get(k, "") for k in wanted} for way in found
            ]
        exact = cluster.shares(url)
        assert {pod: sum(w.share for w in found if w.facts.get("pod") == pod) for pod in exact.reached} == exact.reached
        assert sum((w.share for w in found if w.facts["status"] == ""), Fraction(0)) == exact.lost
        for status, share in exact.answered.items():
            assert sum(w.share for w in found if w.facts["status"] == status) == share


def test_what_depends_on_load_is_told_where_it_makes_no_difference():
    least = SHOP.with_balancer("ingress", "nginx-least-conn")
    assert asked(least, url=PAY, expect={"status": 200, "path": "/payments/1"}).result == "ok"
    row = asked(least, url=PAY, expect={"pod": "payment-*", "status": 200})
    assert row.result == "ERROR" and row.error.startswith("not modelled: ") and not row.figures
    assert asked(least, url=PAY, requests=200, expect={"pod": "payment-*", "pods": 2}).result == "ok"


def test_edits_before_and_changes_meanwhile():
    five = [{"scale": {"name": "order", "replicas": 5}}]
    assert asked(SHOP, given=five, expect={"shares": {"order-5": "1/5"}}).result == "ok"
    slow, quick = ({"rollout": {"name": "order", "pre_stop": seconds}} for seconds in (5, 0))
    assert asked(SHOP, change=slow, rate=100, expect={"lost": 0, "status": 200}).result == "ok"
    assert asked(SHOP, change=quick, rate=100, expect={"lost": 0}).result == "FAIL"


# --- what is wrong ---------------------------------------------------------------------------------------------------

URL = "- url: http://order-service\n  "
WRONG = [
    ("", r"c.yaml: holds no case; expected a list of"),
    ("[]", "holds no case"),
    ("5", "c.yaml:1: is no case but 5"),
    ("- [1]", r"c.yaml:1: is no case but \[1\]"),
    ("- {}", "c.yaml:1: has no url"),
    ("apiVersion: v1\nkind: Service", "c.yaml:1: apiVersion: is no field of a case"),
    (URL, "c.yaml:1: has no expect"),
    (URL + "expect: {}", "c.yaml:2: expect: is empty, so nothing can fail"),
    (URL + "expects: {status: 200}", "c.yaml:2: expects: is no field of a case; expected expect$"),
    (URL + "expect: {stauts: 200}", "c.yaml:2: expect.stauts: is nothing that can be expected; expected status$"),
    (URL + "expect: {status: 2000}", r"c.yaml:2: expect.status: cannot be 2000; expected a status such as 200"),
    (URL + "expect: {status: yes}", "cannot be True; expected a status"),
    (URL + "expect: {status: []}", "cannot be"),
    (URL + "expect: {status: [200, [1]]}", "cannot be"),
    (URL + "expect: {status: {200: many}}", "cannot be {'200': 'many'}; expected for each value its share"),
    (URL + "expect: {hottest: 5%}", 'cannot be "5%"; expected a number'),
    (URL + "expect: {hottest: 1/0}", "cannot be"),
    (URL + "expect: {hottest: -1}", "cannot be -1"),
    (URL + "expect: {hottest: .nan}", "cannot be nan"),
    (URL + "expect: {p99: 200}\n  rate: fast", 'c.yaml:3: rate: cannot be "fast"; expected a number'),
    (URL + "expect: {lost: 5ms}", "a number of requests or a share"),
    (URL + "expect: {backend: a/b/c}", "expected NAMESPACE/NAME:PORT"),
    (URL + "expect: {action: forwards}", "expected forward, respond"),
    (URL + "expect: {path: 5}", "cannot be 5; expected text"),
    (URL + "expect: {status: 200}\n  expect: {status: 201}", 'c.yaml:3: the key "expect" stands twice'),
    (URL + "expect: {status: 200}\n  requests: true", "c.yaml:3: requests: cannot be True; expected a whole number"),
    (URL + "expect: {status: 200}\n  headers: {a: 1}", '"a": 1 is no header'),
    (URL + "expect: {status: 200}\n  method: get", '"get" is no HTTP method'),
    ("- {url: 5, expect: {status: 200}}", "c.yaml:1: url: cannot be 5; expected text"),
    ("\n- {url: 'htp://x', expect: {status: 200}}", 'c.yaml:2: "htp://x" is no URL'),
    ('[{"url": "http://a", "expect": {"status": 200}},\n {"url": "http://a",\n  "exepct": 5}]', "c.yaml:3: exepct"),
    ("- url: {{ .Values.url }}", "helm template"),
    ("a: [", "c.yaml:2: not YAML"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_file_is_told_with_its_line(text, message):
    with pytest.raises(InputError) as told:
        SHOP.test(Source("c.yaml", text))
    assert re.search(message, str(told.value)) and str(told.value).startswith("c.yaml:")


@pytest.mark.parametrize(
    ("case", "error"),
    [
        ({"from": "pod:x/y"}, 'no pod "x/y"'),
        ({"via": "node-z"}, 'no node "node-z"; expected one of: node-a'),
        ({"given": [{"scal": {}}]}, "given: scal is not known here; expected scale"),
        ({"given": [5]}, "given: 5 is not known here"),
        ({"given": [{"scale": {"nme": "order"}}]}, "unexpected keyword argument 'nme'"),
        ({"given": [{"drain": {"node": "node-a"}}]}, "drain is not known here"),
        ({"change": {"drain": {"name": "node-z"}}}, "node-z"),
        ({"requests": 0}, "requests cannot be 0"),
        ({"expect": {"p99": "< 1s"}}, "without a clock nothing takes time"),
    ],
    ids=lambda x: "",
)
def test_what_cannot_be_told_is_an_error_of_its_case_alone(case, error):
    good = {"url": ORDERS, "expect": {"status": 200}}
    report = SHOP.test([good, {"url": "http://order-service", "expect": {"status": 200}, **case}, good])
    assert [row.result for row in report.rows] == ["ok", "ERROR", "ok"] and not report.passed
    assert error in report.rows[1].error and "3 cases: 2 ok, 0 failed, 1 could not be told" in str(report)


# --- what others read ------------------------------------------------------------------------------------------------


def test_junit_is_read_back_and_no_name_is_there_twice():
    cases = [{"url": ORDERS, "expect": {"status": status}} for status in (200, 404, 404)]
    cases += [{"url": ORDERS, "name": EVIL, "from": EVIL, "expect": {"status": 200}}]
    text = "\n".join(f"- {json.dumps(case)}" for case in cases)
    root = ElementTree.fromstring(SHOP.test(Source("a/c.yaml", text)).junit)
    suite = root[0]
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    assert [suite.get(k) for k in ("name", "tests", "failures", "errors")] == ["a/c.yaml", "4", "2", "1"]
    assert [(c.get("classname"), c.get("file"), c.get("line")) for c in suite] == [
        ("a/c.yaml", "a/c.yaml", str(line)) for line in (1, 2, 3, 4)
    ]
    assert len({c.get("name") for c in suite}) == 4 and [len(c) for c in suite] == [0, 1, 1, 1]
    failure, error = suite[1][0], suite[3][0]
    assert (failure.tag, failure.get("message"), error.tag) == ("failure", "status: expected 404, is 200", "error")
    assert "shop/ingress.yaml:17" in failure.text
    assert "<b>&\"' ##[error]" in suite[3].get("name")


def test_annotations_are_one_line_each_and_quoted_as_the_runner_needs():
    cases = [{"url": ORDERS, "name": "100%, a:b", "expect": {"status": {"200": "50%"}, "path": "/"}}]
    cases += [{"url": ORDERS, "name": EVIL, "from": EVIL, "expect": {"status": 200}}] * 2
    lines = SHOP.test(Source("a,b.yaml", json.dumps(cases))).github.split("\n")
    assert len(lines) == 4 and lines[-1] == "3 cases: 0 ok, 1 failed, 2 could not be told"
    assert lines[0].startswith(
        "::error file=a%2Cb.yaml,line=1,title=FAIL 100%25%2C a%3Ab (https%3A//myshop.example.com/orders)"
        "::status: expected 200: 50%25, is 200%0A"
    )
    assert "%0Apath: expected /, is /orders%0Abecause " in lines[0]
    for line in lines[1:3]:
        assert re.fullmatch(r"::error file=[^,:]*,line=1,title=[^,:]*::.*", line) and line.isprintable()


def test_nothing_hostile_begins_a_line_or_steers_a_terminal():
    cases = [{"url": ORDERS, "name": EVIL, "expect": {"status": 404, "path": "\x1b[31m"}}]
    cases += [{"url": ORDERS, "given": [{EVIL: {}}], "expect": {"status": 200}}]
    cases += [{"url": ORDERS, "given": [{"scale": {EVIL: 1}}], "expect": {"status": 200}}]
    told = str(SHOP.test(cases))
    assert told.replace("\n", "").isprintable() and not re.search(r"^\s*(::|]]>)", told, re.MULTILINE)


def test_what_no_case_came_by_is_named():
    report = SHOP.test([{"url": ORDERS, "expect": {"status": 200}}])
    assert [place for place, _ in report.untested] == ["shop/ingress.yaml:24"]
    assert "no case came by 1 of the paths" in str(report) and "myshop.example.com/payments" in str(report)
    both = [{"url": ORDERS, "expect": {"lost": 0}}, {"url": PAY, "expect": {"status": 200}}]
    assert SHOP.test(both).to_dict()["untested"] == []
    canary = SPLIT.test([{"url": "http://a.example/pay", "expect": {"status": 200}}])
    assert canary.untested == ()
    routed = SPLIT.translate().cluster
    assert routed.test([{"url": "http://a.example/", "expect": {"status": 404}}]).untested
    assert not routed.test([{"url": "http://a.example/pay", "expect": {"status": 200}}]).untested


def test_a_file_several_documents_standard_input_and_exit_codes(tmp_path, capsys, monkeypatch):
    file, xml = tmp_path / "cases.yaml", tmp_path / "out.xml"
    file.write_text(f"url: {ORDERS}\nexpect: {{status: 200}}\n---\n- url: {PAY}\n  expect: {{status: 200}}\n---\n")
    assert main(["test", "-f", "shop", str(file), "--junit", str(xml), "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] and [c["line"] for c in told["cases"]] == [1, 4]
    assert set(told) == {"passed", "cases", "untested"}
    assert set(told["cases"][0]) == {"file", "line", "name", "url", "result", "figures", "error"}
    assert ElementTree.parse(xml).getroot().get("failures") == "0"
    file.write_text(f"- url: {ORDERS}\n  expect: {{status: 404}}\n")
    assert main(["test", "-f", "shop", str(file)]) == 1
    assert main(["test", "-f", "shop", str(file), "--junit", str(tmp_path / "no" / "x.xml")]) == 2
    assert main(["test", "-f", "shop", str(tmp_path / "none.yaml")]) == 2
    file.write_text("- url: x\n")
    assert main(["test", "-f", "shop", str(file)]) == 2
    assert "cases.yaml:1: has no expect" in capsys.readouterr().err


def test_the_page_names_every_field():
    page = (DATA / "commands/test.md").read_text()
    for name in [*FIELDS, *EXPECT]:
        assert f"`{name}`" in page, name


def test_the_workflow_asks_what_the_commands_take_and_needs_no_rights():
    flow = yaml.safe_load((DATA / "examples/workflow.yml").read_text())
    steps = flow["jobs"]["k8slb"]["steps"]
    assert flow["permissions"] == {"contents": "read"} and "permissions" not in flow["jobs"]["k8slb"]
    assert all(s["with"]["persist-credentials"] is False for s in steps if "checkout" in s.get("uses", ""))
    script = "\n".join(step.get("run", "") for step in steps)
    assert "${{" not in script  # what a pull request may name runs nowhere
    lines = [
        shlex.split(re.split(r" >>| \|\|", line)[0])[1:] for line in script.split("\n") if line.startswith("k8slb ")
    ]
    assert [_parser().parse_args(line).run.__name__ for line in lines] == ["_test", "_explain", "_diff"]
