"""What a proxy does when the peer it dialled fails: it tries another, and in the end says so with a status.

And what that comes to, exactly: each way a peer can go on is a spread of outcomes, some of which are failures.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from .balancers import balancer
from .balancers.base import Balancer
from .decision import Candidate, Decision
from .errors import NotModelled

MOST_TRIES = 100  # where a proxy's own settings name no limit
MOST_PODS = 500  # that fail now and then, each in its own way, for the exact shares of retries in turn
# ("pod", "ip:port"), ("failed", "ip:port 500") where a pod answers so, ("answered", "404") where a proxy does itself,
# or ("lost", "reject" | "drop" | "unresolved")
Outcome = tuple[str, str]
Spread = dict[Outcome, Fraction]
LATE: Outcome = ("lost", "drop")


def untried(policy: Balancer, peers: Sequence[Candidate], tried: Sequence[Candidate]) -> Sequence[Candidate]:
    """Whom a proxy picks from: not again who has failed, while others are left. Round robin goes on in turn, and
    Linkerd draws anew among all: its retries stand above its balancer (linkerd2-proxy, .../policy/route.rs)."""
    return peers if policy.cycle or policy.again or not tried else [p for p in peers if p not in tried] or peers


def tries_of(decision: Decision, late: int = 0) -> int:
    """How often it is tried in all, or 0 once as many tries timed out as may; a Service's one ClusterIP only once."""
    failure = decision.on_failure
    if failure and failure.late and late >= failure.late:
        return 0
    return min(failure.tries, MOST_TRIES) if failure and decision.balancer else 1


def failed(dialled: Decision, action: str, status: int | None) -> bool:
    """Whether what came of a request is a failure to the proxy that dialled; to no other layer is it anything."""
    failure, request = dialled.on_failure, dialled.flow.request
    if failure and action == "respond" and status in failure.statuses:
        return not failure.methods or (request is not None and request.method in failure.methods)
    return failure is not None and action in ("reject", "drop")


def picks_none(decision: Decision) -> Decision:
    """The refusal where a balancer picks none of the candidates."""
    why = f"{balancer(decision.balancer).name} picks none of the {len(decision.candidates)}"
    return replace(decision, action="reject", why=why)


def gave_up(proxy: Decision, failed: Decision, tries: int) -> Decision:
    """The status a proxy answers with when what it dialled refused or stayed silent."""
    status, who = proxy.on_failure.answer(failed.action), "controller" if proxy.layer == "ingress" else "proxy"
    what, word = "request" if failed.takes else "connection", "timed out" if failed.action == "drop" else "was refused"
    often = f"{tries} pods" if tries <= len(proxy.candidates) else f"{tries} times"
    why = f"the {what} to the pod {word}" + (f" (tried {often})" if tries > 1 else "") if tries else failed.why
    without = {"candidates": (), "rejected": (), "balancer": None, "on_failure": None}
    return replace(proxy, action="respond", status=status, why=f"{why}, so the {who} answers {status}", **without)


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

    def tried(picks: Mapping[int, Fraction], tries: int, late: int, sofar: tuple[int, ...] = ()) -> Spread:
        """What a pick with these shares comes to where up to `tries` are made and `late` of them may time out: the
        last answer goes to the client, and a status if there was none."""
        result: Counter[Outcome] = Counter()
        for i, share in picks.items():
            again: Counter[int] = Counter()  # by how many may still time out
            for outcome, probability in ways[i].items():
                left = late - (outcome == LATE)
                if tries > 1 and left and fails(decision, outcome):
                    again[left] += share * probability
                    continue
                if outcome[0] == "lost":
                    outcome = "answered", str(decision.on_failure.answer(outcome[1]))
                result[outcome] += share * probability
            for left, chance in again.items():
                then = tried(_after(decision, (*sofar, i)), tries - 1, left, (*sofar, i))
                result.update({outcome: chance * probability for outcome, probability in then.items()})
        return dict(result)

    if decision.ejects and _ejecting(decision, ways):
        raise NotModelled("exact shares where failing pods are ejected for a while; use send")
    failing = [sum((p for o, p in way.items() if fails(decision, o)), Fraction(0)) for way in ways]
    tries, late, first = tries_of(decision), decision.on_failure.late or MOST_TRIES, dict(enumerate(shares))
    if tries > 1 and any(failing):
        policy = balancer(decision.balancer)
        if decision.on_failure.budget or not (policy.cycle or policy.memoryless):
            raise NotModelled(f"exact shares of retries under {policy.name}; use send")
        if policy.cycle:
            first = _firsts(failing, [way.get(LATE, Fraction(0)) for way in ways], tries, late, policy.cycle)
        elif sum(map(bool, failing)) ** tries > 50_000:
            raise NotModelled(f"exact shares of {tries} tries among so many failing pods; use send")
    return tried(first, tries, late)


