"""What is asked of a real component, and its answers as the Outcome that the model gives of the same question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..cluster import Cluster
from ..decision import Timeline
from ..engine import Run, send
from ..errors import whole
from ..few import np
from ..outcome import Outcome
from ..path import Start, start
from ..sender import Ledger

MOST = 100_000  # requests of one question


@dataclass(frozen=True)
class Question:
    """Requests to `url` as `Cluster.send` takes them; `run` is what the model makes of them, so both ask alike."""

    cluster: Cluster
    url: str
    begin: Start
    run: Run

    @cached_property
    def model(self) -> Outcome:
        """What the model answers."""
        return Outcome(self.url, self.run, Timeline.still(self.cluster))

    @property
    def connection(self) -> Sequence[int]:
        """The connection of each request, numbered from 0."""
        return self.run.connection.tolist()

    @cached_property
    def client(self) -> list[tuple[str, Start]]:
        """Of each connection the client's address, and the start that says which pod or node it asks from (`via`)."""
        who = self.run.clients
        of_user = [(who.addresses[a], who.starts[who.start_of[a]]) for a in who.address_of.tolist()]
        return [of_user[c % len(of_user)] for c in range(self.run.connections)]

    def answered(
        self, by: str, columns: Mapping[str, Sequence[str]], seconds: Sequence[float] | None = None
    ) -> Outcome:
        """The Outcome of real answers. `columns`: as in Outcome.table (pod, status, lost, ...), a text for each
        request, "" for nothing; `seconds` each took, to the answer; `by`: who answered, with its version."""
        ledger = Ledger(self.run.requests)
        for column, texts in columns.items():
            for i, text in enumerate(texts):
                if text:
                    ledger.put(column, i, text)
        found = {name: (list(names), codes) for name, (names, codes) in ledger.columns.items() if names}
        kept = {"client": self.run.columns["client"]} if "client" in self.run.columns else {}
        took = None if seconds is None else np.array(seconds, dtype=float)
        real = {"columns": found | kept, "latency": took, "spent": {}, "worked": {}, "reset": 0, "aged": 0}
        return Outcome(self.url, replace(self.run, notes=(f"answered by {by}",), **real), self.model.timeline)


def ask(
    cluster: Cluster,
    url: str,
    requests: int = 1000,
    connections: int | None = None,
    from_: str | None = None,
    via: str | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    seed: int = 0,
    clients: int = 1,
    behind_nat: float = 0.0,
) -> Question:
    """The question, with the arguments of `Cluster.send` that a real component can be asked with."""
    whole(requests, "requests to a real component", 1, MOST)
    begin = start(cluster, url, from_, via, method, headers)
    run = send(Timeline.still(cluster), begin, requests, connections, seed=seed, clients=clients, behind_nat=behind_nat)
    return Question(cluster, url, begin, run)
