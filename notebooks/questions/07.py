"""Who balances over what? Judged by the model: its shares for pods placed by hand, behind a load balancer."""

from typing import Any

from k8slb.cluster import Cluster
from k8slb.course.questions import Exercise, Option, Prediction, Seen, Unfit, calls, function
from k8slb.front import load
from k8slb.show.controls import pods_per_node

PREDICTION = Prediction(
    "Two nodes behind a load balancer: two order pods run on node-a, one on node-b. externalTrafficPolicy is "
    "Local, so each node hands connections from outside to its own pods only. What are the shares?",
    (
        Option(
            "a third for each of the three pods",
            "the load balancer balances pods",
            "It picks a node, and node-b has one pod only to hand its half to.",
        ),
        Option("25% and 25% on node-a, 50% on node-b"),
        Option(
            "50% and 50% on node-a, none on node-b",
            "one node stands for the cluster",
            "That is so where one node alone answers for the address; here every healthy node gets its part.",
        ),
        Option(
            "it changes: the idle pod gets more",
            "the load balancer looks at the load",
            "It hashes the addresses and ports of each connection, and asks no pod how busy it is.",
        ),
    ),
    "Each node gets half of the connections, and splits its half among its own pods.",
)

URL, PLACES = "http://203.0.113.11", [([2, 1], 0), ([2, 1], 1), ([6, 2, 1], 2), ([3, 0, 1], 0)]
OPEN = "{kind: Service, metadata: {name: order-service}, spec: {type: LoadBalancer, externalTrafficPolicy: Local}}"
DEPLOYMENT = "\nkind: Deployment\nmetadata: {{name: order-node-{}}}\nspec: {{replicas: {}}}\n"


def share(pods, node):
    nodes = sum(1 for count in pods if count)
    return 1 / nodes / pods[node]


def extra_hop(pods):
    return 1 - 1 / len(pods)


def _placed(pods: list[int]) -> Cluster:
    shop = load("shop").with_nodes(len(pods)).apply(OPEN)
    return pods_per_node("order")(shop, {}).change(shop, tuple(pods))


def _share(pods: list[int], node: int) -> float:
    cluster = _placed(pods)
    return float(cluster.shares(URL)[next(iter(cluster.shares(URL, via=cluster.nodes[node].name)))])


def _yaml(*counts: int) -> str:
    return "---".join(map(DEPLOYMENT.format, "abc", counts))


def _after(answer: Any) -> Seen:
    if not isinstance(answer, str):
        raise Unfit("YAML as text", answer)
    cluster = _placed([4, 1, 1]).apply(answer)
    shares, used = cluster.shares(URL), sum(cluster.trace(URL, via=node.name).served for node in cluster.nodes)
    seen = {"the number of pods": len(shares), "the number of nodes with a pod": used}
    seen |= {"the largest share": float(max(shares.values(), default=0))}
    return seen | {"the number of pods that node-a picks from": len(cluster.shares(URL, via="node-a"))}


EXERCISES = (
    function(
        "07.1",
        share,
        PLACES,
        {
            '"The load balancer balances pods": it picks a node, each alike.': lambda pods, node: 1 / sum(pods),
            '"A node without pods keeps its part": it fails the health check.': lambda p, n: 1 / len(p) / p[n],
            '"A share is a percentage": here it is from 0 to 1.': lambda pods, node: 100 * share(pods, node),
            '"A pod gets what its node gets": all pods of the node share it.': lambda p, n: 1 / (len(p) - p.count(0)),
        },
        expected=lambda: calls("share", PLACES)(_share),
    ),
    Exercise(
        "07.2",
        f'even = """{_yaml(2, 2, 2)}"""',
        _after,
        {
            '"Enough pods even out": the lone pod of a node takes all that its node gets.': _yaml(2, 3, 1),
            '"A node without pods does no harm": it serves nobody from outside.': _yaml(3, 3, 0),
            '"More pods even out": of the other three Deployments each says how many pods its node has.': (
                DEPLOYMENT.replace("-node-{}", "").format(6)
            ),
            '"Fewer are even, too": there are 6 pods to place.': _yaml(1, 1, 1),
            '"Cluster does it": wherever the pods are; here they are to be placed.': OPEN.replace("Local", "Cluster"),
        },
        expected=lambda: _after(_yaml(2, 2, 2)),
    ),
    function(
        "07.3",
        extra_hop,
        [([1, 1, 1],), ([4, 1, 1],), ([2, 1],), ([0, 3, 0, 1],)],
        {
            '"The load balancer knows the pods": under Cluster it picks any node.': lambda pods: 0,
            '"Only a node without pods hands on": every node picks any pod.': lambda p: p.count(0) / len(p),
            '"A node without pods gets no connection": under Cluster it does.': lambda p: 1 - 1 / (len(p) - p.count(0)),
            '"It is at home as often as not": one node of all is the right one.': lambda pods: 1 / len(pods),
        },
    ),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "externalTrafficPolicy: Cluster": {"externalTrafficPolicy of order-service": "Cluster"},
        "No pod on node-b, health check off": {"pods of order per node": (3, 0), "health check": "off"},
        "A pod asks": {"caller": "pod:default/payment-2"},
    },
    "sandbox": {
        "4, 1 and 1 pods": {"pods of order per node": (4, 1, 1)},
        "externalTrafficPolicy: Cluster, 4, 1 and 1 pods": {
            "externalTrafficPolicy of order-service": "Cluster",
            "pods of order per node": (4, 1, 1),
        },
        "Pods on one node only, health check off": {
            "pods of order per node": (3, 0, 0),
            "k8slb/health-check of order-service": "off",
        },
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "A pod alone on its node gets twice the share",
        "`Local`: nodes get alike, pods do not",
        "`externalTrafficPolicy`",
        "k8slb shares -f local.yaml http://203.0.113.20",
        "1/2   50.0%",
    ),
    (
        "The pod sees a node as its client",
        "`Cluster`: the node puts its own there",
        "`externalTrafficPolicy: Local`",
        "k8slb trace -f shop https://myshop.example.com/orders",
        "source 198.51.100.10 becomes 172.18.0.3",
    ),
    (
        "The load balancer leaves a node out",
        "`Local`, and no ready pod there: 503",
        "`healthCheckNodePort`",
        "curl -i http://NODE:PORT/",
        "",
    ),
)
