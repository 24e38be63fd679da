"""What people type: `load`, and a Cluster whose methods are a line each, or functions of `kubectl`."""

import gc
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from . import changes, kubectl, path
from .answers import checks
from .answers.checks import Report
from .answers.diff import difference
from .answers.explain import Findings, findings
from .answers.shares import Shares
from .answers.summary import summary
from .answers.trace import Trace, Why
from .answers.translate import translate
from .cluster import Cluster as BareCluster
from .decision import Timeline
from .errors import Tell, libraries, silent
from .layers import kube_proxy
from .manifests import MAX_SIZE, read_objects
from .show.changed import Drawn

Headers = Mapping[str, str] | None


class Cluster(BareCluster):
    """An immutable cluster to ask and to edit; every edit (scale, apply, with_...) gives another one."""

    @cached_property
    def timeline(self) -> Timeline:
        return Timeline.still(self)

    def trace(
        self, url: str, from_: str | None = None, via: str | None = None, method="GET", headers: Headers = None, seed=0
    ) -> Trace:
        """One request's way, hop by hop. `from_`: "external", "external:IP", "node:NAME" or "pod:NS/NAME"."""
        begin = path.start(self, url, from_, via, method, headers)
        return Trace(url, begin, tuple(path.walk(self.timeline, begin, seed)), self.assumptions)

    def shares(
        self, url: str, from_: str | None = None, via: str | None = None, method="GET", headers: Headers = None
    ) -> Shares:
        """The exact share of each pod, {"ip:port": Fraction}; `.answered` and `.lost` hold the rest."""
        found = path.shares(self.timeline, path.start(self, url, from_, via, method, headers))
        return Shares(found, self.pod_name)

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
        headers: Headers = None,
        seed: int = 0,
        clients: int = 1,
        behind_nat: float = 0.0,
        becomes: Mapping[float, BareCluster] | Timeline | None = None,
        max_age: float | None = None,
        arrivals: str | Sequence[float] = "poisson",
        think: str | float | None = None,
    ):
        """Many requests; the same seed gives the same Outcome.

        They take `connections` in turn, which stay open to the end; where None each opens a new one, closed at once.
        `clients` send in turn, a fraction `behind_nat` of them from one address; client pods are on each node in turn
        (`via` puts all on one; their addresses: k8slb/clients.py), and each keeps the cookies it is given.

        Time passes with a `rate` (per second; `arrivals` "poisson" or "constant", and `duration` for the number of
        requests), with the seconds at which each is sent (`arrivals=[0.0, 0.2, ...]`), or with users who wait for the
        answer and then `think` ("1s exponential"; as many as `connections`). Then pods and controllers serve at the
        pace that their annotations say (k8slb/service-time), with queues, and the cluster may change,
        `becomes={SECONDS: CLUSTER}` or `becomes=shop.rollout("order")` (and drain, node_dies, pod_dies, autoscale):
        connections stay with their pods, and one whose pod is gone is reset and opened anew, as is one older than
        `max_age` seconds (gRPC's MAX_CONNECTION_AGE, without its jitter). A connection that was closed makes room in a
        conntrack table after 120 seconds, at once where no time passes.
        """
        from . import engine  # loads numpy
        from .outcome import Outcome

        begin = path.start(self, url, from_, via, method, headers)
        timeline = self.timeline if becomes is None else Timeline.changing(self, becomes)
        for _, cluster in timeline.moments[1:]:  # whoever asks is there to the end
            path.start(cluster, url, from_, via, method, headers)
        more = (rate, duration, seed, clients, behind_nat, max_age, arrivals, think)
        run = engine.send(timeline, begin, requests, connections, *more)
        return Outcome(url, run, timeline)

    def rules(self, node: str, mode: str | None = None) -> Why:
        """What kube-proxy keeps on `node`, as iptables-save, nft list ruleset or ipvsadm -Sn print it (by `mode`)."""
        return Why(kube_proxy.rules(self.with_proxy(mode=mode) if mode else self, node))

    def test(self, cases: Any, progress: Tell = silent) -> Report:
        """Whether the expectations of a file (or Source) of cases hold; the schema is that of answers/checks.py."""
        return checks.run(self, cases, progress)

    def diff(self, after: "Cluster", urls: Sequence[str] = (), progress: Tell = silent) -> Drawn:
        """What changes for requests when this cluster becomes `after`: at the URLs of the rules, and at `urls`."""
        return Drawn(**vars(difference(self, after, urls, progress)))

    def explain(self, progress: Tell = silent) -> Findings:
        """What is wrong or surprising in these manifests, each with its consequence in numbers and its FILE:LINE."""
        return findings(self, progress)

    @libraries()
    def draw(self, url: str | None = None, from_=None, via=None, method="GET", headers: Headers = None):
        """A Diagram of the way that requests to `url` take, or (None) of the whole cluster, shares on its edges."""
        from .show.diagrams import cluster_diagram, route_diagram  # only when something is drawn

        if url is None:
            return cluster_diagram(self)
        return route_diagram(self, url, path.start(self, url, from_, via, method, headers))

    @libraries()
    def get(self, kind: str):
        """The objects of a kind as a table, as kubectl get shows them; "all" kinds are plural or singular."""
        from .show.tables import objects_table  # loads pandas

        return objects_table(self, kubectl.of_kind(self, kind))

    apply, scale, yaml, translate = kubectl.apply, kubectl.scale, kubectl.yaml, translate
    with_nodes, with_proxy, with_load_balancer = kubectl.with_nodes, kubectl.with_proxy, kubectl.with_load_balancer
    with_controller = kubectl.with_controller
    with_pods, with_balancer = kubectl.with_pods, kubectl.with_balancer
    rollout, autoscale, drain = changes.rollout, changes.autoscale, changes.drain
    pod_dies, node_dies = changes.pod_dies, changes.node_dies

    def __str__(self) -> str:
        return summary(self)

    __repr__ = __str__

    @libraries()
    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        from .show.diagrams import cluster_picture  # only when something is drawn

        return cluster_picture(self)._repr_mimebundle_()


def facts_table():
    """What is known of each Ingress controller: what it dials, how it balances, what it is for. A table."""
    from .show import tables  # loads pandas

    return tables.facts_table()


def load(what: Any, *, max_size: int = MAX_SIZE, progress: Tell = silent) -> Cluster:
    """A cluster from a bundled set's name, a file, a folder, YAML or JSON text, or a list of these.

    Raises InputError with file, line and field for what the API server would refuse. `max_size` is in bytes;
    `progress` is told in words what is being read.
    """
    was_enabled = gc.isenabled()
    gc.disable()  # a large input makes millions of values and no cycles: collecting meanwhile only costs
    try:
        made = Cluster(read_objects(what, max_size=max_size, progress=progress))
        if was_enabled and len(made.objects) > 10_000:
            gc.freeze()  # else each full collection looks through all of them for the cycles that they do not make
        return made
    finally:
        if was_enabled:
            gc.enable()
