"""What is asked of a document, and what no answer may hold: another kind of exception, or a name that got out raw."""

import json
import random
import re
import shutil
import subprocess
import time
from html.parser import HTMLParser
from xml.etree import ElementTree

import k8slb
from k8slb.answers.compare import answer, probes
from k8slb.answers.fingerprint import fingerprint
from k8slb.objects import HTTPRoute, Ingress
from k8slb.positions import Source

SLOWEST = 60.0  # seconds of this process for one document (one may ask for 30,000 pods); a hang takes longer
URLS = [
    "http://order-service",
    "http://order-service.default/x?y=1",
    "https://myshop.example.com/payments/process/101",
    "http://myshop.example.com/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",
    "http://a",
    "tcp://172.18.0.2:30080",
    "udp://10.96.0.100:53",
    "http://203.0.113.10/",
    "http://web.example.org/a/b?q=xyz",
    "http://é..ü/%00/../..",
    "http://web.example.org/%3Czq%3E\"'`|]",
]
FILE = "<zq>,zq=1::`zq`|\n\x1b[31m\u202e.yaml"  # what a file may be called
WHO = [None, "external", "node:node-a", "node:a", "pod:default/order-1", "pod:a", "pod:default/client"]
CASE = '- {url: "%s", expect: {status: 200, pod: "*"}}\n- {url: "%s", requests: 20, expect: {lost: 0, hottest: "< 3"}}'

# --- what may not get out --------------------------------------------------------------------------------------------


def printed(text: str) -> str:
    """A text for a terminal."""
    assert isinstance(text, str) and text.strip(), "says nothing"
    assert text.replace("\n", "").isprintable(), f"not printable: {text[:2000]!r}"
    return text


def drawn(svg: str) -> str:
    """An SVG: well-formed, with the elements and attributes of a drawing and no others."""
    for element in ElementTree.fromstring(svg).iter():
        tag = element.tag.rpartition("}")[2]
        assert tag in {
            "svg",
            "g",
            "text",
            "tspan",
            "rect",
            "path",
            "polygon",
            "polyline",
            "ellipse",
            "line",
            "title",
        } | {"desc", "defs", "marker", "circle", "linearGradient", "stop", "style"}, f"<{tag}> in an SVG"
        for name, value in element.attrib.items():
            assert not name.startswith("on") and "href" not in name and "zq" not in name, f"{name}={value!r} in an SVG"
    return svg


class _Seen(HTMLParser):
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"br", "details", "summary", "code", "b", "i", "table", "tr", "td", "th", "sub", "svg", "p"}, (
            f"<{tag}>"
        )
        assert not attrs, f"<{tag} {attrs}> in Markdown"


class _Page(HTMLParser):
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"zq", "script", "a", "img", "iframe", "form", "link", "meta", "object"}, f"<{tag}> in HTML"
        for name, _ in attrs:
            assert re.fullmatch("(?!on|href|zq)[a-z][a-z0-9:-]*", name), f"<{tag} {attrs}>"


def page(text: str) -> str:
    """HTML of a panel."""
    seen = _Page()
    seen.feed(text)
    seen.close()
    return text


def marked_down(text: str) -> str:
    """Markdown for a pull request: no HTML but its own, no code or link of somebody's, no line that a name began."""
    assert isinstance(text, str)
    assert text.replace("\n", "").isprintable(), f"not printable: {text[:2000]!r}"
    seen = _Seen()
    seen.feed(text)
    seen.close()
    assert not re.search(r"(?<!\\)(\]\(javascript|`zq)", text), text[:3000]
    assert not re.search(r"(?m)^(::|\| zq \|)", text), text[:3000]
    wide = 0
    for line in text.splitlines():  # a table has as many cells in each row
        cells = len(re.findall(r"(?<!\\)\|", line))
        assert not (wide and line.startswith("|")) or cells == wide, f"another width: {line[:300]}"
        wide = cells if line.startswith("|") else 0
    return text


_LABEL = r'"[^"<>`\\\n]*(?:<br/>[^"<>`\\\n]*)*"'
_MERMAID = re.compile(
    rf"flowchart \w+|accTitle: [^<>`\\\n]*|accDescr: [^<>`\\\n]*|subgraph g\d+\[{_LABEL}\]|end|n\d+\[{_LABEL}\]:::\w+"
    rf"|n\d+ -->\|{_LABEL}\| n\d+|classDef \w+ [\w#,:-]+"
)


