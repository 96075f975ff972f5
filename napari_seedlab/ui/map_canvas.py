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
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from collections.abc import Callable

Xy = npt.NDArray[np.float64]

REACH_PX = 9  # from the pointer to a point that it means
DRAG_PX = 5  # a shorter way is a click
MARGIN_PX = 16
MOVE_FRAMES, FRAME_MS = 18, 16  # smooth change from one layout to the next
ZOOM_RANGE = (0.5, 200.0)


def inside_polygon(points: Xy, polygon: Xy) -> npt.NDArray[np.bool_]:
    """Which of the (n, 2) `points` lie in the (m, 2) `polygon`, by the even-odd rule."""
    x, y = points[:, 0], points[:, 1]
    inside = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        if y0 == y1:
            continue
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def stamp(radius: float) -> list[tuple[int, int, float]]:
    """Pixels of a disc as (down, right, coverage)."""
    reach = int(np.ceil(radius))
    cells = [(y, x, radius + 0.5 - float(np.hypot(y, x))) for y in range(-reach, reach + 1)
             for x in range(-reach, reach + 1)]  # fmt: skip
    return [(y, x, min(1.0, cover)) for y, x, cover in cells if cover > 0.05]


def raster(
    at: npt.NDArray[np.int64],
    rgb: npt.NDArray[np.uint8],
    size: tuple[int, int],
    background: tuple[int, int, int],
) -> npt.NDArray[np.uint8]:
    """Draw discs at (n, 2) pixels x, y in colours `rgb` on a (height, width, 3) picture, in order."""
    height, width = size
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = background
    n = len(at)
    radius = 4.2 if n <= 500 else 3.2 if n <= 5000 else 1.6
    for down, right, cover in stamp(radius):
        x, y = at[:, 0] + right, at[:, 1] + down
        ok = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        if cover >= 1 or n > 5000:
            picture[y[ok], x[ok]] = rgb[ok]
        else:
            under = picture[y[ok], x[ok]].astype(np.float32)
            picture[y[ok], x[ok]] = (under + (rgb[ok] - under) * cover).astype(np.uint8)
    return picture


