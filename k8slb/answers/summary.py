"""A cluster in a few lines."""

from collections.abc import Sized

from ..cluster import Cluster
from ..errors import one_line
from ..objects import HTTPRoute, Other


def summary(cluster: Cluster) -> str:
    """A cluster in a few lines: what is in it, kube-proxy's mode, and how much was assumed."""
    services = list(cluster.services.values())
    counts = (cluster.nodes, "node"), (cluster.pods, "pod"), (services, "Service"), (cluster.served, "Ingress", "es")
    routes = [o for o in cluster.objects if isinstance(o, HTTPRoute)]
    counts += tuple(c for c in ((cluster.gateways, "Gateway"), (routes, "HTTPRoute")) if c[0])
    lines = [f"{', '.join(_count(*c) for c in counts)}; kube-proxy mode {cluster.mode}"]
    for service in services[:12]:
        spec = service.spec
        ports = ", ".join(f"{p.port}->{p.target}" for p in spec.ports)
        count = sum(1 for s in cluster.slices(service) for e in s.endpoints if e.conditions.ready is not False)
        lines.append(f"  {service.namespace}/{service.name}  {spec.type} {spec.clusterIP}  {ports}  {count} ready")
    lines += [f"  ... and {len(services) - 12} more Services"] if len(services) > 12 else []
    aside = sorted({o.kind for o in cluster.objects if isinstance(o, Other)})
    lines += [f"kept aside, not modelled: {', '.join(aside)}"] if aside else []
    lines += [f"warning: {w}" for w in cluster.warnings]
    lines += [f"skipped: {s}" for s in cluster.manifests.skipped]
    lines += [f"{_count(cluster.assumptions, 'assumption')}: .assumptions"] if cluster.assumptions else []
    return "\n".join(map(one_line, lines))


def _count(things: Sized, name: str, plural: str = "s") -> str:
    return f"{len(things)} {name}{plural if len(things) != 1 else ''}"
