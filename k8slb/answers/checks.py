"""Does what a file of cases expects come true? (`k8slb test`)

The file is YAML or JSON: a list of cases, or one case a document. A case is a mapping of `url`, `expect`, and what it
needs of: `name` (a title); `from`, `via`, `method`, `headers` (as of a trace); `given`, edits of the cluster that come
before, a list of {scale: {name: order, replicas: 5}} and the like. `expect` holds any of:

- status, action, backend (NAMESPACE/NAME:PORT, a part left out is any), path (what the pod receives), location,
  certificate, controller, source_seen, pod (name or IP:PORT; * stands for anything). These are checked against all that
  can become of the request, so that no case passes by luck: a value has to hold always; of a list one has to; null is
  none; a mapping says how often, exactly: {default/new:80: "1/10"}. `shares` is another name for pod.
- hottest, pods (how many got any), lost (requests that nobody answered, or "0.1%" of them), mean, p50, p95, p99, max.
  For these the case is sent, as it is for one of `requests`, `connections`, `clients`, `rate`, `duration`, `arrivals`,
  `think`, `behind_nat`, `max_age` (as of `Cluster.send`, with `seed`), or `change: {rollout: {name: order}}` meanwhile;
  status and pod are then those of the requests sent.

A number is equality; a text compares: "<= 1.5", ">= 99%", "< 200ms", or "> 1, < 2" for both. The names and forms stand
in data/checks.json.
"""

import difflib
import operator
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import partial, reduce
from itertools import islice
from os import PathLike
from typing import Any, NamedTuple
from xml.etree import ElementTree

from .. import path
from ..cluster import Cluster
from ..decision import Timeline
from ..errors import InputError, K8slbError, NotModelled, Tell, annotation, one_line, shown, silent
from ..layers.ingress.match import routes_by_host
from ..manifests import dotted, read_bounded, table_of, text_of
from ..objects import HTTPRoute, Ingress
from ..positions import UNKNOWN, Origin, Path, Source
from ..reader import Document, read
from ..traffic import flow_of
from .ways import Way, ways

MOST, MOST_BYTES, TABLE = 100_000, 100_000_000, table_of("checks")  # MOST cases
FIELDS, EXPECT, KINDS = TABLE["case"], TABLE["expect"], TABLE["kinds"]
NUMBERS = {"a measure", "a count", "a time"}
SENT = {"a status", "a pod", *NUMBERS}  # what the requests that are sent say
OPS = {"<=": operator.le, ">=": operator.ge, "!=": operator.ne, "<": operator.lt, ">": operator.gt}
UNITS = {"%": Fraction(1, 100), "ms": Fraction(1, 1000), "us": Fraction(1, 10**6)}


class Figure(NamedTuple):
    """One expectation (`what` is its key) and what was found, as texts; `holds`: whether it is so, else `why` not."""

    what: str
    expected: str
    found: str
    holds: bool
    why: tuple[str, ...]


class Row(NamedTuple):
    """One case. `result`: ok, FAIL, or ERROR where it could not be told, and then `error` says why."""

    file: str
    line: int
    name: str
    url: str
    result: str
    figures: tuple[Figure, ...] = ()
    error: str = ""

    @property
    def told(self) -> str:
        """Of a case that is ok all that was found; else what is not as expected, and why."""
        if self.result == "ok":
            return one_line(", ".join(f"{f.what} {f.found}" for f in self.figures))
        wrong = [f"{f.what}: expected {f.expected}, is {f.found}" for f in self.figures if not f.holds]
        whys = dict.fromkeys(f"because {why}" for f in self.figures for why in f.why)
        return "\n".join(map(one_line, [self.error] if self.error else [*wrong, *whys]))

    def __str__(self) -> str:
        told = f": {self.told}" if self.result == "ok" else f"\n{self.told}".replace("\n", "\n      ")
        return f"{self.result:<5} {self.file}:{self.line}  {self.name}{told}"


