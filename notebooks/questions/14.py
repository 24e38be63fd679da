"""What broke? Judged by the model: clusters with a hidden fault, what a repair gives, experiments on statements."""

import ast
import json
from collections.abc import Callable, Mapping
from functools import cache
from numbers import Integral
from random import Random
from typing import Any

import k8slb
from k8slb.cluster import Cluster
from k8slb.course.lab import stored
from k8slb.course.questions import Exercise, Option, Prediction, Seen, Unfit, Verdict
from k8slb.errors import InputError, shown
from k8slb.front import load
from k8slb.incidents import incident

PREDICTION = Prediction(
    "kubernetes 78685: kube-proxy in iptables mode, a Service with a selector and a port and no other field, two pods. "
    "Somebody sends 1,000 requests, one after the other, and counts 1,000 at the first pod and 0 at the second. "
    "Take both pods to be ready. What is the cause?",
    (
        Option(
            "chance: random picks are uneven",
            "random is never even",
            "With a pick for each request, 1,000 and 0 has a probability with 300 zeros after the point.",
        ),
        Option(
            "iptables tries the first pod's rule first",
            "the order of the rules is an order of the pods",
            "The first rule of two is skipped with probability 1/2, so both pods get the same.",
        ),
        Option(
            "the Service keeps each client at its pod",
            "a Service is sticky by default",
            "It does that with sessionAffinity: ClientIP, and where nothing is said it is None.",
        ),
        Option("all requests went over one connection"),
    ),
    "The pod is picked for a connection, and every request on it follows. The thread does not say that the client kept "
    "its connection; it is what its counts and its YAML leave.",
)

SETTINGS = {
    "guess": {
        "one connection": {"connections": 1},
        "ClientIP": {"sessionAffinity of app": "ClientIP"},
        "one pod not ready": {"pods of app not ready": 1},
    },
    "sandbox": {
        "one connection": {"connections": 1},
        "ClientIP, ten clients": {"sessionAffinity of app": "ClientIP", "clients": 10},
        "Local, IPVS": {"internalTrafficPolicy of app": "Local", "kube-proxy mode": "ipvs"},
    },
}

# --- clusters with a hidden cause: to each of them one client on node-a sends four requests, and app-1 gets all ---

SERVICE = "{kind: Service, metadata: {name: app}, spec: {%s}}"
POD = """
kind: Pod
metadata: {name: app-%d, labels: {app: app}, ownerReferences: [{kind: Deployment, name: app}]}
spec: {nodeName: node-%s, containers: [{name: app, ports: [{containerPort: 8080}]}]}
status: {podIP: 10.0.0.%d, conditions: [{type: Ready, status: "%s"}]}
"""
FAULTS = {  # the cause: what is applied
    "chance": "",
    "one connection": "",
    "ClientIP": SERVICE % "sessionAffinity: ClientIP",
    "not ready": "---".join(POD % pod for pod in ((1, "a", 5, "True"), (2, "b", 6, "False"))),
    "Local": SERVICE % "internalTrafficPolicy: Local",
}
SECRET = dict(zip("ABCDE", Random("incident 14").sample(list(FAULTS), 5), strict=True))


@cache
def _faulty(cause: str) -> Cluster:
    cluster = incident("kubernetes-78685").cluster.with_nodes(2)
    return cluster.apply(FAULTS[cause]) if FAULTS[cause] else cluster


def _sent(cause: str, requests: int, seed: int, clients: int, connections: int | None, via: str) -> Mapping[str, int]:
    held = clients if cause == "one connection" else requests
    run = _faulty(cause).send(
        "http://app", requests, connections=connections or held, clients=clients, via=via, seed=seed
    )
    return {"app-1": 0, "app-2": 0} | {run.name_of(pod): n for pod, n in run.counts().items()}


@cache
def _first(cause: str) -> int:
    """The first seed with which app-1 gets all four."""
    return next(seed for seed in range(99) if _sent(cause, 4, seed, 1, None, "node-a")["app-1"] == 4)


