"""How late the event loop runs, told apart by what kept it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Qt, QTimer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari import Viewer

TICK_MS = 5
PARTS = ("drawing", "adding", "else")


class LatenessMeter(QObject):
    """A timer that should tick every 5 ms; what each tick is late by goes to one of three parts.

    ``adding``: napari added or removed a layer since the last tick. ``drawing``: a canvas drew, or
    napari sliced its layers for a new position. ``else``: everything of ours.
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._late: dict[str, list[float]] = {part: [] for part in PARTS}
        self._seen: set[str] = set()
        self._last = 0.0
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        layers = viewer.layers.events
        self._links = [
            (viewer.window._qt_viewer.canvas._scene_canvas.events.draw, self._drew),
            (viewer.dims.events.current_step, self._drew),
            (viewer.dims.events.order, self._drew),
            (layers.inserting, self._added),
            (layers.inserted, self._added),
            (layers.removing, self._added),
            (layers.removed, self._added),
        ]
        for emitter, slot in self._links:
            emitter.connect(slot)

    def _drew(self, event: object = None) -> None:
        self._seen.add("drawing")

    def _added(self, event: object = None) -> None:
        self._seen.add("adding")

    def _tick(self) -> None:
        now = time.perf_counter()
        late_ms = max(0.0, (now - self._last) * 1000 - TICK_MS)
        part = next((p for p in ("adding", "drawing") if p in self._seen), "else")
        self._late[part].append(late_ms)
        self._seen.clear()
        self._last = now

    def start(self) -> None:
        """Begin to count."""
        self._last = time.perf_counter()
        self._timer.start(TICK_MS)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing for a while."""
        self._timer.stop()
        yield
        self._seen.clear()
        self.start()

    def stop(self) -> dict[str, dict[str, Any]]:
        """End, and give n, p99 and max in ms per part."""
        self._timer.stop()
        for emitter, slot in self._links:
            emitter.disconnect(slot)
        return {part: summary(values) for part, values in self._late.items()}


def summary(late_ms: list[float]) -> dict[str, Any]:
    """Count, 99th percentile and maximum of a list of milliseconds."""
    if not late_ms:
        return {"n": 0, "p99": 0.0, "max": 0.0}
    values = np.asarray(late_ms)
    return {
        "n": len(values),
        "p99": round(float(np.percentile(values, 99)), 2),
        "max": round(float(values.max()), 2),
    }
