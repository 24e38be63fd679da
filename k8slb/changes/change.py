"""A change as a value: a Timeline with the lives it is made of; what is lost meanwhile, exactly; its film."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import path
from ..cluster import Cluster
from ..decision import Place, Timeline
from ..errors import InputError, amount, shown
from ..loadbalancers import setting
from ..show.film import Row, film, lost_at, svg
from .lives import Life, moments, number, spans

LEARNERS = ("node", "pod", "ingress", "gateway", "mesh", "cloud-lb")  # besides nodes and pods by name
CHECKED = 20.0  # seconds until a load balancer's health checks leave a target out where its maker says nothing: 2 x 10
Seconds = float | Mapping[str, float]


def lags(cluster: Cluster, propagation: Seconds) -> dict[Place | str, float]:
    """Who learns how late what the API server knows: kube-proxy on each node and the proxies in pods after
    `propagation`, a load balancer once its health checks have failed (data/load-balancers.json; else 20 s)."""
    given = propagation if isinstance(propagation, Mapping) else {"node": propagation, "pod": propagation}
    known = {*LEARNERS, *cluster.node, *(f"{ns}/{name}" for ns, name in cluster.pod_named)}
    if strangers := [who for who in given if who not in known]:
        expected = ", ".join((*LEARNERS, "or a node's name"))
        raise InputError(f"{shown(strangers[0])} learns of nothing", expected=expected)
    found = {who: number(seconds, "propagation delay") for who, seconds in given.items()}
    if "cloud-lb" not in found:
        checks = {a: setting(s, cluster.nodes).check_seconds for a, s in cluster.balancer_at.items()}
        found |= {Place("cloud-lb", a): float(s or CHECKED) for a, s in checks.items()}
    return found


@dataclass(frozen=True)
class Change(Timeline):
    """`title` says what changes; `url` is what is asked where nobody says, the Service that it is about, and `via` the
    node from whose pods."""

    lives: tuple[Life, ...] = field(default=(), repr=False)
    title: str = ""
    url: str = ""
    via: str | None = None

    @property
    def told(self) -> str:
        return self.title

    def send(self, url: str | None = None, **given: Any):
        """`Cluster.send` while this happens: 100 requests a second (`rate`) until 5 s after the last change, unless
        `given` says otherwise."""
        given = ({} if url else {"via": self.via}) | given
        if given.get("think") is None and isinstance(given.get("arrivals", ""), str):
            given = {"rate": 100.0} | given
            if not {"requests", "duration"} & given.keys():
                given["duration"] = self.instants[-1] + 5
        return self.at().send(self._asked(url), becomes=self, **given)

    def _asked(self, url: str | None) -> str:
        if not (url or self.url):
            raise InputError("what changes stands behind no Service", expected="the URL that is asked")
        return url or self.url

    def losses(self, url: str | None = None, **given: Any) -> list[tuple[float, float, float]]:
        """(from second, to second, share of the requests that are lost or answered 5xx by a proxy), where there are
        any: exact, for requests on new connections that take no time. `given`: from_, via, method, headers."""
        given = ({} if url else {"via": self.via}) | given
        begin = path.start(self.at(), self._asked(url), **given)

        def share(now: float) -> float:
            ways = path.shares(self, begin, now).items()
            return float(sum(p for (kind, what), p in ways if kind == "lost" or (kind, what[0]) == ("answered", "5")))

        return [span for span in self.spans(share) if span[2]]

    def lost(self, url: str | None = None, rate: float = 100.0, **given: Any) -> float:
        """How many of `rate` requests a second are lost in all, on average; inf where it never ends."""
        rate = amount(rate, "rate", 1e-9, 1e12, "requests a second, above 0")
        return round(sum((until - now) * share for now, until, share in self.losses(url, **given)) * rate, 9)

    # --- shown ---

    def rows(self) -> list[Row]:
        """(what, who, from, to, state) of the film."""
        return film(self, [(life.one, spans(life.steps)) for life in self.lives])

    def film(self):
        """What happens to whom and who knows of it when, as a pandas DataFrame: what, who, from, to, state."""
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=Row._fields).rename(columns={"begin": "from", "end": "to"})

    def svg(self, run: Any = None) -> str:
        """The film as SVG text; `run`: an Outcome of `send`, whose lost requests it marks."""
        return svg(self.rows(), lost_at(run), str(self))

    def plot(self, run: Any = None):
        """The film as a picture, with the lost requests of a run."""
        from ..show.film_picture import film_picture  # loads matplotlib

        return film_picture(self.rows(), lost_at(run), str(self))

    def __str__(self) -> str:
        return f"{self.title}; after second {self.instants[-1]:g} nothing changes any more."

    __repr__ = __str__


def change(cluster: Cluster, lives: Sequence[Life], propagation: Seconds, title: str, kind=Change, **more: Any) -> Any:
    """A Change of this kind; what it is about is the first Service before one of its pods."""
    services = [s for s in cluster.services.values() if s.spec.ports and not s.headless]
    first = next((s for life in lives for s in services if s.selects(life.one)), None)
    url = f"http://{first.name}.{first.namespace}:{first.spec.ports[0].port}" if first else ""
    return kind(moments(cluster, lives), lags(cluster, propagation), tuple(lives), title, url, **more)