class Report(NamedTuple):
    """What came of each case, in the order of the file; `untested`: (FILE:LINE, whose it is) of the paths of Ingresses
    and HTTPRoutes by which no case came."""

    rows: tuple[Row, ...]
    untested: tuple[tuple[str, str], ...] = ()

    @property
    def passed(self) -> bool:
        return all(row.result == "ok" for row in self.rows)

    @property
    def summary(self) -> str:
        ok, failed, untold = ([row.result for row in self.rows].count(x) for x in ("ok", "FAIL", "ERROR"))
        cases = f"{len(self.rows):,} case{'s' * (len(self.rows) > 1)}"
        return f"{cases}: {ok:,} ok, {failed:,} failed, {untold:,} could not be told"

    def __str__(self) -> str:
        lines = [*map(str, sorted(self.rows, key=lambda row: row.result != "ok")), self.summary]
        more = f"no case came by {len(self.untested):,} of the paths in the manifests:"
        lines += [more] * bool(self.untested) + [one_line(f"  {place}  {what}") for place, what in self.untested[:5]]
        return "\n".join(lines + [f"  and {len(self.untested) - 5:,} more"] * (len(self.untested) > 5))

    __repr__ = __str__

    @property
    def github(self) -> str:
        """An error annotation of GitHub Actions for each case that is not ok, then the summary."""
        wrong = (row for row in self.rows if row.result != "ok")
        told = (annotation("error", r.told, file=r.file, line=r.line, title=f"{r.result} {r.name}") for r in wrong)
        return "\n".join([*told, self.summary])

    @property
    def junit(self) -> str:
        """JUnit XML as GitLab, Jenkins and GitHub's actions read it. No two cases have the same name: GitLab would
        leave out the second."""
        results, names = [row.result for row in self.rows], Counter[str]()
        counts = {"tests": len(results), "failures": results.count("FAIL"), "errors": results.count("ERROR")}
        root = _element(None, "testsuites", name="k8slb test", **counts)
        suite = _element(root, "testsuite", name=self.rows[0].file, **counts)
        for row in self.rows:
            names[row.name] += 1
            name = row.name + f" #{names[row.name]}" * (names[row.name] > 1)
            case = _element(suite, "testcase", classname=row.file, name=name, file=row.file, line=row.line, time=0)
            if row.result != "ok":
                kind = "failure" if row.result == "FAIL" else "error"
                _element(case, kind, message=row.told.partition("\n")[0], type=kind).text = row.told
        ElementTree.indent(root)
        return ElementTree.tostring(root, "unicode", xml_declaration=True)

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON: passed, cases (the fields of a Row, its figures with those of a Figure), untested."""
        cases = [row._asdict() | {"figures": [f._asdict() for f in row.figures]} for row in self.rows]
        untested = [{"rule": place, "what": what} for place, what in self.untested]
        return {"passed": self.passed, "cases": cases, "untested": untested}


def _element(parent: Any, tag: str, **given: Any) -> Any:
    """An element of XML, which cannot hold control characters."""
    given = {name: one_line(value) for name, value in given.items()}
    return ElementTree.Element(tag, given) if parent is None else ElementTree.SubElement(parent, tag, given)


# --- the file --------------------------------------------------------------------------------------------------------


def _cases(given: Any) -> Iterator[tuple[Origin, Path, dict[str, Any]]]:
    """(origin, where in it, the case) of each, found to be right."""
    if isinstance(given, (str, PathLike)):
        name = str(given)
        try:
            with open(given, "rb") as file:
                raw = read_bounded(file, MOST_BYTES)
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", expected="a file of cases", file=name) from None
        if len(raw) > MOST_BYTES:
            raise InputError("is too large", expected=f"at most {MOST_BYTES:,} bytes", file=name)
        given = Source(name, text_of(raw, name))
    for document in read(given) if isinstance(given, Source) else [Document(given, UNKNOWN)]:
        value, origin = document.value, document.origin
        cases = {(i,): case for i, case in enumerate(value)} if isinstance(value, list) else {(): value}
        for at, case in cases.items() if value is not None else ():
            for below, problem, expected in _wrong(case):
                line = origin.line_of((*at, *below))
                raise InputError(problem, expected=expected, file=origin.file, line=line, field=dotted(below))
            yield origin, at, case


def _wrong(case: Any) -> Iterator[tuple[Path, str, str]]:
    """(where, what is wrong, what was expected) of a case."""
    if not isinstance(case, dict):
        yield (), f"is no case but {shown(case)}", "a mapping with url and expect"
    for name in (*case, "url", "expect"):
        if name not in FIELDS:
            yield (name,), "is no field of a case", _near(str(name), FIELDS)
        if name not in case:
            yield (), f"has no {name}", "a case with url and expect"
        if not _fits(FIELDS[name], case[name]):
            yield (name,), f"cannot be {shown(case[name])}", KINDS[FIELDS[name]][2]
    if not case["expect"]:
        yield ("expect",), "is empty, so nothing can fail", _near("", EXPECT)
    for what, wanted in case["expect"].items():
        if what not in EXPECT:
            yield ("expect", what), "is nothing that can be expected", _near(str(what), EXPECT)
        if not all(_fits(EXPECT[what], one) for one in _values(wanted) or [()]):
            yield ("expect", what), f"cannot be {shown(wanted)}", KINDS[EXPECT[what]][2]
        if isinstance(wanted, dict) and not all(_fits("a share", one) for one in wanted.values()):
            yield ("expect", what), f"cannot be {shown(wanted)}", KINDS["a share"][2]
    try:
        flow_of(case["url"], case.get("method", "GET"), case.get("headers"))
    except InputError as error:
        yield (), error.problem, error.expected


def _near(name: str, names: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(name, names, 1)), "one of " + ", ".join(names))


def _values(wanted: Any) -> list[Any]:
    return list(wanted) if isinstance(wanted, (list, dict)) else [wanted]


def _fits(kind: str, value: Any) -> bool:
    types, form, _ = KINDS[kind]
    return type(value).__name__ in types.split() and (value is None or bool(re.fullmatch(form, str(value))))


# --- asking ----------------------------------------------------------------------------------------------------------


def run(cluster: Cluster, cases: Any, progress: Tell = silent) -> Report:
    """Ask every case of a file (its path, a Source, or a list of cases). InputError where the file is wrong; what
    cannot be told of one case is that case's ERROR."""
    asked = list(islice(_cases(cases), MOST + 1))
    if not 0 < len(asked) <= MOST:
        problem, file = f"holds {'too many cases' if asked else 'no case'}", getattr(cases, "file", str(cases))
        raise InputError(problem, expected=f"a list of {{url: ..., expect: {{...}}}}, at most {MOST:,}", file=file)
    seen, rows, edited = set[str](), [], {"[]": cluster}
    for number, (origin, at, case) in enumerate(asked, 1):
        progress(f"asking case {number:,} of {len(asked):,}")
        name = " ".join([case["url"], *(f"{k} {case[k]}" for k in TABLE["question"] if k in case)])
        name = f"{case['name']} ({name})" if "name" in case else name
        try:
            if (edits := repr(case.get("given", []))) not in edited:
                edited[edits] = reduce(partial(_called, "given"), case["given"], cluster)
            figures, error = tuple(_figures(edited[edits], case, seen)), ""
            result = "ok" if all(f.holds for f in figures) else "FAIL"
        except K8slbError as told:
            result, figures, error = "ERROR", (), str(told)
        rows.append(Row(one_line(origin.file), origin.line_of(at), one_line(name), case["url"], result, figures, error))
    return Report(tuple(rows), tuple(_untested(cluster, seen)))


