"""Diagrams: right shares on every arrow, nothing left out in silence, and names that stay names in every language."""

import json
import re
from collections import Counter
from fractions import Fraction
from xml.etree import ElementTree

import pytest
from drawings import ASKED, CANARY, GATEWAY, HOSTILE, SERVICES, SETS, drawings, hostile, labels

import k8slb
from k8slb.cli import main
from k8slb.errors import NotModelled, printable

SVG = "{http://www.w3.org/2000/svg}"


def arrows(diagram) -> dict[tuple[str, str], str]:
    """{(from, to): share} by the names of the boxes."""
    told = diagram.to_dict()
    names = {node["id"]: node["name"] for node in told["nodes"]}
    return {(names[edge["from"]], names[edge["to"]]): edge["share"] for edge in told["edges"]}


def arriving(diagram, kind: str) -> dict[str, Fraction]:
    """What comes to each box of a kind over all its arrows, by its first line or its name."""
    told = diagram.to_dict()
    boxes = {n["id"]: next(filter(None, [*n["lines"], n["name"]])) for n in told["nodes"] if n["kind"] == kind}
    total = dict.fromkeys(boxes.values(), Fraction(0))
    for edge in told["edges"]:
        if edge["to"] in boxes:
            total[boxes[edge["to"]]] += Fraction(edge["share"])
    return total


@pytest.mark.parametrize(("name", "url"), ASKED)
def test_the_ways_of_a_request_add_up_to_its_shares(name, url):
    cluster = k8slb.load(SETS[name])
    diagram, shares = cluster.draw(url), cluster.shares(url)
    assert arriving(diagram, "pod") == shares.reached
    ends = {n["name"]: sum(Fraction(s) for (_, to), s in arrows(diagram).items() if to == n["name"])
            for n in diagram.to_dict()["nodes"] if n["kind"] == "end"}  # fmt: skip
    assert {k.removeprefix("answered "): v for k, v in ends.items() if "answered" in k} == shares.answered
    assert sum(v for k, v in ends.items() if "answered" not in k) == shares.lost
    assert sum(shares.reached.values()) + sum(ends.values()) == 1


def test_a_cluster_s_services_share_as_a_pod_that_asks_them_finds():
    text = SERVICES + "\n---\n" + SERVICES.replace("namespace: web", "namespace: far").replace("cart", "basket")
    for cluster in (k8slb.load("shop"), k8slb.load(text).with_proxy(mode="ipvs", scheduler="wrr")):
        drawn = arrows(cluster.draw())
        for service in cluster.services.values():
            if service.name == "ingress-nginx-controller":
                continue  # its pods answer HTTP themselves
            named = service.name if service.namespace == "default" else f"{service.namespace}/{service.name}"
            mine = {to.rpartition("/")[2]: Fraction(s) for (a, to), s in drawn.items() if a == f"Service {named}"}
            shares = cluster.shares(f"http://{service.name}.{service.namespace}")
            assert mine == {cluster.pod_name(address): share for address, share in shares.items()}


def test_rules_lead_where_their_controller_sends_what_they_take():
    canary, gateway = (arrows(k8slb.load(f"{SERVICES}\n---{text}").draw()) for text in (CANARY, GATEWAY))
    host, cart, new = "www.example.com", "Service web/cart", "Service web/cart-v2"
    assert {to: s for (a, to), s in canary.items() if a == host} == {cart: "9/10", new: "1/10"}
    drawn = k8slb.load(f"{SERVICES}\n---{GATEWAY}").draw()
    rules = [n for n in drawn.to_dict()["nodes"] if n["kind"] == "rule"]
    assert [n["lines"][-1] for n in rules] == ["HTTPRoute web/cart rule 0", "HTTPRoute web/cart rule 1", "not attached"]
    assert {n["group"] for n in rules} == {"HTTPRoutes of Gateway web/edge at 203.0.113.10"}
    assert [(e["to"], e["share"]) for e in drawn.to_dict()["edges"] if e["from"] == rules[0]["id"]] == [
        (n, s) for n, s in zip(ids(drawn, cart, new, "answered 500"), ("4/5", "1/10", "1/10"), strict=True)
    ]
    assert gateway[host, "answered 301"] == "1"
    assert (
        "HTTPRoute other/foreign",
        "the listeners do not allow its kind or its namespace (NotAllowedByListeners)",
    ) in gateway


def ids(diagram, *names: str) -> list[str]:
    by_name = {node["name"]: node["id"] for node in diagram.to_dict()["nodes"]}
    return [by_name[name] for name in names]


def test_a_share_that_is_no_number_says_why():
    service = next(part for part in SERVICES.split("---") if "kind: Service" in part)

    def told(edit: str, cluster=lambda c: c) -> set[str]:
        drawn = arrows(
            cluster(k8slb.load(SERVICES.replace(service, service.replace("spec: {", "spec: {" + edit)))).draw()
        )
        return {share for (a, _), share in drawn.items() if a == "Service web/cart"}

    assert told("") == {"1/3"}
    assert told("internalTrafficPolicy: Local, ") == {"by node"}
    assert told("", lambda c: c.with_proxy(mode="ipvs", scheduler="lc")) == {"on load"}
    two = service.replace("ports: [{", "ports: [{port: 81, name: b, targetPort: absent}, {name: a, ")
    drawn = arrows(k8slb.load(SERVICES.replace(service, two)).draw())
    assert {s for (a, _), s in drawn.items() if a == "Service web/cart"} == {"by port"}
    unserved = CANARY.replace("ingressClassName: nginx", "ingressClassName: unheard-of")
    assert (
        arrows(k8slb.load(f"{SERVICES}\n---{unserved}").draw())["www.example.com", "Service web/cart"] == "not served"
    )
    kong = arrows(k8slb.load(f"{SERVICES}\n---{CANARY.replace('Name: nginx', 'Name: kong')}").draw())
    assert kong["www.example.com", "Service web/cart"] == "not modelled"
    with pytest.raises(NotModelled):
        k8slb.load(f"{SERVICES}\n---{CANARY.replace('Name: nginx', 'Name: kong')}").draw("http://www.example.com/")


