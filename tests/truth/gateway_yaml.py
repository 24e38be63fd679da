"""Gateways, routes and backends as manifests, and what a request to them comes to: for the tests of the Gateway API."""

import json

import k8slb

API, NS = "gateway.networking.k8s.io/v1", "infra"


def thing(kind: str, name: str, spec: dict, api: str = API, namespace: str = NS, **meta) -> dict:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace, **meta}, "spec": spec}


def service(name: str, replicas: int = 1, namespace: str = NS) -> list[dict]:
    labels, ports = {"app": name}, [{"port": 8080}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app"}]}}
    pods = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    front = thing("Service", name, {"selector": labels, "ports": ports}, "v1", namespace)
    return [front, thing("Deployment", name, pods, "apps/v1", namespace)]


def listener(name: str = "http", port: int = 80, protocol: str = "HTTP", **rest) -> dict:
    return {"name": name, "port": port, "protocol": protocol, **rest}


def gateway(*listeners: dict, name: str = "web") -> dict:
    return thing("Gateway", name, {"gatewayClassName": "conformance", "listeners": list(listeners or [listener()])})


CLASS = {**thing("GatewayClass", "conformance", {"controllerName": "k8slb/spec"})}
BACKENDS = [one for name in ("v1", "v2", "v3") for one in service(name)]


def route(*rules: dict, name: str = "r", namespace: str = NS, hosts=(), meta=None, **parent) -> dict:
    spec = {"parentRefs": [{"name": "web", "namespace": NS, **parent}], "rules": list(rules)}
    return thing(
        "HTTPRoute", name, spec | ({"hostnames": list(hosts)} if hosts else {}), API, namespace, **(meta or {})
    )


def to(*names: str, **rest) -> dict:
    return {"backendRefs": [{"name": n, "port": 8080} for n in names], **rest}


def load(*objects: dict):
    items = [CLASS, *BACKENDS, *objects]
    return k8slb.load(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def ask(cluster, what: str, **rest) -> dict:
    method, url = what.split(" ")
    return cluster.trace(url if "://" in url else f"http://{url}", method=method, **rest).to_dict()


def got(told: dict) -> str | int:
    return f"{told['backend']['namespace']}/{told['backend']['service']}" if told["pod"] else told["status"]
