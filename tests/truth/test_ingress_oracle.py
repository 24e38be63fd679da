"""The Ingress specification a second time, written naively from its words, beside the model under k8slb/spec.

The words: kubernetes.io/docs/concepts/services-networking/ingress (hostname wildcards, path types, multiple matches,
default backend) and the API reference of networking.k8s.io/v1. Three readings are the model's, since the words leave
them open: the most specific host keeps a request none of whose paths match; a trailing slash does not make a path
longer, but breaks the last tie; of equal rules the oldest Ingress wins.
"""

import json
from random import Random

import pytest

import k8slb
from k8slb import objects as k8s
from k8slb.controllers import SPEC, Controller
from k8slb.layers.ingress import spec
from k8slb.traffic import flow_of

HOSTS = ("", "shop.test", "a.shop.test", "*.shop.test", "*.test", "b.a.shop.test")
PATHS = ("/", "/a", "/a/", "/a/b", "/a/b/", "/ab", "/A", "/a/b/c", "/a%20b", "/a.b", "/aa/b", "/é")
ASKED_HOSTS = ("shop.test", "a.shop.test", "x.shop.test", "b.a.shop.test", "SHOP.test", "other.test", "other", "test")
ASKED_PATHS = (
    *PATHS,
    "/a/x",
    "/a/b/x",
    "/abc",
    "/a//b",
    "/a//",
    "/a/b?x=/a",
    "/?y",
    "/a%2Fb",
    "/a%20b/c",
    "/x",
    "/a/B",
)
KINDS = ("Exact", "Prefix", "Prefix", "ImplementationSpecific")
CLUSTER = k8slb.load("apiVersion: v1\nkind: Namespace\nmetadata: {name: default}")


def a_set(rng: Random) -> list[dict]:
    """One to four Ingresses of up to eight paths each; at most one of them has a defaultBackend."""
    ingresses, default = [], rng.randrange(8)
    for i in range(rng.randint(1, 4)):
        rules = []
        for _ in range(rng.randint(0 if i == default else 1, 3)):
            paths = [(rng.choice(PATHS), rng.choice(KINDS), f"s{rng.randrange(9)}") for _ in range(rng.randrange(1, 5))]
            if rng.random() < 0.1:
                paths[0] = ("", "ImplementationSpecific", "empty")
            rules.append((rng.choice(HOSTS), paths if rng.random() < 0.95 else []))
        age = f"2026-01-0{rng.randint(1, 3)}T00:00:00Z"
        ingresses.append({"rules": rules, "default": "default" if i == default else None, "created": age})
    return ingresses


def manifest(ingress: dict, i: int) -> dict:
    def backend(name: str) -> dict:
        return {"service": {"name": name, "port": {"number": 80}}}

    body = {"ingressClassName": "spec", "rules": []}
    for host, paths in ingress["rules"]:
        rule = {"host": host} if host else {}
        if paths:
            rule["http"] = {"paths": [{"path": p, "pathType": kind, "backend": backend(s)} for p, kind, s in paths]}
        body["rules"].append(rule)
    if ingress["default"]:
        body["defaultBackend"] = backend(ingress["default"])
    meta = {"name": f"i{i}", "namespace": "default", "creationTimestamp": ingress["created"]}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": body}


def said(ingresses: list[dict], host: str, path: str) -> str | int:
    """The backend by the specification's words, or 404."""
    host, path = host.lower(), path.split("?")[0]
    every = [(h, p, ingress["created"]) for ingress in ingresses for h, p in ingress["rules"]]
    levels = [
        lambda rule: rule == host,
        lambda rule: rule[:2] == "*." and host.count(".") == rule.count(".") and host.endswith(rule[1:]),
        lambda rule: rule == "",
    ]
    for level in levels:
        rules = [rule for rule in every if level(rule[0])]
        if not rules:
            continue
        best = None
        for _, paths, created in rules:
            for written, kind, service in paths:
                bare = written[:-1] if written.endswith("/") else written
                if kind == "Exact":
                    fits = written == path
                else:
                    fits = path == bare or path.startswith(bare + "/")
                rank = (len(bare), kind == "Exact", len(written))
                if fits and (best is None or rank > best[0] or (rank == best[0] and created < best[1])):
                    best = (rank, created, service)
        if best:
            return best[2]
        break
    return next((ingress["default"] for ingress in ingresses if ingress["default"]), 404)


@pytest.mark.parametrize("seed", range(10))
def test_three_hundred_sets_of_rules(seed):
    rng, answers = Random(seed), set()
    for _ in range(300):
        ingresses = a_set(rng)
        decoded = tuple(k8s.decoder(k8s.Ingress)(manifest(ingress, i)) for i, ingress in enumerate(ingresses))
        view = CLUSTER.with_objects(())
        for _ in range(6):
            host, path = rng.choice(ASKED_HOSTS), rng.choice(ASKED_PATHS)
            request = flow_of(f"http://{host}:8080{path}").request
            found, _ = spec.match(view, Controller(SPEC, ingresses=decoded), request)
            got = found.status if hasattr(found, "status") else found.route.backend.service.name
            want = said(ingresses, host, path)
            assert got == want, (host, path, ingresses)
            answers.add(want)
    assert len(answers) == 12  # nine Services, the one of empty paths, the default backend and 404: each was right


def test_the_whole_way_agrees():
    rng = Random("way")
    for _ in range(25):
        ingresses = a_set(rng)
        objects = [manifest(ingress, i) for i, ingress in enumerate(ingresses)]
        objects.append({"kind": "IngressClass", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": "spec"}})
        objects[-1]["spec"] = {"controller": SPEC}
        cluster = k8slb.load("\n---\n".join(map(json.dumps, objects)))
        host, path = rng.choice(ASKED_HOSTS[:5]), rng.choice(ASKED_PATHS)
        told = cluster.trace(
            f"http://{cluster.services['ingress', 'spec-controller'].spec.clusterIP}{path}",
            headers={"Host": host},
            from_="node:node-a",
        ).to_dict()
        want = said(ingresses, host, path)
        assert (told["status"], told["backend"] and told["backend"]["service"]) == (
            (404, None) if want == 404 else (503, want)
        )
