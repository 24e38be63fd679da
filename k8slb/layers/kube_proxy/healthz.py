"""What kube-proxy answers to health checks: the only connections that it serves itself.

Kubernetes 1.36, pkg/proxy/healthcheck: :10256/healthz says whether this node should get traffic at all (503 while it is
being deleted), :10256/livez only whether kube-proxy is well; a Service's healthCheckNodePort says how many ready
endpoints of it this node has. Rules gone stale, the other reason for a 503, are not modelled: they are always fresh.
"""

from ...cluster import Cluster
from ...decision import Decision
from ...endpoints import leaving, ready_on_nodes
from ...traffic import Flow
from .ports import PROXY_NAME

HEALTHZ = 10256
WEIGHT = "X-Load-Balancing-Endpoint-Weight"


def decide(view: Cluster, flow: Flow, common: dict) -> Decision | None:
    """The answer of the node `common["place"]` on a port for health checks; None for any other port."""
    node, path = view.node[common["place"].name], flow.request.path.partition("?")[0] if flow.request else ""
    asked = (s for s in view.services.values() if s.spec.healthCheckNodePort == flow.port)
    asked = (s for s in asked if PROXY_NAME not in s.metadata.labels)
    service = next((s for s in asked if (s.spec.type, s.spec.externalTrafficPolicy) == ("LoadBalancer", "Local")), None)
    if flow.protocol != "TCP" or (flow.port != HEALTHZ and service is None):
        return None
    if flow.port == HEALTHZ:
        status, headers = {"/healthz": 503 if leaving(node) else 200, "/livez": 200}.get(path, 404), {}
        told = {503: "the node is being deleted", 200: "its rules are fresh"}.get(status, "no such path")
    else:
        count = ready_on_nodes(view, service)[node.name]
        status, headers = 200 if count else 503, {WEIGHT: str(count)}
        told = f"{WEIGHT} {count}, the ready endpoints of {service} here; terminating ones do not count"
    why = f"kube-proxy answers {status} ({told})" if flow.request else f"kube-proxy itself listens on {flow.port}"
    grain, status = ("request", status) if flow.request else ("connection", None)
    return Decision(**common | {"grain": grain}, action="respond", status=status, why=why, facts={"headers": headers})
