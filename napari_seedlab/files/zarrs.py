"""Zarr arrays with a checksum on every chunk."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_seedlab.core import ProjectDamaged

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    import zarr

ZSTD_LEVEL = 1  # rasters of ids shrink 50 times already; more levels only cost time
RESTORE = "Compute it again or restore it from a backup"
READ_ERRORS = (ValueError, RuntimeError, OSError, KeyError, TypeError, EOFError, MemoryError, AttributeError)


def create_zarr(
    path: str | os.PathLike[str],
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: npt.DTypeLike,
    fill_value: float = 0,
    attrs: Mapping[str, Any] | None = None,
) -> zarr.Array[Any]:
    """Create a Zarr v3 array (zstd, then crc32c) in the new folder `path`.

    Parameters
    ----------
    path : path-like
        Folder; what stood there is replaced. Work in a temporary folder and call
        :func:`publish_tree` at the end: Zarr itself never syncs.
    shape : tuple of int
        Lengths of the axes.
    chunks : tuple of int
        Lengths of one chunk, at most the shape.
    dtype : dtype
        Voxel type.
    fill_value : number
        Value of chunks that were never written.
    attrs : mapping, optional
        Plain JSON attributes.

    Returns
    -------
    zarr.Array
        Open for reading and writing.
    """
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    sizes = tuple(max(1, min(c, s)) for c, s in zip(chunks, shape, strict=True))
    return zarr.create_array(
        store=str(path),
        shape=shape,
        chunks=sizes,
        dtype=np.dtype(dtype),
        fill_value=fill_value,
        compressors=[ZstdCodec(level=ZSTD_LEVEL), Crc32cCodec()],
        zarr_format=3,
        attributes=dict(attrs or {}),
        overwrite=True,
    )


def open_zarr(path: str | os.PathLike[str], mode: str = "r", key: str = "") -> zarr.Array[Any]:
    """Open a Zarr array; `mode` is ``r`` or ``r+``, `key` its path inside a group.

    Raises
    ------
    ProjectDamaged
        It is missing, or its ``zarr.json`` cannot be used.
    """
    import zarr

    name = Path(path, key).name
    if not Path(path).is_dir():
        raise ProjectDamaged(name, "is missing", RESTORE)
    try:
        return zarr.open_array(store=str(path), path=key or None, mode=mode)
    except READ_ERRORS as error:
        raise ProjectDamaged(name, f"its zarr.json cannot be used ({error})", RESTORE) from error


def read_zarr(array: zarr.Array[Any], selection: tuple[int | slice, ...], name: str) -> npt.NDArray[Any]:
    """Read a part of `array`; a damaged chunk is named in a ProjectDamaged line."""
    try:
        return np.asarray(array[selection])
    except READ_ERRORS as error:
        chunk = next(_damaged_chunks(array, selection), "?")
        line = " ".join(str(error).split())[:60]
        raise ProjectDamaged(name, f"chunk c/{chunk} is damaged ({line})", RESTORE) from error


def _damaged_chunks(array: zarr.Array[Any], selection: tuple[int | slice, ...]) -> Iterator[str]:
    """Names of the chunks under `selection` that cannot be read."""
    spans = []
    for part, length, size in zip(selection, array.shape, array.chunks, strict=True):
        indices = range(length)[part] if isinstance(part, slice) else range(part, part + 1)
        spans.append(sorted({i // size for i in indices}))
    for grid in product(*spans):
        try:
            array[tuple(g * c for g, c in zip(grid, array.chunks, strict=True))]
        except READ_ERRORS:
            yield "/".join(map(str, grid))
