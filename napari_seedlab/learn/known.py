"""Odd seeds that people already know: answers and painted defects, as an anomaly map learns from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_seedlab import files
from napari_seedlab.imaging.crops import cells_of
from napari_seedlab.learn.crops_io import MARGIN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_seedlab.learn.crops_io import ScanInput, SeedCrops

    Mask = npt.NDArray[np.bool_]

SHARE = 0.1  # of the odd half of a batch, for each known odd seed
MOST = 0.5  # of that half; the rest stays made-up


def known_odd(
    folder: Path,
    scans: Sequence[ScanInput],
    seeds: SeedCrops,
    labels: Mapping[int, int],
    normal_class: int,
) -> dict[int, Mask]:
    """Rows of seeds that are known to be odd, and the cells (*cells) of each where somebody painted why.

    A seed is odd when it was answered as another class than `normal_class`, or when a defect was painted
    in it (``painted-<scan>.npz``, voxel (m, 3) int) and nobody called it normal. Without paint no cell is
    set: then it is known that it is odd, but not where.
    """
    odd = {
        i: np.zeros(seeds.masks.shape[1:], np.bool_)
        for i, seed in enumerate(seeds.seeds.tolist())
        if labels.get(seed, normal_class) != normal_class and seeds.masks[i].any()
    }
    for scan in scans:
        path = folder / f"painted-{scan.scan}.npz"
        if path.is_file():
            voxels = files.load_arrays(path)["voxel"]
            for i, cells in _painted(scan, seeds, voxels).items():
                if i in odd or int(seeds.seeds[i]) not in labels:
                    odd[i] = cells
    return odd


def _painted(scan: ScanInput, seeds: SeedCrops, voxels: npt.NDArray[np.int32]) -> dict[int, Mask]:
    """Rows of a scan's seeds with painted voxels (m, 3) inside, and the cells that hold them."""
    found = {}
    for i in np.flatnonzero(seeds.scans == scan.scan).tolist():
        box = seeds.boxes[i]
        near = voxels[((voxels >= box[:3]) & (voxels < box[3:])).all(1)]
        if not len(near):
            continue
        cells = cells_of(near, box, seeds.masks.shape[1:], MARGIN, scan.voxel_size_um) & seeds.masks[i]
        if cells.any():
            found[i] = cells
    return found


def share_of_known(n_known: int) -> float:
    """Share of the odd half of a batch that is drawn from `n_known` seeds."""
    return min(MOST, SHARE * n_known)
