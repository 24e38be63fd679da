"""Which Ingress controllers there are, what is known of each, which Ingresses they serve and how their pods look.

Class names and controller names are the projects' own (IngressClass examples of each, read 2026-11).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import InputError, NotModelled, shown
from .manifests import table_of
from .objects import Gateway, Ingress, IngressClass, Object, Pod, Service, Workload

SPEC = "k8slb/spec"  # the Ingress specification itself, no product
INGRESS_NGINX = "k8s.io/ingress-nginx"
TRAEFIK = "traefik.io/ingress-controller"
MODELLED = (SPEC, INGRESS_NGINX, TRAEFIK)  # the others are known by their declared facts only
CLASS_ANNOTATION = "kubernetes.io/ingress.class"  # before ingressClassName (Kubernetes 1.18); controllers still read it
CONTROLLER_LABEL = "k8slb/controller"  # marks pods as replicas of the controller named by a class


@dataclass(frozen=True)
class Known:
    """What is known of a controller: its usual class, its annotations' prefix and those that the model reads
    (`reads`), its pods' app name and image, where its chart installs it (namespace/name), what it dials unless told
    otherwise (`opt_in`), its default balancer (`published`: the name in k8slb.balancers), the `headers` it sets and the
    `certificate` it serves where none is given. From data/controllers.json, with the source of each."""

    title: str
    version: str
    dials: str
    balancer: str
    purpose: str
    status: str
    source: str
    class_name: str = ""
    annotations: str = ""
    app: str = ""
    image: str = ""
    installed: str = ""
    opt_in: str = ""
    published: str = ""
    reads: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    certificate: str | None = None


KNOWN = {name: Known(**facts) for name, facts in table_of("controllers").items()}


@dataclass(frozen=True)
class Served:
    """Who serves an Ingress: `controller` ("" for nobody) and why."""

    controller: str
    why: str
    assumed: bool = False


def serves(ingress: Ingress, classes: dict[str, IngressClass]) -> Served:
    """The controller that serves `ingress`, by Kubernetes' rules for IngressClass (networking.k8s.io/v1)."""
    annotations = ingress.metadata.annotations
    name = ingress.spec.ingressClassName or annotations.get(CLASS_ANNOTATION)
    if name:
        if name in classes:
            return Served(classes[name].spec.controller, f"IngressClass {name}")
        usual = next((c for c, known in KNOWN.items() if name in (known.class_name, c) and c != SPEC), "")
        if usual:
            why = f'there is no IngressClass "{name}"; by that name {usual} is usually installed'
            return Served(usual, why, assumed=True)
        return Served("", f'no IngressClass is named "{name}", so no controller serves it')
    default = sorted((c for c in classes.values() if c.default), key=lambda c: c.name)
    if default:  # the newest: plugin/pkg/admission/network/defaultingressclass
        newest, several = max(default, key=lambda c: c.metadata.creationTimestamp), len(default) > 1
        why = f"IngressClass {newest.name} is the default class" + ", the newest of several" * several
        return Served(newest.spec.controller, why, assumed=several)
    prefixes = {known.annotations: c for c, known in KNOWN.items() if known.annotations}
    hinted = {c for prefix, c in prefixes.items() if any(a.startswith(prefix) for a in annotations)}
    if len(hinted) == 1 and not classes:
        controller = hinted.pop()
        return Served(controller, f"it names no class; its annotations are those of {controller}", assumed=True)
    if not classes:
        why = "it names no class and there is no IngressClass: the specification itself serves it"
        return Served(SPEC, why, assumed=True)
    if [c.spec.controller for c in classes.values()] == [SPEC]:
        return Served(SPEC, "it names no class; the only class is the specification's, which serves it", assumed=True)
    if TRAEFIK in (c.spec.controller for c in classes.values()):
        return Served(TRAEFIK, "it names no class, and Traefik serves such Ingresses as well", assumed=True)
    return Served("", "it names no class and no class is marked default, so controllers may ignore it")


