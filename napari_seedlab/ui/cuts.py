"""Pictures of a seed side by side, all in one scale, and the colours of the heat that lies over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QImage, QLinearGradient, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_seedlab.ui.layers import DIMMED, heat_colormap
from napari_seedlab.ui.section import align
from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP_PX, CAPTION_PX, BAR_PX, WORD_PX = 8, 17, 3, 40
HEAT_OPACITY = 0.85  # as the heatmap's layer has
BAR_SHARE = 0.4  # of the first picture that the scale bar takes at most


@dataclass(frozen=True)
class Picture:
    """Pixels (rows, columns) uint8 grey or (rows, columns, 3) uint8, and what they show."""

    pixels: npt.NDArray[np.uint8]
    caption: str


def under_heat(picture: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Lay heat over a darkened picture, in the colours of the heatmap's layer.

    Parameters
    ----------
    picture : (rows, columns) or (rows, columns, 3) uint8
        The cut, or the photo.
    heat : (rows, columns) float32
        0-1 of the scale that all seeds share.

    Returns
    -------
    (rows, columns, 3) uint8
    """
    colours = heat_colormap().map(heat.ravel()).reshape(*heat.shape, 4)
    alpha = colours[..., 3:] * HEAT_OPACITY
    below = (picture if picture.ndim == 3 else picture[..., None]) * (DIMMED / 255.0)
    mixed = colours[..., :3] * alpha + below * (1 - alpha)
    return np.asarray(np.clip(mixed * 255, 0, 255), np.uint8)


def bar_um(width_um: float) -> float:
    """The longest of 1, 2, 5, 10... µm within ``BAR_SHARE`` of a width."""
    room = max(width_um * BAR_SHARE, 1e-6)
    power = 10.0 ** np.floor(np.log10(room))
    return float(max(m * power for m in (1, 2, 5) if m * power <= room))


def length_text(um: float) -> str:
    """``500 µm`` or ``2 mm``."""
    return f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"


class PictureRow(QWidget):
    """Pictures side by side, captions below; as large as fits, one scale for all of them.

    Parameters
    ----------
    height : int
        Pixels that the tallest picture may take.
    """

    def __init__(self, height: int, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme, self._height = theme, height
        self._images: list[tuple[QImage, str]] = []
        self._cell_um: float | None = None
        align(self)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_pictures(self, pictures: Sequence[Picture], cell_um: float | None = None) -> None:
        """Show other pictures; with the edge of their pixels in µm the first one gets a scale bar."""
        self._images = [(image_of(p.pixels), p.caption) for p in pictures]
        self._cell_um = cell_um
        self.setAccessibleName(", ".join(p.caption for p in pictures))
        self.update()

    @property
    def n_pictures(self) -> int:
        """Pictures shown."""
        return len(self._images)

    def sizeHint(self) -> QSize:
        """The full height whether or not there are pictures, so that nothing jumps."""
        return QSize(300, self._height + CAPTION_PX)

    def minimumSizeHint(self) -> QSize:
        """The row may shrink in width."""
        return QSize(150, self._height + CAPTION_PX)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw pictures, captions and the scale bar."""
        if not self._images:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        small = QFont(self.font())
        small.setPointSizeF(max(small.pointSizeF() - 2, 6))
        painter.setFont(small)
        inner = QRectF(self.contentsRect())
        room = inner.width() - GAP_PX * (len(self._images) - 1)
        wide = sum(image.width() for image, _ in self._images)
        tall = max(image.height() for image, _ in self._images)
        zoom = min(room / wide, self._height / tall)
        left = inner.left() + (room - wide * zoom) / 2
        for i, (image, caption) in enumerate(self._images):
            top = (self._height - image.height() * zoom) / 2
            box = QRectF(left, top, image.width() * zoom, image.height() * zoom)
            painter.drawImage(box, image)
            painter.setPen(self._theme.color("dim"))
            strip = QRectF(box.center().x() - 60, (self._height + tall * zoom) / 2 + 1, 120, CAPTION_PX - 1)
            painter.drawText(strip, int(Qt.AlignmentFlag.AlignCenter), caption)
            if i == 0 and self._cell_um:
                self._paint_bar(painter, box, zoom / self._cell_um)
            left = box.right() + GAP_PX
        painter.end()

    def _paint_bar(self, painter: QPainter, box: QRectF, px_per_um: float) -> None:
        um = bar_um(box.width() / px_per_um)
        end = QPointF(box.left() + 5 + um * px_per_um, box.bottom() - 5)
        text = length_text(um)
        width = max(um * px_per_um, painter.fontMetrics().horizontalAdvance(text)) + 8
        painter.fillRect(QRectF(box.left() + 1, end.y() - 19, width, 23), QColor(0, 0, 0, 150))
        painter.setPen(QPen(QColor(235, 237, 240), 2))
        painter.drawLine(QPointF(box.left() + 5, end.y()), end)
        painter.drawText(QPointF(box.left() + 5, end.y() - 5), text)


class HeatScale(QWidget):
    """The colours of the heat, from usual to odd."""

    def __init__(self, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(CAPTION_PX)
        align(self)
        self.setToolTip("One scale for all seeds: equal colours mean equally odd")

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the strip between its two words."""
        painter = QPainter(self)
        small = QFont(self.font())
        small.setPointSizeF(max(small.pointSizeF() - 2, 6))
        painter.setFont(small)
        words = QRectF(self.contentsRect())
        strip = words.adjusted(WORD_PX, self.height() / 2 - BAR_PX, -WORD_PX, -self.height() / 2 + BAR_PX)
        gradient = QLinearGradient(strip.topLeft(), strip.topRight())
        for at in np.linspace(0, 1, 9).tolist():
            red, green, blue, alpha = heat_colormap().map(np.array([at]))[0].tolist()
            color = self._theme.color("text")
            color.setRgbF(red * alpha, green * alpha, blue * alpha, 1.0)
            gradient.setColorAt(at, color)
        painter.fillRect(strip, gradient)
        painter.setPen(self._theme.color("dim"))
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(words, int(Qt.AlignmentFlag.AlignLeft | middle), "usual")
        painter.drawText(words, int(Qt.AlignmentFlag.AlignRight | middle), "odd")
        painter.end()


def image_of(pixels: npt.NDArray[Any]) -> QImage:
    """A picture (rows, columns) grey or (rows, columns, 3) of uint8."""
    data = np.ascontiguousarray(pixels, np.uint8)
    height, width = data.shape[:2]
    kind = QImage.Format.Format_RGB888 if data.ndim == 3 else QImage.Format.Format_Grayscale8
    return QImage(data.tobytes(), width, height, data.strides[0], kind).copy()
