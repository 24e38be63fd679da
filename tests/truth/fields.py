"""Writes data/fields.json: the fields of the kinds that the model reads, as two published clients name them.

    pip install kubernetes==37.0.2        (the official Python client; its types are generated from Kubernetes' OpenAPI)
    npm pack @kubernetes-models/gateway-api@2.0.0 && tar xzf kubernetes-models-gateway-api-2.0.0.tgz
    python tests/truth/fields.py package > data/fields.json

In a virtual environment of its own; no test runs it. {"version", "kinds": {APIVERSION/KIND: TYPE}, "types": {TYPE:
{FIELD: TYPE of it, or of its items, "" where nothing is checked below}}}.
"""

import json
import re
import sys
from pathlib import Path

APPS = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")
KINDS = {f"v1/{k}": f"V1{k}" for k in ("Service", "Pod", "Node", "Namespace", "Secret")}
KINDS |= {f"apps/v1/{k}": f"V1{k}" for k in APPS}
KINDS |= {f"networking.k8s.io/v1/{k}": f"V1{k}" for k in ("Ingress", "IngressClass", "ServiceCIDR")}
KINDS |= {"discovery.k8s.io/v1/EndpointSlice": "V1EndpointSlice"}
KINDS |= {"autoscaling/v2/HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler"}
OLDER = {"V1PodSpec": {"workloadRef": ""}}  # which a minor version before this one had (alpha of 1.35)
GATEWAY = "gateway.networking.k8s.io"
ROUTED = ("GatewayClass", "Gateway", "HTTPRoute", "ReferenceGrant")


def of_kubernetes():
    """{type: {field: type}} and the version, from the Python client."""
    import kubernetes.client.models as models

    found, todo = {}, [*KINDS.values()]
    while todo:
        name = todo.pop()
        if name not in found:
            cls = getattr(models, name)
            types = {f: next(iter(re.findall(r"\w*V\d\w+", t)), "") for f, t in cls.openapi_types.items()}
            found[name] = {cls.attribute_map[f]: t for f, t in types.items()} | OLDER.get(name, {})
            todo += filter(None, types.values())
    version = re.search(r"release-([\d.]+)", sys.modules[models.V1Service.__module__].__doc__)
    return found, version[1]


def of_gateway(package):
    """The same of the Gateway API, from the declarations of its TypeScript types."""
    folder, found, todo = Path(package, GATEWAY, "v1"), {}, list(ROUTED)
    while todo:
        name = todo.pop()
        declared = (folder / f"{name}.d.ts").read_text(encoding="utf-8")
        body = re.search(r"export declare class \w+ .*?\{\n(.*?)\n\}", declared, re.DOTALL)
        if name in found or body is None:  # a plain value, such as a host
            continue
        pairs = re.findall(r'^    "?(\w+)"?\??: (.+);$', body[1], re.MULTILINE)
        types = {f: next(iter(re.findall(r"GatewayApiApisV1(\w+)", t)), "") for f, t in pairs}
        found[name] = {f: "V1ObjectMeta" if f == "metadata" else t for f, t in types.items()}
        todo += [t for t in types.values() if t and (folder / f"{t}.d.ts").exists()]
    return {k: {f: t if t in found or t == "V1ObjectMeta" else "" for f, t in v.items()} for k, v in found.items()}


def main(package):
    types, version = of_kubernetes()
    types |= of_gateway(package)
    kinds = KINDS | {f"{GATEWAY}/{v}/{k}": k for k in ROUTED for v in ("v1", "v1beta1")}
    lines = [f"  {json.dumps(name)}: {json.dumps(types[name])}" for name in sorted(types)]
    head = json.dumps({"version": version, "kinds": kinds}, indent=1)[:-2]
    print(head + ',\n "types": {\n' + ",\n".join(lines) + "\n }\n}")


if __name__ == "__main__":
    main(*sys.argv[1:])
