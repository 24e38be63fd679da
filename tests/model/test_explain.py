"""What explain finds below layer 7, and what it must not find.

Each file of data/examples/explain is a set with one fault, that of its name. Its first line is what the finding says;
the guilty line is marked "guilty", or is the one that "right:" says how to write.
"""

import json
import re

import pytest

import k8slb
from k8slb.manifests import DATA
from k8slb.positions import Source

FAULTS = {file.stem: file.read_text(encoding="utf-8") for file in sorted((DATA / "examples/explain").glob("*.yaml"))}
POD = """apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: web, ports: [{containerPort: 8080, name: http}]}]}
---
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec:\n  selector: {%s}\n  ports: [{port: 8080}]\n---\n"


def found(text):
    return k8slb.load(text).explain()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_at_its_line_with_its_number(name):
    text = FAULTS[name]
    (one,) = found(text)
    mark = "# guilty" if "# guilty" in text else "# right:"
    assert one.id == name
    assert one.line == next(i for i, line in enumerate(text.splitlines(), 1) if mark in line)
    assert text.splitlines()[0].removeprefix("# ") in f"{one.what} {one.consequence}"


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_told_once_it_is_repaired(name):
    repaired, count = re.subn(r"^( *).*# right: ?(.*)$", r"\1\2", FAULTS[name], flags=re.MULTILINE)
    assert count
    assert not found(repaired).found


def test_each_finding_below_layer_7_has_an_example():
    texts = json.loads((DATA / "findings.json").read_text(encoding="utf-8"))
    assert {name for name, text in texts.items() if isinstance(text, dict)} == FAULTS.keys()


ELSEWHERE = "The pods of these Services are not in the input: default/web."
SCALED = """apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web}]}}
"""
GUARDED = """apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  loadBalancerSourceRanges: [10.0.0.0/8]
  selector: {app: web}
  ports: [{port: 8080}]
