"""Services, their EndpointSlices, and kube-proxy's configuration."""

from dataclasses import field
from operator import attrgetter
from typing import Annotated, Literal

from .base import Object, Reference, Value
from .checks import Invalid, address_check, distinct, is_address, is_cidr, must, within
from .fields import (
    CIDR,
    NO_CIDR,
    Address,
    CIDRs,
    Label,
    OptionalPort,
    Policy,
    Port,
    PortName,
    Protocol,
    SourceRange,
    Strings,
)

NodePortAddress = Annotated[str, must(lambda text: text == "primary" or is_cidr(text), *NO_CIDR)]


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
    timeoutSeconds: Annotated[int, within(1, 86400)] = 10800


class SessionAffinityConfig(Value):
    clientIP: ClientIPConfig = ClientIPConfig()


ClusterIP = Annotated[
    str, must(lambda ip: ip == "None" or is_address(ip), "{} is not an IP address", 'an IP address, "None" or nothing')
]


class ServiceSpec(Value):
    ports: Annotated[tuple[ServicePort, ...], distinct("name"), distinct("port", "protocol")] = ()
    selector: Strings = field(default_factory=dict)
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    clusterIP: ClusterIP = ""
    externalIPs: tuple[Address, ...] = ()
    externalName: str = ""
    internalTrafficPolicy: Policy = "Cluster"
    externalTrafficPolicy: Policy = "Cluster"
    trafficDistribution: Literal["PreferClose", "PreferSameZone", "PreferSameNode"] | None = None
    sessionAffinity: Literal["None", "ClientIP"] = "None"
    sessionAffinityConfig: SessionAffinityConfig = SessionAffinityConfig()
    loadBalancerSourceRanges: tuple[SourceRange, ...] = ()
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
        if not self.ports and self.type != "ExternalName" and not self.headless:
            raise Invalid("is missing", "at least one port", ("ports",))
        if self.type == "ExternalName" and not self.externalName:
            raise Invalid("is missing", "the DNS name that the Service stands for", ("externalName",))
        if self.headless and self.external:
            raise Invalid(f'"None" does not go with type {self.type}', "an address or nothing", ("clusterIP",))
        if self.externalTrafficPolicy == "Local" and not (self.external or self.externalIPs):
            raise Invalid("may only be Local for type NodePort or LoadBalancer", "Cluster", ("externalTrafficPolicy",))
        for i, port in enumerate(self.ports):
            if len(self.ports) > 1 and not port.name:
                raise Invalid("is missing", "a name for every port where there are several", ("ports", i, "name"))
            if port.nodePort and not self.external:
                expected = "type NodePort or LoadBalancer"
                raise Invalid(f"does not go with type {self.type}", expected, ("ports", i, "nodePort"))


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

    def selects(self, one: Object) -> bool:
        """Whether its selector matches a pod (never a node, which is in no namespace); an empty one matches none."""
        wanted = self.spec.selector.items()
        return bool(wanted) and one.namespace == self.namespace and wanted <= one.metadata.labels.items()

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
    addresses: Annotated[tuple[str, ...], must(bool, "is empty", "at least one address")]
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
        for i, endpoint in enumerate(self.endpoints if self.addressType != "FQDN" else ()):
            for j, address in enumerate(endpoint.addresses):
                address_check(address, ("endpoints", i, "addresses", j))


class ServiceCIDRSpec(Value):
    cidrs: tuple[CIDR, ...] = ()


class ServiceCIDR(Object, group="networking.k8s.io", namespaced=False):
    spec: ServiceCIDRSpec


class ProxyMasquerade(Value):
    """What the sections iptables and nftables say; IPVS reads that of iptables."""

    masqueradeAll: bool = False
    masqueradeBit: Annotated[int, within(0, 31)] = 14
    localhostNodePorts: bool = True  # of iptables only


class ProxyIPVS(Value):
    scheduler: str = ""


class ProxyConntrack(Value):
    maxPerCore: Annotated[int, within(0, 10**9)] = 32_768
    min: Annotated[int, within(0, 10**9)] = 131_072


class KubeProxyConfiguration(Object, group="kubeproxy.config.k8s.io", versions="v1alpha1", namespaced=False):
    mode: Literal["", "iptables", "ipvs", "nftables"] = ""
    clusterCIDR: CIDRs = ""
    detectLocalMode: Literal["", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"] = ""
    iptables: ProxyMasquerade = ProxyMasquerade()
    ipvs: ProxyIPVS = ProxyIPVS()
    nftables: ProxyMasquerade = ProxyMasquerade()
    nodePortAddresses: tuple[NodePortAddress, ...] = ()
    conntrack: ProxyConntrack = ProxyConntrack()
