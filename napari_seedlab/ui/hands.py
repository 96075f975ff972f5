"""Real key and mouse events for a window that plays by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QEventLoop, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_seedlab.core import JobError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari import Viewer

NONE, LEFT = Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton


def breathe(milliseconds: int = 5) -> None:
    """Let the event loop run for a moment."""
    QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, milliseconds)
    time.sleep(0.0005)


def wait_until(is_so: Callable[[], object], what: str, seconds: float = 120.0) -> float:
    """Run the event loop until a condition holds; returns the seconds that it took.

    Raises
    ------
    JobError
        It did not hold in time.
    """
    begun = time.perf_counter()
    while not is_so():
        if time.perf_counter() - begun > seconds:
            raise JobError("autoplay", f"waited {seconds:.0f} s for {what}", "See the log")
        breathe()
    return time.perf_counter() - begun


def focus(widget: QWidget) -> None:
    """Give `widget` the keyboard, as a click into it would."""
    widget.window().activateWindow()
    widget.setFocus()
    wait_until(lambda: QApplication.focusWidget() is not None, "the keyboard", 10)


def press(widget: QWidget, key: str) -> None:
    """Press one key while `widget` has the keyboard."""
    if QApplication.focusWidget() is not widget:
        focus(widget)
    breathe()  # what happened before has its own turn of the event loop
    QTest.keyClick(widget, key)


def click(widget: QWidget) -> None:
    """Click a button with the left mouse button."""
    QTest.mouseClick(widget, LEFT)


def mouse(widget: QWidget, kind: QEvent.Type, at: QPoint, held: bool) -> None:
    """Send one mouse event at a pixel of `widget`."""
    button = NONE if kind == QEvent.Type.MouseMove else LEFT
    buttons = LEFT if held else NONE
    local, far = QPointF(at), QPointF(widget.mapToGlobal(at))
    event = QMouseEvent(kind, local, far, button, buttons, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(widget, event)


def drag(widget: QWidget, path: Sequence[QPoint]) -> None:
    """Press at the first pixel, move along the path, release at the last."""
    mouse(widget, QEvent.Type.MouseMove, path[0], held=False)
    mouse(widget, QEvent.Type.MouseButtonPress, path[0], held=True)
    for at in path[1:]:
        mouse(widget, QEvent.Type.MouseMove, at, held=True)
        breathe()
    mouse(widget, QEvent.Type.MouseButtonRelease, path[-1], held=False)


def pixel_of(viewer: Viewer, world: Sequence[float]) -> QPoint:
    """Pixel of the canvas where a world position (rows, columns of the shown plane) is drawn."""
    native = viewer.window._qt_viewer.canvas.native
    centre, zoom = viewer.camera.center[-2:], viewer.camera.zoom
    row = native.height() / 2 + (world[0] - centre[0]) * zoom
    column = native.width() / 2 + (world[1] - centre[1]) * zoom
    return QPoint(round(column), round(row))
