"""The kernel beside the model: the same clusters and questions, real rules and connections, and nothing left behind."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from real.clusters import made
from truth.test_kube_proxy import DEPENDS_ON_THE_CNI, FACTS, ROUTES, client, golden

import k8slb
from k8slb.chance import chi_square_p
from k8slb.errors import InputError, NotHere
from k8slb.real import netfilter, supervised
from k8slb.real.supervised import RealError

pytestmark = pytest.mark.skipif(bool(netfilter.missing()), reason=f"needs {netfilter.missing()}")
BACKENDS = {"iptables": ("iptables", False), "iptables-legacy": ("iptables", True), "nftables": ("nftables", False)}
URL = "tcp://order-service:80"
RARE = 1e-4  # how seldom chance alone may fail a test


def shop(backend="iptables", pods=3, **service):
    """(the bundled shop in a backend's mode, whether that is iptables-legacy)."""
    mode, legacy = BACKENDS[backend]
    text = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "order-service"}, "spec": service}
    return k8slb.load("shop").apply(json.dumps(text)).scale("order", pods).with_proxy(mode=mode), legacy


def column(outcome, name):
    names, codes = outcome.run.columns.get(name, ([], None))
    return [names[code] if code >= 0 else "" for code in codes.tolist()] if names else []


def served(outcome):
    return {pod: count for pod, count in outcome.counts().items() if count}


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


# --- picks -----------------------------------------------------------------------------------------------------------


def test_each_connection_is_picked_at_random_also_after_scaling(backend):
    cluster, legacy = shop(backend, 2)
    with netfilter.running(cluster, legacy) as real:
        for n in (2, 3, 5, 10):
            real.becomes(cluster.scale("order", n))
            outcome = real.send(URL, requests=3000)
            assert len(outcome.exact) == n and outcome.lost == 0
            assert chi_square_p(outcome.counts(), outcome.exact)[2] > RARE
            twice = sum(a == b for a, b in pairwise(column(outcome, "pod"))) / 2999
            assert abs(twice - 1 / n) < 4.5 * (1 / n / 2999) ** 0.5


def test_what_is_open_stays_where_it_is(backend):
    """Kept alive, scaled up, scaled down: each connection goes on with its pod, new ones do not."""
    cluster, legacy = shop(backend, 2)
    with netfilter.running(cluster, legacy) as real:
        assert len(served(real.send("http://order-service", requests=500, connections=1))) == 1
        first = column(real.send(URL, requests=200, connections=200, held="a"), "pod")
        for n in (4, 1):
            real.becomes(cluster.scale("order", n))
            assert column(real.send(URL, requests=400, connections=200, held="a"), "pod") == first * 2
            assert len(served(real.send(URL, requests=300))) == n


def test_a_udp_flow_goes_on_to_a_pod_that_is_gone_until_it_is_forgotten(backend):
    udp = [{"port": 53, "targetPort": 5353, "protocol": "UDP"}]
    cluster, legacy = shop(backend, 2, ports=udp)
    asked = {"url": "udp://order-service:53", "requests": 30, "connections": 30, "held": "a"}
    with netfilter.running(cluster, legacy) as real:
        first = real.send(**asked)
        assert len(served(first)) == 2 and len(served(real.send("udp://order-service:53", requests=60))) == 2
        real.becomes(cluster.scale("order", 1))
        assert column(real.send(**asked), "pod") == column(first, "pod")
        real.becomes(cluster.scale("order", 2))
        real.becomes(cluster.scale("order", 1), forget_udp=True)
        assert len(served(real.send(**asked))) == 1


@pytest.mark.parametrize(("clients", "forgets"), [(90, False), (300, False), (1000, True)])
def test_clientip_affinity_forgets_as_the_model_says(backend, clients, forgets):
    """xt_recent remembers 100 addresses for each of 3 pods, nftables 65,535."""
    cluster, legacy = shop(backend, sessionAffinity="ClientIP")
    asked = {"url": URL, "requests": 2 * clients, "clients": clients, "via": "node-a"}

    def kept(outcome):
        pods = column(outcome, "pod")
        return sum(a == b for a, b in zip(pods[:clients], pods[clients:], strict=True)) / clients

    real, model = kept(netfilter.send(cluster, legacy=legacy, **asked)), kept(cluster.send(**asked))
    if forgets and backend != "nftables":
        assert 0.27 < real < 0.45 and abs(real - model) < 0.1
    else:  # of 300 clients a pod gets a few more than 100 by chance
        assert (real, model) == (1, 1) if clients < 300 or backend == "nftables" else min(real, model) > 0.7


