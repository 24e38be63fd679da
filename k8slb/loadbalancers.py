"""Which load balancer stands before a Service of type LoadBalancer, and what its vendor says of it.

The YAML says which: spec.loadBalancerClass, else the Service's annotations, else spec.providerID of the nodes. What is
known of each stands in data/load-balancers.json, with its sources. The annotation `k8slb/health-check: "off"` is the
model's own: every registered node counts as healthy, as it does until a check has noticed (`check_seconds`), or for
good where the check asks the wrong port. `k8slb/load-balancer: aws-alb` (or gcp-proxy) is its own as well: Kubernetes
has no field that says of a Service that a layer 7 load balancer stands before it, whose rules send everything there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import InputError, NotModelled, shown
from .manifests import table_of
from .objects import Node, Service

HEALTH_CHECK = "k8slb/health-check"
CHOSEN = "k8slb/load-balancer"
ALB = "alb.ingress.kubernetes.io/"  # the controller reads these on a Service too, for its target group
NEG = "cloud.google.com/neg"
AWS = "service.beta.kubernetes.io/aws-load-balancer-"
# the annotation by which each has its targets
TARGETS = {"aws-nlb": AWS + "nlb-target-type", "aws-alb": ALB + "target-type", "gcp-proxy": NEG}
CROSS_ZONE = "load_balancing.cross_zone.enabled"
ALGORITHM = "load_balancing.algorithm.type"


@dataclass(frozen=True)
class LoadBalancer:
    """What a vendor says, or how a Service's own is set (`targets` is then the one).

    `keeps_source`: the targets that see the client's address; `keeps_destination`: the packet still has the balancer's
    address; `probe`: what a health check asks under each externalTrafficPolicy; `check_seconds`: until a failing
    target is left out; `drain_seconds`: the deregistration delay; `fails_open`: with no healthy target, all get
    traffic; `checked`: it has a health check. None: not known.
    """

    name: str
    title: str
    grain: str
    algorithm: str
    targets: Sequence[str]
    cross_zone: bool
    cross_zone_settable: bool
    keeps_source: Sequence[str]
    keeps_destination: bool
    probe: Mapping[str, str]
    check_seconds: int | None
    drain_seconds: int | None
    fails_open: bool | None
    notes: str
    sources: Mapping[str, str]
    hashes_client_ip: bool = False  # where sessionAffinity is ClientIP
    load_balancer_class: str | None = None
    annotations: Sequence[str] = ()  # prefixes that are this vendor's
    provider: str = ""
    marks: Mapping[str, str] = field(default_factory=dict)  # annotations that choose it
    checked: bool = True
    balancers: Mapping[str, str] = field(default_factory=lambda: {"hash": "cloud-lb-flow-hash"})  # the first by default
    no_target: int | None = None  # layer 7: the status where nothing is registered


KNOWN = {name: LoadBalancer(name, **facts) for name, facts in table_of("load-balancers").items()}


def kind_of(service: Service, nodes: Sequence[Node]) -> LoadBalancer:
    """The load balancer that the YAML names for a Service; "generic" where it names none that is known."""
    wanted, notes = service.spec.loadBalancerClass, service.metadata.annotations
    provider = nodes[0].spec.providerID if nodes else ""
    if CHOSEN in notes:
        file, line = service.where("metadata", "annotations", CHOSEN)
        return known(notes[CHOSEN], file=file, line=line)
    for kind in KNOWN.values():  # MetalLB's class is whatever --lb-class says where it was installed
        if wanted and (wanted == kind.load_balancer_class or (kind.name == "metallb-l2" and "metallb" in wanted)):
            return kind
        if not wanted and any(n.startswith(a) for a in kind.annotations for n in notes):
            return kind
    provided = (k for k in KNOWN.values() if k.provider and provider.startswith(k.provider) and not wanted)
    return next(provided, KNOWN["generic"])


def known(name: str, **where: Any) -> LoadBalancer:
    if name not in KNOWN:
        expected = "one of: " + ", ".join(KNOWN)
        raise InputError(f"there is no load balancer {shown(name)}", expected=expected, **where)
    return KNOWN[name]


def setting(service: Service, nodes: Sequence[Node]) -> LoadBalancer:
    """The load balancer of a Service as it is set. InputError for a target type that there is not."""
    kind, notes = kind_of(service, nodes), service.metadata.annotations
    target, checked = kind.targets[0], notes.get(HEALTH_CHECK) != "off"
    if kind.name == "aws-nlb":
        target = notes.get(TARGETS[kind.name]) or ("ip" if notes.get(AWS + "type") == "nlb-ip" else target)
        if target not in kind.targets:
            file, line = service.where("metadata", "annotations", TARGETS[kind.name])
            raise InputError(f"{shown(target)} is no target type", expected="instance or ip", file=file, line=line)
        old = notes.get(AWS + "cross-zone-load-balancing-enabled")
        across = _pairs(notes.get(AWS + "attributes", "")).get(CROSS_ZONE, old)
        kept = _pairs(notes.get(AWS + "target-group-attributes", "")).get("preserve_client_ip.enabled")
        keeps = kind.keeps_source if kept is None else [target] * (kept == "true")
        kind = replace(kind, cross_zone=across == "true", keeps_source=keeps)
    if kind.name == "aws-alb":
        target = notes.get(TARGETS[kind.name], target)
        how = _pairs(notes.get(ALB + "target-group-attributes", "")).get(ALGORITHM, "round_robin")
        if target not in kind.targets or how not in kind.balancers:
            raise NotModelled(f"an Application Load Balancer with targets {shown(target)} and {shown(how)} ({service})")
        kind = replace(kind, balancers={how: kind.balancers[how]})
    if kind.name == "gcp-proxy" and '"ingress":false' in notes.get(NEG, "").replace(" ", ""):
        target = "instance"
    if notes.get("service.beta.kubernetes.io/azure-disable-load-balancer-floating-ip") == "true":
        kind = replace(kind, keeps_destination=False)
    if notes.get("networking.gke.io/weighted-load-balancing") == "pods-per-node":
        raise NotModelled(f"weighted load balancing ({service})")
    return replace(kind, targets=(target,), checked=checked)


def _pairs(text: str) -> dict[str, str]:
    """An annotation such as "a=1,b=2"."""
    return {k.strip(): v.strip() for k, _, v in (part.partition("=") for part in text.split(",")) if k.strip()}


def _with_pair(notes: Mapping[str, str], name: str, key: str, value: str) -> dict[str, str]:
    return {name: ",".join(f"{k}={v}" for k, v in (_pairs(notes.get(name, "")) | {key: value}).items())}


def edit(
    service: Service,
    nodes: Sequence[Node],
    name: str | None = None,
    targets: str | None = None,
    cross_zone: bool | None = None,
    health_check: bool | None = None,
    algorithm: str | None = None,
) -> dict[str, Any]:
    """The merge patch that puts the load balancer `name` before a Service and sets it; None leaves what there is.

    A written status follows: an address is of ipMode Proxy where the balancer rewrites the packet's destination.
    Raises InputError, or NotModelled, for what is not known or what the vendor does not offer.
    """
    old, patch = service.metadata.annotations, {}
    kind = kind_of(service, nodes) if name is None else known(str(name))
    for what, flag in (("cross_zone", cross_zone), ("health_check", health_check)):
        if flag not in (None, True, False):
            raise InputError(f"{shown(flag)} is no {what}", expected="True or False")
    if targets is not None and targets not in kind.targets:
        raise InputError(f"{kind.name} cannot have targets {shown(targets)}", expected=" or ".join(kind.targets))
    if algorithm is not None and algorithm not in kind.balancers:
        raise InputError(f"{kind.name} has no algorithm {shown(algorithm)}", expected=" or ".join(kind.balancers))
    if cross_zone is not None and not kind.cross_zone_settable and bool(cross_zone) != kind.cross_zone:
        raise NotModelled(f"{kind.name} without cross-zone: its targets are one pool over all zones")
    changed: dict[str, str | None] = {}
    if name is not None:
        others = [a for k in KNOWN.values() if k is not kind for a in k.annotations]
        changed = {n: None for n in old if any(n.startswith(a) for a in others)}
        changed |= {n: v for n, v in kind.marks.items() if n not in old or n in changed}
        patch["spec"] = {"loadBalancerClass": kind.load_balancer_class}
        written = ((service.raw.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
        mode = {} if kind.keeps_destination else {"ipMode": "Proxy"}
        status = [{k: v for k, v in i.items() if k != "ipMode"} | (mode if "ip" in i else {}) for i in written]
        patch |= {"status": {"loadBalancer": {"ingress": status}}} if status else {}
    if targets is not None and kind.name in TARGETS:
        changed[TARGETS[kind.name]] = targets if kind.name != "gcp-proxy" else json.dumps({"ingress": targets == "ip"})
    if algorithm is not None and kind.name == "aws-alb":
        changed |= _with_pair(old, ALB + "target-group-attributes", ALGORITHM, algorithm)
    if cross_zone is not None and kind.cross_zone_settable:
        changed |= _with_pair(old, AWS + "attributes", CROSS_ZONE, str(bool(cross_zone)).lower())
    if health_check is not None:
        changed[HEALTH_CHECK] = None if health_check else "off"
    return patch | ({"metadata": {"annotations": changed}} if changed else {})
