"""The decisions of one request, told: a line a hop, all that was considered, or the JSON of it."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from operator import attrgetter
from typing import Any

from ..balancers import balancer
from ..decision import Decision, Hop, Limit
from ..errors import NotModelled, one_line
from ..path import Start, cookie_of, exact_shares

PROXIES = ("ingress", "gateway", "mesh")
FAILED = {"reject": "connection refused", "drop": "no answer (time-out)", "unresolved": "the name does not resolve"}


class Why(str):
    """Text that a notebook and a terminal show as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Trace:
    """One request's way: `str()` a line a hop, `why()` everything, `to_dict()` the documented JSON."""

    url: str
    begin: Start
    hops: tuple[Hop, ...]
    assumed: tuple[str, ...] = ()

    # --- what became of it ---

    last = property(lambda self: self.hops[-1].decision)
    served = property(lambda self: self.last.layer == "pods" and self.last.action == "respond")
    status = property(attrgetter("last.status"))
    pod = property(lambda self: self.last.flow.to if self.served else None)
    source_seen = property(lambda self: self.last.flow.source if self.served else None)
    warnings = property(lambda self: list(dict.fromkeys(w for h in self.hops for w in h.decision.warnings)))
    assumptions = property(lambda self: [*self.assumed, *self.begin.assumptions])

    @property
    def action(self) -> str:
        """forward (a pod answers), respond (a proxy answers), reject (refused), drop (no answer) or unresolved."""
        return "forward" if self.served else self.last.action

    @property
    def answered_well(self) -> bool:
        """Whether the answer is yes: a pod or proxy answered, with a status below 400 where there is one."""
        return self.last.action in ("forward", "respond") and (self.status or 200) < 400

    @property
    def endpoints(self) -> list[str]:
        """Every address the last pick could have chosen."""
        if not self.served:
            return []
        picks = [h.decision.candidates for h in self.hops if h.chosen and h.decision.layer != "pods"]
        addresses = [c.address if ":" in c.address else f"{c.address}:{c.flow.port}" for c in (picks or [()])[-1]]
        return addresses if picks else [self.pod]

    def fact(self, name: str) -> Any:
        """What the last hop that knows says of `name` (controller, certificate, backend, forwarded)."""
        return next((h.decision.facts[name] for h in reversed(self.hops) if name in h.decision.facts), None)

    # --- told ---

    def __str__(self) -> str:
        rows = [(h.decision.layer, _line(h)) for h in self._told]
        turns = "; ".join(f"{s['at']} {s['what']}" for s in self._returns if s["what"].startswith("turns"))
        rows += [("back", turns or "as it came")] if self._returns else []
        lines = [f"{i}  {layer:<10}  {text}" for i, (layer, text) in enumerate(rows, 1)]
        head = f"{self.url} from {self.begin.place}: {self.verdict}"
        return "\n".join(map(one_line, [head, *lines, *(f"!  {w}" for w in self.warnings), self._more]))

    __repr__ = __str__

    @property
    def _more(self) -> str:
        count = len(self.assumptions)
        return f"   {count} assumption{'s' * (count != 1)}, and all that was considered: .why(), or -v"

    @property
    def _told(self) -> list[Hop]:
        """The hops of the short form: of a proxy's several tries the first and the last."""
        tries = self._tries
        if len(tries) < 2:
            return list(self.hops)
        first, last = (next(i for i, h in enumerate(self.hops) if h is tries[k]) for k in (0, -1))
        return [*self.hops[: first + 2], *self.hops[last if self.last.layer == "pods" else -1 :]]

    @property
    def _tries(self) -> list[Hop]:
        """The picks that the last proxy made of the same peers, one for each time it tried."""
        proxy = next((h.decision for h in reversed(self.hops) if h.chosen and h.decision.on_failure), None)
        return [h for h in self.hops if h.chosen and proxy and h.decision.candidates is proxy.candidates]

    @property
    def log(self) -> str | None:
        """The line that the proxy writes of the request, where the model knows its form."""
        template = self.fact("log")
        tried = ", ".join(h.chosen.address for h in self._tries) or "-"
        return template and template.format(upstream=tried, status=self.status or "-")

    @cached_property
    def verdict(self) -> str:
        """The outcome in a few words."""
        if self.served:
            got = self.fact("forwarded")
            receives = f", which receives {got['path']}" if got else ""
            answer = f"status {self.status}" if self.status else "the connection is open"
            return f"{answer}, from pod {self.pod}{receives}"
        return FAILED.get(self.action) or f"status {self.status}"

    def why(self) -> Why:
        """Everything: what was considered and rejected, probabilities, addresses before and after, assumptions."""
        return Why("\n".join(self._long()))

    def _long(self) -> list[str]:
        out = [""]
        for i, hop in enumerate(self.hops, 1):
            out += [f"{i}  {hop.decision.layer} at {hop.decision.place}, once per {hop.decision.grain}", *_details(hop)]
        for step in self._returns:
            out.append(f"back  at {step['at']}: {step['what']}" + (f" ({step['why']})" if step["why"] else ""))
        out += [f"assumed: {a}" for a in self.assumptions]
        return [str(self).removesuffix("\n" + self._more), *map(one_line, out)]

    def to_dict(self) -> dict[str, Any]:
        """The trace as JSON; the keys are documented and stable."""
        return {
            "url": self.url,
            "status": self.status,
            "action": self.action,
            **{name: self.fact(name) for name in ("controller", "certificate", "backend", "forwarded")},
            "endpoints": self.endpoints,
            "pod": self.pod,
            "source_seen": self.source_seen,
            "location": self.fact("location"),
            "log": self.log,
            "assumptions": self.assumptions,
            "warnings": self.warnings,
            "hops": [hop_dict(h) for h in self.hops],
            "return": self._returns,
        }

    # --- the way back ---

    @cached_property
    def _returns(self) -> list[dict[str, str]]:
        """Where the answer's addresses are turned back, from the pod to the client."""
        if not self.served and (self.last.layer not in PROXIES or self.last.action != "respond"):
            return []
        steps: list[dict[str, str]] = []
        for i, hop in reversed(list(enumerate(self.hops))):
            layer, changed, at = hop.decision.layer, rewritten(hop), hop.decision.place.name
            if hop.chosen is None:
                continue
            if layer in ("kube-proxy", "cloud-lb") and changed:
                what = "turns " + " and ".join(f"{after} back into {before}" for before, after in changed.values())
                proxied = any(h.decision.layer in PROXIES for h in self.hops[:i])
                why = _why_back(hop, self.begin.place.kind == "outside" and not proxied)
                steps.append({"at": at, "layer": layer, "what": what, "why": why})
            elif layer == "cloud-lb" and hop.chosen.place.kind == "node":
                why = f"{hop.chosen.name} sends it from {hop.decision.flow.to} itself: direct server return"
                what = f"the answer does not pass here, it goes straight to {hop.decision.flow.source}"
                steps.append({"at": at, "layer": layer, "what": what, "why": why})
            elif layer in PROXIES and all((s["layer"], s["at"]) != (layer, at.rpartition("/")[2]) for s in steps):
                what = f"passes the answer on over the connection from {hop.decision.flow.source}"
                steps.append({"at": at.rpartition("/")[2], "layer": layer, "what": what, "why": ""})
        return steps


