"""MATLAB 5 to 7 files (.mat) that hold one cube (row, column, band)."""

from __future__ import annotations

from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from napari_seedlab.core import InputError, Modality, ScanFacts
from napari_seedlab.files.source import ArraySource
from napari_seedlab.io.envi import NM_RANGE
from napari_seedlab.io.facts import scan_name
from napari_seedlab.io.gate import MAX_PLANE_BYTES, SAMPLE_BYTES, n_bytes, regular_file, shown_name
from napari_seedlab.io.last_opened import LastOpened
from napari_seedlab.io.matlab_walk import Numbers, Variable, shown, walk

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

NM_FROM = 100.0  # a list of wavelengths that ends below is in µm
MASK_NAMES = ("map", "mask", "gt", "truth", "label")  # parts of names that tell a mask from other maps
FIX_LIST = "Correct or remove the wavelength list"
ONE_CUBE = "Save one cube (row, column, band) of real numbers"


class Cube:
    """The cube of an opened file, by the band.

    Attributes
    ----------
    name : str
        Shown in messages.
    variable : Variable
    others : list of Variable
        The other numeric variables.
    notes : list of str
    """

    def __init__(self, stream: BinaryIO, facts: os.stat_result, name: str) -> None:
        variables = walk(stream, facts.st_size, name)
        self.name, self.facts, self._stream = name, facts, stream
        self.notes: list[str] = []
        self.variable = self._chosen([v for v in variables if len(v.shape) == 3], variables)
        self.others = [v for v in variables if v is not self.variable]
        self._numbers = Numbers(stream, self.variable, name)

    def _chosen(self, cubes: list[Variable], variables: list[Variable]) -> Variable:
        if not cubes:
            held = ", ".join(f"{shown(v.name)} {_by(v.shape)}" for v in variables[:3]) or "no numbers"
            raise InputError(self.name, f"holds no 3-D array of numbers (but {held})", ONE_CUBE)
        largest = max(cubes, key=lambda v: prod(v.shape))
        if largest.is_complex:
            raise InputError(self.name, f"variable {shown(largest.name)} has complex values", ONE_CUBE)
        if 0 in largest.shape:
            raise InputError(self.name, f"holds no voxels (shape {largest.shape})", ONE_CUBE)
        if self.n_plane(largest) > MAX_PLANE_BYTES:
            cause = (
                f"one band has {n_bytes(self.n_plane(largest))}, at most {n_bytes(MAX_PLANE_BYTES)} are taken"
            )
            raise InputError(self.name, cause, "Save it as an ENVI cube")
        if len(cubes) > 1:
            self.notes.append(f"variable {shown(largest.name)} taken, the largest of {len(cubes)} cubes")
        return largest

    @staticmethod
    def n_plane(variable: Variable) -> int:
        """Bytes of one band."""
        return variable.shape[0] * variable.shape[1] * variable.dtype.itemsize

    @property
    def shape(self) -> tuple[int, int, int]:
        """Lengths (band, y, x)."""
        rows, columns, bands = self.variable.shape
        return bands, rows, columns

    def plane(self, band: int) -> np.ndarray[Any, Any]:
        """One band (y, x); MATLAB stores it column by column."""
        _, rows, columns = self.shape
        values = self._numbers.read(band * rows * columns, rows * columns)
        return np.ascontiguousarray(values.reshape(columns, rows).T)

    def check(self) -> None:
        """Unpack up to 64 MiB, so that damage is told now, and refuse a cube without a finite value."""
        is_finite, n_seen = self.variable.dtype.kind != "f", 0
        for band in range(self.shape[0]):
            plane = self.plane(band)
            is_finite, n_seen = is_finite or bool(np.isfinite(plane).any()), n_seen + plane.nbytes
            if is_finite and n_seen >= SAMPLE_BYTES:
                return
        if not is_finite:
            cause = "holds no finite voxel (all are NaN or infinite)"
            raise InputError(self.name, cause, "Export the image again")
        self._numbers.finish()

    def wavelengths(self, notes: list[str]) -> tuple[float, ...] | None:
        """Band centres in nm from a variable named wave… or wavl… with one value for each band."""
        named = [v for v in self.others if v.name.lower().startswith(("wave", "wavl"))]
        lists = [v for v in named if prod(v.shape) == self.shape[0] and not v.is_complex]
        if not lists:
            cause = "no wavelengths in the file"
            if named:
                cause = f"{shown(named[0].name)} has {prod(named[0].shape)} values for {self.shape[0]} bands"
            notes.append(f"{cause}: bands are numbered")
            return None
        values = Numbers(self._stream, lists[0], self.name).read(0, self.shape[0]).astype(np.float64)
        return self._in_nm(shown(lists[0].name), values, notes)

    def _in_nm(self, name: str, values: np.ndarray[Any, Any], notes: list[str]) -> tuple[float, ...]:
        steps = np.diff(values)
        if not np.isfinite(values).all():
            raise InputError(self.name, f"{name} is NaN or infinite: spectra have no valid axis", FIX_LIST)
        if not ((steps > 0).all() or (steps < 0).all()):
            raise InputError(self.name, f"{name} is not in order: spectra have no valid axis", FIX_LIST)
        factor = 1e3 if values.max() < NM_FROM else 1.0
        low, high = values.min() * factor, values.max() * factor
        if low < NM_RANGE[0] or high > NM_RANGE[1]:
            cause = f"{name} runs from {low:g} to {high:g} nm: spectra have no valid axis"
            raise InputError(self.name, cause, FIX_LIST)
        notes.append(f"wavelength units not stated: read as {'µm' if factor > 1 else 'nm'}")
        return tuple(round(float(v) * factor, 6) for v in values)


