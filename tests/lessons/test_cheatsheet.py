"""The cheat sheet says what its commands show, and the teachers' guide what the lessons say."""

import os
import subprocess
import sys
from functools import cache

import build
import cheatsheet
import pytest
import teaching

ROWS = cheatsheet.rows()
REAL = ("curl ", "istioctl ", "kubectl ", "sysctl ")  # what only a cluster can answer


@cache
def printed(command: str) -> str:
    beside = f'k8slb() {{ "{sys.executable}" -m k8slb "$@"; }}\n'
    how = {"capture_output": True, "text": True, "cwd": build.EXAMPLES, "env": os.environ | {"COLUMNS": "4000"}}
    return subprocess.run(["bash", "-c", beside + command], **how).stdout


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.lesson} {row.symptom}")
def test_a_command_shows_what_its_row_says(row):
    assert row.command.startswith("k8slb ") == bool(row.shows)
    if row.shows:
        assert " ".join(row.shows.split()) in " ".join(printed(row.command).split())
    else:
        assert row.command.startswith(REAL)


def test_it_is_one_page():
    assert 20 <= len(ROWS) <= 32 and len({row.symptom for row in ROWS}) == len(ROWS)
    longest = (48, 50, 36, 66)  # in the columns of the printed page these take two lines at most
    for row in ROWS:
        assert all(len(text) <= most for text, most in zip(row[1:5], longest, strict=True)), row


def test_nothing_is_stale():
    guide = cheatsheet.stored() / "TEACHING.md"
    told = guide.read_text(encoding="utf-8")
    assert (cheatsheet.stored() / "CHEATSHEET.md").read_text(encoding="utf-8") == cheatsheet.sheet(), "make lessons"
    assert teaching.filled(told) == told, "make lessons"


def test_every_lesson_has_its_part_of_the_guide():
    told = (cheatsheet.stored() / "TEACHING.md").read_text(encoding="utf-8")
    for one in teaching.contents.lessons():
        part = told.partition(f"### {one.number} ")[2].partition("\n### ")[0]
        assert f"<!-- lesson {one.number} -->" in part and "**Show.**" in part and "**Discuss.**" in part, one.number
