"""The layers in a row: which one a flow meets next, and the walk that follows it.

`walk` follows one request, `shares` all of its possible ways at once. Both see nothing but the layers' decisions, so
they cannot disagree.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random
from typing import NamedTuple

from .balancers import balancer
from .balancers.base import Key
from .cluster import Cluster
from .decision import Candidate, Decision, Hop, Memory, Place, Timeline, pod_place
from .endpoints import node_named
from .errors import InputError, NotModelled, shown, whole
from .failures import Outcome, Spread, after_failures, failed, gave_up, mixed, picks_none, tries_of, untried
from .kubectl import find
from .layers import cloud_lb, dns, gateway, ingress, kube_proxy, mesh, pods
from .objects import DestinationRule, HTTPRoute, Ingress, Node, Pod, Service, VirtualService
from .scheduling import FIRST, addresses
from .traffic import CLIENT, Flow, flow_of, is_address

_BY_ADDRESS = re.compile("remote_addr|forwarded|real-?ip|(white|allow|deny)-?list|source", re.IGNORECASE)
MAX_HOPS = 16
MAX_SEED = 2**64 - 1
EPHEMERAL = (32_768, 60_999)  # the source ports that Linux gives connections


@dataclass(frozen=True)
class Start:
    """Where a request sets out: the client's place, the flow, the node it is put on (`via`), and what was assumed."""

    place: Place
    flow: Flow
    via: str | None = None
    assumptions: tuple[str, ...] = ()


# --- where it starts -------------------------------------------------------------------------------------------------


def start(
    view: Cluster, url: str, from_: str | None = None, via: str | None = None, method: str = "GET", headers=None
) -> Start:
    """The client and its flow for `url`; InputError for a URL, client or node that cannot be."""
    flow = flow_of(url, method, headers)
    if via is not None:
        node_named(view, via)
    place, source, told = _client(view, flow.destination) if from_ is None else (*_named(view, str(from_)), ())
    return Start(place, replace(flow, source=source), via, told)


def _client(view: Cluster, destination: str) -> tuple[Place, str, tuple[str, ...]]:
    """(place, address, assumptions) of who asks where nobody is named."""
    service = _service_meant(view, destination)
    if service is None:
        return Place("outside", CLIENT), CLIENT, ()
    address, node = client_address(view), view.nodes[0].name
    told = f"asked from a pod assumed in the namespace {service.namespace} on {node}, address {address}"
    return Place("pod", f"{service.namespace}/client"), address, (told,)


def _named(view: Cluster, from_: str) -> tuple[Place, str]:
    kind, _, name = from_.partition(":")
    if kind == "external":
        if name and not is_address(name):
            expected = "from external:IP, such as external:198.51.100.10"
            raise InputError(f"{shown(name)} is not an IP address", expected=expected)
        return Place("outside", name or CLIENT), name or CLIENT
    if kind == "node":
        return Place("node", name), node_named(view, name).address
    if kind == "pod":
        pod: Pod = find(name, view.pods, "pod")
        if not pod.status.podIP:
            raise InputError(f"{pod} has no address yet", expected="a running pod")
        return pod_place(pod), pod.status.podIP
    raise InputError(f"{shown(from_)} is no client", expected="external, external:IP, node:NAME or pod:NAMESPACE/NAME")


def _service_meant(view: Cluster, name: str) -> Service | None:
    if is_address(name) or name in view.hosts:
        return None
    named = view.services_named.get(name, [])
    if len(named) > 1:
        several = ", ".join(f"{s.name}.{s.namespace}" for s in named)
        expected = f"one of {several}, or a client (from)"
        raise InputError(f"{shown(name)} is a Service in several namespaces", expected=expected)
    return named[0] if named else dns.service_named(view, name, "default")


def client_address(view: Cluster) -> str:
    """An address in the pods' network that no pod has, for a client pod that the model adds."""
    free = addresses(view.running.network, FIRST - 1)
    return next((a for a in free if a not in view.pod_at), str(view.running.network[0]))


# --- what comes next -------------------------------------------------------------------------------------------------


