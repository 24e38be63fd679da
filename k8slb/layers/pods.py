"""The pod at the end: does something listen on that port, and whom does it see as the caller?

A pod that declares containerPorts is taken to listen on those and no others, which is nearly always so and is said
with every answer that depends on it; one that declares none is taken to listen wherever it is asked.
"""

from ..cluster import Cluster
from ..decision import Decision, Place
from ..traffic import Flow


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """What the pod at `flow.destination` does with the connection."""
    common = {"layer": "pods", "place": place, "grain": "request" if flow.request else "connection", "flow": flow}
    pod = view.pod_behind(flow.destination, flow.port)
    seen = {"source_seen": flow.source}
    if pod is None:
        why = f"{flow.to} is outside what the input describes; taken to answer"
        return Decision(**common, action="respond", status=200 if flow.request else None, why=why, facts=seen)
    ports = {p.containerPort for p in pod.spec.ports if p.protocol == flow.protocol} | pod.host_ports
    if ports and flow.port not in ports:
        told = ", ".join(map(str, sorted(ports)))
        warning = f"{pod} declares the containerPorts {told} only, so nothing is taken to listen on {flow.port}"
        why = f"{pod.name} refuses: it listens on {told}, not on {flow.port}"
        return Decision(**common, action="reject", why=why, warnings=(warning,))
    names = ", ".join(view.policies.get(pod.namespace, ()))
    warnings = (f"NetworkPolicies are not modelled; {names} in {pod.namespace} may drop this",) if names else ()
    status = 200 if flow.request else None
    return Decision(**common, action="respond", status=status, why=f"{pod.name} answers", facts=seen, warnings=warnings)
