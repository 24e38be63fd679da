"""The model's kube-proxy against the real one, 1.36.2: which endpoints, where connections go, whom the pod sees.

`kube_proxy.json` holds the facts, `golden/` what the real one was given. The text of the rules: test_rules.py.
Left to later tests: the timing of session affinity.
"""

import json
import math
from functools import cache
from pathlib import Path

import pytest

import k8slb
from k8slb.endpoints import eligible
from k8slb.layers.kube_proxy import iptables, nftables

HERE = Path(__file__).parent
FACTS = json.loads((HERE / "kube_proxy.json").read_text())
NODE_IP = {"node-a": "172.18.0.2", "node-b": "172.18.0.3"}
ON_NODE_A = {"5", "6", "8", "9", "10", "50"}
ROUTES = {"203.0.113.10": "node-a", "203.0.113.11": "node-b", "198.51.100.7": "node-a"}  # the external client's
DIALLED = "172.18.0.100"

# A pod dials another node's node port under Local: without a CNI that rewrites its source the answers go straight
# back, and in the lab 2 of 3 picks hang. The model warns of it.
DEPENDS_ON_THE_CNI = {("nodeport-local", "kx-ca", "172.18.0.3:30080")}


def yaml(*objects: dict) -> str:
    return "\n---\n".join(map(json.dumps, objects))


@cache
def golden(case: str, mode: str = "iptables") -> k8slb.Cluster:
    """The cluster of a case, and a pod for every address that a client of the lab had."""
    clients = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"p{last}"},
            "spec": {"nodeName": "node-a" if last in ON_NODE_A else "node-b"},
            "status": {"podIP": f"10.0.0.{last}"},
        }
        for last in map(str, [*range(5, 15), 50, 60])
    ]
    text = (HERE / "golden" / case / "input.yaml").read_text()
    return k8slb.load(text + "\n---\n" + yaml(*clients)).with_proxy(mode=mode)


def client(namespace: str) -> str:
    """`from_` for a network namespace of the lab."""
    name = namespace.removeprefix("kx-")
    if name == "ext":
        return f"external:{DIALLED}"
    return f"node:{name}" if name.startswith("node") else f"pod:default/{ {'ca': 'p50', 'cb': 'p60'}.get(name, name) }"


# --- which endpoints -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", FACTS["endpoints"], ids=lambda c: c["id"])
def test_eligible_endpoints(case):
    me, policies = case["node"] or "me", case["policies"]
    zone = {"topology.kubernetes.io/zone": case["zone"]} if case["zone"] else {}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": me, "labels": zone}}
    spec = {
        "type": "NodePort" if "externally_accessible" in policies else "ClusterIP",
        "ports": [{"port": 80}],
        "internalTrafficPolicy": "Local" if "internal_policy_local" in policies else "Cluster",
    }
    if "external_policy_local" in policies and "externally_accessible" in policies:
        spec["externalTrafficPolicy"] = "Local"
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc"}, "spec": spec}
    endpoints = []
    for address, is_, *hints in case["endpoints"]:
        hint = hints[0] if hints else {"zones": [], "nodes": []}
        endpoints.append(
            {
                "addresses": [address.split(":")[0]],
                "nodeName": me if "local" in is_ else "elsewhere",
                "conditions": {k: k in is_.split() for k in ("ready", "serving", "terminating")},
                "hints": {
                    "forZones": [{"name": z} for z in hint["zones"]],
                    "forNodes": [{"name": n} for n in hint["nodes"]],
                },
            }
        )
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "svc-1", "labels": {"kubernetes.io/service-name": "svc"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 80}],
        "endpoints": endpoints,
    }
    cluster = k8slb.load(yaml(node, service, slice_))
    (loaded,) = cluster.services.values()
    sets = eligible(cluster, loaded, loaded.spec.ports[0], me)
    got = ([e.address for e in sets.cluster], [e.address for e in sets.local], sets.has_any)
    assert got == (case["cluster"], case["local"], case["has_any"])


# --- what happens to a connection ------------------------------------------------------------------------------------


def flows():
    for fact in FACTS["flows"]:
        for mode in ("iptables", "nftables"):
            for flow, expected in fact["flows"].items():
                yield pytest.param(fact, mode, flow, expected, id=f"{fact['case']}@{fact['node']} {mode} {flow}")


@pytest.mark.parametrize(("fact", "mode", "flow", "expected"), list(flows()))
def test_flow(fact, mode, flow, expected):
    cluster, node = golden(fact["case"], mode), fact["node"]
    service = cluster.services["default", "order-service"]
    source, _, destination = flow.partition("->")
    where = {
        "pod": ("pod:default/p50" if node == "node-a" else "pod:default/p60"),
        "external": f"external:{DIALLED}",
        "external-blocked": "external:192.0.2.10",
        node: f"node:{node}",
    }[source]
    address = (
        f"{service.spec.clusterIP}:{destination.partition(':')[2]}"
        if destination.startswith("clusterIP")
        else f"{NODE_IP[node]}:{service.spec.ports[0].nodePort}"
        if destination.endswith("nodePort")
        else f"{destination.split()[-1]}:{service.spec.ports[0].port}"
    )
    url = f"{service.spec.ports[0].protocol.lower()}://{address}"
    told = cluster.trace(url, from_=where, via=node)
    if isinstance(expected, str):
        assert told.action == expected
        return
    assert sorted(cluster.shares(url, from_=where, via=node)) == sorted(expected["endpoints"])
    assert told.source_seen == (NODE_IP[node] if expected["masquerade"] else told.begin.flow.source)


