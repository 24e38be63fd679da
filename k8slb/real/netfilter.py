"""The same question put to the kernel: the rules text of each node, loaded in network namespaces by the real
iptables-restore or nft, and real TCP and UDP connections sent through it.

Nothing is changed outside of those namespaces, and they end with this process (namespaces.py). The kernel answers for
kube-proxy's part of the way alone: addresses, as DNS gives them, to pods. Pods answer everything at once.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from random import Random
from typing import Any

from ..cluster import Cluster
from ..decision import Decision, Place, Timeline
from ..endpoints import Endpoint, of_port
from ..errors import InputError, NotHere, shown
from ..kubectl import with_proxy
from ..layers import kube_proxy, pods
from ..manifests import read_objects
from ..outcome import Outcome
from ..path import Start, decide
from ..traffic import Flow
from .asked import Question, ask
from .supervised import RealError, Supervised

CHILD = "k8slb.real.namespaces"
PROGRAMS = {"iptables": "iptables-restore -w", "legacy": "iptables-legacy-restore -w", "nftables": "nft -f -"}
INSTALL = "apt-get install iproute2 iptables nftables conntrack"
MOST = 250  # namespaces, each of which a node or a pod has
IPVS = "a kernel with ip_vs of its own (data/recordings/ipvs.json has what one answered)"
TOLD = {"reject": "refused", "drop": "no answer within 0.3 s", "": "not sent: no answer to the 200 before"}


def missing(mode: str = "", legacy: bool = False) -> str:
    """What this machine lacks to run the rules of a mode, or those of iptables and nftables; "" where it runs them."""
    lacking = [_missing(m, legacy) for m in ([mode] if mode else ("iptables", "nftables"))]
    return " and ".join(dict.fromkeys(filter(None, lacking)))


@cache
def _missing(mode: str, legacy: bool) -> str:
    """Found by really making namespaces and loading rules."""
    if mode == "ipvs":
        return IPVS
    if sys.platform != "linux":
        return "Linux"
    try:
        with Supervised(CHILD) as child:
            Running(with_proxy(Cluster(read_objects("shop")), mode), child, _program(mode, legacy))
    except NotHere as error:
        return f"{error} ({INSTALL})" if "installed" in str(error) else str(error)
    except RealError as error:
        return f"root, or a user namespace ({error})"
    return ""


def _program(mode: str, legacy: bool) -> list[str]:
    return PROGRAMS["legacy" if legacy and mode == "iptables" else mode].split()


class Running:
    """A cluster's nodes, pods and rules in namespaces; made by `running`. `versions` says what the rules run on."""

    def __init__(self, cluster: Cluster, child: Supervised, program: list[str]):
        self._child, self._program, self._texts = child, program, dict[str, str]()
        left_out = self._set_up(cluster)
        self.versions = ", ".join([child.ask("versions", node=cluster.nodes[0].name, program=program), *left_out])

    def becomes(self, cluster: Cluster, forget_udp: bool = False) -> None:
        """Load the rules of another cluster: new pods and nodes are made, connections and conntrack entries stay, and
        so does who is removed, as a pod that still runs. `forget_udp`: delete the UDP flows to endpoints that went, as
        kube-proxy does."""
        if cluster.mode != self.cluster.mode:
            raise InputError(f"kube-proxy's mode becomes {cluster.mode}", expected=f"{self.cluster.mode}, as it is")
        gone = {e.ip for _, e in _endpoints(self.cluster)} - {e.ip for _, e in _endpoints(cluster)}
        self._set_up(cluster)
        for node in self._texts if forget_udp else ():
            self._child.ask("forget", node=node, addresses=sorted(gone))

    def send(self, url: str, held: str = "", **asked: Any) -> Outcome:
        """What the kernel makes of `cluster.send(url, **asked)`, with the arguments that `asked.ask` takes.

        `connections=C` stay open to the end; those that `held` names stay open after it, and the next send with that
        name goes on over them. Who has no answer within 0.3 s is lost ("drop"); after 200 of these in a row the rest is
        not sent, and lost as such ("not sent")."""
        question, rng = ask(self.cluster, url, **asked), Random(asked.get("seed", 0))
        flow, proxied = question.begin.flow, {"ingress_pod", "gateway_pod"} & set(question.run.columns)
        if flow.protocol == "SCTP" or proxied:
            told = "goes on at a proxy, where the kernel's part ends" if proxied else "is sent by nobody here"
            raise NotHere(f"{url} {told}: ask the kernel for tcp:// or udp://ADDRESS:PORT")
        found: dict[Start, list[Decision]] = {}
        clients: dict[tuple[str, str], int] = {}
        ways, nodes, routes, more = [], [], {}, set()
        for address, start in question.client:
            if start not in found:
                found[start] = self._meets(question, start)
            at = rng.choice(found[start])  # there are several where DNS gives several addresses
            to, client = at.flow, self._client(start, address)
            ruled = at.layer == "kube-proxy"
            if ruled and client[0] == "fabric" and to.destination not in self.cluster.node_at:
                routes[to.destination] = at.place.name
            if at.layer == "pods" and at.action == "respond":
                more.add((self._space(to.destination), to.destination, to.port, to.protocol))
            ways.append((clients.setdefault(client, len(clients)), to.destination, to.port))
            nodes.append(at.place.name if ruled else "")
        if more:
            self._describe(self.cluster, more)
        kept = None if asked.get("connections") is None and not held else held
        given = {"protocol": flow.protocol, "clients": list(clients), "ways": ways, "routes": routes, "kept": kept}
        seconds = 120 + question.run.requests / 100
        answers = self._child.ask("send", seconds, requests=question.connection, **given)
        status = "200" if flow.request else "open"
        served = [(*a.split(), nodes[c]) if " " in a else () for a, c in zip(answers, question.connection, strict=True)]
        columns = {name: [s[i] if s else "" for s in served] for i, name in enumerate(("pod", "source", "node"))}
        columns["status"] = [status if s else "" for s in served]
        for name, lost in (("lost", {"": "not sent"}), ("stage", dict.fromkeys(TOLD, "kernel")), ("reason", TOLD)):
            columns[name] = ["" if s else lost.get(a, a) for s, a in zip(served, answers, strict=True)]
        return question.answered(self.versions, columns)

    # --- what there is ---

    def _set_up(self, cluster: Cluster) -> set[str]:
        """Returns what was left out of the rules."""
        self._describe(cluster)
        self.cluster, left_out = cluster, set()
        for node in cluster.nodes:
            old, new = self._texts.get(node.name, ""), kube_proxy.rules(cluster, node.name)
            if old != new:
                text = _instead(old, new) if old and cluster.mode == "nftables" else new
                left_out.add(self._child.ask("load", node=node.name, program=self._program, text=text))
                self._texts[node.name] = new
        return left_out - {""}

    def _describe(self, cluster: Cluster, more: set[tuple] = frozenset()) -> None:
        """Have the child make all nodes and pods, and who listens; `more` than those."""
        self.cluster = cluster
        own = {n.name: kube_proxy.setup(cluster, n.name) for n in cluster.nodes}
        nodes = {n.name: list(dict.fromkeys([n.address, *own[n.name].addresses])) for n in cluster.nodes}
        places = {e.ip: e.node for _, e in _endpoints(cluster) if e.ip not in cluster.node_at}
        places |= {ip: pod.spec.nodeName for ip, pod in cluster.pod_at.items()}
        self._pods = {ip: node if node in nodes else "" for ip, node in places.items()}
        known = [a for addresses in nodes.values() for a in addresses]
        for a in dict.fromkeys([*known, *places]):
            if ":" in a or a == "0.0.0.0" or (a in known and a in places):
                problem = f"{a} is a node's and a pod's" if a in known and a in places else f"{a} has no namespace"
                raise InputError(problem, expected="an IPv4 address of its own for each node and pod")
        if 2 * len(nodes) + len(places) > MOST:
            problem = f"{len(nodes)} nodes and {len(places)} pods are too many namespaces"
            raise InputError(problem, expected=f"up to {MOST} (a node needs two)")
        dead = {n.name for n in cluster.nodes if n.down}
        silent = {a for n in dead for a in nodes[n]} | {ip for ip, node in self._pods.items() if node in dead}
        listen = set(more)
        for protocol, e in _endpoints(cluster):
            end = pods.decide(cluster, Flow(protocol, "", e.ip, e.port), Place("pod", e.name))
            if end.action == "respond":
                listen.add((self._space(e.ip), e.ip, e.port, protocol))
            elif end.action == "drop" and e.ip not in self._pods:
                raise NotHere(f"{e.name} is silent on its node's own network, which cannot be made here")
            elif end.action == "drop":
                silent.add(e.ip)
        settings = {"conf/all/route_localnet": int(any(s.localhost for s in own.values()))}
        given = {"nodes": nodes, "pods": self._pods, "silent": sorted(silent), "settings": settings}
        self._child.ask("world", **given, listen=sorted(listen))

    def _space(self, address: str) -> str:
        node = self.cluster.node_at.get(address)
        return f"node/{node.name}" if node else f"pod/{address}" if self._pods.get(address) else "fabric"

    # --- who asks for what ---

    def _meets(self, question: Question, start: Start) -> list[Decision]:
        """Where a connection meets the kernel: once, or at one of several addresses that DNS gives."""
        timeline, flows = Timeline.still(self.cluster), [start.flow]
        named = decide(timeline, start.place, start.flow, start.via)
        if named.layer == "dns":
            flows = [c.flow for c in named.candidates]
            if not flows:
                raise InputError(f"{question.url}: {named.why}", expected="a name that leads to an address")
        found = [decide(timeline, start.place, flow, start.via) for flow in flows]
        for at in found:
            if at.layer == "cloud-lb":
                problem = f"{at.flow.destination} is a load balancer's: no kernel answers there"
                raise InputError(problem, expected="via=NODE, the node it sends to")
            if start.place.kind == "outside" and (at.layer == "network" or at.flow.destination.startswith("127.")):
                raise InputError(f"{question.url}: {at.why}", expected="a node port, or an address with via=NODE")
            by_rules = at.layer == "kube-proxy" and at.action != "respond"  # it answers health checks itself
            if not by_rules and at.layer not in ("pods", "network"):
                raise NotHere(f"{question.url} is answered by {at.layer}, not by the rules in the kernel")
            if "kube-proxy" in dict(self.cluster.own_balancers):
                raise InputError("the kernel goes by its rules", expected="no balancer of your own for kube-proxy")
        return found

    def _client(self, start: Start, address: str) -> tuple[str, str]:
        """(the space a client is in, the address it binds; "" where the space has but one)."""
        view, place = self.cluster, start.place
        if place.kind == "outside":
            return "fabric", address
        pod = view.pod_named.get(tuple(place.name.split("/", 1)))
        if place.kind == "pod" and not (pod and pod.status.podIP == address):
            return f"clients/{start.via or view.nodes[0].name}", address
        node = place.name if place.kind == "node" else pod.spec.nodeName
        if start.via not in (None, node):
            raise InputError(f"via {shown(start.via)}: {place} meets the rules of its node", expected=f"via={node}")
        return (f"node/{node}" if place.kind == "node" else self._space(address)), ""


