"""Linkerd's proxy (2026): what annotations on a Service, or on a route to it, say of retries, time-outs and failures;
or a ServiceProfile, which takes their place and that of HTTPRoutes.

linkerd2: policy-controller/k8s/index/src/outbound, controller/api/destination/profile_translator.go; linkerd2-proxy:
linkerd/http/retry. Retries by annotation have no budget; those of a ServiceProfile have nothing else: a fifth of the
requests of the last 10 s and 10 a second where it does not say. No request has a time-out by default, and one that is
over is not tried again. The penalty after failures doubles from one to the next.
"""

import re
from collections.abc import Mapping
from typing import Any

from ...cluster import Cluster
from ...decision import Budget, Ejects, OnFailure
from ...errors import InputError, NotModelled, shown
from ...objects import Service, ServiceProfile
from ...objects import meshes as api
from ...patterns import whole
from ...traffic import Request
from ...upstream import Policy
from .istio import CLASSES, SUFFIX, Backend, Traffic, ignored, waits
from .members import namespace

OPAQUE = "25,587,3306,4444,5432,6379,9300,11211"  # in these protocols the server speaks first
RETRY, TIMEOUT, ACCRUAL = "retry.linkerd.io/", "timeout.linkerd.io/", "balancer.linkerd.io/failure-accrual"
HOW = "picks of two pods drawn the one with the lower latency (peak EWMA) x requests under way"


def speaks_http(view: Cluster, to: Backend) -> bool:
    """Whether the proxy looks for HTTP in what is sent to this port."""
    space, word = namespace(view, to.service.namespace), "config.linkerd.io/opaque-ports"
    ports = to.service.metadata.annotations.get(word, space.annotations.get(word, OPAQUE))
    opaque = any(int(a) <= to.port.port <= int(b or a) for a, b in re.findall(r"(\d+)(?:-(\d+))?", ports))
    return not opaque and to.port.appProtocol not in ("linkerd.io/opaque", "linkerd.io/tcp")


def traffic(to: Backend) -> Traffic:
    """How the proxy picks, tries again and leaves out."""
    said, usual, ejects = to.service.metadata.annotations, {"min": "1s", "max": "60s"}.items(), None
    if said.get(ACCRUAL) == "consecutive" and not (to.failure and to.failure.budget):  # a ServiceProfile turns it off
        times = (_said(said, f"{ACCRUAL}-consecutive-{name}-penalty", time, api.DURATION) for name, time in usual)
        most = int(_said(said, f"{ACCRUAL}-consecutive-max-failures", "7"))
        ejects = Ejects(most, 0.0, *map(api.seconds, times), percent=100.0, panic=0.0)
    return Traffic(Policy("linkerd-p2c-ewma", HOW, to.failure or OnFailure(), ejects=ejects))


def annotated(*by: Mapping[str, str]) -> dict[str, Any]:
    """What annotations say of a backend's retries and time-outs: of either, those of the first that say any."""
    retry, timeout = (next((s for s in by if any(s[n] for n in s if n.startswith(g))), {}) for g in (RETRY, TIMEOUT))
    times = (api.seconds(_said(timeout, TIMEOUT + name, "0s", api.DURATION)) for name in ("response", "request"))
    aside = {f"{RETRY}timeout", f"{TIMEOUT}idle"} & {*retry, *timeout}
    return waits(_retried(retry), *times) | {"warnings": tuple(f"{name} is not modelled" for name in sorted(aside))}


def profiled(view: Cluster, space: str, service: Service, request: Request) -> tuple[str, dict[str, Any]] | None:
    """(the route that takes the request, what it says of a backend's retries and time-outs) by the ServiceProfile with
    routes for the Service: in the caller's namespace `space`, else in the Service's; None without one."""
    name = f"{service.name}.{service.namespace}{SUFFIX}"
    found = {p.namespace: p for p in view.of(ServiceProfile) if p.name == name and p.spec.routes}
    by = found.get(space, found.get(service.namespace))
    if by is None:
        return None
    own = by.spec.retryBudget
    route = next((r for r in by.spec.routes if _takes(r.condition, request)), api.ProfileRoute())
    budget, tries = Budget(own.retryRatio, own.minRetriesPerSecond, api.seconds(own.ttl)), 10**6 * route.isRetryable
    said = waits(
        OnFailure(1 + tries, statuses=frozenset(CLASSES["5xx"]), budget=budget), 0.0, api.seconds(route.timeout)
    )
    return f"{by}: route {route.name or 'none'}", said | {"warnings": ignored(by)}


def _takes(condition: api.RequestMatch, request: Request) -> bool:
    if not (condition.method or condition.pathRegex):
        raise NotModelled("all, any and not in a ServiceProfile's conditions")
    pattern, path = condition.pathRegex, request.path.partition("?")[0]
    return condition.method in ("", request.method) and (not pattern or whole(pattern, path))


def _retried(said: Mapping[str, str]) -> OnFailure:
    """What annotations say of retries: none unless answers are named, then one; a limit of 0 counts as none given."""
    named = _said(said, f"{RETRY}http", "", r"((5xx|gateway-error|\d{3}(-\d{3})?),?)*").split(",")
    spans = [CLASSES.get(n) or range(int(n[:3]), int(n[-3:]) + 1) for n in filter(None, named)]
    limit = (int(_said(said, f"{RETRY}limit", "1")) or 1) if spans else 0
    return OnFailure(1 + limit, statuses=frozenset(status for span in spans for status in span))


def _said(said: Mapping[str, str], name: str, usual: str, pattern: str = r"\d+") -> str:
    value = (said.get(name) or usual).replace(" ", "")
    if not re.fullmatch(pattern, value):
        raise InputError(f"{name}: {shown(value)} is not understood", expected=f"such as {usual or '5xx'}")
    return value
