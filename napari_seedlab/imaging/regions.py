"""What can be counted of labelled regions in one pass: size, place, shape, grey values, overlap."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import InputError, RegionTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_seedlab.imaging.split import Volume

Array = npt.NDArray[Any]
SLAB_VOXELS = 1 << 22
GREY_TYPES = ("uint8", "uint16", "int16", "int32", "float32")


def region_statistics(labels: Volume, image: Volume | None = None) -> dict[str, Array]:
    """Sizes, boxes, moments and grey values of all regions, in one compiled pass.

    Parameters
    ----------
    labels : (z, y, x) integer array
        0 = none; values up to a few million (a row is held for each).
    image : (z, y, x) array, optional
        Grey values; both arrays are read plane by plane and may lie on disk.

    Returns
    -------
    dict
        One row for each label that occurs, ordered by label: ``label`` (n,) int32; ``n_voxels`` (n,) int64;
        ``box`` (n, 6) int32, half-open z0, y0, x0, z1, y1, x1; ``centroid`` (n, 3) float64, voxels;
        ``covariance`` (n, 3, 3) float64, voxels², of the voxel positions; with an image ``grey_min``,
        ``grey_max``, ``grey_mean`` and ``grey_sd`` (n,) float64.
    """
    if image is not None and tuple(image.shape) != tuple(labels.shape):
        raise InputError(
            "image", f"has shape {tuple(image.shape)}, its regions {tuple(labels.shape)}", "Give one grid"
        )
    from napari_seedlab.imaging import kernels
    from napari_seedlab.imaging.flood import n_threads

    n = int(max(_in_stretches(labels, n_threads(), lambda a, b: _greatest(labels, a, b)), default=0))
    threads = max(1, min(n_threads(), 2_000_000 // (n + 1)))

    def add(first: int, last: int) -> tuple[Array, Array, Array]:
        sums, grey = np.zeros((n + 1, 12)), np.full((n + 1, 2), np.inf)
        box = np.full((n + 1, 6), 2**30, np.int32)
        box[:, 3:], grey[:, 1] = -1, -np.inf
        for a, b in _blocks(labels, first, last):
            part = np.ascontiguousarray(labels[a:b])
            kernels.region_sums(part, part if image is None else _greys(image, a, b), a, sums, box, grey)
        return sums, box, grey

    parts = _in_stretches(labels, threads, add)
    sums = np.sum([p[0] for p in parts], 0)
    box = np.concatenate(
        [np.min([p[1][:, :3] for p in parts], 0), np.max([p[1][:, 3:] for p in parts], 0) + 1], 1
    )
    grey = np.stack([np.min([p[2][:, 0] for p in parts], 0), np.max([p[2][:, 1] for p in parts], 0)], 1)
    return _described(sums, box, grey, image is not None)


def _in_stretches(array: Volume, threads: int, work: Callable[[int, int], Any]) -> list[Any]:
    cuts = np.linspace(0, array.shape[0], min(threads, array.shape[0]) + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, cuts[:-1].tolist(), cuts[1:].tolist()))


def _blocks(array: Volume, first: int, last: int) -> list[tuple[int, int]]:
    step = max(1, SLAB_VOXELS // max(1, array.shape[1] * array.shape[2]))
    return [(a, min(a + step, last)) for a in range(first, last, step)]


def _greatest(labels: Volume, first: int, last: int) -> int:
    return max(int(np.max(labels[a:b], initial=0)) for a, b in _blocks(labels, first, last))


def _greys(image: Volume, first: int, last: int) -> Array:
    values = np.ascontiguousarray(image[first:last])
    if values.dtype.name in GREY_TYPES and values.dtype.isnative:
        return values
    return values.astype(np.float64)


def _described(sums: Array, box: Array, grey: Array, with_grey: bool) -> dict[str, Array]:
    label = np.flatnonzero(sums[:, 0])
    sums, box, grey = sums[label], box[label], grey[label]
    count = sums[:, 0]
    mean = sums[:, 1:4] / count[:, None]
    covariance = np.empty((len(label), 3, 3))
    for column, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)), 4):
        covariance[:, i, j] = covariance[:, j, i] = sums[:, column] / count - mean[:, i] * mean[:, j]
    table: dict[str, Array] = {
        "label": label.astype(np.int32),
        "n_voxels": count.astype(np.int64),
        "box": box.astype(np.int32),
        "centroid": mean,
        "covariance": covariance,
    }
    if with_grey:
        grey_mean = sums[:, 10] / count
        variance = np.maximum(sums[:, 11] / count - np.square(grey_mean), 0)
        table |= {
            "grey_min": grey[:, 0],
            "grey_max": grey[:, 1],
            "grey_mean": grey_mean,
            "grey_sd": np.sqrt(variance),
        }
    return table


def region_table(scan_id: int, labels: Volume, first_id: int = 1) -> RegionTable:
    """Return the table of the regions of a raster, seeds not linked yet (0).

    Parameters
    ----------
    scan_id : int
        Scan that the raster belongs to.
    labels : (z, y, x) integer array
        0 = none, 1..n.
    first_id : int
        Region id of label 1; label k gets ``first_id + k - 1``.
    """
    found = region_statistics(labels)
    return RegionTable(
        scan=scan_id,
        region=(found["label"].astype(np.int64) + first_id - 1).astype(np.int32),
        seed=np.zeros(len(found["label"]), np.int64),
        box=found["box"],
        centroid=found["centroid"],
        n_voxels=found["n_voxels"],
    )


def rows_of(labels: Array, ids: npt.ArrayLike, origin: tuple[int, int, int] = (0, 0, 0)) -> dict[str, Array]:
    """Return the table rows of a few regions of a small crop, with numpy alone.

    Parameters
    ----------
    labels : (z, y, x) int32
        Crop of the region raster.
    ids : (n,) int
        Regions to describe; those that do not occur are left out.
    origin : tuple of int
        Where the crop starts in the scan.

    Returns
    -------
    dict
        ``region``, ``box``, ``centroid``, ``n_voxels`` as in :class:`RegionTable`, ordered by region.
    """
    regions, boxes, centroids, counts = [], [], [], []
    for k in np.unique(np.asarray(ids)):
        mask = labels == k
        if k <= 0 or not mask.any():
            continue
        flat = np.add.reduce(mask, 0, np.int32)  # (y, x)
        profiles = (np.add.reduce(mask.view(np.uint8), (1, 2), np.int64), flat.sum(1), flat.sum(0))
        places = [np.flatnonzero(p) for p in profiles]
        count = int(profiles[0].sum())
        low, high = [int(p[0]) for p in places], [int(p[-1]) + 1 for p in places]
        regions.append(int(k))
        boxes.append(np.asarray(low + high) + np.tile(origin, 2))
        centroids.append(
            [float(p @ np.arange(len(p))) / count + o for p, o in zip(profiles, origin, strict=True)]
        )
        counts.append(count)
    n = len(regions)
    return {
        "region": np.asarray(regions, np.int32),
        "box": np.asarray(boxes, np.int32).reshape(n, 6),
        "centroid": np.asarray(centroids, np.float64).reshape(n, 3),
        "n_voxels": np.asarray(counts, np.int64),
    }


def overlaps(old: Volume, new: Volume) -> tuple[Array, Array, Array]:
    """Count the voxels of each pair of labels that meet in two rasters.

    Returns
    -------
    old_label, new_label, n_voxels : (m,) int64
        Pairs in rising order, those with label 0 on one side included.
    """
    if tuple(old.shape) != tuple(new.shape):
        raise InputError(
            "regions", f"have shapes {tuple(old.shape)} and {tuple(new.shape)}", "Split the same scan"
        )
    from napari_seedlab.imaging import kernels
    from napari_seedlab.imaging.flood import hashed, n_threads

    def count(first: int, last: int) -> list[tuple[Array, Array]]:
        found = []
        for z, stop in _blocks(old, first, last):
            a, b = (np.ascontiguousarray(v[z:stop], np.int32) for v in (old, new))
            found.append(hashed(partial(kernels.count_overlaps, a, b), 1024, 1))
        return found

    parts = [p for stretch in _in_stretches(old, n_threads(), count) for p in stretch]
    keys, inverse = np.unique(np.concatenate([k for k, _ in parts]), return_inverse=True)
    counts = np.bincount(inverse, np.concatenate([v[:, 0] for _, v in parts]), len(keys))
    return keys >> 32, keys & 0xFFFFFFFF, counts.astype(np.int64)


def match_regions(old: Volume, new: Volume, least_iou: float = 0.5) -> dict[int, int]:
    """Pair the regions of two rasters of one scan, one to one, so that the sum of overlaps is greatest.

    Parameters
    ----------
    old, new : (z, y, x) integer array
        0 = none.
    least_iou : float
        Least intersection over union of a pair.

    Returns
    -------
    dict
        New label → old label.
    """
    from scipy.optimize import linear_sum_assignment

    a, b, n = overlaps(old, new)
    if not len(n):
        return {}
    size_old, size_new = _totals(a, n), _totals(b, n)
    iou = n / (
        size_old[0][np.searchsorted(size_old[1], a)] + size_new[0][np.searchsorted(size_new[1], b)] - n
    )
    use = (a > 0) & (b > 0) & (iou >= least_iou)
    a, b, iou = a[use], b[use], iou[use]
    # Over one half a pair is the only one for both; the assignment is needed among the others alone.
    sure = iou > 0.5
    pairs = dict(zip(b[sure].tolist(), a[sure].tolist(), strict=True))
    a, b, iou = a[~sure], b[~sure], iou[~sure]
    free = ~np.isin(a, list(pairs.values())) & ~np.isin(b, list(pairs))
    a, b, iou = a[free], b[free], iou[free]
    rows, i = np.unique(a, return_inverse=True)
    columns, j = np.unique(b, return_inverse=True)
    score = np.zeros((len(rows), len(columns)))
    score[i, j] = iou
    for r, c in zip(*linear_sum_assignment(-score), strict=True):
        if score[r, c] > 0:
            pairs[int(columns[c])] = int(rows[r])
    return pairs


def _totals(labels: Array, counts: Array) -> tuple[Array, Array]:
    unique, inverse = np.unique(labels, return_inverse=True)
    return np.bincount(inverse, counts, len(unique)), unique
