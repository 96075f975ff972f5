"""What the docks share: a column of rows that scrolls up and down where the window is low."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QScrollArea, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_seedlab.ui.app import SeedlabUi

WIDTH_PX = 330
SIDE_PX = 8


class DockFrame(QWidget):
    """A dock as wide as a dock may be, whose rows scroll and never sideways.

    Parameters
    ----------
    ui : SeedlabUi
        The owner.
    spacing : int
        Pixels between two rows, and above the first and below the last one.
    height : int
        Pixels that the dock would like to have.

    Attributes
    ----------
    body : QWidget
        Parent of what stands in the rows.
    rows : QVBoxLayout
        From top to bottom.
    """

    def __init__(self, ui: SeedlabUi, spacing: int = 6, height: int = 440) -> None:
        super().__init__()
        self._ui, self._height = ui, height
        self.body = QWidget()
        self.rows = QVBoxLayout(self.body)
        self.rows.setContentsMargins(SIDE_PX, spacing, SIDE_PX, spacing)
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

    def sizeHint(self) -> QSize:
        """As wide as a dock may be."""
        return QSize(WIDTH_PX, self._height)
