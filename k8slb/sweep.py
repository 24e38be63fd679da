"""The same question at many points: `sweep`."""

import inspect
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any

from .errors import InputError, shown, whole

MOST = 1_000_000  # points of a grid
Grid = Mapping[str, Iterable] | Iterable[Mapping[str, Any]]


def sweep(grid: Grid, fn: Callable[..., Any], executor: Executor | None = None, seed: int = 0, progress: bool = True):
    """A table with a row for each point of `grid`: the point, and what `fn(**point, seed=...)` returned.

    `grid`: {name: values}, which stands for all combinations, the last name changing fastest; or a list of points. A
    mapping that `fn` returns becomes columns, anything else the column `result`. Each point has a seed of its own,
    spawned from `seed` (numpy.random.SeedSequence), unless `fn` has no parameter `seed` or the point gives one.

    `executor` is any of concurrent.futures' kind (processes, dask, ipyparallel), None this process; `fn` must then be
    one that can be sent there, defined at the top of a module. Order and numbers are the same with each of them. What
    `fn` raises comes out with a note that names the point. `progress` shows what takes more than a second.
    """
    import numpy as np
    import pandas as pd

    points = asked = _points(grid)
    if not callable(fn):
        raise InputError(f"{shown(fn)} is no function", expected="one that is called with each point", field="fn")
    if executor is not None and not hasattr(executor, "map"):
        raise InputError(f"{shown(executor)} is no executor", expected="one of concurrent.futures' kind")
    whole(seed, "the seed", 0, 2**64 - 1)
    if "seed" in inspect.signature(fn).parameters:
        states = (child.generate_state(1, np.uint64) for child in np.random.SeedSequence(seed).spawn(len(points)))
        asked = [{"seed": int(state[0]), **point} for point, state in zip(points, states, strict=True)]
    answers = (map if executor is None else executor.map)(partial(_at, fn), asked)
    rows: list[dict[str, Any]] = []
    try:
        for point, pairs in zip(points, _watched(answers, len(points)) if progress else answers, strict=True):
            found = dict(pairs)
            if twice := point.keys() & found.keys():
                raise InputError(f"fn returned {', '.join(sorted(twice))}, which the point has", expected="other names")
            rows.append({**point, **found})
    except Exception as error:
        point = (f"{name}={shown(value)}" for name, value in points[len(rows)].items())
        error.add_note(f"at this point of the sweep: {', '.join(point)}")
        raise
    return pd.DataFrame(rows)


def _points(grid: Grid) -> list[dict[str, Any]]:
    if not isinstance(grid, Iterable):
        raise InputError(f"{shown(grid)} is no grid", expected='such as {"replicas": [2, 3]}', field="grid")
    if not isinstance(grid, Mapping):
        points = list(itertools.islice(grid, MOST + 1))
        whole(len(points), "the points of a grid", 0, MOST)
        if not all(isinstance(point, Mapping) for point in points):
            raise InputError(f"no points: {shown(points)}", expected='mappings, as {"replicas": 3}', field="grid")
        return [_named(dict(point)) for point in points]
    for name, values in _named(grid).items():
        if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
            raise InputError(f"{shown(values)} is one value", expected="a list of values", field=f"grid: {name}")
    grid = {name: list(itertools.islice(values, MOST + 1)) for name, values in grid.items()}
    whole(math.prod(map(len, grid.values())), "the points of a grid", 0, MOST)
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _named(point: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in point:
        if not isinstance(name, str):
            raise InputError(f"{shown(name)} is no name", expected="text: a parameter of fn", field="grid")
    return point


def _at(fn: Callable[..., Any], asked: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The columns, as pairs: ipyparallel would sort a mapping on its way."""
    answer = fn(**asked)
    return list(answer.items()) if isinstance(answer, Mapping) else [("result", answer)]


def _watched(answers: Iterable[Any], total: int) -> Iterator[Any]:
    """The same answers; from the second second on, in a notebook a bar and in a terminal a line tells how many."""
    begun, bar = time.monotonic(), None
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    for count, answer in enumerate(answers, 1):
        yield answer
        if time.monotonic() - begun < 1:
            continue
        if getattr(shell, "kernel", None) is not None:
            if bar is None:
                import ipywidgets
                from IPython.display import display

                display(bar := ipywidgets.IntProgress(max=total, description="sweep"))
            bar.value = count
        elif sys.stderr.isatty():
            print(f"\r{count} of {total} points", end="\n" if count == total else "", file=sys.stderr, flush=True)
    if bar:
        bar.close()
