"""The gallery with 50,000 seeds: frames while scrolling, jumps of a page, blank time, memory of thumbnails.

xvfb-run -a python benchmarks/gallery.py [--seeds 50000] --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_seedlab.core import Modality
from napari_seedlab.files import ArraySource, create_zarr
from napari_seedlab.imaging.thumbnails import PAGE
from napari_seedlab.session.thumbnails import ThumbTable
from napari_seedlab.ui.gallery_cells import SeedFacts
from napari_seedlab.ui.gallery_grid import GalleryGrid
from napari_seedlab.ui.thumbs import MOST_BYTES, ThumbCache

SIZE = 1000, 280
N_JUMPS, N_STEPS = 40, 120
PATIENCE_S = 10.0


def write_thumbnails(folder: Path, n: int) -> ThumbTable:
    """`n` noisy discs on disk, as the job writes them."""
    rng = np.random.default_rng(0)
    array = create_zarr(folder / "thumbs.zarr", (n, 120, 40), (PAGE, 120, 40), "u1")
    y, x = np.mgrid[-1:1:40j, -1:1:40j]
    disc = np.tile((x * x + y * y < 0.7) * 150, (3, 1))
    for start in range(0, n, 4096):
        m = min(4096, n - start)
        array[start : start + m] = (disc + rng.integers(0, 60, (m, 120, 40))).astype(np.uint8)
    source = ArraySource(str(folder / "thumbs.zarr"), "zarr", (n, 120, 40), ("z", "y", "x"), "|u1")
    seeds = np.arange(1, n + 1)
    return ThumbTable(seeds, seeds, np.zeros((n, 0), np.float32), 1.0, True, source)


class Watch:
    """Paints a grid and counts seeds in sight that have no picture."""

    def __init__(self, grid: GalleryGrid, cache: ThumbCache) -> None:
        self.grid, self.cache = grid, cache

    def paint_ms(self) -> float:
        """One frame."""
        start = time.perf_counter()
        self.grid.viewport().repaint()
        return (time.perf_counter() - start) * 1000

    def n_blank(self) -> int:
        """Seeds in sight without a picture."""
        first, last = self.grid.rows_in_sight()
        return sum(self.cache.cuts(int(s)) is None for s in self.grid.seeds[first:last])

    def blank_ms(self) -> float:
        """Until every seed in sight has its picture, drawn."""
        start = time.perf_counter()
        self.grid.viewport().repaint()
        while self.n_blank():
            QApplication.processEvents()
            time.sleep(0.001)  # a window that waits leaves the interpreter to the thread that reads
            if time.perf_counter() - start > PATIENCE_S:
                break
        self.grid.viewport().repaint()
        return (time.perf_counter() - start) * 1000


def facts(n: int) -> SeedFacts:
    rng = np.random.default_rng(1)
    rgb = rng.integers(40, 255, (5, 3), dtype=np.uint8)
    label, guess = rng.integers(0, 5, n, dtype=np.uint8), rng.integers(1, 5, n, dtype=np.uint8)
    return SeedFacts(label, guess, rng.random(n, np.float32), rgb, rgb)


def jump(watch: Watch, rng: np.random.Generator) -> tuple[list[float], list[float]]:
    """Milliseconds of the first frame after jumps, and until nothing is blank."""
    bar, frames, blanks = watch.grid.verticalScrollBar(), [], []
    for _ in range(N_JUMPS):
        bar.setValue(int(rng.integers(0, bar.maximum())))
        frames.append(watch.paint_ms())
        blanks.append(frames[-1] + watch.blank_ms() if watch.n_blank() else 0.0)
    return frames, blanks


def scroll(watch: Watch) -> tuple[list[float], list[float]]:
    """As :func:`jump`, for a steady scroll by one row of pictures each step."""
    bar, frames, blanks = watch.grid.verticalScrollBar(), [], []
    bar.setValue(0)
    for _ in range(N_STEPS):
        bar.setValue(bar.value() + bar.singleStep() * 3)
        frames.append(watch.paint_ms())
        blanks.append(frames[-1] + watch.blank_ms() if watch.n_blank() else 0.0)
    return frames, blanks


def ends(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and maximum."""
    at = sorted(values)
    return {
        "median": round(statistics.median(at), 1),
        "p95": round(at[int(0.95 * (len(at) - 1))], 1),
        "max": round(at[-1], 1),
    }


def measure(n: int) -> dict[str, object]:
    """All figures for `n` seeds."""
    app = QApplication.instance() or QApplication([])
    rng, me = np.random.default_rng(3), psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        table = write_thumbnails(Path(folder), n)
        found = lambda seed: (table, table.row[seed]) if seed in table.row else None  # noqa: E731
        session = SimpleNamespace(thumbnails=SimpleNamespace(find=found), pool=str(Modality.CT))
        cache = ThumbCache(lambda: session)
        grid = GalleryGrid(cache)
        grid.resize(*SIZE)
        watch, known = Watch(grid, cache), facts(n)
        order = rng.permutation(table.seeds)  # as after a sort: no two are neighbours on disk
        _ = table.row
        before = me.memory_info().rss
        start = time.perf_counter()
        grid.show()
        grid.show_seeds(order, known)
        app.processEvents()
        shown_ms = (time.perf_counter() - start) * 1000
        opened_ms = watch.blank_ms()
        early = jump(watch, rng)
        start = time.perf_counter()
        while cache.n_bytes < min(n * 4800, MOST_BYTES - 2**22) and time.perf_counter() - start < PATIENCE_S:
            app.processEvents()
            time.sleep(0.01)
        late, steady = jump(watch, rng), scroll(watch)
        chosen = np.zeros(n, bool)
        chosen[rng.choice(n, n // 5, replace=False)] = True
        start = time.perf_counter()
        grid.choose(chosen, -1)
        grid.viewport().repaint()
        select_ms = (time.perf_counter() - start) * 1000
        grown = (me.memory_info().rss - before) / 2**20
        cache.close()
        grid.deleteLater()
        app.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    return {
        "seeds": n,
        "shown_ms": round(shown_ms, 1),
        "first_pictures_ms": round(opened_ms, 1),
        "jump_while_reading_ms": ends(early[0]),
        "blank_while_reading_ms": ends(early[1]),
        "jump_ms": ends(late[0]),
        "blank_after_jump_ms": ends(late[1]),
        "scroll_frame_ms": ends(steady[0]),
        "blank_while_scrolling_ms": ends(steady[1]),
        "select_a_fifth_ms": round(select_ms, 1),
        "thumbnails_mib": round(cache.n_bytes / 2**20, 1),
        "grown_mib": round(grown, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.seeds)
    print(json.dumps(found) if given.json else json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
