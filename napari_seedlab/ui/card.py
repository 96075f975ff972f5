"""Parts of the seed card that paint themselves: three cuts, and class buttons that are also bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QImage, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from napari_seedlab.ui.cuts import image_of
from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from napari_seedlab.core import SeedClass

CUT_NAMES = ("from above", "from the front", "from the side")
BUTTON_PX = 25
CUTS_PX = 94  # with it the whole card stands in a window of 1366 by 768
MIDDLE = Qt.AlignmentFlag.AlignVCenter


class CutsView(QWidget):
    """Up to three pictures side by side, as large squares as fit."""

    def __init__(self, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._images: list[QImage] = []
        self._empty = ""
        self.seed: int | None = None  # whose cuts are shown
        self.drawn_seed: int | None = None  # whose cuts were painted last
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Cuts through the seed")

    def show_cuts(
        self, cuts: Sequence[npt.NDArray[Any]] | None, empty: str = "", seed: int | None = None
    ) -> None:
        """Show (n, n) or (n, n, 3) uint8 pictures of a seed; `empty` is said where there are none."""
        self.seed = seed
        self._images = [image_of(cut) for cut in cuts or ()]
        self._empty = empty
        self.update()

    @property
    def n_cuts(self) -> int:
        """Pictures shown."""
        return len(self._images)

    def sizeHint(self) -> QSize:
        """A row of three squares."""
        return QSize(300, CUTS_PX)

    def minimumSizeHint(self) -> QSize:
        """The row may shrink in width."""
        return QSize(150, CUTS_PX)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the pictures and what they show."""
        self.drawn_seed = self.seed
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        gap = 4
        n = max(len(self._images), 1 if not self._images else 3 if len(self._images) == 3 else 1)
        edge = min(self.height(), (self.width() - gap * (n - 1)) / n) if self._images else self.height()
        left = (self.width() - (edge * n + gap * (n - 1))) / 2
        small = QFont(self.font())
        small.setPointSizeF(max(small.pointSizeF() - 2, 6))
        for i, image in enumerate(self._images):
            box = QRectF(left + i * (edge + gap), (self.height() - edge) / 2, edge, edge)
            painter.drawImage(box, image)
            painter.setPen(QPen(self._theme.color("line"), 1))
            painter.drawRect(box)
            if len(self._images) == 3:
                painter.setFont(small)
                strip = QRectF(box.left(), box.top(), edge, painter.fontMetrics().height() + 4)
                painter.fillRect(strip, QColor(0, 0, 0, 140))  # so that it is read on any grey
                painter.setPen(QColor(200, 204, 210))
                painter.drawText(strip.adjusted(4, 2, -2, -2), CUT_NAMES[i])
        if not self._images:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._theme.color("panel"))
            painter.drawRoundedRect(QRectF(self.rect()), 4, 4)
            painter.setPen(self._theme.color("dim"))
            flags = int(Qt.AlignmentFlag.AlignHCenter) | int(MIDDLE) | int(Qt.TextFlag.TextWordWrap)
            painter.drawText(self.rect().adjusted(16, 4, -16, -4), flags, self._empty)
        painter.end()


