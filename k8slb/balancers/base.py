"""What a balancer is, and the few values it works on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any, NamedTuple

from ..manifests import table_of


class Peer(NamedTuple):
    """One to pick from: the address it is known by while others come and go, and its weight.

    A decision's Candidate has both too, so `decision.candidates` are peers as they stand.
    """

    address: str
    weight: int = 1


class Key(NamedTuple):
    """What a hash may use: the client's address and port, the address it asked for, and a text such as a URI."""

    source: str
    port: int = 0
    destination: str = ""
    text: str = ""


Pick = Callable[[Sequence[Peer], dict, Random, Key | None, float], int | None]
Exact = Callable[[Sequence[Peer], Key | None], list[Fraction]]


@dataclass(frozen=True)
class Balancer:
    """A way to pick one of n peers.

    `pick(peers, state, rng, key, now)` gives an index into `peers` or None (refused):
    - `peers` have `.address` and `.weight` (Peer, or a decision's candidates), in the order in which they were added;
      they may differ from one pick to the next: what `state` remembers goes by address.
    - `state` is a dict of this balancer's own for one `Decision.state` (a virtual server on one node), empty at first.
    - `key` is the Key of the connection (request, at layer 7), None only for the memoryless; `now` is in seconds.

    What whoever calls it owes, by what the balancer says of itself:
    - `counts`: call `opened(state, peer)` after a pick, `closed(state, peer)` when that connection ends and
      `forgotten(state, peer)` when its entry is dropped (IPVS: 120 s after a close, 10 s after a reset); a connection
      that is over at once is opened and closed before the next pick.
    - `answered`: call `answered(state, peer, seconds, now)` when a request that took `seconds` is answered; None if the
      balancer learns nothing from that.
    - `hashes`: the same peers and key give the same pick, so one call does for all that share a key.
    - `memoryless`: each pick is drawn from `exact`, whatever was picked before.
    - `cycle` (+1 or -1): round robin; while peers stay the same and none has weight 0, pick k + 1 is
      (pick k + cycle) mod n, and state["at"] is the last pick.

    `again`: for the next try of a request it may pick whoever has just failed.

    `exact(peers, key)` gives each peer's share where it does not depend on load (None: it does): of a whole period, or
    of a hash for this key.

    `kernel` says that `queues` picks the same for many at once, where all weights are equal: "least" (the fewest open
    connections, of several such the one added last), "two" (drawn evenly, the first unless it has more) or "two others"
    (two that differ).
    """

    name: str
    pick: Pick
    source: str
    exact: Exact | None = None
    memoryless: bool = False
    cycle: int = 0
    counts: bool = False
    hashes: bool = False
    kernel: str = ""
    again: bool = False
    answered: Callable[[dict, Peer, float, float], None] | None = None


SOURCES = table_of("balancers")
BALANCERS: dict[str, Balancer] = {}


def named(*names: str, **said: Any) -> Callable[[Pick], Pick]:
    """Makes the pick below it a Balancer of each name, with `said` of it; its source is in data/balancers.json."""

    def known(pick: Pick) -> Pick:
        BALANCERS.update((name, Balancer(name, pick, SOURCES[name], **said)) for name in names)
        return pick

    return known


def hashing(name: str) -> Callable[[Pick], Pick]:
    """`named` for a balancer that gives the same pick for the same key: all of that key's share to one."""

    def known(pick: Pick) -> Pick:
        def exact(peers: Sequence[Peer], key: Key | None) -> list[Fraction]:
            picked = pick(peers, {}, Random(0), key, 0.0)
            return [Fraction(i == picked) for i in range(len(peers))]

        return named(name, exact=exact, hashes=True)(pick)

    return known


def equal_shares(peers: Sequence[Peer], key: Key | None = None) -> list[Fraction]:
    return weight_shares([Peer(p.address, int(p.weight > 0)) for p in peers])


def weight_shares(peers: Sequence[Peer], key: Key | None = None) -> list[Fraction]:
    total = sum(p.weight for p in peers) or 1  # none takes anything
    return [Fraction(p.weight, total) for p in peers]


def connections(state: dict, peer: Peer) -> list[int]:
    """[active, inactive] of a peer: those open, and those closed but still in the table."""
    try:
        return state["connections"][peer.address]
    except KeyError:
        return state.setdefault("connections", {}).setdefault(peer.address, [0, 0])


def opened(state: dict, peer: Peer) -> None:
    connections(state, peer)[0] += 1


def closed(state: dict, peer: Peer) -> None:
    forgotten(state, peer, -1)
    connections(state, peer)[0] -= 1


def forgotten(state: dict, peer: Peer, many: int = 1) -> None:
    connections(state, peer)[1] -= many
