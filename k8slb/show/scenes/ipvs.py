"""IPVS: the list of servers that each node keeps for a Service, and what its scheduler looks at there."""

from copy import deepcopy
from heapq import heappop, heappush
from random import Random
from typing import Any, NamedTuple

from ... import path
from ...balancers import balancer
from ...balancers.base import closed, connections, forgotten, opened
from ...balancers.ipvs import OFFSET, OVERHEAD, PRIME, _number, _siphash, _slot
from ...decision import Decision
from ..panels import Drawn, Panel
from ..svg import DOT, LINE, PAPER, dot, frame, text
from .cascade import cascade
from .picked import Picked, decisions, note, picked

HEAD = ("node", "its list from the head: open + closed connections", "it looks at", "next", "connections so far")
NODES, MOST, ACROSS, ROW, LINGERS = 8, 12, 4, 22, 120.0
CARD = 900 / ACROSS
LOADS = {  # what a scheduler compares, of the open and the closed connections and the weight; the least is next
    "lc": (f"{OVERHEAD} × open + closed", lambda a, c, w: OVERHEAD * a + c),
    "wlc": (f"({OVERHEAD} × open + closed) / weight", lambda a, c, w: (OVERHEAD * a + c) / w),
    "sed": ("(open + 1) / weight", lambda a, c, w: (a + 1) / w),
    "nq": ("idle? else (open + 1) / weight", lambda a, c, w: (a + 1) / w),
}


class Kept(NamedTuple):
    """What one node keeps: its decision, its scheduler's state, the last pick there, how many connections came."""

    decision: Decision
    state: dict
    last: Picked | None = None
    many: int = 0


def replayed(panel: Panel, at: int) -> tuple[dict[str, Kept], list[tuple[int, int | None]], Picked | None]:
    """By node what it keeps after `at` requests; (who was picked in the run, whom its scheduler picks) of each
    new connection; and what the last request met."""
    run, begun = panel.outcome.run, [d for every in decisions(panel.outcome, "kube-proxy") for d in every[:1]]
    nodes, both, ends, last = {d.place.name: Kept(d, {}) for d in begun}, [], [], None
    held = panel.asked().get("connections") is not None
    for number, last in enumerate(picked(panel.outcome, "kube-proxy", at)):
        now = 0.0 if run.time is None else float(run.time[number])
        while ends and ends[0][0] <= now:
            _, _, over, state, peer = heappop(ends)
            over(state, peer)
        if not last or not last.new or last.decision.place.name not in nodes:
            continue
        kept = nodes[last.decision.place.name]
        policy, peers, state = balancer(last.decision.balancer), last.decision.candidates, kept.state
        both.append((last.index, policy.pick(peers, state, Random(0), last.key, now)))
        peer = peers[last.index]
        opened(state, peer)
        if run.time is None and not held and not path.decide(panel.outcome.timeline, peer.place, peer.flow).work:
            closed(state, peer)  # at once
        elif run.time is not None and not held:
            ended = now + (0.0 if run.latency is None else float(run.latency[number]))
            heappush(ends, (ended, 2 * number, closed, state, peer))
            heappush(ends, (ended + LINGERS, 2 * number + 1, forgotten, state, peer))
        nodes[last.decision.place.name] = Kept(last.decision, state, last, kept.many + 1)
    return nodes, both, last


