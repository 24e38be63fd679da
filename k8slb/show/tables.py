"""Objects as the tables that kubectl get prints."""

from collections.abc import Callable, Iterable

import pandas as pd

from ..cluster import Cluster
from ..controllers import KNOWN, MODELLED
from ..objects import Object

Column = Callable[[Cluster, Object], object]
COLUMNS: dict[str, dict[str, Column]] = {
    "Pod": {
        "ready": lambda _, o: o.ready and bool(o.status.podIP) and not o.terminating,
        "ip": lambda _, o: o.status.podIP,
        "node": lambda _, o: o.spec.nodeName,
    },
    "Service": {
        "type": lambda _, o: o.spec.type,
        "clusterIP": lambda _, o: o.spec.clusterIP,
        "external": lambda _, o: ", ".join(i.ip or i.hostname for i in o.status.loadBalancer.ingress),
        "ports": lambda _, o: ", ".join(
            f"{p.port}{f':{p.nodePort}' if p.nodePort else ''}/{p.protocol}" for p in o.spec.ports
        ),
        "endpoints": lambda c, o: ", ".join(
            f"{e.addresses[0]}:{p.port}" for s in c.slices(o) for p in s.ports for e in s.endpoints[:4]
        ),
    },
    "Node": {"ip": lambda _, o: o.address, "zone": lambda _, o: o.zone, "ready": lambda _, o: o.ready},
    "EndpointSlice": {
        "service": lambda _, o: o.service,
        "ports": lambda _, o: ", ".join(str(p.port) for p in o.ports),
        "endpoints": lambda _, o: ", ".join(e.addresses[0] for e in o.endpoints),
    },
    "Ingress": {
        "class": lambda _, o: o.spec.ingressClassName or "",
        "hosts": lambda _, o: ", ".join(r.host or "*" for r in o.spec.rules),
        "controller": lambda c, o: c.served[o.key].controller if o.key in c.served else "",
    },
}


def facts_table() -> pd.DataFrame:
    """What is known of each Ingress controller, indexed by its title (data/controllers.json)."""
    columns = ["version", "dials", "opt_in", "balancer", "published", "purpose", "status", "source"]
    facts = {k.title: {"controller": c, "modelled": c in MODELLED, **vars(k)} for c, k in KNOWN.items()}
    return pd.DataFrame.from_dict(facts, orient="index")[["controller", "modelled", *columns]]


def objects_table(cluster: Cluster, objects: Iterable[Object]) -> pd.DataFrame:
    """One row an object, indexed by its name; columns by its kind."""
    objects = list(objects)
    extra = COLUMNS.get(objects[0].kind, {}) if objects else {}
    rows = [
        {"name": o.name, "namespace": o.namespace} | {title: column(cluster, o) for title, column in extra.items()}
        for o in objects
    ]
    return pd.DataFrame(rows).set_index("name") if rows else pd.DataFrame()