def _called(field: str, of: Any, step: Any) -> Any:
    """What one of a cluster's own methods gives: {its name: its arguments}."""
    name, given = next(iter(step.items())) if isinstance(step, dict) and len(step) == 1 else (shown(step), None)
    if name not in TABLE[field] or not isinstance(given, dict):
        raise InputError(f"{name} is not known here", expected=f"{_near(name, TABLE[field])}: {{...}}", field=field)
    try:
        return getattr(of, name)(**given)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise InputError(f"{name} cannot be {shown(given)}: {error}", field=field) from None


def _figures(view: Cluster, case: Mapping[str, Any], seen: set[str]) -> Iterator[Figure]:
    """What is found of each expectation."""
    question, sending = ({k: case[k] for k in TABLE[name] if k in case} for name in ("question", "sending"))
    question["from_"], expect, run = question.pop("from", None), case["expect"], None
    begin = path.start(view, case["url"], **question)
    if sending.keys() - {"seed"} or "change" in case or any(EXPECT[what] in NUMBERS for what in expect):
        who = _called("change", view, case["change"]) if "change" in case else view
        run = who.send(case["url"], **question, **sending)
    names = {what: what.replace("shares", "pod") for what in expect}
    traced = {name for what, name in names.items() if not (run and EXPECT[what] in SENT)}
    found = []
    with suppress(*[] if traced else [NotModelled]):  # it is asked for `seen` as well
        met = path.met(Timeline.still(view), begin)
        seen |= {decision.why for decision, _ in met}
        found, unknown = ways(met, traced)
        if unknown:
            raise unknown
    for what, name in names.items():
        yield _figure(view, what, expect[what], name, found if name in traced else _sent(run, name))


