"""Every recorded question: what is stored agrees with the model, and asked again the real thing agrees with it too."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bench import cost
from driven import driven
from real import table
from real.agreement import UNLIKELY, against

from k8slb.course import live
from k8slb.manifests import DATA
from k8slb.real import record
from k8slb.real.cases import Case, cases
from k8slb.real.recordings import recording

KINDS = {name.partition("/")[0] for name in cases()}


def test_what_is_recorded_is_what_can_be_asked():
    """All but IPVS, which needs a kernel of its own."""
    assert {path.stem for path in (DATA / "recordings").glob("*.json")} - {"ipvs", "ipvs-cost"} == set(record.names())
    for kind in KINDS:
        runs = json.loads((DATA / f"recordings/{kind}.json").read_text(encoding="utf-8"))["runs"]
        assert [f"{kind}/{run}" for run in runs] == [name for name in cases() if name.startswith(f"{kind}/")]
        assert all(run["input"] == cases()[f"{kind}/{name}"].given for name, run in runs.items())


@pytest.mark.parametrize("name", cases())
def test_stored(name):
    one = recording(name)
    assert against(one.case, one.facts)["differs"] == []


@pytest.mark.parametrize("case", cases().values(), ids=cases())
def test_live(case):
    if lacking := case.missing:
        pytest.skip(lacking)
    facts, versions = case.put()
    told = against(case, facts)
    if told["p"] is not None and told["p"] < UNLIKELY:  # of so many, chance alone makes one rare now and then
        told = against(case, case.put()[0])
    assert told["differs"] == []
    assert versions


# --- in a lesson -----------------------------------------------------------------------------------------------------

NAME = "netfilter/nftables/clusterip-3"
LESSON = f"from k8slb.course import live\nasked = live({NAME!r})\nasked"


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    path = tmp_path_factory.mktemp("lesson") / "lesson.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LESSON)]), path)
    with driven(path) as client:
        yield client


def test_the_button_asks_the_kernel_and_draws_what_it_says(lesson):
    if lacking := cases()[NAME].missing:
        pytest.skip(lacking)
    (button,) = lesson.models("ButtonModel")
    states = [m["content"]["data"]["state"] for m in lesson.click(button) if m["msg_type"] == "comm_msg"]
    assert states[0] == {"disabled": True} and states[-1] == {"disabled": False}
    drawn = next(state["value"] for state in states if "<svg" in state.get("value", ""))
    assert "10,000 real connections, Linux" in drawn and "beside the model: p = " in drawn
    assert lesson.value_of("sum(asked.fresh.counts.values())") == "10000"
    assert lesson.value_of("asked.fresh.counts == asked.recording.counts") == "False"
    assert lesson.value_of("asked.alert.value") == "''"


def test_what_is_stored_is_the_recording_alone(lesson):
    (output,) = lesson.nb.cells[0].outputs
    assert output.data["text/plain"] == str(recording(NAME).beside()) and output.data["image/png"]


def test_where_it_cannot_run_a_sentence_says_why(monkeypatch):
    monkeypatch.setattr(Case, "missing", "the program nft (apt-get install nftables)")
    asked = live(NAME)
    assert asked.button.layout.display == "none" and "(apt-get install nftables)" in asked.alert.value
    monkeypatch.setattr(Case, "put", lambda case: 1 / 0)
    asked.ask()
    assert "ZeroDivisionError" in asked.alert.value and not asked.button.disabled and asked.fresh is None


# --- the command -----------------------------------------------------------------------------------------------------


def command(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "k8slb.real", *words], capture_output=True, text=True)


def test_the_command_says_what_it_knows():
    for words in (["record", "netfiltr"], ["record"], ["record", "netfilter/nftables/x"]):
        done = command(*words)
        assert (
            done.returncode == 2 and done.stdout == "" and "netfilter" in done.stderr and "Traceback" not in done.stderr
        )


def test_it_records_again(tmp_path, monkeypatch):
    if lacking := cases()[NAME].missing:
        pytest.skip(lacking)
    monkeypatch.setattr(record, "DATA", tmp_path)
    (tmp_path / "recordings").mkdir()
    said = []
    written = record.record(NAME, said.append)
    (run,) = (found := json.loads(written.read_text()))["runs"].values()
    assert said[0].startswith(f"{NAME}: counts ") and found["about"].keys() == recording(NAME).about.keys()
    assert run.keys() == recording(NAME).facts.keys() and run["picks"] != recording(NAME).facts["picks"]


@pytest.mark.parametrize("how", cost.PROGRAMS)
def test_what_rules_cost_can_be_measured(how, monkeypatch):
    if lacking := Case(f"netfilter/{how}/any", {}).missing:
        pytest.skip(lacking)
    monkeypatch.setenv("PYTHONPATH", str(Path(cost.__file__).parents[1]))
    monkeypatch.setattr(cost, "CONNECTIONS", 20)
    measured, stored = cost.measured(how, 10), recording(f"kube-proxy-cost/{how}/10").facts
    assert measured.keys() == stored.keys() and measured["rules"] == stored["rules"]
    assert measured["times_longer"].keys() == stored["times_longer"].keys()


def test_the_table_is_what_the_recordings_give():
    assert table.FILE.read_text(encoding="utf-8") == table.text()
