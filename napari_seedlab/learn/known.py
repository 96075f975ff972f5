"""Odd seeds that people already know: answers and painted defects, as an anomaly map learns from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import Progress
from napari_seedlab.imaging.crops import cells_of
from napari_seedlab.learn.crops_io import MARGIN
from napari_seedlab.learn.training import Pace

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
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
) -> Generator[Progress, None, dict[int, Mask]]:
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
            regions = yield from _regions_at(scan, voxels)
            painted = yield from _painted(scan, seeds, voxels, regions)
            for i, cells in painted.items():
                if i in odd or int(seeds.seeds[i]) not in labels:
                    odd[i] = cells
    return odd


def _regions_at(
    scan: ScanInput, voxels: npt.NDArray[np.int32]
) -> Generator[Progress, None, npt.NDArray[np.int32]]:
    """Region (m,) of each of some voxels (m, 3); each chunk of the raster that holds any is read once."""
    found, pace = np.zeros(len(voxels), np.int32), Pace()
    _, chunk = np.unique(voxels // scan.regions.chunks, axis=0, return_inverse=True)
    order = np.argsort(chunk.ravel(), kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(chunk.ravel()[order])) + 1)
    for number, part in enumerate(parts if len(voxels) else []):
        low, high = voxels[part].min(0), voxels[part].max(0) + 1
        block = scan.regions[tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))]
        found[part] = block[tuple((voxels[part] - low).T)]
        if pace.is_due():
            yield Progress(number, len(parts), "Looking up painted defects")
    return found


def _painted(
    scan: ScanInput, seeds: SeedCrops, voxels: npt.NDArray[np.int32], regions: npt.NDArray[np.int32]
) -> Generator[Progress, None, dict[int, Mask]]:
    """Rows of a scan's seeds with painted voxels (m, 3) inside, and the cells that hold them."""
    found = yield from _in_gaps(scan, seeds, voxels[regions == 0])
    order = np.argsort(regions, kind="stable")
    mine = np.flatnonzero(seeds.scans == scan.scan)
    first, last = (np.searchsorted(regions[order], seeds.regions[mine], side) for side in ("left", "right"))
    for k in np.flatnonzero(last > first).tolist():
        i, own = int(mine[k]), voxels[order[first[k] : last[k]]]
        cells = cells_of(own, seeds.boxes[i], seeds.masks.shape[1:], MARGIN, scan.voxel_size_um)
        if (cells & seeds.masks[i]).any():
            found[i] = (cells & seeds.masks[i]) | found.get(i, False)
    return found


def _in_gaps(
    scan: ScanInput, seeds: SeedCrops, voxels: npt.NDArray[np.int32]
) -> Generator[Progress, None, dict[int, Mask]]:
    """Rows of a scan's seeds with voxels of no region (m, 3) in their gaps, and the cells that hold them."""
    found: dict[int, Mask] = {}
    rows, pace = [i for i in seeds.gaps if seeds.scans[i] == scan.scan], Pace()
    if not len(voxels) or not rows:
        return found
    axis = int(np.ptp(voxels, axis=0).argmax())  # along which few voxels are beside a seed
    voxels = voxels[np.argsort(voxels[:, axis], kind="stable")]
    first, last = (np.searchsorted(voxels[:, axis], seeds.boxes[rows, a]) for a in (axis, axis + 3))
    for number, i in enumerate(rows):
        low, high, near = seeds.boxes[i, :3], seeds.boxes[i, 3:], voxels[first[number] : last[number]]
        near = near[((near >= low) & (near < high)).all(1)]
        if len(near):
            cells = cells_of(near, seeds.boxes[i], seeds.masks.shape[1:], MARGIN, scan.voxel_size_um)
            kept = np.zeros_like(cells)
            kept.flat[seeds.gaps[i]] = cells.flat[seeds.gaps[i]]
            if kept.any():
                found[i] = kept
        if pace.is_due():
            yield Progress(number, len(rows), "Looking up painted defects")
    return found


def share_of_known(n_known: int) -> float:
    """Share of the odd half of a batch that is drawn from `n_known` seeds."""
    return min(MOST, SHARE * n_known)
