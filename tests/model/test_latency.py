"""How long requests take, and what became of each: the summaries say what the table says."""

import json

import numpy as np
import pytest

import k8slb
from k8slb.answers.latency import LEAST, Latency, span
from k8slb.cli import main

ORDERS, PAYMENTS = "http://order-service", "https://myshop.example.com/payments/process/101"


@pytest.fixture(scope="module")
def shop():
    return k8slb.load("shop")


@pytest.fixture(scope="module")
def busy(shop):
    """A proxy and three pods that take time; they cannot keep up, and refuse what does not fit."""
    timed = shop.with_pods("payment", service_time="10ms exponential", queue=20)
    timed = timed.with_pods("ingress-nginx-controller", service_time="1ms")
    return timed.send(PAYMENTS, requests=6000, rate=400, seed=1)


def test_the_summaries_say_what_the_table_says(busy):
    table = busy.table
    served = table[table["status"] == "200"]
    kept = served.iloc[busy.latency.cut :]
    assert list(table.columns)[-4:] == ["reason", "latency", "latency_ingress", "latency_pods"]
    assert busy.latency.mean == pytest.approx(kept["latency"].mean())
    assert busy.latency.p99 == pytest.approx(kept["latency"].quantile(0.99))
    assert busy.latency.max == kept["latency"].max()
    assert busy.latency_of("pods").mean == pytest.approx(kept["latency_pods"].mean())
    assert np.allclose(table["latency"], table["latency_ingress"] + table["latency_pods"])
    for pod in busy.counts():
        assert busy.latency_of(pod).mean == pytest.approx(served.loc[served["pod"] == pod, "latency"].mean())
    failed = table["reason"].notna()
    assert busy.failures == {("pods", "queue full"): int(failed.sum())} and failed.sum() > 100
    assert failed.equals(table["status"] != "200")
    rows = busy.over_time(0.5)
    assert rows["sent"].sum() == 6000 and (rows["sent"] == rows["served"] + rows["failed"]).all()
    third = served[(served["time"] >= 1.0) & (served["time"] < 1.5)]["latency"]
    assert rows.loc[2, "second"] == 1.0 and rows.loc[2, "mean"] == pytest.approx(third.mean())
    assert all(0.15 < share <= 1 for share in busy.utilisation.values())
    assert set(busy.utilisation) == {*busy.counts("pod"), *busy.counts("ingress_pod")}


def test_it_is_told_in_words_and_in_json(busy):
    mean, told = span(busy.latency.mean), busy.to_dict()
    assert f"latency: mean {mean} ± " in busy.sentence and "proxies were busy 19.8% to 20.3%" in busy.sentence
    assert f"{sum(busy.failures.values()):,} at pods (queue full)" in str(busy)
    assert json.loads(json.dumps(told))["latency"]["mean"] == busy.latency.mean
    assert told["failures"][0].keys() == {"stage", "reason", "requests"} and len(told["utilisation"]) == 4


def test_pictures_say_the_same(busy):
    pictures = busy.plot_latency(lambda seconds: np.exp(-seconds / busy.latency.mean)), busy.plot_over_time(5)
    for picture in pictures:
        assert picture.png[:4] == b"\x89PNG" and picture.sentence == busy.sentence
    assert f"{span(busy.latency.p99)}" in pictures[0].table and "theory: " in pictures[0].table
    assert [line.split()[:2] for line in pictures[1].table.splitlines()[1:3]] == [
        [f"{row.second:g}", f"{row.sent:g}"] for row in busy.over_time(5).head(2).itertuples()
    ]


def test_a_pod_that_drowns_is_busy_all_the_time_and_no_more(shop):
    waits = "{proxy-read-timeout: '1', proxy-next-upstream: error timeout}".replace(
        "proxy-", "nginx.ingress.kubernetes.io/proxy-"
    )
    drowned = shop.with_pods("payment", service_time="50ms exponential")
    drowned = drowned.apply(f"{{kind: Ingress, metadata: {{name: app-ingress, annotations: {waits}}}}}")
    run = drowned.send(PAYMENTS, requests=3000, rate=60, seed=1)
    assert set(run.run.worked) >= set(run.utilisation) and all(0.99 < x <= 1 for x in run.utilisation.values())
    assert "pods were busy 99.8% to 99.9% of the time" in run.sentence
    assert run.failures["pods", "timed out after 1 s"] > 2500 and run.latency.max < 1


def test_what_is_constant_is_exact(shop):
    run = shop.with_pods("order", service_time="20ms").scale("order", 1)
    run = run.send(ORDERS, requests=1000, rate=40, arrivals="constant")
    assert run.latency.p50 == pytest.approx(0.02) == run.latency.max and run.latency.cut == 0
    assert run.latency.band == pytest.approx(0, abs=1e-9) and run.run.until == pytest.approx(run.run.time[-1] + 0.02)
    assert run.utilisation["10.0.0.5:8081"] == pytest.approx(0.8, rel=2e-3)


