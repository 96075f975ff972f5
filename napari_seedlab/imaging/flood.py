"""Fill, distance and flood of a mask, slab by slab with a chance to stop in between.

Each function is a generator that yields between two slabs of work (a fraction of a second each) and returns
its result; closing it stops the work after the slabs that are under way. Threads run the slabs; the compiled
loops in :mod:`napari_seedlab.imaging.kernels` release the GIL.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Steps = Generator[None, None, None]
SLAB_VOXELS = 1 << 21  # of one task: about 0.1 s of the slowest kernel
PATIENCE = 0.25  # s


def n_threads() -> int:
    """CPUs that this process may use, at most 16."""
    usable = getattr(os, "sched_getaffinity", None)
    return min(16, len(usable(0)) if usable else os.cpu_count() or 1)


def slabs(n: int, voxels_each: int) -> list[tuple[int, int]]:
    """Cut `n` planes of `voxels_each` voxels into half-open stretches of about ``SLAB_VOXELS``."""
    step = max(1, min(SLAB_VOXELS // max(1, voxels_each), -(-n // n_threads())))
    return [(i, min(i + step, n)) for i in range(0, n, step)]


def in_slabs(work: Callable[[int, int], object], n: int, voxels_each: int) -> Steps:
    """Call ``work(first, last)`` for all slabs on threads; yield at each one's end and every ``PATIENCE``."""
    pieces = iter(slabs(n, voxels_each))
    pool = ThreadPoolExecutor(n_threads())
    try:
        running = {pool.submit(work, *s) for _, s in zip(range(n_threads()), pieces, strict=False)}
        while running:
            done, running = wait(running, PATIENCE, FIRST_COMPLETED)
            for future in done:
                future.result()
                following = next(pieces, None)
                if following is not None:
                    running.add(pool.submit(work, *following))
            yield
    finally:
        # What is under way (at its first call that may be a compilation) ends by itself and is not waited
        # for.
        pool.shutdown(wait=False, cancel_futures=True)


def fill_voids(
    shell: Array, limits: tuple[float, float], mask: Array | None = None
) -> Generator[None, None, int]:
    """Fill background that is enclosed by foreground.

    Enclosed = no path by voxel faces to the border of the volume (in a single plane: of the plane).

    Parameters
    ----------
    shell : (z, y, x) uint8
        0 or 1: what encloses.
    limits : tuple of float
        Least and greatest void to fill, in voxels.
    mask : (z, y, x) uint8, optional
        Where the voids are set to 1; `shell` itself if not given.

    Returns
    -------
    int
        Voxels filled.
    """
    from napari_seedlab.imaging import kernels

    n_z, n_y, n_x = shell.shape
    counts = np.zeros((n_z, n_y), np.int64)
    yield from in_slabs(lambda a, b: kernels.count_runs(shell, 0, a, b, counts), n_z, n_y * n_x)
    offsets = np.zeros(n_z * n_y + 1, np.int64)
    np.cumsum(counts.reshape(-1), out=offsets[1:])
    runs = np.empty((int(offsets[-1]), 2), np.int32)
    yield from in_slabs(lambda a, b: kernels.list_runs(shell, 0, a, b, offsets, runs), n_z, n_y * n_x)
    parent = np.arange(len(runs), dtype=np.int64)
    for first, last in slabs(n_z, n_y * n_x):
        kernels.join_runs(runs, offsets, first, last, n_y, parent)
        yield
    sizes = np.zeros(len(runs), np.int64)
    kernels.measure_voids(runs, offsets, (n_z, n_y, n_x), parent, sizes)
    yield
    target = shell if mask is None else mask
    least, greatest = limits
    return int(kernels.fill_runs(target, runs, offsets, parent, sizes, (float(least), float(greatest))))


