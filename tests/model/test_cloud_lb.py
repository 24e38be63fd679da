"""The cloud load balancer: who balances over what, which addresses remain, and which health check says what.

The figures of the zones are AWS's own example (Elastic Load Balancing, cross-zone: 25% and 6.25%); the announcer of
MetalLB is the smallest of `printf 'NODE#ADDRESS' | sha256sum` over the nodes.
"""

from fractions import Fraction
from math import sqrt

import pytest

import k8slb
from k8slb.errors import InputError, NotModelled
from k8slb.loadbalancers import KNOWN

VIP = "tcp://203.0.113.10:80"
AWS = "service.beta.kubernetes.io/aws-load-balancer-"


def node(letter, zone=None, spec="{}"):
    labels = f"{{topology.kubernetes.io/zone: zone-{zone or letter}}}"
    return f"""
apiVersion: v1
kind: Node
metadata: {{name: node-{letter}, labels: {labels}}}
spec: {spec}
---"""


def pods(**each):
    """So many pods on each node: pods(a=2, b=1)."""
    return "".join(
        f"""
apiVersion: v1
kind: Pod
metadata: {{name: {letter}{i}, labels: {{app: web}}}}
spec: {{nodeName: node-{letter}, containers: [{{name: c, ports: [{{containerPort: 8080}}]}}]}}
---"""
        for letter, count in each.items()
        for i in range(count)
    )


def service(spec="", annotations="", protocol="TCP"):
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: web, annotations: {{{annotations}}}}}
spec:
  {{type: LoadBalancer, selector: {{app: web}}, {spec} ports: [{{port: 80, targetPort: 8080, protocol: {protocol}}}]}}