def traffic(name: str, requests: int = 4, clients: int = 1, connections: int | None = None, via="node-a", seed=0):
    """What app-1 (on node-a) and app-2 (on node-b) of cluster A, B, C, D or E get of so many requests.

    `connections`: so many are opened (where it is not said, the client does as it likes); `via`: the clients' node;
    `seed`: another throw of the dice.
    """
    if name not in (*SECRET,):
        raise InputError(f"there is no cluster {shown(name)}", expected="one of " + ", ".join(SECRET))
    return _sent(SECRET[name], requests, _first(SECRET[name]) + seed, clients, connections, via)


DOUBTS = {  # a cause that was named for a cluster: what to ask it, as the answer would be another
    "chance": "By chance app-2 gets about half of 1,000: ask {} for so many.",
    "one connection": (
        "A client with one connection has its 1,000 requests at one pod, and over 1,000 connections at both: "
        "ask {} for each."
    ),
    "ClientIP": (
        "With ClientIP one client stays at its pod over 1,000 connections, and ten clients come to both pods: "
        "ask {} for each."
    ),
    "not ready": "A pod that is not ready gets nothing, whoever asks: ask {} with ten clients, here and on node-b.",
    "Local": "With Local ten clients on node-a come to app-1 alone, and ten on node-b to app-2 alone: ask {} for each.",
}


def _given(what: str, names: Mapping[str, str]) -> Callable[[Any], Seen]:
    def observe(answer: Any) -> Seen:
        if not isinstance(answer, dict) or not set(answer) <= {*names}:
            raise Unfit(f"{what} for each of {', '.join(names)}", answer)
        given = {name: answer.get(name) for name in names}
        return {name: one.lower() if isinstance(one, str) and len(one) == 1 else one for name, one in given.items()}

    return observe


# --- the cards: symptom, the cause, and what else people believe ---

CARDS = {
    "kubernetes-121371": (
        "A Service has one pod, ready, on node-a. A client on node-a gets an answer. One on node-b never "
        "gets one, and gives up after 129 s.",
        "only a pod on the client's own node may answer",
        {
            "the rules of node-b are late": "They come after a second or two, and this stays.",
            "the answer is lost on its way back": "The packet gets nowhere: the trace ends in the rules of node-b.",
            "the Service has no endpoint": "Then the answer would be a refusal, and at once.",
        },
    ),
    "ingress-nginx-3931": (
        "An Ingress has the path /something/?(.*) and rewrite-target /$1. /something/new comes to the pod as /new; "
        "and /somethingelse, which nobody meant, as /else.",
        "the expression also fits where no slash follows",
        {
            "rewrite-target cuts off the rule's path": "It is the whole new path, made of what the groups capture.",
            "Prefix is open at its end": "A Prefix compares whole parts, and this path is no Prefix.",
            "a default backend took it": "It came to the pod of the rule, so the rule did.",
        },
    ),
    "traefik-8787": (
        "Traefik 2.6.1, a round robin over equal pods. One of them gets 80% of the requests, at times when other "
        "Ingresses of the cluster change often.",
        "each change makes the round robin begin anew",
        {
            "clients keep their connection": "Traefik picks for each request, whatever connection it came on.",
            "that pod answers faster": "A round robin does not look at that.",
            "the pods have different weights": "The list gave them none.",
        },
    ),
    "metrics-server-763": (
        "The load of a Deployment becomes five times as much at once; its autoscaler's target is 75% of the CPU. It "
        "takes six rounds until there are five times as many pods.",
        "pods that are full do not show how much more there is",
        {
            "it may at most double each time": "It may, and that would be three rounds.",
            "it waits for five minutes of stable load": "That is for scaling down.",
            "the new pods do not count yet": "Each round asks for a third more than the last, so they do.",
        },
    ),
    "kubernetes-97112": (
        "A node is shut down. For 40 s its pods stay in the EndpointSlice, and a part of the requests gets no answer.",
        "who would report the pods went down with them",
        {
            "the readiness probe fails three times first": "The kubelet of that node runs it, and is gone, too.",
            "kube-proxy is slow to write its rules": "It needs a second or so once the EndpointSlice changes.",
            "the pods wait until Kubernetes removes them (eviction)": (
                "That comes 300 s later, and they are out of the Service before."
            ),
        },
    ),
}
LETTERS = {name: dict(zip("abcd", sorted([right, *wrong]), strict=True)) for name, (_, right, wrong) in CARDS.items()}
CAUSES = {name: next(k for k, text in LETTERS[name].items() if text == CARDS[name][1]) for name in CARDS}


