"""What the requests of a run met at one layer, one after the other: the decision, who was picked, for which key."""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from itertools import islice
from typing import Any, NamedTuple

from ... import path
from ...balancers import balancer
from ...balancers.base import Key
from ...decision import Decision
from ..panels import Drawn


class Picked(NamedTuple):
    """`index`: of the decision's candidates; `new`: whether its connection is, so that kube-proxy's rules are met."""

    decision: Decision
    index: int
    new: bool
    key: Key

    @property
    def name(self) -> str:
        return self.decision.candidates[self.index].name


@lru_cache(8)
def decisions(outcome: Any, layer: str) -> list[list[Decision]]:
    """By start of the run's clients: what they can meet at this layer where one of several is picked, the first first.

    A layer "hash" is any whose balancer hashes."""

    def fits(d: Decision) -> bool:
        return (
            bool(d.balancer)
            and not d.splits
            and (d.layer == layer or (layer == "hash" and balancer(d.balancer).hashes))
        )

    met = ([m.decision for m in path.met(outcome.timeline, start)] for start in outcome.run.clients.starts)
    return [[d for d in reversed(every) if fits(d)] for every in met]


def picked(outcome: Any, layer: str, many: int) -> list[Picked | None]:
    """What the first `many` requests of the run met; None for one that met no such decision."""
    return list(islice(_picked(outcome, layer), many))


def _picked(outcome: Any, layer: str) -> Iterator[Picked | None]:
    run, known = outcome.run, decisions(outcome, layer)
    users, dialled, been = run.clients.users, Counter[int](), set()
    for number in range(run.requests):
        connection = int(run.connection[number])
        address = int(run.clients.address_of[connection % users])
        start = int(run.clients.start_of[address])
        seen = {names[codes[number]] for names, codes in run.columns.values() if codes[number] >= 0}
        new = connection not in been
        been.add(connection)
        low, high = path.EPHEMERAL
        port = low + dialled[address] % (high - low + 1)
        dialled[address] += new
        here = ((d, d.place.name in seen or d.flow.to in seen) for d in known[start])
        ways = [(there, d, i) for d, there in here for i, c in enumerate(d.candidates) if c.address in seen]
        if not ways:
            yield None
            continue
        _, decision, index = max(ways, key=lambda way: way[0])
        own, assumed = run.clients.addresses[address], run.clients.starts[start].flow.source
        source = own if decision.flow.source == assumed else ""
        yield Picked(decision, index, new, path.key_of(decision, port, source))


def note(told: str) -> Drawn:
    """In place of a drawing, why there is none."""
    return Drawn(f"<p role='status'>{escape(told)}</p>", (), ())
