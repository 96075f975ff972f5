"""Mend the split of a few seeds by hand, on a crop, as a patch that can be undone: merge, split, delete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Array = npt.NDArray[Any]
LEAST_SHARE = 0.02  # a part under this share of the region means that the flood ran through


@dataclass(frozen=True)
class RegionPatch:
    """A sparse change of a region raster.

    Attributes
    ----------
    box : (6,) int32
        Half-open crop z0, y0, x0, z1, y1, x1 of the scan that `index` counts in.
    index : (m,) int64
        Flat C-order positions in the crop, rising.
    old, new : (m,) int32
        Region ids before and after.
    """

    box: npt.NDArray[np.int32]
    index: npt.NDArray[np.int64]
    old: npt.NDArray[np.int32]
    new: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The crop as slices of the scan."""
        z0, y0, x0, z1, y1, x1 = self.box.tolist()
        return slice(z0, z1), slice(y0, y1), slice(x0, x1)

    @property
    def changed(self) -> tuple[int, ...]:
        """Region ids whose voxels the patch takes or gives, rising, without 0."""
        ids = np.union1d(self.old, self.new)
        return tuple(int(k) for k in ids if k > 0)

    def inverse(self) -> RegionPatch:
        """Return the patch that undoes this one."""
        return RegionPatch(self.box, self.index, self.new, self.old)

    def applied(self, crop: Array) -> npt.NDArray[np.int32]:
        """Return a changed copy of the crop of the raster.

        Parameters
        ----------
        crop : (z, y, x) int32
            The raster inside `box`.

        Raises
        ------
        InputError
            The crop is not of the box's shape, or does not hold the values that the patch replaces.
        """
        shape = tuple((self.box[3:] - self.box[:3]).tolist())
        if crop.shape != shape:
            raise InputError(
                "repair", f"crop has shape {crop.shape}, the patch {shape}", "Read the patch's own box"
            )
        out = np.array(crop, np.int32, order="C")
        if not np.array_equal(out.reshape(-1)[self.index], self.old):
            raise InputError("repair", "the regions changed since this edit", "Undo later edits first")
        out.reshape(-1)[self.index] = self.new
        return out

    def columns(self) -> dict[str, Array]:
        """The arrays by name, ready for an archive."""
        return {"box": self.box, "index": self.index, "old": self.old, "new": self.new}

    @classmethod
    def from_columns(cls, columns: Mapping[str, Array]) -> RegionPatch:
        """The patch of :meth:`columns`."""
        return cls(
            np.asarray(columns["box"], np.int32),
            np.asarray(columns["index"], np.int64),
            np.asarray(columns["old"], np.int32),
            np.asarray(columns["new"], np.int32),
        )


def merge_regions(crop: Array, ids: Sequence[int], origin: tuple[int, int, int] = (0, 0, 0)) -> RegionPatch:
    """Make one region of several; the lowest id survives.

    Parameters
    ----------
    crop : (z, y, x) int32
        Crop of the raster that holds all of the regions (the hull of their boxes).
    ids : sequence of int
        Two or more regions.
    origin : tuple of int
        Where the crop starts in the scan.
    """
    wanted = sorted(set(ids))
    if len(wanted) < 2:
        raise InputError("merge", f"got {len(wanted)} region", "Select two or more")
    for k in wanted:
        _inside(crop, k)
    return _patch(crop, np.isin(crop, wanted[1:]), wanted[0], origin)


def delete_region(crop: Array, region: int, origin: tuple[int, int, int] = (0, 0, 0)) -> RegionPatch:
    """Make the region background. Parameters as in :func:`merge_regions`."""
    return _patch(crop, _inside(crop, region), 0, origin)


