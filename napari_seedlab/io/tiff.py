"""TIFF, OME-TIFF and ImageJ stacks."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np

from napari_seedlab.core import InputError, Modality, ScanFacts
from napari_seedlab.files.source import ArraySource
from napari_seedlab.io.facts import scan_name
from napari_seedlab.io.gate import (
    COPY_AGAIN,
    MAX_PLANE_BYTES,
    check_dtype,
    check_finite,
    check_size,
    n_bytes,
    regular_file,
    shown_name,
)
from napari_seedlab.io.last_opened import LastOpened
from napari_seedlab.io.tiff_gate import walk_pages
from napari_seedlab.io.tiff_voxels import voxel_size

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

STACK_AXES = "ZQIRTC"  # read as depth when it is the only long axis
MAX_CHANNELS = 7  # that ImageJ shows together; more are slices that a writer called channels
OVERFLOWS = ("INSUFFICIENT_SPACE", "BUF_ERROR", "too small")  # what codecs say when their output is full
ONE_CHANNEL = "Save one channel as a stack (z, y, x)"


Opened: TypeAlias = "tuple[Any, Stack, os.stat_result]"  # the TiffFile, its planes, facts of the file


@dataclass(frozen=True)
class Stack:
    """One series of an opened TIFF, seen as planes.

    Attributes
    ----------
    name : str
        Shown in messages.
    series : tifffile.TiffPageSeries
    stream : binary file
    axes : str
        Long axes of the series: at most one stack axis, then ``Y``, ``X`` and perhaps ``S``.
    lengths : tuple of int
        Of those axes.
    size : int
        Bytes of the file.
    """

    name: str
    series: Any
    stream: BinaryIO
    axes: str
    lengths: tuple[int, ...]
    size: int

    @property
    def stack_axis(self) -> str:
        """The axis that is read as depth; empty for a single plane."""
        return next((a for a in self.axes if a in STACK_AXES), "")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Lengths (z, y, x)."""
        length = dict(zip(self.axes, self.lengths, strict=True))
        return (length.get(self.stack_axis, 1), length["Y"], length["X"])

    @property
    def has_samples(self) -> bool:
        """Whether each voxel is a colour."""
        return "S" in self.axes

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """Stored shape of one plane, in file order, colours included."""
        return tuple(n for a, n in zip(self.axes, self.lengths, strict=True) if a != self.stack_axis)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Voxel type as shown, in native byte order; bits become uint8."""
        dtype = np.dtype(self.series.dtype)
        return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")


def describe(path: Path, modality: Modality | None) -> tuple[ScanFacts, ArraySource]:
    """Facts and source of the first image series; see :class:`napari_seedlab.io.formats.Format`."""
    notes: list[str] = []
    tif, stack, facts = _kept(path)
    with one_line_errors(stack.name):
        kind = modality or (Modality.IMAGE if stack.shape[0] == 1 else Modality.CT)
        axes = ("band" if kind is Modality.HSI else "z", "y", "x")
        _note_oddities(tif, stack, kind, notes)
        size_um = voxel_size(tif, notes)
        source = _source(tif, stack, str(path), axes)
        if source.layout == "encoded":
            first = _plane(stack, 0)  # a file that cannot be decoded is refused now, not later
            _check_plane_finite(stack, first)
    if source.layout != "encoded":
        check_finite(stack.name, source)
    if size_um and kind is Modality.HSI:
        size_um = (1.0, *size_um[1:])
    described = ScanFacts(
        scan_name(path), kind, stack.shape, axes, stack.dtype.name, size_um, None,
        str(path), facts.st_size, facts.st_mtime_ns, tuple(notes),
    )  # fmt: skip
    return described, source


def planes(path: Path, modality: Modality | None, start: int, stop: int) -> Iterator[np.ndarray[Any, Any]]:
    """Decoded planes (y, x) `start` to `stop`; colours become their mean."""
    _, stack, _ = _kept(path)
    with one_line_errors(stack.name):
        for z in range(start, stop):
            yield _plane(stack, z)


@contextmanager
def one_line_errors(name: str) -> Iterator[None]:
    """Errors of the library as one line about `name`."""
    try:
        yield
    except (InputError, GeneratorExit):
        raise
    except MemoryError as error:
        cause = "needs more memory than a reader may take"
        raise InputError(name, cause, "Save it in smaller pages") from error
    except Exception as error:  # the edge to a foreign library
        cause = f"cannot be decoded ({str(error)[:60] or type(error).__name__})"
        if any(word in str(error) for word in OVERFLOWS):
            cause = "a block unpacks to more than it declares, or is damaged"
        raise InputError(name, cause, "Write it again, best without compression") from error


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """The file behind our gate, parsed by tifffile; foreign errors become one line."""
    import tifffile

    name = shown_name(path)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what matters is checked and said here
    with regular_file(path) as (stream, facts), one_line_errors(name):
        pages = walk_pages(stream, facts.st_size, name)
        stream.seek(0)
        options = {"_multifile": False, "_useframes": pages.is_uniform}
        with tifffile.TiffFile(stream, name=path.name, **options) as tif:
            yield tif, _stack(tif, stream, name, facts.st_size), facts


_kept = LastOpened(opened)  # a page list takes long to walk


def _stack(tif: Any, stream: BinaryIO, name: str, size: int) -> Stack:
    if not tif.series:
        raise InputError(name, "holds no image inside", COPY_AGAIN)
    series = tif.series[0]
    shape = tuple(int(n) for n in series.shape)
    if 0 in shape or len(shape) < 2:
        raise InputError(name, f"holds no voxels (shape {shape})", COPY_AGAIN)
    check_dtype(name, np.dtype(series.dtype))
    kept = [(a, n) for a, n in zip(series.axes, shape, strict=True) if n > 1 or a in "YX"]
    axes, lengths = "".join(a for a, _ in kept), tuple(n for _, n in kept)
    stack = Stack(name, series, stream, axes, lengths, size)
    _check_axes(stack)
    if stack.series.dataoffset is not None:
        check_size(name, int(series.dataoffset) + _n_stored(stack), size)
    return stack


def _n_stored(stack: Stack) -> int:
    return int(prod(stack.lengths) * np.dtype(stack.series.dtype).itemsize)


def _check_axes(stack: Stack) -> None:
    shown = ", ".join(f"{a} {n}" for a, n in zip(stack.axes, stack.lengths, strict=True))
    others = [a for a in stack.axes if a not in "YXS"]
    order = "".join(a for a in stack.axes if a in "YX")
    if len(others) > 1 or order != "YX" or any(a not in STACK_AXES for a in others):
        raise InputError(
            stack.name, f"has the axes {shown}; one stack axis beside y, x is needed", ONE_CHANNEL
        )
    if stack.has_samples:
        n, photometric = (
            dict(zip(stack.axes, stack.lengths, strict=True))["S"],
            stack.series.keyframe.photometric,
        )
        if n > 4 or photometric == 5 or (stack.axes[0] == "S" != stack.axes[-1] and others):
            raise InputError(stack.name, f"has {n} samples in a voxel (axes {shown})", ONE_CHANNEL)


def _note_oddities(tif: Any, stack: Stack, kind: Modality, notes: list[str]) -> None:
    if stack.stack_axis == "C" and kind is not Modality.HSI and stack.shape[0] > MAX_CHANNELS:
        notes.append("its channels are read as depth")
    elif stack.stack_axis == "C" and kind is not Modality.HSI:
        cause = f"has {stack.shape[0]} channels, not a depth axis"
        raise InputError(stack.name, cause, "Save one channel, or open it as a cube (modality hsi)")
    if stack.stack_axis == "T":
        notes.append("its time axis is read as depth")
    if stack.has_samples:
        notes.append("colours became their mean")
    if len(tif.series) > 1:
        notes.append(f"the first of {len(tif.series)} images in the file is shown")
    if tif.is_ome and stack.series.kind != "ome":
        notes.append("one file of a set: only its own pages are shown")
    if stack.series.keyframe.photometric == 0:
        notes.append("stored with white as zero: shown as stored")
    if kind is Modality.HSI:
        notes.append("no wavelengths in the file: bands are numbered")


def _source(tif: Any, stack: Stack, path: str, axes: tuple[str, str, str]) -> ArraySource:
    """Where the voxels can be read without a codec, else layout ``encoded``."""
    series, dtype = stack.series, np.dtype(stack.series.dtype).newbyteorder(tif.byteorder)
    encoded = ArraySource(path, "encoded", stack.shape, axes, stack.dtype.str, size=stack.size)
    if stack.has_samples or not _is_plain(series.keyframe, dtype):
        _check_extents(stack)
        return encoded
    if series.dataoffset is not None:
        _check_extents(stack)
        offset = int(series.dataoffset)
        return ArraySource(path, "raw", stack.shape, axes, dtype.str, offset=offset, size=stack.size)
    offsets = _page_offsets(stack)
    if len(offsets) != stack.shape[0]:
        return encoded
    return ArraySource(path, "pages", stack.shape, axes, dtype.str, page_offsets=offsets, size=stack.size)


def _is_plain(page: Any, dtype: np.dtype[Any]) -> bool:
    """Whether the bytes of a page are its voxels."""
    return bool(
        page.compression == 1
        and page.predictor == 1
        and page.fillorder == 1
        and not page.is_tiled
        and dtype.kind in "iuf"
        and page.bitspersample == dtype.itemsize * 8
    )


def _page_offsets(stack: Stack) -> tuple[int, ...]:
    """First byte of each page whose strips follow each other; empty if one does not."""
    plane = prod(stack.plane_shape) * np.dtype(stack.series.dtype).itemsize
    offsets = []
    for page in stack.series.pages:
        if page is None:
            return ()
        starts, counts = np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64)
        if starts.size == 0 or (starts[:-1] + counts[:-1] != starts[1:]).any():
            return ()
        first = int(starts[0])
        if first + plane > stack.size:
            raise _cut(stack, first + plane)
        if counts.sum() < plane:
            raise InputError(
                stack.name, f"a page holds {counts.sum():,} bytes, {plane:,} are declared", COPY_AGAIN
            )
        offsets.append(first)
    return tuple(offsets)


def _check_extents(stack: Stack) -> None:
    """Refuse blocks that end behind the end of the file."""
    end, series = 0, stack.series
    for page in [series.keyframe] if series.dataoffset is not None else series.pages:
        if page is not None and len(page.dataoffsets):
            ends = np.asarray(page.dataoffsets, np.uint64) + np.asarray(page.databytecounts, np.uint64)
            end = max(end, int(ends.max()))
    if end > stack.size:
        raise _cut(stack, end)


def _cut(stack: Stack, end: int) -> InputError:
    cause = f"is cut: its blocks end at byte {end:,}, the file at {stack.size:,}"
    return InputError(stack.name, cause if end < 2**63 else "a block lies outside the file", COPY_AGAIN)


def _plane(stack: Stack, z: int) -> np.ndarray[Any, Any]:
    """One plane (y, x) in native byte order."""
    stored = _stored_plane(stack, z)
    if stack.has_samples:
        axes = "".join(a for a in stack.axes if a != stack.stack_axis)
        colours = np.moveaxis(stored, axes.index("S"), -1)
        n = 3 if colours.shape[-1] >= 3 else 1  # the rest is opacity
        mean = colours[..., :n].mean(axis=-1, dtype=np.float64)
        stored = mean if stack.dtype.kind == "f" else np.rint(mean)
    return np.ascontiguousarray(stored, stack.dtype)


def _stored_plane(stack: Stack, z: int) -> np.ndarray[Any, Any]:
    series, n_pages = stack.series, len(stack.series.pages)
    if series.dataoffset is not None:
        dtype = np.dtype(series.dtype).newbyteorder(series.keyframe.parent.byteorder)
        n = prod(stack.plane_shape) * dtype.itemsize
        _check_plane_bytes(stack, n)
        stack.stream.seek(int(series.dataoffset) + z * n)
        return np.frombuffer(stack.stream.read(n), dtype).reshape(stack.plane_shape)
    if n_pages == stack.shape[0]:
        page = series.pages[z]
        if page is None:
            raise InputError(stack.name, f"plane {z + 1} of {n_pages} is missing", COPY_AGAIN)
        return np.asarray(page.asarray(maxworkers=1)).reshape(stack.plane_shape)
    _check_plane_bytes(stack, _n_stored(stack))
    whole = np.asarray(series.asarray(maxworkers=1)).reshape(stack.lengths)
    at = stack.axes.index(stack.stack_axis) if stack.stack_axis else 0
    return np.take(whole, z, axis=at) if stack.stack_axis else whole


def _check_plane_bytes(stack: Stack, n: int) -> None:
    if n > MAX_PLANE_BYTES:
        cause = f"one block unpacks to {n_bytes(n)}, at most {n_bytes(MAX_PLANE_BYTES)} are taken"
        raise InputError(stack.name, cause, "Save it as one page for each slice")


def _check_plane_finite(stack: Stack, first: np.ndarray[Any, Any]) -> None:
    if first.dtype.kind != "f" or np.isfinite(first).any():
        return
    others = sorted({stack.shape[0] // 2, stack.shape[0] - 1} - {0})
    if not any(np.isfinite(_plane(stack, z)).any() for z in others):
        raise InputError(
            stack.name, "holds no finite voxel (all are NaN or infinite)", "Export the image again"
        )
