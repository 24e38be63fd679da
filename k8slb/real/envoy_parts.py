"""What every configuration of Envoy (1.40) here is made of, as values that become its JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..endpoints import of_port
from ..objects import Service
from .world import Pods, World

BALANCERS = {
    "envoy-round-robin": "ROUND_ROBIN",
    "envoy-least-request": "LEAST_REQUEST",
    "envoy-ring-hash": "RING_HASH",
    "envoy-maglev": "MAGLEV",
    "envoy-random": "RANDOM",
}
FILTERS, MOST = "envoy.filters", 2**32 - 1
BREAKERS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
PATH = {"header": {"header_name": ":path"}}  # what a hash works on where nothing else is said
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HTTP2 = {"@type": f"type.googleapis.com/{OPTIONS}", "explicit_http_config": {"http2_protocol_options": {}}}
HTTP2 = {"typed_extension_protocol_options": {OPTIONS: HTTP2}}  # of a cluster
Json = dict[str, Any]
Hosts = Iterable[tuple[Sequence[str], list[Json]]]  # domains, their routes


def bootstrap(admin: int, listeners: Iterable[tuple[int | str, Json]], clusters: Iterable[Json]) -> str:
    """A static configuration: of each listener its port of 127.0.0.1, or "ip:port", and the rest."""
    limits = {"name": "static", "static_layer": {"re2.max_program_size.error_level": 100_000}}
    listening = [{"name": str(at), "address": address(at), **rest} for at, rest in listeners]
    static = {"listeners": listening, "clusters": list(clusters)}
    made = {"admin": {"address": address(admin)}, "layered_runtime": {"layers": [limits]}, "static_resources": static}
    return json.dumps(made, indent=1)


def proxied() -> Json:
    """Of a listener: its clients speak the PROXY protocol."""
    return {"listener_filters": [extension(f"{FILTERS}.listener.proxy_protocol", "ProxyProtocol")]}


def address(at: int | str) -> Json:
    ip, _, port = str(at).rpartition(":")
    return {"socket_address": {"address": ip or "127.0.0.1", "port_value": int(port)}}


def extension(name: str, kind: str, **config: Any) -> Json:
    """An extension: its type's package goes by its name."""
    package = f"envoy.extensions.{name.removeprefix('envoy.')}.v3"
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/{package}.{kind}", **config}}


def manager(hosts: Hosts) -> Json:
    """The filter that takes requests one by one, and where it sends those for each domain."""
    virtual = [{"name": names[0], "domains": list(names), "routes": found} for names, found in hosts]
    found = {"name": "requests", "virtual_hosts": virtual, "validate_clusters": False}
    found |= {"most_specific_header_mutations_wins": True, "request_headers_to_remove": ["x-envoy-external-address"]}
    given = {"stat_prefix": "requests", "route_config": found, "use_remote_address": True, "generate_request_id": False}
    given |= {"strip_any_host_port": True, "normalize_path": False, "server_header_transformation": "PASS_THROUGH"}
    given["http_filters"] = [extension(f"{FILTERS}.http.router", "Router", suppress_envoy_headers=True)]
    return extension(f"{FILTERS}.network.http_connection_manager", "HttpConnectionManager", **given)


def cluster(name: str, hosts: Iterable[tuple[str, str]], balancer: str, **more: Any) -> Json:
    """`hosts`: where each listens, and the address that it hashes by; limits are lifted as Istio does."""
    points = [
        {"endpoint": {"address": address(at)}, "metadata": {"filter_metadata": {"envoy.lb": {"hash_key": pod}}}}
        for at, pod in hosts
    ]
    made = {"name": name, "type": "STATIC", "connect_timeout": "1s", "lb_policy": BALANCERS[balancer]}
    made["load_assignment"] = {"cluster_name": name, "endpoints": [{"lb_endpoints": points}]}
    return made | {"circuit_breakers": {"thresholds": [dict.fromkeys(BREAKERS, MOST)]}} | more


class Clusters:
    """Those that the routes of a world have named so far (`made`)."""

    def __init__(self, world: World):
        self.world, self.made = world, {}

    def add(self, name: str, hosts: Iterable[tuple[str, str]], **more: Any) -> str:
        self.made[name] = cluster(name, hosts, **{"balancer": self.world.balancer} | more)
        return name

    def rows(self, pods: Pods) -> str:
        """That of an Ingress's backend."""
        known = {at: pod for pod, at in self.world.at.items()}
        return self.add(pods.name, [(peer, known[peer]) for peer in pods.peers])

    def ready(self, service: Service, number: int, labels: Mapping[str, str] | None = None, **more: Any) -> str:
        """That of a Service's port, or of its pods with these labels."""
        view, name = self.world.cluster, f"{service.namespace}/{service.name}:{number}"
        ready = [e for e in of_port(view, service, service.port_of(number)) if e.ready]
        if labels is not None:
            name, pods = f"{name} {dict(labels)}", view.pod_at
            ready = [e for e in ready if e.ip in pods and labels.items() <= pods[e.ip].metadata.labels.items()]
        return self.add(name, [(self.world.at[e.address], e.address) for e in ready], **more)
