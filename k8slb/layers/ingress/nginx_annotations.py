"""What ingress-nginx's annotations add to a location: whom it admits, how often, what it tries again.

internal/ingress/annotations of version 1.15.1. nginx's phases give the order: denied locations and redirects, then 503
without an endpoint, then limits, then addresses (403), users (401) and the subrequest of auth-url.
"""

import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from ...cluster import Cluster
from ...controllers import Controller
from ...decision import Limit, OnFailure
from ...endpoints import of_port
from ...errors import InputError, NotModelled, shown
from ...objects import Ingress
from ...traffic import Request, inside, network_of
from ...upstream import Policy
from .match import Answered, moved

PREFIX = "nginx.ingress.kubernetes.io/"
# Beginnings of those that reach nginx through Lua, without a reload (IsDynamicConfigurationEnough, nginx.go).
DYNAMIC = ("canary", "affinity", "session-cookie-", "load-balance", "upstream-hash-by", "service-upstream")
ALLOWED, DENIED = ("whitelist-source-range", "allowlist-source-range"), "denylist-source-range"
LIMITS = {"limit-connections": 0, "limit-rps": 1, "limit-rpm": 60}  # per so many seconds
IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"))  # to nginx all but POST, LOCK and PATCH
_VARIABLE, _HOST = re.compile(r"\$(?:\{(\w+)\}|(\w+))"), re.compile(r"https?://([^/:?#@\[\]\s]+)")


def annotation(ingress: Ingress, name: str) -> str:
    return ingress.metadata.annotations.get(PREFIX + name, "")


def number(ingress: Ingress, name: str, default: int = 0) -> int:
    """A whole number; the default where the annotation is missing or is none, as ingress-nginx takes it."""
    given = annotation(ingress, name)
    return int(given) if re.fullmatch(r"[+-]?\d{1,9}", given, re.ASCII) else default


def named(ingress: Ingress) -> list[str]:
    """Its annotations for this controller, without the prefix."""
    return sorted(k.removeprefix(PREFIX) for k in ingress.metadata.annotations if k.startswith(PREFIX))


def listed(ingress: Ingress, *names: str) -> list[str]:
    return [part.strip() for name in names for part in annotation(ingress, name).split(",") if part.strip()]


def cookie(request: Request, name: str) -> str | None:
    """The value of a cookie that the request brings; nginx does not tell upper from lower case in its name."""
    pairs = (pair.strip().partition("=") for pair in (request.header("cookie") or "").split(";"))
    return next((value for key, _, value in pairs if name and key.lower() == name.lower()), None)


def filled(text: str, request: Request, client: str | None = None, path: str = "") -> str:
    """`text` with the values of nginx's variables; `path` is the path by now, which a rewrite has changed."""
    query = request.path.partition("?")[2]
    known = {"request_uri": request.path, "uri": path.partition("?")[0], "args": query, "query_string": query}
    known |= {"host": request.host, "http_host": request.host, "remote_addr": client, "scheme": request.scheme}

    def value(found: re.Match) -> str:
        name = (found[1] or found[2]).lower()
        kind, _, rest = name.partition("_")
        if known.get(name) is not None:
            return known[name]
        if kind not in ("http", "cookie", "arg"):
            raise NotModelled(f"the nginx variable {shown(found[0])}")
        if kind == "arg":
            return next((v for k, v in request.query.items() if k.lower() == rest), "")
        return (cookie(request, rest) if kind == "cookie" else request.header(rest.replace("_", "-"))) or ""

    return _VARIABLE.sub(value, text)


def redirects(ingress: Ingress, request: Request, path: str) -> Iterator[Answered]:
    """temporal-redirect, else permanent-redirect."""
    code = number(ingress, "permanent-redirect-code")
    for name, status in (("temporal-redirect", 302), ("permanent-redirect", code if 300 <= code <= 308 else 301)):
        if annotation(ingress, name).startswith("http"):
            yield moved(status, f"{name} of {ingress}", filled(annotation(ingress, name), request, path=path))


