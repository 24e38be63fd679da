"""The decisions of one request, told: a line a hop, all that was considered, or the JSON of it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from ..balancers import balancer
from ..decision import Decision, Hop, Timeline
from ..errors import printable
from ..path import Start, exact_shares, walk


@dataclass(frozen=True)
class Trace:
    """One request's way: `str()` a line a hop, `why()` everything, `to_dict()` the documented JSON."""

    url: str
    begin: Start
    hops: tuple[Hop, ...]
    assumed: tuple[str, ...] = ()

    # --- what became of it ---

    @property
    def last(self) -> Decision:
        return self.hops[-1].decision

    @property
    def action(self) -> str:
        """forward (a pod answers), respond (a proxy answers), reject (refused), drop (no answer) or unresolved."""
        return "forward" if self.served else self.last.action

    @property
    def served(self) -> bool:
        return self.last.layer == "pods" and self.last.action == "respond"

    @property
    def status(self) -> int | None:
        return self.last.status

    @property
    def answered_well(self) -> bool:
        """Whether the answer is yes: a pod or proxy answered, with a status below 400 where there is one."""
        return self.last.action in ("forward", "respond") and (self.status or 200) < 400

    @property
    def pod(self) -> str | None:
        return self.last.flow.to if self.served else None

    @property
    def source_seen(self) -> str | None:
        return self.last.flow.source if self.served else None

    @property
    def endpoints(self) -> list[str]:
        """Every address the last pick could have chosen."""
        if not self.served:
            return []
        picks = [
            h.decision
            for h in self.hops
            if h.chosen is not None and h.decision.layer in ("kube-proxy", "ingress", "dns")
        ]
        return (
            [c.address if ":" in c.address else f"{c.address}:{c.flow.port}" for c in picks[-1].candidates]
            if picks
            else [self.pod]
        )

    def fact(self, name: str) -> Any:
        """What the last hop that knows says of `name` (controller, certificate, backend, forwarded)."""
        return next((h.decision.facts[name] for h in reversed(self.hops) if name in h.decision.facts), None)

    @property
    def warnings(self) -> list[str]:
        return list(dict.fromkeys(w for h in self.hops for w in h.decision.warnings))

    @property
    def assumptions(self) -> list[str]:
        return [*self.assumed, *self.begin.assumptions]

    # --- told ---

    def __str__(self) -> str:
        rows = [(h.decision.layer, _line(h)) for h in self._told] + (
            [("back", self._back_line())] if self._returns else []
        )
        lines = [f"{i}  {layer:<10}  {text}" for i, (layer, text) in enumerate(rows, 1)]
        head = f"{self.url} from {self.begin.place}: {self.verdict}"
        return printable("\n".join([head, *lines, *(f"!  {w}" for w in self.warnings), self._more]))

    __repr__ = __str__

    @property
    def _more(self) -> str:
        count = len(self.assumptions)
        return f"   {count} assumption{'s' * (count != 1)}, and all that was considered: .why(), or -v"

    @property
    def _told(self) -> list[Hop]:
        """The hops of the short form: of a proxy's several tries the first and the last."""
        tries = [h for h in self.hops if h.decision.layer == "ingress" and h.chosen is not None]
        if len(tries) < 2:
            return list(self.hops)
        first, last = self.hops.index(tries[0]), self.hops.index(tries[-1])
        return [*self.hops[: first + 2], *self.hops[last:]] if self.served else [*self.hops[: first + 2], self.hops[-1]]

    @cached_property
    def verdict(self) -> str:
        """The outcome in a few words."""
        if self.served:
            got = self.fact("forwarded")
            receives = f", which receives {got['path']}" if got else ""
            answer = f"status {self.status}" if self.status else "the connection is open"
            return f"{answer}, from pod {self.pod}{receives}"
        words = {
            "reject": "connection refused",
            "drop": "no answer (time-out)",
            "unresolved": "the name does not resolve",
        }
        return words.get(self.action) or f"status {self.status}"

    def why(self) -> Why:
        """Everything: what was considered and rejected, probabilities, addresses before and after, assumptions."""
        return Why("\n".join(self._long()))

    def _long(self) -> list[str]:
        out = [str(self).removesuffix("\n" + self._more), ""]
        for i, hop in enumerate(self.hops, 1):
            out += [f"{i}  {hop.decision.layer} at {hop.decision.place}, once per {hop.decision.grain}", *_details(hop)]
        for step in self._returns:
            out.append(f"back  at {step['at']}: {step['what']}")
        out += [f"assumed: {a}" for a in self.assumptions]
        return [printable(line) for line in out]

    def to_dict(self) -> dict[str, Any]:
        """The trace as JSON; the keys are documented and stable."""
        return {
            "url": self.url,
            "status": self.status,
            "action": self.action,
            "controller": self.fact("controller"),
            "certificate": self.fact("certificate"),
            "backend": self.fact("backend"),
            "forwarded": self.fact("forwarded"),
            "endpoints": self.endpoints,
            "pod": self.pod,
            "source_seen": self.source_seen,
            "location": self.fact("location"),
            "assumptions": self.assumptions,
            "warnings": self.warnings,
            "hops": [hop_dict(h) for h in self.hops],
            "return": self._returns,
        }

    # --- the way back ---

    @cached_property
    def _returns(self) -> list[dict[str, str]]:
        """Where the answer's addresses are turned back, from the pod to the client."""
        if not self.served and self.last.layer != "ingress":
            return []
        steps = []
        for hop in reversed(self.hops):
            changed = rewritten(hop)
            if hop.decision.layer == "kube-proxy" and hop.chosen is not None:
                turned = [f"{after} back into {before}" for before, after in changed.values()]
                steps.append(
                    {"at": hop.decision.place.name, "layer": "kube-proxy", "what": "turns " + " and ".join(turned)}
                )
            elif (
                hop.decision.layer == "ingress"
                and hop.chosen is not None
                and all(s["layer"] != "ingress" for s in steps)
            ):
                told = f"passes the answer on over the connection from {hop.decision.flow.source}"
                steps.append({"at": hop.decision.place.name.rpartition("/")[2], "layer": "ingress", "what": told})
        return steps

    def _back_line(self) -> str:
        told = "; ".join(f"{s['at']} {s['what']}" for s in self._returns if s["layer"] == "kube-proxy") or "as it came"
        return told


