"""How long from the key of an answer until the next seed is judged: its cuts drawn, the camera in place.

``xvfb-run -a python benchmarks/keys.py`` makes a tray of seeds in 3-D at 1366 by 768, splits it, switches
labelling on by K and answers by real key events as soon as the next seed is seen. One JSON line; target:
p95 at most 150 ms. ``ms_of_the_thread`` is what the thread of the widgets worked in that time. ``gaps``
counts answers after which the card was empty, ``batches`` how often a new one came.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZE = (1366, 768)
N_SEEDS = 200


class Watch:
    """When the cuts of the card and the viewer's canvas were drawn last."""

    def __init__(self, ui: Any) -> None:
        from qtpy.QtCore import QEvent, QObject

        self.cuts_at = self.canvas_at = 0.0
        dock = ui.docks["labelling"]
        watch = self

        class Paints(QObject):
            def eventFilter(self, watched: Any, event: Any) -> bool:
                if event.type() == QEvent.Type.Paint:
                    watch.cuts_at = time.perf_counter()
                return False

        self._filter = Paints(dock)
        dock.cuts.installEventFilter(self._filter)
        canvas = ui.viewer.window._qt_viewer.canvas
        canvas._scene_canvas.events.draw.connect(self._drew, position="last")
        self.arrived_at, self._camera, self._frame = 0.0, ui.camera, ui.camera._frame
        ui.camera._frame = self._flew

    def _flew(self, ms: float) -> None:
        self._frame(ms)
        if not self._camera.is_flying:
            self.arrived_at = time.perf_counter()

    def _drew(self, event: Any = None) -> None:
        self.canvas_at = time.perf_counter()


def is_in_place(ui: Any, seed: int) -> bool:
    """Whether the camera has arrived at a seed."""
    place, shown = ui.session.place_of(seed), ui.layers.shown
    if ui.camera.is_flying or place is None or shown is None or shown.scan.id != place[0]:
        return False
    table, scale = ui.session.regions(place[0]), np.asarray(shown.scan.facts.scale_um)
    middle = table.centroid[place[1]] * scale
    centre = np.asarray(ui.viewer.scene.camera.center)
    is_slice = abs(ui.viewer.dims.current_step[0] - table.centroid[place[1]][0]) <= 1
    return is_slice and bool(np.allclose(centre[-2:], middle[-2:], atol=float(scale.max())))


def wait_for_next(ui: Any, watch: Watch, before: int | None, begun: float) -> tuple[float, bool]:
    """Milliseconds until the seed after `before` is seen, and whether the card was empty meanwhile."""
    from napari_seedlab.ui import hands

    card, was_empty = ui.docks["labelling"].cuts, False
    while time.perf_counter() - begun < 60:
        hands.breathe(2)
        seed = ui.card_seed
        was_empty |= seed is None
        if seed in (None, before) or card.drawn_seed != seed or not is_in_place(ui, seed):
            continue
        if watch.canvas_at >= watch.arrived_at > begun:
            return (max(watch.cuts_at, watch.canvas_at) - begun) * 1000, was_empty
    raise SystemExit("the next seed never came")


def play(folder: Path, n_answers: int, profile: Path | None) -> dict[str, Any]:
    """Answer by keys in a real window; returns what was measured."""
    import napari

    from napari_seedlab.io.samples import write_sample
    from napari_seedlab.ui import hands
    from napari_seedlab.ui.demo import DEMO, _session
    from napari_seedlab.ui.docks import open_docks

    write_sample("ct", N_SEEDS, 0, folder / "tray")
    viewer = napari.Viewer(title="Seedlab")
    viewer.window._qt_window.resize(*SIZE)
    ui = open_docks(viewer)
    ui.bind(_session(folder / DEMO, True))
    ui.session.import_scan(next((folder / "tray").glob("scan.*")))
    hands.wait_until(lambda: ui.layers.shown is not None, "the scan")
    ui.session.split()
    hands.wait_until(lambda: ui.session.queue, "the first suggestions")
    hands.wait_until(lambda: ui.layers.find("labels") is not None, "the layers")
    hands.wait_until(lambda: not ui.session.desk.active, "the map")
    canvas, watch = viewer.window._qt_viewer.canvas.native, Watch(ui)
    hands.press(canvas, "K")
    _settle(1.0)
    times, own, gaps, batches = [], [], 0, 0
    profiler = _profiler(profile)
    for i in range(n_answers):
        before, queue, begun, busy = ui.card_seed, ui.session.queue, time.perf_counter(), time.thread_time()
        hands.press(canvas, str(1 + i % 3))
        ms, was_empty = wait_for_next(ui, watch, before, begun)
        times.append(ms)
        own.append((time.thread_time() - busy) * 1000)
        gaps += was_empty
        _settle(0.25)  # a glance
        batches += ui.session.queue != queue
    _write_profile(profiler, profile)
    answered = sum(x.class_id > 0 for x in ui.session.labels.values())
    ui.bind(None)
    viewer.close()
    return {
        "n_answers": n_answers,
        "n_labelled": answered,
        "ms": _summary(times),
        "ms_of_the_thread": _summary(own),
        "gaps": gaps,
        "batches": batches,
    }


def _summary(ms: list[float]) -> dict[str, float]:
    at = {"median": np.median(ms), "p95": np.percentile(ms, 95), "max": np.max(ms)}
    return {name: round(float(value), 1) for name, value in at.items()}


def _settle(seconds: float) -> None:
    from napari_seedlab.ui import hands

    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        hands.breathe()


def _profiler(path: Path | None) -> Any:
    if path is None:
        return None
    import cProfile

    profiler = cProfile.Profile()
    profiler.enable()
    return profiler


def _write_profile(profiler: Any, path: Path | None) -> None:
    if profiler is not None and path is not None:
        profiler.disable()
        profiler.dump_stats(path)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--answers", type=int, default=60)
    p.add_argument("--profile", type=Path, help="file for what the main thread did")
    a = p.parse_args()
    line: dict[str, Any] = {"benchmark": "keys", "load1_before": round(os.getloadavg()[0], 2)}
    with tempfile.TemporaryDirectory(prefix="seedlab-keys-") as folder:
        line |= play(Path(folder), a.answers, a.profile)
    line |= {"targets": {"p95_ms": 150}, "cpus": os.cpu_count(), "load1": round(os.getloadavg()[0], 2)}
    print(json.dumps(line), flush=True)
    os._exit(0)  # a viewer left open can crash while the interpreter shuts down


if __name__ == "__main__":
    main()
