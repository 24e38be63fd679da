"""Who asks for what: a request, the flow that carries it, and the client it comes from."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from .errors import InputError, shown
from .objects import is_address

CLIENT = "198.51.100.10"  # a client outside, from the addresses reserved for documentation (RFC 5737)
PORTS, PLAIN = {"http": 80, "https": 443}, ("tcp", "udp", "sctp")


@dataclass(frozen=True, slots=True)
class Request:
    """What an HTTP client asks. `path` holds the query string too; `headers` are (lower-case name, value) pairs; `sni`
    is the name given when TLS begins: the URL's host, whatever the header Host says, and "" for an address."""

    scheme: str
    host: str
    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    sni: str = ""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name.lower()), None)

    @property
    def query(self) -> dict[str, str]:
        """The first value of each parameter."""
        given = parse_qsl(self.path.partition("?")[2], keep_blank_values=True)
        return dict(given) | dict(reversed(given))


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection on its way: addresses as they stand at this point, and its request (None for tcp, udp, sctp).

    `destination` is a name until DNS has answered. The source port is any of the client's; nothing here depends on it.
    `backend`: which of several backends that share a route a proxy has picked, before it picks a pod of it. `identity`:
    whom the caller's certificate names, where a mesh encrypts (mTLS). `patience`: how many seconds the nearest proxy
    before the pod waits for this try (None: as long as it takes).
    """

    protocol: str
    source: str
    destination: str
    port: int
    request: Request | None = None
    backend: int | None = None
    identity: str = ""
    patience: float | None = None

    @property
    def to(self) -> str:
        return f"{self.destination}:{self.port}"


def network_of(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        if "%" in cidr:
            raise ValueError("a zone, which Kubernetes takes nowhere")
        return ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        raise InputError(f"{shown(cidr)} is no network", expected="a CIDR such as 10.0.0.0/8") from None


def inside(address: str, cidr: str) -> bool:
    return ipaddress.ip_address(address) in network_of(cidr)


_METHOD = re.compile(r"[A-Z][A-Z-]{0,30}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def flow_of(url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Flow:
    """The flow that asks for `url` (http, https, tcp, udp or sctp), its source still open. InputError for another."""
    if not isinstance(url, str) or len(url) > 8192 or " " in url or not url.isprintable():
        expected = "such as http://order-service/ without spaces, at most 8,192 characters"
        raise InputError(f"{shown(url)} is no URL", expected=expected)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError(f"{shown(url)} is no URL: {error}", expected="such as http://order-service:80/") from None
    if parts.scheme not in (*PORTS, *PLAIN) or not parts.hostname:
        expected = "http://, https://, tcp://, udp:// or sctp:// and a host"
        raise InputError(f"{shown(url)} is no URL that k8slb can follow", expected=expected)
    host = parts.hostname.lower()
    if port == 0:
        raise InputError(f"{shown(url)}: port 0 is out of range", expected="1 to 65535")
    if ":" in host:
        raise InputError(f"{shown(url)}: IPv6 is not modelled", expected="an IPv4 address or a name")
    port = port or PORTS.get(parts.scheme)
    if port is None:
        raise InputError(f"{shown(url)} names no port", expected=f"{parts.scheme}://{host}:PORT")
    if parts.scheme in PLAIN:
        return Flow(parts.scheme.upper(), "", host, port)
    if not _METHOD.fullmatch(str(method)):
        raise InputError(f"{shown(method)} is no HTTP method", expected="such as GET or POST")
    given = _headers(headers or {})
    named = dict(given).get("host", parts.netloc.rpartition("@")[2])
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    others = tuple(h for h in given if h[0] != "host")
    request = Request(parts.scheme, host_of(named), path, method, others, "" if is_address(host) else host)
    return Flow("TCP", "", host, port, request)


def _headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    if not isinstance(headers, Mapping):
        expected = 'such as {"Host": "myshop.example.com"}'
        raise InputError(f"{shown(headers)} is no mapping of headers", expected=expected)
    for key, value in headers.items():
        if not (isinstance(key, str) and _HEADER.fullmatch(key) and isinstance(value, str) and value.isprintable()):
            raise InputError(f"{shown(key)}: {shown(value)} is no header", expected="a name and a value on one line")
    return [(key.lower(), value) for key, value in headers.items()]


def host_of(named: str) -> str:
    """A Host header without its port, in lower case."""
    return named.lower().rsplit(":", 1)[0] if re.search(r":\d+$", named) else named.lower()
