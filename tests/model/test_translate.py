"""From Ingress to Gateway API: what changes is listed, and what can be said alike is said alike."""

import json

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from truth.ingress_yaml import manifests

import k8slb
from k8slb.answers.compare import compare, probes
from k8slb.cli import main

HOST = "shop.example"
# ingress-nginx works on the decoded path with single slashes; the Gateway API says nothing of either
OPEN = {"//", "an encoded letter"}
some = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def translated(*ingresses, scope="ingress-nginx"):
    return k8slb.load(manifests(list(ingresses), scope)).translate()


def routes(made, name="ingress-0-shop-example"):
    docs = [d for d in yaml.safe_load_all(made.yaml) if d["kind"] == "HTTPRoute"]
    return [rule for d in docs if d["metadata"]["name"] == name for rule in d["spec"]["rules"]]


def kinds(of):
    return {probe.what for probe, _ in of.rows}


# --- for every Ingress ---

PATHS = [f"{p} {k}" for p in ("/", "/a", "/a/", "/a/b", "/ab", "/A", "/a.b", "/a/b/c") for k in ("Exact", "Prefix")]
# without an Exact path beside a Prefix of the same letters, of which ingress-nginx makes one regular expression or two
APART = ["/ Prefix", "/a Prefix", "/a/b Exact", "/ab Prefix", "/A Exact", "/a/b/c Prefix"]


def _any(options):
    return st.fixed_dictionaries({}, optional={k: st.sampled_from(options[k]) for k in options})


def ingresses(hosts, annotations=(), paths=PATHS):
    rule = st.builds("{} {} {}".format, *map(st.sampled_from, (hosts, paths, ["x", "y", "z"])))
    tls = st.sampled_from([[], [{"hosts": ["a.example"], "secretName": "t"}]])
    created = st.sampled_from(["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"])
    fields = {"rules": st.lists(rule, min_size=1, max_size=5), "tls": tls, "created": created}
    one = st.fixed_dictionaries(fields | {"annotations": _any(annotations)}, optional={"default": st.just("d")})
    return st.lists(one, min_size=1, max_size=3)


@some
@given(ingresses(["a.example", "b.example", "*"]))
@example([{"rules": ["a.example /a/ Prefix x", "a.example /a Exact y", "* / Prefix z"], "default": "d"}])
def test_rules_of_the_specification_change_no_answer(given_ingresses):
    made = translated(*given_ingresses, scope="spec")
    assert not made.changes.rows and not made.open.rows and not made.untranslated, f"{made}\n{made.yaml}"


@some
@given(ingresses(["*.a.example", "x.a.example", "b.example"]))
def test_a_wildcard_of_the_specification_changes_only_for_more_labels(given_ingresses):
    made = translated(*given_ingresses, scope="spec")
    assert kinds(made.changes) <= {"two labels for *"} and not made.open.rows


ANNOTATIONS = {
    "rewrite-target": ["/", "/v2"],
    "use-regex": ["true", "false"],
    "ssl-redirect": ["true", "false"],
    "force-ssl-redirect": ["true"],
    "app-root": ["/a"],
    "permanent-redirect": ["https://new.example/moved"],
    "temporal-redirect": ["https://new.example$request_uri"],
    "permanent-redirect-code": ["308"],
    "server-alias": ["alias.example"],
}


@some
@given(ingresses(["a.example", "b.example", "*"], ANNOTATIONS, APART))
@example([{"rules": ["a.example / Exact x", "a.example /a Exact y"], "annotations": {"rewrite-target": "/"}}])
def test_ingress_nginx_changes_only_what_the_gateway_api_leaves_open(given_ingresses):
    made = translated(*given_ingresses)
    assert not made.changes.rows and not made.untranslated, f"{made}\n{made.yaml}"
    assert kinds(made.open) <= OPEN


