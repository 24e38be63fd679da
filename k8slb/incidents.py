"""Public incident threads, put to the model: what was reported, what the model answers to the same, and the cause.

Each is a file data/incidents/NAME.yaml: its HEAD, then the cluster in our words, as the reporter describes it. `seen`
is "whole", or "excerpt" where only parts of the thread were read; `assumed` what it leaves open, or the model leaves
out; `said` maps what was measured to a number, a text, or the counts of the pods.

An entry of `replay` is a FIGURE: `steps` are calls of the model in order, {scale: {name: app, replicas: 3}}, {send:
{...}}; `read` is read off the last answer, and off counts that the reporter gives. It agrees where what was said (`of`)
is no farther off than `within`, or, with `runs`, lies among 95% of so many, each with a seed of its own; what was said
in words, where the answer is what it `gives`, or a number from `means[0]` to `means[1]`. `model` is what the model
gave, within the same of it; `differs` says why it does not agree.
"""

import difflib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

from .answers.trace import Trace, Why
from .errors import InputError, K8slbError, shown
from .front import Cluster, load
from .manifests import DATA, dotted, text_of
from .objects.decode import KIND
from .positions import Origin, Source
from .reader import Document, read

NUMBER = (int, float)
HEAD = dict.fromkeys("thread date seen title lesson versions cause".split(), str)
HEAD |= {"assumed": list, "said": dict, "question": dict, "replay": list}
ASKED = {"asks": str, "right": str, "wrong": dict}
FIGURE = {"of": str, "what": str, "steps": list, "read": str}
OPTIONAL = {"model": NUMBER, "gives": str, "within": NUMBER, "runs": int, "means": list, "why": str, "differs": str}
CALLS = set("apply scale with_nodes with_proxy with_pods with_controller with_balancer with_load_balancer".split())
CALLS |= set("trace shares send rollout autoscale drain node_dies pod_dies lost losses smallest_pre_stop".split())
COUNTED = {  # read off the counts of the pods, or their shares
    "hottest": lambda n: max(n) * len(n) / sum(n),
    "most": max,
    "least": min,
    "idle": lambda n: sum(not k for k in n),
    "used": lambda n: sum(map(bool, n)),
    # chi-square over its degrees of freedom: about 1 where every request picks at random, 0 where they take turns
    "unevenness": lambda n: sum((k - sum(n) / len(n)) ** 2 for k in n) * len(n) / sum(n) / (len(n) - 1),
}
READ = {  # off other answers
    "number": lambda got: got,
    "lost": lambda got: float(got.lost),
    "reset": lambda got: got.run.reset,
    "seconds": lambda got: got.seconds if hasattr(got, "seconds") else sum(end - begin for begin, end, _ in got),
    "rounds": lambda got: sum(s.becomes != s.replicas for s in got.syncs),
}


class Row(NamedTuple):
    """A figure: the reporter's, the model's, whether they agree, and by which tolerance, or why not."""

    what: str
    reported: Any
    model: Any
    agrees: bool
    why: str


class Table(tuple):
    """Rows that a terminal and a notebook show in columns; where there are more than two, the last stands beneath."""

    def __repr__(self) -> str:
        headed = [("", "reported", "model", "", "")] if self and isinstance(self[0], Row) else []
        cells, lines = [list(map(_text, row)) for row in (*headed, *self)], []
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            upper = row[: max(2, len(row) - 1)]
            lines.append("  ".join(map(str.ljust, upper, widths)).rstrip())
            lines += textwrap.wrap("".join(row[len(upper) :]), 100, initial_indent="    ", subsequent_indent="    ")
        return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "agrees" if value else "does not agree"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return " ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _told(*paragraphs: str) -> Why:
    return Why("\n".join(textwrap.fill(p, 100, subsequent_indent="    ") for p in paragraphs))


@dataclass(frozen=True, repr=False, eq=False)
class Incident:
    """One thread. It prints what was reported and asks for a guess; `answer` has the cause and the figures compared."""

    name: str
    head: Mapping[str, Any]
    origin: Origin

    said = property(lambda self: Table(self.head["said"].items()), doc="(what, reported) of each figure of the thread.")
    cause = property(lambda self: _told(self.head["cause"]))
    yaml = property(lambda self: Why(self.origin.source.text[self.origin.end :]), doc="The manifests of its cluster.")

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster as the reporter describes it, to be asked anything."""
        lines = self.origin.source.text.count("\n", 0, self.origin.end)
        return load(Source(self.origin.file, "\n" * lines + self.yaml))

    @property
    def question(self) -> Why:
        """What may it be? One is the cause, the others are what people believe."""
        asked = self.head["question"]
        options = enumerate(sorted([asked["right"], *asked["wrong"]]))
        return _told(asked["asks"], *(f"  {chr(97 + i)}) {option}" for i, option in options))

    @property
    def answer(self) -> Why:
        """The cause, why it is none of the others, and the reporter's figures beside the model's."""
        asked = self.head["question"]
        wrong = (f"  not: {option}: {why}" for option, why in asked["wrong"].items())
        return Why(f"{_told(asked['right'] + ': ' + self.head['cause'], *wrong)}\n\n{self.replay()}")

    def replay(self, seed: int = 0) -> Table:
        """A Row for each figure: the model is asked now, from this seed on."""
        return Table(self._row(i, figure, seed) for i, figure in enumerate(self.head["replay"]))

    def _row(self, i: int, figure: Mapping[str, Any], seed: int) -> Row:
        cluster, said, runs = self.cluster, self.head["said"][figure["of"]], figure.get("runs", 1)
        try:
            said = _read(said, figure["read"]) if isinstance(said, list) else said
            found = sorted(_read(_asked(cluster, figure["steps"], seed + n), figure["read"]) for n in range(runs))
            low, middle, high = found[runs // 40], found[runs // 2], found[-1 - runs // 40]
            least, most = figure.get("means") or [figure.get("gives")] * 2
            slack = figure.get("within", 0)
            agrees = least <= middle <= most if isinstance(said, str) else low - slack <= said <= high + slack
        except (K8slbError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise _wrong(self.origin, ("replay", i), str(error)) from None
        told = [f"{'95% of ' * (runs >= 40)}{runs} runs from {_text(low)} to {_text(high)}"] * (runs > 1)
        told += [f"within {slack}"] * bool(slack) + [figure.get("why"), figure.get("differs")]
        return Row(figure["what"], said, middle, agrees, "; ".join(filter(None, told)))

    def __str__(self) -> str:
        of, parts = self.head, ", read in part" * (self.head["seen"] == "excerpt")
        head = (f"{of['thread']} ({of['date']}{parts}): {of['title']}", f"{of['versions']}. Lesson {of['lesson']}.")
        return f"{_told(*head, *(f'assumed: {text}' for text in of['assumed']))}\n\n{self.said}\n\n{self.question}"

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON: name, the fields of HEAD but replay, and `figures`, each with the keys of a Row."""
        told = {name: self.head[name] for name in HEAD if name != "replay"}
        return {"name": self.name, **told, "figures": [row._asdict() for row in self.replay()]}


