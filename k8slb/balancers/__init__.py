"""Every way to pick one of n, by the name its owner gives it. One short reference function each."""

import operator
from collections.abc import Callable

from ..errors import InputError, shown
from . import caddy, cloud, envoy, ewma, haproxy, ingress_nginx, ipvs, kong, nginx, traefik, uniform  # noqa: F401
from .base import BALANCERS, Balancer


def balancer(name: str | Callable) -> Balancer:
    """The balancer of that name; InputError naming the others.

    A function pick(peers, state, rng, key, now) -> index | None of one's own is a balancer as well. It may ask how many
    connections are open: base.connections(state, peer)[0].
    """
    if callable(name):
        return _own(name)
    if not isinstance(name, str) or name not in BALANCERS:
        expected = "a function pick(peers, state, rng, key, now), or one of: " + ", ".join(sorted(BALANCERS))
        raise InputError(f"there is no balancer {shown(name)}", expected=expected)
    return BALANCERS[name]


def _own(function: Callable) -> Balancer:
    """A learner's function, whose every pick is checked."""
    name = getattr(function, "__name__", type(function).__name__)

    def pick(peers, state, rng, key=None, now=0.0) -> int | None:
        index = function(peers, state, rng, key, now)
        if index is None or (type(index) is not bool and hasattr(index, "__index__") and 0 <= index < len(peers)):
            return index if index is None else operator.index(index)
        raise InputError(f"{name} picked {shown(index)}", expected=f"None, or a whole number below {len(peers)}")

    return Balancer(name, pick, "your own function", counts=True)
