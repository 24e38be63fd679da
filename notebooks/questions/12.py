"""Who balances each request? Judged by the model: the learner's pick in a mesh's place, the YAML by what it sends."""

from functools import cache
from random import Random
from typing import Any

from k8slb.cluster import Cluster
from k8slb.course.questions import Exercise, Option, Prediction, Seen, Unfit, calls, function
from k8slb.front import load

PREDICTION = Prediction(
    "order-service has 1,000 pods. A client's sidecar sends them 1,000 requests, one after the other, and none is "
    "answered yet. It picks each pod at random, or draws two at random and takes the one with fewer requests under "
    "way. How many requests has the fullest pod?",
    (
        Option(
            "at random 1 or 2, best of two 1 or 2",
            "both are alike in the long run",
            "In the long run each pod gets as many; how many it has at one moment is another thing.",
        ),
        Option(
            "at random 5 or 6, best of two 5 or 6",
            "the second draw changes little",
            "A pod that has 3 gets a fourth only if both draws find such a pod, and there are few of them.",
        ),
        Option("at random 5 or 6, best of two 3"),
        Option(
            "at random 5 or 6, best of two 1",
            "two choices find an idle pod",
            "Often both pods that were drawn have a request already: two of 1,000 are not all.",
        ),
    ),
    "To have 3, a pod must be drawn with another that has 2 or more as well; that seldom happens, and 4 hardly ever.",
)

ISTIO = "{kind: Namespace, metadata: {name: default, labels: {istio-injection: enabled}}}"
SICK = """
kind: Deployment
metadata: {name: order-sick}
spec:
  replicas: 1
  selector: {matchLabels: {app: order, sick: "yes"}}
  template:
    metadata: {labels: {app: order, sick: "yes"}, annotations: {k8slb/fail: "1"}}
    spec: {containers: [{name: order, image: "traefik/whoami:v1.11", ports: [{containerPort: 8081}]}]}
"""
ORDERS = "http://order-service"
PODS, DRAWN = 1000, (1, 2, 3)


def best_of(drawn, under_way):
    return min(drawn, key=lambda pod: under_way[pod])


EXAMPLES = [([2, 0], [1, 4, 3]), ([0, 1], [4, 1, 0]), ([2, 1, 0], [5, 2, 2])]


def _drawn(pods: int) -> list[list[int]]:
    """The pods that are drawn for each of 1,000 requests."""
    rng = Random(12)
    return [[rng.randrange(PODS) for _ in range(pods)] for _ in range(1000)]


def _sent(answer: Any) -> Seen:
    seen = calls("best_of", EXAMPLES)(answer)
    for pods in DRAWN if all(type(value) is int for value in seen.values()) else ():
        under_way = [0] * PODS
        for drawn in _drawn(pods):
            under_way[answer(drawn, under_way)] += 1
        seen[f"requests at the fullest of 1,000 pods, {pods} drawn for each"] = max(under_way)
    return seen


def _by_the_model() -> Seen:
    """1,000 requests through a sidecar that picks so, none answered."""
    cluster, seen = load("shop").apply(ISTIO).scale("order", PODS), calls("best_of", EXAMPLES)(best_of)
    for pods in DRAWN:
        under_way, draws = [0] * PODS, iter(_drawn(pods))

        def pick(peers: Any, state: dict, *_: Any, under_way: list = under_way, draws: Any = draws) -> int:
            index = best_of(next(draws), under_way)
            under_way[index] += 1
            return index

        run = cluster.with_balancer("mesh", pick).send(ORDERS)
        seen[f"requests at the fullest of 1,000 pods, {pods} drawn for each"] = max(run.counts().values())
    return seen


def attempts(tries, layers, budget):
    return min(tries, 1 + budget) ** layers


POLICY = """
kind: DestinationRule
metadata: {name: orders}
spec:
  host: order-service
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    outlierDetection: {consecutive5xxErrors: 3, maxEjectionPercent: 20}
---
kind: VirtualService
metadata: {name: orders}
spec:
  hosts: [order-service]
  http:
  - route: [{destination: {host: order-service}}]
    retries: {attempts: 1, retryOn: 5xx}
"""
UNGUARDED = {
    '"Of five pods one may always go": by default it is 10% at most, of five pods none.': POLICY.replace(
        ", maxEjectionPercent: 20", ""
    ),
    '"More may go, so it is safer": with 100% all that fail are left out, here all there are.': POLICY.replace(
        "Percent: 20", "Percent: 100"
    ),
    '"Every failure is tried again": by default a 503 is, a 500 is not; retryOn says which.': POLICY.replace(
        ", retryOn: 5xx", ""
    ),
    '"attempts are all tries": they come on top of the first.': POLICY.replace("attempts: 1", "attempts: 2"),
    '"consecutive5xxErrors may be left to the default": that is 5.': POLICY.replace("consecutive5xxErrors: 3, ", ""),
    '"The rule is for the pods": none has the Service, which clients ask for, as its host.': POLICY.replace(
        "host: order-service\n", "host: order\n"
    ),
    '"Round robin is the default": in Istio it is LEAST_REQUEST.': POLICY.replace(
        "    loadBalancer: {simple: ROUND_ROBIN}\n", ""
    ),
}


