"""What manifests of real clusters hold beside the plain case: each answer is true, or says what it does not know."""

import pytest

import k8slb

MODES = ("iptables", "nftables", "ipvs")
PREFIX = "nginx.ingress.kubernetes.io/"
PODS = "".join(
    f"""
apiVersion: v1
kind: Pod
metadata: {{name: a{i}, labels: {{app: a}}}}
spec: {{nodeName: node-{n}, containers: [{{name: c, ports: [{{name: http, containerPort: 8080}}]}}]}}
---
"""
    for i, n in enumerate("aab", 1)
)


def service(spec: str, name: str = "a", status: str = "") -> str:
    lines = [f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{spec}}}"]
    return "\n".join([*lines, *([f"status: {{{status}}}"] if status else []), "---\n"])


A = PODS + service("selector: {app: a}, ports: [{name: web, port: 80, targetPort: http}]")


def ingress(spec: str = "ingressClassName: nginx", annotations: str = "", port: str = "number: 80", host="shop.test"):
    return f"""
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: i, annotations: {{{annotations}}}}}
spec:
  {spec}
  rules:
  - host: "{host}"
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: a, port: {{{port}}}}}}}}}]}}
---
"""


def proxy(**fields) -> str:
    lines = ["apiVersion: kubeproxy.config.k8s.io/v1alpha1", "kind: KubeProxyConfiguration"]
    return "\n".join(lines + [f"{k}: {v}" for k, v in fields.items()]) + "\n---\n"


def controller(kind: str, pod: str = "", service_spec: str = "") -> str:
    """ingress-nginx as its manifests install it, more or less."""
    label = "{app.kubernetes.io/name: ingress-nginx}"
    text = f"""
apiVersion: apps/v1
kind: {kind}
metadata: {{name: ingress-nginx-controller}}
spec:
  selector: {{matchLabels: {label}}}
  template:
    metadata: {{labels: {label}}}
    spec: {{{pod} containers: [{{name: c, ports: [{{containerPort: 80}}, {{containerPort: 443}}]}}]}}
---
"""
    front = f"selector: {label}, ports: [{{name: http, port: 80, nodePort: 30080}}], {service_spec}"
    return text + (service(front, "ingress-nginx-controller") if service_spec else "")


def ask(text: str, url: str, **kwargs):
    return k8slb.load(text).trace(url, **kwargs)


# --- Services --------------------------------------------------------------------------------------------------------


def test_the_kernel_asks_no_rule_for_another_port_of_a_cluster_ip():
    cluster = k8slb.load(PODS + service("clusterIP: 10.96.0.9, selector: {app: a}, ports: [{port: 80}]"))
    told = {m: cluster.with_proxy(mode=m).trace("tcp://10.96.0.9:81", from_="pod:default/a1").action for m in MODES}
    assert told == {"iptables": "drop", "nftables": "reject", "ipvs": "reject"}


@pytest.mark.parametrize("mode", MODES)
def test_external_traffic_policy_local(mode):
    """IPVS has one list of servers for every caller; the other modes tell callers inside from those outside."""
    spec = "type: NodePort, externalTrafficPolicy: Local, selector: {app: a}"
    ports = "ports: [{port: 80, targetPort: http, nodePort: 30080}]"
    cluster = k8slb.load(PODS + service(f"{spec}, {ports}")).with_proxy(mode=mode)
    everybody = ["10.0.0.5:8080", "10.0.0.6:8080", "10.0.0.7:8080"]
    inside = cluster.trace("tcp://172.18.0.2:30080", from_="pod:default/a1")
    assert inside.endpoints == (everybody[:2] if mode == "ipvs" else everybody)
    assert cluster.trace("tcp://172.18.0.2:30080").endpoints == everybody[:2]
    assert cluster.trace("tcp://172.18.0.2:30080").source_seen == "198.51.100.10"
    nobody_there = cluster.trace("tcp://172.18.0.4:30080")  # node-c has no pod
    assert nobody_there.action == "drop"
    assert ("answers go straight" in nobody_there.last.why) == (mode == "ipvs")


def test_internal_traffic_policy_local_without_a_local_endpoint():
    spec = (
        "clusterIP: 10.96.0.9, internalTrafficPolicy: Local, selector: {app: a}, ports: [{port: 80, targetPort: http}]"
    )
    cluster = k8slb.load(PODS + service(spec))
    told = {m: cluster.with_proxy(mode=m).trace("tcp://10.96.0.9:80", from_="node:node-c").action for m in MODES}
    assert told == {"iptables": "drop", "nftables": "drop", "ipvs": "reject"}


