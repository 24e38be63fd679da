"""Which URLs get another answer? What is worth asking of a cluster's routes, and what several clusters answer."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cache, lru_cache
from itertools import product
from typing import Any, NamedTuple

from .. import path
from ..cluster import Cluster
from ..decision import Timeline
from ..errors import InputError, NotModelled, one_line
from ..layers.ingress.match import routes_by_host
from ..layers.ingress.nginx_annotations import annotation
from ..manifests import table_of
from ..objects import Gateway, HTTPRoute, Ingress
from ..routes import takers
from ..traffic import flow_of
from .trace import FAILED
from .ways import Share, Way, summed, ways

Headers = tuple[tuple[str, str], ...]
MAX_PROBES = 2_000
NOWHERE = "elsewhere.example"  # a host that no route names
TABLE = table_of("probes")
ANY = f"http://{'a' * 253}"  # the longest host
GIST = ("backend", "path", "location", "certificate")


class Probe(NamedTuple):
    """A question: the URL and headers to ask with. `what` says how it differs from a path that a route names."""

    url: str
    headers: Headers = ()
    what: str = ""

    def __str__(self) -> str:
        return self.url + "".join(f" -H '{k}: {v}'" for k, v in self.headers)


@dataclass(frozen=True)
class Gist:
    """What one trace comes to. `backend` is NAMESPACE/NAME:PORT, `path` what the pod receives, `rule` the FILE:LINE
    that decided (it makes no difference between answers), `failed` why nobody answers, or what is not modelled."""

    status: int | None = None
    backend: str = ""
    path: str = ""
    location: str = ""
    certificate: str = ""
    failed: str = ""
    rule: str = field(default="", compare=False)

    def __str__(self) -> str:
        words = [self.failed or str(self.status or "open"), self.backend, f"gets {self.path}" if self.path else ""]
        words += [f"to {self.location}" if self.location else "", f"[{self.certificate}]" if self.certificate else ""]
        return " ".join(filter(None, words))


@dataclass(frozen=True)
class Answer:
    """The exact share of each gist (None: it depends on load): one, or several where a route weighs backends, or some
    of the pods fail."""

    shares: Mapping[Gist, Share]

    def __str__(self) -> str:
        several = len(self.shares) > 1
        told = (f"{share or 'some'} {gist}" if several else str(gist) for gist, share in self.shares.items())
        return "; ".join(told)

    def to_dict(self) -> dict[str, Any]:
        shares = ((gist, share if share is None else str(share)) for gist, share in self.shares.items())
        return {"answers": [{"share": share, **asdict(gist)} for gist, share in shares]}


@dataclass(frozen=True)
class Comparison:
    """The answers (of each cluster, in the order of `names`) to each probe; `left_out` probes were not asked."""

    names: tuple[str, ...]
    rows: tuple[tuple[Probe, tuple[Answer, ...]], ...]
    left_out: int = 0

    @property
    def differing(self) -> "Comparison":
        """The rows whose answers are not all alike. What is not modelled is unlike any answer."""
        return replace(self, rows=tuple(r for r in self.rows if any(a != r[1][0] for a in r[1])))

    def told(self, probe: Probe, answers: Iterable[Answer]) -> str:
        """One row: the URL, and below it what each cluster answers."""
        wide = max(map(len, self.names)) + 1
        lines = (f"    {name + ':':{wide}} {a}" for name, a in zip(self.names, answers, strict=True))
        return "\n".join(map(one_line, [str(probe), *lines]))

    def counted(self, count: int, what: str) -> str:
        more = f"; {self.left_out:,} more were not asked" if self.left_out else ""
        return f"{count:,} {what}{more}"

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON."""
        rows = []
        for p, answers in self.rows:
            told = {name: a.to_dict() for name, a in zip(self.names, answers, strict=True)}
            rows.append({"url": p.url, "headers": dict(p.headers), "what": p.what, "clusters": told})
        return {"rows": rows, "differing": len(self.differing.rows), "left_out": self.left_out}

    def __str__(self) -> str:
        said = self.counted(len(self.differing.rows), f"of {len(self.rows):,} URLs get different answers")
        return "\n".join([*(self.told(*row) for row in self.rows), said])

    __repr__ = __str__


def compare(clusters: Mapping[str, Cluster], urls: Iterable[str | Probe] | None = None) -> Comparison:
    """What each of the clusters answers to each of `urls` (None: to the `probes` of all, at most 2,000)."""
    if not isinstance(clusters, Mapping) or not clusters:
        raise InputError("nothing to compare", expected="{NAME: CLUSTER, ...}")
    asked = urls if urls is not None else (p for c in clusters.values() for p in probes(c))
    unique: dict[str, Probe] = {}
    for probe in (p if isinstance(p, Probe) else Probe(p) for p in asked):
        unique.setdefault(str(probe), probe)
    some = list(unique.values())[: MAX_PROBES if urls is None else None]
    rows = ((p, tuple(answer(c, p.url, dict(p.headers)) for c in clusters.values())) for p in some)
    return Comparison(tuple(clusters), tuple(rows), len(unique) - len(some))


# --- one answer ------------------------------------------------------------------------------------------------------


