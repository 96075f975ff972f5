"""Peak memory of the whole story on a scan with thousands of seeds: the window and all its processes.

``xvfb-run -a python benchmarks/memory.py [SCAN.tif] [--dark] [--pictures FOLDER]``. The scan is opened,
split, mapped, searched for odd seeds, labelled, trained on and exported in the real window. One JSON line:
peaks of the sums of RSS and PSS in MiB with the step in which they fell, seconds per step, lateness.
Without a scan, a made bed of 6,000 balls in 56 million voxels takes its place.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from napari_seedlab.files import read_json
from napari_seedlab.ui import hands, judge
from napari_seedlab.ui.autoplay import Player

SAMPLE_S = 0.25
LIMIT_MIB = 5 * 1024
NET = {"size": 24, "fold_steps": 20, "final_steps": 40, "widths": [8, 16]}  # small, since seconds count here
N_CLASSES = 3
SLOW_S = 900


class MemoryMeter:
    """Sums the memory of this process and of all that it started, a few times a second.

    Attributes
    ----------
    step : str
        What goes on now; kept beside the peak.
    rss, pss : (float, str)
        Highest sum in MiB and the step in which it fell. RSS counts shared pages once per process,
        PSS shares them out.
    """

    def __init__(self) -> None:
        self.step = ""
        self.rss = self.pss = (0.0, "")
        self.by_step: dict[str, float] = {}
        self.by_process: list[tuple[str, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(SAMPLE_S):
            rows = [row for p in (me, *me.children(recursive=True)) if (row := _memory(p)) is not None]
            rss, pss = sum(r[1] for r in rows), sum(r[2] for r in rows)
            self.by_step[self.step] = max(self.by_step.get(self.step, 0.0), rss)
            self.pss = max(self.pss, (pss, self.step))
            if rss > self.rss[0]:
                self.rss, self.by_process = (rss, self.step), [(r[0], round(r[1])) for r in rows]

    def stop(self) -> dict[str, Any]:
        """End, and give the peaks."""
        self._stop.set()
        self._thread.join()
        return {
            "peak_rss_mib": round(self.rss[0]),
            "peak_pss_mib": round(self.pss[0]),
            "peak_in": self.rss[1],
            "peak_of_step_mib": {k: round(v) for k, v in self.by_step.items()},
            "processes_at_peak": self.by_process,
        }


def _memory(process: psutil.Process) -> tuple[str, float, float] | None:
    """Name, RSS and PSS of a process in MiB; None when it has gone."""
    try:
        facts = process.memory_full_info()
        name = " ".join(process.cmdline()[1:4])[:40]
    except psutil.Error:
        return None
    return name, facts.rss / 2**20, facts.pss / 2**20


class ScanPlayer(Player):
    """Plays the story on a scan that has no truth: classes are thirds of the seeds by volume."""

    def __init__(self, viewer: Any, ui: Any, screenshots: Path | None) -> None:
        super().__init__(viewer, ui, (), screenshots, 0)
        self.memory = MemoryMeter()

    def step(self, name: str) -> Any:
        """Time one step, and tell the memory meter."""
        self.memory.step = name
        return super().step(name)

    def open_and_split(self, path: Path, dark: bool) -> None:
        """Open a scan, split it, wait for its map."""
        with self.step("open"):
            self.session.import_scan(path)
            hands.wait_until(lambda: self.ui.layers.shown is not None, "the scan")
        self.picture("open")
        with self.step("split"):
            if dark:
                hands.click(self.ui.docks["project"].dark)
            self.button("project", "split")
            hands.wait_until(lambda: self.session.regions(1) is not None, "the seeds", SLOW_S)
        with self.step("embed and map"):
            hands.wait_until(lambda: self.session.layout is not None, "the map", SLOW_S)
        with self.step("umap"):
            hands.wait_until(lambda: self.session.layout.method == "umap", "the UMAP", SLOW_S)
            hands.wait_until(lambda: self.session.queue, "the first suggestions", SLOW_S)
        table = self.session.regions(1)
        rank = np.argsort(np.argsort(table.n_voxels, kind="stable"), kind="stable")
        classes = rank * N_CLASSES // len(rank) + 1
        class_of = dict(zip(table.seed.tolist(), classes.tolist(), strict=True))
        self._match = judge.Match(len(rank), len(rank), 1.0, class_of)
        self.story.values["n_seeds"] = len(table)
        self.story.values["smallest"] = int(table.n_voxels.min())
        self.picture("split")

    def search(self) -> None:
        """Find odd ones, by the button."""
        with self.step("find odd ones"):
            self.button("train", "odd")
            hands.wait_until(lambda: self.session.anomaly is not None, "the heatmap", SLOW_S)
        hands.wait_until(lambda: self.idle("fcdd", "round") and self.session.queue, "the oddest seeds")
        hands.wait_until(lambda: self.ui.layers.find("heat") is not None, "the heatmap on the screen")
        self.ui.raise_dock("train")
        self.picture("odd")

    def answer_and_train(self, n_answers: int) -> None:
        """Answer by keys in labelling mode, then train a small network."""
        with self.step("label"):
            self.ui.raise_dock("labelling")
            hands.press(self.canvas, "k")
            hands.wait_until(lambda: self.session.current_seed is not None, "the first seed")
            for i in range(n_answers):
                self._answer_one(i)
                if i == n_answers - 2:
                    self.picture("labelling")
        self.story.values["answers"] = len(self.session.labels)
        hands.press(self.canvas, "k")
        with self.step("train the network"):
            self.session.train("net", NET)
            self.ui.raise_dock("train")
            hands.wait_until(lambda: any(m.kind == "net" for m in self.session.models), "the network", SLOW_S)
            hands.wait_until(lambda: self.idle("net", "round", "refit"), "the last jobs")
        self.picture("trained")


def play_scan(path: Path, dark: bool, screenshots: Path | None, n_answers: int = 20) -> dict[str, Any]:
    """Play the story on a scan in a window of 1366 × 768; returns what was measured and found."""
    import napari

    from napari_seedlab.ui.docks import open_docks

    if screenshots is not None:
        screenshots.mkdir(parents=True, exist_ok=True)
    viewer = napari.Viewer(title="Seedlab")
    viewer.window._qt_window.resize(1366, 768)
    try:
        with tempfile.TemporaryDirectory(prefix="seedlab-scan-") as folder:
            ui = open_docks(viewer)
            ui.bind(_session(Path(folder) / "scan.seedlab"))
            player = ScanPlayer(viewer, ui, screenshots)
            player.meter.start()
            player.open_and_split(path, dark)
            player.search()
            player.answer_and_train(n_answers)
            player.memory.step = "export"
            player.export(Path(folder) / "export")
            values = {**player.story.values, "manifest": read_json(Path(folder) / "export" / "manifest.json")}
            lateness, memory = player.meter.stop(), player.memory.stop()
            ui.bind(None)
    finally:
        viewer.close()
        hands.breathe()
    answer_ms = float(np.median(player.story.answer_ms or [0.0]))
    values |= {"seconds": player.story.seconds, "answer_ms": answer_ms, "lateness": lateness, **memory}
    return judge.rounded(values, 1)  # type: ignore[no-any-return]


def _session(path: Path) -> Any:
    from napari_seedlab.core import Settings
    from napari_seedlab.jobs import ClusterRunner
    from napari_seedlab.session import Session

    runner = ClusterRunner(Settings())
    session = Session.create(path, runner, Settings())
    runner.start()
    return session


def _bed(folder: Path) -> Path:
    """A bed of balls of different size, as many as the citrus scan has glands."""
    import tifffile

    rng, step, grid = np.random.default_rng(0), 21, (18, 18, 18)
    volume = rng.normal(20, 4, [n * step for n in grid]).astype(np.float32)
    z, y, x = np.ogrid[:step, :step, :step]
    far = np.sqrt((z - 10.0) ** 2 + (y - 10.0) ** 2 + (x - 10.0) ** 2)
    for i in np.ndindex(*grid):
        box = tuple(slice(k * step, (k + 1) * step) for k in i)
        volume[box][far < rng.uniform(1.5, 9.5)] += 140
    path = folder / "bed.tif"
    tifffile.imwrite(path, volume.clip(0, 255).astype(np.uint8))
    return path


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("scan", nargs="?", type=Path, help="a TIFF stack")
    p.add_argument("--dark", action="store_true", help="its objects are darker than their surroundings")
    p.add_argument("--pictures", type=Path, help="folder for pictures of the window")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scan = a.scan or _bed(Path(folder))
        begun = time.perf_counter()
        values = play_scan(scan, a.dark, a.pictures)
        values.pop("manifest")
    line = {"benchmark": "memory", "scan": scan.name, "load1": round(os.getloadavg()[0], 2), **values}
    line |= {"total_s": round(time.perf_counter() - begun), "limit_mib": LIMIT_MIB}
    print(json.dumps(line), flush=True)
    os._exit(0)  # a viewer left open can crash while the interpreter shuts down


if __name__ == "__main__":
    main()
