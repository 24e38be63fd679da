"""The shelf of incidents: every file is read, every figure of the model is worked out anew, what is wrong is said."""

import json

import pytest

import k8slb
from k8slb.cli import main
from k8slb.course.lab import stored
from k8slb.errors import InputError
from k8slb.incidents import opened
from k8slb.manifests import DATA
from k8slb.positions import Source

FILES = sorted((DATA / "incidents").glob("*.yaml"))
NAMES = [path.stem for path in FILES]
TRAEFIK = (DATA / "incidents" / "traefik-10303.yaml").read_text(encoding="utf-8")
SEEDS = 0, 12345


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_model_gives_what_the_file_says(name, seed):
    """Numbers that chance has no part in exactly, or within the tolerance; others within a quarter."""
    incident = k8slb.incident(name)
    for row, figure in zip(incident.replay(seed), incident.head["replay"], strict=True):
        reason = figure.get("differs")
        assert row.agrees is not bool(reason), f"{row}: {reason or 'does not agree, and no reason stands there'}"
        if isinstance(row.model, str):
            assert row.model == figure["gives"]
        else:
            slack = abs(figure["model"]) / 4 if figure.get("runs", 1) > 1 else figure.get("within", 0)
            assert row.model == pytest.approx(figure["model"], abs=max(slack, 0.005)), row


def test_the_shelf_has_each_thread_once_and_names_it_by_its_number():
    heads = [k8slb.incident(name).head for name in NAMES]
    threads = [head["thread"] for head in heads]
    assert len(set(threads)) == len(threads) >= 12
    assert all(name.endswith("-" + thread.partition("#")[2]) for name, thread in zip(NAMES, threads, strict=True))
    assert {head["seen"] for head in heads} <= {"whole", "excerpt"}
    for head in heads:
        assert len(head["question"]["wrong"]) in (2, 3)
        assert list(stored().glob(head["lesson"] + "-*.ipynb")), head["lesson"]
    scenes = {"traefik-10303": "02", "kubernetes-38456": "05", "kubernetes-43576": "13"}
    assert {name: k8slb.incident(name).head["lesson"] for name in scenes} == scenes
    letters = {sorted([h["question"]["right"], *h["question"]["wrong"]]).index(h["question"]["right"]) for h in heads}
    assert letters == {0, 1, 2, 3}  # so the place does not tell which is right


def test_what_the_reporter_says_has_no_part_in_the_models_column():
    """With other figures in the thread the model answers the same, and they agree no more."""
    before = opened("it", Source("it.yaml", TRAEFIK)).replay()
    after = opened("it", Source("it.yaml", TRAEFIK.replace("1517", "9517").replace("718", "1718"))).replay()
    assert [row.model for row in after] == [row.model for row in before]
    assert [row.agrees for row in after] == [False, False, True, False, False]


def test_the_cause_is_not_told_before_the_guess():
    for name in NAMES:
        incident = k8slb.incident(name)
        shown, cause = " ".join(repr(incident).split()), " ".join(incident.head["cause"].split())
        assert incident.head["question"]["right"] in shown and cause not in shown
    short = k8slb.incident("kubernetes-97112")
    assert " ".join(short.head["cause"].split()) in " ".join(short.answer.split())
    assert all(row.why in " ".join(short.answer.split()) for row in short.replay())
    said = repr(k8slb.incident("traefik-10303").said).splitlines()
    assert said[2].endswith(" 1517 1348 1230 1097 791 631 522 501 442 441 424 402 309 204 141")


WRONG = {  # what is edited: (what becomes of it, the line that is told, what is said)
    "seen: excerpt\n": ("", 1, "is missing; expected seen"),
    "date: 2023-12-15": ("day: 2023-12-15", 1, "is missing; expected date"),
    "lesson: ": ("chapter: 2\nlesson: ", 5, "chapter: is no field"),
    'lesson: "02"': ("lesson: 2", 5, "lesson: cannot be 2; expected text"),
    "  right: ": ("  correct: ", 14, "is missing; expected right"),
    "  - of: requests per pod, through Traefik\n": ("  - of: elsewhere\n", 37, '"elsewhere" was not said'),
    "    read: hottest": ("    read: exec", 31, '"exec" cannot be read'),
    '[{send: {url: "http://app", requests: 10000}}]': ("[{__class__: {}}]", 25, "{'__class__': {}} is no step here"),
    '{send: {url: "http://app", requests: 10000, connections: 36}}': ("{with_nodes: {count: -1}}", 44, "cannot be -1"),
    "kind: IngressClass": ("kind: IngressKlass", 60, "IngressKlass"),
    "replay:\n": ("replay: [\n", 25, "not YAML"),
}


@pytest.mark.parametrize("old", WRONG)
def test_a_wrong_file_says_the_line(old):
    new, line, said = WRONG[old]
    assert old in TRAEFIK
    with pytest.raises(InputError) as error:
        opened("it", Source("it.yaml", TRAEFIK.replace(old, new, 1))).replay()
    assert said in str(error.value)
    assert str(error.value).startswith(f"it.yaml:{line}: ")


def test_no_step_reaches_what_is_no_question():
    """Names of methods are data, so only those on the list are called, and on what they belong to."""
    steps = ["{timeline: {}}", "{_repr_mimebundle_: {}}", "{lost: {}}", "{send: {seed: 1}}", "{scale: [app, 3]}"]
    for step in [*steps, "{}", "1", "{scale: {name: app, replicas: 3}, send: {}}"]:
        text = TRAEFIK.replace('[{send: {url: "http://app", requests: 10000}}]', f"[{step}]", 1)
        with pytest.raises(InputError, match=r"it\.yaml:25: replay\[0\]: "):
            opened("it", Source("it.yaml", text)).replay()
    with pytest.raises(InputError, match=r"it\.yaml:1: is missing; expected thread"):
        opened("it", Source("it.yaml", ""))


def test_the_command_line(capsys):
    assert main(["incidents"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in NAMES)
    assert main(["incidents", "traefik-10303"]) == 0
    told = capsys.readouterr().out
    order = [told.index(text) for text in ("1517", "Why is the third", "Traefik dials the ClusterIP", "agrees")]
    assert order == sorted(order)
    assert main(["incidents", "kubernetes-97112", "--json"]) == 1  # today's default is another one
    told = json.loads(capsys.readouterr().out)
    assert [row["agrees"] for row in told["figures"]] == [True, False, True]
    assert main(["incidents", "kubernetes-121371", "-o", "yaml"]) == 0
    assert k8slb.load(capsys.readouterr().out).trace("http://app", via="node-c").to_dict()["action"] == "drop"
    assert main(["incidents", "traefik-10304"]) == 2
    assert "traefik-10303" in capsys.readouterr().err
