"""Cuts through seeds for the eye: across the scan's axes, or across a seed's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.imaging.crops import read_grey

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_seedlab.imaging.crops import Raster

    Float = npt.NDArray[np.float32]
    Mask = npt.NDArray[np.bool_]

CUT_MARGIN = 0.1  # of a seed's longest edge, shown around it on a card
DIMMED = 0.4  # brightness of what lies outside the seed on a card
CUT_CELLS = 160  # pixels along the longest axis of a cut in the seed's own axes
SKEWED = 0.05  # skewness below which a shape counts as symmetrical along an axis
POSE_VOXELS = 500_000  # a larger seed is measured on a coarser grid


def three_cuts(
    image: Raster, regions: Raster, region_id: int, box: npt.ArrayLike
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Three cuts through a seed's centroid for its card: squares of one size and one scale.

    Returns
    -------
    yx, zx, zy : (n, n) uint8
        Cuts at the centroid's z, y and x, stretched between the seed's 0.5 and 99.5 percentiles;
        surroundings are dimmed. Three times the same picture for a plane.
    """
    bounds = np.asarray(box, np.int64).reshape(2, 3)
    pad = max(2, round(CUT_MARGIN * int((bounds[1] - bounds[0]).max())))
    low, high = np.maximum(bounds[0] - pad, 0), np.minimum(bounds[1] + pad, regions.shape)
    slices = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    grey = np.nan_to_num(read_grey(image, slices, regions.shape[0] == 1))
    inside = np.asarray(regions[slices]) == region_id
    if not inside.any():
        inside = np.ones_like(inside)
    black, white = np.percentile(grey[inside], (0.5, 99.5))
    shown = np.clip((grey - black) / max(float(white - black), 1e-6), 0, 1) * np.where(
        inside, 255, 255 * DIMMED
    )
    z, y, x = (round(float(v)) for v in np.argwhere(inside).mean(0))
    planes = (shown[z],) * 3 if shown.shape[0] == 1 else (shown[z], shown[:, y], shown[:, :, x])
    edge = max(shown.shape)
    yx, zx, zy = (_square(plane.astype(np.uint8), edge) for plane in planes)
    return yx, zx, zy


