"""NumPy's .npy files, by a header parser of our own that evaluates nothing."""

from __future__ import annotations

import re
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from napari_seedlab.core import InputError, Modality, ScanFacts
from napari_seedlab.files.source import ArraySource
from napari_seedlab.io.facts import scan_name
from napari_seedlab.io.gate import check_dtype, check_finite, check_size, n_bytes, regular_file, shown_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_HEADER = 10_000  # characters, NumPy's own limit
SAVE_AGAIN = "Save it again with numpy.save"
HEADER = re.compile(
    r"\s*\{\s*'descr':\s*'(?P<descr>[^']{1,32})',\s*'fortran_order':\s*(?P<fortran>True|False),"
    r"\s*'shape':\s*\((?P<shape>[0-9, ]*)\),?\s*\}\s*"
)
OBJECTS = re.compile(r"'descr':\s*(?:'\|O|\[)")


def describe(path: Path, modality: Modality | None) -> tuple[ScanFacts, ArraySource]:
    """Facts and source of a 2-D or 3-D array; see :class:`napari_seedlab.io.formats.Format`.

    Fortran order is described as the C order it is on disk, axes (x, y, z); the import copies it
    into (z, y, x).
    """
    name = shown_name(path)
    with regular_file(path) as (stream, facts):
        dtype, is_fortran, shape, offset = _header(name, stream, facts.st_size)
    check_size(name, prod(shape) * dtype.itemsize, facts.st_size - offset)
    z, y, x = shape if len(shape) == 3 else (1, *shape)
    full = (z, y, x)
    kind = modality or (Modality.IMAGE if len(shape) == 2 else Modality.CT)
    axes = ("band" if kind is Modality.HSI else "z", "y", "x")
    stored_shape, stored_axes = (full[::-1], axes[::-1]) if is_fortran else (full, axes)
    source = ArraySource(
        str(path), "raw", stored_shape, stored_axes, dtype.str, offset=offset, size=facts.st_size
    )
    check_finite(name, source)
    notes = ("voxel size not stated by the file",)
    described = ScanFacts(
        scan_name(path), kind, full, axes, dtype.name, None, None,
        str(path), facts.st_size, facts.st_mtime_ns, notes,
    )  # fmt: skip
    return described, source


def planes(path: Path, modality: Modality | None, start: int, stop: int) -> Iterator[np.ndarray[Any, Any]]:
    """Never needed: such files are not encoded."""
    raise InputError(shown_name(path), "needs no decoding", "Read it directly")


def _header(name: str, stream: BinaryIO, size: int) -> tuple[np.dtype[Any], bool, tuple[int, ...], int]:
    text, offset = _header_text(name, stream, size)
    if OBJECTS.search(text[:MAX_HEADER]):
        cause = "holds Python objects or records, which are unsafe to open"
        raise InputError(name, cause, "Save plain numbers with numpy.save")
    match = HEADER.fullmatch(text)
    if match is None:
        raise InputError(name, f"has a broken .npy header ({len(text):,} characters)", SAVE_AGAIN)
    try:
        dtype = np.dtype(match["descr"])
        lengths = tuple(int(n) for n in match["shape"].split(",") if n.strip())
    except (TypeError, ValueError):
        raise InputError(name, f"states the voxel type {match['descr']!r}", SAVE_AGAIN) from None
    check_dtype(name, dtype)
    if len(lengths) not in (2, 3):
        raise InputError(name, f"has {len(lengths)} axes, 2 or 3 are needed", "Save one volume (z, y, x)")
    if 0 in lengths:
        raise InputError(name, f"holds no voxels (shape {lengths})", SAVE_AGAIN)
    dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype
    return dtype, match["fortran"] == "True", lengths, offset


def _header_text(name: str, stream: BinaryIO, size: int) -> tuple[str, int]:
    start = stream.read(12)
    if start[:6] != b"\x93NUMPY":
        raise InputError(name, f"is not a .npy file (it starts with {start[:6]!r})", SAVE_AGAIN)
    width = 2 if start[6:7] == b"\x01" else 4
    if len(start) < 12 or start[6] not in (1, 2, 3):
        raise InputError(name, f"is cut or of an unknown version ({size:,} bytes)", SAVE_AGAIN)
    length, first = int.from_bytes(start[8 : 8 + width], "little"), 8 + width
    if length > min(MAX_HEADER, size - first):
        cause = f"states a header of {n_bytes(length)}, the file holds {n_bytes(size)}"
        raise InputError(name, cause, SAVE_AGAIN)
    stream.seek(first)
    return stream.read(length).decode("latin-1"), first + length
