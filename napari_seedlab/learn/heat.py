"""What all anomaly methods share: scores of seeds from their heat, and the heatmaps of whole scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab import files
from napari_seedlab.core import JobResult, NotReady, Progress
from napari_seedlab.imaging.crops import uncrop
from napari_seedlab.learn import crops_io
from napari_seedlab.learn.training import Pace

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]
    Members = npt.NDArray[np.int64]

MIN_NORMAL = 8  # seeds without which there is no idea of normal
CHUNK = 64  # voxels per edge of a chunk of the heat raster
LEAST_TOP = 3.0  # heat at the top of the colour scale, at least; 1 is the score of the median seed
MOST_TOP = 6.0  # and at most: beside a hole of air a fine crack would be hardly seen
LEAST_CELLS = 27  # of a crop that something can be learnt from


@dataclass(frozen=True)
class Found:
    """Heat (n, *cells) of the crops, in units of the median score, and the score (n,) of each."""

    heat: npt.NDArray[np.float16]
    score: Float


def scores(heat: npt.NDArray[np.floating], masks: Mask, top: float = 0.01) -> Float:
    """Mean of the hottest `top` share of each seed's own cells: (n,) float32."""
    out = np.zeros(len(heat), np.float32)
    for i, (values, mask) in enumerate(zip(heat, masks, strict=True)):
        inside = values[mask]
        if inside.size:
            n = max(1, round(top * inside.size))
            out[i] = np.partition(inside, inside.size - n)[inside.size - n :].mean()
    return out


def read_teachers(folder: Path) -> set[int] | None:
    """Seeds from which alone a job may learn, as its request says; None where it does not say so."""
    teachers = crops_io.read_request(folder).params.get("teachers")
    return None if teachers is None else set(teachers)


def normal_members(
    seeds: crops_io.SeedCrops, odd: Collection[int], teachers: set[int] | None = None
) -> Members:
    """Rows that may be normal: of no seed with a row in `odd`, and with cells to learn from.

    With `teachers` only rows of these seeds.

    Raises
    ------
    NotReady
        There are fewer than 8.
    """
    may = ~np.isin(seeds.seeds, seeds.seeds[sorted(odd)])
    if teachers is not None:
        may &= np.isin(seeds.seeds, sorted(teachers))
    filled = seeds.masks.reshape(len(seeds), -1).sum(1) >= LEAST_CELLS
    members = np.flatnonzero(may & filled)
    if len(members) < MIN_NORMAL:
        counted = "seed" if len(members) == 1 else "seeds"
        cause = f"{len(members)} {counted} may be normal, {MIN_NORMAL} are needed"
        raise NotReady("anomaly map", cause, "Split or import more seeds")
    return members


def publish(
    folder: Path,
    scans: Sequence[crops_io.ScanInput],
    seeds: crops_io.SeedCrops,
    found: Found,
    values: Mapping[str, Any],
) -> Generator[Progress, None, JobResult]:
    """Write ``scores.npz`` and ``heat-<scan>.zarr``; return them with `values`.

    A seed that several scans show has the greatest of its scores.
    """
    ids = np.unique(seeds.seeds)
    best = np.zeros(len(ids), np.float32)
    np.maximum.at(best, np.searchsorted(ids, seeds.seeds), found.score)
    files.save_arrays(folder / "scores.npz", seed=ids, score=best)
    top = min(max(LEAST_TOP, float(np.quantile(found.score, 0.98))), MOST_TOP)
    names = ["scores.npz"]
    for scan in scans:
        names.append(f"heat-{scan.scan}.zarr")
        yield from _write_heat(folder / names[-1], scan, seeds, found.heat, top)
    told = {
        "scores_min": float(best.min()),
        "scores_max": float(best.max()),
        "scale": [0.0, top],
        "n_seeds": len(best),
        "data_hash": crops_io.data_hash(folder),
    }
    return JobResult({**told, **values}, tuple(names))


def _write_heat(
    path: Path,
    scan: crops_io.ScanInput,
    seeds: crops_io.SeedCrops,
    heat: npt.NDArray[np.float16],
    top: float,
) -> Generator[Progress, None, None]:
    """Write the heat of one scan in slabs of chunks; 255 stands for `top` and above."""
    shape = scan.regions.shape
    temporary = path.with_name(path.name + ".tmp")
    chunks = (min(CHUNK, shape[0]), CHUNK, CHUNK)
    target = files.create_zarr(temporary, shape, chunks, np.uint8, 0, {"scale": [0.0, top]})
    mine = np.flatnonzero(seeds.scans == scan.scan)
    regions = scan.regions if scan.is_flat else crops_io.Slabs(scan.regions, len(mine))
    pace, n_slabs = Pace(), -(-shape[0] // CHUNK)
    for slab in range(n_slabs):
        first, last = slab * CHUNK, min((slab + 1) * CHUNK, shape[0])
        planes = np.zeros((last - first, *shape[1:]), np.uint8)
        for i in mine[(seeds.boxes[mine, 0] < last) & (seeds.boxes[mine, 3] > first)].tolist():
            box = seeds.boxes[i]
            low, high = max(int(box[0]), first), min(int(box[3]), last)
            inside = regions[slice(low, high), slice(*box[1::3]), slice(*box[2::3])] == seeds.regions[i]
            cells = on_walls(heat[i].astype(np.float32), seeds.masks[i], seeds.gaps.get(i))
            full = uncrop(cells, box, crops_io.MARGIN, scan.voxel_size_um)
            _paint(planes[low - first : high - first], inside, full[low - box[0] : high - box[0]], box, top)
            if pace.is_due():
                yield Progress(slab, n_slabs, "Writing heat")
        if planes.any():
            target[first:last] = planes
    files.publish_tree(temporary, path)


def on_walls(heat: Float, mask: Mask, gaps: Members | None) -> Float:
    """Heat (z, y, x) with that of the gaps on the cells of the region around them as well.

    A raster has the heat of regions alone: without this a crack would make a seed odd that shows none.
    Of each gap cell the nearest cell of the region is taken, with its neighbours in the region.

    Parameters
    ----------
    heat : (z, y, x) float32
        One value per cell.
    mask : (z, y, x) bool
        Cells of the seed, gaps included.
    gaps : (m,) int or None
        Flat places of the cells that the region leaves out.
    """
    if gaps is None:
        return heat
    from scipy.ndimage import distance_transform_edt, grey_dilation

    own = mask.copy()
    own.flat[gaps] = False
    if not own.any():
        return heat
    nearest = distance_transform_edt(~own, return_distances=False, return_indices=True)  # (3, z, y, x)
    given = np.zeros_like(heat)
    np.maximum.at(given, tuple(at.ravel()[gaps] for at in nearest), heat.ravel()[gaps])
    return np.where(own, np.maximum(heat, grey_dilation(given, size=3)), heat)


def _paint(
    planes: npt.NDArray[np.uint8], inside: Mask, heat: Float, box: npt.NDArray[np.int32], top: float
) -> None:
    """Put the heat of one seed (z, y, x) where `inside` holds into planes of the raster."""
    grey = np.clip(heat * (255 / top), 1, 255).astype(np.uint8)
    view = planes[:, box[1] : box[4], box[2] : box[5]]
    view[inside] = grey[inside]
