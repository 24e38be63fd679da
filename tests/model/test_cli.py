"""The command line's habits: formats, help, standard input, colour, a sign of life; what each command says is tested
with its page (tests/test_readme.py)."""

import io
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from k8slb.cli import main
from k8slb.manifests import DATA, table_of
from k8slb.terminal import Progress, painted

COMMANDS = table_of("commands")["commands"]
CASES = "- url: https://myshop.example.com/orders\n  expect: {status: 200}\n"
ASKED = {
    "trace": ["-f", "shop", "http://order-service"],
    "shares": ["-f", "shop", "http://order-service"],
    "send": ["-f", "shop", "http://order-service", "-n", "100"],
    "test": ["-f", "shop", "-"],
    "diff": ["shop", "source-text"],
    "explain": ["-f", "shop"],
    "fingerprint": [str(DATA / "examples" / "counts.csv")],
    "draw": ["-f", "shop"],
    "picks": ["nginx-rr"],
    "translate": ["-f", "shop"],
    "incidents": ["linkerd2-5017"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_of_its_own(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and "examples:" in shown and f"k8slb {name}" in shown.partition("examples:")[2]


@pytest.mark.parametrize("name", ASKED)
def test_json_and_yaml_say_the_same(name, capsys, monkeypatch):
    """`translate -o yaml` is the objects; every other command's is its JSON."""
    said = {}
    for form in ("json", "yaml"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CASES.encode())))
        assert main([name, *ASKED[name], "-o", form]) in (0, 1)
        said[form] = capsys.readouterr().out
    found = list(yaml.safe_load_all(said["yaml"]))
    as_json = json.loads(said["json"])
    if name == "translate":
        assert found == as_json["objects"]
    elif name == "incidents":  # the manifests of its cluster
        assert {one["kind"] for one in found} >= {"Service", "Deployment"}
    else:
        assert found == [as_json]


def test_manifests_from_standard_input_files_and_folders_add_up(tmp_path, monkeypatch, capsys):
    shop = DATA / "manifests" / "shop"
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "payment.yaml").write_text((shop / "payment.yaml").read_text())
    piped = (shop / "order.yaml").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(piped)))
    asked = ["shares", "-f", "-", "-f", str(tmp_path / "more"), "-f", str(shop / "ingress.yaml")]
    assert main([*asked, "https://myshop.example.com/payments"]) == 0
    assert "payment-1" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colour_only_at_a_terminal_and_never_against_no_color(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    text = "ok   one\nFAIL two\nbroken: three is ok\n"
    assert painted(text, io.StringIO()) == text
    coloured = painted(text, Terminal())
    assert coloured.count("\x1b[32m") == 1 and coloured.count("\x1b[31m") == 2 and "three is ok\n" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert painted(text, Terminal()) == text
    monkeypatch.setenv("NO_COLOR", "")  # an empty one does not count
    monkeypatch.setenv("TERM", "dumb")
    assert painted(text, Terminal()) == text


def test_a_sign_of_life_after_a_while_and_only_then():
    for stream in (io.StringIO(), Terminal()):
        with Progress(stream, after=0.05) as progress:
            pass
        assert stream.getvalue() == ""
        with Progress(stream, after=0.05) as progress:
            progress.tell("counting sheep")
            until = time.monotonic() + 20
            while "counting sheep" not in stream.getvalue() and time.monotonic() < until:
                time.sleep(0.01)
        assert "k8slb: counting sheep" in stream.getvalue()
        assert stream.getvalue().endswith("\r\x1b[K" if stream.isatty() else " s)\n")


def test_at_a_real_terminal_no_name_steers_it():
    """What a manifest holds reaches the terminal printable, with colour on."""
    evil = Path(__file__).with_name("evil.yaml")
    try:
        main_, other = pty.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminal here: {error}")
    command = [sys.executable, "-m", "k8slb", "explain", "-f", str(evil)]
    with subprocess.Popen(command, stdout=other, stderr=other, env={**os.environ, "TERM": "xterm"}) as run:
        os.close(other)
        said = b""
        while part := _read(main_):
            said += part
    assert run.returncode in (0, 1, 2) and said
    assert b"\x1b]" not in said and b"\x07" not in said and b"\xe2\x80\xae" not in said


@pytest.mark.parametrize("name", ["explain", "diff", "trace", "translate", "test", "draw"])
def test_no_name_begins_a_line_where_a_runner_would_obey_it(name, monkeypatch, capsys):
    """A line of a log that begins with "::" is a command of GitHub's runner, as is "##[" anywhere."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CASES.replace("myshop", "shop").encode())))
    evil, url = str(Path(__file__).with_name("evil.yaml")), "https://shop.example.com/"
    given = {"diff": [evil, "shop"], "trace": ["-f", evil, url], "test": ["-f", evil, "-"]}
    given["translate"] = ["-f", evil, "-o", "table"]
    assert main([name, *given.get(name, ["-f", evil])]) in (0, 1)
    said = "".join(capsys.readouterr())
    assert said and "##[" not in said
    assert not [line for line in said.splitlines() if line.lstrip().startswith("::")]


def test_streams_that_are_closed_full_or_know_no_umlaut_end_in_a_sentence():
    told = {
        "explain -f - <&-": (2, "k8slb: <stdin>: is closed"),
        "explain -f shop >&- 2>&-": (0, ""),
        "explain -f shop >/dev/full": (2, "k8slb: [Errno 28]"),
        "diff - - </dev/null": (2, "k8slb: - stands twice"),
        "draw -f shop | tail -n 1": (0, "\\u2514"),
    }
    if not os.path.exists("/dev/full"):
        del told["explain -f shop >/dev/full"]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for line, (code, said) in told.items():
        run = subprocess.run(["sh", "-c", f'"$0" -m k8slb {line}', sys.executable], env=env, capture_output=True)
        text = (run.stdout + run.stderr).decode().lstrip()
        assert run.returncode == code and text.startswith(said) and "Traceback" not in text, (line, text)


def _read(file: int) -> bytes:
    try:
        return os.read(file, 65536)
    except OSError:  # the other end is closed
        return b""