def runs(controller: str, class_names: Iterable[str], thing: Pod | Workload) -> bool:
    """Whether a pod, or what makes pods, is of replicas of `controller`: by its labels, or its images."""
    template = thing.spec.template if isinstance(thing, Workload) else thing
    labels = template.metadata.labels
    mark = labels.get(CONTROLLER_LABEL)
    if mark is not None:
        return mark in class_names or mark == controller.replace("/", ".")
    known = KNOWN.get(controller)
    if known is None or not known.app:
        return False
    if labels.get("app.kubernetes.io/name") == known.app:
        return labels.get("app.kubernetes.io/component", "controller") == "controller"
    return any(re.fullmatch(f".*{known.image}([:@].*)?", c.image) for c in template.spec.containers)


@dataclass(frozen=True)
class Controller:
    """A controller as it runs in a cluster: its replicas, the Service in front of them, the Ingresses it serves, or the
    Gateway that these replicas are of."""

    name: str
    pods: tuple[Pod, ...] = ()
    service: Service | None = None
    ingresses: tuple[Ingress, ...] = ()
    gateway: Gateway | None = None

    @property
    def modelled(self) -> bool:
        return self.name in MODELLED

    def not_modelled(self) -> NotModelled:
        """The error for a request through it, with what its makers say of it in a sentence."""
        known = KNOWN.get(self.name)
        if known is None:
            spec = ": gatewayClassName k8slb-spec asks the specification instead" * (self.gateway is not None)
            return NotModelled(f"requests through the controller {self.name}{spec}")
        told = f"it dials {known.dials}" + (f" ({known.opt_in})" if known.opt_in else "")
        return NotModelled(f"requests through {known.title} ({self.name}): {told}, by default by {known.balancer}")


def unread(own: Known, thing: Object) -> str:
    """The annotations made for Ingress controllers that have no part in what one of them does here."""
    made = tuple(known.annotations for known in KNOWN.values() if known.annotations)
    names = (n for n in thing.metadata.annotations if n.startswith(made))
    return ", ".join(sorted(n for n in names if n.removeprefix(own.annotations).lower() not in own.reads))


def named(name: object) -> str:
    """The controller with that name, usual class or app name, such as "traefik"; InputError naming the others."""
    found = next((c for c, known in KNOWN.items() if name and name in (c, known.class_name, known.app)), None)
    if found is None:
        others = ", ".join(sorted(k.class_name or k.app for k in KNOWN.values() if k.class_name or k.app))
        raise InputError(f"there is no Ingress controller {shown(name)}", expected=f"a full name, or one of: {others}")
    return found


def replica(meta: Mapping, labels: Mapping, ports: Iterable[tuple[str, int, str]], **front: Any) -> list[dict]:
    """What is assumed where the input has no pods: one, with these labels and (name, number, protocol) of its ports,
    behind a Service of type LoadBalancer, which has the fields `front` as well."""
    inside = [{"name": name, "containerPort": number, "protocol": protocol} for name, number, protocol in ports]
    outside = [{"name": name, "port": number, "protocol": protocol} for name, number, protocol in ports]
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "controller", "ports": inside}]}}
    pods = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    service = {"type": "LoadBalancer", "selector": labels, "ports": outside}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": pods},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service, **front},
    ]


def replica_of(controller: str, class_name: str) -> list[dict]:
    """That of a controller, where its chart installs it."""
    installed = KNOWN[controller].installed if controller in KNOWN else ""
    namespace, name = (installed or f"ingress/{class_name or 'ingress'}-controller").split("/")
    labels = {CONTROLLER_LABEL: class_name or controller.replace("/", ".")}
    return replica({"name": name, "namespace": namespace}, labels, (("http", 80, "TCP"), ("https", 443, "TCP")))


def class_names(controller: str, objects: Iterable[Object]) -> list[str]:
    """The names of the classes that `controller` implements, its usual one last."""
    named = [o.name for o in objects if isinstance(o, IngressClass) and o.spec.controller == controller]
    usual = KNOWN[controller].class_name if controller in KNOWN else ""
    return named + [usual] * bool(usual and usual not in named)
