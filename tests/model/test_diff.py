"""What changes for requests: pull requests against the shop, each with all that changes and nothing else."""

import json
import random
import re
import xml.etree.ElementTree as ElementTree
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from truth.ingress_yaml import manifests

import k8slb
from k8slb import kubectl, path
from k8slb.answers import compare
from k8slb.answers.diff.hops import reached
from k8slb.answers.diff.told import BAD, MOST
from k8slb.decision import Timeline
from k8slb.incidents import incident, incidents

SHOP = {f.name: f.read_text() for f in sorted((Path(k8slb.manifests.DATA) / "manifests" / "shop").glob("*.yaml"))}
INSIDE, HOST = "http://order-service.default:80 from inside", "https://myshop.example.com"
SELECTS = "spec:\n  selector:\n    app: order\n"


def shop(*edits, add=""):
    """The shop with pieces of text changed: (file, before, after)."""
    texts = dict(SHOP)
    for file, before, after in edits:
        assert texts[f"{file}.yaml"].count(before) >= 1
        texts[f"{file}.yaml"] = texts[f"{file}.yaml"].replace(before, after, 1)
    return k8slb.load("---\n".join([*texts.values(), *([add] if add else [])]))


def service(field):
    return "order", SELECTS, f"spec:\n  {field}\n{SELECTS.removeprefix('spec:')[1:]}"


def beside(path_, name, notes=""):
    return f"""apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, annotations: {{{notes}}}}}
spec:
  ingressClassName: nginx
  rules:
  - host: myshop.example.com
    http:
      paths:
      - {{path: {path_}, pathType: Prefix, backend: {{service: {{name: payment-service, port: {{number: 80}}}}}}}}
"""


def canary(weight):
    prefix = "nginx.ingress.kubernetes.io/canary"
    return shop(add=beside("/orders", "canary", f'{prefix}: "true", {prefix}-weight: "{weight}"'))


def weighed(weight):
    return k8slb.load(f"""
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gw}}
spec: {{gatewayClassName: k8slb-spec, listeners: [{{name: http, port: 80, protocol: HTTP}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: route}}
spec:
  parentRefs: [{{name: gw}}]
  hostnames: [myshop.example.com]
  rules: [{{backendRefs: [{{name: order-service, port: 80}}, {{name: payment-service, port: 80, weight: {weight}}}]}}]
---
{SHOP["order.yaml"]}
---
{SHOP["payment.yaml"]}
""")


def counts(difference, findings=False):
    found = {}
    for c in difference.changes:
        if findings or c.what != "findings":
            found[c.what] = found.get(c.what, 0) + c.count
    return found


