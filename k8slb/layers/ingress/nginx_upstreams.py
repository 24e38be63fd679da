"""ingress-nginx's upstreams: a Service port each, how one of its pods is picked, and the canary beside it.

rootfs/etc/nginx/lua/balancer.lua and balancer/*.lua, and getBackendServers in controller.go, of version 1.15.1. What an
annotation says of an upstream holds wherever that Service port is a backend.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import md5
from zlib import crc32

from ...cluster import Cluster
from ...controllers import Controller
from ...decision import Memory, OnFailure
from ...endpoints import Endpoint, of_port
from ...errors import NotModelled, shown
from ...objects import Ingress, Service, ServicePort
from ...patterns import search
from ...traffic import Flow, Request
from ...upstream import Policy
from .match import Matched, Route, Split, behind
from .nginx_annotations import DYNAMIC, annotation, cookie, filled, named, number, on_failure

IN_TURN = "takes the next ready pod in turn (a counter per worker of this replica)"
FASTER = "takes of two pods drawn at random the one that answered faster lately (EWMA)"
NO_KEY = "achdptmb"  # its CRC-32 is 0, as that of the empty text, which a Policy cannot name
# What counts of a canary's own annotations.
CANARY = ("canary", "load-balance", "upstream-hash-by", "affinity-canary-behavior")


def port_of(service: Service, wanted: int | str) -> ServicePort | None:
    """The first port that has this number, name or targetPort: this controller takes the last of them too."""
    return next((p for p in service.spec.ports if str(wanted) in (str(p.port), str(p.target), p.name)), None)


def is_canary(ingress: Ingress) -> bool:
    return annotation(ingress, "canary") == "true"


def name_of(to: Route) -> str:
    """The upstream's name, NAMESPACE-SERVICE-PORT."""
    service = to.backend.service if to.backend else None
    return f"{to.ingress.namespace}-{service.name}-{service.port.wanted}" if service else ""


@dataclass(slots=True)
class Upstream:
    """`first`: the oldest Ingress that uses it, whose load-balance and upstream-hash-by count; `sticky`: the oldest
    with affinity; `canaries`: what shares its requests, of which the first alone counts."""

    first: Ingress
    sticky: Ingress | None = None
    canaries: list[Route] = field(default_factory=list)


def upstreams(uses: Iterable[Route]) -> dict[str, Upstream]:
    """By name; their canaries are still to come."""
    table: dict[str, Upstream] = {}
    for to in sorted((u for u in uses if name_of(u)), key=lambda u: u.ingress.metadata.creationTimestamp):
        found = table.setdefault(name_of(to), Upstream(to.ingress))
        if found.sticky is None and annotation(to.ingress, "affinity") == "cookie" and not is_canary(to.ingress):
            found.sticky = to.ingress
    return table


# --- the canary ------------------------------------------------------------------------------------------------------


def split(
    view: Cluster, table: dict[str, Upstream], main: Route, request: Request
) -> tuple[Split | None, tuple[str, ...]]:
    """(what the canary of `main` does to the request, None where there is none; warnings)."""
    upstream = table.get(name_of(main))
    if not upstream or not upstream.canaries:
        return None, ()
    canary, *others = upstream.canaries
    own, sticky = canary.ingress, upstream.sticky
    told = [f"{other.ingress} is a second canary of {name_of(main)}: only {own} counts" for other in others]
    if unread := [n for n in named(own) if not n.startswith(CANARY)]:
        told.append(f"{own} is a canary, so these of its annotations do not count: {', '.join(unread)}")
    weight, total = number(own, "canary-weight"), max(100, number(own, "canary-weight-total", 100))
    decided, why = _brought(view, main, canary, sticky, request)
    if decided is None:
        why = f"canary-weight of {own}: {weight} of {total} requests, at random, go to the canary"
        weight = min(max(weight, 0), total)
    else:
        weight, total = decided, 1
    remembers = (Memory("cookie", cookie_name(sticky)),) if sticky and not _legacy(own) else ()
    return Split(canary, (total - weight, weight), why, remembers), tuple(told)


def _brought(
    view: Cluster, main: Route, canary: Route, sticky: Ingress | None, request: Request
) -> tuple[int | None, str]:
    """(0, 1, or None: the weight decides; why) by what the request brings, in the order of balancer.lua."""
    own, of = canary.ingress, _cookie_of(sticky, request)[1] if sticky else ""
    if of and of == backend_key(name_of(main)):
        return 0, f"the cookie {cookie_name(sticky)} is of {name_of(main)}"
    for to in (main, canary):
        if not _ready(view, to):
            return 0, f"{name_of(to)} has no ready endpoint"
    if of and of == backend_key(name_of(canary)) and not _legacy(own):
        return 1, f"the cookie {cookie_name(sticky)} is of {name_of(canary)}"
    header, value, pattern = (annotation(own, f"canary-by-header{x}") for x in ("", "-value", "-pattern"))
    given, always = request.header(header) if header else None, {"always": 1, "never": 0}
    if given is not None:
        try:
            hit = given == value if value else pattern and search(pattern, given)
        except re.error:
            return 0, f"canary-by-header-pattern {shown(pattern)} is no regular expression"
        settled = 1 if hit else None if value or pattern else always.get(given)
        if settled is not None:
            return settled, f"by the header {header}: {given} and {own}"
    given = cookie(request, name := annotation(own, "canary-by-cookie"))
    return always.get(given), f"by the cookie {name}={given} and {own}"


