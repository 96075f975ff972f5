"""The pictures in napari's list of layers, kept for as long as they are drawn."""

from __future__ import annotations

from functools import wraps
from typing import Any

from qtpy.QtGui import QImage


def keep_thumbnails() -> None:
    """Let the list of layers give pictures that own their pixels.

    napari 0.9 makes the picture of a layer from bytes that nobody holds once it was handed to Qt, which draws
    it afterwards: where the allocator has given that page back by then, the process ends.
    """
    from napari._qt.containers.qt_layer_model import QtLayerListModel

    plain = QtLayerListModel.data
    if getattr(plain, "keeps_pixels", False):
        return

    @wraps(plain)
    def data(*args: Any, **kwargs: Any) -> Any:
        found = plain(*args, **kwargs)
        return found.copy() if isinstance(found, QImage) else found

    data.keeps_pixels = True  # type: ignore[attr-defined]
    QtLayerListModel.data = data
