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
    pods = len(mean)
    there, first, last = np.zeros(pods, np.int64), np.zeros(pods, np.int64), np.zeros(pods, np.int64)
    leaving = np.full(pods, np.inf)  # when the first in each queue leaves
    picks, left, behind = np.empty(len(arrival), np.int16), np.empty(len(arrival)), np.empty(len(arrival), np.int32)
    for k in range(len(arrival)):
        now, best = arrival[k], pods - 1
        for i in range(pods - 1, -1, -1):
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


@njit(cache=True)
def two(arrival, unit, mean, one, other):
    pods = len(mean)
    there, first, last = np.zeros(pods, np.int64), np.zeros(pods, np.int64), np.zeros(pods, np.int64)
    picks, left, behind = np.empty(len(arrival), np.int16), np.empty(len(arrival)), np.empty(len(arrival), np.int32)
    for k in range(len(arrival)):
        now, i, j = arrival[k], one[k], other[k]
        for q in (i, j):
            while there[q] and left[first[q]] <= now:
                there[q] -= 1
                first[q] = behind[first[q]]
        if there[j] < there[i]:
            i = j
        left[k] = (left[last[i]] if there[i] else now) + unit[k] * mean[i]
        picks[k] = i
        if there[i]:
            behind[last[i]] = k
        else:
            first[i] = k
        last[i] = k
        there[i] += 1
    return picks, left
