"""The Map dock: the scatter, what it is coloured by, its legend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_seedlab.ui.colouring import MODES, SeedColours
from napari_seedlab.ui.map_canvas import MapCanvas
from napari_seedlab.ui.seed_text import describe

if TYPE_CHECKING:
    from napari_seedlab.ui.app import SeedlabUi
    from napari_seedlab.ui.theme import Theme

DOT, GAP, ROW = 9, 12, 18  # px of the legend


class Legend(QWidget):
    """Coloured dots with names, in as many rows as they need."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.entries: tuple[tuple[str, tuple[int, int, int]], ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_entries(self, entries: tuple[tuple[str, tuple[int, int, int]], ...]) -> None:
        """Name these colours."""
        if entries != self.entries:
            self.entries = entries
            self.updateGeometry()
            self.update()

    def sizeHint(self) -> QSize:
        """High enough for its rows."""
        return QSize(200, ROW * (1 + max((row for row, _ in self._places()), default=0)))

    def minimumSizeHint(self) -> QSize:
        """As :meth:`sizeHint`, at any width."""
        return QSize(60, self.sizeHint().height())

    def _places(self) -> list[tuple[int, int]]:
        """(row, left pixel) of each entry."""
        places, row, left = [], 0, 0
        width = max(self.width(), 200)
        for name, _ in self.entries:
            needed = DOT + 5 + self.fontMetrics().horizontalAdvance(name) + GAP
            if left and left + needed > width:
                row, left = row + 1, 0
            places.append((row, left))
            left += needed
        return places

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the entries."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for (name, rgb), (row, left) in zip(self.entries, self._places(), strict=True):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(*rgb))
            painter.drawEllipse(QRectF(left, row * ROW + (ROW - DOT) / 2, DOT, DOT))
            painter.setPen(self._theme.color("dim"))
            box = QRectF(left + DOT + 5, row * ROW, 400, ROW)
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, name)
        painter.end()


class MapDock(QWidget):
    """Seeds that look alike lie close together; click one, or draw around many."""

    def __init__(self, ui: SeedlabUi) -> None:
        super().__init__()
        self._ui = ui
        self.canvas = MapCanvas(ui.theme, self)
        self.canvas.describe = self._describe
        self.mode = QComboBox(self)
        self.mode.addItems([m.capitalize() for m in MODES])
        self.mode.setCurrentIndex(MODES.index(ui.colour_by))
        self.mode.setToolTip("What the outlines in the viewer and the points of the map are coloured by")
        self.legend = Legend(ui.theme, self)
        self.canvas.setToolTip("Click a seed, or draw around many. Wheel: zoom. Right button: move.")
        self._make_hint()
        top = QHBoxLayout()
        top.addWidget(QLabel("Colour by", self))
        top.addWidget(self.mode, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.canvas, 1)
        layout.addWidget(self.legend)
        self.setMinimumWidth(220)
        self.mode.activated.connect(ui.slot(self._mode_chosen))
        self.canvas.let_go.connect(ui.slot(self._show_newest))
        self.canvas.clicked.connect(ui.slot(self._clicked))
        self.canvas.lassoed.connect(ui.slot(self._lassoed))

    def _make_hint(self) -> None:
        self._hint = QLabel("A new map is ready: move the pointer away", self.canvas)  # the points stay
        self._hint.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._hint.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._hint.setEnabled(False)
        self._hint.setVisible(False)
        over = QVBoxLayout(self.canvas)
        over.setContentsMargins(8, 4, 8, 4)
        over.addWidget(self._hint)
        over.addStretch(1)

    def sizeHint(self) -> QSize:
        """Narrow enough to stand beside the viewer."""
        return QSize(320, 300)

    # -- from the session ---------------------------------------------------------------------
    def show_layout(self) -> None:
        """Draw the session's map."""
        layout = None if self._ui.session is None else self._ui.session.layout
        seeds = np.zeros(0, np.int64) if layout is None else layout.seeds
        self.canvas.set_layout(seeds, np.zeros((0, 2)) if layout is None else layout.xy)
        self._hint.setVisible(self.canvas.is_waiting)

    def recolour(self, colours: SeedColours) -> None:
        """Colour the points."""
        codes = colours.codes_of(self.canvas.seeds)
        self.canvas.set_colours(colours.palette[codes], codes > 0)
        self.legend.show_entries(colours.legend)
        self.mode.setCurrentIndex(MODES.index(colours.mode))

    def mark(self, current: int | None, selection: frozenset[int]) -> None:
        """Ring the current and the selected seeds."""
        self.canvas.mark(current, selection)

    def _show_newest(self) -> None:
        self._hint.setVisible(False)
        self._ui.recolour_soon()

    # -- from the user ------------------------------------------------------------------------
    def _mode_chosen(self, index: int) -> None:
        self._ui.set_colour_by(MODES[index])

    def _clicked(self, seed: int | None, more: bool) -> None:
        if more and seed is not None and self._ui.session is not None:
            self._ui.select(self._ui.session.selection ^ {seed}, "map")
        else:
            self._ui.pick(seed, "map")

    def _lassoed(self, seeds: npt.NDArray[np.int64]) -> None:
        self._ui.select(frozenset(seeds.tolist()), "map")

    def _describe(self, seed: int) -> str:
        return describe(self._ui.session, seed)
