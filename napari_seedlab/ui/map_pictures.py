"""Thumbnails on the map: when they fit in place of the points, and the one beside the pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_seedlab.ui.theme import Theme

MOST_PICTURES = 400  # in view at once
EDGE_PX = (20.0, 72.0)  # smaller ones show nothing, larger ones hide the map
KEPT_SHARE = 0.85  # of the least edge at which pictures that are shown stay: no flicker while panning
EVEN_SHARE = 0.5  # of the side of the square that each place would have: what chance leaves to a neighbour
CARD_PX, CARD_WIDTH, PAD_PX, OFF_PX = 84, 172, 6, 14
FRAME_PX, RIM_PX = 2.0, 4.0  # about a picture; with the ring of a marked one
MOST_OF_ROOM = 0.4  # that the picture beside the pointer takes of a low map

Xy = npt.NDArray[np.floating[Any]]


class Thumbs(Protocol):
    """Where thumbnails come from."""

    def get(self, seed: int) -> QImage | None:
        """The picture of a seed; None until it was read, which this asks for."""


def edge_that_fits(places: Xy, room: tuple[int, int], were_shown: bool = False) -> float:
    """Edge in pixels of pictures in the middle of (n, 2) `places` within `room`; 0 where none fits.

    As large as the usual distance (the larger of that along x and y) from a place to its nearest neighbour,
    or as if the places were spread evenly: seeds that look alike lie close however far one zooms in. No
    picture is more than twice that distance wide, so that less than half of it is covered.
    """
    n = len(places)
    if not 0 < n <= MOST_PICTURES:
        return 0.0
    if n == 1:
        return EDGE_PX[1]
    apart = np.abs(places[:, None] - places[None]).max(2)
    np.fill_diagonal(apart, np.inf)
    usual = float(np.median(apart.min(1)))
    even = EVEN_SHARE * (room[0] * room[1] / n) ** 0.5
    edge = max(usual, min(even, 2 * usual))
    least = EDGE_PX[0] * (KEPT_SHARE if were_shown else 1.0)
    return min(edge, EDGE_PX[1]) if edge >= least else 0.0


def kept_inside(places: Xy, edge: float, room: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Where the middles of pictures go so that none is cut off by a border that its point has not crossed."""
    at, size = np.asarray(places, np.float64), np.asarray(room, np.float64)
    if not edge:
        return at
    off = np.minimum(edge / 2 + RIM_PX, size / 2)
    seen = np.all((at >= 0) & (at <= size), axis=1, keepdims=True)
    return np.where(seen, np.clip(at, off, size - off), at)


def draw_pictures(
    painter: QPainter, places: Xy, images: Sequence[QImage | None], rgb: npt.NDArray[np.uint8], edge: float
) -> None:
    """Draw pictures in the middle of (n, 2) pixels, each in a frame of its colour (n, 3)."""
    for (x, y), image, color in zip(places.tolist(), images, rgb.tolist(), strict=True):
        if image is None:
            continue
        box = fitted(image, QRectF(x - edge / 2, y - edge / 2, edge, edge))
        painter.drawImage(box, image)
        painter.setPen(QPen(QColor(*color), FRAME_PX))
        painter.drawRect(box)


def fitted(image: QImage, box: QRectF) -> QRectF:
    """The largest place of the picture's shape in the middle of `box`."""
    zoom = min(box.width() / max(image.width(), 1), box.height() / max(image.height(), 1))
    width, height = image.width() * zoom, image.height() * zoom
    return QRectF(box.center().x() - width / 2, box.center().y() - height / 2, width, height)


def draw_card(
    painter: QPainter, theme: Theme, at: QPointF, room: QRectF, image: QImage | None, text: str
) -> None:
    """Draw what is known of the seed beside the pointer, inside `room`."""
    flags = int(Qt.AlignmentFlag.AlignLeft) | int(Qt.TextFlag.TextWordWrap)
    width = min(CARD_WIDTH, room.width() - 2)
    inner = QRectF(0, 0, width - 2 * PAD_PX, 1000)
    words = QRectF(painter.boundingRect(inner, flags, text))
    height = min(CARD_PX, room.height() * MOST_OF_ROOM)
    picture = QRectF() if image is None else fitted(image, QRectF(0, 0, inner.width(), height))
    above = picture.height() + PAD_PX if image is not None else 0.0
    across = min(width, max(words.width() + 1, picture.width()) + 2 * PAD_PX)  # it hides neighbours
    box = QRectF(0, 0, across, above + words.height() + 2 * PAD_PX)
    left = at.x() + OFF_PX if at.x() + OFF_PX + box.width() < room.right() else at.x() - OFF_PX - box.width()
    top = (
        at.y() + OFF_PX if at.y() + OFF_PX + box.height() < room.bottom() else at.y() - OFF_PX - box.height()
    )
    box.moveTo(max(left, room.left() + 1), max(top, room.top() + 1))
    painter.setPen(QPen(theme.color("line"), 1))
    painter.setBrush(theme.color("panel", 242))
    painter.drawRoundedRect(box, 4, 4)
    if image is not None:
        picture.moveTo(box.center().x() - picture.width() / 2, box.top() + PAD_PX)
        painter.drawImage(picture, image)
    painter.setPen(theme.color("text"))
    painter.drawText(words.translated(box.left() + PAD_PX, box.top() + PAD_PX + above), flags, text)
