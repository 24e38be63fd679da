"""Fields that Kubernetes does not know: kubectl refuses them, and whoever does not check drops them unsaid."""

import difflib
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any

from ...cluster import Cluster
from ...errors import shown
from ...manifests import dotted, table_of
from ...objects import HTTPRoute, Object
from ...objects.gateways import GROUP
from .finding import Finding, each, of

MAX_FIELDS = 1_000  # findings of this kind; more say no more
table = cache(lambda: table_of("fields"))


@each()
def unknown_fields(view: Cluster, _: Any) -> Iterator[Finding]:
    """What stands in no table of Kubernetes; in the Gateway API, which grows apart from it, only a slip of the pen."""
    kinds, count = table()["kinds"], 0
    for one in view.objects:
        if (one.raw.get("metadata") or {}).get("uid"):
            continue  # an API server has written it, so it knows these fields
        for path, near in _unknown(dict(one.raw), kinds.get(f"{one.apiVersion}/{one.kind}", "")):
            if count < MAX_FIELDS and (near or not one.apiVersion.startswith(GROUP)):
                count += 1
                yield _told(one, path, near)


def _unknown(raw: Any, kind: str, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """(path, the field that was probably meant or "") of the fields below `raw` that its type has not."""
    known = table()["types"].get(kind)
    if known is None or not isinstance(raw, (dict, list)):
        return
    for key, value in enumerate(raw) if isinstance(raw, list) else raw.items():
        if isinstance(raw, list):
            yield from _unknown(value, kind, (*path, key))
        elif key in known:
            yield from _unknown(value, "" if path == () and key == "status" else known[key], (*path, key))
        elif isinstance(key, str) and value is not None:
            lower = {k.lower(): k for k in known}
            near = difflib.get_close_matches(key.lower(), lower, 1, 0.8)
            yield (*path, key), lower[near[0]] if near else ""


def _told(one: Object, path: tuple[str | int, ...], near: str) -> Finding:
    where, version = dotted(path), f"Kubernetes {table()['version']}"
    served = "the Gateway API" if one.apiVersion.startswith(GROUP) else version
    if not near:
        return of("unknown-field", one, *path, field=shown(where), served=served)
    at: Any = one
    for key in path[:-1]:
        at = at[key] if isinstance(key, int) and key < len(at) else getattr(at, str(key), None)
    stays, unset = getattr(at, near, None), (None, "", (), {}, 0)
    stays = f"so {near} stays {shown(stays)}" if stays not in unset else f"so {near} stays unset"
    return of("misspelt-field", one, *path, field=shown(where), near=near, stays=stays + _weighed(one, path, near))


def _weighed(one: Object, path: tuple[str | int, ...], near: str) -> str:
    """What a backend's share is without the weight that was meant for it."""
    raw: Any = one.raw
    for key in path:
        raw = raw[key]
    if not (isinstance(one, HTTPRoute) and near == "weight" and isinstance(raw, int) and raw >= 0):
        return ""
    weights = [b.weight for b in one.spec.rules[path[2]].backendRefs]  # spec.rules[i].backendRefs[j].weigth
    was, meant = Fraction(1, sum(weights)), Fraction(raw, max(sum(weights) - 1 + raw, 1))
    return f" and its share is {was}, not {meant}"
