"""The pod at the end: does something listen on that port, and whom does it see as the caller?

A pod that declares containerPorts is taken to listen on those and no others, which is nearly always so and is said
with every answer that depends on it; one that declares none is taken to listen wherever it is asked.

How often a pod fails is not in Kubernetes' YAML: its annotation `k8slb/fail: "0.1"` (a tenth of the requests gets a
500) or `"0.1 503"` says it. Which of the two an answer is, is picked as everything is: a decision of the pod's process.

How long it takes for a request is said by `k8slb/service-time: "20ms"` (or `"20ms constant"`; s and m too). It takes no
longer where many come at once: there are no queues. Who waits for less gets no answer (`Flow.patience`).
"""

import re
from dataclasses import replace
from fractions import Fraction

from ..cluster import Cluster
from ..decision import Decision, Place
from ..errors import InputError, shown
from ..objects import Pod
from ..objects.meshes import seconds
from ..traffic import Flow
from ..upstream import among

FAIL, SERVICE_TIME = "k8slb/fail", "k8slb/service-time"
_FAIL = re.compile(r"(0(?:\.\d{1,6})?|1(?:\.0{1,6})?)(?: ([45]\d\d))?")
_TIME = re.compile(r"(\d{1,6}(?:\.\d{1,6})?(?:ms|s|m))(?: (constant|exponential|lognormal \d{1,3}(?:\.\d{1,6})?))?")


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """What the pod at `flow.destination` does with the connection."""
    common = {"layer": "pods", "place": place, "grain": "request" if flow.request else "connection", "flow": flow}
    pod = view.pod_behind(flow.destination, flow.port)
    seen = {"source_seen": flow.source}
    if pod is None:
        why = f"{flow.to} is outside what the input describes; taken to answer"
        return Decision(**common, action="respond", status=200 if flow.request else None, why=why, facts=seen)
    ports = {p.containerPort for p in pod.spec.ports if p.protocol == flow.protocol} | pod.host_ports
    if ports and flow.port not in ports:
        told = ", ".join(map(str, sorted(ports)))
        warning = f"{pod} declares the containerPorts {told} only, so nothing is taken to listen on {flow.port}"
        why = f"{pod.name} refuses: it listens on {told}, not on {flow.port}"
        return Decision(**common, action="reject", why=why, warnings=(warning,))
    names = ", ".join(view.policies.get(pod.namespace, ()))
    warnings = (f"NetworkPolicies are not modelled; {names} in {pod.namespace} may drop this",) if names else ()
    takes, told = service_time(pod)
    more = {"facts": seen, "warnings": warnings + told}
    if flow.patience is not None and takes > flow.patience:
        asker = view.pod_at.get(flow.source)
        why = f"takes {takes:g} s and {asker.name if asker else 'the proxy before it'} waits {flow.patience:g} s"
        return Decision(**common, action="drop", why=f"{pod.name} {why}", takes=flow.patience, **more)
    status, why = 200 if flow.request else None, f"{pod.name} " + f"takes {takes:g} s and " * bool(takes) + "answers"
    if flow.request and FAIL in pod.metadata.annotations:
        share, failure = failing(pod)
        picked = flow.backend if place.kind == "process" else int(share) if share in (0, 1) else None
        if picked is None:
            process = Place("process", place.name)
            why = f"{pod.name} fails {float(share):g} of its requests ({FAIL})"
            ways = (("answers", share.denominator - share.numerator), ("fails", share.numerator))
            return among(
                ways, "pod-answers", layer="pods", place=process, flow=replace(flow, backend=None), why=why, **more
            )
        status, why = (failure, f"{pod.name} fails ({FAIL}) and answers") if picked else (status, why)
    return Decision(**common, action="respond", status=status, why=why, takes=takes, **more)


def failing(pod: Pod) -> tuple[Fraction, int]:
    """(the share of requests that it fails, the status they get), by its annotation."""
    expected = 'a share from 0 to 1, and a status unless it is 500, such as "0.1" or "0.1 503"'
    found = _said(pod, FAIL, _FAIL, "share of failures", expected)
    return Fraction(found[1]), int(found[2] or 500)


def service_time(pod: Pod) -> tuple[float, tuple[str, ...]]:
    """(the seconds it takes for each request, warnings), by its annotation; 0.0 without one."""
    if SERVICE_TIME not in pod.metadata.annotations:
        return 0.0, ()
    expected = 'such as "20ms" or "0.5s", and "exponential" or "lognormal 0.5" where they differ'
    text, spread = _said(pod, SERVICE_TIME, _TIME, "service time", expected).groups()
    if spread not in (None, "constant"):
        return 0.0, (f"{SERVICE_TIME} of {pod.name}: times that differ ({spread}) count only once there is a clock",)
    return seconds(text), ()


def _said(pod: Pod, name: str, form: re.Pattern, what: str, expected: str) -> re.Match:
    text = pod.metadata.annotations[name]
    if not (found := form.fullmatch(text)):
        at = ("metadata", "annotations", name)
        file, line = pod.where(*(at if pod.raw else ("spec", "template", *at)))
        raise InputError(f"{shown(text)} is no {what}", expected=expected, file=file, line=line, field=name)
    return found
