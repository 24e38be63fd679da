"""What is yours doing? Counts to name, a mystery shop to probe, a race of ways to pick; all judged by the model."""

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from k8slb import theory
from k8slb.answers.fingerprint import fingerprint
from k8slb.balancers import balancer
from k8slb.balancers.base import Key, Peer, connections
from k8slb.course.bounded import bounded
from k8slb.course.questions import Exercise, Option, Prediction, Seen, Unfit, Verdict, empty
from k8slb.errors import InputError, K8slbError, shown, whole
from k8slb.front import Cluster, load
from k8slb.incidents import incident
from k8slb.outcome import Outcome
from k8slb.queues import in_turn
from k8slb.show.picture import Picture

PREDICTION = Prediction(
    "traefik 10303: 10,000 requests to 15 pods that are alike. kube-proxy picks at random for each new connection. The "
    "busiest pod gets 1,517, the quietest 141, none is left out. About how many connections carry the 10,000?",
    (
        Option(
            "10,000: chance is that uneven",
            "every request picks anew, and random is uneven",
            "With 10,000 picks the busiest pod gets about 715, not 1,517.",
        ),
        Option("1,000", "ten requests a connection do no harm", "Then the busiest pod gets about 810, at most 900."),
        Option("36"),
        Option(
            "15: one for each pod", "so many connections reach every pod", "15 random picks leave about 5 with none."
        ),
    ),
    "Divide 10,000 requests by how much more uneven they are than chance, 279 times: about 36 picks were made.",
)
SETTINGS = {
    "guess": {f"{n:,} connections": {"connections": n} for n in (1_000, 36, 15)},
    "sandbox": {
        "sidecars, ten connections": {"proxies": "sidecars", "requests per connection": 100},
        "ten connections that stay": {"requests per connection": 100},
        "one user, and affinity": {"clients": 1, "sessionAffinity of order-service": "ClientIP"},
    },
}

# --- the learner's own ---


def yours(folder: str = "my") -> tuple[Cluster, str]:
    """The cluster in the folder beside the notebook, else the bundled shop; and the address of one of its Services."""
    there = Path(folder).is_dir()
    print(f"read from {folder}/" if there else f"There is no folder {folder}/ here yet. This is the bundled shop.")
    cluster = load(Path(folder) if there else "shop")
    services = sorted(cluster.services.values(), key=lambda s: (s.namespace == "kube-system", not s.spec.selector))
    found = [(service, port) for service in services for port in service.spec.ports if port.protocol == "TCP"]
    if not found:
        raise InputError("no Service here has a TCP port", expected="kubectl get services -o yaml")
    service, port = found[0]
    return cluster, f"http://{service.name}.{service.namespace}:{port.port}"


# --- counts to name ---------------------------------------------------------------------------------------------------

LOCAL = "{kind: Service, metadata: {name: order-service}, spec: {type: LoadBalancer, externalTrafficPolicy: Local}}"


def _reported(what: str) -> str:
    """What traefik 10303 reports, as `sort | uniq -c` prints it."""
    said = dict(incident("traefik-10303").said)[what]
    return "\n".join(f"{count:>7} app-{n}" for n, count in enumerate(said, 1))


def _counted(cluster: Cluster, url: str, **asked: Any) -> str:
    """What came of 3,000 requests, a pod and its node a line, as a table."""
    run = cluster.send(url, 3_000, **asked)
    rows = [
        (run.name_of(pod), cluster.pod_at[pod.rpartition(":")[0]].spec.nodeName, n) for pod, n in run.counts().items()
    ]
    return "\n".join(f"{name:<9} {node:<7} {n:>8}" for name, node, n in [("NAME", "NODE", "REQUESTS"), *rows])


def counts() -> dict[str, str]:
    """Four counts: A and B were measured (traefik 10303), C and D are the model's, of pods whose nodes are known."""
    shop = load("shop").scale("order", 4).apply(LOCAL)
    return {
        "A": _reported("requests per pod, sent to the Service itself"),
        "B": _reported("requests per pod, through Traefik"),
        "C": _counted(shop, "http://203.0.113.11", clients=3_000, seed=15),
        "D": _counted(shop, "http://order-service", connections=20, seed=15),
    }


def _named(answer: Any) -> Seen:
    if not isinstance(answer, dict) or not set(answer) <= set("ABCD"):
        raise Unfit("the name of a way for each of A, B, C and D", answer)
    return {f"counts {name}": answer.get(name) for name in "ABCD"}


WAYS = {"A": "random", "B": "counters", "C": "split", "D": "pinned"}


def _by_fingerprint() -> Seen:
    """The first way that the counts fit."""
    return _named(
        {name: next(m.name for m in fingerprint(text).mechanisms if m.fits) for name, text in counts().items()}
    )


