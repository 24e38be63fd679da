"""What is drawn by several tests: clusters of each kind, and texts that mean something where they are written."""

from fractions import Fraction
from itertools import cycle

import k8slb
from k8slb.show.graph import KINDS, Arrow, Box, Diagram, share_label, texts

HOSTILE = (
    "<script>alert(1)</script>",
    "<b>html</b>",
    "<br/>",
    "\"quoted\" 'single' `code`",
    "back\\slash\\n\\l\\N\\",
    "new\nline\r\ttab\u2028sep",
    "a]b)c}d[e(f{g",
    "a --> b ==> c; d",
    "%% comment",
    '%%{init: {"theme": "dark"}}%%',
    "end",
    "subgraph x",
    'click n0 href "javascript:alert(1)"',
    "\u202eevil\u200b",
    "\x1b[31mred\x07\x9b\x7f",
    "#quot; #lt; #35; &lt;b&gt; &amp; &#60;",
    "*b* _i_ **x** # h ~~s~~ ![i](x) [l](javascript:x)",
    "1. list",
    "- item",
    "http://www.example.com/a?b=c&d=e",
    "me@www.example.com",
    "$$x^2$$",
    "fa:fa-car",
    "classDef x:y#z; style a:b#c;",
    "```",
    "💥 ünï 漢字 e\u0301",
    ":::k1 {{x}} @{ shape: rect } |x| ^ ===",
    "n" * 300,
)


def hostile() -> Diagram:
    """A box of each kind and each text, in groups of such names, with arrows of such labels."""
    kinds = cycle(KINDS)
    boxes = tuple(Box(next(kinds), text, (f"second {text}",), text * (i % 2)) for i, text in enumerate(HOSTILE))
    shares = (HOSTILE[i] if i % 2 else Fraction(1, 3) for i in range(len(boxes) - 1))
    arrows = tuple(Arrow(i, i + 1, share) for i, share in enumerate(shares))
    return Diagram(" ".join(HOSTILE), HOSTILE[0], boxes, arrows)


SERVICES = "\n---\n".join(
    f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: web}}
spec: {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: c, image: x, ports: [{{containerPort: 8080}}]}}]}}
"""
    for name, replicas in (("cart", 3), ("cart-v2", 1))
)
CANARY = "\n---\n".join(
    f"""
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}-ingress, namespace: web, annotations: {annotations}}}
spec:
  ingressClassName: nginx
  rules:
  - host: www.example.com
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {name}, port: {{number: 80}}}}}}}}]}}
"""
    for name, annotations in (
        ("cart-v2", '{nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-weight: "10"}'),
        ("cart", "{}"),
    )
)
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: web}
spec: {gatewayClassName: spec, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: spec}
spec: {controllerName: k8slb/spec}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: web}
spec:
  parentRefs: [{name: edge}]
  hostnames: [www.example.com]
  rules:
  - matches: [{path: {value: /cart}}]
    backendRefs: [{name: cart, port: 80, weight: 8}, {name: cart-v2, port: 80}, {name: gone, port: 80}]
  - matches: [{path: {value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: new.example.com, statusCode: 301}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: foreign, namespace: other}
spec: {parentRefs: [{name: edge, namespace: web}], rules: [{backendRefs: [{name: cart, port: 80}]}]}
"""
SETS = {"shop": "shop", "canary": f"{SERVICES}\n---{CANARY}", "gateway": f"{SERVICES}\n---{GATEWAY}"}
ASKED = (("shop", "https://myshop.example.com/orders"), ("shop", "http://myshop.example.com/nothing"))
ASKED += (("shop", "http://order-service"), ("shop", "tcp://order-service:81"), ("canary", "http://www.example.com/"))
ASKED += (("gateway", "http://www.example.com/cart"),)


def drawings() -> dict[str, Diagram]:
    """Of each cluster, of requests, and of the hostile texts, by what is drawn."""
    sets = {name: k8slb.load(text) for name, text in SETS.items()}
    drawn = {name: cluster.draw() for name, cluster in sets.items()}
    return drawn | {f"{name} {url}": sets[name].draw(url) for name, url in ASKED} | {"hostile": hostile()}


def labels(diagram: Diagram) -> list[str]:
    """All that is written in a drawing, but for its caption."""
    boxes = (line for box in diagram.boxes for line in texts(box.name, box.lines))
    groups = (line for group in {box.group for box in diagram.boxes} for line in texts(group))
    return sorted([*boxes, *groups, *(share_label(arrow.share) for arrow in diagram.arrows)])
