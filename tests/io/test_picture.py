"""PNG, JPEG and BMP through the reader process."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from napari_seedlab.core import InputError, Modality
from napari_seedlab.io import describe
from napari_seedlab.io.picture import MAX_PIXELS
from napari_seedlab.io.reader_process import reader

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]


def read(path, modality=None):
    facts, source = describe(path, modality)
    return facts, reader().planes(source.path, facts, 0, facts.shape[0])


def save(folder, name, array, **options):
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(folder / name, **options)
    return folder / name


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, data, bits=8, colour=2):
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "bmp", "PNG"])
def test_a_colour_picture_has_three_bands(tmp_path, suffix):
    facts, planes = read(save(tmp_path, f"a.{suffix}", COLOUR))
    assert (facts.shape, facts.axes) == ((3, 20, 30), ("band", "y", "x"))
    assert facts.modality is Modality.IMAGE and facts.is_colour and facts.region_shape == (1, 20, 30)
    assert facts.view_shape == (1, 20, 30) and facts.wavelengths_nm is None
    np.testing.assert_array_equal(planes, COLOUR.transpose(2, 0, 1))


def test_a_jpeg_is_read_about_right(tmp_path):
    smooth = np.repeat(np.linspace(0, 250, 60)[None, :, None], 40, 0) * [1, 0.5, 0.2]
    _, planes = read(save(tmp_path, "a.jpg", smooth.astype(np.uint8), quality=95))
    assert np.abs(planes - smooth.transpose(2, 0, 1)).mean() < 3


@pytest.mark.parametrize(
    ("name", "array", "dtype"),
    [
        ("grey.png", GREY, "uint8"),
        ("equal.png", np.repeat(GREY[..., None], 3, 2), "uint8"),
        ("deep.png", GREY.astype(np.uint16) * 257, "uint16"),
    ],
)
def test_grey_is_one_plane(tmp_path, name, array, dtype):
    facts, planes = read(save(tmp_path, name, array))
    assert (facts.shape, facts.axes, facts.dtype) == ((1, 20, 30), ("z", "y", "x"), dtype)
    assert not facts.has_bands
    np.testing.assert_array_equal(planes[0], array if array.ndim == 2 else GREY)


def test_two_values_are_black_and_white(tmp_path):
    _, planes = read(save(tmp_path, "one.png", GREY > 100))
    np.testing.assert_array_equal(planes[0], np.where(GREY > 100, 255, 0))


def test_a_palette_is_resolved(tmp_path):
    few = Image.fromarray(COLOUR).quantize(8)
    facts, planes = read(save(tmp_path, "p.png", few))
    assert facts.is_colour
    np.testing.assert_array_equal(planes, np.asarray(few.convert("RGB")).transpose(2, 0, 1))


def test_transparent_parts_are_white_and_said(tmp_path):
    alpha = np.where(np.arange(30) < 15, 0, 255).astype(np.uint8) * np.ones((20, 1), np.uint8)
    facts, planes = read(save(tmp_path, "a.png", np.dstack([COLOUR, alpha])))
    assert (planes[:, :, :15] == 255).all() and "transparent parts are shown on white" in facts.notes
    np.testing.assert_array_equal(planes[:, :, 15:], COLOUR.transpose(2, 0, 1)[:, :, 15:])
    facts, planes = read(save(tmp_path, "g.png", np.dstack([GREY, alpha])))
    assert facts.shape == (1, 20, 30) and (planes[0, :, :15] == 255).all()


def test_the_exif_orientation_is_honoured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    facts, planes = read(save(tmp_path, "a.png", COLOUR, exif=exif))
    assert facts.shape == (3, 30, 20) and "turned as its EXIF orientation says" in facts.notes
    np.testing.assert_array_equal(planes, np.rot90(COLOUR, -1).transpose(2, 0, 1))


def test_what_was_lost_is_said(tmp_path):
    facts, _ = read(save(tmp_path, "c.jpg", Image.fromarray(COLOUR).convert("CMYK")))
    assert "CMYK colours became red, green and blue" in facts.notes
    (tmp_path / "deep.png").write_bytes(png(2, 2, zlib.compress((b"\0" + b"\x12\x34\x56" * 4) * 2), 16))
    assert "16-bit colours are read as 8 bit" in describe(tmp_path / "deep.png")[0].notes


def test_a_colour_picture_is_no_ct_slice(tmp_path):
    with pytest.raises(InputError, match="is a colour picture, no CT slice"):
        describe(save(tmp_path, "a.png", COLOUR), "ct")
    facts, _ = read(save(tmp_path, "g.png", GREY), "ct")
    assert facts.modality is Modality.CT


def cut(folder, name, keep):
    save(folder, name, COLOUR)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(len(whole) * keep)])
    return folder / name


def put(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name


REFUSED = {
    "empty": (lambda d: put(d, "a.png", b""), "is empty"),
    "text": (lambda d: put(d, "a.png", b"hello"), "no PNG, JPEG or BMP picture inside"),
    "other format": (lambda d: put(d, "a.png", b"II*\0" + bytes(60)), "no PNG, JPEG or BMP picture inside"),
    "cut png": (lambda d: cut(d, "a.png", 0.5), r"is cut at byte [\d,]+, it needs [\d,]+"),
    "cut end of png": (lambda d: cut(d, "a.png", 0.997), r"is cut at byte [\d,]+, it needs [\d,]+"),
    "cut jpeg": (lambda d: cut(d, "a.jpg", 0.5), "cannot be decoded"),
    "cut bmp": (lambda d: cut(d, "a.bmp", 0.5), "cannot be decoded"),
    "too many pixels": (
        lambda d: put(d, "a.png", png(60_000, 60_000, zlib.compress(bytes(1000)))),
        f"3,600,000,000 pixels, at most {MAX_PIXELS:,} are taken",
    ),
    "more than the file holds": (
        lambda d: put(d, "a.png", png(5000, 5000, zlib.compress(bytes(1000)))),
        r"declares \d+ MiB of voxels, the file holds \d+ bytes",
    ),
    "noise for pixels": (lambda d: put(d, "a.png", png(9, 9, b"noise")), "cannot be decoded"),
    "folder": (lambda d: d, "is a folder, not a file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_pictures_are_refused_in_one_line(tmp_path, case):
    make, words = REFUSED[case]
    with pytest.raises(InputError, match=words) as refused:
        describe(make(tmp_path))
    assert "\n" not in str(refused.value) and len(str(refused.value)) <= 200
    assert describe(save(tmp_path, "good.png", GREY))[0].shape == (1, 20, 30)  # the reader still works
