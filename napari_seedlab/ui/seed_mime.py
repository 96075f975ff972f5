"""Seeds that are dragged from one widget to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QMimeData, QPoint, QRect, Qt
from qtpy.QtGui import QDrag, QPainter, QPixmap

if TYPE_CHECKING:
    from qtpy.QtGui import QImage
    from qtpy.QtWidgets import QWidget

    from napari_seedlab.ui.theme import Theme

MIME = "application/x-seedlab-seeds"
CARD_PX, STEP_PX, MOST_CARDS = 56, 5, 3


def carry(seeds: npt.NDArray[np.int64]) -> QMimeData:
    """What a drag of seeds (n,) carries."""
    mime = QMimeData()
    mime.setData(MIME, np.ascontiguousarray(seeds, np.int64).tobytes())
    return mime


def carried(mime: QMimeData | None) -> npt.NDArray[np.int64]:
    """The seeds of a drag (n,); empty where it is none of ours."""
    if mime is None or not mime.hasFormat(MIME):
        return np.zeros(0, np.int64)
    data = bytes(mime.data(MIME))
    return np.frombuffer(data[: len(data) // 8 * 8], np.int64)


def drag_seeds(source: QWidget, seeds: npt.NDArray[np.int64], images: list[QImage], theme: Theme) -> None:
    """Let the pointer carry seeds (n,) from a widget, under a few of their pictures, until let go."""
    drag = QDrag(source)
    drag.setMimeData(carry(seeds))
    pixmap = stack(images[: len(seeds)], len(seeds), theme)
    drag.setPixmap(pixmap)
    drag.setHotSpot(QPoint(pixmap.width() // 2, 20))
    drag.exec_(Qt.DropAction.CopyAction)


def stack(images: list[QImage], n: int, theme: Theme) -> QPixmap:
    """A few pictures on top of each other and how many seeds they stand for."""
    shown = images[:MOST_CARDS] or [None]
    edge = CARD_PX + STEP_PX * (len(shown) - 1)
    pixmap = QPixmap(edge, edge + 16)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    for i, image in reversed(list(enumerate(shown))):
        box = QRect(i * STEP_PX, (len(shown) - 1 - i) * STEP_PX, CARD_PX, CARD_PX)
        painter.fillRect(box, theme.color("panel"))
        if image is not None:
            painter.drawImage(box, image)
        painter.setPen(theme.color("text"))
        painter.drawRect(box.adjusted(0, 0, -1, -1))
    strip = QRect(0, edge, edge, 16)
    painter.fillRect(strip, theme.color("accent"))
    painter.setPen(Qt.GlobalColor.white)
    painter.drawText(strip, int(Qt.AlignmentFlag.AlignCenter), f"{n:,} seed{'' if n == 1 else 's'}")
    painter.end()
    return pixmap
