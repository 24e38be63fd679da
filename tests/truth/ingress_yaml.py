"""A case of ingress.json as a reader would write it: class, Ingresses, a Service and two pods per backend."""

import json

CONTROLLERS = {
    "spec": "k8slb/spec",
    "ingress-nginx": "k8s.io/ingress-nginx",
    "traefik": "traefik.io/ingress-controller",
}
PREFIX = "nginx.ingress.kubernetes.io/"


def manifests(ingresses: list[dict], scope: str) -> str:
    """YAML text (one JSON document each) of Ingresses in the compact form, served by the controller of `scope`."""
    objects = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": "test"},
            "spec": {"controller": CONTROLLERS[scope]},
        }
    ]
    backends = {}
    for i, ingress in enumerate(ingresses):
        objects.append(_ingress(ingress, i, backends))
    for name in backends:
        objects += _service(name)
    return "\n---\n".join(map(json.dumps, objects))


def _ingress(ingress: dict, i: int, backends: dict) -> dict:
    def backend(name: str) -> dict:
        backends[name] = None
        return {"service": {"name": name, "port": {"number": 80}}}

    rules = []
    for rule in ingress.get("rules", ()):
        host, path, kind, service = rule.split()
        paths = [{"path": path, "pathType": kind, "backend": backend(service)}]
        rules.append(({} if host == "*" else {"host": host}) | {"http": {"paths": paths}})
    spec = {"ingressClassName": ingress.get("class", "test"), "tls": ingress.get("tls", []), "rules": rules}
    if "default" in ingress:
        spec["defaultBackend"] = backend(ingress["default"])
    meta = {"name": f"ingress-{i}", "annotations": {PREFIX + k: v for k, v in ingress.get("annotations", {}).items()}}
    meta |= {"creationTimestamp": ingress["created"]} if "created" in ingress else {}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": spec}


def _service(name: str) -> list[dict]:
    labels = {"app": name}
    ports = [{"port": 80, "targetPort": 8080}]
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{name}-{i}", "labels": labels},
            "spec": {"containers": [{"name": "app", "ports": [{"containerPort": 8080}]}]},
        }
        for i in (1, 2)
    ]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}
    return [service | {"spec": {"selector": labels, "ports": ports}}, *pods]
