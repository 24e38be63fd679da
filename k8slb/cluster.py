"""A cluster as one immutable value: objects as written, and everything derived from them.

An edit gives a new cluster. What is derived is worked out once, when first asked for; look-ups go through indexes, so
a decision costs the same among 10 Services as among 10,000.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple, Self

from . import derive
from . import objects as k8s
from .controllers import Controller, Served, class_names, runs, serves
from .manifests import Manifests
from .objects.gateways import GROUP
from .scheduling import Running

PARENTS = {"Gateway": GROUP, "Service": ""}  # the kinds that routes name, and their groups
MODES = ("iptables", "nftables", "ipvs")


class Reached(NamedTuple):
    """What an address and port mean to kube-proxy: which Service port, and by which of its doors."""

    service: k8s.Service
    port: k8s.ServicePort
    door: str  # "ClusterIP", "LoadBalancer", "externalIP" or "NodePort"


def grouped(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list]:
    """The second of each pair by the first."""
    found: dict[Any, list] = {}
    for key, one in pairs:
        found.setdefault(key, []).append(one)
    return found


@dataclass(frozen=True)
class Cluster:
    """The bare value. `front.Cluster` adds what people type."""

    manifests: Manifests
    own_balancers: tuple[tuple[str, Any], ...] = ()  # (layer, a balancer's name or a function of one's own)
    moment: Running | None = field(default=None, repr=False)  # what runs, where that is not derived from the objects
    _memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def with_objects(self, objects: Iterable[k8s.Object]) -> Self:
        """The same cluster with other objects: what every edit comes to."""
        return replace(self, manifests=replace(self.manifests, objects=tuple(objects)), moment=None, _memo={})

    def while_running(self, pods: Iterable[k8s.Pod], nodes: Iterable[k8s.Node]) -> Self:
        """The same cluster at a moment when these pods and nodes run; an edit derives them anew. The EndpointSlices of
        Services with a selector are those that their controller would write now."""
        own = {(o.namespace, o.name) for o in self.services.values() if o.spec.selector}
        kept = (o for o in self.objects if not isinstance(o, k8s.EndpointSlice) or (o.namespace, o.service) not in own)
        return replace(self.with_objects(kept), moment=replace(self.running, pods=list(pods), nodes=list(nodes)))

    objects = property(attrgetter("manifests.objects"))
    nodes = property(attrgetter("running.nodes"))
    pods = property(attrgetter("running.pods"))
    services = property(attrgetter("running.services"))
    mode = property(lambda self: self.proxy_config.mode or "iptables")
    scheduler = property(lambda self: self.proxy_config.ipvs.scheduler or "rr")

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, worked out once for this cluster."""
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    @cached_property
    def _kinds(self) -> dict[type | str, list[k8s.Object]]:
        return grouped((kind, o) for o in self.objects for kind in (type(o), o.kind))

    def of(self, *kinds: type | str) -> list[Any]:
        """The input's objects of these types, or of the kinds that no type reads."""
        return [o for kind in kinds for o in self._kinds.get(kind, ())]

    @cached_property
    def namespaces(self) -> dict[str, k8s.ObjectMeta]:
        return {o.name: o.metadata for o in self.of(k8s.Namespace)}

    @cached_property
    def running(self) -> Running:
        return self.moment or derive.complete(self.objects)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the input left open and how it was filled in."""
        return tuple(self.running.assumptions)

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self.manifests.warnings, *self.running.warnings)

    @cached_property
    def node(self) -> dict[str, k8s.Node]:
        return {n.name: n for n in self.running.nodes}

    @cached_property
    def node_at(self) -> dict[str, k8s.Node]:
        return {a.address: n for n in self.nodes for a in n.status.addresses}

    @cached_property
    def pod_at(self) -> dict[str, k8s.Pod]:
        """Pods by their own address; a pod on the host's network is reached as its node."""
        return {p.status.podIP: p for p in self.pods if p.status.podIP and p.running and not p.spec.hostNetwork}

    @cached_property
    def pod_named(self) -> dict[tuple[str, str], k8s.Pod]:
        return {(p.namespace, p.name): p for p in self.pods}

    @cached_property
    def _host_pods(self) -> dict[str, list[k8s.Pod]]:
        placed = ((self.node.get(p.spec.nodeName), p) for p in self.pods if p.running and p.host_ports)
        return grouped((node.address, pod) for node, pod in placed if node)

    def pod_behind(self, address: str, port: int) -> k8s.Pod | None:
        """The pod that a packet to this address and port is delivered to; on a node's address, by its host ports."""
        own = self.pod_at.get(address)
        return own or next((p for p in self._host_pods.get(address, ()) if port in p.host_ports), None)

    def pod_name(self, address: str) -> str:
        """The name of the pod behind "ip:port", "" for none."""
        ip, _, port = address.rpartition(":")
        pod = self.pod_behind(ip, int(port)) if port.isdigit() else None
        return pod.name if pod else ""

    @cached_property
    def services_named(self) -> dict[str, list[k8s.Service]]:
        return grouped((s.name, s) for s in self.services.values())

    @cached_property
    def _pods_labelled(self) -> dict[tuple[str, str, str], list[k8s.Pod]]:
        return grouped(((p.namespace, *label), p) for p in self.pods for label in p.metadata.labels.items())

    def selected(self, namespace: str, selector: k8s.Strings) -> list[k8s.Pod]:
        """The pods that a Service's selector matches; none for an empty selector."""
        if not selector:
            return []
        sets = [self._pods_labelled.get((namespace, k, v), []) for k, v in selector.items()]
        return [p for p in min(sets, key=len) if selector.items() <= p.metadata.labels.items()]

    @cached_property
    def _slices(self) -> dict[tuple[str, str], list[k8s.EndpointSlice]]:
        found = grouped(((o.namespace, o.service), o) for o in self.of(k8s.EndpointSlice))
        return {key: [s for s in slices if s.addressType == "IPv4"] for key, slices in found.items()}

    def slices(self, service: k8s.Service) -> list[k8s.EndpointSlice]:
        """The EndpointSlices of a Service: those in the input, else what their controller would write."""
        key = (service.namespace, service.name)
        if key not in self._slices:
            matched = self.selected(service.namespace, service.spec.selector)
            self._slices[key] = derive.endpoint_slices(service, matched, self.node)
        return self._slices[key]

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
        return self._doors.get(("node" if address in self.node_at else address, port, protocol))

    @cached_property
    def cluster_ips(self) -> dict[str, k8s.Service]:
        return {s.spec.clusterIP: s for s in self.services.values() if s.spec.clusterIP not in ("", "None")}

    @cached_property
    def balancer_at(self) -> dict[str, k8s.Service]:
        """The LoadBalancer Services by the addresses (and hostnames) of their load balancers."""
        balanced = [s for s in self.services.values() if s.spec.type == "LoadBalancer"]
        return {i.ip or i.hostname: s for s in reversed(balanced) for i in s.status.loadBalancer.ingress}

    @cached_property
    def proxy_config(self) -> k8s.KubeProxyConfiguration:
        given = self.of(k8s.KubeProxyConfiguration)
        return given[0] if given else k8s.KubeProxyConfiguration(kind="KubeProxyConfiguration")

    @cached_property
    def classes(self) -> dict[str, k8s.IngressClass]:
        return {o.name: o for o in self.of(k8s.IngressClass)}

    @cached_property
    def served(self) -> dict[tuple[str, str, str], Served]:
        return {o.key: serves(o, self.classes) for o in self.of(k8s.Ingress)}

    @cached_property
    def controllers(self) -> dict[str, Controller]:
        """Every controller that a class or an Ingress names, with its pods and the Service in front of them."""
        names = [c.spec.controller for c in self.classes.values()] + [s.controller for s in self.served.values()]
        return {name: self._controller(name) for name in dict.fromkeys(names) if name}

    def _controller(self, name: str) -> Controller:
        called = class_names(name, self.objects)
        pods = [p for p in self.pods if runs(name, called, p)]
        mine = [o for o in self.of(k8s.Ingress) if self.served[o.key].controller == name]
        return Controller(name, tuple(pods), self._front_of(pods), tuple(mine))

    def _front_of(self, pods: list[k8s.Pod], ports: Iterable[int] = (80, 443)) -> k8s.Service | None:
        """The Service that leads to these pods from outside: a LoadBalancer before a NodePort before any other."""
        if not pods:
            return None
        rank = ("LoadBalancer", "NodePort", "ClusterIP")
        mine = [s for s in self.services.values() if s.spec.type in rank and s.selects(pods[0])]
        mine = [s for s in mine if any(p.port in ports for p in s.spec.ports)]
        return min(mine, key=lambda s: (rank.index(s.spec.type), s.headless), default=None)

    @cached_property
    def gateways(self) -> dict[tuple[str, str], Controller]:
        """Every Gateway by namespace and name, with the pods that are its replicas and the Service in front of them."""
        classes = {o.name: o for o in self.of(k8s.GatewayClass)}
        found = {}
        for one in self.of(k8s.Gateway):
            pods = self.selected(one.namespace, {derive.GATEWAY_LABEL: one.name})
            front = self._front_of(pods, {x.port for x in one.spec.listeners})
            found[one.namespace, one.name] = Controller(
                derive.gateway_of(one, classes).controller, tuple(pods), front, gateway=one
            )
        return found

    @cached_property
    def routes_of(self) -> dict[tuple[str, str, str], list[tuple[k8s.HTTPRoute, k8s.ParentReference]]]:
        """The HTTPRoutes by (kind, namespace, name) of what they name as a parent: a Gateway, or a Service (mesh)."""
        named = ((r, p) for r in self.of(k8s.HTTPRoute) for p in r.spec.parentRefs if p.group == PARENTS.get(p.kind))
        return grouped(((p.kind, p.namespace or r.namespace, p.name), (r, p)) for r, p in named)

    @cached_property
    def grants(self) -> dict[str, list[k8s.ReferenceGrant]]:
        return grouped((o.namespace, o) for o in self.of(k8s.ReferenceGrant))

    @cached_property
    def replica_at(self) -> dict[str, Controller]:
        """The controller, or the Gateway, by its replicas' addresses."""
        running = (*self.controllers.values(), *self.gateways.values())
        return {p.status.podIP: c for c in running for p in c.pods if p.status.podIP}

    @cached_property
    def hosts(self) -> dict[str, list[k8s.Ingress]]:
        """The Ingresses by the hosts they name ("" for a rule without a host)."""
        return grouped((host, i) for i in self.of(k8s.Ingress) for host in dict.fromkeys(r.host for r in i.spec.rules))

    @cached_property
    def policies(self) -> dict[str, list[str]]:
        """The NetworkPolicies by namespace: they may drop what the model lets through."""
        return grouped((o.namespace, o.name) for o in self.objects if o.kind.endswith("NetworkPolicy"))

    @cached_property
    def gateway_hosts(self) -> dict[str, dict[tuple[str, str], k8s.Object]]:
        """The Gateways by the hosts that an HTTPRoute of theirs or a listener names, and the first to do so."""
        found: dict[str, dict[tuple[str, str], k8s.Object]] = {}
        for key, controller in self.gateways.items():
            routes = [r for r, _ in self.routes_of.get(("Gateway", *key), ())]
            named = [(h, r) for r in routes for h in r.spec.hostnames]
            named += [(x.hostname, controller.gateway) for x in controller.gateway.spec.listeners if x.hostname]
            for host, by in named:
                found.setdefault(host, {}).setdefault(key, by)
        return found

    @cached_property
    def secrets(self) -> dict[tuple[str, str], k8s.Secret]:
        return {(o.namespace, o.name): o for o in self.of(k8s.Secret)}
