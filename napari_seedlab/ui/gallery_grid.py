"""A grid of seeds that draws what is in sight: scroll, select, drag, 50,000 and more.

Qt's own list view was tried: with 8,000 scattered seeds of 50,000 selected, as a lasso leaves them, the next
selection took its selection model 2.4 s. Here a selection is one column of flags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPoint, QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QContextMenuEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from qtpy.QtWidgets import QAbstractScrollArea, QApplication

from napari_seedlab.ui.gallery_cells import Cell, CellPainter, SeedFacts, facts_of
from napari_seedlab.ui.map_canvas import wrapped_in_the_middle
from napari_seedlab.ui.seed_mime import drag_seeds
from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtCore import QEvent
    from qtpy.QtWidgets import QWidget

    from napari_seedlab.ui.thumbs import ThumbCache

Ids = npt.NDArray[np.int64]
GAP_PX = 5
EDGES_PX = (44, 60, 72, 88, 104, 128)  # of a picture
ADDS, EXTENDS = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


class GalleryGrid(QAbstractScrollArea):
    """Seeds as pictures in rows.

    Parameters
    ----------
    thumbs : ThumbCache
        Where the pictures come from.

    Attributes
    ----------
    seeds : (n,) int64
        In the order in which they stand.
    current : int
        Row of the keyboard; -1 where there is none.
    """

    selected = Signal(object, object)  # selected seeds (n,), the seed under the keyboard or None
    menu_wanted = Signal(int, QPoint)  # seed, place on the screen

    def __init__(self, thumbs: ThumbCache, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._thumbs, self._theme = thumbs, theme
        self.seeds: Ids = np.zeros(0, np.int64)
        self._chosen = np.zeros(0, bool)
        self.current, self._anchor = -1, -1
        self._on_card: int | None = None
        self.cells = CellPainter(theme, self.font())
        self._facts: SeedFacts = facts_of(None, self.seeds)
        self._press: tuple[QPoint, int] | None = None
        self._band: QRect | None = None
        self._band_base = self._chosen
        self._hover = -1
        self.empty = ""
        self.spark: Callable[[int], npt.NDArray[np.float32] | None] = lambda seed: None
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.viewport().setMouseTracking(True)
        self.setAccessibleName("Gallery of the seeds")
        thumbs.ready.connect(self.viewport().update)

    # -- what is shown ------------------------------------------------------------------------
    def show_seeds(self, seeds: Ids, facts: SeedFacts) -> None:
        """Show other seeds, or the same in another order; what is selected stays so."""
        before, here = self.chosen_seeds(), self.current_seed
        self.seeds, self._facts = np.asarray(seeds, np.int64), facts
        self._chosen = np.isin(self.seeds, before)
        self.current = self._row_of(here)
        self._anchor, self._hover = self.current, -1
        self._lay_out()

    def set_facts(self, facts: SeedFacts) -> None:
        """Draw labels and predictions anew."""
        self._facts = facts
        self.viewport().update()

    def set_edge(self, edge: int, is_wide: bool) -> None:
        """Draw pictures of another height."""
        if (edge, is_wide) != (self.cells.edge, self.cells.is_wide):
            first = self.rows_in_sight()[0]
            self.cells.edge, self.cells.is_wide = edge, is_wide
            self._lay_out()
            self._show_row(first, at_top=True)

    def mark(self, on_card: int | None, chosen: frozenset[int]) -> None:
        """Take a selection over that was made elsewhere, and ring the seed on the card."""
        self._on_card = on_card
        new = np.isin(self.seeds, np.fromiter(chosen, np.int64, len(chosen)))
        if not np.array_equal(new, self._chosen):
            self._chosen = new
            first = int(new.argmax()) if new.any() else -1
            begin, end = self.rows_in_sight()
            if first >= 0 and not new[begin:end].any():
                self._show_row(first)
        self.viewport().update()

    def chosen_seeds(self) -> Ids:
        """The selected seeds, as they stand."""
        return self.seeds[self._chosen]

    @property
    def current_seed(self) -> int | None:
        """The seed under the keyboard."""
        return int(self.seeds[self.current]) if 0 <= self.current < len(self.seeds) else None

    @property
    def hovered_seed(self) -> int | None:
        """The seed under the pointer."""
        return int(self.seeds[self._hover]) if 0 <= self._hover < len(self.seeds) else None

    def _row_of(self, seed: int | None) -> int:
        if seed is None:  # numpy would compare 50,000 objects with it
            return -1
        found = np.flatnonzero(self.seeds == seed)
        return int(found[0]) if len(found) else -1

    # -- geometry -----------------------------------------------------------------------------
    @property
    def n_columns(self) -> int:
        """Seeds beside each other."""
        room: int = self.viewport().width() - GAP_PX
        return max(1, room // (self.cells.size[0] + GAP_PX))

    def rows_in_sight(self) -> tuple[int, int]:
        """First seed in sight, and the one after the last, by row of `seeds`."""
        high, top = self.cells.size[1] + GAP_PX, self.verticalScrollBar().value()
        first = max(0, (top - GAP_PX) // high) * self.n_columns
        last = -(-(top + self.viewport().height()) // high) * self.n_columns
        return min(first, len(self.seeds)), min(last, len(self.seeds))

    def box(self, row: int) -> QRect:
        """Where the seed of a row is drawn in the viewport."""
        (wide, high), (line, column) = self.cells.size, divmod(row, self.n_columns)
        top = GAP_PX + line * (high + GAP_PX) - self.verticalScrollBar().value()
        return QRect(GAP_PX + column * (wide + GAP_PX), top, wide, high)

    def row_at(self, place: QPoint) -> int:
        """Row of the seed at a place of the viewport; -1 between the cells."""
        wide, high = self.cells.size
        column, x = divmod(place.x() - GAP_PX, wide + GAP_PX)
        line, y = divmod(place.y() - GAP_PX + self.verticalScrollBar().value(), high + GAP_PX)
        row = line * self.n_columns + column
        inside = 0 <= column < self.n_columns and x < wide and y < high and line >= 0
        return row if inside and row < len(self.seeds) else -1

    def _lay_out(self) -> None:
        lines = -(-len(self.seeds) // self.n_columns)
        step = self.cells.size[1] + GAP_PX
        bar, room = self.verticalScrollBar(), self.viewport().height()
        bar.setRange(0, max(0, lines * step + GAP_PX - room))
        bar.setPageStep(max(room // step, 1) * step)
        bar.setSingleStep(max(step // 3, 1))
        self.viewport().update()

    def _show_row(self, row: int, at_top: bool = False) -> None:
        box, bar = self.box(row), self.verticalScrollBar()
        if at_top or box.top() < GAP_PX:
            bar.setValue(bar.value() + box.top() - GAP_PX)
        elif box.bottom() > self.viewport().height() - GAP_PX:
            bar.setValue(bar.value() + box.bottom() + GAP_PX - self.viewport().height())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Lay the rows out anew; the first seed in sight stays at the top."""
        first = self.rows_in_sight()[0]
        self._lay_out()
        if len(self.seeds) and first:
            self._show_row(min(first, len(self.seeds) - 1), at_top=True)

    def sizeHint(self) -> QSize:
        """A few pictures."""
        return QSize(500, 200)

    # -- painting -----------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the seeds in sight."""
        painter = QPainter(self.viewport())
        painter.fillRect(self.viewport().rect(), self._theme.color("background"))
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        first, last = self.rows_in_sight()
        for row in range(first, last):
            seed = int(self.seeds[row])
            image = self._thumbs.cuts(seed) if self.cells.is_wide else self._thumbs.get(seed)
            on_card, chosen = seed == self._on_card, bool(self._chosen[row])
            cell = Cell(seed, row, image, self.spark(seed), chosen, on_card)
            self.cells.paint(painter, QRectF(self.box(row)), cell, self._facts)
        if self.hasFocus() and first <= self.current < last:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(self._theme.color("text"), 1, Qt.PenStyle.DotLine))
            painter.drawRect(self.box(self.current).adjusted(-2, -2, 1, 1))
        if self._band is not None:
            painter.setPen(self._theme.color("accent"))
            painter.setBrush(self._theme.color("accent", 50))
            painter.drawRect(self._band)
        if not len(self.seeds):
            painter.setPen(self._theme.color("dim"))
            box = QRectF(self.viewport().rect()).adjusted(20, 10, -20, -10)
            painter.drawText(box, self.empty, wrapped_in_the_middle())
        painter.end()

    # -- selecting ----------------------------------------------------------------------------
    def choose(self, rows: npt.NDArray[np.bool_], current: int) -> None:
        """Select rows (n,) of flags and tell; `current` gets the keyboard."""
        self._chosen, self.current = rows, current
        if current >= 0:
            self._show_row(current)
        self.viewport().update()
        self.selected.emit(self.chosen_seeds(), self.current_seed)

    def choose_row(self, row: int) -> None:
        """Select one row alone."""
        rows = np.zeros(len(self.seeds), bool)
        if 0 <= row < len(rows):
            rows[row] = True
            self._anchor = row
            self.choose(rows, row)

    def choose_all(self) -> None:
        """Select every seed that is shown."""
        self.choose(np.ones(len(self.seeds), bool), self.current)

    def _extend_to(self, row: int, adds: bool) -> None:
        start = self._anchor if self._anchor >= 0 else row
        rows = self._chosen.copy() if adds else np.zeros(len(self.seeds), bool)
        rows[min(start, row) : max(start, row) + 1] = True
        self.choose(rows, row)

    # -- mouse --------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Select, or begin a drag or a rubber band."""
        if event.button() != Qt.MouseButton.LeftButton:
            return
        place, keys = event.pos(), event.modifiers()
        row = self.row_at(place)
        self._press = (place, row)
        if row < 0:
            self._band_base = self._chosen if keys & (ADDS | EXTENDS) else np.zeros(len(self.seeds), bool)
            self._band = QRect(place, place)
        elif keys & EXTENDS:
            self._extend_to(row, bool(keys & ADDS))
        elif keys & ADDS:
            rows = self._chosen.copy()
            rows[row] = not rows[row]
            self._anchor = row
            self.choose(rows, row)
        elif not self._chosen[row]:
            self.choose_row(row)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go on with what the press began, else hover."""
        place = event.pos()
        if self._press is None:
            self._hover_over(self.row_at(place))
            return
        start, row = self._press
        if self._band is not None:
            self._band = QRect(start, place).normalized()
            self._choose_in_band()
        elif (place - start).manhattanLength() >= QApplication.startDragDistance() and self._chosen[row]:
            self._press = None
            self._drag(row)

    def _choose_in_band(self) -> None:
        assert self._band is not None
        first, last = self.rows_in_sight()
        rows = self._band_base.copy()
        for row in range(first, last):
            rows[row] |= self.box(row).intersects(self._band)
        self._chosen = rows
        self.viewport().update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End a click or a rubber band."""
        press, self._press = self._press, None
        if self._band is not None:
            self._band = None
            self.choose(self._chosen, self.current)
        elif press is not None and press[1] >= 0 and not event.modifiers() & (ADDS | EXTENDS):
            if self._chosen.sum() > 1:  # pressed on one of many, and not dragged
                self.choose_row(press[1])

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Offer what can be done with the seed under the pointer."""
        row = self.row_at(event.pos())
        if row >= 0:
            if not self._chosen[row]:
                self.choose_row(row)
            self.menu_wanted.emit(int(self.seeds[row]), event.globalPos())

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll; with Ctrl make the pictures larger or smaller."""
        if not event.modifiers() & ADDS:
            super().wheelEvent(event)
            return
        here = min(range(len(EDGES_PX)), key=lambda i: abs(EDGES_PX[i] - self.cells.edge))
        step = 1 if event.angleDelta().y() > 0 else -1
        self.set_edge(EDGES_PX[int(np.clip(here + step, 0, len(EDGES_PX) - 1))], self.cells.is_wide)
        event.accept()

    def leaveEvent(self, event: QEvent | None) -> None:
        """No seed is under the pointer."""
        self._hover_over(-1)

    def _hover_over(self, row: int) -> None:
        if row != self._hover:
            self._hover = row

    def _drag(self, row: int) -> None:
        chosen = self.chosen_seeds()
        images = [
            i for s in [int(self.seeds[row]), *(int(c) for c in chosen[:2])] if (i := self._thumbs.get(s))
        ]
        drag_seeds(self, chosen, images, self._theme)

    # -- keyboard -----------------------------------------------------------------------------
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows, Home, End and pages move; Shift extends; Ctrl+A takes all, Escape none."""
        key, keys = event.key(), event.modifiers()
        page = self.n_columns * max(self.viewport().height() // (self.cells.size[1] + GAP_PX), 1)
        steps = {
            Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: -self.n_columns,
            Qt.Key.Key_Down: self.n_columns, Qt.Key.Key_PageUp: -page, Qt.Key.Key_PageDown: page,
            Qt.Key.Key_Home: -len(self.seeds), Qt.Key.Key_End: len(self.seeds),
        }  # fmt: skip
        if key in steps and len(self.seeds):
            start = self.current if self.current >= 0 else self.rows_in_sight()[0] - steps[key]
            row = int(np.clip(start + steps[key], 0, len(self.seeds) - 1))
            if keys & EXTENDS:
                self._extend_to(row, False)
            else:
                self.choose_row(row)
        elif key == Qt.Key.Key_A and keys & ADDS:
            self.choose_all()
        elif key == Qt.Key.Key_Escape:
            self.choose(np.zeros(len(self.seeds), bool), self.current)
        else:
            super().keyPressEvent(event)