class MapCanvas(QWidget):
    """The map of the seeds.

    A new layout moves in smoothly; while the pointer is over the map it waits, so that no point jumps
    away under the cursor.
    """

    clicked = Signal(object, bool)  # seed, whether Ctrl or Shift was held
    lassoed = Signal(object)  # array of seeds
    hovered = Signal(object)  # seed or None
    let_go = Signal()  # a layout that waited is shown now

    def __init__(self, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.seeds: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._xy: Xy = np.zeros((0, 2))
        self._rgb = np.zeros((0, 3), np.uint8)
        self._known = np.zeros(0, bool)
        self._marked: tuple[int | None, frozenset[int]] = (None, frozenset())
        self._zoom, self._shift = 1.0, np.zeros(2)
        self._image: QImage | None = None
        self._waiting: tuple[npt.NDArray[np.int64], Xy] | None = None
        self._path: list[Xy] = []
        self._press: QPointF | None = None
        self._pan_from: QPointF | None = None
        self._lasso: list[QPointF] = []
        self._hover: int | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(FRAME_MS)
        self._timer.timeout.connect(self._frame)
        self.describe: Callable[[int], str] = str  # what a tooltip says of a seed
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setMinimumHeight(120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Map of the seeds")

    # -- what is drawn ------------------------------------------------------------------------
    def set_layout(self, seeds: npt.NDArray[np.int64], xy: npt.NDArray[np.floating]) -> None:
        """Take a layout: `seeds` (n,) and `xy` (n, 2) in any units."""
        target = _unit(np.asarray(xy, np.float64))
        same = np.array_equal(seeds, self.seeds)
        if len(self.seeds) and len(seeds) and self.underMouse():
            self._waiting = (np.asarray(seeds), target)
        elif same and len(seeds):
            self._move_to(target)
        else:
            self._swap(np.asarray(seeds), target)
        self.update()

    @property
    def is_waiting(self) -> bool:
        """Whether a newer layout waits for the pointer to leave."""
        return self._waiting is not None

    def set_colours(self, rgb: npt.NDArray[np.uint8], known: npt.NDArray[np.bool_]) -> None:
        """Colours (n, 3) of the points; those not `known` are drawn below the others."""
        if len(rgb) == len(self.seeds) and not (
            np.array_equal(rgb, self._rgb) and np.array_equal(known, self._known)
        ):
            self._rgb, self._known = rgb, known
            self._redraw()

    def mark(self, current: int | None, selection: frozenset[int]) -> None:
        """Ring the seed on the card and the selected seeds."""
        self._marked = (current, selection)
        self.update()

    def reset_view(self) -> None:
        """Show the whole map."""
        self._zoom, self._shift = 1.0, np.zeros(2)
        self._redraw()

    def _swap(self, seeds: npt.NDArray[np.int64], xy: Xy) -> None:
        self._timer.stop()
        self._path.clear()
        order = np.argsort(self.seeds)
        old_rgb = self._rgb
        if len(self.seeds):
            at = np.minimum(np.searchsorted(self.seeds[order], seeds), len(order) - 1)
            known = self.seeds[order][at] == seeds
            rgb = np.where(known[:, None], old_rgb[order[at]], np.uint8(126))
        else:
            rgb = np.full((len(seeds), 3), 126, np.uint8)
        self.seeds, self._xy, self._rgb = seeds, xy, rgb
        self._known = np.ones(len(seeds), bool)
        self._redraw()

    def _move_to(self, target: Xy) -> None:
        steps = np.linspace(0, 1, MOVE_FRAMES + 1)[1:]
        eased = steps * steps * (3 - 2 * steps)
        if len(target) > 20_000 or not self.isVisible():
            eased = np.ones(1)
        start = self._xy
        self._path = [start + (target - start) * t for t in eased]
        self._timer.start()

    def _frame(self) -> None:
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
        size = np.asarray([self.width(), self.height()], np.float64)
        span = np.maximum(size - 2 * MARGIN_PX, 1)
        return (xy - 0.5) * span * self._zoom + size / 2 + self._shift

    def seed_near(self, place: QPointF) -> int | None:
        """The seed within reach of a pixel."""
        if not len(self.seeds):
            return None
        distance = np.hypot(*(self.positions() - (place.x(), place.y())).T)
        nearest = int(distance.argmin())
        return int(self.seeds[nearest]) if distance[nearest] <= REACH_PX else None

    # -- painting -----------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw points, rings, lasso."""
        painter = QPainter(self)
        painter.drawImage(0, 0, self._picture())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_marks(painter)
        if len(self._lasso) > 1:
            painter.setPen(QPen(self._theme.color("accent"), 1.5))
            painter.setBrush(self._theme.color("accent", 50))
            painter.drawPolygon(QPolygonF(self._lasso))
        if not len(self.seeds):
            painter.setPen(self._theme.color("dim"))
            box = QRectF(self.rect()).adjusted(20, 10, -20, -10)
            painter.drawText(box, "Split a scan into seeds: their map appears here.", wrapped_in_the_middle())
        painter.end()

    def _picture(self) -> QImage:
        if (
            self._image is None
            or self._image.width() != self.width()
            or self._image.height() != self.height()
        ):
            base = self._theme.color("background")
            at = np.rint(self.positions()).astype(np.int64)
            order = np.argsort(self._known, kind="stable")
            pixels = raster(
                at[order], self._rgb[order], (max(self.height(), 1), max(self.width(), 1)),
                (base.red(), base.green(), base.blue()),
            )  # fmt: skip
            height, width = pixels.shape[:2]
            image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
            self._image = image.copy()
        return self._image

    def _draw_marks(self, painter: QPainter) -> None:
        current, selection = self._marked
        if not len(self.seeds):
            return
        places = self.positions()
        chosen = np.isin(self.seeds, np.fromiter(selection, np.int64, len(selection)))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(self._theme.color("text"), 1.6))
        for x, y in places[chosen][:5000]:
            painter.drawEllipse(QPointF(x, y), 5.5, 5.5)
        painter.setPen(QPen(QColor(255, 235, 59), 2.2))
        for x, y in places[self.seeds == (current or -1)]:
            painter.drawEllipse(QPointF(x, y), 7.5, 7.5)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Draw again at the new size."""
        self._image = None

    # -- mouse --------------------------------------------------------------------------------
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Left: click or lasso; right or middle: pan."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._press, self._lasso = event.position(), []
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
            if self._lasso or (place - self._press).manhattanLength() > DRAG_PX:
                self._lasso = [*(self._lasso or [self._press]), place]
                self.update()
        else:
            self._hover_over(place)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End of a click, a lasso or a pan."""
        if self._pan_from is not None:
            self._pan_from = None
            self.unsetCursor()
            return
        lasso, self._lasso, press, self._press = self._lasso, [], self._press, None
        self.update()
        if len(lasso) > 2:
            polygon = np.asarray([(p.x(), p.y()) for p in lasso])
            self.lassoed.emit(self.seeds[inside_polygon(self.positions(), polygon)])
        elif press is not None:
            wide = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
            self.clicked.emit(self.seed_near(press), bool(event.modifiers() & wide))

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
        seeds, xy = self._waiting
        self._waiting = None
        self.let_go.emit()
        if np.array_equal(seeds, self.seeds):
            self._move_to(xy)
        else:
            self._swap(seeds, xy)

    def _hover_over(self, place: QPointF | None) -> None:
        seed = None if place is None else self.seed_near(place)
        if seed == self._hover:
            return
        self._hover = seed
        self.setCursor(Qt.CursorShape.PointingHandCursor) if seed is not None else self.unsetCursor()
        if seed is not None and place is not None:
            QToolTip.showText(self.mapToGlobal(place.toPoint()), self.describe(seed), self)
        else:
            QToolTip.hideText()
        self.hovered.emit(seed)


def wrapped_in_the_middle() -> QTextOption:
    """Text centred in both directions and broken between words."""
    option = QTextOption(Qt.AlignmentFlag.AlignCenter)
    option.setWrapMode(QTextOption.WrapMode.WordWrap)
    return option


def _unit(xy: Xy) -> Xy:
    """Positions scaled into 0-1 along each axis, y upwards."""
    if not len(xy):
        return xy
    low, high = xy.min(0), xy.max(0)
    span = np.maximum(high - low, 1e-9)
    scaled = (xy - low) / span
    return np.column_stack([scaled[:, 0], 1 - scaled[:, 1]])
