"""Traefik as an Ingress controller, reading the cluster from an API of its own, beside the model."""

import json
import re
import urllib.error
import urllib.request
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from real.test_proxies import app, at_addresses, pods, starts
from truth.ingress_yaml import manifests
from truth.test_traefik import PREFIX, REAL, STRICT, cluster, ingresses, replica, services

import k8slb
from k8slb.chance import chi_square_p
from k8slb.course.lab import free_port
from k8slb.endpoints import of_port
from k8slb.errors import K8slbError
from k8slb.real import api, proxies

pytestmark = pytest.mark.skipif(bool(lacks := proxies.missing("traefik")), reason=lacks)
UNLIKELY = 1e-4


# --- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "args", "most"),
    [("traefik", [], 9), ("traefik", [STRICT], 1), ("spec", [], 2)],
    ids=["own", "strict", "file"],
)
def test_the_specification_s_vectors(scope, args, most):
    """By its own rules, with an option of its containers in the cluster, and by the specification's from a file."""
    odd, asked = [], 0
    for given, cases in starts("spec", "both")[:most]:
        view = k8slb.load("\n---\n".join([manifests(given, scope), *map(json.dumps, replica(*args))]))
        urls = [f"http://{case['host']}{case['path']}" for case in cases]
        with proxies.running(view, "traefik", f"http://{cases[0]['host']}") as proxy:
            found = proxy.fetch([{"url": url} for url in urls])
        for case, url, real in zip(cases, urls, found, strict=True):
            trace, got = view.trace(url), view.pod_name(real["pod"]).rpartition("-")[0] or real["status"]
            told = trace.to_dict()
            model = told["backend"]["service"] if told["status"] == 200 else told["status"]
            if got != model and not any("same priority" in w for w in trace.warnings):
                odd.append((case["id"], url, got, model))
            asked += 1
    assert odd == []
    assert asked > 60


OURS = "services cleaned twice all-leaving allow-empty classes entry-points".split()


@pytest.mark.parametrize("case", [c for c in REAL["recorded"] if c["id"] in OURS], ids=lambda c: c["id"])
def test_rules_of_our_own(case):
    """The answers and the paths that are recorded, by provider options that the containers have."""
    view = cluster([*ingresses(case["ingresses"]), *services(), *replica(*case.get("args", ()))])
    asked = [{"url": f"http://traefik.traefik{path}", "headers": {"Host": host}} for host, path, *_ in case["asked"]]
    with proxies.running(view, "traefik", "http://traefik.traefik") as proxy:
        found = proxy.fetch(asked)
    behind = {e.address: s.name for s in view.services.values() for p in s.spec.ports for e in of_port(view, s, p)}
    got = [(behind.get(a["pod"], a["status"]), a["received"] or None) for a in found]
    assert got == [(expect, sent) for *_, expect, sent in case["asked"]]


def test_its_servers_are_endpoints_never_a_cluster_ip():
    view = app("traefik", ("h.test / Prefix app", "h.test /none Prefix none"))
    view = view.apply("{kind: Service, metadata: {name: none}, spec: {selector: {app: nobody}}}")
    with proxies.running(view, "traefik") as proxy:
        with urllib.request.urlopen(f"http://127.0.0.1:{proxy.world.admin}/api/rawdata", timeout=5) as answered:
            raw = answered.read().decode()
        (none,) = proxy.fetch([{"url": "http://h.test/none"}])
    servers = set(re.findall(r"http://([0-9.:]+)", raw)) - {"127.0.0.1:9"}  # that of the router that tells it is ready
    assert servers == {at for pod, at in proxy.world.at.items() if view.pod_name(pod).startswith("app")}
    assert not any(s.spec.clusterIP in raw for s in view.services.values())
    assert none["pod"]  # a Service without endpoints makes no router, so the shorter path has the request


# --- how it picks ----------------------------------------------------------------------------------------------------


def both(view, **asked):
    """The pods that Traefik and the model pick."""
    return pods(proxies.send(view, "http://h.test", "traefik", **asked)), pods(view.send("http://h.test", **asked))


def test_whole_turns():
    view = app("traefik").apply(
        "{kind: Pod, metadata: {name: app-3, labels: {app: app}}, spec: {containers: [{name: a}]}}"
    )
    for picked in both(view, requests=99):
        assert all(len(set(picked[i : i + 3])) == 3 for i in range(0, 99, 3))


def test_a_cookie_holds_a_client():
    view = app("traefik").apply(
        f'{{kind: Service, metadata: {{name: app, annotations: {{{PREFIX}service.sticky.cookie: "true"}}}}}}'
    )
    for picked in both(view, requests=200, clients=20):
        assert picked == picked[:20] * 10
        assert sorted(Counter(picked[:20]).values()) == [10, 10]


def test_rendezvous_hashing_pick_for_pick():
    view = at_addresses("traefik-hrw", *(f"127.3.5.{i}" for i in range(1, 6)))
    real, model = both(view, requests=200, clients=200)
    assert real == model
    assert len(set(real)) > 1


def test_two_choices_without_load_are_even():
    real, _ = both(at_addresses("traefik-p2c", *(f"127.3.6.{i}" for i in range(1, 6))), requests=1000)
    assert chi_square_p(Counter(real), dict.fromkeys(real, Fraction(1, 5)))[2] > UNLIKELY


