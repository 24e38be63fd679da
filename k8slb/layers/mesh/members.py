"""Who is in which mesh, and what its certificate calls it.

Istio 1.31: pkg/kube/inject/inject.go, the webhooks' and ambient's selectors. Linkerd: its injector's annotations. The
mesh's root namespace and trust domain are the installers' own.
"""

from typing import Any, NamedTuple

from ...cluster import Cluster
from ...decision import Place
from ...endpoints import of_port
from ...objects import ObjectMeta, PeerAuthentication, Pod, Service

ROOT, DOMAIN = "istio-system", "cluster.local"
ASIDE = ("ServiceEntry", "Sidecar", "EnvoyFilter", "AuthorizationPolicy", "Server")


class Member(NamedTuple):
    """A part in a mesh: "istio" (a sidecar), "ambient" (the node's ztunnel), "waypoint", "linkerd" or "" (none)."""

    mesh: str
    namespace: str
    account: str

    @property
    def maker(self) -> str:
        return "istio" if self.mesh in ("ambient", "waypoint") else self.mesh

    @property
    def identity(self) -> str:
        """The name in its certificate."""
        if self.maker == "istio":
            return f"spiffe://{DOMAIN}/ns/{self.namespace}/sa/{self.account}"
        return f"{self.account}.{self.namespace}.serviceaccount.identity.linkerd.{DOMAIN}"


def oldest(view: Cluster, *kinds: type | str) -> list[Any]:
    """The input's objects of these kinds, the oldest first."""
    return sorted(view.of(*kinds), key=lambda o: o.metadata.creationTimestamp)


def namespace(view: Cluster, name: str) -> ObjectMeta:
    return view.namespaces.get(name, ObjectMeta(name))


def member_at(view: Cluster, place: Place) -> Member:
    """The part in a mesh of what is at a place "pod"; a client pod that the model adds has its namespace's."""
    space, _, name = place.name.partition("/")
    pod = view.pod_named.get((space, name)) or Pod(metadata=ObjectMeta(name, space))
    account = pod.spec.serviceAccountName or "default"
    return view.once(("mesh member", place), lambda: Member(_mesh(view, pod), space, account))


def _mesh(view: Cluster, pod: Pod) -> str:
    own, space = pod.metadata, namespace(view, pod.namespace)
    proxies = {c.name for c in (*pod.spec.containers, *pod.spec.initContainers)}
    if pod.spec.hostNetwork:
        return ""
    if "istio-proxy" in proxies or _injected(own, space):
        return "istio"
    if own.labels.get(AMBIENT, space.labels.get(AMBIENT)) == "ambient":
        return "ambient"
    asked = own.annotations.get("linkerd.io/inject", space.annotations.get("linkerd.io/inject"))
    return "linkerd" if "linkerd-proxy" in proxies or asked in ("enabled", "ingress") else ""


AMBIENT, INJECT = "istio.io/dataplane-mode", "sidecar.istio.io/inject"


def _injected(own: ObjectMeta, space: ObjectMeta) -> bool:
    """Whether Istio's webhook adds a sidecar: by the namespace's label, which a pod's overrules unless "disabled"."""
    whole = space.labels.get("istio-injection", "enabled" if "istio.io/rev" in space.labels else "")
    asked = own.labels.get(INJECT, own.annotations.get(INJECT, "true") if whole == "enabled" else "")
    return whole != "disabled" and (asked == "true" or (not asked and "istio.io/rev" in own.labels))


def mtls(view: Cluster, pod: Pod, port: int) -> tuple[str, PeerAuthentication | None]:
    """(mode, what says so) for callers of a pod in Istio: by a policy for the pod, else for its namespace, else for the
    mesh, the oldest of each; PERMISSIVE where none says."""
    rules = [p for p in oldest(view, PeerAuthentication) if p.namespace in (pod.namespace, ROOT)]
    own = [p for p in rules if p.namespace == pod.namespace and p.spec.selector.matchLabels]
    own = [p for p in own if p.spec.selector.matches(pod.metadata.labels)]
    wide = ([p for p in rules if p.namespace == n and not p.spec.selector.matchLabels] for n in (pod.namespace, ROOT))
    for rule in (level[0] for level in (own, *wide) if level):
        ports = {str(number): wanted.mode for number, wanted in rule.spec.portLevelMtls.items()}
        for mode in (ports.get(str(port), "UNSET"), rule.spec.mtls.mode):
            if mode != "UNSET":
                return mode, rule
    return "PERMISSIVE", None


def certificate(view: Cluster, caller: Member, ip: str, port: int, service: Service | None = None) -> str:
    """Whom a pod sees in the caller's certificate, "" in plain text. `service`: of which the caller's proxy knows the
    address to be; an Istio sidecar passes on as it comes what it knows nothing of."""
    pod = view.pod_at.get(ip)
    callee = member_at(view, Place("pod", f"{pod.namespace}/{pod.name}")) if pod else None
    if not (callee and caller.mesh and caller.maker == callee.maker):
        return ""
    if callee.mesh == "istio" and mtls(view, pod, port)[0] == "DISABLE":
        return ""
    blind = caller.mesh == "istio" and not service and f"{ip}:{port}" not in _headless(view)
    return "" if blind else caller.identity


def _headless(view: Cluster) -> set[str]:
    """The endpoints of headless Services, for each of which a sidecar listens."""
    ports = ((s, p) for s in view.services.values() if s.headless for p in s.spec.ports)
    return view.once("headless", lambda: {e.address for s, p in ports for e in of_port(view, s, p)})
