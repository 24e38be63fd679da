"""kube-proxy's chain of rules in iptables mode: a connection falls past the rules that do not take it."""

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from ...layers.kube_proxy.lottery import walk
from ..panels import Drawn, Panel
from ..svg import BAR, INK, LINE, MISSED, PAPER, dot, frame, share_text, text
from .picked import decisions, note, picked

HEAD = ("rule", "probability", "comes to it", "overall share")
MOST, ROW, BARS, LONG, RIGHT = 12, 36, 262, 350, 646  # rules that are drawn, their height; where bars begin and end


class Rule(NamedTuple):
    """A rule of the lottery: its probability, and where it leads."""

    name: str
    chance: Fraction
    target: str = ""
    about: str = ""  # beneath its name


def chain(rules: Sequence[Rule], taken: Sequence[int | None], told: str, falls: bool, door: str, about: str) -> Drawn:
    """The rules from the top, `door` above them, and of the connections so far who took each (None: no rule). The last
    one `falls` as a dot, past the frames (what comes to a rule) to the filled part that takes it."""
    steps, counts = walk([rule.chance for rule in rules]), Counter(taken)
    rows = [
        (r.name, *(str(r.chance), *map(share_text, step)), counts[i])
        for i, (r, step) in enumerate(zip(rules, steps, strict=True))
    ]
    cut = len(rules) if len(rules) <= MOST else MOST - 1
    bands = [
        (r.name, r.about, r.target, *step, counts[i])
        for i, (r, step) in enumerate(zip(rules[:cut], steps, strict=False))
    ]
    if cut < len(rules):
        rest = sum((takes for _, takes in steps[cut:]), Fraction(0))
        so_far = sum(counts[i] for i in range(cut, len(rules)))
        bands.append((f"and {len(rules) - cut} more rules", "", "their pods", steps[cut][0], rest, so_far))
        rows[cut:] = [(bands[-1][0], "", share_text(steps[cut][0]), share_text(rest), so_far)]
    if left := 1 - sum(takes for _, takes in steps):
        bands.append(("no rule takes it", "", "nothing answers", left, left, counts[None]))
        rows.append(("none", "", share_text(left), share_text(left), counts[None]))
    total, parts = len(taken), [text(0, 17, door, bold=True, room=BARS - 8), text(BARS, 17, about, room=660)]
    for i, (name, under, target, comes, takes, many) in enumerate(bands):
        y, start, chance = 28 + i * ROW, BARS + LONG * float(1 - comes), f": {rules[i].chance}" if i < cut else ""
        colour = MISSED if left and i == len(bands) - 1 else BAR
        for share, fill in ((comes, PAPER), (takes, colour)):
            box = f'x="{start:.1f}" y="{y}" width="{LONG * float(share):.1f}" height="{ROW - 8}"'
            parts.append(f'<rect {box} fill="{fill}" stroke="{INK if fill == colour else LINE}"/>')
        parts.append(text(0, y + (12 if under else 19), f"{name}{chance}", bold=True, room=BARS - 8))
        parts.append(text(0, y + 26, under, room=BARS - 8) if under else "")
        so_far = f"{many:,} of {total:,} so far" if total else ""
        parts.append(text(RIGHT, y + 12, target or f"takes {share_text(takes)}", room=256))
        parts.append(text(RIGHT, y + 26, f"{share_text(takes)}{', ' * bool(so_far)}{so_far}" if target else so_far))
    if falls and taken:
        at = len(bands) - 1 if taken[-1] is None else min(taken[-1], cut if cut < len(rules) else len(rules))
        x = BARS + LONG * float(1 - bands[at][3] + bands[at][4] / 2)
        y = 28 + at * ROW + (ROW - 8) / 2
        parts += dot([(x, 25), (x, y), (RIGHT - 14, y)])
    high = 28 + len(bands) * ROW
    shares = ", ".join(f"{name} {share_text(takes)}" for name, _, _, _, takes, _ in bands)
    return Drawn(
        frame(high, f"{told} The overall shares: {shares}.", parts) + note(told).svg,
        (*HEAD, "so far"),
        tuple(tuple(map(str, row)) for row in rows),
    )


def cascade(panel: Panel, at: int) -> Drawn:
    """The scene: the chain of the node whose rules the last request met, as `iptables-save` has it there."""
    met = picked(panel.outcome, "kube-proxy", at)
    last = met[-1] if met else None
    known = (
        last.decision if last else next((d for every in decisions(panel.outcome, "kube-proxy") for d in every), None)
    )
    if known is None:
        return note("No rule of a Service picks a pod here.")
    if (mode := known.facts["mode"]) != "iptables":
        how = (
            f"one rule draws a number below {len(known.candidates)} and looks the pod up"
            if mode == "nftables"
            else "a list"
        )
        return note(f"In {mode} mode there is no chain to fall through: {how}.")
    if any(memory.kind == "ClientIP" for memory in known.remembers):
        return note("With ClientIP affinity rules that remember addresses stand before the lottery: not drawn here.")
    node, rules = known.place.name, [rule_of(known, i) for i in range(len(known.candidates))]
    taken = [p.index for p in met if p and p.new and p.decision.state == known.state]
    if last is None:
        told = (
            f"Step lets a connection fall through the rules of {node}." if not at else "It met no rule of kube-proxy."
        )
    elif not last.new:
        told = f"The connection of request {at:,} is open: conntrack knows its pod, {last.name}, and it meets no rule."
    else:
        passed = f"falls past {last.index} and is taken" if last.index else "is taken"
        told = f"On {node} request {at:,} {passed} by rule {last.index + 1} of {len(rules)}, to {last.name}."
    into = known.rules[known.candidates[0].address].split()[1]
    about = f"from KUBE-SERVICES, for {known.flow.to}; frame: what comes to a rule, filled: what it takes"
    return chain(rules, taken, told, bool(last and last.new), into, about)


def rule_of(decision: Any, index: int) -> Rule:
    """A rule of kube-proxy's lottery, read off the text of the node's rules."""
    peer = decision.candidates[index]
    rule = decision.rules[peer.address]
    chance = re.search(r"--probability (\S+)", rule)
    exact = Fraction(chance[1]).limit_denominator(len(decision.candidates)) if chance else Fraction(1)
    return Rule(f"rule {index + 1}", exact, f"{peer.name} {peer.address}", rule.split()[-1])
