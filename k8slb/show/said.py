"""What a panel says in words: the sentence, the table, the changed YAML, and the line of Python that does the same."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from ..answers.latency import Latency, span
from ..cluster import Cluster
from ..controllers import SPEC
from .bars import Bar
from .edits import difference
from .route import Route
from .svg import share_text
from .svg import table as html_table


def sentence(outcome: Any, route: Route, trace: Any) -> str:
    """What was sent and sampled, the exact shares, how far chance moves them; by the `trace` what a proxy did."""
    shares = [share for spot, share in route.ends().items() if spot.kind == "pod"]
    if outcome.exact and outcome.run.clients.users > 1:  # the drawing is of the first of them
        shares = [*outcome.exact.values()]
    several = [*{share_text(s): s for s in sorted(s for s in shares if s is not None)}]
    told = outcome.sentence.removesuffix(".")
    if None in shares or (shares and outcome.exact is None):
        told += "; the exact shares depend on load"
    elif len(several) > 2:
        told += f"; expected {several[0]} to {several[-1]}"
    elif several:
        told += f"; expected {' or '.join(several)}" + " each" * (len(several) == 1 < len(shares))
    if several and outcome.admitted < 1:
        told += " of those that the limit admits"
    if several and outcome.spread[0]:
        band, why = outcome.spread  # the largest share's; smaller ones stray less
        told += f", ±{band:.1%}{' at most' if len(several) > 1 else ''} ({why})"
    if outcome.lost == outcome.requests:
        told += f": {trace.hops[-1].decision.why}"
    if trace and shares and (forwarded := trace.fact("forwarded")):
        told += f"; the pod receives the path {forwarded['path']}"
    if trace and (certificate := trace.fact("certificate")):
        told += f"; the certificate served is {certificate}"
    if SPEC in route.controllers:
        told += "; the specification names no balancer: random is used here"
    return told + "."


def line(calls: Sequence[str], asked: dict[str, Any]) -> str:
    """The Python that gives the same outcome: a cluster's name, the `calls` that change it, and what is sent."""
    given = {k: v for k, v in asked.items() if k != "url" and v is not None}
    arguments = [_literal(asked["url"]), *(f"{k}={_literal(v)}" for k, v in given.items())]
    return ".".join([*filter(None, calls), f"send({', '.join(arguments)})"])


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (str, dict)) else repr(value)


def table(rows: Sequence[Bar], route: Route, waits: Sequence[tuple[str, Latency, str]] = ()) -> str:
    """The distribution, how long it took, and every edge of the path, in numbers."""
    pods = [(name, f"{count:,}", f"{share:.1%}", share_text(exact)) for name, count, share, exact, _ in rows]
    ways = [(e.source.name, e.target.name, share_text(e.share)) for stage in route.edges for e in stage]
    shown = html_table(("pod", "requests", "sampled share", "exact share"), pods)
    if waits:
        told = [(name, f"{of.requests:,}", of.about, span(of.p99), said) for name, of, said in waits]
        shown += html_table(("pod", "served", "mean latency (95% band)", "p99", "busy"), told)
    shown += html_table(("from", "to", "exact share of all requests"), ways)
    return f"<div class='k8slb-table' tabindex='0'>{shown}</div>"  # it scrolls, where pods are many


def code(before: Cluster, after: Cluster, python: str) -> str:
    """The fields that the controls changed, as a diff, and the line that does it."""
    diff = difference(before, after)
    lines = "\n".join(f"<b>{escape(x)}</b>" if x[:1] in "+-" else escape(x) for x in diff.split("\n"))
    changed = f"<p>What the controls changed in the YAML:</p><pre>{lines}</pre>" if diff else ""
    same = f"<pre class='k8slb-line' tabindex='0'>{escape(python)}</pre>"
    return f"{changed}<p>The same in Python (a click selects it, Ctrl+C copies):</p>{same}"