# --- a shop to probe --------------------------------------------------------------------------------------------------

FIELDS = {
    "replicas": tuple("34567"),
    "mode": ("iptables", "nftables", "ipvs rr", "ipvs sh"),
    "affinity": ("None", "ClientIP"),
    "ingress dials": ("pods", "Service"),
}


def _secret(number: int) -> dict[str, str]:
    """What is hidden in a mystery. Turns at a Service look like a controller's own, so rr comes with ClientIP; under a
    hash of the address an affinity leaves no trace, so sh comes without."""
    rng = Random(f"15 mystery {number} c")
    found = {field: rng.choice(values) for field, values in FIELDS.items()}
    return found | {"affinity": {"ipvs rr": "ClientIP", "ipvs sh": "None"}.get(found["mode"], found["affinity"])}


class mystery:
    """The shop on one node, with settings that nobody tells. `mystery(7)` is another one than `mystery()`.

    unknown.ask(url, requests=12, clients=1, seed=0) opens a new connection for each request, one after the other, and
    gives a sign for each: the number of the order pod that answered, R: refused, T: timed out.
    """

    def __init__(self, number: int = 0):
        hidden = _secret(whole(number, "the number of a mystery", 0, 999_999))
        how = dict(zip(("mode", "scheduler"), hidden["mode"].split(), strict=False))
        shop = load("shop").with_nodes(1).with_proxy(**how).scale("order", int(hidden["replicas"]))
        upstream = str(hidden["ingress dials"] == "Service").lower()
        more = f'{{nginx.ingress.kubernetes.io/service-upstream: "{upstream}"}}'
        self.__shop = shop.apply(f"""
{{kind: Service, metadata: {{name: order-service}}, spec: {{sessionAffinity: {hidden["affinity"]}}}}}
---
{{kind: Ingress, metadata: {{name: app-ingress, annotations: {more}}}}}""")

    def ask(self, url: str = "http://order-service", requests: int = 12, clients: int = 1, seed: int = 0) -> str:
        run = self.__shop.send(url, requests, clients=clients, seed=seed)
        rows = run.table.reindex(columns=["pod", "lost"]).astype(object).itertuples(index=False)
        signs = (run.name_of(p)[-1] if isinstance(p, str) else {"reject": "R"}.get(lost, "T") for p, lost in rows)
        return "".join(signs)


def _inferred(answer: Any) -> Seen:
    if not isinstance(answer, dict) or not set(answer) <= {"number", *FIELDS}:
        raise Unfit("a value for each of number, " + ", ".join(FIELDS), answer)
    number = whole(answer.get("number", 0), "the number of a mystery", 0, 999_999)
    given = {field: answer.get(field) for field in FIELDS}
    given |= {"affinity": "None"} if answer.get("affinity", ...) is None else {}
    given = {field: str(value) if type(value) is int else value for field, value in given.items()}
    return {f"mystery {number}: {field}": value for field, value in given.items()}


def _mistaken(number: int) -> dict[str, dict]:
    """The wrong answers of a mystery, by what is believed."""
    hidden, found = _secret(number), {}
    mode, affinity, dials = (hidden[field] for field in ("mode", "affinity", "ingress dials"))
    if mode in FIELDS["mode"][:2]:
        other = {"mode": FIELDS["mode"][mode == "iptables"]}
        found[
            '"Random picks are iptables": nftables throws the same dice; ask for a port the Service does not have.'
        ] = other
    else:
        found['"What looks random is random": another seed throws other dice, and changes nothing here.'] = {
            "mode": "iptables"
        }
    if mode == "ipvs sh":
        told = '"A client that stays has affinity": a hash of its address does that without any memory.'
        found[told] = {"affinity": "ClientIP"}
    elif affinity == "ClientIP":
        found['"Many pods answer, so nobody stays": ask with one client.'] = {"affinity": "None"}
    told = (
        '"All traffic passes the Service": if the controller dials it, kube-proxy sees the controller\'s address alone.'
    )
    if dials == "Service":
        told = '"Controllers dial pods": most do by default, and one can be told to dial the Service.'
    found[told] = {"ingress dials": {"pods": "Service", "Service": "pods"}[dials]}
    found['"A pod that never answers me is not there": other clients may come to other pods.'] = {"replicas": 1}
    return {why: {"number": number} | hidden | wrong for why, wrong in found.items()}


@cache
def _mystery(number: int) -> Exercise:
    answer = {"number": number} | _secret(number)
    return Exercise(
        "15.2", f"found = {answer!r}".replace("'", '"'), _inferred, _mistaken(number), str, lambda: _inferred(answer)
    )


