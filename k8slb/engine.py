"""Many requests: when each is sent, and what became of it.

Arrays tell where they can (`arrays`); where what happens next depends on what happened before, the clock does, request
by request (`memory`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from numbers import Real
from typing import Any

from .arrays import AtOnce, Remembers
from .balancers.base import Balancer
from .clients import Clients, clients_of
from .decision import Timeline
from .errors import InputError, amount, shown, whole
from .few import MOST, WHOLE, np
from .layers.pods import time_of
from .memory import InOrder
from .path import MAX_SEED, Start
from .sender import Sender

MAX_REQUESTS = 20_000_000
MAX_IN_ORDER = 2_000_000  # one after the other: 20 to 100 µs each


@dataclass(frozen=True)
class Run:
    """What became of each request, as arrays: `columns` maps a column's name to (names, code of each request).

    Code -1 stands for nothing (a request that never got there). `time`: the second at which each was sent, where there
    was a clock. Where pods or replicas take time as well, `latency` is in seconds from sending to the answer or loss;
    `spent` in waiting and service at each layer that takes any; `worked` gives for the address of a pod or replica (the
    seconds its workers were busy until the last request was sent, how many they are), and `until` is the second at
    which the last request ended.
    `counters` says which balancers picked, in the order of the way, at how many places each; `picks` how often, and
    `alike` how many picks of equal weight would spread the requests as much (fewer where some picks carry more).
    `reset` and `aged` count connections that were opened anew, because what they led to was gone or for their age.
    `notes` say what was remembered otherwise: cookies, retries, ejections, what a limit saw.
    """

    requests: int
    connections: int
    connection: np.ndarray
    time: np.ndarray | None
    columns: dict[str, tuple[list[str], np.ndarray]]
    clients: Clients
    counters: Mapping[str, int] = field(default_factory=dict)
    picks: Mapping[str, int] = field(default_factory=dict)
    alike: Mapping[str, float] = field(default_factory=dict)
    reset: int = 0
    aged: int = 0
    notes: tuple[str, ...] = ()
    balancers: Mapping[str, Balancer] = field(default_factory=dict)
    latency: np.ndarray | None = None
    spent: Mapping[str, np.ndarray] = field(default_factory=dict)
    worked: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    until: float = 0.0


def send(
    timeline: Timeline,
    begin: Start,
    requests: int,
    connections: int | None = None,
    rate: float | None = None,
    duration: float | None = None,
    seed: int = 0,
    clients: int = 1,
    behind_nat: float = 0.0,
    max_age: float | None = None,
    arrivals: str | Sequence[float] = "poisson",
    think: str | float | None = None,
) -> Run:
    """Send `requests` over `connections` (each request its own where None; requests take them in turn, as connections
    take the clients).

    `rate` (per second) gives the requests times of arrival, `duration` (seconds) their number as rate * duration:
    `arrivals` "poisson" or "constant"; or the seconds themselves, in order, without a rate. With `think` instead each
    connection is a user who waits for the answer, thinks for so long ("1s exponential") and sends again: a closed loop.
    Raises InputError for numbers that cannot be.
    """
    rate, duration, max_age = (
        None if given is None else amount(given, what, 1e-9, 1e12, "a number above 0 (from 1e-9 to 1e12)")
        for given, what in ((rate, "rate"), (duration, "duration"), (max_age, "max_age"))
    )
    requests = _how_many(requests, rate, duration)
    rng = np.random.default_rng(seed := whole(seed, "the seed", 0, MAX_SEED))
    time = _times(rng, requests, rate, arrivals)
    thinks = _thinks(think, connections, time is not None)
    requests = requests if time is None else len(time)
    held = None if connections is None else min(requests, whole(connections, "connections", 1, MAX_REQUESTS))
    views = [cluster for _, cluster in timeline.moments]
    for what, given in (("a change over time", len(views) > 1), ("max_age", max_age is not None)):
        if given and time is None and not thinks:
            raise InputError(f"{what} needs times of arrival", expected="rate=REQUESTS_PER_SECOND")
    who = clients_of(views, begin, clients, behind_nat)
    if held is not None and held < min(who.users, requests):
        problem = f"{held:,} connections are too few for {who.users:,} clients"
        raise InputError(problem, expected="at least one for each")
    connection = np.arange(requests) % held if held else np.arange(requests)
    common = (timeline, who, requests, held, np.zeros(requests) if thinks else time, seed)
    try:
        if not WHOLE or max_age is not None or len(views) > 1 or thinks:
            raise Remembers
        sender: Sender = AtOnce(*common, connection=connection, arrays=rng)
        sender.run()
    except Remembers:
        most = (" that go one after the other", MAX_IN_ORDER) if WHOLE else (" without numpy", MOST)
        whole(requests, "requests" + most[0], 1, most[1])
        sender = InOrder(*common, max_age=max_age, think=thinks)
        sender.run()
    connection = sender.connection
    columns = {name: (list(names), codes) for name, (names, codes) in sender.ledger.columns.items() if names}
    if who.users > 1:
        columns["client"] = (list(who.addresses), who.address_of[connection % who.users].astype(np.int32))
    counters = {name: len(places) for name, places in sender.used.items()}
    picked = (counters, sender.picks, sender.alike, sender.reset, sender.aged, tuple(sender.notes), sender.balancers)
    timed = (sender.latency, sender.spent, sender.worked, sender.until) if sender.worked else ()
    return Run(requests, held or requests, connection, sender.time, columns, who, *picked, *timed)


def _times(rng: np.random.Generator, requests: int, rate: float | None, arrivals: Any) -> np.ndarray | None:
    """When each request is sent, if that is said."""
    if isinstance(arrivals, str):
        if arrivals not in ("poisson", "constant"):
            expected = '"poisson", "constant", or the seconds in order'
            raise InputError(f"{shown(arrivals)} is no way to arrive", expected=expected)
        if rate is None and arrivals == "constant":
            raise InputError("constant arrivals need a rate", expected="rate=REQUESTS_PER_SECOND")
        if rate is None:
            return None
        if arrivals == "constant":
            return np.arange(requests) / rate
        gaps = rng.exponential(1 / rate, requests)
        return np.cumsum(gaps, out=gaps)
    try:
        given = np.array(arrivals if hasattr(arrivals, "__len__") else list(islice(arrivals, MAX_REQUESTS + 1)))
        given = given.astype(float) if given.ndim == 1 and given.dtype.kind in "iuf" else np.empty(0)
    except (TypeError, ValueError):
        given = np.empty(0)
    if not 0 < len(given) <= MAX_REQUESTS or not (np.diff(given, prepend=0.0) >= 0).all() or given[-1] > 1e10:
        raise InputError("these are no times of arrival", expected="seconds from 0 on, in order, such as [0.1, 0.25]")
    if rate is not None:
        raise InputError("times of arrival and a rate say two things", expected="one of them")
    return given


def _thinks(think: Any, connections: int | None, clocked: bool) -> tuple[float, str, float] | None:
    """(mean, how it is spread, standard deviation over mean) of the seconds for which users think, if they do."""
    if think is None:
        return None
    seconds = isinstance(think, Real) and not isinstance(think, bool)
    timed = time_of(think if isinstance(think, str) else f"{float(think):f}s" if seconds else "")
    if timed is None:
        raise InputError(f"{shown(think)} is no time to think", expected='seconds, or text such as "1s exponential"')
    if clocked or connections is None:
        expected = "connections=N (how many users there are), and no rate"
        raise InputError("users who think send when they have their answer", expected=expected)
    return timed


def _how_many(requests: int, rate: float | None, duration: float | None) -> int:
    if duration is not None:
        if rate is None:
            raise InputError("a duration needs a rate", expected="rate=REQUESTS_PER_SECOND")
        requests = max(1, round(rate * duration))
    return whole(requests, "requests", 1, MAX_REQUESTS)