def ipvs(panel: Panel, at: int) -> Drawn:
    """The scene, in iptables mode `cascade`: the nodes side by side, each list from its head."""
    nodes, _, last = replayed(panel, at)
    known = next(iter(nodes.values()), None)
    if known is None or known.decision.facts["mode"] != "ipvs":
        return cascade(panel, at)  # which says why, where it cannot draw its chain either
    name = known.decision.balancer.removeprefix("ipvs-").removesuffix("-port")
    here = last.decision.place.name if last else ""
    shown = sorted(nodes)[:NODES] if here in [*sorted(nodes)[:NODES], ""] else [*sorted(nodes)[: NODES - 1], here]
    tall = 44 + ROW * max(min(len(nodes[node].decision.candidates), MOST) for node in shown)
    parts, rows = [], []
    for i, node in enumerate(shown):
        x, y = i % ACROSS * CARD, 22 + i // ACROSS * (tall + 12)
        parts += _card(nodes[node], name, x, y, tall, last if node == here else None)
    for node in shown:
        kept = nodes[node]
        seen = ", ".join(f"{p.name} {a} + {c}" for p, a, c, _ in _list(kept, name)[: _cut(kept)])
        more = f", and {len(kept.decision.candidates) - MOST + 1} more" * (len(kept.decision.candidates) > MOST)
        rows.append((node, seen + more, _looked(kept, name), _next(kept) or "", f"{kept.many:,}"))
    if len(shown) < len(nodes):
        rows.append((f"and {len(nodes) - len(shown)} more nodes", "", "", "", ""))
    told = f"Each node has a list of its own for {known.decision.flow.to}; {name} looks at {_rule(name)}."
    if last and last.new:
        told = f"The connection of request {at:,} comes to {here}: {name} there picks {last.name}. {told}"
    elif last:
        told = f"The connection of request {at:,} is open: IPVS on {here} knows its pod, {last.name}. {told}"
    load = ": what it compares" * (name in LOADS)
    head = f"scheduler {name}; each list from its head: pod (weight 1), open + closed connections{load}; ▸ is next"
    parts.append(text(0, 14, head, bold=True))
    return Drawn(
        frame(22 + (1 + (len(shown) - 1) // ACROSS) * (tall + 12), told, parts) + note(told).svg, HEAD, tuple(rows)
    )


def _rule(name: str) -> str:
    hashed = {
        "sh": "a hash of the client's address, whose remainder is the place from the head, from 0",
        "mh": "a hash of the client's address and port",
    }
    turns = "whose turn it is" if name in ("rr", "wrr") else "its own rule"
    return LOADS[name][0] + ", the least is next" if name in LOADS else hashed.get(name, turns)


def _list(kept: Kept, name: str) -> list[tuple[Any, int, int, str]]:
    """(server, open, closed, what the scheduler compares) from the head of the list: the one added last."""
    found = []
    for peer in reversed(kept.decision.candidates):
        open_, over = connections(kept.state, peer)
        value = LOADS[name][1](open_, over, peer.weight) if name in LOADS else None
        found.append((peer, open_, over, "" if value is None else f"{value:,g}"))
    return found


def _looked(kept: Kept, name: str) -> str:
    """What the scheduler goes by now: the numbers that it compares, or what it made of the last client's address."""
    if name in LOADS:
        return ", ".join(value for *_, value in _list(kept, name)[: _cut(kept)])
    if kept.last and name == "sh":
        slot, many = _slot(kept.last.key.source), len(kept.decision.candidates)
        return f"slot {slot}: {slot} % {many} = {slot % many}"
    if kept.last and name == "mh":
        slot = _siphash(_number(kept.last.key.source) + kept.last.key.port, OFFSET) % PRIME
        return f"port {kept.last.key.port}: slot {slot:,}"
    return f"bar {kept.state['bar']}" if "bar" in kept.state else ""


def _next(kept: Kept) -> str | None:
    """The server that a connection would get now; None where it depends on who comes."""
    policy, peers = balancer(kept.decision.balancer), kept.decision.candidates
    if policy.hashes:
        return None
    index = policy.pick(peers, deepcopy(kept.state), Random(0), path.key_of(kept.decision), 0.0)
    return None if index is None else peers[index].name


def _cut(kept: Kept) -> int:
    """How many servers of a list are shown."""
    return MOST if len(kept.decision.candidates) <= MOST else MOST - 1


def _card(kept: Kept, name: str, x: float, y: float, tall: float, comes: Picked | None) -> list[str]:
    """A node: its list, the server that is next, and the connection that has just come in."""
    edge = f'stroke="{DOT}" stroke-width="3"' if comes else f'stroke="{LINE}"'
    parts = [f'<rect x="{x + 2:.1f}" y="{y}" width="{CARD - 8:.1f}" height="{tall}" rx="5" fill="{PAPER}" {edge}/>']
    lines = [(8, f"{kept.decision.place.name}: {kept.many:,} so far", True)]
    found, after = _list(kept, name), _next(kept)
    for peer, open_, over, value in found[: _cut(kept)]:
        mark = "▸ " if peer.name == after else ""
        lines.append((20, f"{mark}{peer.name}, {open_} + {over}" + f": {value}" * bool(value), peer.name == after))
    if len(found) > MOST:
        lines.append((20, f"and {len(found) - MOST + 1} more", False))
    if name not in LOADS:
        lines.append((8, _looked(kept, name), False))
    for i, (left, told, bold) in enumerate(lines):
        parts.append(f"<g>{text(x + left, y + 17 + i * ROW, told, bold=bold, room=CARD - left - 14)}</g>")
    if comes and comes.new:
        row = min(len(found) - 1 - comes.index, MOST - 1) + 1
        down, right = y + 12 + row * ROW, x + CARD - 22
        parts += dot([(right, y + 6), (right, down), (right - 12, down)])
    return parts
