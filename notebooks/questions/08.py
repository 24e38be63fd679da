"""Node or pod targets? Same zone? Judged by the model: its shares behind a network load balancer, by zone."""

from math import ceil
from numbers import Integral

from k8slb.course.questions import Option, Prediction, calls, function
from k8slb.front import load
from k8slb.show.controls import pods_per_zone

PREDICTION = Prediction(
    "Six order pods: 4 in zone-a, 1 in zone-b, 1 in zone-c. Each zone gets a third of the connections, and its "
    "nodes prefer the pods of their zone. Which pod is the busiest?",
    (
        Option(
            "none: all six get about 17%",
            "traffic follows the pods",
            "No place on the way counts the pods of all zones: each zone's third stays with that zone's pods.",
        ),
        Option(
            "one in zone-a, where most pods are",
            "the biggest zone is the busiest",
            "Its third is shared by four pods, so each of them gets about 8%.",
        ),
        Option("the lone pods, with 33% each"),
        Option(
            "a lone pod, until it is too busy",
            "a preference gives way under load",
            "The node's rules hold the pods of its zone and nothing about what they are doing.",
        ),
    ),
    "A zone's third goes to that zone's pods, and in zone-b and zone-c there is one to take it.",
)

OPEN = "{kind: Service, metadata: {name: order-service}, spec: {type: LoadBalancer, trafficDistribution: %s}}"
COUNTS = [([4, 1, 1],), ([4, 4, 3],), ([2, 2, 2],), ([2, 5],)]
BUSY = [([4, 1, 1], "instance", False, True), ([4, 1, 1], "instance", True, True), ([4, 1, 1], "ip", False, False)]
BUSY += [([2, 3, 1], "ip", True, True), ([5, 1, 0], "ip", False, True), ([5, 1, 0], "instance", False, True)]


def factor(pods):
    return sum(pods) / len(pods) / min(pods)


def left_over(pods, zones, threshold):
    return pods - zones * ceil(pods / zones / (1 + threshold))


def hottest(pods, targets, cross_zone, same_zone):
    total, empty, smallest = sum(pods), pods.count(0), min(n for n in pods if n)
    if targets == "ip" and not cross_zone:
        return total / (len(pods) - empty) / smallest
    if targets == "instance" and same_zone:
        return total / len(pods) / smallest + empty / len(pods)
    return 1


def _hottest(pods: list[int], targets: str, cross_zone: bool, same_zone: bool) -> float:
    shop = load("shop").with_nodes(len(pods)).apply(OPEN % ("PreferSameZone" if same_zone else "null"))
    shop = pods_per_zone("order")(shop, {}).change(shop, tuple(pods)).with_load_balancer("aws-nlb")
    shop = shop.with_load_balancer(targets=targets, cross_zone=cross_zone)
    return float(max(shop.shares("http://203.0.113.11").values())) * sum(pods)


EXERCISES = (
    function(
        "08.1",
        factor,
        COUNTS,
        {
            '"The biggest zone is the busiest": it has more pods for as much.': lambda p: max(p) * len(p) / sum(p),
            '"All pods get the same": only where each is picked from everywhere.': lambda pods: 1,
            '"The share is the factor": it is to be divided by the fair share.': lambda p: 1 / len(p) / min(p),
            '"Against the busiest zone": the fair share is that of all pods together.': lambda p: max(p) / min(p),
            '"More pods, busier": a zone\'s part is the same whatever its pods; few pods share it.': lambda p: (
                max(p) / sum(p)
            ),
            '"The average is the factor": it is to be divided by the pods of the smallest zone.': lambda p: (
                sum(p) / len(p)
            ),
            '"One pod takes it all": that is the part of a whole zone for one pod.': lambda p: 1 / min(p),
        },
        expected=lambda: calls("factor", COUNTS)(lambda pods: _hottest(pods, "instance", False, True)),
    ),
    function(
        "08.2",
        left_over,
        [(11, 3, 0.2), (12, 3, 0.2), (10, 3, 0.2), (4, 3, 0.2)],
        {
            '"Rounding down is near enough": a pod fewer gives the others more than is allowed.': (
                lambda pods, zones, threshold: pods - zones * int(pods / zones / (1 + threshold))
            ),
            '"Each zone needs its fair part": the threshold lets it do with less.': lambda p, z, t: p - z * ceil(p / z),
            '"One rounding for all": each zone has to round up.': lambda p, z, t: p - ceil(p / (1 + t)),
            '"One zone is all": each of the zones needs its minimum.': lambda p, z, t: p - ceil(p / z / (1 + t)),
            '"What is needed is left over": asked is what remains of the pods.': lambda p, z, t: (
                z * ceil(p / z / (1 + t))
            ),
            '"Divided by 1, plus the threshold": the bracket (1 + threshold) divides.': lambda p, z, t: (
                p - z * ceil(p / z / 1 + t)
            ),
            '"Pods can be parts": a zone needs whole pods, so round up.': lambda p, z, t: p - p / (1 + t),
        },
        kind=Integral,
        imports="from math import ceil",
    ),
    function(
        "08.3",
        hottest,
        BUSY,
        {
            '"trafficDistribution steers the load balancer": only rules of nodes follow it.': (
                lambda pods, targets, cross, same: hottest(pods, "instance", cross, same)
            ),
            '"Cross-zone evens out everything": it spreads over the targets; here these are nodes, one a zone.': (
                lambda pods, targets, cross, same: 1 if cross else hottest(pods, targets, cross, same)
            ),
            '"No pods, no part": the node hands its part to all pods.': lambda p, *a: hottest([n for n in p if n], *a),
            '"Node targets even out": not if nodes keep to their zone.': lambda p, t, c, s: hottest(p, t, c, False),
        },
        expected=lambda: calls("hottest", BUSY)(_hottest),
    ),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "Without trafficDistribution": {"trafficDistribution": "none"},
        "Two pods in each zone": {"pods of order per zone": (2, 2, 2)},
        "Pods as targets": {"target type": "ip"},
    },
    "sandbox": {
        "A pod in zone-b asks": {"URL": "http://order-service", "caller": "pod:default/order-5"},
        "A pod asks, PreferSameNode": {
            "URL": "http://order-service",
            "caller": "pod:default/order-2",
            "trafficDistribution of order-service": "PreferSameNode",
        },
        "All six pods in zone-a": {"pods of order per zone": (6, 0, 0)},
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "Pods are ready, some callers get nothing",
        "`Local`, and no pod on their node",
        "`internalTrafficPolicy`",
        "k8slb explain -f explain/near-only-lost.yaml",
        "2/3 (66.7%) get no answer",
    ),
    (
        "The pods of one place are busier",
        "connections stay near, the pods are elsewhere",
        "`trafficDistribution`",
        "k8slb explain -f explain/near-only-uneven.yaml",
        "1.22 times the fair share",
    ),
)