def test_affinity_lasts_from_the_last_visit_and_survives_scaling():
    """Two worlds at once, one a mode: they do not meet."""
    config = {"clientIP": {"timeoutSeconds": 3}}
    with ExitStack() as stack:
        worlds = []
        for mode in ("iptables", "nftables"):
            cluster, _ = shop(mode, 2, sessionAffinity="ClientIP", sessionAffinityConfig=config)
            worlds.append((stack.enter_context(netfilter.running(cluster)), cluster))

        def visit():
            return [column(real.send(URL, requests=40, clients=40), "pod") for real, _ in worlds]

        first = visit()
        for real, cluster in worlds:
            real.becomes(cluster.scale("order", 4))
        for seconds in (0, 1.6, 1.6):
            time.sleep(seconds)
            assert visit() == first
        time.sleep(4.2)
        assert all(a != b for a, b in zip(visit(), first, strict=True))


def test_same_zone_is_preferred_by_the_hints(backend):
    cluster, legacy = shop(backend, trafficDistribution="PreferSameZone")
    with netfilter.running(cluster, legacy) as real:
        found = {node: served(real.send(URL, requests=60, via=node)) for node in cluster.node}
    assert all(set(found[node]) == set(cluster.shares(URL, via=node)) for node in found)
    assert len({*map(tuple, found.values())}) == 3  # each zone its own pod


# --- against the real kube-proxy's rules, and against the model where chance made the cluster ------------------------


def agrees(cluster, real, url, from_, via, requests=200):
    """The kernel's Outcome, which the model must explain: who answers, how often, whom the pods see, what is lost."""
    outcome = real.send(url, requests=requests, from_=from_, via=via)
    told, shares = cluster.trace(url, from_=from_, via=via), cluster.shares(url, from_=from_, via=via)
    counts, lost, about = served(outcome), outcome.counts("lost"), f"{cluster.mode} {url} {from_} {via}"
    if any("CNI" in warning for warning in told.warnings):
        assert set(counts) <= set(shares), about
        return outcome
    rules = [h.decision for h in told.hops if h.decision.layer == "kube-proxy"]
    sources = {c.address: c.flow.source for d in rules for c in d.candidates}
    for pod, source in zip(column(outcome, "pod"), column(outcome, "source"), strict=True):
        assert not pod or source == sources.get(pod, told.begin.flow.source), about
    expected = {pod: share for pod, share in shares.items() if share}
    if not expected:
        assert not counts and set(lost) == {told.action}, about
    elif any(d.remembers[1:] for d in rules):
        assert len(counts) == 1 and set(counts) <= set(expected) and not lost, about
    else:
        assert set(counts) <= set(expected) and bool(lost) == (sum(expected.values()) < 1), about
        assert lost or chi_square_p(counts, expected)[2] > RARE / 100, about  # it is asked often
    return outcome


GROUPS = sorted({(run["case"], run["mode"]) for run in FACTS["runs"]})


@pytest.mark.parametrize(("case", "mode"), GROUPS)
def test_as_with_the_real_kube_proxys_rules(case, mode):
    cluster = golden(case, mode)
    with netfilter.running(cluster) as real:
        for run in (r for r in FACTS["runs"] if (r["case"], r["mode"]) == (case, mode)):
            via = ROUTES.get(run["to"].rpartition(":")[0]) if run["from"] == "kx-ext" else None
            url = f"{'udp' if case == 'udp' else 'tcp'}://{run['to']}"
            outcome = agrees(cluster, real, url, client(run["from"]), via, 200 if run["counts"] else 20)
            if not case.startswith("affinity") and (case, run["from"], run["to"]) not in DEPENDS_ON_THE_CNI:
                assert set(served(outcome)) == set(run["counts"])
                assert set(outcome.counts("source")) == set(run["peers"] if run["counts"] else ())


