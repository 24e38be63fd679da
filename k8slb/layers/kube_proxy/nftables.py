"""kube-proxy's nftables mode: one rule per Service port, with a map from a random number to the endpoint.

Kubernetes 1.36, pkg/proxy/nftables/proxier.go (GA since 1.33). The text is as nft 1.0.6 prints it. Elements of sets and
maps, and the chains of different Services, come in any order on a real node. The comment of the rule for masqueradeAll
is the one line that was not compared with a real node's.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, summarize_address_range

from ...endpoints import Endpoint
from ...manifests import DATA
from .ports import BALANCER_IP, CLUSTER_IP, Port, Setup

TELLS_CALLERS_APART = True
REFUSES_OTHER_PORTS = True
AFFINITY_LIMIT = 65535  # the size of its affinity sets

FRAME = (DATA / "kube-proxy" / "nftables.txt").read_text(encoding="utf-8")  # whatever the Services are


def chain(kind: str, service: str, protocol: str, port: str, endpoint: str = "") -> str:
    """The chain of a Service port ("namespace/name", its protocol and port name): kind service, local, external or
    firewall; endpoint or affinity for an "ip:port"."""
    ip, _, number = endpoint.rpartition(":")
    name = f"{service}/{protocol}/{port}" + (f"__{ip.strip('[]').replace(':', '.')}/{number}" if endpoint else "")
    digest = base64.b32encode(hashlib.sha256(name.encode()).digest())[:8].decode()
    return f"{kind}-{digest}-{name}"


def picks(setup: Setup, port: Port, endpoints: Sequence[Endpoint], local: bool, vip: str) -> dict[str, str]:
    """The one rule that picks, the same for each endpoint's address."""
    return dict.fromkeys((e.address for e in endpoints), _to_endpoints(port, endpoints)[-1])


def dice(n: int, i: int) -> str:
    """How endpoint i of n came up."""
    return f"of the numbers 0 to {n - 1} came {i}: 1/{n}" if n > 1 else "0 is the only number"


def refusal(setup: Setup, port: Port, door: str, address: str, firewall: bool) -> str:
    """The rule or the element of a map that rejects or drops what comes in by this door."""
    kind = "nodeports" if door == "NodePort" else "services"
    wanted = f"chain {_name(port, 'firewall')}" if firewall else f"map no-endpoint-{kind}"
    start = "" if firewall or door == "NodePort" else f"{address} . "
    return next((line for name, line in lines(setup, port) if name == wanted and line.startswith(start)), "")


def text(setup: Setup, ports: Sequence[Port]) -> str:
    """The table kube-proxy writes, as nft list ruleset prints it."""
    frame = FRAME.replace("CIDRS", _networks(setup.service_cidrs)).replace("PODS", setup.pods)
    stranger, from_where = f" ip saddr != {setup.pods}", " from outside cluster"
    if setup.masquerade_all:
        frame = frame.replace(stranger, "").replace(from_where, "")
    elif not setup.pods:
        frame = re.sub(f".*{from_where}.*\n", "", frame)
    if setup.node_ports is None:
        frame = re.sub(r"\tset nodeport-ips {.*?\n\t}\n\n", "", frame, flags=re.DOTALL)
        frame = re.sub("ip daddr @nodeport-ips(?= .*service-)", "fib daddr type local ip daddr @nodeport-ips", frame)
        frame = frame.replace("ip daddr @nodeport-ips", "ip daddr != 127.0.0.0/8")
    found = {} if setup.node_ports is None else {"set nodeport-ips": [a for a in setup.node_ports if a[:4] != "127."]}
    for name, line in (x for port in ports for x in lines(setup, port)):
        found.setdefault(name, []).append(line)

    def elements(asked: re.Match[str]) -> str:
        own = [*dict.fromkeys(found.pop(asked[1], ()))]
        row = 1 if " . " in "".join(own) else 2
        rows = [", ".join(own[i : i + row]) for i in range(0, len(own), row)]
        return "\t\telements = { " + ",\n\t\t\t     ".join(rows) + " }\n" if own else ""

    frame = re.sub(r"\t\tELEMENTS (.*)\n", elements, frame).replace("0x00004000", f"{setup.mark:#010x}")
    blocks = {name: f"\t{name} {{\n" + "".join(f"\t\t{x}\n" for x in own) + "\t}\n" for name, own in found.items()}
    frame = frame.replace("SETS", "".join(f"{b}\n" for name, b in blocks.items() if name.startswith("set ")))
    return frame.replace("CHAINS", "".join(f"\n{b}" for name, b in blocks.items() if name.startswith("chain ")))


