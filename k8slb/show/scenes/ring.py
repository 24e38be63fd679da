"""Hashing: the ring of a balancer's points, a client's key on it, and what moved since the panel's own cluster."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import cos, pi, sin
from zlib import crc32

from ... import path
from ...balancers import envoy, ingress_nginx, nginx
from ...balancers.base import Key, Peer
from ...balancers.ipvs import SLOTS, _slot, _walk
from ...balancers.parts import Ring, known, xxh64
from ...balancers.parts import text as key_text
from ...decision import Timeline
from ..panels import Drawn, Panel
from ..svg import DOT, INK, LINE, MISSED, dot, frame, share_text, text
from .picked import decisions, note, picked

HEAD = ("pod", "points", "share of the ring", "moved to it", "requests so far")
MOST, NEAR, RADIUS, OUTER, MIDDLE, LEFT, LONG = (
    12,
    3,
    88,
    99,
    108,
    268,
    620,
)  # pods in the table; points before and after the key
Made = tuple[
    int, Callable[[Sequence[Peer]], Ring], Callable[[Key], int]
]  # how long a ring is, its points, a key's place


def _places(peers: Sequence[Peer]) -> Ring:
    walk = _walk(tuple(max(1, p.weight) for p in peers))
    return [(slot, walk[slot % len(walk)]) for slot in range(SLOTS)]


RINGS: dict[str, Made] = {
    "ingress-nginx-chash": (2**32, lambda p: ingress_nginx._ring(known(p)), lambda key: crc32(key_text(key))),
    "nginx-hash-consistent": (2**32, lambda p: nginx._ring(known(p)), lambda key: crc32(key_text(key))),
    "envoy-ring-hash": (2**64, lambda p: envoy._ring(known(p)), lambda key: xxh64(key_text(key))),
    "ipvs-sh": (SLOTS, _places, lambda key: _slot(key.source)),
}


def arcs(ring: Ring, peers: Sequence[Peer], size: int) -> list[tuple[int, int, str]]:
    """(after this point, up to this one, whose address it is), all around from 0 to `size`."""
    ends = [*ring, (size - 1, ring[0][1])] if ring[-1][0] < size - 1 else ring
    starts = [-1, *(point for point, _ in ends)]
    return [(a, b, peers[i].address) for a, (b, i) in zip(starts, ends, strict=False)]


def moved(before: list[tuple[int, int, str]], after: list[tuple[int, int, str]]) -> list[tuple[int, int, str, str]]:
    """The arcs whose owner is another: (after, up to, whose it was, whose it is)."""
    found, i, j, start = [], 0, 0, -1
    while i < len(before) and j < len(after):
        end = min(before[i][1], after[j][1])
        if before[i][2] != after[j][2]:
            found.append((start, end, before[i][2], after[j][2]))
        start, i, j = end, i + (before[i][1] == end), j + (after[j][1] == end)
    return found


def ring(panel: Panel, at: int) -> Drawn:
    """The scene: the whole ring with what moved, and the part of it around the key of the last request."""
    met = picked(panel.outcome, "hash", at)
    last, found = met[-1] if met else None, [d for every in decisions(panel.outcome, "hash") for d in every]
    decision = last.decision if last else found[-1] if found else None
    if decision is None or decision.balancer not in RINGS:
        return note("Nothing here picks by a ring: no balancer on the way hashes, or it keeps another kind of table.")
    size, made, place = RINGS[decision.balancer]
    peers = decision.candidates
    now = arcs(points := made(peers), peers, size)
    timeline = Timeline.still(panel.cluster)
    was = path.decide(timeline, decision.place, decision.flow).candidates
    old = arcs(made(was), was, size) if was else now
    changed = moved(old, now) if {p.address for p in was} != {p.address for p in peers} else []
    names = {p.address: p.name for p in (*was, *peers)}
    owns, many = Counter[str](), Counter(peers[i].address for _, i in points)
    for a, b, address in now:
        owns[address] += b - a
    comes, so_far = Counter[str](), Counter(p.decision.candidates[p.index].address for p in met if p)
    for a, b, _, address in changed:
        comes[address] += b - a
    shares = [(Fraction(owns[p.address], size), Fraction(comes[p.address], size)) for p in peers]
    rows = [
        (p.name, f"{many[p.address]:,}", *map(share_text, share), f"{so_far[p.address]:,}")
        for p, share in zip(peers[:MOST], shares, strict=False)
    ]
    if len(peers) > MOST:
        rest = (share_text(sum(s[k] for s in shares[MOST:])) for k in (0, 1))
        others = [sum(c[p.address] for p in peers[MOST:]) for c in (many, so_far)]
        rows.append((f"and {len(peers) - MOST} more", f"{others[0]:,}", *rest, f"{others[1]:,}"))
    total = share_text(Fraction(sum(comes.values()), size))
    rows.append(("all", f"{len(points):,}", "1 = 100.0%", total, f"{sum(so_far.values()):,}"))
    told = f"The ring of {len(points):,} points for {len(peers)} pod{'s' * (len(peers) != 1)}"
    told += f"; since {len(was)} pods {total} of it moved." if changed else "."
    parts = [f'<circle cx="{MIDDLE}" cy="{MIDDLE}" r="{RADIUS}" fill="none" stroke="{LINE}" stroke-width="10"/>']
    lines = "".join(
        f"M{_on(a, size)}A{OUTER} {OUTER} 0 {int(2 * (b - a) > size)} 1 {_on(b, size)}" for a, b, *_ in changed
    )
    parts.append(f'<path d="{lines}" fill="none" stroke="{MISSED}" stroke-width="8"/>')
    parts.append(text(LEFT, 16, f"{len(points):,} points; the key and the next ones", bold=True))
    if changed:
        parts.append(text(MIDDLE, MIDDLE - 4, f"{total.rpartition(' = ')[2]} moved", "middle", bold=True))
        parts.append(text(MIDDLE, MIDDLE + 14, "(the outer arcs)", "middle"))
    if last is None:
        told += " Step puts a client's key on it." if not at else " This request's key is not known."
    else:
        value = place(last.key)
        key = last.key.source if decision.balancer == "ipvs-sh" else key_text(last.key).decode()
        told = f"Request {at:,}, key {key}: the next point is one of {last.name}. {told}"
        parts += _near(points, value, size, [names[p.address] for p in peers], changed, names, key)
    return Drawn(frame(2 * MIDDLE, told, parts) + note(told).svg, HEAD, tuple(rows))


def _on(value: int, size: int, radius: float = OUTER) -> str:
    """Where a hash stands on the circle, 0 on top."""
    turn = 2 * pi * (value + 1) / size
    return f"{MIDDLE + radius * sin(turn):.1f} {MIDDLE - radius * cos(turn):.1f}"


def _near(points: Ring, value: int, size: int, pods: list[str], changed: list, names: dict, key: str) -> list[str]:
    """The points around the key, all as far apart, and the key's way to the next one."""
    x, y = map(float, _on(value, size, RADIUS).split())
    at, gap, line = bisect_left(points, (value, -1)), LONG / (2 * NEAR), 130
    parts = [f'<circle cx="{x}" cy="{y}" r="6" fill="{DOT}" stroke="{INK}" stroke-width="2"/>']
    parts.append(f'<path d="M{LEFT} {line}H{LEFT + LONG}" stroke="{LINE}" stroke-width="3"/>')
    for n in range(-NEAR, NEAR):
        point, owner = points[(at + n) % len(points)]
        here, taken = LEFT + (n + NEAR + 0.5) * gap, n == 0
        was = next((names[before] for a, b, before, _ in changed if a < point <= b), "")
        if was:
            parts.append(
                f'<path d="M{max(LEFT, here - gap + 4):.0f} {line + 8}H{here:.0f}" stroke="{MISSED}" stroke-width="6"/>'
            )
            parts.append(text(here, line + 34, f"was {was}", "middle", room=gap - 4))
        parts.append(f'<path d="M{here:.0f} {line - 10}v20" stroke="{INK}" stroke-width="{3 if taken else 1.5}"/>')
        parts.append(text(here, line - 18, pods[owner], "middle", bold=taken, room=gap - 4))
    end = LEFT + (NEAR + 0.5) * gap
    parts.append(text(end - gap / 2, 52, f"key {key}", "middle", room=400))
    return [*parts, *dot([(end - gap / 2, 60), (end - gap / 2, line), (end, line)])]
