"""How long a project of 1,080 seeds in 12 scans takes to open: until its first seed can be answered.

``xvfb-run -a python benchmarks/reopen.py``: a fresh process each time; the window of 1366 by 768 is up, the
project remembers what it asked about, and the clock starts with the press on it. One JSON line; target: the
card with the cuts of its seed, in labelling, at most 5 s. ``control`` adds an image and two layers of labels
to bare napari in such a process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZE = (1366, 768)
N_SCANS, SIDE, CELL, N_LABELS = 12, (9, 10), (40, 40, 40), 120


def once(path: Path) -> None:
    """Open the project in a window of this process; what was measured goes to stdout."""
    import napari

    from napari_seedlab.ui import hands
    from napari_seedlab.ui.docks import open_docks
    from napari_seedlab.ui.projects import open_project

    viewer = napari.Viewer(title="Seedlab")
    viewer.window._qt_window.resize(*SIZE)
    ui = open_docks(viewer)
    for _ in range(100):
        hands.breathe()
    begun, found = time.perf_counter(), {}
    open_project(ui, path)

    def since(is_so: Any, name: str) -> None:
        hands.wait_until(is_so, name, 120)
        found[name] = round(time.perf_counter() - begun, 2)

    since(lambda: ui.session is not None, "project")
    since(lambda: ui.layers.find("labels") is not None, "scan and seeds")
    cuts = ui.docks["labelling"].cuts
    canvas = viewer.window._qt_viewer.canvas.native
    hands.press(canvas, "K")
    since(lambda: ui.card_seed is not None and cuts.drawn_seed == ui.card_seed, "card")
    seed = ui.card_seed
    hands.press(canvas, "1")
    since(lambda: ui.session.label(seed).class_id == 1 and not ui.session.labelling.pending, "answer on disk")
    found["n_seeds"] = len(ui.session.seeds)
    print(json.dumps(found), flush=True)
    os._exit(0)


def control() -> None:
    """Seconds that bare napari takes for such layers; to stdout."""
    import napari
    import numpy as np

    from napari_seedlab.ui import hands

    viewer = napari.Viewer()
    viewer.window._qt_window.resize(*SIZE)
    for _ in range(100):
        hands.breathe()
    volume = np.zeros((CELL[0], SIDE[0] * CELL[1], SIDE[1] * CELL[2]), np.uint8)
    begun = time.perf_counter()
    viewer.add_image(volume, contrast_limits=(0, 255))
    for _ in range(2):
        viewer.add_labels(volume)
        for _ in range(20):
            hands.breathe()
    print(json.dumps({"control": round(time.perf_counter() - begun, 2)}), flush=True)
    os._exit(0)


def run(*arguments: str) -> dict[str, float]:
    """What a fresh process of this script says."""
    command = [sys.executable, __file__, *arguments]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    if out.returncode:
        raise SystemExit(out.stderr.strip().splitlines()[-1])
    return dict(json.loads(out.stdout.strip().splitlines()[-1]))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--reps", type=int, default=3)
    p.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    p.add_argument("--control", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.control:
        control()
    if a.once is not None:
        once(a.once)
    import projects

    rows = []
    with tempfile.TemporaryDirectory(prefix="seedlab-reopen-") as folder:
        for i in range(a.reps):
            part = Path(folder) / str(i)
            part.mkdir()
            path = projects.make(part / "twelve.seedlab", N_SCANS, SIDE, CELL, N_LABELS)
            rows.append(run("--once", str(path)) | run("--control"))
    names = ("project", "scan and seeds", "card", "answer on disk", "control")
    line = {
        "benchmark": "reopen",
        "n_seeds": rows[0]["n_seeds"],
        "seconds": {name: statistics.median(row[name] for row in rows) for name in names},
        "most": max(row["card"] for row in rows),
        "targets": {"card": 5},
        "cpus": os.cpu_count(),
        "load1": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
