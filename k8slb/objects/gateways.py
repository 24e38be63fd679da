"""The Gateway API's routing objects (v1, release 1.6) and the autoscaler's: read and checked, not walked through."""

from typing import Literal

from .base import Object, Value
from .decode import Count, Host, Label, Name, Port

GROUP, SERVED = "gateway.networking.k8s.io", "v1 v1beta1"


class GatewayClassSpec(Value):
    controllerName: str


class GatewayClass(Object, group=GROUP, versions=SERVED, namespaced=False):
    spec: GatewayClassSpec


class Listener(Value):
    name: str
    port: Port
    protocol: str
    hostname: Host = ""


class GatewaySpec(Value):
    gatewayClassName: Name
    listeners: tuple[Listener, ...] = ()


class Gateway(Object, group=GROUP, versions=SERVED):
    spec: GatewaySpec


class ParentReference(Value):
    name: Name
    namespace: Label = ""
    sectionName: str = ""
    port: Port | None = None


class BackendRef(Value):
    name: str
    namespace: Label = ""
    kind: str = "Service"
    port: Port | None = None
    weight: Count = 1


class HTTPPathMatch(Value):
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: str = "/"


class HTTPRouteMatch(Value):
    path: HTTPPathMatch = HTTPPathMatch()


class HTTPRouteRule(Value):
    matches: tuple[HTTPRouteMatch, ...] = ()
    backendRefs: tuple[BackendRef, ...] = ()


class HTTPRouteSpec(Value):
    parentRefs: tuple[ParentReference, ...] = ()
    hostnames: tuple[Host, ...] = ()
    rules: tuple[HTTPRouteRule, ...] = ()


class HTTPRoute(Object, group=GROUP, versions=SERVED):
    spec: HTTPRouteSpec


class GrantTo(Value):
    kind: str
    group: str = ""
    name: str = ""


class ReferenceGrantSpec(Value):
    # "from" is a keyword in Python, so the field that holds it is read from the raw mapping
    to: tuple[GrantTo, ...] = ()


class ReferenceGrant(Object, group=GROUP, versions=SERVED):
    spec: ReferenceGrantSpec = ReferenceGrantSpec()


class ScaleTarget(Value):
    kind: str
    name: str


class AutoscalerSpec(Value):
    scaleTargetRef: ScaleTarget
    maxReplicas: Count
    minReplicas: Count = 1


class HorizontalPodAutoscaler(Object, group="autoscaling", versions="v2 v1"):
    spec: AutoscalerSpec
