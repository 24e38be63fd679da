"""Which ways to balance fit counts that were measured, and which they refute.

Each mechanism is tested by itself, without adjustment for their number: one that is true comes out as unlikely in 1 of
20 (p < 0.05), as refuted in 1 of 1,000. Where it has a number that is not known, the one that fits best is taken, so p
is larger than it should be: "refuted" keeps its meaning, "fits" loses some.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate, groupby, pairwise
from textwrap import wrap
from typing import Any

from ..chance import SAMPLES, Pearson, pearson, power, quantile
from ..errors import InputError, printable, shown, whole
from ..manifests import table_of
from .counts import MAX_COUNT, MAX_NAMES, counts_of

FITS, UNLIKELY = 0.05, 0.001  # from which p on
VERDICTS = {"fits": FITS, "unlikely": UNLIKELY, "refuted": 0, "cannot be told": math.nan}
ORDERED = 100_000  # arrivals: of more, the first
TABLE = table_of("fingerprints")
TOLD = ("fits", "unlikely")  # what behaves so is told of these
PLACED = 60  # pods: of more, placements on nodes are not searched
Finding = tuple[float | None, str]  # p (None: counts cannot tell), what it goes by


@dataclass(frozen=True)
class Mechanism:
    """One way to balance: what the counts say of it (`verdict`, `p`, the number it goes by) and what behaves so."""

    name: str
    title: str
    verdict: str
    p: float | None
    why: str
    settings: str

    fits = property(lambda self: self.verdict == "fits")


@dataclass(frozen=True, repr=False)
class Fingerprint:
    """`counts` by pod, the most first, what was told of them, and what they tell: numbers, and `mechanisms`."""

    counts: Mapping[str, int]
    order: Sequence[str] = ()
    nodes: Mapping[str, str] | None = None
    weights: Mapping[str, Any] | None = None
    shares: Mapping[str, Any] | None = None
    connections: int | None = None
    known: bool = False  # whether pods that got nothing are among the counts
    warnings: tuple[str, ...] = ()

    pods = property(lambda self: len(self.counts))
    most = property(lambda self: next(iter(self.counts.values())))
    least = property(lambda self: next(reversed(self.counts.values())))
    hottest = property(lambda self: self.most * self.pods / self.requests)
    phi = property(lambda self: self.test.square / self.test.freedom if self.pods > 1 else None)

    @cached_property
    def requests(self) -> int:
        return sum(self.counts.values())

    @cached_property
    def test(self) -> Pearson:
        """The counts against even shares."""
        return self.against([1] * self.pods)

    def against(self, shares: Sequence[Any], picks: Mapping[int, int] | None = None) -> Pearson:
        """The counts against other shares, of whatever sum; `picks` as of `pearson`."""
        return pearson([*self.counts.values()], shares, picks)

    @property
    def independent(self) -> tuple[float, float, float] | None:
        """How many independent picks would be as uneven, K = N / phi, and its 95% band: phi * df is about N / K times
        chi-square with df degrees of freedom. None where nothing is uneven."""
        if not self.phi:
            return None
        low, high = (self.requests * quantile(p, self.test.freedom) / self.test.square for p in (0.025, 0.975))
        return self.requests / self.phi, max(1.0, low), high

    @cached_property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        """What fits first, and first of all what was told."""
        table, found = TABLE["mechanisms"], []
        single = (("one", 1.0, "there is one pod; are there more? --pods"),)
        for name, p, why in _findings(self) if self.pods > 1 else single:
            verdict = "cannot be told" if p is None else next(v for v, least in VERDICTS.items() if p >= least)
            found.append(Mechanism(name, table[name][0], verdict, p, why, table[name][1]))
        return tuple(sorted(found, key=lambda m: ([*VERDICTS].index(m.verdict), not self.told.get(m.name))))

    @property
    def told(self) -> dict[str, Any]:
        return {"model": self.shares, "split": self.nodes, "weights": self.weights, "pinned": self.connections}

    @property
    def refuted(self) -> list[str]:
        """The mechanisms that were told (by nodes, weights, connections or the model's shares) and are refuted."""
        return [m.name for m in self.mechanisms if self.told.get(m.name) and m.verdict == "refuted"]

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON: requests, pods, counts, hottest (most over what each got if even), phi, chi_square over
        freedom, p_uneven and p_even (chance of counts at least as uneven, as even), sampled (p is of samples),
        independent ([K, lowest, highest]), mechanisms ([{name, title, verdict, p, why, settings}], what fits first),
        refuted (of what was told), advice and warnings (sentences). null where there is nothing to compare."""
        keys = ("requests", "pods", "hottest", "phi", "independent", "refuted", "warnings", "advice")
        square, freedom, uneven, even, sampled = self.test
        told = {"chi_square": square, "freedom": freedom, "p_uneven": uneven, "p_even": even, "sampled": sampled}
        told |= {k: list(v) if isinstance(v := getattr(self, k), tuple) else v for k in keys}
        return {"counts": dict(self.counts), **told, "mechanisms": [asdict(m) for m in self.mechanisms]}

    @property
    def advice(self) -> list[str]:
        """How much these counts could tell, and what would tell more."""
        n, total, fits, texts = self.pods, self.requests, {m.name for m in self.mechanisms if m.fits}, TABLE["advice"]
        told = [] if self.known else [texts["idle"]]
        if n > 1 and "random" in fits and (noticed := power(total, double := [2] + [1] * (n - 1))) < 0.9:
            need = next(k for k in (total * 1.1**i for i in range(1, 400)) if power(k, double) >= 0.9)
            told.append(texts["double"].format(noticed=noticed, total=total, need=_about(need)))
        if n > 1 and {"random", "turns"} <= fits and not self.order:
            part = math.exp(2 / (n - 1) * (n / 2 * math.log(n) - math.log(0.025))) / 2 / math.pi  # by Stirling
            told.append(texts["part"].format(part=_about(max(n, part))))
        if "pinned" in fits and "random" not in fits and not self.connections:
            told.append(texts["apart"])
        return [*told, texts["all"]]

    def __str__(self) -> str:
        n, test, names = self.pods, self.test, [shown(name)[1:-1] for name in self.counts]
        lines = [f"warning: {text}" for text in self.warnings]
        counted = f"{self.requests:,} request{'s' * (self.requests > 1)}, {n:,} pod{'s' * (n > 1)}"
        lines.append(f"{counted}: {_number(self.requests / n)} each if even")
        hot = f"most {self.most:,} ({names[0]}), {self.hottest:.2f} times that"
        lines.append(f"  {hot}; least {self.least:,} ({names[-1]})")
        if n > 1:
            sampled = f", of {SAMPLES:,} samples" * test.sampled
            over = f"chi-square {_number(test.square)} / {test.freedom}"
            lines.append(f"  phi {_number(self.phi)} ({over}); by chance about 1, by turns 0")
            lines.append(f"  chance of counts as uneven {_p(test.uneven)}, as even {_p(test.even)}{sampled}")
        if self.independent:
            k, low, high = map(_about, self.independent)
            lines.append(f"  as uneven as {k} independent connections (95%: {low} to {high})")
        for verdict, group in groupby(self.mechanisms, lambda m: m.verdict):
            lines.append("")
            for m in group:
                lines += _wrapped(f"{m.title}: {m.why}", f"{verdict:<16}", " " * 16)
                lines += _wrapped(m.settings, " " * 16, " " * 16) if verdict in TOLD else []
        return printable("\n".join([*lines, "", *(line for text in self.advice for line in _wrapped(text))]))

    __repr__ = __str__


def fingerprint(
    what: Any,
    pods: int | None = None,
    nodes: Mapping[str, str] | None = None,
    weights: Mapping[str, int] | None = None,
    connections: int | None = None,
    shares: Mapping[Any, Any] | None = None,
) -> Fingerprint:
    """What counts of requests per pod tell of how they were balanced.

    `what`: text as `sort | uniq -c`, a CSV or kubectl print it, the Path of a file with it, {name: count}, or the names
    in order of arrival. `pods`: how many there are, with those that got nothing; `nodes` {pod: node}; `weights` {pod:
    weight}; `connections`: over how many the requests were sent; `shares` {pod, or a tuple of its names: share}, such
    as the model's, cluster.shares(url). InputError (file, line) for what cannot be read or does not go together.
    """
    given = counts_of(what)
    counts, nodes = dict(given.counts), {**given.nodes, **(nodes or {})}
    names = {keys if isinstance(keys, tuple) else (keys,): share for keys, share in (shares or {}).items()}
    shares = {next((name for name in keys if name in counts), keys[0]): share for keys, share in names.items()}
    for told, about in ((nodes, "the nodes"), (weights, "the weights"), (shares, "the model's shares")):
        if told and (unknown := [name for name in given.counts if name not in told]):
            expected = "each pod that was counted; told of " + ", ".join(map(shown, list(told)[:3]))
            raise InputError(f"{about} do not name {shown(unknown[0])}", expected=expected)
        if told and told is not nodes and not min(told.values()) >= 0 < sum(told.values()):
            raise InputError(f"{about} are not 0 or more", expected="one more than 0, none less")
        counts |= {name: 0 for name in told or () if name not in counts}
    known = bool(pods or nodes or weights or shares or 0 in counts.values())
    most = len(counts) if nodes or weights or shares else MAX_NAMES
    idle = 0 if pods is None else whole(pods, "the number of pods", len(counts), most) - len(counts)
    counts |= {f"(idle pod {i + 1})": 0 for i in range(idle)}
    if connections is not None:
        connections = min(sum(counts.values()), whole(connections, "connections", 1, MAX_COUNT))
    ordered = dict(sorted(counts.items(), key=lambda item: -item[1]))
    return Fingerprint(ordered, given.order, nodes, weights, shares, connections, known, given.warnings)


# --- the mechanisms ---------------------------------------------------------------------------------------------------


def _p(p: float) -> str:
    return f"p = {p:.2g}" if p > 1e-300 else "p < 1e-300"


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _about(number: float) -> str:
    return f"{float(f'{number:.2g}'):,.0f}"


def _wrapped(text: str, first: str = "", other: str = "  ") -> list[str]:
    return wrap(text, 110, initial_indent=first, subsequent_indent=other, break_on_hyphens=False)


def _both(test: Pearson) -> float:
    return min(1.0, 2 * min(test.uneven, test.even))


def _findings(of: Fingerprint) -> Iterator[tuple[str, float | None, str]]:
    """Each mechanism's p and what it goes by."""
    n, test, spread, values = of.pods, of.test, of.most - of.least, [*of.counts.values()]
    used, order = sum(map(bool, values)), of.order[:ORDERED]
    ordered, told = _repeats(order) if len(order) >= 20 else (1.0, "")
    p = min(1.0, 2 * min(_both(test), ordered)) if told else _both(test)
    yield "random", p, _p(p) + "; more even than chance" * (test.even < test.uneven and p < FITS) + told
    in_turn = all(a == b for a, b in zip(order, order[n:], strict=False)) and len({*order[:n]}) == len(order[:n])
    why = f"counts are {spread:,} apart, by turns at most 1 unless others ask too"
    yield "turns", float(spread <= 1 and in_turn), why if in_turn else "not in this order"
    why = f"{max(1, spread):,} or more of them, each of which keeps the counts at most 1 apart"
    yield "counters", (p := test.uneven), why if p >= FITS else f"less even than chance, {_p(p)}"
    yield "pinned", *_pinned(of, order)
    yield "one", float(used == 1), f"{used:,} of {n:,} pods got requests"
    yield "split", *_split(of, values)
    for name, shares in (("weights", of.weights), ("model", of.shares)):
        found = of.against([shares[pod] for pod in of.counts]) if shares else test
        more = "; more even than chance, as turns are" if found.even < UNLIKELY else ""
        if shares or name == "weights":
            unknown = "any counts fit some weights; which are set? --weights"
            yield name, found.uneven if shares else None, _p(found.uneven) + more if shares else unknown
    first = [1] * used + [0] * (n - used)  # begun anew after as many requests as pods got any, or after up to twice n
    if used == n <= PLACED:
        first = min(([2] * r + [1] * (n - r) for r in range(1, n)), key=lambda shares: _square(values, shares))
    p = of.against(first).uneven
    why = f"if after every {sum(first):,} requests, of which {_sum(first)} at the pods: {_p(p)}"
    fits = p >= FITS and len({*first}) > 1
    yield "restart", *((p, why) if fits else (None, "if that is irregular, any counts fit"))
    yield "attract", *_attract(of, values)
    why = f"{n - used:,} of {n:,} pods got nothing; the others are even with {_p(p)}"
    none = (0.0, f"all {n:,} pods got some") if of.known else (None, f"all {n:,} got some; are there more? --pods")
    yield "idle", *((p, why) if used < n else none)
    yield "load", None, "counts follow how long each pod takes to answer"


def _pinned(of: Fingerprint, order: Sequence[str]) -> Finding:
    n = of.pods
    if of.connections:
        each, more = divmod(of.requests, of.connections)
        found = of.against([1] * n, {each: of.connections - more, each + 1: more})
        told = f"as uneven {_p(found.uneven)}, as even {_p(found.even)}"
        return _both(found), f"with {of.connections:,} connections, each as busy as the others: {told}"
    p, back = min(1.0, 2 * of.test.even), [0]
    for name in order[1:]:  # how long a beginning ends here (Knuth, Morris and Pratt): what is left over is the period
        k = back[-1]
        while k and order[k] != name:
            k = back[k - 1]
        back.append(k + (order[k] == name))
    if order and n < (period := len(order) - back[-1]) <= len(order) / 2:
        return p, f"the order repeats every {period:,} requests, as with {period:,} connections used in turn"
    each, more = divmod(of.requests, n)  # the most even of all: a connection for each pod
    if (single := min(1.0, 2 * of.against([1] * n, {each: n - more, each + 1: more}).even)) > p < FITS:
        return single, f"only if there are {n:,}, each of which got another pod, {_p(single)}"
    if p < FITS:
        return p, f"more even than any number of them, {_p(p)}"
    k, low, high = of.independent or (math.inf,) * 3
    if high >= of.requests:
        return p, f"{_about(min(low, of.requests))} or more of them, up to one for each request (95%)"
    if high < (used := sum(map(bool, of.counts.values()))):
        return p, f"{used:,} or more of them, some far busier than the others"
    band = f"95%: {_about(low)} to {_about(high)}"
    return p, f"about {_about(k)} of them ({band}), if each is as busy as the others"


def _repeats(order: Sequence[str]) -> tuple[float, str]:
    """How often the same pod comes twice in a row, against chance: Mood, Annals of Math. Statistics 11 (1940)."""
    n, counts = len(order), Counter(order).values()
    two, three = (sum(k**e for k in counts) for e in (2, 3))
    mean, found = two / n - 1, sum(a == b for a, b in pairwise(order))
    variance = (two * (two + n * (n + 1)) - 2 * n * three - n**3) / (n * n * (n - 1))
    p = math.erfc(abs(found - mean) / math.sqrt(2 * variance)) if variance > 0 else 1.0
    return p, f"; the same pod twice in a row {found:,} times, by chance {mean:,.0f} ({_p(p)})"


def _split(of: Fingerprint, values: Sequence[int]) -> Finding:
    if of.nodes:
        on = Counter(of.nodes.values())
        found = of.against([1 / on[of.nodes[pod]] for pod in of.counts])
        even = "; as many pods on each node, so as without a split" if len({*on.values()}) == 1 else ""
        return found.uneven, f"{_p(found.uneven)} with {_sum(on.values())} pods on the nodes{even}"
    if of.pods > PLACED:
        return None, "which pod is on which node? --nodes"
    best = (-1.0, 0.0, ())
    for sizes in _placements(values):  # on fewer nodes first
        found = of.against([1 / size for size in sizes for _ in range(size)])
        best = max(best, (found.uneven, -found.square, sizes))
        if found.uneven >= FITS:
            break
    p, _, sizes = best
    told = f"with {_sum(sizes)} pods on nodes {_p(p)}, the best of all placements; --nodes tests yours"
    return p, told if len(sizes) > 1 else "only with as many pods on each node, so as without a split"


def _placements(values: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The numbers of pods on 1, 2, ... nodes that fit best, the busiest pods on the nodes with the fewest."""
    n, squares = len(values), [0, *accumulate(v * v for v in values)]
    best = [(size * squares[size], (size,)) for size in range(n + 1)]
    for nodes in range(1, n + 1):
        yield best[n][1]
        cost = lambda i, j: (best[i][0] + (j - i) * (squares[j] - squares[i]), (*best[i][1], j - i))  # noqa: B023, E731
        best = [min((cost(i, j) for i in range(nodes, j)), default=(math.inf, ())) for j in range(n + 1)]


def _attract(of: Fingerprint, values: Sequence[int]) -> Finding:
    n, total = of.pods, of.requests
    if of.test.uneven >= FITS:
        return None, "no pod stands out"
    for k in range(1, min(max(1, n // 3), 10) + 1):
        rest = (total - sum(values[:k])) / (n - k)
        p = of.against([*values[:k], *[rest] * (n - k)]).uneven
        if p >= FITS:
            break
    hot, most = sum(values[:k]), 1 - (n - k) * (n - k - 1) / n / (n - 1)
    capped = pearson([hot, total - hot], [most, 1 - most]).uneven if hot / total > most else 1.0
    told = f"the busiest {k} of {n} get {hot / total:.0%}, of two choices at most {most:.0%} ({_p(capped)})"
    return min(p, capped), f"{told}; the others are even with {_p(p)}"


def _square(values: Sequence[int], shares: Sequence[float]) -> float:
    return sum(v * v / share for v, share in zip(values, shares, strict=True)) * sum(shares)


def _sum(sizes: Iterable[int]) -> str:
    return "+".join(map(str, sorted(sizes, reverse=True)))
