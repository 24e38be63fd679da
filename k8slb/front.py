"""What people type: `load`, and a Cluster and an Outcome whose methods are one line each."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property
from typing import Any

from . import kubectl, path
from .answers.trace import Trace, trace
from .cluster import Cluster as BareCluster
from .decision import Timeline
from .errors import InputError, printable
from .manifests import MAX_SIZE, read_objects


def load(what: Any, *, max_size: int = MAX_SIZE) -> Cluster:
    """A cluster from a bundled set's name, a file, a folder, YAML or JSON text, or a list of these.

    Raises InputError with file, line and field for what the API server would refuse. `max_size` is in bytes.
    """
    was_enabled = gc.isenabled()
    gc.disable()  # a large input makes millions of values and no cycles: collecting meanwhile only costs
    try:
        return Cluster(read_objects(what, max_size=max_size))
    finally:
        if was_enabled:
            gc.enable()


class Cluster(BareCluster):
    """An immutable cluster to ask and to edit; every edit (scale, apply, with_...) gives another one."""

    @cached_property
    def timeline(self) -> Timeline:
        return Timeline.still(self)

    def trace(
        self,
        url: str,
        from_: str | None = None,
        via: str | None = None,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        seed: int = 0,
    ) -> Trace:
        """One request's way, hop by hop. `from_`: "external", "external:IP", "node:NAME" or "pod:NS/NAME"."""
        return trace(self.timeline, path.start(self, url, from_, via, method, headers), url, seed, self.assumptions)

    def shares(
        self,
        url: str,
        from_: str | None = None,
        via: str | None = None,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> Shares:
        """The exact share of each pod, {"ip:port": Fraction}; `.answered` and `.lost` hold the rest."""
        return Shares(path.shares(self.timeline, path.start(self, url, from_, via, method, headers)))

    def send(
        self,
        url: str,
        requests: int = 1000,
        connections: int | None = None,
        rate: float | None = None,
        duration: float | None = None,
        from_: str | None = None,
        via: str | None = None,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        seed: int = 0,
    ):
        """Many requests, over `connections` (a new one for each where None). The same seed gives the same Outcome."""
        from . import engine  # loads numpy
        from .outcome import Outcome

        begin = path.start(self, url, from_, via, method, headers)
        run = engine.send(self.timeline, begin, requests, connections, rate, duration, seed)
        return Outcome(url, run, lambda: Shares(path.shares(self.timeline, begin)), _PodNames(self))

    def get(self, kind: str):
        """The objects of a kind as a table, as kubectl get shows them; "all" kinds are plural or singular."""
        from .show.tables import objects_table  # loads pandas

        return objects_table(self, kubectl.of_kind(self, kind))

    def yaml(self, ref: str) -> str:
        """The YAML of an object, "kind/name" or "ns/kind/name": as written; a derived one as the API would show it."""
        return kubectl.yaml(self, ref)

    def apply(self, text: str) -> Cluster:
        """The same cluster with `text` applied as a JSON merge patch: maps merge, lists replace, null removes."""
        return kubectl.apply(self, text)

    def scale(self, name: str, replicas: int) -> Cluster:
        """The same cluster with `replicas` of the workload `name` ("order", "ns/order" or "deployment/order")."""
        return kubectl.scale(self, name, replicas)

    def __str__(self) -> str:
        return printable(summary(self))

    __repr__ = __str__

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        from .show.diagrams import cluster_picture  # loads graphviz

        return cluster_picture(self)._repr_mimebundle_()


class Shares(dict):
    """{"ip:port": Fraction} of the requests that pods answer; `answered` {status: Fraction}, `lost` a Fraction."""

    def __init__(self, outcomes: Mapping[tuple[str, str], Fraction]):
        super().__init__({what: p for (kind, what), p in sorted(outcomes.items()) if kind == "pod"})
        self.answered = {what: p for (kind, what), p in sorted(outcomes.items()) if kind == "answered"}
        self.lost = sum((p for (kind, _), p in outcomes.items() if kind == "lost"), Fraction(0))

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON: fractions as text."""
        return {
            "shares": {k: str(v) for k, v in self.items()},
            "answered": {k: str(v) for k, v in self.answered.items()},
            "lost": str(self.lost),
        }

    def __str__(self) -> str:
        rows = [(k, v) for k, v in self.items()] + [(f"answered {k}", v) for k, v in self.answered.items()]
        rows += [("lost", self.lost)] if self.lost else []
        return "\n".join(f"{name:<24} {share!s:>8}  {float(share):.1%}" for name, share in rows)


class _PodNames(dict):
    """Pods' names by "ip:port", looked up when asked for."""

    def __init__(self, cluster: BareCluster):
        self.cluster = cluster

    def get(self, address: str, default: str = "") -> str:
        ip, _, port = address.rpartition(":")
        pod = self.cluster.pod_behind(ip, int(port)) if port.isdigit() else None
        return pod.name if pod else default


def summary(cluster: BareCluster) -> str:
    """A cluster in a few lines: what is in it, kube-proxy's mode, and how much was assumed."""
    services = list(cluster.services.values())
    lines = [
        f"{len(cluster.nodes)} nodes, {len(cluster.pods)} pods, {len(services)} Services, "
        f"{len(cluster.served)} Ingresses; kube-proxy mode {cluster.mode}"
    ]
    for service in services[:12]:
        spec = service.spec
        ports = ", ".join(f"{p.port}->{p.target}" for p in spec.ports)
        count = sum(1 for s in cluster.slices(service) for e in s.endpoints if e.conditions.ready is not False)
        lines.append(f"  {service.namespace}/{service.name}  {spec.type} {spec.clusterIP}  {ports}  {count} ready")
    lines += [f"  ... and {len(services) - 12} more Services"] if len(services) > 12 else []
    aside = sorted({o.kind for o in cluster.objects if type(o).__name__ == "Other"})
    lines += [f"kept aside, not modelled: {', '.join(aside)}"] if aside else []
    lines += [f"warning: {w}" for w in cluster.warnings]
    lines += [f"skipped: {s}" for s in cluster.manifests.skipped]
    lines += [f"{len(cluster.assumptions)} assumptions: .assumptions"] if cluster.assumptions else []
    return "\n".join(lines)


__all__ = ["Cluster", "InputError", "Shares", "load", "summary"]
