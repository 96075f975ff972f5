"""Arrays on disk that are read slice by slice.

Raw layouts are read with ``preadv`` into memory that is ours, never mapped: a file that is cut
behind a map kills the process, here it is an :class:`InputError` with the two sizes.
"""

from __future__ import annotations

import operator
import os
import stat
import threading
from itertools import product
from math import prod
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import InputError, ProjectDamaged
from napari_seedlab.files.zarrs import open_zarr, read_zarr

if TYPE_CHECKING:
    from collections.abc import Callable

    import dask.array
    import zarr

    from napari_seedlab.files.source import ArraySource

Index: TypeAlias = int | slice | EllipsisType | tuple[int | slice | EllipsisType, ...]

GAP = 16 * 1024  # bytes; shorter rows are read together and cut in memory, since disks give pages
FILE_ORDER = {"raw": (0, 1, 2), "pages": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}


def open_array(source: ArraySource) -> LazyArray:
    """Open a described array for reading.

    Parameters
    ----------
    source : ArraySource
        Layout ``raw``, ``pages``, ``bil``, ``bip`` or ``zarr``.

    Returns
    -------
    LazyArray
        Reads what is asked for, in native byte order.

    Raises
    ------
    InputError
        The description contradicts itself or the file (too short, not a regular file, missing).
    ProjectDamaged
        A Zarr array is missing or not the one described.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "volume.raw"
    >>> np.arange(24, dtype=">u2").reshape(2, 3, 4).tofile(path)
    >>> source = ArraySource(str(path), "raw", (2, 3, 4), ("z", "y", "x"), ">u2")
    >>> open_array(source)[1, :, ::2].tolist()
    [[12, 14], [16, 18], [20, 22]]
    """
    return LazyArray(source)


class LazyArray:
    """A stored array with numpy's basic indexing; see :func:`open_array`.

    Safe to use from several threads. Pickles as its description and reopens where it arrives.

    Attributes
    ----------
    source : ArraySource
    shape : tuple of int
    dtype : numpy.dtype
        In native byte order.
    chunks : tuple of int
        What is cheap to read at once: a plane, or a Zarr chunk.
    """

    def __init__(self, source: ArraySource) -> None:
        self.source = source
        self.shape = tuple(int(n) for n in source.shape)
        self._stored = _stored_dtype(source)
        self.dtype = self._stored.newbyteorder("=")
        self._reader: _RawReader | _ZarrReader
        self._reader = _ZarrReader(source) if source.layout == "zarr" else _RawReader(source, self._stored)
        self.chunks = self._reader.chunks

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"LazyArray({Path(self.source.path).name!r}, shape={self.shape}, dtype={self.dtype.name})"

    def __reduce__(self) -> tuple[Callable[[ArraySource], LazyArray], tuple[ArraySource]]:
        return open_array, (self.source,)

    def __getitem__(self, index: Index) -> npt.NDArray[Any]:
        ranges, dropped = _ranges(index, self.shape)
        kept = tuple(len(r) for axis, r in enumerate(ranges) if axis not in dropped)
        if prod(len(r) for r in ranges) == 0:
            return np.empty(kept, self.dtype)
        forward = [r if r.step > 0 else r[::-1] for r in ranges]
        values = self._reader.read(forward).astype(self.dtype, copy=False)
        flips = tuple(slice(None, None, 1 if r.step > 0 else -1) for r in ranges)
        return np.ascontiguousarray(values[flips]).reshape(kept)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[...], dtype)

    def close(self) -> None:
        """Release the file; the next read opens it again."""
        self._reader.close()


def as_dask(source: ArraySource) -> dask.array.Array:
    """The array as dask chunks for napari: one plane each, or the chunks of a Zarr array.

    Every call gives new names, so that a raster which changed is not served from a cache.
    """
    import dask.array

    array = open_array(source)
    meta = np.empty((0,) * array.ndim, array.dtype)
    return dask.array.from_array(array, chunks=array.chunks, name=False, meta=meta)


