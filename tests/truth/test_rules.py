"""The text of a node's rules: the real kube-proxy's, line by line, and the very rules that decisions name."""

import json
import re
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest
from truth.dumps import blocks, comparable

import k8slb
from k8slb import cli
from k8slb.layers.kube_proxy import cost, lottery

HERE = Path(__file__).parent
REAL = json.loads((HERE / "golden" / "rules.json").read_text())
RUNS = json.loads((HERE / "kube_proxy.json").read_text())["runs"]
MODES = ("iptables", "nftables", "ipvs")


@cache
def golden(case: str, mode: str = "iptables") -> k8slb.Cluster:
    return k8slb.load((HERE / "golden" / case / "input.yaml").read_text()).with_proxy(mode=mode)


# --- the real kube-proxy's text --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ("iptables", "nftables"))
@pytest.mark.parametrize("dump", REAL["iptables"]["dumps"])
def test_the_text_is_the_real_one(dump, mode):
    real, (case, node) = REAL[mode], dump.split("/")
    own = (real["blocks"][i] for i in real["dumps"][dump])
    wanted = comparable(real["always"] | {name: lines for name, *lines in own})
    got = comparable(blocks(golden(case).rules(node, mode)))
    assert {n: x for n, x in got.items() if x != wanted.get(n)} == {}
    assert got.keys() == wanted.keys()


def test_the_comparison_sees_every_difference():
    text = golden("nodeport-local").rules("node-a", "iptables")
    table = golden("nodeport-local").rules("node-a", "nftables")
    for whole in (text, table):
        assert comparable(blocks(whole)) == comparable(blocks(whole + "\n"))
        lines = [x for x in whole.splitlines() if ("10.0.0.5" in x and "{" not in x) or "mod 3" in x or ": goto" in x]
        assert lines
        for line in lines:
            changed = whole.replace(line, line.replace("10.0.0.5", "10.0.0.9").replace("goto", "drop"))
            assert changed == whole or comparable(blocks(changed)) != comparable(blocks(whole))
    swapped = text.splitlines()
    at = next(i for i, x in enumerate(swapped) if "0.33333333349" in x)
    swapped[at], swapped[at + 1] = swapped[at + 1], swapped[at]
    assert comparable(blocks("\n".join(swapped))) != comparable(blocks(text))


# --- what no dump shows: from the source, and printed back by iptables 1.8.9 and nft 1.0.6 ---------------------------

BEYOND = (HERE / "golden" / "beyond" / "input.yaml").read_text()
ROWS = json.loads((HERE / "golden" / "beyond" / "lines.json").read_text())["rows"]


def kube_proxy(**changes) -> str:
    return json.dumps({"kind": "KubeProxyConfiguration", "metadata": {"name": "kube-proxy"}} | changes)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r['mode']} {r['kube_proxy']}")
def test_what_no_dump_shows(row):
    text = k8slb.load(BEYOND).apply(kube_proxy(**row["kube_proxy"])).rules("node-a", row["mode"])
    assert [x for x in row["there"] if x not in text] == []
    assert [x for x in row["absent"] if x in text] == []


