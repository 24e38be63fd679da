"""`make lessons`: execute every stored notebook, and make the one with the solutions from it.

Stored are PNG and text only: no widget state, no SVG, nothing that a second run would write differently.
"""

import copy
import re
import subprocess
import sys
from pathlib import Path

import cheatsheet
import covered
import generated
import nbformat
import teaching
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from k8slb.course.lab import stored
from k8slb.course.questions import exercises
from k8slb.manifests import DATA

KEPT = ("image/png", "text/plain")
TAG = "exercise:"
MADE = "generated:"  # a Markdown cell so tagged is written by generated.py
EXAMPLES = DATA / "examples"


def exercise_of(cell: nbformat.NotebookNode, kind: str = TAG) -> str | None:
    """The id of the exercise that the cell is a part of."""
    return next((tag.removeprefix(kind) for tag in cell.metadata.get("tags", ()) if tag.startswith(kind)), None)


def solved(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy in which every code cell tagged exercise:ID holds the solution above its last line."""
    notebook = copy.deepcopy(notebook)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and (id := exercise_of(cell)):
            if id not in exercises(id[:2]):
                raise ValueError(f"cell {number}: there is no exercise {id}")
            cell.source = exercises(id[:2])[id].solved(cell.source)
    return notebook


def execute(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """The notebook, run from top to bottom in `folder`, in its stored form."""
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return normalised(notebook)


def normalised(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same notebook without what differs from run to run or machine to machine."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = _together(cell.outputs)
        for output in cell.get("outputs", ()):
            if "data" in output:
                output.data = {kind: output.data[kind] for kind in KEPT if kind in output.data}
    return notebook


def _together(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """What was printed in one go: how many messages it came in differs from run to run."""
    found: list[nbformat.NotebookNode] = []
    for output in outputs:
        before = found[-1] if found else {}
        if output.output_type == "stream" and before.get("name") == output.name:
            before.text += output.text
        else:
            found.append(output)
    return found


def build(lesson: Path) -> list[Path]:
    """Bring a stored lesson and, if it has exercises, its solutions up to date; return what was written."""
    targets = {lesson: nbformat.read(lesson, as_version=4)}
    for cell in targets[lesson].cells:
        if made := exercise_of(cell, MADE):
            cell.source = generated.TEXTS[made]()
    if any(map(exercise_of, targets[lesson].cells)):
        targets[lesson.parent / "solutions" / lesson.name] = solved(targets[lesson])
    for target, notebook in targets.items():
        target.parent.mkdir(exist_ok=True)
        nbformat.write(execute(notebook, target.parent), target)
    return list(targets)


def filled(page: str) -> str:
    """A Markdown page with what each of its "$ ..." blocks prints, run by bash in data/examples."""
    beside = f'k8slb() {{ "{sys.executable}" -m k8slb "$@"; }}\n'

    def printed(block: re.Match) -> str:
        ran = subprocess.run(["bash", "-c", beside + block[1]], capture_output=True, text=True, cwd=EXAMPLES)
        return f"```\n$ {block[1]}\n{ran.stdout}```" if ran.stdout else block[0]  # a failure erases nothing

    return re.sub(r"^```\n\$ ([^\n]*)\n.*?^```", printed, page, flags=re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """The README, and the page of each command."""
    return [stored().parent / "README.md", *sorted((DATA / "commands").glob("*.md"))]


def main(argv: list[str] | None = None) -> int:
    """Build the lessons whose names begin with one of `argv`, or all; and what README and pages show of commands, or
    ("pages") only that."""
    for page in filter(Path.exists, pages()):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    covered.PAGE.write_text(covered.page(), encoding="utf-8")
    wanted = tuple(sys.argv[1:] if argv is None else argv) or ("",)
    for path in sorted(stored().glob("*.ipynb")):  # lessons first: contents and glossary are made from them
        if path.name.startswith(wanted):
            try:
                print(*(file.relative_to(stored()) for file in build(path)), sep="\n")
            except (CellExecutionError, ValueError) as error:
                print(f"{path.name}: {error}", file=sys.stderr)
                return 1
    if wanted in (("",), ("pages",)):
        cheatsheet.write()
        teaching.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
