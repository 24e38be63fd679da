"""Queues as stacks: each pod with the requests that it has not answered, and the one that has just been sent to it.

With a clock a request is in its pod's stack from when it is sent until it is answered (what proxies take is in that):
as many as the pod has workers are in work, the others wait above them. Without a clock nothing that takes time ends, so
a stack is what was assigned so far, but for what failed at once.
"""

from collections import Counter
from heapq import nlargest
from html import escape
from itertools import repeat
from typing import Any, NamedTuple

from ...answers.latency import span
from ...scheduling import some
from ..panels import Drawn, Panel
from ..svg import BAR, DOT, GROUND, INK, WIDTH, frame, text, width

MOST, LOW, HIGHEST = 12, 8, 25  # pods that are drawn; blocks that there is room for, and where one pod has more
COLUMN, BLOCK, TOP = (WIDTH - 2) / MOST, 10, 26
TIMED = ("pod", "in work", "waiting", "total", "answered", "mean so far")
COUNTED = ("pod", "assigned so far", "failed at once", "in the stack")
LOOKS = {"waiting": f'fill="{GROUND}"', "just sent": f'fill="{DOT}" stroke-width="2"'}


class Stack(NamedTuple):
    """What a pod has: `total` requests, `busy` of them in work, after it answered `done`, `lately` of these since the
    request before; `mean` says how long those took."""

    pod: str
    total: int
    busy: int
    done: int
    lately: int
    mean: str


def stacks_of(outcome: Any, at: int) -> tuple[list[Stack], int | None]:
    """(The stacks just after request `at` (from 1) was sent, in order of address; the index of the one it went to.)"""
    run, pods, timed = outcome.run, list(outcome.counts()), outcome.run.latency is not None
    names, codes = run.columns.get("pod", ([], None))
    told, status = run.columns.get("status", ([], None))
    codes, status = ([-1] * at if part is None else part[:at].tolist() for part in (codes, status))
    times = list(zip(run.time[:at].tolist(), run.latency[:at].tolist(), strict=True)) if timed else []
    now, before = (times[-1][0], times[max(0, at - 2)][0]) if timed else (0.0, 0.0)
    total, done, lately, spent = Counter(), Counter(), Counter(), Counter()
    for code, answer, (sent, took) in zip(codes, status, times or repeat((0.0, 0.0)), strict=False):
        over = sent + took <= now if timed else told[answer][0] == "5" if answer >= 0 else False
        (done if over else total)[code] += 1
        if over:
            spent[code] += took
            lately[code] += sent + took > before
    found, where = [], {name: code for code, name in enumerate(names)}
    for pod in pods:
        code = where.get(pod)
        busy = min(total[code], run.worked.get(pod, (0, 1))[1]) if timed else total[code]
        mean = span(spent[code] / done[code]) if timed and done[code] else ""
        found.append(Stack(outcome.name_of(pod) or pod, total[code], busy, done[code], lately[code], mean))
    return found, pods.index(names[codes[-1]]) if codes[-1] >= 0 else None


def stacks(panel: Panel, at: int) -> Drawn:
    """The scene after `at` requests; before the first step as the last request of the run leaves it."""
    outcome, timed = panel.outcome, panel.outcome.run.latency is not None
    found, to = stacks_of(outcome, at or outcome.requests)
    few, column = len(found) <= MOST, COLUMN * (1.5 if len(found) <= MOST / 1.5 else 1)
    most = nlargest(MOST if few else MOST - 1, range(len(found)), lambda i: (bool(at) and i == to, found[i].total))
    ground = TOP + BLOCK * (HIGHEST if max(stack.total for stack in found) > LOW else LOW)
    parts, rows = [], [_row(found[i], timed) for i in sorted(most)]
    for x, i in enumerate(sorted(most)):
        parts += _drawn(1 + x * column, ground, found[i], bool(at) and i == to, column)
    if not few:
        tallest = max(found[i].total for i in set(range(len(found))) - set(most))
        more = f"and {len(found) - len(most):,}", "more, the", "tallest", f"has {tallest:,}"
        parts += [text(WIDTH - COLUMN, ground - 28 + 15 * i, line) for i, line in enumerate(more)]
        rows.append((" ".join(more), *[""] * (len(rows[0]) - 1)))
    x = 1.0
    for name, how in {"in work" if timed else "assigned": f'fill="{BAR}"', **LOOKS}.items():
        if timed or name != "waiting":
            parts += [_block(x, ground + 44, how, 24), text(x + 32, ground + 53, name)]
            x += width(name) + 60
    told = _told(found, to, at, outcome.requests, timed) + _retried(outcome, at or outcome.requests)
    drawing = frame(ground + 60, told, parts) + f"<p role='status'>{escape(told)}</p>"
    return Drawn(drawing, TIMED if timed else COUNTED, tuple(rows))


