"""`make book`: the lessons as HTML pages in dist/book/, with each panel drawn at its first and its named settings.

    python notebooks/book.py [02 ...]       those lessons, or all

The pages are made from the stored notebooks and need nothing beside them: no script, no font, no request to anybody.
What stands in `SETTINGS` of notebooks/questions/NN.py is put into the panels' own controls, so a drawing of the book is
what the panel draws.
"""

import ast
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from html import escape
from io import StringIO
from pathlib import Path
from string import Template
from time import perf_counter
from types import SimpleNamespace
from typing import Any
from unittest import mock

import mistune
import nbformat
from build import exercise_of

from k8slb.course import contents
from k8slb.course.lab import stored
from k8slb.course.questions import exercises, questions
from k8slb.show import cascade, panels
from k8slb.show.kinds import STYLE, Control
from k8slb.show.rules import Row, RuleTable

HERE = Path(__file__).parent
TARGET = HERE.parent / "dist" / "book"
PAGE = Template((HERE / "book.html").read_text(encoding="utf-8"))
FOLDED = "<details><summary>{}</summary>\n{}\n</details>"
NOTE = (
    "<p>These pages are the lessons to read and to print: each panel is drawn as it opens and at three named settings, "
    "and nothing moves. The same lessons as notebooks, to try and to change: <code>k8slb lab</code>.</p>"
)
WHICH = {"guess": "Predict(", "sandbox": "sandbox=True"}


# --- the panels of a lesson ------------------------------------------------------------------------------------------


class Names(dict):
    """What a cell may name. A name that is not there yet is looked up in the cell that assigns it, which runs then."""

    def __init__(self, cells: list[str]):
        super().__init__(__builtins__=__builtins__)
        self.cells = cells

    def run(self, source: str) -> Any:
        """Run a cell, and what it needs before it; its last expression's value."""
        tree = ast.parse(source)
        self.cells = [cell for cell in self.cells if cell != source]
        for cell in [*self.cells]:
            if cell in self.cells and assigned(cell) & (wanted(tree) - {*self}):
                self.run(cell)
        last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "<cell>", "exec"), self)
        return last and eval(compile(last, "<cell>", "eval"), self)


def assigned(source: str) -> set[str]:
    """The names that a cell gives to others."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        for target in getattr(node, "targets", ()):
            found |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return found


def wanted(tree: ast.AST) -> set[str]:
    """The names that a cell takes from others."""
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
    own = {n.id for n in names if isinstance(n.ctx, ast.Store)} | {
        n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)
    }
    return {n.id for n in names} - own


def panels_of(lesson: str) -> tuple[dict[str, Any], Names]:
    """The panel behind the prediction ("guess") and the closing "sandbox", live, and what the cells named."""
    code = [c.source for c in notebook(lesson).cells if c.cell_type == "code" and exercise_of(c) is None]
    names, found = Names(code[1:]), {}
    with (
        mock.patch.object(panels, "get_ipython", lambda: SimpleNamespace(user_ns=names)),
        redirect_stdout(StringIO()),
    ):
        exec(code[0], names)
        for which, mark in WHICH.items():
            for cell in [cell for cell in code if mark in cell][:1]:
                shown = names.run(cell)
                found[which] = getattr(shown, "behind", shown)
    return found, names


def controls_of(panel: Any) -> dict[str, Control]:
    """A panel's controls by their labels."""
    own = getattr(panel, "controls", None) or [v for v in vars(panel).values() if isinstance(v, Control)]
    return {label(control): control for control in own}


def label(control: Control) -> str:
    beside = getattr(next(iter(getattr(control.widget, "children", ())), None), "value", "")
    told = getattr(control.source, "description", "") or getattr(control.source, "tooltip", "") or beside
    return str(told).strip().rstrip(":")


def apply(panel: Any, setting: Mapping[str, Any]) -> None:
    """Put each value into the control of that label. ValueError where there is none, or it does not take the value.

    A YAML pane takes (old, new), which stands once in it; a table of rules its rows (host, path, pathType, backend).
    """
    known = controls_of(panel)
    for name, value in setting.items():
        if name not in known:
            raise ValueError(f"no control {name!r}; there are {', '.join(known)}")
        put(known[name], value)
    alert = panel.alert.value if hasattr(panel, "alert") else panel.shown.value
    if "role='alert'" in alert:
        raise ValueError(f"{dict(setting)}: {alert}")


