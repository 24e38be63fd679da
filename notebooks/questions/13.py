"""Who notices a dead pod, and how fast? Judged by the model: dead pods' shares, a rollout, the autoscaler's loop."""

from itertools import pairwise
from math import ceil
from typing import Any

from k8slb.changes.lives import pre_stop_of, readiness
from k8slb.course.questions import Exercise, Option, Prediction, Seen, Unfit, calls, function
from k8slb.front import load
from k8slb.kubectl import find
from k8slb.objects import Workload

PREDICTION = Prediction(
    "order runs in 4 pods and gets 100 requests a second, each on a new connection. The process of one pod crashes; "
    "2 seconds later the rules of every node leave it out. How many requests fail?",
    (
        Option(
            "none",
            "kube-proxy health-checks the pods",
            "It asks no pod anything: it writes rules from the EndpointSlice, and the kernel follows them.",
        ),
        Option(
            "1 or 2",
            "recovery is instant: the first failure tells the node",
            "A refused connection is an answer to the client alone. The rules stay as they are until they are written.",
        ),
        Option("about 50"),
        Option("about 200", "a Service fails as a whole", "Three of four connections go to pods that live."),
    ),
    "A quarter of 100 a second goes to the dead pod, for 2 seconds.",
)

ORDERS, LATE, WORK = "http://order-service", {"node": 2, "node-c": 7}, 28.0
DEAD = [(100, 4, 1, 2), (60, 3, 2, 5), (90, 6, 3, 0), (200, 5, 1, 10)]
LOADS = [(100, 375, 0.75), (3, 9, 0.5), (20, 16, 0.75), (50, 10, 0.5), (10, 8.5, 0.75)]
DEPLOYMENT = """
kind: Deployment
metadata: {name: order}
spec:
  template:
    spec:
      terminationGracePeriodSeconds: %d
      containers:
      - name: order
        image: traefik/whoami:v1.10
        args: ["--port=8081"]
        ports: [{name: http, containerPort: 8081}]
        readinessProbe: {httpGet: {path: /health, port: http}}
        lifecycle: {preStop: {sleep: {seconds: %d}}}
"""
RIGHT = DEPLOYMENT % (35, 7)
ALONE = RIGHT.replace("        readinessProbe: {httpGet: {path: /health, port: http}}\n", "")


def errors(rate, pods, dead, delay):
    return rate * dead / pods * delay


def rounds(replicas, load, target):
    count = 0
    while True:
        used = min(1, load / replicas)
        if abs(used / target - 1) <= 0.1:
            return count
        replicas = ceil(replicas * used / target)
        count += 1


def _apart(replicas: int, load_: float, target: float) -> int:
    """As a learner writes it who compares the difference, not the quotient, with 0.1."""
    used = min(1, load_ / replicas)
    return 0 if abs(used - target) <= 0.1 else 1 + _apart(ceil(replicas * used / target), load_, target)


def _errors(rate: int, pods: int, dead: int, delay: int) -> float:
    shop = load("shop").scale("order", pods)
    for i in range(dead):
        shop = shop.with_pods(f"order-{i + 1}", down="refuses")
    return rate * delay * float(1 - sum(shop.shares(ORDERS).values()))


def _rounds(replicas: int, load_: float, target: float) -> int:
    given = {"capacity": 1, "target": round(100 * target), "max_replicas": 2000, "starts_in": 0, "metrics_lag": 0}
    syncs = load("shop").scale("order", replicas).autoscale("order", {0: load_}, **given).syncs
    return sum(sync.becomes != sync.replicas for sync in syncs)


