"""A picture that says what it shows: PNG for every viewer, a sentence and a table for everybody who cannot see it."""

import base64
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets as widgets


@dataclass(frozen=True)
class Picture:
    """`png` bytes, one `sentence`, and a `table` of text that says the same."""

    png: bytes
    sentence: str
    table: str = ""

    def __str__(self) -> str:
        return f"{self.sentence}\n{self.table}".rstrip()

    __repr__ = __str__

    @property
    def still(self) -> dict[str, Any]:
        """What viewers without a kernel show."""
        return {"image/png": base64.b64encode(self.png).decode(), "text/plain": str(self)}

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Live as a widget: JupyterLab gives a bare image no alternative text, and shows no text beside it."""
        still, alt = self.still, escape(self.sentence)
        told = f"<details><summary>The same as a table</summary><pre>{escape(self.table)}</pre></details>"
        source = f"data:image/png;base64,{still['image/png']}"
        image = f'<img alt="{alt}" style="max-width: 100%" src="{source}">{told * bool(self.table)}'
        live = widgets.HTML(image).add_class("k8slb-text").add_class("k8slb-picture")
        return live._repr_mimebundle_() | still, {"image/png": {"alt": self.sentence}}