def _stored_dtype(source: ArraySource) -> np.dtype[Any]:
    name = Path(source.path).name
    try:
        dtype = np.dtype(source.dtype)
    except TypeError:
        raise InputError(name, f"voxel type {source.dtype!r} is not known", "Convert the file") from None
    if dtype.kind not in "biuf" or any(n < 0 for n in source.shape):
        cause = f"shape {source.shape} of {source.dtype} cannot be shown"
        raise InputError(name, cause, "Use whole or floating numbers and lengths from 1")
    return dtype


def _ranges(index: Index, shape: tuple[int, ...]) -> tuple[list[range], set[int]]:
    """The indices per axis that `index` selects, and the axes that it drops."""
    parts: list[Any] = list(index) if isinstance(index, tuple) else [index]
    if sum(p is Ellipsis for p in parts) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if len(parts) - any(p is Ellipsis for p in parts) > len(shape):
        raise IndexError(f"too many indices: array is {len(shape)}-dimensional")
    at = next((i for i, p in enumerate(parts) if p is Ellipsis), len(parts))
    filler = [slice(None)] * (len(shape) - len(parts) + (at < len(parts)))
    parts = parts[:at] + filler + parts[at + 1 :]
    ranges, dropped = [], set()
    for axis, (part, length) in enumerate(zip(parts, shape, strict=True)):
        if isinstance(part, slice):
            ranges.append(range(length)[part])
            continue
        number = _whole(part)
        if not -length <= number < length:
            raise IndexError(f"index {number} is out of bounds for axis {axis} with size {length}")
        ranges.append(range(number % length, number % length + 1))
        dropped.add(axis)
    return ranges, dropped


def _whole(part: object) -> int:
    if isinstance(part, bool | np.bool_):
        raise IndexError("only integers, slices (`:`) and ellipsis (`...`) are valid indices")
    try:
        return operator.index(part)  # type: ignore[arg-type]
    except TypeError:
        raise IndexError("only integers, slices (`:`) and ellipsis (`...`) are valid indices") from None