# --- whom it admits --------------------------------------------------------------------------------------------------


def denied(view: Cluster, ingress: Ingress) -> Iterator[str]:
    """Why the location answers 503 to everybody: settings that ingress-nginx cannot read."""
    for network in listed(ingress, *ALLOWED, DENIED):
        try:
            network_of(network)
        except InputError:
            yield f"{shown(network)} in a source range is no network"
    if kind := annotation(ingress, "auth-type"):
        namespace, _, name = annotation(ingress, "auth-secret").rpartition("/")
        secret = view.secrets.get((ingress.namespace, name))
        if not re.search("^basic|digest$", kind):
            yield f"auth-type {shown(kind)} is neither basic nor digest"
        if namespace not in ("", ingress.namespace):
            yield f"auth-secret {namespace}/{name} is of another namespace (allow-cross-namespace-resources is off)"
        if secret is None:
            yield f"auth-secret {shown(name)}: there is no such Secret in {ingress.namespace}"
        elif annotation(ingress, "auth-secret-type") != "auth-map" and "auth" not in secret.data | secret.stringData:
            yield f"{secret} has no key auth"
    if (url := annotation(ingress, "auth-url")) and not _HOST.match(url):
        yield f"auth-url {shown(url)} names no host"


def refused(view: Cluster, ingress: Ingress, request: Request, client: str) -> tuple[Answered | None, tuple[str, ...]]:
    """(what is answered instead, warnings) by a request's address, by its user, by the subrequest of auth-url."""
    allowed, told = listed(ingress, *ALLOWED), ()
    if any(inside(client, n) for n in listed(ingress, DENIED)):
        return Answered(403, f"{DENIED} of {ingress} holds {client}"), ()
    if allowed and not any(inside(client, n) for n in allowed):
        return Answered(403, f"{client} is not in {ALLOWED[0]} of {ingress} ({', '.join(allowed)})"), ()
    if kind := annotation(ingress, "auth-type"):
        secret = view.secrets[ingress.namespace, annotation(ingress, "auth-secret").rpartition("/")[2]]
        content = {k: _decoded(v) for k, v in secret.data.items()} | secret.stringData
        lines = content if annotation(ingress, "auth-secret-type") == "auth-map" else content["auth"].splitlines()
        user = user_of(request)
        if user not in {line.partition(":")[0] for line in lines} - {""}:
            who = f"the user {shown(user)}, whom {secret} does not list" if user else "no user"
            realm = shown(annotation(ingress, "auth-realm"))
            return Answered(401, f"auth-type {kind} of {ingress} (realm {realm}): the request names {who}"), ()
        told = (f"the user {shown(user)} is listed in {secret}; passwords are not checked",)
    if url := annotation(ingress, "auth-url"):
        failed, taken = _subrequest(view, _HOST.match(url)[1])
        if failed:
            return Answered(500, f"auth-url of {ingress} is asked first: {failed}, so nginx answers 500"), told
        told += (f"auth-url {url} is asked first and taken to answer 2xx ({taken})",)
    return None, told


def user_of(request: Request) -> str:
    """Whom the header Authorization names, basic or digest; "" for nobody."""
    scheme, _, given = (request.header("authorization") or "").partition(" ")
    if scheme.lower() == "digest":
        return next(iter(re.findall(r'username="([^"]*)"', given)), "")
    return _decoded(given).partition(":")[0] if scheme.lower() == "basic" else ""


def _decoded(text: str) -> str:
    try:
        return b64decode("".join(text.split()), validate=True).decode()
    except ValueError:
        return ""


