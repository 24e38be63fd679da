"""The Kubernetes objects the model reads: frozen values with Kubernetes' own field names.

Types are checked as the API server checks them (Kubernetes 1.36, ``pkg/apis/*/validation``). Fields that the model does
not read are left in the object's raw mapping, which `Cluster.yaml` prints.
"""

from .base import Object, ObjectMeta, Other, OwnerReference, Secret
from .decode import Invalid, Strings, decoder
from .gateways import Gateway, GatewayClass, HorizontalPodAutoscaler, HTTPRoute, ReferenceGrant
from .ingresses import HTTPIngressPath, Ingress, IngressBackend, IngressClass
from .services import (
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    KubeProxyConfiguration,
    LoadBalancedStatus,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Named,
    Service,
    ServiceCIDR,
    ServicePort,
    SliceEndpoint,
    TargetRef,
)
from .workloads import Namespace, Node, NodeAddress, NodeSpec, NodeStatus, Pod, PodSpec, PodStatus, Workload

APPS = dict.fromkeys(("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"), Workload)
# (API group, kind) -> (the versions that an API server of 1.36 serves, best first; the type that reads it)
KINDS: dict[tuple[str, str], tuple[str, type[Object]]] = {
    ("", "Namespace"): ("v1", Namespace),
    ("", "Node"): ("v1", Node),
    ("", "Pod"): ("v1", Pod),
    ("", "Service"): ("v1", Service),
    ("", "Secret"): ("v1", Secret),
    ("discovery.k8s.io", "EndpointSlice"): ("v1", EndpointSlice),
    ("networking.k8s.io", "Ingress"): ("v1", Ingress),
    ("networking.k8s.io", "IngressClass"): ("v1", IngressClass),
    ("networking.k8s.io", "ServiceCIDR"): ("v1", ServiceCIDR),
    ("gateway.networking.k8s.io", "GatewayClass"): ("v1 v1beta1", GatewayClass),
    ("gateway.networking.k8s.io", "Gateway"): ("v1 v1beta1", Gateway),
    ("gateway.networking.k8s.io", "HTTPRoute"): ("v1 v1beta1", HTTPRoute),
    ("gateway.networking.k8s.io", "ReferenceGrant"): ("v1 v1beta1", ReferenceGrant),
    ("autoscaling", "HorizontalPodAutoscaler"): ("v2 v1", HorizontalPodAutoscaler),
    ("kubeproxy.config.k8s.io", "KubeProxyConfiguration"): ("v1alpha1", KubeProxyConfiguration),
} | {("apps", kind): ("v1", cls) for kind, cls in APPS.items()}
REMOVED_GROUPS = {"extensions": ("Ingress", "Deployment", "ReplicaSet", "DaemonSet")}  # served until Kubernetes 1.22
CLUSTER_SCOPED = {"Namespace", "Node", "IngressClass", "ServiceCIDR", "KubeProxyConfiguration", "GatewayClass"}
