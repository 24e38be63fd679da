"""The walk through the lottery, against the rules that a node gets for any number of Services and pods."""

import re
from fractions import Fraction
from html import escape

import pytest

import k8slb
from k8slb.course import Lottery, cascade
from k8slb.errors import InputError
from k8slb.layers.kube_proxy.lottery import examined, own, walk

POD = """
kind: Pod
metadata: {{name: web-{i}, labels: {{app: web}}}}
spec: {{containers: [{{name: web, image: web, ports: [{{containerPort: 8081}}]}}]}}
"""
SERVICE = """
kind: Service
metadata: {{name: s{i}}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8081}}]}}
"""


def met(rules: list[str], address: str) -> dict[str, Fraction]:
    """How many rules of each kind of chain a connection to `address` meets on average, by what stands in the rules."""
    chains: dict[str, list[str]] = {}
    for rule in rules:
        chains.setdefault(rule.split()[1], []).append(rule)
    first = next(i for i, rule in enumerate(chains["KUBE-SERVICES"], 1) if f"-d {address}/32" in rule)
    service = chains["KUBE-SERVICES"][first - 1].split("-j ")[1]
    count, left, after = Fraction(0), Fraction(1), Fraction(0)
    for rule in chains[service]:
        count += left
        chance = re.search(r"--probability (\S+)", rule)
        taken = Fraction(chance[1] if chance else 1) if "-j KUBE-SEP" in rule else 0
        after += left * taken * len(chains[rule.split("-j ")[1]]) if taken else 0
        left -= left * taken
    return {"KUBE-SERVICES": Fraction(first), "KUBE-SVC": count, "KUBE-SEP": after}


@pytest.mark.parametrize("services, pods", [(1, 1), (2, 3), (7, 4), (20, 10)])
def test_the_count_is_that_of_the_rules_of_a_node(services, pods):
    manifests = [SERVICE.format(i=i) for i in range(services)] + [POD.format(i=i) for i in range(pods)]
    cluster = k8slb.load("\n---\n".join("apiVersion: v1\n" + text.strip() for text in manifests))
    nat = cluster.rules("node-a").partition("*nat")[2].splitlines()
    rules = [line for line in nat if line.startswith("-A KUBE-")]
    counts = [met(rules, service.spec.clusterIP) for service in cluster.services.values()]
    for chain, expected in examined(services, own(pods)).items():
        assert float(sum(c[chain] for c in counts) / services) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("pods", [1, 2, 3, 10, 100])
def test_kube_proxys_own_rules_give_equal_shares(pods):
    assert [takes for _, takes in walk(own(pods))] == [Fraction(1, pods)] * pods


def test_equal_rules_do_not():
    assert cascade("1/3", "1/3", 1).shares == (Fraction(1, 3), Fraction(2, 9), Fraction(4, 9))
    assert "8/27 = 29.6% are taken by none" in cascade("1/3", "1/3", "1/3").sentence


@pytest.mark.parametrize("chance", ["1/0", "2", "-1", "", "1e9", "1/3/4", "x", "0.5\n", "٣", float("nan")])
def test_what_is_no_probability_is_refused(chance):
    with pytest.raises(InputError, match="is no probability"):
        cascade(chance, 1)


def test_the_line_gives_what_the_panel_shows():
    panel = Lottery()
    for pods, typed, services in ((3, "1/3, 1/3, 1", 1000), (5, None, 7), (2, "0.9, 1/3", 10)):
        panel.pods.source.value, panel.services.source.value = pods, services
        if typed:
            panel.rules.source.value = typed
        assert (
            eval(panel.line, {"cascade": cascade}) == panel.cascade
            and escape(panel.cascade.sentence) in panel.shown.value
        )
    panel.rules.source.value = "1/2"
    assert "1 probabilities; expected 2" in panel.shown.value
