"""Array views for napari: the visible slice is computed when napari asks, nothing is ever rewritten."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_seedlab.imaging.ids import at_ids

if TYPE_CHECKING:
    from collections.abc import Callable

N_PLANES = 6  # slices of the region raster kept: recolouring and other overlays read no disk


class ArrayLike(Protocol):
    """What napari slices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Voxel type."""

    def __getitem__(self, key: Any, /) -> Any:
        """The voxels of ints and slices."""


class RegionPlanes:
    """Slices of a region raster, the last few kept.

    Parameters
    ----------
    regions : array-like of int32
        (z, y, x), or (1, y, x) beside a cube.
    shape : tuple of int
        Shape that the viewer has: the raster's, or (band, y, x) with each band showing the same.
    """

    def __init__(self, regions: ArrayLike, shape: tuple[int, ...]) -> None:
        self._regions, self.shape = regions, tuple(shape)
        self._flat = regions.shape[0] == 1 and self.shape[0] != 1
        self._planes: OrderedDict[object, npt.NDArray[Any]] = OrderedDict()

    def plane(self, key: tuple[Any, ...]) -> npt.NDArray[np.int32]:
        """Region ids at `key` (one int or slice per axis)."""
        if self._flat:
            plane = self._kept(("ids", 0, _name(key[1:])), lambda: self._regions[(0, *key[1:])])
            return (
                plane
                if isinstance(key[0], int)
                else np.broadcast_to(plane, (self._n_first(key[0]), *plane.shape))
            )
        return self._kept(("ids", _name(key)), lambda: self._regions[key])

    def edges(self, key: tuple[Any, ...], width: int) -> npt.NDArray[np.int32]:
        """Region ids within `width` voxels of a rim, 0 inside; unchanged when `key` is no plane."""
        if sum(isinstance(k, slice) for k in key) != 2:
            return self.plane(key)
        name = _name(key[1:] if self._flat else key)
        return self._kept(("rim", width, name), lambda: rim(self.plane(key), width))

    def region_at(self, position: tuple[int, ...]) -> int:
        """Region id at a voxel, 0 outside."""
        if any(not 0 <= p < n for p, n in zip(position, self.shape, strict=True)):
            return 0
        key = (int(position[0]), slice(None), slice(None))
        return int(self.plane(key)[position[1], position[2]])

    def _kept(self, name: object, make: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        if name not in self._planes:
            self._planes[name] = np.asarray(make())
            while len(self._planes) > N_PLANES:
                self._planes.popitem(last=False)
        self._planes.move_to_end(name)
        return self._planes[name]

    def _n_first(self, key: slice) -> int:
        return len(range(*key.indices(self.shape[0])))


def rim(regions: npt.NDArray[np.int32], width: int) -> npt.NDArray[np.int32]:
    """Keep the inner rim, `width` pixels wide, of each region of a (y, x) plane.

    Unlike a contour of classes this keeps the line between touching seeds of one class.
    """
    edge = np.zeros(regions.shape, bool)
    for near, far in _neighbours():
        edge[near] |= regions[near] != regions[far]
    for _ in range(width - 1):
        before = edge.copy()
        for near, far in _neighbours():
            edge[near] |= before[far]
    return np.where(edge, regions, 0)


class LutView:
    """Class codes of regions as an array: ``codes[regions]`` for whatever slice is asked for.

    Parameters
    ----------
    planes : RegionPlanes
    width : int
        Only the rim of this width; 0 fills the regions.
    mark_width : int
        Width of the rim of regions that have a mark, which hides their code.

    Attributes
    ----------
    codes, marks : ndarray of uint8
        By region id; the last entry is taken for ids beyond, a mark of 0 is none.
    """

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, planes: RegionPlanes, width: int = 0, mark_width: int = 1) -> None:
        self._planes, self._width, self._mark_width = planes, width, mark_width
        self.shape = planes.shape
        self.codes = self.marks = np.zeros(1, np.uint8)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape))

    def __getitem__(self, key: Any) -> npt.NDArray[np.uint8]:
        full = full_key(key, self.shape)
        ids = self._planes.edges(full, self._width) if self._width else self._planes.plane(full)
        shown = at_ids(self.codes, ids)
        if self.marks.any():
            marks = at_ids(self.marks, self._planes.edges(full, self._mark_width))
            np.copyto(shown, marks, where=marks > 0)
        return shown

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[(slice(None),) * 3], dtype)


class ThresholdView:
    """1 where an image is above a grey value, or below it for dark seeds: the preview of a split."""

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, image: ArrayLike, threshold: float) -> None:
        self._image, self.threshold, self.dark = image, threshold, False
        self.shape = tuple(image.shape)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape))

    def __getitem__(self, key: Any) -> npt.NDArray[np.uint8]:
        grey = np.asarray(self._image[full_key(key, self.shape)])
        return (grey < self.threshold if self.dark else grey > self.threshold).astype(np.uint8)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[(slice(None),) * 3], dtype)


class PlaneView:
    """Single planes of classes in a volume that is otherwise empty.

    Parameters
    ----------
    shape : tuple of int
    """

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)
        self._planes: dict[tuple[int, int], npt.NDArray[np.uint8]] = {}

    @property
    def size(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape))

    def set_plane(self, axis: int, index: int, classes: npt.NDArray[np.uint8]) -> None:
        """Show `classes` where the volume is cut across `axis` at `index`."""
        self._planes[axis, index] = classes

    def __getitem__(self, key: Any) -> npt.NDArray[np.uint8]:
        full = full_key(key, self.shape)
        at = [(axis, k) for axis, k in enumerate(full) if isinstance(k, int)]
        if len(at) == 1 and at[0] in self._planes:
            return self._planes[at[0]][tuple(k for k in full if isinstance(k, slice))]
        return np.zeros([len(range(*k.indices(n))) for k, n in zip(full, self.shape, strict=True)
                         if isinstance(k, slice)], np.uint8)  # fmt: skip

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[(slice(None),) * 3], dtype)


def full_key(key: Any, shape: tuple[int, ...]) -> tuple[int | slice, ...]:
    """`key` with one int or slice per axis."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in [p if p is Ellipsis else None for p in parts]:
        at = next(i for i, p in enumerate(parts) if p is Ellipsis)
        parts[at : at + 1] = [slice(None)] * (len(shape) - len(parts) + 1)
    parts += [slice(None)] * (len(shape) - len(parts))
    return tuple(p if isinstance(p, slice) else int(p) for p in parts)


def _neighbours() -> tuple[tuple[tuple[slice, slice], tuple[slice, slice]], ...]:
    every, head, tail = slice(None), slice(None, -1), slice(1, None)
    return (
        ((head, every), (tail, every)),
        ((tail, every), (head, every)),
        ((every, head), (every, tail)),
        ((every, tail), (every, head)),
    )


def _name(key: tuple[Any, ...]) -> tuple[object, ...]:
    return tuple((k.start, k.stop, k.step) if isinstance(k, slice) else int(k) for k in key)
