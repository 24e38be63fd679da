"""Recordings of real components, beside the model."""

import json
import random
from collections import Counter
from fractions import Fraction

import pytest

import k8slb
from k8slb.manifests import DATA
from k8slb.real.recordings import chi_square_p, recording

ORDERS = "kube-proxy/order-clusterip-3/iptables/pod-a/10.96.25.17:80"


def test_every_recording_says_where_it_comes_from():
    for file in (DATA / "recordings").glob("*.json"):
        about = json.loads(file.read_text())["about"]
        assert {"what", "versions", "date", "where", "command"} <= set(about), file.name


def test_beside_the_model():
    picture = recording(ORDERS).beside(k8slb.load("shop").shares("http://order-service"))
    assert "30,000 real connections" in picture.sentence and "p = 0.85" in picture.sentence
    assert "9,959 recorded  33.2%  model  33.3%" in picture.table and picture.png.startswith(b"\x89PNG")


def test_a_name_that_is_not_there_is_answered_with_near_ones():
    with pytest.raises(k8slb.InputError, match="order-clusterip-3/iptables/pod-a"):
        recording(ORDERS[:-1])
    with pytest.raises(k8slb.InputError, match="netfilter"):
        recording("netfiltr/x")


def test_the_statistic_accepts_chance_and_rejects_what_is_too_uneven_or_skewed():
    shares = dict.fromkeys("abcde", Fraction(1, 5))
    ps = [chi_square_p(Counter(random.Random(seed).choices("abcde", k=1000)), shares)[2] for seed in range(400)]
    assert min(ps) > 1e-4 and 0.4 < sum(ps) / 400 < 0.6  # p is spread evenly from 0 to 1
    assert chi_square_p({"a": 260, "b": 240, "c": 200, "d": 160, "e": 140}, shares)[2] < 1e-8
    assert chi_square_p({"a": 9959, "b": 10039, "c": 10002}, dict.fromkeys("abc", 1 / 3)) == pytest.approx(
        (0.3206, 2, 0.852), abs=1e-3
    )
