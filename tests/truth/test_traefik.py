"""What becomes of a request under Traefik: what the real 3.7.15 answered, in traefik.json, asked of the model.

`vectors` are the cases of ingress.json, where Traefik's answer is not the specification's; `recorded` are sets of rules
of our own. Both were asked of the real program over loopback, its provider kubernetesIngress before an API server that
only lists; traefik.json says how.
"""

import json
from pathlib import Path

import pytest
from truth.ingress_yaml import manifests

import k8slb
from k8slb import NotModelled

HERE = Path(__file__).parent
REAL = json.loads((HERE / "traefik.json").read_text())
SPEC = json.loads((HERE / "ingress.json").read_text())
PREFIX = "traefik.ingress.kubernetes.io/"
STRICT = "--providers.kubernetesIngress.strictPrefixMatching=true"
NETWORKING = "networking.k8s.io/v1"
LABELS = {"app.kubernetes.io/name": "traefik"}
PLAIN = tuple("abcdefgh")  # Services with one endpoint each; what is special of the others:
ANNOTATED = {
    "native": {"service.nativelb": "true"},
    "strategy": {"service.strategy": "p2c"},
    "sticky": {"service.sticky.cookie.name": "mine"},
    "unnamed": {"service.sticky.cookie": "true"},
}
CONDITIONS = {"unready": (False, False, False), "leaving": (False, True, True)}  # ready, serving, terminating


