"""At random, whatever was picked before: each peer with the same probability, or by its weight."""

from collections.abc import Sequence
from random import Random
from typing import Any

from .base import equal_shares, named, weight_shares
from .parts import weighted

EVENLY = "iptables-random", "nftables-random", "ztunnel-random", "spec-random", "dns-shuffle"
EVENLY += "cloud-lb-flow-hash", "cloud-lb-zone"
WEIGHED = "gateway-weights", "envoy-weighted-clusters", "ingress-nginx-canary", "pod-answers"


@named(*EVENLY, exact=equal_shares, memoryless=True)
def pick(peers: Sequence[int], state: dict, rng: Random, key: Any = None, now: float = 0.0) -> int | None:
    return rng.randrange(len(peers)) if peers else None


named(*WEIGHED, exact=weight_shares, memoryless=True)(weighted)
