"""One seed alone in 3-D: a layer in its place, everything else hidden until the view goes back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QTimer

from napari_seedlab.ui import reading
from napari_seedlab.ui.layers import MARK

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer
    from qtpy.QtCore import QObject

    from napari_seedlab.ui.app import SeedlabUi

KIND, NAME = "alone", "Seed alone"
SHARE = 0.55  # of the canvas that the seed fills
ANGLES = (0.0, -25.0, 65.0)  # degrees: from above, tilted a little


class SeedAloneView:
    """Shows one seed without its surroundings, and goes back.

    It goes back by itself when the project or the layers change: a volume that is added in 3-D would be
    read whole. Each of napari's own steps (a layer, the third dimension, the other layers) has a turn of
    the event loop of its own.

    Parameters
    ----------
    ui : SeedlabUi
    told : callable
        Told whether a seed is shown alone, whenever that changes.
    parent : QObject
        With whom it ends.
    """

    def __init__(self, ui: SeedlabUi, told: Callable[[bool], object], parent: QObject) -> None:
        self._ui, self._told = ui, told
        self.seed: int | None = None  # wanted; its layer may still be read
        self._before: dict[str, Any] | None = None  # the view to go back to
        self._hidden: list[Layer] = []
        self._is_ours = False  # a change of the layers or of the dims that we make
        self._steps: list[Callable[[], object]] = []
        self._turn = QTimer(parent)
        self._turn.setSingleShot(True)
        self._turn.setInterval(0)
        self._turn.timeout.connect(ui.slot(self._step))
        events = ui.viewer.layers.events
        events.inserting.connect(self._something_comes)
        events.removed.connect(self._something_went)
        ui.viewer.dims.events.ndisplay.connect(self._display_changed)

    @property
    def is_on(self) -> bool:
        """Whether a seed is shown alone, or is being read for it."""
        return self.seed is not None

    def layer(self) -> Layer | None:
        """The layer of the seed."""
        return next((x for x in self._ui.viewer.layers if x.metadata.get(MARK) == KIND), None)

    def show(self, seed: int) -> None:
        """Show a seed alone, in place of the one before; it is read beside the event loop."""
        session = self._ui.session
        if session is None:
            return
        self.seed = seed
        self._ui.background.submit(KIND, partial(reading.read_alone, session, seed), self._came)
        self._told(True)

    def leave(self) -> None:
        """Take the layer away and go back to what was shown before."""
        if self.seed is None:
            return
        self.seed = None
        self._ui.background.drop(KIND)
        self._told(False)
        if self._before is not None:  # 2-D comes first: a hidden layer is not sliced for it
            shown = (partial(setattr, layer, "visible", True) for layer in self._hidden)
            self._go(self._flatten, self._remove, *shown, self._look_as_before)

    # -- steps, one per turn of the event loop ------------------------------------------------
    def _go(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)
        self._turn.start()

    def _step(self) -> None:
        if not self._steps or getattr(self._ui.viewer.window, "_qt_window", None) is None:
            return
        step = self._steps.pop(0)
        self._is_ours = True
        try:
            step()
        finally:
            self._is_ours = False
            self._turn.start()

    def _came(self, found: reading.SeedAlone | None) -> None:
        if found is None:
            self.leave()
            return
        if found.seed != self.seed:
            return
        if self._before is None:
            camera, viewer = self._ui.viewer.scene.camera, self._ui.viewer
            self._before = {
                "ndisplay": viewer.dims.ndisplay, "center": camera.center, "zoom": camera.zoom,
                "angles": camera.angles, "active": viewer.layers.selection.active,
                "shown": self._ui.layers.shown,
            }  # fmt: skip
        place = self._add if self.layer() is None else self._replace
        self._go(self._hide_others, partial(place, found), partial(self._turn_to, found))

    def _hide_others(self) -> None:
        """Hide what is visible: in 3-D it would be read whole."""
        shown = [x for x in self._ui.viewer.layers if x.visible and x.metadata.get(MARK) != KIND]
        self._hidden += shown
        for layer in shown:
            layer.visible = False

    def _add(self, found: reading.SeedAlone) -> None:
        layer = Image(
            found.voxels, name=NAME, contrast_limits=found.limits, rendering="attenuated_mip",
            multiscale=False, metadata={MARK: KIND}, **found.place,
        )  # fmt: skip
        self._ui.viewer.layers.append(layer)  # active from now on: its contrast is at hand

    def _replace(self, found: reading.SeedAlone) -> None:
        layer = self.layer()
        if layer is not None:
            layer.data, layer.contrast_limits = found.voxels, found.limits
            layer.scale, layer.translate = found.place["scale"], found.place["translate"]

    def _turn_to(self, found: reading.SeedAlone) -> None:
        viewer, camera = self._ui.viewer, self._ui.viewer.scene.camera
        is_new = viewer.dims.ndisplay != 3
        self._hide_others()
        viewer.dims.ndisplay = 3
        edges = np.asarray(found.voxels.shape) * found.place["scale"]
        camera.center = tuple(np.asarray(found.place["translate"]) + (edges - found.place["scale"]) / 2)
        if is_new:
            native = viewer.window._qt_viewer.canvas.native
            camera.angles = ANGLES
            camera.zoom = SHARE * max(min(native.width(), native.height()), 100) / max(edges.max(), 1e-6)

    def _flatten(self) -> None:
        if self._before is not None:
            self._ui.viewer.dims.ndisplay = self._before["ndisplay"]

    def _remove(self) -> None:
        layer = self.layer()
        if layer is not None:
            self._ui.viewer.layers.remove(layer)

    def _look_as_before(self) -> None:
        before, self._before, self._hidden = self._before, None, []
        if before is None or before["shown"] is not self._ui.layers.shown:
            return  # another scan has a view of its own
        viewer, camera = self._ui.viewer, self._ui.viewer.scene.camera
        if before["active"] in viewer.layers:
            viewer.layers.selection.active = before["active"]
        camera.center, camera.zoom, camera.angles = before["center"], before["zoom"], before["angles"]

    # -- going back by itself -----------------------------------------------------------------
    def _something_comes(self, _event: object = None) -> None:
        """Before another layer is added: in 3-D it would be read whole."""
        if self._before is None or self._is_ours:
            return
        if self._ui.viewer.dims.ndisplay == 3:
            self._ui.viewer.dims.ndisplay = 2
        self.leave()

    def _something_went(self, event: Any) -> None:
        if not self._is_ours and event.value.metadata.get(MARK) == KIND:
            self.leave()

    def _display_changed(self, _event: object = None) -> None:
        if not self._is_ours and self._ui.viewer.dims.ndisplay == 2:
            self.leave()
