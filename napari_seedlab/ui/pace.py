"""Showing what changes often: at once, then at most once a second, the last state never left out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from collections.abc import Callable

PERIOD_MS = 1000  # any repaint composes the whole window with its OpenGL canvas: tens of ms in software


class Pace(QObject):
    """Calls `draw` at once when asked, and again after a while where it was asked meanwhile.

    All paces draw again at the same moments, full seconds, so that one repaint of the window shows them all.
    What lies behind another tab or is scrolled away waits until it is seen.

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
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._again)

    def ask(self) -> None:
        """Draw now, or when the period is over."""
        if self._timer.isActive():
            self._is_due = True
            return
        self._timer.start(_ms_to_the_next())
        self._draw()

    def stop(self) -> None:
        """Forget what was asked; the next asking draws at once."""
        self._timer.stop()
        self._is_due = False

    def _again(self) -> None:
        if self._is_due and _is_behind(self.parent()):
            self._timer.start(_ms_to_the_next())
        elif self._is_due:
            self._is_due = False
            self.ask()


def _ms_to_the_next() -> int:
    """Until all paces draw again; those asked shortly before wait for the moment after."""
    left = PERIOD_MS - int(time.monotonic() * 1000) % PERIOD_MS
    return left if left > PERIOD_MS // 4 else left + PERIOD_MS


def _is_behind(owner: QObject | None) -> bool:
    """Whether nobody can see it although Qt calls it visible: its window would be composed for nothing."""
    return isinstance(owner, QWidget) and owner.isVisible() and owner.visibleRegion().isEmpty()