def test_of_a_big_cluster_what_is_not_drawn_is_counted():
    services = "\n---\n".join(
        SERVICES.replace("cart", f"cart-{i}").replace("replicas: 3", "replicas: 50") for i in range(50)
    )
    rules = CANARY.split("---")[1]
    more = "\n---\n".join(rules.replace("www.", f"w{i}.").replace("cart-ing", f"i{i}") for i in range(100))
    cluster = k8slb.load(f"{services}\n---\n{more}")
    for drawn in (cluster.draw(), cluster.draw("http://cart-7.web")):
        told = drawn.to_dict()
        assert len(told["nodes"]) < 200 and len(told["edges"]) < 200, "what anybody can read"
        assert len(drawn.mermaid) < 50_000, "Mermaid's own limit"
        assert len(drawn.png) > 1000
    drawn = cluster.draw()
    told, counted = drawn.to_dict(), {}
    for node in told["nodes"]:
        for count, what in re.findall(r"and ([\d,]+) more (\w+?)s?$", node["name"]):
            counted[what] = counted.get(what, 0) + int(count.replace(",", ""))
    kinds = [node["kind"] for node in told["nodes"]]
    assert kinds.count("service") + counted["Service"] == len(cluster.services)
    assert kinds.count("pod") + counted["pod"] == len(cluster.pods)
    assert kinds.count("rule") + counted["rule"] == 100
    for service in (n["id"] for n in told["nodes"] if n["kind"] == "service"):
        assert sum(Fraction(e["share"]) for e in told["edges"] if e["from"] == service) == 1
    asked = cluster.draw("http://cart-7.web")
    assert "and 39 more pods" in asked.text and "39/50 = 78.0%" in asked.text


def test_hostile_names_are_drawn_as_they_are_and_mean_nothing():
    diagram = hostile()
    root = ElementTree.fromstring(diagram.svg)
    assert {node.tag.removeprefix(SVG) for node in root.iter()} == {"svg", "desc", "g", "polygon", "path", "text"}
    assert not [k for node in root.iter() for k in node.attrib if "href" in k or k.startswith("on")]
    for form in (diagram.text, diagram.dot, diagram.mermaid, diagram.svg, str(diagram), repr(diagram)):
        assert form.replace("\n", "").replace("\u200b", "").isprintable()
    assert json.loads(json.dumps(diagram.to_dict()))["nodes"][0]["name"] == HOSTILE[0]
    labels = "".join(re.findall(r'"([^"]*)"', diagram.mermaid))
    assert not set(labels.replace("<br/>", "")) & set("<>\"'`[]{}|\\*_~$&;%") - set(";%"), "only codes"
    assert all(
        re.fullmatch(r"n\d+|digraph|graph|node|edge|subgraph|}", line.split()[0]) for line in diagram.dot.splitlines()
    )


@pytest.mark.parametrize("name", drawings())
def test_every_form_says_the_same(name):
    diagram = drawings()[name]
    svg = ElementTree.fromstring(diagram.svg)
    assert svg.get("role") == "img" and svg.find(f"{SVG}desc").text == diagram.text
    drawn = Counter("".join(node.itertext()) for node in svg.iter(f"{SVG}text"))
    assert not Counter(labels(diagram)) - drawn, "no entity, escape or HTML was read in a label"
    assert svg.get("aria-label") == printable(diagram.sentence).replace("\n", "\\x0a")
    for form in (diagram.mermaid, diagram.dot):
        made = re.findall(r"^ n\d+ ?\[", form, re.MULTILINE)
        assert len(made) == len(diagram.boxes)
        assert len(re.findall(r"-->|->", re.sub(r'"(\\.|[^"\\])*"', "", form))) == len(diagram.arrows)
    assert all(len(re.sub(r"^[ │├└─]+", "", line)) <= 52 + 2 + 156 for line in diagram.text.splitlines())
    bundle, alt = diagram._repr_mimebundle_()
    assert bundle["image/png"].startswith("iVBOR") and alt["image/png"]["alt"]


def test_a_notebook_shows_the_cluster_with_its_summary():
    shop = k8slb.load("shop")
    bundle, alt = shop._repr_mimebundle_()
    assert bundle["text/plain"] == str(shop)
    assert alt["image/png"]["alt"] == str(shop).splitlines()[0]


def test_the_command_prints_each_form(capsysbinary):
    shop = k8slb.load("shop")
    for form in ("text", "mermaid", "dot", "svg", "png"):
        assert main(["draw", "-f", "shop", "-o", form]) == 0
        expected = getattr(shop.draw(), form)
        out = capsysbinary.readouterr().out
        assert out == expected if form == "png" else out.decode() == expected.rstrip("\n") + "\n"
    assert main(["draw", "-f", "shop", "http://order-service", "-o", "json"]) == 0
    assert json.loads(capsysbinary.readouterr().out) == shop.draw("http://order-service").to_dict()
