"""Nodes, pods, and what makes pods."""

from dataclasses import field
from typing import Annotated, Literal

from .base import Condition, Object, ObjectMeta, Value
from .checks import Invalid, address_check, matching, within
from .fields import CIDR, Address, Count, Label, OptionalPort, Port, PortName, Protocol, Strings

DOWN = "k8slb/down"  # the model's own annotation: it is dead, whatever the API server still believes


class NodeAddress(Value):
    type: str = ""
    address: str = ""

    def check(self) -> None:
        if self.type in ("InternalIP", "ExternalIP"):
            address_check(self.address)


class Taint(Value):
    key: str = ""
    effect: str = ""


class NodeSpec(Value):
    podCIDR: CIDR = ""
    providerID: str = ""
    taints: tuple[Taint, ...] = ()


class NodeStatus(Value):
    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()


class _Lives(Object):
    """What has a Ready condition, and may be dead before anybody has noticed."""

    @property
    def ready(self) -> bool:
        """One without a Ready condition is taken as ready."""
        return all(c.status == "True" for c in self.status.conditions if c.type == "Ready")

    @property
    def down(self) -> str:
        """What is really the matter with it (layers/pods.py), "" where nothing is."""
        return self.metadata.annotations.get(DOWN, "")


class Node(_Lives, group="", namespaced=False):
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def address(self) -> str:
        return next((a.address for a in self.status.addresses if a.type == "InternalIP"), "")

    @property
    def zone(self) -> str:
        return self.metadata.labels.get("topology.kubernetes.io/zone", "")


class Namespace(Object, group="", namespaced=False): ...


class ContainerPort(Value):
    containerPort: Port
    name: PortName = ""
    protocol: Protocol = "TCP"
    hostPort: OptionalPort = 0


Positive = Annotated[int, within(1, 10**9)]


class Probe(Value):
    initialDelaySeconds: Count = 0
    periodSeconds: Positive = 10
    successThreshold: Positive = 1
    failureThreshold: Positive = 3


class ExecAction(Value):
    command: tuple[str, ...] = ()


class SleepAction(Value):
    seconds: Count


class LifecycleHandler(Value):
    exec: ExecAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Value):
    preStop: LifecycleHandler | None = None


class Container(Value):
    name: Label = ""
    image: str = ""
    args: tuple[str, ...] = ()
    restartPolicy: str = ""
    ports: tuple[ContainerPort, ...] = ()
    readinessProbe: Probe | None = None
    livenessProbe: Probe | None = None
    lifecycle: Lifecycle = Lifecycle()


class Toleration(Value):
    key: str = ""
    operator: str = "Equal"
    effect: str = ""
    tolerationSeconds: int | None = None


class PodSpec(Value):
    containers: tuple[Container, ...] = ()
    initContainers: tuple[Container, ...] = ()
    serviceAccountName: str = ""
    nodeName: str = ""
    nodeSelector: Strings = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    hostNetwork: bool = False
    terminationGracePeriodSeconds: Count = 30
    hostname: str = ""
    subdomain: str = ""

    @property
    def ports(self) -> list[ContainerPort]:
        """Those of the containers, then of sidecars, which are init containers that stay (FindPort of Kubernetes)."""
        sidecars = (c for c in self.initContainers if c.restartPolicy == "Always")
        return [p for c in (*self.containers, *sidecars) for p in c.ports]


class PodStatus(Value):
    phase: str = ""
    podIP: Address = ""
    conditions: tuple[Condition, ...] = ()


class Pod(_Lives, group=""):
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def terminating(self) -> bool:
        return bool(self.metadata.deletionTimestamp)

    @property
    def running(self) -> bool:
        return self.status.phase not in ("Succeeded", "Failed")

    @property
    def ready(self) -> bool:
        return self.running and super().ready

    @property
    def host_ports(self) -> set[int]:
        """The ports of its node that lead to the pod: all of its own on the host's network, else its hostPorts."""
        ports = self.spec.ports
        return {p.containerPort for p in ports} if self.spec.hostNetwork else {p.hostPort for p in ports if p.hostPort}

    def port_for(self, target: int | str, protocol: str) -> int | None:
        """The port that a Service's targetPort, a number or a container port's name, means in this pod."""
        named = (p.containerPort for p in self.spec.ports if (p.name, p.protocol) == (target, protocol))
        return target if isinstance(target, int) else next(named, None)


class SelectorRequirement(Value):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()

    def holds(self, labels: Strings) -> bool:
        found = labels.get(self.key) in self.values if self.operator.endswith("In") else self.key in labels
        return found == (self.operator in ("In", "Exists"))


class LabelSelector(Value):
    matchLabels: Strings = field(default_factory=dict)
    matchExpressions: tuple[SelectorRequirement, ...] = ()

    def matches(self, labels: Strings) -> bool:
        return self.matchLabels.items() <= labels.items() and all(r.holds(labels) for r in self.matchExpressions)


class PodTemplate(Value):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()


Share = Count | Annotated[str, matching(r"\d{1,9}%", "a percentage such as 25%", "is no percentage")]


class RollingUpdate(Value):
    maxSurge: Share = "25%"
    maxUnavailable: Share = "25%"

    def check(self) -> None:
        if self.maxSurge in (0, "0%") and self.maxUnavailable in (0, "0%"):
            raise Invalid("may not be 0 when maxSurge is 0", "a pod more or a pod less", ("maxUnavailable",))


class DeploymentStrategy(Value):
    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    rollingUpdate: RollingUpdate = RollingUpdate()


class WorkloadSpec(Value):
    selector: LabelSelector
    template: PodTemplate
    replicas: Count = 1
    strategy: DeploymentStrategy = DeploymentStrategy()
    minReadySeconds: Count = 0
    serviceName: str = ""

    def check(self) -> None:
        if not (self.selector.matchLabels or self.selector.matchExpressions):
            raise Invalid("is empty", "matchLabels that select the template's labels", ("selector",))
        if not self.selector.matches(self.template.metadata.labels):
            expected, path = f"labels that match {dict(self.selector.matchLabels)}", ("template", "metadata", "labels")
            raise Invalid("does not select the pod template's labels", expected, path)


class Workload(Object, group="apps", kinds=("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")):
    """What makes pods from a template."""

    spec: WorkloadSpec
