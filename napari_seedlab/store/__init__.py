"""The project folder: journal, arrays, models.

:class:`Project` is loaded at its first use, since it brings SQLAlchemy with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_seedlab.store.lock import Holder
from napari_seedlab.store.records import Stroke

if TYPE_CHECKING:
    from napari_seedlab.store.project import Project

__all__ = ["Holder", "Project", "Stroke"]


def __getattr__(name: str) -> Any:
    if name != "Project":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from napari_seedlab.store.project import Project

    return Project
