"""What a learner's save keeps: pictures and text, so that a lesson opened tomorrow shows them.

A saved widget without its kernel is an error message ("model not found"); beside it the panel's picture is stored, too,
and that is what stays.
"""

from __future__ import annotations

from typing import Any

VIEW = "application/vnd.jupyter.widget-view+json"


def pictures_only(model: dict[str, Any], **kwargs: Any) -> None:
    """Jupyter's `ContentsManager.pre_save_hook`: take the widgets out of a notebook that is being saved."""
    if model.get("type") != "notebook" or not isinstance(model.get("content"), dict):
        return
    model["content"].get("metadata", {}).pop("widgets", None)
    for cell in model["content"].get("cells", ()):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if VIEW in data:
                del data[VIEW]
                if "image/png" not in data:
                    data["text/plain"] = "Run this cell to see it."