def test_what_is_not_among_the_changes_answers_alike_and_the_yaml_is_the_cluster():
    """Applied as text, beside the input without its Ingresses, it is the cluster that the changes were asked of."""
    for name in ("shop", "source-text"):
        before = k8slb.load(name)
        made = before.translate()
        rest = [json.dumps(dict(o.raw)) for o in before.objects if o.kind not in ("Ingress", "IngressClass")]
        after = k8slb.load(["\n---\n".join(rest), made.yaml])
        told = compare({"before": before, "after": after}, probes(before))
        assert told.differing.rows == made.open.rows and not made.changes.rows
        assert kinds(made.open) == OPEN


def test_what_the_gateway_api_leaves_open_is_counted_apart():
    ingress = {"rules": [f"{HOST} /pay/?(.*) ImplementationSpecific a"], "annotations": {"rewrite-target": "/$1"}}
    made = translated(ingress)
    assert kinds(made.open) == OPEN and not kinds(made.changes) & OPEN and kinds(made.changes)
    lines = str(made).splitlines()
    assert lines[-2] == f"{len(made.changes.rows)} URLs get another answer"
    told = f": {len(made.open.rows)} URLs, such as http://{HOST}//pay/ or http://{HOST}/%70ay/"
    assert lines[-1].startswith("The Gateway API leaves open") and lines[-1].endswith(told)


# --- what stands for what ---


def test_the_shop_becomes_a_gateway_with_two_listeners_and_a_redirect():
    gateway, *_ = [d for d in yaml.safe_load_all(k8slb.load("shop").translate().yaml) if d["kind"] == "Gateway"]
    http, https = gateway["spec"]["listeners"]
    assert (http["port"], http["hostname"], https["port"]) == (80, "myshop.example.com", 443)
    assert https["tls"] == {"certificateRefs": [{"name": "shop-tls"}]}
    (redirect,) = routes(k8slb.load("shop").translate(), "app-ingress-myshop-example-com-ssl-redirect")
    assert redirect["filters"][0]["requestRedirect"] == {"scheme": "https", "statusCode": 308}


@pytest.mark.parametrize(
    ("path", "target", "match", "change"),
    [
        ("/pay", "/", ("RegularExpression", "(?i)^/pay.*"), {"replaceFullPath": "/"}),
        ("/pay(/|$)(.*)", "/$2", ("PathPrefix", "/pay"), {"replacePrefixMatch": "/"}),
        ("/pay/?(.*)", "/v2/$1", ("PathPrefix", "/pay"), {"replacePrefixMatch": "/v2/"}),
        ("/v[12]/x$", "/x", ("RegularExpression", "(?i)^/v[12]/x$"), {"replaceFullPath": "/x"}),
        ("/(.*)", "/app/$1", ("PathPrefix", "/"), {"replacePrefixMatch": "/app/"}),
    ],
)
def test_a_rewrite_target_becomes_a_url_rewrite(path, target, match, change):
    ingress = {"rules": [f"{HOST} {path} ImplementationSpecific a"], "annotations": {"rewrite-target": target}}
    rule, *_ = routes(made := translated(ingress))
    assert tuple(rule["matches"][0]["path"].values()) == match
    (found,) = rule["filters"]
    assert change.items() <= found["urlRewrite"]["path"].items() and not made.untranslated
    assert "" not in kinds(made.changes)  # the paths that the rule means are as before


def test_what_a_prefix_loses_of_a_regular_expression_is_told():
    ingress = {"rules": [f"{HOST} /pay/?(.*) ImplementationSpecific a"], "annotations": {"rewrite-target": "/$1"}}
    told = {str(p): [str(a) for a in answers] for p, answers in translated(ingress).changes.rows}
    assert told[f"http://{HOST}/payX"] == ["200 default/a:80 gets /X", "404"]
    assert told[f"http://{HOST}/PAY/"] == ["200 default/a:80 gets /", "404"]