def test_every_reload_begins_the_turns_anew():
    """It shuffles the servers then, so that the first of them is chance: 20 reloads, and a request after each."""

    def with_path(n):
        return app("traefik", ("h.test / Prefix app", f"h.test /{n} Prefix other"))

    with proxies.running(with_path(0), "traefik") as proxy:
        first = []
        for n in range(1, 21):
            proxy.becomes(with_path(n))
            first += pods(proxy.send("http://h.test/", requests=1))
            assert proxy.fetch([{"url": f"http://h.test/{n}"}])[0]["pod"].startswith("10.0.0.")
    assert len(set(first)) == 2
    assert sum(a == b for a, b in pairwise(first)) > 1  # in turn 0 of 19, by chance 9.5


def test_pods_that_come_and_go_while_it_runs():
    view = app("traefik")
    more = view.apply("{kind: Pod, metadata: {name: app-3, labels: {app: app}}, spec: {containers: [{name: a}]}}")
    with proxies.running(view, "traefik") as proxy:
        counts = [len(proxy.send("http://h.test", requests=12).counts())]
        for changed in (more, view):
            proxy.becomes(changed)
            counts.append(len(proxy.send("http://h.test", requests=12).counts()))
    assert counts == [2, 3, 2]


# --- what is refused, and the API ------------------------------------------------------------------------------------


def test_what_it_cannot_serve_here_is_refused_by_name():
    native = app("traefik").apply(
        f'{{kind: Service, metadata: {{name: app, annotations: {{{PREFIX}service.nativelb: "true"}}}}}}'
    )
    for view, told in (
        (native, "service.nativelb"),
        (app("traefik").with_balancer("ingress", "traefik-p2c"), "traefik-wrr"),
    ):
        with pytest.raises(K8slbError, match=told):
            proxies.config(view, "traefik")


def test_the_api_lists_and_tells_of_changes_and_takes_nothing():
    path, port = "apis/networking.k8s.io/v1/ingresses", free_port()

    def one(name, **spec):
        return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}

    def asked(path, **given):
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"http://127.0.0.1:{port}/{path}", **given), timeout=5
            ) as got:
                return got.status, json.load(got)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    with api.serving(port, {path: ("Ingress", [one("a"), one("b")])}) as store:
        _, listed = asked(path)
        assert (listed["kind"], [o["metadata"]["name"] for o in listed["items"]]) == ("IngressList", ["a", "b"])
        assert asked("apis/networking.k8s.io/v1/namespaces/other/ingresses")[1]["items"] == []
        number = listed["metadata"]["resourceVersion"]
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/{path}?watch=true&resourceVersion={number}", timeout=5
        ) as watch:
            store.become({path: ("Ingress", [one("b", x=1), one("c")])})
            told = [json.loads(watch.readline()) for _ in range(3)]
        assert [(e["type"], e["object"]["metadata"]["name"]) for e in told] == [
            ("DELETED", "a"),
            ("MODIFIED", "b"),
            ("ADDED", "c"),
        ]
        assert all(
            (e["object"]["kind"], e["object"]["apiVersion"]) == ("Ingress", "networking.k8s.io/v1") for e in told
        )
        assert [asked(path, method=m, data=b"{}")[0] for m in ("POST", "DELETE", "PATCH", "PUT")] == [405] * 4
        assert asked(f"{path}/a/status", method="PUT", data=b'{"kind": "Ingress"}') == (200, {"kind": "Ingress"})
        assert asked("api/v1/pods")[0] == 404
        assert len(asked(path)[1]["items"]) == 2
    with pytest.raises(urllib.error.URLError):
        asked(path)


@pytest.mark.parametrize("end", ["\u2028", "\r", "\x85"])
def test_an_option_is_one_value_whatever_is_in_it(end):
    """What begins a line of its own is no option of its own, such as one that listens everywhere."""
    more = f"--providers.kubernetesingress.ingressclass=a{end}--entrypoints.more.address=0.0.0.0:28998"
    view = k8slb.load(
        "\n---\n".join([manifests([{"rules": ["h.test / Prefix app"]}], "traefik"), *map(json.dumps, replica(more))])
    )
    text = proxies.config(view, "traefik", "http://h.test")
    told, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
    assert {name: at["address"].partition(":")[0] for name, at in told["entrypoints"].items()} == {
        "web": "127.0.0.1",
        "traefik": "127.0.0.1",
    }
    assert told["providers"]["kubernetesingress"]["ingressclass"] == more.partition("=")[2]


@pytest.mark.parametrize("name", proxies.PROXIES)
def test_services_whose_names_run_together_keep_their_pods(name):
    """a/b-c and a-b/c: their ports have upstreams of their own."""
    objects = [manifests([{"rules": ["h.test / Prefix app"]}], "spec")]
    for i, (namespace, service) in enumerate((("a", "b-c"), ("a-b", "c"))):
        meta, port = {"namespace": namespace, "name": service}, {"port": 80, "targetPort": 8080}
        spec = {"selector": {"of": service}, "ports": [port], "clusterIP": f"10.96.7.{i + 1}"}
        objects.append(json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}))
        meta = meta | {"labels": {"of": service}}
        status = {"podIP": f"10.0.77.{i + 1}", "conditions": [{"type": "Ready", "status": "True"}]}
        objects.append(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": status}))
        to = {"service": {"name": service, "port": {"number": 80}}}
        paths = [{"path": f"/{service}", "pathType": "Exact", "backend": to}]
        spec = {"ingressClassName": "test", "rules": [{"host": "h.test", "http": {"paths": paths}}]}
        kind = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}
        objects.append(json.dumps(kind | {"metadata": {"namespace": namespace, "name": "web"}, "spec": spec}))
    view = k8slb.load("\n---\n".join(objects))
    nominal, text = proxies._nominal(view), proxies.config(view, name, "http://h.test")
    for i in (1, 2):
        ip, _, _ = nominal[f"10.0.77.{i}:8080"].rpartition(":")
        assert ip in text
