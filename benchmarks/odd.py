"""1,000 seeds of the phantom, 10 % abnormal and 5 % dead: how early these are shown, what scoring costs.

Targets: scoring after the training at most 10 s; twice the planes with the same seeds need at most 1.1 times
the memory. ``found`` tells the share of the abnormal and dead seeds among the first 20 % shown: oddest first
(``anomaly``), in the order in which labelling asks while the truth answers (``queue``; ``queue_blind``
without the anomaly scores), and at random.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import JobRequest, RegionTable
from napari_seedlab.imaging.features import describe_seed, grey_levels, sample_levels
from napari_seedlab.imaging.phantom import POOL_SHARES, Phantom, cut_seeds, make_tray, tray_dials

SHOWN = 0.2
AIR_PLANES = 200  # above the seeds of the scan whose memory is measured


def write_job(folder: Path, phantom: Phantom, random_state: int, planes: int = 0, **settings: Any) -> Path:
    """A job folder that scores the seeds of a phantom under `planes` more planes of air."""
    folder.mkdir(parents=True)
    known = phantom.table
    lift = np.array([planes, 0, 0] * 2, np.int32)
    table = RegionTable(
        1, known.id, known.id.astype(np.int64), known.box + lift, known.centroid + lift[:3], known.n_voxels
    )
    files.save_arrays(folder / "regions-1.npz", **table.columns())
    sources = {}
    for name, array, air in (("image", phantom.volume, 22), ("regions", phantom.instances, 0)):
        path, shape = folder / f"{name}.raw", (planes + array.shape[0], *array.shape[1:])
        with path.open("wb") as f:
            for _ in range(planes):
                np.full(array.shape[1:], air, array.dtype).tofile(f)
            array.tofile(f)
        sources[name] = files.ArraySource(str(path), "raw", shape, ("z", "y", "x"), array.dtype.str).to_json()
    scan = {"scan": 1, "modality": "ct", "voxel_size_um": [1.0] * 3, "table": "regions-1.npz", **sources}
    request = JobRequest("odd", "fcdd", {"scans": [scan], "settings": settings}, random_state=random_state)
    files.write_json(folder / "request.json", request.to_json())
    return folder


def timed(folder: Path) -> dict[str, dict[str, float]]:
    """Run the job; CPU and wall seconds of cutting, learning and scoring (writing the heat included)."""
    from napari_seedlab.learn import fcdd

    spent: dict[str, list[float]] = {}
    job, name = fcdd.run(folder), "cutting"
    before = time.process_time(), time.perf_counter()
    while True:
        try:
            line = next(job).message
        except StopIteration:
            line = "Writing heat"
        name = "learning" if "Learning" in line else "cutting" if "Cutting" in line else "scoring"
        now = time.process_time(), time.perf_counter()
        total = spent.setdefault(name, [0.0, 0.0])
        total[0], total[1] = total[0] + now[0] - before[0], total[1] + now[1] - before[1]
        before = now
        if job.gi_frame is None:
            return {k: {"cpu": round(v[0], 2), "wall": round(v[1], 2)} for k, v in spent.items()}


def vectors_of(phantom: Phantom) -> np.ndarray:
    """Descriptors of all seeds, as labelling rounds get them."""
    crops = [(image, mask) for image, mask, _ in cut_seeds(phantom)]
    levels = grey_levels(sample_levels(image, mask.astype(np.uint8), 1) for image, mask in crops[:100])
    scale = (phantom.dials.voxel_size_um,) * 3
    return np.asarray([describe_seed(image, mask, levels, scale) for image, mask in crops])


def found_early(phantom: Phantom, score: np.ndarray, random_state: int) -> dict[str, dict[str, float]]:
    """Share of odd, abnormal and dead seeds among the first shown, by the way of showing."""
    from napari_seedlab.learn.simulate import Plan, Truth, replay

    class_id = phantom.table.class_id
    truth, n = Truth(vectors_of(phantom), class_id), round(SHOWN * len(class_id))
    shown = {"anomaly": np.argsort(-score, kind="stable")[:n]}
    for name, strategy, anomaly in (
        ("queue", "default", score),
        ("queue_blind", "default", None),
        ("random", "random", None),
    ):
        shown[name] = replay(truth, truth, Plan(strategy, n), random_state, anomaly).asked
    classes = {"odd": class_id != 1, "abnormal": class_id == 2, "dead": class_id == 3}
    return {
        way: {name: round(float(rows[asked].sum() / rows.sum()), 3) for name, rows in classes.items()}
        for way, asked in shown.items()
    }


def measure(n_seeds: int, random_state: int) -> dict[str, Any]:
    """Seconds of the job on one tray, and what its scores find."""
    phantom = make_tray(tray_dials(n_seeds, random_state).replace(shares=POOL_SHARES))
    with tempfile.TemporaryDirectory() as folder:
        job = write_job(Path(folder) / "job", phantom, random_state)
        seconds = timed(job)
        table = files.load_arrays(job / "scores.npz")
        score = table["score"][np.searchsorted(table["seed"], phantom.table.id)]
    return {
        "random_state": random_state,
        "seconds": seconds,
        "found": found_early(phantom, score, random_state),
    }


def peaks(n_seeds: int) -> dict[str, float]:
    """Peak memory of scoring (two steps of training before it) in MiB, of a scan and of one twice as deep."""
    phantom = make_tray(tray_dials(n_seeds, 0).replace(shares=POOL_SHARES))
    found, depth = {}, phantom.dials.shape[0]
    for name, planes in (("once", AIR_PLANES), ("twice", 2 * AIR_PLANES + depth)):
        with tempfile.TemporaryDirectory() as folder:
            job = write_job(Path(folder) / "job", phantom, 0, planes, n_steps=2, n_fits=1)
            command = [sys.executable, __file__, "--peak-of", str(job)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[name] = float(told.split()[-1])
    voxels = (AIR_PLANES + depth) * phantom.volume[0].size
    return {**found, "ratio": round(found["twice"] / found["once"], 3), "megavoxels": round(voxels / 1e6)}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seeds", type=int, default=1000)
    p.add_argument("--random-states", type=int, nargs="*", default=[0, 1, 2])
    p.add_argument("--no-memory", action="store_true")
    p.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.peak_of:
        timed(a.peak_of)
        lines = Path("/proc/self/status").read_text().splitlines()  # ru_maxrss would count the parent's
        print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")))
        return
    line: dict[str, Any] = {
        "benchmark": "odd",
        "seeds": a.seeds,
        "runs": [measure(a.seeds, state) for state in a.random_states],
        "targets": {"scoring_s": 10, "memory_ratio": 1.1},
        "cpus": os.cpu_count(),
        "load1": round(os.getloadavg()[0], 2),
    }
    if not a.no_memory:
        line["memory_mib"] = peaks(a.seeds)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
