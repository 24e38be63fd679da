"""The IPVS schedulers against a real kernel, pick for pick: every recorded run, every field of it.

Two fields of data/recordings/ipvs.json are not compared, because no pick decides them: "live connection" (what becomes
of an open connection whose pod is drained and deleted) and "requests on it" (they follow their connection). What they
begin with, the pick of that connection, is compared.
"""

import json
from collections import Counter
from functools import partial
from ipaddress import IPv4Address
from random import Random

import pytest

from k8slb.balancers import BALANCERS, ipvs
from k8slb.balancers.base import Key, Peer, closed, connections, opened
from k8slb.manifests import DATA

RECORDED = json.loads((DATA / "recordings/ipvs.json").read_text(encoding="utf-8"))
RUNS = RECORDED["runs"]
COMPARED = {"scheduler", "weights", "pods", "added", "flags", "persist", "upper", "steps"}
STEPS = {"open", "end", "clients", "first", "totals", "counts", "counts_60", "same", "unaffected", "moved"}
STEPS |= {"moved_to_new", "refused", "at", "add", "delete", "weight", "close"}
# mh-fallback was recorded while every pod was available: it makes no difference there.
FLAGS = {"sh-port": {"port": True}, "mh-port": {"port": True}, "sh-fallback": {"fallback": True}, "mh-fallback": {}}


def address(pod) -> str:
    return f"10.244.1.{2 + int(pod)}:8080"


def persistent(pick, timeout, netmask=32, lingers=120, keep_drained=False):
    """`pick` behind ipvsadm -p TIMEOUT -M NETMASK: a client, or its whole network, keeps its server.

    If its time is up while a connection is still in the table (closed: it `lingers` 120 s, reset: 10 s), it gets 60 s
    more, and from then on 60 s from each use. Weight 0 ends it, unless `keep_drained` (expire_quiescent_template=0).
    """

    def kept(peers, state, rng, key=None, now=0.0):
        client, templates = int(IPv4Address(key.source)) >> (32 - netmask), state.setdefault("templates", {})
        address, due, period, until = templates.get(client, ("", 0, 0, 0))
        while due <= now and due < until:
            due, period = due + 60, 60
        usable = {p.address: i for i, p in enumerate(peers) if p.weight or keep_drained} if due > now else {}
        picked = usable.get(address)
        if picked is None:
            picked, period = pick(peers, state, rng, key, now), timeout
        if picked is not None:
            templates[client] = (peers[picked].address, now + period, period, now + lingers)
        return picked

    return kept


class Replay:
    """One virtual server: its pods in the order of adding, its connections, and what each step did."""

    def __init__(self, run):
        flags = FLAGS[run["flags"]] if "flags" in run else {}
        self.pick = partial(getattr(ipvs, run["scheduler"]), **flags)
        if "persist" in run:
            self.pick = persistent(self.pick, **run["persist"])
        self.weights = run["weights"]
        self.pods = run.get("added", list(range(run.get("pods", len(self.weights)))))
        self.peers = {p: Peer(address(p), self.weights[p]) for p in self.pods}
        self.state = {"upper": {address(p): most for p, most in run["upper"].items()}} if "upper" in run else {}
        self.connections, self.count, self.picked = [], 0, []

    def run(self, step):
        assert set(step) <= STEPS
        before, told = self.picked, {}
        match step:
            case {"open": n}:
                told = self.open(n, step.get("end", "closed"), step.get("clients"))
            case {"at": times}:
                self.picked = [self.one("10.244.0.2", now) for now in times]
            case {"add": pod}:
                self.peers[pod] = Peer(address(pod), self.weights[pod])
            case {"delete": pod}:
                del self.peers[pod]
            case {"weight": [pod, weight]}:
                self.peers[pod] = Peer(address(pod), weight)
            case {"close": pod}:
                for _ in (c for c in self.connections if c == pod):
                    closed(self.state, self.peers[pod])
        self.told = told | {"counts": self.counts()}
        if "first" in step:
            self.told["first"] = "".join("x" if p is None else str(p) for p in self.picked[:60])
        if "totals" in step:
            self.told["totals"] = [Counter(self.picked)[p] for p in range(len(step["totals"]))]
        if "same" in step:
            self.told["same"] = sum(a == b for a, b in zip(before, self.picked, strict=False))
        if "unaffected" in step:
            new = set(self.picked) - set(before) - {None}
            able = {pod for pod, peer in self.peers.items() if peer.weight}
            stayed = [(a, b) for a, b in zip(before, self.picked, strict=True) if a in able]
            moved = [b for a, b in stayed if a != b]
            self.told |= {"unaffected": len(stayed), "moved": len(moved), "refused": self.picked.count(None)}
            self.told["moved_to_new"] = sum(b in new for b in moved)
        return {field: self.told[field] for field in step if field in self.told}

    def open(self, n, end, clients):
        due, told, self.picked = {}, {}, []
        for k in range(n):
            for peer in due.pop(k, ()):
                closed(self.state, peer)
            pod = self.one(f"10.245.{1 + k // 250}.{1 + k % 250}" if clients else "10.244.0.2")
            self.picked.append(pod)
            if pod is not None:
                if end in ("closed", "reset"):
                    closed(self.state, self.peers[pod])
                elif end != "held":
                    due.setdefault(k + end[pod], []).append(self.peers[pod])
            if k == 59:
                told["counts_60"] = self.counts()
        return told

    def one(self, source, now=0.0):
        pods, key = list(self.peers), Key(source, 20_000 + self.count, "10.96.0.10")
        index = self.pick([self.peers[p] for p in pods], self.state, Random(0), key, now)
        self.count += 1
        if index is None:
            return None
        opened(self.state, self.peers[pods[index]])
        self.connections.append(pods[index])
        return pods[index]

    def counts(self):
        return [list(connections(self.state, Peer(address(p)))) for p in range(len(self.weights))]


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_as_the_kernel_picked(run):
    assert set(run) - set(RECORDED["not compared"]) <= COMPARED
    replay = Replay(run)
    for step in run["steps"]:
        expected = {
            f: v
            for f, v in step.items()
            if f not in ("open", "end", "clients", "at", "add", "delete", "weight", "close")
        }
        assert replay.run(step) == expected


def test_every_scheduler_is_recorded():
    names = {run["scheduler"] for run in RUNS.values()}
    assert names == {name.split("-")[1] for name in BALANCERS if name.startswith("ipvs-")}
    assert len(names) == 13
