"""perf P4: one answer, then all seeds classified and coloured anew, against a forest and a volume lookup.

Ours fits the head with its cross-validated temperature, predicts every seed and colours the visible slice
through a table by region id; `whole_round` chooses the next suggestions as well. Target: at most 0.3.
"""

from __future__ import annotations

import argparse
import json
import os

import numpy as np
from grains import interleave, ratio


def options() -> argparse.Namespace:
    """What was asked for on the command line."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--size", type=int, default=512)
    p.add_argument("--seeds", type=int, default=5000)
    p.add_argument("--answers", type=int, default=200)
    p.add_argument("--features", type=int, default=110)
    p.add_argument("--reps", type=int, default=5)
    return p.parse_args()


def regions_of(size: int, n_seeds: int) -> np.ndarray:
    """Region ids of boxes that fill a volume, (size, size, size) int32."""
    cell = int(np.floor(size / np.ceil(n_seeds ** (1 / 3))))
    place = np.minimum(np.arange(size) // cell, size // cell - 1).astype(np.int32)
    n = int(place[-1]) + 1
    regions = (place[:, None, None] * n + place[None, :, None]) * n + place + 1
    return np.minimum(regions, n_seeds).astype(np.int32)


def main() -> None:
    a = options()
    from sklearn.ensemble import RandomForestClassifier

    from napari_seedlab.learn.calibration import balanced_accuracy
    from napari_seedlab.learn.head import fit_calibrated, pool_scaler
    from napari_seedlab.learn.round import Answers, RoundSettings, labelling_round

    rng = np.random.default_rng(0)
    truth = rng.integers(1, 5, a.seeds)
    centres = rng.normal(0, 0.45, (5, a.features))
    vectors = (centres[truth] + rng.normal(size=(a.seeds, a.features))).astype(np.float32)
    regions = regions_of(a.size, a.seeds)
    volume = np.empty(regions.shape, np.uint8)
    k = a.answers
    seeds = np.arange(a.seeds, dtype=np.int64)
    answers = Answers(seeds[:k], truth[:k].astype(np.int32), np.full(k, 0.1))
    shown: dict[str, np.ndarray] = {}

    def table(classes: np.ndarray) -> np.ndarray:
        return np.concatenate([[0], classes]).astype(np.uint8)

    def ours() -> None:
        head, _ = fit_calibrated(
            vectors[:k], answers.class_id, answers.inclusion_p, (1, 2, 3, 4), pool_scaler(vectors), 0
        )
        shown["ours"] = head.probabilities(vectors).argmax(1) + 1
        table(shown["ours"])[regions[a.size // 2]]

    def forest() -> None:
        fit = RandomForestClassifier(100, random_state=0).fit(vectors[:k], truth[:k])
        shown["forest"] = fit.predict(vectors)
        np.take(table(shown["forest"]), regions, out=volume, mode="clip")

    settings = RoundSettings((1, 2, 3, 4))
    seconds = interleave(
        {
            "ours": ours,
            "forest": forest,
            "whole_round": lambda: labelling_round(seeds, vectors, answers, settings),
        },
        a.reps,
    )
    fresh = slice(k, None)
    line = {
        "benchmark": "P4",
        "options": vars(a),
        "seconds": seconds,
        "ratio": ratio(seconds, "ours", "forest"),
        "balanced_accuracy": {
            n: round(balanced_accuracy(truth[fresh], c[fresh]), 3) for n, c in shown.items()
        },
        "targets": {"ratio": 0.3},
        "cpus": os.cpu_count(),
        "load1": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
