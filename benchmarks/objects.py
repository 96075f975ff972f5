"""perf P3: features of all seeds, ours with moments and grey values against regionprops_table and cc3d.

Targets: at most 0.25 of regionprops_table and 0.5 of cc3d.statistics; 5,000 seeds at most 1.2 times 1,000;
the box of one edited seed at most 0.01 of all.
"""

from __future__ import annotations

import argparse
import json
import os

import numpy as np
from grains import grains, interleave, ratio

NAMES = ("label", "area", "bbox", "centroid", "intensity_mean", "intensity_max", "intensity_min")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--size", type=int, default=512)
    p.add_argument("--seeds", type=int, default=1000)
    p.add_argument("--more", type=int, default=5000, help="second number of seeds, for growth")
    p.add_argument("--reps", type=int, default=5)
    a = p.parse_args()
    import cc3d
    from skimage.measure import regionprops_table

    from napari_seedlab.imaging import region_statistics, rows_of, warm_up

    warm_up()
    image, labels = grains(a.size, a.seeds)
    table = region_statistics(labels, image)
    peer = regionprops_table(labels, image, properties=NAMES)
    z0, y0, x0, z1, y1, x1 = table["box"][0].tolist()
    crop = labels[z0:z1, y0:y1, x0:x1]
    seconds = interleave(
        {
            "ours": lambda: region_statistics(labels, image),
            "regionprops_table": lambda: regionprops_table(labels, image, properties=NAMES),
            "cc3d": lambda: cc3d.statistics(labels),
            "ours_one_box": lambda: rows_of(crop, [1], (z0, y0, x0)),
        },
        a.reps,
    )
    equal = bool(
        np.array_equal(table["n_voxels"], peer["area"])
        and np.allclose(table["grey_mean"], peer["intensity_mean"])
        and np.array_equal(table["grey_max"], peer["intensity_max"])
    )
    del image, labels
    image, labels = grains(a.size, a.more)
    more = interleave({"ours": lambda: region_statistics(labels, image)}, a.reps)
    line = {
        "benchmark": "P3",
        "options": vars(a),
        "seconds": seconds,
        "seconds_more_seeds": more,
        "ratio_regionprops": ratio(seconds, "ours", "regionprops_table"),
        "ratio_cc3d": ratio(seconds, "ours", "cc3d"),
        "growth": round(more["ours"]["min"] / seconds["ours"]["min"], 3),
        "one_box": round(seconds["ours_one_box"]["min"] / seconds["ours"]["min"], 4),
        "equal_to_peer": equal,
        "targets": {"regionprops": 0.25, "cc3d": 0.5, "growth": 1.2, "one_box": 0.01},
        "cpus": os.cpu_count(),
        "load1": round(os.getloadavg()[0], 2),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
