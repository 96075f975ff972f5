"""The one line that says what is going on or what is in the way."""

from __future__ import annotations

from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QPainter, QPaintEvent
from qtpy.QtWidgets import QFrame, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_seedlab.ui.theme import DARK, Theme

KINDS = {"info": "accent", "success": "good", "warning": "warning", "error": "error"}


class StatusCard(QFrame):
    """A line of text beside a stripe in the colour of its kind: info, success, warning or error."""

    def __init__(self, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme, self.kind = theme, "info"
        self._label = QLabel(self)
        self._label.setWordWrap(True)
        self._label.setTextFormat(Qt.TextFormat.PlainText)
        self._label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._label.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 6, 8, 6)
        layout.addWidget(self._label)

    def say(self, text: str, kind: str = "info") -> None:
        """Show `text`; an empty text hides the card."""
        self.kind = kind if kind in KINDS else "info"
        self._label.setText(text)
        self.setVisible(bool(text))
        self.update()

    def text(self) -> str:
        """What is shown."""
        return str(self._label.text())

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the card behind its text."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color("panel"))
        painter.drawRoundedRect(QRectF(self.rect()), 4, 4)
        painter.setBrush(self._theme.color(KINDS[self.kind]))
        painter.drawRoundedRect(QRectF(3, 5, 4, self.height() - 10), 2, 2)
        painter.end()
