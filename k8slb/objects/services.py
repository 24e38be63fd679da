"""Services, their EndpointSlices, and kube-proxy's configuration."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from ..errors import shown
from .base import Object, object_, value
from .decode import (
    CIDR,
    Address,
    CIDRs,
    Invalid,
    Label,
    OptionalPort,
    Policy,
    Port,
    PortName,
    Protocol,
    SourceRange,
    Strings,
    address_check,
    within,
)


@value
class ServicePort:
    port: Port
    name: Label = ""
    protocol: Protocol = "TCP"
    targetPort: Port | PortName | None = None
    nodePort: OptionalPort = 0

    @property
    def target(self) -> int | str:
        return self.targetPort or self.port


@value
class ClientIPConfig:
    timeoutSeconds: Annotated[int, within(1, 86400)] = 10800


@value
class SessionAffinityConfig:
    clientIP: ClientIPConfig = field(default_factory=ClientIPConfig)


@value
class ServiceSpec:
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
    sessionAffinityConfig: SessionAffinityConfig = field(default_factory=SessionAffinityConfig)
    loadBalancerSourceRanges: tuple[SourceRange, ...] = ()
    loadBalancerIP: Address = ""
    allocateLoadBalancerNodePorts: bool = True
    healthCheckNodePort: int = 0
    publishNotReadyAddresses: bool = False


@value
class LoadBalancerIngress:
    ip: Address = ""
    hostname: str = ""
    ipMode: Literal["VIP", "Proxy"] = "VIP"


@value
class LoadBalancerStatus:
    ingress: tuple[LoadBalancerIngress, ...] = ()


@value
class LoadBalancedStatus:
    loadBalancer: LoadBalancerStatus = field(default_factory=LoadBalancerStatus)


@object_
class Service(Object):
    spec: ServiceSpec
    status: LoadBalancedStatus = field(default_factory=LoadBalancedStatus)

    @property
    def headless(self) -> bool:
        return self.spec.clusterIP == "None"

    @property
    def external(self) -> bool:
        return self.spec.type in ("NodePort", "LoadBalancer")

    def port_of(self, wanted: int | str) -> ServicePort | None:
        """The port an Ingress or a URL means, by number or by name."""
        return next((p for p in self.spec.ports if wanted in (p.port, p.name)), None)

    def check(self) -> None:
        spec, ports = self.spec, self.spec.ports
        if spec.clusterIP not in ("", "None"):
            try:
                address_check(spec.clusterIP)
            except Invalid as error:
                raise Invalid(error.problem, 'an IP address, "None" or nothing', ("spec", "clusterIP")) from None
        if not ports and spec.type != "ExternalName" and not self.headless:
            raise Invalid("is missing", "at least one port", ("spec", "ports"))
        if spec.type == "ExternalName" and not spec.externalName:
            raise Invalid(
                "is missing", "the DNS name that a Service of type ExternalName stands for", ("spec", "externalName")
            )
        if self.headless and self.external:
            raise Invalid(f'"None" does not go with type {spec.type}', "an address or nothing", ("spec", "clusterIP"))
        if spec.externalTrafficPolicy == "Local" and not (self.external or spec.externalIPs):
            raise Invalid(
                "may only be Local for type NodePort or LoadBalancer",
                "Cluster or nothing",
                ("spec", "externalTrafficPolicy"),
            )
        seen: set[object] = set()
        for i, port in enumerate(ports):
            at = ("spec", "ports", i)
            if len(ports) > 1 and not port.name:
                raise Invalid("is missing", "a name for every port where there are several", (*at, "name"))
            for what, mark in (("name", port.name), ("port", (port.port, port.protocol))):
                if (what, mark) in seen and mark:
                    raise Invalid(f"stands twice in this Service: {shown(str(mark))}", "each once", (*at, what))
                seen.add((what, mark))
            if port.nodePort and not self.external:
                raise Invalid(f"does not go with type {spec.type}", "type NodePort or LoadBalancer", (*at, "nodePort"))


@value
class EndpointConditions:
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


@value
class Named:
    name: str = ""


@value
class EndpointHints:
    forZones: tuple[Named, ...] = ()
    forNodes: tuple[Named, ...] = ()


@value
class TargetRef:
    kind: str = ""
    name: str = ""


@value
class SliceEndpoint:
    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    nodeName: str = ""
    zone: str = ""
    hints: EndpointHints = EndpointHints()
    targetRef: TargetRef = TargetRef()


@value
class EndpointPort:
    port: Port | None = None
    name: str = ""
    protocol: Protocol = "TCP"


@object_
class EndpointSlice(Object):
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
                try:
                    address_check(address)
                except Invalid as error:
                    raise Invalid(error.problem, error.expected, ("endpoints", i, "addresses", j)) from None


@value
class ServiceCIDRSpec:
    cidrs: tuple[CIDR, ...] = ()


@object_
class ServiceCIDR(Object):
    spec: ServiceCIDRSpec


@value
class ProxyIPVS:
    scheduler: str = ""


@object_
class KubeProxyConfiguration(Object):
    mode: Literal["", "iptables", "ipvs", "nftables"] = ""
    clusterCIDR: CIDRs = ""
    detectLocalMode: Literal["", "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"] = ""
    ipvs: ProxyIPVS = ProxyIPVS()
    nodePortAddresses: tuple[str, ...] = ()
