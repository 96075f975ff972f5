"""A box to choose from: each entry with its tooltip; long texts lose their middle and keep both ends."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QSizePolicy, QStyle, QStyleOptionComboBox, QStylePainter, QWidget

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtpy.QtGui import QPaintEvent

MARGIN_PX = 4  # that style sheets add beside the text


class ChoiceBox(QComboBox):
    """As wide as there is room; the list is as wide as its texts. It leaves the keyboard where it is.

    Parameters
    ----------
    parent : QWidget, optional
    tip : str
        What is chosen here.
    entries : iterable of (value, name, tip)
        See :meth:`offer`.
    """

    def __init__(
        self, parent: QWidget | None = None, tip: str = "", entries: Iterable[tuple[Any, str, str]] = ()
    ) -> None:
        super().__init__(parent)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.view().setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setToolTip(tip)
        self._offered: tuple[tuple[Any, str, str], ...] = ()
        self.offer(entries)

    @property
    def value(self) -> Any:
        """Of the chosen entry; None where there is none."""
        return self.currentData()

    def offer(self, entries: Iterable[tuple[Any, str, str]]) -> None:
        """Take other entries: the value, what the list calls it, and what is said of it under the pointer."""
        offered = tuple(entries)
        if offered == self._offered:
            return
        self._offered = offered
        self.clear()
        for i, (value, name, tip) in enumerate(offered):
            self.addItem(name, value)
            self.setItemData(i, f"<p>{escape(tip)}</p>", Qt.ItemDataRole.ToolTipRole)

    def choose(self, value: object) -> None:
        """Show the entry of a value, the first one where no entry has it."""
        self.setCurrentIndex(max(0, self.findData(value)))

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
