"""Which URLs get another answer: what is asked, and what is told of the answers."""

import json
import re
from fractions import Fraction

import pytest
from truth.ingress_yaml import manifests

import k8slb
from k8slb import path
from k8slb.answers.compare import MAX_PROBES, NOWHERE, answer, compare, probes

HOST = "shop.example"


def cluster(*ingresses, scope="ingress-nginx"):
    return k8slb.load(manifests(list(ingresses), scope))


def canary(**annotations):
    main = {"rules": [f"{HOST} /pay Prefix old"]}
    return cluster(main, {"rules": [f"{HOST} /pay Prefix new"], "annotations": {"canary": "true", **annotations}})


def asked(view):
    return {str(p): p.what for p in probes(view)}


def test_every_way_to_mistake_a_path_is_asked_once_and_tls_by_both_schemes():
    shop = k8slb.load("shop")
    found, hosts = probes(shop), "://myshop.example.com"
    assert len(found) == len(set(map(str, found))) and found == probes(shop)
    ways = ("", "/", "/below", "X")
    for named in ("/orders", "/payments"):
        wanted = [f"{named}{way}" for way in ways] + [named.upper(), f"/{named}", f"/%{ord(named[1]):02X}{named[2:]}"]
        assert {f"{scheme}{hosts}{p}" for p in wanted for scheme in ("http", "https")} <= asked(shop).keys()
    assert f"http://{NOWHERE}/" in asked(shop) and f"https://{NOWHERE}/" not in asked(shop)
    assert [p.what for p in found].index("trailing slash") > 4  # what the rules name comes first


def test_wildcards_are_asked_with_one_label_with_two_and_with_none():
    view = cluster({"rules": ["*.foo.example /x Prefix a"], "tls": [{"hosts": ["*.foo.example"], "secretName": "t"}]})
    told = asked(view)
    assert told["https://a.foo.example/x"] == ""
    assert told["http://b.a.foo.example/x"] == "two labels for *"
    assert told["http://foo.example/x"] == "no label for *"


@pytest.mark.parametrize(
    "path",
    ["/v[12]/x", "/something(/|$)(.*)", "/a/(.*)", r"/id/\d+", "/(blue|green)/?x", "/f.o$", "/[^/]+/x", "/[a-z]+/y"],
)
def test_a_regular_expression_is_asked_with_a_path_that_it_takes(path):
    view = cluster({"rules": [f"{HOST} {path} ImplementationSpecific a"], "annotations": {"use-regex": "true"}})
    first = probes(view)[0]
    assert re.match("(?i)" + path, first.url.removeprefix(f"http://{HOST}"))
    assert [(g.status, g.backend) for g in answer(view, first.url).shares] == [(200, "default/a:80")]


def test_an_answer_is_the_gist_of_the_trace():
    shop = k8slb.load("shop")
    for probe in probes(shop):
        told, (gist,) = shop.trace(probe.url, from_="external").to_dict(), answer(shop, probe.url).shares
        assert gist.status == told["status"]
        assert gist.path == (told["forwarded"]["path"] if told["forwarded"] else "")
        assert gist.location == (told["location"] or "")
    (paid,) = answer(shop, "https://myshop.example.com/payments/1").shares
    told = (paid.backend, paid.certificate, paid.rule)
    assert told == ("default/payment-service:80", "default/shop-tls", "shop/ingress.yaml:24")


def test_the_source_texts_ingress_differs_where_it_rewrites_and_does_not_encrypt():
    url = "http://myshop.example.com/payments/process/101"
    both = {"shop": k8slb.load("shop"), "source text": k8slb.load("source-text")}
    told = compare(both, [url, f"http://{NOWHERE}/"])
    assert [str(p) for p, _ in told.differing.rows] == [url]
    assert list(map(str, told.rows[0][1])) == [
        "308 to https://myshop.example.com/payments/process/101",
        "200 default/payment-service:80 gets /",
    ]
    assert str(told).splitlines() == [
        url,
        "    shop:        308 to https://myshop.example.com/payments/process/101",
        "    source text: 200 default/payment-service:80 gets /",
        f"http://{NOWHERE}/",
        "    shop:        404",
        "    source text: 404",
        "1 of 2 URLs get different answers",
    ]
    assert json.loads(json.dumps(told.to_dict()))["rows"][0]["clusters"]["shop"]["answers"][0]["status"] == 308


def test_weights_are_compared_as_exact_shares():
    url = f"http://{HOST}/pay"
    shares = answer(canary(**{"canary-weight": "20"}), url).shares
    assert {g.backend: s for g, s in shares.items()} == {
        "default/old:80": Fraction(4, 5),
        "default/new:80": Fraction(1, 5),
    }
    of = {
        f"{w}/{t}": canary(**{"canary-weight": w, "canary-weight-total": t}) for w, t in (("20", "100"), ("60", "300"))
    }
    assert not compare(of, [url]).differing.rows
    assert compare({"a": of["20/100"], "b": canary(**{"canary-weight": "21"})}, [url]).differing.rows


