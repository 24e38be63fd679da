"""explain, layer 7: each check fires at its line with its number, and is silent once the fault is mended."""

import pytest

import k8slb

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: v1}}
    spec: {containers: [{name: web, image: web, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
"""


def ingress(
    name="web",
    host="shop.example.com",
    paths=("/",),
    backend="web",
    port="number: 80",
    notes="",
    spec="",
    kind="Prefix",
):
    """An Ingress whose YAML has one field a line, from line 29 on."""
    given = "".join(
        f"      - path: {path}\n        pathType: {kind}\n        backend:\n          service:\n"
        f"            name: {backend}\n            port:\n              {port}\n"
        for path in paths
    )
    annotations = "".join(f"    {note}\n" for note in notes.split("\n") if note)
    return (
        f"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n"
        + (f"  annotations:\n{annotations}" if notes else "")
        + ("" if "ingressClassName" in spec else "spec:\n  ingressClassName: nginx\n")
        + (f"spec:\n{spec}" if "ingressClassName" in spec else spec)
        + f"  rules:\n  - host: {host!r}\n    http:\n      paths:\n{given}---\n"
    )


def found(text):
    return {f.id: f for f in k8slb.load(text).explain()}


def line(text, part):
    """The number of the last line that has `part`."""
    return max(i for i, one in enumerate(text.splitlines(), 1) if part in one)


NGINX = "nginx.ingress.kubernetes.io/"
REWRITE = f"{NGINX}rewrite-target: "
TLS = "  ingressClassName: nginx\n  tls:\n  - secretName: cert\n    hosts:\n    - {}\n"
CANARY = f'{NGINX}canary: "true"\n{NGINX}canary-weight: "{{}}"'

# id: (the faulty objects, part of the line to blame, part of the consequence, the objects mended)
CASES = {
    "ingress-unserved": (
        ingress(spec="  ingressClassName: ngnix\n"),
        "ngnix",
        "http://shop.example.com/: no controller",
        ingress(),
    ),
    "ingress-backend-missing": (
        ingress(paths=("/a", "/b"), backend="wob"),
        "path: /a",
        "http://shop.example.com/a, http://shop.example.com/b: answered 503 (2 of its 2 paths)",
        ingress(),
    ),
    "ingress-backend-port": (
        ingress(port="name: htpt"),
        "name: htpt",
        "answered 503 (1 of its 1 paths)",
        ingress(port="name: http"),
    ),
    "path-is-no-expression": (
        ingress(paths=("/api(/|$)(.*)",)),
        "path: /api",
        "http://shop.example.com/api/, which it looks meant for, is answered 404",
        ingress(paths=("/api(/|$)(.*)",), notes=f'{NGINX}use-regex: "true"', kind="ImplementationSpecific"),
    ),
    "path-hidden": (
        ingress() + ingress(name="late", backend="other"),
        "path: /",
        "http://shop.example.com/ is taken by web; 0 of the requests",
        ingress() + ingress(name="late", backend="other", host="late.example.com"),
    ),
    "location-twice": (
        ingress() + ingress(name="late", paths=("/foo/", "/foo")),
        "path: /foo",
        "nginx refuses the whole configuration",
        ingress() + ingress(name="late", paths=("/foo/", "/food")),
    ),
    "rewrite-without-capture": (
        ingress(paths=("/a", "/b"), notes=REWRITE + "/"),
        "rewrite-target",
        "one path, /, for every URL of 2 of its 2 paths",
        ingress(paths=("/a(/|$)(.*)", "/b(/|$)(.*)"), notes=REWRITE + "/$2", kind="ImplementationSpecific"),
    ),
    "paths-become-expressions": (
        ingress(name="a", paths=("/api(/|$)(.*)",), notes=REWRITE + "/$2", kind="ImplementationSpecific")
        + ingress(paths=("/orders", "/")),
        "rewrite-target",
        "1 of the 2 paths of Ingress default/web take more than their pathType says: "
        "http://shop.example.com/ordersX comes to web, which /orders (Prefix) does not match",
        ingress(
            name="a",
            host="api.example.com",
            paths=("/api(/|$)(.*)",),
            notes=REWRITE + "/$2",
            kind="ImplementationSpecific",
        )
        + ingress(paths=("/orders", "/")),
    ),
    "wildcard-covered": (
        ingress(host="*.example.com", paths=("/status",)) + ingress(name="a", host="a.example.com", paths=("/a",)),
        "*.example.com",
        "http://a.example.com/status: answered 404",
        ingress(host="*.example.com", paths=("/status",))
        + ingress(name="a", host="a.example.com", paths=("/a", "/status")),
    ),
    "annotation-misspelt": (
        ingress(notes=f"{NGINX}rewrite-tagret: /"),
        "rewrite-tagret",
        "does nothing",
        ingress(notes=f'{NGINX}proxy-send-timeout: "9"\n{NGINX}mine: "1"'),
    ),
    "annotations-of-another": (
        ingress(notes='nginx.org/rewrites: "x"'),
        "nginx.org/rewrites",
        "What they say has no effect (1 of 1)",
        ingress(notes=f'nginx.org/rewrites: "x"\n{NGINX}proxy-body-size: 1m'),
    ),
    "canary-without-main": (
        ingress() + ingress(name="canary", paths=("/new",), backend="other", notes=CANARY.format(20)),
        "path: /new",
        "0 requests come to it (1 of its 1 paths); http://shop.example.com/new: taken by web",
        ingress() + ingress(name="canary", backend="other", notes=CANARY.format(20)),
    ),
    "canary-beyond": (
        ingress(paths=("/a", "/b")) + ingress(name="canary", paths=("/a",), backend="other", notes=CANARY.format(20)),
        "path: /a",
        "(default-web-80), not the path: whatever goes to it is split as http://shop.example.com/a.",
        ingress(paths=("/a", "/b"))
        + ingress(name="canary", paths=("/a", "/b"), backend="other", notes=CANARY.format(20)),
    ),
    "canary-weight": (
        ingress() + ingress(name="canary", backend="other", notes=CANARY.format(120)),
        "canary-weight",
        "100% of the requests for http://shop.example.com/ go to it",
        ingress() + ingress(name="canary", backend="other", notes=CANARY.format(100)),
    ),
    "sticky-undone": (
        ingress(notes=f'{NGINX}affinity: cookie\n{NGINX}service-upstream: "true"'),
        "affinity",
        "one of 4 pods once per connection: no request is sticky, and over 20 connections that stay open the pods' "
        "load differs by 39%",
        ingress(notes=f"{NGINX}affinity: cookie"),
    ),
    "pooled-connections": (
        ingress(notes=f'{NGINX}service-upstream: "true"'),
        "service-upstream",
        "over 20 connections that stay open the pods' load differs by 39%",
        ingress(notes=f'{NGINX}service-upstream: "false"'),
    ),
    "tls-host-missing": (
        ingress(host="a.b.example.com", spec=TLS.format("'*.example.com'")),
        "a.b.example.com",
        "https://a.b.example.com: ingress-nginx's self-signed default is served",
        ingress(host="b.example.com", spec=TLS.format("'*.example.com'")),
    ),
    "tls-host-without-rule": (
        ingress(spec=TLS.format("shop.example.org")),
        "shop.example.org",
        "https://shop.example.org/ is answered 404",
        ingress(spec=TLS.format("shop.example.com")),
    ),
}


BROKEN = {  # the others are served, but not as the YAML looks
    "ingress-unserved",
    "ingress-backend-missing",
    "ingress-backend-port",
    "path-is-no-expression",
    "location-twice",
    "annotation-misspelt",
    "canary-without-main",
}


@pytest.mark.parametrize("name", CASES)
def test_fires_where_it_is_wrong_and_is_silent_once_mended(name):
    wrong, blamed, told, right = CASES[name]
    one = found(WEB + wrong)[name]
    at = line(WEB + wrong, blamed) + {"ingress-backend-missing": 4}.get(name, 0)
    assert one.line == at, one
    assert told in one.consequence and (one.level == "broken") == (name in BROKEN)
    assert name not in found(WEB + right)


MESHED = "kind: Namespace\napiVersion: v1\nmetadata: {name: default, annotations: {linkerd.io/inject: enabled}}\n"
FRONT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: ingress-nginx-controller, namespace: ingress-nginx}
spec:
  replicas: 3
  selector: {matchLabels: {app.kubernetes.io/name: ingress-nginx}}
  template:
    metadata: {labels: {app.kubernetes.io/name: ingress-nginx}}
    spec: {containers: [{name: controller, image: controller, ports: [{name: http, containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: ingress-nginx-controller, namespace: ingress-nginx}
spec:
  type: LoadBalancer
  externalTrafficPolicy: %s
  selector: {app.kubernetes.io/name: ingress-nginx}
  ports: [{port: 80}]
---
"""


def test_limits_count_per_replica_and_by_the_address_that_the_controller_sees():
    limited = WEB + ingress(notes=f'{NGINX}limit-rps: "10"')
    told = found(limited + FRONT % "Cluster")
    assert "3 times 10, 30, of one client" in told["limit-per-replica"].consequence
    assert told["limit-per-replica"].line == line(limited, "limit-rps") == told["client-address-hidden"].line
    assert "at most 3 addresses" in told["client-address-hidden"].consequence
    assert "client-address-hidden" not in found(limited + FRONT % "Local")
    proxied = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {use-proxy-protocol: 'true'}\n"
    assert "client-address-hidden" not in found(limited + FRONT % "Cluster" + proxied)
    assert "limit-per-replica" not in found(limited + (FRONT % "Local").replace("replicas: 3", "replicas: 1"))


def test_session_affinity_of_a_service_that_the_controller_goes_past():
    sticky = WEB.replace(
        "metadata: {name: web}\nspec: {selector", "metadata: {name: web}\nspec: {sessionAffinity: ClientIP, selector"
    )
    one = found(sticky + ingress())["affinity-bypassed"]
    assert (one.object, one.line) == ("Service default/web", line(sticky, "sessionAffinity"))
    assert "ingress-nginx dials the 4 pods itself" in one.consequence
    assert "affinity-bypassed" not in found(sticky + ingress(notes=f'{NGINX}service-upstream: "true"'))


def test_what_may_stand_in_other_files_is_not_broken():
    assert "ingress-backend-missing" not in found(
        ingress(backend="elsewhere") + "kind: Namespace\napiVersion: v1\nmetadata: {name: team}"
    )
    alone = WEB + ingress() + ingress(name="b", host="b.example.com", backend="other")
    told = k8slb.load(alone + ingress(name="c", host="c.example.com", backend="elsewhere")).explain()
    assert not told.found
    assert "Routes name what is not in the input: Service default/elsewhere" in told.notes
    made = "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: elsewhere}\n"  # which has Services made
    assert not found(WEB + ingress(backend="elsewhere") + made)
    dumped = ingress(name="c", host="c.example.com", backend="elsewhere").replace(
        "metadata:\n", "metadata:\n  uid: a-b\n"
    )
    assert found(alone + dumped)["ingress-backend-missing"].level == "broken"
    unclassed, unnamed = (
        WEB.partition("apiVersion: networking")[0],
        ingress().replace("  ingressClassName: nginx\n", ""),
    )
    unknown = ingress(spec="  ingressClassName: in-house\n")
    assert not {"ingress-unserved"} & set(found(WEB + ingress(spec="  ingressClassName: cilium\n")))
    named = found(unclassed + unknown)["ingress-unserved"]
    assert named.level == "surprising" and "may come from elsewhere" in named.what
    assert not found(unknown) and not found(unclassed + unnamed)
    assert found(WEB + unnamed)["ingress-unserved"].level == "broken"  # there is a class, and it is not the default
    assert "Which controller serves them is not known: Ingress default/web" in k8slb.load(unknown).explain().notes


def test_session_affinity_behind_a_controller_that_dials_the_service():
    """To kube-proxy the controller's replicas are the clients."""
    sticky = WEB.replace(
        "metadata: {name: web}\nspec: {selector", "metadata: {name: web}\nspec: {sessionAffinity: ClientIP, selector"
    )
    upstream = ingress(notes=f'{NGINX}service-upstream: "true"')
    one = found(sticky + upstream + (FRONT % "Local"))["affinity-of-proxies"]
    assert one.line == line(sticky, "sessionAffinity") and "at most 3 of 4 pods" in one.consequence
    assert "affinity-of-proxies" not in found(
        sticky + upstream + (FRONT % "Local").replace("replicas: 3", "replicas: 4")
    )
    assert "pooled-connections" not in found(WEB + upstream + MESHED)
    routed = found(sticky + GATEWAY % "traefik" + route())["affinity-bypassed"]
    assert routed.object == "Service default/web" and "Gateway shop dials the 4 pods itself" in routed.consequence


def test_backends_of_the_same_name_in_two_namespaces_are_two():
    web = WEB.partition("apiVersion: networking")[0]
    there = web.replace("metadata: {name:", "metadata: {namespace: two, name:") + ingress(name="b").replace(
        "metadata:\n", "metadata:\n  namespace: two\n"
    )
    one = found(WEB + ingress(name="a") + there)["path-hidden"]
    assert one.object == "Ingress two/b" and "Ingress default/a" in one.what


def test_a_gateway_class_beside_another():
    eg = "kind: GatewayClass\nmetadata: {name: eg}\nspec: {controllerName: a/b}\n"
    one = found(GATEWAY % "outside" + "apiVersion: gateway.networking.k8s.io/v1\n" + eg)["gateway-class"]
    assert "there is no GatewayClass outside, but eg" in one.what
    assert not found(GATEWAY % "outside")


@pytest.mark.parametrize(
    "spec",
    [
        ingress(paths=("/old",), notes=REWRITE + "/new", kind="Exact"),
        ingress(paths=("/",), notes=REWRITE + "/"),
        ingress(spec="  ingressClassName: nginx\n  defaultBackend: {service: {name: other, port: {number: 80}}}\n"),
    ],
    ids=["Exact", "root", "defaultBackend"],
)
def test_harmless_rewrites_and_defaults_are_no_finding(spec):
    assert not {"rewrite-without-capture", "path-hidden"} & set(found(WEB + spec))


@pytest.mark.parametrize("name", ["traefik", "haproxy", "kong"])
def test_certificates_of_other_controllers(name):
    spec = f"  ingressClassName: {name}\n  tls:\n  - hosts: ['%s']\n    secretName: cert\n"
    assert "tls-host-missing" in found(WEB + ingress(spec=spec % "www.example.com"))
    assert not found(WEB + ingress(spec=spec % "shop.example.com"))


def test_the_class_nginx_is_of_two_projects():
    """Annotations of the other one say that no rule of ingress-nginx holds."""
    text = WEB.partition("apiVersion: networking")[0] + ingress(paths=("/a/([^/]+)",), notes="nginx.org/path-regex: x")
    assert not {f for f in found(text) if f.startswith(("path", "annotations", "rewrite"))}


# --- Gateway API -----------------------------------------------------------------------------------------------------

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: shop}
spec:
  gatewayClassName: %s
  listeners:
  - {name: http, port: 80, protocol: HTTP, hostname: "*.example.com"}
---
"""
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: %(name)s
  namespace: %(space)s
spec:
  parentRefs:
  - name: %(gateway)s
    namespace: default
    sectionName: %(section)s
  hostnames:
  - %(host)s
  rules:
  - matches:
    - path: {type: PathPrefix, value: %(path)s}
    backendRefs:
    - {name: web, port: 80, weight: %(weight)s}
    - name: %(backend)s
      port: %(port)s
      weight: 10
---
"""


def route(**values):
    usual = {
        "name": "r",
        "space": "default",
        "gateway": "shop",
        "section": "http",
        "host": "a.example.com",
        "path": "/",
    }
    return ROUTE % (usual | {"weight": 90, "backend": "other", "port": 80} | values)


@pytest.mark.parametrize(
    ("name", "wrong", "blamed", "told"),
    [
        (
            "gateway-class",
            GATEWAY % "tarefik" + route(),
            "gatewayClassName",
            "nobody listens on its ports, and the HTTPRoutes that name it (1)",
        ),
        (
            "route-without-gateway",
            GATEWAY % "traefik" + route(gateway="shopp"),
            "name: shopp",
            "Its rules for a.example.com (1 in all)",
        ),
        (
            "route-not-attached",
            GATEWAY % "traefik" + route(section="https"),
            "- name: shop",
            "http (port 80, host *.example.com",
        ),
        (
            "route-not-attached",
            GATEWAY % "traefik" + route(host="shop.org"),
            "- name: shop",
            "Its rules for shop.org (1 in all)",
        ),
        (
            "route-backend",
            GATEWAY % "traefik" + route(backend="othr"),
            "name: othr",
            "10% of the requests that the rule",
        ),
        (
            "route-parent-group",
            route().replace(
                "name: shop\n    namespace: default\n    sectionName: http", "name: web\n    kind: Service"
            ),
            "kind: Service",
            "its rules (1 in all) get 0 requests",
        ),
        ("route-backend", GATEWAY % "traefik" + route(port=8080), "port: 8080", "10% of the requests that the rule"),
        (
            "match-never-taken",
            GATEWAY % "traefik" + route(path="/a") + route(name="s", path="/a", weight=50),
            "path: {type",
            "(<text>:51) takes all that it asks for",
        ),
    ],
)
def test_gateway_api(name, wrong, blamed, told):
    one = found(WEB + wrong)[name]
    assert one.line == line(WEB + wrong, blamed), one
    assert told in one.consequence, one.consequence
    mended = found(WEB + GATEWAY % "traefik" + route(path="/a") + route(name="s", path="/a/b", weight=50))
    assert not {f for f in mended if f.startswith(("gateway", "route", "match"))}


def test_routes_of_other_namespaces_need_leave():
    """allowedRoutes of a listener is Same by default; a Service of another namespace needs a ReferenceGrant."""
    text = WEB + GATEWAY % "traefik" + route(space="team", section="http")
    assert "routes from Same" in found(text)["route-not-attached"].consequence
    across = WEB + route(space="team", weight=30).replace("- {name: web,", "- {name: web, namespace: default,")
    one = next(f for f in k8slb.load(across).explain() if "RefNotPermitted" in f.what)
    assert (one.id, one.level) == ("route-backend", "broken") and one.consequence.startswith("75% of the requests")
    grant = """
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: team}]
  to: [{group: "", kind: Service}]
"""
    assert "RefNotPermitted" not in str(k8slb.load(across + grant).explain())


# --- mesh ------------------------------------------------------------------------------------------------------------

MESH = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - route:
    - destination: {host: web, subset: v1}
      weight: 75
    - destination:
        host: %s
        subset: %s
      weight: 25
"""


@pytest.mark.parametrize(
    ("name", "host", "subset"),
    [("mesh-no-service", "wbe", "v1"), ("mesh-no-subset", "web", "v3"), ("mesh-empty-subset", "web", "v2")],
)
def test_a_mesh_route_that_leads_nowhere(name, host, subset):
    text = WEB + MESH % (host, subset)
    one = found(text)[name]
    assert (
        one.line == line(text, f"host: {host}" if "service" in name else f"subset: {subset}") and one.level == "broken"
    )
    assert one.consequence.startswith("25% of the requests that the route takes are answered 503")
    assert not {f for f in found(WEB + MESH % ("web", "v1")) if f.startswith("mesh")}


def test_a_route_that_only_a_mesh_reads():
    of_service = route().replace("namespace: default\n    sectionName: http", 'kind: Service\n    group: ""')
    space = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {istio-injection: enabled}}\n---\n"
    notes = ["only a mesh reads" in str(k8slb.load(t + WEB + of_service).explain().notes) for t in ("", space)]
    assert notes == [True, False]


def test_a_mesh_route_behind_one_that_takes_all():
    text = (
        WEB + MESH % ("web", "v1") + "  - match: [{uri: {prefix: /new}}]\n    route: [{destination: {host: other}}]\n"
    )
    one = found(text)["mesh-never-taken"]
    assert one.line == line(text, "- match") and "come to route 1 (other)" in one.consequence
    assert "mesh-never-taken" not in found(
        text.replace("  - route:", "  - match: [{uri: {prefix: /old}}]\n    route:", 1)
    )
