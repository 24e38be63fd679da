"""From the objects as written to the cluster as it would run: what the API server and the controllers fill in.

Pods of workloads, addresses, node ports, EndpointSlices; and, where the input is silent, the nodes and the Ingress
controller's pods. Everything that was not in the input is told in `assumptions`; the rules are fixed, so the same
input always gives the same cluster.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from . import objects as k8s
from .controllers import MODELLED, SPEC, Served, class_names, replica, replica_of, runs, serves
from .errors import InputError
from .loadbalancers import kind_of
from .manifests import table_of
from .scheduling import Running, schedule, some

ZONE = "topology.kubernetes.io/zone"
MAX_NODES = 20_000
PODS = (k8s.Pod, k8s.Workload)
GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"  # on what a Gateway's controller makes for it (GEP-1762)
GATEWAY_CLASSES: dict[str, str] = table_of("gateway-classes")  # usual names
SERVICE_CIDR = "10.96.0.0/12"  # kubeadm's default


def complete(objects: Sequence[k8s.Object]) -> Running:
    """The running cluster behind `objects`."""
    running = Running()
    named = (o.spec.nodeName for o in objects if isinstance(o, k8s.Pod))
    running.nodes = _nodes([o for o in objects if isinstance(o, k8s.Node)], sorted({*named} - {""}), running)
    running.assumed = [*_assumed_controllers(objects, running), *_assumed_gateways(objects, running)]
    objects = [*objects, *running.assumed]
    schedule(objects, running)
    _services(objects, running)
    return running


def _nodes(nodes: list[k8s.Node], named: list[str], running: Running) -> list[k8s.Node]:
    """The Nodes of the input; where there is none those that pods name (`named`), else three."""
    if len(nodes) > MAX_NODES:
        raise InputError(f"{len(nodes):,} Nodes are too many", expected=f"at most {MAX_NODES:,}")
    if not nodes:
        made = [node_mapping(f"node-{letter}", f"zone-{letter}") for letter in "abc"]
        told = "no Node in the input: three, node-a, node-b and node-c, in zones zone-a, zone-b and zone-c"
        if not {one["metadata"]["name"] for one in made}.issuperset(named):
            made = [node_mapping(name) for name in named]
            told = f"no Node in the input: those that pods name, {some(named)}, in no zone"
        running.assumptions.append(told)
        nodes = [k8s.decoder(k8s.Node)(one) for one in made]
    taken = {n.address for n in nodes}
    free = (str(a) for a in ipaddress.ip_network("172.18.0.0/16").hosts())
    next(free)  # the network's gateway
    silent = [i for i, n in enumerate(nodes) if not n.address]
    for i in silent:
        own = k8s.NodeAddress("InternalIP", next(a for a in free if a not in taken))
        nodes[i] = replace(nodes[i], status=replace(nodes[i].status, addresses=(*nodes[i].status.addresses, own)))
    if silent:
        running.assumptions.append("nodes without an InternalIP have 172.18.0.2, .3, ... in the order of the input")
    return nodes


def node_mapping(name: str, zone: str = "") -> dict:
    """A Node as YAML would have it."""
    metadata = {"name": name, "labels": {"kubernetes.io/hostname": name} | ({ZONE: zone} if zone else {})}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


def _assumed_controllers(objects: Sequence[k8s.Object], running: Running) -> list[k8s.Object]:
    classes = {o.name: o for o in objects if isinstance(o, k8s.IngressClass)}
    wanted = {o.spec.controller: o.name for o in classes.values()}
    for ingress in (o for o in objects if isinstance(o, k8s.Ingress)):
        served = serves(ingress, classes)
        where = ingress.origin.place
        if served.assumed:
            running.assumptions.append(f"{ingress} ({where}): {served.why}")
        if not served.controller:
            running.warnings.append(f"{where}: {ingress}: {served.why}")
        wanted.setdefault(served.controller, "")
    added: list[k8s.Object] = []
    for controller in wanted:
        if controller not in MODELLED:
            continue  # nobody, or a controller whose pods the model does not walk through
        names = class_names(controller, objects)
        if any(runs(controller, names, o) for o in objects if isinstance(o, (k8s.Pod, k8s.Workload))):
            continue
        made = replica_of(controller, names[0] if names else "")
        added += _assumed(f"the controller {controller}", made, "the hosts of its Ingresses", running)
    return added


def _assumed(
    whose: str, made: Iterable[dict], hosts: str, running: Running, front: k8s.Service | None = None
) -> list[k8s.Object]:
    """A replica that the input has not, and the Service before it, unless the input has that."""
    pods, service = (k8s.decoder(kind)(raw) for kind, raw in zip((k8s.Workload, k8s.Service), made, strict=True))
    running.assumptions.append(
        f"no pods of {whose} in the input: one replica, {pods.namespace}/{pods.name}-1, behind "
        f"{front or 'a Service of type LoadBalancer'}; DNS points {hosts} there"
    )
    return [pods] if front else [pods, service]


def gateway_of(gateway: k8s.Gateway, classes: Mapping[str, k8s.GatewayClass]) -> Served:
    """Which controller runs `gateway`, by its GatewayClass, else by what that name usually stands for."""
    name = gateway.spec.gatewayClassName
    if name in classes:
        return Served(classes[name].spec.controllerName, f"GatewayClass {name}")
    if name in GATEWAY_CLASSES:
        why = f'there is no GatewayClass "{name}"; by that name {GATEWAY_CLASSES[name]} is usually installed'
        return Served(GATEWAY_CLASSES[name], why, assumed=True)
    why = f'there is no GatewayClass "{name}": the specification itself serves it'
    return Served(SPEC, why, assumed=True)


def _assumed_gateways(objects: Sequence[k8s.Object], running: Running) -> list[k8s.Object]:
    """For each Gateway without pods in the input one replica, and a Service of type LoadBalancer with its ports."""
    classes = {o.name: o for o in objects if isinstance(o, k8s.GatewayClass)}
    added: list[k8s.Object] = []
    for gateway in (o for o in objects if isinstance(o, k8s.Gateway)):
        served, mark = gateway_of(gateway, classes), (GATEWAY_LABEL, gateway.name)
        if served.assumed:
            running.assumptions.append(f"{gateway} ({gateway.origin.place}): {served.why}")
        near = [o for o in objects if o.namespace == gateway.namespace]
        makes = [o.spec.template if isinstance(o, k8s.Workload) else o for o in near if isinstance(o, PODS)]
        if served.controller != SPEC or any(mark in m.metadata.labels.items() for m in makes):
            continue
        front = next((s for s in near if isinstance(s, k8s.Service) and mark in s.metadata.labels.items()), None)
        labels = {**(front.spec.selector if front else {}), GATEWAY_LABEL: gateway.name}
        meta = {"name": f"{gateway.name}-{gateway.spec.gatewayClassName}", "namespace": gateway.namespace}
        listened = dict.fromkeys((x.port, "UDP" if x.speaks == "UDP" else "TCP") for x in gateway.spec.listeners)
        ports = [(f"{protocol.lower()}-{n}", n, protocol) for n, protocol in listened]
        given = [a for a in gateway.status.addresses or gateway.spec.addresses if a.value and ":" not in a.value]
        status = {"ingress": [{"ip" if a.type == "IPAddress" else "hostname": a.value} for a in given]}
        made = replica(meta, labels, ports, status={"loadBalancer": status})
        added += _assumed(str(gateway), made, "the hosts of its listeners and HTTPRoutes", running, front)
    return added


def _services(objects: Sequence[k8s.Object], running: Running) -> None:
    services = [o for o in objects if isinstance(o, k8s.Service)]
    cidrs = [c for o in objects if isinstance(o, k8s.ServiceCIDR) for c in o.spec.cidrs]
    network = ipaddress.ip_network(cidrs[0] if cidrs else SERVICE_CIDR, strict=False)
    taken = {s.spec.clusterIP for s in services}
    ports_taken = {p.nodePort for s in services for p in s.spec.ports} | {s.spec.healthCheckNodePort for s in services}
    cluster_ips = (str(network[i]) for i in range(min(100, network.num_addresses // 2), network.num_addresses - 1))
    node_ports = (p for p in range(30000, 32768) if p not in ports_taken)
    written = {i.ip for s in services for i in s.status.loadBalancer.ingress}
    outside = (str(ipaddress.ip_network("203.0.113.0/24")[i]) for i in range(10, 255))
    balancers = (a for a in outside if a not in written)
    health_ports = (p for p in range(32767, 29999, -1) if p not in ports_taken)
    assumed_ip, assumed_lb, assumed_port, assumed_kind = [], [], [], []
    for service in services:
        spec, status, name = service.spec, service.status, f"{service.namespace}/{service.name}"
        if spec.type != "ExternalName" and not spec.clusterIP:
            spec = replace(spec, clusterIP=next((a for a in cluster_ips if a not in taken), ""))
            assumed_ip.append(f"{name} {spec.clusterIP}")
        wants_port = spec.type == "NodePort" or (spec.type == "LoadBalancer" and spec.allocateLoadBalancerNodePorts)
        if wants_port and not all(p.nodePort for p in spec.ports):
            ports = [p if p.nodePort else replace(p, nodePort=next(node_ports, 0)) for p in spec.ports]
            spec = replace(spec, ports=tuple(ports))
            assumed_port += [f"{name} {p.nodePort}" for p in spec.ports]
        kind = kind_of(service, running.nodes) if spec.type == "LoadBalancer" else None
        if kind and kind_of(service, ()).name == "generic":
            assumed_kind.append(f"{name} {kind.name}")
        if kind and spec.externalTrafficPolicy == "Local" and not spec.healthCheckNodePort:
            spec = replace(spec, healthCheckNodePort=next(health_ports, 0))
            assumed_port.append(f"{name} {spec.healthCheckNodePort} (health checks)")
        if kind and not status.loadBalancer.ingress:
            address = spec.loadBalancerIP or next(balancers, "")
            if not address:
                running.warnings.append(f"no address is left for the load balancer of {service}")
            mode = "VIP" if kind.keeps_destination else "Proxy"
            ingress = (k8s.LoadBalancerIngress(ip=address, ipMode=mode),) if address else ()
            status = k8s.LoadBalancedStatus(k8s.LoadBalancerStatus(ingress))
            assumed_lb.append(f"{name} {address}")
        running.services[service.namespace, service.name] = replace(service, spec=spec, status=status)
    for what, names in (
        (f"Services without a clusterIP have one from {network}", assumed_ip),
        ("node ports the input leaves open", assumed_port),
        ("load balancers without a status have an address of their own, and their DNS points there", assumed_lb),
        ("load balancers no field names are the nodes' provider's, else a hash over healthy nodes", assumed_kind),
    ):
        if names:
            running.assumptions.append(f"{what}: {some(names)}")


def endpoint_slices(
    service: k8s.Service, pods: Iterable[k8s.Pod], nodes: Mapping[str, k8s.Node]
) -> list[k8s.EndpointSlice]:
    """What the EndpointSlice controller would write for `service`, given the pods its selector matches.

    One slice for each set of target ports the pods have (a named targetPort may differ from pod to pod), conditions
    and hints as in Kubernetes 1.36: ready = Ready or publishNotReadyAddresses, never while terminating;
    PreferSameZone and PreferClose hint the own zone, PreferSameNode node and zone, ready endpoints only.
    """
    groups: dict[tuple[k8s.EndpointPort, ...], list[k8s.SliceEndpoint]] = {}
    for pod in pods:
        if not (pod.running and pod.status.podIP):
            continue
        found = ((p, pod.port_for(p.target, p.protocol)) for p in service.spec.ports)
        ports = tuple(k8s.EndpointPort(number, p.name, p.protocol) for p, number in found if number is not None)
        if service.spec.ports and not ports:
            continue  # a name that this pod does not know
        serving = pod.ready or service.spec.publishNotReadyAddresses
        ready = serving and (not pod.terminating or service.spec.publishNotReadyAddresses)
        node, zone = pod.spec.nodeName, nodes[pod.spec.nodeName].zone if pod.spec.nodeName in nodes else ""
        wanted = service.spec.trafficDistribution
        zones = (k8s.Named(zone),) if wanted and ready and zone else ()
        same = (k8s.Named(node),) if wanted == "PreferSameNode" and ready else ()
        conditions, hints = k8s.EndpointConditions(ready, serving, pod.terminating), k8s.EndpointHints(zones, same)
        pod_ref = k8s.Reference("Pod", pod.name)
        endpoint = k8s.SliceEndpoint((pod.status.podIP,), conditions, node, zone, hints, pod_ref)
        groups.setdefault(ports, []).append(endpoint)
    slices = []
    for i, (ports, endpoints) in enumerate(groups.items()):
        labels = {"kubernetes.io/service-name": service.name}
        meta = k8s.ObjectMeta(f"{service.name}-{i + 1}", service.namespace, labels)
        typed = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta}
        slices.append(k8s.EndpointSlice("IPv4", tuple(endpoints), ports, **typed, origin=service.origin))
    return slices
