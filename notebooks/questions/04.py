"""What does the mode change? Judged by the IPVS schedulers of the model, and by clusters whose mode is not told."""

import json
from random import Random
from typing import Any

from k8slb.answers.picks import picks
from k8slb.balancers import ipvs
from k8slb.balancers.base import Peer
from k8slb.course.questions import Exercise, Option, Prediction, Seen, Unfit, calls, function
from k8slb.errors import InputError, shown
from k8slb.front import load

PREDICTION = Prediction(
    "kube-proxy in IPVS mode with the scheduler rr (round robin), on 8 nodes. order-1, order-2 and order-3 became "
    "ready one after the other, order-3 last. Then the first connections to order-service are opened, one by a "
    "client on each node. Who gets the 8?",
    (
        Option(
            "3, 3 and 2: they take turns",
            "round robin is cluster-wide",
            "Each node counts for itself, and all 8 are at their first pick.",
        ),
        Option(
            "about a third each, by chance",
            "every mode picks at random",
            "iptables and nftables do. rr takes the next pod of a list.",
        ),
        Option(
            "order-1 gets all 8",
            "the list begins with the first",
            "The kernel puts each new pod at the head of its list, before the others.",
        ),
        Option("order-3 gets all 8"),
    ),
    "Each node has a list and a counter of its own, and at the head of all 8 lists is the pod added last.",
)

MODES = ("iptables", "nftables", "ipvs rr", "ipvs sh", "ipvs mh")
SECRET = dict(zip("ABCDE", Random("mystery 0").sample(MODES, 5), strict=True))
CASES, OPEN = [(8, 1, 3), (8, 2, 3), (4, 4, 3), (1, 5, 2)], [([1, 0, 2],), ([1, 1, 1],), ([0, 0, 1],), ([3, 1, 1, 2],)]


def hits(nodes, each, pods):
    rounds, rest = divmod(each, pods)
    return [nodes * (rounds + (place >= pods - rest)) for place in range(pods)]


def least(active):
    return min(reversed(range(len(active))), key=lambda place: active[place])


def mystery(name: str, requests: int = 12, url: str = "http://order-service", **asked: Any) -> str:
    """What becomes of new connections, one after the other, in the mystery cluster A, B, C, D or E, on its one node.

    A sign for each: the number of the pod that got it, R: refused, T: timed out. `asked` is as for `send`: clients, a
    seed (another throw of the dice), ...
    """
    if name not in (*SECRET,):
        raise InputError(f"there is no mystery {shown(name)}", expected="one of " + ", ".join(SECRET))
    how = dict(zip(("mode", "scheduler"), SECRET[name].split(), strict=False))
    run = load("shop").with_nodes(1).with_proxy(**how).send(url, requests, **asked)
    rows = run.table.reindex(columns=["pod", "lost"]).astype(object).itertuples(index=False)
    return "".join(run.name_of(p)[-1] if isinstance(p, str) else {"reject": "R"}.get(lost, "T") for p, lost in rows)


def _places(answer: Any) -> Seen:
    """The counts of the lists that the function gives, one by one."""
    seen: Seen = {}
    for call, given in calls("hits", CASES)(answer).items():
        several = isinstance(given, (list, tuple)) and given
        seen |= {f"{call}[{i}]": n for i, n in enumerate(given)} if several else {call: given}
    return seen


def _named(answer: Any) -> Seen:
    if not isinstance(answer, dict) or not set(answer) <= {*SECRET}:
        raise Unfit("a mode for each of " + ", ".join(SECRET), answer)
    return {f"mystery {name}": answer.get(name) for name in SECRET}


def _kernel(nodes: int, each: int, pods: int) -> list[int]:
    return [nodes * n for n in picks("ipvs-rr", dict.fromkeys(map(str, range(pods)), 1), each).counts.values()]


def _lc(active: list[int]) -> int | None:
    counts = {str(place): [n, 0] for place, n in enumerate(active)}
    return ipvs.lc([Peer(place) for place in counts], {"connections": counts}, Random(0))


def _swapped(one: str, other: str) -> dict[str, str]:
    return {name: {one: other, other: one}.get(mode, mode) for name, mode in SECRET.items()}


EXERCISES = (
    Exercise(
        "04.1",
        hits,
        _places,
        {
            '"Round robin is cluster-wide": each node has a counter of its own, and each begins at the same pod.': (
                lambda nodes, each, pods: hits(1, nodes * each, pods)
            ),
            '"One node stands for all": each of them sends, and each begins at the same pod.': (
                lambda nodes, each, pods: hits(1, each, pods)
            ),
            '"The list begins with the first": the pod added last is at its head.': lambda *case: hits(*case)[::-1],
            '"Round robin is even": only after whole rounds, and a node may be in the middle of one.': (
                lambda nodes, each, pods: [nodes * each / pods] * pods
            ),
        },
        expected=lambda: _places(_kernel),
    ),
    Exercise(
        "04.2",
        f"named = {json.dumps(SECRET)}",
        _named,
        {
            '"Modes with equal picks are one mode": ask for a port that the Service does not have.': (
                _swapped("iptables", "nftables")
            ),
            '"What looks random is random": throw the dice again and see whether anything changes.': (
                _swapped("ipvs mh", "iptables")
            ),
            '"A hash hashes the address alone": for one of the two kube-proxy has the client\'s port hashed as well.': (
                _swapped("ipvs mh", "ipvs sh")
            ),
        },
        kind=str,
        expected=lambda: _named(SECRET),
    ),
    function(
        "04.3",
        least,
        OPEN,
        {
            '"The first of the list wins a tie": the list is walked from the pod added last.': lambda a: a.index(
                min(a)
            ),
            '"Least connections takes turns": it takes the fewest, wherever that is.': lambda a: len(a) - 1,
            '"The most connections are the strongest pod": lc takes the fewest.': lambda a: a.index(max(a)),
        },
        expected=lambda: calls("least", OPEN)(_lc),
    ),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "32 connections, four from each node": {"connections": 32},
        "32 connections, all from one node": {"connections": 32, "nodes": 1},
        "iptables mode": {"kube-proxy mode": "iptables"},
    },
    "sandbox": {
        "30 pods": {"replicas of order": 30},
        "30 pods, one client": {"replicas of order": 30, "clients": 1},
        "30 pods, iptables mode": {"replicas of order": 30, "kube-proxy mode": "iptables"},
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "Least connections, and one pod has all",
        "each node counts only its own connections",
        "`ipvs.scheduler`",
        "k8slb incidents kubernetes-79213",
        "Four nodes are four balancers",
    ),
    (
        "A node still runs in IPVS mode",
        "deprecated since Kubernetes 1.35",
        "`mode`",
        "k8slb explain -f explain/ipvs-deprecated.yaml",
        "deprecated since Kubernetes 1.35",
    ),
)