def test_hints_steer_by_the_node_that_receives():
    spec = "type: NodePort, trafficDistribution: PreferSameZone, selector: {app: a}"
    cluster = k8slb.load(PODS + service(f"{spec}, ports: [{{port: 80, targetPort: http, nodePort: 30080}}]"))
    assert cluster.trace("tcp://172.18.0.2:30080").endpoints == ["10.0.0.5:8080", "10.0.0.6:8080"]
    assert cluster.trace("tcp://172.18.0.3:30080").endpoints == ["10.0.0.7:8080"]
    assert len(cluster.trace("tcp://172.18.0.4:30080").endpoints) == 3  # no hint names zone-c: everybody


@pytest.mark.parametrize(
    ("mode", "addresses", "answers"),
    [
        ("iptables", "", {"172.18.0.2", "172.18.0.9", "127.0.0.1"}),
        ("nftables", "", {"172.18.0.2"}),
        ("iptables", "[172.18.0.9/32]", {"172.18.0.9"}),
        ("nftables", "[172.18.0.0/16]", {"172.18.0.2", "172.18.0.9"}),
    ],
)
def test_on_which_addresses_node_ports_answer(mode, addresses, answers):
    node = """
apiVersion: v1
kind: Node
metadata: {name: node-a}
status: {addresses: [{type: InternalIP, address: 172.18.0.2}, {type: InternalIP, address: 172.18.0.9}]}
---
"""
    config = proxy(mode=mode, clusterCIDR="10.0.0.0/16", **({"nodePortAddresses": addresses} if addresses else {}))
    spec = "type: NodePort, selector: {app: a}, ports: [{port: 80, targetPort: http, nodePort: 30080}]"
    cluster = k8slb.load(config + node + PODS + service(spec))
    asked = ("172.18.0.2", "172.18.0.9", "127.0.0.1")
    told = {a: cluster.trace(f"tcp://{a}:30080", from_="node:node-a").action for a in asked}
    assert told == {a: "forward" if a in answers else "reject" for a in asked}


def test_masquerading_follows_the_detector():
    spec = "clusterIP: 10.96.0.9, selector: {app: a}, ports: [{port: 80, targetPort: http}]"
    node = "apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\nspec: {podCIDR: 10.0.0.0/24}\n---\n"
    by_node = k8slb.load(proxy(detectLocalMode="NodeCIDR") + node + PODS + service(spec))
    assert by_node.trace("tcp://10.96.0.9:80", from_="external", via="node-a").source_seen == "172.18.0.2"
    no_detector = k8slb.load(proxy(mode="iptables") + PODS + service(spec))
    assert no_detector.trace("tcp://10.96.0.9:80", from_="external", via="node-a").source_seen == "198.51.100.10"


def test_a_load_balancer_leaves_out_nodes_whose_health_check_fails():
    node = """
apiVersion: v1
kind: Node
metadata: {name: node-%s}
spec: {taints: [%s]}
---
"""
    nodes = node % ("a", "") + node % ("b", "{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}")
    spec = "type: LoadBalancer, %s selector: {app: a}, ports: [{port: 80, targetPort: http}]"
    cluster = k8slb.load(nodes + PODS + service(spec % ""))
    assert [c.name for c in cluster.trace("tcp://203.0.113.10:80").hops[0].decision.candidates] == ["node-a"]
    # Terminating pods serve, but do not count for the health check: that is how a node is drained.
    local = PODS.replace("{name: a3,", '{name: a3, deletionTimestamp: "2026-01-01T00:00:00Z",')
    cluster = k8slb.load(local + service(spec % "externalTrafficPolicy: Local,"))
    assert [c.name for c in cluster.trace("tcp://203.0.113.10:80").hops[0].decision.candidates] == ["node-a"]
    assert cluster.trace("tcp://203.0.113.10:80", via="node-b").endpoints == ["10.0.0.7:8080"]


def test_proxy_mode_and_host_names_of_load_balancers_come_in_by_the_node_port():
    for mark in ("ip: 203.0.113.77, ipMode: Proxy", "hostname: lb.example.net"):
        status = f"loadBalancer: {{ingress: [{{{mark}}}]}}"
        spec = "type: LoadBalancer, selector: {app: a}, ports: [{port: 80, targetPort: http}]"
        name = mark.split(",")[0].split()[1]
        told = ask(PODS + service(spec, status=status), f"tcp://{name}:80", from_="pod:default/a1")
        assert [h.decision.layer for h in told.hops][-3:] == ["cloud-lb", "kube-proxy", "pods"]
        assert told.hops[-2].decision.flow.port >= 30000


def test_without_selector_or_with_names_that_no_pod_knows():
    told = ask(service("ports: [{port: 80}]"), "tcp://a:80")
    assert told.action == "reject" and "no selector" in told.last.why
    assert (
        ask(PODS + service("selector: {app: a}, ports: [{port: 80, targetPort: web}]"), "tcp://a:80").action == "reject"
    )