@dataclass(frozen=True)
class AnyMystery(Exercise):
    """Judged by the mystery whose number the answer gives."""

    def verdict(self, seen: Seen) -> Verdict:
        number = int(next(iter(seen), "mystery 0:").partition(":")[0].split()[1])
        return _mystery(number).verdict(seen)


# --- a race of ways to pick -------------------------------------------------------------------------------------------

MESHED = "{kind: Namespace, metadata: {name: default, labels: {istio-injection: enabled}}}"
POLICIES = {
    "random": "envoy-random",
    "round robin": "envoy-round-robin",
    "least connections": "haproxy-leastconn",
    "best of two": "envoy-least-request",
    "best of two by EWMA": "linkerd-p2c-ewma",
}
ORDERS, RATE, FAST, SLOW, PODS = "http://order-service", 50, 0.020, 0.060, 5
PEERS, CLIENT = [Peer(f"10.0.0.{n}:8081") for n in range(5, 5 + PODS)], Key("10.0.0.4", 20_000)
LINES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)), "-")


@cache
def track() -> Cluster:
    """Five pods of order-service behind one sidecar; a request takes 20 ms, at order-1 60 ms, exponential."""
    shop = load("shop").apply(MESHED).scale("order", PODS).with_pods("order", service_time="20ms exponential")
    return shop.with_pods("order-1", service_time="60ms exponential")


def at_random(share: float) -> float:
    """The seconds that this share of requests exceeds, where each picks a pod at random: five queues M/M/1."""
    queues = [theory.mm1(RATE / PODS, SLOW)] + [theory.mm1(RATE / PODS, FAST)] * (PODS - 1)
    low, high = 0.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        longer = sum(float(queue.slower(np.array(middle))) for queue in queues) / PODS
        low, high = (middle, high) if longer > share else (low, middle)
    return high


def run(policy: Any, seed: int, requests: int) -> Outcome:
    return track().with_balancer("mesh", policy).send(ORDERS, requests, rate=RATE, seed=seed)


def race(*own: Any, requests: int = 10_000, seeds: tuple = (0, 1, 2), file: str | None = None) -> Picture:
    """The built-in policies and functions of your own, side by side: a table, a picture, and its PNG in `file`."""
    names = POLICIES | {f"yours: {getattr(policy, '__name__', 'policy')}": policy for policy in own}
    try:
        runs = bounded(lambda: {n: [run(p, s, requests) for s in seeds] for n, p in names.items()}, 60)
    except TimeoutError:
        raise K8slbError("the race was not over within 60 s: does your function always return?") from None
    if silent := [name for name, its in runs.items() if any(_unanswered(r) == requests for r in its)]:
        raise K8slbError(f"{silent[0]} refused every request, so there is nothing to race")
    asked = (
        f"{PODS} pods, 20 ms, order-1 60 ms, exponential; {RATE} a second; {requests:,} requests, seeds {list(seeds)}"
    )
    table = [f"{'':<24}{'p50':>8}{'p99':>9}{'p99 in each run':>22}{'at the slow pod':>17}"]
    for name, its in runs.items():
        p50, p99, share = (
            np.mean(x)
            for x in (
                [r.latency.p50 for r in its],
                [r.latency.p99 for r in its],
                [next(iter(r.counts().values())) / requests for r in its],
            )
        )
        each = " ".join(f"{1000 * r.latency.p99:.0f}" for r in its)
        lost = sum(_unanswered(r) for r in its)
        more = f"  {lost:,} without an answer, left out" if lost else ""
        table.append(f"{name:<24}{1000 * p50:>5.1f} ms{1000 * p99:>6.0f} ms{each:>22}{share:>17.1%}{more}")
    exact = [1000 * at_random(share) for share in (0.5, 0.01)]
    table.append(f"{'theory of random':<24}{exact[0]:>5.1f} ms{exact[1]:>6.0f} ms{'':>22}{1 / PODS:>17.1%}")
    picture = Picture(_drawn(runs, asked), f"Share of requests that take longer: {asked}.", "\n".join(table))
    if file is not None:
        try:
            Path(file).write_bytes(picture.png)
        except (OSError, TypeError, ValueError) as error:
            raise InputError(f"cannot write {shown(file)}: {error}", expected='a file such as "race.png"') from None
    return picture


def _unanswered(sent: Outcome) -> int:
    return sent.requests - sent.counts("status").get("200", 0)