def _square(plane: npt.NDArray[np.uint8], edge: int) -> npt.NDArray[np.uint8]:
    """`plane` in the middle of an (edge, edge) square of black."""
    out = np.zeros((edge, edge), np.uint8)
    top, left = ((edge - n) // 2 for n in plane.shape)
    out[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
    return out


@dataclass(frozen=True)
class Pose:
    """How a seed lies in its block, so that it can be shown the same way however it lies in the tray.

    Attributes
    ----------
    centre : (3,) float64
        Mean position of its voxels, z, y, x in µm from the centre of the block's first voxel.
    axes : (3, 3) float64
        Unit vectors z, y, x of the longest, the middle and the shortest principal axis, one per row.
    low, high : (3,) float64
        How far the seed reaches from its centre along each of them, in µm.
    voxel_size_um : (3,) float64
        Edges of a voxel along z, y, x.
    """

    centre: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    voxel_size_um: npt.NDArray[np.float64]

    @property
    def cell_um(self) -> float:
        """Edge of a pixel of :func:`cut_across`: the longest axis has ``CUT_CELLS``, margins included."""
        return float((self.high - self.low).max()) * (1 + 2 * CUT_MARGIN) / CUT_CELLS


def seed_block(
    image: Raster,
    regions: Raster,
    region_id: int,
    box: npt.ArrayLike,
    voxel_size_um: tuple[float, ...] = (1.0, 1.0, 1.0),
) -> tuple[npt.NDArray[Any], Mask, tuple[int, int, int]]:
    """The voxels around a seed, with the margin that :func:`own_cuts` shows however it is turned.

    Parameters
    ----------
    image, regions, region_id, box
        As for :func:`~napari_seedlab.imaging.crops.seed_crop`.
    voxel_size_um : (3,) float
        Edges of a voxel along z, y, x.

    Returns
    -------
    grey : (z, y, x) array
        In the scan's number type; float32 where bands are averaged. No NaN.
    inside : (z, y, x) bool
        Voxels of the seed.
    low : (3,) int
        Voxel of the scan at the block's first corner.
    """
    bounds, size = np.asarray(box, np.int64).reshape(2, 3), np.asarray(voxel_size_um, np.float64)
    diagonal = float(np.linalg.norm((bounds[1] - bounds[0]) * size))
    pad = np.ceil(CUT_MARGIN * diagonal / size).astype(int) + 1
    low, high = np.maximum(bounds[0] - pad, 0), np.minimum(bounds[1] + pad, regions.shape)
    slices = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    is_cube = regions.shape[0] == 1 and image.shape[0] > 1
    grey = read_grey(image, slices, True) if is_cube else np.asarray(image[slices])
    inside = np.asarray(regions[slices]) == region_id
    z, y, x = (int(v) for v in low)
    return np.nan_to_num(grey) if grey.dtype.kind == "f" else grey, inside, (z, y, x)


def seed_pose(
    grey: npt.NDArray[Any], inside: Mask, voxel_size_um: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> Pose:
    """Principal axes of a seed: eigenvectors of the covariance of its voxels' positions in µm.

    Each axis points to where the third moment of the positions along it is positive: the seed's longer
    tail. Where the shape is symmetrical (skewness below ``SKEWED``) the third moment weighted by the grey
    values decides. All three signs are the seed's own, so that a turned seed keeps its cuts; the three
    need not be right-handed, so that pictures may be mirrored.

    Parameters
    ----------
    grey : (z, y, x) array
        Grey values of the block.
    inside : (z, y, x) bool
        Voxels of the seed, at least one; above ``POSE_VOXELS`` every second, third... along each axis
        is taken.
    voxel_size_um : (3,) float
        Edges of a voxel along z, y, x.

    Raises
    ------
    ValueError
        No voxel is inside.
    """
    step = max(1, int(np.ceil((np.count_nonzero(inside) / POSE_VOXELS) ** (1 / 3))))
    where = np.argwhere(inside[::step, ::step, ::step]) * step if inside.any() else np.zeros((0, 3), int)
    if not len(where):
        raise ValueError("no voxel is inside")
    size = np.asarray(voxel_size_um, np.float64)
    centre = (where * size).mean(0)
    offsets = where * size - centre  # (n, 3) µm
    _, vectors = np.linalg.eigh(offsets.T @ offsets / len(where))  # ascending
    axes = vectors.T[::-1]
    along = offsets @ axes.T  # (n, 3) µm
    weights = stretched(grey[tuple(where.T)], grey[tuple(where.T)])
    signs = np.asarray([_direction(t, weights) for t in along.T])
    along, axes = along * signs, axes * signs[:, None]
    half = size.min() / 2
    return Pose(centre, axes, along.min(0) - half, along.max(0) + half, size)


def _direction(along: npt.NDArray[np.float64], weights: Float) -> float:
    """1 or -1: the sign that makes the third moment along an axis positive."""
    cubed = along**3
    spread = float((along**2).mean()) ** 1.5
    moment = float(cubed.mean())
    if abs(moment) < SKEWED * spread:
        moment = float((cubed * weights).mean())
    return -1.0 if moment < 0 else 1.0


def cut_across(values: npt.NDArray[Any], pose: Pose, axis: int, at_um: float = 0.0) -> Float:
    """Values on a plane across one principal axis, trilinear between voxels, 0 outside the block.

    Parameters
    ----------
    values : (z, y, x) array
        Of the block of the seed.
    pose : Pose
        Where the seed lies in that block.
    axis : int
        The axis that the plane cuts: 2, the shortest, shows the longest against the middle one; 1 the
        longest against the shortest; 0 the middle against the shortest.
    at_um : float
        Where it cuts, in µm from the centre.

    Returns
    -------
    (rows, columns) float32
        Pixels are squares of ``pose.cell_um``; the longer axis runs to the right, the other one down.
    """
    from scipy.ndimage import map_coordinates

    right, down = (a for a in range(3) if a != axis)
    columns, rows = (_cells(pose, a) for a in (right, down))  # µm along each
    places = (
        (pose.centre + at_um * pose.axes[axis])[:, None, None]
        + pose.axes[right][:, None, None] * columns[None, None, :]
        + pose.axes[down][:, None, None] * rows[None, :, None]
    )  # (3, rows, columns) µm
    voxels = places / pose.voxel_size_um[:, None, None]
    if values.shape[0] == 1:  # a plane repeats along its normal
        voxels[0] = 0.0
    source = values.astype(np.uint8) if values.dtype == bool else values
    return np.asarray(map_coordinates(source, voxels, np.float32, order=1, mode="constant"), np.float32)


def _cells(pose: Pose, axis: int) -> npt.NDArray[np.float64]:
    """Pixel centres along a principal axis in µm, the seed with its margin in their middle."""
    margin = CUT_MARGIN * float((pose.high - pose.low).max())
    low, high = pose.low[axis] - margin, pose.high[axis] + margin
    n = max(1, round(float(high - low) / pose.cell_um))
    return np.asarray((low + high) / 2 + (np.arange(n) - (n - 1) / 2) * pose.cell_um)


def own_cuts(
    grey: npt.NDArray[Any], inside: Mask, pose: Pose, at_um: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> tuple[npt.NDArray[np.uint8], ...]:
    """Cuts through a seed's centroid across its shortest, middle and longest axis, for the eye.

    Parameters
    ----------
    grey, inside, pose
        As for :func:`seed_pose`.
    at_um : (3,) float
        Where each axis is cut instead, longest first, in µm from the centroid.

    Returns
    -------
    lengthwise, edge_on, across : (rows, columns) uint8
        Stretched between the seed's 0.5 and 99.5 percentiles, surroundings dimmed and fading; one scale
        for the three. Only the first for a plane.
    """
    known = grey[inside]
    cuts = []
    for axis in (2,) if grey.shape[0] == 1 else (2, 1, 0):
        shown = stretched(cut_across(grey, pose, axis, at_um[axis]), known)
        own = cut_across(inside, pose, axis, at_um[axis]) > 0.5
        cuts.append((shown * _halo(own) * 255).astype(np.uint8))
    return tuple(cuts)


def _halo(own: Mask) -> Float:
    """1 on the seed; around it from ``DIMMED`` down to 0 at the end of the margin, where the block ends."""
    from scipy.ndimage import distance_transform_edt

    if not own.any():
        return np.zeros(own.shape, np.float32)
    margin = CUT_MARGIN / (1 + 2 * CUT_MARGIN) * CUT_CELLS
    far = distance_transform_edt(~own)
    return np.where(own, 1.0, DIMMED * np.clip(1 - far / margin, 0, 1)).astype(np.float32)


def stretched(values: npt.NDArray[Any], known: npt.NDArray[Any]) -> Float:
    """Values from 0 to 1 between the 0.5 and 99.5 percentiles of `known` (at least one value)."""
    step = max(1, known.size // POSE_VOXELS)
    black, white = np.percentile(known.ravel()[::step], (0.5, 99.5))
    return np.asarray(np.clip((values - black) / max(float(white - black), 1e-6), 0, 1), np.float32)


def isolated(grey: npt.NDArray[Any], inside: Mask, longest: int = 192) -> tuple[npt.NDArray[Any], int]:
    """A seed alone: its grey values, 0 outside, averaged so that no edge has more than `longest` voxels.

    Returns
    -------
    voxels : (z, y, x) array
        The block's dtype; each holds the mean of a cube of `step`³ voxels, those beyond the block's end
        counted as 0.
    step : int
    """
    alone = np.where(inside, grey, grey.dtype.type(0))
    step = max(1, int(np.ceil(max(alone.shape) / longest)))
    if step == 1:
        return alone, 1
    padded = np.pad(alone, [(0, -n % step) for n in alone.shape])
    z, y, x = (n // step for n in padded.shape)
    blocks = padded.reshape(z, step, y, step, x, step)
    return blocks.mean((1, 3, 5), dtype=np.float32).astype(alone.dtype), step
