"""`make wheelhouse`: one folder, dist/wheelhouse/, from which k8slb and its lessons install without a network.

    python notebooks/wheelhouse.py [--python 3.11 3.13] [--platform linux windows mac linux-arm]

Without options for the Python and the machine that run it. pip asks a wheel's conditions (`sys_platform == 'win32'`) of
the Python that downloads; here they are asked once more of each that will install, and what is missing is fetched.
"""

import platform
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "dist" / "wheelhouse"
INSTALL = "python -m pip install --no-index --find-links . 'k8slb[lab]'"
GLIBC = ("manylinux_2_17", "manylinux2014", "manylinux_2_24", "manylinux_2_26", "manylinux_2_27", "manylinux_2_28")
# What pip calls a platform, and what its own conditions are asked of there.
PLATFORMS = {
    "linux": ([f"{name}_x86_64" for name in GLIBC], ("linux", "posix", "Linux", "x86_64")),
    "linux-arm": ([f"{name}_aarch64" for name in GLIBC], ("linux", "posix", "Linux", "aarch64")),
    "windows": (["win_amd64"], ("win32", "nt", "Windows", "AMD64")),
    "mac": (["macosx_14_0_arm64"], ("darwin", "posix", "Darwin", "arm64")),
}
README = """# k8slb without a network

For {targets}. The folder, on any disk or share, is all that a machine of the room needs beside Python:

    cd wheelhouse
    python -m venv ~/k8slb
    . ~/k8slb/bin/activate          (Windows: %USERPROFILE%\\k8slb\\Scripts\\activate)
    {install}
    k8slb lab --check
    k8slb lab

On Windows write "k8slb[lab]" with double quotes. `k8slb lab` copies the lessons into the folder `lessons` where you
call it, and opens the first. Nothing in it asks the internet.

{count} wheels, {size:.0f} MB.
"""


def here() -> str:
    """The platform of this machine, as this file calls it."""
    for name, (_, (system, _, _, machine)) in PLATFORMS.items():
        if (sys.platform, platform.machine()) == (system, machine):
            return name
    raise SystemExit(f"say --platform: {', '.join(PLATFORMS)}")


def environment(python: str, name: str) -> dict[str, str]:
    """The conditions' variables as that Python on that platform has them."""
    values = dict(
        zip(("sys_platform", "os_name", "platform_system", "platform_machine"), PLATFORMS[name][1], strict=True)
    )
    cpython = {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    return values | cpython | {"python_version": python, "python_full_version": f"{python}.0"}


def needs(wheels: Iterable[Path], asked: str, where: dict[str, str]) -> Iterator[Requirement]:
    """What installing `asked` from `wheels` needs, itself first; what is not among them is only named."""
    found = {parse_wheel_filename(wheel.name)[0]: wheel for wheel in wheels}
    todo, seen = [Requirement(asked)], set()
    while todo:
        requirement = todo.pop()
        name, extras = canonicalize_name(requirement.name), requirement.extras or {""}
        if (name, *extras) in seen:
            continue
        seen.add((name, *extras))
        yield requirement
        for given in requires(found[name]) if name in found else ():
            if given.marker is None or any(given.marker.evaluate(where | {"extra": extra}) for extra in extras):
                todo.append(given)


def requires(wheel: Path) -> list[Requirement]:
    with ZipFile(wheel) as archive:
        (about,) = (n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA"))
        return [Requirement(line) for line in message_from_bytes(archive.read(about)).get_all("Requires-Dist", [])]


def missing(wheels: list[Path], where: dict[str, str]) -> list[str]:
    """What no wheel of the folder brings."""
    names = {parse_wheel_filename(wheel.name)[0] for wheel in wheels}
    told = [r for r in needs(wheels, "k8slb[lab]", where) if canonicalize_name(r.name) not in names]
    return [f"{r.name}{r.specifier}" for r in told]


def pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, arguments)], check=True)


def fetch(folder: Path, python: str, name: str) -> None:
    """Download into `folder` what that Python needs there."""
    how = ["--only-binary=:all:", "--python-version", python, "-c", ROOT / "constraints.txt", "--find-links", folder]
    how += [part for tag in PLATFORMS[name][0] for part in ("--platform", tag)]
    asked = ["k8slb[lab]"]
    while asked:
        pip("download", "-q", "-d", folder, *how, *asked)
        asked = missing([*folder.glob("*.whl")], environment(python, name))


def main(argv: list[str] | None = None) -> int:
    parser = ArgumentParser(description="Collect what the lessons need, to install it where there is no network.")
    parser.add_argument("--python", nargs="+", default=[f"{sys.version_info.major}.{sys.version_info.minor}"])
    parser.add_argument("--platform", nargs="+", choices=PLATFORMS)
    options: Namespace = parser.parse_args(argv)
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    pip("wheel", "--no-deps", "-w", TARGET, ROOT)
    for name in options.platform or [here()]:
        for python in options.python:
            print(f"Python {python} on {name}", flush=True)
            fetch(TARGET, python, name)
    wheels = [*TARGET.glob("*.whl")]
    targets = f"Python {', '.join(options.python)} on {', '.join(options.platform or [here()])}"
    size = sum(wheel.stat().st_size for wheel in wheels) / 1e6
    told = README.format(targets=targets, install=INSTALL, count=len(wheels), size=size)
    (TARGET / "README.md").write_text(told, encoding="utf-8")
    print(f"{TARGET}: {len(wheels)} wheels, {size:.0f} MB. In it: {INSTALL}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