BASE, HOPS = shop(), "hops between nodes and zones"
LEFT_OUT = "open connections stay"
REQUESTS = {
    "more replicas": (
        BASE,
        shop(("order", "replicas: 3", "replicas: 5")),
        {"shares of pods": 6, HOPS: 5},
    ),
    "fewer replicas": (
        BASE,
        shop(("order", "replicas: 3", "replicas: 2")),
        {"shares of pods": 6, "open connections end": 1, HOPS: 5},
    ),
    "selector typo": (
        BASE,
        shop(("order", SELECTS, SELECTS.replace("app: order", "app: orders"))),
        {"newly no answer": 1, "newly 5xx": 5, LEFT_OUT: 1},
    ),
    "renamed port": (
        BASE,
        shop(("payment", "name: http\n", "name: web\n"), ("payment", "port: http", "port: web")),
        {"newly no answer": 1, "newly 5xx": 5, "open connections end": 1},
    ),
    "target port": (
        BASE,
        shop(("order", "targetPort: 8081", "targetPort: 8080")),
        {"newly no answer": 1, "newly 5xx": 5},
    ),
    "path type": (BASE, shop(("ingress", "pathType: Prefix", "pathType: Exact")), {"newly 404": 2}),
    "rewrite": (
        BASE,
        shop(("ingress", "metadata:\n", "metadata:\n  annotations: {nginx.ingress.kubernetes.io/rewrite-target: /}\n")),
        {"another path at the pod": 10, "newly answered": 4},
    ),
    "other host": (BASE, shop(("ingress", "- host: myshop", "- host: shop")), {"newly 404": 26, "newly answered": 16}),
    "shadowed": (
        BASE,
        shop(add=beside("/orders/new", "shadow")),
        {"elsewhere": 5},
    ),
    "local": (
        shop(service("type: LoadBalancer"), ("order", "replicas: 3", "replicas: 4")),
        shop(service("type: LoadBalancer\n  externalTrafficPolicy: Local"), ("order", "replicas: 3", "replicas: 4")),
        {"client's address": 1, "shares of pods": 1, HOPS: 1},
    ),
    "inside local": (
        BASE,
        shop(("payment", "spec:\n  selector:\n    app", "spec:\n  internalTrafficPolicy: Local\n  selector:\n    app")),
        {"newly no answer": 1, "shares of pods": 1, HOPS: 1},
    ),
    "affinity": (BASE, shop(service("sessionAffinity: ClientIP")), {"balanced by": 1}),
    "ipvs": (BASE, BASE.with_proxy(mode="ipvs"), {"balanced by": 12}),
    "by load": (
        BASE,
        BASE.with_proxy(mode="ipvs", scheduler="lc"),
        {"shares of pods": 2, "balanced by": 12, HOPS: 2},
    ),
    "readiness": (BASE, shop(("order", "path: /health", "path: /ready")), {"open connections end": 1}),
    "image": (BASE, shop(("order", "whoami:v1.10", "whoami:v1.11")), {"open connections end": 1}),
    "no Service": (
        BASE,
        BASE.with_objects(o for o in BASE.objects if o.key != ("Service", "default", "payment-service")),
        {"newly no answer": 1, "newly 5xx": 5, LEFT_OUT: 1},
    ),
    "canary": (canary(10), canary(50), {"other shares": 5}),
    "route weights": (weighed(1), weighed(3), {"other shares": 4}),
    "traefik": (
        BASE,
        BASE.with_controller("traefik"),
        {"newly 404": 4, "another path at the pod": 4, "redirect gone": 12, "newly answered": 2, "balanced by": 10},
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_pull_request_is_told_in_full_and_nothing_else(name):
    before, after, expected = REQUESTS[name]
    there, back = before.diff(after), after.diff(before)
    assert counts(there) == expected
    assert there and there.to_dict()["verdict"].startswith("changes: ")
    worse = {
        k: sum(v for what, v in counts(d).items() if what in [f"newly {b}" for b in BAD])
        for k, d in (("there", there), ("back", back))
    }
    partly = name == "inside local"  # of a third it is true: newly lost there, more answered back
    assert counts(back).get("more answered" if partly else "newly answered", 0) == worse["there"]
    assert counts(there).get("newly answered", 0) == worse["back"]
    for change in there.changes:  # and each is so, by the traces of both
        for asked in change.asked if change.what.startswith("newly") and change.asked[0].startswith(HOST) else ():
            status = [c.trace(asked, "external").status for c in (before, after)]
            assert (status[0] < 400) == (change.what != "newly answered") != (status[1] < 400)


CLUSTERS = {name: k8slb.load(name) for name in ("shop", "source-text", "shop-model")}
CLUSTERS |= {row[0]: k8slb.load("".join(incident(row[0]).yaml)) for row in incidents()}


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_does_not_differ_from_itself_written_otherwise(name):
    one, shuffled = CLUSTERS[name], random.Random(1).sample
    objects = shuffled(one.objects, len(one.objects))
    nodes = [o for o in one.objects if o.kind == "Node"]  # pods without a node are spread in their order
    ordered = [*nodes, *(o for o in objects if o.kind != "Node")]
    text = "---\n".join(kubectl.written(dict(o.raw)) for o in ordered)
    for other in (one, k8slb.load(text)):
        same = one.diff(other)
        assert not same and same.to_dict()["changes"] == []
        assert str(same).startswith("nothing changes for any request\n\nasked of both: ")
        assert same.asked["Service ports"] >= (name != "shop-model")  # which has a controller's alone


def test_shares_and_what_ends_are_exact_and_by_name():
    (shift,) = (c for c in BASE.diff(shop(("order", "replicas: 3", "replicas: 5"))).changes if c.pods)
    third, fifth = Fraction(1, 3), Fraction(1, 5)
    assert shift.pods == {f"default/order-{i}": (third if i < 4 else 0, fifth) for i in range(1, 6)}
    assert shift.asked[0] == INSIDE and shift.count == 6
    four, local = REQUESTS["local"][:2]
    (shift,) = (c for c in four.diff(local).changes if c.pods)
    assert {b for _, b in shift.pods.values()} == {Fraction(1, 6), third} and "1.33 x fair" in shift.after
    (cut,) = (c for c in BASE.diff(shop(("order", "replicas: 3", "replicas: 2"))).changes if "end" in c.what)
    assert list(cut.pods) == ["default/order-3"] and cut.before == "1/3 = 33.3%"
    assert cut.after == "Deployment default/order: replicas 3 -> 2"
    (cut,) = BASE.diff(shop(("order", "whoami:v1.10", "whoami:v1.11"))).changes
    field = 'spec.template.spec.containers[0].image "traefik/whoami:v1.10" -> "traefik/whoami:v1.11"'
    assert cut.before == "100%" and cut.after == f"Deployment default/order replaces all its pods: {field}"


CONTROLLER = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: front}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec: {nodeSelector: {kubernetes.io/os: linux, pool: edge}, containers: [{image: ingress-nginx/controller:v1.15.1}]}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {type: LoadBalancer, selector: {app: front}, ports: [{port: 80, name: http}, {port: 443, name: https}]}
---
apiVersion: v1
kind: Service
metadata: {name: hook}
spec: {selector: {app: front}, ports: [{port: 443, name: https-hook}]}
---
"""


def test_services_before_a_controller_are_doors_to_its_rules():
    """Whatever else becomes of the controller: its pods, which nobody asks by themselves, stay. They run on nodes that
    the input has not."""
    before = shop(add=CONTROLLER)
    assert before.trace(f"{HOST}/orders").pod and not before.warnings
    told = before.diff(before.with_controller("traefik"))
    assert {"redirect gone", "another path at the pod"} < counts(told).keys()
    assert told.asked["Service ports"] == 2 and "front." not in str(told) and "hook." not in str(told)
    assert "assumed after: no pods of the controller traefik" in str(told.notes)


@pytest.mark.parametrize("kind", ["ReplicaSet", "paused", "OnDelete"])
def test_a_template_that_nobody_rolls_out_ends_nothing(kind):
    text = SHOP["order.yaml"]
    text = {
        "ReplicaSet": text.replace("kind: Deployment", "kind: ReplicaSet"),
        "paused": text.replace("spec:\n  replicas", "spec:\n  paused: true\n  replicas"),
        "OnDelete": text.replace("kind: Deployment", "kind: StatefulSet").replace(
            "spec:\n  replicas", "spec:\n  updateStrategy: {type: OnDelete}\n  replicas"
        ),
    }[kind]
    assert not counts(k8slb.load(text).diff(k8slb.load(text.replace("v1.10", "v1.11"))))


def test_moves_are_those_that_walks_make():
    """Of pods on two of three nodes, behind a load balancer and a controller: exact, and as sampled."""
    view = shop(service("type: LoadBalancer"), ("order", "replicas: 3", "replicas: 2"))
    begin = path.start(view, f"{HOST}/orders", "external")
    exact = reached(view, [path.met(Timeline.still(view), begin)]).moves
    total, tries = 0, 3000
    for seed in range(tries):
        hops = path.walk(Timeline.still(view), begin, seed)
        stops = [h.chosen.place for h in hops if h.chosen and h.chosen.place.kind in ("node", "pod")]
        on = [p.name if p.kind == "node" else view.pod_named[tuple(p.name.split("/"))].spec.nodeName for p in stops]
        total += sum(a != b for a, b in pairwise(on))
    assert exact == (Fraction(7, 6), Fraction(7, 6))  # 2/3 to the controller's node, then to the other of two
    assert abs(total / tries - 7 / 6) < 5 * 0.65 / tries**0.5


def test_what_is_not_modelled_is_no_error_and_no_change_where_it_stays():
    text = manifests([{"rules": ["shop.example /a Prefix a"]}], "spec")
    kong = k8slb.load(text.replace("k8slb/spec", "ingress-controllers.konghq.com/kong"))
    told = counts(k8slb.load(text).diff(kong))
    assert told.keys() <= {"not modelled"} and told["not modelled"] >= 5
    assert not counts(kong.diff(kong))


def test_given_urls_are_asked_from_where_they_make_sense():
    fewer = shop(("order", SELECTS, SELECTS.replace("app: order", "app: none")))
    gone = fewer.with_objects(o for o in fewer.objects if o.kind != "Service")
    urls = ["http://order-service/x", f"{HOST}/orders/7?a=b"]
    asked = {c.asked: c.after for c in BASE.diff(gone, urls).changes if c.what.startswith("newly")}
    assert asked["http://order-service/x from default/client",] == "the name does not resolve"
    assert any(f"{HOST}/orders/7?a=b" in urls for urls in asked)
    with pytest.raises(k8slb.InputError, match="is no URL"):
        BASE.diff(gone, ["no url"])


def test_changed_rules_are_asked_first_and_what_was_left_out_is_said(monkeypatch):
    rules = [f"h{i}.example /p{k} Prefix a" for i in range(20) for k in range(5)]
    monkeypatch.setattr("k8slb.answers.diff.MAX_PROBES", 60)
    ingresses = [{"rules": rules[5 * i : 5 * i + 5]} for i in range(20)]
    text = manifests(ingresses, "ingress-nginx")
    told, said = k8slb.load(text), []
    same = told.diff(told)
    assert not same and "more URLs were not asked; those of changed rules came first" in same.notes[0]
    changed = told.diff(k8slb.load(text.replace("/p4", "/q4").replace("/q4", "/p4", 19)), progress=said.append)
    assert counts(changed) == {"newly 404": 5, "newly answered": 5}
    assert changed.changes[0].asked[0] == "http://h19.example/p4" and said[-1]


HOSTILE = '"><script>alert(1)</script>|`@all` [x](http://evil.example)\u202e\n#1 www.evil.example ]]>'


NO_RULES = """kind: Ingress
metadata: {name: app-ingress}
spec: {rules: null, defaultBackend: {service: {name: x, port: {number: 1}}}}"""


def test_hostile_text_is_never_raw(tmp_path):
    """Of what the API server takes: paths, images, names of files."""
    bad = re.sub(r"\s", "", HOSTILE)
    (file := tmp_path / f"{bad.replace('/', '')}.yaml").write_text(SHOP["ingress.yaml"] + "---\n" + SHOP["order.yaml"])
    before = k8slb.load(str(file)).apply(
        "kind: Ingress\nmetadata: {name: app-ingress}\nspec: {rules: [{host: a.example, http: {paths: [{path: "
        + json.dumps("/" + bad.replace("\u202e", ""))
        + ", pathType: ImplementationSpecific, backend: {service: {name: order-service, port: {number: 80}}}}]}}]}"
    )
    text = SHOP["order.yaml"].replace("traefik/whoami:v1.10", json.dumps(HOSTILE)).replace("replicas: 3", "replicas: 4")
    told = before.diff(before.apply(text).apply(NO_RULES))
    assert {"newly 5xx", "shares of pods", "open connections end"} <= counts(told).keys()
    assert "<script>" in str(told) and "\u202e" not in str(told) + told.markdown + told.svg
    for mark in ("<script", "`", "@all", "](http", "www.evil", "http://", "|@"):
        assert mark not in told.markdown
    told_of = ElementTree.fromstring(told.svg)
    assert {e.tag.partition("}")[2] for e in told_of.iter()} == {"svg", "title", "desc", "rect", "text"}
    assert told_of[1].text == str(told)
    assert {line.count("|") for line in told.markdown.splitlines() if line.startswith("|")} == {5}


def test_markdown_folds_the_rest_away_and_the_drawing_says_all_in_text():
    many = [{"rules": [f"h{i}.example / Prefix s{i}"]} for i in range(MOST + 5)]
    text = manifests(many, "spec")
    told = k8slb.load(text).diff(k8slb.load(re.sub(r"h(\d+).example", r"g\1.example", text)))
    top, _, rest = told.markdown.partition("<details>")
    assert sum(line.startswith("| newly") for line in top.splitlines()) == MOST
    assert "more changes</summary>" in rest and rest.count("| newly") >= 5
    svg = ElementTree.fromstring(BASE.diff(shop(("order", "replicas: 3", "replicas: 5"))).svg)
    assert "var(" not in ElementTree.tostring(svg, "unicode") and "1/3 = 33.3% -> 1/5" in svg[1].text
    assert len(svg.findall("{http://www.w3.org/2000/svg}rect")) == 1 + 2 * 5


def test_the_same_question_in_python_and_on_the_command_line(capsys, tmp_path):
    from k8slb.cli import main

    (tmp_path / "a.yaml").write_text(SHOP["order.yaml"])
    (tmp_path / "b.yaml").write_text(SHOP["order.yaml"].replace("v1.10", "v1.11"))
    files = [str(tmp_path / f) for f in ("a.yaml", "b.yaml")]
    assert main(["diff", *files, "-o", "json"]) == 1
    told = json.loads(capsys.readouterr().out)
    one = k8slb.load(files[0]).diff(k8slb.load(files[1]))
    assert told == one.to_dict() and told["changes"][0]["pods"]["default/order-1"] == ["1/3", "0"]
    assert one._repr_mimebundle_() == {"text/plain": str(one), "image/svg+xml": one.svg}
    assert main(["diff", files[0], files[0]]) == 0


def test_compare_is_what_finds_the_urls():
    found = BASE.diff(BASE).asked["URLs"]
    assert found == len({str(p) for p in compare.probes(BASE)})