class ClassButton(QAbstractButton):
    """One class: its key, colour and name, how probable it is for this seed, and how many were labelled."""

    def __init__(self, seed_class: SeedClass, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.seed_class, self._theme = seed_class, theme
        self.probability: float | None = None
        self.count = 0
        self.is_answer = False
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(f"{seed_class.name}, key {seed_class.key}")
        self.setToolTip(
            f"Label as {seed_class.name} and go on ({seed_class.key}); "
            f"Shift+{seed_class.key} labels the seed under the cursor"
        )

    def tell(self, probability: float | None, count: int, is_answer: bool) -> None:
        """Show a probability of 0-1, a count of labels, and whether this is the given answer."""
        if (probability, count, is_answer) != (self.probability, self.count, self.is_answer):
            self.probability, self.count, self.is_answer = probability, count, is_answer
            self.update()

    def sizeHint(self) -> QSize:
        """One row."""
        return QSize(300, BUTTON_PX)

    def minimumSizeHint(self) -> QSize:
        """One row at any width."""
        return QSize(160, BUTTON_PX)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the row."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(
            QPen(self._theme.color("text" if self.is_answer else "line"), 1.4 if self.is_answer else 1)
        )
        painter.setBrush(self._theme.color("line" if self.underMouse() or self.isDown() else "panel"))
        painter.drawRoundedRect(box, 4, 4)
        self._paint_bar(painter, box)
        self._paint_texts(painter, box)
        painter.end()

    def _paint_bar(self, painter: QPainter, box: QRectF) -> None:
        color = QColor(self.seed_class.color)
        painter.setPen(Qt.PenStyle.NoPen)
        if self.probability:
            color.setAlpha(80)
            painter.setBrush(color)
            width = (box.width() - 2) * self.probability
            painter.drawRoundedRect(QRectF(box.left() + 1, box.top() + 1, width, box.height() - 2), 3, 3)
        color.setAlpha(255)
        painter.setBrush(color)
        painter.drawRoundedRect(QRectF(box.left() + 1, box.top() + 1, 5, box.height() - 2), 2, 2)

    def _paint_texts(self, painter: QPainter, box: QRectF) -> None:
        key = QRectF(box.left() + 13, box.center().y() - 9, 18, 18)
        painter.setBrush(self._theme.color("background"))
        painter.setPen(QPen(self._theme.color("line"), 1))
        painter.drawRoundedRect(key, 3, 3)
        painter.setPen(self._theme.color("text"))
        painter.drawText(key, int(Qt.AlignmentFlag.AlignHCenter) | int(MIDDLE), self.seed_class.key)
        bold = QFont(self.font())
        bold.setBold(self.is_answer)
        painter.setFont(bold)
        name = QRectF(key.right() + 9, box.top(), box.width() - 150, box.height())
        tick = " ✓" if self.is_answer else ""
        text = painter.fontMetrics().elidedText(
            self.seed_class.name + tick, Qt.TextElideMode.ElideRight, int(name.width())
        )
        painter.drawText(name, int(MIDDLE), text)
        painter.setFont(self.font())
        right = int(Qt.AlignmentFlag.AlignRight) | int(MIDDLE)
        if self.probability is not None:
            painter.drawText(box.adjusted(0, 0, -52, 0), right, f"{self.probability:.0%}")
        painter.setPen(self._theme.color("dim"))
        painter.drawText(box.adjusted(0, 0, -9, 0), right, f"{self.count}")


class SavedTick(QWidget):
    """Whether every answer is on disk: a tick, or a dot while some are pending."""

    def __init__(self, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme, self.pending, self.failed, self.known = theme, 0, "", False
        self.setFixedSize(76, 22)

    def tell(self, pending: int, failed: str, known: bool) -> None:
        """Show how many answers wait for the disk, and what is wrong with it."""
        if (pending, failed, known) == (self.pending, self.failed, self.known):
            return
        self.pending, self.failed, self.known = pending, failed, known
        self.setToolTip(failed or ("Every answer is on disk" if not pending else "Writing to disk"))
        self.update()

    @property
    def text(self) -> str:
        """What it says."""
        if self.failed:
            return "not saved"
        if self.pending:
            return f"saving {self.pending}"
        return "saved" if self.known else ""

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the mark and its text."""
        if not self.text:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        color = self._theme.color("error" if self.failed else "warning" if self.pending else "good")
        y = self.height() / 2
        painter.setPen(QPen(color, 2))
        if self.pending or self.failed:
            painter.setBrush(color)
            painter.drawEllipse(QPointF(8, y), 3, 3)
        else:
            painter.drawPolyline(QPointF(4, y), QPointF(7, y + 3.5), QPointF(13, y - 4))
        painter.setPen(self._theme.color("dim"))
        painter.drawText(self.rect().adjusted(19, 0, 0, 0), int(MIDDLE), self.text)
        painter.end()
