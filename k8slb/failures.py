"""What a proxy does when the peer it dialled fails: it tries another, and in the end says so with a status.

And what that comes to, exactly: each way a peer can go on is a spread of outcomes, some of which are failures.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from .balancers import balancer
from .balancers.base import Balancer
from .decision import Candidate, Decision
from .errors import NotModelled

MOST_TRIES = 100  # where a proxy's own settings name no limit
# ("pod", "ip:port"), ("failed", "ip:port 500") where a pod answers so, ("answered", "404") where a proxy does itself,
# or ("lost", "reject" | "drop" | "unresolved")
Outcome = tuple[str, str]
Spread = dict[Outcome, Fraction]


def untried(policy: Balancer, peers: Sequence[Candidate], tried: Sequence[Candidate]) -> Sequence[Candidate]:
    """Whom a proxy picks from: not again who has failed, while others are left. Round robin goes on in turn."""
    return peers if policy.cycle or not tried else [p for p in peers if p not in tried] or peers


def tries_of(decision: Decision) -> int:
    """How often a proxy tries in all; its Service's one ClusterIP only once."""
    return min(decision.on_failure.tries, MOST_TRIES) if decision.balancer else 1


def failed(proxy: Decision, action: str, status: int | None) -> bool:
    """Whether what came of a request is a failure to the proxy that dialled."""
    failure, request = proxy.on_failure, proxy.flow.request
    if action == "respond" and status in failure.statuses:
        return not failure.methods or (request is not None and request.method in failure.methods)
    return action in ("reject", "drop")


def picks_none(decision: Decision) -> Decision:
    """The refusal where a balancer picks none of the candidates."""
    why = f"{balancer(decision.balancer).name} picks none of the {len(decision.candidates)}"
    return replace(decision, action="reject", why=why)


def gave_up(proxy: Decision, failed: Decision, tries: int) -> Decision:
    """The status a proxy answers with when what it dialled refused or stayed silent."""
    status = proxy.on_failure.refused if failed.action == "reject" else proxy.on_failure.timed_out
    word, who = "was refused" if failed.action == "reject" else "timed out", "controller"
    who = who if proxy.layer == "ingress" else "proxy"
    count = f" (tried {f'{tries} pods' if tries <= len(proxy.candidates) else f'{tries} times'})" if tries > 1 else ""
    why = f"the connection to the pod {word}{count}, so the {who} answers {status}"
    why = why if tries else f"{failed.why}, so the {who} answers {status}"
    without = {"candidates": (), "rejected": (), "balancer": None, "on_failure": None}
    return replace(proxy, action="respond", status=status, why=why, **without)


def mixed(ways: Iterable[tuple[Fraction, Spread]]) -> Spread:
    """What it comes to, where each of these happens with its share."""
    result: Counter[Outcome] = Counter()
    for share, way in ways:
        for outcome, probability in way.items():
            result[outcome] += share * probability
    return dict(result)


def fails(proxy: Decision, outcome: Outcome) -> bool:
    """Whether an outcome is a failure to the proxy that dialled."""
    kind, what = outcome
    status = what.split()[-1] if kind in ("failed", "answered") else ""
    return kind == "lost" or (status.isdigit() and failed(proxy, "respond", int(status)))


def after_failures(decision: Decision, ways: list[Spread], shares: list[Fraction]) -> Spread:
    """What it comes to in the long run once the proxy has tried other peers or given up.

    `ways` are the spreads of the peers, `shares` those of a first pick. NotModelled where it depends on load.
    """
    failing = [sum((p for o, p in way.items() if fails(decision, o)), Fraction(0)) for way in ways]
    if decision.ejects and _ejecting(decision, ways):
        raise NotModelled("exact shares where failing pods are ejected for a while; use send")
    tries, count = tries_of(decision), len(ways)
    if tries == 1 or not any(failing):
        return mixed((share, _tried(decision, [way])) for share, way in zip(shares, ways, strict=True))
    policy = balancer(decision.balancer)
    if decision.on_failure.budget or not (policy.cycle or policy.memoryless):
        raise NotModelled(f"exact shares of retries under {policy.name}; use send")
    if policy.cycle:
        orders = ((share, [(at + k) % count for k in range(tries)]) for at, share in _firsts(failing, tries).items())
    else:
        orders = _orders(policy, decision.candidates, failing, tries)
    return mixed((share, _tried(decision, [ways[i] for i in order])) for share, order in orders)


