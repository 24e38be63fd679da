"""`make cheatsheet`: one page, symptom -> cause -> field -> command, from `SYMPTOMS` in notebooks/questions/NN.py.

notebooks/CHEATSHEET.md is written by build.py; this also makes dist/cheatsheet.html and, where there is a Chromium,
dist/cheatsheet.pdf. A row is (symptom, cause, field, command, what the command shows); the last is empty where the
command asks a real cluster.
"""

import re
import shutil
import subprocess
import sys
from html import escape
from typing import NamedTuple

from k8slb.course import contents
from k8slb.course.lab import stored
from k8slb.course.questions import questions

TARGET = stored().parent / "dist" / "cheatsheet.html"
TITLE = "Load balancing in Kubernetes: symptom, cause, field, command"
NOTE = (
    "For Kubernetes 1.36, kube-proxy, ingress-nginx 1.15, Istio 1.31. The `k8slb` commands run as they stand in "
    "`data/examples/`; for your own cluster give `-f` a folder of your YAML."
)
HEAD = ("lesson", "symptom", "cause", "field", "command")
STYLE = """
@page { size: A4 landscape; margin: 8mm }  /* and on Letter */
body { font: 8.2pt/1.2 sans-serif; color: #000; background: #fff; margin: 0 }
h1 { font-size: 12pt; margin: 0 0 2pt } p { margin: 0 0 4pt }
table { border-collapse: collapse; width: 100%; table-layout: fixed }
th, td { text-align: left; vertical-align: top; padding: 0.9pt 5pt 0.9pt 0; border-bottom: 0.4pt solid #777 }
td { overflow-wrap: anywhere }
code { font: 7.4pt monospace }
col:nth-child(1) { width: 4% } col:nth-child(2) { width: 24% } col:nth-child(3) { width: 25% }
col:nth-child(4) { width: 15% } col:nth-child(5) { width: 32% }
"""


class Symptom(NamedTuple):
    lesson: str
    symptom: str
    cause: str
    field: str
    command: str
    shows: str


def rows() -> list[Symptom]:
    """Those of all lessons, in their order."""
    known = [one.number for one in contents.lessons()]
    return [Symptom(n, *row) for n in known for row in getattr(questions(n), "SYMPTOMS", ())]


def told(row: Symptom) -> tuple[str, ...]:
    """A row under HEAD, as Markdown."""
    return row.lesson, row.symptom, row.cause, row.field, f"`{row.command}`"


def sheet() -> str:
    """The page as Markdown; in a table | is written \\|."""
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in told(row)) + " |" for row in rows()]
    head = f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}"
    return "\n".join([f"# {TITLE}", "", NOTE, "", head, *lines, ""])


def html() -> str:
    """The same to print."""
    code = lambda text: re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))  # noqa: E731
    body = "".join("<tr>" + "".join(f"<td>{code(cell)}</td>" for cell in told(row)) + "</tr>" for row in rows())
    head = "".join(f"<th scope='col'>{title}</th>" for title in HEAD)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title><style>{STYLE}</style>'
        f"</head><body><h1>{TITLE}</h1><p>{code(NOTE)}</p><table><colgroup>{'<col>' * len(HEAD)}</colgroup>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></body></html>"
    )


def write() -> None:
    (stored() / "CHEATSHEET.md").write_text(sheet(), encoding="utf-8")


def main() -> int:
    write()
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(html(), encoding="utf-8")
    print(TARGET)
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser:
        pdf = TARGET.with_suffix(".pdf")
        how = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--print-to-pdf={pdf}"]
        subprocess.run([browser, *how, TARGET.as_uri()], check=True, capture_output=True, timeout=60)
        pages = len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))
        print(f"{pdf}: {pages} page" + "s: shorten a row" * (pages > 1))
        return int(pages != 1)
    print("no Chromium here: print the page from any browser")
    return 0


if __name__ == "__main__":
    sys.exit(main())
