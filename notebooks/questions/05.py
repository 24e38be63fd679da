"""Why is one pod busy? The solutions are the functions that judge; throws of dice could not."""

from math import ceil

from k8slb.course.questions import Option, Prediction, function

PREDICTION = Prediction(
    "order-service has 3 pods. A client holds 2 connections open and goes on sending requests on them, many a "
    "second. You scale to 10 pods and wait until all are ready. How many of the 10 pods are busy?",
    (
        Option(
            "all 10",
            "each request is balanced",
            "The pick is made when a connection opens, and these two were open before.",
        ),
        Option(
            "first 1 or 2, after a while all 10",
            "scaling moves connections",
            "Nobody moves an open connection: the new rules are for connections that open from now on.",
        ),
        Option("1 or 2"),
        Option(
            "mostly the 7 new ones",
            "the idle pods get more",
            "The node's rules hold the pods' addresses and nothing about what they are doing.",
        ),
    ),
    "Two connections lead to at most two pods, however many requests they carry and however many pods there are.",
)

# Without annotations: these are the cells that a learner would write.


def busy(connections, pods):
    return pods * (1 - (1 - 1 / pods) ** connections)


def pool(pods, wanted):
    connections = 1
    while pods * (1 - (1 - 1 / pods) ** connections) < wanted:
        connections += 1
    return connections


def on_new_pods(before, after, age, seconds):
    return min(seconds / age, 1) * (after - before) / after


EXERCISES = (
    function(
        "05.1",
        busy,
        [(2, 10), (1, 3), (6, 3), (50, 10)],
        {
            '"Each request is balanced": a pod that no connection picked gets no request.': lambda c, n: n,
            '"Each connection has a pod of its own": two may pick the same.': min,
            '"A chance is a count": this is how likely one pod is busy; there are more.': lambda c, n: busy(c, n) / n,
            '"Not picked is busy": these are the idle pods; the others are busy.': lambda c, n: n - busy(c, n),
            '"A pod is missed as often as it is met": one connection misses it with 1 - 1/pods.': (
                lambda c, n: n * (1 - (1 / n) ** c)
            ),
        },
    ),
    function(
        "05.2",
        pool,
        [(10, 9), (10, 5), (3, 2.9), (20, 19)],
        {
            '"Each connection has a pod of its own": the picks repeat.': lambda n, w: ceil(w),
            '"Rounding is rounding": one fewer leaves the average below what is wanted.': lambda n, w: pool(n, w) - 1,
        },
    ),
    function(
        "05.3",
        on_new_pods,
        [(3, 10, 300, 60), (5, 10, 300, 150), (3, 10, 300, 300), (5, 10, 300, 900)],
        {
            '"Scaling moves connections": one moves when it is opened anew.': lambda b, a, g, s: (a - b) / a,
            '"What is opened anew goes to a new pod": it picks among all.': lambda b, a, g, s: min(s / g, 1),
            '"They go on moving": after one age all were opened anew.': lambda b, a, g, s: s / g * (a - b) / a,
        },
    ),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "Ten pods": {"replicas of order": 10},
        "Ten pods, 22 connections": {"replicas of order": 10, "connections": 22},
        "Ten pods, through the Ingress": {"replicas of order": 10, "URL": "https://myshop.example.com/orders"},
    },
    "sandbox": {
        "Ten pods, two connections": {"replicas of order": 10, "requests per connection": 500},
        "Ten pods, ten requests on each connection": {"replicas of order": 10, "requests per connection": 10},
        "Ten pods, two connections through the Ingress": {
            "replicas of order": 10,
            "requests per connection": 500,
            "URL": "https://myshop.example.com/orders",
        },
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "Scaled up, and the new pods idle",
        "open connections stay at their pods",
        "the client's maximum connection age",
        "k8slb send -f shop http://order-service --connections 2",
        "on 2 connections",
    ),
    (
        "gRPC, and one pod is busy",
        "many requests share one connection",
        "`clusterIP: None`, or a mesh",
        "k8slb explain -f explain/one-connection.yaml",
        "uses 1 of 5 pods",
    ),
    (
        "New connections time out on one node",
        "its conntrack table is full (nf_conntrack_max)",
        "`conntrack.maxPerCore`",
        "sysctl net.netfilter.nf_conntrack_count",
        "",
    ),
)
