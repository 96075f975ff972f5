"""A slider for the number of groups, drawn over the heights at which groups merge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent, QMouseEvent

HEIGHT_PX, SIDE_PX, TOP_PX = 40, 4, 4


class CutSlider(QWidget):
    """The top of a dendrogram as bars: how far apart the groups are that one fewer group would merge.

    A long bar beside a short one is a natural number of groups. Drag or press where to cut; arrows work too.
    """

    moved = Signal(int)  # another number of groups
    let_go = Signal()  # the user is done

    def __init__(self, limits: tuple[int, int], theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._limits, self._theme = limits, theme
        self.value, self.proposed = limits[0], 0
        self._heights: npt.NDArray[np.float32] = np.zeros(0, np.float32)
        self.setFixedHeight(HEIGHT_PX)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("Number of clusters")
        self.setToolTip(
            "How many clusters: drag to cut the tree elsewhere.\nEach bar is the distance between the two "
            "clusters\nthat one cluster fewer would merge. Green: proposed."
        )

    def show_tree(self, value: int, proposed: int, heights: npt.NDArray[np.float32]) -> None:
        """Show a number of groups, the proposed one, and the heights (m,) of all merges, ascending."""
        if (value, proposed) != (self.value, self.proposed) or not np.array_equal(heights, self._heights):
            self.value, self.proposed, self._heights = value, proposed, heights
            self.update()

    def sizeHint(self) -> QSize:
        """A low strip."""
        return QSize(150, HEIGHT_PX)

    def _x(self, n_groups: float) -> float:
        low, high = self._limits
        room: int = self.width() - 2 * SIDE_PX
        return SIDE_PX + (n_groups - low + 0.5) * room / (high - low + 1)

    def _value_at(self, x: float) -> int:
        low, high = self._limits
        return int(np.clip(low + (x - SIDE_PX) * (high - low + 1) // (self.width() - 2 * SIDE_PX), low, high))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the bars; those left of the cut, whose groups stay apart, are bright."""
        painter = QPainter(self)
        low, high = self._limits
        base, tall = self.height() - 4.0, self.height() - TOP_PX - 4.0
        bar = max(1.0, self._x(1) - self._x(0) - 1)
        top = float(self._heights[-1]) if len(self._heights) else 1.0
        for n in range(low, high + 1):
            known = n - 1 <= len(self._heights)  # without a tree all bars are low
            share = (float(self._heights[1 - n]) / max(top, 1e-9)) ** 0.5 if known else 0.12
            box = QRectF(self._x(n) - bar / 2, base - max(share * tall, 2), bar, max(share * tall, 2))
            painter.fillRect(box, self._theme.color("accent" if n <= self.value else "line"))
        if self.proposed:
            x = self._x(self.proposed)
            painter.setPen(QPen(self._theme.color("good"), 1.5))
            painter.drawLine(int(x), int(base) + 1, int(x), self.height())
            painter.drawLine(int(x) - 3, self.height() - 1, int(x) + 3, self.height() - 1)
        x = self._x(self.value + 0.5)
        painter.setPen(QPen(self._theme.color("text"), 1, Qt.PenStyle.DashLine))
        painter.drawLine(int(x), 0, int(x), int(base))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Cut here."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._move(event.pos().x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Cut where the pointer is."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._move(event.pos().x())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """The number is chosen."""
        self.let_go.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """One group more or fewer."""
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(event.key(), 0)
        if step:
            self._set(int(np.clip(self.value + step, *self._limits)))
            self.let_go.emit()
        else:
            super().keyPressEvent(event)

    def _move(self, x: float) -> None:
        self._set(self._value_at(x))

    def _set(self, value: int) -> None:
        if value != self.value:
            self.value = value
            self.update()
            self.moved.emit(value)
