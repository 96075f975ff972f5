"""One bin per class: drop seeds into it, or press it to answer about the selected ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QAbstractButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_seedlab.ui.colouring import NONE_RGB, UNSURE_RGB
from napari_seedlab.ui.seed_mime import carried
from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtpy.QtCore import QEvent
    from qtpy.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent

    from napari_seedlab.core import SeedClass

BIN_PX, WIDTH_PX, WIDEST_PX = 28, 132, 220
KEY_PX, COUNTS_PX, FRAME_PX = 31, 78, 14  # before a name; room for the counts behind it; of the column
MIDDLE = Qt.AlignmentFlag.AlignVCenter
Said = int | str | None


class Bin(QAbstractButton):
    """A class, how many seeds people put into it, and smaller how many the model would.

    Parameters
    ----------
    said : int, str or None
        Class id, ``unsure``, or None which takes labels off.
    """

    dropped = Signal(object, object)  # what it stands for, seeds (n,)

    def __init__(
        self,
        said: Said,
        name: str,
        color: QColor,
        key: str,
        theme: Theme = DARK,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.said, self.name, self.color, self.key = said, name, color, key
        self._theme, self._hot = theme, False
        self.count = self.n_predicted = 0
        self.setAcceptDrops(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        what = "take their labels off" if said is None else f"label them {name}"
        self.setToolTip(f"Drop seeds or a whole group here to {what},\nor press it for the selected ones")
        self.setAccessibleName(f"Bin {name}")

    def tell(self, count: int, n_predicted: int) -> None:
        """Show how many seeds are labelled so, and how many others are predicted so."""
        if (count, n_predicted) != (self.count, self.n_predicted):
            self.count, self.n_predicted = count, n_predicted
            self.update()

    def sizeHint(self) -> QSize:
        """One row."""
        return QSize(WIDTH_PX, BIN_PX)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take seeds, and nothing else."""
        if len(carried(event.mimeData())):
            self._heat(True)
            event.acceptProposedAction()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        """They went elsewhere."""
        self._heat(False)

    def dropEvent(self, event: QDropEvent) -> None:
        """Answer about all of them."""
        self._heat(False)
        seeds = carried(event.mimeData())
        if len(seeds):
            event.acceptProposedAction()
            self.dropped.emit(self.said, seeds)

    def _heat(self, on: bool) -> None:
        self._hot = on
        self.update()

    def enterEvent(self, event: QEvent | None) -> None:
        """Light up."""
        self.update()

    def leaveEvent(self, event: QEvent | None) -> None:
        """Go dark."""
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw colour, key, name and counts."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        fill = QColor(self.color)
        fill.setAlpha(120 if self._hot else 0)
        painter.setPen(QPen(self.color if self._hot else self._theme.color("line"), 2 if self._hot else 1))
        painter.setBrush(self._theme.color("line" if self.underMouse() or self.isDown() else "panel"))
        painter.drawRoundedRect(box, 4, 4)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(fill)
        painter.drawRoundedRect(box, 4, 4)
        painter.setBrush(self.color)
        painter.drawRoundedRect(QRectF(box.left() + 1, box.top() + 1, 5, box.height() - 2), 2, 2)
        painter.setPen(self._theme.color("dim"))
        painter.drawText(QRectF(box.left() + 9, box.top(), 18, box.height()), int(MIDDLE), self.key)
        self._paint_counts(painter, box)
        painter.end()

    def _paint_counts(self, painter: QPainter, box: QRectF) -> None:
        small, bold = QFont(self.font()), QFont(self.font())
        small.setPointSizeF(max(small.pointSizeF() - 2, 6))
        bold.setBold(True)
        right = int(Qt.AlignmentFlag.AlignRight) | int(MIDDLE)
        edge = box.right() - 7
        if self.n_predicted:
            painter.setFont(small)
            text = f"~{self.n_predicted:,}"
            painter.drawText(QRectF(edge - 60, box.top(), 60, box.height()), right, text)
            edge -= painter.fontMetrics().horizontalAdvance(text) + 6
        painter.setPen(self._theme.color("text"))
        if self.said is not None:
            painter.setFont(bold)
            text = f"{self.count:,}"
            painter.drawText(QRectF(edge - 60, box.top(), 60, box.height()), right, text)
            edge -= painter.fontMetrics().horizontalAdvance(text) + 6
        painter.setFont(self.font())
        name = QRectF(box.left() + KEY_PX, box.top(), max(edge - box.left() - KEY_PX, 10), box.height())
        elided = painter.fontMetrics().elidedText(self.name, Qt.TextElideMode.ElideRight, int(name.width()))
        painter.drawText(name, int(MIDDLE), elided)


class BinColumn(QScrollArea):
    """The bins of a class scheme below each other, then *unsure* and *no label*."""

    chosen = Signal(object, object)  # what was said, seeds (n,) or None for the selected ones

    def __init__(self, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.bins: dict[Said, Bin] = {}
        self._body = QWidget()
        self._rows = QVBoxLayout(self._body)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(3)
        self._rows.addStretch(1)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setFixedWidth(WIDTH_PX + FRAME_PX)
        self.setWidget(self._body)

    def rebuild(self, classes: Iterable[SeedClass]) -> None:
        """Make a bin for each class."""
        for old in self.bins.values():
            self._rows.removeWidget(old)
            old.hide()
            old.deleteLater()
        self.bins = {}
        for c in classes:
            self._add(c.id, c.name, QColor(c.color), c.key)
        self._add("unsure", "unsure", QColor(*UNSURE_RGB), "U")
        self._add(None, "no label", QColor(*NONE_RGB), "⌫")
        names = [self.fontMetrics().horizontalAdvance(one.name) for one in self.bins.values()]
        needed = KEY_PX + max(names) + COUNTS_PX
        self.setFixedWidth(min(max(needed, WIDTH_PX), WIDEST_PX) + FRAME_PX)

    def _add(self, said: Said, name: str, color: QColor, key: str) -> None:
        one = Bin(said, name, color, key, self._theme, self._body)
        one.dropped.connect(self.chosen)
        one.clicked.connect(lambda *_, said=said: self.chosen.emit(said, None))
        self._rows.insertWidget(self._rows.count() - 1, one)
        self.bins[said] = one

    def tell(self, counts: dict[Said, int], predicted: npt.NDArray[np.integer]) -> None:
        """Show counts of labels, and of `predicted` (n,), the class ids of seeds without one."""
        ids, n_of = np.unique(predicted, return_counts=True)
        guessed = dict(zip(ids.tolist(), n_of.tolist(), strict=True))
        for said, one in self.bins.items():
            one.tell(counts.get(said, 0), guessed.get(said, 0) if isinstance(said, int) else 0)
