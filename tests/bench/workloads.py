"""Four workloads whose mean time to answer theory knows: w1() to w4() give (cluster, url, rate, more for send, mean).

Each is a real cluster, in which real decisions pick; pods and controllers serve one request after the other, for an
exponential time. `rate` is in requests a second, `mean` in seconds.
"""

import k8slb

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: %d
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}, annotations: {k8slb/service-time: "%s exponential"}}
    spec: {containers: [{name: shop, ports: [{containerPort: 8080}]}]}
"""
MESH = """
---
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {istio-injection: enabled}}
"""
INGRESS = """
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: plain}
spec: {controller: k8slb/spec}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec: {ingressClassName: plain, defaultBackend: {service: {name: shop, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {type: LoadBalancer, selector: {k8slb/controller: plain}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: plain}
spec:
  replicas: 2
  selector: {matchLabels: {k8slb/controller: plain}}
  template:
    metadata: {labels: {k8slb/controller: plain}, annotations: {k8slb/service-time: "1ms exponential"}}
    spec: {containers: [{name: plain, ports: [{containerPort: 80}]}]}
"""


def w1():
    """kube-proxy's random picks over 10 pods, each busy 80% of the time: ten times M/M/1."""
    return k8slb.load(SERVICE % (10, "10ms")), "http://shop", 800.0, {}, 0.05


def w2():
    """IPVS with shortest expected delay, for equal pods the fewest open connections: join the shortest of 10 queues."""
    cluster = k8slb.load(SERVICE % (10, "10ms")).with_proxy(mode="ipvs", scheduler="sed")
    return cluster, "http://shop", 800.0, {}, 0.013558


def w3():
    """Istio's default, the less busy of two drawn, over 100 pods."""
    return k8slb.load(SERVICE % (100, "100ms") + MESH), "http://shop", 800.0, {}, 0.19674


def w4():
    """A load balancer in turn over 3 nodes, kube-proxy at random over 2 replicas of a controller, they over 5 pods."""
    cluster = k8slb.load(SERVICE % (5, "10ms") + INGRESS).with_balancer("cloud-lb", "ipvs-rr")
    return cluster, "http://203.0.113.10", 400.0, {}, 0.05125