@cache
def _ill(healthy: int) -> Cluster:
    sick = load("shop").apply(ISTIO).apply(SICK)
    return sick.scale("order", healthy).scale("order-sick", 5 - healthy)


def _sent_by(answer: Any) -> Seen:
    if not isinstance(answer, str):
        raise Unfit("YAML as text", answer)
    one, all_fail = (_ill(healthy).apply(answer) for healthy in (4, 0))
    picks = next(hop.decision for hop in one.trace(ORDERS).hops if hop.decision.layer == "mesh").balancer
    run, worst = one.send(ORDERS, connections=1), all_fail.send(ORDERS, connections=1)
    tries = {n: sum(int(t) * c for t, c in r.counts("tries").items()) or 1000 for n, r in enumerate((run, worst))}
    return {
        "who picks": str(picks),
        "answered 500 of 1,000": str(run.counts("status").get("500", 0)),
        "retries of these": str(tries[0] - 1000),
        "tries of a request where all five fail": f"{tries[1] / 1000:g}",
        "pods left out where all five fail": str(sum(n < 100 for n in worst.counts().values())),
    }


EXERCISES = (
    Exercise(
        "12.1",
        best_of,
        _sent,
        {
            '"Any of those drawn will do": then a second draw changes nothing.': lambda drawn, under_way: drawn[0],
            '"The best is the fullest": it is the one with the fewest.': lambda d, u: max(d, key=lambda pod: u[pod]),
            '"The lowest number is the best": that is the name of a pod, not its load.': lambda d, u: min(d),
            '"All pods are looked at": only those that were drawn.': lambda d, u: u.index(min(u)),
            '"The answer is how many it has": it is which pod.': lambda d, u: min(u[pod] for pod in d),
        },
        expected=_by_the_model,
    ),
    function(
        "12.2",
        attempts,
        [(3, 3, 9), (3, 3, 0.2), (2, 5, 0.5), (4, 2, 3)],
        {
            '"Tries add up": each layer tries what reaches it, so they multiply.': lambda t, n, b: min(t, 1 + b) * n,
            '"Tries come on top": they are all there are, the first one too.': lambda t, n, b: min(t + 1, 1 + b) ** n,
            '"A budget is a wish": it is what a layer may spend.': lambda t, n, b: t**n,
            '"There is one budget for all layers": each has its own.': lambda t, n, b: min(t**n, 1 + b),
            '"A budget is of the tries": of the requests that came, whatever they have become.': (
                lambda t, n, b: min(t, 1 + b * t) ** n
            ),
            '"The greater one holds": a layer stops at whichever comes first.': lambda t, n, b: max(t, 1 + b) ** n,
            '"The budget counts all tries": only those after the first.': lambda t, n, b: min(t, b) ** n,
        },
    ),
    Exercise("12.3", f'policy = """{POLICY}"""', _sent_by, UNGUARDED, str, expected=lambda: _sent_by(POLICY)),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "At random": {"who picks": "sidecar, at random"},
        "kube-proxy": {"who picks": "kube-proxy"},
        "One of five pods answers 503 at once": {"replicas of order": 4, "replicas of order-sick": 1},
    },
    "sandbox": {
        "One pod may be left out": {
            "destinationrule/orders": (
                "      consecutive5xxErrors: 5\n",
                "      consecutive5xxErrors: 5\n      maxEjectionPercent: 20\n",
            )
        },
        "50 clients, one pod may be left out": {
            "clients": 50,
            "destinationrule/orders": (
                "      consecutive5xxErrors: 5\n",
                "      consecutive5xxErrors: 5\n      maxEjectionPercent: 20\n",
            ),
        },
        "Two retries": {"virtualservice/orders": ("attempts: 0", "attempts: 2")},
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "The pod that fails gets most requests",
        "it fails fast and looks idle",
        "`outlierDetection`",
        "istioctl proxy-config endpoints POD",
        "",
    ),
    (
        "A slow pod gets as much as a fast one",
        "taking turns does not look at latency",
        "`loadBalancer.simple`",
        "k8slb incidents linkerd2-5017",
        "percent at the fast pod",
    ),
)
