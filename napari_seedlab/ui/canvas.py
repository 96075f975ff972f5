"""Clicks on the canvas, and what stands written on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_seedlab.core import Modality
from napari_seedlab.ui.empty_states import on_canvas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_seedlab.ui.app import SeedlabUi


class CanvasClicks:
    """A click picks the seed under it while labelling; a drag moves the camera as ever.

    Parameters
    ----------
    ui : SeedlabUi
    """

    def __init__(self, ui: SeedlabUi) -> None:
        self._ui = ui
        self._halves: tuple[int, list[tuple[float, ...]]] | None = None
        ui.viewer.mouse_drag_callbacks.append(self._pressed)
        ui.session_bound.connect(ui.slot(self._forget_halves))

    def ask_for_halves(self, seed: int) -> None:
        """Take the next two clicks as points in the two halves of a seed."""
        self._halves = (seed, [])
        self._ui.say("Click a point in the first half, then one in the second.")

    def _forget_halves(self) -> None:
        """The seed was one of another project."""
        self._halves = None

    def _pressed(self, _viewer: object, event: Any) -> Iterator[None]:
        wanted = self._ui.mode.is_on or self._halves is not None
        if not wanted or event.button != 1 or self._ui.strokes.is_painting or event.modifiers:
            return
        yield
        if event.type != "mouse_move":
            self._ui.slot(self._clicked)(tuple(event.position))

    def _clicked(self, position: tuple[float, ...]) -> None:
        if self._halves is not None:
            self._half_clicked(position)
            return
        seed = self._ui.layers.seed_at(position)
        if seed is not None:
            self._ui.pick(seed, "canvas")

    def _half_clicked(self, position: tuple[float, ...]) -> None:
        session, layer = self._ui.session, self._ui.layers.find("image")
        if session is None or layer is None or self._halves is None:
            return
        seed, points = self._halves
        points.append(tuple(round(float(v)) for v in layer.world_to_data(position[-3:])))
        if len(points) == 2:
            self._halves = None
            session.split_seed(seed, points)


class CanvasText:
    """What stands on the canvas: the wavelength of the band, the keys, or what comes onto an empty one.

    While something comes napari's welcome, which asks for files, stays away.

    Parameters
    ----------
    ui : SeedlabUi
    """

    def __init__(self, ui: SeedlabUi) -> None:
        self._ui = ui
        self._hides_welcome = False
        for change in (ui.viewer.layers.events.inserted, ui.viewer.layers.events.removed):
            change.connect(self._changed)
        ui.said.connect(self._changed)

    def _changed(self, *_: object) -> None:
        self._ui.slot(self.write)()

    def write(self) -> None:
        """Write what is true now."""
        viewer = self._ui.viewer
        window = getattr(viewer.window, "_qt_viewer", None)
        if window is None:  # it is being closed
            return
        coming = "" if len(viewer.layers) else on_canvas(self._ui)
        if coming and window.show_welcome_screen:
            window.show_welcome_screen, self._hides_welcome = False, True
        elif not coming and self._hides_welcome:
            window.show_welcome_screen, self._hides_welcome = True, False
        text = coming or "\n".join(self._lines())
        overlay = viewer.canvas.overlays.text
        if overlay.text != text or overlay.visible != bool(text):
            overlay.text, overlay.visible = text, bool(text)
            overlay.position = "middle_center" if coming else "top_left"  # messages cover the bottom

    def _lines(self) -> Iterator[str]:
        ui, session = self._ui, self._ui.session
        shown, steps = ui.layers.shown, ui.viewer.dims.current_step
        if shown is not None and shown.scan.facts.modality is Modality.HSI and len(steps) == 3:
            band = min(int(steps[0]), shown.scan.facts.shape[0] - 1)
            nm = shown.scan.facts.wavelengths_nm
            yield f"{nm[band]:.0f} nm · band {band}" if nm else f"band {band}"
        if ui.mode.is_on and session is not None:
            keys = [f"{c.key} {c.name}" for c in session.scheme.active if c.key]
            yield "  ".join(keys) + "  U unsure  N next  K stop  "  # the box behind it may end too soon
