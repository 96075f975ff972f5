"""A folder of pictures that is dropped on the viewer becomes a sheet of seeds in the open project."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject

from napari_seedlab.io.formats import PICTURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_seedlab.ui.app import SeedlabUi

LOOKED_AT = 64  # entries of a folder, and folders in it, that are looked at before napari gets the drop


class FolderDrops(QObject):
    """Takes such a folder before napari does, which would show its pictures as one stack.

    Parameters
    ----------
    ui : SeedlabUi
    open_folder : callable
        What is done with the path of one.
    parent : QObject
        With which this ends.
    """

    def __init__(self, ui: SeedlabUi, open_folder: Callable[[str], object], parent: QObject) -> None:
        super().__init__(parent)
        self._ui, self._open_folder = ui, ui.slot(open_folder)
        ui.viewer.window._qt_viewer.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Import a dropped folder of pictures; leave everything else to napari."""
        if event is None or event.type() != QEvent.Type.Drop:
            return False
        session, folder = self._ui.session, dropped_folder(event)
        if session is None or session.read_only or folder is None or not holds_pictures(folder):
            return False
        self._open_folder(str(folder))
        return True


def dropped_folder(event: Any) -> Path | None:
    """The folder of a drop of one folder alone."""
    urls = event.mimeData().urls()
    path = Path(urls[0].toLocalFile()) if len(urls) == 1 and urls[0].isLocalFile() else None
    return path if path is not None and path.is_dir() and path.suffix not in (".zarr", ".seedlab") else None


def holds_pictures(folder: Path) -> bool:
    """Whether a picture is among the first entries of a folder or of the folders in it."""
    try:
        first = [Path(entry.path) for entry in islice(os.scandir(folder), LOOKED_AT)]
        inner = [p for p in first if p.is_dir() and not p.is_symlink()]
        for place in inner[:8]:
            first += [Path(entry.path) for entry in islice(os.scandir(place), LOOKED_AT)]
    except OSError:
        return False
    return any(path.suffix.lower() in PICTURES for path in first)
