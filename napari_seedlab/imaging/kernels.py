"""Compiled loops over the voxels of a volume, one slab of it per call.

Each kernel releases the GIL and writes only what its slab owns (or, in :func:`climb`, values that do not
depend on who writes them), so that plain threads run them side by side and a caller can stop between two
slabs. Machine code is kept in ``NUMBA_CACHE_DIR`` or, when that is not set, in the user's cache folder.
Import this module inside functions: it imports numba.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

_CACHE = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or os.path.expanduser("~/.cache")
os.environ.setdefault("NUMBA_CACHE_DIR", os.path.join(_CACHE, "napari-seedlab", "numba"))
import numba  # noqa: E402  (reads its cache folder from the environment when imported)

Array = npt.NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])
FAR = np.float32(1e18)  # squared distance where a line meets no background


def compiled(function: F) -> F:
    """Return `function` compiled at its first call, kept on disk, running without the GIL."""
    return cast("F", numba.njit(nogil=True, cache=True)(function))


@compiled
def count_runs(mask: Array, value: int, first: int, last: int, counts: Array) -> None:
    """Count the runs of `value` in each row of planes first..last of `mask` (z, y, x), into `counts`."""
    for z in range(first, last):
        for y in range(mask.shape[1]):
            n, before = 0, False
            for x in range(mask.shape[2]):
                here = mask[z, y, x] == value
                if here and not before:
                    n += 1
                before = here
            counts[z, y] = n


@compiled
def list_runs(mask: Array, value: int, first: int, last: int, offsets: Array, runs: Array) -> None:
    """Write the half-open runs of `value` into `runs` (n, 2), row by row at `offsets` (z·y + 1)."""
    n_y, n_x = mask.shape[1], mask.shape[2]
    for z in range(first, last):
        for y in range(n_y):
            k, start = offsets[z * n_y + y], -1
            for x in range(n_x):
                if mask[z, y, x] == value:
                    if start < 0:
                        start = x
                elif start >= 0:
                    runs[k, 0], runs[k, 1] = start, x
                    k, start = k + 1, -1
            if start >= 0:
                runs[k, 0], runs[k, 1] = start, n_x


@compiled
def find(parent: Array, i: int) -> int:
    """Root of `i`; halves the path on the way."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def _join_rows(runs: Array, parent: Array, a: int, a_end: int, b: int, b_end: int) -> None:
    while a < a_end and b < b_end:
        if runs[a, 0] < runs[b, 1] and runs[b, 0] < runs[a, 1]:
            ra, rb = find(parent, a), find(parent, b)
            if ra < rb:
                parent[rb] = ra
            else:
                parent[ra] = rb
        if runs[a, 1] < runs[b, 1]:
            a += 1
        else:
            b += 1


@compiled
def join_runs(runs: Array, offsets: Array, first: int, last: int, n_y: int, parent: Array) -> None:
    """Join the runs of planes first..last with those that touch them by a face (union of sets)."""
    for z in range(first, last):
        for y in range(n_y):
            row = z * n_y + y
            if y > 0:
                _join_rows(runs, parent, offsets[row], offsets[row + 1], offsets[row - 1], offsets[row])
            if z > 0:
                up = row - n_y
                _join_rows(runs, parent, offsets[row], offsets[row + 1], offsets[up], offsets[up + 1])


@compiled
def measure_voids(
    runs: Array, offsets: Array, shape: tuple[int, int, int], parent: Array, sizes: Array
) -> None:
    """Sum the voxels of each set of runs at its root; a set that meets the border gets a huge size."""
    n_z, n_y, n_x = shape
    for z in range(n_z):
        for y in range(n_y):
            row = z * n_y + y
            edge = y == 0 or y == n_y - 1 or (n_z > 1 and (z == 0 or z == n_z - 1))
            for k in range(offsets[row], offsets[row + 1]):
                root = find(parent, k)
                sizes[root] += runs[k, 1] - runs[k, 0]
                if edge or runs[k, 0] == 0 or runs[k, 1] == n_x:
                    sizes[root] |= 1 << 60


