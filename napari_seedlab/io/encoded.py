"""Scans behind a codec, read plane by plane through the reader process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.files import ArraySource, as_dask
from napari_seedlab.io.reader_process import reader

if TYPE_CHECKING:
    import dask.array

    from napari_seedlab.core import ScanFacts


class EncodedArray:
    """Planes of an ``encoded`` scan, decoded when they are asked for; no more is kept.

    Attributes
    ----------
    shape : tuple of int
        (z, y, x) or (band, y, x).
    dtype : numpy.dtype
    ndim : int
    """

    def __init__(self, facts: ScanFacts, path: str) -> None:
        self._facts, self._path = facts, path
        self.shape, self.dtype, self.ndim = facts.shape, np.dtype(facts.dtype), 3

    def __getitem__(self, index: Any) -> np.ndarray[Any, Any]:
        z, *rest = index if isinstance(index, tuple) else (index,)
        if isinstance(z, slice):
            start, stop, step = z.indices(self.shape[0])
            planes = reader().planes(self._path, self._facts, start, max(start, stop))
            return np.asarray(planes[(slice(None, None, step), *rest)])
        plane = reader().planes(self._path, self._facts, int(z), int(z) + 1)[0]
        return np.asarray(plane[tuple(rest)])


def lazy_view(facts: ScanFacts, source: ArraySource) -> dask.array.Array:
    """A described scan as a dask array in the order of ``facts.axes``, ready for display.

    Nothing is decoded before it is looked at.
    """
    if source.layout == "encoded":
        import dask.array

        array, chunks = EncodedArray(facts, source.path), (1, *facts.shape[1:])
        meta = np.empty((0, 0, 0), array.dtype)
        return dask.array.from_array(array, chunks=chunks, name=False, meta=meta)
    lazy = as_dask(source)
    return lazy if source.axes == facts.axes else lazy.transpose([source.axes.index(a) for a in facts.axes])