def _why_back(hop: Hop, outside: bool) -> str:
    """Why the answer comes back through the place that rewrote the request's addresses."""
    flow, at = hop.decision.flow, hop.decision.place
    if hop.decision.layer == "cloud-lb":
        own = hop.chosen.flow.source != flow.source
        return "its own address is what the target saw" if own else "the cloud's network leads the answer through it"
    masqueraded = hop.decision.facts.get("masqueraded")
    if masqueraded and hop.chosen.flow.source != flow.source:
        return (
            "that is why its address became the source: it alone can turn them back, and a pod of another node would "
            f"answer {flow.source} from an address that was never asked. With direct server return, which kube-proxy "
            f"does not do, that node would answer as {flow.to}, and the pod would see {flow.source}"
        )
    if outside:
        policy = "" if masqueraded else "externalTrafficPolicy Local: "
        return f"{policy}the pod is on {at}, so its answer passes here anyway, unmasqueraded"
    return f"the caller is on {at}, so its answer passes here anyway"


def rewritten(hop: Hop) -> dict[str, tuple[str, str]]:
    """What changed on the way through a hop: {"destination": (before, after), "source": ..., "path": ...}."""
    if hop.chosen is None:
        return {}
    before, after = hop.decision.flow, hop.chosen.flow
    pairs = {"destination": (before.to, after.to), "source": (before.source, after.source)}
    if before.request and after.request:
        pairs |= {k: (getattr(before.request, k), getattr(after.request, k)) for k in ("path", "scheme")}
    return {k: v for k, v in pairs.items() if v[0] != v[1]}


