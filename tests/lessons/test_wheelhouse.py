"""The wheelhouse asks a wheel's conditions of the machine that will install it, not of the one that downloads."""

import re
import subprocess
import sys
from zipfile import ZipFile

import pytest
import wheelhouse


@pytest.fixture
def wheels(tmp_path):
    def wheel(name, *requires):
        path = tmp_path / f"{name}-1.0-py3-none-any.whl"
        with ZipFile(path, "w") as archive:
            told = "".join(f"Requires-Dist: {line}\n" for line in requires)
            archive.writestr(
                f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{told}"
            )
        return path

    return [
        wheel("k8slb", "numpy>=1.26", 'jupyter-lab>=4; extra == "lab"', 'proxies; extra == "real"'),
        wheel("jupyter_lab", 'winpty>=2; os_name == "nt"', 'backport; python_version < "3.13"', "k8slb"),
        wheel("numpy"),
    ]


@pytest.mark.parametrize(
    "python, name, missing",
    [
        ("3.11", "linux", ["backport"]),
        ("3.13", "mac", []),
        ("3.13", "windows", ["winpty>=2"]),
        ("3.11", "windows", ["backport", "winpty>=2"]),
    ],
)
def test_what_a_target_lacks_is_named(wheels, python, name, missing):
    assert sorted(wheelhouse.missing(wheels, wheelhouse.environment(python, name))) == missing


def test_the_readme_says_how_to_install():
    told = wheelhouse.README.format(targets="Python 3.13 on linux", install=wheelhouse.INSTALL, count=1, size=2)
    assert wheelhouse.INSTALL in told and "--no-index" in told and "{" not in told


@pytest.mark.parametrize("file", ["postBuild", "jupyterhub.yaml"])
def test_images_make_the_copies(file, tmp_path):
    """With what stands in binder/, in a home folder outside of the checkout, as on JupyterHub."""
    text = (wheelhouse.ROOT / "binder" / file).read_text(encoding="utf-8")
    command = re.search(r"python (-m .+ --copies-only)", text)[1]
    subprocess.run([sys.executable, *command.split()], cwd=tmp_path, check=True, capture_output=True)
    assert {path.name for path in tmp_path.glob("lessons/*.ipynb")} >= {"00-one-request.ipynb", "contents.ipynb"}
