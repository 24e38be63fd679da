"""Is it round robin? The solutions are the functions that judge, so they cannot differ from what the checks expect."""

from math import ceil, comb, factorial

from k8slb.course.questions import Option, Prediction, function

PREDICTION = Prediction(
    "6 new connections to a Service with 3 pods, in iptables mode, the default. Does each pod get exactly 2?",
    (
        Option(
            "always: they take turns",
            "round robin by default",
            "iptables and nftables pick at random, and no connection knows what the last one got.",
        ),
        Option(
            "mostly: random evens out",
            "random = even",
            "Shares even out over thousands of connections; six are far too few.",
        ),
        Option("about 1 time in 8"),
        Option(
            "about 1 time in 28: one split of 28",
            "every split is equally likely",
            "6/0/0 comes up in one way only, 2/2/2 in 90.",
        ),
    ),
    "Of the 729 ways in which six connections can pick, 90 give 2/2/2.",
)

# Without annotations: these are the cells that a learner would write.


def exactly_even(connections, pods):
    each, rest = divmod(connections, pods)
    if rest:
        return 0
    return factorial(connections) / factorial(each) ** pods / pods**connections


def some_pod_empty(connections, pods):
    chance = 0
    for empty in range(1, pods):
        chance -= (-1) ** empty * comb(pods, empty) * (1 - empty / pods) ** connections
    return chance


def connections_needed(pods, deviation):
    share = 1 / pods
    return ceil(share * (1 - share) / deviation**2)


EXERCISES = (
    function(
        "02.1",
        exactly_even,
        [(6, 3), (2, 2), (4, 2), (9, 3), (7, 3)],
        {
            '"Round robin by default": each connection picks at random, whatever the others picked.': lambda c, n: 1,
            '"Every split is equally likely": 6/0/0 comes up in 1 way, 2/2/2 in many.': (
                lambda c, n: 1 / comb(c + n - 1, n - 1)
            ),
            '"One order stands for all": many orders of picks give 2/2/2.': lambda c, n: 1 / n**c,
            '"A probability is a percentage": here it goes from 0 to 1.': lambda c, n: 100 * exactly_even(c, n),
        },
        imports="from math import factorial",
    ),
    function(
        "02.2",
        some_pod_empty,
        [(6, 3), (3, 3), (4, 2), (10, 4)],
        {
            '"Random evens out": with few connections it often leaves a pod without any.': lambda c, n: 0,
            '"Some pod is this pod": any of the pods may be the empty one.': lambda c, n: (1 - 1 / n) ** c,
            '"Probabilities add up": where two pods are empty at once, this counts the case twice.': (
                lambda c, n: n * (1 - 1 / n) ** c
            ),
        },
        imports="from math import comb",
    ),
    function(
        "02.3",
        connections_needed,
        [(3, 0.01), (3, 0.02), (6, 0.01), (7, 0.01)],
        {
            '"A part of a connection counts": connections are whole; round up.': lambda n, d: (1 - 1 / n) / n / d**2,
            '"Rounding is rounding": one connection fewer is still a little too much deviation; round up.': (
                lambda n, d: connections_needed(n, d) - 1
            ),
            '"A point is a percent": the deviation is a part of all connections, not of the pod\'s own share.': (
                lambda n, d: ceil((n - 1) / d**2)
            ),
            '"Ten times the connections, a tenth of the scatter": it shrinks with the square root only.': (
                lambda n, d: ceil(1 / n / d)
            ),
            '"A deviation in percent": it is given as a part of all, 0.01 and not 1.': (
                lambda n, d: ceil((1 - 1 / n) / n / (100 * d) ** 2)
            ),
            '"Two deviations are meant": one is; for two it takes four times as many.': (
                lambda n, d: connections_needed(n, d / 2)
            ),
            '"The share alone scatters": what does not come to the pod counts too, p times 1 - p.': (
                lambda n, d: ceil(1 / n / d**2)
            ),
        },
        imports="from math import ceil",
    ),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "100,000 connections": {"connections": 100_000},
        "IPVS mode": {"kube-proxy mode": "ipvs"},
        "Ten pods": {"replicas of order": 10},
    },
    "sandbox": {
        "Ten pods": {"replicas of order": 10},
        "Ten pods, ten requests on each connection": {"replicas of order": 10, "requests per connection": 10},
        "Ten pods, 100,000 requests": {"replicas of order": 10, "requests": 100_000},
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "Few connections, and uneven pods",
        "random picks, one for each connection",
        "none: look at more",
        "k8slb send -f shop http://order-service -n 6",
        "two standard deviations of 6 random picks",
    ),
    (
        "Counts look unfair: chance or not?",
        "phi is about 1 by chance",
        "none yet",
        "k8slb fingerprint counts-nativelb.txt",
        "phi 279",
    ),
)
