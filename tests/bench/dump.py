"""A cluster of 50,000 objects as `kubectl get -A -o json` and `-o yaml` print it, and what reading it costs.

``python tests/bench/dump.py`` writes tests/bench/DUMPS.md: CPU seconds and peak memory of fresh processes that load
such a dump and answer one trace. ``python tests/bench/dump.py FOLDER [SHARE]`` only makes the two files there, with
that share of the objects (1 is all of them).

What `kubectl get` prints (kubectl 1.36): one List, its keys sorted; JSON is indented by four blanks; in YAML a list
stands as deep as its key, text of several lines is a literal block, no line is folded. managedFields are left out.
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
ENV = {"LOG_FORMAT": "json", "WORKERS": "8", "DEBUG": "false", "TIMEOUT": "30s", "REGION": "eu-west-1", "OPTS": "-Xm1g"}
LAST = "kubectl.kubernetes.io/last-applied-configuration"


def uid(*what: object) -> str:
    digits = md5(repr(what).encode(), usedforsecurity=False).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def thing(kind: str, name: str, space: str | None, owner: tuple[str, str] | None = None, api: str = "v1", **more: Any):
    """An object with the metadata that the API server adds; labels and annotations go there, the rest is its own."""
    one = uid(kind, name, space)
    meta = {"creationTimestamp": f"2026-03-0{1 + int(one[0], 16) % 9}T10:2{int(one[1], 16) % 10}:31Z", "name": name}
    meta |= {"namespace": space} if space else {}
    meta |= {"resourceVersion": str(int(one[:8], 16)), "uid": one}
    meta |= {key: more.pop(key) for key in ("labels", "annotations", "generateName") if key in more}
    if owner:
        by = {"apiVersion": "v1" if owner[0] in ("Service", "Node") else "apps/v1", "kind": owner[0], "name": owner[1]}
        by |= {"blockOwnerDeletion": True, "controller": True, "uid": uid(*owner, space)}
        meta["ownerReferences"] = [by]
    return {"apiVersion": api, "kind": kind, "metadata": meta, **more}


def applied(found: dict) -> dict:
    """With the annotation that kubectl apply leaves."""
    own = {k: v for k, v in found["metadata"].items() if k in ("name", "namespace", "labels")}
    text = json.dumps({**found, "metadata": {"annotations": {}, **own}, "status": None}, sort_keys=True)
    found["metadata"].setdefault("annotations", {})[LAST] = text.replace(", ", ",").replace(": ", ":") + "\n"
    return found


def condition(kind: str, status: str = "True", **more: Any) -> dict:
    return {"type": kind, "status": status, "lastTransitionTime": "2026-03-04T10:24:31Z", "lastProbeTime": None} | more


def probe(path: str) -> dict:
    times = {"failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1}
    return {"httpGet": {"path": path, "port": "http", "scheme": "HTTP"}, **times}


def pod_spec(app: str, image: str, node: str = "") -> dict:
    env: list[dict] = [{"name": f"APP_{key}", "value": value} for key, value in ENV.items()]
    env.append({"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}})
    env.append({"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"key": "password", "name": f"{app}-credentials"}}})
    mounts = [{"mountPath": "/etc/config", "name": "config"}, {"mountPath": "/tmp", "name": "scratch"}]
    volumes: list[dict] = [{"name": "config", "configMap": {"defaultMode": 420, "name": f"{app}-config"}}]
    volumes.append({"name": "scratch", "emptyDir": {}})
    container = {
        "name": app,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["--config=/etc/config/app.yaml", "--listen=0.0.0.0:8080", "--log-level=info"],
        "env": env,
        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
        "livenessProbe": probe("/healthz"),
        "readinessProbe": probe("/ready"),
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    }
    spec = {
        "containers": [container],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000},
        "terminationGracePeriodSeconds": 30,
        "volumes": volumes,
    }
    if node:
        mounts.append({"mountPath": TOKEN, "name": "kube-api-access-x7k2p", "readOnly": True})
        token = {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
        ca = {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}}
        sources = [token, ca]
        volumes.append({"name": "kube-api-access-x7k2p", "projected": {"defaultMode": 420, "sources": sources}})
        times = {"effect": "NoExecute", "operator": "Exists", "tolerationSeconds": 300}
        keys = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
        spec |= {"nodeName": node, "preemptionPolicy": "PreemptLowerPriority", "priority": 0}
        spec |= {"enableServiceLinks": True, "serviceAccount": "default", "serviceAccountName": "default"}
        spec["tolerations"] = [{"key": key, **times} for key in keys]
    return spec


def pod(app: str, space: str, replica_set: str, labels: dict, image: str, i: int, nodes: int) -> dict:
    name, node = f"{replica_set}-{uid(app, i)[:5]}", f"node-{i % nodes:03}"
    ip, host = f"10.{64 + i // 65000}.{i // 250 % 260}.{i % 250 + 1}", f"10.0.{i % nodes // 250}.{i % nodes % 250 + 1}"
    ready = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    state = {
        "name": app,
        "image": f"docker.io/{image}",
        "imageID": f"docker.io/{image.split(':')[0]}@sha256:{uid(image) * 2}",
        "containerID": f"containerd://{uid(name) * 2}",
        "lastState": {},
        "ready": True,
        "restartCount": i % 3,
        "started": True,
        "state": {"running": {"startedAt": "2026-03-04T10:24:40Z"}},
        "volumeMounts": [{"mountPath": "/etc/config", "name": "config"}, {"mountPath": "/tmp", "name": "scratch"}],
    }
    status = {
        "conditions": [condition(kind) for kind in ready],
        "containerStatuses": [state],
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "qosClass": "Burstable",
        "startTime": "2026-03-04T10:24:31Z",
    }
    notes = {"prometheus.io/port": "8080", "prometheus.io/scrape": "true", "checksum/config": uid(app) * 2}
    told = {"labels": labels, "annotations": notes, "generateName": f"{replica_set}-"}
    own = {"spec": pod_spec(app, image, node), "status": status}
    return thing("Pod", name, space, ("ReplicaSet", replica_set), **told, **own)


def workload(kind: str, name: str, space: str, app: str, labels: dict, image: str, replicas: int, owner: Any) -> dict:
    notes = {"deployment.kubernetes.io/revision": "7"}
    template = {"metadata": {"labels": labels, "annotations": {"checksum/config": uid(app) * 2}}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    status = {"observedGeneration": 7, "replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas}
    if kind == "Deployment":
        rolling = {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}, "type": "RollingUpdate"}
        spec |= {"strategy": rolling, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10}
        told = "Deployment has minimum availability."
        status["conditions"] = [condition("Available", reason="MinimumReplicasAvailable", message=told)]
    template["spec"] = pod_spec(app, image)
    own = {"labels": labels, "annotations": notes, "spec": spec, "status": {k: v for k, v in status.items() if v}}
    found = thing(kind, name, space, owner, "apps/v1", **own)
    return applied(found) if kind == "Deployment" else found


def service(app: str, space: str, selector: dict, i: int) -> dict:
    port = {"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}
    ip = f"10.{96 + i // 62500}.{i // 250 % 250}.{i % 250 + 1}"
    spec = {"clusterIP": ip, "clusterIPs": [ip], "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"]}
    spec |= {"ipFamilyPolicy": "SingleStack", "ports": [port], "selector": selector, "sessionAffinity": "None"}
    own = {"labels": selector, "spec": {**spec, "type": "ClusterIP"}, "status": {"loadBalancer": {}}}
    return applied(thing("Service", app, space, **own))


def endpoint_slice(app: str, space: str, pods: list[dict]) -> dict:
    ends = [
        {
            "addresses": [p["status"]["podIP"]],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": p["spec"]["nodeName"],
            "targetRef": {k: p["metadata"][k] for k in ("name", "namespace", "uid")} | {"kind": "Pod"},
            "zone": f"eu-west-1{'abc'[int(p['spec']['nodeName'][-3:]) % 3]}",
        }
        for p in pods
    ]
    labels = {"kubernetes.io/service-name": app, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller"}
    own = {"addressType": "IPv4", "endpoints": ends, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]}
    notes = {"endpoints.kubernetes.io/last-change-trigger-time": "2026-03-04T10:24:41Z"}
    more = {"labels": labels, "annotations": notes, "generateName": f"{app}-"}
    name, by, api = f"{app}-{uid(app)[:5]}", ("Service", app), "discovery.k8s.io/v1"
    return thing("EndpointSlice", name, space, by, api, **more, **own)


def ingress(app: str, space: str) -> dict:
    backend = {"service": {"name": app, "port": {"name": "http"}}}
    rule = {"host": f"{app}.example.com", "http": {"paths": [{"backend": backend, "path": "/", "pathType": "Prefix"}]}}
    tls = [{"hosts": [f"{app}.example.com"], "secretName": f"{app}-tls"}]
    own = {"spec": {"ingressClassName": "nginx", "rules": [rule], "tls": tls}}
    own["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.10"}]}}
    notes = {"nginx.ingress.kubernetes.io/proxy-body-size": "8m", "cert-manager.io/cluster-issuer": "letsencrypt"}
    return applied(thing("Ingress", app, space, api="networking.k8s.io/v1", annotations=notes, **own))


def node(i: int) -> dict:
    kinds = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    told = [condition(k, str(k == "Ready"), reason=f"Kubelet{k}", message=f"kubelet: {k}") for k in kinds]
    images = [
        {"names": [f"docker.io/{name}@sha256:{uid(name) * 2}", f"docker.io/{name}:1.4.2"], "sizeBytes": 10**8}
        for name in (f"team/app-{n}" for n in range(i, i + 50))
    ]
    room = {"cpu": "16", "memory": "65011712Ki", "pods": "110", "ephemeral-storage": "203234260Ki"}
    labels = {"kubernetes.io/hostname": f"node-{i:03}", "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}
    labels["topology.kubernetes.io/zone"] = f"eu-west-1{'abc'[i % 3]}"
    addresses = [{"type": "InternalIP", "address": f"10.0.{i // 250}.{i % 250 + 1}"}]
    status = {"addresses": addresses, "allocatable": room, "capacity": room, "conditions": told, "images": images}
    status["nodeInfo"] = {"kubeletVersion": "v1.36.0", "osImage": "Ubuntu 24.04", "architecture": "amd64"}
    own = {"labels": labels, "spec": {"podCIDR": f"10.{128 + i // 250}.{i % 250}.0/24"}, "status": status}
    return thing("Node", f"node-{i:03}", None, **own)


def event(i: int, space: str) -> dict:
    about = {"apiVersion": "v1", "kind": "Pod", "name": f"app-{i}", "namespace": space, "uid": uid(i)}
    told = {"reason": "Unhealthy", "message": 'Readiness probe failed: Get "http://10.0.0.1:8080/ready": timeout\n'}
    own = {"involvedObject": about, **told, "type": "Warning", "count": 3, "source": {"component": "kubelet"}}
    return thing("Event", f"app-{i}.{uid('e', i)[:16].replace('-', '')}", space, **own)


def config(i: int, space: str) -> dict:
    text = "".join(f"server.option.{n} = value {n}  # as the team of {space} asks\n" for n in range(30))
    return thing("ConfigMap", f"app-{i}-config", space, data={"app.properties": text, "key": "a: b"})


def objects(share: float = 1.0) -> Iterator[dict]:
    """Deployments with their old and new ReplicaSets and four pods each, Services and slices of most, and the rest."""
    apps, nodes = int(5000 * share), max(3, int(500 * share))
    for i in range(apps):
        app, space, image = f"app-{i}", f"team-{i % 100}", f"team/app-{i % 300}:1.4.2"
        labels = {"app.kubernetes.io/name": app, "app.kubernetes.io/part-of": space, "tier": "backend"}
        yield workload("Deployment", app, space, app, labels, image, 4, None)
        for replicas in (0, 4):
            name = f"{app}-{uid(app, replicas)[:10].replace('-', '')}"
            labelled = labels | {"pod-template-hash": uid(name)[:8]}
            yield workload("ReplicaSet", name, space, app, labelled, image, replicas, ("Deployment", app))
        pods = [pod(app, space, name, labelled, image, 4 * i + n, nodes) for n in range(4)]
        yield from pods
        if i % 5 < 4:
            yield service(app, space, labels, i)
            yield endpoint_slice(app, space, pods)
        if i % 5 == 0:
            yield ingress(app, space)
        if i % 50 == 0:
            yield thing("Secret", f"{app}-tls", space, type="Opaque", data={"token": uid(i) * 20})
        if i % 10 < 4:
            yield config(i, space)
        if i % 2:
            yield event(i, space)
        if i % 6 == 0:
            yield thing("ServiceAccount", app, space)
    yield from map(node, range(nodes))
    yield from (thing("Namespace", f"team-{i}", None, status={"phase": "Active"}) for i in range(100))
    yield thing("IngressClass", "nginx", None, api="networking.k8s.io/v1", spec={"controller": "k8s.io/ingress-nginx"})


# --- as kubectl writes them ------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z/][-A-Za-z0-9_./@%=+]*(:[-A-Za-z0-9_./@]+)*([ ]([-A-Za-z0-9_./@=+:]*[A-Za-z0-9.])+)*")
_OTHER = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def scalar(value: Any, indent: str) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if value.endswith("\n"):
        return "|\n" + "".join(f"{indent}{line}\n" for line in value.splitlines())[:-1]
    return value if _PLAIN.fullmatch(value) and value.lower() not in _OTHER else json.dumps(value)


def block(value: Any, indent: str = "") -> Iterator[str]:
    """The lines of a mapping or list, each after its indent."""
    for key, one in sorted(value.items()) if isinstance(value, dict) else enumerate(value):
        head = f"{indent}- " if isinstance(value, list) else f"{indent}{scalar(key, '')}:"
        deeper = f"{indent}  "
        if isinstance(one, (dict, list)) and one:
            if isinstance(value, list):
                first, *rest = block(one, deeper)
                yield head + first[len(deeper) :]
                yield from rest
            else:
                yield head
                yield from block(one, indent if isinstance(one, list) else deeper)
        else:
            yield f"{head}{' ' * isinstance(value, dict)}{scalar(one, deeper)}"


def write(folder: Path, share: float = 1.0) -> tuple[Path, Path]:
    """dump.json and dump.yaml in `folder`."""
    names = folder / "dump.json", folder / "dump.yaml"
    with names[0].open("w") as as_json, names[1].open("w") as as_yaml:
        as_json.write('{\n    "apiVersion": "v1",\n    "items": [')
        as_yaml.write("apiVersion: v1\nitems:\n")
        for i, one in enumerate(objects(share)):
            lines = json.dumps(one, indent=4, sort_keys=True).replace("\n", "\n        ")
            as_json.write(f"{',' * (i > 0)}\n        {lines}")
            as_yaml.write("\n".join(block([one])) + "\n")
        as_json.write('\n    ],\n    "kind": "List",\n    "metadata": {\n        "resourceVersion": ""\n    }\n}\n')
        as_yaml.write('kind: List\nmetadata:\n  resourceVersion: ""\n')
    return names


# --- what reading it costs -------------------------------------------------------------------------------------------

URL = "http://app-1.team-1/"
LINE = """
import sys, time, k8slb
cluster = k8slb.load(sys.argv[1])
last = [o for o in cluster.objects if o.kind == "Node"][-1]
began = time.process_time()
last.where("status", "conditions", 3, "status")
print(time.process_time() - began)
"""
TABLE = """# Dumps of whole clusters

