"""What people type: `load`, and a Cluster and an Outcome whose methods are one line each."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from . import kubectl, path
from .answers.shares import Shares
from .answers.summary import summary
from .answers.trace import Trace, trace
from .cluster import Cluster as BareCluster
from .decision import Timeline
from .errors import printable
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
        return Outcome(url, run, lambda: Shares(path.shares(self.timeline, begin)), self.pod_name)

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

    def with_proxy(self, mode: str | None = None, scheduler: str | None = None) -> Cluster:
        """The same cluster with another kube-proxy mode; `scheduler` is IPVS's (rr, wrr, lc, ...)."""
        return kubectl.with_proxy(self, mode, scheduler)

    def with_nodes(self, count: int) -> Cluster:
        """The same cluster on `count` nodes (1 to 1,000): the first ones of the input, then node-a, node-b, ..."""
        return kubectl.with_nodes(self, count)

    def __str__(self) -> str:
        return printable(summary(self))

    __repr__ = __str__

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        from .show.diagrams import cluster_picture  # loads graphviz

        return cluster_picture(self)._repr_mimebundle_()
