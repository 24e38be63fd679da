"""The meshes' own objects, as far as the model reads them: Istio's (1.31, istio/api networking and security), Linkerd's
ServiceProfile. `unread` names the fields it does not."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from ..errors import shown
from .base import Object, Value
from .checks import Invalid, Path, exactly_one, within
from .fields import Count, Name, Percent, Port, Strings
from .workloads import LabelSelector

NETWORKING, SERVED = "networking.istio.io", "v1 v1beta1 v1alpha3"
DURATION = r"(\d+(\.\d+)?(ms|h|m|s))+"


def seconds(duration: str) -> float:
    """A duration such as 1m30s, in seconds; 0 for "". Raises Invalid."""
    if duration and not re.fullmatch(DURATION, duration):
        raise Invalid(f"{shown(duration)} is no duration", "such as 10s or 1m30s")
    units = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)(ms|h|m|s)", duration))


Duration = Annotated[str, seconds]


class PortNumber(Value):
    number: Port | None = None


class HTTPCookie(Value):
    name: str
    ttl: Duration | None = None
    path: str = ""


class HashTable(Value): ...


class ConsistentHash(Value):
    httpHeaderName: str = ""
    httpCookie: HTTPCookie | None = None
    useSourceIp: bool = False
    httpQueryParameterName: str = ""
    ringHash: HashTable | None = None
    maglev: HashTable | None = None

    check = exactly_one("one thing to hash", "httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName")


class Locality(Value):
    enabled: bool = True


class Warmup(Value):
    duration: Duration
    minimumPercent: Percent = 10
    aggression: Annotated[float, within(1, 1000)] = 1.0


class LoadBalancerSettings(Value):
    simple: Literal["", "UNSPECIFIED", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST", "LEAST_CONN"] = ""
    consistentHash: ConsistentHash | None = None
    localityLbSetting: Locality = Locality()
    warmup: Warmup | None = None
    warmupDurationSecs: Duration = ""  # before there was warmup


class OutlierDetection(Value):
    consecutive5xxErrors: Count = 5
    interval: Duration = "10s"
    baseEjectionTime: Duration = "30s"
    maxEjectionPercent: Percent = 10
    minHealthPercent: Percent = 0


class PoolSettings(Value):
    """Those of tcp or http; 0 stands for Istio's default, 2^32-1."""

    maxConnections: Count = 0
    http1MaxPendingRequests: Count = 0
    http2MaxRequests: Count = 0
    maxRetries: Count = 0


class ConnectionPoolSettings(Value):
    tcp: PoolSettings = PoolSettings()
    http: PoolSettings = PoolSettings()


class ConcurrentRetries(Value):
    percent: Annotated[float, within(0, 100)] = 0.2  # Istio means a fifth, and tells Envoy a fifth of a percent
    minRetryConcurrency: Count = 3


class TrafficPolicy(Value):
    loadBalancer: LoadBalancerSettings | None = None
    connectionPool: ConnectionPoolSettings | None = None
    outlierDetection: OutlierDetection | None = None
    retryBudget: ConcurrentRetries | None = None


class Subset(Value):
    name: Name
    labels: Strings = field(default_factory=dict)
    trafficPolicy: TrafficPolicy = TrafficPolicy()


class DestinationRuleSpec(Value):
    host: str
    trafficPolicy: TrafficPolicy = TrafficPolicy()
    subsets: tuple[Subset, ...] = ()


class DestinationRule(Object, group=NETWORKING, versions=SERVED):
    spec: DestinationRuleSpec


class StringMatch(Value):
    exact: str | None = None
    prefix: str = ""
    regex: str = ""


class HTTPMatchRequest(Value):
    name: str = ""
    uri: StringMatch = StringMatch()
    method: StringMatch = StringMatch()
    headers: Mapping[str, StringMatch] = field(default_factory=dict)  # an empty one asks for the header's presence


class Destination(Value):
    host: str
    subset: str = ""
    port: PortNumber = PortNumber()


class RouteDestination(Value):
    destination: Destination
    weight: Count = 0


class HTTPRetry(Value):
    attempts: Count = 0
    retryOn: str = ""
    perTryTimeout: Duration = ""


class VirtualRoute(Value):
    name: str = ""
    match: tuple[HTTPMatchRequest, ...] = ()
    route: tuple[RouteDestination, ...] = ()
    retries: HTTPRetry | None = None
    timeout: Duration = ""

    def check(self) -> None:
        if len(self.route) > 1 and not any(part.weight for part in self.route):
            raise Invalid("has no weight but 0", "a weight above 0", ("route",))


class VirtualServiceSpec(Value):
    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ("mesh",)
    http: tuple[VirtualRoute, ...] = ()


class VirtualService(Object, group=NETWORKING, versions=SERVED):
    spec: VirtualServiceSpec


class MutualTLS(Value):
    mode: Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"] = "UNSET"


class PeerAuthenticationSpec(Value):
    selector: LabelSelector = LabelSelector()
    mtls: MutualTLS = MutualTLS()
    portLevelMtls: Mapping[str, MutualTLS] = field(default_factory=dict)  # by the pod's port


class PeerAuthentication(Object, group="security.istio.io", versions="v1 v1beta1"):
    spec: PeerAuthenticationSpec = PeerAuthenticationSpec()


class RequestMatch(Value):
    method: str = ""
    pathRegex: str = ""


class ProfileRoute(Value):
    condition: RequestMatch = RequestMatch()
    name: str = ""
    isRetryable: bool = False
    timeout: Duration = ""


class RetryBudget(Value):
    retryRatio: Annotated[float, within(0, 1000)]
    minRetriesPerSecond: Count
    ttl: Duration


class ServiceProfileSpec(Value):
    routes: tuple[ProfileRoute, ...] = ()
    retryBudget: RetryBudget = RetryBudget(0.2, 10, "10s")


class ServiceProfile(Object, group="linkerd.io", versions="v1alpha2"):
    spec: ServiceProfileSpec = ServiceProfileSpec()


def unread(raw: Any, hint: Any, path: Path = ()) -> Iterator[Path]:
    """The fields of a mapping that the type it was read as has no place for."""
    one_of = (hint, *get_args(hint))  # of one, a list or a mapping of these
    kind = next((k for k in one_of if isinstance(k, type) and issubclass(k, Value)), None)
    several = isinstance(raw, list) or get_origin(hint) is Mapping
    known = get_type_hints(kind) if kind else {}
    for name, value in (enumerate(raw) if isinstance(raw, list) else raw.items()) if kind and raw else ():
        if several or name in known:
            yield from unread(value, kind if several else known[name], (*path, name))
        else:
            yield (*path, name)
