"""Text that always takes the room of so many lines; what does not fit is in its tooltip."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QFont, QFontMetrics, QResizeEvent, QTextLayout, QTextOption
from qtpy.QtWidgets import QLabel, QSizePolicy, QWidget

FOLD = "Click to make room"


def fitted(text: str, font: QFont, width: int, n_lines: int) -> list[str]:
    """`text` broken into at most `n_lines` lines of `width` pixels, the last one with … where it goes on."""
    layout = QTextLayout(text.replace("\n", " "), font)
    option = QTextOption()
    option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    layout.setTextOption(option)
    lines: list[str] = []
    layout.beginLayout()
    while len(lines) < n_lines and (line := layout.createLine()).isValid():
        line.setLineWidth(width)
        start = line.textStart()
        is_last = len(lines) == n_lines - 1
        lines.append(layout.text()[start : None if is_last else start + line.textLength()].strip())
    layout.endLayout()
    if lines:
        lines[-1] = QFontMetrics(font).elidedText(lines[-1], Qt.TextElideMode.ElideRight, width)
    return lines


class FewLines(QLabel):
    """A label of `n_lines` lines, also while it is empty: what stands below never moves.

    Parameters
    ----------
    n_lines : int
    parent : QWidget, optional
    n_most : int
        Lines that it may grow to, for a place where nothing else has to give way.
    """

    def __init__(self, n_lines: int, parent: QWidget | None = None, n_most: int = 0) -> None:
        super().__init__(parent)
        self._n_lines, self._may_grow_to, self._full = n_lines, n_most, ""
        self._n_shown, self._is_folded = n_lines, False
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)

    def tell(self, text: str) -> None:
        """Show `text`, as much of it as there is room for."""
        if text != self._full:
            self._full, self._is_folded = text, False
            self._fit()

    def take_lines(self, n_lines: int) -> None:
        """Take the room of so many lines from now on, whatever the text."""
        if n_lines != self._n_lines:
            self._n_lines = n_lines
            self._n_shown = 0
            self._fit()

    def fold(self) -> None:
        """Take no more than the room that is always there, until there is another text."""
        self._is_folded = True
        self._fit()

    def full_text(self) -> str:
        """All of it."""
        return self._full

    def sizeHint(self) -> QSize:
        """The room of its lines."""
        return QSize(200, self._n_shown * self.fontMetrics().lineSpacing() + 2)

    def minimumSizeHint(self) -> QSize:
        """As high, at any width."""
        return QSize(0, self.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Break the lines anew."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        n_most = self._n_lines if self._is_folded else max(self._may_grow_to, self._n_lines)
        lines = fitted(self._full, self.font(), self.contentsRect().width() - 2, n_most)
        n_shown = max(self._n_lines, len(lines))
        if n_shown != self._n_shown:
            self._n_shown = n_shown
            self.updateGeometry()
        self.setText("\n".join(lines))
        whole = f"<p>{escape(self._full)}</p>"  # it wraps
        fits = FOLD if n_shown > self._n_lines else ""
        self.setToolTip(fits if " ".join(lines) == self._full else whole)