def _ejecting(decision: Decision, ways: list[Spread]) -> bool:
    """Whether a peer may fail so often that it is ejected, and one may be."""
    rule = decision.ejects
    bad = any(kind == "lost" or what.split()[-1] >= "500" for way in ways for kind, what in way if kind != "pod")
    return bad and (rule.at_least_one or 100 <= rule.percent * len(ways))


def _after(decision: Decision, tried: tuple[int, ...]) -> dict[int, Fraction]:
    """The shares of the next pick: the next in turn, or drawn among those not tried yet."""
    policy, peers = balancer(decision.balancer), decision.candidates
    if policy.cycle:
        return {(tried[-1] + policy.cycle) % len(peers): Fraction(1)}
    left = [i for i in range(len(peers)) if i not in tried] or range(len(peers))
    return dict(zip(left, policy.exact([peers[i] for i in left], None), strict=True))


def _firsts(failing: list[Fraction], slow: list[Fraction], tries: int, late: int, step: int) -> dict[int, Fraction]:
    """How often round robin comes to each first pick in the long run, as a failed try uses up a turn as well (`slow`:
    as one that timed out)."""
    count = len(failing)
    if len({*zip(failing, slow, strict=True)}) == 1:
        return dict.fromkeys(range(count), Fraction(1, count))
    onward = [Counter[int]() for _ in failing]  # from each first pick to the next request's
    for at in range(count):
        left = Counter({late: Fraction(1)})  # of those still trying, by how many tries may still time out
        for k in range(tries):
            i, again = (at + step * k) % count, Counter[int]()
            for may, share in left.items() if k < tries - 1 else ():
                again[may] += share * (failing[i] - slow[i])
                again[may - 1] += share * slow[i]
            del again[0]
            onward[at][(i + step) % count] += left.total() - again.total()
            left = +again
    at = 0
    for _ in range(2 * count):  # from then on it repeats
        at = next(iter(+onward[at]))
    reached = [at]
    for at in reached:
        reached += [then for then in +onward[at] if then not in reached]
    return dict(zip(reached, _balance([[onward[a][b] for b in reached] for a in reached]), strict=True))


def _balance(chain: list[list[Fraction]]) -> list[Fraction]:
    """The shares that stay as they are where `chain[a][b]` of place a goes on to place b: places are taken out one by
    one, and who would come there goes where it leads (Grassmann, Taksar and Heyman, 1985)."""
    shares = [Fraction(1)]
    for k in reversed(range(1, len(chain))):
        leaving = sum(chain[k][:k])
        if not leaving or len(chain) > MOST_PODS:
            raise NotModelled(f"exact shares of retries in turn among {len(chain)} such pods; use send")
        for i in (i for i in range(k) if chain[i][k]):
            chain[i][k] /= leaving
            chain[i][:k] = [p + chain[i][k] * q if q else p for p, q in zip(chain[i][:k], chain[k], strict=False)]
    for k in range(1, len(chain)):
        shares.append(sum(share * chain[i][k] for i, share in enumerate(shares) if chain[i][k]))
    return [share / sum(shares) for share in shares]
