"""Linkerd's proxy (2026): what annotations on a Service, or on a route to it, say of retries and of failures.

linkerd2: policy-controller/k8s/index/src/outbound. Retries by annotation have no budget. The penalty after failures
doubles from one to the next.
"""

import re
from collections.abc import Mapping

from ...cluster import Cluster
from ...decision import Ejects, OnFailure
from ...errors import InputError, shown
from ...objects.meshes import DURATION, seconds
from ...upstream import Policy
from .istio import CLASSES, Backend, Traffic
from .members import namespace

OPAQUE = "25,587,3306,4444,5432,6379,9300,11211"  # in these protocols the server speaks first
RETRY, ACCRUAL = "retry.linkerd.io/", "balancer.linkerd.io/failure-accrual"
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
    if said.get(ACCRUAL) == "consecutive":
        times = (_said(said, f"{ACCRUAL}-consecutive-{name}-penalty", time, DURATION) for name, time in usual)
        most = int(_said(said, f"{ACCRUAL}-consecutive-max-failures", "7"))
        ejects = Ejects(most, 0.0, *map(seconds, times), percent=100.0, panic=0.0)
    return Traffic(Policy("linkerd-p2c-ewma", HOW, to.failure or retried(said) or OnFailure(), ejects=ejects))


def retried(said: Mapping[str, str]) -> OnFailure | None:
    """What annotations say of retries: none unless answers are named, then one; None where they say nothing."""
    if not any(name.startswith(RETRY) for name in said):
        return None
    named = _said(said, f"{RETRY}http", "", r"((5xx|gateway-error|\d{3}(-\d{3})?),?)*").split(",")
    spans = [CLASSES.get(n) or range(int(n[:3]), int(n[-3:]) + 1) for n in filter(None, named)]
    limit = int(_said(said, f"{RETRY}limit", "1")) if spans else 0
    return OnFailure(1 + limit, statuses=frozenset(status for span in spans for status in span))


def _said(said: Mapping[str, str], name: str, usual: str, pattern: str = r"\d+") -> str:
    value = said.get(name, usual).replace(" ", "")
    if not re.fullmatch(pattern, value):
        raise InputError(f"{name}: {shown(value)} is not understood", expected=f"such as {usual or '5xx'}")
    return value
