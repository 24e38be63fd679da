"""kube-proxy's IPVS mode: a virtual server per Service port and address, with a scheduler of the kernel.

Kubernetes 1.36, pkg/proxy/ipvs (deprecated since 1.35). The default scheduler is rr, one for the whole node, and its
state is each node's own. All endpoints have weight 1. They are added in the order of their addresses, on every node, as
if each had become ready by itself; kube-proxy adds those of one update in no fixed order (sorted, until PR 121744 of
2023). The text is as ipvsadm 1.31 prints it (-Sn, sorted by protocol, address and port); the iptables rules and ipsets
that this mode needs beside it, for masquerading and for filtering, are left out.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from ...balancers import BALANCERS
from ...endpoints import Endpoint
from ...errors import NotModelled
from .ports import CLUSTER_IP, Port, Setup

TELLS_CALLERS_APART = False  # one list of servers for all: Local binds pods too; with none local it is everybody
REFUSES_OTHER_PORTS = True
AFFINITY_LIMIT = None
FLAGS = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}


def balancer_name(setup: Setup) -> str:
    name = f"ipvs-{setup.scheduler}"
    if name not in BALANCERS or "-" in setup.scheduler:
        raise NotModelled(f"the IPVS scheduler {setup.scheduler}")
    return "ipvs-mh-port" if name == "ipvs-mh" else name  # kube-proxy sets mh's flag that hashes the port as well


def how(setup: Setup) -> str:
    picks = "takes the next in turn" if setup.scheduler == "rr" else f"goes where {setup.scheduler} says"
    return f"each new connection {picks} on this node"


def picks(setup: Setup, port: Port, endpoints: Sequence[Endpoint], local: bool, vip: str) -> dict[str, str]:
    """The line of each real server behind the virtual server `vip` ("ip:port"), by its address."""
    return {e.address: f"-a {FLAGS[port.protocol]} {vip} -r {e.address} -m -w 1" for e in endpoints}


def dice(n: int, i: int) -> str:
    return f"the scheduler chose 1 of {n}"


def refusal(setup: Setup, port: Port, door: str, address: str, firewall: bool) -> str:
    """The virtual server, which has no real servers; source ranges are left to iptables."""
    number = port.doors[-1 if door == "NodePort" else 0].number
    return "" if firewall else _server(setup, port, f"{address}:{number}")


def text(setup: Setup, ports: Sequence[Port]) -> str:
    """All virtual servers and their real servers."""
    found = sorted((server for port in ports for server in _servers(setup, port)), key=lambda s: s[0])
    return "".join(f"{line}\n" for _, lines in found for line in lines)


def _servers(setup: Setup, port: Port) -> Iterator[tuple[tuple, list[str]]]:
    """(what to sort by, lines) of each virtual server."""
    everywhere = setup.addresses if setup.node_ports is None else setup.node_ports
    for door in port.doors:
        bound = port.inner_local if door.what == CLUSTER_IP else port.outer_local
        endpoints = port.sets.local or port.sets.cluster if bound else port.sets.cluster
        ordered = sorted(endpoints, key=lambda e: (ip_address(e.ip), e.port))
        for address in [door.address] if door.address else [a for a in everywhere if a != "127.0.0.1"]:
            vip = f"{address}:{door.number}"
            order = ([*FLAGS].index(port.protocol), ip_address(address), door.number)
            yield order, [_server(setup, port, vip), *picks(setup, port, ordered, bound, vip).values()]


def _server(setup: Setup, port: Port, vip: str) -> str:
    sticky = f" -p {port.sticky}" if port.sticky else ""
    by_port = " -b mh-port" if setup.scheduler == "mh" else ""  # kube-proxy lets mh hash the source port as well
    return f"-A {FLAGS[port.protocol]} {vip} -s {setup.scheduler}{sticky}{by_port}"
