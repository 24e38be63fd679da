"""Each peer with the same probability, whatever was picked before."""

from collections.abc import Sequence
from random import Random
from typing import Any

from .base import Balancer, equal_shares


def pick(peers: Sequence[int], state: dict, rng: Random, key: Any = None, now: float = 0.0) -> int | None:
    return rng.randrange(len(peers)) if peers else None


def _uniform(name: str, source: str) -> Balancer:
    return Balancer(name, pick, source, equal_shares, memoryless=True)


UNIFORM = (
    _uniform(
        "iptables-random", "kube-proxy 1.36, pkg/proxy/iptables: -m statistic --mode random --probability 1/(n-i)"
    ),
    _uniform("nftables-random", "kube-proxy 1.36, pkg/proxy/nftables: numgen random mod n"),
    _uniform(
        "cloud-lb-flow-hash",
        "a hash of addresses and ports: AWS NLB, GCP passthrough, Azure; even over many source ports",
    ),
    _uniform("dns-shuffle", "CoreDNS loadbalance plugin: answers in random order, the client takes the first"),
    _uniform("spec-random", "the Ingress specification names no balancer; random is used here"),
)