def test_a_rewrite_target_that_no_filter_can_say_is_told_with_its_line():
    ingress = {"rules": [f"{HOST} /(a|b)/(.*) ImplementationSpecific a"], "annotations": {"rewrite-target": "/$2/$1"}}
    made = translated(ingress)
    assert [n.split(": ")[:3] for n in made.untranslated] == [
        ["<text>:3", "Ingress default/ingress-0", "rewrite-target"]
    ]
    assert "" in kinds(made.changes)


def test_a_canary_becomes_weights_and_header_matches():
    main = {"rules": [f"{HOST} /pay Prefix old"]}
    annotations = {"canary": "true", "canary-weight": "20", "canary-by-header": "X-New", "limit-rps": "5"}
    made = translated(main, {"rules": [f"{HOST} /pay Prefix new"], "annotations": annotations})
    told = [
        (
            [(h["name"], h["value"]) for h in rule["matches"][0].get("headers", ())],
            [(b["name"], b.get("weight")) for b in rule["backendRefs"]],
        )
        for rule in routes(made)
    ]
    assert told == [
        ([("X-New", "always")], [("new", None)]),
        ([("X-New", "never")], [("old", None)]),
        ([], [("old", 80), ("new", 20)]),
    ]
    assert not made.changes.rows and not made.untranslated  # a canary's other annotations never counted


def test_of_a_canarys_header_a_value_or_a_pattern_counts():
    main = {"rules": [f"{HOST} /pay Prefix old"]}
    for how in ({"canary-by-header-value": "yes"}, {"canary-by-header-pattern": "^ye"}):
        annotations = {"canary": "true", "canary-by-header": "X-New", **how}
        made = translated(main, {"rules": [f"{HOST} /pay Prefix new"], "annotations": annotations})
        asked = compare({"before": k8slb.load("shop"), "after": made.cluster}, [f"http://{HOST}/pay"]).rows[0][1][1]
        assert [g.backend for g in asked.shares] == ["default/old:80"]
        told = made.cluster.trace(f"http://{HOST}/pay", headers={"X-New": "yes"}).to_dict()
        assert told["backend"]["service"] == "new" and not made.changes.rows


def test_annotations_without_a_counterpart_are_listed():
    lost = {"auth-url": "https://a.example/", "limit-rps": "5", "affinity": "cookie", "load-balance": "ewma"}
    lost |= {"upstream-hash-by": "$request_uri", "canary-by-cookie": "c", "proxy-body-size": "1m"}
    made = translated({"rules": [f"{HOST} /a Prefix a"], "annotations": {**lost, "ssl-redirect": "false"}})
    assert [n.split(": ")[2] for n in made.untranslated] == list(lost)


TWO = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: a, namespace: one}
spec:
  ingressClassName: spec
  tls: [{hosts: [a.example], secretName: a-tls}]
  rules:
  - host: a.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: b, namespace: two}
