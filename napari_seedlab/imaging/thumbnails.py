"""Small pictures of seeds, all at one scale, so that many can be compared at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.imaging.cuts import DIMMED, seed_pose

if TYPE_CHECKING:
    import numpy.typing as npt

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]
    Thumb = npt.NDArray[np.uint8]

EDGE = 40  # pixels
FILLED = 38  # of them for a seed that is larger than the others
ROOM = 1.15  # a picture beside the edge of a large seed's box
LARGE = 95.0  # percentile of the seeds that fit without being shrunk
N_BANDS = 32  # of a spectrum beside a picture
PAGE = 64  # pictures that lie together on disk: in a sorted gallery each in sight is on a page of its own


def common_cell(boxes: npt.NDArray[np.integer], voxel_size_um: tuple[float, ...]) -> float:
    """Edge of a pixel in µm at which all but the largest seeds fit into a picture.

    Parameters
    ----------
    boxes : (n, 6) int
        Half-open z0, y0, x0, z1, y1, x1 in voxels.
    voxel_size_um : (3,) float
        Edges of a voxel along z, y, x.
    """
    if not len(boxes):
        return 1.0
    edges = (boxes[:, 3:] - boxes[:, :3]) * np.asarray(voxel_size_um, np.float64)
    return float(np.percentile(edges.max(1), LARGE)) * ROOM / EDGE


def volume_thumb(
    grey: npt.NDArray[Any],
    inside: Mask,
    voxel_size_um: tuple[float, ...],
    cell_um: float,
    limits: tuple[float, float],
) -> Thumb:
    """Three orthogonal cuts through a seed's centroid in its own principal axes.

    Parameters
    ----------
    grey : (z, y, x) array
        The block around the seed.
    inside : (z, y, x) bool
        Voxels of the seed.
    voxel_size_um : (3,) float
        Edges of a voxel along z, y, x.
    cell_um : float
        Edge of a pixel; a seed that is too large for it is shrunk.
    limits : (float, float)
        Grey values of black and white, the same for all seeds.

    Returns
    -------
    (3, 40, 40) uint8
        Lengthwise, edge on, across, black outside the seed.
    """
    from scipy.ndimage import map_coordinates

    if not inside.any():
        return np.zeros((3, EDGE, EDGE), np.uint8)
    steps = tuple(max(1, int(cell_um // s)) for s in voxel_size_um)
    coarse, own = _coarser(grey, steps), _coarser(inside, steps)
    own = own if (own >= 0.5).any() else np.asarray(own > 0, np.float32)
    size = tuple(s * n for s, n in zip(voxel_size_um, steps, strict=True))
    pose = seed_pose(coarse, own >= 0.5, size)
    cell = max(cell_um, float((pose.high - pose.low).max()) / FILLED)
    along = (np.arange(EDGE) - (EDGE - 1) / 2) * cell
    middle = (pose.low + pose.high) / 2
    cuts = np.empty((3, EDGE, EDGE), np.uint8)
    for i, axis in enumerate((2, 1, 0)):
        right, down = (a for a in range(3) if a != axis)
        places = (
            pose.centre[:, None, None]
            + pose.axes[right][:, None, None] * (along + middle[right])[None, None, :]
            + pose.axes[down][:, None, None] * (along + middle[down])[None, :, None]
        ) / pose.voxel_size_um[:, None, None]
        values, share = (map_coordinates(v, places, np.float32, order=1) for v in (coarse, own))
        cuts[i] = _shown(values, limits) * np.clip(share * 2, 0, 1)
    return cuts


def plane_thumb(
    planes: npt.NDArray[Any],
    inside: Mask,
    pixel_size: tuple[float, float],
    cell: float,
    limits: npt.NDArray[np.floating],
) -> Thumb:
    """A picture of a seed in a plane, upright as it lies there.

    Parameters
    ----------
    planes : (c, y, x) array
        One grey plane or three colours, of the block around the seed.
    inside : (y, x) bool
        Pixels of the seed.
    pixel_size : (2,) float
        Edges of a pixel along y, x, in the unit of `cell`.
    cell : float
        Edge of a pixel of the thumbnail; a seed that is too large for it is shrunk.
    limits : (c, 2) float
        Values of black and full colour per plane.

    Returns
    -------
    (3, 40, 40) uint8
        Red, green, blue; surroundings dimmed.
    """
    from scipy.ndimage import map_coordinates

    if not inside.any():
        return np.zeros((3, EDGE, EDGE), np.uint8)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    size = np.asarray(pixel_size, np.float64)
    reach = np.asarray([np.ptp(rows) + 1, np.ptp(columns) + 1]) * size
    cell = max(cell, float(reach.max()) / FILLED)
    steps = (1, *(max(1, int(cell // s)) for s in size))
    coarse, own = _coarser(planes, steps), _coarser(inside[None], steps)[0]
    centre = np.asarray([rows[0] + rows[-1], columns[0] + columns[-1]]) / 2 * size
    along = (np.arange(EDGE) - (EDGE - 1) / 2) * cell
    shift = (np.asarray(steps[1:]) - 1) / 2  # of a coarse pixel's centre
    y, x = ((c + along) / s - d for c, s, d in zip(centre, size, shift, strict=True))
    places = np.stack(np.meshgrid(y / steps[1], x / steps[2], indexing="ij"))
    share = map_coordinates(own, places, np.float32, order=1)
    shown = [
        _shown(map_coordinates(p, places, np.float32, order=1), (float(a), float(b)))
        for p, (a, b) in zip(coarse, limits, strict=True)
    ]
    picture = np.stack(shown * (3 // len(shown))) * (DIMMED + (1 - DIMMED) * np.clip(2 * share - 1, 0, 1))
    return np.asarray(picture, np.uint8)


def mean_spectrum(block: npt.NDArray[Any], inside: Mask, n: int = N_BANDS) -> Float:
    """Mean of a seed's pixels (y, x) over neighbouring bands of a (band, y, x) block: at most `n` values."""
    n = min(n, len(block))
    if not inside.any():
        return np.full(n, np.nan, np.float32)
    bands = np.asarray(block[:, inside], np.float32)
    known = np.isfinite(bands)
    means = np.where(known, bands, 0).sum(1) / np.maximum(known.sum(1), 1)
    starts = np.arange(n) * len(means) // n
    counts = np.diff(np.append(starts, len(means)))
    return np.asarray(np.add.reduceat(means, starts) / counts, np.float32)


def _shown(values: Float, limits: tuple[float, float]) -> Float:
    low, high = limits
    return np.asarray(np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255, np.float32)


def _coarser(values: npt.NDArray[Any], steps: tuple[int, ...]) -> Float:
    """Means over blocks of `steps` voxels, the last ones repeated where a block is cut off."""
    whole = np.asarray(values, np.float32)
    whole = np.nan_to_num(whole, posinf=0.0, neginf=0.0)
    if all(s == 1 for s in steps):
        return whole
    whole = np.pad(whole, [(0, -n % s) for n, s in zip(whole.shape, steps, strict=True)], mode="edge")
    (a, b, c), (p, q, r) = whole.shape, steps
    blocks = whole.reshape(a // p, p, b // q, q, c // r, r)
    return np.asarray(blocks.mean((1, 3, 5)), np.float32)
