"""Recordings of real components, beside the model."""

import json
import random
from collections import Counter
from fractions import Fraction

import pytest

import k8slb
from k8slb.chance import chi_square_p
from k8slb.manifests import DATA
from k8slb.real.recordings import recording

ORDERS = "netfilter/nftables/clusterip-3"


def test_every_recording_says_where_it_comes_from():
    for file in (DATA / "recordings").glob("*.json"):
        about = json.loads(file.read_text())["about"]
        assert {"what", "versions", "date", "where", "command"} <= set(about), file.name


def test_beside_the_model():
    one = recording(ORDERS)
    picture = one.beside()
    given = one.beside(k8slb.load("shop").with_proxy(mode="nftables").shares("http://order-service"))
    assert (str(picture), picture.png) == (str(given), given.png) and picture.png.startswith(b"\x89PNG")
    assert (
        picture.sentence.startswith("10,000 real connections, Linux ") and "beside the model: p = " in picture.sentence
    )
    count = one.counts["10.0.0.5:8081"]
    assert f"10.0.0.5:8081          {count:,} recorded  {count / 10_000:.1%}  model  33.3%" in picture.table


def test_a_recording_has_its_cluster_and_its_question():
    one = recording("netfilter/iptables-nft/nodeport-local")
    assert one.cluster.mode == "iptables" and len(one.cluster.nodes) == 2
    assert one.cluster.trace(one.question.url).source_seen == next(iter(one.facts["sources"]))
    assert one.question.model.requests == one.facts["requests"] == 3000
    with pytest.raises(k8slb.InputError, match="cannot be asked again"):
        _ = recording("ipvs/rr/sequential-fin/1-1-1").cluster


def test_a_name_that_is_not_there_is_answered_with_near_ones():
    with pytest.raises(k8slb.InputError, match="netfilter/nftables/clusterip-3"):
        recording(ORDERS[:-1])
    with pytest.raises(k8slb.InputError, match="netfilter"):
        recording("netfiltr/x")


def test_the_statistic_accepts_chance_and_rejects_what_is_too_uneven_or_skewed():
    shares = dict.fromkeys("abcde", Fraction(1, 5))
    ps = [chi_square_p(Counter(random.Random(seed).choices("abcde", k=1000)), shares)[2] for seed in range(400)]
    assert min(ps) > 1e-4 and 0.4 < sum(ps) / 400 < 0.6  # p is spread evenly from 0 to 1
    assert chi_square_p({"a": 260, "b": 240, "c": 200, "d": 160, "e": 140}, shares)[2] < 1e-8
    assert chi_square_p({"a": 500, "x": 1}, shares)[2] == 0, "x has no share"
    assert chi_square_p({"a": 9959, "b": 10039, "c": 10002}, dict.fromkeys("abc", 1 / 3)) == pytest.approx(
        (0.3206, 2, 0.852), abs=1e-3
    )
