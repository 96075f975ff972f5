"""A scatter of seeds drawn as one numpy raster: pan, zoom, hover, click, lasso, 50,000 points and more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt, QTimer, Signal
from qtpy.QtGui import (
    QColor,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
    QTextOption,
    QWheelEvent,
)
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_seedlab.ui import map_pictures
from napari_seedlab.ui.colouring import CURRENT_RGB
from napari_seedlab.ui.points import dot, inside_polygon, packed, radius_for, raster
from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_seedlab.ui.map_pictures import Thumbs

Xy = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

NEAR_PX = 9  # from the pointer to a point that it means
DRAG_PX = 5  # a shorter way is a click
MARGIN_PX = 16
MOVE_FRAMES, FRAME_MS = 18, 16  # smooth change from one layout to the next
MOST_MOVING = 20_000  # points that move smoothly
ZOOM_RANGE = (0.5, 2000.0)
MOST_RINGS = 400  # selected points that get a ring each; more get a dot
ADDS = Qt.KeyboardModifier.ShiftModifier
HOW_TO = (
    "Wheel: zoom. Right drag: move. Double-click: the whole map. "
    "Left drag: select; from a selected point: carry to a class of the gallery."
)
ALL_GONE = "Double-click: the whole map"
TAKES = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier


class MapCanvas(QWidget):
    """The map of the seeds: points, or their thumbnails where these fit.

    A new layout moves in smoothly; while the pointer is over the map it waits, so that no point jumps
    away under the cursor. A layout that leaves every known point where it was is shown at once.
    """

    clicked = Signal(object, bool)  # seed, whether Ctrl or Shift was held
    lassoed = Signal(object, str)  # array of seeds; only, add or remove
    dragged = Signal(int)  # a selected seed, or the one on the card where none is selected, is carried away
    hovered = Signal(object)  # seed or None
    let_go = Signal()  # a layout that waited is shown now

    def __init__(self, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.seeds: Ids = np.zeros(0, np.int64)
        self._raw: Xy = np.zeros((0, 2))  # as the layout has them
        self._frame = (np.zeros(2), np.ones(2))  # its lowest corner and its span
        self._xy: Xy = np.zeros((0, 2))  # in 0-1
        self._set_rgb(np.zeros((0, 3), np.uint8), np.zeros(0, bool))
        self._marked: tuple[int | None, frozenset[int]] = (None, frozenset())
        self._chosen: npt.NDArray[np.int64] = np.zeros(0, np.int64)  # rows of selected seeds
        self._zoom, self._shift = 1.0, np.zeros(2)
        self._spanned = self._span()  # pixels that `_shift` counts in
        self._n_seen = 0  # points in view
        self._image: QImage | None = None
        self._pictured: tuple[npt.NDArray[np.int64], float] = (np.zeros(0, np.int64), 0.0)
        self._framed: npt.NDArray[np.bool_] = np.zeros(0, bool)  # points whose picture was there
        self._waiting: tuple[Ids, Xy] | None = None
        self._path: list[Xy] = []
        self._press: QPointF | None = None
        self._grabbed: int | None = None  # a selected seed that was pressed
        self._pan_from: QPointF | None = None
        self._lasso: list[QPointF] = []
        self._hover: int | None = None
        self._pointer = QPointF()
        self._timer = QTimer(self)
        self._timer.setInterval(FRAME_MS)
        self._timer.timeout.connect(self._step)
        self.describe: Callable[[int], str] = str  # what stands beside the pointer about a seed
        self.thumbs: Thumbs | None = None
        self.empty = ""  # what a map without seeds says
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)  # all of it is drawn anyway
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setMinimumHeight(120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Map of the seeds")
        self.setToolTip(HOW_TO)

    # -- what is drawn ------------------------------------------------------------------------
    def set_layout(self, seeds: Ids, xy: npt.NDArray[np.floating]) -> None:
        """Take a layout: `seeds` (n,) and `xy` (n, 2) in any units."""
        ids, raw = np.asarray(seeds), np.asarray(xy, np.float64)
        if len(self.seeds) and len(ids) and self.underMouse() and not self._stays(ids, raw):
            self._waiting = (ids, raw)
        else:
            self._take(ids, raw)
        self.update()

    @property
    def is_waiting(self) -> bool:
        """Whether a newer layout waits for the pointer to leave."""
        return self._waiting is not None

    @property
    def hovered_seed(self) -> int | None:
        """The seed under the pointer."""
        return self._hover if self.underMouse() else None

    @property
    def n_pictures(self) -> int:
        """Points in view that stand as thumbnails."""
        return len(self._pictured[0]) if self._pictured[1] else 0

    def set_colours(self, rgb: npt.NDArray[np.uint8], known: npt.NDArray[np.bool_]) -> None:
        """Colours (n, 3) of the points; those not `known` are drawn below the others."""
        if len(rgb) == len(self.seeds) and not (
            np.array_equal(rgb, self._rgb) and np.array_equal(known, self._known)
        ):
            self._set_rgb(rgb, known)
            self._redraw()

    def mark(self, current: int | None, selection: frozenset[int]) -> None:
        """Ring the seed on the card and the selected seeds."""
        if (current, selection) != self._marked:
            was_crowd, self._marked = self._is_crowd, (current, selection)
            self._find_chosen()
            if was_crowd or self._is_crowd:
                self._redraw()
            self.update()

    def reset_view(self) -> None:
        """Show the whole map."""
        self._zoom, self._shift = 1.0, np.zeros(2)
        self._redraw()

    def _set_rgb(self, rgb: npt.NDArray[np.uint8], known: npt.NDArray[np.bool_]) -> None:
        self._rgb, self._known = rgb, known
        self._order = np.argsort(known, kind="stable")
        self._words = packed(rgb)[self._order]

    def _find_chosen(self) -> None:
        chosen = np.fromiter(self._marked[1], np.int64, len(self._marked[1]))
        self._chosen = np.flatnonzero(np.isin(self.seeds, chosen))

    def _stays(self, seeds: Ids, raw: Xy) -> bool:
        """Whether every point that is shown already keeps its place."""
        both, here, there = np.intersect1d(self.seeds, seeds, return_indices=True)
        return bool(len(both)) and np.array_equal(self._raw[here], raw[there])

    def _take(self, seeds: Ids, raw: Xy) -> None:
        """Show a layout now, in the frame of the one before where its points stay."""
        is_same = len(seeds) > 0 and np.array_equal(seeds, self.seeds)
        if not self._stays(seeds, raw):
            low = raw.min(0) if len(raw) else np.zeros(2)
            self._frame = low, (np.maximum(np.ptp(raw, 0), 1e-9) if len(raw) else np.ones(2))
        self._raw = raw
        target = (raw - self._frame[0]) / self._frame[1]
        target[:, 1] = 1 - target[:, 1]  # y upwards
        if is_same:
            self._move_to(target)
        else:
            self._swap(seeds, target)

    def _swap(self, seeds: Ids, xy: Xy) -> None:
        self._timer.stop()
        self._path.clear()
        rgb = np.full((len(seeds), 3), 126, np.uint8)
        if len(self.seeds) and len(seeds):
            order = np.argsort(self.seeds)
            at = np.minimum(np.searchsorted(self.seeds[order], seeds), len(order) - 1)
            known = self.seeds[order][at] == seeds
            rgb = np.where(known[:, None], self._rgb[order[at]], np.uint8(126))
        self.seeds, self._xy = seeds, xy
        self._set_rgb(rgb, np.ones(len(seeds), bool))
        self._find_chosen()
        self._redraw()

    def _move_to(self, target: Xy) -> None:
        steps = np.linspace(0, 1, MOVE_FRAMES + 1)[1:]
        eased = steps * steps * (3 - 2 * steps)
        if len(target) > MOST_MOVING or not self.isVisible():
            eased = np.ones(1)
        start = self._xy
        self._path = [start + (target - start) * t for t in eased]
        self._timer.start()

    def _step(self) -> None:
        if not self._path:
            self._timer.stop()
            return
        self._xy = self._path.pop(0)
        self._redraw()

    def _redraw(self) -> None:
        self._image = None
        self.update()

    # -- geometry -----------------------------------------------------------------------------
    def positions(self) -> Xy:
        """Pixel positions (n, 2) x, y of the points."""
        return self._to_pixels(self._xy)

    def _to_pixels(self, xy: Xy) -> Xy:
        size, span = np.asarray([self.width(), self.height()], np.float64), self._span()
        return xy * (span * self._zoom) + (size / 2 + self._shift - 0.5 * span * self._zoom)

    def _span(self) -> Xy:
        """Pixels (2,) that the whole map takes."""
        size = np.asarray([self.width(), self.height()], np.float64)
        return np.maximum(size - 2 * MARGIN_PX, 1)

    def seed_near(self, place: QPointF) -> int | None:
        """The seed within reach of a pixel, or whose thumbnail lies there."""
        if not len(self.seeds):
            return None
        edge = self._pictured[1]
        reach = max(NEAR_PX, edge / 2)
        at = map_pictures.kept_inside(self.positions(), edge, (self.width(), self.height()))
        apart = np.abs(at - (place.x(), place.y()))
        far = apart.max(1) if edge else np.hypot(*apart.T)
        nearest = int(far.argmin())
        return int(self.seeds[nearest]) if far[nearest] <= reach else None

    # -- painting -----------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw points or thumbnails, rings, the lasso, and what is under the pointer."""
        painter = QPainter(self)
        painter.drawImage(0, 0, self._picture())
        self._draw_pictures(painter)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_marks(painter)
        if len(self._lasso) > 1:
            painter.setPen(QPen(self._theme.color("accent"), 1.5))
            painter.setBrush(self._theme.color("accent", 50))
            painter.drawPolygon(QPolygonF(self._lasso))
        elif self._hover is not None and self._pan_from is None:
            image = None if self.thumbs is None else self.thumbs.get(self._hover)
            text = self.describe(self._hover).replace(" · ", "\n")
            map_pictures.draw_card(painter, self._theme, self._pointer, QRectF(self.rect()), image, text)
        if not self._n_seen:
            painter.setPen(self._theme.color("dim"))
            box = QRectF(self.rect()).adjusted(20, 10, -20, -10)
            text = ALL_GONE if len(self.seeds) else self.empty
            painter.drawText(box, text, wrapped_in_the_middle())
        painter.end()

    def _picture(self) -> QImage:
        size = (max(self.height(), 1), max(self.width(), 1))
        if self._image is None or (self._image.height(), self._image.width()) != size:
            base = self._theme.color("background")
            at = self.positions()
            seen = ((at > -NEAR_PX) & (at < (size[1] + NEAR_PX, size[0] + NEAR_PX))).all(1)
            self._n_seen = int(seen.sum())
            radius = radius_for(max(self._n_seen, len(at) / self._zoom**2))
            words = raster(
                at[self._order], self._words, size, (base.red(), base.green(), base.blue()), radius
            )
            if self._is_crowd:
                text = self._theme.color("text")
                dot(words, at[self._chosen], (text.red(), text.green(), text.blue()))
            image = QImage(words.tobytes(), size[1], size[0], 4 * size[1], QImage.Format.Format_RGB32)
            self._image = image.copy()
            rows = np.flatnonzero(seen) if self.thumbs is not None else np.zeros(0, np.int64)
            room = size[1], size[0]
            self._pictured = rows, map_pictures.edge_that_fits(at[rows], room, self._pictured[1] > 0)
        return self._image

    def _draw_pictures(self, painter: QPainter) -> None:
        rows, edge = self._pictured
        self._framed = np.zeros(len(self.seeds), bool)
        if self.thumbs is None or not edge:
            return
        images = [self.thumbs.get(seed) for seed in self.seeds[rows].tolist()]
        self._framed[rows] = [image is not None for image in images]
        map_pictures.draw_pictures(painter, self._places(rows), images, self._rgb[rows], edge)

    def _places(self, rows: npt.NDArray[np.int64]) -> Xy:
        """Pixels (n, 2) of points; those that stand as pictures are moved in from the border."""
        at, edge = self._to_pixels(self._xy[rows]), self._pictured[1]
        inside = map_pictures.kept_inside(at, edge, (self.width(), self.height()))
        return np.where(self._framed[rows, None], inside, at)

    @property
    def _is_crowd(self) -> bool:
        """Whether so many seeds are selected that each gets a dot in place of a ring."""
        return len(self._chosen) > MOST_RINGS

    def _draw_marks(self, painter: QPainter) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if not self._is_crowd:
            painter.setPen(QPen(self._theme.color("text"), 1.6))
            self._draw_rings(painter, self._chosen, 5.5)
        painter.setPen(QPen(QColor(*CURRENT_RGB), 2.2))
        self._draw_rings(painter, np.flatnonzero(self.seeds == (self._marked[0] or -1)), 7.5)

    def _draw_rings(self, painter: QPainter, rows: npt.NDArray[np.int64], radius: float) -> None:
        """Circles about points, frames about those that stand as pictures."""
        reach = self._pictured[1] / 2 + 2
        for (x, y), is_framed in zip(self._places(rows).tolist(), self._framed[rows].tolist(), strict=True):
            if is_framed:
                painter.drawRect(QRectF(x - reach, y - reach, 2 * reach, 2 * reach))
            else:
                painter.drawEllipse(QPointF(x, y), radius, radius)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Draw again at the new size, with the same part of the map in view."""
        span = self._span()
        self._shift, self._spanned = self._shift * (span / self._spanned), span
        self._image = None

    # -- mouse --------------------------------------------------------------------------------
    def event(self, event: QEvent | None) -> bool:
        """No tooltip where a seed is described already."""
        if event is not None and event.type() == QEvent.Type.ToolTip and self._hover is not None:
            return True
        return bool(super().event(event))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Left: click or lasso; right or middle: pan."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._press, self._lasso = event.position(), []
            self._grabbed = None if event.modifiers() & (ADDS | TAKES) else self._selected_at(self._press)
        else:
            self._pan_from = event.position()
            self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go on with what the press began, else hover."""
        place = event.position()
        if self._pan_from is not None:
            moved = place - self._pan_from
            self._shift = self._shift + np.asarray([moved.x(), moved.y()])
            self._pan_from = place
            self._redraw()
        elif self._press is not None:
            is_far = (place - self._press).manhattanLength() > DRAG_PX
            if is_far and self._grabbed is not None:
                self._press = None  # whoever takes the seeds gets the release too
                self._hover_over(None)
                self.dragged.emit(self._grabbed)
            elif self._lasso or is_far:
                self._lasso = [*(self._lasso or [self._press]), place]
                self.update()
        else:
            self._hover_over(place)

    def _selected_at(self, place: QPointF) -> int | None:
        """The seed at a pixel where it is among the selected ones, or the only one that is marked."""
        seed, (current, selection) = self.seed_near(place), self._marked
        return seed if seed is not None and seed in (selection or {current}) else None

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End of a click, a lasso or a pan; Shift adds to what is selected, Ctrl or Alt takes away."""
        if self._pan_from is not None:
            self._pan_from = None
            self.unsetCursor()
            return
        lasso, self._lasso, press, self._press = self._lasso, [], self._press, None
        self.update()
        held = event.modifiers()
        if len(lasso) > 2:
            polygon = np.asarray([(p.x(), p.y()) for p in lasso])
            how = "add" if held & ADDS else "remove" if held & TAKES else "only"
            self.lassoed.emit(self.seeds[inside_polygon(self.positions(), polygon)], how)
        elif press is not None:
            self.clicked.emit(self.seed_near(press), bool(held & (ADDS | TAKES)))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Show the whole map."""
        if self.seed_near(event.position()) is None:
            self.reset_view()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom about the pointer."""
        factor = 1.0015 ** event.angleDelta().y()
        zoom = float(np.clip(self._zoom * factor, *ZOOM_RANGE))
        place, size = event.position(), np.asarray([self.width(), self.height()])
        about = np.asarray([place.x(), place.y()]) - size / 2
        self._shift = about - (about - self._shift) * (zoom / self._zoom)
        self._zoom = zoom
        self._redraw()
        event.accept()

    def leaveEvent(self, event: QEvent | None) -> None:
        """Let a waiting layout in."""
        self._hover_over(None)
        self.let_in()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape gives a lasso up."""
        if event.key() == Qt.Key.Key_Escape and self._lasso:
            self._lasso, self._press = [], None
            self.update()
        else:
            super().keyPressEvent(event)

    def let_in(self) -> None:
        """Show the layout that waited."""
        if self._waiting is None:
            return
        (seeds, raw), self._waiting = self._waiting, None
        self.let_go.emit()
        self._take(seeds, raw)

    def _hover_over(self, place: QPointF | None) -> None:
        seed = None if place is None else self.seed_near(place)
        if seed == self._hover:
            return
        self._hover, self._pointer = seed, place or QPointF()
        self.setCursor(Qt.CursorShape.PointingHandCursor) if seed is not None else self.unsetCursor()
        self.update()
        self.hovered.emit(seed)


def wrapped_in_the_middle() -> QTextOption:
    """Text centred in both directions and broken between words."""
    option = QTextOption(Qt.AlignmentFlag.AlignCenter)
    option.setWrapMode(QTextOption.WrapMode.WordWrap)
    return option