NODE = """
apiVersion: v1
kind: Node
metadata: {name: node-%s}
status: {addresses: [{type: InternalIP, address: 172.18.0.%s}, {type: ExternalIP, address: 203.0.113.%s}]}
---
"""
HOST = """
apiVersion: v1
kind: Pod
metadata: {name: host, labels: {app: %s}}
spec: {nodeName: node-a, hostNetwork: true, containers: [{name: c, image: c, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: a}
spec:
  type: LoadBalancer
  externalTrafficPolicy: %s
  selector: {app: a}
  externalIPs: [192.0.2.50]
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
status: {loadBalancer: {ingress: [{ip: 203.0.113.100}]}}
"""


def test_what_the_kernel_taught_the_model():
    """What is delivered on the node is never masqueraded; what the node itself sends out no rule refuses; a closed
    node port drops where its policy finds no local endpoint."""
    nodes = NODE % ("a", 2, 2) + NODE % ("b", 3, 3)
    served_there, nobody = (k8slb.load(nodes + HOST % (app, "Cluster")) for app in "ab")
    outside, at_a = "external:198.51.100.10", "tcp://172.18.0.2:30080"
    with netfilter.running(served_there) as real:
        for from_, source in ((outside, "198.51.100.10"), ("node:node-b", "172.18.0.3")):
            assert agrees(served_there, real, at_a, from_, None).counts("source") == {source: 200}
        assert agrees(served_there, real, "tcp://172.18.0.3:30080", outside, None).counts("source") == {
            "172.18.0.3": 200
        }
    for mode, lost in (("iptables", "drop"), ("nftables", "reject")):
        cluster = nobody.with_proxy(mode=mode)
        with netfilter.running(cluster) as real:
            for address in ("192.0.2.50", "203.0.113.100"):
                assert agrees(cluster, real, f"tcp://{address}:80", "node:node-a", None, 20).counts("lost") == {
                    lost: 20
                }
                assert agrees(cluster, real, f"tcp://{address}:80", outside, "node-a", 20).counts("lost") == {
                    "reject": 20
                }
    chosen = (
        "{apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration, nodePortAddresses: [%s]}\n---\n"
    )
    for policy, lost in (("Local", "drop"), ("Cluster", "reject")):
        closed = k8slb.load(chosen % "203.0.113.0/24" + nodes + HOST % ("a", policy))
        with netfilter.running(closed) as real:
            assert agrees(closed, real, "tcp://172.18.0.3:30080", outside, None, 20).counts("lost") == {lost: 20}


@pytest.mark.parametrize("seed", range(12))
def test_any_cluster(seed):
    text, asked = made(random.Random(seed))
    cluster = k8slb.load(text)
    with netfilter.running(cluster) as real:
        for question in asked:
            agrees(cluster, real, *question, requests=60)


# --- what cannot be asked, and what has no answer --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "kind", "words"),
    [
        ({"url": "https://myshop.example.com/orders"}, NotHere, "goes on at a proxy"),
        ({"url": "tcp://203.0.113.10:80"}, InputError, "via=NODE"),
        ({"url": "tcp://10.0.0.5:8081", "from_": "external"}, InputError, "no network outside"),
        ({"url": "sctp://order-service:80"}, NotHere, "sctp"),
        ({"url": "tcp://no-such.default.svc.cluster.local:80", "from_": "node:node-a"}, InputError, "no-such"),
        ({"url": "tcp://10.96.0.100:80", "from_": "node:node-a", "via": "node-b"}, InputError, "via=node-a"),
        ({"url": URL, "requests": 200_000}, InputError, "100,000"),
    ],
)
def test_what_is_no_question_for_the_kernel(asked, kind, words):
    with netfilter.running(shop()[0]) as real, pytest.raises(kind, match=re.escape(words)):
        real.send(**asked)


def test_who_cannot_run_it_says_what_is_missing(monkeypatch):
    with pytest.raises(NotHere, match=r"ip_vs of its own.*ipvs\.json"), netfilter.running(shop()[0].with_proxy("ipvs")):
        pass
    with pytest.raises(InputError, match="up to 250"), netfilter.running(shop(pods=300)[0]):
        pass
    monkeypatch.setitem(netfilter.PROGRAMS, "legacy", "iptables-of-old")
    netfilter._missing.cache_clear()
    assert netfilter.missing("iptables", legacy=True).startswith("iptables-of-old, which is not installed (apt-get")
    netfilter._missing.cache_clear()