@compiled
def fill_runs(
    mask: Array, runs: Array, offsets: Array, parent: Array, sizes: Array, limits: tuple[float, float]
) -> int:
    """Set the runs whose set has a size within `limits` in `mask`; return the number of voxels set."""
    n_y, filled = mask.shape[1], 0
    for row in range(offsets.size - 1):
        z, y = row // n_y, row % n_y
        for k in range(offsets[row], offsets[row + 1]):
            if limits[0] <= sizes[find(parent, k)] <= limits[1]:
                for x in range(runs[k, 0], runs[k, 1]):
                    mask[z, y, x] = 1
                filled += runs[k, 1] - runs[k, 0]
    return filled


@compiled
def _envelope(line: Array, n: int, weight: float, apex: Array, meet: Array, out: Array) -> None:
    # Lower envelope of parabolas: Felzenszwalb & Huttenlocher 2012, Theory of Computing 8, algorithm 1.
    k = -1
    for q in range(n):
        if line[q] >= FAR:
            continue
        s = -1e30
        while k >= 0:
            p = apex[k]
            s = ((line[q] + weight * q * q) - (line[p] + weight * p * p)) / (2.0 * weight * (q - p))
            if s > meet[k]:
                break
            k -= 1
            s = -1e30
        k += 1
        apex[k], meet[k] = q, s
    if k < 0:
        out[:n] = FAR
        return
    j = 0
    for q in range(n):
        while j < k and meet[j + 1] < q:
            j += 1
        d = q - apex[j]
        out[q] = line[apex[j]] + weight * d * d


@compiled
def _along(values: Array, n: int, weight: float, line: Array, apex: Array, meet: Array, out: Array) -> None:
    # One line in place, stretch by stretch of foreground (> 0): nothing beyond its two background ends
    # counts.
    i = 0
    while i < n:
        if values[i] <= 0:
            i += 1
            continue
        start = i
        while i < n and values[i] > 0:
            i += 1
        m = i - start + 2
        line[0] = 0.0 if start > 0 else FAR
        line[1 : m - 1] = values[start:i]
        line[m - 1] = 0.0 if i < n else FAR
        _envelope(line, m, weight, apex, meet, out)
        values[start:i] = out[1 : m - 1]


@compiled
def distance_planes(mask: Array, first: int, last: int, weights: Array, squared: Array) -> None:
    """Squared distance to background inside each plane.

    Parameters
    ----------
    mask : (z, y, x) uint8
        Foreground > 0.
    first, last : int
        Planes to do.
    weights : (3,) float64
        Squared voxel edges along z, y, x.
    squared : (z, y, x) float32
        Written; 0 on background. What lies outside the volume does not count as background.
    """
    n_y, n_x = mask.shape[1], mask.shape[2]
    n = n_y + 2
    line, apex, meet, out = np.empty(n), np.empty(n, np.int64), np.empty(n), np.empty(n)
    column = np.empty(n_y)
    for z in range(first, last):
        plane = squared[z]
        for y in range(n_y):
            run = FAR
            for x in range(n_x):
                run = np.float32(0) if mask[z, y, x] == 0 else (run + np.float32(1) if run < FAR else FAR)
                plane[y, x] = run
            run = FAR
            for x in range(n_x - 1, -1, -1):
                run = np.float32(0) if mask[z, y, x] == 0 else (run + np.float32(1) if run < FAR else FAR)
                d = min(run, plane[y, x])
                plane[y, x] = d * d * weights[2] if d < FAR else FAR
        for x in range(n_x):
            column[:] = plane[:, x]
            _along(column, n_y, weights[1], line, apex, meet, out)
            plane[:, x] = column


@compiled
def distance_columns(squared: Array, first: int, last: int, weight: float, sums: Array) -> None:
    """Finish :func:`distance_planes` along z for rows first..last: distances, in place.

    `sums` (3,) float64 receives the count, the sum and the sum of squares of the distances.
    """
    n_z, n_x = squared.shape[0], squared.shape[2]
    n = n_z + 2
    line, apex, meet, out = np.empty(n), np.empty(n, np.int64), np.empty(n), np.empty(n)
    block = np.empty((n_x, n_z))
    for y in range(first, last):
        for z in range(n_z):
            for x in range(n_x):
                block[x, z] = squared[z, y, x]
        if n_z > 1:
            for x in range(n_x):
                _along(block[x], n_z, weight, line, apex, meet, out)
        for z in range(n_z):
            for x in range(n_x):
                d = block[x, z]
                if d >= FAR:
                    d = 0.0
                if d > 0:
                    sums[0] += 1
                    sums[1] += np.sqrt(d)
                    sums[2] += d
                squared[z, y, x] = np.float32(np.sqrt(d))


