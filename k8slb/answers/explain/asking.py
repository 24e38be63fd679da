"""What the checks of layer 7 share: to ask a controller a rule's own URLs; whether what is missing may be elsewhere."""

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, NamedTuple

from ...cluster import Cluster, grouped
from ...controllers import INGRESS_NGINX, KNOWN, Controller
from ...layers.ingress import SEMANTICS
from ...layers.ingress.match import Answered, Matched, Route, routes_by_host
from ...manifests import table_of
from ...objects import HTTPRoute, Ingress, Object
from ...scheduling import some
from ...traffic import flow_of
from ..compare import mistaken
from .finding import Finding, of
from .services import operated_by

NOTES, NIC = table_of("annotations"), KNOWN["nginx.org/ingress-controller"]


class Way(NamedTuple):
    """What becomes of `url` at a controller."""

    url: str
    found: Matched | Answered

    def by(self, route: Route) -> bool:
        """Whether `route` takes it."""
        own = self.found.route if isinstance(self.found, Matched) else None
        return own is not None and (own.ingress.key, own.at) == (route.ingress.key, route.at)

    @property
    def become(self) -> str:
        if isinstance(self.found, Answered):
            return f"answered {self.found.status}"
        to = self.found.route.backend.service
        return f"taken by {to.name if to else 'a resource'}"


def ask(view: Cluster, controller: Controller, host: str, path: str) -> Way:
    """By http, or by https where that alone leads to a backend. InputError for a path that nobody can ask."""

    def asked() -> Way:
        how, urls = SEMANTICS[controller.name], (url_of(host, path, scheme) for scheme in ("http", "https"))
        ways = (Way(url, how.match(view, controller, flow_of(url).request)[0]) for url in urls)
        first = next(ways)
        return (
            first
            if isinstance(first.found, Matched)
            else next((w for w in ways if isinstance(w.found, Matched)), first)
        )

    return view.once(("asked", controller.name, host, path), asked)


def url_of(host: str, path: str, scheme: str = "http") -> str:
    return f"{scheme}://{host_of(host)}{path}"


def host_of(host: str) -> str:
    """A host to ask, for one of a rule: any for none, and for *."""
    return host.replace("*", "any-name", 1) or "any-host"


def meant(path: str) -> tuple[str, str]:
    """A path that is meant by one that a rule names, and one below it."""
    base = next(iter(mistaken(path or "/")), "/")
    return base, base.removesuffix("/") + "/below"


def rules(ingress: Ingress) -> list[tuple[str, Route]]:
    """(host, path) of all that an Ingress names; its defaultBackend is none of them."""
    return [(host, route) for host, routes in routes_by_host([ingress]).items() for route in routes]


def serving(view: Cluster, ingress: Ingress, *names: str) -> Controller | None:
    """The controller that serves an Ingress, where the model walks through it and it is one of `names` (or any)."""
    served = view.served[ingress.key]
    found = view.controllers.get(served.controller)
    if served.assumed and served.controller == INGRESS_NGINX and view.once("class nginx is open", lambda: _open(view)):
        return None
    return found if found and found.modelled and found.name in (names or (found.name,)) else None


def _open(view: Cluster) -> bool:
    """Whether an Ingress has annotations of the other project that has the class nginx."""
    return any(note.startswith(NIC.annotations) for i in view.of(Ingress) for note in i.metadata.annotations)


def listed(names: Iterable[object]) -> str:
    """The first three, and how many more."""
    return some(list(dict.fromkeys(map(str, names))), 3)


def percent(part: int, total: int) -> str:
    return f"{float(Fraction(100 * part, total)):.3g}%" if total else "0%"


def near(name: str, names: Iterable[str], like: float = 0.8) -> str:
    """The name that is meant, where `name` is a slip of the pen; one that only goes on is no slip, nor a number."""
    found, digits = get_close_matches(name, [n for n in names if n], 3, like), re.compile(r"\d+")
    slips = (n for n in found if not name.startswith(n) and digits.sub("", n) != digits.sub("", name))
    return "" if name in found else next(slips, "")


def missing(
    text: str, view: Cluster, one: Object, at: tuple, key: tuple[str, str], kind: type, beside: bool, **told: Any
) -> Iterator[Finding | str]:
    """The finding `text` for an object that `one` names (at `at`) and the input has not, or a note where nothing says
    that the input ought to have it. `beside`: others of its kind that `one` names are there."""
    (space, name), mine = key, view.once((kind, "in"), lambda: grouped((o.namespace, o.name) for o in view.of(kind)))
    there = view.once((kind, "named"), lambda: grouped((o.name, o.namespace) for o in view.of(kind))).get(name, ())
    alone = ((o.namespace, o.origin.file, o.name) for o in view.of(kind) if o.key not in _named(view))
    unused = view.once((kind, "alone"), lambda: grouped((a[:2], a[2]) for a in alone))
    like, unused = near(name, mine.get(space, [])[:100]), unused.get((space, one.origin.file), ())
    hint = f"; {like} is there" if like else f"; its file has {listed(unused)}" if unused else ""
    hint = hint or (f"; one of that name is in {listed(there)}" if there else "")
    dumped = one.raw["metadata"].get("uid") and space in mine  # `kubectl get` prints all of a namespace
    made = view.once("operated", lambda: {o.namespace for o in view.objects if operated_by(o)})
    if like or dumped or ((hint or beside) and space not in made):
        yield of(text, one, *at, hint=hint, name="/".join(key), **told)
    else:
        yield f"Routes name what is not in the input: {kind.__name__} {'/'.join(key)}"


def folder(one: Object) -> str:
    return one.origin.file.rpartition("/")[0]


def _named(view: Cluster) -> set[tuple[str, str, str]]:
    """The keys of the Services and Gateways that a route names."""

    def found() -> Iterator[tuple[str, str]]:
        for i in view.of(Ingress):
            backends = [route.backend for _, route in rules(i)] + [i.spec.defaultBackend]
            yield from (("Service", i.namespace, b.service.name) for b in backends if b and b.service)
        for r in view.of(HTTPRoute):
            refs = [*r.spec.parentRefs, *(ref for rule in r.spec.rules for ref in rule.backendRefs)]
            yield from ((ref.kind, ref.namespace or r.namespace, ref.name) for ref in refs)

    return view.once("named by routes", lambda: set(found()))


def twice(view: Cluster, one: Object) -> bool:
    """Whether the input has several objects of that name, alternatives of which only the last counts."""
    told = (re.search(": (.*) stands also at", warning) for warning in view.manifests.warnings)
    return str(one) in view.once("twice", lambda: {found[1] for found in told if found})
