"""Panels: controls above, a drawing, a sentence and a table beneath, and the line of Python that gives the same.

Callbacks run on a thread of their own, so a panel touches nothing but its own widgets and never draws with pyplot.
"""

from __future__ import annotations

import os
from html import escape
from typing import Any

import ipywidgets as widgets

from .. import kubectl, path
from ..answers.shares import Shares
from ..cluster import Cluster
from ..decision import Timeline
from ..errors import K8slbError, printable
from . import svg
from .picture import Picture
from .plots import bars_picture


class Panel(widgets.VBox):
    """The exact shares of a URL, for so many `replicas` of a workload on so many `nodes`.

    `cluster` is the starting point and stays as it is. What is shown is `cluster.scale(...).with_nodes(...)`.
    """

    def __init__(self, cluster: Cluster, url: str, workload: str, most_replicas: int = 10, most_nodes: int = 6):
        self.cluster, self.url, self.workload = cluster, url, workload
        replicas = sum(1 for p in cluster.pods for o in p.metadata.ownerReferences if o.name == workload)
        self.replicas = _number(f"replicas of {workload}", max(1, min(replicas, most_replicas)), most_replicas)
        self.nodes = _number("nodes", min(len(cluster.nodes), most_nodes), most_nodes)
        self.drawing, self.told = widgets.HTML(), widgets.HTML()
        for control in (self.replicas, self.nodes):
            control.observe(self._moved, names="value")
        self._draw()
        super().__init__([widgets.HBox([self.replicas, self.nodes]), self.drawing, self.told])

    @property
    def line(self) -> str:
        """The Python that gives the same shares."""
        changed = f'scale("{self.workload}", {self.replicas.value}).with_nodes({self.nodes.value})'
        return f'cluster.{changed}.shares("{self.url}")'

    def changed(self) -> Cluster:
        """The cluster as the controls now have it."""
        return kubectl.scale(self.cluster, self.workload, self.replicas.value).with_nodes(self.nodes.value)

    def _moved(self, change: Any) -> None:
        try:
            self._draw()
        except Exception as error:
            self.told.value = f"<p role='alert'>{escape(printable(str(error)))}</p>"
            if os.environ.get("K8SLB_STRICT") == "1" or not isinstance(error, K8slbError):
                raise

    def _draw(self) -> None:
        cluster = self.changed()
        shares = Shares(path.shares(Timeline.still(cluster), path.start(cluster, self.url)))
        self.rows = [_row(cluster, address, share) for address, share in shares.items()]
        groups = [(f"{n.name}  {n.address}", [r[1:] for r in self.rows if r[0] == n.name]) for n in cluster.nodes]
        self.drawing.value = svg.nodes_and_shares(groups, self.sentence)
        table = svg.table(("node", "pod", "address", "share"), [(n, p, a, t) for n, p, a, _, t in self.rows])
        line = f"<pre style='white-space:pre-wrap'>{escape(self.line)}</pre>"
        self.told.value = f"<p role='status'>{escape(self.sentence)}</p>{table}{line}"

    @property
    def sentence(self) -> str:
        """What the drawing shows, in one sentence."""
        per_pod = " and ".join(dict.fromkeys(text for *_, text in self.rows)) or "nothing"
        return (
            f"{self.url}: {len(self.rows)} pods on {self.nodes.value} nodes, each gets {per_pod} "
            "of the new connections, wherever it runs."
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """The live panel, and for viewers without a kernel the same as a PNG and as text."""
        picture: Picture = bars_picture([(f"{p} {a}", s) for _, p, a, s, _ in self.rows], self.sentence)
        data = super()._repr_mimebundle_(**kwargs)
        still, _ = picture._repr_mimebundle_()
        return data | still


def _number(title: str, value: int, most: int) -> widgets.IntSlider:
    return widgets.IntSlider(value, 1, most, description=title, style={"description_width": "initial"})


def _row(cluster: Cluster, address: str, share: Any) -> tuple[str, str, str, float, str]:
    ip, _, port = address.rpartition(":")
    pod = cluster.pod_behind(ip, int(port))
    return (
        pod.spec.nodeName if pod else "",
        pod.name if pod else "",
        address,
        float(share),
        f"{share} = {float(share):.1%}",
    )