class _RawReader:
    """Reads boxes of an uncompressed file by runs of contiguous bytes."""

    def __init__(self, source: ArraySource, dtype: np.dtype[Any]) -> None:
        self._path, self._name = source.path, Path(source.path).name
        self._dtype, self._pages = dtype, source.page_offsets
        self._order = self._axis_order(source)
        self._shape = tuple(source.shape[a] for a in self._order)
        self._strides = [prod(self._shape[a + 1 :]) * dtype.itemsize for a in range(len(self._shape))]
        self._offset = source.offset
        self._needed = max(source.size, self._last_byte(source))
        self.chunks = (1, *source.shape[1:]) if len(source.shape) > 1 else tuple(source.shape)
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._check(self._stat())

    def _axis_order(self, source: ArraySource) -> tuple[int, ...]:
        if source.layout not in FILE_ORDER:
            known = ", ".join([*FILE_ORDER, "zarr"])
            raise InputError(self._name, f"layout {source.layout!r} is not known", f"Use one of {known}")
        if source.layout == "raw":
            return tuple(range(len(source.shape)))
        if len(source.shape) != 3:
            cause = f"layout {source.layout} needs 3 axes, the shape has {len(source.shape)}"
            raise InputError(self._name, cause, "Convert the file")
        if source.layout == "pages" and len(source.page_offsets) != source.shape[0]:
            cause = f"{len(source.page_offsets)} pages for {source.shape[0]} planes"
            raise InputError(self._name, cause, "Write the file again")
        return FILE_ORDER[source.layout]

    def _last_byte(self, source: ArraySource) -> int:
        if min((source.offset, *source.page_offsets), default=0) < 0:
            raise InputError(self._name, "its voxels start before its first byte", "Write the file again")
        if source.layout == "pages":
            return max(source.page_offsets, default=0) + prod(self._shape[1:]) * self._dtype.itemsize
        return source.offset + prod(self._shape) * self._dtype.itemsize

    def _stat(self) -> os.stat_result:
        try:
            return os.stat(self._path)
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> InputError:
        return InputError(
            self._name, f"cannot be opened ({error.strerror})", "Check the path and its permissions"
        )

    def _check(self, facts: os.stat_result) -> None:
        if not stat.S_ISREG(facts.st_mode):
            raise InputError(self._name, "is not a regular file", "Choose a file")
        if facts.st_size < self._needed:
            raise self._short(facts.st_size)

    def _short(self, size: int) -> InputError:
        cause = f"the file is cut: {self._needed:,} bytes are declared, it holds {size:,}"
        return InputError(self._name, cause, "Copy it again from its origin")

    def _file(self) -> int:
        with self._lock:
            if self._descriptor is None:
                try:  # O_NONBLOCK: a pipe under this name must not stop us
                    opened = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                except OSError as error:
                    raise self._unreadable(error) from error
                try:
                    self._check(os.fstat(opened))
                except InputError:
                    os.close(opened)
                    raise
                self._descriptor = opened
            return self._descriptor

    def close(self) -> None:
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            self.close()

    def read(self, ranges: list[range]) -> npt.NDArray[Any]:
        """The box of `ranges` (one ascending range per shown axis), all axes kept."""
        stored = [ranges[a] for a in self._order]
        out = np.empty([len(r) for r in stored], self._dtype)
        run = self._run_axis(stored)
        for place in product(*(range(len(r)) for r in stored[:run])):
            lead = [stored[a][i] for a, i in enumerate(place)]
            self._read_run(lead, stored[run:], out[place])
        return out.transpose(np.argsort(self._order))

    def _run_axis(self, stored: list[range]) -> int:
        """First axis whose span is read as one run for each place on the axes before it."""
        axis = len(stored) - 1
        while axis > 0 and len(stored[axis]) == self._shape[axis]:
            axis -= 1
        first = 1 if self._pages else 0
        while axis > first and self._strides[axis - 1] <= GAP and stored[axis - 1].step <= 4:
            axis -= 1
        return min(max(axis, first), len(stored) - 1)

    def _read_run(self, lead: list[int], spans: list[range], out: npt.NDArray[Any]) -> None:
        axis = len(lead)
        start = self._pages[lead[0]] if self._pages else self._offset
        skip = 1 if self._pages else 0
        start += sum(i * s for i, s in zip(lead[skip:], self._strides[skip:], strict=False))
        start += spans[0][0] * self._strides[axis]
        length = spans[0][-1] - spans[0][0] + 1
        whole = all(len(r) == n for r, n in zip(spans[1:], self._shape[axis + 1 :], strict=True))
        if whole and spans[0].step == 1:
            self._fill(out, start)
            return
        block = np.empty((length, *self._shape[axis + 1 :]), self._dtype)
        self._fill(block, start)
        cuts = [slice(0, None, spans[0].step), *(slice(r[0], r[-1] + 1, r.step) for r in spans[1:])]
        out[...] = block[tuple(cuts)]

    def _fill(self, block: npt.NDArray[Any], start: int) -> None:
        view = memoryview(block.reshape(-1).view(np.uint8).data)
        descriptor, done = self._file(), 0
        while done < len(view):
            try:
                got = os.preadv(descriptor, [view[done:]], start + done)
            except OSError as error:
                raise self._unreadable(error) from error
            if got == 0:
                raise self._short(os.fstat(descriptor).st_size)
            done += got


class _ZarrReader:
    """Reads boxes of a Zarr array, opened at the first read."""

    def __init__(self, source: ArraySource) -> None:
        self._source, self._name = source, Path(source.path, source.key).name
        self._lock = threading.Lock()
        self._array: zarr.Array[Any] | None = None
        self.chunks = tuple(int(n) for n in self._open().chunks)

    def _open(self) -> zarr.Array[Any]:
        with self._lock:
            if self._array is None:
                array = open_zarr(self._source.path, "r", self._source.key)
                if tuple(array.shape) != tuple(self._source.shape):
                    cause = f"has shape {tuple(array.shape)}, expected {tuple(self._source.shape)}"
                    raise ProjectDamaged(self._name, cause, "Compute it again")
                self._array = array
            return self._array

    def read(self, ranges: list[range]) -> npt.NDArray[Any]:
        """The box of `ranges` (ascending), all axes kept."""
        selection = tuple(slice(r[0], r[-1] + 1, r.step) for r in ranges)
        return read_zarr(self._open(), selection, self._name)

    def close(self) -> None:
        with self._lock:
            self._array = None
