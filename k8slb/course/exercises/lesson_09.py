"""Which rule wins, what does the pod see? Judged by the model: what it answers for the learner's YAML and URLs."""

from __future__ import annotations

from functools import cache
from typing import Any

from ...cluster import Cluster
from ...front import load
from .base import Exercise, Seen, Unfit, calls

HOST = "https://myshop.example.com"
PATHS = calls("path_seen", [("/payments/process/101",), ("/payments",), ("/payments/",), ("/payments/7/lines",)])

TABLE = {
    f"{HOST}/orders": "order-service",
    f"{HOST}/orders/7": "order-service",
    f"{HOST}/orders-old": "404",
    f"{HOST}/Orders/7": "404",
    f"{HOST}/payments/": "payment-service",
    f"{HOST}/payments/orders": "payment-service",
    f"{HOST}/": "404",
    "https://shop.example.com/orders": "404",
}

REPAIRED = r"""
kind: Ingress
metadata:
  name: app-ingress
  annotations:
    nginx.ingress.kubernetes.io/rewrite-target: /$2
spec:
  rules:
  - host: myshop.example.com
    http:
      paths:
      - path: /orders(/|$)(.*)
        pathType: ImplementationSpecific
        backend: {service: {name: order-service, port: {number: 80}}}
      - path: /payments(/|$)(.*)
        pathType: ImplementationSpecific
        backend: {service: {name: payment-service, port: {number: 80}}}
"""
ORDERS_ROW = REPAIRED[REPAIRED.index("      - path: /orders") : REPAIRED.index("      - path: /payments")]


@cache
def _source_text() -> Cluster:
    return load("source-text")


def _received(cluster: Cluster, path: str) -> str:
    seen = cluster.trace(HOST + path).to_dict()
    return seen["forwarded"]["path"] if seen["forwarded"] else f"nothing: status {seen['status']}"


def _service(cluster: Cluster, url: str) -> str:
    seen = cluster.trace(url).to_dict()
    return seen["backend"]["service"] if seen["backend"] else str(seen["status"])


def _after_repair(answer: Any) -> Seen:
    if not isinstance(answer, str):
        raise Unfit("YAML as text", answer)
    cluster = _source_text().apply(answer)
    return {
        "what the pod receives for /payments/process/101": _received(cluster, "/payments/process/101"),
        "what answers /payments/process/101": _service(cluster, f"{HOST}/payments/process/101"),
        "what answers /orders/7": _service(cluster, f"{HOST}/orders/7"),
    }


def _rows(answer: Any) -> Seen:
    if not isinstance(answer, dict):
        raise Unfit("a dict from URL to answer", answer)
    return {str(url): "404" if given == 404 else given for url, given in answer.items()}


EXERCISES = (
    Exercise(
        id="09.1",
        stars=1,
        task="""\
The Ingress of `k8slb.load("source-text")` sends `/payments` to `payment-service` and has the annotation
`rewrite-target: /`. Write the function that gives the path that the pod receives when you ask for `path`, for any path
below `/payments`.""",
        stub="""\
def path_seen(path):
    return ...


check("09.1", path_seen)""",
        solution='def path_seen(path):\n    return "/"',
        hints=(
            "Ask the model for one path and look at what the pod receives; then ask for another.",
            "`rewrite-target` is the whole new path. What of the old one could be put into it?",
        ),
        kind=str,
        observe=PATHS,
        expected=lambda: PATHS(lambda path: _received(_source_text(), path)),
        wrong={
            '"rewrite-target / keeps the rest": it is the whole new path; the rest stays only if a group of the path '
            "captures it and the target names that group.": lambda path: path.removeprefix("/payments") or "/",
            '"An annotation changes nothing on the way": ingress-nginx writes a new path into the request.': str,
            '"The pod receives the path of the rule": the rule only says which requests are meant.': (
                lambda path: "/payments"
            ),
        },
    ),
    Exercise(
        id="09.2",
        stars=2,
        task=f"""\
Repair that Ingress: the payment pod must receive `/process/101` when you ask for `{HOST}/payments/process/101`, and
`/orders/7` must still reach `order-service`. Write what you would give to `kubectl apply`; only `kind`,
`metadata.name` and what you change are needed. `k8slb.load("source-text").yaml("ingress/app-ingress")` is what is there
now.""",
        stub='repaired = """\n"""\n\ncheck("09.2", repaired)',
        solution=f'repaired = """{REPAIRED}"""',
        hints=(
            "With `rewrite-target`, ingress-nginx reads a path as a regular expression, and `$1`, `$2` in the target "
            "are its groups.",
            "The path `/payments(/|$)(.*)` has two groups: the slash, and what follows it.",
            "Maps merge, lists replace: who changes one rule's path writes down all rules.",
        ),
        kind=str,
        observe=_after_repair,
        expected=lambda: {
            "what the pod receives for /payments/process/101": "/process/101",
            "what answers /payments/process/101": "payment-service",
            "what answers /orders/7": "order-service",
        },
        wrong={
            '"Without the annotation the prefix is cut off": the pod then receives the path as it was asked for.': (
                REPAIRED[: REPAIRED.index("spec:")].replace("/$2", "null")
            ),
            '"The target alone keeps the rest": the path must capture it in a group, else $2 is nothing.': (
                REPAIRED[: REPAIRED.index("spec:")]
            ),
            '"$1 is the rest": groups are counted from the left, and the first one here is the slash.': (
                REPAIRED.replace("/$2", "/$1")
            ),
            '"Lists merge": apply replaces the list of paths, so the rule for /orders is gone.': (
                REPAIRED.replace(ORDERS_ROW, "")
            ),
        },
    ),
    Exercise(
        id="09.3",
        stars=3,
        task="""\
Who answers under the shop's Ingress? For each URL write `"order-service"`, `"payment-service"` or `"404"`.""",
        stub="answers = {\n" + "".join(f'    "{url}": ...,\n' for url in TABLE) + '}\n\ncheck("09.3", answers)',
        solution="answers = {\n" + "".join(f'    "{url}": "{given}",\n' for url, given in TABLE.items()) + "}",
        hints=(
            "`Prefix` compares whole parts between slashes, and small and capital letters are different.",
            "A rule with a host is for that host only.",
        ),
        kind=str,
        observe=_rows,
        expected=lambda: {url: _service(load("shop"), url) for url in TABLE},
        wrong={
            f'"{name}": {why}.': TABLE | {url: "order-service"}
            for url, name, why in (
                (f"{HOST}/orders-old", "/orders matches /orders-old", "Prefix compares whole parts between slashes"),
                (f"{HOST}/Orders/7", "Paths know no capital letters", "hosts do not, paths do"),
                (f"{HOST}/payments/orders", "The word counts anywhere", "a prefix is compared from the start"),
                (f"{HOST}/", "The first rule takes the rest", "what no rule matches is answered 404"),
                ("https://shop.example.com/orders", "The path alone decides", "the rules are for another host"),
            )
        },
    ),
)
