"""What the docks share: rows that scroll up and down where the window is low, and the status line below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QScrollArea, QVBoxLayout, QWidget

from napari_seedlab.ui.status import StatusCard

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QPaintEvent, QResizeEvent

    from napari_seedlab.ui.app import SeedlabUi

WIDTH_PX = 330
SIDE_PX = 8
FOOT_PX = 2  # below the status
FOLD_MS = 12_000  # after which a long message covers no button any more
N_MOST = 7  # lines of 300 pixels that every message of one line fits into, also in wide letters


class DockFrame(QWidget):
    """A dock as wide as a dock may be, whose rows scroll and never sideways.

    Parameters
    ----------
    ui : SeedlabUi
        The owner.
    spacing : int
        Pixels between two rows, and above the first one.
    height : int
        Pixels that the dock would like to have.
    n_lines : int
        Lines of the status below the rows, which grows over them for a longer message.

    Attributes
    ----------
    body : QWidget
        Parent of what stands in the rows.
    rows : QVBoxLayout
        From top to bottom.
    status : StatusCard
        The newest message. It never scrolls out of sight and never moves the rows.
    """

    def __init__(self, ui: SeedlabUi, spacing: int = 6, height: int = 440, n_lines: int = 2) -> None:
        super().__init__()
        self._ui, self._height = ui, height
        self.body = QWidget()
        self.rows = QVBoxLayout(self.body)
        self.rows.setContentsMargins(SIDE_PX, spacing, SIDE_PX, 0)
        self.rows.setSpacing(spacing)
        self.scroll = QScrollArea(self)
        self.scroll.setWidgetResizable(True)
        self.scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        self.scroll.setWidget(self.body)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.scroll, 1)
        self.status = StatusCard(ui.theme, self, n_lines, N_MOST)
        column.addSpacing(self.status.sizeHint().height() + FOOT_PX)
        self.status.installEventFilter(self)
        self._fold = QTimer(self)
        self._fold.setSingleShot(True)
        self._fold.setInterval(FOLD_MS)
        self._fold.timeout.connect(self.status.fold)
        self._outer: QDockWidget | None = None
        self._to_write: Callable[[], object] | None = None
        ui.said.connect(self._said)
        self._said(*ui.last_message)

    def _said(self, text: str, kind: str) -> None:
        self.status.say(text, kind)
        self._fold.start()

    # -- behind another tab -------------------------------------------------------------------
    def write_seen(self, write: Callable[[], object]) -> None:
        """Call `write` now where the dock is seen, else once it comes to the front, before it is drawn.

        Behind another tab Qt calls a dock visible: of such a one nothing is left to be seen.
        """
        self._follow_outer()
        if self._outer is not None and self.visibleRegion().isEmpty():
            self._to_write = write
        else:
            self._to_write = None
            write()

    def _follow_outer(self) -> None:
        """Hear of it when the frame that napari put around this dock comes to the front."""
        outer = self.parentWidget()
        while outer is not None and not isinstance(outer, QDockWidget):
            outer = outer.parentWidget()
        if outer is not self._outer:
            self._outer = outer
            if outer is not None:
                outer.visibilityChanged.connect(self._ui.slot(self._came_to_the_front))

    def _came_to_the_front(self, is_seen: bool) -> None:
        if is_seen:
            self._write_now()

    def _write_now(self) -> None:
        write, self._to_write = self._to_write, None
        if write is not None:
            write()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Notice what came on the screen in no other way."""
        super().paintEvent(event)
        if self._to_write is not None:
            QTimer.singleShot(0, self._ui.slot(self._write_now))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Place the status anew when it has more or fewer lines."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self._place_status()
        return False

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Keep the status at the foot."""
        super().resizeEvent(event)
        self._place_status()

    def _place_status(self) -> None:
        """It grows over the rows, which stay as they are."""
        self.status.resize(self.width() - 2 * SIDE_PX, self.status.height())
        height = self.status.sizeHint().height()
        top = self.height() - FOOT_PX - height
        self.status.setGeometry(SIDE_PX, top, self.status.width(), height)

    def sizeHint(self) -> QSize:
        """As wide as a dock may be."""
        return QSize(WIDTH_PX, self._height)
