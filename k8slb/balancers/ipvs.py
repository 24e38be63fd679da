"""The IPVS schedulers of the Linux kernel (ip_vs 1.2.1, Linux 6.1, recorded pick for pick)."""

from collections.abc import Sequence
from random import Random
from typing import Any

from .base import Balancer, equal_shares


def rr(peers: Sequence[int], state: dict, rng: Random, key: Any = None, now: float = 0.0) -> int | None:
    """Round robin; the list is walked from the peer added last: 2, 1, 0, 2, 1, 0, ..."""
    if not peers:
        return None
    state["at"] = (state.get("at", 0) - 1) % len(peers)
    return state["at"]


IPVS = (Balancer("ipvs-rr", rr, "Linux 6.1 ip_vs_rr, recorded", equal_shares, cycle=-1),)