class Why(str):
    """Text that a notebook and a terminal show as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def trace(timeline: Timeline, begin: Start, url: str, seed: int, assumed: tuple[str, ...]) -> Trace:
    """Follow one request from `begin` with the picks that `seed` gives."""
    return Trace(url, begin, tuple(walk(timeline, begin, seed)), assumed)


def rewritten(hop: Hop) -> dict[str, tuple[str, str]]:
    """What changed on the way through a hop: {"destination": (before, after), "source": ..., "path": ...}."""
    if hop.chosen is None:
        return {}
    before, after = hop.decision.flow, hop.chosen.flow
    pairs = {"destination": (before.to, after.to), "source": (before.source, after.source)}
    if before.request and after.request:
        pairs |= {
            "path": (before.request.path, after.request.path),
            "scheme": (before.request.scheme, after.request.scheme),
        }
    return {k: v for k, v in pairs.items() if v[0] != v[1]}


def hop_dict(hop: Hop) -> dict[str, Any]:
    decision = hop.decision
    shares = _shares(decision)
    return {
        "layer": decision.layer,
        "at": decision.place.name,
        "grain": decision.grain,
        "action": decision.action,
        "source": decision.flow.source,
        "destination": decision.flow.to,
        "rewritten": {k: {"from": a, "to": b} for k, (a, b) in rewritten(hop).items()},
        "balancer": decision.balancer,
        "candidates": [
            {"name": c.name, "address": c.address, "share": None if s is None else str(s)}
            for c, s in zip(decision.candidates, shares, strict=True)
        ],
        "chosen": hop.chosen.address if hop.chosen else None,
        "rejected": [{"what": r.what, "why": r.why, "file": r.where[0], "line": r.where[1]} for r in decision.rejected],
        "why": decision.why,
        "rule": decision.rules.get(hop.chosen.address, "") if hop.chosen else "",
    }


def _shares(decision: Decision) -> list[Fraction | None]:
    if decision.balancer is not None and balancer(decision.balancer).exact is None:
        return [None] * len(decision.candidates)
    return list(exact_shares(decision))


def _line(hop: Hop) -> str:
    decision, chosen = hop.decision, hop.chosen
    if chosen is None:
        at = "" if decision.layer in ("dns", "cloud-lb", "pods") else f"{decision.place}: "
        if decision.layer == "pods" and decision.flow.request and decision.action == "respond":
            request, caller = decision.flow.request, decision.flow.source
            return f"{decision.why} {decision.status} to {request.method} {request.path}; its caller is {caller}"
        return at + decision.why
    many = len(decision.candidates)
    goes = (
        chosen.address
        if decision.layer == "dns" or chosen.name == chosen.address
        else f"{chosen.name} {chosen.address}"
    )
    before, after = decision.brief
    text = f"{before or decision.why} -> {goes}" + (f", 1 of {many}" if many > 1 else "") + after
    changed = rewritten(hop)
    if decision.layer == "kube-proxy" and "source" in changed:
        text += "; source {} becomes {}".format(*changed["source"])
    return text


def _details(hop: Hop) -> list[str]:
    decision = hop.decision
    out = [f"     {decision.why}", f"     arrives: {decision.flow.source} -> {decision.flow.to}"]
    out += [f"     {what}: {before} -> {after}" for what, (before, after) in rewritten(hop).items()]
    if decision.balancer:
        out.append(f"     picked by {decision.balancer} ({balancer(decision.balancer).source})")
    for c, share in zip(decision.candidates, _shares(decision), strict=True):
        mark = "*" if c is hop.chosen else " "
        told = "depends on load" if share is None else f"{share} = {float(share):.1%}"
        out.append(f"   {mark} candidate {c.name} {c.address}: {told}")
    for r in decision.rejected:
        file, line = r.where
        out.append(f"     rejected {r.what}: {r.why}" + (f" ({file}:{line})" if file else ""))
    if hop.chosen and hop.chosen.address in decision.rules:
        out.append(f"     rule: {decision.rules[hop.chosen.address]}")
    for memory in decision.remembers:
        out.append(
            f"     remembered by {memory.kind}, key {memory.key}"
            + (f", {memory.timeout:g} s" if memory.timeout else "")
        )
    return out
