"""An Ingress's rules as a table: a row has host, path, pathType and backend; rows are added, removed and moved."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import ipywidgets as widgets
from traitlets import Tuple

from ..errors import InputError

PATH_TYPES = ("Prefix", "Exact", "ImplementationSpecific")
WIDTHS = ("150px", "150px", "150px", "160px")


class Row(NamedTuple):
    host: str
    path: str
    pathType: str
    backend: str  # SERVICE:PORT


def rows_of(spec: dict[str, Any]) -> tuple[Row, ...]:
    """The rows that an Ingress's spec stands for; InputError where a row cannot hold it."""
    try:
        return tuple(
            Row(rule.get("host", ""), entry.get("path", ""), entry["pathType"], _backend(entry["backend"]["service"]))
            for rule in spec.get("rules", ())
            for entry in rule["http"]["paths"]
        )
    except KeyError as missing:
        raise InputError(f"a rule without {missing} is no row of a table", expected="yaml_of(...) for it") from None


def _backend(service: dict[str, Any]) -> str:
    port = service["port"]
    return f"{service['name']}:{port.get('number') or port['name']}"


def rules_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """spec.rules: neighbouring rows of one host are one rule."""
    return [
        ({"host": host} if host else {}) | {"http": {"paths": [_path(row) for row in same]}}
        for host, same in groupby(rows, key=lambda row: row.host)
    ]


def _path(row: Row) -> dict[str, Any]:
    name, _, port = row.backend.partition(":")
    service = {"name": name, "port": {"number": int(port)} if port.isdigit() else {"name": port}}
    path = {"path": row.path} if row.path else {}
    return path | {"pathType": row.pathType, "backend": {"service": service}}


def of_row(error: InputError, rows: Sequence[Row]) -> InputError:
    """The error with the row of the table that it is about, in place of a line of text nobody typed."""
    at = re.search(r"rules\[(\d+)\](?:\.http\.paths\[(\d+)\])?", error.field)
    if at is None:
        return InputError(error.problem, expected=error.expected, field=error.field)
    sizes = [len(list(same)) for _, same in groupby(rows, key=lambda row: row.host)]
    number = sum(sizes[: int(at[1])]) + int(at[2] or 0) + 1
    return InputError(error.problem, expected=error.expected, field=f"row {number} of the rules")


class RuleTable(widgets.VBox):
    """`value` is a tuple of rows. Rows keep their fields and buttons: moving one swaps texts, so focus stays."""

    value = Tuple()

    def __init__(self, title: str, rows: Sequence[Row], backends: Sequence[str]):
        self._backends, self._quiet = tuple(backends), False
        head = [widgets.Label(name, layout={"width": w}) for name, w in zip(Row._fields, WIDTHS, strict=True)]
        add = widgets.Button(description="add a row", layout={"width": "auto", "align_self": "flex-start"})
        add.on_click(lambda _: self._put([*self.value, self.value[-1] if self.value else self._new()]))
        self._rows = widgets.VBox()
        super().__init__([widgets.Label(title), widgets.HBox(head), self._rows, add], layout={"width": "100%"})
        self._put(rows)

    def _new(self) -> Row:
        return Row("", "/", "Prefix", next(iter(self._backends), "service:80"))

    def _put(self, rows: Sequence[Row]) -> None:
        """Show `rows`, then say once that the value is another."""
        shown = list(self._rows.children)
        while len(shown) < len(rows):
            shown.append(self._row(len(shown)))
        shown, dropped = shown[: len(rows)], shown[len(rows) :]
        self._quiet = True
        try:
            for line, row in zip(shown, rows, strict=True):
                for field, part in zip(line.children, row, strict=False):
                    field.value = part
            self._rows.children = shown
        finally:
            self._quiet = False
        for line in dropped:
            for part in (*line.children, line):
                part.close()
        self._read()

    def _row(self, index: int) -> widgets.HBox:
        told = [f"{name} of row {index + 1}" for name in Row._fields]
        fields = [
            widgets.Text("", tooltip=told[0], placeholder="any host", continuous_update=False),
            widgets.Text("/", tooltip=told[1], placeholder="any path", continuous_update=False),
            widgets.Dropdown(options=PATH_TYPES, tooltip=told[2]),
            widgets.Combobox(tooltip=told[3], options=self._backends, placeholder="SERVICE:PORT"),
        ]
        fields[3].continuous_update = False
        for field, width in zip(fields, WIDTHS, strict=True):
            field.layout.width = width
            field.observe(lambda _: self._read(), "value")
        buttons = []
        for name, act in (("up", self._up), ("down", self._down), ("remove", self._remove)):
            button = widgets.Button(description=name, tooltip=f"{name}: row {index + 1}", layout={"width": "auto"})
            button.on_click(lambda _, act=act: self._put(act(list(self.value), index)))
            buttons.append(button)
        return widgets.HBox([*fields, *buttons], layout={"flex_flow": "row wrap"})

    def _read(self) -> None:
        if not self._quiet:
            self.value = tuple(Row(*(f.value.strip() for f in line.children[:4])) for line in self._rows.children)

    @staticmethod
    def _up(rows: list[Row], index: int) -> list[Row]:
        if 0 < index < len(rows):
            rows[index - 1], rows[index] = rows[index], rows[index - 1]
        return rows

    @classmethod
    def _down(cls, rows: list[Row], index: int) -> list[Row]:
        return cls._up(rows, index + 1)

    @staticmethod
    def _remove(rows: list[Row], index: int) -> list[Row]:
        return rows[:index] + rows[index + 1 :]
