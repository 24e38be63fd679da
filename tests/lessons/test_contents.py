"""The contents and the glossary: sums of the boxes, links that lead somewhere, levels that say what the trace says."""

import json
import re
from fractions import Fraction
from html import unescape

import generated
import nbformat
import pytest
from build import MADE, exercise_of
from lessons.test_structure import GLOSSARY, box, load

import k8slb
from k8slb.course import Levels, Routes, progress
from k8slb.course.contents import LEVELS, lessons, routes
from k8slb.course.lab import _first_of, copies, stored

NOTEBOOKS = stored()
PAGES = ("contents.ipynb", "glossary.ipynb")
shop = k8slb.load("shop")


def cells(page):
    return nbformat.read(NOTEBOOKS / page, 4).cells


@pytest.fixture
def learner(tmp_path, monkeypatch):
    """A learner's folder with copies of everything, and a kernel that starts there."""
    copies(NOTEBOOKS, tmp_path / "lessons")
    monkeypatch.setattr(progress, "_start", tmp_path / "lessons")
    monkeypatch.setattr(progress, "_memory", {kind: {} for kind in progress.KINDS})
    return tmp_path / "lessons"


def test_the_lessons_are_read_from_their_first_cells(learner):
    for lesson in lessons():
        minutes, needs, after = box(load(NOTEBOOKS / lesson.file))
        assert f"{lesson.core} + {lesson.further}" == minutes and lesson.verbs == tuple(after.split("; "))
        assert list(lesson.needs) == re.findall(r"\[(\d\d)\]", needs) and set(lesson.needs) < {
            x.number for x in lessons()
        }
        assert lesson.title != lesson.question, "no other lesson links it by its title"
    assert [x.file for x in lessons()] == sorted(path.name for path in NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))
    assert lessons(learner) == lessons()


def test_routes_are_sums():
    given = {lesson.number: (lesson.core, lesson.further) for lesson in lessons()}
    hour, half, everything = routes()
    assert [x.number for x in hour.lessons] == ["00", "05", "09"]
    assert {x.number for x in half.lessons} == {"00", "05", "09", "01", "02", "07", "13"}
    for route in (hour, half):
        assert route.minutes == sum(given[x.number][0] for x in route.lessons)
    assert everything.minutes == sum(map(sum, given.values())) and everything.lessons == lessons()
    for route in routes():
        terms = re.findall(r"\d+", route.sum)
        assert sum(map(int, terms[:-1])) == int(terms[-1]) == route.minutes
    assert hour.minutes <= 60


@pytest.mark.parametrize("page", PAGES)
def test_what_is_made_is_up_to_date(page):
    made = {exercise_of(cell, MADE): cell.source for cell in cells(page) if exercise_of(cell, MADE)}
    assert made and made == {name: generated.TEXTS[name]() for name in made}, "notebooks/build.py"


@pytest.mark.parametrize("page", [*PAGES, *(lesson.file for lesson in lessons())])
def test_links_lead_to_files(page):
    text = "\n".join(cell.source for cell in cells(page) if cell.cell_type == "markdown")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (NOTEBOOKS / target).is_file(), target
    assert page in PAGES or "(contents.ipynb)" in cells(page)[0].source


def test_the_glossary_has_every_word_that_lessons_build_on():
    told = {(term, number) for number, terms in generated.TERMS.items() for term in terms}
    assert {term for term in GLOSSARY} <= {term for term, _ in told}
    rows = [row.split(" | ") for row in generated.the_glossary().splitlines()[2:]]
    names = [row[0].strip("| *").lower() for row in rows]
    assert names == sorted(names) and len(set(names)) == len(names) == len(told)
    for row in rows:
        assert len(row) == 3 and row[1].endswith(".") and len(row[1].split()) >= 3, row
    with pytest.raises(ValueError, match="lesson 00 does not define"):
        generated.definition(lessons()[0], "preStop")


def test_each_level_shows_what_the_trace_says():
    levels, wider = Levels(shop), Levels(shop.scale("order", 5))
    for level in LEVELS:
        levels.choice.value = wider.choice.value = level.title
        cluster = shop.apply(level.apply) if level.apply else shop
        hop = next(h for h in cluster.trace(level.url).to_dict()["hops"] if h["layer"] == level.layer)
        rows = re.findall(r"<tr><td>([^<]*)</td><td>([^<]*)</td></tr>", levels.html)
        expected = [(f"{c['name']} {c['address']}", c["share"] and Fraction(c["share"])) for c in hop["candidates"]]
        shown = [(unescape(n), None if s == "depends on load" else Fraction(s.split(" = ")[0])) for n, s in rows]
        assert shown == expected and expected
        assert hop["grain"] in levels.html and "role='alert'" not in levels.html
        files = re.findall(r'href="([^"]+)"', levels.html)
        assert [name[:2] for name in files] == list(level.lessons) and all((NOTEBOOKS / f).is_file() for f in files)
        assert (levels.html != wider.html) == (level.title in ("Pod level", "Service mesh"))
    pods = dict.fromkeys(map(str, shop.shares("http://order-service")))
    levels.choice.value = "Pod level"
    assert [line.split(" ")[-1] for line in re.findall(r"<tr><td>([^<]*)", levels.html)] == list(pods)


def test_a_cluster_without_that_level_is_told():
    levels = Levels(k8slb.load(SERVICE))
    assert "<svg" not in levels.html, "nothing has the name of the shop"
    levels.choice.value = "Cloud load balancer"
    assert "role='alert'" in levels.html and "meets no cloud-lb here" in levels.html
    assert "meets no cloud-lb here" in levels._repr_mimebundle_()["text/plain"]


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: order-service}
spec: {selector: {app: order}, ports: [{port: 80}]}
"""


def test_progress_shows_live_and_never_in_what_is_stored(learner):
    table = Routes()
    stored_text = table._repr_mimebundle_()["text/plain"]

    def shown():
        return table.shown.outputs[0]["data"]["text/html"]

    assert table.next().number == "00" and shown().count("not yet") == 3
    progress.record("guesses", "00", "one pod gets all of them")
    table = Routes()  # the cell is run again
    assert table.next().number == "00" and shown().count("not yet") == 2 and ">locked<" in shown()
    progress.record("passed", "00.1", "yes")
    table.choice.index = 1
    assert table.next().number == "01" and ">1 of 2<" in shown() and "Go on with <a href=" in shown()
    assert set(re.findall(r'href="([^"]+)"', shown())) <= {path.name for path in learner.iterdir()}
    assert table._repr_mimebundle_()["text/plain"] == stored_text and "locked" not in stored_text
    for lesson in lessons():
        progress.record("guesses", lesson.number, "x")
        progress.record("passed", f"{lesson.number}.1", "yes")
    table = Routes()  # the cell is run again
    assert table.next() is None and "through all of it" in shown()


def test_lab_opens_the_contents_once_a_guess_is_locked(learner):
    names = sorted(path.name for path in learner.glob("*.ipynb"))
    assert {*PAGES} < {*names} and _first_of(learner, names) == lessons()[0].file
    for text in ("", "[]", "null", json.dumps({"guesses": {}, "passed": {"00.1": "yes"}})):
        (learner / "progress.json").write_text(text, encoding="utf-8")
        assert _first_of(learner, names) == lessons()[0].file
    progress.record("guesses", "00", "x")
    assert _first_of(learner, names) == "contents.ipynb"
    assert _first_of(learner, names[:1]) == names[0], "an older folder has no contents"
