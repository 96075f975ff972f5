"""perf P7: the first map of many seeds against umap-learn, and new seeds placed against a refit.

Targets: first map at most 0.05 of umap-learn; one per cent of new seeds at most 0.1 of it.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings

import numpy as np
from grains import interleave, ratio


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rows", type=int, default=20000)
    p.add_argument("--features", type=int, default=384)
    p.add_argument("--groups", type=int, default=12)
    p.add_argument("--reps", type=int, default=5)
    a = p.parse_args()
    warnings.simplefilter("ignore")
    import umap

    from napari_seedlab.learn.head import pool_scaler, scaled
    from napari_seedlab.learn.layout import nearest, pca_layout, place_new, umap_layout

    rng = np.random.default_rng(0)
    group = rng.integers(0, a.groups, a.rows)
    centres = rng.normal(0, 0.6, (a.groups, a.features))
    x = (centres[group] + rng.normal(size=(a.rows, a.features))).astype(np.float32)
    new = a.rows // 100
    maps: dict[str, np.ndarray] = {}

    def first_map() -> None:
        maps["first_map"] = pca_layout(scaled(x, *pool_scaler(x)))

    def own_umap() -> None:
        z = scaled(x, *pool_scaler(x)).astype(np.float32)
        maps["umap"] = umap_layout(z, pca_layout(z))

    def peer() -> None:
        maps["umap_learn"] = umap.UMAP(n_neighbors=15, n_jobs=-1).fit_transform(x)

    def placed() -> None:
        maps["placed"] = place_new(x[new:], maps["umap"][new:], x[:new])

    seconds = interleave(
        {"first_map": first_map, "umap": own_umap, "umap_learn": peer, "placed": placed}, a.reps
    )

    def purity(xy: np.ndarray) -> float:
        index, _ = nearest(xy, xy, 11, same=True)
        return round(float((group[index[:, 1:]] == group[:, None]).mean()), 3)

    moved = np.concatenate([maps["placed"], maps["umap"][new:]])
    line = {
        "benchmark": "P7",
        "options": vars(a),
        "seconds": seconds,
        "ratio_first_map": ratio(seconds, "first_map", "umap_learn"),
        "ratio_placed": ratio(seconds, "placed", "umap_learn"),
        "ratio_umap": ratio(seconds, "umap", "umap_learn"),
        "same_group_among_10_nearest": {
            **{n: purity(maps[n]) for n in ("first_map", "umap", "umap_learn")},
            "with_placed": purity(moved),
        },
        "targets": {"first_map": 0.05, "placed": 0.1},
        "cpus": os.cpu_count(),
        "load1": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
