"""Boxes and arrows with shares on them, as text, Mermaid, Graphviz' DOT, SVG, PNG and JSON.

Names come from manifests, so none stands anywhere as it was given: a box is called n0, n1, ... in each language, a
label is always quoted, and what could end the quotes or mean anything inside them is written as a code.

SVG and PNG need no system `dot`: the wheel graphviz-pure carries the same layout engine as one static program.
"""

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import graphviz
from graphviz.backend import dot_command

from ..cluster import grouped
from ..errors import K8slbError, printable
from ..manifests import table_of
from .picture import Picture

# How a kind of box is coloured (the ink is dark, so it can be read on a dark page as well), and how each language
# writes a drawing. Mermaid's classes are called k0, k1, ...: some kinds are words of its own.
TABLE = table_of("diagram")
KINDS = TABLE["kinds"]
WIDE = 52  # a longer name loses its middle
# What Mermaid takes as it is; all else is written as #CODE;. A mark between letters or digits is no Markdown.
PLAIN = re.compile(r"[A-Za-z0-9 /,()=]|(?<=[A-Za-z0-9])[.:-](?=[A-Za-z0-9])|(?<=[0-9])%$")
AVOIDED = re.compile("(?i)(?<=www)[.]|(?<=styl)e|(?<=classDe)f")  # a link; what Mermaid's own clean-up looks for
TORN = re.compile(r"(?<=[$])(?=[$])|(?<=\\)(?=n)|(?<=:)(?=fa-)")  # formulas, line breaks and icons, even written so


class Box(NamedTuple):
    """`kind`: one of KINDS. `lines`: what it says besides. `group`: what it stands in, such as a node."""

    kind: str
    name: str
    lines: tuple[str, ...] = ()
    group: str = ""


class Arrow(NamedTuple):
    """From one box to another, by their numbers. `share`: a text where it is no number, such as "on load"."""

    source: int
    target: int
    share: Fraction | str


@dataclass(frozen=True, repr=False)
class Diagram:
    """`sentence` says what is drawn, `note` what the shares are of."""

    sentence: str
    note: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict[str, Any], dict[str, Any]]:
        return Picture(self.png, _clean(self.sentence), self._tree)._repr_mimebundle_()

    def to_dict(self) -> dict[str, Any]:
        """The documented JSON, of what is drawn: {"sentence", "note", "nodes": [{"id", "kind", "name", "lines",
        "group"}], "edges": [{"from", "to" (ids), "share" ("1/3", or why it is no number: "on load", "by node")}]}."""
        nodes = [{"id": f"n{i}", **box._asdict(), "lines": list(box.lines)} for i, box in enumerate(self.boxes)]
        edges = [{"from": f"n{a.source}", "to": f"n{a.target}", "share": str(a.share)} for a in self.arrows]
        return {"sentence": self.sentence, "note": self.note, "nodes": nodes, "edges": edges}

    @property
    def text(self) -> str:
        """For a terminal: a tree, before each box the share that comes to it. Where several arrows come to a box, what
        it leads to stands at the last of them."""
        return "\n".join([*wrap(_clean(f"{self.sentence}. {self.note}"), 100), self._tree])

    @property
    def _tree(self) -> str:
        onward, lines = grouped((a.source, a) for a in self.arrows), []
        left = {i: len(into) for i, into in grouped((a.target, a) for a in self.arrows).items()}

        def branches(arrows: list[Arrow], lead: str) -> None:
            wide = max((len(share_label(a.share)) for a in arrows), default=0)
            for a in arrows:
                box, below = self.boxes[a.target], onward.get(a.target, [])
                stem, bar = ("└─ ", "   ") if a is arrows[-1] else ("├─ ", "│  ")
                left[a.target] -= 1
                later = below and left[a.target]
                told = f"{_cut(box.name)} (below)" if later else _cut(", ".join(texts(*box[1:])), 3 * WIDE)
                lines.append(f"{lead}{stem}{share_label(a.share):<{wide}}  {told}")
                branches([] if later else below, lead + bar)

        for group, roots in grouped((box.group, i) for i, box in enumerate(self.boxes) if i not in left).items():
            lead = "  " * bool(group)
            lines += [_cut(group)] * bool(group)
            for i in roots:
                lines.append(lead + _cut(", ".join(texts(*self.boxes[i][1:3])), 3 * WIDE))
                branches(onward.get(i, []), lead)
        return "\n".join(lines)

    @property
    def mermaid(self) -> str:
        """A flowchart that GitHub and JupyterLab draw in Markdown, between ```mermaid and ```."""
        return self._written(TABLE["mermaid"], lambda *lines: "<br/>".join(map(_coded, lines)))

    @property
    def dot(self) -> str:
        """Graphviz' language. Labels have no escapes but the line's end, no entities, and never are HTML."""
        return self._written(TABLE["dot"], lambda *lines: "\\n".join(map(_quoted, lines)))

    def _written(self, form: dict[str, str], said: Callable[..., str]) -> str:
        lines = [form["begin"].format(said(*wrap(_clean(self.sentence), form["wide"])), said(self.note))]
        for k, (group, mine) in enumerate(grouped((box.group, i) for i, box in enumerate(self.boxes)).items()):
            lines += [form["group"].format(k, said(_cut(group)))] * bool(group)
            for i in mine:
                kind, name, more, _ = self.boxes[i]
                lines.append(form["box"].format(i, said(*texts(name, more)), **KINDS[kind]))
            lines += [form["close"].format()] * bool(group)
        for a in self.arrows:  # where many cross each other, a label stands where its arrow ends
            where = "head" if len(self.arrows) > 12 and self.boxes[a.target].group else ""
            lines.append(form["arrow"].format(*a[:2], said(share_label(a.share)), where))
        lines += (form["kind"].format(**KINDS[kind]) for kind in dict.fromkeys(box.kind for box in self.boxes))
        return "\n".join(filter(None, [*lines, form["end"].format()]))

    @property
    def svg(self) -> str:
        """The drawing as SVG text, with `sentence` and `text` for who cannot see it."""
        drawn = _laid_out(self.dot, "svg").decode()
        drawn = re.sub(r"<title>.*?</title>\n?|<!--.*?-->\n?", "", drawn[drawn.index("<svg") :])  # they name n0, n1
        head, _, rest = drawn.partition(">")
        label, told = escape(_clean(self.sentence)), escape(self.text)
        return f'{head} role="img" aria-label="{label}">\n<desc>{told}</desc>{rest}'

    @property
    def png(self) -> bytes:
        return _laid_out(self.dot, "png")


