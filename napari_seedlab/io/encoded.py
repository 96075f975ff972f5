"""Scans behind a codec, read plane by plane through the reader process."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_seedlab.files import ArraySource, LazyArray, as_dask, open_array
from napari_seedlab.io.reader_process import reader

if TYPE_CHECKING:
    import dask.array

    from napari_seedlab.core import ScanFacts

CACHE_BYTES = 64 * 2**20  # of decoded planes, so that a redraw does not decode again


class EncodedArray:
    """Planes of an ``encoded`` scan, decoded when they are asked for; the last few are kept.

    Indexed by integers, slices and an ellipsis, as napari does. Safe to use from several threads.

    Attributes
    ----------
    shape : tuple of int
        (z, y, x) or (band, y, x).
    dtype : numpy.dtype
    ndim, size, nbytes : int
    """

    def __init__(self, facts: ScanFacts, path: str) -> None:
        self._facts, self._path = facts, path
        self.shape, self.dtype, self.ndim = facts.shape, np.dtype(facts.dtype), 3
        self.size = int(np.prod(self.shape))
        self.nbytes = self.size * self.dtype.itemsize
        self._planes: OrderedDict[int, npt.NDArray[Any]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        z, *rest = _whole_index(index)
        if isinstance(z, slice):
            wanted = range(*z.indices(self.shape[0]))
            return np.asarray(self._many(wanted)[(slice(None), *rest)])
        place = range(self.shape[0])[z]
        return np.asarray(self._many(range(place, place + 1))[(0, *rest)])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype)

    def _many(self, wanted: range) -> npt.NDArray[Any]:
        """Planes as (n, y, x); one at a time through the cache, many in one request."""
        if len(wanted) == 1:
            return np.asarray(self._one(wanted[0])[np.newaxis])
        if not wanted:
            return np.empty((0, *self.shape[1:]), self.dtype)
        low, high = min(wanted), max(wanted) + 1
        planes = reader().planes(self._path, self._facts, low, high)
        return np.stack([planes[z - low] for z in wanted])

    def _one(self, z: int) -> npt.NDArray[Any]:
        with self._lock:
            if z in self._planes:
                self._planes.move_to_end(z)
                return self._planes[z]
        plane: npt.NDArray[Any] = reader().planes(self._path, self._facts, z, z + 1)[0]
        with self._lock:
            self._planes[z] = plane
            while len(self._planes) > max(1, CACHE_BYTES // max(1, plane.nbytes)):
                self._planes.popitem(last=False)
        return plane


LazyView: TypeAlias = "LazyArray | EncodedArray | dask.array.Array"


def lazy_view(facts: ScanFacts, source: ArraySource) -> LazyView:
    """A described scan as a sliceable array in the order of ``facts.axes``, ready for display.

    Nothing is read before it is looked at. Dask is used only where chunks or another order of axes
    need it: its first computation imports distributed, which takes longer than the first slice.
    """
    if source.layout == "encoded":
        return EncodedArray(facts, source.path)
    if source.axes != facts.axes:
        return as_dask(source).transpose([source.axes.index(a) for a in facts.axes])
    return as_dask(source) if source.layout == "zarr" else open_array(source)


def _whole_index(index: Any) -> list[Any]:
    """`index` with one entry for each of the three axes."""
    parts = list(index) if isinstance(index, tuple) else [index]
    n_missing = 3 - sum(part is not Ellipsis for part in parts)
    if n_missing < 0:
        raise IndexError("too many indices: array is 3-dimensional")
    filler = [slice(None)] * n_missing
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), None)
    return [*parts, *filler] if at is None else [*parts[:at], *filler, *parts[at + 1 :]]
