"""What happens after the match? The functions that judge are the solutions; the canary is judged by the model."""

from functools import cache
from math import ceil, log
from typing import Any

from k8slb.cluster import Cluster
from k8slb.course.questions import Exercise, Option, Prediction, Seen, Unfit, function
from k8slb.front import load

PREDICTION = Prediction(
    "order-service has 3 pods and sessionAffinity: ClientIP: kube-proxy picks at random, then keeps an address at its "
    "pod. ingress-nginx has one replica, and 100 users send 1,000 requests through the Ingress. "
    "What is nearest to what the pods get?",
    (
        Option(
            "1,000, 0, 0: one address, one pod",
            "the controller sends to the ClusterIP",
            "Then kube-proxy would keep the one address it sees at one pod. But by default it is not asked.",
        ),
        Option(
            "380, 330, 290: each user keeps a pod",
            "sessionAffinity holds for users behind an Ingress",
            "The Service's affinity is a rule of kube-proxy, and these requests pass no rule of that Service.",
        ),
        Option(
            "341, 337, 322: each request by chance",
            "kube-proxy picks after the controller",
            "kube-proxy picks the controller's replica; the controller itself picks the pod, in turn.",
        ),
        Option("334, 333, 333: one after the other"),
    ),
    "ingress-nginx reads the EndpointSlices and dials the pods in turn, past the ClusterIP and its affinity.",
)

# Without annotations: these are the cells that a learner would write.


def none_of(weight, requests):
    return (1 - weight / 100) ** requests


def needed(weight, sure):
    requests = 1
    while 1 - (1 - weight / 100) ** requests < sure:
        requests += 1
    return requests


def admitted(limit, replicas, seconds):
    return replicas * (5 * limit + 1 + limit * seconds)


QUOTA = '"10% is one in ten": each request is a throw of its own, and nobody keeps count.'
ADDED = '"Chances add up": ten times 10% is not certain; all of them must miss, which multiplies.'
BELOW_NONE = (
    '"Chances add up": then the chance would be below 0 after more than ten requests at 10%. '
    "All of them must miss, which multiplies."
)
ALL = '"none is weight to the power": that is how likely all of them go there.'
WHOLE = '"10 is the chance": 10 percent is 0.1, and none can be more likely than 1.'
NOT_ALL = '"None is the contrary of all": that is at least one that misses.'
SHOWS = '"The chance that it shows": asked is the other one, that it does not.'
ONE_IN = '"After 1/weight requests it has shown": that many are only what it takes on average.'
SHARE = '"95% of one in ten": the chances to miss multiply, they do not add up.'
PART = '"It may be 28.43": requests are whole, and the 28th is not enough yet.'
LESS = '"Nearly is enough": the last request before that is still below.'
SHARED = '"The limit is one for all": replicas tell each other nothing, each counts for itself.'
ONE_LESS = '"The burst is all": the request that the rate allows at once comes on top, so five times as much and one.'
ONE_RATE = '"The burst is each replica\'s, the rate is one for all": the rate is counted by each, too.'
NO_BURST = '"A limit of 10 a second admits 10": with a burst of 5 seconds\' worth, and one, at once.'
ONE_BURST = '"The burst is one for all": each replica has its own bucket.'

NEXT = """
kind: Deployment
metadata: {name: payment-next}
spec:
  replicas: 1
  selector: {matchLabels: {app: payment-next}}
  template:
    metadata: {labels: {app: payment-next}}
    spec: {containers: [{name: payment, image: traefik/whoami:v1.11, args: ["--port=8082"]}]}
---
kind: Service
metadata: {name: payment-next}
spec: {selector: {app: payment-next}, ports: [{port: 80, targetPort: 8082}]}
"""
CANARY = """
kind: Ingress
metadata:
  name: payment-canary
  annotations:
    nginx.ingress.kubernetes.io/canary: "true"
    nginx.ingress.kubernetes.io/canary-weight: "5"
    nginx.ingress.kubernetes.io/canary-by-header: X-Canary
spec:
  ingressClassName: nginx
  rules:
  - host: myshop.example.com
    http:
      paths:
      - {path: /payments, pathType: Prefix, backend: {service: {name: payment-next, port: {number: 80}}}}
"""
MAIN = '"One Ingress can be both": canary makes the whole Ingress a canary, and without a main one it serves nothing.'
WEIGHT = '"A weight makes a canary": without canary: "true" it is a second rule for a path that an older one keeps.'
TWIN = '"A canary has rules of its own": it goes with the rule of the same host, path and pathType.'
HEADER = '"Any header is looked at": canary-by-header names the one, and only its name.'
CLASS = (
    '"One class there is, so it is meant": an Ingress without a class is served only if one is marked as the default.'
)
PERCENT = '"5% is 0.05" or "without a weight all is even": canary-weight is a whole number of percent; else it is 0.'
BACKEND = '"A name or port that nearly fits will do": the backend is a Service by its name and its own port.'
WRONG = {
    MAIN: CANARY.replace("payment-canary", "app-ingress"),
    WEIGHT: CANARY.replace('nginx.ingress.kubernetes.io/canary: "true"', 'nginx.ingress.kubernetes.io/canary: "false"'),
    TWIN: CANARY.replace("path: /payments,", "path: /,"),
    HEADER: CANARY.replace("    nginx.ingress.kubernetes.io/canary-by-header: X-Canary\n", ""),
    CLASS: CANARY.replace("  ingressClassName: nginx\n", ""),
    BACKEND: CANARY.replace("name: payment-next,", "name: payments-next,"),
    PERCENT: CANARY.replace('    nginx.ingress.kubernetes.io/canary-weight: "5"\n', ""),
}


