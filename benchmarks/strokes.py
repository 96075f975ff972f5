# ruff: noqa: E402
"""A brush stroke to a classified slice, against skimage features with a random forest.

Prints one JSON line: seconds of both (interleaved, one thread, features cached), ratio and accuracy.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

if TYPE_CHECKING:
    from collections.abc import Callable

from napari_seedlab.imaging.phantom import DEFAULT_TRAY, make_tray
from napari_seedlab.learn import strokes


def phantom_slice(edge: int) -> tuple[np.ndarray, np.ndarray]:
    """A slice of seeds (edge, edge) and its true tissues."""
    phantom = make_tray(DEFAULT_TRAY.replace(shape=(60, edge, edge), n_seeds=120 * edge * edge // 256**2))
    middle = int(np.argmax([(plane > 0).sum() for plane in phantom.tissues]))
    return phantom.volume[middle].astype(np.float32), phantom.tissues[middle].astype(np.int64)


def timed(call: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    out = call()
    return time.perf_counter() - start, out


def measure(edge: int, n_points: int, repeats: int) -> dict[str, object]:
    """Times and accuracies of both routes on the same strokes."""
    image, truth = phantom_slice(edge)
    rng = np.random.default_rng(0)
    per_class = [rng.choice(np.flatnonzero(truth == c), n_points // 4) for c in np.unique(truth)]
    places = np.concatenate(per_class)
    classes = truth.ravel()[places]
    peer_features = multiscale_basic_features(image / 255, sigma_min=1, sigma_max=8, workers=1)
    flat = peer_features.reshape(-1, peer_features.shape[-1])
    seconds, features = timed(lambda: strokes.slice_features(image))
    head = strokes.fit_head(features.values[:, places[::2]].T, classes[::2])

    def peer() -> np.ndarray:
        forest = RandomForestClassifier(50, max_depth=10, n_jobs=1, random_state=0)
        return forest.fit(flat[places], classes).predict(flat)

    def ours() -> np.ndarray:  # the next stroke: a warm start
        kept = strokes.thinned(classes)
        fitted = strokes.fit_head(
            features.values[:, places[kept]].T.astype(np.float32), classes[kept], 0, head
        )
        return strokes.predict_slice(fitted, features)[0].ravel()

    runs = [(timed(peer), timed(ours)) for _ in range(repeats + 1)][1:]
    theirs, own = ([r[i][0] for r in runs] for i in (0, 1))
    right = [float((runs[0][i][1] == truth.ravel()).mean()) for i in (0, 1)]
    return {
        "benchmark": "strokes",
        "edge": edge,
        "points": len(places),
        "features_s": round(seconds, 4),
        "peer_s": round(statistics.median(theirs), 4),
        "ours_s": round(statistics.median(own), 4),
        "ratio": round(statistics.median(own) / statistics.median(theirs), 3),
        "ratio_of_minima": round(min(own) / min(theirs), 3),
        "target": 0.35,
        "accuracy_peer": round(right[0], 4),
        "accuracy_ours": round(right[1], 4),
        "repeats": repeats,
        "threads": 1,
        "load": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=512)
    parser.add_argument("--points", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    wish = parser.parse_args()
    sys.stdout.write(json.dumps(measure(wish.edge, wish.points, wish.repeats)) + "\n")


if __name__ == "__main__":
    main()