@compiled
def _blur_rows(block: Array, weights: Array, padded: Array, out: Array) -> None:
    # Along axis 0 of (n, m), ends repeated; `padded` has n + 2 r rows.
    n, r = block.shape[0], weights.size - 1
    for i in range(n + 2 * r):
        padded[i] = block[min(max(i - r, 0), n - 1)]
    for i in range(n):
        row = out[i]
        centre = padded[i + r]
        for x in range(row.size):
            row[x] = weights[0] * centre[x]
        for k in range(1, r + 1):
            a, b, w = padded[i + r - k], padded[i + r + k], weights[k]
            for x in range(row.size):
                row[x] += w * (a[x] + b[x])


@compiled
def blur_planes(
    values: Array, mask: Array, first: int, last: int, weights_y: Array, weights_x: Array
) -> None:
    """Gaussian along y and x of planes first..last of `values` float32, in place; 0 where `mask` is."""
    n_y, n_x = values.shape[1], values.shape[2]
    pad_y = np.empty((n_y + 2 * weights_y.size, n_x), np.float32)
    pad_x = np.empty((n_x + 2 * weights_x.size, n_y), np.float32)
    half, turned, done = (
        np.empty((n_y, n_x), np.float32),
        np.empty((n_x, n_y), np.float32),
        np.empty((n_x, n_y), np.float32),
    )
    for z in range(first, last):
        _blur_rows(values[z], weights_y, pad_y, half)
        for y in range(n_y):
            for x in range(n_x):
                turned[x, y] = half[y, x]
        _blur_rows(turned, weights_x, pad_x, done)
        for y in range(n_y):
            for x in range(n_x):
                values[z, y, x] = done[x, y] if mask[z, y, x] else np.float32(0)


@compiled
def blur_columns(values: Array, first: int, last: int, weights: Array) -> None:
    """Gaussian along z of rows first..last of `values` (z, y, x) float32, in place."""
    n_z, n_x = values.shape[0], values.shape[2]
    padded, out = np.empty((n_z + 2 * weights.size, n_x), np.float32), np.empty((n_z, n_x), np.float32)
    for y in range(first, last):
        _blur_rows(values[:, y], weights, padded, out)
        values[:, y] = out


@compiled
def _uphill(height: Array, z: int, y: int, x: int) -> tuple[int, int, int]:
    # The highest of the 26 neighbours, or the voxel itself; equal heights count as higher to the front.
    n_z, n_y, n_x = height.shape
    best, bz, by, bx = height[z, y, x], z, y, x
    for p in range(max(z - 1, 0), min(z + 2, n_z)):
        for q in range(max(y - 1, 0), min(y + 2, n_y)):
            for r in range(max(x - 1, 0), min(x + 2, n_x)):
                h = height[p, q, r]
                if h > best:
                    best, bz, by, bx = h, p, q, r
                elif h == best and (p, q, r) < (bz, by, bx):
                    bz, by, bx = p, q, r
    return bz, by, bx


@compiled
def climb(height: Array, first: int, last: int, top: Array) -> None:
    """Write into `top` the flat index + 1 of the summit above each voxel of planes first..last.

    Steepest ascent; a path stops at the first voxel whose summit is known and then labels all of itself, so
    each voxel's neighbours are read about once. Two threads that walk one path write the same numbers.

    Parameters
    ----------
    height : (z, y, x) float32
        > 0 on foreground.
    first, last : int
        Planes to do.
    top : (z, y, x) int32
        Zero at the start; background stays 0.
    """
    n_y, n_x = height.shape[1], height.shape[2]
    path = np.empty((4096, 3), np.int32)
    for z0 in range(first, last):
        for y0 in range(n_y):
            for x0 in range(n_x):
                if height[z0, y0, x0] <= 0 or top[z0, y0, x0] != 0:
                    continue
                z, y, x, n, summit = z0, y0, x0, 0, 0
                while summit == 0:
                    if n < path.shape[0]:
                        path[n, 0], path[n, 1], path[n, 2] = z, y, x
                        n += 1
                    p, q, r = _uphill(height, z, y, x)
                    if p == z and q == y and r == x:
                        summit = (z * n_y + y) * n_x + x + 1
                    else:
                        z, y, x = p, q, r
                        summit = top[z, y, x]
                for i in range(n):
                    top[path[i, 0], path[i, 1], path[i, 2]] = summit