def share_label(share: Fraction | str) -> str:
    """1/3 = 33.3%, "all", "none"; of a long fraction only the percentage."""
    if isinstance(share, str) or share in (0, 1):
        return {0: "none", 1: "all"}.get(share) or _cut(share)
    percent = f"{float(share):.1%}"
    percent = f"{100 * float(share):.4g}%" if percent in ("0.0%", "100.0%") else percent
    return f"{share} = {percent}" if share.denominator < 100_000 else percent


def _clean(text: str) -> str:
    return printable(text).replace("\n", "\\x0a")


def _cut(text: str, wide: int = WIDE) -> str:
    text = _clean(text)
    return text if len(text) <= wide else f"{text[: wide // 2 - 1]}...{text[2 - wide // 2 :]}"


def texts(name: str, lines: Sequence[str] = (), *more: str) -> list[str]:
    """What a box says, as it is written: without control characters, and not too long."""
    return [_cut(text) for text in (name, *lines, *more) if text]


def _coded(text: str) -> str:
    text = TORN.sub("\u200b", _clean(text))
    kept = {m.start() for m in PLAIN.finditer(text)} - {m.start() for m in AVOIDED.finditer(text)}
    return "".join(ch if i in kept else f"#{ord(ch)};" for i, ch in enumerate(text))


def _quoted(text: str) -> str:
    return _clean(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')


def _laid_out(dot: str, form: str) -> bytes:
    """By graphviz-pure beside this Python, which draws alike on every machine, else by a system `dot`."""
    beside = Path(sys.executable).parent  # the environment's own folder, not what a link points to
    found = (shutil.which("graphviz-pure", path=str(beside)), shutil.which("graphviz-pure"), shutil.which("dot"))
    if not any(found):
        raise K8slbError("no program draws graphs here; pip install graphviz-pure, or install Graphviz")
    # graphviz 0.21 has no public way to name the program; a test holds this to work
    dot_command.DOT_BINARY = Path(next(filter(None, found)))
    return graphviz.Source(dot).pipe(form, quiet=True)  # a name that is no ASCII is no warning of ours
