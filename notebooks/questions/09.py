"""Which rule wins, what does the pod see? Judged by the model: what it answers for the learner's YAML and URLs."""

from functools import cache
from typing import Any

from k8slb.cluster import Cluster
from k8slb.course.questions import Exercise, Option, Prediction, Seen, Unfit, calls, function
from k8slb.front import load

PREDICTION = Prediction(
    "The Ingress says path: /payments, pathType: Prefix and rewrite-target: /, and ingress-nginx serves it. "
    "You ask for /payments/process/101. What path does the pod receive?",
    (
        Option(
            "/payments/process/101",
            "an annotation changes nothing on the way",
            "ingress-nginx writes a new path into the request before it sends it on.",
        ),
        Option(
            "/process/101",
            "rewrite / keeps the rest",
            "Nothing is cut off: the rest stays only if a group of the path captures it and the target names it.",
        ),
        Option("/"),
        Option(
            "none: the answer is 404",
            "Prefix matches the prefix alone",
            "/payments as a Prefix matches everything below it, too.",
        ),
    ),
    "The target is the whole new path, and this path captures nothing that could be put into it.",
)

HOST = "https://myshop.example.com"
PATHS = [(path,) for path in ("/payments/process/101", "/orders", "/paymentsX", "/ORDERS/7", "/old/orders", "/help")]
ORDERS, PAYMENTS = (f"{{service: {{name: {name}-service, port: {{number: 80}}}}}}" for name in ("order", "payment"))

