"""`serve`, `least` and `two` of `queues` compiled by numba, for long runs: the same numbers to the last bit."""

import numpy as np
from numba import njit


@njit(cache=True)
def serve(mean, when, spent, who, unit):
    served, begun, longest = 0.0, -np.inf, 0.0
    for k in range(len(who)):
        i = who[k]
        arrival = when[i]
        begun = max(begun, arrival - served)
        served += unit[k] * mean
        left = begun + served
        took = left - arrival
        when[i] = left
        spent[i] += took
        longest = max(longest, took)
    return longest


@njit(cache=True)
def least(arrival, unit, mean):
    nobody = np.empty(0, np.int16)
    return two(arrival, unit, mean, nobody, nobody)


@njit(cache=True)
def two(arrival, unit, mean, one, other):
    """Where nobody is drawn (`one` is empty) all are asked, the last first."""
    pods, drawn = len(mean), len(one) > 0
    there, first, last = np.zeros(pods, np.int64), np.zeros(pods, np.int64), np.zeros(pods, np.int64)
    leaving = np.full(pods, np.inf)  # when the first in each queue leaves
    picks, left, behind = np.empty(len(arrival), np.int16), np.empty(len(arrival)), np.empty(len(arrival), np.int32)
    for k in range(len(arrival)):
        now, best = arrival[k], (one[k] if drawn else pods - 1)
        for asked in range(2 if drawn else pods):
            i = (other[k] if asked else best) if drawn else pods - 1 - asked
            while leaving[i] <= now:
                there[i] -= 1
                first[i] = behind[first[i]]
                leaving[i] = left[first[i]] if there[i] else np.inf
            if there[i] < there[best]:
                best = i
        left[k] = (left[last[best]] if there[best] else now) + unit[k] * mean[best]
        picks[k] = best
        if there[best]:
            behind[last[best]] = k
        else:
            first[best], leaving[best] = k, left[k]
        last[best] = k
        there[best] += 1
    return picks, left
