"""Which controller serves an Ingress, what is known of each, and the same manifests under another one."""

import pytest

import k8slb
from k8slb import InputError, NotModelled
from k8slb.balancers import BALANCERS
from k8slb.controllers import INGRESS_NGINX, KNOWN, MODELLED, SPEC, TRAEFIK

INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, annotations: {%s}}
spec:
  %s
  tls: [{hosts: [shop.test], secretName: shop-tls}]
  rules:
  - host: shop.test
    http: {paths: [{path: /a, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
  - host: "*.test"
    http: {paths: [{pathType: ImplementationSpecific, backend: {service: {name: web, port: {number: 80}}}}]}
  - http: {paths: [{path: /any, pathType: Exact, backend: {service: {name: web, port: {number: 81}}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web}}
spec: {containers: [{name: web}]}
"""
CLASS = """
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: %s, annotations: {ingressclass.kubernetes.io/is-default-class: "%s"}}
spec: {controller: %s}
"""
OLD = "kubernetes.io/ingress.class: "


def written(spec: str = "", annotations: str = "", *classes: tuple[str, str, str]) -> k8slb.Cluster:
    return k8slb.load(INGRESS % (annotations, spec) + "".join(CLASS % c for c in classes))


def served(cluster: k8slb.Cluster) -> tuple[str, str]:
    (one,) = cluster.served.values()
    return one.controller, one.why


@pytest.mark.parametrize(
    ("spec", "annotations", "classes", "controller", "why"),
    [
        ("", "", [], SPEC, "there is no IngressClass"),
        ("ingressClassName: own", "", [("own", "false", TRAEFIK)], TRAEFIK, "IngressClass own"),
        ("", OLD + "own", [("own", "false", TRAEFIK)], TRAEFIK, "IngressClass own"),
        ("ingressClassName: own", "", [], "", 'no IngressClass is named "own"'),
        ("ingressClassName: traefik", "", [], TRAEFIK, "usually installed"),
        ("", OLD + "azure/application-gateway", [], "azure/application-gateway", "usually installed"),
        ("ingressClassName: own", "", [("own", "false", "example.com/none")], "example.com/none", "IngressClass own"),
        ("", "", [("own", "true", INGRESS_NGINX), ("b", "false", SPEC)], INGRESS_NGINX, "is the default class"),
        ("", "", [("own", "true", INGRESS_NGINX), ("b", "true", SPEC)], SPEC, "the newest of several"),
        ("", "", [("own", "false", INGRESS_NGINX)], "", "no class is marked default"),
        ("", "", [("own", "false", TRAEFIK), ("b", "false", INGRESS_NGINX)], TRAEFIK, "serves such Ingresses"),
        ("", "konghq.com/plugins: x", [], "ingress-controllers.konghq.com/kong", "its annotations are those of"),
    ],
)
def test_who_serves_an_ingress(spec, annotations, classes, controller, why):
    cluster = written(spec, annotations, *classes)
    assert served(cluster)[0] == controller
    assert why in served(cluster)[1]
    told = [*cluster.warnings] if not controller else [*cluster.assumptions, *cluster.warnings, "IngressClass own"]
    assert any(why in text or "default class" in why for text in told)


@pytest.mark.parametrize("name", KNOWN)
def test_the_declared_facts(name):
    known = KNOWN[name]
    assert known.dials in ("pods", "node ports", "the ClusterIP")
    assert not known.published or known.published in BALANCERS
    assert all((known.title, known.version, known.balancer, known.purpose, known.status, known.source))
    if not known.class_name or name in MODELLED:
        return
    with pytest.raises(NotModelled, match=rf"{known.title}.*it dials {known.dials}"):
        written("ingressClassName: own", "", ("own", "true", name)).trace("http://shop.test/a")


def test_the_facts_as_a_table():
    table = k8slb.facts_table()
    assert list(table[table.modelled].controller) == [SPEC, INGRESS_NGINX, TRAEFIK]
    assert table.loc["AWS Load Balancer Controller", "dials"] == "node ports"
    assert table.loc["ingress-nginx", "status"].startswith("retired")


def test_a_controller_nobody_knows_is_named():
    with pytest.raises(NotModelled, match=r"through the controller example\.com/none"):
        written("ingressClassName: own", "", ("own", "true", "example.com/none")).trace("http://shop.test/a")


@pytest.mark.parametrize("name", ["spec", "nginx", "ingress-nginx", "traefik", TRAEFIK])
@pytest.mark.parametrize("given", ["", "ingressClassName: absent", "ingressClassName: own"])
def test_the_same_manifests_under_another_controller(name, given):
    cluster = written(given, OLD + "old" if not given else "", ("own", "false", "example.com/none"))
    other = cluster.with_controller(name)
    wanted = {"spec": SPEC, "traefik": TRAEFIK, TRAEFIK: TRAEFIK}.get(name, INGRESS_NGINX)
    assert served(other)[0] == wanted
    assert other.trace("https://shop.test/a/b").to_dict()["controller"] == wanted
    assert served(cluster)[0] != wanted  # the one before is as it was
    assert other.with_controller(name).yaml("ingress/web") == other.yaml("ingress/web")


def test_a_rule_for_any_host_under_a_controller_that_is_not_modelled_is_no_unknown_name():
    ingress = INGRESS % ("", "ingressClassName: kong")
    with pytest.raises(NotModelled, match="Kong"):
        k8slb.load(ingress).trace("http://nobody.example/any")


def test_an_unknown_controller_is_refused():
    with pytest.raises(InputError, match=r'no Ingress controller "konk".*traefik'):
        written().with_controller("konk")


def test_the_controller_before_keeps_its_pods_and_traefik_is_assumed_as_its_chart_installs_it():
    shop = k8slb.load("shop")
    other = shop.with_controller("traefik")
    names = {(p.namespace, p.name) for p in other.pods}
    assert names - {(p.namespace, p.name) for p in shop.pods} == {("traefik", "traefik-1")}
    assert {("ingress-nginx", "ingress-nginx-controller-1")} <= names
    assert any("traefik/traefik-1" in text for text in other.assumptions)
    with pytest.raises(NotModelled, match="Kong"):
        shop.with_controller("kong").trace("http://myshop.example.com/orders")


def test_ports_hosts_and_certificates_under_the_specification():
    cluster = written("ingressClassName: own", "", ("own", "false", SPEC))
    told = {
        url: cluster.trace(url).to_dict() for url in ("http://shop.test/a", "https://shop.test/a", "http://x.test/any")
    }
    assert [t["backend"] and t["backend"]["port"] for t in told.values()] == [80, 80, 80]  # by name, by name, by number
    assert told["https://shop.test/a"]["certificate"] == "default/shop-tls"
    assert told["http://x.test/any"]["status"] == 200  # the wildcard host takes the request; the host "" is not asked
    away = cluster.trace("http://any.example/any", headers={"Host": "any.example"}).to_dict()
    assert away["status"] == 503  # the host "" has no such Service port
    assert "no port 81" in str(cluster.trace("http://any.example/any"))


def test_of_several_default_classes_the_newest_counts():
    old, new = (CLASS % (name, "true", of) for name, of in (("a", SPEC), ("b", TRAEFIK)))
    new = new.replace("annotations:", 'creationTimestamp: "2026-01-02T00:00:00Z", annotations:')
    old = old.replace("annotations:", 'creationTimestamp: "2026-01-01T00:00:00Z", annotations:')
    for text in (old + new, new + old):
        assert served(k8slb.load(INGRESS % ("", "") + text))[0] == TRAEFIK
