"""A sweep gives the same table whoever computes it."""

import sys
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace

import pandas as pd
import pytest
from swept import busiest, traced

from k8slb import InputError, sweep

GRID = {"replicas": [2, 5], "mode": ("iptables", "ipvs")}


class Here(Executor):
    """The least an executor can be: `map` is inherited."""

    def submit(self, fn, /, *args, **kwargs):
        done = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="module")
def dask():
    from distributed import Client

    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as client:
        yield client.get_executor()


@pytest.fixture
def executor(request):
    return Here() if request.param == "here" else request.getfixturevalue(request.param)


everywhere = pytest.mark.parametrize("executor", ["here", "processes", "dask"], indirect=True)


def test_rows_stand_in_the_order_of_the_grid_with_what_fn_returned():
    table = sweep(GRID, busiest)
    assert list(table) == ["replicas", "mode", "pods", "busiest"]
    assert table["mode"].tolist() == ["iptables", "ipvs"] * 2
    assert table.replicas.tolist() == table.pods.tolist() == [2, 2, 5, 5]
    assert sweep([{"x": 2}, {"x": 1, "y": 3}], lambda x, y=0: x + y).result.tolist() == [2, 4]


@everywhere
def test_every_executor_gives_the_same_table(executor):
    pd.testing.assert_frame_equal(sweep(GRID, busiest, executor, seed=7), sweep(GRID, busiest, seed=7))


@everywhere
def test_an_error_keeps_its_kind_and_names_the_point(executor):
    urls = ["http://order-service", "http://order-service:nowhere"]
    with pytest.raises(InputError, match="no URL") as caught:
        sweep({"url": urls}, traced, executor)
    assert caught.value.__notes__ == ['at this point of the sweep: url="http://order-service:nowhere"']


def test_every_point_has_a_seed_of_its_own():
    def seeds(values, seed=0):
        return sweep({"x": values}, lambda x, seed: seed, seed=seed).result.tolist()

    assert len(set(seeds(range(100)) + seeds(range(100), seed=1))) == 200
    assert seeds(range(100))[:10] == seeds(range(10)), "points that are added change no others"
    assert sweep({"seed": [3, 4]}, lambda seed: seed).result.tolist() == [3, 4]


@pytest.mark.parametrize(
    "grid", [{"mode": "ipvs"}, {"replicas": 3}, {"x": {1: 2}}, [3], ["x"], 3, {3: [1]}, {"x": range(10**9)}]
)
def test_a_grid_that_is_none_is_told(grid):
    with pytest.raises(InputError, match="expected"):
        sweep(grid, lambda **point: 0)


def test_an_answer_does_not_replace_a_coordinate():
    with pytest.raises(InputError, match="fn returned x,"):
        sweep({"x": [1]}, lambda x: {"x": x + 1})


@pytest.fixture
def slow(monkeypatch):
    """Every look at the clock finds it half a second on."""
    ticks = iter(range(1000))
    monkeypatch.setattr(sys.modules["k8slb.sweep"].time, "monotonic", lambda: next(ticks) / 2)


def test_a_terminal_is_told_after_a_second_and_nobody_else(slow, monkeypatch, capsys):
    sweep({"x": [1, 2, 3]}, lambda x: x)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    sweep({"x": [1, 2, 3]}, lambda x: x)
    assert capsys.readouterr().err == "\r2 of 3 points\r3 of 3 points\n"
    sweep({"x": [1, 2, 3]}, lambda x: x, progress=False)
    assert capsys.readouterr().err == ""


def test_a_notebook_has_a_bar_until_the_end(slow, monkeypatch):
    import IPython

    bars = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=1))
    monkeypatch.setattr(IPython.display, "display", bars.append)
    during = []
    sweep({"x": [1, 2, 3]}, lambda x: during.append([bar.value for bar in bars]))
    (bar,) = bars
    assert during == [[], [], [2]]
    assert (bar.value, bar.max, bar.comm) == (3, 3, None), "at the end it is closed"
