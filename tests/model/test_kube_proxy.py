"""What kube-proxy goes by, where an input is out of the ordinary."""

import pytest
import yaml

import k8slb

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: web-{i}, labels: {{app: web}}}}
spec: {{nodeName: node-{node}, containers: [{{name: web, image: web, ports: [{{containerPort: 8081}}]}}]}}
---
"""
PODS = "".join(POD.format(i=i, node="ab"[i % 2]) for i in range(4))
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, labels: {}, annotations: {}}
spec: {selector: {app: web}, clusterIP: 10.96.0.77, ports: [{name: a, port: 80, targetPort: 8081}]}
"""


def web(**patch):
    cluster = k8slb.load(PODS + SERVICE)
    return cluster.apply(yaml.dump({"kind": "Service", "metadata": {"name": "web"}} | patch))


def local(ingress, **more):
    """Only the pods of the caller's node, and a load balancer's address as given."""
    ports = [{"name": "a", "port": 80, "targetPort": 8081}, {"name": "b", "port": 81, "targetPort": 8081}]
    spec = {"internalTrafficPolicy": "Local", "type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
    return web(spec=spec | {"ports": ports} | more, status={"loadBalancer": {"ingress": [ingress]}})


def cluster_chains(cluster):
    """Chains of the Cluster policy: there is one only for a port that is reached from outside."""
    return {line.split()[0] for line in cluster.rules("node-a").splitlines() if line.startswith(":KUBE-SVC")}


def test_a_load_balancer_that_rewrites_the_destination_is_no_way_in():
    assert not cluster_chains(local({"ip": "203.0.113.9", "ipMode": "Proxy"}))
    assert not cluster_chains(local({"hostname": "lb.example.com"}))
    assert len(cluster_chains(local({"ip": "203.0.113.9"}))) == 2


def test_each_port_counts_for_itself():
    ports = [
        {"name": "a", "port": 80, "targetPort": 8081, "nodePort": 30080},
        {"name": "b", "port": 81, "targetPort": 8081},
    ]
    found = cluster_chains(local({"ip": "203.0.113.9", "ipMode": "Proxy"}, ports=ports))
    assert len(found) == 1 and found < cluster_chains(local({"ip": "203.0.113.9"}))


@pytest.mark.parametrize("mode", k8slb.cluster.MODES)
def test_a_service_left_to_another_proxy_has_no_rules(mode):
    meta = {"name": "web", "labels": {"service.kubernetes.io/service-proxy-name": "cilium"}}
    cluster = web(metadata=meta).with_proxy(mode=mode)
    assert "10.96.0.77" in web().with_proxy(mode=mode).rules("node-a")
    assert "10.96.0.77" not in cluster.rules("node-a")
    trace = cluster.trace("http://web")
    assert trace.action == "drop" and "service-proxy-name: cilium" in trace.hops[-1].decision.why
    assert cluster.trace("http://10.96.0.77:9").action == "drop"
    node_port = web(metadata=meta, spec={"type": "NodePort"}).with_proxy(mode=mode)
    number = node_port.services["default", "web"].spec.ports[0].nodePort
    assert node_port.trace(f"http://{node_port.nodes[0].address}:{number}").action == "reject"


def test_hints_by_cpu_are_said_to_be_missing():
    meta = {"name": "web", "annotations": {"service.kubernetes.io/topology-mode": "Auto"}}
    assert any("topology-mode: Auto" in w for w in web(metadata=meta).trace("http://web").warnings)
    assert not web().trace("http://web").warnings
    slices = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: a, port: 8081}]
endpoints: [{addresses: [10.0.0.9], conditions: {ready: true}}]
"""
    assert not web(metadata=meta).apply(slices).trace("http://web").warnings  # its own hints, or their absence, count


def test_sctp_is_asked_like_tcp():
    ports = [{"name": "a", "port": 80, "protocol": "SCTP", "targetPort": 8081}]
    cluster = web(spec={"ports": ports})
    assert cluster.trace("sctp://web:80").served and not cluster.trace("tcp://web:80").served
    assert sum(cluster.shares("sctp://web:80").values()) == 1
    assert cluster.send("sctp://web:80", requests=50, connections=5, rate=10).lost == 0
