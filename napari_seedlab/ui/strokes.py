"""Painting tissues: each finished stroke on the layer becomes one saved edit; its undo is ours."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QTimer

from napari_seedlab.ui.layers import background_value

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_seedlab.ui.app import SeedlabUi

UNKNOWN = -1


class StrokeTool:
    """The brush on the stroke layer.

    Parameters
    ----------
    ui : SeedlabUi
    """

    def __init__(self, ui: SeedlabUi) -> None:
        self._ui = ui
        self._layer: Labels | None = None
        self._before: tuple[tuple[int, int], npt.NDArray[np.uint8]] | None = None
        self._n_painted = 0
        self.value = 0  # what the brush paints; 0 = the tool is put away

    @property
    def is_painting(self) -> bool:
        """Whether a press on the canvas paints."""
        return self._layer is not None and str(self._layer.mode) in ("paint", "erase", "fill", "polygon")

    def take(self, value: int, size: int = 6) -> None:
        """Paint with `value` of the stroke layer: a tissue, or background."""
        session = self._ui.session
        layer = None if session is None else self._ui.layers.stroke_layer(session.tissues)
        if layer is None:
            return
        self._adopt(layer)
        self.value = value
        layer.selected_label = value
        layer.brush_size = size
        layer.n_edit_dimensions = 2
        layer.mode = "paint"
        self._ui.viewer.layers.selection.active = layer
        self.load()

    def put_away(self) -> None:
        """Stop painting; presses select seeds again."""
        self.value = 0
        if self._layer is not None and self._layer in self._ui.viewer.layers:
            self._layer.mode = "pan_zoom"
        image = self._ui.layers.find("image")
        if image is not None:
            self._ui.viewer.layers.selection.active = image

    def release(self) -> None:
        """Let go of the layer; its brush is put away, since a brush without its layer crashes the canvas."""
        if self._layer is not None:
            self.put_away()
            self._layer.events.paint.disconnect(self._painted)
        self._layer, self._before, self.value = None, None, 0

    def _adopt(self, layer: Labels) -> None:
        if layer is self._layer:
            return
        self.release()
        self._layer = layer
        layer.events.paint.connect(self._painted)
        layer.bind_key("Control-Z", lambda _: self._ui.undo(), overwrite=True)
        layer.bind_key("Shift-Control-Z", lambda _: self._ui.redo(), overwrite=True)

    # -- the visible slice --------------------------------------------------------------------
    def slice_now(self) -> tuple[int, int] | None:
        """(axis, index) of the slice on the screen; None in 3-D."""
        shown, dims = self._ui.layers.shown, self._ui.viewer.dims
        if shown is None or dims.ndisplay != 2 or len(dims.not_displayed) != 1:
            return None
        axis = int(dims.not_displayed[0])
        if shown.scan.facts.has_bands:
            return (0, 0) if axis == 0 else None
        return axis, int(dims.current_step[axis])

    def _plane(self, at: tuple[int, int]) -> npt.NDArray[np.uint8]:
        assert self._layer is not None
        data: Any = self._layer.data
        plane: npt.NDArray[np.uint8] = data if data.ndim == 2 else data[(slice(None),) * at[0] + (at[1],)]
        return plane

    def load(self) -> None:
        """Fetch the strokes of the visible slice."""
        at, session, shown = self.slice_now(), self._ui.session, self._ui.layers.shown
        if at is None or session is None or shown is None or self._layer is None:
            return
        fetched = session.strokes.fetch_raster(shown.scan.id, *at)
        then = partial(self._loaded, at, self._n_painted)
        self._ui.background.submit("strokes", fetched.result, then)

    def _loaded(self, at: tuple[int, int], n_painted: int, raster: npt.NDArray[np.int8]) -> None:
        session = self._ui.session
        if self._layer is None or session is None:
            return
        if n_painted != self._n_painted:  # a stroke came meanwhile: what was read is older than the layer
            self.load()
            return
        plane = self._plane(at)
        values = np.where(raster == 0, background_value(session.tissues), np.maximum(raster, 0))
        if raster.shape == plane.shape and not np.array_equal(values, plane):
            plane[...] = values
            self._layer.refresh(extent=False, thumbnail=False, highlight=False)
        self._before = (at, plane.copy())

    def _painted(self, _event: object = None) -> None:
        """Save what the finished stroke changed, once napari has written all of it."""
        QTimer.singleShot(0, self._ui.slot(self._save))

    def _save(self) -> None:
        at, session, shown = self.slice_now(), self._ui.session, self._ui.layers.shown
        if at is None or session is None or shown is None or self._layer is None:
            return
        self._n_painted += 1
        plane = self._plane(at)
        known = (
            self._before[1] if self._before is not None and self._before[0] == at else np.zeros_like(plane)
        )
        changed = plane != known
        self._before = (at, plane.copy())
        background = background_value(session.tissues)
        for value in np.unique(plane[changed]).tolist():
            class_id = {0: UNKNOWN, background: 0}.get(value, value)
            points = np.argwhere(changed & (plane == value)).astype(np.int32)
            session.stroke(shown.scan.id, *at, points, class_id)