@pytest.mark.parametrize("fact", FACTS["flows"], ids=lambda f: f"{f['case']}@{f['node']}")
def test_sets_of_the_golden_cases(fact):
    cluster = golden(fact["case"])
    service = cluster.services["default", "order-service"]
    if not service.headless:  # kube-proxy has no rules for a headless one, and the model never asks
        sets = eligible(cluster, service, service.spec.ports[0], fact["node"])
        got = ([e.address for e in sets.cluster], [e.address for e in sets.local], sets.has_any)
        assert got == (sorted(fact["cluster"]), sorted(fact["local"]), fact["has_any"])


# --- real connections ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", FACTS["runs"], ids=lambda r: f"{r['case']} {r['mode']} {r['from']} {r['to']}")
def test_real_connections(run):
    cluster = golden(run["case"], run["mode"])
    address = run["to"].rpartition(":")[0]
    via = ROUTES.get(address) if run["from"] == "kx-ext" else None
    asked = {
        "url": f"{'udp' if run['case'] == 'udp' else 'tcp'}://{run['to']}",
        "from_": client(run["from"]),
        "via": via,
    }
    told, counts = cluster.trace(**asked), run["counts"]
    if (run["case"], run["from"], run["to"]) in DEPENDS_ON_THE_CNI:
        assert any("CNI" in warning for warning in told.warnings) and set(counts) <= set(told.endpoints)
        return
    if not counts:
        # A refusal is an ICMP error, and the kernel limits how many it sends: back to back some of them time out.
        refused = any("Refused" in e for e in run["errors"])
        assert told.action == ("reject" if refused else "drop")
        return
    shares = cluster.shares(**asked)
    assert shares.lost == 0 and set(counts) <= set(shares)
    seen = {c.address: c.flow.source for h in told.hops for c in h.decision.candidates}
    peers = {}
    for endpoint, count in counts.items():
        peers[seen[endpoint]] = peers.get(seen[endpoint], 0) + count
    assert peers == run["peers"]
    if run["case"].startswith("affinity"):
        assert len(counts) == 1  # remembered: all of a client's connections go where its first went
    else:
        assert chi_square_p(counts, shares) > 1e-4


def chi_square_p(counts: dict[str, int], shares: dict) -> float:
    """The probability of counts at least this far from the exact shares: Q(k/2, x/2), by its recurrence in k."""
    total = sum(counts.values())
    half = sum((counts.get(e, 0) - total * p) ** 2 / (total * p) for e, p in shares.items()) / 2
    half, freedom = float(half), len(shares) - 1
    if freedom == 0:
        return 1.0
    a, q = (0.5, math.erfc(math.sqrt(half))) if freedom % 2 else (1.0, math.exp(-half))
    while a < freedom / 2:
        q += half**a * math.exp(-half) / math.gamma(a + 1)
        a += 1
    return q


def test_the_statistic_rejects_round_robin_that_is_off():
    fair = dict.fromkeys("abc", 1 / 3)
    assert chi_square_p({"a": 1000, "b": 1000, "c": 1000}, fair) == 1
    assert chi_square_p({"a": 1100, "b": 1000, "c": 900}, fair) < 1e-4
    assert abs(chi_square_p({"a": 60, "b": 40}, dict.fromkeys("ab", 1 / 2)) - 0.0455) < 1e-4


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fact", FACTS["chains"], ids=lambda f: f["chain"])
def test_iptables_chain_names(fact):
    name = iptables.chain(fact["kind"], fact["service_port"], fact["protocol"], fact.get("endpoint", ""))
    assert name == fact["chain"]


@pytest.mark.parametrize("fact", FACTS["nftables_chains"], ids=lambda f: f["chain"])
def test_nftables_chain_names(fact):
    name = nftables.chain(fact["kind"], fact["service"], fact["protocol"], fact["port"], fact.get("endpoint", ""))
    assert name == fact["chain"]


@pytest.mark.parametrize("fact", FACTS["probabilities"], ids=lambda f: str(f["n"]))
def test_probabilities(fact):
    shown = iptables.probability(fact["n"], 0)
    assert shown == fact.get("iptables_save_shows", shown)
    assert abs(float(shown) - float(fact["kube_proxy_writes"])) < 1e-9


@pytest.mark.parametrize("fact", FACTS["lotteries"], ids=lambda f: str(f["endpoints"]))
def test_lotteries(fact):
    n = fact["endpoints"]
    shown = [iptables.probability(n, i) for i in range(n)]
    assert [f"{float(p):.9f}" if p else None for p in shown] == [
        p and f"{float(p):.9f}" for p in fact["kube_proxy_writes"]
    ]
