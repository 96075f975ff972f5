"""Bare napari with the same layers and camera moves: what its event loop costs without us.

Run as ``python -m napari_seedlab.ui.control VOLUME.npy RASTER.npy WIDTHxHEIGHT``; prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np

N_FLIGHTS, FRAMES = 60, 8


def main() -> None:
    """Add an image and three label layers, then fly about as the labelling does."""
    import napari

    from napari_seedlab.ui.hands import breathe
    from napari_seedlab.ui.lateness import LatenessMeter

    volume, raster = np.load(sys.argv[1], mmap_mode="r"), np.load(sys.argv[2])
    width, height = map(int, sys.argv[3].split("x"))
    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(width, height)
    for _ in range(50):
        breathe()
    meter = LatenessMeter(viewer)
    meter.start()
    viewer.add_image(volume, contrast_limits=(0, 255))
    for contour in (2, 0, 1):
        viewer.add_labels(raster).contour = contour
    viewer.add_image(volume, colormap="inferno", blending="additive")
    rng = np.random.default_rng(0)
    for _ in range(N_FLIGHTS):
        z, y, x = (int(rng.integers(n)) for n in volume.shape)
        viewer.dims.set_current_step(0, z)
        start = np.asarray(viewer.camera.center)
        for i in range(1, FRAMES + 1):
            viewer.camera.center = tuple(start + (np.asarray((0, y, x)) - start) * i / FRAMES)
            viewer.camera.zoom = 4.0
            for _ in range(3):
                breathe()
    sys.stdout.write(json.dumps(meter.stop()) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a viewer left open can crash while the interpreter shuts down


if __name__ == "__main__":
    main()