def split_region(
    crop: Array,
    region: int,
    points: npt.ArrayLike,
    new_ids: Sequence[int],
    origin: tuple[int, int, int] = (0, 0, 0),
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> RegionPatch:
    """Cut a region between two or more clicks, at its narrowest place between them.

    A watershed of the smoothed distance to the surface, flooded from the clicks (Meyer 1994); where one part
    comes out as a sliver, because the region has no waist there, each voxel goes to the nearest click
    instead.

    Parameters
    ----------
    crop : (z, y, x) int32
        Crop of the raster that holds the whole region.
    region : int
        The one to cut.
    points : (k, 3) number
        Clicks in voxels of the scan; the nearest voxel of the region counts.
    new_ids : sequence of int
        k - 1 ids for the smaller parts, by falling size; the largest part keeps `region`.
    origin : tuple of int
        Where the crop starts in the scan.
    spacing : tuple of float
        Voxel edges along z, y, x.
    """
    inside = _inside(crop, region)
    clicks = np.asarray(points, np.float64).reshape(-1, 3) - np.asarray(origin)
    if len(clicks) < 2 or len(new_ids) != len(clicks) - 1:
        raise InputError(
            "split", f"got {len(clicks)} points, {len(new_ids)} new ids", "Click once on each part"
        )
    seeds = _nearest(inside, clicks, spacing)
    if len(np.unique(seeds)) < len(seeds):
        raise InputError("split", "two clicks meet the same voxel", "Click farther apart")
    part = _flooded(inside, seeds, spacing)
    counts = np.bincount(part[inside], minlength=len(clicks) + 1)[1:]
    if counts.min() < LEAST_SHARE * counts.sum():
        part = _by_distance(inside, seeds, spacing)
        counts = np.bincount(part[inside], minlength=len(clicks) + 1)[1:]
    order = np.argsort(-counts, kind="stable")
    table = np.zeros(len(clicks) + 1, np.int32)
    table[order + 1] = [region, *new_ids]
    new = table[part]
    return _patch(crop, inside & (new != region), new, origin)


def _inside(crop: Array, region: int) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = crop == region
    if region <= 0 or not inside.any():
        raise InputError(f"region {region}", "has no voxel here", "Select another one")
    return inside


def _patch(crop: Array, where: Array, value: int | Array, origin: tuple[int, int, int]) -> RegionPatch:
    index = np.flatnonzero(where)
    old = crop.reshape(-1)[index].astype(np.int32)
    new = np.broadcast_to(np.asarray(value, np.int32), crop.shape).reshape(-1)[index]
    box = np.concatenate([origin, np.add(origin, crop.shape)]).astype(np.int32)
    return RegionPatch(box, index, old, new.astype(np.int32))


def _nearest(inside: Array, clicks: Array, spacing: tuple[float, float, float]) -> npt.NDArray[np.int64]:
    """Flat index of the voxel of the region that lies nearest to each click."""
    index = np.flatnonzero(inside)
    where = np.stack(np.unravel_index(index, inside.shape), 1)
    far = [np.square((where - c) * spacing).sum(1) for c in clicks]
    nearest: npt.NDArray[np.int64] = index[np.array([int(np.argmin(f)) for f in far])]
    return nearest


def _flooded(inside: Array, seeds: Array, spacing: tuple[float, float, float]) -> npt.NDArray[np.int32]:
    from scipy.ndimage import distance_transform_edt, gaussian_filter
    from skimage.segmentation import watershed

    pad = tuple((0, 0) if n == 1 else (1, 1) for n in inside.shape)
    trim = tuple(slice(None) if n == 1 else slice(1, -1) for n in inside.shape)
    depth = distance_transform_edt(np.pad(inside, pad), spacing)[trim]
    sigma = 0.1 * float(depth.max()) / np.asarray(spacing)
    depth = gaussian_filter(depth.astype(np.float32), tuple(sigma * (np.asarray(inside.shape) > 1)))
    markers = np.zeros(inside.shape, np.int32)
    markers.reshape(-1)[seeds] = np.arange(1, len(seeds) + 1)
    part: npt.NDArray[np.int32] = watershed(-depth, markers, mask=inside, connectivity=inside.ndim).astype(
        np.int32
    )
    return np.where((part == 0) & inside, _by_distance(inside, seeds, spacing), part).astype(np.int32)


def _by_distance(inside: Array, seeds: Array, spacing: tuple[float, float, float]) -> npt.NDArray[np.int32]:
    where = np.argwhere(inside) * np.asarray(spacing)
    at = np.stack(np.unravel_index(seeds, inside.shape), 1) * np.asarray(spacing)
    far = np.stack([np.square(where - c).sum(1) for c in at], 1)
    part = np.zeros(inside.shape, np.int32)
    part[inside] = np.argmin(far, 1) + 1
    return part
