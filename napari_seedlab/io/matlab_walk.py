"""The variables of a MATLAB 5 to 7 file, by a walk of its headers that trusts no length.

After "MAT-File Format", The MathWorks, chapter 1 (level 5). Such a file is 128 bytes of header, then
elements: a variable as it is, or packed by zlib. Only the first bytes of each are unpacked here.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from napari_seedlab.core import InputError
from napari_seedlab.io.gate import COPY_AGAIN, RATIO_CAP, check_size

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST = 128  # bytes before the first variable
HEAD = 4096  # unpacked bytes of a variable that are looked at: type, lengths, name
MAX_VARIABLES = 1000
MATRIX, PACKED = 14, 15  # kinds of elements
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMERIC = range(6, 16)  # array classes: double, single, whole numbers
LOGICAL, COMPLEX = 0x200, 0x800  # array flags
SAVE_AGAIN = "Save it again with save(..., '-v7')"


@dataclass(frozen=True)
class Variable:
    """One array of numbers in the file.

    Attributes
    ----------
    name : str
    shape : tuple of int
        As MATLAB counts: (row, column, ...), the first index runs fastest.
    dtype : numpy.dtype
        As stored, which may be narrower than MATLAB's class.
    is_complex, is_logical, is_packed : bool
    start : int
        First byte of the element's content in the file.
    n_held : int
        Bytes of that content.
    data_at : int
        First byte of the numbers within the (unpacked) content.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_complex: bool
    is_logical: bool
    is_packed: bool
    start: int
    n_held: int
    data_at: int

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers."""
        return prod(self.shape) * self.dtype.itemsize


def walk(stream: BinaryIO, size: int, subject: str) -> list[Variable]:
    """The numeric variables of an opened file of `size` bytes; structs, cells and texts are left out.

    Raises
    ------
    InputError
        It is no such file, is cut, or a length in it cannot be true; `subject` names it.
    """
    order = _byte_order(stream.read(FIRST), size, subject)
    return [v for v in _elements(stream, order, size, subject) if v is not None]


def _byte_order(head: bytes, size: int, subject: str) -> str:
    if head[:10] == b"MATLAB 7.3" or head[:8] == b"\x89HDF\r\n\x1a\n":
        cause = "is a MATLAB 7.3 file (HDF5), which Seedlab does not read"
        raise InputError(subject, cause, "Save it with save(..., '-v7')")
    if len(head) < FIRST:
        raise InputError(subject, f"is cut or no MATLAB file ({size:,} bytes)", COPY_AGAIN)
    order = {b"IM": "<", b"MI": ">"}.get(head[126:128], "")
    if not order or 0 in head[:4]:
        cause = f"is not a MATLAB 5 to 7 file (it starts with {head[:6]!r})"
        raise InputError(subject, cause, "Save it with save(..., '-v7')")
    return order


def _elements(stream: BinaryIO, order: str, size: int, subject: str) -> Iterator[Variable | None]:
    at = FIRST
    for _ in range(MAX_VARIABLES):
        if at == size:
            return
        stream.seek(at)
        tag = stream.read(8)
        kind, n_held = struct.unpack(order + "II", tag.ljust(8, b"\0"))
        if at + 8 + n_held > size or len(tag) < 8:
            cause = f"is cut: a variable ends at byte {at + 8 + n_held:,}, the file at {size:,}"
            raise InputError(subject, cause, COPY_AGAIN)
        if kind not in (MATRIX, PACKED):
            raise InputError(subject, f"holds an element of unknown kind {kind} at byte {at:,}", SAVE_AGAIN)
        yield _variable(stream, order, (at + 8, n_held, kind == PACKED), subject)
        at += 8 + n_held
    raise InputError(subject, f"holds over {MAX_VARIABLES:,} variables", "Save the cube alone")


def _variable(stream: BinaryIO, order: str, place: tuple[int, int, bool], subject: str) -> Variable | None:
    """The array at `place` (first byte, bytes, whether packed); None if it holds no numbers."""
    start, n_held, is_packed = place
    raw = stream.read(min(n_held, HEAD))
    if is_packed:
        try:
            raw = zlib.decompressobj().decompress(raw, HEAD)
        except zlib.error as error:
            raise InputError(subject, f"cannot be unpacked ({error})", COPY_AGAIN) from error
    try:
        found = _parsed(raw, order, 8 if is_packed else 0)
    except (struct.error, IndexError, ValueError) as error:
        raise InputError(
            subject, f"the header of a variable at byte {start:,} is damaged", COPY_AGAIN
        ) from error
    if found is None:
        return None
    name, shape, flags, kind, n_data, data_at = found
    if kind not in NUMBERS:
        raise InputError(subject, f"variable {shown(name)} has numbers of unknown kind {kind}", SAVE_AGAIN)
    variable = Variable(
        name, shape, np.dtype(order + NUMBERS[kind]), bool(flags & COMPLEX), bool(flags & LOGICAL),
        is_packed, start, n_held, data_at,
    )  # fmt: skip
    if variable.nbytes != n_data:
        cause = (
            f"variable {shown(name)} states {variable.nbytes:,} bytes by its shape, {n_data:,} by its length"
        )
        raise InputError(subject, cause, COPY_AGAIN)
    check_size(subject, data_at + n_data, n_held, RATIO_CAP if is_packed else 1)
    return variable


def _parsed(raw: bytes, order: str, at: int) -> tuple[str, tuple[int, ...], int, int, int, int] | None:
    """Name, shape, flags, kind of number, bytes and place of the numbers; None for other classes."""
    kind, n, data, at = _tag(raw, order, at)
    if (kind, n) != (6, 8):
        raise ValueError("no array flags")
    (flags,) = struct.unpack_from(order + "I", raw, data)
    if flags & 0xFF not in NUMERIC:
        return None
    kind, n, data, at = _tag(raw, order, at)
    shape = struct.unpack_from(f"{order}{n // 4}i", raw, data)
    if kind != 5 or n % 4 or not 2 <= len(shape) <= 32 or min(shape) < 0:
        raise ValueError("no lengths")
    kind, n, data, at = _tag(raw, order, at)
    if kind not in (1, 2) or data + n > len(raw):
        raise ValueError("no name")
    name = raw[data : data + n].decode("latin-1")
    kind, n, data, _ = _tag(raw, order, at)
    return name, shape, flags, kind, n, data


def _tag(raw: bytes, order: str, at: int) -> tuple[int, int, int, int]:
    """Kind and bytes of the part at `at`, where its data begin and where the next part does."""
    kind, n = struct.unpack_from(order + "II", raw, at)
    if kind >> 16:  # short form: up to four bytes stand within the tag
        if kind >> 16 > 4:
            raise ValueError("a short part of over four bytes")
        return kind & 0xFFFF, kind >> 16, at + 4, at + 8
    return kind, n, at + 8, at + 8 + -(-n // 8) * 8


def shown(name: str) -> str:
    """A variable's name, fit for one line."""
    return repr(name if len(name) <= 31 else name[:30] + "…")