spec:
  ingressClassName: spec
  tls: [{hosts: [b.example], secretName: b-tls}]
  rules:
  - host: b.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
  - host: a.example
    http: {paths: [{path: /b, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: spec}
spec: {controller: k8slb/spec}
"""
for namespace in ("one", "two"):
    TWO += f"""
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {namespace}}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 8000, targetPort: 80}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: {namespace}, labels: {{app: web}}}}
spec: {{containers: [{{name: c, ports: [{{containerPort: 80}}]}}]}}
---
apiVersion: v1
kind: Secret
metadata: {{name: {"a" if namespace == "one" else "b"}-tls, namespace: {namespace}}}
"""


def test_certificates_and_services_of_other_namespaces_and_ports_with_names():
    made = k8slb.load(TWO).translate()
    assert not made.changes.rows and not made.untranslated
    docs = list(yaml.safe_load_all(made.yaml))
    (grant,) = [d for d in docs if d["kind"] == "ReferenceGrant"]
    assert grant["metadata"]["namespace"] == "two" and grant["spec"]["from"][0]["namespace"] == "one"
    ports = {
        ref["port"] for d in docs if d["kind"] == "HTTPRoute" for r in d["spec"]["rules"] for ref in r["backendRefs"]
    }
    assert ports == {8000}
    told = str(answer_of(made.cluster, "https://b.example/"))
    assert told == "200 two/web:8000 gets / [two/b-tls]"


def answer_of(cluster, url):
    return compare({"": cluster}, [url]).rows[0][1][0]


def test_more_rules_than_a_route_may_hold_become_several_routes():
    made = translated({"rules": [f"{HOST} /p{i} Prefix a" for i in range(40)]}, scope="spec")
    found = [d for d in yaml.safe_load_all(made.yaml) if d["kind"] == "HTTPRoute"]
    assert [len(d["spec"]["rules"]) for d in found] == [16, 16, 8] and not made.changes.rows


def test_more_listeners_than_a_gateway_may_hold_become_several_gateways_and_no_name_is_taken_twice():
    hosts = [f"h{i}.example" for i in range(40)] + ["a-b.example", "a.b.example"]  # the last two read alike as names
    rules = [f"{h} / Prefix a" for h in hosts]
    text = manifests([{"rules": rules, "tls": [{"hosts": hosts, "secretName": "t"}]}], "spec")
    old = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "test"}}
    old["spec"] = {"gatewayClassName": "other", "listeners": [{"name": "x", "port": 80, "protocol": "HTTP"}]}
    made = k8slb.load([text, json.dumps(old)]).translate()
    found = [d for d in yaml.safe_load_all(made.yaml) if d["kind"] == "Gateway"]
    assert [(d["metadata"]["name"], len(d["spec"]["listeners"])) for d in found] == [("test-2", 64), ("test-3", 20)]
    assert str(answer_of(made.cluster, "https://a.b.example/")) == "200 default/a:80 gets / [default/t]"


def test_an_ingress_that_nobody_serves_is_told_and_goes():
    other = {"rules": ["other.example / Prefix b"], "class": "missing"}
    made = translated({"rules": [f"{HOST} /a Prefix a"]}, other, scope="spec")
    assert not [o for o in made.cluster.objects if o.kind == "Ingress"] and "other.example" not in made.yaml
    assert "no controller serves it" in made.untranslated[0] and not made.changes.rows


def test_an_ingress_without_a_service_leaves_nothing_to_translate():
    bucket = {"resource": {"apiGroup": "k8s.example.com", "kind": "StorageBucket", "name": "icons"}}
    raw = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"}}
    with pytest.raises(k8slb.InputError, match="no Ingress of the input leads to a Service"):
        k8slb.load(json.dumps(raw | {"spec": {"defaultBackend": bucket}})).translate()


# --- the command ---


def test_the_command_prints_objects_that_load_again_and_tells_what_changes(tmp_path, capsys):
    assert main(["translate", "-f", "shop"]) == 0
    out, err = capsys.readouterr()
    (tmp_path / "gateway.yaml").write_text(out)
    assert k8slb.load(tmp_path).get("httproutes").shape[0] == 2 and "//orders" in err
    (tmp_path / "spec.yaml").write_text(TWO)
    assert main(["translate", "-f", str(tmp_path / "spec.yaml"), "-o", "table"]) == 0
    assert capsys.readouterr().out == "0 URLs get another answer\n"
    assert main(["translate", "-f", "shop", "--gateway-class", "eg", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {o["kind"] for o in told["objects"]} == {"Gateway", "HTTPRoute"}
    assert (
        [c["what"] for c in told["open"] if c["why"]]
        and not told["changes"]
        and told["objects"][0]["spec"]["gatewayClassName"] == "eg"
    )
    (tmp_path / "none.yaml").write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n")
    assert main(["translate", "-f", str(tmp_path / "none.yaml")]) == 2
    assert main(["translate", "-f", "shop", "--gateway-class", "No Name"]) == 2
