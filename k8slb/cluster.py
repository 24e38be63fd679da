"""A cluster as one immutable value: objects as written, and everything derived from them.

An edit gives a new cluster. What is derived is worked out once, when first asked for; look-ups go through indexes, so
a decision costs the same among 10 Services as among 10,000.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

from . import derive
from .controllers import Controller, Served, class_names, runs, serves
from .manifests import Manifests
from .objects import (
    EndpointSlice,
    Gateway,
    HTTPRoute,
    Ingress,
    IngressClass,
    KubeProxyConfiguration,
    Node,
    Object,
    Pod,
    Secret,
    Service,
    ServicePort,
    Strings,
)
from .scheduling import Running

MODES = ("iptables", "nftables", "ipvs")


class Reached(NamedTuple):
    """What an address and port mean to kube-proxy: which Service port, and by which of its doors."""

    service: Service
    port: ServicePort
    door: str  # "ClusterIP", "LoadBalancer", "externalIP" or "NodePort"


@dataclass(frozen=True)
class Cluster:
    """The bare value. `front.Cluster` adds what people type."""

    manifests: Manifests
    _memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def with_objects(self, objects: Iterable[Object]) -> Self:
        """The same cluster with other objects: what every edit comes to."""
        return replace(self, manifests=replace(self.manifests, objects=tuple(objects)), _memo={})

    # --- what was written ---

    @property
    def objects(self) -> tuple[Object, ...]:
        return self.manifests.objects

    # --- what runs ---

    @cached_property
    def running(self) -> Running:
        return derive.complete(self.objects)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the input left open and how it was filled in."""
        return tuple(self.running.assumptions)

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self.manifests.warnings, *self.running.warnings)

    @cached_property
    def node(self) -> dict[str, Node]:
        return {n.name: n for n in self.running.nodes}

    @property
    def nodes(self) -> list[Node]:
        return self.running.nodes

    @cached_property
    def node_at(self) -> dict[str, Node]:
        return {a.address: n for n in self.nodes for a in n.status.addresses}

    @property
    def pods(self) -> list[Pod]:
        return self.running.pods

    @cached_property
    def pod_at(self) -> dict[str, Pod]:
        """Pods by their own address; a pod on the host's network is reached as its node."""
        return {p.status.podIP: p for p in self.pods if p.status.podIP and p.running and not p.spec.hostNetwork}

    @cached_property
    def pod_named(self) -> dict[tuple[str, str], Pod]:
        return {(p.namespace, p.name): p for p in self.pods}

    @cached_property
    def _host_pods(self) -> dict[str, list[Pod]]:
        found: dict[str, list[Pod]] = defaultdict(list)
        for pod in self.pods:
            if pod.running and (pod.spec.hostNetwork or any(p.hostPort for c in pod.spec.containers for p in c.ports)):
                node = self.node.get(pod.spec.nodeName)
                found[node.address if node else ""].append(pod)
        return dict(found)

    def pod_behind(self, address: str, port: int) -> Pod | None:
        """The pod that a packet to this address and port is delivered to; on a node's address, by its host ports."""
        own = self.pod_at.get(address)
        return own or next((p for p in self._host_pods.get(address, ()) if port in p.host_ports), None)

    def pod_name(self, address: str) -> str:
        """The name of the pod behind "ip:port", "" for none."""
        ip, _, port = address.rpartition(":")
        pod = self.pod_behind(ip, int(port)) if port.isdigit() else None
        return pod.name if pod else ""

    @property
    def services(self) -> dict[tuple[str, str], Service]:
        return self.running.services

    @cached_property
    def services_named(self) -> dict[str, list[Service]]:
        named: dict[str, list[Service]] = defaultdict(list)
        for service in self.services.values():
            named[service.name].append(service)
        return dict(named)

    @cached_property
    def _pods_labelled(self) -> dict[tuple[str, str, str], list[Pod]]:
        index: dict[tuple[str, str, str], list[Pod]] = defaultdict(list)
        for pod in self.pods:
            for label, text in pod.metadata.labels.items():
                index[pod.namespace, label, text].append(pod)
        return dict(index)

    def selected(self, namespace: str, selector: Strings) -> list[Pod]:
        """The pods that a Service's selector matches; none for an empty selector."""
        if not selector:
            return []
        sets = [self._pods_labelled.get((namespace, k, v), []) for k, v in selector.items()]
        return [p for p in min(sets, key=len) if all(p.metadata.labels.get(k) == v for k, v in selector.items())]

    @cached_property
    def _given_slices(self) -> dict[tuple[str, str], list[EndpointSlice]]:
        index: dict[tuple[str, str], list[EndpointSlice]] = defaultdict(list)
        for o in self.objects:
            if isinstance(o, EndpointSlice):
                index[o.namespace, o.service] += [o] if o.addressType == "IPv4" else []
        return dict(index)

    def slices(self, service: Service) -> list[EndpointSlice]:
        """The EndpointSlices of a Service: those in the input, else what their controller would write."""
        key = ("slices", service.namespace, service.name)
        if key not in self._memo:
            given = self._given_slices.get(key[1:])
            if given is None:
                matched = self.selected(service.namespace, service.spec.selector)
                given = derive.endpoint_slices(service, matched, self.node)
            self._memo[key] = given
        return self._memo[key]

    # --- what addresses mean ---

    @cached_property
    def _doors(self) -> dict[tuple[str, int, str], Reached]:
        doors: dict[tuple[str, int, str], Reached] = {}
        for service in self.services.values():
            if service.headless or service.spec.type == "ExternalName":
                continue
            vips = [(service.spec.clusterIP, "ClusterIP")]
            vips += [(a, "externalIP") for a in service.spec.externalIPs]
            vips += [(i.ip, "LoadBalancer") for i in service.status.loadBalancer.ingress if i.ip and i.ipMode == "VIP"]
            for port in service.spec.ports:
                for address, door in vips:
                    doors.setdefault((address, port.port, port.protocol), Reached(service, port, door))
                if port.nodePort:
                    doors.setdefault(("node", port.nodePort, port.protocol), Reached(service, port, "NodePort"))
        return doors

    def door(self, address: str, port: int, protocol: str) -> Reached | None:
        """The Service port that kube-proxy's rules know under this destination, if any."""
        if address in self.node_at:
            return self._doors.get(("node", port, protocol))
        return self._doors.get((address, port, protocol))

    @cached_property
    def cluster_ips(self) -> dict[str, Service]:
        return {s.spec.clusterIP: s for s in self.services.values() if s.spec.clusterIP not in ("", "None")}

    @cached_property
    def balancer_at(self) -> dict[str, Service]:
        """The LoadBalancer Services by the addresses (and hostnames) of their load balancers."""
        found: dict[str, Service] = {}
        for service in self.services.values():
            if service.spec.type == "LoadBalancer":
                for ingress in service.status.loadBalancer.ingress:
                    found.setdefault(ingress.ip or ingress.hostname, service)
        return found

    # --- kube-proxy ---

    @cached_property
    def proxy_config(self) -> KubeProxyConfiguration:
        return next(
            (o for o in self.objects if isinstance(o, KubeProxyConfiguration)),
            KubeProxyConfiguration(kind="KubeProxyConfiguration"),
        )

    @property
    def mode(self) -> str:
        return self.proxy_config.mode or "iptables"

    @property
    def scheduler(self) -> str:
        return self.proxy_config.ipvs.scheduler or "rr"

    # --- ingress controllers ---

    @cached_property
    def classes(self) -> dict[str, IngressClass]:
        return {o.name: o for o in self.objects if isinstance(o, IngressClass)}

    @cached_property
    def served(self) -> dict[tuple[str, str, str], Served]:
        return {o.key: serves(o, self.classes) for o in self.objects if isinstance(o, Ingress)}

    @cached_property
    def controllers(self) -> dict[str, Controller]:
        """Every controller that a class or an Ingress names, with its pods and the Service in front of them."""
        names = dict.fromkeys(
            [c.spec.controller for c in self.classes.values()] + [s.controller for s in self.served.values()]
        )
        return {name: self._controller(name) for name in names if name}

    def _controller(self, name: str) -> Controller:
        called = class_names(name, self.objects)
        pods = [p for p in self.pods if runs(name, called, p.metadata.labels, [c.image for c in p.spec.containers])]
        ingresses = tuple(o for o in self.objects if isinstance(o, Ingress) and self.served[o.key].controller == name)
        return Controller(name, tuple(pods), self._front_of(pods), ingresses)

    def _front_of(self, pods: list[Pod]) -> Service | None:
        """The Service that leads to these pods from outside: a LoadBalancer before a NodePort before any other."""
        if not pods:
            return None
        rank = ("LoadBalancer", "NodePort", "ClusterIP")
        mine = [
            s
            for s in self.services.values()
            if s.namespace == pods[0].namespace
            and s.spec.selector
            and s.spec.type in rank
            and s.spec.selector.items() <= dict(pods[0].metadata.labels).items()
            and any(p.port in (80, 443) for p in s.spec.ports)
        ]
        return min(mine, key=lambda s: (rank.index(s.spec.type), s.headless), default=None)

    @cached_property
    def replica_at(self) -> dict[str, Controller]:
        """The controller by its replicas' addresses."""
        return {p.status.podIP: c for c in self.controllers.values() for p in c.pods if p.status.podIP}

    @cached_property
    def hosts(self) -> dict[str, list[Ingress]]:
        """The Ingresses by the hosts they name ("" for a rule without a host)."""
        hosts: dict[str, list[Ingress]] = defaultdict(list)
        for o in self.objects:
            if isinstance(o, Ingress):
                for rule in o.spec.rules:
                    if not (hosts[rule.host] and hosts[rule.host][-1] is o):
                        hosts[rule.host].append(o)
        return dict(hosts)

    @cached_property
    def policies(self) -> dict[str, list[str]]:
        """The NetworkPolicies by namespace: they may drop what the model lets through."""
        found: dict[str, list[str]] = defaultdict(list)
        for o in self.objects:
            if o.kind.endswith("NetworkPolicy"):
                found[o.namespace].append(o.name)
        return dict(found)

    @cached_property
    def routed_hosts(self) -> set[str]:
        """The hosts of HTTPRoutes and of Gateways' listeners, which are not walked through."""
        routes = {h for o in self.objects if isinstance(o, HTTPRoute) for h in o.spec.hostnames}
        return routes | {x.hostname for o in self.objects if isinstance(o, Gateway) for x in o.spec.listeners}

    @cached_property
    def secrets(self) -> set[tuple[str, str]]:
        return {(o.namespace, o.name) for o in self.objects if isinstance(o, Secret)}
