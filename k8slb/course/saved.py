"""What a learner's save keeps: pictures and text, so that a lesson opened tomorrow shows them.

A saved widget without its kernel is an error message ("model not found"); beside it the panel's picture is stored, too,
and that is what stays. Behind a prediction that is not locked yet it would be the answer, and does not stay either.
"""

from pathlib import Path
from typing import Any

from . import progress

PICTURE = "A picture of the panel as it was first drawn. Run the first cells again to move its controls."
AGAIN = "Run the first cells again to see it."
VIEW = "application/vnd.jupyter.widget-view+json"
MOVES = "moves"  # in an output's metadata: what its picture shows can be asked for anew
PREDICTION = "prediction"  # in an output's metadata: the id of the prediction that veils it


def pictures_only(model: dict[str, Any], path: str = "", contents_manager: Any = None, **kwargs: Any) -> None:
    """Jupyter's `ContentsManager.pre_save_hook`: take the widgets out of a notebook that is being saved."""
    if model.get("type") != "notebook" or not isinstance(model.get("content"), dict):
        return
    locked = progress.guesses(Path(getattr(contents_manager, "root_dir", ".")) / path.lstrip("/"))
    model["content"].get("metadata", {}).pop("widgets", None)
    for cell in model["content"].get("cells", ()):
        for output in list(cell.get("outputs", ())):
            data, veiled = output.get("data", {}), output.get("metadata", {}).get(PREDICTION)
            if VIEW in data:
                del data[VIEW]
                if "image/png" in output.get("metadata", {}) and MOVES not in output["metadata"]:
                    continue  # only a picture
                if "image/png" in data and veiled in (None, *locked):
                    note = {"output_type": "display_data", "data": {"text/plain": PICTURE}, "metadata": {}}
                    cell["outputs"].append(note)
                else:
                    data.pop("image/png", None)
                    data["text/plain"] = AGAIN
