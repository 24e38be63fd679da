"""What the README shows is what the commands print."""

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_every_command_shown_prints_what_is_shown():
    blocks = re.findall(r"```\n\$ (k8slb [^\n]*)\n(.*?)```", README, re.S)
    assert blocks
    for command, shown in blocks:
        ran = subprocess.run([sys.executable, "-m", *command.split()], capture_output=True, text=True)
        assert (ran.stdout, ran.stderr) == (shown, "")
