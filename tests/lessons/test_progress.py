"""Guesses and passed checks: beside the learner's copy, nowhere else, and never lost to a broken file."""

import json

import pytest

from k8slb.course import progress, restore, save
from k8slb.course.lab import stored


@pytest.fixture
def kernel(monkeypatch):
    """`kernel(folder)`: a fresh kernel of a notebook in that folder."""

    def start(folder):
        monkeypatch.setattr(progress, "_start", folder)
        monkeypatch.setattr(progress, "_memory", {kind: {} for kind in progress.KINDS})

    return start


@pytest.fixture
def lessons(tmp_path):
    folder = tmp_path / "lessons"
    folder.mkdir()
    (folder / "00-one-request.ipynb").touch()
    return folder


def test_it_is_kept_beside_the_lesson(kernel, lessons):
    kernel(lessons)
    progress.record("passed", "02.1", "yes")
    kernel(lessons)
    progress.record("guesses", "02", "about 1 time in 8")
    assert progress.recall("passed", "02.1") and not progress.recall("passed", "02.2")
    written = json.loads((lessons / "progress.json").read_text(encoding="utf-8"))
    assert written == {"guesses": {"02": "about 1 time in 8"}, "passed": {"02.1": "yes"}}
    assert sorted(path.name for path in lessons.iterdir()) == ["00-one-request.ipynb", "progress.json"]


def test_the_stored_lessons_stay_clean(kernel, tmp_path, lessons):
    (lessons / "solutions").mkdir()
    (lessons / "solutions" / "00-one-request.ipynb").touch()
    for folder in (stored(), stored() / "solutions", lessons, lessons / "solutions", tmp_path):
        kernel(folder)
        progress.record("passed", "02.1", "yes")
        assert progress.recall("passed", "02.1") == "yes"
        assert not (folder / "progress.json").exists()


def test_a_folder_that_cannot_be_written_is_no_trouble(kernel, lessons, monkeypatch, capsys):
    kernel(lessons)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(progress, "_write", refuse)
    progress.record("passed", "02.1", "yes")
    assert progress.recall("passed", "02.1") == "yes"
    save()
    assert capsys.readouterr().out == f"Not saved: {lessons / 'progress.json'}: Permission denied\n"


def test_save_and_restore_carry_it(kernel, lessons, tmp_path, capsys):
    kernel(lessons)
    progress.record("guesses", "02", "always")
    progress.record("passed", "02.1", "yes")
    save(tmp_path / "mine.json")
    other = tmp_path / "other"
    other.mkdir()
    (other / "00-x.ipynb").touch()
    kernel(other)
    progress.record("passed", "09.1", "yes")
    restore(tmp_path / "mine.json")
    kernel(other)
    assert progress.recall("guesses", "02") == "always" and progress.recall("passed", "02.1")
    assert progress.recall("passed", "09.1"), "what was here stays"
    assert capsys.readouterr().out.splitlines() == [
        f"Saved in {tmp_path / 'mine.json'}: 1 guesses, 1 checks passed",
        f"Restored from {tmp_path / 'mine.json'}: 1 guesses, 2 checks passed",
    ]


BROKEN = [
    "",
    "{",
    "[]",
    "null",
    "\x00",
    '{"guesses": {}}',
    '{"guesses": [], "passed": {}}',
    '{"guesses": {"a": 1}, "passed": {}}',
]


@pytest.mark.parametrize("text", [*BROKEN, "[" * 100_000])
def test_a_broken_file_costs_one_message_and_nothing_else(kernel, lessons, capsys, text):
    kernel(lessons)
    (lessons / "progress.json").write_text(text)
    assert progress.recall("passed", "02.1") is None
    progress.record("passed", "02.1", "yes")
    assert progress.recall("passed", "02.1") == "yes"
    (told,) = capsys.readouterr().out.splitlines()
    assert "starts anew" in told and (lessons / "progress.json.broken").read_text() == text
    restore(lessons / "progress.json.broken")
    assert capsys.readouterr().out.startswith("Nothing restored: ") and progress.recall("passed", "02.1") == "yes"


def test_restore_from_nowhere(kernel, lessons, capsys):
    kernel(lessons)
    restore(lessons / "nothing.json")
    assert capsys.readouterr().out == f"Nothing restored: {lessons / 'nothing.json'}: No such file or directory\n"
