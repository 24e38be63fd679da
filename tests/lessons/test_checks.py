"""Every exercise, answered in every way a learner may answer it: one line, no exception, the misconception named."""

import itertools
import threading
import time
from fractions import Fraction
from pathlib import Path

import build
import nbformat
import pytest

from k8slb.course import check, progress
from k8slb.course.questions import exercises, lessons, questions

EXERCISES = {id: exercise for lesson in lessons() for id, exercise in exercises(lesson).items()}
ORDERS_ROW, REPAIRED = questions("09").ORDERS_ROW, questions("09").REPAIRED
CELLS = [c for path in Path(__file__).parents[2].glob("notebooks/*.ipynb") for c in nbformat.read(path, 4).cells]
STUBS = {build.exercise_of(c): c.source for c in CELLS if c.cell_type == "code" and build.exercise_of(c) in EXERCISES}
KNOWN = [(id, why) for id, exercise in EXERCISES.items() for why in exercise.wrong]
FUNCTIONS = [id for id, exercise in EXERCISES.items() if callable(exercise.solution)]


@pytest.fixture(autouse=True)
def memory(monkeypatch, tmp_path):
    monkeypatch.setattr(progress, "_start", tmp_path)
    monkeypatch.setattr(progress, "_memory", {kind: {} for kind in progress.KINDS})


@pytest.fixture
def line(capsys):
    """`line(id, answer)`: what check prints, which is one line."""

    def told(id, answer):
        assert check(id, answer) is None
        out, err = capsys.readouterr()
        assert err == "" and out.endswith("\n") and out.count("\n") == 1
        return out.strip()

    return told


def run(code: str, capsys) -> str:
    exec(code, {"check": check})
    return capsys.readouterr().out.strip()


@pytest.mark.parametrize("id", STUBS)
def test_the_stub_is_not_answered_yet(id, capsys):
    assert run(STUBS[id], capsys) == f"○ {id}: not answered yet"
    assert progress.recall("passed", id) is None


@pytest.mark.parametrize("id", STUBS)
def test_the_solution_is_correct(id, capsys):
    assert run(EXERCISES[id].solved(STUBS[id]), capsys) == f"✔ {id}: correct"
    assert progress.recall("passed", id)


@pytest.mark.parametrize("id", EXERCISES)
@pytest.mark.parametrize("answer", [None, ..., "", "  \n", [], {}], ids=repr)
def test_a_blank_answer_is_not_answered_yet(id, answer, line):
    assert line(id, answer) == f"○ {id}: not answered yet"


@pytest.mark.parametrize("id", EXERCISES)
@pytest.mark.parametrize("answer", [-7, True, 1.5j, "text", [1], (1, "a", None), {"a": 1}, object(), int, "\x1b[31m"])
def test_a_wrong_type_is_named(id, answer, line):
    told = line(id, answer)
    assert told.startswith(f"✗ {id}: not right: ")
    values = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, (list, tuple)) else [answer]
    fits = callable(answer) or any(isinstance(value, EXERCISES[id].kind) for value in values)
    assert fits or "expected" in told or "raised" in told or "is missing" in told
    assert "\x1b" not in told and "0x" not in told


@pytest.mark.parametrize("id, why", KNOWN)
def test_a_known_wrong_answer_is_named(id, why, line):
    told = line(id, EXERCISES[id].wrong[why])
    assert told.startswith(f"✗ {id}: not right: ") and told.endswith(why)


@pytest.mark.parametrize("id", FUNCTIONS)
def test_a_function_without_return_is_told_so(id, line):
    assert line(id, lambda *case: None).startswith(f"○ {id}: not answered yet: {EXERCISES[id].solution.__name__}(")


@pytest.mark.parametrize("id", FUNCTIONS)
def test_the_learners_exception_is_told_in_one_line(id, line):
    def answer(*case):
        print("not shown")
        raise ValueError("two\nlines \x1b[31m")

    row = answer.__code__.co_firstlineno + 2
    told = line(id, answer)
    assert f"raised ValueError: two lines \\x1b[31m (line {row})" in told


@pytest.mark.parametrize("wrong", [SystemExit, KeyboardInterrupt, RecursionError, MemoryError, StopIteration])
def test_nothing_that_is_raised_comes_through(wrong, line):
    def answer(*case):
        raise wrong

    assert wrong.__name__ in line("02.1", answer)


class Awkward:
    """Fails at whatever is asked of it."""

    __name__ = "awkward"

    def __repr__(self):
        raise RuntimeError

    __str__ = __eq__ = __len__ = __bool__ = __hash__ = __repr__


@pytest.mark.parametrize("id", EXERCISES)
def test_an_awkward_answer_is_told(id, line):
    for answer in (Awkward(), [Awkward()], (Awkward(), Awkward()), {"a": Awkward()}, lambda *case: Awkward()):
        assert line(id, answer).startswith(f"✗ {id}: not right: ")


