"""Bad input: one clear message with file, line and field, and exit code 2. What Kubernetes accepts: its consequence."""

# ruff: noqa: E501 (tables: a case a line)

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import k8slb
from k8slb.positions import Source

SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: a
  labels: {tier: web}
spec:
  type: ClusterIP
  selector:
    app: a
  ports:
  - name: http
    port: 80
    protocol: TCP
    targetPort: 8080
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec:
  replicas: 2
  selector:
    matchLabels: {app: a}
  template:
    metadata:
      labels: {app: a}
    spec:
      containers:
      - name: a
        ports:
        - {name: http, containerPort: 8080}
"""
INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: nginx
  rules:
  - host: a.example.com
    http:
      paths:
      - path: /x
        pathType: Prefix
        backend:
          service:
            name: a
            port: {number: 80}
"""
SLICE = """\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}
addressType: IPv4
ports: [{port: 8080}]
endpoints:
- addresses:
  - 10.0.0.5
"""
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


def with_(text, before, after):
    assert text.count(before) == 1, before
    return text.replace(before, after)


# (what, text, line, field, words of the message)
BROKEN = [
    # not YAML, or more than YAML
    ("unclosed", "a: [1,\n", 2, "", "not YAML"),
    ("two mappings on a line", "kind: a: b\n", 1, "", "not YAML"),
    ("a tab", with_(SERVICE, "  name: a\n", "\tname: a\n"), 4, "", "not YAML"),
    ("a key twice", with_(SERVICE, "    port: 80\n", "    port: 80\n    port: 81\n"), 13, "", 'the key "port" stands twice'),
    ("a key twice in JSON", '{"kind": "Service",\n "kind": "Pod"}', 2, "", 'the key "kind" stands twice'),
    ("a list as key", "? [a, b]\n: c\n", 1, "", "as a key; expected a text key"),
    ("aliases that explode", BOMB, 7, "", "the aliases expand to too much"),
    ("an alias of nothing", "\na: *b\n", 2, "", "names no anchor"),
    ("an alias of itself", "a: &a [*a]\n", 1, "", "names no anchor"),
    ("deep flow", "a: " + "[" * 50_000, 1, "", "nested too deep; expected at most 100 levels"),
    ("deep blocks", "\n".join(" " * i + "a:" for i in range(3000)), 101, "", "nested too deep"),
    ("deep JSON", '{"a":\n' + '{"a":' * 50_000 + "1" + "}" * 50_001, 2, "", "nested too deep"),
    ("deep JSON lists, unclosed", '{"a":\n' + "[" * 500_000, 2, "", "nested too deep"),
    ("a Python object", "a:\n  !!python/object/apply:os.system [x]\n", 2, "", "is not Kubernetes YAML"),
    ("a CloudFormation tag", "\na: !Ref b\n", 2, "", 'the tag "!Ref" is not Kubernetes YAML'),
    ("NUL", with_(SERVICE, "app: a", "app: a\x00"), 9, "", "a character that is not text"),
    ("half a surrogate", with_(SERVICE, "app: a", "app: a\ud800"), 9, "", "a character that is not text"),
    ("Helm value", with_(SERVICE, "  name: a\n", "  name: {{ .Release.Name }}\n"), 4, "", "helm template"),
    ("Helm text", with_(SERVICE, "  name: a\n", '  name: "{{ .Release.Name }}"\n'), 4, "metadata.name", "helm template"),
    ("Helm block", with_(SERVICE, "  type: ClusterIP\n", "{{- if .Values.x }}\n"), 8, "", "helm template"),
    # no object
    ("nothing", "\n \n", None, "", "no Kubernetes object in the input"),
    ("comments only", "# a\n---\n# b\n", None, "", "no Kubernetes object in the input"),
    ("a list", "\n- a\n", 2, "", "is no Kubernetes object but ['a']"),
    ("no kind", "apiVersion: v1\nmetadata: {name: a}\n", 1, "kind", "is missing"),
    ("no apiVersion", "\nkind: Service\n", 2, "apiVersion", "is missing"),
    ("a List of text", "apiVersion: v1\nkind: List\nitems: abc\n", 3, "items", "must be a list"),
    ("kind is a number", "apiVersion: v1\nkind: 3\n", 2, "kind", "must be text"),
    ("the old Ingress", with_(INGRESS, "networking.k8s.io/v1", "extensions/v1beta1"), 1, "apiVersion",
     "no longer served for Ingress (since Kubernetes 1.22) (in Ingress web); expected networking.k8s.io/v1"),
    ("the beta Ingress", with_(INGRESS, "networking.k8s.io/v1", "networking.k8s.io/v1beta1"), 1, "apiVersion", "expected networking.k8s.io/v1"),
    # wrong types
    ("port as text", with_(SERVICE, "port: 80\n", 'port: "80"\n'), 12, "spec.ports[0].port", 'must be a whole number, not text ("80")'),
    ("port with a zero in front", with_(SERVICE, "port: 80\n", "port: 080\n"), 12, "spec.ports[0].port", "must be a whole number"),
    ("port not a number", with_(SERVICE, "port: 80\n", "port: .nan\n"), 12, "spec.ports[0].port", "must be a whole number"),
    ("port true", with_(SERVICE, "port: 80\n", "port: yes\n"), 12, "spec.ports[0].port", "not true or false"),
    ("replicas: two", with_(DEPLOYMENT, "replicas: 2", "replicas: two"), 5, "spec.replicas", 'must be a whole number, not text ("two")'),
    ("a label's number", with_(SERVICE, "{tier: web}", "{tier: 1}"), 5, "metadata.labels.tier", 'must be text, in quotes: "1"'),
    ("a label's date", with_(SERVICE, "app: a", "app: yes"), 9, "spec.selector.app", 'must be text, in quotes, not true'),
    ("a label with blanks", with_(SERVICE, "{tier: web}", "{tier: a b}"), 5, "metadata.labels.tier", "is not a label value"),
    ("ports not a list", with_(INGRESS, "paths:\n      - path: /x", "paths:\n        path: /x"), 9, "spec.rules[0].http.paths", "must be a list"),
    ("spec is text", SERVICE.partition("spec:")[0] + "spec: x\n", 6, "spec", "must be a mapping"),
    # wrong values
    ("port 70000", with_(SERVICE, "port: 80\n", "port: 70000\n"), 12, "spec.ports[0].port", "70000 is out of range (in Service a); expected 1 to 65535"),
    ("port 0", with_(SERVICE, "port: 80\n", "port: 0\n"), 12, "spec.ports[0].port", "0 is out of range"),
    ("replicas -1", with_(DEPLOYMENT, "replicas: 2", "replicas: -1"), 5, "spec.replicas", "-1 is out of range"),
    ("an unknown type", with_(SERVICE, "ClusterIP", "Clusterip"), 7, "spec.type", '"Clusterip" is not known here (in Service a); expected one of ClusterIP, NodePort'),
    ("an unknown protocol", with_(SERVICE, "TCP", "HTTP"), 13, "spec.ports[0].protocol", "one of TCP, UDP, SCTP"),
    ("an unknown pathType", with_(INGRESS, "Prefix", "prefix"), 11, "spec.rules[0].http.paths[0].pathType", "one of Exact, Prefix"),
    ("a host with a port", with_(INGRESS, "a.example.com", "a.example.com:80"), 7, "spec.rules[0].host", "is not a host name"),
    ("a path without /", with_(INGRESS, "path: /x", "path: x"), 10, "spec.rules[0].http.paths[0].path", "does not begin with /"),
    ("a path that leads up", with_(INGRESS, "path: /x", "path: /x/.."), 10, "spec.rules[0].http.paths[0].path", 'holds "/.."'),
    ("name and number", with_(INGRESS, "{number: 80}", "{number: 80, name: http}"), 15, "spec.rules[0].http.paths[0].backend.service.port", "exactly one of name and number"),
    ("a name in capitals", with_(SERVICE, "name: a\n", "name: A_b\n"), 4, "metadata.name", "is not a valid name"),
    ("a name that steers terminals", with_(SERVICE, "name: a\n", 'name: "a\\e[31m"\n'), 4, "metadata.name", r'"a\x1b[31m" is not a name'),
    ("a namespace that is text of another language", with_(SERVICE, "name: a\n", "name: a\n  namespace: 'x\";include'\n"), 5, "metadata.namespace", "is not a namespace"),
    ("an address with a zone", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus:\n  podIP: 'fe80::1%x;'\n", 5, "status.podIP", "is not an IP address"),
    ("a node port's address", "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nnodePortAddresses: [10.0.0.0/8, 'x;']\n", 3, "nodePortAddresses[1]", "is not a CIDR"),
    ("a clusterIP", with_(SERVICE, "type: ClusterIP", "clusterIP: 10.0.0"), 7, "spec.clusterIP", "is not an IP address"),
    ("Local for ClusterIP", with_(SERVICE, "type: ClusterIP", "externalTrafficPolicy: Local"), 7, "spec.externalTrafficPolicy", "may only be Local"),
    ("an endpoint's address", with_(SLICE, "10.0.0.5", "10.0.0.500"), 8, "endpoints[0].addresses[0]", "is not an IP address"),
    ("an endpoint without address", with_(SLICE, "addresses:\n  - 10.0.0.5", "addresses: []"), 7, "endpoints[0].addresses", "at least one address"),
    ("a podIP", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus:\n  podIP: ten\n", 5, "status.podIP", "is not an IP address"),
    ("a podCIDR", "apiVersion: v1\nkind: Node\nmetadata: {name: a}\nspec:\n  podCIDR: 10.0.0.0/33\n", 5, "spec.podCIDR", "is not a CIDR"),
    ("a CIDR after a blank", "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: a}\nspec:\n  cidrs:\n  - ' 10.0.0.0/8'\n", 6, "spec.cidrs[0]", "is not a CIDR"),
    # missing
    ("no name", with_(SERVICE, "  name: a\n", ""), 3, "metadata.name", "is missing"),
    ("no port", with_(SERVICE, "    port: 80\n", ""), 11, "spec.ports[0].port", "is missing"),
    ("no ports", SERVICE.partition("  ports:")[0], 6, "spec.ports", "is missing"),
    ("no selector", with_(DEPLOYMENT, "  selector:\n    matchLabels: {app: a}\n", ""), 4, "spec.selector", "is missing"),
    ("a selector that misses its template", with_(DEPLOYMENT, "matchLabels: {app: a}", "matchLabels: {app: b}"), 10, "spec.template.metadata.labels", "does not select"),
    ("no pathType", with_(INGRESS, "        pathType: Prefix\n", ""), 10, "spec.rules[0].http.paths[0].pathType", "is missing"),
    ("no rules", INGRESS.partition("  rules:")[0], 4, "spec", "neither rules nor defaultBackend"),
    # the second document, and items of a List, with their own lines
    ("second document", SERVICE + "---\n" + with_(SERVICE, "port: 80\n", "port: x\n"), 27, "spec.ports[0].port", "must be a whole number"),
    ("item of a List", "apiVersion: v1\nkind: List\nitems:\n- " + textwrap.indent(SERVICE, "  ")[2:] + "- " + textwrap.indent(with_(SERVICE, "port: 80\n", "port: x\n"), "  ")[2:], 29, "spec.ports[0].port", "must be a whole number"),
    ("item of a JSON List", json.dumps({"apiVersion": "v1", "kind": "ServiceList", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": n}, "spec": {"ports": [{"port": p}]}} for n, p in (("a", 80), ("b", "x"))]}, indent=1),
     28, "spec.ports[0].port", "must be a whole number"),
]  # fmt: skip


def refused(what, **kw) -> k8slb.InputError:
    with pytest.raises(k8slb.InputError) as caught:
        k8slb.load(what, **kw)
    assert str(caught.value).isprintable()
    return caught.value


@pytest.mark.parametrize(("text", "line", "field", "words"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_the_message_names_file_line_and_field(text, line, field, words):
    error = refused(Source("dir/x.yaml", text))
    assert (error.line, error.field) == (line, field), str(error)
    assert words in str(error)
    assert line is None or str(error).startswith(f"dir/x.yaml:{line}: {field}" + ": " * bool(field))


# --- files, folders, and what is asked for ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "line"),
    [(b"\x00\x01\x02", 1), (b"\x89PNG\r\n\x1a\n\xff", 1), (b"a: b\nc: \xe9\n", 2), (b"\xff\xfe\x00", 1), (b"", None)],
    ids=["NUL", "a picture", "Latin-1", "half a UTF-16", "empty"],
)
def test_files_that_are_no_text(tmp_path, raw, line):
    (tmp_path / "x.yaml").write_bytes(raw)
    error = refused(tmp_path / "x.yaml")
    assert error.line == line
    assert line is None or str(error).startswith(f"{tmp_path}/x.yaml:{line}: ")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_and_line_ends(tmp_path, encoding, newline):
    for broken in (False, True):
        text = with_(SERVICE, "port: 80\n", "port: x\n") if broken else SERVICE
        for content in (text, json.dumps(k8slb.load(SERVICE).objects[0].raw)):
            (tmp_path / "x.yaml").write_bytes(content.replace("\n", newline).encode(encoding))
            if content is text and broken:
                assert refused(tmp_path / "x.yaml").line == 12
            else:
                assert [str(o) for o in k8slb.load(tmp_path / "x.yaml").objects] == ["Service default/a"]
    assert refused("\ufeff" + text).line == 12  # text that somebody read without minding the mark


def test_a_folder_skips_and_names_what_is_no_manifest(tmp_path):
    for name in ("README.md", "kustomization.yaml", "values.yaml", "values-prod.yml", "Chart.yaml", "notes.yaml"):
        (tmp_path / name).write_text("replicas: 3\n")
    error = refused(tmp_path)
    assert "no Kubernetes object" in str(error) and "README.md" in str(error) and "values.yaml" in str(error)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.yaml").write_text("{")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "svc.yml").write_text(SERVICE)
    cluster = k8slb.load(tmp_path)
    assert [s.rpartition("/")[2].split(":")[0] for s in cluster.manifests.skipped] == [
        *("Chart.yaml", "README.md", "kustomization.yaml", "notes.yaml", "values-prod.yml", "values.yaml")
    ]
    assert all(s in str(cluster) for s in cluster.manifests.skipped)
    (tmp_path / "notes.yaml").write_text("a: [")
    assert refused(tmp_path).file.endswith("/notes.yaml")


@pytest.mark.parametrize(
    "what", [None, 3, b"a: b", "", [], [None], "no-such-file", "no/such/folder/", "x" * 5000, "a\0b"]
)
def test_what_is_nothing_to_load(what):
    assert refused(what).expected


def test_size_limit(tmp_path):
    (tmp_path / "x.yaml").write_text(SERVICE)
    assert "--max-size" in str(refused(tmp_path / "x.yaml", max_size=len(SERVICE) - 1))
    assert "--max-size" in str(refused([tmp_path / "x.yaml", SERVICE], max_size=2 * len(SERVICE) - 1))
    assert k8slb.load([tmp_path / "x.yaml", SERVICE], max_size=2 * len(SERVICE))


def test_duplicates_the_last_wins_and_both_lines_are_named():
    text = with_(SERVICE, "port: 80", "port: 81") + "---\n" + SERVICE
    cluster = k8slb.load(Source("x.yaml", text))
    assert cluster.warnings == (
        "x.yaml:16: Service default/a stands also at x.yaml:1; the last wins, as with repeated kubectl apply",
    )
    assert cluster.services["default", "a"].spec.ports[0].port == 80


def test_other_kinds_are_kept_aside_and_named():
    cluster = k8slb.load(SERVICE + "---\napiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: [1]\n")
    assert "kept aside, not modelled: Widget" in str(cluster)
    assert "spec:\n- 1" in cluster.yaml("widget/w")


def test_too_many_pods_are_refused_before_they_are_made():
    cluster = k8slb.load(Source("x.yaml", with_(DEPLOYMENT, "replicas: 2", "replicas: 900000000") + "---\n" + SERVICE))
    with pytest.raises(k8slb.InputError, match=r"x\.yaml:5: spec\.replicas: too many pods"):
        cluster.trace("http://a")


SHOP = k8slb.load("shop")
URL = "http://order-service"
QUESTIONS = {
    "no URL": lambda: SHOP.trace("order-service"),
    "a URL of another kind": lambda: SHOP.trace("ftp://order-service"),
    "a port too large": lambda: SHOP.trace("http://order-service:65536"),
    "port 0": lambda: SHOP.trace("http://order-service:0"),
    "a blank": lambda: SHOP.trace("http://order-service/a b"),
    "an escape": lambda: SHOP.trace("http://order-service/\x1b[31m"),
    "half an address": lambda: SHOP.trace("http://[::1"),
    "IPv6": lambda: SHOP.trace("http://[::1]/"),
    "tcp without a port": lambda: SHOP.trace("tcp://order-service"),
    "a number": lambda: SHOP.trace(7),
    "a long URL": lambda: SHOP.trace(URL + "/" + "a" * 9000),
    "from nowhere": lambda: SHOP.trace(URL, from_="moon"),
    "from no node": lambda: SHOP.trace(URL, from_="node:moon"),
    "from no pod": lambda: SHOP.trace(URL, from_="pod:default/moon"),
    "via no node": lambda: SHOP.trace(URL, via="moon"),
    "via a list": lambda: SHOP.trace(URL, via=[]),
    "method": lambda: SHOP.trace(URL, method="get it"),
    "method 3": lambda: SHOP.trace(URL, method=3),
    "headers": lambda: SHOP.trace(URL, headers="Host: a"),
    "a header's value": lambda: SHOP.trace(URL, headers={"Host": 3}),
    "a header of two lines": lambda: SHOP.trace(URL, headers={"X": "a\r\nb"}),
    **{f"seed {s!r}": (lambda s=s: SHOP.trace(URL, seed=s)) for s in ("1", 1.0, True, None, -1, 2**64, [])},
    **{f"send seed {s!r}": (lambda s=s: SHOP.send(URL, seed=s)) for s in ("1", 1.5, True, None, -1, 2**64)},
    **{f"{n!r} requests": (lambda n=n: SHOP.send(URL, n)) for n in (0, -1, "9", 9.0, True, None, 10**9)},
    **{f"{n!r} connections": (lambda n=n: SHOP.send(URL, connections=n)) for n in (0, -1, "9", 9.0, True, 10**9)},
    **{f"rate {r!r}": (lambda r=r: SHOP.send(URL, rate=r)) for r in (0, -1, "9", True, float("nan"), float("inf"))},
    **{
        f"arrivals {a!r}": (lambda a=a: SHOP.send(URL, arrivals=a))
        for a in ([], [1, 0], [-1], [float("nan")], [float("inf")], ["1"], b"12", {1: 2}, "constant")
    },
    "think without users": lambda: SHOP.send(URL, think="1s"),
    "think at a rate": lambda: SHOP.send(URL, think="1s", connections=2, rate=1.0),
    "think True": lambda: SHOP.send(URL, think=True, connections=2),
    "minutes of work": lambda: SHOP.send(URL, 3_000_000, rate=1e3, max_age=1.0, connections=9),
    "duration without rate": lambda: SHOP.send(URL, duration=1),
    "a long duration": lambda: SHOP.send(URL, rate=1e9, duration=1e9),
    "scale nobody": lambda: SHOP.scale("moon", 1),
    "scale a Service": lambda: SHOP.scale("service/order-service", 1),
    **{f"{n!r} replicas": (lambda n=n: SHOP.scale("order", n)) for n in (-1, "2", 2.0, True, None, 10**9)},
    **{f"{n!r} nodes": (lambda n=n: SHOP.with_nodes(n)) for n in (0, "2", 2.0, True, None, 10**9)},
    "mode": lambda: SHOP.with_proxy(mode="userspace"),
    "scheduler": lambda: SHOP.with_proxy(mode="ipvs", scheduler="best").trace(URL),
    "get": lambda: SHOP.get("moons"),
    "yaml": lambda: SHOP.yaml("ingress/moon"),
    "yaml without kind": lambda: SHOP.yaml("moon"),
    "apply None": lambda: SHOP.apply(None),
    "apply to nothing": lambda: SHOP.apply("spec: {replicas: 2}"),
}


def test_numbers_of_numpy_are_numbers():
    """As np.linspace, np.arange and a column of a table give them."""
    busy = SHOP.with_pods("order", service_time="10ms")
    told = str(busy.send(URL, rate=50, duration=4.0))
    assert told == str(busy.send(URL, rate=np.float64(50), duration=np.int64(4)))
    seconds = np.arange(4)
    assert busy.send(URL, arrivals=seconds).table["time"].tolist() == [0, 1, 2, 3] == seconds.tolist()
    change = busy.rollout("order", np.int64(3), propagation=np.float64(2), at=np.float32(8))
    assert str(change) == str(busy.rollout("order", 3, propagation=2, at=8))


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_questions_that_cannot_be_asked(question):
    with pytest.raises(k8slb.K8slbError) as caught:
        question()
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_apply_names_the_line_of_its_own_text():
    for text, line, field in (
        ("kind: Deployment\nmetadata: {name: order}\nspec:\n  replicas: two\n", 4, "spec.replicas"),
        ("kind: Service\nmetadata:\n  name: order-service\nspec: {\n", 5, ""),
        ("# nothing to name\nmetadata: {name: x}\n", 2, ""),
    ):
        with pytest.raises(k8slb.InputError) as caught:
            SHOP.apply(text)
        assert (caught.value.file, caught.value.line, caught.value.field) == ("<applied>", line, field)


# --- the same by the command line ------------------------------------------------------------------------------------


def cli(*arguments, stdin=b""):
    command = [sys.executable, "-m", "k8slb", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60)


BROKEN_SERVICE = with_(SERVICE, "port: 80\n", 'port: "80"\n').encode()


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (["trace", "-f", "-", "http://a"], BROKEN_SERVICE, "<stdin>:12: spec.ports[0].port: must be a whole number"),
        (["trace", "-f", "-", "http://a", "--json"], BROKEN_SERVICE, "<stdin>:12: spec.ports[0].port"),
        (["send", "-f", "-", "http://a", "--csv"], b"\xff\x00", "<stdin>:1: is not text"),
        (["shares", "-f", "-", "http://a"], b"", "no Kubernetes object"),
        (["shares", "-f", "no-such-file", "http://a"], b"", "neither a file, a folder nor a bundled set"),
        (["trace", "-f", "shop", "order-service"], b"", "is no URL"),
        (["trace", "-f", "shop", URL, "--header", "Host"], b"", "has no colon"),
        (["trace", "-f", "shop", URL, "--seed", "-1"], b"", "the seed cannot be -1"),
        (["send", "-f", "shop", URL, "-n", "0"], b"", "requests cannot be 0"),
        (["send", "-f", "shop", URL, "-n", "many"], b"", "invalid int value"),
        (["trace", "-f", "shop", URL, "--max-size", "10"], b"", "--max-size"),
    ],
)
def test_command_line_exits_with_2_and_speaks_on_stderr_only(arguments, stdin, words):
    done = cli(*arguments, stdin=stdin)
    assert done.returncode == 2 and done.stdout == b"", done
    assert words in done.stderr.decode() and "Traceback" not in done.stderr.decode()


# --- what Kubernetes accepts: the true consequence -------------------------------------------------------------------

PAIR = DEPLOYMENT + "---\n" + SERVICE


@pytest.mark.parametrize(
    ("text", "url", "action", "status", "why"),
    [
        (PAIR, "http://a", "forward", 200, "answers"),
        (with_(PAIR, "    app: a\n", "    app: b\n"), "http://a", "reject", None, "matches no pod"),
        (with_(PAIR, "targetPort: 8080", "targetPort: web"), "http://a", "reject", None, "named web"),
        (with_(PAIR, "targetPort: 8080", "targetPort: 8081"), "http://a", "reject", None, "listens on 8080, not on 8081"),
        (with_(PAIR, "replicas: 2", "replicas: 0"), "http://a", "reject", None, "matches no pod"),
        (PAIR, "http://a:81", "drop", None, "has the ports 80/TCP, not 81/TCP"),
        (PAIR, "http://b", "unresolved", None, "nothing in the input gives b an address"),
        (PAIR + "---\n" + INGRESS, "http://a.example.com/x", "forward", 200, "answers"),
        (PAIR + "---\n" + INGRESS, "http://a.example.com/y", "respond", 404, ""),
        (DEPLOYMENT + "---\n" + INGRESS, "http://a.example.com/x", "respond", 503, "there is no Service default/a"),
        (PAIR + "---\n" + with_(INGRESS, "{number: 80}", "{name: web}"), "http://a.example.com/x", "respond", 503, "has no port web"),
        (with_(PAIR, "    app: a\n", "    app: b\n") + "---\n" + INGRESS, "http://a.example.com/x", "respond", 503, "no ready endpoint"),
        (with_(PAIR, "targetPort: 8080", "targetPort: 8081") + "---\n" + INGRESS, "http://a.example.com/x", "respond", 502, "refused"),
        (PAIR + "---\n" + with_(INGRESS, "ingressClassName: nginx", "ingressClassName: moon"), "http://a.example.com/x", "unresolved", None, ""),
    ],
)  # fmt: skip
def test_what_kubernetes_accepts_has_its_consequence(text, url, action, status, why):
    cluster = k8slb.load(text)
    trace = cluster.trace(url)
    assert (trace.action, trace.status) == (action, status), str(trace)
    assert why in str(trace.why())
    shares = cluster.shares(url)
    assert bool(shares) == (action == "forward")
    assert shares.answered == ({str(status): 1} if action == "respond" else {})
    assert shares.lost == (action in ("reject", "drop", "unresolved"))
    assert cluster.send(url, requests=9).lost == 9 * shares.lost


def test_an_ingress_that_nobody_serves_is_warned_of():
    cluster = k8slb.load(Source("x.yaml", with_(INGRESS, "nginx", "moon")))
    assert [w for w in cluster.warnings if "x.yaml:1" in w and "moon" in w]


def test_objects_that_may_be_without_a_name():
    """kubectl create takes generateName; a program's configuration has no name at all and is kept aside."""
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {generateName: web-}\nspec: {containers: [{name: c}]}\n---\n"
    config = "apiVersion: kind.x-k8s.io/v1alpha4\nkind: Cluster\nnodes: []\n"
    cluster = k8slb.load(pod + pod + config)
    names = [p.name for p in cluster.pods]
    assert len(set(names)) == 2 and all(len(n) == 9 and n.startswith("web-") for n in names)
    assert names == [p.name for p in k8slb.load(pod + pod + config).pods]
    assert refused("apiVersion: v1\nkind: ConfigMap\ndata: {}\n").field == "metadata.name"
