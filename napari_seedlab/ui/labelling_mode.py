"""The keys of labelling: on while the mode is on and the viewer, the map or the card has the focus."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QShortcut,
    QTextEdit,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

WRITERS = (QLineEdit, QAbstractSpinBox, QTextEdit, QPlainTextEdit, QComboBox, QAbstractItemView)
TOGGLE_KEY = "K"
KEYS = {
    "not_whole": ("0",),
    "clear": ("Backspace",),
    "unsure": ("U",),
    "next": ("N",),
    "previous": ("Shift+N",),
    "accept": ("Return", "Enter", "Ctrl+Space"),
    "undo": ("Ctrl+Z",),
    "redo": ("Ctrl+Shift+Z",),
    "heatmap": ("H",),
    "jump": ("J",),
    "predictions": ("W",),
    "spectrum": ("Q",),
}


def key_text(action: str) -> str:
    """The first key of an action, as it stands on a button."""
    short = {"Backspace": "⌫", "Return": "⏎", "Shift+N": "⇧N"}
    key = KEYS[action][0]
    return short.get(key, key)


class LabellingMode(QObject):
    """Owns the shortcuts of labelling and decides when they listen.

    Application-wide Qt shortcuts come before napari's own keys on every kind of layer, so they are
    disabled unless the focus lies in one of our zones, and never listen in a text field.

    Parameters
    ----------
    window : QWidget
        The viewer's main window.
    zones : callable
        Gives the widgets inside which keys count.
    actions : mapping of str to callable
        What each name in ``KEYS`` does.
    answer : callable
        Called with a class id for its key.
    answer_hovered : callable
        Called with a class id for Shift and its key: the seed under the cursor.
    """

    changed = Signal(bool)

    def __init__(
        self,
        window: QWidget,
        zones: Callable[[], Iterable[QWidget]],
        actions: Mapping[str, Callable[[], object]],
        answer: Callable[[int], object],
        answer_hovered: Callable[[int], object],
    ) -> None:
        super().__init__(window)
        self._window, self._zones = window, zones
        self._actions, self._answer, self._answer_hovered = actions, answer, answer_hovered
        self._shortcuts: list[QShortcut] = []
        self._class_shortcuts: list[QShortcut] = []
        self.is_on = False
        self._toggle = self._shortcut(TOGGLE_KEY, self.toggle)
        for name, keys in KEYS.items():
            self._shortcuts += [self._shortcut(key, partial(self._act, name)) for key in keys]
        QApplication.instance().focusChanged.connect(self._focus_moved)
        self._listen()

    def set_classes(self, keys: Mapping[str, int]) -> None:
        """Digits and the class ids that they stand for."""
        for shortcut in self._class_shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._class_shortcuts = []
        for key, class_id in keys.items():
            if key:
                plain = self._shortcut(key, partial(self._answer, class_id))
                shifted = self._shortcut(f"Shift+{key}", partial(self._answer_hovered, class_id))
                self._class_shortcuts += [plain, shifted]
        self._listen()

    def toggle(self) -> None:
        """Switch the mode."""
        self.switch(not self.is_on)

    def switch(self, on: bool) -> None:
        """Switch the mode on or off; off leaves napari's own keys alone."""
        if on != self.is_on:
            self.is_on = on
            self._listen()
            self.changed.emit(on)

    def close(self) -> None:
        """Let go of the keys."""
        self.is_on = False
        try:
            QApplication.instance().focusChanged.disconnect(self._focus_moved)
        except (TypeError, RuntimeError, AttributeError):  # the window or the application went first
            return
        for shortcut in [self._toggle, *self._shortcuts, *self._class_shortcuts]:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts, self._class_shortcuts = [], []
        self.deleteLater()

    def listens_at(self, focus: QWidget | None) -> bool:
        """Whether keys count while `focus` has the keyboard."""
        if focus is None or isinstance(focus, WRITERS):
            return False
        return any(zone is focus or zone.isAncestorOf(focus) for zone in self._zones())

    def _shortcut(self, key: str, call: Callable[[], object]) -> QShortcut:
        shortcut = QShortcut(QKeySequence(key), self._window)
        shortcut.setContext(Qt.ShortcutContext.ApplicationShortcut)
        shortcut.setAutoRepeat(key in ("N", "Shift+N"))
        shortcut.activated.connect(lambda: call())
        shortcut.activatedAmbiguously.connect(lambda: call())
        return shortcut

    def _act(self, name: str) -> None:
        self._actions[name]()

    def _focus_moved(self, _before: QWidget | None, _now: QWidget | None) -> None:
        self._listen()

    def _listen(self) -> None:
        here = self.listens_at(QApplication.focusWidget())
        self._toggle.setEnabled(here)
        for shortcut in (*self._shortcuts, *self._class_shortcuts):
            shortcut.setEnabled(here and self.is_on)