def lines(setup: Setup, port: Port) -> Iterator[tuple[str, str]]:
    """(set, map or chain; element or rule) for everything a node writes for one Service port."""
    sets, protocol = port.sets, port.protocol
    service, local, external, firewall = (_name(port, kind) for kind in ("service", "local", "external", "firewall"))
    refused = f' comment "{port.name}" : {"drop" if sets.has_any else "goto reject-chain"}'
    for e in port.usable:
        if e.node == setup.node:
            yield "set hairpin-connections", f"{e.ip} . {e.ip} . {protocol} . {e.port}"
    yield "set cluster-ips", port.doors[0].address
    for door in port.doors:
        to = f"{door.address} . {protocol} . {door.number}" if door.address else f"{protocol} . {door.number}"
        kind = "services" if door.address else "nodeports"
        if door.leads:
            target = (local if port.inner_local else service) if door.what == CLUSTER_IP else external
            yield f"map service-{'ips' if door.address else kind}", f"{to} : goto {target}"
        if port.sources and door.what == BALANCER_IP:
            yield "map firewall-ips", f"{to} : goto {firewall}"
        if door.refuses:
            yield f"map no-endpoint-{kind}", to + refused
    for e in port.usable if port.sticky else ():
        affinity, target = _name(port, "affinity", e), f"chain {_name(port, 'endpoint', e)}"
        size, timeout = f"size {AFFINITY_LIMIT}", f"timeout {_duration(port.sticky)}"
        yield from ((f"set {affinity}", line) for line in ("type ipv4_addr", size, "flags dynamic,timeout", timeout))
        yield target, f"update @{affinity} {{ ip saddr }}"
        yield target, f"meta l4proto {protocol} dnat to {e.address}"
    for name, endpoints in ((service, sets.cluster), (local, sets.local)):
        yield from ((f"chain {name}", rule) for rule in (_to_endpoints(port, endpoints) if endpoints else ()))
    if sets.has_any and len(port.doors) > 1:
        mark, here = f"meta mark set meta mark | {setup.mark:#010x} comment", "fib saddr type local"
        rules = [f'{mark} "masquerade"']
        if port.outer_local:
            rules = [f'ip saddr {setup.pods} goto {service} comment "short-circuit pod traffic"'] if setup.pods else []
            rules.append(f'{here} {mark} "masquerade local traffic"')
            rules.append(f'{here} goto {service} comment "short-circuit local traffic"')
        yield from ((f"chain {external}", rule) for rule in rules)
        if not port.doors[-1].refuses:
            yield f"chain {external}", f"goto {local if port.outer_local else service}"
    if port.sources:
        yield f"chain {firewall}", f"ip saddr != {_networks(port.sources)} drop"


def _to_endpoints(port: Port, endpoints: Sequence[Endpoint]) -> list[str]:
    start = f"numgen random mod {len(endpoints)}"
    if not port.sticky:
        numbers = ", ".join(f"{k} : {e.ip} . {e.port}" for k, e in enumerate(endpoints))
        return [f"meta l4proto {port.protocol} dnat ip to {start} map {{ {numbers} }}"]
    steps = [(_name(port, "affinity", e), _name(port, "endpoint", e)) for e in endpoints]
    known = [f"ip saddr @{affinity} goto {target}" for affinity, target in steps]
    numbers = ", ".join(f"{k} : goto {target}" for k, (_, target) in enumerate(steps))
    return [*known, f"{start} vmap {{ {numbers} }}"]


def _name(port: Port, kind: str, endpoint: Endpoint | None = None) -> str:
    service = f"{port.service.namespace}/{port.service.name}"
    return chain(kind, service, port.protocol, port.port.name, endpoint.address if endpoint else "")


def _networks(cidrs: Sequence[str]) -> str:
    """As nft prints an anonymous set: what overlaps or touches becomes one range, a single element has no braces."""
    ranges: list[list[IPv4Address]] = []
    for network in sorted(map(IPv4Network, cidrs)):
        if ranges and network[0] <= ranges[-1][1] + 1:
            ranges[-1][1] = max(ranges[-1][1], network[-1])
        else:
            ranges.append([network[0], network[-1]])
    names = []
    for first, last in ranges:
        whole = [*summarize_address_range(first, last)]
        names.append(str(whole[0]).removesuffix("/32") if len(whole) == 1 else f"{first}-{last}")
    return names[0] if len(cidrs) == 1 else "{ " + ", ".join(names) + " }"


def _duration(seconds: int) -> str:
    days, rest = divmod(seconds, 86400)
    parts = ((days, "d"), (rest // 3600, "h"), (rest // 60 % 60, "m"), (rest % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)
