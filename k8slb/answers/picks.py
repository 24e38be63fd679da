"""What a balancer picks, connection after connection, in a small world of its own.

The virtual address is 10.96.0.10:80. The i-th name is the pod 10.244.1.(2+i):8080, or the name itself where it is an
ip:port. Connection k comes from 10.244.0.2, or from client k mod N of the clients 10.245.(1+k//250).(1+k%250), port
20000+k. It is over at once and stays counted as closed, unless it is held.

Connections open every 10 ms. One that closes was a request answered after as long as it was open, at least those 10 ms:
this is what balancers that go by answer times learn.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from math import inf
from random import Random
from textwrap import wrap

from ..balancers import balancer
from ..balancers.base import Key, Peer, closed, opened
from ..errors import InputError, shown, whole

EVERY = 0.01  # seconds from one connection to the next


@dataclass(frozen=True)
class Picks:
    """The name picked for each connection in order (None: refused), and how often each name was."""

    picks: tuple[str | None, ...]
    counts: Mapping[str, int]

    def to_dict(self) -> dict[str, object]:
        return {"picks": list(self.picks), "counts": dict(self.counts)}

    def __str__(self) -> str:
        said = [name or "-" for name in self.picks[:2000]]
        if max(map(len, said)) == 1:
            said = ["".join(said[i : i + 10]) for i in range(0, len(said), 10)]
        lines = wrap(" ".join(said), 66, break_on_hyphens=False, break_long_words=False)
        if len(self.picks) > 2000:
            lines.append(f"... {len(self.picks):,} in all")
        counts = self.counts | ({"refused": self.picks.count(None)} if None in self.picks else {})
        rows = [f"{name:<12} {n:>9,} {n / len(self.picks):>7.1%}" for name, n in counts.items()]
        return "\n".join([*lines, "", *rows])


def picks(
    name: str | Callable,
    weights: Mapping[str, int] | None = None,
    n: int | None = None,
    hold: float | Mapping[str, int] = 0,
    clients: int | None = None,
    keys: Sequence[str] | None = None,
    seed: int = 0,
) -> Picks:
    """The picks of the balancer `name` for `n` connections (60, or one for each client or key).

    `name` may be a function of one's own as well: pick(peers, state, rng, key, now) -> index | None.
    `weights` maps the peers' names to weights, in the order in which they are added (three of weight 1: a, b, c).
    `hold`: connection k is closed just before connection k + hold opens (0: at once; math.inf: never); a mapping says
    it for each name. `keys` are what a hash works on, in turn, in place of the client's address. InputError otherwise.
    """
    policy, names = balancer(name), list(weights := weights or {"a": 1, "b": 1, "c": 1})
    if clients is not None:
        sources = [f"10.245.{1 + k // 250}.{1 + k % 250}" for k in range(whole(clients, "clients", 1, 63_750))]
    sources = keys if keys is not None else sources if clients else ["10.244.0.2"]
    n = whole((len(sources) if keys or clients else 60) if n is None else n, "n", 1, 1_000_000)
    peers = [Peer(_address(p, i), whole(weights[p], f"the weight of {p}", 0, 65_535)) for i, p in enumerate(names)]
    holds = hold if isinstance(hold, Mapping) else dict.fromkeys(names, hold)
    if not sources:
        raise InputError("there is no key", expected="a key a line")
    if len({p.address for p in peers}) < len(peers):
        raise InputError("two peers have one address", expected="names, or addresses that differ")
    if unknown := holds.keys() - set(names):
        raise InputError(f"{shown(min(unknown))} is held but is no peer", expected="one of: " + ", ".join(names))
    held = [h if (h := holds.get(p, 0)) == inf else whole(h, "the opens to hold for", 0, 10**9) for p in names]
    state, rng, due, picked = {}, Random(whole(seed, "the seed", 0, 2**64 - 1)), defaultdict(list), []
    for k in range(n):
        for peer, opens in due.pop(k, ()):
            closed(state, peer)
            if policy.answered:
                policy.answered(state, peer, opens * EVERY, k * EVERY)
        source = sources[k % len(sources)]
        key = Key(source, 20_000 + k % 40_000, source if keys else "10.96.0.10", source)
        index = policy.pick(peers, state, rng, key, k * EVERY)
        picked.append(None if index is None else names[index])
        if index is not None:
            opened(state, peers[index])
            opens = max(1, held[index])
            due[k + opens].append((peers[index], opens))
    counted = Counter(picked)
    return Picks(tuple(picked), {p: counted[p] for p in names})


def _address(name: str, index: int) -> str:
    if not re.fullmatch(r"\d+\.\d+\.\d+\.\d+:\d{1,5}", name):
        return f"{IPv4Address('10.244.1.2') + index}:8080"
    try:
        return f"{IPv4Address(name.rpartition(':')[0])}:{name.rpartition(':')[2]}"
    except ValueError:
        raise InputError(f"{shown(name)} is no address of a peer", expected="IP:PORT, or a name") from None
