"""`make lite`: dist/lite/, a static site in which the cores of some lessons run in the browser alone.

    python notebooks/lite.py        builds the site (in .venv-lite: notebooks/lite.txt)

JupyterLite with Pyodide, both from the site itself: no server but one for files, no request to anybody else. Only what
is pure Python is on it, so no numpy, pandas, matplotlib or graphviz. The pages are made from the stored lessons. Which
of their cells need what is not there is found by running them without it (`tried`).
"""

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

HERE = Path(__file__).parent
ROOT = HERE.parent
TARGET, WORK = ROOT / "dist" / "lite", ROOT / "dist" / ".lite"
LESSONS = ("00", "02", "09")
ABSENT = ("numpy", "pandas", "matplotlib", "graphviz", "numba", "yaml._yaml", "_yaml")
PYODIDE = "pyodide@314.0.6"
KERNEL = "micropip packaging ipython jedi".split()  # what the kernel loads from Pyodide's own list
WHEELS = "comm ipywidgets jupyterlab_widgets".split()  # from the registry, beside ours
INSTALL = f"""\
# In the browser: takes k8slb from this site, once for each page.
import piplite

await piplite.install({[*WHEELS, "pyyaml", "k8slb"]}, deps=False)"""
HEAD = """\
This page runs in your browser, and nowhere else; what you write stays in this browser. Each page begins with the cell \
below. Requests go one after the other here, with Python's own dice: a single count differs from the stored lesson's, \
the shares do not. Up to {most:,} can be sent at once. Titles without a link are lessons that are not on this site."""
TAIL = """\
Here the page ends. *Going further*, the other lessons and your own YAML: install k8slb, then `k8slb lab`."""
NEEDS = "The next cell takes {what}, which is not in the browser, and says so."
SETTINGS = {
    "@jupyterlite/pyodide-kernel-extension:kernel": {
        "pyodideUrl": "./static/pyodide/pyodide.mjs",
        "disablePyPIFallback": True,
    }
}
NO_NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


# --- the pages -------------------------------------------------------------------------------------------------------


def lesson(number: str) -> Path:
    return next(HERE.glob(f"{number}-*.ipynb"))


def core(number: str) -> dict:
    """The stored lesson up to "Going further"."""
    notebook = json.loads(lesson(number).read_text(encoding="utf-8"))
    cells = notebook["cells"]
    end = next(i for i, cell in enumerate(cells) if text(cell).startswith("## Going further"))
    return notebook | {"cells": cells[:end]}


def text(cell: dict) -> str:
    return "".join(cell["source"])


def page(notebook: dict, needs: dict[int, str]) -> dict:
    """The core as the site has it: first what it runs with, and no link that leads nowhere."""
    from k8slb.few import MOST

    title, *cells = notebook["cells"]
    shown = [title, markdown("runs-here", HEAD.format(most=MOST)), code("install", INSTALL)]
    for i, cell in enumerate(cells, 1):
        if i in needs:
            shown.append(markdown(f"needs-{i}", NEEDS.format(what=needs[i])))
            cell["metadata"].setdefault("tags", []).append("raises-exception")  # what follows runs all the same
        shown.append(cell)
    shown.append(markdown("ends-here", TAIL))
    for cell in shown:
        if cell["cell_type"] == "markdown":
            cell["source"] = linked(text(cell))
    kernel = {"name": "python", "display_name": "Python (in the browser)", "language": "python"}
    return notebook | {"cells": shown, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}}}


def linked(markdown: str) -> str:
    """Links to pages that are there stay links."""
    there = {lesson(number).name for number in LESSONS}
    return re.sub(r"\[([^\]]+)\]\(([\w-]+\.ipynb)\)", lambda m: m[0] if m[2] in there else m[1], markdown)


def markdown(id: str, source: str) -> dict:
    return {"cell_type": "markdown", "id": id, "metadata": {}, "source": source}


def code(id: str, source: str) -> dict:
    return {"cell_type": "code", "id": id, "metadata": {}, "source": source, "outputs": [], "execution_count": None}


# --- what needs what is not there ------------------------------------------------------------------------------------


class Blocked:
    """Imports of what a browser does not have fail as they do there."""

    def find_spec(self, name: str, path=None, target=None) -> None:
        if name in ABSENT or name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])


def run(numbers: list[str]) -> None:
    """Run the cores as a browser would and print, a JSON line a code cell, what came of it. In a process of its own."""
    import threading

    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sys.meta_path.insert(0, Blocked())
    threading.Thread.start = no_thread
    shell = InteractiveShell.instance(history_load_length=0)
    for number in numbers:
        shell.reset()
        for i, cell in enumerate(core(number)["cells"]):
            if cell["cell_type"] == "code":
                with capture_output() as said:
                    done = shell.run_cell(text(cell))
                wrong = done.error_in_exec or done.error_before_exec
                told = {"error": wrong and f"{type(wrong).__name__}: {wrong}", "said": said.stdout}
                print(json.dumps({"lesson": number, "cell": i, **told}), flush=True)


def tried(*numbers: str) -> list[dict]:
    """For each code cell of these cores: {"lesson", "cell", "error", "said"}."""
    command = [sys.executable, __file__, "run", *numbers]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"lesson"')]


