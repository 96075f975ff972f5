"""The camera flies to a seed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.components import ViewerModel

    from napari_seedlab.core import RegionTable, Scan

FLIGHT_MS, FRAME_MS = 70, 16  # a flight is over by then, in however many frames the computer can draw
LEAST_FRAMES = 3  # in a flight; a computer that draws fewer gets there at once
SHARE = 0.24  # of the canvas that a seed fills after a flight
FRAMED = 0.9  # of the canvas that a framed box fills
KEEP = (0.12, 0.6)  # a zoom at which the seed fills such a share is left alone


class Camera(QObject):
    """Moves the view so that a seed lies in the middle at a size where it can be judged.

    Parameters
    ----------
    viewer : napari.Viewer
    animated : bool
        Move within ``FLIGHT_MS``; otherwise at once.
    """

    def __init__(self, viewer: ViewerModel, animated: bool = True) -> None:
        super().__init__()
        self._viewer, self.animated = viewer, animated
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._next)
        self._flight: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float, float] | None = None
        self._begun = self._set_at = 0.0
        self._frame_ms = float(FRAME_MS)  # that a frame usually takes
        self._steps: list[tuple[int, int]] = []  # (axis, slice) to step to before the flight

    def fly_to(self, scan: Scan, table: RegionTable, row: int) -> None:
        """Show the region in `row`: step through its middle, centre, zoom."""
        viewer, scale = self._viewer, np.asarray(scan.facts.scale_um)
        middle = table.centroid[row]
        self._steps = []
        if viewer.dims.ndisplay == 2 and scan.facts.region_shape[0] > 1:
            self._steps = [(axis, round(float(middle[axis]))) for axis in viewer.dims.not_displayed]
        shown = list(viewer.dims.displayed)
        size = ((table.box[row, 3:] - table.box[row, :3]) * scale)[shown].max()
        centre = np.asarray(viewer.scene.camera.center, np.float64)
        target = centre.copy()
        target[-len(shown) :] = (middle * scale)[shown]
        self._start(centre, target, self._zoom_for(float(size)))

    def frame(self, low: npt.ArrayLike, high: npt.ArrayLike) -> None:
        """Fill the canvas with the box between two corners (y, x) in world units; not in 3-D."""
        viewer, corners = self._viewer, np.asarray([low, high], np.float64)
        if viewer.dims.ndisplay != 2:
            return
        centre = np.asarray(viewer.scene.camera.center, np.float64)
        target = centre.copy()
        target[-2:] = corners.mean(0)
        width, height = self._canvas_size()
        rows, columns = np.maximum(corners[1] - corners[0], 1e-6)
        self._steps = []
        self._start(centre, target, FRAMED * min(height / rows, width / columns))

    @property
    def is_flying(self) -> bool:
        """Whether the view still moves."""
        return self._flight is not None

    @property
    def will_step(self) -> bool:
        """Whether another slice is about to be shown."""
        now = self._viewer.dims.current_step
        return any(now[axis] != slice_ for axis, slice_ in self._steps)

    def _zoom_for(self, size: float) -> float:
        now = float(self._viewer.scene.camera.zoom)
        pixels = float(min(self._canvas_size()))
        share = size * now / pixels
        return now if KEEP[0] <= share <= KEEP[1] else SHARE * pixels / max(size, 1e-6)

    def _canvas_size(self) -> tuple[int, int]:
        window = getattr(self._viewer, "window", None)
        if window is None:
            return 600, 600
        native = window._qt_viewer.canvas.native
        return max(native.width(), 100), max(native.height(), 100)

    def _start(self, centre: npt.NDArray[np.float64], target: npt.NDArray[np.float64], zoom: float) -> None:
        self._flight = centre, target, float(self._viewer.scene.camera.zoom), zoom
        if self.animated:
            self._begun, self._set_at = time.perf_counter(), 0.0
            self._timer.start(0)  # slicing all layers takes a turn of the event loop of its own
        else:
            self._frame(FLIGHT_MS)

    def _next(self) -> None:
        now = time.perf_counter()
        if self._set_at:
            self._frame_ms += ((now - self._set_at) * 1000 - self._frame_ms) / 2
        if self._flight is None:
            self._timer.stop()
            return
        is_slow = self._frame_ms * LEAST_FRAMES > FLIGHT_MS
        self._timer.setInterval(FRAME_MS)
        self._frame(FLIGHT_MS if is_slow else (now - self._begun) * 1000)
        self._set_at = time.perf_counter()

    def _frame(self, ms: float) -> None:
        """Where the view is `ms` after the flight began; a slow computer leaves frames out."""
        while self._steps:
            self._viewer.dims.set_current_step(*self._steps.pop())
        if self._flight is None:
            return
        centre, target, before, zoom = self._flight
        t = min((ms + FRAME_MS) / FLIGHT_MS, 1.0)  # it is seen a frame later
        eased = t * t * (3 - 2 * t)
        self._viewer.scene.camera.center = tuple(centre + (target - centre) * eased)
        self._viewer.scene.camera.zoom = before * (zoom / before) ** eased
        if t >= 1.0:
            self._flight = None  # the timer goes on once more, to see how long the last frame took

    def close(self) -> None:
        """Stop a flight."""
        self._flight = None
        self._steps.clear()
        self._timer.stop()
