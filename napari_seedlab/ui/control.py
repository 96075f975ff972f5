"""Bare napari with the same layers and camera moves: what its event loop costs without our docks.

Run as ``python -m napari_seedlab.ui.control VOLUME.npy RASTER.npy WIDTHxHEIGHT [PROJECT]``; prints one JSON
object. With a project its network trains meanwhile and its head is fitted at every flight, as while
somebody labels; without one nothing runs beside napari.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari import Viewer

    from napari_seedlab.session import Session

N_FLIGHTS, FRAMES = 60, 8
COLOURS = {None: (0, 0, 0, 0), 0: (0, 0, 0, 0), 1: (1, 0.6, 0, 1)}


def main() -> None:
    """Add an image, three label layers and a heatmap, then fly about as the labelling does."""
    import napari

    from napari_seedlab.ui.hands import breathe
    from napari_seedlab.ui.lateness import LatenessMeter
    from napari_seedlab.ui.layer_list import keep_thumbnails

    volume, raster = np.load(sys.argv[1], mmap_mode="r"), np.load(sys.argv[2])
    width, height = map(int, sys.argv[3].split("x"))
    session = _opened(Path(sys.argv[4])) if len(sys.argv) > 4 else None
    keep_thumbnails()
    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(width, height)
    for _ in range(50):
        breathe()
    meter = LatenessMeter(viewer)
    meter.start()
    _work(session)
    _add_layers(viewer, volume, raster)
    rng = np.random.default_rng(0)
    for _ in range(N_FLIGHTS):
        _work(session)
        z, y, x = (int(rng.integers(n)) for n in volume.shape)
        viewer.dims.set_current_step(0, z)
        start = np.asarray(viewer.scene.camera.center)
        for i in range(1, FRAMES + 1):
            viewer.scene.camera.center = tuple(start + (np.asarray((0, y, x)) - start) * i / FRAMES)
            viewer.scene.camera.zoom = 4.0
            for _ in range(3):
                breathe()
    sys.stdout.write(json.dumps(meter.stop()) + "\n")
    sys.stdout.flush()
    if session is not None:
        session.close()  # nothing writes into the project any more when this process is gone
    os._exit(0)  # a viewer left open can crash while the interpreter shuts down


def _add_layers(viewer: Viewer, volume: np.ndarray, raster: np.ndarray) -> None:
    """The scan, its outlines, fills and marks, and a heatmap; one layer per turn of the event loop."""
    from napari.utils.colormaps import DirectLabelColormap

    from napari_seedlab.ui.hands import breathe

    units = ("pixel",) * 3
    viewer.add_image(volume, contrast_limits=(0, 255), units=units)
    breathe()
    codes = (raster > 0).astype(np.uint8)
    for contour in (2, 0, 1):
        colours = DirectLabelColormap(color_dict=COLOURS)
        viewer.add_labels(codes, colormap=colours, units=units).contour = contour
        breathe()
    viewer.add_image(volume, colormap="inferno", blending="additive", opacity=0.85, units=units)
    breathe()


def _opened(path: Path) -> Session:
    from napari_seedlab.core import Settings
    from napari_seedlab.jobs import ClusterRunner
    from napari_seedlab.session import Session

    runner = ClusterRunner(Settings())
    session = Session.open(path, runner, Settings())
    runner.start()
    runner.wait_warm(60)
    return session


def _work(session: Session | None) -> None:
    """What runs while somebody labels: a network that trains, and a fit of the head for every answer."""
    if session is not None:
        if "net" not in {status.id.split("-")[0] for status in session.desk.active}:
            session.train("net")
        session.train("head")


if __name__ == "__main__":
    main()
