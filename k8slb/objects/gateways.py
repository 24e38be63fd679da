"""The Gateway API (release 1.6, standard channel), checked as its CRDs are (apis/v1/*_types.go)."""

from dataclasses import field, fields
from typing import Annotated, Any, Literal

from ..errors import shown
from .base import Object, Value
from .checks import Invalid, absolute_path, address_check, distinct, entries, matching, must, within
from .fields import Host, Label, Name, Percent, Port, Strings
from .services import Named
from .workloads import LabelSelector

GROUP, SERVED = "gateway.networking.k8s.io", "v1 v1beta1"


def _goes_with_its_type(value: Any) -> None:
    """Of a value's fields the one that its `type` names is there, and no other one."""
    special = {"urlRewrite": "URLRewrite", "cors": "CORS"}
    kinds = {f.name: special.get(f.name, f.name[0].upper() + f.name[1:]) for f in fields(value)[1:]}
    if value.type not in kinds.values():
        raise Invalid(f"{shown(value.type)} is not known here", "one of " + ", ".join(kinds.values()), ("type",))
    for name, kind in kinds.items():
        if (getattr(value, name) is not None) != (value.type == kind):
            problem = "is missing" if value.type == kind else f"does not go with type {value.type}"
            raise Invalid(problem, f"{name} with type {kind}, and only then", (name,))


HeaderName = Annotated[str, matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}", "a header's name")]
Text = Annotated[str, matching(r"(?s).{1,4096}", "at most 4,096 characters")]
Precise = Annotated[Host, matching(r"[^*]*", "one host name, without *")]
Duration = Annotated[str, matching(r"(\d{1,5}(h|m|s|ms)){1,4}", "a duration such as 10s or 1m30s")]
Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


class GatewayClassSpec(Value):
    controllerName: Annotated[str, matching(r"[a-z0-9][-a-z0-9.]*/.+", "a domain and a path")]


class GatewayClass(Object, group=GROUP, versions=SERVED, namespaced=False):
    spec: GatewayClassSpec


class Referred(Value):
    """A kind of object, in a namespace or of a name where these are given."""

    kind: str
    group: str = ""
    namespace: Label = ""
    name: str = ""


class ObjectReference(Value):
    name: str
    namespace: Label = ""
    group: str = ""
    kind: str = "Secret"


class ListenerTLS(Value):
    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificateRefs: Annotated[tuple[ObjectReference, ...], entries(0, 64)] = ()
    options: Strings = field(default_factory=dict)

    def check(self) -> None:
        if self.mode == "Terminate" and not (self.certificateRefs or self.options):
            raise Invalid("is missing", "a certificate: mode is Terminate", ("certificateRefs",))


class RouteNamespaces(Value):
    from_: Literal["All", "Selector", "Same"] = "Same"
    selector: LabelSelector = LabelSelector()


class AllowedRoutes(Value):
    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: Annotated[tuple[Referred, ...], entries(0, 8)] = ()


class Listener(Value):
    name: Name
    port: Port
    protocol: str
    hostname: Host = ""
    tls: ListenerTLS | None = None
    allowedRoutes: AllowedRoutes = AllowedRoutes()

    speaks = property(lambda self: self.protocol.upper())  # names are compared without regard to case

    def check(self) -> None:
        needed = {"HTTP": False, "TCP": False, "UDP": False, "TLS": True}.get(self.speaks, bool(self.tls))
        if needed != bool(self.tls) or (self.speaks == "HTTPS" and self.tls and self.tls.mode != "Terminate"):
            raise Invalid(f"does not go with protocol {self.protocol}", "tls for TLS or HTTPS (Terminate)", ("tls",))
        if self.hostname and self.speaks in ("TCP", "UDP"):
            raise Invalid(f"does not go with protocol {self.protocol}", "nothing", ("hostname",))


class GatewayAddress(Value):
    value: str = ""
    type: str = "IPAddress"

    def check(self) -> None:
        if self.type == "IPAddress" and self.value:
            address_check(self.value, ("value",))


class GatewaySpec(Value):
    gatewayClassName: Name
    listeners: Annotated[
        tuple[Listener, ...], entries(1, 64), distinct("name"), distinct("port", "protocol", "hostname")
    ]
    addresses: Annotated[tuple[GatewayAddress, ...], entries(0, 16)] = ()


class GatewayStatus(Value):
    addresses: tuple[GatewayAddress, ...] = ()


class Gateway(Object, group=GROUP, versions=SERVED):
    spec: GatewaySpec
    status: GatewayStatus = GatewayStatus()


class ParentReference(ObjectReference):
    sectionName: str = ""
    port: Port | None = None
    group: str = GROUP
    kind: str = "Gateway"


class NamedMatch(Value):
    """What a header or a query parameter has to be (`type`), or becomes."""

    name: HeaderName
    value: Text
    type: Literal["Exact", "RegularExpression"] = "Exact"


NamedMatches = Annotated[tuple[NamedMatch, ...], entries(0, 16), distinct("name")]


class HTTPHeaderFilter(Value):
    set: NamedMatches = ()
    add: NamedMatches = ()
    remove: Annotated[tuple[str, ...], entries(0, 16)] = ()


