"""Ingresses and their classes."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from ..errors import shown
from .base import Object, object_, value
from .decode import Host, Invalid, Label, Name, Port, PortName, Strings
from .services import LoadBalancedStatus


@value
class BackendPort:
    name: PortName = ""
    number: Port | None = None

    def check(self) -> None:
        if bool(self.name) == bool(self.number):
            raise Invalid("needs exactly one of name and number", "port: {number: 80} or port: {name: http}")

    @property
    def wanted(self) -> int | str:
        return self.number or self.name


@value
class BackendService:
    name: Label
    port: BackendPort


@value
class IngressBackend:
    service: BackendService | None = None
    resource: Strings | None = None

    def check(self) -> None:
        if bool(self.service) == bool(self.resource):
            raise Invalid("needs exactly one of service and resource", "service: {name: ..., port: {number: 80}}")


@value
class HTTPIngressPath:
    pathType: Literal["Exact", "Prefix", "ImplementationSpecific"]
    backend: IngressBackend
    path: str = ""

    def check(self) -> None:
        if self.pathType != "ImplementationSpecific" and not self.path.startswith("/"):
            raise Invalid(f"{shown(self.path)} does not begin with /", "an absolute path", ("path",))
        for bad in ("//", "/./", "/../", "%2f", "%2F") if self.pathType != "ImplementationSpecific" else ():
            if bad in self.path:
                raise Invalid(f"{shown(self.path)} holds {bad}", "a path without it", ("path",))


@value
class HTTPIngressRule:
    paths: tuple[HTTPIngressPath, ...]


@value
class IngressRule:
    host: Host = ""
    http: HTTPIngressRule | None = None


@value
class IngressTLS:
    hosts: tuple[Host, ...] = ()
    secretName: str = ""


@value
class IngressSpec:
    ingressClassName: Name | None = None
    defaultBackend: IngressBackend | None = None
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTLS, ...] = ()


@object_
class Ingress(Object):
    spec: IngressSpec
    status: LoadBalancedStatus = field(default_factory=LoadBalancedStatus)

    def check(self) -> None:
        if not self.spec.rules and not self.spec.defaultBackend:
            raise Invalid("has neither rules nor defaultBackend", "one of them", ("spec",))


@value
class IngressClassSpec:
    controller: str = ""


@object_
class IngressClass(Object):
    spec: IngressClassSpec = IngressClassSpec()

    @property
    def default(self) -> bool:
        return self.metadata.annotations.get("ingressclass.kubernetes.io/is-default-class") == "true"