def _ejecting(decision: Decision, ways: list[Spread]) -> bool:
    """Whether a peer may fail so often that it is ejected, and one may be."""
    rule = decision.ejects
    bad = any(kind == "lost" or what.split()[-1] >= "500" for way in ways for kind, what in way if kind != "pod")
    return bad and (rule.at_least_one or 100 <= rule.percent * len(ways))


def _tried(decision: Decision, attempts: list[Spread]) -> Spread:
    """What several tries in a row come to: the last answer goes to the client, and a status if there was none."""
    result: Counter[Outcome] = Counter()
    left, failure = Fraction(1), decision.on_failure
    for number, way in enumerate(attempts, 1):
        again = Fraction(0)
        for outcome, probability in way.items():
            if fails(decision, outcome) and number < len(attempts):
                again += probability
            elif outcome[0] == "lost":
                status = failure.refused if outcome[1] == "reject" else failure.timed_out
                result["answered", str(status)] += left * probability
            else:
                result[outcome] += left * probability
        left *= again
    return {outcome: p for outcome, p in result.items() if p}


def _orders(
    policy: Balancer, peers: Sequence[Candidate], failing: list[Fraction], tries: int, tried: tuple[int, ...] = ()
) -> Iterator[tuple[Fraction, list[int]]]:
    """(share, the peers in the order in which they are tried) where each pick is drawn among those not tried yet."""
    if sum(map(bool, failing)) ** tries > 50_000:
        raise NotModelled(f"exact shares of {tries} tries among so many failing pods; use send")
    left = [i for i in range(len(peers)) if i not in tried] or list(range(len(peers)))
    for i, share in zip(left, policy.exact([peers[i] for i in left], None), strict=True):
        if not failing[i] or tries == 1:
            yield share, [i]
            continue
        for part, then in _orders(policy, peers, failing, tries - 1, (*tried, i)):
            yield share * part, [i, *then]


def _firsts(failing: list[Fraction], tries: int) -> dict[int, Fraction]:
    """How often round robin comes to each first pick in the long run, as a failed try uses up a turn as well."""
    count = len(failing)
    onward: list[dict[int, Fraction]] = []
    for at in range(count):
        then, left = Counter(), Fraction(1)
        for k in range(tries):
            peer, last = (at + k) % count, k == tries - 1
            then[(peer + 1) % count] += left if last else left * (1 - failing[peer])
            left *= 0 if last else failing[peer]
        onward.append({at: p for at, p in then.items() if p})
    if len(set(failing)) == 1:
        return dict.fromkeys(range(count), Fraction(1, count))
    at = 0
    for _ in range(2 * count):  # from then on it repeats
        at = next(iter(onward[at]))
    reached = [at]
    for at in reached:
        reached += [then for then in onward[at] if then not in reached]
    if all(len(onward[at]) == 1 for at in reached):
        return dict.fromkeys(reached, Fraction(1, len(reached)))
    into = [[onward[a].get(b, Fraction(0)) for a in reached] for b in reached]
    return dict(zip(reached, _balance(into), strict=True))


def _balance(into: list[list[Fraction]]) -> list[Fraction]:
    """The shares that stay as they are where `into[b][a]` of place a goes on to place b: Gauss and Jordan."""
    count = len(into)
    rows = [[p - (a == b) for a, p in enumerate(row)] + [Fraction(0)] for b, row in enumerate(into)]
    rows[-1] = [Fraction(1)] * (count + 1)  # they sum to 1
    for i in range(count):
        pivot = next((k for k in range(i, count) if rows[k][i]), None) if count <= 40 else None
        if pivot is None:
            raise NotModelled(f"exact shares of retries in turn among {count} pods that fail now and then; use send")
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for k in range(count):
            if k != i and rows[k][i]:
                rows[k] = [x - rows[k][i] * y for x, y in zip(rows[k], rows[i], strict=True)]
    return [row[-1] for row in rows]
