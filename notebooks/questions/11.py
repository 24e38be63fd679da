"""What comes after Ingress? Judged by the model: what it answers for the learner's weights, URLs and YAML."""

from functools import cache
from typing import Any

from k8slb.cluster import Cluster
from k8slb.course.questions import Exercise, Option, Prediction, Seen, Unfit, calls, function
from k8slb.front import load
from k8slb.objects import Ingress, IngressClass

PREDICTION = Prediction(
    "The same hosts and paths, by Ingress and by HTTPRoute: (1) https://myshop.example.com/orders/7, "
    "(2) https://myshop.example.com/orders-old, (3) http://a.eu.example.com/orders, "
    "(4) http://myshop.example.com/orders. Which of them get another answer?",
    (
        Option(
            "none",
            "Gateway API is Ingress renamed",
            "The same * means another thing there, and what the controller did by itself is not in the rules.",
        ),
        Option("2", "a PathPrefix is the beginning of a text", "It compares whole parts between slashes, like Prefix."),
        Option("3 and 4"),
        Option(
            "4",
            "the rules stay what they are, only annotations are lost",
            "That is the redirect; but a rule that reads the same can mean another thing, too.",
        ),
    ),
    "A Gateway's * stands for one label or more, and the redirect to https was ingress-nginx's, not a rule's.",
)

HOST = "https://myshop.example.com"
WEIGHTS = [([6, 2], [1]), ([90, 10], [1]), ([3, 2, 1], [0, 2]), ([4, 4], []), ([5, 3, 0], [2])]

DOOR = """
kind: Gateway
metadata: {name: front-door}
spec:
  gatewayClassName: plain
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: shop-tls}]}}
"""
ROUTE = """---
kind: HTTPRoute
metadata: {name: NAME}
spec:
  parentRefs: [{name: front-door}]
  hostnames: [HOST]
  rules:
"""
RULE = "  - {matches: [{path: {type: KIND, value: PATH}}], backendRefs: [{name: NAME-service, port: 80}]}\n"
TO_HTTPS = "  - filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 308}}]\n"


def _route(name: str, host: str, *rules: str) -> str:
    return ROUTE.replace("NAME", name).replace("HOST", host) + "".join(rules)


def _rule(path: str, service: str, kind: str = "PathPrefix") -> str:
    return RULE.replace("KIND", kind).replace("PATH", path).replace("NAME", service)


def _on(text: str, listener: str) -> str:
    return text.replace("{name: front-door}]", f"{{name: front-door, sectionName: {listener}}}]")


ORDERS, PAYMENTS = _rule("/orders", "order"), _rule("/payments", "payment")
COPIED = (
    DOOR
    + _route("shop", "myshop.example.com", ORDERS, _rule("/orders/pay", "payment", "Exact"))
    + _route("regions", '"*.example.com"', _rule("/orders", "payment"))
)
TABLE = {
    f"{HOST}/orders/7": "order-service",
    f"{HOST}/orders/pay": "payment-service",
    f"{HOST}/orders/payback": "order-service",
    f"{HOST}/ORDERS/7": "404",
    f"{HOST}/orders-old": "404",
    "http://myshop.example.com/orders": "order-service",
    "http://eu.example.com/orders": "payment-service",
    "http://a.eu.example.com/orders": "payment-service",
}
BELOW, CAPITALS, OLD = f"{HOST}/orders/payback", f"{HOST}/ORDERS/7", f"{HOST}/orders-old"
PLAIN, DEEP = "http://myshop.example.com/orders", "http://a.eu.example.com/orders"
REGEX = {BELOW: "payment-service", CAPITALS: "order-service", OLD: "order-service"}
RENAMED = REGEX | {PLAIN: "308", DEEP: "404"}
MISREAD = {
    '"Gateway API is Ingress renamed": an annotation does not come along, and * means more.': RENAMED,
    '"use-regex comes along": it is ingress-nginx\'s; Exact and PathPrefix mean what they say.': REGEX,
    '"Exact takes what is below": only that path itself.': {BELOW: "payment-service"},
    '"Paths know no capital letters": hosts do not, paths do.': {CAPITALS: "order-service"},
    '"PathPrefix compares letters": it compares whole parts between slashes.': {OLD: "order-service"},
    '"A certificate redirects": a redirect has to be written, as a filter of a rule.': {PLAIN: "308"},
    '"http is for the other host": the most specific hostname goes first, on each listener.': {
        PLAIN: "payment-service"
    },
    '"* is one label": in an Ingress; in a Gateway it is one or more.': {DEEP: "404"},
}

