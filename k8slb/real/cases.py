"""Questions as data (data/recordings/cases.yaml): how each is put to the real thing and to the model, and what is kept
of an answer. Whether the two agree: tests/real/agreement.py."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import cycle, pairwise
from typing import Any

import yaml

from ..balancers import BALANCERS
from ..decision import Timeline
from ..endpoints import of_port
from ..errors import InputError, NotModelled, shown
from ..front import Cluster, load
from ..manifests import DATA
from ..outcome import Outcome
from . import netfilter, proxies
from .asked import Question, ask

MODES = {"iptables-legacy": "iptables", "iptables-nft": "iptables", "nftables": "nftables"}
EDITS = {"apply", "at", "drain", "scale", "with_balancer", "with_controller", "with_nodes", "with_pods"}
FIRST = 200  # picks that are kept, a digit each
MOST_PODS = 40  # that are counted one by one
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
TICK = 0.01  # seconds from one step to the next


@dataclass(frozen=True)
class Case:
    """A question NAME/BY/CASE, `given` as cases.yaml has it."""

    name: str
    given: Mapping[str, Any]

    @property
    def by(self) -> str:
        """What it is put to: netfilter's program and backend, a proxy, or the balancer a proxy is set to."""
        return self.name.split("/")[1]

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster that is asked; before a proxy its Ingresses are those of `controller`, else of k8slb/spec."""
        cluster = load(self.given.get("manifests", "shop"))
        layer = "ingress" if any(o.kind == "Ingress" for o in cluster.objects) else "gateway"
        if self.by not in MODES and layer == "ingress":
            cluster = cluster.with_controller(self.given.get("controller", "spec"))
        cluster = edited(cluster, self.given.get("edits", ()))
        if self.by in MODES:
            return cluster.with_proxy(mode=MODES[self.by])
        return cluster.with_balancer(layer, self.by) if self.by in BALANCERS else cluster

    @cached_property
    def question(self) -> Question:
        return self._ask(0)

    def _ask(self, seed: int) -> Question:
        send = {k: v for k, v in self.given["send"].items() if k not in ("apart", "at_once", "held")}
        return ask(self.cluster, self.given["url"], **{"seed": seed, **send})

    # --- the real thing ---

    @property
    def missing(self) -> str:
        """What this machine lacks to put it; "" for nothing."""
        if self.by in MODES:
            lacking = netfilter.missing(MODES[self.by], self.by == "iptables-legacy")
            return lacking and f"it needs {lacking}"
        return proxies.missing(self.by.partition("-")[0])

    def running(self):
        """The real thing, as a context manager. NotHere where it cannot run."""
        if self.by in MODES:
            return netfilter.running(self.cluster, self.by == "iptables-legacy")
        url = self.given["url"] if "url" in self.given else self.given["urls"][0]
        return proxies.running(self.cluster, self.by.partition("-")[0], url)

    def put(self) -> tuple[dict[str, Any], str]:
        """(the facts of what the real thing answers, its versions)."""
        url, given = self.given.get("url"), self.given
        if "urls" in given:
            with self.running() as real:
                return self._real_answers(real.fetch([{"url": one} for one in given["urls"]])), real.versions
        if "call" in given:
            module = proxies.PROXIES[self.by]
            return getattr(module, given["call"])(**given["send"]), module.version(module.binary())
        with self.running() as real:
            if "steps" in given:
                ends = []
                for step in given["steps"]:
                    time.sleep(step.get("wait", 0))
                    if "becomes" in step:
                        more = {"forget_udp": True} if step.get("forget_udp") else {}
                        real.becomes(edited(self.cluster, step["becomes"]), **more)
                    ends += [ends_of(real.send(step.get("url", url), **step["send"]))] if "send" in step else []
                return told(given["steps"], ends), real.versions
            users = {"connections": given["users"], "at_once": given["users"]} if given.get("users") else {}
            return facts_of(real.send(url, **given["send"], **users), given["draws"]), real.versions

    def _real_answers(self, fetched: list[dict[str, Any]]) -> dict[str, str]:
        every = self.cluster.services.values()
        ends = ((e.address, s.metadata.name) for s in every for p in s.spec.ports for e in of_port(self.cluster, s, p))
        service, facts = dict(ends), {}
        for url, one in zip(self.given["urls"], fetched, strict=True):
            backend = {"service": service.get(one.get("pod", ""))}
            facts[url] = _answer(one.get("status"), backend, one.get("seen"), one.get("location"), one.get("lost"))
        return facts

    # --- the model ---

    def modelled(self, seed: int = 0) -> dict[str, Any]:
        """The facts of what the model answers."""
        url, given = self.given.get("url"), self.given
        if "urls" in given:
            return {one: _answer(**self.cluster.trace(one).to_dict()) for one in given["urls"]}
        if "call" in given:
            asked = {name: (edited(load("shop"), q["edits"]), q) for name, q in given["model"].items()}
            return {
                n: sorted(c.send(q["url"], **q["send"], seed=seed).counts().values()) for n, (c, q) in asked.items()
            }
        if given.get("users"):
            send = {k: v for k, v in given["send"].items() if k != "apart"}
            run = self.cluster.send(url, **send, connections=given["users"], think="0s", seed=seed)
            return facts_of(run, given["draws"])
        if "steps" not in given:
            return facts_of(self._ask(seed).model, given["draws"])
        now, becomes, sent = 0.0, {}, defaultdict(list)
        for step in given["steps"]:
            now += step.get("wait", TICK)
            if "becomes" in step:
                becomes[now] = edited(self.cluster, step["becomes"])
            elif "send" in step:
                sent[step["send"].get("held", ""), step.get("url", url)].append((now, step["send"]))
        ends = {}
        for n, ((_, to), runs) in enumerate(sent.items()):  # a run for each set of connections
            first = {k: v for k, v in runs[0][1].items() if k not in ("held", "requests")}
            arrivals = [at for at, send in runs for _ in range(send["requests"])]
            first |= {"arrivals": arrivals, "becomes": becomes or None, "seed": seed + 99 * n}
            run = self.cluster.send(to, len(arrivals), **first)
            every = iter(ends_of(run))
            ends |= {at: [next(every) for _ in range(send["requests"])] for at, send in runs}
        return told(given["steps"], [ends[at] for at in sorted(ends)])

    @cached_property
    def exact(self) -> dict[str, float] | None:
        """The model's exact share of each end (as `ends_of` calls it); None where it depends on load."""
        run = self.question.run
        try:
            hashed = any(b.hashes for b in run.balancers.values())
            spread = run.clients.shares(Timeline.still(self.cluster), hashed)
        except NotModelled:
            return None
        return {what: float(share) for (_, what), share in spread.items()}