def answer(cluster: Cluster, url: str, headers: Mapping[str, str] | None = None) -> Answer:
    """What becomes of `url`, asked from outside; what is not modelled is said in it. InputError for no URL."""
    begin = path.start(cluster, url, "external", None, "GET", headers)
    try:
        return answered(path.met(Timeline.still(cluster), begin))
    except NotModelled as told:
        return left_out(told)


def answered(met: Sequence[path.Met]) -> Answer:
    """The gists of a request that can meet these decisions. NotModelled as `ways`."""
    encrypted = (request := met[-1].decision.flow.request) and request.scheme == "https"
    return Answer(summed((_gist(way, bool(encrypted)), way.share) for way in ways(met, GIST).found))


def left_out(told: NotModelled) -> Answer:
    """The answer where that is not modelled; what is known besides is told by a trace."""
    return Answer({Gist(failed=": ".join(str(told).split(": ")[:2])): Fraction(1)})


def _gist(way: Way, encrypted: bool) -> Gist:
    facts, rule = way.facts, re.search(r"\(([^()]+:\d+)\)", "\n".join(way.why))  # it names FILE:LINE
    return Gist(
        int(facts["status"]) if facts["status"].isdigit() else None,
        facts.get("backend", ""),
        facts.get("path", ""),
        re.sub(r"^(\w+://[^/]+)$", r"\1/", facts.get("location", "")),  # which is the same to a client
        facts.get("certificate", "") if encrypted else "",
        FAILED.get(facts["action"], ""),
        rule[1] if rule else "",
    )


# --- what to ask -----------------------------------------------------------------------------------------------------


def probes(view: Cluster) -> list[Probe]:
    """The URLs at which two readings of the Ingresses and HTTPRoutes of `view` could part, each once: the paths they
    name first, then each path as it could be mistaken."""
    encrypted = {h for i in view.of(Ingress) for tls in i.spec.tls for h in tls.hosts}
    encrypted |= {x.hostname for g in view.of(Gateway) for x in g.spec.listeners if x.tls}
    found: dict[Probe, str] = {}
    asks = cache(askable)  # each host and each path
    for host, path_, brought in [*_routed(view), ("", "/", ())]:
        for name, unlike in _hosts(host):
            schemes = ("http", "https") if encrypted.intersection(takers(name)) else ("http",)
            asked = [(p, what, ()) for p, what in mistaken(path_).items() if not (what and unlike)]
            asked += [(asked[0][0], "", headers) for headers in brought]
            for scheme, (p, what, headers) in product(schemes, asked):
                if asks(f"{scheme}://{name}/") and asks(ANY + p, headers):
                    found.setdefault(Probe(f"{scheme}://{name}{p}", headers), unlike or what)
    told = (probe._replace(what=what) for probe, what in found.items())
    return sorted(told, key=lambda probe: bool(probe.what))


def askable(url: str, headers: Headers = ()) -> bool:
    """Whether a client can ask it: manifests may hold names, paths and headers that nobody can send."""
    try:
        return flow_of(url, "GET", dict(headers)) is not None
    except InputError:
        return False


def _routed(view: Cluster) -> Iterator[tuple[str, str, Sequence[Headers]]]:
    """(host, path, the headers that matter) of every rule."""
    for host, routes in routes_by_host(view.of(Ingress)).items():
        yield from ((host, r.path or "/", _canary_headers(r.ingress)) for r in routes)
    for one in view.of(HTTPRoute):
        for host, rule in product(one.spec.hostnames or ("",), one.spec.rules):
            for of in rule.matches:
                headers = tuple((h.name, h.value) for h in of.headers if h.type == "Exact")
                yield host, of.path.value, (headers,) if headers else ()


def _canary_headers(ingress: Ingress) -> list[Headers]:
    """The headers by which a canary of ingress-nginx is chosen."""
    name, value, cookie = (annotation(ingress, f"canary-by-{x}") for x in ("header", "header-value", "cookie"))
    wanted = [(name, v) for v in (value, "always", "never") if name and v]
    return [(one,) for one in wanted + [("Cookie", f"{cookie}={v}") for v in ("always", "never") if cookie]]


def _hosts(host: str) -> list[tuple[str, str]]:
    """(a host to ask, how it is unlike the one named)."""
    if not host.startswith("*."):
        return [(host or NOWHERE, "")]
    parent = host[2:]
    return [(f"a.{parent}", ""), (f"b.a.{parent}", "two labels for *"), (parent, "no label for *")]


@lru_cache(10_000)
def mistaken(path_: str) -> dict[str, str]:
    """The paths to ask about a rule's path, each with how it is unlike: the first is what the rule means."""
    sample = path_  # what a regular expression takes; of another path, what it would take as one
    for pattern, text in TABLE["sample"]:
        sample = re.sub(pattern, text, sample)
    base = sample if re.search(TABLE["expression"], path_) else path_
    asked = {base: ""} | {re.sub(pattern, text, base, count=1): what for pattern, text, what in TABLE["mistaken"]}
    asked |= {base.swapcase(): "other case", sample: "any character for a dot"}
    asked[re.sub("[A-Za-z]", lambda m: f"%{ord(m[0]):02X}", base, count=1)] = "an encoded letter"
    return {p: "" if p == base else what for p, what in asked.items() if p.startswith("/")}
