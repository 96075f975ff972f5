"""How one seed is drawn in the gallery: picture, border in the colour of its class, id, confidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPen, QPolygonF

from napari_seedlab.imaging.ids import lookup
from napari_seedlab.ui.colouring import CURRENT_RGB, colour_seeds

if TYPE_CHECKING:
    from qtpy.QtGui import QImage

    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.theme import Theme

PAD_PX = 4  # around the picture
CAPTION_PX = 15
SPARK_SHARE = 0.3  # of the picture's height
VOLUME_SHARE = 1.5  # width of three cuts beside the edge of the large one


@dataclass(frozen=True)
class SeedFacts:
    """What is drawn beside the pictures of n seeds.

    Attributes
    ----------
    label, guess : (n,) uint8
        Rows of `label_rgb` and `guess_rgb`, 0 where nothing was said.
    confidence : (n,) float32
        Probability of the most probable class; NaN where there is none.
    label_rgb, guess_rgb : (k, 3) uint8
    """

    label: npt.NDArray[np.uint8]
    guess: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.float32]
    label_rgb: npt.NDArray[np.uint8]
    guess_rgb: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Cell:
    """One seed as it is drawn: its row of the facts, picture, spectrum scaled to 0-1, and marks."""

    seed: int
    row: int
    image: QImage | None
    spark: npt.NDArray[np.float32] | None
    is_chosen: bool
    is_on_card: bool


def facts_of(session: Session | None, seeds: npt.NDArray[np.int64]) -> SeedFacts:
    """What a session knows of `seeds` (n,)."""
    if session is None:
        none, grey = np.zeros(len(seeds), np.uint8), np.full((1, 3), 126, np.uint8)
        return SeedFacts(none, none, np.full(len(seeds), np.nan, np.float32), grey, grey)
    labels, guesses = colour_seeds(session, "label"), colour_seeds(session, "prediction")
    sure = np.full(len(seeds), np.nan, np.float32)
    said = session.predictions
    if said is not None and len(said.seeds):
        found = lookup(said.seeds, said.p.max(1).astype(np.float32), seeds)
        sure = np.where(found > 0, found, np.float32(np.nan))
    return SeedFacts(labels.codes_of(seeds), guesses.codes_of(seeds), sure, labels.palette, guesses.palette)


@dataclass
class CellPainter:
    """Draws seeds into cells of one size.

    Attributes
    ----------
    edge : int
        Pixels of the picture's height.
    is_wide : bool
        Whether pictures are three cuts: the large one, and the other two beside it.
    """

    theme: Theme
    font: QFont
    edge: int = 72
    is_wide: bool = True
    _small: QFont = field(init=False)

    def __post_init__(self) -> None:
        self._small = QFont(self.font)
        self._small.setPointSizeF(max(self.font.pointSizeF() - 2, 6))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a cell."""
        width = round(self.edge * (VOLUME_SHARE if self.is_wide else 1))
        return width + 2 * PAD_PX, self.edge + CAPTION_PX + 2 * PAD_PX

    def paint(self, painter: QPainter, box: QRectF, cell: Cell, facts: SeedFacts) -> None:
        """Draw one seed."""
        picture = box.adjusted(PAD_PX, PAD_PX, -PAD_PX, -PAD_PX - CAPTION_PX)
        if cell.is_chosen:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self.theme.color("accent", 150))
            painter.drawRoundedRect(box, 4, 4)
        painter.fillRect(picture, QColor(0, 0, 0))
        if cell.image is not None:
            self._draw_picture(painter, picture, cell.image)
        if cell.spark is not None and len(cell.spark) > 1:
            self._draw_spark(painter, picture, cell.spark)
        self._draw_border(painter, picture, cell.row, facts)
        if cell.is_on_card:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(*CURRENT_RGB), 2))
            painter.drawRoundedRect(box.adjusted(1, 1, -1, -1), 4, 4)
        self._draw_caption(painter, box, cell, float(facts.confidence[cell.row]))

    def _draw_picture(self, painter: QPainter, box: QRectF, image: QImage) -> None:
        if image.height() == image.width():
            side = min(box.width(), box.height())
            painter.drawImage(QRectF(box.center().x() - side / 2, box.top(), side, side), image)
            return
        n, half = image.width(), box.height() / 2
        large = QRectF(box.left(), box.top(), box.height(), box.height())
        painter.drawImage(large, image, QRectF(0, 0, n, n))
        for i in range(2):
            small = QRectF(large.right(), box.top() + i * half, half, half)
            painter.drawImage(small, image, QRectF(0, n * (i + 1), n, n))

    def _draw_spark(self, painter: QPainter, box: QRectF, values: npt.NDArray[np.float32]) -> None:
        """The spectrum, 0 to 1 of what all seeds of the pool span, over the foot of the picture."""
        strip = QRectF(box.left(), box.bottom() - box.height() * SPARK_SHARE, box.width(), 0)
        strip.setBottom(box.bottom())
        painter.fillRect(strip, QColor(0, 0, 0, 130))
        x = np.linspace(strip.left() + 3, strip.right() - 3, len(values))
        y = strip.bottom() - 3 - np.clip(values, 0, 1) * (strip.height() - 6)
        painter.setPen(QPen(QColor(255, 255, 255, 220), 1.2))
        painter.drawPolyline(QPolygonF([QPointF(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]))

    def _draw_border(self, painter: QPainter, box: QRectF, row: int, facts: SeedFacts) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if facts.label[row]:
            painter.setPen(QPen(QColor(*facts.label_rgb[facts.label[row]].tolist()), 3))
        elif facts.guess[row]:
            pen = QPen(QColor(*facts.guess_rgb[facts.guess[row]].tolist()), 2, Qt.PenStyle.DashLine)
            painter.setPen(pen)
        else:
            painter.setPen(QPen(self.theme.color("line"), 1))
        painter.drawRect(box)

    def _draw_caption(self, painter: QPainter, box: QRectF, cell: Cell, confidence: float) -> None:
        painter.setFont(self._small)
        line = QRectF(
            box.left() + PAD_PX, box.bottom() - CAPTION_PX - 2, box.width() - 2 * PAD_PX, CAPTION_PX
        )
        painter.setPen(self.theme.color("text"))
        painter.drawText(
            line, int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter), str(cell.seed)
        )
        if np.isfinite(confidence):
            painter.setPen(self.theme.color("text" if cell.is_chosen else "dim"))
            right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            painter.drawText(line, right, f"{confidence:.0%}")
