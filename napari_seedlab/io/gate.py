"""What a foreign file must satisfy before any library may look into it."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from napari_seedlab.core import InputError
from napari_seedlab.files import open_array
from napari_seedlab.files.source import ArraySource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_NAME = 72  # characters of a file name in a message
RATIO_CAP = 10_000  # declared bytes for each byte of the file; real CT reaches some hundreds
MAX_PLANE_BYTES = 256 * 2**20  # of one decoded plane
SAMPLE_BYTES = 64 * 2**20  # of floating voxels looked at for a finite value
COPY_AGAIN = "Copy the file again from its origin"

_CAUSES = {
    errno.ENOENT: ("is not there", "Check the path"),
    errno.EACCES: ("may not be read by you", "Ask its owner for permission"),
    errno.EPERM: ("may not be read by you", "Ask its owner for permission"),
    errno.ELOOP: ("is a link that leads back to itself", "Choose the file that the link was meant for"),
    errno.ENAMETOOLONG: ("has a name that is too long for this drive", "Rename it"),
    errno.ENOTDIR: ("lies below a file, not below a folder", "Check the path"),
    errno.ENXIO: ("is a device or a socket, not a file", "Choose a regular file"),
}


def shown_name(path: str | os.PathLike[str]) -> str:
    r"""The last part of `path`, fit for one line: unprintable characters escaped, long names shortened.

    Examples
    --------
    >>> shown_name("/data/a" + chr(10) + "b.tif")
    'a\\nb.tif'
    """
    name = os.path.basename(os.path.normpath(os.fspath(path))) or os.fspath(path)
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    if len(text) <= MAX_NAME:
        return text
    half = (MAX_NAME - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def n_bytes(count: int) -> str:
    """A number of bytes in words, such as ``37 GiB``."""
    if count >= 2**70:
        return "over 2^70 bytes"
    for unit, size in (("EiB", 2**60), ("PiB", 2**50), ("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if count >= 10 * size or (count >= size and unit != "MiB"):
            return f"{count / size:.0f} {unit}"
    return f"{count:,} bytes"


@contextmanager
def regular_file(path: str | os.PathLike[str]) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """Open `path` for reading if it is a regular file; pipes and devices are refused without waiting.

    Yields
    ------
    stream : binary file
    facts : os.stat_result
        Of the opened file itself, not of a name that may change.

    Raises
    ------
    InputError
        It is missing, unreadable, empty, a folder, a pipe, a device or a loop of links.
    """
    name = shown_name(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None) or 0
        cause, remedy = _CAUSES.get(number, (f"cannot be opened ({error})", "Check the path"))
        raise InputError(name, cause, remedy) from error
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)
        raise InputError(name, f"is {_kind(facts.st_mode)}, not a file", "Choose a regular file")
    with os.fdopen(descriptor, "rb") as stream:
        if facts.st_size == 0:
            raise InputError(name, "is empty (0 bytes)", "Save or export it again")
        yield stream, facts


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"


def check_size(name: str, declared: int, held: int, ratio: int = 1) -> None:
    """Refuse a header that declares more bytes than `ratio` times those that the file holds."""
    if declared > held * ratio:
        cause = f"declares {n_bytes(declared)} of voxels, the file holds {n_bytes(held)}"
        raise InputError(name, cause, COPY_AGAIN)


def check_inside(name: str, data: Path, header: Path) -> None:
    """Refuse a data file whose real place is outside the folder of its header."""
    folders = {header.parent.resolve(), header.resolve().parent}
    if data.resolve().parent not in folders:
        raise InputError(
            name, f"its data file {shown_name(data)} points outside its folder", "Put both in one folder"
        )


def check_dtype(name: str, dtype: np.dtype[np.generic]) -> None:
    """Refuse voxels that are not real numbers."""
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        cause = f"has voxels of type {dtype.name}"
        raise InputError(name, cause, "Convert them to whole or real numbers of at most 64 bits")


def check_finite(name: str, source: ArraySource) -> None:
    """Refuse floating voxels without one finite value (up to 64 MiB of them are looked at)."""
    if np.dtype(source.dtype).kind != "f":
        return
    blocks = _page_blocks(source) if source.layout == "pages" else _flat_blocks(source)
    if not any(np.isfinite(block).any() for block in blocks):
        raise InputError(name, "holds no finite voxel (all are NaN or infinite)", "Export the image again")


def _page_blocks(source: ArraySource) -> Iterator[np.ndarray]:
    array = open_array(source)
    plane = prod(array.shape[1:]) * array.dtype.itemsize
    step = max(1, -(-plane * array.shape[0] // SAMPLE_BYTES))
    for z in range(0, array.shape[0], step):
        yield array[z]


def _flat_blocks(source: ArraySource) -> Iterator[np.ndarray]:
    n = prod(source.shape)
    flat = open_array(ArraySource(source.path, "raw", (n,), ("voxel",), source.dtype, offset=source.offset))
    length = max(1, 2**20 // flat.dtype.itemsize)
    step = length * max(1, -(-n * flat.dtype.itemsize // SAMPLE_BYTES))
    for start in range(0, n, step):
        yield flat[start : start + length]