def decide(timeline: Timeline, place: Place, flow: Flow, via: str | None = None, now: float = 0.0) -> Decision:
    """The next layer's decision for a flow that is at `place`."""
    decision = _next(timeline, place, flow, via, now)
    own = dict(timeline.seen_by(decision.place, now).own_balancers).get(decision.layer)
    if own is None or not decision.balancer or decision.splits or decision.candidates[0].place.kind == "cloud-lb":
        return decision
    facts = {k: v for k, v in decision.facts.items() if k != "dice"}
    told = f"picked by your own {balancer(own).name}" if callable(own) else f"picked by {own}, as you set it"
    warnings = (*decision.warnings, f"{decision.layer}: {told}, not by {decision.balancer}")
    return replace(decision, balancer=own, rules={}, facts=facts, warnings=warnings)


def _next(timeline: Timeline, place: Place, flow: Flow, via: str | None, now: float) -> Decision:
    view, real = timeline.seen_by(place, now), timeline.at(now)  # what it knows, and what is there
    if not is_address(flow.destination) and flow.destination not in view.balancer_at:
        return dns.decide(view, flow, place, now)
    if via is not None:
        place, flow = Place("node", via), _put_on(view, flow, via)
        view = timeline.seen_by(place, now)
    if place.kind == "node" and (why := _gone(view, real, place)):
        return Decision("network", place, "connection", flow, "drop", why, reason="the node is gone")
    behind, known = (cluster.pod_behind(flow.destination, flow.port) for cluster in (real, view))
    if place.kind in ("endpoint", "process") or (behind and place == pod_place(behind)):
        return _arrived(timeline, flow, place, now)
    if known and place == pod_place(known):
        why = f"the pod {place} is gone"
        return Decision("network", place, "connection", flow, "drop", why, reason="the pod is gone")
    inside = place.kind not in ("outside", "cloud-lb")
    if inside and mesh.handles(view, flow, place):
        return mesh.decide(view, flow, place, now)
    at = _rules_of(view, flow, place) if inside or flow.destination in view.node_at else None
    if at is not None and (why := _gone(view, real, at)):
        return Decision("network", at, "connection", flow, "drop", why, reason="the node is gone")
    if at is not None:
        return kube_proxy.decide(timeline.seen_by(at, now), flow, at, now)
    if flow.destination in view.balancer_at:
        at = Place("cloud-lb", flow.destination)  # its zones have places of their own, and all know the same
        return cloud_lb.decide(timeline.seen_by(at, now), flow, place if place.kind == "cloud-lb" else at, now)
    if behind and (inside or flow.destination in view.node_at):
        return _arrived(timeline, flow, pod_place(behind), now)
    why = _nowhere(view, flow.destination, inside)
    return Decision("network", place, "connection", flow, "drop", why, reason="nothing has that address")


def _put_on(view: Cluster, flow: Flow, via: str) -> Flow:
    """The flow as it arrives at a node: a load balancer's address without rules of its own becomes the node port."""
    service = view.balancer_at.get(flow.destination)
    if service is None or view.door(flow.destination, flow.port, flow.protocol):
        return flow
    port = next((p for p in service.spec.ports if p.port == flow.port and p.nodePort), None)
    return replace(flow, destination=view.node[via].address, port=port.nodePort) if port else flow


def _gone(view: Cluster, real: Cluster, at: Place) -> str:
    """Why a node takes no packet: it is not there any more, or is there and dead."""
    there = at.name in view.node and at.name in real.node
    return real.node[at.name].down if there else f"the node {at} is gone"


def _arrived(timeline: Timeline, flow: Flow, place: Place, now: float) -> Decision:
    view = timeline.at(now)
    controller = view.replica_at.get(flow.destination)
    replica = view.pod_behind(flow.destination, flow.port)
    if replica and replica.down:
        return pods.decide(view, flow, place, now)
    if flow.request and controller and replica in controller.pods:
        layer, role = (gateway, "gateway") if controller.gateway else (ingress, "ingress")
        known = timeline.seen_by(place, now, role)
        decision = layer.decide(known if flow.destination in known.replica_at else view, flow, place, now)
        work = pods.work_of(replica)
        return replace(decision, work=work) if work else decision
    refused = mesh.refused(view, flow, place)
    return refused or pods.decide(view, flow, place, now)


