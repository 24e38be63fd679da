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
