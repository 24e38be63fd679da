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
        POD.replace("spec: {", "spec: {initContainers: [{name: side, ports: [{containerPort: 1, name: late}]}], ")
        + SERVICE.replace("8080", "80, targetPort: late") % ("web", "app: web"),
        (),
    ),
    "a load balancer that does not let all in": (POD + GUARDED, ()),
    "a port for probes alone": (
        POD.replace("http}", "healthz}") + SERVICE.replace("8080", "80") % ("web", "app: web"),
        (),
    ),
    "a newer field of the Gateway API": (FAULTS["misspelt-field"].replace("weigth", "brandNew"), ()),
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
    assert "a\\|b &lt;i>" in row
    (line,) = told.github.splitlines()
    assert line.startswith("::error file=<text>,line=4,title=unknown-field::") and "%250A" in line
    assert told.to_dict()["findings"][0]["line"] == 4