def describe(path: Path, modality: Modality | None) -> tuple[ScanFacts, ArraySource]:
    """Facts and source of the one cube in the file; see :class:`napari_seedlab.io.formats.Format`."""
    cube = _kept(path)
    cube.check()
    notes = [*cube.notes, "voxel size not stated by the file"]
    kind = modality or (Modality.HSI if cube.shape[0] > 1 else Modality.IMAGE)
    axes = ("band" if kind is Modality.HSI else "z", "y", "x")
    wavelengths = cube.wavelengths(notes) if kind is Modality.HSI else None
    dtype = cube.variable.dtype.newbyteorder("=")
    facts = ScanFacts(
        scan_name(path), kind, cube.shape, axes, dtype.name, None, wavelengths,
        str(path), cube.facts.st_size, cube.facts.st_mtime_ns,
        tuple(notes),
    )  # fmt: skip
    return facts, ArraySource(str(path), "encoded", cube.shape, axes, dtype.str, size=cube.facts.st_size)


def planes(path: Path, modality: Modality | None, start: int, stop: int) -> Iterator[np.ndarray[Any, Any]]:
    """Bands (y, x) `start` to `stop`, in native byte order."""
    cube = _kept(path)
    for band in range(start, stop):
        yield cube.plane(band)


@contextmanager
def _opened(path: Path) -> Iterator[Cube]:
    with regular_file(path) as (stream, facts):
        yield Cube(stream, facts, shown_name(path))


_kept = LastOpened(_opened)  # the next band goes on where the last one ended


def read_mask(path: Path, shape_yx: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The mask (y, x) in a MATLAB 5 to 7 file: its array of numbers of this shape, true where not 0.

    Parameters
    ----------
    path : path-like
        The file of the cube, or one of its own.
    shape_yx : tuple of int
        Rows and columns of the cube. Nothing larger is unpacked, so any process may ask.

    Returns
    -------
    (y, x) bool

    Raises
    ------
    InputError
        The file cannot be read, holds no mask on this grid, or several that no name tells apart.
    """
    name = shown_name(path)
    with regular_file(path) as (stream, facts):
        variables = walk(stream, facts.st_size, name)
        variable = _mask_of(variables, tuple(shape_yx), name)
        values = Numbers(stream, variable, name).read(0, prod(variable.shape))
    if not np.isfinite(values).all():
        raise InputError(name, f"mask {shown(variable.name)} has NaN or infinite values", "Use 0 and 1")
    rows, columns = variable.shape
    return np.ascontiguousarray(values.reshape(columns, rows).T != 0)


def _mask_of(variables: list[Variable], shape: tuple[int, ...], name: str) -> Variable:
    flat = [v for v in variables if len(v.shape) == 2 and not v.is_complex]
    fits = [v for v in flat if v.shape == shape]
    named = [v for v in fits if v.is_logical or any(word in v.name.lower() for word in MASK_NAMES)]
    if len(fits) > 1 and len(named) == 1:
        fits = named
    if len(fits) == 1:
        return fits[0]
    if fits:
        cause = f"holds {len(fits)} arrays of {_by(shape)} ({', '.join(shown(v.name) for v in fits[:3])})"
        raise InputError(name, cause, "Save the mask alone")
    held = ", ".join(f"{shown(v.name)} {_by(v.shape)}" for v in flat[:3]) or "none"
    cause = f"holds no mask of {_by(shape)} pixels (2-D arrays: {held})"
    raise InputError(name, cause, "Use the mask made for this cube")


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
