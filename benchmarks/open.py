"""perf P15: seconds and memory to the first slice of a large TIFF, ours against tifffile and its Zarr view.

A B C A B C …, a fresh process and a cold file each. Ours asks its reader process, which is warm as in the
running app, and whose growth is counted too. With ``--viewer`` the slice is shown by napari. Targets:
at most 0.2 of the time and 0.1 of the memory of reading the whole file, at most 1.1 of the Zarr view;
twice the length at most 1.1 times the time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
FILES = {"plain": 1, "double": 2, "packed": 1}
ROUTES = {
    "ours": ("plain", "double", "packed"),
    "zarr_view": ("plain", "packed"),
    "whole": ("plain",),
}


def make(folder: Path, shape: tuple[int, int, int]) -> None:
    """Write the stacks: uncompressed, of twice the length, and with zlib, one page per slice."""
    import tifffile

    block = np.random.default_rng(0).integers(0, 4096, (16, *shape[1:]), dtype=np.uint16)
    for name, times in FILES.items():
        packing = {"compression": "zlib", "compressionargs": {"level": 1}} if name == "packed" else {}
        pages = (block[z % 16] for z in range(shape[0] * times))
        length = (shape[0] * times, *shape[1:])
        tifffile.imwrite(
            folder / f"{name}.tif", pages, shape=length, dtype=np.uint16, photometric="minisblack",
            bigtiff=True, **packing,
        )  # fmt: skip
    os.sync()


def cold(path: Path) -> None:
    """Drop the file from the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def resident(pid: int) -> float:
    """MiB that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Growth:
    """Highest growth of some processes while the block runs, in MiB."""

    def __init__(self, pids: list[int]) -> None:
        self.pids, self.start = pids, sum(map(resident, pids))
        self.most, self._stop = 0.0, threading.Event()

    def __enter__(self) -> Growth:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.004):
            self.look()

    def look(self) -> None:
        """Take one reading."""
        self.most = max(self.most, sum(map(resident, self.pids)) - self.start)

    def __exit__(self, *error: object) -> None:
        self.look()
        self._stop.set()
        self._thread.join()


def route(name: str) -> tuple[Callable[[str], Any], list[int]]:
    """A function from a path to something that is sliced, warmed up, and its processes."""
    import tifffile
    import zarr

    if name == "ours":
        from napari_seedlab.io import describe, lazy_view, reader

        reader().warm().join()
        child = reader().pid
        assert child is not None
        return lambda path: lazy_view(*describe(path)), [os.getpid(), child]
    if name == "zarr_view":
        return lambda path: zarr.open(tifffile.imread(path, aszarr=True), mode="r"), [os.getpid()]
    return tifffile.imread, [os.getpid()]


def case(name: str, path: Path, shown: bool) -> None:
    """Time one route in this process; the result goes to stdout."""
    open_it, pids = route(name)
    viewer = make_viewer() if shown else None
    cold(path)
    with Growth(pids) as growth:
        begun = time.perf_counter()
        data = open_it(str(path))
        middle = data.shape[0] // 2
        if viewer is None:
            total = int(np.asarray(data[middle]).sum())
        else:
            total = show(viewer, data, middle, name)
        seconds = time.perf_counter() - begun
    sys.stdout.write(f"{seconds} {growth.most} {total}\n")
    sys.stdout.flush()
    os._exit(0)  # a viewer left open can crash while the interpreter shuts down


def make_viewer() -> Any:
    """A shown viewer."""
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer(show=True)
    QApplication.processEvents()
    return viewer


def show(viewer: Any, data: Any, middle: int, name: str) -> int:
    """Add the layer, go to its middle and draw; `whole` guesses its contrast as napari's own reader does."""
    from qtpy.QtWidgets import QApplication

    viewer.add_image(data, contrast_limits=None if name == "whole" else (0, 4096))
    viewer.dims.set_current_step(0, middle)
    QApplication.processEvents()
    return 0


def measure(folder: Path, reps: int, shown: bool) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds and MiB of every route over interleaved fresh processes."""
    seconds: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    sums: dict[str, set[str]] = {}
    for _ in range(reps):
        for name, files in ROUTES.items():
            for file in files:
                command = [sys.executable, __file__, "--one", name, str(folder / f"{file}.tif")]
                command += ["--viewer"] if shown else []
                environment = {**os.environ, "PYTHONPATH": str(ROOT)}
                done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
                if done.returncode:
                    raise SystemExit(f"{name} {file}: {done.stderr.strip().splitlines()[-1][:200]}")
                took, grew, total = done.stdout.split()[-3:]
                seconds.setdefault(f"{name}_{file}", []).append(float(took))
                memory.setdefault(f"{name}_{file}", []).append(float(grew))
                sums.setdefault(file, set()).add(total)
    wrong = [file for file, totals in sums.items() if len(totals) > 1]
    if wrong:
        raise SystemExit(f"the routes disagree about {', '.join(wrong)}")
    return seconds, memory


def ratios(values: dict[str, list[float]], floor: float) -> dict[str, float]:
    """Ours over each peer, by medians; `floor` keeps ratios of next to nothing finite."""
    middle = {k: max(statistics.median(v), floor) for k, v in values.items()}
    pairs = {
        "over_whole": ("ours_plain", "whole_plain"),
        "over_zarr_view": ("ours_plain", "zarr_view_plain"),
        "packed_over_zarr_view": ("ours_packed", "zarr_view_packed"),
        "double_length": ("ours_double", "ours_plain"),
    }
    return {k: round(middle[a] / middle[b], 3) for k, (a, b) in pairs.items()}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--shape", default="512,1024,1024")
    p.add_argument("--reps", type=int, default=5)
    p.add_argument("--folder", default=None, help="drive to write 4 GB to")
    p.add_argument("--viewer", action="store_true", help="show it in napari (needs a display)")
    p.add_argument("--one", nargs=2, metavar=("ROUTE", "PATH"), help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.one:
        case(a.one[0], Path(a.one[1]), a.viewer)
    z, y, x = (int(n) for n in a.shape.split(","))
    with tempfile.TemporaryDirectory(dir=a.folder) as folder:
        make(Path(folder), (z, y, x))
        seconds, memory = measure(Path(folder), a.reps, a.viewer)
    line = {
        "benchmark": "open",
        "shape": [z, y, x],
        "viewer": a.viewer,
        "load": round(os.getloadavg()[0], 1),
        "seconds": {k: [round(min(v), 4), round(statistics.median(v), 4)] for k, v in seconds.items()},
        "mib": {k: round(max(v), 1) for k, v in memory.items()},
        "time_ratio": ratios(seconds, 1e-4),
        "best_time_ratio": ratios({k: [min(v)] for k, v in seconds.items()}, 1e-4),
        "memory_ratio": ratios(memory, 1.0),
        "targets": {"time_over_whole": 0.2, "memory_over_whole": 0.1, "over_zarr_view": 1.1, "double": 1.1},
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
