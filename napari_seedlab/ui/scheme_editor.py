"""The page of the Labelling dock on which classes are added, renamed, recoloured, hidden and restored."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
    QWidgetAction,
)

from napari_seedlab.core import PALETTE, SeedlabError

if TYPE_CHECKING:
    from napari_seedlab.core import SeedClass
    from napari_seedlab.ui.app import SeedlabUi

ROW_PX, SWATCH_PX, KEY_PX = 26, 26, 58
N_IN_ROW = 4  # colours beside each other


class Swatch(QAbstractButton):
    """A button that shows its colour."""

    def __init__(self, color: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.color = color
        self.setFixedSize(SWATCH_PX, ROW_PX)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(f"Colour {color}")
        self.setToolTip("Another colour")

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the colour."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.GlobalColor.white if self.underMouse() or self.hasFocus() else QColor(self.color))
        painter.setBrush(QColor(self.color))
        painter.drawRoundedRect(self.rect().adjusted(4, 4, -4, -4), 3, 3)
        painter.end()


class SchemeEditor(QWidget):
    """One row per class; every change is kept at once, and labels keep their class whatever it is called."""

    done = Signal()

    def __init__(self, ui: SeedlabUi, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._ui = ui
        self.names: dict[int, QLineEdit] = {}
        self.keys: dict[int, QComboBox] = {}
        self.swatches: dict[int, Swatch] = {}
        self.buttons: dict[int, QPushButton] = {}
        self._rows = QVBoxLayout()
        self._rows.setSpacing(3)
        title = QLabel("Classes", self)
        font = title.font()
        font.setBold(True)
        title.setFont(font)
        self.close_button = self._button("Done", "Back to the card", lambda: self.done.emit())
        head = QHBoxLayout()
        head.addWidget(title, 1)
        head.addWidget(self.close_button)
        self.new_name = QLineEdit(self)
        self.new_name.setPlaceholderText("Name of a new class")
        self.new_name.returnPressed.connect(ui.slot(self._add))
        self.add_button = self._button("Add", "Colour and key are chosen for you", self._add)
        foot = QHBoxLayout()
        foot.addWidget(self.new_name, 1)
        foot.addWidget(self.add_button)
        self.said = QLabel(self)
        self.said.setWordWrap(True)
        hint = QLabel(
            "A label belongs to a class, whatever its name. A hidden class is offered no more; seeds "
            "labelled so keep it, and teach nothing until it is back.", self,
        )  # fmt: skip
        hint.setWordWrap(True)
        hint.setEnabled(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(6)
        for part in (head, self._rows, foot):
            layout.addLayout(part)
        layout.addWidget(self.said)
        layout.addWidget(hint)
        layout.addStretch(1)

    def _button(self, text: str, tip: str, call: Any) -> QPushButton:
        button = QPushButton(text, self)
        button.setToolTip(tip)
        button.clicked.connect(self._ui.slot(call))
        return button

    def rebuild(self) -> None:
        """Show the classes as they are."""
        while (item := self._rows.takeAt(0)) is not None:
            row = item.widget()
            if row is not None:
                row.hide()
                row.deleteLater()
        self.names, self.keys, self.swatches, self.buttons = {}, {}, {}, {}
        session = self._ui.session
        if session is None:
            return
        counts = session.counts()
        for c in (*session.scheme.active, *(c for c in session.scheme if c.hidden)):
            self._rows.addWidget(self._row(c, counts.get(c.id, 0)))

    def _row(self, c: SeedClass, count: int) -> QWidget:
        row = QWidget(self)
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(4)
        swatch, name = Swatch(c.color, row), QLineEdit(c.name, row)
        swatch.clicked.connect(self._ui.slot(partial(self._choose_color, c.id)))
        name.setEnabled(not c.hidden)
        name.editingFinished.connect(self._ui.slot(partial(self._rename, c.id)))
        line.addWidget(swatch)
        line.addWidget(name, 1)
        number = QLabel(f"{count}" if count else "", row)
        number.setToolTip("Labels")
        number.setEnabled(False)
        line.addWidget(number)
        if not c.hidden:
            line.addWidget(self._key_box(c, row))
        hide = QPushButton("Restore" if c.hidden else "Hide", row)
        hide.setToolTip("Offer it again" if c.hidden else "Offer it no more; its labels stay")
        hide.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        hide.clicked.connect(self._ui.slot(partial(self._restore if c.hidden else self._hide, c.id)))
        line.addWidget(hide)
        self.names[c.id], self.swatches[c.id], self.buttons[c.id] = name, swatch, hide
        return row

    def _key_box(self, c: SeedClass, row: QWidget) -> QComboBox:
        box = QComboBox(row)
        box.addItem("–", "")
        for digit in "123456789":
            box.addItem(digit, digit)
        box.setCurrentIndex(max(box.findData(c.key), 0))
        box.setFixedWidth(KEY_PX)
        box.setToolTip("Key")
        box.activated.connect(self._ui.slot(partial(self._set_key, c.id)))
        self.keys[c.id] = box
        return box

    # -- from the user ------------------------------------------------------------------------
    def _try(self, call: Any) -> bool:
        """Call, and say in one line why it was refused, where the user looks."""
        try:
            call()
        except SeedlabError as error:
            self.said.setText(str(error))
            self.said.setStyleSheet(f"color: {self._ui.theme.error}")
            self.rebuild()
            return False
        self.said.setText("")
        return True

    def _add(self) -> None:
        name, session = self.new_name.text().strip(), self._ui.session
        if session is not None and name and self._try(lambda: session.classes.add(name)):
            self.new_name.clear()

    def _rename(self, class_id: int) -> None:
        session, field = self._ui.session, self.names.get(class_id)
        if session is None or field is None or field.text().strip() == session.scheme.by_id(class_id).name:
            return
        self._try(lambda: session.classes.rename(class_id, field.text()))

    def _set_key(self, class_id: int) -> None:
        session, box = self._ui.session, self.keys[class_id]
        if session is not None and box.currentData() != session.scheme.by_id(class_id).key:
            self._try(lambda: session.classes.set_key(class_id, box.currentData()))

    def _hide(self, class_id: int) -> None:
        session = self._ui.session
        if session is not None:
            self._try(lambda: session.classes.hide(class_id))

    def _restore(self, class_id: int) -> None:
        session = self._ui.session
        if session is not None:
            self._try(lambda: session.classes.restore(class_id))

    def recolour(self, class_id: int, color: str) -> None:
        """Give a class another colour."""
        session = self._ui.session
        if session is not None:
            self._try(lambda: session.classes.recolour(class_id, color))

    def _choose_color(self, class_id: int) -> None:
        menu, session = QMenu(self), self._ui.session
        if session is None:
            return
        taken = {c.color.lower() for c in session.scheme.active}
        free = [color for color in PALETTE if color not in taken]
        board = QWidget(menu)
        column = QVBoxLayout(board)
        column.setContentsMargins(6, 6, 6, 6)
        for start in range(0, len(free), N_IN_ROW):
            line = QHBoxLayout()
            for color in free[start : start + N_IN_ROW]:
                swatch = Swatch(color, board)
                swatch.clicked.connect(self._ui.slot(partial(self.recolour, class_id, color)))
                swatch.clicked.connect(menu.close)
                line.addWidget(swatch)
            line.addStretch(1)
            column.addLayout(line)
        action = QWidgetAction(menu)
        action.setDefaultWidget(board)
        menu.addAction(action)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        place = self.swatches[class_id]
        menu.popup(place.mapToGlobal(place.rect().bottomLeft()))
