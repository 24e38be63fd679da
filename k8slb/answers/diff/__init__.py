"""What changes for requests if one cluster becomes another: a pull request, another controller, another proxy mode.

Both are asked the same questions, found from the rules of both (`compare.probes`) and from every Service port. Nothing
is sampled: shares are exact, or said to depend on load.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from ... import path
from ...cluster import Cluster, grouped
from ...decision import Place, Timeline
from ...errors import NotModelled, Tell, silent
from ...layers.mesh.members import member_at
from ...objects import HTTPRoute, Ingress, Pod
from ...routes import takers
from ...traffic import flow_of
from ..compare import MAX_PROBES, Answer, Probe, answered, askable, left_out, probes
from ..explain import findings
from ..ways import Share, summed
from .hops import MASKED, Ends, reached
from .replaced import replaced
from .told import BAD, CUT, KINDS, LOAD, SHARES, STAY, TABLE, Change, Difference, percent

MAX_ASKED = 10_000  # questions to Services in all: so many ports, from so many nodes each
HTTP = re.compile("http(?!s)|h2c|grpc|web(?!hook|secure)|kubernetes.io/h2c")
FIELDS, STAYS, NOTES = (TABLE[name] for name in ("fields", "stay", "notes"))
ELSEWHERE, GONE = ("elsewhere", "other shares"), "redirect gone"


class Door(NamedTuple):
    """A Service port, asked "from inside" (a client on each node), "at its load balancer" or "at its node port"."""

    scheme: str
    name: str
    namespace: str
    port: int
    kind: str

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.name}.{self.namespace}:{self.port}"

    def __str__(self) -> str:
        return f"{self.url} {self.kind}"


class Given(NamedTuple):
    """A URL of somebody's own that a client pod at `place` asks."""

    url: str
    place: Place

    def __str__(self) -> str:
        return f"{self.url} from {self.place}"


class Side(NamedTuple):
    """What one cluster answers to a question; `answer` is to a URL asked from outside, `rule` is FILE:LINE."""

    ways: Ends
    answer: Answer | None = None
    rule: str = ""
    behind: frozenset[str] = frozenset()  # the pods behind a Service, ready or not

    def of(self, name: str) -> dict[str, Share]:
        """The share of each value of a gist's field."""
        return summed((getattr(g, name), s) for g, s in self.answer.shares.items()) if self.answer else {}

    def __str__(self) -> str:
        mixed = self.answer is None or len(self.ways.parts) > 1
        told = f"{self.ways}" + "".join(f" ({b})" for b in self.of("backend") if b) if mixed else str(self.answer)
        return told + (f" ({self.rule})" if self.rule else "")


