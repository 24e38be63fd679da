"""Which Ingress controllers exist, which Ingresses they serve, and how the model recognises their pods.

Class names and controller names are the projects' own (IngressClass examples of each, read 2026-11).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .objects import Gateway, Ingress, IngressClass, Object, Pod, Service, Workload

SPEC = "k8slb/spec"  # the Ingress specification itself, no product
INGRESS_NGINX = "k8s.io/ingress-nginx"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"  # before ingressClassName (Kubernetes 1.18); controllers still read it
CONTROLLER_LABEL = "k8slb/controller"  # marks pods as replicas of the controller named by a class


@dataclass(frozen=True)
class Known:
    """A controller the model has heard of: its usual class name, its annotations' prefix, its pods' app name."""

    class_name: str
    annotations: str = ""
    app: str = ""
    image: str = ""


KNOWN: dict[str, Known] = {
    INGRESS_NGINX: Known("nginx", "nginx.ingress.kubernetes.io/", "ingress-nginx", "ingress-nginx/controller"),
    "nginx.org/ingress-controller": Known("", "nginx.org/", "nginx-ingress", "nginx/nginx-ingress"),
    "traefik.io/ingress-controller": Known("traefik", "traefik.ingress.kubernetes.io/", "traefik", "traefik"),
    "haproxy.org/ingress-controller": Known(
        "haproxy", "haproxy.org/", "kubernetes-ingress", "haproxytech/kubernetes-ingress"
    ),
    "ingress-controllers.konghq.com/kong": Known("kong", "konghq.com/", "kong", "kong/kubernetes-ingress-controller"),
    "ingress.k8s.aws/alb": Known("alb", "alb.ingress.kubernetes.io/"),
    "ingress.gke.io/gce": Known("gce", "networking.gke.io/"),
    SPEC: Known("spec"),
}


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
        usual = next((c for c, known in KNOWN.items() if known.class_name == name and c != SPEC), "")
        if usual:
            why = f'there is no IngressClass "{name}"; by that name {usual} is usually installed'
            return Served(usual, why, assumed=True)
        return Served("", f'no IngressClass is named "{name}", so no controller serves it')
    default = [c for c in classes.values() if c.default]
    if len(default) == 1:
        return Served(default[0].spec.controller, f"IngressClass {default[0].name} is the default class")
    if default:
        return Served("", "it names no class and several classes are marked default: the API server refuses that")
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
        return self.name in (SPEC, INGRESS_NGINX)


def controller_objects(controller: str, class_name: str) -> list[dict]:
    """What is assumed of a controller whose pods are not in the input: one replica behind a LoadBalancer Service."""
    name = "ingress-nginx-controller" if controller == INGRESS_NGINX else f"{class_name or 'ingress'}-controller"
    meta = {"name": name, "namespace": "ingress-nginx" if controller == INGRESS_NGINX else "ingress"}
    labels = {CONTROLLER_LABEL: class_name or controller.replace("/", ".")}
    ports = (("http", 80), ("https", 443))
    container = {"name": "controller", "ports": [{"name": n, "containerPort": p} for n, p in ports]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    pods = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    front = {"type": "LoadBalancer", "selector": labels}
    front["ports"] = [{"name": n, "port": p, "targetPort": n} for n, p in ports]
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": pods},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": front},
    ]


def class_names(controller: str, objects: Iterable[Object]) -> list[str]:
    """The names of the classes that `controller` implements, its usual one last."""
    named = [o.name for o in objects if isinstance(o, IngressClass) and o.spec.controller == controller]
    usual = KNOWN[controller].class_name if controller in KNOWN else ""
    return named + [usual] * bool(usual and usual not in named)
