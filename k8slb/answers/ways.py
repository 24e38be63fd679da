"""All that can become of one request, each with its exact share: a trace tells one way, `ways` every way at once."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from .. import path
from ..cluster import Cluster
from ..decision import Decision, Place, Timeline
from ..errors import NotModelled
from ..failures import Spread, after_failures, mixed
from ..traffic import Flow
from .trace import PROXIES

_CLAUSE = re.compile(r"(?s).*:\d+\)[^;]*|.*")  # a proxy's reason, to the clause that names FILE:LINE


class Way(NamedTuple):
    """What becomes of this share of the requests: `facts` has status ("open" for a connection), action, and of what was
    asked for what there is; `why` are the reasons of the proxies, and of who answers if no pod does well."""

    share: Fraction
    facts: Mapping[str, str]
    why: tuple[str, ...] = ()


class _End(NamedTuple):
    """A status and the facts beside it, in the place of the text of failures.Outcome, which ends with the status."""

    status: str
    facts: tuple[tuple[str, str], ...] = ()

    def split(self) -> tuple[str]:
        return (self.status,)


def ways(view: Cluster, begin: path.Start, asked: Collection[str], seen: set[str]) -> list[Way]:
    """Everything that can become of the request, told apart by what is `asked`: backend, path, location, certificate,
    controller, pod, source_seen.

    Of the requests that limits admit, at a first visit. NotModelled where it depends on load, unless that makes no
    difference to what is asked. `seen` is given the reasons of all the decisions.
    """
    timeline, known, told = Timeline.still(view), {}, {}  # what comes of each flow at each place, and why

    def spread(place: Place, flow: Flow, via: str | None, depth: int) -> Spread:
        if (place, flow) in known:
            return known[place, flow]
        decision = path.decide(timeline, place, flow, via)
        decision = path.in_circles(decision) if depth >= path.MAX_HOPS else decision
        seen.add(decision.why)
        mine, why = _facts(decision), ()
        if decision.action == "forward":
            onward = via if decision.layer == "dns" else None
            each = [spread(c.place, c.flow, onward, depth + 1) for c in decision.candidates]
            ends = _together(decision, each)
            below = {end: whys for c in decision.candidates for end, whys in told[c.place, c.flow].items()}
            why = (_CLAUSE.match(decision.why)[0],) * (decision.layer in PROXIES)
        else:
            kind, what = path.outcome_of(decision)
            end = kind, what if kind == "lost" else _End(str(decision.status or "open"))
            ends, below = {end: Fraction(1)}, {end: (decision.why,) * (kind != "pod")}
            mine |= {"pod": flow.to} if kind in ("pod", "failed") else {"path": None}
        lost = next((whys for (kind, _), whys in below.items() if kind == "lost"), ())
        found, reasons = known.setdefault((place, flow), Counter()), told.setdefault((place, flow), {})
        for (kind, what), share in ends.items():
            end = what
            if kind != "lost":  # of a proxy's answer after failures only the status is there; who knew last is right
                status, facts = what if isinstance(what, _End) else (what, (("path", None),))
                facts = mine | dict(facts)
                end = _End(status, tuple((name, facts[name]) for name in asked if name in facts))
            found[kind, end] += share
            reasons[kind, end] = why + below.get((kind, what), lost)
        return found

    found, ends = [], spread(begin.place, begin.flow, begin.via, 0)
    for (kind, end), share in ends.items():
        status, facts = ("", ()) if kind == "lost" else end
        one = {k: v for k, v in facts if v}
        one |= {"status": status, "action": {"lost": end, "answered": "respond"}.get(kind, "forward")}
        found += [Way(share, one, told[begin.place, begin.flow][kind, end])] * bool(share)
    return found


def _facts(decision: Decision) -> dict[str, Any]:
    """Of a trace's facts, as texts, those that the decision knows."""
    facts = {k: v for k, v in decision.facts.items() if isinstance(v, str)}
    facts |= {"backend": "{namespace}/{service}:{port}".format(**b)} if (b := decision.facts.get("backend")) else {}
    return facts | ({"path": decision.facts["forwarded"]["path"]} if "forwarded" in decision.facts else {})


def _together(decision: Decision, each: list[Spread]) -> Spread:
    try:
        shares = path.exact_shares(decision)
    except NotModelled:
        if any(way != each[0] for way in each):
            raise
        shares = [Fraction(i == 0) for i in range(len(each))]  # whoever is picked, it comes to the same
    if decision.on_failure:
        return after_failures(decision, each, shares)
    return mixed(zip(shares, each, strict=True))