def test_a_large_cluster_has_no_comments_on_endpoints():
    def endpoints(count: int) -> str:
        addresses = [{"addresses": [f"10.0.{i // 250}.{i % 250 + 1}"]} for i in range(count)]
        return json.dumps({"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4"} | {
            "metadata": {"name": "api-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "api"}},
            "ports": [{"name": "sig", "port": 3868, "protocol": "SCTP"}],
            "endpoints": addresses,
        })  # fmt: skip

    for count, comments in ((1000, True), (1001, False)):
        text = k8slb.load(BEYOND).apply(endpoints(count)).rules("node-a", "iptables")
        rules = [x for x in text.splitlines() if x.startswith(("-A KUBE-SVC", "-A KUBE-SEP")) and "MARK-MASQ" not in x]
        assert len(rules) == 3 * count and {"--comment" in x for x in rules} == {comments}
        assert '"shop/api:sig cluster IP"' in text
    assert "-A KUBE-SEP" in text and re.search(r"-A KUBE-SEP-\w+ -p sctp -m recent --set", text)


# --- every rule that a decision names --------------------------------------------------------------------------------


def named(cluster: k8slb.Cluster, **asked):
    """(node, rule) for every rule that the decisions of one request name, taken or not."""
    trace = cluster.trace(**asked)
    for hop, told in zip(trace.hops, trace.to_dict()["hops"], strict=True):
        if hop.decision.layer == "kube-proxy":
            yield from ((hop.decision.place.name, rule) for rule in (*hop.decision.rules.values(), hop.decision.rule))
            assert told["rule"] in (*hop.decision.rules.values(), hop.decision.rule)
            assert told["rule"] in trace.why()


@pytest.mark.parametrize("mode", MODES)
def test_every_rule_a_trace_names_is_on_the_node(mode):
    shop = k8slb.load("shop").with_proxy(mode=mode)
    order = "kind: Service\nmetadata: {name: order-service}\nspec: "
    policies = (
        "{internalTrafficPolicy: Local}",
        "{type: NodePort, externalTrafficPolicy: Local}",
        "{selector: {app: none}}",
    )
    asked = [
        (c, {"url": url, "via": node})
        for c in (shop, *(shop.apply(order + p) for p in policies), shop.scale("order", 1))
        for url in ("http://order-service", "https://myshop.example.com/payments/process/101")
        for node in (None, *shop.node)
    ]
    hosts = {"203.0.113.10", "203.0.113.11", "198.51.100.7"}
    for run in RUNS if mode != "ipvs" else ():
        scheme, address = "udp" if run["case"] == "udp" else "tcp", run["to"].rpartition(":")[0]
        source = "node:node-a" if "node" in run["from"] else "external:192.0.2.10" if "ext" in run["from"] else None
        via = "node-b" if address in hosts or source is None else "node-a"
        asked.append((golden(run["case"], mode), {"url": f"{scheme}://{run['to']}", "from_": source, "via": via}))
    texts, seen = {}, 0
    for cluster, question in asked:
        for node, rule in named(cluster, **question):
            key = (id(cluster), node)
            texts[key] = texts.get(key) or cluster.rules(node)
            assert rule in texts[key], (question, rule)
            seen += bool(rule)
    assert seen > 50


def test_local_and_refusing_decisions_name_their_own_rules():
    local, none = golden("nodeport-local"), golden("no-endpoints")
    outside = local.trace("tcp://172.18.0.2:30080", from_="external")
    inside = local.trace("tcp://172.18.0.2:30080", from_="node:node-a")
    assert "-A KUBE-SVL-" in outside.to_dict()["hops"][0]["rule"]
    assert "-A KUBE-SVC-" in inside.to_dict()["hops"][0]["rule"]
    for mode, rule in (
        ("iptables", "-j REJECT"),
        ("nftables", "goto reject-chain"),
        ("ipvs", "-A -t 10.96.25.17:80 -s rr"),
    ):
        refused = none.with_proxy(mode=mode).trace("tcp://10.96.25.17:80", from_="node:node-a")
        assert rule in refused.to_dict()["hops"][-1]["rule"] and refused.action == "reject"
    denied = golden("lb-sourceranges-deny").trace("tcp://203.0.113.10:80", from_="external:198.51.100.1", via="node-a")
    assert "-A KUBE-PROXY-FIREWALL" in denied.to_dict()["hops"][-1]["rule"] and denied.action == "drop"


def test_the_roll_of_the_dice_is_told():
    shop = k8slb.load("shop")
    told = {h.chosen.name: shop.trace("http://order-service", seed=s).why() for s in range(20)
            for h in shop.trace("http://order-service", seed=s).hops if h.decision.layer == "kube-proxy"}  # fmt: skip
    assert "rule 1 of 3, probability 0.3333: taken; overall 1/3" in told["order-1"]
    assert "rule 2 of 3, probability 0.5: taken, the 1 before it not; overall 1/3" in told["order-2"]
    assert "rule 3 of 3, without a condition: taken, the 2 before it not; overall 1/3" in told["order-3"]


@pytest.mark.parametrize(("mode", "masked"), [("iptables", True), ("ipvs", True), ("nftables", False)])
def test_masquerade_all(mode, masked):
    """IPVS reads the section of iptables; nftables has its own."""
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "node-a"}, "status": {"podIP": "10.0.0.50"}}
    cluster = golden("order-clusterip-3", mode).apply(json.dumps({"apiVersion": "v1", "kind": "Pod"} | pod))
    changed = cluster.apply(kube_proxy(iptables={"masqueradeAll": True}))
    trace = changed.trace("tcp://10.96.25.17:80", from_="pod:default/p")
    assert trace.source_seen == ("172.18.0.2" if masked else "10.0.0.50")