def _rules_of(view: Cluster, flow: Flow, place: Place) -> Place | None:
    """The node whose kube-proxy rules the packet meets, if its destination is one of theirs."""
    if flow.destination.startswith("127."):
        return place if place.kind == "node" else None
    if flow.destination in view.node_at:
        if view.door(flow.destination, flow.port, flow.protocol) or not view.pod_behind(flow.destination, flow.port):
            return Place("node", view.node_at[flow.destination].name)
        return None
    if view.door(flow.destination, flow.port, flow.protocol) or flow.destination in view.cluster_ips:
        return Place("node", _node_of(view, place).name)
    return None


def _node_of(view: Cluster, place: Place) -> Node:
    """The node on which something happens; a client pod that the model added is on the first."""
    if place.kind == "node":
        return view.node[place.name]
    pod = view.pod_named.get(tuple(place.name.split("/", 1)))
    return view.node.get(pod.spec.nodeName, view.nodes[0]) if pod else view.nodes[0]


def _nowhere(view: Cluster, address: str, inside: bool) -> str:
    if address in view.cluster_ips:
        return f"{address} is a ClusterIP: no network outside the nodes has a way to it"
    if address in view.pod_at:
        return f"{address} is a pod's address: no network outside the cluster has a way to it"
    service = next((s for s in view.services.values() if address in s.spec.externalIPs), None)
    if service is not None:
        return f"which node the externalIP {address} of {service} reaches is up to your network: name it (via)"
    asker = "the cluster" if inside else "the client"
    return f"nothing in the input has the address {address}, so {asker} gets no answer"


# --- one request -----------------------------------------------------------------------------------------------------


def walk(timeline: Timeline, begin: Start, seed: int = 0, now: float = 0.0) -> list[Hop]:
    """One request's way, hop by hop, with the picks that `seed` gives. Limits admit one request."""
    rng, states, hops = Random(whole(seed, "the seed", 0, MAX_SEED)), {}, []

    def follow(place: Place, flow: Flow, via: str | None, depth: int) -> Decision:
        """What comes of the flow, as who sent it here sees it."""
        decision = decide(timeline, place, flow, via, now)
        decision = in_circles(decision) if depth >= MAX_HOPS else decision
        told, tried, late, onward = decision, [], 0, via if decision.layer == "dns" else None
        while (chosen := _pick(decision, tried, rng, states, now)) is not None:
            hops.append(Hop(told, chosen))
            tried.append(chosen)
            end = follow(chosen.place, chosen.flow, onward, depth + 1)
            if not failed(decision, end.action, end.status):
                return end
            late += end.action == "drop"
            if len(tried) >= tries_of(decision, late):
                break
            told = replace(decision, why=f"{end.why}; tries the next")
        else:
            end = picks_none(decision) if decision.action == "forward" else decision
            hops.append(Hop(end))
        if end.action != "respond" and decision.on_failure:  # otherwise the last answer is passed on
            end = gave_up(decision, end, len(tried))
            hops.append(Hop(end))
        return end

    follow(begin.place, begin.flow, begin.via, 0)
    return hops


def _pick(decision: Decision, tried: Sequence[Candidate], rng: Random, states: dict, now: float) -> Candidate | None:
    """The candidate that is picked; None where there is none to pick."""
    if decision.action != "forward" or decision.balancer is None:
        return decision.candidates[0] if decision.action == "forward" else None
    policy = balancer(decision.balancer)
    left = untried(policy, decision.candidates, tried)
    if len(left) == 1 and not policy.counts:
        return left[0]
    key = key_of(decision, rng.randint(*EPHEMERAL) if policy.hashes else 0)
    if policy.hashes and cookie_of(decision):
        key = key._replace(text=f"{rng.getrandbits(128):032x}")
    index = policy.pick(left, states.setdefault(decision.state, {}), rng, key, now)
    return None if index is None else left[index]


def cookie_of(decision: Decision) -> Memory | None:
    """The cookie that a client without one is given and brings back."""
    given = (m for m in decision.remembers if m.kind == "cookie")
    return None if decision.key_text else next(given, None)


