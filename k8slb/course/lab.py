"""`k8slb lab`: give the learner copies of the lessons and open them in JupyterLab."""

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from importlib import metadata
from itertools import count
from pathlib import Path

from ..manifests import DATA

CONTENTS = "contents.ipynb"


def stored() -> Path:
    """The lessons as shipped: beside the data, in an installed package as in a checkout."""
    return DATA.with_name("notebooks")


def your_folder(fresh: bool = False) -> Path:
    """lessons, in the current folder or at the top of the checkout when inside one; `fresh`: or lessons-2, lessons-3
    ..., the first that does not exist yet."""
    here, top = Path.cwd(), DATA.parent
    base = top if here.is_relative_to(top) else here
    names = ("lessons" + f"-{n}" * (n > 1) for n in count(1))
    return next(base / name for name in names if not (fresh and (base / name).exists()))


def copies(source: Path, target: Path) -> list[Path]:
    """Write the learner's copy of each lesson in `source` that `target` does not have yet; return what was written."""
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for lesson in sorted(source.glob("*.ipynb")):
        copy = target / lesson.name
        notebook = json.loads(lesson.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            _unanswered(cell)
        # "x" refuses to overwrite: what a learner wrote is never lost, not even in a race.
        with contextlib.suppress(FileExistsError), copy.open("x", encoding="utf-8") as file:
            file.write(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
            written.append(copy)
    return written


def _unanswered(cell: dict) -> None:
    """Clear what a run left in the cell, and fold it if it explains: no answer on screen before the guess."""
    if cell["cell_type"] == "code":
        cell["outputs"], cell["execution_count"] = [], None
        cell["metadata"].pop("execution", None)
    heading = cell["cell_type"] == "markdown" and "".join(cell["source"]).startswith("#")
    if heading and "explain" in cell["metadata"].get("tags", ()):
        # Folds everything down to the next heading of this level, so one click opens the whole explanation.
        cell["metadata"]["jp-MarkdownHeadingCollapsed"] = True


def free_port() -> int:
    """8888, where people expect Jupyter, or one of the next; else any; 0 if there is none."""
    for port in (*range(8888, 8908), 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            if os.name == "posix":  # else a server stopped a minute ago still seems to hold its port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return probe.getsockname()[1]
    return 0


def has_display() -> bool:
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))


def open_lab(fresh: bool = False, argv: Sequence[str] = ()) -> int:
    """Open your copies of the lessons in JupyterLab; Ctrl-C ends it."""
    if importlib.util.find_spec("jupyterlab") is None:
        print("k8slb lab: JupyterLab is not installed: pip install 'k8slb[lab]'", file=sys.stderr)
        return 2
    folder = your_folder(fresh)
    try:
        written = copies(stored(), folder)
    except OSError as error:
        print(f"k8slb lab: cannot write your copies of the lessons: {error}", file=sys.stderr)
        return 2
    lessons = sorted(path.name for path in folder.glob("*.ipynb"))  # by number, then contents and glossary
    if not lessons:
        print(f"k8slb lab: no lessons in {stored()}", file=sys.stderr)
        return 2
    print(f"{folder}: {len(written)} notebooks copied, {len(lessons) - len(written)} kept as you left them", flush=True)

    port, token = free_port(), secrets.token_hex(24)
    page = f"/lab/tree/{_first_of(folder, lessons)}"
    command = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    command += [f"--ServerApp.root_dir={folder}", f"--LabApp.default_url={page}"]
    command += ["--log-level=WARN", "--LabApp.log_level=WARN"]
    command += ["--ContentsManager.pre_save_hook=k8slb.course.saved.pictures_only"]
    command += ["--allow-root"] if _is_root() else []
    command += [] if has_display() else ["--no-browser"]
    # The token goes by the environment, where other users of the machine cannot read it. A session of its own keeps
    # Ctrl-C from reaching JupyterLab, which would ask back instead of ending.
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.default_int_handler)  # a closed terminal must end the server too
    own = {"JUPYTERLAB_WORKSPACES_DIR": str(folder / ".workspaces")}  # tabs of other work stay out of the lessons
    server = subprocess.Popen(
        [*command, *argv],
        env={**os.environ, **own, "JUPYTER_TOKEN": token},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while server.poll() is None and not _answers(port):
            time.sleep(0.1)
        if server.poll() is None:
            print(f"\nOpen this address: http://127.0.0.1:{port}{page}?token={token}", flush=True)
            print("Ctrl-C ends it. Your work stays in " + str(folder), flush=True)
        return server.wait()
    except KeyboardInterrupt:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            server.wait(10)
        server.kill()
        print("\nJupyterLab has ended.")
        return 0


def _first_of(folder: Path, lessons: list[str]) -> str:
    """The first lesson; for who has locked a guess the contents, which say where to go on."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        if json.loads((folder / "progress.json").read_text(encoding="utf-8"))["guesses"] and CONTENTS in lessons:
            return CONTENTS
    return lessons[0]


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def check() -> int:
    """Say line by line what is there and what to do about what is missing; 0 if the lessons can be followed."""
    good = True

    def line(name: str, found: object, remedy: str, needed: bool = True) -> None:
        nonlocal good
        good &= bool(found) or not needed
        print(f"{'ok     ' if found else 'MISSING' if needed else 'without'}  {name}: {found or remedy}")

    python = sys.version.split()[0]
    line("Python", sys.version_info >= (3, 11) and python, f"{python} is too old: install 3.11 or newer")
    for package in ("jupyterlab", "ipykernel", "ipywidgets", "matplotlib", "pandas", "graphviz"):
        extra = "[lab]" if package in ("jupyterlab", "ipykernel") else ""
        line(package, _version(package), f"pip install 'k8slb{extra}'")
    line("a way to draw", _drawing(), "pip install graphviz-pure, or install Graphviz (apt-get install graphviz)")

    number = len(list(stored().glob("[0-9][0-9]-*.ipynb")))
    line("lessons", number and f"{number} in {stored()}", f"none in {stored()}: pip install --force-reinstall k8slb")
    lessons = your_folder()
    folder = lessons if lessons.is_dir() else lessons.parent
    line("your folder", _writable(folder) and lessons, f"cannot write in {folder}: start in another folder")
    line("a free port", free_port(), "127.0.0.1 has none")
    kernel = "only the parts that ask a real kernel need it"
    line("root", _is_root() and "yes", kernel, needed=False)
    # Debian keeps such tools where an ordinary user's PATH does not look.
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    for tool, package in (("iptables", "iptables"), ("nft", "nftables")):
        line(tool, shutil.which(tool, path=path), f"{kernel} (apt-get install {package})", needed=False)
    chromium = "only the browser tests need it (apt-get install chromium)"
    line("chromium", shutil.which("chromium"), chromium, needed=False)
    print("The lessons can be followed: k8slb lab" if good else "Some things are missing: see above")
    return 0 if good else 1


def _is_root() -> bool:
    return getattr(os, "geteuid", lambda: 1)() == 0


def _version(package: str) -> str:
    # Not imported: that would take seconds. The folder must be there too, metadata alone can be left over.
    with contextlib.suppress(metadata.PackageNotFoundError, ModuleNotFoundError):
        return metadata.version(package) if importlib.util.find_spec(package) else ""
    return ""


def _drawing() -> str:
    """The path of a program that drew a graph just now."""
    beside = Path(sys.executable).with_name("graphviz-pure")
    for program in filter(None, map(shutil.which, ("dot", "graphviz-pure", beside))):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            drawn = subprocess.run([program, "-Tsvg"], input=b"digraph { a -> b }", capture_output=True, timeout=3)
            if b"</svg>" in drawn.stdout:
                return program
    return ""


def _writable(folder: Path) -> bool:
    # Tried, not asked: to root every folder claims to be writable, also on a read-only disk.
    with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder):
        return True
    return False


def main(options: Namespace) -> int:
    """`k8slb lab`, with the options that data/commands.json has for it."""
    if options.check:
        return check()
    if options.copies_only:
        print(*copies(stored(), your_folder(options.fresh)), sep="\n")
        return 0
    return open_lab(options.fresh, options.jupyter)
