"""Nodes, pods, and what makes pods."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from .base import Condition, Object, object_, value
from .decode import CIDR, Address, Count, Invalid, Label, OptionalPort, Port, PortName, Protocol, Strings, address_check


@value
class NodeAddress:
    type: str = ""
    address: str = ""

    def check(self) -> None:
        if self.type in ("InternalIP", "ExternalIP"):
            address_check(self.address)


@value
class Taint:
    key: str = ""
    effect: str = ""


@value
class NodeSpec:
    podCIDR: CIDR = ""
    taints: tuple[Taint, ...] = ()


@value
class NodeStatus:
    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()


@object_
class Node(Object):
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)

    @property
    def address(self) -> str:
        return next((a.address for a in self.status.addresses if a.type == "InternalIP"), "")

    @property
    def zone(self) -> str:
        return self.metadata.labels.get("topology.kubernetes.io/zone", "")

    @property
    def ready(self) -> bool:
        return all(c.status == "True" for c in self.status.conditions if c.type == "Ready")


@object_
class Namespace(Object):
    pass


@value
class ContainerPort:
    containerPort: Port
    name: PortName = ""
    protocol: Protocol = "TCP"
    hostPort: OptionalPort = 0


@value
class Container:
    name: Label = ""
    image: str = ""
    args: tuple[str, ...] = ()
    ports: tuple[ContainerPort, ...] = ()


@value
class Toleration:
    key: str = ""
    operator: str = "Equal"
    effect: str = ""


@value
class PodSpec:
    containers: tuple[Container, ...] = ()
    nodeName: str = ""
    nodeSelector: Strings = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    hostNetwork: bool = False
    hostname: str = ""
    subdomain: str = ""


@value
class PodStatus:
    phase: str = ""
    podIP: Address = ""
    conditions: tuple[Condition, ...] = ()


@object_
class Pod(Object):
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)

    @property
    def terminating(self) -> bool:
        return bool(self.metadata.deletionTimestamp)

    @property
    def running(self) -> bool:
        return self.status.phase not in ("Succeeded", "Failed")

    @property
    def ready(self) -> bool:
        """A Pod without a Ready condition is taken as ready."""
        return self.running and all(c.status == "True" for c in self.status.conditions if c.type == "Ready")

    @property
    def host_ports(self) -> set[int]:
        """The ports of its node that lead to the pod: all of its own on the host's network, else its hostPorts."""
        ports = [p for c in self.spec.containers for p in c.ports]
        return {p.containerPort for p in ports} if self.spec.hostNetwork else {p.hostPort for p in ports if p.hostPort}

    def port_named(self, name: str, protocol: str) -> int | None:
        """The container port that a targetPort's name means in this pod."""
        ports = (p for c in self.spec.containers for p in c.ports)
        return next((p.containerPort for p in ports if p.name == name and p.protocol == protocol), None)


@value
class SelectorRequirement:
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


@value
class LabelSelector:
    matchLabels: Strings = field(default_factory=dict)
    matchExpressions: tuple[SelectorRequirement, ...] = ()

    def matches(self, labels: Strings) -> bool:
        return all(labels.get(k) == v for k, v in self.matchLabels.items()) and all(
            {
                "In": labels.get(r.key) in r.values,
                "NotIn": labels.get(r.key) not in r.values,
                "Exists": r.key in labels,
                "DoesNotExist": r.key not in labels,
            }[r.operator]
            for r in self.matchExpressions
        )


@value
class TemplateMeta:
    labels: Strings = field(default_factory=dict)
    annotations: Strings = field(default_factory=dict)


@value
class PodTemplate:
    metadata: TemplateMeta = field(default_factory=TemplateMeta)
    spec: PodSpec = field(default_factory=PodSpec)


@value
class WorkloadSpec:
    selector: LabelSelector
    template: PodTemplate
    replicas: Count = 1
    serviceName: str = ""


@object_
class Workload(Object):
    """Deployment, ReplicaSet, StatefulSet or DaemonSet: what makes pods from a template."""

    spec: WorkloadSpec

    def check(self) -> None:
        selector, labels = self.spec.selector, self.spec.template.metadata.labels
        if not (selector.matchLabels or selector.matchExpressions):
            raise Invalid("is empty", "matchLabels that select the template's labels", ("spec", "selector"))
        if not selector.matches(labels):
            raise Invalid(
                "does not select the pod template's labels",
                f"labels that match {dict(selector.matchLabels)}",
                ("spec", "template", "metadata", "labels"),
            )
