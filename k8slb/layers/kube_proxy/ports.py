"""What one node's kube-proxy goes by, before any mode turns it into rules: its own settings, and every Service port.

Kubernetes 1.36: pkg/proxy/serviceport.go, pkg/proxy/util/nodeport_addresses.go, cmd/kube-proxy/app.
Decisions and the text of the rules read the same two values, for IPv4.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ...cluster import Cluster
from ...derive import SERVICE_CIDR
from ...endpoints import Eligible, Endpoint, eligible, of_port
from ...errors import NotModelled
from ...objects import Node, Service, ServiceCIDR, ServicePort
from ...traffic import inside, network_of

LARGE = 1000  # with more endpoints than this, iptables mode leaves out the comments of endpoints
PROXY_NAME = "service.kubernetes.io/service-proxy-name"  # a label: kube-proxy leaves this Service to another proxy
CLUSTER_IP, EXTERNAL_IP, BALANCER_IP, NODE_PORT = "cluster IP", "external IP", "loadbalancer IP", ""


class Setup(NamedTuple):
    """A node's settings."""

    node: str
    addresses: list[str]  # the node's own
    pods: str  # the network taken for pods' addresses; "": no detector
    masquerade_all: bool
    mark: int
    node_ports: list[str] | None  # the addresses that answer node ports; None: all of this machine
    localhost: bool  # whether 127.0.0.0/8 answers them too, by route_localnet
    service_cidrs: list[str]
    scheduler: str
    large: bool


class Door(NamedTuple):
    """One way in to a Service port: its address ("": every address that answers node ports) and port number."""

    what: str
    address: str
    number: int
    leads: bool  # somebody gets on from here
    refuses: bool  # who does not is rejected or dropped


class Port(NamedTuple):
    """One Service port as a node's rules know it, with the endpoints this node may use."""

    service: Service
    port: ServicePort
    protocol: str  # in lower case
    name: str  # "namespace/name" or "namespace/name:port"
    sets: Eligible
    inner_local: bool
    outer_local: bool
    doors: list[Door]  # the cluster IP, then those for clients from outside
    sources: list[str]  # who may use the load balancer's address; none: everybody
    sticky: int  # seconds that ClientIP affinity lasts; 0: none
    health_check: int

    @property
    def usable(self) -> list[Endpoint]:
        """Every endpoint that some rule on this node leads to."""
        return sorted(dict.fromkeys((*self.sets.cluster, *self.sets.local)), key=lambda e: e.address)


def setup(view: Cluster, node: str) -> Setup:
    """The settings of a node's kube-proxy. Raises NotModelled for a detectLocalMode that looks at interfaces."""
    return view.once(("kube-proxy", node), lambda: _setup(view, view.node[node]))


def _setup(view: Cluster, node: Node) -> Setup:
    config, mode = view.proxy_config, view.mode
    detect = config.detectLocalMode or "ClusterCIDR"
    if detect not in ("ClusterCIDR", "NodeCIDR"):
        raise NotModelled(f"detectLocalMode {detect}")
    cluster = config.clusterCIDR or view.running.cluster_cidr
    pods = (cluster if detect == "ClusterCIDR" else node.spec.podCIDR).split(",")
    own = config.nftables if mode == "nftables" else config.iptables  # IPVS reads the settings of iptables
    chosen = config.nodePortAddresses or (("primary",) if mode == "nftables" else ())
    ports = ipv4(f"{node.address}/32" if c == "primary" else c for c in chosen)
    addresses = ipv4(a.address for a in node.status.addresses if a.type in ("InternalIP", "ExternalIP"))
    chosen = [a for a in (*dict.fromkeys(addresses), "127.0.0.1") if any(inside(a, c) for c in ports)]
    node_ports = None if not ports or any(network_of(c).prefixlen == 0 for c in ports) else chosen
    localhost = mode == "iptables" and own.localhostNodePorts and (node_ports is None or "127.0.0.1" in node_ports)
    pods_network = next((str(network_of(c)) for c in ipv4(pods)), "")
    services = ipv4(c for o in view.objects if isinstance(o, ServiceCIDR) for c in o.spec.cidrs) or [SERVICE_CIDR]
    large, mark = mode == "iptables" and _large(view), 1 << own.masqueradeBit
    network = (pods_network, own.masqueradeAll, mark, node_ports, localhost, services)
    return Setup(node.name, addresses, *network, view.scheduler, large)


def _large(view: Cluster) -> bool:
    count = 0
    return any((count := count + len(of_port(view, service, port))) > LARGE for service, port in _ports(view))


def ports(view: Cluster, node: str) -> list[Port]:
    """Every Service port that a node has rules for."""
    return [port_of(view, service, port, node) for service, port in _ports(view)]


def _ports(view: Cluster) -> Iterator[tuple[Service, ServicePort]]:
    for service in view.services.values():
        own = service.spec.type != "ExternalName" and not service.headless and PROXY_NAME not in service.metadata.labels
        if own and ipv4([service.spec.clusterIP]):
            yield from ((service, port) for port in service.spec.ports)


def port_of(view: Cluster, service: Service, port: ServicePort, node: str) -> Port:
    """A Service port as `node` knows it. 0.0.0.0/0 among loadBalancerSourceRanges lets everybody through; a range with
    this node in it the load balancer's address as well."""
    spec, sets = service.spec, eligible(view, service, port, node)
    inner, outer = spec.internalTrafficPolicy == "Local", spec.externalTrafficPolicy == "Local"
    leads_in, leads_out = (sets.has_any and not (local and not sets.local) for local in (inner, outer))
    vips = ipv4(i.ip for i in service.status.loadBalancer.ingress if i.ipMode == "VIP")
    sources = [str(network_of(r)) for r in ipv4(spec.loadBalancerSourceRanges)] if vips else []
    sources += [f"{v}/32" for v in vips if any(inside(view.node[node].address, r) for r in sources)]
    outside = [(EXTERNAL_IP, a) for a in ipv4(spec.externalIPs)] + [(BALANCER_IP, a) for a in vips]
    doors = [Door(CLUSTER_IP, spec.clusterIP, port.port, leads_in, not leads_in)]
    doors += [Door(what, address, port.port, sets.has_any, not leads_out) for what, address in outside]
    doors += [Door(NODE_PORT, "", port.nodePort, sets.has_any, not leads_out)] if port.nodePort else []
    sources = [] if "0.0.0.0/0" in sources else sources
    name = f"{service.namespace}/{service.name}" + (f":{port.name}" if port.name else "")
    sticky = spec.sessionAffinityConfig.clientIP.timeoutSeconds if spec.sessionAffinity == "ClientIP" else 0
    checked = spec.healthCheckNodePort if spec.type == "LoadBalancer" and outer else 0
    return Port(service, port, port.protocol.lower(), name, sets, inner, outer, doors, sources, sticky, checked)


def ipv4(addresses: Iterable[str]) -> list[str]:
    return [a.strip() for a in addresses if a.strip() and ":" not in a]
