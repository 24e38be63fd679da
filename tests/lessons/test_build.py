"""`make lessons`: exercises come from one source, solutions are made from it, and a second run changes nothing."""

import nbformat
import pytest

from k8slb.course import build
from k8slb.course.exercises import EXERCISES

markdown, code, new = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell, nbformat.v4.new_notebook


def tagged(cell, id):
    cell.metadata["tags"] = [f"exercise:{id}", "another"]
    return cell


def lesson(*more):
    return new(cells=[markdown("# Why?"), code("from k8slb.course import check"), *more])


def test_cells_of_an_exercise():
    task, stub = build.cells("02.1")
    assert (task.cell_type, stub.cell_type) == ("markdown", "code")
    assert task.metadata.tags == stub.metadata.tags == ["exercise:02.1"]
    assert task.source.startswith("### Exercise 02.1 ★\n\nEach of 6 connections")
    assert task.source.count("<details><summary>Hint ") == task.source.count("</details>") == 3
    assert stub.source == EXERCISES["02.1"].stub and build.cells("02.1", solved=True)[1].source.startswith("from math")


def test_a_build_fills_the_cells_and_makes_the_solutions(tmp_path):
    path = tmp_path / "02-x.ipynb"
    cells = [tagged(markdown(""), "02.1"), markdown("Between."), tagged(code("answer = 'old'"), "02.1")]
    nbformat.write(lesson(*cells, code("1 + 1")), path)
    written = build.build(path)
    assert written == [path, tmp_path / "solutions" / "02-x.ipynb"]
    first = [file.read_bytes() for file in written]
    assert build.build(path) == written and [file.read_bytes() for file in written] == first
    stored, solved = (nbformat.read(file, 4).cells for file in written)
    assert [c.source for c in stored[2::2]] == [c.source for c in build.cells("02.1")]
    assert stored[4].metadata.tags == ["exercise:02.1", "another"] and stored[3].source == "Between."
    assert stored[4].outputs[0].text == "○ 02.1: not answered yet\n"
    assert solved[4].source == EXERCISES["02.1"].solved and solved[4].outputs[0].text == "✔ 02.1: correct\n"
    assert [a.source == b.source for a, b in zip(stored, solved, strict=True)] == [True] * 4 + [False, True]


def test_a_lesson_without_exercises_has_no_solutions(tmp_path):
    nbformat.write(lesson(), tmp_path / "00-x.ipynb")
    assert build.build(tmp_path / "00-x.ipynb") == [tmp_path / "00-x.ipynb"]
    assert not (tmp_path / "solutions").exists()


@pytest.mark.parametrize(
    "cells, problem",
    [
        ([tagged(markdown(""), "99.9")], "cell 2: there is no exercise 99.9"),
        ([tagged(code(""), "02.1")], "cell 2: exercise 02.1 is one Markdown cell, then one code cell"),
        ([tagged(markdown(""), "02.1")], "no code cell for exercise 02.1"),
        ([tagged(markdown(""), "02.1"), *[tagged(code(""), "02.1") for _ in "ab"]], "cell 4: exercise 02.1 is one"),
    ],
)
def test_a_wrong_tag_is_told(cells, problem):
    with pytest.raises(ValueError, match=problem):
        build.with_exercises(lesson(*cells))


@pytest.mark.parametrize("id", EXERCISES)
def test_an_exercise_fits_a_lesson(id):
    """As `ruff format` leaves it, and as long as a learner's cell may be."""
    for cell in (build.cells(id)[1], build.cells(id, solved=True)[1]):
        assert cell.source == cell.source.strip() and max(map(len, cell.source.splitlines())) <= 120
        compile(cell.source, id, "exec")
