"""Which pods, which port? Judged by the model: what answers after the learner's YAML, which names a pod asks for."""

from numbers import Integral
from typing import Any

from k8slb.cluster import Cluster
from k8slb.course.questions import Exercise, Option, Prediction, Seen, Unfit, calls, function
from k8slb.endpoints import of_port
from k8slb.front import load

PREDICTION = Prediction(
    "order-service looks for the label app: order. The three pods that the Deployment order makes have it, and so "
    "has trial, a pod started by hand, which also has track: next. Now the readiness probe of order-3 begins to "
    "fail. Which pods get new connections?",
    (
        Option(
            "order-1 and order-2",
            "a Service belongs to its Deployment",
            "A Service looks for labels; it knows no Deployment, and further labels do not matter.",
        ),
        Option(
            "order-1, order-2, order-3 and trial",
            "not-ready pods serve",
            "A pod that is not ready stays in the list of endpoints, marked, and gets no new connections.",
        ),
        Option("order-1, order-2 and trial"),
        Option(
            "all four, until DNS caches forget order-3",
            "DNS balances",
            "The name stands for one address, the Service's, which stays when pods come and go.",
        ),
    ),
    "All four pods have the label, and of these the ready ones get connections.",
)

PORTS = "{port: 80, targetPort: 8081}"
REPAIRED = f"""
kind: Service
metadata: {{name: order-service}}
spec:
  selector: {{app: order}}
  ports:
  - {PORTS}
"""
SWAPPED = REPAIRED.replace(PORTS, "{port: 8081, targetPort: 80}")
BROKEN = SWAPPED.replace("app: order", "app: orders")
NAMES = [("api.example.com",), ("api.example.com.",), ("eu.shop.api.example.com",), ("a.eu.shop.api.example.com",)]
BOTH = """
kind: Pod
metadata: {name: trial, labels: {app: order}}
spec:
  containers:
  - name: order
    image: traefik/whoami:v1.10
    args: ["--port=9090"]
    ports:
    - {name: http, containerPort: 9090}
---
kind: Service
metadata: {name: order-service}
spec:
  ports:
  - {port: 80, targetPort: http}
"""


def names_asked(name):
    if name.endswith(".") or name.count(".") >= 5:
        return 1
    return 4


def _applied(answer: Any, before: str = "") -> Cluster:
    if not isinstance(answer, str):
        raise Unfit("YAML as text", answer)
    return load("shop").apply(before).apply(answer)


def _repaired(answer: Any) -> Seen:
    seen = _applied(answer, BROKEN).trace("http://order-service")
    why = seen.last.why.rpartition("; ")[2].removeprefix("Service default/order-service has the ")
    return {"what http://order-service meets": ", ".join(seen.endpoints) or why.partition(": the packet")[0]}


def _both(answer: Any) -> Seen:
    cluster = _applied(answer)
    service = cluster.services["default", "order-service"]
    ports = [str(e.port) for p in service.spec.ports if p.port == 80 for e in of_port(cluster, service, p) if e.ready]
    return {"what port 80 reaches": " ".join(sorted(ports)) or "none"}


def _asked(name: str) -> int:
    return 1 + len(load("shop").trace(f"http://{name}", from_="pod:default/order-1").hops[0].decision.rejected)


EXERCISES = (
    Exercise(
        "01.1",
        f'repaired = """{REPAIRED}"""',
        _repaired,
        {
            '"A selector names the Service": it names labels of the pods, and theirs is app: order.': (
                REPAIRED.replace("app: order", "app: order-service")
            ),
            '"port is where the pods listen": clients ask for port, and the pods listen on targetPort.': SWAPPED,
            '"targetPort is found by itself": where it is not written it is the same number as port.': (
                REPAIRED.replace(PORTS, "{port: 80}")
            ),
        },
        kind=str,
        expected=lambda: _repaired(REPAIRED),
    ),
    function(
        "01.2",
        names_asked,
        NAMES,
        {
            '"A name is asked for once": with fewer than 5 dots the search domains come first.': lambda name: 1,
            '"Every name is searched for": not one with 5 dots in it, or a dot at its end.': lambda name: 4,
            '"The search ends it": the name as it stands is asked for after the three, and counts.': (
                lambda name: min(names_asked(name), 3)
            ),
            '"ndots counts the words": it counts the dots between them.': (
                lambda name: 1 if name.endswith(".") or len(name.split(".")) >= 5 else 4
            ),
        },
        kind=Integral,
        expected=lambda: calls("names_asked", NAMES)(_asked),
    ),
    Exercise(
        "01.3",
        f'both_ports = """{BOTH}"""',
        _both,
        {
            '"A targetPort is one number for all": that sends connections to 8081 of the new pod, too.': (
                BOTH.replace("targetPort: http", "targetPort: 8081")
            ),
            '"The newest port is for all": that sends connections to 9090 of the old pods, too.': (
                BOTH.replace("targetPort: http", "targetPort: 9090")
            ),
            '"A name is for the Service": the new pod has to give its port that name, and have the label app: order.': (
                BOTH.replace("{name: http, ", "{")
            ),
            '"Clients have to know the new port": they go on asking for port 80 of the Service.': (
                BOTH.replace("port: 80,", "port: 9090,")
            ),
        },
        kind=str,
        expected=lambda: _both(BOTH),
    ),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "One pod is not ready": {"pods of order not ready": 1},
        "The selector asks for track: next, too": {
            "service/order-service": ("    app: order\n", "    app: order\n    track: next\n")
        },
        "targetPort 80, where nobody listens": {"targetPort": "80"},
    },
    "sandbox": {
        "No pod of order is ready": {"pods of order not ready": 3},
        "A selector that nobody has": {"service/order-service": ("app: order\n", "app: orders\n")},
        "The port by its name": {"service/order-service": ("targetPort: 8081", "targetPort: http")},
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "Connection refused at a ClusterIP",
        "the selector matches no pod",
        "`spec.selector`",
        "k8slb explain -f explain/selects-nothing.yaml",
        "matches no pod",
    ),
    (
        "Endpoints are there, connections are refused",
        "the pods listen on another port",
        "`spec.ports[].targetPort`",
        "k8slb explain -f explain/target-port-number.yaml",
        "which no pod behind it declares",
    ),
    (
        "A pod runs and gets nothing",
        "it is not ready (READY 0/1)",
        "`readinessProbe`",
        "kubectl get pods -l app=web",
        "",
    ),
)