def card(name: str) -> str:
    """The symptom of an incident, and what it may be."""
    return "\n".join([f"{name}: {CARDS[name][0]}", *(f"  {k}) {text}" for k, text in LETTERS[name].items())])


# --- statements of the explanation with which the course begins: which are not true as they stand? ---

CHOSEN = (12, 14, 15, 16, 20, 21, 26, 31, 36, 37, 39, 66, 70, 72, 101, 102)
_ALL = {s["id"]: s for s in json.loads((stored() / "statements.json").read_text(encoding="utf-8"))}
STATEMENTS = {number: _ALL[f"S{id:02}"] for number, id in enumerate(CHOSEN, 1)}
WRONG = [number for number, statement in STATEMENTS.items() if statement["verdict"] != "right"]


def statements() -> str:
    """The statements by number, in the order of the explanation."""
    return "\n".join(f"{number:>2} {statement['says']}" for number, statement in STATEMENTS.items())


def experiment(number: int) -> str:
    """The experiment on a statement: its code, what it prints now, and what that means."""
    if number not in STATEMENTS:
        raise InputError(f"there is no statement {shown(number)}", expected=f"1 to {len(STATEMENTS)}")
    said, out = STATEMENTS[number], []
    names = {"k8slb": k8slb, "shop": load("shop"), "source_text": load("source-text")}
    names["print"] = lambda *given: out.append(" ".join(map(str, given)))
    lines = ast.parse(said["experiment"])
    if isinstance(lines.body[-1], ast.Expr):  # a value on the last line is printed, as in a notebook
        lines = ast.parse(said["experiment"] + "\nprint(_)")
        lines.body[-2] = ast.Assign([ast.Name("_", ast.Store())], lines.body[-2].value)
    exec(compile(ast.fix_missing_locations(lines), f"<statement {number}>", "exec"), names)
    told = "\n".join(line for line in out if line != "None")
    judged = f"{said['verdict'].capitalize()}. {said['why']}"
    return f"{number} {said['says']}\n\n{said['experiment']}\n>>> {told}\n\n{judged}"


class Game(Exercise):
    """Says how many are found, and only of the first that is right after all, else of the first that is missed, why."""

    def verdict(self, seen: Seen) -> Verdict:
        given = [number for number, called in zip(STATEMENTS, seen.values(), strict=False) if called]
        missed = next((n for n in (*given, *WRONG) if (n in WRONG) != (n in given)), None)
        if missed is None or not given:
            return Verdict(True if given else None)
        extra = len(given) - (found := len({*given} & {*WRONG}))
        told = f"{found} of {len(WRONG)} found, {extra} too many. For one, see experiment({missed}): {_why(missed)}"
        return Verdict(False, told)


def _why(number: int) -> str:
    said = STATEMENTS[number]
    return f'"{said["says"].rstrip(".")}": {"it is so. " * (said["verdict"] == "right")}{said["why"]}'


def _called(answer: Any) -> Seen:
    if isinstance(answer, (set, frozenset)):
        answer = list(answer)
    if not isinstance(answer, (list, tuple)) or not all(type(n) is int and n in STATEMENTS for n in answer):
        raise Unfit(f"a list of numbers from 1 to {len(STATEMENTS)}", answer)
    return {f"statement {number}": int(number in answer) for number in STATEMENTS}


# --- tickets: a shop with four faults ---

