"""The page list of a TIFF, walked by hand before a library may trust it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from napari_seedlab.core import InputError
from napari_seedlab.io.gate import COPY_AGAIN, MAX_PLANE_BYTES, RATIO_CAP, check_size, n_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TAGS = 1024  # of one page; real files have under 60
MAX_PAGES = 200_000
WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, PREDICTOR = 256, 257, 258, 259, 277, 317
SAME = (WIDTH, HEIGHT, BITS, COMPRESSION, 262, 266, SAMPLES, 278, 284, PREDICTOR, 322, 323, 339)
SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
KNOWN = frozenset(SAME)
SHORT = {1: "B", 3: "H", 4: "I", 16: "Q"}  # types of whole numbers
WRITE_AGAIN = "Write the file again"


@dataclass(frozen=True)
class PageList:
    """What the walk found: number of pages, and whether all of them are stored alike."""

    n_pages: int
    is_uniform: bool


@dataclass(frozen=True)
class _Form:
    """How numbers are written: byte order, and the field widths of classic or Big TIFF."""

    order: str
    count: str
    n_count: int
    entry: str
    n_entry: int
    link: str
    n_link: int
    first: int


def walk_pages(stream: BinaryIO, size: int, name: str) -> PageList:
    """Check the header and every page of a TIFF of `size` bytes.

    Raises
    ------
    InputError
        It is no TIFF, holds no page, is cut, its page list loops, a page states too many tags or
        no voxels, or the pages declare more than the file can hold.
    """
    form = _form(stream, size, name)
    seen: set[int] = set()
    stored = packed = 0
    first: tuple[object, ...] = ()
    is_uniform = True
    for number, (offset, tags) in enumerate(_pages(stream, form, size, name, seen), 1):
        seen.add(offset)
        n, is_packed = _declared(tags, number, name)
        stored, packed = stored + (0 if is_packed else n), packed + (n if is_packed else 0)
        alike = tuple(tags.get(tag) for tag in SAME)
        first = first or alike
        is_uniform = is_uniform and alike == first
    check_size(name, stored, size)
    check_size(name, packed, size, RATIO_CAP)
    return PageList(len(seen), is_uniform)


def _form(stream: BinaryIO, size: int, name: str) -> _Form:
    head = stream.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack(f"{order}H", head[2:4])[0] if order and len(head) >= 4 else 0
    if order is None or version not in (42, 43):
        raise InputError(name, f"is not a TIFF (it starts with {head[:8]!r})", "Export it as TIFF")
    big = version == 43
    if size < (16 if big else 8):
        raise InputError(name, f"is cut at byte {size}, inside its header", COPY_AGAIN)
    if big:
        return _Form(order, "Q", 8, "HHQ8s", 20, "Q", 8, struct.unpack(f"{order}Q", head[8:16])[0])
    return _Form(order, "H", 2, "HHI4s", 12, "I", 4, struct.unpack(f"{order}I", head[4:8])[0])


def _pages(
    stream: BinaryIO, form: _Form, size: int, name: str, seen: set[int]
) -> Iterator[tuple[int, dict[int, object]]]:
    offset = form.first
    if offset == 0 or size <= 16:
        raise InputError(name, f"holds a header and no image inside ({size} bytes)", COPY_AGAIN)
    while offset:
        if offset in seen:
            raise InputError(
                name, f"its page list loops (page {len(seen) + 1} is an earlier one)", WRITE_AGAIN
            )
        if len(seen) >= MAX_PAGES:
            raise InputError(name, f"has over {MAX_PAGES:,} pages", "Split the file")
        count = _number(_bytes(stream, offset, form.n_count, size, name), form.order + form.count)
        if not 0 < count <= MAX_TAGS:
            cause = f"page {len(seen) + 1} has broken tags: it states {count:,} of them"
            raise InputError(name, cause, WRITE_AGAIN)
        table = _bytes(stream, offset + form.n_count, count * form.n_entry + form.n_link, size, name)
        yield offset, _tags(table, count, form)
        offset = _number(table[-form.n_link :], form.order + form.link)


def _bytes(stream: BinaryIO, offset: int, length: int, size: int, name: str) -> bytes:
    if offset + length > size:
        cause = f"is cut: a page is listed at byte {offset:,}, the file ends at {size:,}"
        raise InputError(name, cause if offset < 2**63 else "its page list is broken", COPY_AGAIN)
    stream.seek(offset)
    return stream.read(length)


def _number(data: bytes, form: str) -> int:
    return int(struct.unpack(form, data)[0])


def _tags(table: bytes, count: int, form: _Form) -> dict[int, object]:
    """Tag → its first number where that stands in the table, else the raw field."""
    tags: dict[int, object] = {}
    entries = struct.iter_unpack(form.order + form.entry, table[: count * form.n_entry])
    for tag, kind, n, value in entries:
        if tag not in KNOWN:
            continue
        short = SHORT.get(kind)
        fits = 0 < n * SIZES.get(kind, 99) <= len(value)
        tags[tag] = struct.unpack_from(form.order + short, value)[0] if short and fits else (kind, n)
    return tags


def _declared(tags: dict[int, object], number: int, name: str) -> tuple[int, bool]:
    """Bytes that a page declares, and whether they are compressed."""
    width, height = tags.get(WIDTH), tags.get(HEIGHT)
    if not isinstance(width, int) or not isinstance(height, int):
        raise InputError(name, f"page {number} has broken tags: it states no width or height", WRITE_AGAIN)
    if width == 0 or height == 0:
        raise InputError(name, f"page {number} holds no voxels ({height} x {width})", WRITE_AGAIN)
    samples, bits = tags.get(SAMPLES, 1), tags.get(BITS, 1)
    n_samples = samples if isinstance(samples, int) else 1
    n_bits = bits if isinstance(bits, int) else 8
    declared = n_samples * height * ((width * n_bits + 7) // 8)
    is_packed = tags.get(COMPRESSION, 1) != 1
    if is_packed and declared > MAX_PLANE_BYTES:
        cause = f"page {number} unpacks to {n_bytes(declared)}, at most {n_bytes(MAX_PLANE_BYTES)} are taken"
        raise InputError(name, cause, "Save it without compression or in smaller pages")
    return declared, is_packed
