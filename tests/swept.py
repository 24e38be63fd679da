"""What test_sweep.py sends to other processes; they import it by name."""

import k8slb


def busiest(replicas: int, mode: str, seed: int) -> dict[str, int]:
    shop = k8slb.load("shop").scale("order", replicas).with_proxy(mode=mode)
    counts = shop.send("http://order-service", requests=300, seed=seed).counts()
    return {"pods": len(counts), "busiest": max(counts.values())}


def traced(url: str) -> int:
    return k8slb.load("shop").trace(url).status
