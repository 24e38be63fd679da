"""numpy; where it is not installed, as in a browser, the few things of it that requests one after the other need, on
lists. What else is asked of it then is a sentence: NotHere."""

import operator
from collections.abc import Callable, Iterable
from itertools import accumulate, pairwise, repeat
from math import floor
from types import SimpleNamespace
from typing import Any

from .errors import NotHere

MOST = 100_000  # requests that are sent without numpy: in a browser so many take seconds


def _each(do: Callable) -> Callable:
    return lambda self, other: Array(map(do, self, other if isinstance(other, list) else repeat(other)))


class Array(list):
    """A list that counts as an array of one dimension."""

    __add__, __sub__, __mul__ = map(_each, (operator.add, operator.sub, operator.mul))
    __mod__, __pow__, __and__ = map(_each, (operator.mod, operator.pow, operator.and_))
    __eq__, __ge__, __gt__, __lt__ = map(_each, (operator.eq, operator.ge, operator.gt, operator.lt))

    def __invert__(self) -> "Array":
        return Array(not x for x in self)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, list):
            masks = bool(at) and isinstance(at[0], bool)
            return Array(x for x, here in zip(self, at, strict=True) if here) if masks else Array(self[i] for i in at)
        found = super().__getitem__(at)
        return Array(found) if isinstance(at, slice) else found

    def __setitem__(self, at: Any, value: Any) -> None:
        for i in at if isinstance(at, list) else (at,):
            super().__setitem__(i, value)

    def astype(self, kind: type) -> "Array":
        return Array(map(kind, self))

    sum, max, any, all, tolist = (lambda self, do=do: do(self) for do in (sum, max, any, all, list))


def _bincount(codes: Iterable[int], minlength: int = 0) -> Array:
    counts = Array([0] * max(minlength, max(codes, default=-1) + 1))
    for code in codes:
        counts[code] += 1
    return counts


class Few:
    """Stands where numpy would."""

    ndarray = Array
    int64 = int32 = int16 = int8 = int
    random = SimpleNamespace(Generator=object, default_rng=lambda seed: np)
    array = staticmethod(lambda of, dtype=None: Array(of))
    arange = staticmethod(lambda many, dtype=None: Array(range(many)))
    full = staticmethod(lambda many, value, dtype=None: Array([value] * many))
    zeros = empty = staticmethod(lambda many, dtype=int: Array([dtype()] * many))
    floor = staticmethod(lambda of: Array(map(floor, of)))
    diff = staticmethod(lambda of: Array(b - a for a, b in pairwise(of)))
    cumsum = staticmethod(lambda of: Array(accumulate(of)))
    where = staticmethod(lambda at, one, other: Array(one if here else x for here, x in zip(at, other, strict=True)))
    bincount = staticmethod(_bincount)

    def __getattr__(self, name: str) -> Any:
        raise NotHere("this takes numpy, which is not here")


try:
    import numpy as np
except ModuleNotFoundError:
    np = Few()
WHOLE = not isinstance(np, Few)