def _after(answer: Any) -> Seen:
    if not isinstance(answer, str):
        raise Unfit("YAML as text", answer)
    shop = load("shop").scale("order", 4).apply(answer)
    spec = find("order", shop.of(Workload), "Deployment").spec.template.spec
    change = shop.rollout("order", propagation=LATE, finishes_in=WORK)
    lost = {f"how many of 100 a second are lost from {n.name}": change.lost(ORDERS, via=n.name) for n in shop.nodes}
    steps = next(life.steps for life in change.lives if len(life.steps) > 2)
    has = sum(end - begin for (begin, state), (end, _) in pairwise(steps) if state == "stopping")
    probed = {"how many seconds pass until a new pod is ready": readiness(spec, 2.0)}
    cut = {"how many of those 28 seconds a pod does not get": max(0.0, WORK - has)}
    return lost | cut | {"how many seconds preStop takes": pre_stop_of(spec)} | probed


EXERCISES = (
    function(
        "13.1",
        errors,
        DEAD,
        {
            '"kube-proxy checks the pods": it hears of them, and until then connections go there.': lambda *given: 0,
            '"All fail": only what is sent to the dead pods does.': lambda rate, pods, dead, delay: rate * delay,
            '"One fails": as many as are dead.': lambda rate, pods, dead, delay: rate / pods * delay,
            '"For a second": for as long as the rules are old.': lambda rate, pods, dead, delay: rate * dead / pods,
            '"The dead against the living": the rules pick among all of them.': lambda r, p, dead, delay: (
                r * dead / (p - dead) * delay
            ),
        },
        expected=lambda: calls("errors", DEAD)(_errors),
    ),
    Exercise(
        "13.2",
        f'graceful = """{RIGHT}"""',
        _after,
        {
            '"The usual delay is what counts": the slowest node still sends.': DEPLOYMENT % (35, 2),
            '"30 seconds are enough": the grace period holds preStop, too.': DEPLOYMENT % (30, 7),
            '"The grace period begins after preStop": it counts from the deletion.': DEPLOYMENT % (28, 7),
            '"The longer the better": each rollout waits for it, pod after pod.': DEPLOYMENT % (58, 30),
            '"What is not written stays": here a list replaces the whole list.': ALONE,
        },
        expected=lambda: _after(RIGHT),
    ),
    function(
        "13.3",
        rounds,
        LOADS,
        {
            '"The autoscaler sees the load": it sees what pods use, and they cannot use more than all.': (
                lambda replicas, load, target: int(abs(load / replicas / target - 1) > 0.1)
            ),
            '"One pod a round": it takes as many as the formula wants.': (
                lambda replicas, load, target: abs(ceil(load / target) - replicas)
            ),
            '"0.1 apart": it is the quotient used / target that has to be within 0.1 of 1.': _apart,
            '"The load for each pod": that says how much is asked of it, not how often their number changes.': (
                lambda replicas, load, target: load / replicas
            ),
            '"The last look counts": it finds the number right.': lambda *given: rounds(*given) + 1,
            '"Any difference counts": within 10% nothing is done.': lambda *given: max(1, rounds(*given)),
        },
        imports="from math import ceil",
        expected=lambda: calls("rounds", LOADS)(_rounds),
    ),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "Three seconds until the rules are new": {"propagation delay, seconds": 3},
        "A rollout, one pod more": {"what happens": "rollout, one pod more", "propagation delay, seconds": 2},
        "The rollout with a preStop of 2 seconds": {
            "what happens": "rollout, one pod more",
            "propagation delay, seconds": 2,
            "preStop, seconds": 2,
        },
    },
    "sandbox": {
        "A rollout, one pod fewer": {"what happens": "rollout, one pod fewer"},
        "A rollout, preStop 2 seconds": {"what happens": "rollout, one pod more", "preStop, seconds": 2},
        "A preStop shorter than the delay": {
            "what happens": "rollout, one pod more",
            "preStop, seconds": 2,
            "propagation delay, seconds": 5,
        },
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "Requests are lost at each rollout",
        "a pod stops before all rules are new",
        "`preStop.sleep.seconds`",
        "k8slb incidents kubernetes-43576",
        "least seconds of preStop that lose nothing",
    ),
    (
        "Does a rollout lose any?",
        "preStop shorter than the slowest node",
        "`preStop`",
        "k8slb test -f shop cases.yaml",
        "a rollout loses nothing",
    ),
)