def put(control: Control, value: Any) -> None:
    source = control.source
    if isinstance(source, RuleTable):
        value = tuple(Row(*row) for row in value)
        source._put(value)
    elif hasattr(source, "children"):  # a row of numbers
        boxes = [child for child in source.children if hasattr(child, "low")]
        for box, number in zip(boxes, value, strict=True):
            box.value = number
    else:
        if isinstance(value, tuple):
            old, new = value
            if source.value.count(old) != 1:
                raise ValueError(f"{old!r} is not once in {label(control)}")
            value = source.value.replace(old, new)
        source.value = value
    if control.value != value:
        raise ValueError(f"{label(control)} takes {control.value!r}, not {value!r}")


def drawn(lesson: str, which: str, panel: Any) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """(name, what is set, the drawing as HTML) of one of a lesson's panels: as it opens, and at its settings."""
    first = {name: control.value for name, control in controls_of(panel).items()}
    yield "As it opens", {}, shown(panel)
    for name, setting in getattr(questions(lesson), "SETTINGS", {}).get(which, {}).items():
        apply(panel, first)
        apply(panel, setting)
        yield name, setting, shown(panel)


def shown(panel: Any) -> str:
    """What a panel shows, with its table folded; inside of it what the last step shows, in a film the first loss."""
    if isinstance(panel, cascade.Lottery):
        return panel.shown.value
    picture, scene = panel.drawing.value.replace(f"<p>{panels.STEP}</p>", ""), ""
    if panel.inside:
        panel.steps.clock.value = first_loss(panel) or panel.steps.clock.max
        scene = panel.scene.value
        picture = panel.drawing.value if hasattr(panel, "change") else picture
        panel.steps.reset()
    return picture + scene + FOLDED.format("As a table", panel._table()).join(panel._pieces)


def first_loss(film: Any) -> int:
    """The first step of a film at which new connections are lost; 0 if there is none, or it is no film."""
    steps, losses = getattr(film, "moments", ()), getattr(film, "losses", ())
    lost = (i for i, now in enumerate(steps, 1) if any(begin <= now < end and share for begin, end, share in losses))
    return next(lost, 0)


def told(setting: Mapping[str, Any]) -> str:
    """What is set, in a line."""
    parts = []
    for name, value in setting.items():
        if isinstance(value, tuple) and all(isinstance(part, str) for part in value):
            value = f"{value[0].strip()!r} becomes {value[1].strip()!r}"
        elif isinstance(value, (tuple, list)):
            value = "; ".join(" ".join(part) if isinstance(part, (tuple, list)) else str(part) for part in value)
        parts.append(f"{escape(name)}: <code>{escape(str(value)) or '(empty)'}</code>")
    return f"<p>{'; '.join(parts)}</p>" if parts else ""


def settings_html(lesson: str, which: str, panel: Any, level: int) -> str:
    return "\n".join(
        f'<section class="setting"><h{level}>{escape(name)}</h{level}>{told(setting)}'
        f'<div class="k8slb-text">{picture}</div></section>'
        for name, setting, picture in drawn(lesson, which, panel)
    )


# --- the pages -------------------------------------------------------------------------------------------------------


def notebook(lesson: str) -> nbformat.NotebookNode:
    return nbformat.read(next(stored().glob(f"{lesson}*.ipynb")), 4)


class Html(mistune.HTMLRenderer):
    """Markdown's HTML, with links between pages as pages, and headings that links can name as JupyterLab does."""

    def __init__(self):
        super().__init__(escape=False)

    def link(self, text: str, url: str, title: str | None = None) -> str:
        page, _, part = url.partition("#")
        if not re.match(r"https?://|#", url):
            page = page_of(page)
            if not page:
                return text  # it is no part of the book
        return f'<a href="{escape(page + (f"#{part}" if part else ""))}">{text}</a>'

    def heading(self, text: str, level: int, **attributes: Any) -> str:
        name = re.sub(r"<[^>]+>", "", text).replace(" ", "-")
        return f'<h{level} id="{escape(name)}">{text}</h{level}>\n'


