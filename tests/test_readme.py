"""What the README and the commands' pages show is what the commands print."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from build import filled, pages

from k8slb.manifests import table_of

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_command_shown_prints_what_is_shown(page):
    text = page.read_text(encoding="utf-8")
    assert text.count("\n$ ") >= 1
    assert filled(text) == text


def test_a_wrong_line_would_be_found():
    assert filled(README.replace("1 of 3", "1 of 4")) == README


def test_each_command_has_a_page():
    commands = table_of("commands")["commands"]
    assert {page.stem for page in pages()} == {"README", *commands}
    for page in pages()[1:]:
        assert f"$ k8slb {page.stem}" in page.read_text(encoding="utf-8")


def test_the_python_shown_runs(tmp_path):
    """All of it in a row, as a reader would type it."""
    blocks = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    told = "print(*table.columns, len(table), sep='|')"
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join([*blocks, told])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg"},
    )
    assert (ran.stdout, ran.stderr) == ("replicas|mode|busiest pod's share|fair share|8\n", "")