def _asked(got: Any, steps: Sequence[Mapping[str, Any]], seed: int) -> Any:
    """What the last of the steps answers."""
    for step in steps:
        name, given = next(iter(step.items())) if isinstance(step, dict) and len(step) == 1 else ("", None)
        if name not in CALLS or not isinstance(given, dict) or not hasattr(got, name):
            raise InputError(f"{shown(step)} is no step here", expected="one of " + ", ".join(sorted(CALLS)))
        given = {"seed": seed, **given} if name == "send" else dict(given)
        for at in {"load", "becomes"} & given.keys():  # by second, where YAML's keys are text
            given[at] = {float(t): _asked(got, v, seed) if at == "becomes" else v for t, v in given[at].items()}
        got = getattr(got, name)(**given)
    return got


def _read(got: Any, what: str) -> Any:
    """What an answer says: a name of COUNTED or READ, "percent" and one of these, "COLUMN VALUE" (how many requests, of
    an Outcome; also of several VALUEs, all that begin so), or a key of a trace's JSON, such as forwarded.path."""
    first, _, rest = what.partition(" ")
    if isinstance(got, Trace):
        found: Any = got.to_dict()
        for key in what.split("."):
            found = found[key]
        return str(found)
    if not rest and what not in {**COUNTED, **READ}:
        raise InputError(f"{shown(what)} cannot be read", expected="one of " + ", ".join([*COUNTED, *READ]))
    if first == "percent":
        return 100 * _read(got, rest) / (sum(got) if isinstance(got, list) else got.requests)
    if rest:
        named = ((got.name_of(k) if first == "pod" else k, n) for k, n in got.counts(first).items())
        return sum(n for name, n in named if name.startswith(tuple(rest.split())))
    if what not in COUNTED:
        return READ[what](got)
    return COUNTED[what](got if isinstance(got, list) else list(got.counts().values()))


def _wrong(origin: Origin, path: tuple[str | int, ...], problem: str, expected: str = "") -> InputError:
    return InputError(problem, expected=expected, file=origin.file, line=origin.line_of(path), field=dotted(path))


def _checked(raw: Any, needed: dict, optional: dict, origin: Origin, *at: str | int) -> None:
    """InputError with the line of what is missing, unknown, or of another kind."""
    kinds = {**needed, **optional}
    for name in [*needed, *raw] if isinstance(raw, dict) else needed:
        if not isinstance(raw, dict) or name not in raw:
            raise _wrong(origin, at, "is missing", name)
        if name not in kinds:
            raise _wrong(origin, (*at, name), "is no field", "one of " + ", ".join(kinds))
        if not isinstance(raw[name], kinds[name]):
            raise _wrong(origin, (*at, name), f"cannot be {shown(raw[name])}", KIND.get(kinds[name], "a number"))


def opened(name: str, source: Source) -> Incident:
    """The incident of a file's text; InputError names the line where it is not one."""
    first = next(read(source), Document(None, Origin(source)))
    head, origin = first.value, first.origin
    _checked(head, HEAD, {}, origin)
    _checked(head["question"], ASKED, {}, origin, "question")
    for i, figure in enumerate(head["replay"]):
        _checked(figure, FIGURE, OPTIONAL, origin, "replay", i)
        if figure["of"] not in head["said"]:
            raise _wrong(origin, ("replay", i, "of"), f"{shown(figure['of'])} was not said", ", ".join(head["said"]))
    return Incident(name, head, origin)


@cache
def incident(name: str) -> Incident:
    """The incident of a public thread, such as "traefik-10303"; `incidents()` lists them."""
    files = {path.stem: path for path in sorted((DATA / "incidents").glob("*.yaml"))}
    if name not in files:
        near = difflib.get_close_matches(str(name), files, 3, 0.3) or files
        raise InputError(f"there is no incident {shown(name)}", expected="such as " + ", ".join(near))
    return opened(name, Source(f"{name}.yaml", text_of(files[name].read_bytes(), name)))


def incidents() -> Table:
    """(name, thread, question) of each incident on the shelf."""
    found = [incident(path.stem) for path in sorted((DATA / "incidents").glob("*.yaml"))]
    return Table((one.name, one.head["thread"], one.head["question"]["asks"]) for one in found)