"""


def shop(text="", nodes="abc", **each):
    each = each or {"a": 4, "b": 1, "c": 1}
    return k8slb.load("".join(map(node, nodes)) + pods(**each) + (text or service()))


def by_pod(cluster, url=VIP, **more):
    shares = cluster.shares(url, **more)
    return {cluster.pod_name(address): share for address, share in shares.items()} | (
        {"lost": shares.lost} if shares.lost else {}
    )


def hottest(cluster):
    shares = cluster.shares(VIP)
    return max(shares.values()) * len(shares)


LOCAL = service("externalTrafficPolicy: Local,")


def test_local_policy_shares_by_node_and_the_health_check_is_what_keeps_it_from_losing():
    cluster = shop(LOCAL, nodes="ab", a=2, b=1)
    assert by_pod(cluster) == {"a0": Fraction(1, 4), "a1": Fraction(1, 4), "b0": Fraction(1, 2)}
    three = shop(LOCAL, a=2, b=1)
    assert by_pod(three) == by_pod(cluster)
    unchecked = three.with_load_balancer(health_check=False)
    assert unchecked.shares(VIP).lost == Fraction(1, 3)
    assert "node-c" in unchecked.trace(VIP).warnings[0] and "503" in unchecked.trace(VIP).warnings[0]
    assert by_pod(unchecked.with_load_balancer(health_check=True)) == by_pod(three)


@pytest.mark.parametrize("each", [{"a": 3}, {"a": 4, "b": 1, "c": 1}, {"b": 1, "c": 2}])
def test_an_extra_hop_is_taken_by_two_in_three_wherever_the_pods_are(each):
    cluster = shop(service(), **each)
    extra = Fraction(0)
    for entered in cluster.nodes:
        for pod, share in by_pod(cluster, via=entered.name).items():
            extra += Fraction(1, 3) * share * (cluster.pod_named["default", pod].spec.nodeName != entered.name)
    assert extra == Fraction(2, 3)


def test_zones_without_cross_zone():
    nlb = shop().with_load_balancer("aws-nlb", targets="ip")
    assert hottest(nlb) == 2 and by_pod(nlb)["a0"] == Fraction(1, 12)
    assert hottest(nlb.with_load_balancer(cross_zone=True)) == 1
    # Node targets and same-zone routing come to the same; without the latter every node reaches every pod.
    assert hottest(shop().with_load_balancer("aws-nlb")) == 1
    near = shop(service("trafficDistribution: PreferSameZone,"))
    assert hottest(near) == 2 and hottest(near.with_load_balancer("aws-nlb")) == 2
    example = k8slb.load(node("a") + node("b") + pods(a=2, b=8) + service()).with_load_balancer("aws-nlb", targets="ip")
    assert sorted(set(by_pod(example).values())) == [Fraction(1, 16), Fraction(1, 4)]
    # Nodes count where they are the targets: two in zone a, one in zone b, and a zone without a healthy target is out.
    uneven = k8slb.load(node("a") + node("b", "a") + node("c") + pods(a=1, b=1, c=1) + LOCAL).with_load_balancer(
        "aws-nlb"
    )
    assert by_pod(uneven) == {"a0": Fraction(1, 4), "b0": Fraction(1, 4), "c0": Fraction(1, 2)}
    assert by_pod(shop(LOCAL, a=1, b=1).with_load_balancer("aws-nlb"))["a0"] == Fraction(1, 2)


def test_metallb_sends_everything_to_one_node():
    cluster = shop().with_load_balancer("metallb-l2")
    run = cluster.send(VIP, requests=300)
    assert {h.decision.place.name for h in cluster.trace(VIP).hops if h.decision.layer == "kube-proxy"} == {"node-c"}
    assert hottest(cluster) == 1 and run.share("pod").size == 6
    # Under Local only the pods of the announcer, one of those with an endpoint, get anything.
    assert set(by_pod(shop(LOCAL, a=1, b=2, c=1).with_load_balancer("metallb-l2"))) == {"c0"}
    assert set(by_pod(shop(LOCAL, a=1, b=2).with_load_balancer("metallb-l2"))) == {"a0"}
    with pytest.raises(NotModelled, match="BGP"):
        bgp = "\n---\napiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata: {name: x}\n"
        shop(service("loadBalancerClass: metallb,") + bgp).trace(VIP)


@pytest.mark.parametrize(
    ("name", "settings", "policy", "seen", "arrives"),
    [
        ("aws-nlb", {}, "Cluster", "node", "node port"),
        ("aws-nlb", {}, "Local", "client", "node port"),
        ("aws-nlb", {"targets": "ip"}, "Cluster", "balancer", "pod"),
        ("gcp-passthrough", {}, "Cluster", "node", "VIP"),
        ("gcp-passthrough", {}, "Local", "client", "VIP"),
        ("azure", {}, "Local", "client", "VIP"),
        ("metallb-l2", {}, "Local", "client", "VIP"),
        ("generic", {}, "Cluster", "node", "VIP"),
    ],
)
def test_addresses(name, settings, policy, seen, arrives):
    cluster = shop(service(f"externalTrafficPolicy: {policy},")).with_load_balancer(name, **settings)
    told = cluster.trace(VIP)
    balancer = [h for h in told.hops if h.decision.layer == "cloud-lb"][-1]
    after = balancer.chosen.flow
    assert told.served
    if seen == "balancer":
        assert told.source_seen.startswith("172.18.255.") and told.source_seen not in cluster.node_at
    else:
        assert (told.source_seen in cluster.node_at) == (seen == "node")
        assert seen == "node" or told.source_seen == "198.51.100.10"
    assert {"node port": after.port >= 30000, "VIP": after.to == "203.0.113.10:80", "pod": after.to == told.pod}[
        arrives
    ]
    rules = [h for h in told.hops if h.decision.layer == "kube-proxy"]
    assert bool(rules) == (arrives != "pod")
    back = told.to_dict()["return"]
    assert back[-1]["layer"] == "cloud-lb" and ("straight to" in back[-1]["what"]) == (arrives == "VIP")
    if rules:
        assert ("alone can turn" in back[0]["why"]) == (policy == "Cluster") and back[0]["at"] == rules[
            0
        ].decision.place.name
    # From inside, kube-proxy short-circuits only an address that packets keep.
    inside = cluster.trace(VIP, from_="pod:default/b0")
    assert (inside.hops[0].decision.layer == "kube-proxy") == (arrives == "VIP")


def test_what_the_annotations_change():
    ip = f"{AWS}type: external, {AWS}nlb-target-type: ip"
    assert shop(service(annotations=ip)).trace(VIP).source_seen.startswith("172.18.255.")
    kept = f"{ip}, {AWS}target-group-attributes: preserve_client_ip.enabled=true"
    assert shop(service(annotations=kept)).trace(VIP).source_seen == "198.51.100.10"
    udp = shop(service(annotations=ip, protocol="UDP")).trace(VIP.replace("tcp", "udp"))
    assert udp.source_seen == "198.51.100.10"  # UDP always keeps it
    off = 'service.beta.kubernetes.io/azure-disable-load-balancer-floating-ip: "true"'
    hops = shop(service(annotations=off)).trace(VIP).hops
    assert hops[0].decision.facts["load_balancer"] == "azure" and hops[0].chosen.flow.port >= 30000
    ranged = "loadBalancerSourceRanges: [192.0.2.0/24],"
    assert shop(service(ranged, ip)).trace(VIP).action == "drop"
    with pytest.raises(InputError, match="instance or ip"):
        shop(service(annotations=f"{AWS}nlb-target-type: pods")).trace(VIP)
    with pytest.raises(NotModelled, match="weighted"):
        shop(service(annotations="networking.gke.io/weighted-load-balancing: pods-per-node")).trace(VIP)


@pytest.mark.parametrize(
    ("spec", "annotations", "provider", "name"),
    [
        ("loadBalancerClass: service.k8s.aws/nlb,", "", "", "aws-nlb"),
        ("loadBalancerClass: networking.gke.io/l4-regional-external,", "", "azure:///x", "gcp-passthrough"),
        ("loadBalancerClass: example.com/mine,", "metallb.io/address-pool: x", "aws:///x", "generic"),
        ("", "metallb.universe.tf/address-pool: x", "aws:///x", "metallb-l2"),
        ("", 'cloud.google.com/l4-rbs: "enabled"', "", "gcp-passthrough"),
        ("", "", "aws:///eu-west-1a/i-1", "aws-nlb"),
        ("", "", "gce://project/zone/name", "gcp-passthrough"),
        ("", "", "azure:///subscriptions/x", "azure"),
        ("", "", "kind://docker/kind/x", "generic"),
    ],
)
def test_the_yaml_says_which(spec, annotations, provider, name):
    cluster = k8slb.load(node("a", spec=f"{{providerID: '{provider}'}}") + pods(a=1) + service(spec, annotations))
    assert cluster.trace(VIP).hops[0].decision.facts["load_balancer"] == name
    unnamed = name == "generic" or not (spec or annotations)
    assert any(a.endswith(f"default/web {name}") for a in cluster.assumptions) == unnamed


def test_pods_as_targets_are_the_ready_ones():
    gone = pods(b=1).replace("name: b0,", 'name: b9, deletionTimestamp: "2026-01-01T00:00:00Z",')
    cluster = k8slb.load(node("a") + node("b") + gone + pods(a=1) + service()).with_load_balancer(
        "aws-nlb", targets="ip"
    )
    assert set(by_pod(cluster)) == {"a0"}
    assert "rejected pod b9: terminating" in cluster.trace(VIP).why()


def test_session_affinity_makes_some_hash_the_client_alone():
    for name, nodes in (("azure", 1), ("gcp-passthrough", 1), ("generic", 3)):
        run = shop(service("sessionAffinity: ClientIP,")).with_load_balancer(name).send(VIP, requests=100)
        assert run.table["node"].nunique() == nodes


def test_a_written_status_is_believed():
    status = "kind: Service\nmetadata: {name: web}\nstatus: {loadBalancer: {ingress: [{ip: 203.0.113.10}]}}"
    cluster = shop(service("loadBalancerClass: service.k8s.aws/nlb,")).apply(status)
    assert [h.decision.layer for h in cluster.trace(VIP).hops] == ["cloud-lb", "cloud-lb", "kube-proxy", "pods"]


def test_edits_are_yaml_and_errors_name_what_is_known():
    given = shop(service("", f"{AWS}attributes: deletion_protection.enabled=true"))
    nlb = given.with_load_balancer("aws-nlb", targets="ip", cross_zone=True)
    written = nlb.yaml("service/web")
    assert "loadBalancerClass: service.k8s.aws/nlb" in written and "nlb-target-type: ip" in written
    assert "deletion_protection.enabled=true,load_balancing.cross_zone.enabled=true" in written
    assert k8slb.load(given.yaml("service/web")).apply(written).yaml("service/web") == written
    other = nlb.with_load_balancer("azure")
    assert "aws" not in other.yaml("service/web") and hottest(other) == 1
    status = "kind: Service\nmetadata: {name: web}\nstatus: {loadBalancer: {ingress: [{ip: 203.0.113.10}]}}"
    assert "ipMode: Proxy" in given.apply(status).with_load_balancer("aws-nlb").yaml("service/web")
    for settings, told in (
        ({"name": "f5"}, "aws-nlb, aws-alb, gcp-passthrough, gcp-proxy, azure, metallb-l2, generic"),
        ({"name": "azure", "targets": "ip"}, "azure cannot have targets"),
        ({"targets": "ip"}, "generic cannot have targets"),
        ({"cross_zone": "false"}, "True or False"),
    ):
        with pytest.raises(InputError, match=told):
            given.with_load_balancer("generic").with_load_balancer(**settings)
    with pytest.raises(InputError, match="round_robin or least_outstanding_requests"):
        given.with_load_balancer("aws-alb", algorithm="weighted_random")
    with pytest.raises(NotModelled):
        given.with_load_balancer("gcp-passthrough", cross_zone=False)
    back = given.with_load_balancer("gcp-proxy").with_load_balancer("aws-alb", targets="ip").with_load_balancer("azure")
    assert back.yaml("service/web") == given.with_load_balancer("azure").yaml("service/web")
    with pytest.raises(InputError, match="no Service of type LoadBalancer"):
        k8slb.load(pods(a=1)).with_load_balancer("azure")
    for kind in KNOWN.values():
        assert kind.sources and kind.algorithm and kind.targets and kind.grain in ("connection", "request")


def test_a_layer_7_balancer_picks_for_each_request():
    alb, url = shop().with_load_balancer("aws-alb", targets="ip"), VIP.replace("tcp", "http")
    one = alb.send(url, requests=600, connections=1)
    assert set(one.counts("pod").values()) == {100}  # round robin over 6 pods, although one connection brings them all
    told = alb.trace(url)
    assert (told.hops[0].decision.grain, told.hops[-1].decision.flow.source) == ("request", "172.18.255.10")
    assert told.hops[-1].decision.flow.request.header("X-Forwarded-For") == "198.51.100.10"
    assert set(alb.shares(url).values()) == {Fraction(1, 6)}
    least = alb.with_load_balancer(algorithm="least_outstanding_requests")
    assert max(least.send(url, requests=6000).counts("pod").values()) > 1000  # none waits: any may get it
    with pytest.raises(NotModelled, match="load"):
        least.shares(url)
    nodes = shop().with_load_balancer("aws-alb")
    assert [h.decision.layer for h in nodes.trace(url).hops] == ["cloud-lb", "kube-proxy", "pods"]
    nobody = k8slb.load(node("a") + service()).with_load_balancer("aws-alb", targets="ip")
    assert nobody.trace(url).status == 503
    local = shop(LOCAL, a=2, b=1).with_load_balancer("aws-alb")
    assert set(local.send(url, requests=100).counts("node")) == {"node-a", "node-b"}
    same = shop(nodes="a", a=4).with_load_balancer("gcp-proxy")
    assert set(same.send(url, requests=400, connections=1).counts("pod").values()) == {100}
    for cluster, asked in (
        (alb, url.replace("http:", "https:")),
        (alb, VIP),
        (shop().with_load_balancer("gcp-proxy"), url),
    ):
        with pytest.raises(NotModelled):
            cluster.trace(asked)


def test_an_edit_leaves_alone_what_cannot_have_it():
    other = service().replace("name: web", "name: other")
    both = shop(service("loadBalancerClass: service.k8s.aws/nlb,") + "---" + other)
    pods_as_targets = both.with_load_balancer(targets="ip")
    assert "nlb-target-type: ip" in pods_as_targets.yaml("service/web")
    assert pods_as_targets.yaml("service/other") == both.yaml("service/other")


def test_aws_nodes_alone_do_not_make_a_network_load_balancer():
    aws = "".join(node(x, spec="{providerID: 'aws:///eu-west-1a/i-1'}") for x in "ab") + pods(a=1, b=1)
    told = [k8slb.load(aws + s).trace(VIP).warnings for s in (service(), service("", f"{AWS}type: external"))]
    assert "Classic Load Balancer" in told[0][0] and not told[1]
    assert not k8slb.load(aws + service("loadBalancerClass: service.k8s.aws/nlb,")).trace(VIP).warnings


def test_with_no_healthy_target_some_fail_open():
    nobody = "".join(map(node, "abc")) + service()
    outcomes = {
        name: k8slb.load(nobody).with_load_balancer(name).trace(VIP)
        for name in ("aws-nlb", "gcp-passthrough", "azure", "metallb-l2")
    }
    # NLB opens to all nodes, which refuse; GCP asks kube-proxy's healthz, which is well; the others have nobody.
    assert {n: t.action for n, t in outcomes.items()} == {
        "aws-nlb": "reject",
        "gcp-passthrough": "reject",
        "azure": "drop",
        "metallb-l2": "drop",
    }
    assert "refuses the probe" in outcomes["aws-nlb"].warnings[0] and not outcomes["gcp-passthrough"].warnings


def test_the_health_ports_answer():
    gone = pods(a=1).replace("name: a0,", 'name: a9, deletionTimestamp: "2026-01-01T00:00:00Z",')
    taint = "{taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]}"
    text = node("a") + node("b") + node("c", spec=taint) + gone + pods(a=2, c=1)
    cluster = k8slb.load(text + service("externalTrafficPolicy: Local, healthCheckNodePort: 32000,"))

    def ask(letter, what):
        told = cluster.trace(f"http://{cluster.node['node-' + letter].address}:{what}")
        return told.status, told.fact("headers").get("X-Load-Balancing-Endpoint-Weight")

    assert [ask(n, "32000/") for n in "abc"] == [(200, "2"), (503, "0"), (200, "1")]
    assert [ask(n, "10256/healthz") for n in "abc"] == [(200, None), (200, None), (503, None)]
    assert ask("c", "10256/livez") == (200, None) and ask("a", "10256/other") == (404, None)
    assigned = k8slb.load(text + LOCAL)
    port = assigned.services["default", "web"].spec.healthCheckNodePort
    assert assigned.trace(f"http://{assigned.nodes[0].address}:{port}/healthz").status == 200
    plain = k8slb.load(text + service())
    assert plain.trace(f"http://{plain.nodes[0].address}:32000/").action == "reject"


@pytest.mark.parametrize(
    ("name", "settings"),
    [("aws-nlb", {"targets": "ip"}), ("aws-nlb", {}), ("azure", {}), ("metallb-l2", {}), ("generic", {})],
)
def test_sampling_agrees_with_the_exact_shares(name, settings):
    cluster = shop(LOCAL).with_load_balancer(name, **settings)
    run, shares = cluster.send(VIP, requests=20_000, seed=3), cluster.shares(VIP)
    sampled = run.share("pod")
    assert set(sampled.index) == set(shares)
    for pod, share in shares.items():
        assert abs(sampled[pod] - share) <= 5 * sqrt(share * (1 - share) / 20_000)
    assert ("node" in run.table) == (settings.get("targets") != "ip")
    if "node" in run.table:
        assert set(run.table["node"]) <= set(cluster.node)


def test_the_spread_told_is_the_one_seen():
    """Two throws in a row, zone and pod: a lone pod's share is as uneven as one throw of all connections."""
    zones = shop().with_load_balancer("aws-nlb", targets="ip")
    runs = [zones.send(VIP, requests=600, seed=seed) for seed in range(200)]
    pod = next(pod for pod, share in runs[0].exact.items() if share == Fraction(1, 3))
    shares = [run.share("pod")[pod] for run in runs]
    mean = sum(shares) / 200
    seen = sqrt(sum((share - mean) ** 2 for share in shares) / 199)
    assert 0.8 < 2 * seen / runs[0].spread[0] < 1.25
