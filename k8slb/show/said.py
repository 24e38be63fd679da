"""What a panel says in words: the sentence, the table, the changed YAML, and the line of Python that does the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from ..cluster import Cluster
from ..controllers import SPEC
from .bars import Bar
from .edits import difference
from .kinds import Control
from .route import Route
from .svg import share_text
from .svg import table as html_table


def sentence(outcome: Any, route: Route, received: str | None) -> str:
    """What was sent and sampled, the exact shares, how far chance moves them, and the path behind an Ingress."""
    shares = [share for spot, share in route.ends().items() if spot.kind == "pod"]
    several = sorted({s for s in shares if s is not None})
    told = outcome.sentence.removesuffix(".")
    if None in shares:
        told += "; the exact shares depend on load"
    elif len(several) > 2:
        told += f"; expected {share_text(several[0])} to {share_text(several[-1])}"
    elif several:
        told += f"; expected {' or '.join(map(share_text, several))}" + " each" * (len(several) == 1 < len(shares))
    if several and outcome.spread[0]:
        told += ", ±{:.1%} ({})".format(*outcome.spread)
    if received is not None and shares:
        told += f"; the pod receives the path {received}"
    if SPEC in route.controllers:
        told += "; the specification names no balancer: random is used here"
    return told + "."


def line(cluster: str, controls: Sequence[Control], asked: dict[str, Any]) -> str:
    """The Python that gives the same outcome; `cluster` is the name of the cluster as it was before."""
    given = {k: v for k, v in asked.items() if k != "url" and v is not None}
    arguments = [_literal(asked["url"]), *(f"{k}={_literal(v)}" for k, v in given.items())]
    return ".".join([cluster, *filter(None, (c.python(c.value) for c in controls)), f"send({', '.join(arguments)})"])


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (str, dict)) else repr(value)


def table(rows: Sequence[Bar], route: Route) -> str:
    """The distribution and every edge of the path, in numbers."""
    exact = {spot.address or spot.name: share for spot, share in route.ends().items()}
    pods = [
        (r.name, f"{r.count:,}", f"{r.share:.1%}", share_text(exact.get(r.name.rpartition(" ")[2], exact.get(r.name))))
        for r in rows
    ]
    ways = [(e.source.name, e.target.name, share_text(e.share)) for stage in route.edges for e in stage]
    return html_table(("pod", "requests", "sampled share", "exact share"), pods) + html_table(
        ("from", "to", "exact share of all requests"), ways
    )


def code(before: Cluster, after: Cluster, python: str) -> str:
    """The fields that the controls changed, as a diff, and the line that does it."""
    diff = difference(before, after)
    lines = "\n".join(f"<b>{escape(x)}</b>" if x[:1] in "+-" else escape(x) for x in diff.split("\n"))
    changed = f"<p>What the controls changed in the YAML:</p><pre>{lines}</pre>" if diff else ""
    same = f"<pre class='k8slb-line' tabindex='0'>{escape(python)}</pre>"
    return f"{changed}<p>The same in Python (a click selects it, Ctrl+C copies):</p>{same}"
