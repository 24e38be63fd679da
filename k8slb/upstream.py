"""What a proxy does once it knows the Service: dial one of its pods, the ClusterIP, or answer that there is none.

Ingress controllers, Gateways and meshes all read EndpointSlices themselves and dial pods, so kube-proxy has no part in
this step unless a setting asks for the ClusterIP. How they pick differs: each hands in a Policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

from .cluster import Cluster
from .decision import Candidate, Decision, Ejects, Lazily, Memory, OnFailure, Rejected, Warmup, to_endpoint
from .endpoints import of_port, why_none
from .objects import Service, ServicePort
from .traffic import Flow

DECIDED = ("balancer", "on_failure", "key_text", "remembers", "ejects", "warmup")  # of a Policy and its Decision


@dataclass(frozen=True, slots=True)
class Policy:
    """How a proxy picks among a Service's pods, and what it keeps of it: fields of the Decision it makes.

    `how`: the clause that tells it. `cluster_ip`: it dials the Service's ClusterIP instead. `generation`: a balancer's
    state is lost with another one (a reload of the proxy's configuration). `patience`: the seconds it waits for a try.
    """

    balancer: str
    how: str
    on_failure: OnFailure = field(default_factory=OnFailure)
    key_text: str = ""
    remembers: tuple[Memory, ...] = ()
    ejects: Ejects | None = None
    warmup: Warmup | None = None
    cluster_ip: bool = False
    generation: int = 0
    patience: float | None = None


def dial(
    view: Cluster,
    service: Service,
    port: ServicePort,
    onward: Flow,
    policy: Policy,
    *,
    why: str,
    brief: str,
    unavailable: int = 503,
    rejected: Sequence[Rejected] = (),
    **common: Any,
) -> Decision:
    """The decision for a Service port that exists; `onward` is the flow as the proxy sends it, its destination open.

    `common` are the Decision's other fields: layer, place, flow, facts, warnings, limits. `why` and `brief` say
    how the Service was found. Without a ready endpoint the proxy answers `unavailable`.
    """
    common, onward = {"grain": "request", **common}, replace(onward, patience=policy.patience)
    if policy.cluster_ip:
        to = replace(onward, destination=service.spec.clusterIP, port=port.port)
        why += f"; {policy.how}: to the ClusterIP, so kube-proxy's rules pick"
        candidates = (Candidate(str(service), to.to, common["place"], to),)
        own = {"candidates": candidates, "on_failure": policy.on_failure, "rejected": rejected}
        return Decision(action="forward", why=why, **own, **common)
    endpoints = of_port(view, service, port)
    unready = [f"{e.name or 'endpoint'} {e.address}" for e in endpoints if not e.ready]
    not_ready = (Rejected(what, "not ready", service, ("spec",)) for what in unready)
    common["rejected"] = Lazily(lambda: (*rejected, *not_ready))
    ready = [e for e in endpoints if e.ready]
    if not ready:
        missing = f"{service} has no ready endpoint{why_none(view, service, port)}"
        common |= {"status": unavailable, "reason": "no ready endpoint"}
        return Decision(action="respond", why=f"{why}, but {missing}", **common)
    return Decision(
        action="forward",
        why=f"{why}; {policy.how}, and dials it directly, not through the ClusterIP {service.spec.clusterIP}",
        brief=(brief, ", not through its ClusterIP"),
        candidates=tuple(to_endpoint(view, e, onward) for e in ready),
        state=(common["layer"], common["place"], *service.key[1:], port.port, policy.generation),
        **{name: getattr(policy, name) for name in DECIDED},
        **common,
    )


def in_time(made: Decision, each: float, total: float) -> Decision:
    """`made` by a proxy that waits `each` seconds for a try and `total` for all of them (0: as long as it takes)."""
    patience = min(filter(None, (each, total)), default=None)
    if patience is None or not made.on_failure:
        return made
    ways = tuple(replace(c, flow=replace(c.flow, patience=patience)) for c in made.candidates)
    late = min(filter(None, (made.on_failure.late, ceil(total / patience))), default=None)
    return replace(made, candidates=ways, on_failure=replace(made.on_failure, late=late, total=total))


def among(backends: Sequence[tuple[str, int]], balancer: str, **common: Any) -> Decision:
    """The decision which of several `backends`, (name, weight) of each, gets the request: at the same place as before,
    with `flow.backend` set; the pod is picked after it."""
    flow, place = common["flow"], common["place"]
    candidates = (Candidate(n, n, place, replace(flow, backend=i), w) for i, (n, w) in enumerate(backends))
    return Decision(grain="request", action="forward", candidates=tuple(candidates), balancer=balancer, **common)
