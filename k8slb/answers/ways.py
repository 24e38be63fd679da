"""All that can become of one request, each with its exact share: a trace tells one way, `ways` every way at once."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

from .. import path
from ..decision import Decision
from ..errors import NotModelled
from ..failures import after_failures, fails
from .trace import PROXIES

Share = Fraction | None  # None: it depends on load
_CLAUSE = re.compile(r"(?s).*:\d+\)[^;]*|.*")  # a proxy's reason, to the clause that names FILE:LINE


class Way(NamedTuple):
    """What becomes of this share of the requests: `facts` has status ("open" for a connection), action, and of what was
    asked for what there is; `why` are the reasons of the proxies, and of who answers if no pod does well."""

    share: Share
    facts: Mapping[str, str]
    why: tuple[str, ...] = ()


class Ways(NamedTuple):
    """Every way of a request; `unknown`: why shares are None, where some are."""

    found: tuple[Way, ...]
    unknown: NotModelled | None = None


class _End(NamedTuple):
    """A status and the facts beside it, in the place of the text of failures.Outcome, which ends with the status."""

    status: str
    facts: tuple[tuple[str, str | None], ...] = ()

    def split(self) -> tuple[str]:
        return (self.status,)


def ways(met: Sequence[path.Met], asked: Collection[str]) -> Ways:
    """Everything that can become of a request that can meet these decisions (`path.met`), told apart by what is
    `asked`: backend, path, location, certificate, controller, pod, source_seen.

    What is the same whatever a balancer picks has an exact share even where its picks depend on load. NotModelled where
    not even what can become of it is known.
    """
    spreads, whys, unknown = [], [], []  # of each decision what comes of it, and why
    for decision, onward in met:
        mine, why = {k: v for k, v in _facts(decision).items() if k in asked}, ()
        if decision.action == "forward":
            ends = _together(decision, [spreads[i] for i in onward], unknown)
            below = {end: reasons for i in onward for end, reasons in whys[i].items()}
            why = (_CLAUSE.match(decision.why)[0],) * (decision.layer in PROXIES)
        else:
            kind, what = path.outcome_of(decision)
            end = kind, what if kind == "lost" else _End(str(decision.status or "open"))
            ends, below = {end: Fraction(1)}, {end: (decision.why,) * (kind != "pod")}
            mine |= {"pod": decision.flow.to} if kind in ("pod", "failed") else {"path": None}
        lost = next((reasons for (kind, _), reasons in below.items() if kind == "lost"), ())
        named = {end: _named(*end, mine, asked) for end in ends}
        same = not (mine or decision.on_failure)
        spreads.append(ends if same else summed((named[end], share) for end, share in ends.items()))
        whys.append({named[end]: why + below.get(end, lost) for end in ends})
    found = []
    for (kind, end), share in spreads[-1].items():
        status, facts = ("", ()) if kind == "lost" else end
        one = {k: v for k, v in facts if v}
        one |= {"status": status, "action": {"lost": end, "answered": "respond"}.get(kind, "forward")}
        found += [Way(share, one, whys[-1][kind, end])] * (share != 0)
    return Ways(tuple(found), unknown[0] if any(way.share is None for way in found) else None)


def _facts(decision: Decision) -> dict[str, Any]:
    """Of a trace's facts, as texts, those that the decision knows."""
    facts = {k: v for k, v in decision.facts.items() if isinstance(v, str)}
    facts |= {"backend": "{namespace}/{service}:{port}".format(**b)} if (b := decision.facts.get("backend")) else {}
    return facts | ({"path": decision.facts["forwarded"]["path"]} if "forwarded" in decision.facts else {})


def _named(kind: str, what: Any, mine: Mapping[str, Any], asked: Collection[str]) -> tuple[str, Any]:
    """An end with the facts of a decision before it; who knew last is right. Of a proxy's answer after failures only
    the status is there."""
    if kind == "lost" or (not mine and isinstance(what, _End)):
        return kind, what
    status, facts = what if isinstance(what, _End) else (what, (("path", None),))
    facts = {**mine, **dict(facts)}
    return kind, _End(status, tuple((name, facts[name]) for name in asked if name in facts))


def _together(decision: Decision, each: list[dict], unknown: list[NotModelled]) -> dict[Any, Share]:
    """What comes of a decision, of what comes of its candidates; `unknown` is given what keeps shares from being
    known."""
    shares: list[Share] = [None] * len(each)
    failing = decision.on_failure and any(fails(decision, end) for way in each for end in way)
    try:
        shares = path.exact_shares(decision)
        if failing and not any(None in way.values() for way in each):
            return after_failures(decision, each, shares)
    except NotModelled as told:
        unknown.append(told)
    if failing:  # what is possible is possible when each is picked at random
        equal = [dict.fromkeys(way, Fraction(1, len(way))) for way in each]
        at_random = replace(decision, balancer="iptables-random")
        ends = dict.fromkeys(after_failures(at_random, equal, [Fraction(1, len(each))] * len(each)))
    elif all(way is each[0] for way in each):
        return each[0]
    elif None in shares:
        values = {end: {way.get(end, Fraction(0)) for way in each} for way in each for end in way}
        ends = {end: some.pop() if len(some) == 1 else None for end, some in values.items()}
    else:
        parts = zip(shares, each, strict=True)
        ends = summed((end, times(share, part)) for share, way in parts for end, part in way.items())
    open_ = [end for end, share in ends.items() if share is None]
    return ends | {open_[0]: 1 - sum(s for s in ends.values() if s)} if len(open_) == 1 else ends


def times(share: Share, part: Share) -> Share:
    if share is None or part is None:
        return Fraction(0) if 0 in (share, part) else None
    return share * part


def summed(pairs: Iterable[tuple[Any, Share]]) -> dict[Any, Share]:
    """The sum for each key; a sum with an unknown share is unknown."""
    total: dict[Any, Share] = {}
    for key, share in pairs:
        sofar = total.get(key, 0)
        total[key] = None if share is None or sofar is None else sofar + share
    return total