class Numbers:
    """The numbers of one variable, read forwards; a packed one is unpacked piece by piece.

    Parameters
    ----------
    stream : binary file
    variable : Variable
    subject : str
        Named in errors.
    """

    PIECE = 256 * 1024

    def __init__(self, stream: BinaryIO, variable: Variable, subject: str) -> None:
        self._stream, self._variable, self._subject = stream, variable, subject
        self._rewind()

    def _rewind(self) -> None:
        """Start anew."""
        self._unpacker = zlib.decompressobj()
        self._fed, self._at = 0, 0  # bytes taken from the file; bytes of content given out
        if self._variable.is_packed:
            self._take(self._variable.data_at)
            self._at = 0

    def read(self, first: int, count: int) -> np.ndarray[Any, Any]:
        """`count` numbers from number `first` on, in native byte order; going back starts anew."""
        dtype = self._variable.dtype
        begin, n = first * dtype.itemsize, count * dtype.itemsize
        if not self._variable.is_packed:
            self._stream.seek(self._variable.start + self._variable.data_at + begin)
            raw: bytes | bytearray = self._stream.read(n)
        else:
            if begin < self._at:
                self._rewind()
            while self._at < begin:
                self._take(min(begin - self._at, self.PIECE))
            raw = self._take(n)
        if len(raw) < n:
            cause = (
                f"is cut: {n:,} bytes of {shown(self._variable.name)} are declared, {len(raw):,} are there"
            )
            raise InputError(self._subject, cause, COPY_AGAIN)
        return np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="), copy=False)

    def finish(self) -> None:
        """Unpack the padding after the numbers, so that the checksum of the packing is compared."""
        if self._variable.is_packed:
            self._take(self.PIECE, whole=False)
            if not self._unpacker.eof:
                cause = f"{shown(self._variable.name)} is cut, or unpacks to more than it declares"
                raise InputError(self._subject, cause, COPY_AGAIN)

    def _take(self, n: int, whole: bool = True) -> bytearray:
        """The next `n` unpacked bytes."""
        out = bytearray()
        while len(out) < n and not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or self._feed()
            try:
                piece = self._unpacker.decompress(packed, n - len(out))
            except zlib.error as error:
                raise InputError(self._subject, f"cannot be unpacked ({error})", COPY_AGAIN) from error
            if not piece and not packed:
                break
            out += piece
        self._at += len(out)
        if whole and len(out) < n:
            cause = f"{shown(self._variable.name)} unpacks to {self._at:,} bytes, more are declared"
            raise InputError(self._subject, cause, COPY_AGAIN)
        return out

    def _feed(self) -> bytes:
        n = min(self.PIECE, self._variable.n_held - self._fed)
        self._stream.seek(self._variable.start + self._fed)
        self._fed += n
        return self._stream.read(n)
