"""What every object has: metadata, the mapping it was read from, and where that stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from operator import attrgetter
from typing import Any, dataclass_transform

from ..positions import UNKNOWN, Origin
from .fields import Strings

# (API group, kind) -> (the versions that an API server of 1.36 serves, best first; the type that reads it)
KINDS: dict[tuple[str, str], tuple[str, type[Object]]] = {}
CLUSTER_SCOPED: set[str] = set()


@dataclass_transform(frozen_default=True)
class Value:
    """Whoever inherits is a frozen dataclass, made when it is first needed: of a hundred types few are in a cluster.
    What two are compared by is written once, here, for the same reason."""

    def __init_subclass__(cls) -> None:
        def __init__(self: Value, *args: Any, **given: Any) -> None:
            made(cls).__init__(self, *args, **given)

        cls.__init__ = __init__

    def _compared(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.compare}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(tuple(self._compared().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self._compared().items())})"


def made(kind: type) -> type:
    """A type that inherits from Value, as the dataclass that it is, like those it inherits from."""
    if kind is not Value and issubclass(kind, Value) and "__dataclass_fields__" not in vars(kind):
        for base in kind.__bases__:
            made(base)
        del kind.__init__
        kind.__doc__ = kind.__doc__ or kind.__name__  # else it is written from the signature, which takes as long again
        dataclass(frozen=True, repr=False, eq=False)(kind)
    return kind


class Reference(Value):
    kind: str = ""
    name: str = ""


class ObjectMeta(Value):
    name: str = ""
    namespace: str = ""
    labels: Strings = field(default_factory=dict)
    annotations: Strings = field(default_factory=dict)
    creationTimestamp: str = ""
    deletionTimestamp: str = ""
    ownerReferences: tuple[Reference, ...] = ()
    generateName: str = ""


class Object(Value):
    """What every object has. `raw` is the mapping as read, `origin` where it stands ("" for an assumed object).

    A kind says where the API server has it: ``class Node(Object, group="", namespaced=False)``.
    """

    _: KW_ONLY
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False)
    origin: Origin = field(default=UNKNOWN, compare=False)

    def __init_subclass__(
        cls, group: str | None = None, versions: str = "v1", kinds: tuple[str, ...] = (), namespaced: bool = True
    ) -> None:
        super().__init_subclass__()
        for kind in kinds or (cls.__name__,) if group is not None else ():
            KINDS[group, kind] = (versions, cls)
            CLUSTER_SCOPED.update(() if namespaced else (kind,))

    name = property(attrgetter("metadata.name"))
    namespace = property(attrgetter("metadata.namespace"))
    key = property(attrgetter("kind", "metadata.namespace", "metadata.name"))

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    def where(self, *path: str | int) -> tuple[str, int | None]:
        """(file, line) of a field of this object; ("", None) for an assumed one."""
        return (self.origin.file, self.origin.line_of(path)) if self.origin.file else ("", None)


class Condition(Value):
    type: str = ""
    status: str = ""


class Secret(Object, group=""):
    """`data` is base64; what stands in `stringData` wins over it."""

    type: str = "Opaque"
    data: Strings = field(default_factory=dict)
    stringData: Strings = field(default_factory=dict)


class Other(Object):
    """Any other kind: kept as read, so that nothing is lost; the model does not look inside."""
