"""What every object has: metadata, the mapping it was read from, and where that stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..positions import UNKNOWN, Origin
from .decode import Strings

value = dataclass(frozen=True, slots=True)


@value
class OwnerReference:
    kind: str = ""
    name: str = ""


@value
class ObjectMeta:
    name: str = ""
    namespace: str = ""
    labels: Strings = field(default_factory=dict)
    annotations: Strings = field(default_factory=dict)
    creationTimestamp: str = ""
    deletionTimestamp: str = ""
    ownerReferences: tuple[OwnerReference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """What every object has. `raw` is the mapping as read, `origin` where it stands ("" for an assumed object)."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = field(default_factory=ObjectMeta)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    origin: Origin = field(default=UNKNOWN, repr=False, compare=False)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.kind, self.metadata.namespace, self.metadata.name)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    def where(self, *path: str | int) -> tuple[str, int | None]:
        """(file, line) of a field of this object; ("", None) for an assumed one."""
        return (self.origin.file, self.origin.line_of(path)) if self.origin.file else ("", None)


object_ = dataclass(frozen=True, slots=True, kw_only=True)


@value
class Condition:
    type: str = ""
    status: str = ""


@object_
class Secret(Object):
    type: str = "Opaque"


@object_
class Other(Object):
    """Any other kind: kept as read, so that nothing is lost; the model does not look inside."""
