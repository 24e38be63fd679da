"""Facts of real proxies that cannot be asked again (tests/truth/proxies.json), beside the model."""

import json
from pathlib import Path

import pytest

import k8slb
from k8slb.chance import chi_square_p
from k8slb.real.cases import cases

RUNS = json.loads(Path(__file__).with_name("proxies.json").read_text(encoding="utf-8"))["runs"]
URL = "https://myshop.example.com/orders"
CANARY = """
kind: Service
metadata: {name: order-next}
spec: {selector: {app: payment}, ports: [{port: 80, targetPort: 8082}]}
---
kind: Ingress
metadata:
  name: order-canary
  annotations:
    nginx.ingress.kubernetes.io/canary: "true"
    nginx.ingress.kubernetes.io/canary-weight: "50"
    nginx.ingress.kubernetes.io/canary-weight-total: "80"
spec:
  ingressClassName: nginx
  rules:
  - host: myshop.example.com
    http: {paths: [{path: /orders, pathType: Prefix, backend: {service: {name: order-next, port: {number: 80}}}}]}
"""
# what the recording calls them; the model is asked as the case slow-of-four has it
PICKED = {"nginx-least-conn": "nginx least_conn", "nginx-random-two": "nginx random two", "nginx-rr": "any round robin"}
PICKED |= {
    "haproxy-leastconn": "HAProxy leastconn",
    "haproxy-random": "HAProxy random(2)",
    "traefik-p2c": "Traefik p2c",
}
PICKED |= {"envoy-least-request": "Envoy least_request", "traefik-leasttime": "Traefik leasttime"}


def test_a_canary_weight_of_50_of_80_counts_as_50_of_100():
    shares = k8slb.load("shop").apply(CANARY).shares(URL)
    canary = float(sum(share for pod, share in shares.items() if pod.endswith(":8082")))
    counts = RUNS["ingress-nginx/canary-50-of-80"]["counts"]
    assert chi_square_p(counts, {"main": 1 - canary, "canary": canary})[2] > 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_equal_pods_get_unequal_shares_by_ewma(seed):
    shop = k8slb.load("shop").scale("order", 4).scale("ingress-nginx-controller", 1)
    shop = shop.with_balancer("ingress", "ingress-nginx-ewma").with_pods("order", service_time="1ms exponential")
    model = sorted(shop.send(URL, requests=3000, connections=1, think="0s", seed=seed).counts().values())
    real = sorted(RUNS["ingress-nginx/ewma-equal-pods"]["counts"].values())
    for counts in (model, real):
        assert counts[0] < 300 and counts[-1] > 1200, "750 each would be fair"


@pytest.mark.parametrize("name", PICKED)
def test_the_share_of_a_slow_pod(name):
    fact = RUNS["slow-of-four/20-ms-beside-2-ms"]
    case = cases()[f"proxies/{name}/slow-of-four"].cluster
    case = case.with_pods("order", service_time="2ms", workers=16).with_pods("order-4", service_time="20ms", workers=16)
    asked = {"requests": fact["requests"], "connections": fact["at_once"], "think": "0s"}
    share = case.send("http://myshop.example.com/orders", **asked).share()["10.0.0.8:8081"]
    assert share == pytest.approx(fact["share_of_the_slow"][PICKED[name]], abs=0.05)


def test_the_tallest_of_1000_queues():
    """One by one, each counted at once: as the model has them."""
    for name, picks in (("", "LEAST_REQUEST"), ("-at-random", "RANDOM")):
        facts = cases()[f"mesh/envoy/tallest-of-1000{name}"].modelled()["pods_by_requests"]
        assert max(map(int, facts)) in {t + d for t in RUNS["tallest/one-by-one"][picks] for d in (0, -1, 1)}
