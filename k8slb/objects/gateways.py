"""The Gateway API's routing objects (v1, release 1.6) and the autoscaler's: read and checked, not walked through."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from .base import Object, object_, value
from .decode import Count, Host, Label, Name, Port


@value
class GatewayClassSpec:
    controllerName: str


@object_
class GatewayClass(Object):
    spec: GatewayClassSpec


@value
class Listener:
    name: str
    port: Port
    protocol: str
    hostname: Host = ""


@value
class GatewaySpec:
    gatewayClassName: Name
    listeners: tuple[Listener, ...] = ()


@object_
class Gateway(Object):
    spec: GatewaySpec


@value
class ParentReference:
    name: Name
    namespace: Label = ""
    sectionName: str = ""
    port: Port | None = None


@value
class BackendRef:
    name: str
    namespace: Label = ""
    kind: str = "Service"
    port: Port | None = None
    weight: Count = 1


@value
class HTTPPathMatch:
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: str = "/"


@value
class HTTPRouteMatch:
    path: HTTPPathMatch = HTTPPathMatch()


@value
class HTTPRouteRule:
    matches: tuple[HTTPRouteMatch, ...] = ()
    backendRefs: tuple[BackendRef, ...] = ()


@value
class HTTPRouteSpec:
    parentRefs: tuple[ParentReference, ...] = ()
    hostnames: tuple[Host, ...] = ()
    rules: tuple[HTTPRouteRule, ...] = ()


@object_
class HTTPRoute(Object):
    spec: HTTPRouteSpec


@value
class GrantTo:
    kind: str
    group: str = ""
    name: str = ""


@value
class ReferenceGrantSpec:
    # "from" is a keyword in Python, so the field that holds it is read from the raw mapping
    to: tuple[GrantTo, ...] = ()


@object_
class ReferenceGrant(Object):
    spec: ReferenceGrantSpec = field(default_factory=ReferenceGrantSpec)


@value
class ScaleTarget:
    kind: str
    name: str


@value
class AutoscalerSpec:
    scaleTargetRef: ScaleTarget
    maxReplicas: Count
    minReplicas: Count = 1


@object_
class HorizontalPodAutoscaler(Object):
    spec: AutoscalerSpec
