"""HorizontalPodAutoscalers, as far as the model reads them: the CPU that pods use, in percent of what they request."""

from typing import Annotated, Literal

from .base import Object, Reference, Value
from .checks import Invalid, within
from .workloads import Positive


class ScalingPolicy(Value):
    type: Literal["Pods", "Percent"]
    value: Positive
    periodSeconds: Annotated[int, within(1, 1800)]


class ScalingRules(Value):
    policies: tuple[ScalingPolicy, ...] = ()
    selectPolicy: Literal["Max", "Min", "Disabled"] = "Max"
    stabilizationWindowSeconds: Annotated[int, within(0, 3600)] | None = None


class Behavior(Value):
    scaleUp: ScalingRules = ScalingRules()
    scaleDown: ScalingRules = ScalingRules()


class MetricTarget(Value):
    averageUtilization: Positive | None = None


class ResourceMetric(Value):
    name: str = ""
    target: MetricTarget = MetricTarget()


class Metric(Value):
    type: str
    resource: ResourceMetric = ResourceMetric()

    @property
    def cpu(self) -> int | None:
        return self.resource.target.averageUtilization if self.resource.name == "cpu" else None


class HorizontalPodAutoscalerSpec(Value):
    scaleTargetRef: Reference
    maxReplicas: Positive
    minReplicas: Positive = 1
    metrics: tuple[Metric, ...] = ()
    targetCPUUtilizationPercentage: Positive | None = None  # v1
    behavior: Behavior = Behavior()

    def check(self) -> None:
        if self.maxReplicas < self.minReplicas:
            raise Invalid(f"{self.maxReplicas} is below minReplicas", f"at least {self.minReplicas}", ("maxReplicas",))


class HorizontalPodAutoscaler(Object, group="autoscaling", versions="v2 v1"):
    spec: HorizontalPodAutoscalerSpec