@cache
def cases() -> dict[str, Case]:
    """Every case, by its name NAME/BY/CASE."""
    found = {}
    for name, kind in tables().items():
        for case, given in kind.get("cases", {}).items():
            for by in given["by"]:
                own = {k: v for k, v in given.items() if k != "by"} | {"draws": given.get("draws", kind["draws"])}
                found[f"{name}/{by}/{case}"] = Case(f"{name}/{by}/{case}", own)
    return found


@cache
def tables() -> dict[str, Any]:
    """What stands in data/recordings/cases.yaml."""
    return yaml.safe_load((DATA / "recordings/cases.yaml").read_text(encoding="utf-8"))


def edited(cluster: Any, edits: Iterable[Mapping[str, Any]]) -> Any:
    """The cluster after the methods of `edits`, each {METHOD: an argument, or a list or mapping of them}."""
    for edit in edits:
        ((method, given),) = edit.items()
        if method not in EDITS:
            raise InputError(f"{shown(method)} is no edit", expected="one of " + ", ".join(sorted(EDITS)))
        does = getattr(cluster, method)
        cluster = does(**given) if isinstance(given, dict) else does(*(given if isinstance(given, list) else [given]))
    return cluster


# --- what is kept of an answer ---


def _answer(status: Any, backend: Any, forwarded: Any, location: Any = None, action: Any = None, **_: Any) -> str:
    """How one URL is answered: "SERVICE gets PATH", or a status and where to."""
    if status == 200:
        return f"{backend['service']} gets {forwarded['path']}"
    return " ".join(str(part) for part in (status or action, location) if part)


