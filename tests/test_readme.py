"""What the README shows is what the commands print."""

import os
import re
import subprocess
import sys
from pathlib import Path

from build import filled

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_every_command_shown_prints_what_is_shown():
    assert README.count("\n$ k8slb ") >= 1
    assert filled(README) == README
    assert filled(README.replace("1 of 3", "1 of 4")) == README, "a wrong line would be found"


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
