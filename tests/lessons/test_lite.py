"""The lessons that run in a browser: without numpy, pandas, matplotlib, graphviz, libyaml and threads, as there."""

import json
import subprocess
import sys

import lite
import pytest
import yaml

import k8slb
from k8slb import engine, positions
from k8slb.front import load
from k8slb.manifests import DATA

WITHOUT = "import sys, lite; sys.meta_path.insert(0, lite.Blocked()); import k8slb, json; "


@pytest.fixture(scope="module")
def cores():
    found = {}
    for met in lite.tried(*lite.LESSONS):
        found.setdefault(met["lesson"], []).append(met)
    return found


def without(code: str) -> str:
    """What `code` prints in a Python that lacks them."""
    command = [sys.executable, "-c", WITHOUT + code]
    return subprocess.run(command, cwd=lite.HERE, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("number", lite.LESSONS)
def test_every_cell_of_a_core_answers(cores, number):
    """The panel behind the prediction and the exercise's check among them."""
    met, cells = cores[number], lite.core(number)["cells"]
    assert [one["cell"] for one in met] == [i for i, cell in enumerate(cells) if cell["cell_type"] == "code"]
    assert [one["error"] for one in met] == [None] * len(met)
    assert any("requests to http" in one["said"] for one in met)  # the panel's sentence
    assert f"{number}.1: not answered yet" in met[-1]["said"]


@pytest.mark.parametrize(
    "asked",
    [
        {"url": "http://order-service", "requests": 500},
        {"url": "http://order-service", "requests": 500, "connections": 7, "seed": 3},
        {"url": "https://myshop.example.com/payments/process/101", "requests": 300, "clients": 40, "behind_nat": 0.5},
        {"url": "https://myshop.example.com/nowhere", "requests": 20},
    ],
)
def test_the_same_requests_have_the_same_fate_without_numpy(asked, monkeypatch):
    monkeypatch.setattr(engine, "WHOLE", False)  # one after the other, on arrays
    run = load("shop").with_proxy(mode="ipvs").send(**asked)
    here = [run.counts(column) for column in ("pod", "status", "node", "ingress_pod")], str(run)
    code = f"run = k8slb.load('shop').with_proxy(mode='ipvs').send(**{asked!r});"
    code += "print(json.dumps([[run.counts(c) for c in ('pod', 'status', 'node', 'ingress_pod')], str(run)]))"
    assert json.loads(without(code)) == list(here)


@pytest.mark.parametrize(
    "line, said",
    [
        ("shop.send('http://order-service', requests=100_001)", "requests without numpy cannot be 100001"),
        ("shop.send('http://order-service', rate=100)", "this takes numpy, which is not here"),
        ("shop.send('http://order-service').plot()", "this takes numpy, which is not here"),
        ("shop.get('pods')", "this takes pandas, which is not here"),
        ("shop.draw()", "this takes graphviz, which is not here"),
    ],
)
def test_what_is_not_there_is_one_sentence(line, said):
    code = f"shop = k8slb.load('shop')\ntry:\n    {line}\nexcept k8slb.K8slbError as error:\n    print(error)"
    assert without("\n" + code).startswith(said)


def test_manifests_are_read_alike_without_libyaml(monkeypatch):
    """Values, and the line of each field."""
    sets = [str(DATA / "manifests" / name) for name in ("shop", "source-text")]

    def all_of(folder):
        objects = k8slb.load(folder).objects
        keys = (("kind",), ("metadata", "name"), ("spec",), ("spec", "ports", 0), ("spec", "rules", 0, "host"))
        return [(o.raw, [o.origin.line_of(key) for key in keys]) for o in objects]

    fast = [all_of(folder) for folder in sets]
    for module in (positions, sys.modules["k8slb.reader"]):
        monkeypatch.setattr(module, "LOADER", yaml.SafeLoader)
    positions._yaml_lines.cache_clear()
    assert [all_of(folder) for folder in sets] == fast
    assert all(fast)


def test_the_pages_have_no_link_that_leads_nowhere():
    for number in lite.LESSONS:
        made = lite.page(lite.core(number), {})
        links = {part for cell in made["cells"] for part in lite.re.findall(r"\]\(([^)#]+\.ipynb)", lite.text(cell))}
        assert links <= {lite.lesson(other).name for other in lite.LESSONS}
        assert "piplite" in lite.text(made["cells"][2])
