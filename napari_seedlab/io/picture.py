"""PNG, JPEG and BMP pictures: grey as one plane, colour as three bands."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import (
    BmpImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    UnidentifiedImageError,
)

from napari_seedlab.core import InputError, Modality, ScanFacts
from napari_seedlab.files.source import ArraySource
from napari_seedlab.io.facts import NO_SCALE, scan_name
from napari_seedlab.io.gate import COPY_AGAIN, RATIO_CAP, check_size, regular_file, shown_name
from napari_seedlab.io.last_opened import LastOpened

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

PLUGINS = (PngImagePlugin.PngImageFile, JpegImagePlugin.JpegImageFile, BmpImagePlugin.BmpImageFile)
FORMATS = tuple(plugin.format for plugin in PLUGINS)
MAX_PIXELS = 2**25  # of one picture: decoded and turned within the time and memory of the reader
ORIENTATION = 0x0112  # EXIF tag; 1 = upright
GREY, DEEP = ("1", "L"), ("I;16", "I;16B", "I;16L", "I")
SIGNATURE, END = b"\x89PNG\r\n\x1a\n", b"IEND"
SAVE_AGAIN = "Save the picture again"
NOT_DECODED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)

Plane = np.ndarray[Any, Any]


class Picture:
    """A decoded picture.

    Attributes
    ----------
    planes : list of (y, x) arrays
        One of uint8 or uint16, or red, green and blue of uint8.
    notes : list of str
        What was left out or assumed.
    """

    def __init__(self, stream: BinaryIO, facts: os.stat_result, name: str) -> None:
        self.facts, self.notes = facts, [NO_SCALE]
        try:
            self.planes = self._decoded(stream, name)
        except UnidentifiedImageError:
            raise InputError(name, "is no PNG, JPEG or BMP picture inside", SAVE_AGAIN) from None
        except NOT_DECODED as error:
            line = " ".join(str(error).split())[:80] or type(error).__name__
            raise InputError(name, f"cannot be decoded ({line})", COPY_AGAIN) from error

    def _decoded(self, stream: BinaryIO, name: str) -> list[Plane]:
        check_whole(stream, self.facts.st_size, name)
        stream.seek(0)
        Image.MAX_IMAGE_PIXELS = None  # the gate is ours, and states both numbers
        with Image.open(stream, formats=FORMATS) as image:
            check_pixels(name, image.size, self.facts.st_size)
            self._note_depth(getattr(image, "tile", []), image.mode)
            if getattr(image, "n_frames", 1) > 1:
                self.notes.append(f"the first of {getattr(image, 'n_frames', 1)} frames is taken")
            image.load()
            if image.getexif().get(ORIENTATION, 1) != 1:
                self.notes.append("turned as its EXIF orientation says")
                return self._bands(ImageOps.exif_transpose(image))
            return self._bands(image)

    def _note_depth(self, tile: list[Any], mode: str) -> None:
        raw = tile[0].args if tile else ""
        stored = raw[0] if isinstance(raw, tuple) and raw else raw
        if isinstance(stored, str) and "16" in stored and mode.startswith(("RGB", "LA")):
            self.notes.append("16-bit colours are read as 8 bit")

    def _bands(self, image: Image.Image) -> list[Plane]:
        if image.mode in DEEP:
            deep = np.asarray(image)
            return [np.ascontiguousarray(deep.clip(0, 65535), np.uint16)]
        if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
            image = self._on_white(image)
        if image.mode in GREY:
            return [np.asarray(image.convert("L"))]
        if image.mode not in ("RGB", "P"):
            self.notes.append(f"{image.mode} colours became red, green and blue")
        colour = image.convert("RGB")
        bands = [np.asarray(colour.getchannel(i)) for i in range(3)]
        is_grey = all(np.array_equal(bands[0], band) for band in bands[1:])
        return bands[:1] if is_grey else bands

    def _on_white(self, image: Image.Image) -> Image.Image:
        full = image.convert("RGBA")
        alpha = full.getchannel("A")
        if alpha.getextrema() != (255, 255):
            self.notes.append("transparent parts are shown on white")
        white = Image.new("RGB", full.size, (255, 255, 255))
        white.paste(full.convert("RGB"), mask=alpha)
        return white


def check_pixels(name: str, size: tuple[int, int], held: int) -> None:
    """Refuse a picture that declares more pixels than are taken, or than its file can hold."""
    width, height = size
    if width * height > MAX_PIXELS:
        cause = (
            f"declares {width:,} × {height:,} = {width * height:,} pixels, at most {MAX_PIXELS:,} are taken"
        )
        raise InputError(name, cause, "Save it smaller")
    if not width * height:
        raise InputError(name, f"holds no pixels ({width} × {height})", SAVE_AGAIN)
    check_size(name, width * height, held, RATIO_CAP)


def check_whole(stream: BinaryIO, size: int, name: str) -> None:
    """Refuse a PNG whose chunks do not reach its end mark; its pixels may be there all the same."""
    stream.seek(0)
    if stream.read(8) != SIGNATURE:
        return
    place = 8
    while True:
        head = stream.read(8)
        length = int.from_bytes(head[:4], "big")
        if len(head) < 8 or place + 12 + length > size:
            needs = place + 12 + length if len(head) == 8 else place + 12
            raise InputError(name, f"is cut at byte {size:,}, it needs {needs:,} at least", COPY_AGAIN)
        if head[4:] == END:
            return
        place += 12 + length
        stream.seek(place)


@contextmanager
def _opened(path: Path) -> Iterator[Picture]:
    with regular_file(path) as (stream, facts):
        yield Picture(stream, facts, shown_name(path))


_kept = LastOpened(_opened)  # its planes are asked for one after the other


def describe(path: Path, modality: Modality | None) -> tuple[ScanFacts, ArraySource]:
    """Facts and source of a picture; see :class:`napari_seedlab.io.formats.Format`.

    A colour picture is (3, y, x) with the axes band, y, x; equal channels are a grey one, (1, y, x).
    """
    picture = _kept(path)
    n, dtype = len(picture.planes), picture.planes[0].dtype
    kind = modality or Modality.IMAGE
    if kind is Modality.CT and n > 1:
        raise InputError(shown_name(path), "is a colour picture, no CT slice", "Use modality image")
    height, width = picture.planes[0].shape
    shape = (n, height, width)
    axes = ("band" if n > 1 or kind is Modality.HSI else "z", "y", "x")
    facts = ScanFacts(
        scan_name(path), kind, shape, axes, dtype.name, None, None,
        str(path), picture.facts.st_size, picture.facts.st_mtime_ns,
        tuple(picture.notes),
    )  # fmt: skip
    return facts, ArraySource(str(path), "encoded", shape, axes, dtype.str, size=picture.facts.st_size)


def planes(path: Path, modality: Modality | None, start: int, stop: int) -> Iterator[Plane]:
    """Bands (y, x) `start` to `stop`: red, green, blue, or the one plane of a grey picture."""
    yield from (np.ascontiguousarray(plane) for plane in _kept(path).planes[start:stop])