def key_of(decision: Decision, port: int = 0, source: str = "") -> Key:
    """What a hash may use of a decision's flow and its source port (`source`: of another client's)."""
    flow = decision.flow
    text = decision.key_text or (flow.request.path if flow.request else "")
    if source and decision.key_text:  # the clients that share this decision hash each by their own address
        text = re.sub(rf"(?<![\w.:]){re.escape(flow.source)}(?![\w.:])", source, text)
    return Key(source or flow.source, port, flow.destination, text)


def in_circles(decision: Decision) -> Decision:
    """A request that comes back to where it was, such as an Ingress whose backend is its own controller."""
    why = f"still no pod after {MAX_HOPS} hops: it goes in circles"
    return replace(decision, action="drop", candidates=(), balancer=None, on_failure=None, why=why)


# --- all ways at once ------------------------------------------------------------------------------------------------


class Met(NamedTuple):
    """A decision that a request can meet; `onward`: where in the list stand those that its candidates meet."""

    decision: Decision
    onward: tuple[int, ...]


def met(timeline: Timeline, begin: Start, now: float = 0.0) -> list[Met]:
    """Every decision that the request can meet, each once, behind all that can follow it: its first one is the last.

    Of the requests that limits admit, at a first visit.
    """
    found, known = [], {}
    blind = not any(view.once("heeds addresses", lambda v=view: _heeds_addresses(v)) for _, view in timeline.moments)

    def meet(place: Place, flow: Flow, via: str | None, depth: int) -> int:
        unsigned = replace(flow, source="") if blind and place.kind in ("pod", "endpoint") else flow
        for one in (flow, unsigned):
            if (place, one) in known:
                return known[place, one]
        decision = decide(timeline, place, flow, via, now)
        decision = in_circles(decision) if depth >= MAX_HOPS else decision
        onward, to = via if decision.layer == "dns" else None, decision.candidates * (decision.action == "forward")
        found.append(Met(decision, tuple([meet(c.place, c.flow, onward, depth + 1) for c in to])))
        if depth < MAX_HOPS:
            known[place, flow] = len(found) - 1
            hashes = decision.splits or (decision.balancer and balancer(decision.balancer).hashes)
            if decision.layer in ("ingress", "gateway") and not hashes:  # whatever address it comes from
                known[place, unsigned] = len(found) - 1
        return len(found) - 1

    meet(begin.place, begin.flow, begin.via, 0)
    return found


def _heeds_addresses(view: Cluster) -> bool:
    """Whether what a proxy does may depend on the address from which it is asked."""
    routes = view.of(Ingress, HTTPRoute, VirtualService, DestinationRule)
    return any(_BY_ADDRESS.search(str(route.raw)) for route in routes)


def shares(timeline: Timeline, begin: Start, now: float = 0.0) -> Spread:
    """The exact probability of everything that can become of the request.

    Of the requests that limits admit, at a first visit. Raises NotModelled where a balancer's shares depend on load or
    on what is remembered.
    """
    found: list[Spread] = []
    for decision, onward in met(timeline, begin, now):
        ways, picks = [found[i] for i in onward], exact_shares(decision)
        if decision.action != "forward":
            found.append({outcome_of(decision): Fraction(1)})
        elif decision.on_failure:
            found.append(after_failures(decision, ways, picks))
        else:
            found.append(mixed(zip(picks, ways, strict=True)))
    return found[-1]


def exact_shares(decision: Decision) -> list[Fraction]:
    """Each candidate's exact share; NotModelled where it depends on load."""
    if decision.balancer is None or len(decision.candidates) == 1:
        return [Fraction(1)] * len(decision.candidates)
    policy = balancer(decision.balancer)
    if policy.hashes and cookie_of(decision):
        raise NotModelled(f"exact shares of {policy.name} over a cookie's random text; use send, or bring the cookie")
    if policy.exact is None:
        raise NotModelled(f"exact shares of {policy.name}: they depend on load; use send")
    return policy.exact(decision.candidates, key_of(decision))


def outcome_of(decision: Decision) -> Outcome:
    """What a final decision means for the client."""
    if decision.action == "respond" and decision.layer == "pods":
        fails = (decision.status or 200) >= 500
        return ("failed", f"{decision.flow.to} {decision.status}") if fails else ("pod", decision.flow.to)
    if decision.action == "respond":
        return ("answered", str(decision.status))
    return ("lost", decision.action)
