"""What happens to one request?"""

from __future__ import annotations

from numbers import Integral
from typing import Any

from ...front import load
from .base import Exercise, Seen, Unfit

URL = "https://myshop.example.com/payments/process/101"


def _hops() -> list[dict]:
    return load("shop").trace(URL).to_dict()["hops"]


def _in_order(answer: Any) -> Seen:
    if not isinstance(answer, (list, tuple)):
        raise Unfit("a list of names", answer)
    return {f"hop {number}": name for number, name in enumerate(answer, 1)}


def _two_numbers(answer: Any) -> Seen:
    if not isinstance(answer, (list, tuple)) or len(answer) != 2:
        raise Unfit("two numbers", answer)
    return dict(zip(("the number of rows that balance", "the number of rows that route"), answer, strict=True))


def _balancing_and_routing() -> tuple[int, int]:
    hops = _hops()
    return sum(hop["balancer"] is not None for hop in hops), sum(hop["layer"] == "ingress" for hop in hops)


EXERCISES = (
    Exercise(
        id="00.1",
        stars=1,
        task=f"""\
You ask for `{URL}` from the internet. Five layers have a part in it: `"ingress"`, `"pods"`, `"dns"`, `"kube-proxy"`,
`"cloud-lb"`. Put their names into the list in the order in which the request meets them.""",
        stub='order = [...]\n\ncheck("00.1", order)',
        solution='order = ["dns", "cloud-lb", "kube-proxy", "ingress", "pods"]',
        hints=(
            "Before anything can be sent, the name must become an address.",
            "The Ingress controller is a pod, too. Something on a node has to pick which of its replicas gets the "
            "connection.",
            f'`shop.trace("{URL}")` prints the layers in the second column.',
        ),
        kind=str,
        observe=_in_order,
        expected=lambda: _in_order([hop["layer"] for hop in _hops()]),
        wrong={
            '"The controller sends to the ClusterIP, and kube-proxy picks the pod": the controller dials the pod, '
            "and kube-proxy's turn was before it.": ["dns", "cloud-lb", "ingress", "kube-proxy", "pods"],
            '"The Ingress is the gate to the cluster": it is a rule that a pod inside reads, and the load balancer '
            "comes before that pod.": ["dns", "ingress", "cloud-lb", "kube-proxy", "pods"],
        },
    ),
    Exercise(
        id="00.2",
        stars=2,
        task="""\
Look at the trace of the payment request once more. A row **balances** if it picks one of several that would all do. A
row **routes** if it decides which Service is meant. How many rows do each? A row may do both.""",
        stub='balancing, routing = ..., ...\n\ncheck("00.2", (balancing, routing))',
        solution="balancing, routing = 3, 1",
        hints=(
            'A row that balances says "1 of 2" or "1 of 3", and by what it picked.',
            "Would the row decide the same if every Service had one pod only? Then it routes.",
        ),
        kind=Integral,
        observe=_two_numbers,
        expected=lambda: _two_numbers(_balancing_and_routing()),
        wrong={
            '"Only a load balancer balances": so do a node\'s rules, and the controller among the payment pods.': (
                1,
                1,
            ),
            '"An Ingress controller only routes": it finds the Service, and then picks one of its pods.': (2, 1),
            '"DNS balances": here the name has one address, so there is nothing to pick.': (4, 1),
        },
    ),
)
