"""What ingress-nginx 1.15 picks with (rootfs/etc/nginx/lua/balancer)."""

from collections.abc import Sequence
from random import Random
from typing import Any

from .base import Balancer, equal_shares

SOURCE = "ingress-nginx 1.15.1 round_robin.lua over lua-resty-balancer: a table walk with a random start"


def round_robin(peers: Sequence[int], state: dict, rng: Random, key: Any = None, now: float = 0.0) -> int | None:
    """In turn, from a random start; each worker process of each replica counts for itself."""
    if not peers:
        return None
    state["at"] = (state["at"] + 1 if "at" in state else rng.randrange(len(peers))) % len(peers)
    return state["at"]


INGRESS_NGINX = (Balancer("ingress-nginx-round-robin", round_robin, SOURCE, equal_shares, cycle=1),)
