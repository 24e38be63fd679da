"""What holds for every cluster: nothing is lost from the count, and trace, shares and send cannot disagree."""

import json
import sys
from collections import Counter
from itertools import product
from math import sqrt

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import k8slb
from k8slb.kubectl import plain

some = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
NODES = ["node-a", "node-b", "node-c"]


def text_of(objects):
    return "\n---\n".join(json.dumps(o) for o in objects)


def pod(name, app, node, ready, terminating, port):
    metadata = {"name": name, "labels": {"app": app, "sha": "123e45", "y": "y"}}  # text that YAML may take otherwise
    metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z"} if terminating else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}]},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def ingress(name, host, paths, class_name=None):
    """`paths`: (path, pathType, Service)."""
    made = [
        {"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": {"number": 80}}}}
        for path, kind, service in paths
    ]
    spec = {"ingressClassName": class_name, "rules": [{"host": host, "http": {"paths": made}}]}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}, "spec": spec}


def deployment(name, labels, ports=(), **spec):
    containers = [{"name": "c", "ports": [{"name": n, "containerPort": p} for n, p in ports]}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec |= {"selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def service(name, labels, ports, **spec):
    ports = [{"name": f"p{port}", "port": port, "targetPort": target} for port, target in ports]
    spec |= {"selector": labels, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


ONE_POD = st.tuples(
    st.sampled_from(NODES),
    st.sampled_from([True] * 4 + [False]),  # ready
    st.sampled_from([False] * 5 + [True]),  # terminating
    st.sampled_from([8080] * 6 + [8081]),  # its port
)


@st.composite
def services(draw, name):
    """A Service and its pods: any type, policies, hints, readiness, and now and then a targetPort nobody listens on."""
    spec = {"type": draw(st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]))}
    spec["internalTrafficPolicy"] = draw(st.sampled_from(["Cluster", "Cluster", "Local"]))
    if spec["type"] != "ClusterIP":
        spec["externalTrafficPolicy"] = draw(st.sampled_from(["Cluster", "Local"]))
    spec["trafficDistribution"] = draw(st.sampled_from([None, "PreferSameZone", "PreferSameNode"]))
    target = draw(st.sampled_from(["http", 8080, 9999]))
    pods = [pod(f"{name}-{i}", name, *one) for i, one in enumerate(draw(st.lists(ONE_POD, max_size=6)))]
    return [service(name, {"app": name}, [(80, target)], **spec), *pods]


PATHS = st.tuples(st.sampled_from(["/", "/x", "/x/y"]), st.sampled_from(["Exact", "Prefix"]), st.sampled_from("abc"))


@st.composite
def clusters(draw):
    """Two Services, an Ingress for them (and for one that is not there), a controller of one to three replicas."""
    objects = draw(services("a")) + draw(services("b"))
    controller = {"controller": draw(st.sampled_from(["k8slb/spec", "k8s.io/ingress-nginx"]))}
    networking = {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "c"}}
    paths = draw(st.lists(PATHS, min_size=1, max_size=3, unique_by=lambda p: p[:2]))
    objects += [networking | {"spec": controller}, ingress("i", "x.example.com", paths, "c")]
    replicas = draw(st.integers(1, 3))
    if replicas > 1:  # with one, the model assumes the controller's pod and Service
        labels = {"k8slb/controller": "c"}
        objects.append(deployment("proxy", labels, [("http", 80)], replicas=replicas))
        objects.append(service("proxy", labels, [(80, "http")], type="LoadBalancer"))
    return k8slb.load(text_of(objects)).with_proxy(mode=draw(st.sampled_from(["iptables", "nftables", "ipvs"])))


@st.composite
def questions(draw):
    """(cluster, url, who asks)."""
    cluster = draw(clusters())
    urls = ["http://a", "http://b.default", "http://x.example.com/x", "http://x.example.com/x/y/z", "http://c"]
    for external in (s for s in cluster.services.values() if s.spec.ports[0].nodePort):
        urls.append(f"http://172.18.0.2:{external.spec.ports[0].nodePort}/x")
        urls += [f"http://{i.ip}/x" for i in external.status.loadBalancer.ingress]
    pods = [f"pod:default/{p.name}" for p in cluster.pods[:2] if p.namespace == "default"]
    who = {"from_": draw(st.sampled_from([None, "external", "node:node-b", *pods]))}
    return cluster, draw(st.sampled_from(urls)), who | {"via": draw(st.sampled_from([None, None, "node-c"]))}


def exact(shares):
    """{what becomes of a request: probability}."""
    lost = {"lost": shares.lost} if shares.lost else {}
    return dict(shares) | {f"status {k}": p for k, p in shares.answered.items()} | lost


def sampled(run):
    """{what became of it: requests}, from the table, row by row."""
    table = run.table
    pods = table["pod"] if "pod" in table else [None] * len(table)
    kinds = table["lost"] if "lost" in table else [None] * len(table)
    statuses = table["status"] if "status" in table else [None] * len(table)
    rows = zip(pods, kinds, statuses, strict=True)
    return Counter(p if isinstance(p, str) else "lost" if isinstance(k, str) else f"status {s}" for p, k, s in rows)


