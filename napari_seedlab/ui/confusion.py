"""The confusion matrix: what people said against what the model says; a click on a cell tells which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QFontMetrics, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QEvent
    from qtpy.QtGui import QMouseEvent

NAME_PX, HEAD_PX = 84, 34
CELL_PX = (22, 34)  # least and most height of a cell
LEAST_PT = 6.5


def fitted_name(name: str, font: QFont, width: int) -> tuple[QFont, str]:
    """A name of a class within `width` pixels: smaller where it would be cut, and cut where it still is."""
    if QFontMetrics(font).horizontalAdvance(name) > width:
        font = QFont(font)
        font.setPointSizeF(LEAST_PT)
    return font, QFontMetrics(font).elidedText(name, Qt.TextElideMode.ElideRight, width)


class ConfusionMatrix(QWidget):
    """One row per class that people gave, one column per class that the model predicts.

    Signals
    -------
    clicked : int, int
        Row and column of a cell.
    """

    clicked = Signal(int, int)

    def __init__(self, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.names: tuple[str, ...] = ()
        self._colors: tuple[str, ...] = ()
        self.counts: npt.NDArray[np.float64] = np.zeros((0, 0))
        self.chosen: tuple[int, int] | None = None
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_counts(self, names: Sequence[str], colors: Sequence[str], counts: npt.ArrayLike) -> None:
        """Show seeds (C, C) by said (row) and predicted class (column)."""
        self.counts = np.asarray(counts, np.float64)
        self.names, self._colors, self.chosen = tuple(names), tuple(colors), None
        right = float(np.trace(self.counts))
        self.setAccessibleName(
            f"{right:.0f} of {self.counts.sum():.0f} seeds are predicted as they were said to be"
        )
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """A row per class."""
        return QSize(300, HEAD_PX + self._cell_height() * len(self.names) + 2)

    def minimumSizeHint(self) -> QSize:
        """It may shrink in width."""
        return QSize(180, self.sizeHint().height())

    def _cell_height(self) -> int:
        return max(CELL_PX[0], min(CELL_PX[1], 200 // max(len(self.names), 1)))

    def _cell(self, row: int, column: int) -> QRectF:
        width = (self.width() - NAME_PX - 2) / max(len(self.names), 1)
        height = self._cell_height()
        return QRectF(NAME_PX + column * width, HEAD_PX + row * height, width, height)

    def cell_at(self, x: float, y: float) -> tuple[int, int] | None:
        """Row and column of the cell at a position in pixels; None beside the cells."""
        n = len(self.names)
        if not n or x < NAME_PX or y < HEAD_PX:
            return None
        column = int((x - NAME_PX) / max(self._cell(0, 0).width(), 1e-9))
        row = int((y - HEAD_PX) / self._cell_height())
        return (row, column) if row < n and column < n else None

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Tell which cell was clicked."""
        if event is None:
            return
        cell = self.cell_at(event.pos().x(), event.pos().y())
        if cell is not None:
            self.chosen = cell
            self.update()
            self.clicked.emit(*cell)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Say what a cell means."""
        if event is None:
            return
        cell = self.cell_at(event.pos().x(), event.pos().y())
        text = ""
        if cell is not None:
            said, told = (self.names[i] for i in cell)
            count = self.counts[cell]
            text = f"No seed said to be {said} is predicted {told}."
            if count > 0:
                seeds = "1 seed" if round(count) == 1 else f"{count:,.0f} seeds"
                text = (
                    f"{seeds} said to be {said}, predicted {told}. Click to select those that were answered."
                )
        if text != self.toolTip():
            self.setToolTip(text)
        self.setCursor(Qt.CursorShape.PointingHandCursor if cell else Qt.CursorShape.ArrowCursor)

    def leaveEvent(self, event: QEvent | None) -> None:
        """Forget the tooltip."""
        self.setToolTip("")

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw names and cells."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = self.font()
        font.setPointSizeF(max(font.pointSizeF() - 1, LEAST_PT))
        painter.setFont(font)
        painter.setPen(self._theme.color("dim"))
        painter.drawText(QRectF(0, 0, NAME_PX - 6, HEAD_PX), Qt.AlignmentFlag.AlignBottom, "said ↓")
        head = QRectF(NAME_PX, 0, self.width() - NAME_PX, 15)
        painter.drawText(head, Qt.AlignmentFlag.AlignHCenter, "predicted →")
        for i, name in enumerate(self.names):
            self._draw_name(
                painter, QRectF(0, self._cell(i, 0).top(), NAME_PX - 6, self._cell_height()), i, name
            )
            top = self._cell(0, i)
            self._draw_name(painter, QRectF(top.left() + 1, 15, top.width() - 2, HEAD_PX - 16), i, name)
        total = self.counts.sum(axis=1, keepdims=True)
        share = np.divide(self.counts, total, out=np.zeros_like(self.counts), where=total > 0)
        for i in range(len(self.names)):
            for j in range(len(self.names)):
                self._draw_cell(painter, i, j, float(share[i, j]))
        painter.end()

    def _draw_name(self, painter: QPainter, box: QRectF, i: int, name: str) -> None:
        painter.setPen(QColor(self._colors[i]))
        usual = painter.font()
        font, short = fitted_name(name, usual, int(box.width()))
        painter.setFont(font)
        align = Qt.AlignmentFlag.AlignVCenter | (
            Qt.AlignmentFlag.AlignLeft if box.left() < NAME_PX else Qt.AlignmentFlag.AlignHCenter
        )
        painter.drawText(box, int(align), short)
        painter.setFont(usual)

    def _draw_cell(self, painter: QPainter, i: int, j: int, share: float) -> None:
        box = self._cell(i, j).adjusted(1, 1, -1, -1)
        color = self._theme.color("good" if i == j else "error", round(30 + 190 * share) if share else 0)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("panel"))
        painter.drawRoundedRect(box, 2, 2)
        painter.setBrush(color)
        painter.drawRoundedRect(box, 2, 2)
        if self.chosen == (i, j):
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(self._theme.color("text"))
            painter.drawRoundedRect(box, 2, 2)
        if self.counts[i, j] > 0:
            painter.setPen(self._theme.color("text"))
            count = self.counts[i, j]
            text = f"{count:,.0f}" if count >= 0.95 else "<1"
            painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), text)