SERVED = _on(_route("shop", "myshop.example.com", ORDERS, PAYMENTS), "https")
UNSECURED = DOOR.replace(", tls: {certificateRefs: [{name: shop-tls}]}", "")
TO_ALL = _route("to-https", "myshop.example.com", TO_HTTPS)
TRANSLATED = DOOR + SERVED + _on(TO_ALL, "http")
ASKED = [HOST + path for path in ("/orders", "/orders/7", "/payments/process/101", "/orders-old", "/")]
ASKED += ["http://myshop.example.com/orders/7?page=2", "http://myshop.example.com/"]
OTHER = "the answer to /orders of eu.example.com by https"
UNTRANSLATED = {
    '"https comes with the certificate": who asks by http is redirected only if a rule says so.': DOOR + SERVED,
    '"The rules are for https anyway": without a sectionName http is served too, and only a rule redirects it.': (
        DOOR + SERVED.replace(", sectionName: https", "")
    ),
    '"A redirect is for http by itself": without a sectionName the route is on both listeners.': DOOR + SERVED + TO_ALL,
    '"The redirect goes first": the paths are more specific; without a sectionName they are on both listeners.': (
        DOOR + SERVED.replace(", sectionName: https", "") + _on(TO_ALL, "http")
    ),
    '"The class brings the Gateway along": it says who runs Gateways; one has to be written.': SERVED + TO_ALL,
    '"HTTPS needs its port alone": a listener without certificateRefs ends no TLS connection.': UNSECURED
    + SERVED
    + _on(TO_ALL, "http"),
    '"302 is 308": without a statusCode the redirect is 302.': TRANSLATED.replace(", statusCode: 308", ""),
    '"A route belongs to every Gateway": it is attached to those that parentRefs names.': TRANSLATED.replace(
        "parentRefs: [{name: front-door", "parentRefs: [{name: front"
    ),
    '"A route takes the hosts of its certificate": without hostnames it takes all that the listener takes.': (
        TRANSLATED.replace("  hostnames: [myshop.example.com]\n", "")
    ),
    '"Exact is Prefix": it takes that path alone, and nothing below it.': TRANSLATED.replace("PathPrefix", "Exact"),
    '"backendRefs name the port of the pod": they name the Service\'s.': TRANSLATED.replace(
        "port: 80}]}\n", "port: 8081}]}\n"
    ),
}

_shop = cache(lambda: load("shop"))


@cache
def _bare() -> Cluster:
    """The shop without its Ingress, and a class that stands for the specification."""
    bare = _shop().with_objects(o for o in _shop().objects if not isinstance(o, (Ingress, IngressClass)))
    return bare.apply("{kind: GatewayClass, metadata: {name: plain}, spec: {controllerName: k8slb/spec}}")


def answered_500(weights, missing):
    return sum(weights[i] for i in missing) / sum(weights)


def _answered(weights: list[int], missing: list[int]) -> float:
    names = ["gone" if i in missing else "order-service" for i in range(len(weights))]
    refs = [f"{{name: {name}, port: 80, weight: {weight}}}" for name, weight in zip(names, weights, strict=True)]
    rule = f"  - {{matches: [{{path: {{value: /orders}}}}], backendRefs: [{', '.join(refs)}]}}\n"
    spread = _bare().apply(DOOR + _route("shop", "myshop.example.com", rule)).shares(f"{HOST}/orders")
    return float(spread.answered.get("500", 0))


