"""What Istio's proxies do with requests to a Service: VirtualService and DestinationRule (1.31: istio/api networking,
pilot/pkg/networking/core/cluster_traffic_policy.go, route/retry/retry.go; Envoy 1.40).

A VirtualService is found by the Service that is asked for, not by the Host header. A warning names the fields of both
that are not modelled. A connection that fails is tried again whatever retryOn says; a try that takes too long (504, the
flag UT) only for 5xx, gateway-error or reset (router/retry_state_impl.cc), a whole request that does never. Nothing has
a time-out by default.

Circuit breakers: a sidecar or waypoint counts for itself what it has under way to a backend, and answers 503 (UO) to
what is too much; TCP connections it closes. Envoy alone would stop at 1,024 connections, 1,024 waiting, 1,024 requests
and 3 retries (circuit_breaker.proto); Istio lifts all four to 2^32-1 (defaultCircuitBreakerThresholds), so that only
what a DestinationRule says counts. In HTTP/1.1 each request has a connection for itself, or waits for one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...cluster import Cluster
from ...decision import Ejects, Limit, Memory, OnFailure, Warmup
from ...endpoints import of_port
from ...errors import NotModelled
from ...objects import DestinationRule, Object, Service, ServicePort, VirtualService
from ...objects import meshes as api
from ...patterns import whole
from ...traffic import Flow, Request
from ...upstream import Policy
from .members import ROOT, oldest

SUFFIX = ".svc.cluster.local"
HTTP, OTHERS = ("http", "http2", "grpc"), ("tcp", "tls", "https", "mongo", "mysql", "redis", "udp")
HTTP2 = "(?i)^(grpc|http2)|h2c$"
BY_NUMBER = (25, 53, 3306, 27017)  # where nothing is declared, these are not looked into for HTTP (pkg/kube)
CLASSES = {"5xx": range(500, 600), "gateway-error": range(502, 505), "retriable-4xx": (409,)}
RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled"  # and a pod's 503 before Istio 1.24
RETRIED = OnFailure(3, refused=503, timed_out=503)  # Envoy answers 503 to either
SIMPLE = {"ROUND_ROBIN": "envoy-round-robin", "RANDOM": "envoy-random"}


@dataclass(frozen=True, slots=True)
class Backend:
    """Where requests go: a Service's port (None where there is none), or the pods of it that a subset names; `failure`:
    what its route says of retries, `times`: the seconds for a try and for all of them (0: any)."""

    service: Service | None
    port: ServicePort | None
    name: str
    weight: int = 1
    subset: str = ""
    failure: OnFailure | None = None
    times: tuple[float, float] = (0.0, 0.0)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Traffic:
    """How a proxy picks among a backend's pods (`hashed`: what it hashes), the labels of the backend's subset, and what
    it may have under way."""

    policy: Policy
    subset: Mapping[str, str] | None = None
    pool: api.ConnectionPoolSettings | None = None
    retries: api.ConcurrentRetries | None = None
    warnings: tuple[str, ...] = ()
    hashed: api.ConsistentHash | None = None


def speaks_http(to: Backend) -> bool:
    """Whether requests on this port are taken one by one: declared so, or found out."""
    said = (to.port.appProtocol or to.port.name).lower().partition("-")[0]
    return said not in OTHERS and (said in HTTP or to.port.port not in BY_NUMBER)


def _covers(host: str, namespace: str, service: Service) -> bool:
    """Whether a host in an object of `namespace` means the Service: a name without dots is one of that namespace."""
    name, host = f"{service.name}.{service.namespace}{SUFFIX}", _full(host, namespace)
    return host == name or (host.startswith("*") and name.endswith(host[1:]))


def _full(host: str, namespace: str) -> str:
    return host if "." in host or "*" in host else f"{host}.{namespace}{SUFFIX}"


def ignored(thing: Object) -> tuple[str, ...]:
    fields = (".".join(map(str, path)) for path in api.unread(thing.raw.get("spec", {}), type(thing.spec)))
    return tuple(f"{thing}: {name} is not modelled" for name in fields)


# --- VirtualService --------------------------------------------------------------------------------------------------


def routed(view: Cluster, to: Backend, request: Request) -> tuple[VirtualService, str, list[Backend]] | None:
    """(the oldest VirtualService for this Service, its route for the request, the backends), a host by name before one
    with *; no backends where no route matches."""
    given = [v for v in oldest(view, VirtualService) if "mesh" in v.spec.gateways and v.spec.http]
    given = [("*" in h, v) for v in given for h in v.spec.hosts if _covers(h, v.namespace, to.service)]
    if not given:
        return None
    by: VirtualService = min(given, key=lambda pair: pair[0])[1]
    route = next((r for r in by.spec.http if not r.match or any(_matches(m, request) for m in r.match)), None)
    altering = [told for told in ignored(by) if re.search(r" http\.\d+\.(fault|match)\b", told)]
    if altering or (route and not route.route):
        what = altering[0].removesuffix(" is not modelled") if altering else f"redirect or delegate ({by})"
        raise NotModelled(what)
    if route is None:
        return by, "no route matches", []
    live = [part for part in route.route if part.weight or len(route.route) == 1]
    said, named = _tried(route), f"route {route.name or by.spec.http.index(route)}"
    return by, named, [replace(_backend(view, by.namespace, part, to.port), **said) for part in live]


def _backend(view: Cluster, namespace: str, part: api.RouteDestination, asked: ServicePort) -> Backend:
    """A Service of one port needs no number; in one of several the port that was asked for is meant."""
    to = part.destination
    name, _, rest = _full(to.host, namespace).removesuffix(SUFFIX).partition(".")
    service, number = view.services.get((rest, name)), to.port.number
    if service and not number:
        number = service.spec.ports[0].port if len(service.spec.ports) == 1 else asked.port
    called = f"{to.host} subset {to.subset}" if to.subset else to.host
    return Backend(service, service and service.port_of(number), called, part.weight, to.subset)


def _tried(route: api.VirtualRoute) -> dict[str, Any]:
    retry = route.retries or api.HTTPRetry(RETRIED.tries - 1)
    words = {w.strip() for w in (retry.retryOn or RETRY_ON).split(",")}
    statuses = frozenset(s for w in words for s in CLASSES.get(w, [int(w)] if w.isdecimal() else ()))
    failure = replace(RETRIED, tries=1 + retry.attempts, statuses=statuses if retry.attempts else frozenset())
    again = bool(words & {"5xx", "gateway-error", "reset"})
    return waits(failure, api.seconds(retry.perTryTimeout), api.seconds(route.timeout), again)


def waits(failure: OnFailure, each: float, total: float, again: bool = False) -> dict[str, Any]:
    """A backend's `failure` and `times`, of which the first that is over ends the request unless it is tried `again`.
    (An HTTPRoute's two are the request's, as it has no retries: pilot/pkg/config/kube/gateway/conversion.go.)"""
    late = {"timed_out": 504, "late": None if again else 1} if each or total else {}
    return {"failure": replace(failure, **late), "times": (each, total)}


def _matches(match: api.HTTPMatchRequest, request: Request) -> bool:
    pairs = [(match.uri, request.path.partition("?")[0]), (match.method, request.method)]
    pairs += [(wanted, request.header(name)) for name, wanted in match.headers.items()]
    return all(_holds(wanted, given) for wanted, given in pairs)


def _holds(wanted: api.StringMatch, given: str | None) -> bool:
    alike = given is not None and wanted.exact in (None, given) and given.startswith(wanted.prefix)
    return alike and (not wanted.regex or whole(wanted.regex, given))


# --- DestinationRule -------------------------------------------------------------------------------------------------


def traffic(view: Cluster, namespace: str, to: Backend, flow: Flow) -> Traffic:
    """By the DestinationRules of the caller's `namespace`, else of the Service's, else of the whole mesh."""
    rules = _rules(view, namespace, to.service)
    subset = next((s for r in rules for s in r.spec.subsets if s.name == to.subset), None)
    policies = [one.trafficPolicy for one in (subset, *(r.spec for r in rules[:1])) if one]
    names = ("loadBalancer", "outlierDetection", "connectionPool", "retryBudget")
    balancer, outlier, pool, retries = (next((v for p in policies if (v := getattr(p, name))), None) for name in names)
    balancer = balancer or api.LoadBalancerSettings()
    if balancer.simple == "PASSTHROUGH":
        raise NotModelled(f"loadBalancer PASSTHROUGH ({rules[0]})")
    how = f"picks by {balancer.simple} ({rules[0]})" if balancer.simple else "picks by LEAST_REQUEST, Istio's default"
    policy = Policy(SIMPLE.get(balancer.simple, "envoy-least-request"), how, to.failure or RETRIED)
    slowly = balancer.warmup or (balancer.warmupDurationSecs and api.Warmup(duration=balancer.warmupDurationSecs))
    if balancer.consistentHash:
        policy = _hashing(policy, balancer.consistentHash, flow)
    elif slowly and policy.balancer != "envoy-random":
        window, least = api.seconds(slowly.duration), slowly.minimumPercent / 100
        policy = replace(policy, warmup=Warmup(window, least, slowly.aggression))
    warnings = tuple(w for r in rules for w in ignored(r))
    if outlier and outlier.consecutive5xxErrors:
        times = map(api.seconds, (outlier.interval, outlier.baseEjectionTime))
        percent, panic = float(outlier.maxEjectionPercent or 10), float(outlier.minHealthPercent)
        policy = replace(policy, ejects=Ejects(outlier.consecutive5xxErrors, *times, percent=percent, panic=panic))
        zones = {e.zone for e in of_port(view, to.service, to.port)}
        if len(zones) > 1 and balancer.localityLbSetting.enabled:
            told = "with outlierDetection Istio keeps to the caller's zone while pods are healthy there: not modelled"
            warnings += (f"{told}; localityLbSetting.enabled: false turns it off",)
    return Traffic(policy, subset and subset.labels, pool, retries, warnings, balancer.consistentHash)


def _rules(view: Cluster, namespace: str, service: Service) -> list[DestinationRule]:
    """Those of one namespace with the most specific host: the first one's policy counts, and the subsets of all."""
    for space in dict.fromkeys((namespace, service.namespace, ROOT)):
        near = (r for r in oldest(view, DestinationRule) if r.namespace == space)
        if mine := [r for r in near if _covers(r.spec.host, space, service)]:
            best = max((r.spec.host for r in mine), key=lambda host: ("*" not in host, len(host)))
            return [r for r in mine if r.spec.host == best]
    return []


