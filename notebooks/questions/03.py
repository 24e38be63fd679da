"""Why 1/3, 1/2, 1? Judged by the walk through the rules, and by the probabilities that the model writes into them."""

from fractions import Fraction
from typing import Any

from k8slb.course.questions import Exercise, Option, Prediction, Seen, calls, function, parts
from k8slb.layers.kube_proxy.lottery import own, walk

PREDICTION = Prediction(
    "A node's rules for a Service with 3 pods are tried in order. The first takes a connection with probability "
    "1/3, the second with 1/2, the third always. Which share of all connections does each pod get?",
    (
        Option(
            "2/11, 3/11 and 6/11",
            "unequal rule = unequal share",
            "1/3, 1/2 and 1 are not shares of the same whole: each rule sees only what the rules above it left.",
        ),
        Option(
            "1/3, 1/2 and 1/6",
            "every rule sees every connection",
            "The second rule takes half of the 2/3 that the first one left, which is 1/3 of all.",
        ),
        Option("1/3 each"),
        Option(
            "nearly all to the third, the rest to two",
            "the last rule wins",
            "A connection that an earlier rule has taken never comes to the last one.",
        ),
    ),
    "1/3, then 1/2 of the remaining 2/3, then all of the remaining 1/3.",
)

THIRD = 1 / 3
SHARES = parts("the share of rule 1", "the share of rule 2", "the share of rule 3")
PODS = [(3,), (1,), (2,), (5,), (10,)]


def probabilities(n):
    return [1 / (n - i) for i in range(n)]


def rules_met(n):
    return sum((n - i) / n for i in range(n))


def _each(answer: Any) -> Seen:
    """The numbers of the lists that the function gives, one by one."""
    seen: Seen = {}
    for call, given in calls("probabilities", PODS)(answer).items():
        several = isinstance(given, (list, tuple)) and given
        seen |= {f"{call}[{i}]": value for i, value in enumerate(given)} if several else {call: given}
    return seen


EXERCISES = (
    Exercise(
        "03.1",
        "shares = 1 / 3, 2 / 9, 4 / 9",
        SHARES,
        {
            '"Equal rules give equal shares": the second rule sees only the 2/3 that the first one left.': (THIRD,) * 3,
            '"A probability is a share": it is a share of what comes to the rule, not of all.': (THIRD, THIRD, 1),
            '"Shares are in the ratio of the probabilities": no rule knows those of the others.': (0.2, 0.2, 0.6),
            '"0.33 is 1/3": it is nearly; write fractions.': (0.33, 0.22, 0.44),
        },
        expected=lambda: SHARES([takes for _, takes in walk([Fraction(1, 3), Fraction(1, 3), Fraction(1)])]),
    ),
    Exercise(
        "03.2",
        probabilities,
        _each,
        {
            '"Equal rules give equal shares": then each rule takes less than the one above it.': lambda n: [1 / n] * n,
            '"The order does not matter": a first rule with probability 1 takes all.': (
                lambda n: [1 / (i + 1) for i in range(n)]
            ),
            '"Rules count from 1": when the first is tried, all pods are left.': (
                lambda n: [1 / (n - i + 1) for i in range(n)]
            ),
            '"The last rule takes what its pod should get, 1/n": nothing may be left over after it.': (
                lambda n: [*(1 / (n - i) for i in range(n - 1)), 1 / n]
            ),
        },
        expected=lambda: _each(own),
    ),
    function(
        "03.3",
        rules_met,
        PODS,
        {
            '"Every rule is tried": the first that takes the connection is the last one that it meets.': lambda n: n,
            '"Half of the rules": the rule that takes the connection counts, too.': lambda n: n / 2,
        },
        expected=lambda: calls("rules_met", PODS)(lambda n: float(sum(comes for comes, _ in walk(own(n))))),
    ),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "Five pods": {"pods": 5},
        "A third at each rule": {"probability of each rule": "1/3, 1/3, 1/3"},
        "Five pods, 5,000 Services": {"pods": 5, "Services": 5000},
    },
    "sandbox": {
        "Ten pods": {"replicas of order": 10},
        "One of three pods is not ready": {"pods of order not ready": 1},
        "Ten pods, nftables mode": {"replicas of order": 10, "kube-proxy mode": "nftables"},
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "Rules with 0.33 and 0.5 look unfair",
        "each takes a part of the rest: equal shares",
        "none",
        "k8slb rules -f shop --node node-a | grep probability",
        "0.50000000000",
    ),
    (
        "New connections meet thousands of rules",
        "many Services: iptables tries one after the other",
        "`mode: nftables`",
        "k8slb rules -f shop --node node-a --mode nftables | grep vmap",
        "vmap @service-ips",
    ),
)