@compiled
def count_summits(top: Array, first: int, last: int) -> int:
    """Number of voxels in planes first..last that are their own summit."""
    n, plane = 0, top.shape[1] * top.shape[2]
    for z in range(first, last):
        i = z * plane
        for y in range(top.shape[1]):
            for x in range(top.shape[2]):
                i += 1
                n += top[z, y, x] == i
    return n


@compiled
def number_summits(top: Array, height: Array, first: int, last: int, number: int, peaks: Array) -> None:
    """Replace `top` at each summit by minus its number, from `number` on; store its height in `peaks`."""
    plane = top.shape[1] * top.shape[2]
    for z in range(first, last):
        i = z * plane
        for y in range(top.shape[1]):
            for x in range(top.shape[2]):
                i += 1
                if top[z, y, x] == i:
                    top[z, y, x] = -number
                    peaks[number] = height[z, y, x]
                    number += 1


@compiled
def spread_numbers(top: Array, first: int, last: int, sizes: Array) -> None:
    """Replace flat indices in `top` by minus their summit's number; count the voxels of each in `sizes`."""
    flat = top.reshape(-1)
    plane = top.shape[1] * top.shape[2]
    for i in range(first * plane, last * plane):
        t = flat[i]
        if t > 0:
            t = flat[t - 1]
            flat[i] = t
        sizes[-t] += 1


@compiled
def relabel(labels: Array, first: int, last: int, table: Array) -> None:
    """Replace minus basin numbers in planes first..last by ``table[basin]``."""
    for z in range(first, last):
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                k = labels[z, y, x]
                if k != 0:
                    labels[z, y, x] = table[-k]


@compiled
def _slot(keys: Array, key: int) -> int:
    # Open addressing in a table whose length is a power of two; -1 marks a free slot.
    wrap = keys.size - 1
    i = ((key * 0x9E3779B97F4A7C1) >> 20) & wrap
    while keys[i] != -1 and keys[i] != key:
        i = (i + 1) & wrap
    return i


@compiled
def find_passes(top: Array, height: Array, first: int, last: int, keys: Array, values: Array) -> int:
    """Find the highest pass between each two basins that touch in planes first..last.

    Parameters
    ----------
    top : (z, y, x) int32
        Minus basin numbers.
    height : (z, y, x) float32
        The map that was climbed.
    first, last : int
        Planes to do; the next plane is looked at too.
    keys : (m,) int64
        Hash table of ``a << 32 | b`` with a < b; m a power of two, free = -1.
    values : (m, 2) float64
        Height of the pass, number of touching voxel pairs.

    Returns
    -------
    int
        Pairs in the table, or -1 when it got more than half full and must be made larger.
    """
    n_z, n_y, n_x = top.shape
    used = 0
    for z in range(first, last):
        for y in range(n_y):
            for x in range(n_x):
                a = -top[z, y, x]
                if a == 0:
                    continue
                h = height[z, y, x]
                for k in range(13):
                    p, q, r = z + (k > 3), y + _DY[k], x + _DX[k]
                    if p >= n_z or q < 0 or q >= n_y or r < 0 or r >= n_x:
                        continue
                    b = -top[p, q, r]
                    if b == 0 or b == a:
                        continue
                    key = (min(a, b) << 32) | max(a, b)
                    i = _slot(keys, key)
                    if keys[i] == -1:
                        used += 1
                        if 2 * used > keys.size:
                            return -1
                        keys[i] = key
                    values[i, 0] = max(values[i, 0], min(h, height[p, q, r]))
                    values[i, 1] += 1
    return used


# The 13 neighbours after a voxel in raster order; from the fifth on in the next plane.
_DY = np.array([0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1])
_DX = np.array([1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1])


