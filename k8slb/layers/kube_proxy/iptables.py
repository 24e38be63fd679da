"""kube-proxy's iptables mode: a chain of rules per Service port, each taken with its own probability.

Kubernetes 1.36, pkg/proxy/iptables/proxier.go: rule i of n (from 0) is taken with probability 1/(n-i), so every
endpoint gets the same share in the end. The text is as iptables-save 1.8.9 prints it, after a full sync on a kernel
with nfacct. On a real node the rules of KUBE-SERVICES and of the other dispatching chains come in any order, and
where the jumps to KUBE-FIREWALL stand depends on whether the kubelet or an earlier kube-proxy put them there first.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence

from ...endpoints import Endpoint
from ...manifests import DATA
from .ports import BALANCER_IP, CLUSTER_IP, Port, Setup

TELLS_CALLERS_APART = True
REFUSES_OTHER_PORTS = False
AFFINITY_LIMIT = 100  # xt_recent remembers so many addresses per endpoint (ip_list_tot)

FRAME = (DATA / "kube-proxy" / "iptables.txt").read_text(encoding="utf-8")  # whatever the Services are
LAST = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'


def chain(kind: str, name: str, protocol: str, address: str = "") -> str:
    """The chain of a Service port "namespace/name[:port]": kind SVC, SVL, EXT or FW; SEP for an endpoint's address."""
    digest = hashlib.sha256(f"{name}{protocol}{address}".encode()).digest()
    return f"KUBE-{kind}-{base64.b32encode(digest)[:16].decode()}"


def probability(n: int, i: int) -> str:
    """Rule i of n as iptables-save prints it; "" for the last rule.

    kube-proxy writes ten digits and the kernel keeps a fraction of 2**31."""
    return f"{round(float(f'{1 / (n - i):.10f}') * 2**31) / 2**31:.11f}" if i < n - 1 else ""


def picks(setup: Setup, port: Port, endpoints: Sequence[Endpoint], local: bool, vip: str) -> dict[str, str]:
    """The rule that sends a new connection to each endpoint, by its address."""
    name = chain("SVL" if local else "SVC", port.name, port.protocol)
    lottery = [*_to_endpoints(setup, port, endpoints)][-len(endpoints) :]
    return {e.address: f"-A {name} {rule}" for e, rule in zip(endpoints, lottery, strict=True)}


def dice(n: int, i: int) -> str:
    """How the rule of endpoint i of n came to be taken."""
    if n == 1:
        return "the only rule"
    chance = f"probability {float(probability(n, i)):.4g}" if i < n - 1 else "without a condition"
    return f"rule {i + 1} of {n}, {chance}: taken" + (f", the {i} before it not" if i else "") + f"; overall 1/{n}"


def refusal(setup: Setup, port: Port, door: str, address: str, firewall: bool) -> str:
    """The rule that rejects or drops what comes in by this door."""
    to = "--dst-type LOCAL" if door == "NodePort" else f"-d {address}/32 "
    for table, name, rule in lines(setup, port):
        if table == "filter" and to in rule and firewall == (name == "KUBE-PROXY-FIREWALL"):
            return f"-A {name} {rule}"
    return ""


def text(setup: Setup, ports: Sequence[Port]) -> str:
    """The filter and nat tables as iptables-save prints them, without counters."""
    frame = FRAME.replace("0x4000", f"{setup.mark:#x}").splitlines()
    ends = [f"-d {a}/32 {LAST}" for a in setup.node_ports or () if setup.localhost or a != "127.0.0.1"]
    if setup.node_ports is None:
        ends = [f"{'' if setup.localhost else '! -d 127.0.0.0/8 '}{LAST} -m addrtype --dst-type LOCAL"]
    found = [x.split(" ", 2) for x in frame if setup.localhost or "localnet" not in x]
    found += [x for port in ports for x in lines(setup, port)]
    found += [("nat", "KUBE-SERVICES", f"{to} -j KUBE-NODEPORTS") for to in ends]
    tables: dict[str, dict[str, list[str]]] = {"filter": {}, "nat": {}}
    for table, name, *rule in found:
        tables[table].setdefault(name, []).extend(f"-A {name} {x}" for x in rule)
    out = []
    for table, chains in tables.items():
        order = sorted(chains, key=lambda c: c if c.startswith("KUBE-") else "")
        declared = [f":{c} {'-' if c.startswith('KUBE-') else 'ACCEPT'} [0:0]" for c in order]
        out += [f"*{table}", *declared, *(rule for c in order for rule in chains[c]), "COMMIT"]
    return "\n".join(out) + "\n"


