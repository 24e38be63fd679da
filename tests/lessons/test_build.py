"""`make lessons`: lessons are executed, solutions are made, and a second run changes nothing."""

import build
import nbformat
import pytest

markdown, code, new = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell, nbformat.v4.new_notebook


def tagged(cell, id):
    cell.metadata["tags"] = [f"exercise:{id}", "another"]
    return cell


def lesson(*more):
    return new(cells=[markdown("# Why?"), code("from k8slb.course import check"), *more])


def test_a_build_keeps_the_cells_and_makes_the_solutions(tmp_path):
    path, stub = (
        tmp_path / "02-x.ipynb",
        'def exactly_even(connections, pods):\n    return ...\n\n\ncheck("02.1", exactly_even)',
    )
    cells = [tagged(markdown("### Exercise 02.1 ★"), "02.1"), markdown("Between."), tagged(code(stub), "02.1")]
    nbformat.write(lesson(*cells, code("1 + 1")), path)
    written = build.build(path)
    assert written == [path, tmp_path / "solutions" / "02-x.ipynb"]
    first = [file.read_bytes() for file in written]
    assert build.build(path) == written and [file.read_bytes() for file in written] == first
    stored, solved = (nbformat.read(file, 4).cells for file in written)
    assert [c.source for c in stored[2:5]] == [c.source for c in cells]
    assert stored[4].metadata.tags == ["exercise:02.1", "another"]
    assert stored[4].outputs[0].text == "○ 02.1: not answered yet\n"
    assert solved[4].source.startswith(
        "from math import factorial\n\n\ndef exactly_even(connections, pods):\n    each, "
    )
    assert solved[4].source.endswith(f"pods**connections\n\n\n{stub.splitlines()[-1]}")
    assert solved[4].outputs[0].text == "✔ 02.1: correct\n"
    assert [a.source == b.source for a, b in zip(stored, solved, strict=True)] == [True] * 4 + [False, True]


def test_a_text_takes_the_place_of_what_stands_above_the_last_line():
    notebook = build.solved(lesson(tagged(code('order = [...]\n\ncheck("00.1", order)'), "00.1")))
    order = 'order = ["dns", "cloud-lb", "kube-proxy", "ingress", "pods"]'
    assert notebook.cells[2].source == f'{order}\n\ncheck("00.1", order)'


def test_a_lesson_without_exercises_has_no_solutions(tmp_path):
    nbformat.write(lesson(), tmp_path / "00-x.ipynb")
    assert build.build(tmp_path / "00-x.ipynb") == [tmp_path / "00-x.ipynb"]
    assert not (tmp_path / "solutions").exists()


@pytest.mark.parametrize("id", ["99.9", "02.99", "x"])
def test_a_wrong_tag_is_told(id):
    with pytest.raises(ValueError, match=f"cell 2: there is no exercise {id}"):
        build.solved(lesson(tagged(code(""), id)))