@some
@given(questions(), st.integers(0, 2**64 - 1))
def test_every_request_is_accounted_for(question, seed):
    cluster, url, who = question
    shares = cluster.shares(url, **who)
    expected = exact(shares)
    assert sum(expected.values()) == 1 and all(0 < p <= 1 for p in expected.values())

    run = cluster.send(url, requests=4000, seed=seed, **who)
    counts = sampled(run)
    assert list(run.table["request"]) == list(range(4000))
    assert (
        sum(run.counts("pod").values()) + sum(v for k, v in run.counts("status").items() if k != "200") + run.lost
        == 4000
    )
    assert set(counts) == set(expected)  # every pod with a share is reached, and no other
    assert run.table.equals(cluster.send(url, requests=4000, seed=seed, **who).table)

    trace = cluster.trace(url, seed=seed, **who)
    assert (trace.pod or (f"status {trace.status}" if trace.action == "respond" else "lost")) in expected


@some
@given(questions(), st.integers(0, 2**32))
def test_samples_agree_with_exact_shares(question, seed):
    cluster, url, who = question
    expected, n = exact(cluster.shares(url, **who)), 20_000
    counts = sampled(cluster.send(url, requests=n, seed=seed, **who))
    # Wilson-Hilferty: the cube root of chi-square is nearly normal; 4 sigmas are one in 30,000
    chi2, k = sum((counts[o] - n * p) ** 2 / (n * p) for o, p in expected.items()), len(expected) - 1
    assert k == 0 or ((chi2 / k) ** (1 / 3) - (1 - 2 / (9 * k))) / sqrt(2 / (9 * k)) < 4, (counts, expected)


@some
@given(questions(), st.integers(0, 99))
def test_one_connection_stays_with_one_pod_unless_a_proxy_is_between(question, seed):
    cluster, url, who = question
    run = cluster.send(url, requests=50, connections=1, seed=seed, **who)
    if not any(h.decision.layer == "ingress" for h in cluster.trace(url, **who).hops):
        assert len(sampled(run)) == 1


@some
@given(clusters(), st.integers(0, 30), st.integers(0, 30), st.booleans())
def test_scaling_moves_nobody_else(cluster, before, after, first):
    texts = [text_of([o.raw for o in cluster.objects]), text_of(deployment(n, {"app": n}) for n in ("z", "other"))]
    both = k8slb.load(texts[::-1] if first else texts).scale("z", before)
    old = {str(p): p.status.podIP for p in both.pods}
    new = {str(p): p.status.podIP for p in both.scale("z", after).pods}
    assert {k: v for k, v in new.items() if k in old} == {k: v for k, v in old.items() if k in new}
    assert len(set(new.values())) == len(new) == len(old) + after - before


@some
@given(questions())
def test_what_yaml_shows_can_be_loaded_again(question):
    cluster, url, who = question
    again = k8slb.load("---\n".join(cluster.yaml(f"{o.kind}/{o.name}") for o in cluster.objects))
    assert again.with_proxy(mode=cluster.mode).shares(url, **who) == cluster.shares(url, **who)
    # and what was derived, as objects of their own: nodes, pods and addresses are then given, not assumed
    slices = [s for service in cluster.services.values() for s in cluster.slices(service)]
    running = [plain(o) for o in (*cluster.nodes, *cluster.pods, *cluster.services.values(), *slices)]
    rest = [o.raw for o in cluster.objects if o.kind in ("Ingress", "IngressClass")]
    config = {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": cluster.mode}
    config["clusterCIDR"] = cluster.running.cluster_cidr
    assert k8slb.load(text_of([*running, *rest, config])).shares(url, **who) == cluster.shares(url, **who)


def test_a_decision_costs_the_same_among_many_services():
    """Counted in function calls, which do not depend on the machine."""

    def calls(services, url):
        names = [f"s{i}" for i in range(services)]
        objects = [service(n, {"app": n}, [(80, 8080)]) for n in names]
        objects += [pod(n, n, "node-a", True, False, 8080) for n in names]
        objects += [ingress(n, f"{n}.example.com", [("/", "Prefix", n)]) for n in names]
        cluster = k8slb.load(text_of(objects))
        cluster.shares(url.format(1))  # the indexes are made on the first question
        counter = Counter()
        sys.setprofile(lambda frame, event, arg: counter.update([event]))
        cluster.trace(url.format(2))
        cluster.shares(url.format(2))
        sys.setprofile(None)
        return counter["call"] + counter["c_call"]

    for url in ("http://s{}", "http://s{}.example.com/", "http://s{}.example.com/x"):
        assert calls(1000, url) <= 1.2 * calls(10, url)


@pytest.mark.parametrize("ports", [p for n in (2, 3, 4, 5) for p in product((8080, 8081), repeat=n)], ids=str)
def test_tries_of_a_proxy_whose_pods_refuse(ports):
    """ingress-nginx tries three pods in turn: whichever refuse, whole periods give the exact shares."""
    objects = [service("a", {"app": "a"}, [(80, 8080)]), ingress("i", "x.example.com", [("/", "Prefix", "a")], "nginx")]
    objects += [pod(f"a-{i}", "a", "node-a", True, False, port) for i, port in enumerate(ports)]
    cluster = k8slb.load(text_of(objects))
    expected = exact(cluster.shares("http://x.example.com/"))
    counts = sampled(cluster.send("http://x.example.com/", requests=1200))
    assert set(counts) == set(expected)
    assert all(abs(counts[o] - 1200 * p) <= 2 for o, p in expected.items()), (counts, expected)
