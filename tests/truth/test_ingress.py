"""What becomes of a request at the Ingress controller: the facts of ingress.json, asked of the model.

ingress.json holds what the Ingress API's documentation, the conformance suite and ingress-nginx's own tests say, and
what a real nginx did with the locations ingress-nginx 1.15.1 writes. ingress_more.json holds cases of our own for the
same rules, each with the sentence it follows from.
"""

import json
from pathlib import Path

import pytest
from truth.ingress_yaml import manifests

import k8slb

HERE = Path(__file__).parent
FACTS, MORE = (json.loads((HERE / name).read_text()) for name in ("ingress.json", "ingress_more.json"))

# nginx redirects a request that lacks only the trailing slash of a location; the specification matches or answers 404.
REDIRECTED = {"ing-007", "ing-011", "ing-018", "ing-057", "ing-059"}


def asked(ingresses: list[dict], scope: str, host: str, path: str):
    """(status or backend, forwarded path without its query). TLS hosts are asked by https: nothing redirects then."""
    scheme = "https" if any("tls" in i for i in ingresses) else "http"
    told = k8slb.load(manifests(ingresses, scope)).trace(f"{scheme}://{host}{path}").to_dict()
    forwarded = told["forwarded"]["path"].partition("?")[0] if told["forwarded"] else None
    return told["backend"]["service"] if told["status"] == 200 else told["status"], forwarded


def cases(book: dict, *scopes: str):
    return [
        pytest.param(c, book["ingresses"][c["ingresses"]], id=c["id"]) for c in book["cases"] if c["scope"] in scopes
    ]


@pytest.mark.parametrize(("case", "ingresses"), cases(FACTS, "spec") + cases(MORE, "spec", "both"))
def test_specification(case, ingresses):
    got, forwarded = asked(ingresses, "spec", case["host"], case["path"])
    assert got == case["expect"]
    assert forwarded in (None, case["path"].partition("?")[0])  # the specification rewrites nothing


@pytest.mark.parametrize(("case", "ingresses"), cases(FACTS, "ingress-nginx") + cases(MORE, "ingress-nginx", "both"))
def test_ingress_nginx(case, ingresses):
    got, forwarded = asked(ingresses, "ingress-nginx", case["host"], case["path"])
    assert got == case["expect"]
    if "forwarded" in case:
        assert forwarded == case["forwarded"]


@pytest.mark.parametrize(("case", "ingresses"), cases(FACTS, "spec"))
def test_where_ingress_nginx_differs_from_the_specification(case, ingresses):
    got, _ = asked(ingresses, "ingress-nginx", case["host"], case["path"])
    assert got == (301 if case["id"] in REDIRECTED else case["expect"])


@pytest.mark.parametrize("case", FACTS["rewrites"], ids=lambda c: c["id"])
def test_rewrites(case):
    kind = case.get("pathType", "Prefix")
    paths = {"/orders or /payments (Prefix)": ["/orders", "/payments"]}.get(case["rule_path"], [case["rule_path"]])
    annotations = {k.replace("_", "-"): case[k] for k in ("rewrite_target", "app_root") if k in case}
    if any(ch in case["rule_path"] for ch in "(.["):
        kind, annotations["use-regex"] = "ImplementationSpecific", "true"
    ingresses = [{"rules": [f"h.test {p} {kind} app" for p in paths], "annotations": annotations}]
    if "other_rule" in case:
        ingresses.append({"rules": [f"h.test {case['other_rule'].split()[0]} Prefix app"]})
    told = k8slb.load(manifests(ingresses, "ingress-nginx")).trace(f"http://h.test{case['request']}").to_dict()
    if "expect_redirect" in case:
        status, path = case["expect_redirect"]
        assert (told["status"], told["location"]) == (status, f"http://h.test{path}")
    else:
        assert (told["status"], told["forwarded"]["path"]) == (200, case["expect_forwarded"])
