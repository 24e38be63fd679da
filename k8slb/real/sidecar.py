"""Envoy as the sidecar of those who call Istio's Services from the Services' own namespaces, as `layers/mesh/istio.py`
has it: DestinationRules and VirtualServices become clusters and routes. The pods speak HTTP/1.1."""

from typing import Any

from ..decision import Place
from ..errors import K8slbError
from ..layers.mesh import istio
from ..layers.mesh.members import member_at
from ..objects import meshes as api
from ..traffic import Flow, Request
from .envoy_parts import BREAKERS, MOST, PATH, Clusters, Hosts, Json, extension

RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
OTHERS_FIRST = extension("envoy.retry.host.previous_hosts", "PreviousHostsPredicate")


def services(clusters: Clusters) -> dict[int, Hosts]:
    """By port the Services, under their names and addresses."""
    view, found = clusters.world.cluster, {}
    for service in view.cluster_ips.values():
        if (caller := member_at(view, Place("pod", f"{service.namespace}/client"))).mesh in ("linkerd", "ambient"):
            raise K8slbError(f"who calls {service} is in {caller.mesh}: Envoy stands for Istio's sidecars only")
        name = f"{service.name}.{service.namespace}"
        names = [name, f"{name}.svc", f"{name}{istio.SUFFIX}", service.spec.clusterIP]
        names += [service.name] if len(view.services_named[service.name]) == 1 else []
        for port in service.spec.ports:
            to = istio.Backend(service, port, f"{service.name}:{port.port}")
            if istio.speaks_http(to):
                found.setdefault(port.port, []).append((names, [_route(to, clusters)]))
    return found or {80: []}


def _route(to: istio.Backend, clusters: Clusters) -> Json:
    """What becomes of the requests to a Service, all of them alike."""
    view, flow = clusters.world.cluster, Flow("TCP", "", "", 0, Request("http", to.service.name, "/"))
    by, _, given = istio.routed(view, to, flow.request) or (None, "", [to])
    if by and any(route.match for route in by.spec.http):
        raise K8slbError(f"{by}: a match is not written for Envoy here")
    if ("Service", *to.service.key[1:]) in view.routes_of:
        raise K8slbError(f"HTTPRoutes of {to.service} are not written for a sidecar here")
    shares, hashed = [], None
    for one in given:
        name = "invalid"
        if one.port:
            traffic = istio.traffic(view, to.service.namespace, one, flow)
            name, hashed = _cluster(one, traffic, clusters), traffic.hashed
        shares.append({"name": name, "weight": max(1, one.weight)})
    failure, (each, total) = given[0].failure or istio.RETRIED, given[0].times
    retry = {"num_retries": failure.tries - 1, "retriable_status_codes": sorted(failure.statuses)}
    retry |= {"retry_on": RETRY_ON + ("" if failure.late else ",reset"), "host_selection_retry_max_attempts": 5}
    retry |= {"retry_host_predicate": [OTHERS_FIRST]} | ({"per_try_timeout": f"{each:g}s"} if each else {})
    action = {"weighted_clusters": {"clusters": shares}, "timeout": f"{total:g}s", "hash_policy": [_hash(hashed)]}
    return {"match": {"prefix": "/"}, "route": action | ({"retry_policy": retry} if failure.tries > 1 else {})}


def _hash(by: api.ConsistentHash | None) -> Json:
    if by is None:
        return PATH
    if by.httpCookie:
        lasts = {} if by.httpCookie.ttl is None else {"ttl": f"{api.seconds(by.httpCookie.ttl):g}s"}
        return {"cookie": {"name": by.httpCookie.name, "path": by.httpCookie.path} | lasts}
    if by.httpHeaderName:
        return {"header": {"header_name": by.httpHeaderName}}
    source = {"connection_properties": {"source_ip": True}}
    return source if by.useSourceIp else {"query_parameter": {"name": by.httpQueryParameterName}}


def _cluster(to: istio.Backend, traffic: istio.Traffic, clusters: Clusters) -> str:
    """The pods with the balancer, circuit breakers and outlier detection of the Service's DestinationRule."""
    policy, more = traffic.policy, {}
    if policy.warmup:
        raise K8slbError(f"warmup of {to.service} is not written for Envoy here")
    if "mesh" not in dict(clusters.world.cluster.own_balancers):
        table = "envoy-maglev" if traffic.hashed and traffic.hashed.maglev else "envoy-ring-hash"
        more["balancer"] = table if traffic.hashed else policy.balancer
    pool = traffic.pool or api.ConnectionPoolSettings()
    most = (
        pool.tcp.maxConnections,
        pool.http.http1MaxPendingRequests,
        pool.http.http2MaxRequests,
        pool.http.maxRetries,
    )
    breakers: dict[str, Any] = {name: n or MOST for name, n in zip(BREAKERS, most, strict=True)}
    if budget := traffic.retries:
        least = {"min_retry_concurrency": budget.minRetryConcurrency or 3}
        breakers["retry_budget"] = {"budget_percent": {"value": budget.percent}} | least
    more["circuit_breakers"] = {"thresholds": [breakers]}
    if ejects := policy.ejects:
        times = {"interval": ejects.interval, "base_ejection_time": ejects.base, "max_ejection_time": ejects.longest}
        found = {"consecutive_5xx": ejects.consecutive, "max_ejection_percent": int(ejects.percent)}
        found |= {name: f"{seconds:g}s" for name, seconds in times.items()} | {"enforcing_success_rate": 0}
        more["outlier_detection"] = found | {"always_eject_one_host": ejects.at_least_one}
        more["common_lb_config"] = {"healthy_panic_threshold": {"value": ejects.panic}}
    labels = (traffic.subset or {"": ""}) if to.subset else None  # a subset that nobody describes has no pods
    return clusters.ready(to.service, to.port.port, labels, **more)