def page_of(file: str) -> str:
    """The page that a notebook becomes; "" where it becomes none."""
    name = file.removesuffix(".ipynb")
    if name == "contents":
        return "index.html"
    known = file.endswith(".ipynb") and (HERE / file).is_file() and "/" not in file
    return f"{name}.html" if known else ""


def markdown(text: str) -> str:
    return mistune.create_markdown(renderer=Html(), plugins=["table", "strikethrough"])(text)


def output(cell: nbformat.NotebookNode) -> Iterator[str]:
    for out in cell.get("outputs", ()):
        data = out.get("data", {})
        text = out.get("text") or data.get("text/plain", "")
        if picture := data.get("image/png", "").strip():
            sentence, _, table = text.partition("\n")
            yield f'<img alt="{escape(sentence)}" src="data:image/png;base64,{picture}">'
            yield f"<p>{escape(sentence)}</p>"
            yield FOLDED.format("As text", f"<pre>{escape(table)}</pre>") if table.strip() else ""
        elif text:
            yield f'<pre class="out" tabindex="0">{escape(text.rstrip())}</pre>'


def body(lesson: str) -> str:
    """A notebook's cells as HTML."""
    parts, level = [], 1
    live = panels_of(lesson)[0] if lesson.isdigit() else {}
    for cell in notebook(lesson).cells:
        if cell.cell_type == "markdown":
            parts.append(markdown(cell.source))
            outside = re.sub(r"^```.*?^```", "", cell.source, flags=re.MULTILINE | re.DOTALL)
            level = [level, *map(len, re.findall(r"^(#+) ", outside, re.MULTILINE))][-1]
            continue
        parts.append(f'<pre class="code" tabindex="0"><code>{escape(cell.source)}</code></pre>')
        which = next((which for which in live if WHICH[which] in cell.source), None)
        if "Predict(" in cell.source and live:
            parts.append(question(lesson))
        if which:
            inside = settings_html(lesson, which, live[which], level + 1)
            parts.append(FOLDED.format("Guess first, then open: what happens", inside) if which == "guess" else inside)
        elif id := exercise_of(cell):
            stub = exercises(lesson)[id].solved(cell.source)
            solution = f'<pre class="code" tabindex="0"><code>{escape(stub)}</code></pre>'
            parts.append(FOLDED.format(f"Solution of {id}", solution))
        else:
            parts += output(cell)
    return "\n".join(parts)


def question(lesson: str) -> str:
    """A prediction's question and its options; what lies behind each one is folded."""
    asked = questions(lesson).PREDICTION
    options = "".join(f"<li>{escape(option.text)}</li>" for option in asked.options)
    behind = "".join(
        f"<li>{escape(o.text)}: “{escape(o.misconception)}”. {escape(o.refuted)}</li>"
        for o in asked.options
        if o.misconception
    )
    right = f"<p>Right is: {escape(asked.right.text)}. {escape(asked.because)}</p><ul>{behind}</ul>"
    return f"<p>{escape(asked.question)}</p><ul>{options}</ul>" + FOLDED.format("The answers", right)


def page(title: str, inside: str) -> str:
    return PAGE.substitute(title=escape(title), style=STYLE, body=inside)


def build(lessons: list[str], target: Path = TARGET) -> list[Path]:
    """Write the pages of these lessons, and the index; return what was written."""
    target.mkdir(parents=True, exist_ok=True)
    known = {one.number: one for one in contents.lessons()}
    pages = {}
    for lesson in lessons:
        pages[page_of(known[lesson].file)] = page(f"{lesson} {known[lesson].question}", body(lesson))
    pages["index.html"] = page("Load balancing in Kubernetes", body("contents").replace("</h1>", f"</h1>{NOTE}", 1))
    pages["glossary.html"] = page("Glossary", body("glossary"))
    for name, text in pages.items():
        (target / name).write_text(text, encoding="utf-8")
    return [target / name for name in pages]


def main(argv: list[str] | None = None) -> int:
    wanted = sys.argv[1:] if argv is None else argv
    start = perf_counter()
    if not wanted:
        shutil.rmtree(TARGET, ignore_errors=True)
    written = build(wanted or [lesson.number for lesson in contents.lessons()])
    size = sum(path.stat().st_size for path in written) / 1e6
    print(f"{TARGET}: {len(written)} pages, {size:.1f} MB, {perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
