"""Clusters that chance makes, and questions about them."""

import json


def made(rng):
    """(YAML of a cluster, questions): everything that kube-proxy's rules tell apart, in any combination."""
    often = rng.random
    nodes = [f"n{i}" for i in range(rng.choice((1, 2, 3)))]
    mode = rng.choice(("iptables", "nftables"))
    objects = [{"kind": "KubeProxyConfiguration", "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "mode": mode}]
    objects[0] |= {"clusterCIDR": "10.0.0.0/16", mode: {"masqueradeAll": often() < 0.15}}
    objects[0] |= {"detectLocalMode": "NodeCIDR"} if often() < 0.15 else {}
    pods = [f"c{i}" for i in range(len(nodes))]
    for i, name in enumerate(nodes):
        zone = {"topology.kubernetes.io/zone": f"z{rng.randrange(2)}"} if often() < 0.85 else {}
        at = {"addresses": [{"type": "InternalIP", "address": f"172.18.0.{2 + i}"}]}
        spec = {"podCIDR": f"10.0.{i}.0/24"}
        objects.append({"kind": "Node", "metadata": {"name": name, "labels": zone}, "spec": spec, "status": at})
        caller = {"kind": "Pod", "metadata": {"name": f"c{i}"}, "spec": {"nodeName": name}}
        objects.append(caller | {"status": {"podIP": f"10.0.{i}.200"}})
    for k in range(rng.randrange(6)):
        i, host = rng.randrange(len(nodes)), often() < 0.1
        meta = {"name": f"p{k}", "labels": {"app": "a"}}
        meta |= {"deletionTimestamp": "2026-01-01T00:00:00Z"} if often() < 0.2 else {}
        down = rng.choice(("closed", "refuses", "silent")) if often() < 0.1 and not host else ""
        meta |= {"annotations": {"k8slb/down": down}} if down else {}
        spec = {"nodeName": nodes[i], "hostNetwork": host}
        spec |= {"containers": [{"name": "c", "ports": [{"containerPort": 8080}]}]} if host or often() < 0.2 else {}
        ready = [{"type": "Ready", "status": "True" if often() < 0.8 else "False"}]
        status = {"podIP": f"172.18.0.{2 + i}" if host else f"10.0.{i}.{10 + k}", "conditions": ready}
        objects.append({"kind": "Pod", "metadata": meta, "spec": spec, "status": status})
        pods += [] if down else [f"p{k}"]
    kind, protocol = rng.choice(("ClusterIP", "NodePort", "LoadBalancer")), rng.choice(("TCP", "TCP", "UDP"))
    ports = [{"port": 80, "targetPort": 8080, "protocol": protocol}]
    spec = {"type": kind, "selector": {"app": "a"}, "ports": ports, "clusterIP": "10.96.0.10"}
    spec["internalTrafficPolicy"] = rng.choice(("Cluster", "Local"))
    spec |= {"externalIPs": ["192.0.2.50"]} if often() < 0.3 else {}
    spec |= {"trafficDistribution": rng.choice(("PreferSameZone", "PreferSameNode"))} if often() < 0.3 else {}
    doors = ["10.96.0.10:80", *(f"{a}:80" for a in spec.get("externalIPs", ()))]
    if kind != "ClusterIP":
        ports[0]["nodePort"] = 30080
        spec["externalTrafficPolicy"] = rng.choice(("Cluster", "Local"))
        doors += [f"172.18.0.{2 + i}:30080" for i in range(len(nodes))]
    balancers = [{"ip": "203.0.113.100"}] if kind == "LoadBalancer" else []
    if balancers:
        doors += ["203.0.113.100:80"] * 2
        ranges = rng.choice(([], [], ["198.51.100.0/24"], ["10.0.0.0/16"], ["172.18.0.0/16"]))
        spec |= {"loadBalancerSourceRanges": ranges} if ranges else {}
    service = {"kind": "Service", "metadata": {"name": "s"}, "spec": spec}
    objects.append(service | {"status": {"loadBalancer": {"ingress": balancers}}})
    callers = ["external:198.51.100.10", "external:192.0.2.77", f"node:{rng.choice(nodes)}"]
    callers += [f"pod:default/{rng.choice(pods)}" for _ in range(3)]
    asked = [(f"{protocol.lower()}://{rng.choice(doors)}", who) for who in callers]
    asked = [(url, who, rng.choice(nodes) if who[0] == "e" else None) for url, who in asked]
    return "\n---\n".join(json.dumps({"apiVersion": "v1"} | o) for o in objects), asked
