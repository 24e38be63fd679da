"""Sampled means beside queueing theory: the same clusters and formulas as `tests/bench/theory.py` prints."""

from math import exp

import numpy as np
import pytest
from bench.theory import CASES, best_of_two, every_nth, first_of_least, mean_wait, shortest_queue
from bench.workloads import SERVICE

import k8slb
from k8slb.answers.latency import measured, slower, warm_up
from k8slb.theory import mm1, mmc

REQUESTS = 100_000


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.what)
def test_means_are_within_three_standard_errors_of_theory(case):
    mean, error = case.sampled(REQUESTS)
    assert 0 < error < 0.06 * mean, "sure enough to tell"
    assert abs(mean - case.expected()) < 3 * error


def test_the_formulas_give_published_figures():
    assert mm1(0.8, 1).mean == pytest.approx(5) and mmc(8, 1, 10).mean == pytest.approx(1.2046, abs=5e-5)
    assert shortest_queue(10, 0.8) == pytest.approx(1.3558, abs=5e-5)
    assert shortest_queue(2, 0.5, 30) == pytest.approx(1.4262, abs=5e-4), "Kingman 1961, Adan et al. 1990"
    assert best_of_two(0.8) == pytest.approx(1.9474, abs=5e-5)
    assert 0.9 * best_of_two(0.9, 100) == pytest.approx(2.3925, abs=5e-4), "their table 1"
    in_turn = [every_nth(0.8 * n, 1, n) for n in (1, 2, 10, 10**6)]
    assert in_turn[0] == pytest.approx(5) and in_turn == sorted(in_turn, reverse=True), "M/M/1, less and less by chance"
    assert exp(-1.25 / in_turn[3]) == pytest.approx(1 - 1 / in_turn[3], abs=1e-5), "D/M/1"


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_tails_of_theory_integrate_to_its_means(workers):
    for load in (0.3, 0.5, 0.857, 0.95):  # at 6/7 of 7 workers waiting and service have the same rate
        queue = mmc(100 * load * workers, 0.01, workers)
        seconds = np.linspace(0, 60 * queue.mean, 200_001)
        assert np.trapezoid(queue.slower(seconds), seconds) == pytest.approx(queue.mean, rel=1e-4)


def test_the_whole_distribution_is_that_of_theory():
    run = k8slb.load(SERVICE % (10, "10ms")).send("http://shop", requests=300_000, rate=700, seed=1)
    seconds, share, band = slower(run.run.latency)
    inside = np.abs(share - mm1(70, 0.01).slower(seconds)) <= band + 1e-9
    assert inside.mean() > 0.85 and band[share < 0.5].max() < 0.05, "95 of 100 points; neighbours go together"


def test_bands_hold_what_they_promise():
    """40 runs of 30,000 requests: some 38 bands hold the true mean; without regard for queues it would be 13."""
    cluster = k8slb.load(SERVICE % (10, "10ms"))
    runs = [cluster.send("http://shop", requests=30_000, rate=800, seed=s) for s in range(40)]
    held = [abs(run.latency.mean - 0.05) <= run.latency.band for run in runs]
    naive = [abs(run.run.latency.mean() - 0.05) <= 1.96 * run.run.latency.std() / 30_000**0.5 for run in runs]
    assert sum(held) >= 34 and sum(naive) <= 22


def test_the_warm_up_is_cut_and_nothing_else():
    rng = np.random.default_rng(1)
    steady = rng.exponential(1, 20_000)
    begins = np.concatenate([np.linspace(0, 1, 2000) * rng.exponential(1, 2000), steady])
    assert 500 <= warm_up(begins) <= 2500 and warm_up(steady) < 200
    assert abs(measured(begins).mean - 1) < abs(measured(begins, steady=False).mean - 1)
    assert warm_up(np.full(10_000, 0.1)) == 0 and warm_up(steady[:100]) == 0


def test_replicas_that_count_for_themselves_know_little():
    """Least connections is best in one place and worse than a coin in twenty, where ties go to the first."""
    alone, many = (mean_wait(n, "nginx-least-conn", 40_000)[0] for n in (1, 20))
    worst, random = mean_wait(20, first_of_least, 40_000)[0], mean_wait(20, None, 40_000)[0]
    assert alone < 0.5 < many < 3 < random < 5.5 < worst
