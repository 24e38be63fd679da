"""The way in: packaging, Binder, the workflow, and `k8slb lab`."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from k8slb.course import lab

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(path: str) -> dict[str, str]:
    lines = (ROOT / path).read_text().split()
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in lines)
    return dict(line.split("==") for line in lines)


def test_constraints_pin_whatever_is_installed():
    constraints, seen, todo = pins("constraints.txt"), set(), [("k8slb", "lab"), ("k8slb", "test")]
    while todo:
        if (entry := todo.pop()) in seen:
            continue
        seen.add(entry)
        for line in metadata.requires(entry[0]) or ():
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": entry[1]}):
                todo += itertools.product([canonicalize_name(need.name)], need.extras or [""])
                todo.append((canonicalize_name(need.name), ""))
    used = {name: metadata.version(name) for name, _ in seen if name != "k8slb"}
    assert used == {name: constraints.get(name) for name in used}


def test_the_real_proxies_are_pinned_and_only_where_asked_for():
    names = {canonicalize_name(Requirement(line).name) for line in PROJECT["optional-dependencies"]["real"]}
    assert names <= pins("constraints.txt").keys()
    newcomers = (ROOT / "Makefile").read_text().partition("constraints:\n")[0]
    assert "real]" not in newcomers
    assert "-e '.[real]'" in (ROOT / ".ci/run").read_text()


def test_binder_gets_the_same_packages():
    names = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    constraints = pins("constraints.txt")
    assert pins("binder/requirements.txt") == {name: constraints[name] for name in names}

    runtime = re.fullmatch(r"python-(3\.\d+)\n", (ROOT / "binder/runtime.txt").read_text())
    assert Version(runtime[1]) >= Version(PROJECT["requires-python"].removeprefix(">="))
    assert (ROOT / "binder/apt.txt").read_text().split() == ["graphviz"]
    json.loads((ROOT / "binder/overrides.json").read_text())


@pytest.mark.parametrize("script", ["binder/postBuild", ".ci/run"])
def test_scripts_can_be_run(script):
    assert (ROOT / script).read_text().startswith("#!/bin/bash")
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / script], check=True)


def test_workflow_does_what_a_newcomer_does():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    newcomer = jobs["test"]
    supported = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line}
    assert set(newcomer["strategy"]["matrix"]["python"]) == supported
    assert newcomer["steps"][-1]["run"] == "make test"
    assert jobs["everything"]["steps"][-1]["run"] == "bash .ci/run"


def test_wheel_carries_the_lessons_and_no_settings(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    sources = [*ROOT.glob("data/**/*"), *ROOT.glob("notebooks/*.ipynb")]
    expected = {f"k8slb/{path.relative_to(ROOT)}" for path in sources if path.is_file()}
    assert any(name.endswith(".ipynb") for name in expected) and expected <= carried
    assert {name.split("/")[0] for name in carried} == {"k8slb", f"k8slb-{PROJECT['version']}.dist-info"}
    # JupyterLab's settings belong to whoever installs the wheel.
    assert not any("overrides.json" in name for name in carried)


def cell(kind: str, source: str, **more) -> dict:
    tags = more.pop("tags", [])
    return {"cell_type": kind, "id": "a", "metadata": {"tags": tags} if tags else {}, "source": [source], **more}


def test_copies_show_no_answer_and_lose_no_work(tmp_path):
    output = {"output_type": "stream", "name": "stdout", "text": ["500\n"]}
    cells = [
        cell("markdown", "# How many? 🤔"),
        cell("code", "print(500)", outputs=[output], execution_count=3),
        cell("markdown", "## Explain", tags=["explain"]),
        cell("markdown", "Half of them, because", tags=["explain"]),
    ]
    source, target = tmp_path / "notebooks", tmp_path / "lessons"
    source.mkdir()
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (source / "00-a.ipynb").write_text(json.dumps(notebook), encoding="utf-8")

    assert lab.copies(source, target) == [target / "00-a.ipynb"]
    copy = json.loads((target / "00-a.ipynb").read_text(encoding="utf-8"))
    assert [c["source"] for c in copy["cells"]] == [c["source"] for c in cells]
    title, code, explain, text = copy["cells"]
    assert code["outputs"] == [] and code["execution_count"] is None
    assert explain["metadata"]["jp-MarkdownHeadingCollapsed"] is True
    assert title["metadata"] == {} and text == cells[3]  # under a folded heading already

    (target / "00-a.ipynb").write_text("my work")
    (source / "01-b.ipynb").write_text(json.dumps(notebook))
    assert lab.copies(source, target) == [target / "01-b.ipynb"]
    assert (target / "00-a.ipynb").read_text() == "my work"


def run_lab(folder: Path, *flags: str, **more) -> subprocess.Popen:
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")}
    command = [sys.executable, "-c", "import sys; from k8slb.cli import main; sys.exit(main())", "lab", *flags]
    return subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more
    )


def test_fresh_makes_another_folder(tmp_path):
    for expected in ("lessons", "lessons-2", "lessons-3"):
        printed, _ = run_lab(tmp_path, "--fresh", "--copies-only").communicate(timeout=60)
        assert printed and all(Path(line).parent == tmp_path / expected for line in printed.split())
    printed, _ = run_lab(tmp_path, "--copies-only").communicate(timeout=60)
    assert not printed.split()


def test_check_says_what_is_there(tmp_path):
    start = time.monotonic()
    process = run_lab(tmp_path, "--check")
    printed, _ = process.communicate(timeout=60)
    assert time.monotonic() - start < 10
    assert process.returncode == 0, printed
    for name in ("Python", "jupyterlab", "ipykernel", "a way to draw", "lessons", "your folder"):
        assert re.search(rf"^ok +{name}: \S", printed, re.MULTILINE), printed


def test_check_fails_where_lessons_cannot_be_followed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lab, "stored", lambda: tmp_path / "nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert lab.check() == 1
    printed = capsys.readouterr().out
    assert re.search(r"^MISSING +lessons: none", printed, re.MULTILINE)
    assert re.search(r"^MISSING +a way to draw: pip install graphviz-pure", printed, re.MULTILINE)


def test_lab_without_jupyterlab_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)
    assert lab.open_lab() == 2
    assert "pip install 'k8slb[lab]'" in capsys.readouterr().err


def test_lab_opens_the_first_lesson_and_ends_on_ctrl_c(tmp_path):
    process = run_lab(tmp_path)
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+/lab/tree/(00-.*\.ipynb)\?token=\w{20,}$", line.strip()):
                break
        else:
            pytest.fail("".join(lines))
        assert (tmp_path / "lessons" / found[1]).exists()
        with urllib.request.urlopen(found[0], timeout=30) as answer:
            assert answer.status == 200 and b"JupyterLab" in answer.read()
    finally:
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in "".join(lines) + printed
