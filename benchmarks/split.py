"""perf P5: split a volume of touching grains, ours against edt + skimage on the same threshold.

Targets: whole chain at most 0.35 of the peer's time and 1.0 of its extra memory, flood alone at most 0.15.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

import numpy as np
from grains import grains, interleave, peak_mib, ratio


def drive(steps: Any) -> Any:
    """Result of a generator."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def agreement(truth: Any, found: Any) -> float:
    """Share of grain voxels in the piece that holds most of their grain."""
    inside = truth > 0
    pair = truth[inside].astype(np.int64) * (int(found.max()) + 1) + found[inside]
    keys, counts = np.unique(pair, return_counts=True)
    best = np.zeros(int(truth.max()) + 1, np.int64)
    np.maximum.at(best, keys // (int(found.max()) + 1), counts)
    return round(float(best.sum() / inside.sum()), 4)


def options() -> argparse.Namespace:
    """What was asked for on the command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--size", type=int, default=256)
    p.add_argument("--seeds", type=int, default=1000)
    p.add_argument("--reps", type=int, default=5)
    return p.parse_args()


def marked(distance: Any, mask: Any, least: int) -> Any:
    """The peer's markers: peaks at least so many voxels apart."""
    from skimage.feature import peak_local_max

    markers = np.zeros(mask.shape, np.int32)
    peaks = peak_local_max(distance, min_distance=least, labels=mask.astype(np.uint8), exclude_border=False)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return markers


def main() -> None:
    a = options()
    import edt
    from skimage.segmentation import watershed

    from napari_seedlab.imaging import SplitRecipe, flood, split, warm_up
    from napari_seedlab.imaging.split import foreground_threshold

    warm_up()
    image, truth = grains(a.size, a.seeds, touch=1.08)
    threshold = foreground_threshold(image, SplitRecipe())
    r = max(2, int(a.size / np.ceil(a.seeds ** (1 / 3)) * 0.2))
    found: dict[str, Any] = {}

    def peer() -> None:
        mask = image > threshold
        distance = edt.edt(mask, parallel=os.cpu_count())
        found["peer"] = watershed(-distance, marked(distance, mask, r), mask=mask)

    def ours() -> None:
        found["ours"] = split(image, SplitRecipe(threshold=threshold))

    mask = image > threshold
    distance = edt.edt(mask)
    drive(
        flood.blur(distance, mask.astype(np.uint8), (1.0, 1.0, 1.0))
    )  # the flood's input, the same for both
    markers = marked(distance, mask, r)

    def flood_ours() -> None:
        basins = drive(flood.ascend(distance))
        root = flood.merge(basins, 0.8, 0.0)
        drive(flood.number(basins, flood.absorb(basins, root, 50), 50))

    memory = {"peer": peak_mib(peer), "ours": peak_mib(ours)}
    seconds = interleave(
        {
            "peer": peer,
            "ours": ours,
            "flood_peer": lambda: watershed(-distance, markers, mask=mask),
            "flood_ours": flood_ours,
        },
        a.reps,
    )
    line = {
        "benchmark": "P5",
        "options": vars(a),
        "seconds": seconds,
        "ratio": ratio(seconds, "ours", "peer"),
        "flood_ratio": ratio(seconds, "flood_ours", "flood_peer"),
        "extra_mib": memory,
        "memory_ratio": round(memory["ours"] / memory["peer"], 3),
        "pieces": {k: int(v.max()) for k, v in found.items()},
        "agreement_with_truth": {k: agreement(truth, v) for k, v in found.items()},
        "targets": {"time": 0.35, "flood": 0.15, "memory": 1.0},
        "cpus": os.cpu_count(),
        "load1": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
