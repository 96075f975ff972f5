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

    from napari_seedlab.ui.app import SeedlabUi

KIND, NAME = "alone", "Seed alone"
SHARE = 0.55  # of the canvas that the seed fills
ANGLES = (0.0, -25.0, 65.0)  # degrees: from above, tilted a little


class SeedAloneView:
    """Shows one seed without its surroundings, and goes back.

    It goes back by itself when the project, the seed's place or the layers change: a volume that is
    added in 3-D would be read whole.

    Parameters
    ----------
    ui : SeedlabUi
    told : callable
        Told whether a seed is shown alone, whenever that changes.
    """

    def __init__(self, ui: SeedlabUi, told: Callable[[bool], object]) -> None:
        self._ui, self._told = ui, told
        self.seed: int | None = None  # wanted; its layer may still be read
        self._before: dict[str, Any] | None = None  # the view to go back to
        self._hidden: list[Layer] = []
        self._is_ours = False  # a change of the layers or of the dims that we make
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
        viewer, layer, before = self._ui.viewer, self.layer(), self._before
        self._before, self._is_ours = None, True
        try:
            if layer is not None:
                viewer.layers.remove(layer)
            if before is not None:
                viewer.dims.ndisplay = before["ndisplay"]  # first: a hidden layer is not sliced for it
                for hidden in self._hidden:
                    hidden.visible = True
                viewer.layers.selection.active = (
                    before["active"] if before["active"] in viewer.layers else None
                )
                camera = viewer.scene.camera
                camera.center, camera.zoom, camera.angles = before["center"], before["zoom"], before["angles"]
        finally:
            self._hidden, self._is_ours = [], False
        self._told(False)

    # -- going in -----------------------------------------------------------------------------
    def _came(self, found: reading.SeedAlone | None) -> None:
        if found is None or found.seed != self.seed:
            if found is None:
                self.leave()
            return
        layer = self.layer()
        self._is_ours = True
        try:
            if layer is None:
                self._remember()
                self._hide_others()
                self._add(found)
            else:
                layer.data, layer.contrast_limits = found.voxels, found.limits
                layer.scale, layer.translate = found.place["scale"], found.place["translate"]
        finally:
            self._is_ours = False
        QTimer.singleShot(0, self._ui.slot(partial(self._turn_to, found)))  # drawing has its own turn

    def _remember(self) -> None:
        camera, dims = self._ui.viewer.scene.camera, self._ui.viewer.dims
        self._before = {
            "ndisplay": dims.ndisplay,
            "center": camera.center,
            "zoom": camera.zoom,
            "angles": camera.angles,
            "active": self._ui.viewer.layers.selection.active,
        }

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

    def _turn_to(self, found: reading.SeedAlone) -> None:
        if self.seed != found.seed:
            return
        viewer, camera = self._ui.viewer, self._ui.viewer.scene.camera
        is_new = viewer.dims.ndisplay != 3
        self._is_ours = True
        try:
            self._hide_others()
            viewer.dims.ndisplay = 3
        finally:
            self._is_ours = False
        edges = np.asarray(found.voxels.shape) * found.place["scale"]
        camera.center = tuple(np.asarray(found.place["translate"]) + (edges - found.place["scale"]) / 2)
        if is_new:
            camera.angles = ANGLES
            native = viewer.window._qt_viewer.canvas.native
            camera.zoom = (
                SHARE * max(min(native.width(), native.height()), 100) / max(float(edges.max()), 1e-6)
            )

    # -- going back by itself -----------------------------------------------------------------
    def _something_comes(self, _event: object = None) -> None:
        if self.is_on and not self._is_ours and self._ui.viewer.dims.ndisplay == 3:
            self._ui.viewer.dims.ndisplay = 2

    def _something_went(self, event: Any) -> None:
        if self.is_on and not self._is_ours and event.value.metadata.get(MARK) == KIND:
            QTimer.singleShot(0, self._ui.slot(self.leave))

    def _display_changed(self, _event: object = None) -> None:
        if self.is_on and not self._is_ours and self._ui.viewer.dims.ndisplay == 2:
            QTimer.singleShot(0, self._ui.slot(self.leave))