def _legacy(canary: Ingress) -> bool:
    return annotation(canary, "affinity-canary-behavior") == "legacy"


def _ready(view: Cluster, to: Route) -> list[Endpoint]:
    """ingress-nginx has a balancer for a backend while its Service has a ready endpoint."""
    service, port, _ = behind(view, to, port_of)
    if service and service.spec.type == "ExternalName":
        raise NotModelled(f"an Ingress backend of type ExternalName ({service})")
    return [e for e in of_port(view, service, port) if e.ready] if port else []


# --- which pod -------------------------------------------------------------------------------------------------------


def policy(
    view: Cluster, controller: Controller, table: dict[str, Upstream], found: Matched, to: Route, flow: Flow
) -> Policy:
    """How one of the pods of `to` is picked, the route found or its canary: affinity before upstream-hash-by before
    load-balance."""
    main = found.route
    first, sticky, retries = table[name_of(to)].first, table[name_of(main)].sticky, on_failure(main.ingress)
    service = view.services[to.ingress.namespace, to.backend.service.name]
    if annotation(first, "service-upstream") == "true" and not service.headless:
        return Policy("ingress-nginx-round-robin", "service-upstream", retries, cluster_ip=True)
    if sticky and not (to is not main and _legacy(to.ingress)):
        return _sticky(view, main, to, sticky, flow.request, retries)
    if by := annotation(first, "upstream-hash-by"):
        subset = annotation(first, "upstream-hash-by-subset") == "true"
        if subset and number(first, "upstream-hash-by-subset-size", 3) != 3:
            raise NotModelled("upstream-hash-by-subset-size other than 3")
        key = filled(by, flow.request, flow.source, found.path)
        how = f"a hash of {by} ({shown(key)}) picks" + (" three pods, one of them at random" if subset else "")
        return Policy("ingress-nginx-chash" + "-subset" * subset, how, retries, key or NO_KEY)
    if annotation(first, "load-balance") == "ewma":
        return Policy("ingress-nginx-ewma", FASTER, retries)
    addresses = repr([e.address for e in _ready(view, to)])  # others give lua-resty-balancer another random start
    generation = crc32(addresses.encode(), _reloads(view, controller))
    return Policy("ingress-nginx-round-robin", IN_TURN, retries, generation=generation)


def cookie_name(ingress: Ingress) -> str:
    return annotation(ingress, "session-cookie-name") or "INGRESSCOOKIE"


def backend_key(upstream: str) -> str:
    """What stands behind the | in a cookie: it names the upstream."""
    return _md5(_md5(upstream) + upstream)


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def _cookie_of(ingress: Ingress, request: Request) -> list[str]:
    """[the key, the upstream it is of] of the cookie that the request brings."""
    return [*(cookie(request, cookie_name(ingress)) or "").split("|"), ""][:2]


def _sticky(view: Cluster, main: Route, to: Route, sticky: Ingress, request: Request, retries: OnFailure) -> Policy:
    """Cookie affinity: balanced hashes the cookie's key, persistent has the pod itself in it (its address, salted)."""
    name, key = cookie_name(sticky), _cookie_of(sticky, request)[0]
    persistent = annotation(sticky, "affinity-mode") == "persistent"
    own = annotation(main.ingress, "affinity") == "cookie"
    stays = annotation(sticky, "session-cookie-change-on-failure") != "true"
    if persistent:
        key = next((e.address for e in _ready(view, to) if _md5(name_of(to) + e.address) == key), "")
    if key:
        how = f"the request's cookie {name} {'names the pod' if persistent else 'has the key whose hash picks'}"
        if stays:
            retries = replace(retries, tries=1)  # it would try the same pod again
    elif own:
        how = "picks at random" if persistent else "a hash of a random key picks"
        how += f" and answers with Set-Cookie: {name}={'POD' if persistent else 'KEY'}|{backend_key(name_of(to))}"
    else:
        how = f"picks at random: the affinity is of {sticky}, and only its locations give cookies"
    remembers = (Memory("cookie", name, stays=stays),) if own and not key else ()
    hashed = not persistent and (key or own)
    return Policy(f"ingress-nginx-{'chash' if hashed else 'sticky'}", how, retries, key, remembers)


def _reloads(view: Cluster, controller: Controller) -> int:
    """Changes when nginx is reloaded: new worker processes, so round robin begins anew. Shared dictionaries outlast it,
    and backends go to Lua without: canaries, affinity, hashes, balancers, certificates."""

    def written() -> int:
        kept = sorted((i for i in controller.ingresses if not is_canary(i)), key=lambda i: i.key)
        notes = [{n: annotation(i, n) for n in named(i) if not n.startswith(DYNAMIC)} for i in kept]
        wanted = {(i.namespace, annotation(i, "auth-secret").rpartition("/")[2]) for i in kept}
        secrets = [view.secrets[k].raw for k in sorted(wanted & view.secrets.keys())]
        return crc32(repr(([(i.key, i.spec) for i in kept], notes, secrets)).encode())

    return view.once(("reloads", controller.name), written)
