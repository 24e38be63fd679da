"""k8slb: `send` on a cluster whose decisions pick."""

import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import workloads


@cache
def loaded(name: str):
    return getattr(workloads, name.lower())()


def sent(name: str, n: int, seed: int):
    cluster, url, rate, more, _ = loaded(name)
    return cluster.send(url, requests=n, rate=rate, seed=seed, **more)


def run(name: str, n: int, seed: int) -> float:
    return float(sent(name, n, seed).run.latency.mean())