def _subrequest(view: Cluster, host: str) -> tuple[str, str]:
    """(why it fails, else on what its success rests). nginx's resolver has no search path: it finds full names only."""
    name, namespace = (*host.split("."), "")[:2]
    service = view.services.get((namespace, name))
    if not host.endswith(".svc.cluster.local"):
        short = service or "." not in host
        return (f"nginx resolves NAME.NAMESPACE.svc.cluster.local, not {host}", "") if short else ("", "outside")
    if not service:
        return f"there is no Service {namespace}/{name}", ""
    ready = any(e.ready for port in service.spec.ports for e in of_port(view, service, port))
    return ("", f"{service} has a ready endpoint") if ready else (f"{service} has no ready endpoint", "")


def limits(ingress: Ingress, client: str) -> tuple[Limit, ...]:
    """What this replica admits of the address it sees: limit_conn, and limit_req with a burst, nodelay."""
    if any(inside(client, network) for network in listed(ingress, "limit-whitelist")):
        return ()
    times = max(number(ingress, "limit-burst-multiplier"), 0) or 5
    found = []
    for name, per in LIMITS.items():
        if (n := number(ingress, name)) > 0:
            how = ("rate", client, n * times, n / per) if per else ("connections", client, n)
            found.append(Limit(*how, name=f"{name} {n} of {ingress}"))
    return tuple(found)


def by_address(view: Cluster, controller: Controller, ingress: Ingress, client: str) -> tuple[str, ...]:
    """What to know of settings that go by the client's address."""
    wanted = [n for n in named(ingress) if n in (*LIMITS, *ALLOWED, DENIED)]
    told = f"{', '.join(wanted)} of {ingress}: the client's address is the one that this replica sees"
    if client in view.node_at:
        told += f", that of {view.node_at[client]}, which clients share (externalTrafficPolicy: Cluster)"
    if len(controller.pods) > 1 and any(n in LIMITS for n in wanted):
        told += f"; each of the {len(controller.pods)} replicas counts for itself"
    return (told,) if wanted else ()


def on_failure(ingress: Ingress) -> OnFailure:
    """proxy-next-upstream: "error timeout", three tries. A status is tried again for idempotent methods only."""
    wanted = set((annotation(ingress, "proxy-next-upstream") or "error timeout").split())
    if not wanted & {"off"} and not wanted >= {"error", "timeout"}:
        raise NotModelled(f"proxy-next-upstream of {ingress} without error and timeout")
    tries = 1 if "off" in wanted else number(ingress, "proxy-next-upstream-tries", 3) or 10**6  # 0: no limit
    statuses = frozenset(int(w[5:]) for w in wanted if re.fullmatch(r"http_\d{3}", w, re.ASCII))
    methods = IDEMPOTENT if statuses and "non_idempotent" not in wanted else frozenset()
    return OnFailure(tries, statuses=statuses, methods=methods)


def waits(policy: Policy, ingress: Ingress, request: Request) -> Policy:
    """proxy-read-timeout (60 s), and proxy-next-upstream-timeout, after which no other try begins. A request that was
    sent, and may do harm if it is sent twice, is not tried again."""
    patience, total = max(0, number(ingress, "proxy-read-timeout", 60)), number(ingress, "proxy-next-upstream-timeout")
    again = request.method in IDEMPOTENT or "non_idempotent" in annotation(ingress, "proxy-next-upstream")
    late = 1 if not again else ceil(total / patience) if total > 0 < patience else None
    return replace(policy, patience=float(patience), on_failure=replace(policy.on_failure, late=late))


def log_line(request: Request, client: str, upstream: str, alternative: str) -> str:
    """The line in the default log-format-upstream. What nothing here knows is "-": times, sizes, the request's id; a
    client is taken to speak HTTP/1.1. {upstream} and {status} are left open; other braces are doubled (str.format)."""
    asked = f"{request.method} {request.path} HTTP/1.1"
    given = (user_of(request), asked, *map(request.header, ("referer", "user-agent")))
    user, asked, referer, agent = ((g or "-").replace("{", "{{").replace("}", "}}") for g in given)
    before = f'{client} - {user} [-] "{asked}" {{status}} - "{referer}" "{agent}" - - [{upstream}] [{alternative}]'
    return before + " {upstream} - - {status} -"