def endless(*case):
    while True:
        pass


def stubborn(*case):
    while True:
        try:
            sum(case)
        except BaseException:
            pass


def asleep(*case):
    time.sleep(6)


@pytest.mark.parametrize("answer", [endless, stubborn, asleep])
def test_what_never_returns_is_ended(answer, line):
    start, before = time.monotonic(), threading.active_count()
    assert line("02.1", answer) == f"✗ 02.1: not right: {answer.__name__} did not return within 2 s."
    assert time.monotonic() - start < 4
    assert answer is asleep or threading.active_count() == before, "it still runs"


@pytest.mark.parametrize("id", FUNCTIONS)
def test_every_function_has_bounded_time(id, line, monkeypatch):
    monkeypatch.setattr("k8slb.course.checks.SECONDS", 0.05)
    assert "did not return within" in line(id, endless)


def test_it_works_beside_the_main_thread(line):
    told = []
    thread = threading.Thread(target=lambda: told.append(line("02.1", endless)))
    thread.start()
    thread.join(10)
    assert told and "did not return within 2 s" in told[0]


def test_an_unknown_exercise_is_told(line):
    assert "no such exercise; there are 00.1" in line("99.9", 1)
    assert "no such exercise; there are 02.1, 02.2, 02.3." in line("02.9", 1)
    assert "no such exercise" in line(Awkward(), 1)


def test_the_answers_of_the_plan():
    """By counting all cases and by hand, apart from the functions that judge."""
    splits = [sorted(map(picks.count, range(3))) for picks in itertools.product(range(3), repeat=6)]
    even, empty = (Fraction(sum(map(test, splits)), len(splits)) for test in (lambda s: s[0] == 2, lambda s: s[0] == 0))
    assert (f"{float(even):.1%}", f"{float(empty):.1%}") == ("12.3%", "25.9%")
    assert EXERCISES["02.1"].right["exactly_even(6, 3)"] == pytest.approx(float(even))
    assert EXERCISES["02.2"].right["some_pod_empty(6, 3)"] == pytest.approx(float(empty))
    assert EXERCISES["02.3"].right["connections_needed(3, 0.01)"] == 2223
    assert round(1 / even) == 8 and "1 time in 8" in questions("02").PREDICTION.right.text
    assert "729 ways" in questions("02").PREDICTION.because and (len(splits), even * len(splits)) == (729, 90)
    assert list(EXERCISES["12.1"].right.values())[-3:] == [6, 3, 3]
    assert EXERCISES["12.2"].right["attempts(3, 3, 9)"] == 27
    assert list(EXERCISES["00.2"].right.values()) == [3, 1]
    assert list(EXERCISES["09.1"].right.values()) == ["/", "/", "/", "/", "404", "404"]
    assert list(EXERCISES["09.2"].right.values()) == [
        "payment-service",
        "order-service",
        "/process/101",
        "/7",
        "nothing",
    ]


def test_other_ways_to_be_right(line):
    exact = {"02.1": lambda c, n: Fraction(EXERCISES["02.1"].observe(solved("02.1"))[f"exactly_even({c}, {n})"])}
    assert line("02.1", exact["02.1"]) == "✔ 02.1: correct"
    assert line("02.1", lambda c, n: round(exact["02.1"](c, n), 3)) == "✔ 02.1: correct"
    shorter = REPAIRED.replace("(/|$)(.*)", "/(.*)").replace("$2", "$1")
    assert line("09.2", shorter) == "✔ 09.2: correct"
    payments, orders = REPAIRED.replace(ORDERS_ROW, ""), REPAIRED[: REPAIRED.index(ORDERS_ROW)] + ORDERS_ROW
    assert line("09.2", payments + "---" + orders.replace("app-ingress", "orders")) == "✔ 09.2: correct"
    table = solved("09.3") | {url: 404 for url, given in solved("09.3").items() if given == "404"}
    assert line("09.3", table) == "✔ 09.3: correct"


def solved(id: str):
    namespace = {"check": lambda _, answer: namespace.update(answer=answer)}
    exec(EXERCISES[id].solved(STUBS[id]), namespace)
    return namespace["answer"]


@pytest.mark.parametrize("id", EXERCISES)
def test_an_exercise_is_complete(id):
    wrong = EXERCISES[id].wrong
    assert len(wrong) >= 2
    assert all(why.startswith('"') and why.count('": ') == 1 and why.endswith(".") for why in wrong)


def test_a_parametrised_misconception_is_recognised_alone(line):
    """Two misconceptions at once: the first is named."""
    both = solved("09.3") | {
        "https://myshop.example.com/orders-old": "order-service",
        "https://myshop.example.com/": "payment-service",
    }
    assert "/orders matches /orders-old" in line("09.3", both)
