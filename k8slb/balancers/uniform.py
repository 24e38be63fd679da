"""At random, whatever was picked before: each peer with the same probability, or by its weight."""

from collections.abc import Sequence
from random import Random
from typing import Any

from .base import Balancer, equal_shares, weight_shares
from .parts import weighted


def pick(peers: Sequence[int], state: dict, rng: Random, key: Any = None, now: float = 0.0) -> int | None:
    return rng.randrange(len(peers)) if peers else None


SOURCES = {
    "iptables-random": "kube-proxy 1.36, pkg/proxy/iptables: -m statistic --mode random --probability 1/(n-i)",
    "nftables-random": "kube-proxy 1.36, pkg/proxy/nftables: numgen random mod n",
    "cloud-lb-flow-hash": "a hash of addresses and ports: AWS NLB, GCP passthrough, Azure; even over many source ports",
    "cloud-lb-zone": "AWS Elastic Load Balancing: DNS gives one address per zone, evenly",
    "dns-shuffle": "CoreDNS loadbalance plugin: answers in random order, the client takes the first",
    "ztunnel-random": "Istio's ztunnel (1.31, src/state.rs load_balance): at random, by capacity; equal here",
    "spec-random": "neither Ingress nor the Gateway API names a balancer; random is used here",
}
UNIFORM = tuple(Balancer(name, pick, source, equal_shares, memoryless=True) for name, source in SOURCES.items())

SHARED = {
    "gateway-weights": "Gateway API 1.6, backendRefs.weight: shares of requests; how they are met is open, drawn here",
    "envoy-weighted-clusters": "Envoy 1.40, weighted_clusters of a route: a random number for each request",
    "ingress-nginx-canary": "ingress-nginx 1.15.1 balancer.lua, canary-weight: random(canary-weight-total) each",
    "pod-answers": "k8slb's annotation k8slb/fail: whether a pod answers well or fails, drawn for each request",
}
WEIGHTED = tuple(Balancer(name, weighted, source, weight_shares, memoryless=True) for name, source in SHARED.items())
