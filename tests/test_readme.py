"""What the README shows is what the commands print."""

from pathlib import Path

from build import filled

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_every_command_shown_prints_what_is_shown():
    assert README.count("\n$ k8slb ") >= 1
    assert filled(README) == README
    assert filled(README.replace("1 of 3", "1 of 4")) == README, "a wrong line would be found"