def test_an_answer_is_exact_after_retries_and_says_what_depends_on_load():
    """No seed's luck: of two pods one fails one request in four, and the proxy then asks the other."""
    shop, url = k8slb.load("shop"), "https://myshop.example.com/payments/1"
    once = shop.with_pods("payment-1", fail=0.25)
    assert {g.status: s for g, s in answer(once, url).shares.items()} == {200: Fraction(7, 8), 500: Fraction(1, 8)}
    least = answer(once.with_balancer("ingress", "nginx-least-conn"), url)
    assert {g.status: s for g, s in least.shares.items()} == {200: None, 500: None} and "some 500" in str(least)
    assert [a["share"] for a in least.to_dict()["answers"]] == [None, None]
    weighed = canary(**{"canary-weight": "20"}).with_balancer("ingress", "nginx-least-conn")
    assert set(answer(weighed, f"http://{HOST}/pay").shares.values()) == {Fraction(4, 5), Fraction(1, 5)}


def test_a_proxy_that_heeds_addresses_is_asked_from_each_node():
    """Of three nodes one hides the client behind an address that is denied; others decide once for all addresses."""
    shop, url = k8slb.load("shop"), "https://myshop.example.com/payments/1"
    ingress = next(o for o in shop.objects if o.kind == "Ingress").raw
    notes = {"nginx.ingress.kubernetes.io/denylist-source-range": shop.nodes[0].address}
    text = json.dumps({**ingress, "metadata": {**ingress["metadata"], "annotations": notes}})
    shares = {g.status: s for g, s in answer(shop.apply(text), url).shares.items()}
    assert shares == {403: Fraction(1, 3), 200: Fraction(2, 3)}
    begin = path.start(shop, url)
    assert sum(d.layer == "ingress" for d, _ in path.met(shop.timeline, begin)) == 2  # replicas
    hashed = shop.with_balancer("ingress", "nginx-ip-hash")
    assert sum(d.layer == "ingress" for d, _ in path.met(hashed.timeline, begin)) == 2 * 3


def test_the_headers_that_a_canary_reads_are_asked_with():
    view = canary(**{"canary-by-header": "X-New", "canary-by-cookie": "try"})
    told = {str(p): answers[0] for p, answers in compare({"view": view}).rows if p.headers}
    assert str(told[f"http://{HOST}/pay -H 'X-New: always'"]) == "200 default/new:80 gets /pay"
    assert str(told[f"http://{HOST}/pay -H 'Cookie: try=always'"]) == "200 default/new:80 gets /pay"


def test_what_is_not_modelled_is_a_cell_and_differs():
    text = manifests([{"rules": [f"{HOST} /a Prefix a"]}], "spec")
    kong = k8slb.load(text.replace("k8slb/spec", "ingress-controllers.konghq.com/kong"))
    told = compare({"spec": k8slb.load(text), "kong": kong}, [f"http://{HOST}/a"])
    assert str(told.rows[0][1][1]).startswith("not modelled: ")
    assert len(told.differing.rows) == 1 and told.to_dict()["rows"][0]["clusters"]["kong"]["answers"][0]["failed"]
    with pytest.raises(k8slb.InputError, match="nothing to compare"):
        compare({})


def test_what_nobody_can_send_is_not_asked():
    paths = ["/a\u00a0b", "/\x07", "x", "^/y", "(", "/" + "z" * 9000, "/%"]
    rules = [f"{HOST} /p Prefix a"]
    view = k8slb.load(manifests([{"rules": rules, "annotations": {"canary-by-header": "no header"}}], "spec"))
    raw = [dict(o.raw) for o in view.objects]
    (ingress,) = [o for o in raw if o["kind"] == "Ingress"]
    (rule,) = ingress["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]
    rule["http"]["paths"] += [{"path": p, "pathType": "ImplementationSpecific", "backend": backend} for p in paths]
    told = compare({"view": k8slb.load("\n---\n".join(map(json.dumps, raw)))})
    assert len(told.rows) > 20 and all(p.url.isprintable() and len(p.url) < 8193 for p, _ in told.rows)


def test_of_too_many_urls_the_rules_own_are_asked_and_the_rest_is_counted():
    view = cluster(*({"rules": [f"{HOST} /p{i} Prefix a"]} for i in range(300)), scope="spec")
    told = compare({"view": view})
    assert len(told.rows) == MAX_PROBES and told.left_out == len(probes(view)) - MAX_PROBES > 0
    assert {f"http://{HOST}/p{i}" for i in range(300)} <= {p.url for p, _ in told.rows}
    assert str(told).endswith(f"{told.left_out:,} more were not asked")
