"""Clicks on the canvas, and what stands written on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_seedlab.core import Modality

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

    def ask_for_halves(self, seed: int) -> None:
        """Take the next two clicks as points in the two halves of a seed."""
        self._halves = (seed, [])
        self._ui.say("Click a point in the first half, then one in the second.")

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


def write_on_canvas(ui: SeedlabUi) -> None:
    """Say the wavelength of the band, and the keys while labelling."""
    lines, shown, session = [], ui.layers.shown, ui.session
    steps = ui.viewer.dims.current_step
    if shown is not None and shown.scan.facts.modality is Modality.HSI and len(steps) == 3:
        band = min(int(steps[0]), shown.scan.facts.shape[0] - 1)
        nm = shown.scan.facts.wavelengths_nm
        lines.append(f"{nm[band]:.0f} nm · band {band}" if nm else f"band {band}")
    if ui.mode.is_on and session is not None:
        keys = [f"{c.key} {c.name}" for c in session.scheme.active if c.key]
        lines.append("  ".join(keys) + "  U unsure  N next  K stop")
    overlay = ui.viewer.canvas.overlays.text
    overlay.text = "\n".join(lines)
    overlay.visible = bool(lines)