class HTTPPathModifier(Value):
    type: str
    replaceFullPath: str | None = None
    replacePrefixMatch: str | None = None

    check = _goes_with_its_type


class URLRewrite(Value):
    hostname: Precise = ""
    path: HTTPPathModifier | None = None


class RequestRedirect(URLRewrite):
    scheme: Literal["http", "https", ""] = ""
    port: Port | None = None
    statusCode: Literal[301, 302, 303, 307, 308] = 302


class BackendObject(ObjectReference):
    """What a route sends requests to, or copies of them. A Service needs a port."""

    kind: str = "Service"
    port: Port | None = None

    def check(self) -> None:
        if (self.group, self.kind, self.port) == ("", "Service", None):
            raise Invalid("is missing", "a port: the backend is a Service", ("port",))


class RequestMirror(Value):
    backendRef: BackendObject
    percent: Percent | None = None
    fraction: dict | None = None


class HTTPRouteFilter(Value):
    type: str
    requestHeaderModifier: HTTPHeaderFilter | None = None
    responseHeaderModifier: HTTPHeaderFilter | None = None
    requestRedirect: RequestRedirect | None = None
    urlRewrite: URLRewrite | None = None
    requestMirror: RequestMirror | None = None
    cors: dict | None = None
    extensionRef: dict | None = None

    check = _goes_with_its_type


_both = {"RequestRedirect", "URLRewrite"}
_compatible = must(lambda given: not _both <= {f.type for f in given}, "redirects and rewrites", "one of them")
_once = distinct("type", key=lambda f: f.type not in ("RequestMirror", "ExtensionRef") and f.type)
Filters = Annotated[tuple[HTTPRouteFilter, ...], entries(0, 16), _once, _compatible]


class HTTPBackendRef(BackendObject):
    weight: Annotated[int, within(0, 1_000_000)] = 1
    filters: Filters = ()


class HTTPPathMatch(Value):
    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Annotated[str, matching(r"(?s).{1,1024}", "at most 1,024 characters")] = "/"

    def check(self) -> None:
        if self.type != "RegularExpression":
            absolute_path(self.value, ("value",), bad=r"%(?![0-9a-fA-F]{2})|[^-A-Za-z0-9/._~!$&'()*+,;=:@%]")


class HTTPRouteMatch(Value):
    path: HTTPPathMatch = HTTPPathMatch()
    headers: NamedMatches = ()
    queryParams: NamedMatches = ()
    method: Method | None = None


class HTTPRouteTimeouts(Value):
    request: Duration = ""
    backendRequest: Duration = ""


class HTTPRouteRule(Named):
    matches: Annotated[tuple[HTTPRouteMatch, ...], entries(0, 64)] = (HTTPRouteMatch(),)
    filters: Filters = ()
    backendRefs: Annotated[tuple[HTTPBackendRef, ...], entries(0, 16)] = ()
    timeouts: HTTPRouteTimeouts = HTTPRouteTimeouts()

    def check(self) -> None:
        prefixed = [m.path.type for m in self.matches] == ["PathPrefix"]
        lists = {("filters",): self.filters}
        lists |= {("backendRefs", i, "filters"): ref.filters for i, ref in enumerate(self.backendRefs)}
        for at, one in (((*at, i), one) for at, filters in lists.items() for i, one in enumerate(filters)):
            changed = (one.requestRedirect or one.urlRewrite or URLRewrite()).path
            if changed and changed.replacePrefixMatch is not None and not prefixed:
                raise Invalid("replaces a prefix", "exactly one match, of type PathPrefix, in the rule", at)
            if one.requestRedirect and self.backendRefs and len(at) == 2:
                raise Invalid("redirects a request that has backendRefs", "one of the two", at)


class HTTPRouteSpec(Value):
    parentRefs: Annotated[
        tuple[ParentReference, ...], entries(0, 32), distinct("parent", "section", key=lambda p: p)
    ] = ()
    hostnames: Annotated[tuple[Host, ...], entries(0, 16)] = ()
    rules: Annotated[tuple[HTTPRouteRule, ...], entries(1, 16), distinct("name")] = (HTTPRouteRule(),)

    check = must(lambda s: sum(len(r.matches) for r in s.rules) <= 128, "have over 128 matches", "at most 128", "rules")


class HTTPRoute(Object, group=GROUP, versions=SERVED):
    spec: HTTPRouteSpec


class ReferenceGrantSpec(Value):
    from_: Annotated[tuple[Referred, ...], entries(1, 16)]
    to: Annotated[tuple[Referred, ...], entries(1, 16)]


class ReferenceGrant(Object, group=GROUP, versions=SERVED):
    """Lets what is in other namespaces (`from`) refer to what is in this one (`to`)."""

    spec: ReferenceGrantSpec

    def lets(self, kind: str, namespace: str, ref: ObjectReference) -> bool:
        """Whether the Gateway API's `kind` in `namespace` may refer to `ref` here."""
        mine = any((s.group, s.kind, s.namespace) == (GROUP, kind, namespace) for s in self.spec.from_)
        return mine and any(
            (t.group, t.kind) == (ref.group, ref.kind) and t.name in ("", ref.name) for t in self.spec.to
        )
