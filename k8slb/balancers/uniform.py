"""Each peer with the same probability, whatever was picked before."""

from collections.abc import Sequence
from random import Random
from typing import Any

from .base import Balancer, equal_shares


def pick(peers: Sequence[int], state: dict, rng: Random, key: Any = None, now: float = 0.0) -> int | None:
    return rng.randrange(len(peers)) if peers else None


SOURCES = {
    "iptables-random": "kube-proxy 1.36, pkg/proxy/iptables: -m statistic --mode random --probability 1/(n-i)",
    "nftables-random": "kube-proxy 1.36, pkg/proxy/nftables: numgen random mod n",
    "cloud-lb-flow-hash": "a hash of addresses and ports: AWS NLB, GCP passthrough, Azure; even over many source ports",
    "cloud-lb-zone": "AWS Elastic Load Balancing: DNS gives one address per zone, evenly",
    "dns-shuffle": "CoreDNS loadbalance plugin: answers in random order, the client takes the first",
    "spec-random": "the Ingress specification names no balancer; random is used here",
}
UNIFORM = tuple(Balancer(name, pick, source, equal_shares, memoryless=True) for name, source in SOURCES.items())