"""
CRD = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x.example.com}\n---\n"
GRPC = FAULTS["one-connection"]
LOCAL = GRPC.replace("appProtocol: grpc", "").replace(
    "selector: {app: web}\n  ports", "selector: {app: web}\n  internalTrafficPolicy: Local\n  ports"
)
ROUTE = "---\n" + FAULTS["misspelt-field"].replace("new", "web").replace("old", "web").replace("weigth", "weight")
MESHED = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {istio-injection: enabled}}\n"
OPERATED = "apiVersion: db.example.com/v1\nkind: Database\nmetadata: {name: db}\n---\n"
CAT = POD.replace("web", "cat")
NO_FAULTS = {
    "nothing here has pods": (SERVICE % ("web", "app: web"), (ELSEWHERE,)),
    "another set beside it": (
        [Source("cat.yaml", CAT), Source("web.yaml", SERVICE % ("web", "app: web"))],
        (ELSEWHERE,),
    ),
    "an operator may make them": (OPERATED + POD + SERVICE % ("web", "app: webb"), (ELSEWHERE,)),
    "of one release, and another Service has these": (
        POD.replace("web}", "web, release: r}")
        + SERVICE % ("front", "app: web")
        + SERVICE % ("db", "app: db, release: r"),
        (ELSEWHERE.replace("web", "db"),),
    ),
    "an operator is installed": (CRD + POD + SERVICE % ("db", "app: webb"), (ELSEWHERE.replace("web", "db"),)),
    "gRPC with one pod": (GRPC.replace("replicas: 5", "replicas: 1"), ()),
    "gRPC in a mesh": (GRPC + MESHED, ()),
    "more pods than nodes, which may be anywhere": (LOCAL.replace("replicas: 5", "replicas: 4"), ()),
    "gRPC behind a proxy": (GRPC + ROUTE, ()),
    "what a newer API server says in a status": (FAULTS["unknown-field"].split("---")[0] + "status: {newest: 1}\n", ()),
    "a label written later": (POD + SERVICE % ("web", "app: web, apps.kubernetes.io/pod-index: '0'"), ()),
    "scaled to 0": (SCALED + "---\n" + SERVICE % ("web", "app: web"), ()),
    "a port of a sidecar": (
        POD.replace(
            "spec: {",
            "spec: {initContainers: [{name: side, restartPolicy: Always, ports: [{containerPort: 1, name: late}]}], ",
        )
        + SERVICE.replace("8080", "80, targetPort: late") % ("web", "app: web"),
        (),
    ),
    "a load balancer that does not let all in": (POD + GUARDED, ()),
    "a port for probes alone": (
        POD.replace("http}", "healthz}") + SERVICE.replace("8080", "80") % ("web", "app: web"),
        (),
    ),
    "a newer field of the Gateway API": (
        FAULTS["misspelt-field"].replace("weigth", "brandNew"),
        ("Routes name what is not in the input: Service default/old, Service default/new",),
    ),
    "a worker, and a Service of others in its file": (
        CAT + CAT.replace("cat", "dog").replace("8080", "9090") + SERVICE.replace("8080", "5432") % ("db", "app: db"),
        (ELSEWHERE.replace("web", "db"),),
    ),
    "metrics and webhooks, often undeclared": (
        POD + SERVICE.replace("port: 8080", "port: 9443, name: webhook") % ("web", "app: web"),
        (),
    ),
    "gRPC of a StatefulSet, whose pods have names": (GRPC.replace("Deployment", "StatefulSet"), ()),
    "gRPC from outside": (
        GRPC.replace("  selector: {app: web}\n  ports", "  type: LoadBalancer\n  selector: {app: web}\n  ports"),
        (),
    ),
    "what an API server has written": (
        FAULTS["unknown-field"].replace("  name: web\n", "  name: web\n  uid: a-b\n"),
        (),
    ),
}


@pytest.mark.parametrize("name", NO_FAULTS)
def test_what_is_no_fault_or_may_stand_elsewhere(name):
    manifests, notes = NO_FAULTS[name]
    told = k8slb.load(manifests).explain()
    assert not told.found
    assert told.notes == notes


def test_pods_of_another_namespace_are_not_selected():
    text = POD.replace("metadata: {name: web,", "metadata: {name: web, namespace: team,") + SERVICE % (
        "front",
        "app: web",
    )
    (one,) = found(text)
    assert (one.id, one.level) == ("selects-nothing", "broken")
    assert "would match but for namespace: default (it has namespace: team)" in one.consequence
    assert not found(
        text + SERVICE.replace("name: %s}", "name: %s, namespace: team}") % ("web", "app: web")
    ).found  # they have one


def test_a_dump_whose_slices_have_no_endpoint():
    """What the EndpointSlice controller writes where the selector, or the name of the port, is of no pod."""
    empty = (
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1, uid: a-b, labels: "
        "{kubernetes.io/service-name: web}}\naddressType: IPv4\nports: null\nendpoints: %s\n---\n"
    )
    one_pod = "[{addresses: [10.1.0.1], conditions: {ready: true}, targetRef: {kind: Pod, name: web}}]"
    named = SERVICE.replace("8080", "80, targetPort: htpp") % ("web", "app: web")
    assert [f.id for f in found(POD + SERVICE % ("web", "app: wbe") + empty % "null")] == ["selects-nothing"]
    assert [f.id for f in found(POD + named + empty % one_pod)] == ["target-port-name"]


NODE = "apiVersion: v1\nkind: Node\nmetadata: {name: n%d}\nstatus: {conditions: [{type: Ready, status: 'True'}]}\n---\n"
NODES = "".join(NODE % i for i in range(3))


def test_local_behind_a_load_balancer_is_told_until_there_is_one():
    """A load balancer that runs has asked the health check port; one that is only written may not."""
    local = POD.replace("spec: {", "spec: {nodeName: n1, ") + GUARDED.replace(
        "  loadBalancerSourceRanges: [10.0.0.0/8]\n", ""
    )
    (one,) = found(NODES + local)
    assert one.id == "near-only-lost" and "2/3 (66.7%) get no answer" in one.consequence
    assert not found(NODES + local + "status: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}\n").found
    told = found(local)  # as `kubectl get all` prints it, without the nodes
    assert not told.found
    assert told.notes == (
        "The nodes of their pods are not in the input, so what stays near is open: Service default/web",
    )


def test_grpc_by_the_name_of_the_containers_port():
    text = GRPC.replace("  - port: 80\n    appProtocol: grpc", "  - port: 80").replace("name: http}", "name: grpc}")
    (one,) = found(text.replace("targetPort: http", "targetPort: grpc"))
    assert one.id == "one-connection" and "speaks grpc" in one.what


def test_what_is_assumed_is_said():
    (one,) = found(LOCAL.replace("replicas: 5", "replicas: 2"))
    assert one.id == "near-only-lost"
    assert one.what.endswith("no ready pod on 1 of 3 nodes (assumed: the input has no Node).")
    assert "at least 1/3 (33.3%) get no answer" in one.consequence


def test_nothing_is_wrong_with_the_shop():
    told = k8slb.load("shop").explain()
    assert not told.found
    assert str(told).endswith("2 rules: nothing found")


def test_the_same_finding_on_many_objects_is_told_once():
    services = "".join(SERVICE % (f"s{i}", "app: web, tier: back") for i in range(50))
    told = found(POD + services)
    assert [len(told), len(told.broken)] == [50, 50]
    assert str(told).count("would match but for") == 3
    assert "and so has Service default/s3 (<text>:31), Service default/s4 (<text>:38)" in str(told)
    assert told.github.count("::error file=<text>,line=") == 50


def test_names_from_manifests_are_escaped_in_every_form():
    field = "a|b <i>%0A, ::error::\n\x1b[31m"
    told = found(
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec: {{ports: [{{port: 1}}], {json.dumps(field)}: 1}}"
    )
    assert "\x1b" not in f"{told}{told.markdown}{told.github}"
    row = next(line for line in told.markdown.splitlines() if "unknown" in line or "has the field" in line)
    assert "a&#124;b &#60;i&#62;" in row
    (line,) = told.github.splitlines()
    assert line.startswith("::error file=<text>,line=4,title=unknown-field::") and "%250A" in line
    assert told.to_dict()["findings"][0]["line"] == 4
