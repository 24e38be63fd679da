"""Lesson 15: every mystery shop can be told from its traffic, each way to be wrong is named, and the race is fair."""

from collections import Counter

import pytest

from k8slb.course.checks import judged
from k8slb.course.questions import exercises, questions
from k8slb.errors import K8slbError

LESSON = questions("15")
MYSTERY, POLICY = exercises("15")["15.2"], exercises("15")["15.3"]
NUMBERS = range(24)


def inferred(unknown) -> dict[str, str]:
    """What a learner concludes who knows lessons 04, 06 and 10."""
    many, others = (unknown.ask(requests=200, clients=200, seed=seed) for seed in (0, 1))
    replicas, counts = len(set(many)), Counter(many).values()
    stays = len(set(unknown.ask(requests=24))) == 1
    if unknown.ask("http://order-service:81", requests=1) == "T":
        mode = "iptables"
    elif many != others:
        mode = "nftables"
    else:
        mode = "ipvs rr" if max(counts) - min(counts) <= 1 else "ipvs sh"
    behind = Counter(unknown.ask("https://myshop.example.com/orders", requests=300))
    even = len(behind) == replicas and max(behind.values()) - min(behind.values()) <= 4
    affinity = "ClientIP" if stays and mode != "ipvs sh" else "None"
    dials = "pods" if even else "Service"
    return {"replicas": str(replicas), "mode": mode, "affinity": affinity, "ingress dials": dials}


@pytest.mark.parametrize("number", NUMBERS)
def test_a_mystery_can_be_told_from_its_traffic(number):
    found = inferred(LESSON.mystery(number))
    assert judged(MYSTERY, {"number": number} | found).right


@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_wrong_of_any_mystery_is_named(number):
    for why, answer in LESSON._mistaken(number).items():
        verdict = judged(MYSTERY, answer)
        assert verdict.right is False and verdict.message.endswith(why)


def test_mysteries_differ():
    assert len({tuple(LESSON._secret(number).values()) for number in range(200)}) > 40
    assert not judged(MYSTERY, {"number": 1} | LESSON._secret(0)).right


def turns(peers, state, rng, key, now):
    state["at"] = state.get("at", -1) + 1
    return state["at"] % len(peers)


def fewest(peers, state, rng, key, now):
    return min(range(len(peers)), key=lambda i: LESSON.connections(state, peers[i])[0])


def later_random(peers, state, rng, key, now):
    return rng.choices(range(len(peers)))[0] if now else rng.randrange(len(peers))


@pytest.mark.parametrize("policy, right", [(turns, True), (fewest, True), (later_random, False)])
def test_other_policies_are_judged_by_what_they_do(policy, right):
    assert judged(POLICY, policy).right is right


def test_a_refusal_is_no_way_to_be_fast():
    assert "without an answer" in judged(POLICY, lambda p, state, rng, key, now: 0 if now < 1 else None).message
    with pytest.raises(K8slbError, match="refused every request"):
        LESSON.race(lambda *asked: None, requests=200)


def test_the_race_is_what_theory_says_of_random_and_is_kept(tmp_path):
    file = tmp_path / "race.png"
    kept = LESSON.race(LESSON.policy, requests=500, seeds=(7,), file=str(file))
    assert file.read_bytes() == kept.png and b"seeds [7]" in kept.png and "yours: policy" in kept.table
    waits = [LESSON.waited("envoy-random", seed, 0) for seed in range(12)]
    assert abs(sum(waits) / 12 / LESSON.at_random(0.01) - 1) < 0.12
