"""Ingresses and their classes."""

from typing import Literal

from .base import Object, Value
from .checks import Invalid, absolute_path, exactly_one
from .fields import Host, Label, Name, Port, PortName, Strings
from .services import LoadBalancedStatus


class BackendPort(Value):
    name: PortName = ""
    number: Port | None = None

    check = exactly_one("port: {number: 80} or port: {name: http}", "name", "number")

    @property
    def wanted(self) -> int | str:
        return self.number or self.name


class BackendService(Value):
    name: Label
    port: BackendPort


class IngressBackend(Value):
    service: BackendService | None = None
    resource: Strings | None = None

    check = exactly_one("service: {name: ..., port: {number: 80}}", "service", "resource")


class HTTPIngressPath(Value):
    pathType: Literal["Exact", "Prefix", "ImplementationSpecific"]
    backend: IngressBackend
    path: str = ""

    def check(self) -> None:
        if self.pathType != "ImplementationSpecific":
            absolute_path(self.path, ("path",))


class HTTPIngressRule(Value):
    paths: tuple[HTTPIngressPath, ...]


class IngressRule(Value):
    host: Host = ""
    http: HTTPIngressRule | None = None


class IngressTLS(Value):
    hosts: tuple[Host, ...] = ()
    secretName: str = ""


class IngressSpec(Value):
    ingressClassName: Name | None = None
    defaultBackend: IngressBackend | None = None
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTLS, ...] = ()

    def check(self) -> None:
        if not self.rules and not self.defaultBackend:
            raise Invalid("has neither rules nor defaultBackend", "one of them")


class Ingress(Object, group="networking.k8s.io"):
    spec: IngressSpec
    status: LoadBalancedStatus = LoadBalancedStatus()


class IngressClassSpec(Value):
    controller: str = ""


class IngressClass(Object, group="networking.k8s.io", namespaced=False):
    spec: IngressClassSpec = IngressClassSpec()

    @property
    def default(self) -> bool:
        return self.metadata.annotations.get("ingressclass.kubernetes.io/is-default-class") == "true"