def ends_of(outcome: Outcome) -> list[str]:
    """How each request ended: "POD", "POD 500", "404", "reject", "drop"."""
    columns = zip(*(_texts(outcome, column) for column in ("pod", "status", "lost")), strict=True)
    well = ("", "200", "open")
    return [lost or (pod if pod and status in well else f"{pod} {status}".strip()) for pod, status, lost in columns]


def _texts(outcome: Outcome, column: str) -> list[str]:
    names, codes = outcome.run.columns.get(column, ([], None))
    return [""] * outcome.requests if codes is None else [names[c] if c >= 0 else "" for c in codes.tolist()]


def told(steps: Iterable[Mapping[str, Any]], ends: list[list[str]]) -> dict[str, Any]:
    """The facts that steps name, from how the requests of each `send` ended."""
    facts: dict[str, Any] = {}
    sends = [step for step in steps if "send" in step]
    for i, (step, these) in enumerate(zip(sends, ends, strict=True)):
        if "counts" in step:
            facts[step["counts"]] = dict(sorted(Counter(these).items()))
        for same in ("same", "kernel_alone"):
            if same in step:  # as in the send before: over the same connections, or by the same clients
                facts[step[same]] = sum(a == b for a, b in zip(cycle(ends[i - 1]), these, strict=False))
    return facts


def facts_of(outcome: Outcome, draws: str) -> dict[str, Any]:
    """What a recording keeps. `draws` says for what a pod is picked: a "request", a "connection" or a "client"."""
    ends, count, users = ends_of(outcome), outcome.counts, outcome.run.clients.users
    connections = outcome.run.connection.tolist()
    keys = {"request": range(len(ends)), "connection": connections, "client": [c % users for c in connections]}[draws]
    first, last = {}, {}
    for key, end in zip(keys, ends, strict=True):
        first.setdefault(key, end)
        last[key] = end
    picks = list(first.values())
    facts: dict[str, Any] = {"requests": len(ends)}
    facts |= {"connections": outcome.connections} if outcome.connections < len(ends) else {}
    facts |= {"clients": users} if users > 1 else {}
    if len(count("pod")) > MOST_PODS:
        heights = Counter(n for n in count("pod").values() if n)
        return facts | {"pods_by_requests": {str(n): heights[n] for n in sorted(heights)}}
    facts["counts"] = count("pod")
    if Counter(picks) != +Counter(facts["counts"]):
        facts["drawn"] = dict(sorted(Counter(picks).items()))
    facts |= {name: found for name in ("status", "lost") if (found := count(name)) and set(found) - {"200", "open"}}
    if sources := count("source"):
        facts["sources"] = sources if len(sources) < 5 else {f"{len(sources)} addresses": sum(sources.values())}
    if draws == "client" and len(ends) > users > 1:
        facts["same_pod_on_second_visit"] = sum(first[key] == last[key] for key in first)
    if len(facts["counts"]) > 1 and len(picks) > 1:
        facts["same_pod_twice_in_a_row"] = round(sum(a == b for a, b in pairwise(picks)) / (len(picks) - 1), 4)
        digit = dict(zip(facts["counts"], DIGITS, strict=False))
        facts["picks"] = "".join(digit.get(end, "x") for end in picks[:FIRST])
    return facts


def drawn(facts: Mapping[str, Any]) -> dict[str, int]:
    """How often each end was drawn."""
    return facts.get("drawn", facts["counts"])
