"""COVERAGE.md, from statements.json and struggles.json."""

import json
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "COVERAGE.md"

HEAD = """# What this course covers

Made by `make lessons` from `statements.json` and `struggles.json`; a test runs every experiment and looks for every
place named here.

## The statements of the explanation that this course starts from

{counts}. Each has a place in a lesson and, where one is possible, an experiment on the two
bundled sets (`shop = k8slb.load("shop")`, `source_text = k8slb.load("source-text")`): its code stands in
`statements.json`, what it prints here in the last column. Where the verdict is *depends*, the reason says on what, or
that it is an opinion. Unless it says otherwise: Kubernetes 1.36, kube-proxy in iptables mode, ingress-nginx 1.15.1.

| | statement | verdict | why | where | what comes out |
|---|---|---|---|---|---|
"""

MIDDLE = """
## What people struggle with

{shown} of {all} kinds of trouble that people report again and again, with public threads that tell of them, are shown
somewhere; the others say why not.

| | the trouble | told in | where it is shown | what comes out |
|---|---|---|---|---|
"""


def read(name: str) -> list[dict]:
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def lesson(number: str, section: str) -> str:
    return f"[{number}]({next(HERE.glob(f'{number}-*.ipynb')).name}) *{cell(section)}*"


def place(shown: str) -> str:
    """A link to where something is shown: "05 Explain", "incident NAME" or "command NAME"."""
    first, _, rest = shown.partition(" ")
    if first == "incident":
        return f"[incident {rest}](../data/incidents/{rest}.yaml)"
    if first == "command":
        return f"[k8slb {rest}](../data/commands/{rest}.md)"
    return lesson(first, rest)


def cell(text: str) -> str:
    """Text as it may stand in a cell of a table."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def code(text: str) -> str:
    return " ".join(f"`{line}`".replace("|", "\\|") for line in text.splitlines())


def page() -> str:
    statements, struggles = read("statements.json"), read("struggles.json")
    verdicts = [one["verdict"] for one in statements]
    counts = ", ".join(f"{verdicts.count(kind)} are {kind}" for kind in ("right", "wrong"))
    parts = [HEAD.format(counts=f"{len(verdicts)}: {counts}, with {verdicts.count('depends')} it depends")]
    for one in statements:
        gives = code(one["shows"]) if one["experiment"] else "no experiment"
        where = lesson(one["lesson"], one["section"])
        row = one["id"], cell(one["says"]), one["verdict"], cell(one["why"]), where, gives
        parts.append(f"| {' | '.join(row)} |\n")
    parts.append(MIDDLE.format(shown=sum(bool(one["shown"]) for one in struggles), all=len(struggles)))
    for one in struggles:
        where = ", ".join(map(place, one["shown"])) or "not shown"
        gives = one["gives"] or one["not_shown"]
        row = str(one["number"]), cell(one["struggle"]), ", ".join(one["threads"]), where, cell(gives)
        parts.append(f"| {' | '.join(row)} |\n")
    return "".join(parts)