# --- what it costs ---------------------------------------------------------------------------------------------------


def walk(text: str, vip: str, dport: int, endpoint: str) -> dict[str, int]:
    """Follow a pod's packet through the nat table, the dice falling for `endpoint`: rules met, by kind of chain."""
    rules, met, target = blocks(text), {}, None

    def matches(rule: str) -> bool:
        to, port = re.search(r" -d (\S+)/32", rule), re.search(r"--dport (\d+)", rule)
        if (to and to[1] != vip) or (port and int(port[1]) != dport) or "! -s 10.0.0.0/24" in rule:
            return False
        if "--rcheck" in rule or re.search(r" -s 10\.0\.0\.\d+/32", rule) or "--dst-type LOCAL" in rule:
            return False
        return f'-> {endpoint}"' in rule if "->" in rule else True

    def follow(chain: str) -> bool:
        for rule in rules[f"nat {chain}"]:
            kind = "-".join(chain.split("-")[:2])
            met[kind] = met.get(kind, 0) + 1
            if matches(rule):
                nonlocal target
                target = rule.partition(" -j ")[2]
                if target.startswith("DNAT") or follow(target):
                    return True
        return False

    assert follow("PREROUTING") and target.endswith(endpoint)
    return met


@pytest.mark.parametrize("case", ("clusterip-10", "clusterip-1", "affinity-two-ports", "lb-local", "two-ports"))
def test_the_count_is_what_a_packet_meets(case):
    cluster = golden(case)
    text = cluster.rules("node-a")
    dispatch = blocks(text)["nat KUBE-SERVICES"]
    service = cluster.services["default", "order-service"]
    for port in service.spec.ports:
        picks = cluster.trace(f"tcp://10.96.25.17:{port.port}", from_="node:node-a").hops[0].decision.candidates
        position = 1 + next(
            i for i, x in enumerate(dispatch) if "10.96.25.17/32 -p tcp" in x and f"--dport {port.port} " in x
        )
        for i, candidate in enumerate(picks):
            counted = cost.walked("iptables", position, len(picks), i, service.spec.sessionAffinity == "ClientIP")
            assert walk(text, "10.96.25.17", port.port, candidate.address) == counted


def test_the_count_is_the_average_on_the_average():
    services, n = 40, 6
    every = [cost.walked("iptables", at, n, i) for at in range(1, services + 1) for i in range(n)]
    for kind, mean in lottery.examined(services, lottery.own(n)).items():
        assert Fraction(sum(w[kind] for w in every), len(every)) == mean


def test_maps_and_hashes_do_not_grow():
    assert cost.walked("nftables", 1, 3, 2) == cost.walked("nftables", 10_000, 3000, 7)
    assert sum(cost.walked("nftables", 1, 3, 0, sticky=True).values()) == 1 + 2 + 4 + 2
    assert cost.walked("ipvs", 10_000, 3, 0) == {}
    for wrong in (("userspace", 1, 1, 0), ("iptables", 0, 1, 0), ("iptables", 1, 3, 3)):
        with pytest.raises(k8slb.InputError):
            cost.walked(*wrong)


def test_the_command(capsys):
    assert cli.main(["rules", "-f", "shop", "--node", "node-a", "--mode", "nftables"]) == 0
    assert capsys.readouterr().out == k8slb.load("shop").rules("node-a", "nftables")
    assert cli.main(["rules", "-f", "shop", "--node", "node-x"]) == 2
    assert "node-a, node-b, node-c" in capsys.readouterr().err
    with pytest.raises(k8slb.InputError, match="no kube-proxy mode"):
        k8slb.load("shop").rules("node-a", "userspace")
