"""The course around the lessons: copies for learners, predictions, exercises, checks, progress; and its panels."""

from importlib import import_module
from typing import Any

_ROOMS = {
    "Levels": "k8slb.course.maps",
    "Lottery": "k8slb.show.cascade",
    "Predict": "k8slb.course.predictions",
    "Routes": "k8slb.course.maps",
    "cascade": "k8slb.show.cascade",
    "check": "k8slb.course.checks",
    "controls": "k8slb.show.controls",
    "film": "k8slb.show.film_panel",
    "live": "k8slb.course.asking",
    "panel": "k8slb.show.panels",
    "recording": "k8slb.real.recordings",
    "restore": "k8slb.course.progress",
    "save": "k8slb.course.progress",
    "scenes": "k8slb.show.scenes",
}
__all__ = list(_ROOMS)


def __getattr__(name: str) -> Any:
    """Load on demand: the command line passes here on its way to `lab`, and ipywidgets alone takes half a second."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    module = import_module(_ROOMS[name])
    return module if name in ("controls", "scenes") else getattr(module, name)


def __dir__() -> list[str]:
    return [*globals(), *_ROOMS]