What `kubectl get -A -o json` and `-o yaml` print of {objects:,} objects ({kinds}), made by `tests/bench/dump.py`:
{sizes}. The JSON has {values:,} places where a value may stand (MAX_VALUES in k8slb/manifests.py).
`k8slb trace -f FILE {url}` in a fresh process: CPU seconds (user and system) of all it does, and its peak memory.
Budgets: 20 s for JSON, 100 s for YAML, 4 GiB. Python {python}, {date}.

| What is read | CPU seconds | Peak memory, MiB | CPU seconds to find the line of a field of the last Node |
|---|---|---|---|
{rows}
"""


def run(command: list[str], stdin: Path | None = None) -> tuple[float, float, str]:
    """CPU seconds, peak memory in MiB, and what it printed."""
    with tempfile.TemporaryFile("w+") as out, (stdin or Path(os.devnull)).open("rb") as given:
        child = subprocess.Popen([sys.executable, *command], stdin=given, stdout=out)
        _, status, used = os.wait4(child.pid, 0)
        assert status == 0, command
        out.seek(0)
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, out.read()


def measured(folder: Path) -> str:
    from collections import Counter
    from datetime import date

    kinds = Counter(one["kind"] for one in objects())
    rows, values, files = [], 0, write(folder)
    for file in files:
        form, size = file.suffix[1:].upper(), file.stat().st_size / 1e6
        odd = file.with_name(f"odd{file.suffix}")
        with file.open() as lines, odd.open("w") as other:  # a child's peak is at least what its parent had
            for text in lines:
                other.write(text.replace("the team of team-0 asks", "the team asks \U0001f642"))
                values += sum(map(text.count, "[{,:")) if form == "JSON" else 0
        cases = [
            (f"{form}, {size:.0f} MB, `-f FILE`", file, ["-f", str(file)], None),
            (f"{form}, `-f -`", None, ["-f", "-"], file),
            (
                f"{form} with one character beyond 16 bits (Python keeps four bytes of each)",
                odd,
                ["-f", str(odd)],
                None,
            ),
        ]
        for what, path, given, stdin in cases:
            seconds, memory, _ = run(["-m", "k8slb", "trace", *given, URL], stdin)
            line = f"{float(run(['-c', LINE, str(path)])[2]):.2f}" if path else ""
            rows.append(f"| {what} | {seconds:.1f} | {memory:,.0f} | {line} |")
            print(rows[-1], flush=True)
        odd.unlink()
    told = ", ".join(f"{n:,} {kind}{'es' if kind.endswith('s') else 's'}" for kind, n in kinds.most_common(8)) + ", ..."
    sizes = " and ".join(f"{f.stat().st_size / 1e6:.0f} MB of {f.suffix[1:].upper()}" for f in files)
    known = {"objects": kinds.total(), "kinds": told, "sizes": sizes, "values": values, "url": URL}
    return TABLE.format(**known, python=platform.python_version(), date=date.today(), rows="\n".join(rows))


if __name__ == "__main__":
    if sys.argv[1:]:
        write(Path(sys.argv[1]), *map(float, sys.argv[2:]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            Path(__file__).with_name("DUMPS.md").write_text(measured(Path(folder)))