@compiled
def merge_basins(
    edges: Array, passes: Array, peaks: Array, depth: float, share: float, parent: Array
) -> None:
    """Join basins over passes that lie less than ``max(depth, share · peak)`` below the lower peak.

    With passes in falling order this is the h-maxima rule by persistence: the lower of two peaks survives
    only when one must descend that far from it to reach a higher one.

    Parameters
    ----------
    edges : (m, 2) int64
        Basins, ordered by falling pass.
    passes : (m,) float32
        Their heights, falling.
    peaks : (n,) float32
        Height of each basin's summit; the root's entry stays the highest of its set.
    depth, share : float
        Least depth in units of height, and as a share of the lower peak.
    parent : (n,) int64
        Union-find forest; written.
    """
    for i in range(passes.size):
        a, b = find(parent, edges[i, 0]), find(parent, edges[i, 1])
        if a == b:
            continue
        low, high = (a, b) if (peaks[a], -a) < (peaks[b], -b) else (b, a)
        if peaks[low] - passes[i] < max(depth, share * peaks[low]):
            parent[low] = high


@compiled
def region_sums(labels: Array, image: Array, plane: int, sums: Array, box: Array, grey: Array) -> None:
    """Add up the voxels of each region, run by run along x.

    Parameters
    ----------
    labels : (z, y, x) int
        0 = none.
    image : (z, y, x) number
        Grey values.
    plane : int
        Position along z of the first plane given.
    sums : (n + 1, 12) float64
        Count; z, y, x; zz, yy, xx, zy, zx, yx; grey, grey².
    box : (n + 1, 6) int32
        Least z, y, x and greatest z, y, x; start with 2³⁰ and -1.
    grey : (n + 1, 2) float64
        Least and greatest grey; start with ±inf.
    """
    n_z, n_y, n_x = labels.shape
    for z in range(n_z):
        for y in range(n_y):
            x = 0
            while x < n_x:
                k = labels[z, y, x]
                if k == 0:
                    x += 1
                    continue
                start, total, square = x, 0.0, 0.0
                low = high = image[z, y, x]
                while x < n_x and labels[z, y, x] == k:
                    g = image[z, y, x]
                    low, high = min(low, g), max(high, g)
                    f = float(g)
                    total += f
                    square += f * f
                    x += 1
                _add_run(sums[k], box[k], z + plane, y, start, x)
                sums[k, 10] += total
                sums[k, 11] += square
                grey[k, 0], grey[k, 1] = min(grey[k, 0], low), max(grey[k, 1], high)


@compiled
def _add_run(sums: Array, box: Array, z: int, y: int, start: int, stop: int) -> None:
    n = float(stop - start)
    mean = 0.5 * (start + stop - 1)
    sums[0] += n
    sums[1] += n * z
    sums[2] += n * y
    sums[3] += n * mean
    sums[4] += n * z * z
    sums[5] += n * y * y
    sums[6] += n * (mean * mean + (n * n - 1.0) / 12.0)
    sums[7] += n * z * y
    sums[8] += n * z * mean
    sums[9] += n * y * mean
    box[0], box[3] = min(box[0], z), max(box[3], z)
    box[1], box[4] = min(box[1], y), max(box[4], y)
    box[2], box[5] = min(box[2], start), max(box[5], stop - 1)


@compiled
def count_overlaps(old: Array, new: Array, keys: Array, counts: Array) -> int:
    """Count the voxels of each pair (old, new), one of them > 0, in a hash table as in :func:`find_passes`.

    Returns the number of pairs, or -1 when the table got more than half full.
    """
    used = 0
    for z in range(old.shape[0]):
        for y in range(old.shape[1]):
            x = 0
            while x < old.shape[2]:
                a, b = int(old[z, y, x]), int(new[z, y, x])
                start = x
                while x < old.shape[2] and old[z, y, x] == a and new[z, y, x] == b:
                    x += 1
                if a == 0 and b == 0:
                    continue
                key = (a << 32) | b
                i = _slot(keys, key)
                if keys[i] == -1:
                    used += 1
                    if 2 * used > keys.size:
                        return -1
                    keys[i] = key
                counts[i, 0] += x - start
    return used