def test_who_has_no_answer_is_counted_and_the_rest_not_sent():
    with netfilter.running(shop(pods=0)[0]) as real:
        assert real.send(URL, requests=300).counts("lost") == {"reject": 300}
        outcome = real.send("tcp://10.96.77.77:80", requests=400, from_="node:node-a")
    lost = outcome.counts("lost")
    assert sum(lost.values()) == 400 and 200 <= lost["drop"] < 300
    assert outcome.failures["kernel", "not sent: no answer to the 200 before"] == lost["not sent"]


# --- nothing is left, nothing is changed -----------------------------------------------------------------------------


def machine():
    """What this machine has of its own: rules, addresses, names, settings, files."""
    commands = ("iptables-save", "nft list ruleset", "ip -o addr", "ip rule", "ip route show table all", "ip netns")
    told = [subprocess.run(c.split(), capture_output=True, text=True, check=True).stdout for c in commands]
    settings = sorted(p for p in Path("/proc/sys/net/ipv4").rglob("*") if p.name in ("ip_forward", "icmp_ratemask"))
    settings += sorted(Path("/proc/sys/net/ipv4/conf").glob("*/[rf]*"))
    names = sorted(os.listdir("/run"))
    return (
        re.sub(r"\[\d+:\d+\]|\d+sec|packets \d+ bytes \d+|^#.*", "", "\n".join(told), flags=re.M),
        [p.read_text() for p in settings],
        names,
    )


def held(pid):
    """What a process has open, other than sockets and pipes; of all processes where `pid` is "[0-9]*"."""
    links = map(read, (*Path("/proc").glob(f"{pid}/ns/net"), *Path("/proc").glob(f"{pid}/fd/*")))
    return {to for to in links if not to.startswith(("socket:", "pipe:"))}


def read(link):
    try:
        return os.readlink(link)
    except OSError:
        return ""


def nothing_is_left_of(pid, its):
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return not {x for x in its if x.startswith("net:")} & held("[0-9]*")
        time.sleep(0.1)
    return False


def test_nothing_is_left(backend):
    before, own = machine(), held(os.getpid())
    cluster, legacy = shop(backend)
    with netfilter.running(cluster, legacy) as real:
        pid = real._child.process.pid
        real.send(URL, requests=50, clients=50)
        its = held(pid) - own
        spaces = {x for x in its if x.startswith("net:")}
        assert len(spaces) == 14  # the fabric, three nodes, seven pods, three nodes' clients
        assert {x.partition(":")[0] for x in its - spaces} <= {"anon_inode", "/memfd", "/dev/null"}  # no file
    assert nothing_is_left_of(pid, spaces) and machine() == before


def test_nothing_is_left_when_the_supervisor_is_killed():
    before, own = machine(), held(os.getpid())
    with netfilter.running(shop()[0]) as real:
        pid = real._child.process.pid
        real.send(URL, requests=50)
        its = held(pid) - own
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(RealError, match="ended"):
            real.send(URL)
    assert nothing_is_left_of(pid, its) and machine() == before


def test_nothing_is_left_when_who_asks_is_killed(backend):
    before, own = machine(), held(os.getpid())
    mode, legacy = BACKENDS[backend]
    code = (
        "import k8slb; from k8slb.real import netfilter\n"
        f"with netfilter.running(k8slb.load('shop').with_proxy('{mode}'), {legacy}) as real:\n"
        "    print(real._child.process.pid, flush=True)\n"
        f"    real.send('{URL}', requests=100_000)\n"
    )
    asks = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(asks.stdout.readline())
    time.sleep(0.5)  # it is sending
    its = held(pid) - own
    asks.kill()
    asks.wait()
    assert len(its) > 14 and nothing_is_left_of(pid, its) and machine() == before


def test_who_interrupts_a_question_never_gets_its_answer_to_the_next(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with supervised.Supervised("k8slb.real.loopback") as child:
        monkeypatch.setattr(supervised, "select", interrupted)
        with pytest.raises(KeyboardInterrupt):
            child.ask("opened", pods=[])
        monkeypatch.undo()
        with pytest.raises(supervised.RealError, match="start it anew"):
            child.ask("stand", pods=[])
