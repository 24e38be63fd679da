"""The pod at the end: does something listen on that port, and whom does it see as the caller?

A pod that declares containerPorts is taken to listen on those and no others, which is nearly always so and is said
with every answer that depends on it; one that declares none is taken to listen wherever it is asked.

How often a pod fails is not in Kubernetes' YAML: its annotation `k8slb/fail: "0.1"` (a tenth of the requests gets a
500) or `"0.1 503"` says it. Which of the two an answer is, is picked as everything is: a decision of the pod's process.

What a request costs is not there either: `k8slb/service-time: "20ms"` (or "20ms constant", "20ms exponential",
"20ms lognormal 0.5" with its standard deviation over its mean), `k8slb/workers: "4"` that serve one request each at a
time (1 where only a time is given), `k8slb/queue: "100"` requests at most that wait for one, `k8slb/cold: "60s 0.1"`
for a pod that does its first 60 seconds at a tenth of its speed. A controller's pods may have them too. Who waits for
less than it takes gets no answer (`Flow.patience`).

Nor that a pod is down, whatever its conditions say: `k8slb/down: "closed"` (it takes no new connections and finishes
what it has), "refuses" (its process is not there) or "silent" (nothing answers), and why: "silent: it hangs". On a Node
it says that the node is dead.
"""

import re
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

from ..cluster import Cluster
from ..decision import Decision, Place, Work
from ..errors import InputError, shown
from ..objects import DOWN, Pod
from ..objects.meshes import seconds
from ..traffic import Flow
from ..upstream import among

FAIL, SERVICE_TIME, WORKERS, QUEUE, COLD = (f"k8slb/{k}" for k in ("fail", "service-time", "workers", "queue", "cold"))
_FAIL = re.compile(r"(0(?:\.\d{1,6})?|1(?:\.0{1,6})?)(?: ([45]\d\d))?")
_DURATION = r"(\d{1,6}(?:\.\d{1,6})?(?:ms|s|m))"
_TIME = re.compile(_DURATION + r"(?: (constant|exponential|lognormal) ?(\d{1,3}(?:\.\d{1,6})?)?)?")
_COLD = re.compile(_DURATION + r" (0?\.\d{0,5}[1-9]\d{0,5}|1(?:\.0{1,6})?)")
_COUNT = re.compile(r"\d{1,7}")
_DOWN = re.compile(r"(?:closed|refuses|(silent))(?:: .+)?")


def decide(view: Cluster, flow: Flow, place: Place, now: float = 0.0) -> Decision:
    """What the pod at `flow.destination` does with the connection."""
    common = {"layer": "pods", "place": place, "grain": "request" if flow.request else "connection", "flow": flow}
    pod = view.pod_behind(flow.destination, flow.port)
    seen = {"source_seen": flow.source}
    if pod is None:
        why = f"{flow.to} is outside what the input describes; taken to answer"
        return Decision(**common, action="respond", status=200 if flow.request else None, why=why, facts=seen)
    if pod.down:
        silent = _said(pod, DOWN, _DOWN, "way to be down", 'closed, refuses or silent, and why: "silent: it hangs"')[1]
        return Decision(**common, action="drop" if silent else "reject", why=f"{pod.name} is down ({pod.down})")
    ports = {p.containerPort for p in pod.spec.ports if p.protocol == flow.protocol} | pod.host_ports
    if ports and flow.port not in ports:
        told = ", ".join(map(str, sorted(ports)))
        warning = f"{pod} declares the containerPorts {told} only, so nothing is taken to listen on {flow.port}"
        why = f"{pod.name} refuses: it listens on {told}, not on {flow.port}"
        return Decision(**common, action="reject", why=why, reason="nothing listens", warnings=(warning,))
    names = ", ".join(view.policies.get(pod.namespace, ()))
    warnings = (f"NetworkPolicies are not modelled; {names} in {pod.namespace} may drop this",) if names else ()
    work = work_of(pod)
    more = {"facts": seen, "warnings": warnings}
    takes = work.mean if work and work.spread == "constant" else 0.0
    if flow.patience is not None and takes > flow.patience:
        asker = view.pod_at.get(flow.source)
        why = f"takes {takes:g} s and {asker.name if asker else 'the proxy before it'} waits {flow.patience:g} s"
        late = f"timed out after {flow.patience:g} s"
        return Decision(**common, action="drop", why=f"{pod.name} {why}", reason=late, work=work, **more)
    about = f"takes {'' if takes else 'about '}{work.mean:g} s and " if work else ""
    status, why = 200 if flow.request else None, f"{pod.name} {about}answers"
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
    return Decision(**common, action="respond", status=status, why=why, work=work, **more)


def failing(pod: Pod) -> tuple[Fraction, int]:
    """(the share of requests that it fails, the status they get), by its annotation."""
    expected = 'a share from 0 to 1, and a status unless it is 500, such as "0.1" or "0.1 503"'
    found = _said(pod, FAIL, _FAIL, "share of failures", expected)
    return Fraction(found[1]), int(found[2] or 500)


def work_of(pod: Pod) -> Work | None:
    """What a request costs in this pod, by its annotations; None without a service time."""
    if SERVICE_TIME not in pod.metadata.annotations:
        return None
    expected = 'such as "20ms" or "0.5s", "20ms exponential", or "20ms lognormal 0.5"'
    found, given = time_of(pod.metadata.annotations[SERVICE_TIME]), {}
    if found is None:
        raise _wrong(pod, SERVICE_TIME, "service time", expected)
    for name, key, least in ((WORKERS, "workers", 1), (QUEUE, "queue", 0)):
        if name in pod.metadata.annotations:
            given[key] = int(_said(pod, name, _COUNT, "number", f"a whole number from {least} on")[0])
            if given[key] < least:
                raise _wrong(pod, name, "number", f"a whole number from {least} on")
    if COLD in pod.metadata.annotations:
        lasts, speed = _said(pod, COLD, _COLD, "cold start", 'seconds and a share of the speed: "60s 0.1"').groups()
        given |= {"cold": seconds(lasts), "speed": float(speed)}
    return _one(*found, **given) if found[0] else None


def time_of(text: str) -> tuple[float, str, float] | None:
    """(the mean in seconds, how they are spread, standard deviation over mean) of times that are told as a service time
    is; None for what is no such text."""
    found = _TIME.fullmatch(text)
    if not found or (found[2] == "lognormal") != bool(found[3]):
        return None
    return seconds(found[1]), found[2] or "constant", 1.0 if found[2] == "exponential" else float(found[3] or 0)


_one = lru_cache(1000)(Work)  # alike pods have the same


def _said(pod: Pod, name: str, form: re.Pattern, what: str, expected: str) -> re.Match:
    text = pod.metadata.annotations[name]
    if not (found := form.fullmatch(text)):
        raise _wrong(pod, name, what, expected)
    return found


def _wrong(pod: Pod, name: str, what: str, expected: str) -> InputError:
    at, text = ("metadata", "annotations", name), pod.metadata.annotations[name]
    file, line = pod.where(*(at if pod.raw else ("spec", "template", *at)))
    return InputError(f"{shown(text)} is no {what}", expected=expected, file=file, line=line, field=name)