@cache
def _payments() -> Cluster:
    return load("shop").apply(NEXT)


def _split(answer: Any) -> Seen:
    if not isinstance(answer, str):
        raise Unfit("YAML as text", answer)
    cluster, url = _payments().apply(answer), "https://myshop.example.com/payments"
    new = {pod.status.podIP for pod in cluster.pods if pod.name.startswith("payment-next")}

    def share(**headers: str) -> str:
        shares = cluster.shares(url, headers=headers or None)
        return f"{sum(float(shares[pod]) for pod in shares if pod.partition(':')[0] in new):.1%}"

    ingresses = [o for o in cluster.objects if o.kind == "Ingress"]
    marked = [i for i in ingresses if i.metadata.annotations.get("nginx.ingress.kubernetes.io/canary") == "true"]
    paths = [path for i in marked for rule in i.spec.rules if rule.http for path in rule.http.paths]
    backends = {f"{p.backend.service.name}:{p.backend.service.port.number}" for p in paths if p.backend.service}
    unserved = [i for i in ingresses if not cluster.served[i.key].controller]
    return {
        "what answers /payments": str(cluster.trace(url).status),
        "the Ingresses that are canaries": str(len(marked)),
        "the Ingresses that nobody serves": str(len(unserved)),
        "the canary's backend": ", ".join(sorted(backends)),
        "payment-next's share": share(),
        "payment-next's share with X-Canary: always": share(**{"X-Canary": "always"}),
    }


EXERCISES = (
    function(
        "10.1",
        none_of,
        [(10, 20), (50, 2), (10, 5), (1, 100)],
        {
            QUOTA: lambda w, n: 0 if w * n >= 100 else 1,
            ADDED: lambda w, n: max(0, 1 - w * n / 100),
            BELOW_NONE: lambda w, n: 1 - w / 100 * n,
            SHOWS: lambda w, n: 1 - (1 - w / 100) ** n,
            ALL: lambda w, n: (w / 100) ** n,
            NOT_ALL: lambda w, n: 1 - (w / 100) ** n,
            '"One request stands for all": this is how likely one misses it, and all have to.': lambda w, n: (
                1 - w / 100
            ),
            WHOLE: lambda w, n: (1 - w) ** n,
        },
    ),
    function(
        "10.2",
        needed,
        [(10, 0.95), (1, 0.95), (50, 0.99), (5, 0.9)],
        {
            ONE_IN: lambda w, s: ceil(100 / w),
            SHARE: lambda w, s: s * 100 / w,
            LESS: lambda w, s: int(log(1 - s) / log(1 - w / 100)),
            PART: lambda w, s: log(1 - s) / log(1 - w / 100),
        },
    ),
    function(
        "10.3",
        admitted,
        [(10, 2, 60), (2, 3, 10), (10, 1, 0), (1, 10, 30)],
        {
            SHARED: lambda r, n, t: 5 * r + 1 + r * t,
            NO_BURST: lambda r, n, t: r * n * t,
            ONE_LESS: lambda r, n, t: n * (5 * r + r * t),
            ONE_RATE: lambda r, n, t: n * (5 * r + 1) + r * t,
            ONE_BURST: lambda r, n, t: 5 * r + 1 + r * n * t,
            '"After the burst nothing passes": every second lets in as many as the limit says.': (
                lambda r, n, t: n * (5 * r + 1)
            ),
            '"One more, once": each replica admits that one more.': lambda r, n, t: n * (5 * r + r * t) + 1,
        },
    ),
    Exercise("10.4", f'canary_of_payments = """{CANARY}"""', _split, WRONG, str, expected=lambda: _split(CANARY)),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "It dials the ClusterIP": {"it dials": "the ClusterIP"},
        "A canary of 10%": {"canary-weight": 10},
        "The canary under Traefik": {"canary-weight": 10, "controller": "traefik"},
    },
    "sandbox": {
        "Header always": {"header X-Canary": "always"},
        "Header never": {"header X-Canary": "never"},
        "A limit of 10 requests a second": {
            "ingress/app-ingress": (
                "  name: app-ingress\n",
                '  name: app-ingress\n  annotations: {nginx.ingress.kubernetes.io/limit-rps: "10"}\n',
            )
        },
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "A limit lets more through than it says",
        "each replica counts for itself",
        "`limit-rps`, `replicas`",
        "k8slb incidents ingress-nginx-5959",
        "percent let through by 2 replicas",
    ),
    (
        "A canary of 10% gets 0 of 20 requests",
        "dice for each request: 12% of the time",
        "`canary-weight`",
        "k8slb send -f draw-canary.yaml http://shop.example.com -n 20",
        "exact  10.0%",
    ),
)