def pages(target: Path) -> None:
    """Write the pages, with outputs cleared and Explain folded, as learners' copies are."""
    from k8slb.course.lab import copies

    drafts = WORK / "drafts"
    drafts.mkdir()
    for number in LESSONS:
        needs = {}
        for met in tried(number):
            if met["error"]:
                kind, _, what = met["error"].partition(": ")
                if kind != "NotHere":
                    raise SystemExit(f"lesson {number}, cell {met['cell']}: {met['error']}")
                needs[met["cell"]] = what.removeprefix("this takes ").partition(",")[0]
        made = page(core(number), needs)
        (drafts / lesson(number).name).write_text(json.dumps(made), encoding="utf-8")
        print(f"{lesson(number).name}: {len(made['cells'])} cells, {len(needs)} of which say what is not there")
    copies(drafts, target)


# --- what runs them --------------------------------------------------------------------------------------------------


def pip(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments), "-q"], check=True)


def wheels(target: Path) -> None:
    """What the first cell installs: k8slb of this checkout, widgets, and PyYAML without its C parser."""
    pip("wheel", "--no-deps", "--no-build-isolation", "-w", target, ROOT)
    pinned = [f"{name}=={metadata.version(name)}" for name in WHEELS]
    pip("download", "--no-deps", "--only-binary=:all:", "-d", target, *pinned)
    pure("pyyaml", target)


def pure(name: str, target: Path) -> Path:
    """The Python files of an installed package that works without its compiled ones, as a wheel for any machine."""
    about = metadata.distribution(name)
    wheel = target / f"{name}-{about.version}-py3-none-any.whl"
    files = [f for f in about.files if f.suffix != ".so" and "__pycache__" not in f.parts and f.parts[0] != "_yaml"]
    listed, info = io.StringIO(), next(f.parts[0] for f in files if f.parts[0].endswith(".dist-info"))
    rows = csv.writer(listed)
    with ZipFile(wheel, "w", ZIP_DEFLATED) as packed:
        for file in files:
            data = file.read_binary()
            if file.name == "WHEEL":
                data = b"Wheel-Version: 1.0\nGenerator: k8slb\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            if file.name not in ("RECORD", "INSTALLER", "REQUESTED"):
                digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                rows.writerow((file, f"sha256={digest}", len(data)))
                packed.writestr(str(file), data)
        rows.writerow((f"{info}/RECORD", "", ""))
        packed.writestr(f"{info}/RECORD", listed.getvalue())
    return wheel


def pyodide(target: Path) -> None:
    """Pyodide, and of the packages in its list those that the kernel loads, as the registry has the same versions."""
    npm = Path(sys.executable).with_name("npm")
    packed = subprocess.run([npm, "pack", "--silent", PYODIDE], cwd=WORK, check=True, capture_output=True, text=True)
    with tarfile.open(WORK / packed.stdout.split()[-1]) as archive:
        for member in archive.getmembers():
            if member.isfile() and not member.name.endswith((".map", ".html", ".d.ts", "README.md")):
                member.name = Path(member.name).name
                archive.extract(member, target, filter="data")
    lock = json.loads((target / "pyodide-lock.json").read_text(encoding="utf-8"))
    listed, needed = lock["packages"], list(KERNEL)
    for name in needed:
        needed += [n for d in listed[name]["depends"] if (n := d.lower().replace("_", "-")) not in needed]
    lock["packages"] = {name: listed[name] for name in needed}
    pinned = [f"{name}=={lock['packages'][name]['version']}" for name in needed]
    python = lock["info"]["python"].rpartition(".")[0]
    pip("download", "--no-deps", "--only-binary=:all:", "--python-version", python, "-d", target, *pinned)
    found = {(parts := f.name.split("-"))[0].lower().replace("_", "-"): (f, parts) for f in target.glob("*.whl")}
    for name, package in lock["packages"].items():  # the same sources, packed by others: another checksum
        file = found[name][0]
        package |= {"file_name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    (target / "pyodide-lock.json").write_text(json.dumps(lock), encoding="utf-8")


def main() -> None:
    for folder in (TARGET, WORK):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in ("wheels", "files", "pyodide"):
        (WORK / folder).mkdir(parents=True)
    pages(WORK / "files")
    wheels(WORK / "wheels")
    pyodide(WORK / "pyodide")
    settings = {"jupyter-lite-schema-version": 0, "jupyter-config-data": {"litePluginSettings": SETTINGS}}
    settings["jupyter-config-data"] |= {"appName": "k8slb", "enableMemoryStorage": True, "exposeAppInBrowser": True}
    (WORK / "jupyter-lite.json").write_text(json.dumps(settings))
    (WORK / "overrides.json").write_text(json.dumps(NO_NEWS))
    config = {"PipliteAddon": {"piplite_urls": ["wheels"]}, "LiteBuildConfig": {"contents": ["files"]}}
    (WORK / "jupyter_lite_config.json").write_text(json.dumps(config))
    lite = [Path(sys.executable).with_name("jupyter-lite"), "build", "--apps=lab", "--no-sourcemaps"]
    subprocess.run(
        [*lite, "--no-unused-shared-packages", "--no-libarchive", "--output-dir", TARGET], cwd=WORK, check=True
    )
    shutil.copytree(WORK / "pyodide", TARGET / "static" / "pyodide")
    shutil.rmtree(WORK)
    size = sum(file.stat().st_size for file in TARGET.rglob("*") if file.is_file())
    print(f"{TARGET}: {size / 1e6:.0f} MB. Any server of files will do: python -m http.server -d {TARGET}")


if __name__ == "__main__":
    run(sys.argv[2:]) if sys.argv[1:2] == ["run"] else main()