BROKEN = """
kind: Service
metadata: {name: order-service}
spec: {internalTrafficPolicy: Local}
---
kind: Service
metadata: {name: payment-service}
spec: {ports: [{port: 80, targetPort: 8081}]}
---
kind: Ingress
metadata: {name: app-ingress, annotations: {nginx.ingress.kubernetes.io/rewrite-target: /}}
---
kind: Deployment
metadata: {name: order}
spec: {replicas: 2}
"""
REPAIR = """
kind: Service
metadata: {name: order-service}
spec: {internalTrafficPolicy: Cluster}
---
kind: Service
metadata: {name: payment-service}
spec: {ports: [{port: 80, targetPort: http}]}
---
kind: Ingress
metadata: {name: app-ingress, annotations: {nginx.ingress.kubernetes.io/rewrite-target: null}}
---
kind: Deployment
metadata: {name: order}
spec:
  template:
    spec:
      containers:
      - name: order
        image: traefik/whoami:v1.10
        args: ["--port=8081"]
        ports: [{name: http, containerPort: 8081}]
        readinessProbe: {httpGet: {path: /health, port: http}}
        lifecycle: {preStop: {sleep: {seconds: 5}}}
"""
SHOP, ORDERS = "https://myshop.example.com", "http://order-service"
broken = cache(lambda: load("shop").apply(BROKEN))


def _repaired(answer: Any) -> Seen:
    if not isinstance(answer, str):
        raise Unfit("YAML as text", answer)
    shop = broken().apply(answer)
    seen: Seen = {}
    for path in ("/orders/7", "/payments/7"):
        got = shop.trace(SHOP + path).to_dict()
        seen[f"the status of {path}"] = str(got["status"])
        seen[f"what the pod receives for {path}"] = (got["forwarded"] or {}).get("path", "nothing")
    for node in shop.nodes:
        got = shop.trace(ORDERS, via=node.name).to_dict()
        seen[f"the status of order-service from {node.name}"] = str(got["status"] or got["action"])
    template = next(o for o in shop.objects if o.kind == "Deployment" and o.name == "order").spec.template
    seen["containers of order without an image"] = str(sum(not c.image for c in template.spec.containers))
    update = shop.rollout("order", propagation=3)
    lost = {node.name: update.lost(ORDERS, via=node.name) for node in shop.nodes}
    return seen | {f"how many of 100 a second a rollout loses from {node}": f"{n:g}" for node, n in lost.items()}


def _without(part: str, other: str) -> str:
    assert part in REPAIR
    return REPAIR.replace(part, other)


EXERCISES = (
    Exercise(
        "14.1",
        f"causes = {json.dumps(SECRET)}",
        _given("a cause", SECRET),
        {
            f'"{said}": {doubt.format(name)}': SECRET | {name: said}
            for said, doubt in DOUBTS.items()
            for name, cause in SECRET.items()
            if cause != said
        },
        kind=str,
        expected=lambda: _given("a cause", SECRET)(SECRET),
    ),
    Exercise(
        "14.2",
        "named = {\n" + "".join(f'    "{name}": "{letter}",\n' for name, letter in CAUSES.items()) + "}",
        _given("a letter", CAUSES),
        {
            f'"{text}": {CARDS[name][2][text]}': CAUSES | {name: letter}
            for name, letters in LETTERS.items()
            for letter, text in letters.items()
            if letter != CAUSES[name]
        },
        kind=str,
        expected=lambda: _given("a letter", CAUSES)(CAUSES),
    ),
    Game(
        "14.3",
        f"wrong = {WRONG}",
        _called,
        {_why(number): [n for n in (*WRONG, number) if n != number or n not in WRONG] for number in STATEMENTS},
        kind=Integral,
        expected=lambda: _called(WRONG),
    ),
    Exercise(
        "14.4",
        f'repair = """{REPAIR}"""',
        _repaired,
        {
            '"rewrite-target / takes nothing away": it is the whole new path, and no group captures the rest.': (
                _without("rewrite-target: null", "rewrite-target: /")
            ),
            '"targetPort is the port of the Service": it is the port that the pod listens on.': (
                _without("targetPort: http", "targetPort: 80")
            ),
            '"Local prefers the own node": it allows no other.': _without("Policy: Cluster", "Policy: Local"),
            '"New pods that are ready are enough": an old pod stops before every node knows that it goes.': (
                _without("        lifecycle: {preStop: {sleep: {seconds: 5}}}\n", "")
            ),
            '"A list is merged": it replaces the whole list, so what the container had has to be written again.': (
                _without("        image: traefik/whoami:v1.10\n", "")
            ),
            '"A second is enough": the sleep has to last until the last node has new rules.': (
                _without("seconds: 5", "seconds: 1")
            ),
        },
        kind=str,
        expected=lambda: _repaired(REPAIR),
    ),
)