def _told(found: list[Stack], to: int | None, at: int, requests: int, timed: bool) -> str:
    high, none = max(s.total for s in found), sum(not s.total for s in found)
    tallest = some((s.pod for s in found if s.total == high), 2)
    now = f"The tallest stack is {high:,} ({tallest}); {none:,} of {len(found):,} pods have none."
    if not at:
        return f"Before the first step: as the last of {requests:,} requests leaves them. {now}"
    gone = some(f"{s.lately:,} by {s.pod}" for s in found if s.lately)
    last = "no pod" if to is None else f"{found[to].pod}, which then has {found[to].total:,}"
    return f"Request {at:,} goes to {last}." + f" Answered since the one before: {gone or 'none'}." * timed + f" {now}"


def _retried(outcome: Any, at: int) -> str:
    """What the stacks leave out: a request stands where its last try came to."""
    tries, codes = outcome.run.columns.get("tries", ([], None))
    more = 0 if codes is None else sum(int(tries[code]) - 1 for code in codes[:at].tolist())
    return f" Retries so far: {more:,}; a request is counted at the pod of its last try alone." * bool(more)


def _row(stack: Stack, timed: bool) -> tuple[str, ...]:
    pod, total, busy, done, _, mean = stack
    numbers = (busy, total - busy, total, done) if timed else (total + done, done, total)
    return (pod, *(f"{n:,}" for n in numbers), *[mean] * timed)


def _drawn(x: float, ground: float, stack: Stack, arrived: bool, column: float) -> list[str]:
    """The blocks from the ground up, those in work first; a stack too high for that is cut, with its number in it."""
    blocks, wide = min(stack.total, HIGHEST), column - 12
    top, middle = ground - blocks * BLOCK, x + wide / 2
    hows = [f'fill="{BAR}"'] * min(stack.busy, blocks) + [LOOKS["waiting"]] * (blocks - stack.busy)
    if arrived and blocks:
        hows[-1] = LOOKS["just sent"]
    parts = [_block(x, ground - (i + 1) * BLOCK, how, wide) for i, how in enumerate(hows)]
    if stack.total > HIGHEST:
        hidden = f'<rect x="{x:.1f}" y="{top + 4 * BLOCK}" width="{wide:.1f}" height="{3 * BLOCK}" fill="{GROUND}"/>'
        parts.append(f"<g>{hidden}{text(middle, top + 5.9 * BLOCK, f'{stack.total:,}', 'middle', True)}</g>")
    if arrived:  # it comes from above and ends on the stack
        ball = f'<circle class="k8slb-dot" r="7" fill="{DOT}" stroke="{INK}" stroke-width="2"'
        parts.append(f"{ball} style=\"offset-path:path('M{middle:.1f} 8L{middle:.1f} {top - 9}')\"/>")
    line = f'<path d="M{x:.1f} {ground}h{wide:.1f}" stroke="{INK}" stroke-width="2"/>'
    under = text(middle, ground + 16, stack.pod, "middle", room=column)
    return [*parts, line, under, text(middle, ground + 32, f"{stack.total:,}", "middle", True)]


def _block(x: float, y: float, how: str, wide: float) -> str:
    return f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{BLOCK - 1}" stroke="{INK}" {how}/>'