def hop_dict(hop: Hop) -> dict[str, Any]:
    decision, chosen = hop.decision, hop.chosen.address if hop.chosen else None
    shares = [s if s is None else str(s) for s in _shares(decision)]
    candidates = zip(decision.candidates, shares, strict=True)
    identity = hop.chosen.flow.identity if hop.chosen else decision.flow.identity
    return {
        "layer": decision.layer,
        "at": decision.place.name,
        "grain": decision.grain,
        "action": decision.action,
        "source": decision.flow.source,
        "destination": decision.flow.to,
        "rewritten": {k: {"from": a, "to": b} for k, (a, b) in rewritten(hop).items()},
        **({"identity": identity} if identity else {}),
        "balancer": decision.balancer and balancer(decision.balancer).name,
        "candidates": [{"name": c.name, "address": c.address, "share": s} for c, s in candidates],
        "chosen": chosen,
        "rejected": [{"what": r.what, "why": r.why, "file": r.where[0], "line": r.where[1]} for r in decision.rejected],
        "why": decision.why,
        "rule": decision.rules.get(chosen, "") if chosen else decision.rule,
    }


def _shares(decision: Decision) -> list[Fraction | None]:
    try:
        return list(exact_shares(decision))
    except NotModelled:
        return [None] * len(decision.candidates)


def _line(hop: Hop) -> str:
    decision, chosen = hop.decision, hop.chosen
    if chosen is None:
        at = "" if decision.layer in ("dns", "cloud-lb", "pods") else f"{decision.place}: "
        if decision.layer == "pods" and decision.flow.request and decision.action == "respond":
            request, caller = decision.flow.request, decision.flow.source
            return f"{decision.why} {decision.status} to {request.method} {request.path}; its caller is {caller}"
        return at + decision.why
    many, changed, (before, after) = len(decision.candidates), rewritten(hop), decision.brief
    name = "" if decision.layer == "dns" or chosen.name == chosen.address else f"{chosen.name} "
    text = f"{before or decision.why} -> {name}{chosen.address}" + (f", 1 of {many}" if many > 1 else "") + after
    if decision.layer in ("kube-proxy", "cloud-lb") and "source" in changed:
        text += "; source {} becomes {}".format(*changed["source"])
    return text


def _details(hop: Hop) -> list[str]:
    decision = hop.decision
    out = [f"     {decision.why}", f"     arrives: {decision.flow.source} -> {decision.flow.to}"]
    out += [f"     {what}: {before} -> {after}" for what, (before, after) in rewritten(hop).items()]
    if decision.balancer:
        policy = balancer(decision.balancer)
        out.append(f"     picked by {policy.name} ({policy.source})")
    unknown = "depends on the cookie's text" if cookie_of(decision) else "depends on load"
    for c, share in zip(decision.candidates, _shares(decision), strict=True):
        mark = "*" if c is hop.chosen else " "
        told = unknown if share is None else f"{share} = {float(share):.1%}"
        out.append(f"   {mark} candidate {c.name} {c.address}: {told}")
    for r in decision.rejected:
        file, line = r.where
        out.append(f"     rejected {r.what}: {r.why}" + (f" ({file}:{line})" if file else ""))
    if rule := decision.rules.get(hop.chosen.address) if hop.chosen else decision.rule:
        out.append(f"     rule: {rule}")
    if told := decision.facts.get("dice", {}).get(hop.chosen.address) if hop.chosen else "":
        out.append(f"     {told}")
    out += [f"     limit {_limit(limit)}" for limit in decision.limits]
    for m in decision.remembers:
        out.append(f"     remembered by {m.kind}, key {m.key}" + (f", {m.timeout:g} s" if m.timeout else ""))
    return out


def _limit(limit: Limit) -> str:
    told = f"answered {limit.status}" if limit.status else "refused"
    if limit.kind in ("pool", "retries"):
        return f"{limit.name}: {limit.burst:,} at a time to {limit.key}"
    if limit.kind != "rate":
        return f"{limit.name}: {limit.burst:,} at a time of {limit.key}, the others are {told}"
    often = f"{limit.rate:g} a second" if limit.rate >= 1 else f"{60 * limit.rate:g} a minute"
    often += f" of {limit.key}, and {limit.burst:,} more at once"
    return f"{limit.name}: {often}; the others are {told}"
