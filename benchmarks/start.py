"""perf P16: seconds and memory until the first dock is painted, ours against bare napari with a dock.

A B A B …, a fresh process each; targets: time at most 1.15 times, memory at most 1.35 times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

HEAVY = ("torch", "sklearn", "umap", "dask", "zarr", "sqlalchemy", "distributed", "tifffile", "numba")
END = """
from qtpy.QtWidgets import QApplication
QApplication.processEvents()
seconds = time.perf_counter() - begun
rss = int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2**20
print(seconds, rss, ','.join(m for m in HEAVY if m in sys.modules) or '-')
sys.stdout.flush()
os._exit(0)
"""
BARE = """
import napari
v = napari.Viewer(show=True)
from qtpy.QtWidgets import QApplication
QApplication.processEvents()
from magicgui.widgets import Container, PushButton, SpinBox
dock = Container(widgets=[PushButton(text=str(i)) for i in range(8)] + [SpinBox() for _ in range(8)])
v.window.add_dock_widget(dock, name='d')
"""
OURS = """
import napari
v = napari.Viewer(show=True)
from qtpy.QtWidgets import QApplication
QApplication.processEvents()
from napari_seedlab.ui.docks import open_docks
open_docks(v)
"""


def once(body: str) -> tuple[float, float, str]:
    """Seconds, MiB and heavy modules of one fresh process."""
    head = f"import time, sys, os\nbegun = time.perf_counter()\nHEAVY = {HEAVY!r}\n"
    out = subprocess.run(
        [sys.executable, "-c", head + body + END], capture_output=True, text=True, check=False
    )
    if out.returncode:
        raise SystemExit(out.stderr.strip().splitlines()[-1])
    seconds, rss, heavy = out.stdout.split()[-3:]
    return float(seconds), float(rss), heavy


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--reps", type=int, default=5)
    a = p.parse_args()
    once(BARE), once(OURS)  # warm the disk cache
    rows: dict[str, list[tuple[float, float, str]]] = {"bare": [], "ours": []}
    for _ in range(a.reps):
        rows["bare"].append(once(BARE))
        rows["ours"].append(once(OURS))
    line: dict[str, object] = {"benchmark": "P16", "reps": a.reps, "load1": round(os.getloadavg()[0], 2)}
    for k, (column, name) in enumerate((("seconds", "time"), ("mib", "memory"))):
        bare = [r[k] for r in rows["bare"]]
        ours = [r[k] for r in rows["ours"]]
        line[column] = {"bare": round(statistics.median(bare), 2), "ours": round(statistics.median(ours), 2)}
        line[f"{name}_ratio_median"] = round(statistics.median(ours) / statistics.median(bare), 3)
        line[f"{name}_ratio_min"] = round(min(ours) / min(bare), 3)
    line["heavy_modules"] = {name: sorted({r[2] for r in found}) for name, found in rows.items()}
    line["targets"] = {"time": 1.15, "memory": 1.35}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
