"""Showing what changes often: at once, then at most twice a second, the last state never left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from collections.abc import Callable

PERIOD_MS = 500  # any repaint composes the whole window with its OpenGL canvas: tens of ms in software


class Pace(QObject):
    """Calls `draw` at once when asked, and again after a while where it was asked meanwhile.

    Parameters
    ----------
    draw : callable
    parent : QObject
        What is drawn; the pace ends with it.
    """

    def __init__(self, draw: Callable[[], object], parent: QObject) -> None:
        super().__init__(parent)
        self._draw, self._is_due = draw, False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PERIOD_MS)
        self._timer.timeout.connect(self._again)

    def ask(self) -> None:
        """Draw now, or when the period is over."""
        if self._timer.isActive():
            self._is_due = True
            return
        self._timer.start()
        self._draw()

    def stop(self) -> None:
        """Forget what was asked; the next asking draws at once."""
        self._timer.stop()
        self._is_due = False

    def _again(self) -> None:
        if self._is_due:
            self._is_due = False
            self.ask()