def _endpoints(cluster: Cluster) -> Iterator[tuple[str, Endpoint]]:
    for service in cluster.services.values():
        for port in service.spec.ports:
            yield from ((port.protocol, e) for e in of_port(cluster, service, port) if port.protocol != "SCTP")


def _instead(old: str, new: str) -> str:
    """nft's text that puts `new` in place of `old` at once. Affinity sets that stay keep their clients, as kube-proxy
    leaves them alone; chains that went stay, empty."""
    lines = ["flush table ip kube-proxy"]
    for block, kind, name in re.findall(r"^(\t(set|map) (\S+) {\n.*?^\t}\n)", old, re.MULTILINE | re.DOTALL):
        if not name.startswith("affinity-"):
            lines.append(f"flush {kind} ip kube-proxy {name}")
        elif block not in new:
            lines.append(f"delete set ip kube-proxy {name}")
    return "\n".join(lines) + "\n" + new


@contextmanager
def running(cluster: Cluster, legacy: bool = False) -> Iterator[Running]:
    """The cluster in namespaces, for as long as the `with` lasts; `legacy`: by iptables-legacy-restore. NotHere says
    what is missing."""
    if lacking := missing(cluster.mode, legacy):
        raise NotHere(f"the kernel cannot be asked here: it needs {lacking}")
    with Supervised(CHILD) as child:
        yield Running(cluster, child, _program(cluster.mode, legacy))


def send(cluster: Cluster, url: str, legacy: bool = False, **asked: Any) -> Outcome:
    """One question in one go; setting up three nodes takes about half a second."""
    with running(cluster, legacy) as real:
        return real.send(url, **asked)
