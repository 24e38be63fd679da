"""How do users stick? The solutions are the functions that judge; a picker is judged by which of 1,000 clients move."""

from collections import Counter
from hashlib import sha256

from k8slb.course.questions import Exercise, Option, Prediction, Seen, Unfit, empty, function

PREDICTION = Prediction(
    "order-service has 3 pods and sessionAffinity: ClientIP. 60% of the users sit behind one NAT, all others have "
    "an address of their own; all send alike. Which share does the busiest pod get, on average?",
    (
        Option(
            "about 33%",
            "affinity is per user",
            "It is per address, and the NAT gives 60% of the users the same one.",
        ),
        Option(
            "60%",
            "the others keep away from the busy pod",
            "Each other address picks one of all 3 pods at random, the busy one as well.",
        ),
        Option("about 73%"),
        Option(
            "100%",
            "one pod for all",
            "Only one address is shared; the others pick for themselves.",
        ),
    ),
    "The NAT's 60% go to one pod as a whole, and so does a third of the other 40%: 60% + 13.3%.",
)

# Without annotations: these are the cells that a learner would write.


def hottest(behind_nat, pods):
    return behind_nat + (1 - behind_nat) / pods


def moved(before, after, keys):
    return sum(key % before != key % after for key in range(keys)) / keys


def pick(client, pods):
    return max(pods, key=lambda pod: sha256(f"{client} {pod}".encode()).hexdigest())


def _moves(answer) -> Seen:
    if not callable(answer):
        raise Unfit("the function pick", answer)
    clients, pods = [f"198.18.{n // 250}.{n % 250}" for n in range(1000)], [f"order-{n}" for n in range(1, 6)]
    ways = [(answer(client, pods[:4]), answer(client, pods[:])) for client in clients]
    if empty(ways[0][0]):
        return {"pick(client, pods)": ways[0][0]}
    known = all(pod in pods for way in ways for pod in way)
    fewest = min(Counter(after for _, after in ways if after in pods)[pod] for pod in pods)
    return {
        "what pick gives": "names of the list" if known else "no name of the list",
        "what moves from one old pod to another": "some" if any(b != a != pods[4] for b, a in ways) else "nothing",
        "the fewest that a pod gets": "a fair part" if fewest >= 100 else "under 100 of 1,000",
    }


PER_USER = '"Affinity is per user": the NAT\'s users have one address, and one pod.'
ALONE = '"The others keep away": each other address picks among all pods, the busy one too.'
BOTH = '"A third of everybody, too": only of those who are not behind the NAT.'
SURVIVES = '"Hashing survives scaling": with another number of pods most remainders are others.'
ONLY_NEW = '"Only those of the new pod move": they would be enough; modulo moves others as well.'
STAYS = '"Those that stay have moved": count the keys whose two remainders differ.'
PERCENT = '"In percent": a share is asked for, from 0 to 1; this is a hundred times it.'
COUNT = '"So many": a share of all keys is asked for; this is how many moved.'
MODULO = '"A hash is a hash": this one depends on how many pods there are, or changes by itself.'
ONE = '"Who stays is balanced": nobody moves, and some pods have nearly nothing to do.'
WRONG = {MODULO: lambda c, p: p[int(sha256(c.encode()).hexdigest(), 16) % len(p)], ONE: lambda c, p: p[0]}
EXERCISES = (
    function(
        "06.1",
        hottest,
        [(0.6, 3), (0.2, 5), (0.9, 10)],
        {
            PER_USER: lambda q, n: 1 / n,
            ALONE: lambda q, n: q,
            BOTH: lambda q, n: q + 1 / n,
            PERCENT: lambda q, n: 100 * hottest(q, n),
        },
    ),
    function(
        "06.2",
        moved,
        [(4, 5, 1000), (8, 5, 400), (9, 10, 9000), (4, 8, 800)],
        {
            SURVIVES: lambda b, a, k: 0,
            ONLY_NEW: lambda b, a, k: abs(a - b) / max(a, b),
            STAYS: lambda b, a, k: 1 - moved(b, a, k),
            PERCENT: lambda b, a, k: 100 * moved(b, a, k),
            COUNT: lambda b, a, k: k * moved(b, a, k),
        },
    ),
    Exercise("06.3", pick, _moves, WRONG, str, imports="from hashlib import sha256"),
)

# What the panels can be set to: of each three settings that show what the lesson says.
SETTINGS = {
    "guess": {
        "Nobody behind a NAT": {"% behind one NAT": 0},
        "A time-out of 1 second": {"timeout (s)": 1},
        "No affinity": {"affinity": "none"},
    },
    "sandbox": {
        "Ten replicas": {"replicas of order": 10},
        "Three nodes": {"nodes": 3},
        "No affinity, but IPVS with sh": {"affinity": "none", "kube-proxy mode": "ipvs sh"},
    },
}

# The lesson's rows of the cheat sheet: symptom, cause, field, command, and what the command shows.
SYMPTOMS = (
    (
        "ClientIP, and one pod has most users",
        "users behind a NAT have one address",
        "`sessionAffinity`; a cookie",
        "k8slb explain -f explain/affinity-per-node.yaml",
        "all users behind one proxy count as one client",
    ),
    (
        "ClientIP, and a user meets several pods",
        "each node remembers for itself",
        "`sessionAffinity`",
        "k8slb explain -f explain/affinity-per-node.yaml",
        "meets 2.4 of 5 pods",
    ),
)