def test_a_named_port_may_differ_from_pod_to_pod():
    pods = PODS.replace("containerPort: 8080", "containerPort: 9090", 1)
    told = ask(pods + service("selector: {app: a}, ports: [{port: 80, targetPort: http}]"), "tcp://a:80")
    assert told.endpoints == ["10.0.0.5:9090", "10.0.0.6:8080", "10.0.0.7:8080"]


def test_a_named_port_of_a_sidecar():
    """FindPort looks at init containers that stay after the containers, and at no other."""
    first = "initContainers: [{name: s, RESTARTports: [{name: sql, containerPort: 5432}]}]"
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {app: a}}\nspec: {containers: [{name: c}], %s}\n---\n"
    to = service("selector: {app: a}, ports: [{port: 80, targetPort: sql}]")
    sidecar = pod % first.replace("RESTART", "restartPolicy: Always, ")
    assert ask(sidecar + to, "tcp://a:80").endpoints == ["10.0.0.5:5432"]
    assert ask(pod % first.replace("RESTART", "") + to, "tcp://a:80").action == "reject"


def test_nodes_that_only_pods_name():
    """`kubectl get pods` prints no Node, but says which node each pod is on; the API's own lists say no kind."""
    pod = "- {metadata: {name: %s, labels: {app: a}}, spec: {nodeName: %s, containers: [{name: c}]}}\n"
    text = "apiVersion: v1\nkind: PodList\nitems:\n" + pod % ("one", "ip-1") + pod % ("two", "ip-2") + "---\n"
    cluster = k8slb.load(text + service("internalTrafficPolicy: Local, selector: {app: a}, ports: [{port: 80}]"))
    assert [n.name for n in cluster.nodes] == ["ip-1", "ip-2"] and cluster.node["ip-1"].zone == ""
    assert cluster.pod_name(cluster.trace("tcp://a:80", from_="pod:default/two").pod) == "two"
    assert len(k8slb.load(text.replace("ip-", "node-")).nodes) == 2  # node-1, node-2
    assert len(k8slb.load(text.replace("ip-1", "node-a").replace("ip-2", "node-c")).nodes) == 3


# --- names -----------------------------------------------------------------------------------------------------------


def test_headless_and_the_names_of_a_stateful_set():
    template = "template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c}]}}"
    spec = f"replicas: 2, serviceName: db, selector: {{matchLabels: {{app: db}}}}, {template}"
    db = f"apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\nspec: {{{spec}}}\n---\n"
    ports = "clusterIP: None, selector: {app: db}, ports: [{port: 5432}]"
    cluster = k8slb.load(db + service(ports, "db") + service(ports, "other"))
    pods = {p.name: f"{p.status.podIP}:5432" for p in cluster.pods}
    assert sorted(cluster.shares("tcp://db:5432")) == sorted(pods.values())
    assert cluster.trace("tcp://db-1.db:5432").pod == pods["db-1"]
    assert cluster.trace("tcp://db-0.db.default.svc.cluster.local:5432").pod == pods["db-0"]
    assert cluster.trace("tcp://db-1.other:5432").action == "unresolved"  # its subdomain is db
    for label in ("statefulset.kubernetes.io/pod-name: db-1", 'apps.kubernetes.io/pod-index: "1"'):
        one = k8slb.load(db + service(f"selector: {{{label}}}, ports: [{{port: 5432}}]", "second"))
        assert one.trace("tcp://second:5432").endpoints == [pods["db-1"]], label
    told = ask(
        PODS + service("clusterIP: None, selector: {app: a}, ports: [{port: 80, targetPort: http}]"), "tcp://a:80"
    )
    assert told.action == "reject"  # no rules: nothing turns 80 into 8080


def test_external_names():
    alias = "type: ExternalName, externalName: %s"
    to_a = service(alias % "a.default.svc.cluster.local", "alias")
    assert ask(A + to_a, "http://alias/").endpoints == ask(A, "http://a/").endpoints
    assert ask(service(alias % "db.example.com", "db"), "tcp://db:5432").action == "unresolved"
    circle = service(alias % "two.default.svc.cluster.local", "one") + service(
        alias % "one.default.svc.cluster.local", "two"
    )
    assert ask(circle, "tcp://one:80").action == "unresolved"


# --- Ingress controllers ---------------------------------------------------------------------------------------------


def test_a_controller_on_the_hosts_network_is_reached_at_its_nodes():
    exporter = PODS.split("---")[0].replace("a1", "exporter").replace("app: a}", "app: exporter}")
    exporter = exporter.replace("spec: {", "spec: {hostNetwork: true, ").replace("8080", "9100") + "---\n"
    cluster = k8slb.load(A + exporter + ingress() + controller("DaemonSet", "hostNetwork: true,"))
    told = cluster.trace("http://shop.test/")
    assert told.status == 200 and told.fact("backend")["service"] == "a"
    assert told.hops[0].chosen.address in {n.address for n in cluster.nodes}
    other = cluster.trace("http://172.18.0.2:9100/")  # another pod on the same address is no controller
    assert other.last.layer == "pods" and other.pod == "172.18.0.2:9100"


