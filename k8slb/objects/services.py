"""Services, their EndpointSlices, and kube-proxy's configuration."""

from dataclasses import field
from operator import attrgetter
from typing import Annotated, Literal

from ..errors import shown
from . import decode
from .base import Object, Reference, Value
from .decode import Address, Invalid, Label, OptionalPort, Policy, Port, PortName, Protocol, Strings, address_check


class ServicePort(Value):
    port: Port
    name: Label = ""
    protocol: Protocol = "TCP"
    targetPort: Port | PortName | None = None
    nodePort: OptionalPort = 0
    appProtocol: str = ""

    @property
    def target(self) -> int | str:
        return self.targetPort or self.port


class ClientIPConfig(Value):
    timeoutSeconds: Annotated[int, decode.within(1, 86400)] = 10800


class SessionAffinityConfig(Value):
    clientIP: ClientIPConfig = ClientIPConfig()


class ServiceSpec(Value):
    ports: tuple[ServicePort, ...] = ()
    selector: Strings = field(default_factory=dict)
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    clusterIP: str = ""
    externalIPs: tuple[Address, ...] = ()
    externalName: str = ""
    internalTrafficPolicy: Policy = "Cluster"
    externalTrafficPolicy: Policy = "Cluster"
    trafficDistribution: Literal["PreferClose", "PreferSameZone", "PreferSameNode"] | None = None
    sessionAffinity: Literal["None", "ClientIP"] = "None"
    sessionAffinityConfig: SessionAffinityConfig = SessionAffinityConfig()
    loadBalancerSourceRanges: tuple[decode.SourceRange, ...] = ()
    loadBalancerIP: Address = ""
    loadBalancerClass: str = ""
    allocateLoadBalancerNodePorts: bool = True
    healthCheckNodePort: int = 0
    publishNotReadyAddresses: bool = False

    @property
    def headless(self) -> bool:
        return self.clusterIP == "None"

    @property
    def external(self) -> bool:
        return self.type in ("NodePort", "LoadBalancer")

    def check(self) -> None:
        if self.clusterIP and not self.headless:
            address_check(self.clusterIP, 'an IP address, "None" or nothing', ("clusterIP",))
        if not self.ports and self.type != "ExternalName" and not self.headless:
            raise Invalid("is missing", "at least one port", ("ports",))
        if self.type == "ExternalName" and not self.externalName:
            expected = "the DNS name that a Service of type ExternalName stands for"
            raise Invalid("is missing", expected, ("externalName",))
        if self.headless and self.external:
            raise Invalid(f'"None" does not go with type {self.type}', "an address or nothing", ("clusterIP",))
        if self.externalTrafficPolicy == "Local" and not (self.external or self.externalIPs):
            problem = "may only be Local for type NodePort or LoadBalancer"
            raise Invalid(problem, "Cluster or nothing", ("externalTrafficPolicy",))
        seen: set[object] = set()
        for i, port in enumerate(self.ports):
            at = ("ports", i)
            if len(self.ports) > 1 and not port.name:
                raise Invalid("is missing", "a name for every port where there are several", (*at, "name"))
            for what, mark in (("name", port.name), ("port", (port.port, port.protocol))):
                if (what, mark) in seen and mark:
                    raise Invalid(f"stands twice in this Service: {shown(str(mark))}", "each once", (*at, what))
                seen.add((what, mark))
            if port.nodePort and not self.external:
                raise Invalid(f"does not go with type {self.type}", "type NodePort or LoadBalancer", (*at, "nodePort"))


class LoadBalancerIngress(Value):
    ip: Address = ""
    hostname: str = ""
    ipMode: Literal["VIP", "Proxy"] = "VIP"


class LoadBalancerStatus(Value):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class LoadBalancedStatus(Value):
    loadBalancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Object, group=""):
    spec: ServiceSpec
    status: LoadBalancedStatus = LoadBalancedStatus()

    headless = property(attrgetter("spec.headless"))
    external = property(attrgetter("spec.external"))

    def port_of(self, wanted: int | str) -> ServicePort | None:
        """The port an Ingress or a URL means, by number or by name."""
        return next((p for p in self.spec.ports if wanted in (p.port, p.name)), None)


class EndpointConditions(Value):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Named(Value):
    name: str = ""


class EndpointHints(Value):
    forZones: tuple[Named, ...] = ()
    forNodes: tuple[Named, ...] = ()


class SliceEndpoint(Value):
    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    nodeName: str = ""
    zone: str = ""
    hints: EndpointHints = EndpointHints()
    targetRef: Reference = Reference()


class EndpointPort(Value):
    port: Port | None = None
    name: str = ""
    protocol: Protocol = "TCP"


class EndpointSlice(Object, group="discovery.k8s.io"):
    addressType: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    @property
    def service(self) -> str:
        return self.metadata.labels.get("kubernetes.io/service-name", "")

    def check(self) -> None:
        for i, endpoint in enumerate(self.endpoints):
            if not endpoint.addresses:
                raise Invalid("is empty", "at least one address", ("endpoints", i, "addresses"))
            for j, address in enumerate(endpoint.addresses if self.addressType != "FQDN" else ()):
                address_check(address, path=("endpoints", i, "addresses", j))


class ServiceCIDRSpec(Value):
    cidrs: tuple[decode.CIDR, ...] = ()


class ServiceCIDR(Object, group="networking.k8s.io", namespaced=False):
    spec: ServiceCIDRSpec


class ProxyMasquerade(Value):
    """What the sections iptables and nftables say; IPVS reads that of iptables."""

    masqueradeAll: bool = False
    masqueradeBit: Annotated[int, decode.within(0, 31)] = 14
    localhostNodePorts: bool = True  # of iptables only


class ProxyIPVS(Value):
    scheduler: str = ""


class KubeProxyConfiguration(Object, group="kubeproxy.config.k8s.io", versions="v1alpha1", namespaced=False):
    mode: Literal["", "iptables", "ipvs", "nftables"] = ""
    clusterCIDR: decode.CIDRs = ""
    detectLocalMode: Literal["", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"] = ""
    iptables: ProxyMasquerade = ProxyMasquerade()
    ipvs: ProxyIPVS = ProxyIPVS()
    nftables: ProxyMasquerade = ProxyMasquerade()
    nodePortAddresses: tuple[str, ...] = ()