def lines(setup: Setup, port: Port) -> Iterator[tuple[str, str, str]]:
    """(table, chain, rule) for everything a node writes for one Service port, in kube-proxy's order."""
    name, protocol, sets = port.name, port.protocol, port.sets
    svc, svl, ext, fw = (chain(kind, name, protocol) for kind in ("SVC", "SVL", "EXT", "FW"))
    inner, outer = svl if port.inner_local else svc, svl if port.outer_local else svc
    reason = f"{name} has no {'local ' if sets.has_any else ''}endpoints"
    verdict = "DROP" if sets.has_any else "REJECT --reject-with icmp-port-unreachable"

    def match(to: str, comment: str, number: int, more: str = "", protocol: str = protocol) -> str:
        return f'{to}-p {protocol} -m comment --comment "{comment}" {more}-m {protocol} --dport {number}'

    for door in port.doors:
        to, cluster_ip = f"-d {door.address}/32 " if door.address else "", door.what == CLUSTER_IP
        fenced = sets.has_any and port.sources and door.what == BALANCER_IP
        there = match(to, f"{name} {door.what}".rstrip(), door.number)
        target = inner if cluster_ip else fw if fenced else ext
        if door.leads and not to and setup.localhost:
            counter = "-m nfacct --nfacct-name  localhost_nps_accepted_pkts"
            yield "nat", "KUBE-NODEPORTS", f"-d 127.0.0.0/8 {there} {counter} -j {target}"
        if door.leads:
            yield "nat", "KUBE-SERVICES" if to else "KUBE-NODEPORTS", f"{there} -j {target}"
        if door.leads and cluster_ip and (setup.masquerade_all or setup.pods):
            stranger = "" if setup.masquerade_all else f"! -s {setup.pods} "
            yield "nat", inner, f"{stranger}{there} -j KUBE-MARK-MASQ"
        if fenced:
            told = match(to, f"{name} traffic not accepted by {fw}", door.number)
            yield "filter", "KUBE-PROXY-FIREWALL", f"{told} -j DROP"
        if door.refuses:
            told = match(to, reason, door.number, "" if to else "-m addrtype --dst-type LOCAL ")
            yield "filter", "KUBE-SERVICES" if cluster_ip else "KUBE-EXTERNAL-SERVICES", f"{told} -j {verdict}"
    if port.health_check:
        told = match("", f"{name} health check node port", port.health_check, protocol="tcp")
        yield "filter", "KUBE-NODEPORTS", f"{told} -j ACCEPT"
    if sets.has_any and len(port.doors) > 1:
        about = f'-m comment --comment "%s {name} external destinations" '
        if port.outer_local:
            from_here = "-m addrtype --src-type LOCAL "
            if setup.pods:
                yield "nat", ext, f"-s {setup.pods} {about % 'pod traffic for'}-j {svc}"
            yield "nat", ext, f"{about % 'masquerade LOCAL traffic for'}{from_here}-j KUBE-MARK-MASQ"
            yield "nat", ext, f"{about % 'route LOCAL traffic for'}{from_here}-j {svc}"
        else:
            yield "nat", ext, f"{about % 'masquerade traffic for'}-j KUBE-MARK-MASQ"
        if not port.doors[-1].refuses:
            yield "nat", ext, f"-j {outer}"
    if sets.has_any and port.sources:
        for source in port.sources:
            yield "nat", fw, f'-s {source} -m comment --comment "{name} {BALANCER_IP}" -j {ext}'
        yield "nat", fw, f'-m comment --comment "other traffic to {name} will be dropped by KUBE-PROXY-FIREWALL"'
    for target, endpoints in ((svc, sets.cluster), (svl, sets.local)):
        yield from (("nat", target, rule) for rule in _to_endpoints(setup, port, endpoints))
    told = _comment(setup, name)
    for e in port.usable:
        sep = chain("SEP", name, protocol, e.address)
        remember = f"-m recent --set --name {sep} --mask 255.255.255.255 --rsource " if port.sticky else ""
        yield "nat", sep, f"-s {e.ip}/32 {told}-j KUBE-MARK-MASQ"
        yield "nat", sep, f"-p {protocol} {told}{remember}-m {protocol} -j DNAT --to-destination {e.address}"


def _to_endpoints(setup: Setup, port: Port, endpoints: Sequence[Endpoint]) -> Iterator[str]:
    """First who is remembered, then the lottery."""
    seps = [chain("SEP", port.name, port.protocol, e.address) for e in endpoints]
    steps = [(_comment(setup, f"{port.name} -> {e.address}"), sep) for e, sep in zip(endpoints, seps, strict=True)]
    if port.sticky:
        for told, sep in steps:
            known = f"-m recent --rcheck --seconds {port.sticky} --reap --name {sep} --mask 255.255.255.255 --rsource"
            yield f"{told}{known} -j {sep}"
    for i, (told, sep) in enumerate(steps):
        chance = probability(len(steps), i)
        lottery = f"-m statistic --mode random --probability {chance} " if chance else ""
        yield f"{told}{lottery}-j {sep}"


def _comment(setup: Setup, what: str) -> str:
    return "" if setup.large else f'-m comment --comment "{what}" '
