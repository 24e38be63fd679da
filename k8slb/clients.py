"""Who sends: users with addresses of their own, or behind one NAT.

The address plan. Outside: 198.51.100.10 to .254, then 198.18.0.1 onwards (set aside for documentation and for tests:
RFC 5737, RFC 2544). Inside: client pods that the model adds, on each node in turn; the first has the address that a
trace names, the others have free addresses of the pods' network, from its end. The address a NAT shares is the first.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice

from .cluster import Cluster
from .decision import Timeline
from .errors import InputError, shown, whole
from .few import np
from .layers import mesh
from .path import Spread, Start, mixed, shares
from .traffic import CLIENT

MAX_CLIENTS = 100_000
PROXIES = 1000  # of a mesh, beside client pods; beyond that many, clients share them
_NETWORK = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?")
_UNTOLD = ("Pod", "EndpointSlice", "Endpoints")  # kinds whose addresses are pods', which no client has


@dataclass(frozen=True)
class Clients:
    """`address_of` has an address's index for each user, `start_of` a start's for each address: addresses between
    which nothing in the input tells a difference share a start, and so their decisions."""

    addresses: tuple[str, ...]
    address_of: np.ndarray
    starts: tuple[Start, ...]
    start_of: np.ndarray
    behind_nat: float = 0.0

    @property
    def users(self) -> int:
        return len(self.address_of)

    def start_at(self, address: int) -> Start:
        """Where the requests of the `address`-th address set out, with it as their source."""
        start = self.starts[self.start_of[address]]
        return replace(start, flow=replace(start.flow, source=self.addresses[address]))

    def shares(self, timeline: Timeline, hashed: bool) -> Spread:
        """What can become of a request, over all users; address by address where a balancer hashes them."""
        users: Counter[Start] = Counter()
        for address, count in Counter(self.address_of.tolist()).items():
            users[self.start_at(address) if hashed else self.starts[self.start_of[address]]] += count
        return mixed((Fraction(count, self.users), shares(timeline, start)) for start, count in users.items())


def clients_of(moments: Sequence[Cluster], begin: Start, count: int = 1, behind_nat: float = 0.0) -> Clients:
    """`count` users, a fraction `behind_nat` of them behind one address. InputError for what cannot be."""
    count = whole(count, "clients", 1, MAX_CLIENTS)
    if type(behind_nat) not in (int, float) or not 0 <= behind_nat <= (count > 1):
        expected = "from 0 to 1, of several clients (clients=N)"
        raise InputError(f"{shown(behind_nat)} of {count:,} clients cannot be behind one NAT", expected=expected)
    added = bool(begin.assumptions)  # the client pod is one that the model adds
    if count > 1 and not added and begin.place.name != CLIENT:
        raise InputError(f"from {begin.place} comes one client, not {count:,}", expected="clients=1 or another client")
    shared = np.diff(np.floor(np.arange(count + 1) * behind_nat + 1e-9)) > 0  # spread evenly among the users
    address_of = np.where(shared, 0, np.cumsum(~shared) - 1 + shared.any())
    first = begin.flow.source
    others = (a for a in (_inside(moments) if added else _outside()) if a != first)
    addresses = (first, *islice(others, int(address_of.max())))
    if len(addresses) <= address_of.max():
        raise InputError(f"the pods' network has no room for {count:,} clients", expected=f"up to {len(addresses):,}")
    nodes = [n.name for n in moments[0].nodes if all(n.name in m.node for m in moments)]
    proxies = PROXIES if added and mesh.member_at(moments[0], begin.place).mesh else 1  # each pod has one of its own
    found: dict[tuple, int] = {}
    start_of = np.zeros(len(addresses), np.int64)
    starts: list[Start] = []
    for i, (address, kind) in enumerate(zip(addresses, _told_apart(moments, addresses), strict=True)):
        via = nodes[i % len(nodes)] if added and i and nodes and begin.via is None and proxies == 1 else begin.via
        place = begin.place._replace(name=f"{begin.place.name} {i % proxies + 1}") if i % proxies else begin.place
        start_of[i] = found.setdefault((via, kind, place), len(starts))
        if start_of[i] == len(starts):
            starts.append(replace(begin, place=place, flow=replace(begin.flow, source=address), via=via))
    return Clients(addresses, address_of, tuple(starts), start_of, behind_nat)


def _outside() -> Iterator[str]:
    yield from (str(ipaddress.ip_address(CLIENT) + k) for k in range(245))
    yield from map(str, ipaddress.ip_network("198.18.0.0/15").hosts())


def _inside(moments: Sequence[Cluster]) -> Iterator[str]:
    network = moments[0].running.network
    addresses = (str(network[-k]) for k in range(2, network.num_addresses))
    yield from (a for a in addresses if not any(a in m.pod_at or a in m.node_at for m in moments))


def _told_apart(moments: Sequence[Cluster], addresses: Sequence[str]) -> list[tuple[bool, ...]]:
    """For each address which of the networks that the input names anywhere hold it, and others do not."""
    if len(addresses) == 1:
        return [()]
    texts = [repr(o.raw) for m in moments for o in m.objects if o.kind not in _UNTOLD]
    texts += [f"{m.running.cluster_cidr} {[n.spec.podCIDR for n in m.nodes]}" for m in moments]
    numbers = np.array([int(ipaddress.ip_address(a)) for a in addresses], dtype=np.int64)
    own, columns = set(addresses), [np.zeros(len(addresses), bool)]
    for named in sorted({n for text in texts for n in _NETWORK.findall(text) if "/" in n or n in own}):
        with suppress(ValueError):  # looks like one and is none, such as a version
            network = ipaddress.ip_network(named, strict=False)
            inside = (numbers & int(network.netmask)) == int(network.network_address)
            columns += [] if inside.all() or not inside.any() else [inside]
    return list(zip(*(column.tolist() for column in columns), strict=True))
