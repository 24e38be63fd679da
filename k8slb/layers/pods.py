"""The pod at the end: does something listen on that port, and whom does it see as the caller?

A pod that declares containerPorts is taken to listen on those and no others, which is nearly always so and is said
with every answer that depends on it; one that declares none is taken to listen wherever it is asked.

How often a pod fails is not in Kubernetes' YAML: its annotation `k8slb/fail: "0.1"` (a tenth of the requests gets a
500) or `"0.1 503"` says it. Which of the two an answer is, is picked as everything is: a decision of the pod's process.
"""

import re
from dataclasses import replace
from fractions import Fraction

from ..cluster import Cluster
from ..decision import Decision, Place
from ..errors import InputError, shown
from ..objects import Pod
from ..traffic import Flow
from ..upstream import among

FAIL = "k8slb/fail"
_FAIL = re.compile(r"(0(?:\.\d{1,6})?|1(?:\.0{1,6})?)(?: ([45]\d\d))?")


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
    more = {"facts": seen, "warnings": warnings}
    status, why = 200 if flow.request else None, f"{pod.name} answers"
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
    return Decision(**common, action="respond", status=status, why=why, **more)


def failing(pod: Pod) -> tuple[Fraction, int]:
    """(the share of requests that it fails, the status they get), by its annotation."""
    text = pod.metadata.annotations[FAIL]
    found = _FAIL.fullmatch(text)
    if not found:
        at = ("metadata", "annotations", FAIL)
        file, line = pod.where(*(at if pod.raw else ("spec", "template", *at)))
        expected = 'a share from 0 to 1, and a status unless it is 500, such as "0.1" or "0.1 503"'
        raise InputError(f"{shown(text)} is no share of failures", expected=expected, file=file, line=line, field=FAIL)
    return Fraction(found[1]), int(found[2] or 500)
