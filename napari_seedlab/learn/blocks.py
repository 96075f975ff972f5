"""Cubes read in blocks of pixels, never as a whole, each stored chunk as seldom as memory allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
T = TypeVar("T")

BLOCK_BYTES = 16 * 2**20  # of spectra in float64 that are in memory at once
READ_BYTES = 128 * 2**20  # of spectra as they are stored
PART_BYTES = 16 * 2**20  # of these, read without a pause in which a job may stop
EDGE = 256  # pixels; smaller chunks are read together, and rows of a cube without chunks


class Sliceable(Protocol):
    """An array, or anything stored that is cut like one, such as `napari_seedlab.files.LazyArray`.

    If it has ``chunks`` (band, y, x), reads follow them.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths (band, y, x)."""

    def __getitem__(self, index: Any, /) -> Any:
        """A cut of it."""


class Block(NamedTuple):
    """Spectra of some pixels.

    Attributes
    ----------
    place : (slice, slice)
        Rows and columns.
    spectra : (b, y, x) float64
        0 for what is not finite.
    is_whole : (y, x) bool
        Pixels whose values are all finite.
    share : float
        Of the cube that is read with this block, above 0 and up to 1.
    """

    place: tuple[slice, slice]
    spectra: Doubles
    is_whole: Mask
    share: float


def strips(cube: Sliceable) -> list[slice]:
    """Rows that are read together: a row of chunks, fewer where memory demands it."""
    n_rows, height = cube.shape[1], _tile(cube)[0]
    return [slice(low, min(low + height, n_rows)) for low in range(0, n_rows, height)]


def blocks(cube: Sliceable, rows: slice) -> Iterator[Block]:
    """Blocks of a strip: column after column of chunks, each from its upper row to its lower one.

    A block without pixels says only that reading goes on, since many bands take their time.
    """
    n_bands, n_rows, n_columns = cube.shape
    width, n_pixels = _tile(cube)[1], n_rows * n_columns
    for left in range(0, n_columns, width):
        columns = slice(left, min(left + width, n_columns))
        before = rows.start * n_columns + left * (rows.stop - rows.start)
        stored = np.empty((n_bands, rows.stop - rows.start, columns.stop - left), _dtype(cube))
        for bands in _parts(cube, stored):
            stored[bands] = cube[bands, rows, columns]
            if bands.stop < n_bands:
                nothing = (slice(rows.start, rows.start), slice(left, left))
                yield Block(nothing, np.empty((n_bands, 0, 0)), np.empty((0, 0), bool), before / n_pixels)
        step = max(1, BLOCK_BYTES // (8 * n_bands * (columns.stop - left)))
        for top in range(rows.start, rows.stop, step):
            part = slice(top, min(top + step, rows.stop))
            spectra = np.array(stored[:, part.start - rows.start : part.stop - rows.start], np.float64)
            is_finite = np.isfinite(spectra)
            spectra[~is_finite] = 0.0
            share = (before + (part.stop - rows.start) * (columns.stop - left)) / n_pixels
            yield Block((part, columns), spectra, np.asarray(is_finite.all(axis=0)), share)


def all_blocks(cube: Sliceable) -> Iterator[Block]:
    """Blocks of the whole cube, strip after strip."""
    for rows in strips(cube):
        yield from blocks(cube, rows)


def _parts(cube: Sliceable, tile: npt.NDArray[Any]) -> list[slice]:
    """Bands of a tile that are read without a pause; all of them where a file may hold them side by side."""
    n_bands = len(tile)
    step = max(1, PART_BYTES // (tile.nbytes // n_bands)) if _has_tiles(cube) else n_bands
    return [slice(band, min(band + step, n_bands)) for band in range(0, n_bands, step)]


def _has_tiles(cube: Sliceable) -> bool:
    """Whether the planes are stored in pieces."""
    return any(edge < n for edge, n in zip(_chunks(cube), cube.shape[1:], strict=True))


def _chunks(cube: Sliceable) -> tuple[int, int]:
    rows, columns = getattr(cube, "chunks", cube.shape)[1:]
    return rows, columns


def _dtype(cube: Sliceable) -> np.dtype[Any]:
    return np.dtype(getattr(cube, "dtype", np.float64))


def _tile(cube: Sliceable) -> tuple[int, int]:
    """Rows and columns that are read at once."""
    n_bands, n_rows, n_columns = cube.shape
    height, width = (edge * max(1, EDGE // edge) for edge in _chunks(cube))
    height, width = height if _has_tiles(cube) else EDGE, min(width, n_columns)
    fitting = READ_BYTES // (n_bands * width * _dtype(cube).itemsize)
    return max(1, min(height, n_rows, fitting)), width


def within(steps: Generator[float, None, T], start: float, stop: float) -> Generator[float, None, T]:
    """The same steps as a part of more: their share of 0 to 1 lies between `start` and `stop`."""
    while True:
        try:
            share = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        yield start + (stop - start) * share
