"""What a proxy's configuration is written from: whose rules, which stand-ins, which ports; and the table of routes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, run
from typing import NamedTuple

from ..cluster import Cluster
from ..controllers import SPEC, Controller
from ..endpoints import of_port
from ..errors import NotModelled
from ..layers.ingress import spec
from ..layers.ingress.match import Route, behind, default
from ..objects import Service


class Pods(NamedTuple):
    """The pods of one Service port, as their stand-ins' "ip:port"; `missing` says why there are none. `name` is
    NAMESPACE.SERVICE.PORT, as the route spells the port; the first two hold no dot."""

    name: str
    peers: tuple[str, ...] = ()
    missing: str = ""


class Row(NamedTuple):
    """A path of one host: equal to `path` (`exact`), or `path` and what is below it ("": any)."""

    path: str
    exact: bool
    pods: Pods

    def takes(self, path: str) -> bool:
        return path == self.path or (not self.exact and path.startswith(self.path + "/"))


@dataclass(frozen=True)
class World:
    """`controller` serves Ingresses or is a Gateway's (None: a mesh's proxy). `at`: for each endpoint "ip:port" its
    stand-in's. `listen`, `admin` and `api` are free ports of 127.0.0.1; `folder` is the proxy's own; `balancer` is the
    model's name of how it picks."""

    cluster: Cluster
    controller: Controller | None
    balancer: str
    at: Mapping[str, str]
    listen: int
    admin: int
    api: int
    folder: str

    def pods(self, route: Route, port_of=Service.port_of) -> Pods:
        """Whom a route leads to. NotModelled for a resource or an ExternalName."""
        named = route.backend.service
        if named is None:
            raise NotModelled(f"a resource backend ({route.ingress})")
        service, port, missing = behind(self.cluster, route, port_of)
        if service and service.spec.type == "ExternalName":
            raise NotModelled(f"an Ingress backend of type ExternalName ({service})")
        name = re.sub(r"[^\w.-]", "_", f"{route.ingress.namespace}.{named.name}.{named.port.wanted}", flags=re.ASCII)
        ready = [e for e in of_port(self.cluster, service, port) if e.ready] if port else []
        peers = tuple(self.at[e.address] for e in ready)
        return Pods(name, peers, missing or ("" if peers else f"{service} has no ready endpoint"))

    @cached_property
    def routes(self) -> dict[str, list[Row]]:
        """The table of the Ingress specification: by host ("*.name" for one label, "" for any other) the rows that take
        its requests, the first that fits; 404 where none does. A request stays with its most specific host."""
        if self.controller is None or self.controller.name != SPEC:
            who = self.controller.name if self.controller else "a mesh"
            raise NotModelled(f"the rules of {who} in another proxy's configuration; it renders those of {SPEC}")
        table, owners, _ = spec.table(self.cluster, self.controller)
        found = {}
        for host in (*table, *(() if "" in table else ("",))):
            routes = sorted(table[host].routes, key=spec.precedence, reverse=True) if host in table else []
            owner = owners.get(host, owners.get(None))
            rows: dict[tuple[str, bool], Row] = {}
            for r in [*routes, *([default(owner)] if owner else ())]:
                exact = r.kind == "Exact"
                path = r.path if exact else f"/{r.path.removeprefix('/')}".removesuffix("/")
                if (path, exact) not in rows:
                    rows[path, exact] = Row(path, exact, self.pods(r))
            found[host] = list(rows.values())
        return found

    @property
    def upstreams(self) -> list[Pods]:
        """Those that the table names and that have pods."""
        return list(
            {row.pods.name: row.pods for rows in self.routes.values() for row in rows if row.pods.peers}.values()
        )


def binary_of(package: str, name: str) -> Path | None:
    """The program `name` inside an installed package; None where it is not installed."""
    try:
        inside = files(package) or ()
    except PackageNotFoundError:
        return None
    paths = (Path(file.locate()).resolve() for file in inside if file.name == name)
    return next((path for path in paths if path.is_file()), None)


def first_line(program: Path, *given: str) -> str:
    """What a program says of itself."""
    told = run([program, *given], stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, text=True, timeout=20).stdout
    return told.strip().partition("\n")[0]