def _sent(run: Any, what: str) -> list[Way]:
    """What became of the requests that were sent, as ways; of a measure (number, requests)."""
    counts = run.counts(what if what == "status" else "pod")
    if what in ("status", "pod"):
        counts[""] = run.requests - sum(counts.values())
        return [Way(Fraction(n, run.requests), {what: value}, (run.sentence,)) for value, n in counts.items() if n]
    of = run.latency if EXPECT[what] == "a time" else run
    number = sum(map(bool, counts.values())) if what == "pods" else getattr(of, what)
    value = (Fraction(f"{number:.9f}"), run.requests) if number == number else ""  # nan: no request was served
    return [Way(Fraction(1), {what: value}, (run.sentence,))]


def _figure(view: Cluster, what: str, wanted: Any, name: str, found: list[Way]) -> Figure:
    """An expectation beside all that can be of the fact that has this name."""
    kind, values, shares = EXPECT[what], _values(wanted), Counter()
    for way in found:
        shares[way.facts.get(name, "")] += way.share
    right = {value: [one for one in values if _alike(view, kind, one, value)] for value in shares}
    holds, expected = all(right.values()), " or ".join("none" if one is None else str(one) for one in values)
    if isinstance(wanted, dict):
        had = {one: sum((shares[value] for value in shares if one in right[value]), Fraction(0)) for one in wanted}
        holds = all(_compares(given, had[one]) for one, given in wanted.items())
        expected = ", ".join(f"{one}: {given}" for one, given in wanted.items())
    told = [_told(view, kind, value) for value in shares]
    if len(told) > 1:
        parts = (f"{float(s):.1%}" if s.denominator > 100 else str(s) for s in shares.values())
        told = list(map(" ".join, zip(parts, told, strict=True)))
    told = told[:6] + [f"{len(told) - 6:,} more"] * (len(told) > 6)
    blamed = [way for way in found if not right[way.facts.get(name, "")]] or found
    why = tuple(dict.fromkeys(why for way in blamed for why in way.why))[:4] if not holds else ()
    return Figure(what, expected, ", ".join(told), holds, why)


def _told(view: Cluster, kind: str, value: Any) -> str:
    if isinstance(value, tuple):
        number = float(value[0])
        return f"{1000 * number:,.4g} ms" if kind == "a time" else f"{number:,.3f}".removesuffix(".000")
    return f"{view.pod_name(value)} {value}".strip() if kind == "a pod" and value else value or "none"


def _alike(view: Cluster, kind: str, wanted: Any, value: Any) -> bool:
    if wanted is None or value == "":
        return wanted is None and value == ""
    if isinstance(value, tuple):
        return _compares(wanted, *value)
    if kind == "a status" and "open" not in (wanted, value):
        return value[0] == wanted[0] if str(wanted).endswith("xx") else _compares(wanted, Fraction(value))
    if kind == "a backend":
        space, name, port = re.split("[/:]", value)
        return wanted in (f"{space}/{name}:{port}", f"{space}/{name}", f"{name}:{port}", name)
    named = (value, view.pod_name(value)) if kind == "a pod" else ()
    return value == wanted or any(fnmatchcase(name, wanted) for name in named)


def _compares(wanted: Any, found: Fraction, whole: int = 1) -> bool:
    """Whether a number is as a number or a text says: "<= 1.5", "> 10%, < 20%" (of `whole`), "<= 200ms"."""
    for part in str(wanted).split(","):
        op, number, unit = re.fullmatch(r" *([<>=!]*) *([0-9./]+) ?(%|[mu]?s|) *", part).groups()
        if not OPS.get(op, operator.eq)(found / whole if unit == "%" else found, Fraction(number) * UNITS.get(unit, 1)):
            return False
    return True


def _untested(view: Cluster, seen: set[str]) -> Iterator[tuple[str, str]]:
    """(FILE:LINE, whose it is) of each path of an Ingress or match of an HTTPRoute that none of these reasons names."""
    named = {place for why in seen for place in re.findall(r"(?<![^\s(])([^\s(]+:[0-9]+)\)", why)}
    rules = [(r.ingress, r.at, f"{host}{r}") for host, some in routes_by_host(view.of(Ingress)).items() for r in some]
    for one in view.of(HTTPRoute):
        for i, rule in enumerate(one.spec.rules):
            ats = (("spec", "rules", i, "matches", j) for j in range(len(rule.matches)))
            rules += [(one, at, str(match.path.value)) for at, match in zip(ats, rule.matches, strict=True)]
    for one, at, what in rules:
        place = "{}:{}".format(*one.where(*at))
        if one.origin.file and re.split(r"[\s(]", place)[-1] not in named:
            yield place, f"{what} of {one}"