def mermaid(text: str) -> str:
    """A flowchart of nothing but our boxes and arrows."""
    for line in text.splitlines():
        assert _MERMAID.fullmatch(line.strip()), f"Mermaid: {line!r}"
    return text


def dotted(text: str, diagram, rng: random.Random) -> str:
    """Graphviz' language; the program itself reads every fiftieth and finds our boxes and arrows, no others."""
    assert text.replace("\n", "").isprintable(), text[:2000]
    if shutil.which("dot") and not rng.randrange(50):
        read = subprocess.run(["dot", "-Tdot_json"], input=text.encode(), capture_output=True, timeout=60)
        assert read.returncode == 0 and not read.stderr, read.stderr.decode()
        found = json.loads(read.stdout)
        boxes = [o for o in found.get("objects", ()) if "nodes" not in o]
        assert {o["name"] for o in boxes} == {f"n{i}" for i in range(len(diagram.boxes))}, [o["name"] for o in boxes]
        assert len(found.get("edges", ())) == len(diagram.arrows)
        assert not any("zq" in key for o in (*boxes, *found.get("edges", ())) for key in o)
    return text


def annotated(text: str) -> str:
    """GitHub's workflow commands: each line one of ours."""
    *lines, _ = text.split("\n")  # the last line counts them
    for line in lines:
        command = re.match(r"::(error|warning|notice)( [^:]*|)::", line)
        assert command and "file=zq" not in command[2] and line.isprintable(), f"annotation: {line!r}"
    return text


# --- the questions ---------------------------------------------------------------------------------------------------


def _trace(c, url, who, rng):
    trace = c.trace(url, **who, seed=rng.randrange(99))
    assert printed(str(trace.why())) and json.dumps(trace.to_dict())


def _shares(c, url, who, rng):
    shares = c.shares(url, **who)
    assert sum(shares.values()) + sum(shares.answered.values()) + shares.lost == 1 and json.dumps(shares.to_dict())
    printed(str(shares))


def _send(c, url, who, rng):
    run = c.send(url, requests=20, connections=rng.choice([None, 3]), **who)
    assert sum(run.counts("status").values()) + run.lost == 20 and printed(str(run)) and json.dumps(run.to_dict())


def _summary(c, url, who, rng):
    printed(str(c))
    rng.choice([str, lambda x: x.rules(next(iter(x.nodes)).name, rng.choice(["iptables", "ipvs", "nftables"]))])(c)


def _compare(c, url, who, rng):
    for probe in rng.sample(found := probes(c), min(3, len(found))):
        json.dumps(answer(c, probe.url, dict(probe.headers)).to_dict())


def _explain(c, url, who, rng):
    found = c.explain()
    assert printed(str(found)) and json.dumps(found.to_dict())
    marked_down(found.markdown), annotated(found.github)


def _diff(c, url, who, rng):
    change = rng.choice(
        [
            lambda: c,
            lambda: c.with_proxy(mode="ipvs"),
            lambda: c.with_controller("traefik.io/ingress-controller"),
            lambda: c.translate().cluster,
            lambda: c.scale("order", rng.randrange(4)),
            lambda: k8slb.load("shop"),
        ]
    )
    difference = c.diff(change(), urls=[url])
    assert printed(str(difference)) and json.dumps(difference.to_dict())
    marked_down(difference.markdown), drawn(difference.svg)


def _draw(c, url, who, rng):
    diagram = c.draw(*rng.choice([(), (url,)]), **{})
    assert printed(diagram.text) and json.dumps(diagram.to_dict())
    mermaid(diagram.mermaid), dotted(diagram.dot, diagram, rng)
    if not rng.randrange(20):
        drawn(diagram.svg)


def _translate(c, url, who, rng):
    made = c.translate()
    assert printed(str(made)) and json.dumps(made.to_dict())
    k8slb.load(made.yaml) if made.yaml.strip() else None


def _test(c, url, who, rng):
    told(c.test(Source(rng.choice(["CASES", FILE]), CASE % (rng.choice(URLS[:6]), rng.choice(URLS[:6])))))


