"""The line that says what is going on or what is in the way."""

from __future__ import annotations

from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QAction, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QApplication, QFrame, QSizePolicy, QVBoxLayout, QWidget

from napari_seedlab.ui.few_lines import FewLines
from napari_seedlab.ui.theme import DARK, Theme

KINDS = {"info": "accent", "success": "good", "warning": "warning", "error": "error"}


class StatusCard(QFrame):
    """Text beside a stripe in the colour of its kind: info, success, warning or error.

    It keeps its room while it has nothing to say, so that no button moves under the pointer. With `n_most`
    it grows to so many lines, so that an advice, which stands last, can be read without the tooltip.
    """

    def __init__(
        self, theme: Theme = DARK, parent: QWidget | None = None, n_lines: int = 2, n_most: int = 0
    ) -> None:
        super().__init__(parent)
        self._theme, self.kind = theme, "info"
        self._label = FewLines(n_lines, self, n_most)
        self.copy = QAction("Copy", self)
        self.copy.triggered.connect(lambda: QApplication.clipboard().setText(self.text()))
        self.addAction(self.copy)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        above = 2 * n_lines - 1  # a single line stands where room is short
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, above, 8, above)
        layout.addWidget(self._label)

    def say(self, text: str, kind: str = "info") -> None:
        """Show `text`; an empty text leaves the place blank."""
        self.kind = kind if kind in KINDS else "info"
        self._label.tell(text)
        self.update()

    def text(self) -> str:
        """All that is said, also where not all of it fits."""
        return self._label.full_text()

    def fold(self) -> None:
        """Make room for what a long text covers; the tooltip still has all of it."""
        self._label.fold()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Make room at a click."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self.fold()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the card behind its text."""
        if not self.text():
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("panel"))
        painter.drawRoundedRect(QRectF(self.rect()), 4, 4)
        painter.setBrush(self._theme.color(KINDS[self.kind]))
        painter.drawRoundedRect(QRectF(3, 4, 4, self.height() - 8), 2, 2)
        painter.end()