def test_a_change_is_seen_over_time_and_nothing_of_it_is_cut(shop):
    timed = shop.with_pods("order", service_time="10ms exponential")
    run = timed.send(ORDERS, rate=200, duration=30, becomes={10: timed.scale("order", 0), 20: timed}, seed=1)
    rows = run.over_time(10)
    assert rows["served"].tolist()[1] == 0 == rows["failed"].tolist()[2]
    assert rows["failed"].tolist()[0] == run.failures["pods", "its pod died"] < 20, "those under way"
    assert np.isnan(rows["mean"][1]) and run.latency.cut == 0 and run.latency.requests == rows["served"].sum()
    assert "±" not in str(run.latency), "before, meanwhile and after have no one mean"
    untimed = shop.send(ORDERS, rate=20, duration=30, becomes={10: shop.scale("order", 0)}, seed=1)
    assert list(untimed.over_time(10).columns) == ["second", "sent", "served", "failed"]
    assert untimed.plot_over_time(10).png


ENDS = {
    "redirected": (lambda c: c, PAYMENTS.replace("https", "http"), {("ingress", "answered 308"): 500}),
    "no rule": (lambda c: c, "https://myshop.example.com/nothing", {("ingress", "answered 404"): 500}),
    "no pods": (lambda c: c.scale("order", 0), ORDERS, {("kube-proxy", "no ready endpoint"): 500}),
    "no port": (lambda c: c, f"{ORDERS}:99", {("kube-proxy", "dropped"): 500}),
    "a connection": (lambda c: c, "tcp://order-service:80", {}),
    "all fail": (lambda c: c.with_pods("order", fail="1 418"), ORDERS, {("pods", "answered 418"): 500}),
}


@pytest.mark.parametrize("case", ENDS.values(), ids=ENDS.keys())
def test_every_request_is_served_or_has_its_reason(shop, case):
    change, url, failures = case
    run = change(shop).send(url, requests=500, rate=50)
    assert run.failures == failures and run.over_time(1e6)["served"].tolist() == [500 - sum(failures.values())]


def test_what_there_is_no_latency_of(shop, busy):
    for ask, told in [
        (lambda: shop.send(ORDERS).latency, "without a clock"),
        (lambda: shop.send(ORDERS).over_time(), "expected send(..., rate="),
        (lambda: shop.send(ORDERS, rate=5).latency, "nothing here takes time"),
        (lambda: busy.latency_of("10.0.0.99:1"), "one of: ingress, pods, 10.0."),
        (lambda: busy.over_time(0), "is no interval"),
        (lambda: busy.over_time("1"), "is no interval"),
        (lambda: shop.with_pods("order-9", service_time="1s"), "no workload or pod"),
    ]:
        with pytest.raises(k8slb.InputError) as caught:
            ask()
        assert told in str(caught.value)
    nobody = shop.with_pods("order", service_time="10ms", fail=1.0).send(ORDERS, rate=5)
    assert nobody.latency.requests == 0 and str(nobody.latency) == "no request was served"
    few = shop.with_pods("order", service_time="10ms").send(ORDERS, requests=LEAST - 1, rate=5)
    assert "±" not in str(few.latency) and few.to_dict()["latency"]["band"] is None
    assert few.plot_latency().png


def test_the_table_shares_the_arrays_and_cannot_change_the_run(busy):
    with pytest.raises(ValueError, match="read-only"):
        busy.table.loc[0, "latency"] = 0.0
    own = busy.table.copy()
    own["late"] = own["latency"] > 0.1
    own.loc[0, "latency"] = -1.0
    assert busy.run.latency[0] > 0


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.0512, "51.2 ms"),
        (1e-9, "1.00 ns"),
        (0.0009999, "1.00 ms"),
        (59.96, "60.0 s"),
        (12345.6, "12,346 s"),
    ],
)
def test_times_have_three_digits_and_a_unit(seconds, told):
    assert span(seconds) == told


def test_the_cut_is_told():
    one = Latency(970, 0.0512, 0.0009, 0.05, 0.1, 0.21, 0.4, 30)
    assert str(one) == "mean 51.2 ms ± 900 µs, p50 50.0 ms, p99 210 ms, at most 400 ms; the first 30 cut as warm-up"


# --- the command line ------------------------------------------------------------------------------------------------

TIMED = """
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {selector: {app: a}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {app: a}, annotations: {k8slb/service-time: 30ms}}
"""


def test_send_on_the_command_line_has_latency(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text(TIMED)
    (tmp_path / "arrivals").write_text("0.0\n0.01\n\n1\n")
    ask = ["send", "-f", str(tmp_path / "a.yaml"), "http://a"]

    def said(*more: str) -> str:
        assert main([*ask, *more]) == 0
        return capsys.readouterr().out

    assert "latency: mean 30.0 ms" in said("--rate", "10", "--arrivals", "constant", "--duration", "50")
    told = json.loads(said("--arrivals", str(tmp_path / "arrivals"), "--json"))
    assert told["requests"] == 3 and told["latency"]["max"] == pytest.approx(0.05), "one waits 20 ms"
    head, *rows = said("--arrivals", str(tmp_path / "arrivals"), "--csv").splitlines()
    assert head.endswith("latency,latency_pods") and [float(r.split(",")[2]) for r in rows] == [0, 0.01, 1]
    closed = json.loads(said("--connections", "2", "--think", "0s", "-n", "100", "--json"))
    assert closed["latency"]["p50"] == pytest.approx(0.06), "both wait for each other"
    (tmp_path / "arrivals").write_text("0.0\nsoon\n")
    assert main([*ask, "--arrivals", str(tmp_path / "arrivals")]) == 2
    assert ':2: "soon" is no time; expected seconds' in capsys.readouterr().err