def told(report) -> None:
    """A report on cases in all its forms."""
    assert printed(str(report)) and json.dumps(report.to_dict())
    for element in ElementTree.fromstring(report.junit).iter():
        assert element.tag in {"testsuites", "testsuite", "testcase", "failure", "error", "system-out", "properties"}, (
            element.tag
        )
    annotated(report.github)


def _film(c, url, who, rng):
    drawn(c.rollout("order").svg())


def _panel(c, url, who, rng):
    import ipywidgets

    from k8slb.show.panels import Panel

    def shown(widget):
        yield widget
        for below in getattr(widget, "children", ()):
            yield from shown(below)

    try:
        for widget in shown(Panel(c, url, requests=20)):
            if isinstance(widget, (ipywidgets.HTML, ipywidgets.HTMLMath)):
                page(widget.value)
    finally:
        ipywidgets.Widget.close_all()


CHEAP = [_trace, _trace, _shares, _shares, _send, _summary, _compare]
DEAR = (
    [_explain] * 4 + [_draw] * 6 + [_test] * 3 + [_film] * 2 + [_diff, _translate]
)  # the last two ask hundreds of URLs


def _own(cluster, rng: random.Random) -> list[str]:
    """URLs that these manifests themselves speak of."""
    services, ingresses = list(cluster.services.values()), cluster.of(Ingress)
    found = [f"http://{s.name}.{s.namespace}:{s.spec.ports[0].port}" for s in services[:9] if s.spec.ports]
    for rule in (rule for i in ingresses[:5] for rule in i.spec.rules):
        host = (rule.host or "any.example").replace("*", "any")
        found += [f"https://{host}{p.path or '/'}" for p in (rule.http.paths if rule.http else ())[:3]]
    for route in cluster.of(HTTPRoute)[:5]:
        paths = [match.path.value for rule in route.spec.rules for match in rule.matches]
        found += [f"http://{host.replace('*', 'any')}{rng.choice(paths or ['/'])}" for host in route.spec.hostnames[:3]]
    return found or URLS


def ask(text, rng: random.Random, cheap: int = 3, dear: int = 2) -> bool:
    """Load `text` and ask some questions; False if it is refused."""
    started = time.process_time()
    named = isinstance(text, str) and not rng.randrange(10)
    try:
        cluster = k8slb.load(Source(FILE, text) if named else text)
    except k8slb.InputError as error:
        assert str(error).isprintable() and len(str(error)) < 5_000, str(error)
        return False
    who = {"from_": rng.choice(WHO), "via": rng.choice([None, None, "node-b"])}
    edits = [
        lambda: cluster,
        lambda: cluster.with_proxy(mode=rng.choice(["ipvs", "nftables"]), scheduler="rr"),
        lambda: cluster.scale("order", rng.randrange(5)),
        lambda: cluster.apply(text),
    ]
    questions = [
        *((q, rng.choice(edits)) for q in rng.sample(CHEAP, cheap)),
        *((q, edits[0]) for q in rng.sample(DEAR, dear)),
    ]
    own = _own(cluster, rng)
    for question, edit in questions:
        try:
            question(edit(), rng.choice(rng.choice([URLS, own])), who, rng)
        except k8slb.K8slbError as error:
            assert printed(str(error))
    assert time.process_time() - started < SLOWEST
    return True


def ask_cases(text: str, rng: random.Random) -> bool:
    """Put a file of cases to the shop."""
    return _accepted(lambda: told(_shop().test(Source(rng.choice(["CASES", FILE]), text))))


def ask_counts(text: str, rng: random.Random) -> bool:
    """What do these counts tell?"""
    more = rng.choice([{}, {}, {"pods": rng.randrange(9)}, {"connections": rng.randrange(90)}])

    def question() -> None:
        found = fingerprint(Source(rng.choice(["COUNTS", FILE]), text), **more)
        assert printed(str(found)) and json.dumps(found.to_dict())

    return _accepted(question)


def _accepted(question) -> bool:
    started = time.process_time()
    try:
        question()
    except k8slb.K8slbError as error:
        assert printed(str(error)) and len(str(error)) < 5_000
        return False
    assert time.process_time() - started < SLOWEST
    return True


_known: list = []


def _shop():
    if not _known:
        _known.append(k8slb.load("shop"))
    return _known[0]


ASK = {"cases": ask_cases, "counts": ask_counts}