MORE = f"""
kind: Ingress
metadata: {{name: more}}
spec:
  ingressClassName: nginx
  rules:
  - {{host: myshop.example.com, http: {{paths: [{{path: /orders/pay, pathType: Exact, backend: {PAYMENTS}}}]}}}}
  - {{host: "*.example.com", http: {{paths: [{{path: /, pathType: Prefix, backend: {PAYMENTS}}}]}}}}
  - {{http: {{paths: [{{path: /orders, pathType: Prefix, backend: {ORDERS}}}]}}}}
"""
TABLE = {
    f"{HOST}/orders/7": "order-service",
    f"{HOST}/orders/pay": "payment-service",
    f"{HOST}/orders/pay/7": "order-service",
    f"{HOST}/orders-old": "404",
    f"{HOST}/Orders/7": "404",
    f"{HOST}/": "404",
    "https://eu.example.com/orders": "payment-service",
    "https://a.eu.example.com/orders": "order-service",
}
FIRST = '"The first rule that fits": the longest path wins, wherever it stands.'
BELOW = '"Exact takes what is below": only that path itself.'
OLD = '"/orders matches /orders-old": Prefix compares whole parts between slashes.'
CAPITALS = '"Paths know no capital letters": hosts do not, paths do.'
REST = '"Another host takes the rest": in ingress-nginx the host that fits best keeps the request and answers 404.'
LONGEST = '"The longest path goes first": the host does, and *.example.com is nearer than none.'
ANY = '"* is any name": it is one label.'
MISREAD = {
    FIRST: {f"{HOST}/orders/pay": "order-service"},
    BELOW: {f"{HOST}/orders/pay/7": "payment-service"},
    OLD: {f"{HOST}/orders-old": "order-service"},
    CAPITALS: {f"{HOST}/Orders/7": "order-service"},
    REST: dict.fromkeys((f"{HOST}/orders-old", f"{HOST}/Orders/7", f"{HOST}/"), "payment-service"),
    LONGEST: {"https://eu.example.com/orders": "order-service"},
    ANY: {"https://a.eu.example.com/orders": "payment-service"},
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
ANNOTATION = REPAIRED[: REPAIRED.index("spec:")]
ORDERS_ROW = REPAIRED[REPAIRED.index("      - path: /orders") : REPAIRED.index("      - path: /payments")]
UNTOUCHED = '"Without the annotation the prefix is cut off": the pod then receives the path as it was asked for.'
TARGET = '"The target alone keeps the rest": the path must capture it in a group, else $2 is nothing.'
GROUP = '"$1 is the rest": groups are counted from the left, and the first one here is the slash.'
LISTS = '"Lists merge": apply replaces the list of paths, so the rule for /orders is gone.'
ONE = '"A target is for one path": it is for every path of its Ingress, and this one for /orders captures nothing.'
PREFIX = (
    '"Any path may be a Prefix": since 1.12 ingress-nginx refuses a regular expression as Prefix or Exact; it wants '
    "ImplementationSpecific."
)
UNREPAIRED = {
    UNTOUCHED: ANNOTATION.replace("/$2", "null"),
    TARGET: ANNOTATION,
    GROUP: REPAIRED.replace("/$2", "/$1"),
    LISTS: REPAIRED.replace(ORDERS_ROW, ""),
    ONE: REPAIRED.replace("/orders(/|$)(.*)", "/orders"),
    PREFIX: REPAIRED.replace("ImplementationSpecific", "Prefix"),
}

KEPT = (
    '"rewrite-target / keeps the rest": it is the whole new path; the rest stays only if a group of the path captures '
    "it and the target names that group."
)
NOTHING = '"An annotation changes nothing on the way": ingress-nginx writes a new path into the request.'
RULE = '"The pod receives the path of the rule": the rule only says which requests are meant.'
PARTS = (
    '"Prefix compares whole parts": not beside a rewrite-target, which makes it a regular expression, open at its end.'
)
SMALL = '"Paths know capital letters": not beside a rewrite-target, whose regular expressions are blind to case.'
ANYWHERE = '"A regular expression fits anywhere": this one has to fit from the beginning of the path.'
ALL = '"Every path arrives as /": a path that no rule takes arrives nowhere.'

_source_text = cache(lambda: load("source-text"))


def path_seen(path):
    return "/" if path.lower().startswith(("/orders", "/payments")) else "404"


def _seen(new, begins=lambda path: path.lower().startswith(("/orders", "/payments"))):
    return lambda path: new(path) if begins(path) else "404"


def _received(cluster: Cluster, path: str) -> str:
    seen = cluster.trace(HOST + path).to_dict()
    return seen["forwarded"]["path"] if seen["forwarded"] else str(seen["status"])


def _service(cluster: Cluster, url: str) -> str:
    seen = cluster.trace(url).to_dict()
    return seen["backend"]["service"] if seen["backend"] else str(seen["status"])


def _after_repair(answer: Any) -> Seen:
    if not isinstance(answer, str):
        raise Unfit("YAML as text", answer)
    cluster, asked = _source_text().apply(answer), ("/payments/process/101", "/orders/7")
    told = [warning for path in asked for warning in cluster.trace(HOST + path).to_dict()["warnings"]]
    refused = [w.partition("webhook refuses ")[2].partition(";")[0] for w in told if "webhook refuses" in w]
    return {
        **{f"what answers {path}": _service(cluster, HOST + path) for path in asked},
        **{f"what the pod receives for {path}": _received(cluster, path) for path in asked},
        "what the admission webhook refuses": (refused or ["nothing"])[0],
    }


def _rows(answer: Any) -> Seen:
    if not isinstance(answer, dict):
        raise Unfit("a dict from URL to answer", answer)
    return {str(url): "404" if given == 404 else given for url, given in answer.items()}


EXERCISES = (
    function(
        "09.1",
        path_seen,
        PATHS,
        {
            KEPT: _seen(lambda path: "/" + path[1:].partition("/")[2]),
            NOTHING: _seen(str),
            RULE: _seen(lambda path: "/" + path.split("/")[1]),
            PARTS: _seen(lambda _: "/", lambda path: path.lower().split("/")[1] in ("orders", "payments")),
            SMALL: _seen(lambda _: "/", lambda path: path.startswith(("/orders", "/payments"))),
            ANYWHERE: _seen(lambda _: "/", lambda path: "/orders" in path.lower() or "/payments" in path.lower()),
            ALL: lambda path: "/",
        },
        kind=str,
        expected=lambda: calls("path_seen", PATHS)(lambda path: _received(_source_text(), path)),
    ),
    Exercise(
        "09.2", f'repaired = """{REPAIRED}"""', _after_repair, UNREPAIRED, str, expected=lambda: _after_repair(REPAIRED)
    ),
    Exercise(
        "09.3",
        "answers = {\n" + "".join(f'    "{url}": "{given}",\n' for url, given in TABLE.items()) + "}",
        _rows,
        {why: TABLE | answers for why, answers in MISREAD.items()},
        kind=str,
        expected=lambda: {url: _service(load("shop").apply(MORE), url) for url in TABLE},
    ),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "No rewrite": {"rewrite-target": ""},
        "The certificate's host, asked by http": {
            "TLS host": "myshop.example.com",
            "URL": "http://myshop.example.com/payments/process/101",
        },
        "/paymentsX, with the rewrite": {"URL": "https://myshop.example.com/paymentsX"},
    },
    "sandbox": {
        "/orders-old": {"URL": "https://myshop.example.com/orders-old"},
        "/orders as Exact": {
            "URL": "https://myshop.example.com/orders/7",
            "rules of Ingress app-ingress": (
                ("myshop.example.com", "/orders", "Exact", "order-service:80"),
                ("myshop.example.com", "/payments", "Prefix", "payment-service:80"),
            ),
        },
        "Another host": {"header Host": "other.example.com"},
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "404 from the controller",
        "no rule of the host takes the path",
        "`host`, `path`, `pathType`",
        "k8slb trace -f shop https://myshop.example.com/orders-old",
        "matches /orders-old",
    ),
    (
        "The pod receives / and nothing more",
        "the rewrite is the whole new path",
        "`rewrite-target`",
        "k8slb trace -f source-text https://myshop.example.com/payments",
        "which receives /\n",
    ),
    (
        "503 from the controller",
        "no such Service, port or ready endpoint",
        "`backend.service`",
        "k8slb explain -f explain-routes.yaml",
        "answered 503",
    ),
)
