"""The keys of labelling: on while the mode is on and the viewer, map, gallery or card has the focus."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QPlainTextEdit,
    QShortcut,
    QTabBar,
    QTextEdit,
    QWidget,
)

from napari_seedlab.ui.digits import digit_of_place

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
    "gallery": ("G",),
}
ALWAYS = ("gallery",)  # labels nothing: counts while labelling is off as well
TAKES_BACK = ("undo", "redo")  # what was dragged, repaired or read is taken back while labelling is off too


def key_text(action: str) -> str:
    """The first key of an action, as it stands on a button."""
    short = {"Backspace": "⌫", "Return": "⏎", "Shift+N": "⇧N"}
    key = KEYS[action][0]
    return short.get(key, key)


class LabellingMode(QObject):
    """Owns the shortcuts of labelling and decides when they listen.

    Application-wide Qt shortcuts come before napari's own keys on every kind of layer, so they are
    disabled unless the focus lies in one of our zones, and never listen in a text field. A click on a tab
    leaves the keyboard with the window itself, which counts as a zone. The keys that
    switch the mode on and show the gallery count in the whole window; those of undo count in all our docks
    while the mode is off, unless napari needs them on the selected layer. Digits are known by their place as
    well: a layout may write something else on them, with Shift or without.

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
    undo_zones : callable
        Gives the widgets inside which undo counts while the mode is off; none where napari needs its keys.
    """

    changed = Signal(bool)

    def __init__(
        self,
        window: QWidget,
        zones: Callable[[], Iterable[QWidget]],
        actions: Mapping[str, Callable[[], object]],
        answer: Callable[[int], object],
        answer_hovered: Callable[[int], object],
        undo_zones: Callable[[], Iterable[QWidget]],
    ) -> None:
        super().__init__(window)
        self._window, self._zones = window, zones
        self._actions, self._answer, self._answer_hovered = actions, answer, answer_hovered
        self._undo_zones = undo_zones
        self._undoing: list[QShortcut] = []
        self._shortcuts: list[QShortcut] = []
        self._class_shortcuts: list[QShortcut] = []
        self._class_of: dict[str, int] = {}
        self._watched: QWidget | None = None  # has the keyboard while keys count
        self.is_on = False
        self._always = [self._shortcut(TOGGLE_KEY, self.toggle)]
        for name, keys in KEYS.items():
            listening = self._shortcuts
            if name in (*ALWAYS, *TAKES_BACK):
                listening = self._always if name in ALWAYS else self._undoing
            listening += [self._shortcut(key, partial(self._act, name)) for key in keys]
        QApplication.instance().focusChanged.connect(self._focus_moved)
        self._listen()

    def set_classes(self, keys: Mapping[str, int]) -> None:
        """Digits and the class ids that they stand for."""
        for shortcut in self._class_shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._class_shortcuts, self._class_of = [], dict(keys)
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
        self._watch(None)
        for shortcut in [*self._always, *self._undoing, *self._shortcuts, *self._class_shortcuts]:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._always, self._undoing, self._shortcuts, self._class_shortcuts = [], [], [], []
        self.deleteLater()

    def listens_at(self, focus: QWidget | None) -> bool:
        """Whether keys count while `focus` has the keyboard."""
        return self._is_in(focus, self._zones())

    def _is_in(self, focus: QWidget | None, zones: Iterable[QWidget]) -> bool:
        zones = tuple(zones)
        if not zones or focus is None or isinstance(focus, WRITERS):
            return False
        if focus is self._window or (isinstance(focus, QTabBar) and focus.parent() is self._window):
            return True
        return any(zone is focus or zone.isAncestorOf(focus) for zone in zones)

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

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take a digit by its place, before it becomes a shortcut or reaches napari."""
        if not isinstance(event, QKeyEvent) or event.type() == QEvent.Type.KeyRelease:
            return False
        call = self._by_place(event)
        if call is None:
            return False
        if event.type() == QEvent.Type.ShortcutOverride:
            event.accept()  # no shortcut may have it: it comes again as a key press
        elif not event.isAutoRepeat():
            call()
        return True

    def _by_place(self, event: QKeyEvent) -> Callable[[], object] | None:
        """What a digit key means whose layout does not say its digit."""
        held = event.modifiers()
        digit = digit_of_place(event)
        if digit is None or held not in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier):
            return None
        is_shifted = held == Qt.KeyboardModifier.ShiftModifier
        if not is_shifted and event.text() in (str(digit), *self._class_of):
            return None  # a shortcut knows it
        class_id = self._class_of.get(str(digit))
        if class_id is not None:
            return partial(self._answer_hovered if is_shifted else self._answer, class_id)
        return partial(self._act, "not_whole") if digit == 0 and not is_shifted else None

    def _watch(self, widget: QWidget | None) -> None:
        before, self._watched = self._watched, widget
        if before is widget:
            return
        try:
            if before is not None:
                before.removeEventFilter(self)
        except RuntimeError:  # Qt deleted it
            pass
        if widget is not None:
            widget.installEventFilter(self)

    def listen_anew(self, _event: object = None) -> None:
        """Another layer was selected."""
        self._listen()

    def _listen(self) -> None:
        focus = QApplication.focusWidget()
        here = self.listens_at(focus)
        in_window = focus is not None and focus.window() is self._window
        anywhere = here or (in_window and not isinstance(focus, WRITERS))
        for shortcut in self._always:
            shortcut.setEnabled(anywhere)
        for shortcut in self._undoing:
            shortcut.setEnabled(here if self.is_on else self._is_in(focus, self._undo_zones()))
        self._watch(focus if here and self.is_on else None)
        for shortcut in (*self._shortcuts, *self._class_shortcuts):
            shortcut.setEnabled(here and self.is_on)
