"""The Markdown that `make lessons` writes itself, from the stored lessons: cells tagged generated:NAME.

So a title, a minute or a definition stands in one place, its lesson.
"""

import json
import re
from collections.abc import Iterable

from k8slb.course.contents import LEVELS, Lesson, lessons, routes
from k8slb.course.lab import stored

# Term -> the lesson that defines it, there in bold. Those that a lesson needs before it uses them, and more.
TERMS = {
    "00": [
        *("request", "connection", "address:port", "ClusterIP", "pod", "replica", "node"),
        *("NAT", "Service", "balances", "routes"),
    ],
    "01": ["targetPort", "selector", "EndpointSlice", "ndots"],
    "02": ["standard deviation"],
    "04": ["iptables", "nftables", "IPVS", "scheduler", "hash", "p50", "p99"],
    "05": ["keep-alive", "conntrack", "pool"],
    "06": ["ClientIP", "cookie"],
    "07": ["LoadBalancer", "NodePort", "externalTrafficPolicy", "masquerade", "direct server return"],
    "08": ["zone", "targets", "cross-zone", "trafficDistribution", "hint", "factor"],
    "09": ["annotation", "pathType", "SNI"],
    "10": ["upstream", "canary", "EWMA"],
    "11": ["Gateway API", "GatewayClass", "Gateway", "HTTPRoute", "weight", "ReferenceGrant"],
    "12": ["service mesh", "sidecar", "mTLS", "retry budget"],
    "13": ["propagation delay", "kubelet", "preStop"],
}


def link(lesson: Lesson) -> str:
    return f"[{lesson.number} {lesson.title}]({lesson.file})"


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    titles = head.split(" | ")
    return "\n".join(f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows))


def the_routes() -> str:
    rows = [(r.name, ", ".join(f"[{x.number}]({x.file})" for x in r.lessons), r.sum) for r in routes()]
    return table("route | lessons | minutes", rows)


def the_lessons() -> str:
    by_number = {lesson.number: lesson for lesson in lessons()}
    rows = [
        (link(x), x.question, f"{x.core} + {x.further}", ", ".join(f"[{n}]({by_number[n].file})" for n in x.needs))
        for x in lessons()
    ]
    return table("lesson | question | minutes | needs", rows)


def the_levels() -> str:
    by_number = {lesson.number: lesson for lesson in lessons()}
    rows = [
        (x.title, x.asks, x.protocols, x.scope, ", ".join(f"[{n}]({by_number[n].file})" for n in x.lessons))
        for x in LEVELS
    ]
    return table("level | the question it answers | protocols | where | lessons", rows)


SENTENCES = re.compile(r"(?<=[.?!])\)?\s+(?=[A-Z(*`])")
BEFORE = re.compile(r"^(?:- )?(?:\*[^*]+\*: )?")  # the mark of a list, a belief that the sentence speaks of


def definition(lesson: Lesson, term: str) -> str:
    """The sentence in which the lesson has the term in bold; only its end where that is "TERM, a ... "."""
    cells = json.loads((stored() / lesson.file).read_text(encoding="utf-8"))["cells"]
    texts = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    lines = [line for text in texts for line in re.sub(r"(?s)```.*?```", "", text).splitlines()]
    bold = re.compile(rf"\*\*`?{re.escape(term)}(?:s|es)?`?\*\*(?P<short>, (?:an?|the|Kubernetes') )?")
    for line in lines:
        parts = [f"{row[1].strip()}: {row[3].strip()}."] if len(row := line.split("|")) > 4 else SENTENCES.split(line)
        for sentence in parts:
            if found := bold.search(sentence):
                told = sentence[found.start() :] if found["short"] else sentence
                told = re.sub(r"^(?:So|And) | \(rows? [\d and]+\)", "", told)  # what leans on the page around it
                told = re.sub(rf"^{bold.pattern.partition('(?P')[0]}[:,] ", "", BEFORE.sub("", told)).strip()
                told = told if told.count("(") >= told.count(")") else told.replace(")", "", 1)
                return f"{told.rstrip(':.')}."
    raise ValueError(f"lesson {lesson.number} does not define **{term}**")


def the_glossary() -> str:
    by_number = {lesson.number: lesson for lesson in lessons()}
    homes = sorted(((term, by_number[n]) for n, terms in TERMS.items() for term in terms), key=lambda t: t[0].lower())
    rows = ((f"**{term}**", definition(home, term).replace("|", "\\|"), link(home)) for term, home in homes)
    return table("term | what the lesson says | lesson", rows)


TEXTS = {"routes": the_routes, "lessons": the_lessons, "levels": the_levels, "glossary": the_glossary}
