"""Is it round robin? The solutions are the functions that judge, so they cannot differ from what the checks expect."""

from __future__ import annotations

from inspect import getsource
from math import ceil, comb, factorial
from numbers import Real

from .base import Exercise, calls

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


# The first case of each is the one of the text.
EVEN = calls("exactly_even", [(6, 3), (2, 2), (4, 2), (9, 3), (7, 3)])
EMPTY = calls("some_pod_empty", [(6, 3), (3, 3), (4, 2), (10, 4)])
NEEDED = calls("connections_needed", [(3, 0.01), (3, 0.02), (6, 0.01), (7, 0.01)])

EXERCISES = (
    Exercise(
        id="02.1",
        stars=1,
        task="""\
Each of 6 connections picks one of 3 pods, all with the same probability. Write the function that gives the probability
that every pod gets **exactly** the same number, from 0 to 1, for any number of connections and pods.""",
        stub="""\
def exactly_even(connections, pods):
    return ...


check("02.1", exactly_even)""",
        solution="from math import factorial\n\n\n" + getsource(exactly_even),
        hints=(
            "Six connections can pick in `3**6` ways, all equally likely. In how many of them does each pod come up "
            "twice?",
            "That is the number of ways to order the letters AABBCC: `math.factorial(6)`, divided by "
            "`math.factorial(2)` for each letter.",
            "If the connections cannot be divided evenly, the probability is 0.",
        ),
        kind=Real,
        observe=EVEN,
        expected=lambda: EVEN(exactly_even),
        wrong={
            '"Round robin by default": each connection picks at random, whatever the others picked.': lambda c, n: 1,
            '"Every split is equally likely": 6/0/0 comes up in 1 way, 2/2/2 in many.': (
                lambda c, n: 1 / comb(c + n - 1, n - 1)
            ),
            '"One order stands for all": many orders of picks give 2/2/2.': lambda c, n: 1 / n**c,
            '"A probability is a percentage": here it goes from 0 to 1.': lambda c, n: 100 * exactly_even(c, n),
        },
    ),
    Exercise(
        id="02.2",
        stars=2,
        task="""\
The same picks. Write the function that gives the probability that **at least one** pod gets nothing at all (there are
never fewer than 2 pods, nor fewer connections than pods).""",
        stub="""\
def some_pod_empty(connections, pods):
    return ...


check("02.2", some_pod_empty)""",
        solution="from math import comb\n\n\n" + getsource(some_pod_empty),
        hints=(
            "One certain pod gets nothing with probability `(1 - 1 / pods) ** connections`.",
            "Adding that up for all pods counts the cases twice in which two pods get nothing: take those off again.",
            "With many pods this goes on: add for one pod, take off for each pair, add for each three. "
            "`math.comb(pods, k)` is how many groups of k there are.",
        ),
        kind=Real,
        observe=EMPTY,
        expected=lambda: EMPTY(some_pod_empty),
        wrong={
            '"Random evens out": with few connections it often leaves a pod without any.': lambda c, n: 0,
            '"Some pod is this pod": any of the pods may be the empty one.': lambda c, n: (1 - 1 / n) ** c,
            '"Probabilities add up": where two pods are empty at once, this counts the case twice.': (
                lambda c, n: n * (1 - 1 / n) ** c
            ),
        },
    ),
    Exercise(
        id="02.3",
        stars=3,
        task="""\
A pod's share of the connections scatters around 1/`pods` with the standard deviation
`sqrt(share * (1 - share) / connections)`. Write the function that gives the smallest number of connections for which it
is no more than `deviation`. One percentage point is 0.01.""",
        stub="""\
def connections_needed(pods, deviation):
    return ...


check("02.3", connections_needed)""",
        solution="from math import ceil\n\n\n" + getsource(connections_needed),
        hints=(
            "Square both sides of `sqrt(share * (1 - share) / connections) <= deviation`.",
            "Then solve for `connections`, and round up with `math.ceil`.",
        ),
        kind=Real,
        observe=NEEDED,
        expected=lambda: NEEDED(connections_needed),
        wrong={
            '"Rounding is rounding": one connection fewer is still a little too much deviation; round up.': (
                lambda n, d: connections_needed(n, d) - 1
            ),
            '"A point is a percent": the deviation is a part of all connections, not of the pod\'s own share.': (
                lambda n, d: ceil((n - 1) / d**2)
            ),
            '"Ten times the connections, a tenth of the scatter": it shrinks with the square root only.': (
                lambda n, d: ceil(1 / n / d)
            ),
        },
    ),
)