def _drawn(runs: dict[str, list[Outcome]], asked: str) -> bytes:
    """The first run of each; the parameters stand in the picture and in the file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    for at, (name, its) in enumerate(runs.items()):
        took = np.sort(its[0].table["latency"].dropna().to_numpy()) * 1000
        axes.plot(took, 1 - np.arange(len(took)) / len(took), linestyle=LINES[at % len(LINES)], label=name)
    axes.axhline(0.01, color="#1a1a1a", linewidth=0.8)
    axes.annotate("1 in 100: p99", (0.99, 0.011), xycoords=("axes fraction", "data"), ha="right", fontsize=8)
    axes.set(yscale="log", ylim=(1e-3, 1), xlim=(0, 800), xlabel="latency in ms", ylabel="share that takes longer")
    axes.set_title(asked, fontsize=8, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    out = BytesIO()
    figure.savefig(out, format="png", dpi=100, metadata={"Software": None, "Description": asked})
    return out.getvalue()


def policy(peers, state, rng, key, now):
    one, other = rng.sample(range(len(peers)), 2)
    return min(one, other, key=lambda i: connections(state, peers[i])[0])


def waited(policy: Any, seed: int, slow: int) -> float | None:
    """The p99 of 6,000 requests, with the pod in this place slow; None if some were refused.

    The queues of the model alone, without the way there: a check has 2 seconds, on a slow machine, too.
    """
    rng, mean = np.random.default_rng(seed), np.full(PODS, FAST)
    mean[slow] = SLOW
    arrival, unit = np.cumsum(rng.exponential(1 / RATE, CHECKED)), rng.exponential(1, CHECKED)
    asked = (balancer(policy), PEERS, {}, CLIENT, range(PODS), False)
    first, one_each = np.zeros(CHECKED, int), (1,) * PODS
    picks, left = in_turn(arrival, unit, mean, one_each, first, [asked], Random(seed))
    return None if (picks < 0).any() else float(np.quantile(left - arrival, 0.99))


CALL, CHECKED, ENOUGH = "policy(peers, state, rng, key, now)", 6_000, 0.8


def _raced(answer: Any) -> Seen:
    """Four runs with the slow pod in front, four with it elsewhere: the mean p99 beside that of random by theory.

    One p99 strays by 15%, a mean of four by 7%. Random picks were below 80% in none of 100 trials; turns are at 70%.
    """
    if not callable(answer):
        raise Unfit("the function policy", answer)
    try:
        first = answer(PEERS, {}, Random(15), CLIENT, 0.0)
    except Exception as error:
        error.add_note(CALL)
        raise
    if empty(first):
        return {CALL: first}
    seen, mark = {CALL: "a pod"}, at_random(0.01)
    for place, slow in ((0, "order-1"), (3, "order-4")):
        waits = [waited(answer, seed, place) for seed in range(151, 155)]
        if None in waits:
            return seen | {f"p99 with {slow} slow": "requests without an answer"}
        ratio = sum(waits) / len(waits) / mark
        told = "less than 80%" if ratio < ENOUGH else "about 100%" if ratio < 1.5 else "more than 150%"
        seen[f"p99 with {slow} slow"] = f"{told} of random's"
    return seen


def _not_the_first(peers, state, rng, key, now):
    return policy(peers[1:], state, rng, key, now) + 1 if now < 0 else rng.randrange(1, len(peers))


def _idle_or_none(peers, state, rng, key, now):
    return next((i for i, peer in enumerate(peers) if not connections(state, peer)[0]), None)


EXERCISES = (
    Exercise(
        "15.1",
        f"named = {WAYS!r}".replace("'", '"'),
        _named,
        {
            '"Uneven is a fault": phi is about 1, which is what chance alone gives.': WAYS | {"A": "pinned"},
            '"What fits is it": it would take 86 counters or more; chance alone does it, and needs no number.': (
                WAYS | {"A": "counters"}
            ),
            '"Even is random": chance is less even than this; several that take turns are not.': WAYS | {"B": "random"},
            '"Round robin is within 1": one counter is, and there may be several.': WAYS | {"B": "turns"},
            '"Uneven pods have too few connections": a pod alone on its node gets as much as two that share one.': (
                WAYS | {"C": "pinned"}
            ),
            '"Pods on one node explain it": with the nodes told, these counts do not fit.': WAYS | {"D": "split"},
        },
        str,
        _by_fingerprint,
    ),
    AnyMystery(**{name: getattr(_mystery(0), name) for name in AnyMystery.__dataclass_fields__}),
    Exercise(
        "15.3",
        policy,
        _raced,
        {
            '"Any pod will do": a fifth of all then waits at the slow pod.': lambda peers, state, rng, key, now: (
                rng.randrange(len(peers))
            ),
            '"The fullest is the strongest": it is slow, or you filled it.': lambda peers, state, rng, key, now: max(
                range(len(peers)), key=lambda i: connections(state, peers[i])[0]
            ),
            '"The slow pod is the first": today; the check moves it.': _not_the_first,
            '"Who is refused does not wait": a request without an answer is lost.': _idle_or_none,
        },
        str,
        imports="from k8slb.balancers.base import connections",
    ),
)