def replica(*args: str) -> list[dict]:
    """Traefik's own pod, with these arguments, behind a Service."""
    meta = {"name": "traefik", "namespace": "traefik", "labels": LABELS}
    container = {"name": "traefik", "image": "traefik:v3.7.15", "args": list(args)}
    front = {"type": "LoadBalancer", "selector": LABELS, "ports": [{"name": n, "port": p} for n, p in PORTS.items()]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}}
    return [pod, {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": front}]


PORTS = {"web": 80, "websecure": 443}


def services(port: int = 8080, first: str = "10.9.0.") -> list[dict]:
    """The Services that rules name, and their EndpointSlices; "missing" is not there and "empty" has no endpoint."""
    made = []
    for i, name in enumerate((*PLAIN, "empty", "two", "external", *CONDITIONS, *ANNOTATED)):
        notes = {PREFIX + k: v for k, v in ANNOTATED.get(name, {}).items()}
        ports = [{"name": "http", "port": 80, "targetPort": port}]
        body = {"ports": ports, "clusterIP": f"10.96.9.{i}", "selector": {"app": name}}
        if name == "two":
            body["ports"] = [{"name": "admin", "port": 81, "targetPort": 1}, *ports]
        if name == "external":
            body = {"type": "ExternalName", "externalName": "localhost", "ports": ports}
        made.append(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": notes}, "spec": body}
        )
        bits = dict(zip(("ready", "serving", "terminating"), CONDITIONS.get(name, (True, True, False)), strict=True))
        endpoints = [] if name in ("empty", "external") else [{"addresses": [f"{first}{i + 1}"], "conditions": bits}]
        meta = {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}}
        one = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4"}
        made.append(one | {"ports": [{"name": "http", "port": port}], "endpoints": endpoints})
    return made


def ingresses(written: list[dict]) -> list[dict]:
    """Ingresses from the compact form of traefik.json, and their classes."""
    classes = {"traefik": "traefik.io/ingress-controller", "other": "example.com/other"}
    made = [
        {"apiVersion": NETWORKING, "kind": "IngressClass", "metadata": {"name": name}, "spec": {"controller": of}}
        for name, of in classes.items()
    ]

    def backend(text: str) -> dict:
        name, _, port = text.partition(":")
        return {
            "service": {"name": name, "port": {"number": int(port or 80)} if not port.isalpha() else {"name": port}}
        }

    for i, one in enumerate(written):
        rules = []
        for host, path, kind, service in one.get("rules", ()):
            rule = {"http": {"paths": [{"path": path, "pathType": kind, "backend": backend(service)}]}}
            rules.append(rule | ({"host": host} if host else {}))
        body = {"rules": rules} | ({"ingressClassName": one.get("class", "traefik")} if one.get("class", 1) else {})
        body |= {"defaultBackend": backend(one["default"])} if "default" in one else {}
        notes = {k if "/" in k else PREFIX + k: v for k, v in one.get("annotations", {}).items()}
        meta = {"name": f"ingress-{i}", "annotations": notes}
        made.append({"apiVersion": NETWORKING, "kind": "Ingress", "metadata": meta, "spec": body})
    return made


def cluster(objects: list[dict]) -> k8slb.Cluster:
    return k8slb.load("\n---\n".join(map(json.dumps, objects)))


def answer(view: k8slb.Cluster, scheme: str, host: str, path: str) -> tuple[dict, str | int, str | None]:
    """(the trace, its backend or status, the path passed on)."""
    url = f"{scheme}://traefik.traefik{path}"
    told = view.trace(url, from_="pod:traefik/traefik", headers={"Host": host}).to_dict()
    to = told["backend"]["service"] if told["status"] in (None, 200) else told["status"]
    return told, to, told["forwarded"]["path"] if told["forwarded"] and to != told["status"] else None


@pytest.mark.parametrize("strict", [False, True], ids=["default", "strict"])
@pytest.mark.parametrize("case", SPEC["cases"], ids=lambda c: c["id"])
def test_the_vectors_as_traefik_answered_them(case, strict):
    given = SPEC["ingresses"][case["ingresses"]]
    text = manifests(given, "traefik") + "".join("\n---\n" + json.dumps(o) for o in replica(*[STRICT] * strict))
    told = k8slb.load(text).trace(f"http://{case['host']}{case['path']}").to_dict()
    real = REAL["vectors"].get(case["id"], [case["expect"]] * 2)[strict]
    assert (told["backend"]["service"] if told["status"] == 200 else told["status"]) == real


RECORDED = [
    pytest.param(case, *asked, id=f"{case['id']} {asked[0]}{asked[1]}")
    for case in REAL["recorded"]
    for asked in case["asked"]
]


@pytest.mark.parametrize(("case", "host", "path", "expect", "sent"), RECORDED)
def test_rules_of_our_own(case, host, path, expect, sent):
    view = cluster([*ingresses(case["ingresses"]), *services(), *replica(*case.get("args", ()))])
    _, got, passed_on = answer(view, "http", host, path)
    assert (got, passed_on) == (expect, sent)


@pytest.mark.parametrize("case", REAL["chance"], ids=lambda c: c["id"])
def test_equal_priorities_are_chance_and_the_model_says_so(case):
    view = cluster([*ingresses(case["ingresses"]), *services(), *replica()])
    told, got, _ = answer(view, "http", case["host"], case["path"])
    assert len(case["seen"]) > 1
    assert got in case["seen"]
    assert [w for w in told["warnings"] if "same priority" in w]


def test_what_it_keeps_of_a_pick():
    rules = [["s.test", f"/{name}", "Prefix", name] for name in (*ANNOTATED, "a")]
    view = cluster([*ingresses([{"rules": rules}]), *services(), *replica()])
    picks = {}
    for name in ("sticky", "unnamed", "native", "a"):
        trace = view.trace(f"http://traefik.traefik/{name}", from_="pod:traefik/traefik", headers={"Host": "s.test"})
        picks[name] = next(h.decision for h in trace.hops if h.decision.layer == "ingress")
    cookies = {name: [m.key for m in d.remembers if m.kind == "cookie"] for name, d in picks.items()}
    assert cookies == {"sticky": ["mine"], "unnamed": [REAL["cookie"]["unnamed"]], "native": [], "a": []}
    assert picks["native"].candidates[0].address == "10.96.9.13:80"  # the ClusterIP
    assert picks["a"].balancer == "traefik-wrr"
    assert (picks["a"].on_failure.tries, picks["a"].on_failure.refused) == (1, REAL["dead endpoint"])


def test_schemes_and_certificates():
    tls = {"rules": [["t.test", "/", "Prefix", "a"]], "annotations": {"router.tls": "true"}}
    web = {"rules": [["w.test", "/", "Prefix", "b"]], "annotations": {"router.entrypoints": "web"}}
    view = cluster([*ingresses([tls, web]), *services(), *replica()])
    got = [answer(view, scheme, host, "/")[1] for scheme in ("http", "https") for host in ("t.test", "w.test")]
    assert got == [404, "b", "a", 404]
    trace = view.trace("https://traefik.traefik/", from_="pod:traefik/traefik", headers={"Host": "t.test"})
    assert trace.to_dict()["certificate"] == "TRAEFIK DEFAULT CERT"


def test_what_is_left_out_is_said():
    regexp = {"rules": [["r.test", "/x[0-9]", "ImplementationSpecific", "a"]]}
    regexp["annotations"] = {"router.pathmatcher": "PathRegexp"}
    with pytest.raises(NotModelled, match="PathRegexp"):
        answer(cluster([*ingresses([regexp]), *services(), *replica()]), "http", "r.test", "/x1")
    shaped = {
        "rules": [["m.test", "/", "Prefix", "a"]],
        "annotations": {"router.middlewares": "default-strip@kubernetescrd"},
    }
    shaped["annotations"]["nginx.ingress.kubernetes.io/rewrite-target"] = "/"
    told, got, _ = answer(cluster([*ingresses([shaped]), *services(), *replica()]), "http", "m.test", "/")
    assert got == "a"
    assert any("router.middlewares" in w and "not modelled" in w for w in told["warnings"])
    assert any("rewrite-target" in w and "mean nothing" in w for w in told["warnings"])
