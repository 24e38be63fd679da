"""The Kubernetes objects the model reads: frozen values with Kubernetes' own field names.

Types are checked as the API server checks them (Kubernetes 1.36, ``pkg/apis/*/validation``). Fields that the model does
not read are left in the object's raw mapping, which `Cluster.yaml` prints.
"""

from .autoscalers import Behavior, HorizontalPodAutoscaler, ScalingPolicy, ScalingRules
from .base import CLUSTER_SCOPED, KINDS, Condition, Object, ObjectMeta, Other, Reference, Secret
from .checks import Invalid, is_address
from .decode import decoder
from .fields import SUBDOMAIN, Strings
from .gateways import Gateway, GatewayClass, HTTPRoute, Listener, ParentReference, ReferenceGrant
from .ingresses import HTTPIngressPath, Ingress, IngressBackend, IngressClass
from .meshes import DestinationRule, PeerAuthentication, ServiceProfile, VirtualService
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
)
from .workloads import DOWN, Container, Namespace, Node, NodeAddress, Pod, PodSpec, PodStatus, Workload

REMOVED_GROUPS = {"extensions": ("Ingress", "Deployment", "ReplicaSet", "DaemonSet")}  # served until Kubernetes 1.22