def _answer(cluster: Cluster, url: str) -> str:
    seen = cluster.trace(url).to_dict()
    to = f" to {seen['location']}" if seen["location"] else ""
    return seen["backend"]["service"] if seen["status"] == 200 else f"{seen['status'] or 'no answer'}{to}"


def _asked(cluster: Cluster) -> Seen:
    served = cluster.trace(f"{HOST}/orders").to_dict()["certificate"]
    seen = {f"the answer to {url}": _answer(cluster, url) for url in ASKED}
    other = cluster.trace(f"{HOST}/orders", headers={"Host": "eu.example.com"}).status
    return seen | {f"the certificate of {HOST}": served or "none", OTHER: str(other)}


def _after(answer: Any) -> Seen:
    if not isinstance(answer, str):
        raise Unfit("YAML as text", answer)
    return _asked(_bare().apply(answer))


def _rows(answer: Any) -> Seen:
    if not isinstance(answer, dict):
        raise Unfit("a dict from URL to answer", answer)
    return {str(url): str(given) if given in (308, 404) else given for url, given in answer.items()}


EXERCISES = (
    function(
        "11.1",
        answered_500,
        WEIGHTS,
        {
            '"The others take its share": a backend that cannot be used keeps its own.': lambda weights, missing: 0,
            '"One bad backend spoils the rule": only its own share gets 500.': lambda w, missing: min(len(missing), 1),
            '"Asked is who is answered": it is the share that gets 500.': (
                lambda w, m: 1 - sum(w[i] for i in m) / sum(w)
            ),
            '"Weights are percent": they are parts of their sum.': lambda w, m: sum(w[i] for i in m) / 100,
            '"A weight is measured by the others": it is a part of the sum of all.': lambda w, m: (
                sum(w[i] for i in m) / (sum(w) - sum(w[i] for i in m))
            ),
            '"A share is in percent": here it is from 0 to 1.': lambda w, m: 100 * answered_500(w, m),
            '"All backends get the same": each gets its weight\'s part.': lambda w, m: len(m) / len(w),
        },
        expected=lambda: calls("answered_500", WEIGHTS)(_answered),
    ),
    Exercise(
        "11.2",
        "answers = {\n" + "".join(f'    "{url}": "{given}",\n' for url, given in TABLE.items()) + "}",
        _rows,
        {why: TABLE | answers for why, answers in MISREAD.items()},
        kind=str,
        expected=lambda: {url: _answer(_bare().apply(COPIED), url) for url in TABLE},
    ),
    Exercise("11.3", f'translated = """{TRANSLATED}"""', _after, UNTRANSLATED, str, expected=lambda: _asked(_shop())),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "By http, HTTPRoute": {"API": "HTTPRoute", "URL": "http://myshop.example.com/orders"},
        "Weights 90, 10 and 0": {"API": "HTTPRoute", "weights in shop": (90, 10, 0)},
        "A tenth to a Service that is not there": {"API": "HTTPRoute", "weights in shop": (90, 0, 10)},
    },
    "sandbox": {
        "X-Preview: yes": {"header X-Preview": "yes"},
        "/orders-old": {"URL": "https://myshop.example.com/orders-old"},
        "Half to order-next": {
            "httproute/shop": (
                "    - name: order-next\n      port: 80\n      weight: 0\n",
                "    - name: order-next\n      port: 80\n      weight: 100\n",
            )
        },
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "A fixed part of the requests gets 500",
        "a missing backend keeps its weight",
        "`backendRefs[].name`",
        "kubectl get httproute shop -o yaml",
        "",
    ),
    (
        "Behind a Gateway http redirects no more",
        "no rule said so: the controller did it",
        "`filters: RequestRedirect`",
        "k8slb translate -f shop",
        "type: RequestRedirect",
    ),
)