def _hashing(policy: Policy, by: api.ConsistentHash, flow: Flow) -> Policy:
    """The hash works on the caller's address, or on a part of the request; one that lacks it goes to any pod."""
    headers = dict(flow.request.headers) if flow.request else {}
    query = flow.request.query if flow.request else {}
    cookies = dict(re.findall(r"([^=;\s]+)=([^;]*)", headers.get("cookie", "")))
    cookie, remembers = by.httpCookie, ()
    if cookie:
        what, text = f"the cookie {cookie.name}", cookies.get(cookie.name)
        remembers = (Memory("cookie", cookie.name),) if cookie.ttl and flow.request and not text else ()
    elif by.useSourceIp:
        what, text = "the caller's address", flow.source
    else:
        what = by.httpHeaderName or by.httpQueryParameterName
        text = headers.get(by.httpHeaderName.lower()) or query.get(by.httpQueryParameterName)
    if not text and not remembers:
        return replace(policy, balancer="envoy-random", how=f"picks at random, as {what} is not there to hash")
    table = "maglev" if by.maglev else "ring-hash"
    own = {"balancer": f"envoy-{table}", "key_text": text or "", "remembers": remembers}
    return replace(policy, how=f"picks by {table} of {what}", **own)


def limits(by: Traffic, to: Backend, requests: bool) -> tuple[Limit, ...]:
    """What may be under way to a backend at once."""
    pool, key = by.pool or api.ConnectionPoolSettings(), f"{to.service}:{to.port.port} {to.subset}".rstrip()
    held, http = pool.tcp.maxConnections, pool.http
    if not requests:
        return (Limit("connections", key, held, status=0, name="maxConnections"),) if held else ()
    queues = held and not re.search(HTTP2, to.port.appProtocol or to.port.name)
    given = [("requests", http.http2MaxRequests, 0.0, "http2MaxRequests")]
    given += [("pool", held, 0.0, "maxConnections")] if queues else []
    given += [("pending", http.http1MaxPendingRequests, 0.0, "http1MaxPendingRequests")] if queues else []
    if budget := by.retries:
        given.append(("retries", budget.minRetryConcurrency or 3, budget.percent / 100, "retryBudget"))
    else:
        given.append(("retries", http.maxRetries, 0.0, "maxRetries"))
    return tuple(Limit(kind, key, most, rate, name=name) for kind, most, rate, name in given if most)
