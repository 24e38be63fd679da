"""Every statement of the explanation that the course starts from, and every trouble of its users, has its place."""

import ast
import contextlib
import io
import re
from functools import cache

import covered
import pytest
from lessons.test_structure import claims, headings, load, shown_in, text_of, values

import k8slb
from k8slb.course.lab import stored
from k8slb.manifests import DATA

STATEMENTS, STRUGGLES = covered.read("statements.json"), covered.read("struggles.json")


@cache
def bundled() -> dict:
    return {"k8slb": k8slb, "shop": k8slb.load("shop"), "source_text": k8slb.load("source-text")}


def printed(experiment: str) -> str:
    """What a cell with these lines would show."""
    *lines, last = ast.parse(experiment).body
    here, out = dict(bundled()), io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(ast.Module(lines, []), "experiment", "exec"), here)
        if isinstance(last, ast.Expr):
            result = eval(compile(ast.Expression(last.value), "experiment", "eval"), here)
            if result is not None:
                print(result)
        else:
            exec(compile(ast.Module([last], []), "experiment", "exec"), here)
    return out.getvalue().strip()


@pytest.mark.parametrize("one", STATEMENTS, ids=lambda one: one["id"])
def test_the_experiment_shows_what_is_said(one):
    assert set(one) == {"id", "part", "says", "verdict", "why", "lesson", "section", "experiment", "shows"}
    assert one["verdict"] in ("right", "wrong", "depends")
    if one["experiment"] is None:
        assert one["shows"] is None and "Not measured" in one["why"], "why there is no experiment"
    else:
        assert printed(one["experiment"]) == one["shows"] != ""


def test_each_statement_once():
    assert [one["id"] for one in STATEMENTS] == [f"S{number:02}" for number in range(1, len(STATEMENTS) + 1)]
    assert len({one["says"] for one in STATEMENTS}) == len(STATEMENTS) >= 100
    assert sum(one["experiment"] is None for one in STATEMENTS) <= 7


@cache
def lesson(number: str):
    return load(next(stored().glob(f"{number}-*.ipynb")))


PLACES = {f"{one['lesson']} {one['section']}" for one in STATEMENTS} | {at for one in STRUGGLES for at in one["shown"]}


@pytest.mark.parametrize("at", sorted(PLACES))
def test_the_place_is_there(at):
    first, rest = at.split(" ", 1)
    if first in ("incident", "command"):
        assert (DATA / f"{first}s" / f"{rest}.{'yaml' if first == 'incident' else 'md'}").is_file()
    else:
        assert rest in {title for level, title in headings(lesson(first).text) if level in (2, 3)}


def test_each_trouble_once():
    assert [one["number"] for one in STRUGGLES] == list(range(1, 47))
    for one in STRUGGLES:
        assert all(re.fullmatch(r"[\w./-]+ \d+", thread) for thread in one["threads"]), one["threads"]
        assert bool(one["shown"]) == bool(one["gives"]) != bool(one.get("not_shown"))


@pytest.mark.parametrize("one", [one for one in STRUGGLES if one["shown"]], ids=lambda one: str(one["number"]))
def test_the_numbers_of_a_trouble_are_shown_there(one):
    """In the outputs, the code or the text of the lessons that are named, or in the incident and its answer."""
    known = set()
    for at in one["shown"]:
        first, rest = at.split(" ", 1)
        if first == "incident":
            known |= values(f"{(DATA / 'incidents' / f'{rest}.yaml').read_text(encoding='utf-8')}")
        elif first != "command":
            cells = lesson(first).cells
            known |= values("\n".join(f"{cell.source}\n{text_of(cell)}" for cell in cells if cell.cell_type == "code"))
            known |= values(lesson(first).text)
    assert not [claim for claim in claims(one["gives"]) if not shown_in(claim, known)]


def test_the_page_is_not_stale():
    assert covered.PAGE.read_text(encoding="utf-8") == covered.page(), "make lessons"