def test_a_controller_behind_node_ports_needs_its_port_named():
    cluster = k8slb.load(A + ingress() + controller("Deployment", service_spec="type: NodePort"))
    assert cluster.trace("http://shop.test/").action == "reject"
    told = cluster.trace("http://shop.test:30080/")
    assert told.status == 200 and any("DNS" in w for w in told.warnings)
    assert cluster.trace("http://172.18.0.2:30080/", headers={"Host": "shop.test"}).status == 200
    assert cluster.trace("http://172.18.0.2:30080/").status == 404


@pytest.mark.parametrize(
    ("port", "scope", "status"),
    [
        ("number: 80", "nginx", 200),
        ("name: web", "nginx", 200),
        ("name: http", "nginx", 200),  # the targetPort's name: ingress-nginx takes it, the specification does not
        ("name: http", "spec", 503),
        ("number: 81", "nginx", 503),
    ],
)
def test_backend_ports(port, scope, status):
    class_ = "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {name: spec}\n"
    text = A + ingress(f"ingressClassName: {scope}", port=port) + class_ + "spec: {controller: k8slb/spec}\n---\n"
    assert ask(text, "http://shop.test/").status == status


def test_classes_by_name_by_annotation_and_unknown():
    assert ask(A + ingress("tls: []", "kubernetes.io/ingress.class: nginx"), "http://shop.test/").status == 200
    told = ask(A + ingress("ingressClassName: mystery"), "http://shop.test/")
    assert told.action == "unresolved" and "mystery" in told.last.why


def test_tls():
    tls = 'ingressClassName: nginx\n  tls: [{hosts: ["%s"], secretName: cert}]'
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: cert}\n---\n"
    cluster = k8slb.load(A + secret + ingress(tls % "*.shop.test", host="*.shop.test"))
    told = cluster.trace("https://a.shop.test/")
    assert (told.status, told.fact("certificate"), told.warnings) == (200, "default/cert", [])
    told = cluster.trace("http://a.shop.test/x?y=1")
    assert (told.status, told.fact("location")) == (308, "https://a.shop.test/x?y=1")
    assert cluster.trace("http://a.b.shop.test/").status == 404  # one label, and no redirect for other hosts
    other = cluster.trace("https://other.test/", headers={"Host": "a.shop.test"})  # SNI is the URL's, not the header's
    assert (other.status, other.fact("certificate")) == (200, "ingress-nginx's self-signed default")
    off = ingress(tls % "shop.test", f'{PREFIX}ssl-redirect: "false"')
    assert ask(A + off, "http://shop.test/").status == 200
    assert ask(A + ingress(annotations=f'{PREFIX}force-ssl-redirect: "true"'), "http://shop.test/").status == 308
    # Any tls block of an Ingress that names the host turns the redirect on, whatever hosts it lists, on every path.
    assert ask(A + ingress(tls % "else.test").replace("path: /,", "path: /x,"), "http://shop.test/none").status == 308


def test_service_upstream_dials_the_cluster_ip_where_there_is_one():
    upstream = ingress(annotations=f'{PREFIX}service-upstream: "true"')
    assert [h.decision.layer for h in ask(A + upstream, "http://shop.test/").hops][-2:] == ["kube-proxy", "pods"]
    headless = PODS + service("clusterIP: None, selector: {app: a}, ports: [{port: 80, targetPort: http}]")
    assert [h.decision.layer for h in ask(headless + upstream, "http://shop.test/").hops][-2:] == ["ingress", "pods"]


def test_what_is_not_modelled_says_so():
    snippet = ingress(annotations=f"{PREFIX}configuration-snippet: return 200;")
    assert any("configuration-snippet" in w for w in ask(A + snippet, "http://shop.test/").warnings)
    twice = ingress() + ingress().replace("name: i,", "name: j,")
    assert any("older" in w for w in ask(A + twice, "http://shop.test/").warnings)
    for text in (
        A + ingress("ingressClassName: haproxy"),
        A + ingress(annotations=f"{PREFIX}rewrite-target: /$request_uri"),
        A + ingress(annotations=f'{PREFIX}use-regex: "true"').replace("path: /,", "path: '/(',"),
        service("type: ExternalName, externalName: x.example.com") + ingress(),
        A + proxy(detectLocalMode="BridgeInterface") + ingress(annotations=f'{PREFIX}service-upstream: "true"'),
    ):
        with pytest.raises(k8slb.K8slbError):
            ask(text, "http://shop.test/")
