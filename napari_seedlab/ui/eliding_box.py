"""A box to choose from, whose long texts lose their middle and keep both ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QSizePolicy, QStyle, QStyleOptionComboBox, QStylePainter, QWidget

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent

MARGIN_PX = 4  # that style sheets add beside the text


class ElidingBox(QComboBox):
    """As wide as there is room; the whole text is its tooltip, and the list is as wide as its texts."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.view().setTextElideMode(Qt.TextElideMode.ElideMiddle)

    def elided(self) -> str:
        """The chosen text, as much of it as there is room for."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        part = QStyle.SubControl.SC_ComboBoxEditField
        field = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, part, self)
        room = field.width() - MARGIN_PX
        return str(self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideMiddle, room))

    def showPopup(self) -> None:
        """Show the list, wide enough to read it."""
        self.view().setMinimumWidth(self.view().sizeHintForColumn(0) + 4 * MARGIN_PX)
        super().showPopup()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the box."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.elided()
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()
