"""A cluster as a Graphviz picture: Ingress rules and Services on the left, nodes with their pods on the right."""

from __future__ import annotations

import graphviz

from ..answers.summary import summary
from ..cluster import Cluster
from ..endpoints import of_port
from . import dot
from .picture import Picture

MOST = 40  # more pods or Services than this make a picture nobody can read
READY, WAITING, SERVICE, RULE = "#d7ecff", "#eeeeee", "#fff3cd", "#e6ffed"


def cluster_graph(cluster: Cluster) -> graphviz.Digraph:
    """Names from manifests are escaped, so none can add to the drawing's code."""
    graph = graphviz.Digraph(
        "cluster", graph_attr={"rankdir": "LR", "nodesep": "0.12", "ranksep": "0.9", "bgcolor": "#ffffff"}
    )
    graph.attr(
        "node",
        shape="box",
        style="rounded,filled",
        fontname="Helvetica",
        fontsize="10",
        fillcolor="#ffffff",
        height="0.3",
    )
    graph.attr("edge", color="#717581", arrowsize="0.6")
    pods = cluster.pods[:MOST]
    for i, node in enumerate(cluster.nodes):
        with graph.subgraph(name=f"cluster_{i}") as box:
            box.attr(
                label=graphviz.escape(f"{node.name}  {node.address}  {node.zone}"),
                fontname="Helvetica",
                fontsize="10",
                style="rounded",
                color="#94a4a2",
            )
            mine = [p for p in pods if p.spec.nodeName == node.name]
            for pod in mine:
                box.node(_pod(pod), _label(pod.name, pod.status.podIP), fillcolor=READY if pod.ready else WAITING)
            if not mine:
                box.node(f"empty{i}", "no pods", shape="plaintext", fillcolor="#ffffff")
    services = list(cluster.services.values())[:MOST]
    drawn = {p.status.podIP: _pod(p) for p in pods if p.status.podIP}
    for service in services:
        ports = ", ".join(f"{p.port} to {p.target}" for p in service.spec.ports)
        graph.node(
            _service(service),
            _label(f"Service {service.name}", f"{service.spec.clusterIP} : {ports}"),
            fillcolor=SERVICE,
        )
        for ip in dict.fromkeys(e.ip for port in service.spec.ports for e in of_port(cluster, service, port)):
            if ip in drawn:
                graph.edge(_service(service), drawn[ip])
    known = {(s.namespace, s.name) for s in services}
    for host, ingresses in list(cluster.hosts.items())[:MOST]:
        for ingress in ingresses:
            for rule in (r for r in ingress.spec.rules if r.host == host and r.http):
                for path in rule.http.paths:
                    name = f"rule/{ingress.namespace}/{ingress.name}/{host}{path.path}"
                    graph.node(
                        _id(name),
                        _label(f"Ingress {host or '(any host)'}", f"{path.path} ({path.pathType})"),
                        fillcolor=RULE,
                    )
                    backend = path.backend.service
                    if backend and (ingress.namespace, backend.name) in known:
                        graph.edge(_id(name), _id(f"service/{ingress.namespace}/{backend.name}"))
    return graph


def _id(name: str) -> str:
    return name.encode().hex()  # any name is safe as an identifier


def _pod(pod) -> str:
    return _id(f"pod/{pod.namespace}/{pod.name}")


def _service(service) -> str:
    return _id(f"service/{service.namespace}/{service.name}")


def _label(*lines: str) -> str:
    return "\\n".join(graphviz.escape(line) for line in lines)


def cluster_picture(cluster: Cluster) -> Picture:
    """The picture, with the cluster's summary as its text."""
    sentence, _, rest = summary(cluster).partition("\n")
    hidden = max(0, len(cluster.pods) - MOST) + max(0, len(cluster.services) - MOST)
    return Picture(
        dot.png(cluster_graph(cluster)), sentence, rest + (f"\n({hidden} more are not drawn)" if hidden else "")
    )
