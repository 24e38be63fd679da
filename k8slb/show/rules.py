"""An Ingress's rules as a table: a row has host, path, pathType and backend; rows are added, removed and moved."""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import ipywidgets as widgets
from traitlets import Tuple

from ..errors import InputError

PATH_TYPES = ("Prefix", "Exact", "ImplementationSpecific")


class Row(NamedTuple):
    host: str
    path: str
    pathType: str
    backend: str  # SERVICE:PORT


def rows_of(spec: dict[str, Any]) -> tuple[Row, ...]:
    """The rows that an Ingress's spec stands for; InputError where a row cannot hold it."""
    rows = []
    try:
        for rule in spec.get("rules", ()):
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                port = service["port"].get("number") or service["port"]["name"]
                backend = f"{service['name']}:{port}"
                rows.append(Row(rule.get("host", ""), path.get("path", ""), path["pathType"], backend))
    except KeyError as missing:
        raise InputError(f"a rule without {missing} is no row of a table", expected="yaml_of(...) for it") from None
    return tuple(rows)


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
    field = error.field
    if at:
        sizes = [len(list(same)) for _, same in groupby(rows, key=lambda row: row.host)]
        field = f"row {sum(sizes[: int(at[1])]) + int(at[2] or 0) + 1} of the rules"
    return InputError(error.problem, expected=error.expected, field=field)


def _up(rows: Sequence[Row], i: int) -> list[Row]:
    return [*rows[: i - 1], rows[i], rows[i - 1], *rows[i + 1 :]] if 0 < i < len(rows) else [*rows]


MOVES = {
    "up": _up,
    "down": lambda rows, i: _up(rows, i + 1),
    "remove": lambda rows, i: [*rows[:i], *rows[i + 1 :]],
}


class RuleTable(widgets.VBox):
    """`value` is a tuple of rows. Rows keep their fields and buttons: moving one swaps texts, so focus stays."""

    value = Tuple()

    def __init__(self, title: str, rows: Sequence[Row], backends: Sequence[str]):
        self._backends = tuple(backends)
        add = widgets.Button(description="add a row", layout={"width": "auto", "align_self": "flex-start"})
        new = Row("", "/", "Prefix", next(iter(backends), "service:80"))
        add.on_click(lambda _: self._put([*self.value, self.value[-1] if self.value else new]))
        self._head, self._rows = widgets.HBox([widgets.Label(name) for name in Row._fields]), widgets.VBox()
        super().__init__([widgets.Label(title), self._head, self._rows, add], layout={"width": "100%"})
        self._put(rows)

    def _put(self, rows: Sequence[Row]) -> None:
        """Show `rows`, then say once that the value is another."""
        shown = [*self._rows.children, *map(self._row, range(len(self._rows.children), len(rows)))]
        shown, dropped = shown[: len(rows)], shown[len(rows) :]
        with self.hold_trait_notifications():
            for line, row in zip(shown, rows, strict=True):
                for field, part in zip(line.children, row, strict=False):
                    field.value = part
            self._rows.children = shown
            self._read()
        for line in dropped:
            for part in (*line.children, line):
                part.close()

    def _row(self, index: int) -> widgets.HBox:
        fields = [
            widgets.Text("", placeholder="any host"),
            widgets.Text("/", placeholder="any path"),
            widgets.Dropdown(options=PATH_TYPES),
            widgets.Combobox(options=self._backends, placeholder="SERVICE:PORT"),
        ]
        for name, field in zip(Row._fields, fields, strict=True):
            field.tooltip, field.continuous_update = f"{name} of row {index + 1}", False
            field.observe(lambda _: self._read(), "value")
        buttons = []
        for name, act in MOVES.items():
            button = widgets.Button(description=name, tooltip=f"{name}: row {index + 1}", layout={"width": "auto"})
            button.on_click(lambda _, act=act: self._put(act(self.value, index)))
            buttons.append(button)
        return widgets.HBox([*fields, *buttons], layout={"flex_flow": "row wrap"})

    def _read(self) -> None:
        for column in zip(self._head.children, *(line.children[:4] for line in self._rows.children), strict=True):
            width = f"{max(12, *(len(field.value) for field in column)) * 7.6 + 30:.0f}px"  # nothing is cut off
            for field in column:
                field.layout.width = width
        self.value = tuple(Row(*(f.value.strip() for f in line.children[:4])) for line in self._rows.children)
