"""A picture that says what it shows: PNG for every viewer, a sentence and a table for everybody who cannot see it."""

import base64
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Picture:
    """`png` bytes, one `sentence`, and a `table` of text that says the same."""

    png: bytes
    sentence: str
    table: str = ""

    def __str__(self) -> str:
        return f"{self.sentence}\n{self.table}".rstrip()

    __repr__ = __str__

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict[str, Any], dict[str, Any]]:
        data = {"image/png": base64.b64encode(self.png).decode(), "text/plain": str(self)}
        return data, {"image/png": {"alt": self.sentence}}
