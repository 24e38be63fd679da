"""What happens to one request? Judged by the trace of the model."""

from numbers import Integral

from k8slb.course.questions import Exercise, Option, Prediction, Seen, parts
from k8slb.front import load

PREDICTION = Prediction(
    "order-service has 3 ready pods. You send it 1,000 requests on one connection. How many does each pod get?",
    (
        Option(
            "334, 333 and 333",
            "a Service is a process that hands out requests",
            "A Service is an address and a list of pods; no process stands there and counts requests.",
        ),
        Option(
            "about a third each, by chance",
            "each request is balanced",
            "The pick is made when a connection opens; the requests on it follow.",
        ),
        Option("one pod gets all 1,000"),
        Option(
            "whichever pod is least busy gets the next",
            "the cluster looks at the load",
            "The node's rules hold the pods' addresses and nothing about what they are doing.",
        ),
    ),
    "The node picks a pod once, when the connection opens, and every request on it goes there.",
)

NAMES = [f"hop {number}" for number in range(1, 6)]
ROWS = "the number of rows that balance", "the number of rows that route"


def _hops() -> list[dict]:
    return load("shop").trace("https://myshop.example.com/payments/process/101").to_dict()["hops"]


def _rows() -> Seen:
    hops = _hops()
    counts = sum(hop["balancer"] is not None for hop in hops), sum(hop["layer"] == "ingress" for hop in hops)
    return dict(zip(ROWS, counts, strict=True))


EXERCISES = (
    Exercise(
        "00.1",
        'order = ["dns", "cloud-lb", "kube-proxy", "ingress", "pods"]',
        parts(*NAMES),
        {
            '"The controller sends to the ClusterIP, and kube-proxy picks the pod": the controller dials the pod, '
            "and kube-proxy's turn was before it.": ["dns", "cloud-lb", "ingress", "kube-proxy", "pods"],
            '"The Ingress is the gate to the cluster": it is a rule that a pod inside reads, and the load balancer '
            "comes before that pod.": ["dns", "ingress", "cloud-lb", "kube-proxy", "pods"],
            '"The node picks first": from the internet no node has the packet yet; the load balancer picks the node.': [
                "dns",
                "kube-proxy",
                "cloud-lb",
                "ingress",
                "pods",
            ],
        },
        kind=str,
        expected=lambda: dict(zip(NAMES, [hop["layer"] for hop in _hops()], strict=True)),
    ),
    Exercise(
        "00.2",
        "balancing, routing = 3, 1",
        parts(*ROWS),
        {
            '"Only a load balancer balances": so do a node\'s rules, and the controller among the payment pods.': [
                1,
                1,
            ],
            '"An Ingress controller only routes": it finds the Service, and then picks one of its pods.': [2, 1],
            '"DNS balances": here the name has one address, so there is nothing to pick.': [4, 1],
        },
        kind=Integral,
        expected=_rows,
    ),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "Through the Ingress": {"URL": "https://myshop.example.com/payments"},
        "Through the Ingress, four pods": {"URL": "https://myshop.example.com/payments", "replicas of payment": 4},
        "/payments leads to order-service": {
            "URL": "https://myshop.example.com/payments",
            "rules of Ingress app-ingress": (
                ("myshop.example.com", "/orders", "Prefix", "order-service:80"),
                ("myshop.example.com", "/payments", "Prefix", "order-service:80"),
            ),
        },
    },
    "sandbox": {
        "Two connections to the Service": {"URL": "http://order-service", "requests per connection": 500},
        "No payment pod": {"replicas of payment": 0},
        "IPVS on six nodes": {"nodes": 6, "kube-proxy mode": "ipvs"},
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "A request fails, and nobody knows where",
        "one stop refused, dropped or answered it",
        "what the trace's last line names",
        "k8slb trace -f shop https://myshop.example.com/none",
        "default backend answers 404",
    ),
)