def difference(before: Cluster, after: Cluster, urls: Sequence[str] = (), progress: Tell = silent) -> Difference:
    """What changes for requests when `before` becomes `after`: for the URLs that the rules of either name, for `urls`,
    and for every Service port. InputError where one of `urls` is none."""
    views, notes, compared = (before, after), [], []
    progress("finding out what to ask")
    touched, doors = _touched(views), _doors(views)
    given = [_given(views, url) for url in dict.fromkeys(urls)]
    found = list({str(p): p for v in views for p in probes(v) if p.headers or p.url not in urls}.values())
    rank = sorted(found, key=lambda p: (not touched(p), bool(p.what)))
    asked = [*sorted(doors, key=lambda d: not touched(d))[:MAX_PROBES], *given, *rank[:MAX_PROBES]]
    for what, more in (("URLs", len(rank) - MAX_PROBES), ("Service ports", len(doors) - MAX_PROBES)):
        notes += [NOTES["left out"].format(more, what)] * (more > 0)
    callers, most = max(1, MAX_ASKED // min(len(doors) or 1, MAX_PROBES)), max(len(v.nodes) for v in views)
    notes += [NOTES["callers"].format(callers, most)] * (callers < most)
    notes += [NOTES["pods"]] * (bool(before.of(Pod)) != bool(after.of(Pod)))
    ends, unknown = replaced(before, after), Counter[str]()
    for i, one in enumerate(asked):
        progress(f"asking {i + 1:,} of {len(asked):,}")
        sides = [_side(v, one, callers) for v in views]
        compared += _compared(one, *sides, ends)
        unknown[sides[1].ways.why] += not any(side.ways.shares for side in sides)
    for when, one, other in (("before", before, after), ("after", after, before)):
        lacks = (a for a in one.assumptions if a.startswith("no pods of") and a not in other.assumptions)
        notes += [NOTES["assumed"].format(when, a) for a in lacks]
    notes += [f"{n:,} {why}" for why, n in unknown.items() if n]
    compared += _found(*(findings(v, progress) for v in views))
    merged = [
        alike[0]._replace(asked=tuple(c.asked[0] for c in alike[:3]), count=len(alike))
        for alike in grouped(compared).values()
    ]
    counts = {"URLs": sum(not isinstance(a, Door) for a in asked), "Service ports": min(len(doors), MAX_PROBES)}
    counts |= {"pods": len({p.key for v in views for p in v.pods})}
    counts |= {"not modelled": unknown.total()} if unknown.total() else {}
    return Difference(tuple(sorted(merged, key=lambda c: (KINDS.index(c.what), -c.count))), counts, tuple(notes))


# --- the questions ---------------------------------------------------------------------------------------------------


def _given(views: Sequence[Cluster], url: str) -> Given | Probe:
    """A URL as it is asked where nobody is named: a Service's name from a pod, in both clusters."""
    inside = [start.place for start in (path.start(v, url) for v in views) if start.place.kind == "pod"]
    return Given(url, inside[0]) if inside else Probe(url)


def _doors(views: Sequence[Cluster]) -> list[Door]:
    """Every port of every Service that the input of one of them has, but for doors to the rules, which the URLs ask:
    those that lead to the replicas of a controller or a Gateway of either."""
    found: dict[tuple, Door] = {}
    proxies = [c for v in views for c in (*v.controllers.values(), *v.gateways.values())]
    replicas = {(p.namespace, p.name) for c in proxies for p in c.pods}
    unasked = {c.service.key for c in proxies if c.service} | {o.key for v in views for o in v.running.assumed}
    for view in views:
        every = ((s, e) for s in view.services.values() for x in view.slices(s) for e in x.endpoints)
        unasked |= {s.key for s, e in every if (s.namespace, e.targetRef.name) in replicas}
    for view in views:
        for s in (s for s in view.services.values() if s.key not in unasked):
            for p in s.spec.ports:
                web = HTTP.match(p.appProtocol or p.name or ("http" if p.port in (80, 8080) else ""))
                scheme = "http" if web and p.protocol == "TCP" else p.protocol.lower()
                outside = {"LoadBalancer": ["at its load balancer"], "NodePort": ["at its node port"]}
                for kind in ["from inside", *outside.get(s.spec.type, ())]:
                    door = Door(scheme, s.name, s.namespace, p.port, kind)
                    found.setdefault((*s.key, p.port, p.protocol, kind), door)
    return [door for door in found.values() if askable(door.url)]


def _starts(view: Cluster, door: Door | Given | Probe, callers: int) -> list[path.Start]:
    """Where a question sets out, each as likely."""
    if isinstance(door, Probe):
        return [path.start(view, door.url, "external", headers=dict(door.headers))]
    if isinstance(door, Given):
        return [path.Start(door.place, replace(flow_of(door.url), source=path.client_address(view)))]
    service, nodes = view.services.get((door.namespace, door.name)), view.nodes[:callers]
    if door.kind == "from inside":
        place = Place("pod", f"{door.namespace}/client")
        flow = replace(flow_of(door.url), source=path.client_address(view))
        return [
            path.Start(place, flow, v) for v in ([None] if member_at(view, place).mesh else [n.name for n in nodes])
        ]
    protocol = "TCP" if door.scheme == "http" else door.scheme.upper()
    ports = [p for p in service.spec.ports if (p.port, p.protocol) == (door.port, protocol)] if service else []
    to = [(i.ip or i.hostname, p.port) for p in ports for i in service.status.loadBalancer.ingress]
    if door.kind == "at its node port":
        to = [(n.address, p.nodePort) for p in ports if p.nodePort for n in nodes]
    urls = (f"{door.scheme}://{address}:{port}" for address, port in to)
    return [path.start(view, url, "external") for url in filter(askable, urls)]


def _touched(views: Sequence[Cluster]) -> Callable[[Door | Probe], bool]:
    """Whether a question is about a rule or a Service that is not the same on both sides: these are asked first."""

    def behind(view: Cluster, key: tuple[str, str]) -> str:
        service = view.services.get(key)
        return repr((service.spec, view.slices(service))) if service else ""

    keys = {key for v in views for key in v.services}
    services = {key for key in keys if len({behind(v, key) for v in views}) > 1}
    names, hosts = {name for _, name in services}, set[str]()
    routes = [{o.key: o for o in v.of(Ingress, HTTPRoute)} for v in views]
    for one, other in ((r.get(key), s.get(key)) for r, s in (routes, routes[::-1]) for key in r):
        if one != other or names.intersection(re.findall("'([^']+)'", str(one.raw))):
            hosts |= {r.host for r in one.spec.rules} if isinstance(one, Ingress) else {*(one.spec.hostnames or ("",))}

    def touched(asked: Door | Probe) -> bool:
        if isinstance(asked, Door):
            return (asked.namespace, asked.name) in services
        return not hosts.isdisjoint(takers(asked.url.split("/")[2]))

    return touched


# --- the answers -----------------------------------------------------------------------------------------------------


def _side(view: Cluster, asked: Door | Given | Probe, callers: int) -> Side:
    """What a cluster answers."""
    told, behind = None, []
    try:
        every = [path.met(Timeline.still(view), begin) for begin in _starts(view, asked, callers)]
        went, told = reached(view, every), answered(every[0]) if isinstance(asked, Probe) else None
    except NotModelled as left:
        told = left_out(left)
        went = Ends({}, why=str(told))
    if isinstance(asked, Probe):
        return Side(went, told, ", ".join(dict.fromkeys(g.rule for g in told.shares if g.rule)))
    service = view.services.get((asked.namespace, asked.name)) if isinstance(asked, Door) else None
    if service:
        behind = [f"{service.namespace}/{e.targetRef.name}" for s in view.slices(service) for e in s.endpoints]
    return Side(went, None, service.origin.place if service and service.origin.file else "", frozenset(behind))


def _kind(before: Side, after: Side) -> str:
    """What changed, of `KINDS`; "" for nothing."""
    if not (before.ways.shares and after.ways.shares):
        return "" if before.ways == after.ways else "not modelled"
    a, b = before.ways.parts, after.ways.parts
    for kind in (*BAD, ""):
        if kind in b and (kind not in a or (None not in (a[kind], b[kind]) and b[kind] > a[kind])):
            return f"{'more' if kind in a else 'newly'} {kind or 'answered'}"
    one, other = before.of("backend"), after.of("backend")
    if one != other and before.ways.pods != after.ways.pods and "" not in {*one, *other}:
        return "other shares" if one.keys() == other.keys() else "elsewhere"
    for name, kind in FIELDS.items():
        one, other = before.of(name), after.of(name)
        if one != other and (name != "path" or "" not in {*one, *other}):  # which is empty where a pod refused
            return GONE if name == "location" and not any(other) else kind
    statuses = ({what.split()[-1] for k, what in s.ways.shares if k in ("answered", "failed")} for s in (before, after))
    return "another status" if len({*map(frozenset, statuses)}) > 1 else ""


def _compared(
    one: Door | Given | Probe, before: Side, after: Side, ends: dict[str, str]
) -> Iterator[tuple[tuple, Change]]:
    """What differs, each with what is the same where it is one change."""
    asked, (a, b) = (str(one),), (before.ways, after.ways)
    both = {pod: (a.pods.get(pod, Fraction(0)), b.pods.get(pod, Fraction(0))) for pod in sorted({*a.pods, *b.pods})}
    if kind := _kind(before, after):
        alike = [
            (s.rule, tuple((g.backend, g.status) for g in s.answer.shares) if s.answer else one)
            for s in (before, after)
        ]
        yield (kind, *alike), Change(kind, asked, 1, str(before), str(after), both if kind in ELSEWHERE else {})
    gone = {
        CUT: [p for p in a.pods if p in ends],
        STAY: [p for p in a.pods if p in before.behind - after.behind and p not in ends],
    }
    for what, left in gone.items() if isinstance(one, Door) else ():
        if left:
            share = summed(("", a.pods[pod]) for pod in left)[""]
            why = "; ".join(
                dict.fromkeys(ends.get(pod, STAYS["udp" if one.scheme == "udp" else "tcp"]) for pod in left)
            )
            pods = {pod: (a.pods[pod], Fraction(0)) for pod in left}
            yield (what, why, str(pods)), Change(what, asked, 1, percent(share), why, pods)
    if not (a.pods and b.pods) or kind in ELSEWHERE:  # other pods, so other hops and other balancers
        return
    rows = [(SHARES, *(hottest(w) for w in (a, b)), both)] if a.pods != b.pods else []
    between = dict.fromkeys(zip(_often(a.moves), _often(b.moves), strict=True))
    names = ("nodes and zones",) if len(between) == 1 else ("nodes", "zones")  # told once where they are alike
    rows += [(f"hops between {x}", *told, {}) for x, told in zip(names, between, strict=True) if told[0] != told[1]]
    seen = [TABLE["client"][MASKED in w.picks] for w in (a, b)]
    rows += [("client's address", *seen, {})] * (seen[0] != seen[1])
    picks = [" + ".join(sorted(w.picks - {MASKED})) for w in (a, b)]
    rows += [("balanced by", *picks, {})] * (picks[0] != picks[1])
    for what, *told, pods in rows:
        yield (what, *told, str(pods)), Change(what, asked, 1, *told, pods)


def hottest(of: Ends) -> str:
    """How many pods get any, and the largest share over the fair one."""
    some = [share for share in of.pods.values() if share != 0]
    told = f"{len(some)} pod{'s' * (len(some) != 1)}"
    if None in some:
        return f"{told}; {of.why}"
    over = max(some) * len(some) / sum(some)
    return told + (f"; hottest: {float(over):.3g} x fair share" if over > 1 else "; all alike" * (len(some) > 1))


def _often(moves: Sequence[Fraction]) -> list[str]:
    """How often a request goes to another node, to another zone."""
    return [f"{float(n):.3g} a request" + f" ({n})" * (n.denominator > 1) for n in moves] or [LOAD] * 2


def _found(before: Iterable, after: Iterable) -> Iterator[tuple[tuple, Change]]:
    """The findings that come and go; lines move, so a finding is known by what it says."""
    place = re.compile(r"(?<![^\s:])[^\s:]+:\d+")
    old, new = ({(f.id, place.sub("", f.what)): f for f in some} for some in (before, after))
    for key, f in {**old, **new}.items():
        told = f"{f.level}: {f.consequence} ({f.place})"
        if (key in old) != (key in new):
            yield key, Change("findings", (f.what,), 1, *((told, "gone") if key in old else ("none", told)))