def distance(
    mask: Array, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> Generator[None, None, tuple[Array, float]]:
    """Exact Euclidean distance of each foreground voxel to the background.

    Source: Felzenszwalb & Huttenlocher 2012, applied to each stretch of foreground by itself.

    Parameters
    ----------
    mask : (z, y, x) uint8
        What lies outside the volume does not count as background.
    spacing : tuple of float
        Voxel edges along z, y, x; the distances have the same unit.

    Returns
    -------
    distances : (z, y, x) float32
        0 on background.
    radius : float
        Typical radius of the objects. In a ball of radius R the mean of d is R/4 and of d² is R²/10 (in a
        disc R/3 and R²/6), so R = 2.5 (2) times the ratio of sums: big objects count more, specks hardly.
    """
    from napari_seedlab.imaging import kernels

    n_z, n_y, n_x = mask.shape
    weights = np.square(np.asarray(spacing, np.float64))
    out = np.empty(mask.shape, np.float32)
    yield from in_slabs(lambda a, b: kernels.distance_planes(mask, a, b, weights, out), n_z, n_y * n_x)
    total, lock = np.zeros(3), threading.Lock()

    def columns(first: int, last: int) -> None:
        sums = np.zeros(3)
        kernels.distance_columns(out, first, last, float(weights[0]), sums)
        with lock:
            total[:] += sums

    yield from in_slabs(columns, n_y, n_z * n_x)
    factor = 2.0 if n_z == 1 else 2.5
    return out, factor * float(total[2] / total[1]) if total[1] > 0 else 0.0


def blur(values: Array, mask: Array, sigma: tuple[float, float, float]) -> Steps:
    """Gaussian of `values` (z, y, x) float32 in place, 0 where `mask` is 0.

    Parameters
    ----------
    values : (z, y, x) float32
        Written.
    mask : (z, y, x) uint8
        0 = outside.
    sigma : tuple of float
        In voxels along z, y, x; 0 leaves an axis alone.
    """
    from napari_seedlab.imaging import kernels

    n_z, n_y, n_x = values.shape
    kz, ky, kx = (_half_gaussian(s) for s in sigma)
    if n_z > 1 and kz.size > 1:
        yield from in_slabs(lambda a, b: kernels.blur_columns(values, a, b, kz), n_y, n_z * n_x)
    yield from in_slabs(lambda a, b: kernels.blur_planes(values, mask, a, b, ky, kx), n_z, n_y * n_x)


def _half_gaussian(sigma: float) -> npt.NDArray[np.float32]:
    if sigma <= 0:
        return np.ones(1, np.float32)
    k = np.exp(-0.5 * np.square(np.arange(int(3 * sigma + 0.5) + 1) / sigma))
    half: npt.NDArray[np.float32] = (k / (2 * k.sum() - k[0])).astype(np.float32)
    return half


@dataclass(frozen=True)
class Basins:
    """Basins of steepest ascent of a height map, and the passes between them.

    Attributes
    ----------
    labels : (z, y, x) int32
        Minus basin number, 1 to n, in raster order of the summits; 0 on background.
    peaks : (n + 1,) float32
        Height of each summit.
    sizes : (n + 1,) int64
        Voxels.
    edges : (m, 2) int64
        Pairs of basins that touch, by falling pass.
    passes : (m,) float32
        Greatest height on their border (the lower of two neighbours).
    contacts : (m,) int64
        Pairs of neighbouring voxels across the border.
    """

    labels: Array
    peaks: Array
    sizes: Array
    edges: Array
    passes: Array
    contacts: Array


def ascend(height: Array) -> Generator[None, None, Basins]:
    """Send each voxel of `height` (z, y, x) float32 > 0 up its steepest slope, through 26 neighbours."""
    from napari_seedlab.imaging import kernels

    n_z, n_y, n_x = height.shape
    area = n_y * n_x
    top = np.zeros(height.shape, np.int32)
    yield from in_slabs(lambda a, b: kernels.climb(height, a, b, top), n_z, area)
    counts = np.zeros(n_z, np.int64)

    def count(first: int, last: int) -> None:
        for z in range(first, last):
            counts[z] = kernels.count_summits(top, z, z + 1)

    yield from in_slabs(count, n_z, area)
    starts = np.concatenate([[0], np.cumsum(counts)]) + 1
    peaks = np.zeros(int(starts[-1]), np.float32)
    yield from in_slabs(
        lambda a, b: kernels.number_summits(top, height, a, b, int(starts[a]), peaks), n_z, area
    )
    sizes, lock = np.zeros(len(peaks), np.int64), threading.Lock()

    def spread(first: int, last: int) -> None:
        part = np.zeros(len(peaks), np.int64)
        kernels.spread_numbers(top, first, last, part)
        with lock:
            sizes[:] += part

    yield from in_slabs(spread, n_z, area)
    edges, values = yield from _passes(top, height, len(peaks))
    order = np.lexsort((edges[:, 1], edges[:, 0], -values[:, 0]))
    sizes[0] = 0
    return Basins(
        top,
        peaks,
        sizes,
        edges[order],
        values[order, 0].astype(np.float32),
        values[order, 1].astype(np.int64),
    )


def _passes(top: Array, height: Array, n: int) -> Generator[None, None, tuple[Array, Array]]:
    from napari_seedlab.imaging import kernels

    found: list[tuple[Array, Array]] = []

    def one(first: int, last: int) -> None:
        found.append(hashed(lambda k, v: kernels.find_passes(top, height, first, last, k, v), n // 4, 2))

    yield from in_slabs(one, top.shape[0], top.shape[1] * top.shape[2])
    keys = np.concatenate([k for k, _ in found])
    values = np.concatenate([v for _, v in found])
    unique, inverse = np.unique(keys, return_inverse=True)
    joined = np.zeros((len(unique), 2))
    np.maximum.at(joined[:, 0], inverse, values[:, 0])
    joined[:, 1] = np.bincount(inverse, values[:, 1], len(unique))
    return np.stack([unique >> 32, unique & 0xFFFFFFFF], 1), joined


def hashed(fill: Callable[[Array, Array], int], guess: int, width: int) -> tuple[Array, Array]:
    """Fill a hash table of pairs, a larger one each time that it proves too small; return the used rows."""
    size = 1 << max(10, int(guess).bit_length())
    while True:
        keys, values = np.full(size, -1, np.int64), np.zeros((size, width))
        if fill(keys, values) >= 0:
            used = keys >= 0
            return keys[used], values[used]
        size *= 4


def merge(basins: Basins, depth: float, share: float) -> npt.NDArray[np.int64]:
    """Root basin (n + 1,) of each basin after joining those whose peak is not deep enough.

    A basin survives when its peak rises at least ``max(depth, share · peak)`` above the pass to a higher
    one: the h-maxima of the map, found by persistence without a reconstruction.
    """
    from napari_seedlab.imaging import kernels

    parent = np.arange(len(basins.peaks), dtype=np.int64)
    peaks = basins.peaks.copy()
    kernels.merge_basins(basins.edges, basins.passes, peaks, float(depth), float(share), parent)
    return _roots(parent)


def absorb(basins: Basins, root: npt.NDArray[np.int64], least: float) -> npt.NDArray[np.int64]:
    """Give each joined basin of under `least` voxels to the larger neighbour it shares most border with."""
    sizes = np.bincount(root, basins.sizes, len(root))
    a, b = root[basins.edges[:, 0]], root[basins.edges[:, 1]]
    small_first = sizes[a] < sizes[b]
    small, large = np.where(small_first, a, b), np.where(small_first, b, a)
    use = (small != large) & (sizes[small] < least) & (sizes[large] >= least)
    small, large, contacts = small[use], large[use], basins.contacts[use]
    pairs, inverse = np.unique(np.stack([small, large], 1), axis=0, return_inverse=True)
    if not len(pairs):
        return root
    border = np.bincount(inverse.reshape(-1), contacts, len(pairs))
    parent = np.arange(len(root), dtype=np.int64)
    order = np.argsort(border, kind="stable")
    parent[pairs[order, 0]] = pairs[order, 1]
    return _roots(parent)[root]


def _roots(parent: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    while True:
        above = parent[parent]
        if np.array_equal(above, parent):
            return parent
        parent = above


def number(basins: Basins, root: npt.NDArray[np.int64], least: float) -> Generator[None, None, int]:
    """Turn ``basins.labels`` in place into 1..n by position of the summit; drop what is under `least` voxels.

    Returns
    -------
    int
        n.
    """
    from napari_seedlab.imaging import kernels

    sizes = np.bincount(root, basins.sizes, len(root))
    kept = np.flatnonzero((sizes >= max(least, 1)) & (np.arange(len(root)) > 0))
    table = np.zeros(len(root), np.int32)
    table[kept] = np.arange(1, len(kept) + 1)
    table = table[root]
    labels = basins.labels
    yield from in_slabs(
        lambda a, b: kernels.relabel(labels, a, b, table), labels.shape[0], labels.shape[1] * labels.shape[2]
    )
    return len(kept)
