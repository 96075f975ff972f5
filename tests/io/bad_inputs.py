"""Files that must be refused, made when they are needed: name → (maker, words of the refusal).

A maker gets an empty folder and returns the path to open. The numbers are those of the project's
list of malformed inputs.
"""

import os
import struct
import zlib

import numpy as np
import tifffile

HEADER = {
    "samples": "4",
    "lines": "3",
    "bands": "5",
    "header offset": "0",
    "data type": "12",
    "interleave": "bsq",
    "byte order": "0",
    "wavelength units": "nm",
    "wavelength": "{450, 500, 550, 600, 650}",
}


def tiff_bytes(tags, data=b"", next_ifd=0):
    """A classic little-endian TIFF of one page; `data` follows the page list."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", next_ifd) + data


def page(width=8, height=8, compression=1, offset=200, count=64, **more):
    tags = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 273: offset, 277: 1, 278: height}
    return {**tags, 279: count, **{int(k[1:]): v for k, v in more.items()}}


def put(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


def cut_tiff(folder, compression=None, keep=0.5):
    path = folder / "cut.tif"
    volume = np.random.default_rng(0).integers(0, 255, (6, 40, 40), np.uint8)
    tifffile.imwrite(path, volume, photometric="minisblack", compression=compression)
    os.truncate(path, int(path.stat().st_size * keep))
    return path


def bomb(folder):
    packed = zlib.compress(bytes(64 * 2**20), 9)
    return put(folder, "bomb.tif", tiff_bytes(page(64, 64, 8, 122, len(packed))) + packed)


def long_strip(folder):
    return put(folder, "strip.tif", tiff_bytes(page(8, 8, 1, 122, 2**20)) + bytes(64))


def nan_tiff(folder, compression=None):
    path = folder / "nan.tif"
    tifffile.imwrite(
        path, np.full((3, 8, 8), np.nan, np.float32), photometric="minisblack", compression=compression
    )
    return path


def other_tiff(folder, array, **options):
    path = folder / "odd.tif"
    tifffile.imwrite(path, array, **options)
    return path


def envi(folder, name="cube.hdr", data=bytes(5 * 4 * 3 * 2), drop=(), text=None, **fields):
    """A header with changed fields (``data_type="99"``) and its data file."""
    stated = {**HEADER, **{key.replace("_", " "): value for key, value in fields.items()}}
    lines = [f"{key} = {value}" for key, value in stated.items() if key not in drop]
    content = "ENVI\n" + "\n".join(lines) + "\n" if text is None else text
    if data is not None:
        (folder / name).with_suffix(".raw").write_bytes(data)
    return put(folder, name, content.encode())


def envi_outside(folder):
    outside = folder / "secret"
    outside.mkdir()
    (outside / "data.raw").write_bytes(bytes(120))
    inside = folder / "in"
    inside.mkdir()
    (inside / "cube.raw").symlink_to(outside / "data.raw")
    return envi(inside, data=None)


def npy(folder, header, data=bytes(480), length=None, version=1):
    text = header.encode("latin-1")
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return put(folder, "array.npy", b"\x93NUMPY" + bytes([version, 0]) + size + text + data)


def described(shape, descr="<u2", fortran="False"):
    return f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


def saved_npy(folder, array, **options):
    path = folder / "array.npy"
    np.save(path, array, **options)
    return path


def fifo(folder):
    os.mkfifo(folder / "pipe.tif")
    return folder / "pipe.tif"


def loop(folder):
    (folder / "a.tif").symlink_to(folder / "b.tif")
    (folder / "b.tif").symlink_to(folder / "a.tif")
    return folder / "a.tif"


def unreadable(folder):
    path = put(folder, "closed.tif", b"II*\0")
    path.chmod(0)
    return path


def made_folder(folder):
    (folder / "folder.tif").mkdir()
    return folder / "folder.tif"


BAD = {
    "1 tiff empty": (lambda f: put(f, "none.tif", b""), "is empty"),
    "2 tiff text": (lambda f: put(f, "text.tif", b"seed,class\n1,normal\n"), "is not a TIFF"),
    "3 tiff cut": (cut_tiff, "declares|is cut"),
    "3 tiff cut, packed": (lambda f: cut_tiff(f, "zlib"), "is cut"),
    "4 tiff header only": (lambda f: put(f, "head.tif", b"II*\0\x08\0\0\0"), "no image inside"),
    "4 big tiff header only": (
        lambda f: put(f, "h.tif", struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16)),
        "no image",
    ),
    "5 tiff 200000 squared": (
        lambda f: put(f, "huge.tif", tiff_bytes(page(200_000, 200_000)) + bytes(4096)),
        "37 GiB",
    ),
    "5 tiff huge, packed": (
        lambda f: put(f, "huge.tif", tiff_bytes(page(200_000, 200_000, 8)) + bytes(4096)),
        "unpacks to 37 GiB",
    ),
    "6 tiff page loop": (lambda f: put(f, "loop.tif", tiff_bytes(page(), bytes(200), 8)), "loops"),
    "7 tiff 65535 tags": (
        lambda f: put(f, "tags.tif", b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(65535 * 12 + 4)),
        "65,535",
    ),
    "7 tiff no width": (lambda f: put(f, "w.tif", tiff_bytes({257: 8, 258: 8}) + bytes(64)), "no width"),
    "8 tiff deflate bomb": (bomb, "unpacks to more than it declares"),
    "9 tiff strip longer": (long_strip, "is cut: its blocks end at byte 1,048,698, the file at 186"),
    "tiff no voxels": (lambda f: put(f, "zero.tif", tiff_bytes(page(0, 1)) + bytes(200)), "no voxels"),
    "tiff ifd behind end": (
        lambda f: put(f, "far.tif", b"II*\0\xff\xff\0\0" + bytes(20)),
        "the file ends at",
    ),
    "tiff all nan": (nan_tiff, "no finite voxel"),
    "tiff all nan, packed": (lambda f: nan_tiff(f, "zlib"), "no finite voxel"),
    "tiff complex": (lambda f: other_tiff(f, np.zeros((4, 4), np.complex64)), "complex64"),
    "tiff channels": (
        lambda f: other_tiff(
            f, np.zeros((3, 5, 5), np.uint8), metadata={"axes": "CYX"}, photometric="minisblack"
        ),
        "3 channels",
    ),
    "tiff two stack axes": (
        lambda f: other_tiff(
            f, np.zeros((2, 3, 5, 5), np.uint8), metadata={"axes": "TZYX"}, photometric="minisblack"
        ),
        "one stack axis",
    ),
    "37 envi 1e15 values": (lambda f: envi(f, samples="100000", lines="100000", bands="100000"), "PiB|TiB"),
    "38 envi 12 GiB": (lambda f: envi(f, samples="40000", lines="32000", wavelength="{}"), "12 GiB"),
    "39 envi negative lines": (lambda f: envi(f, lines="-3"), "'lines' is '-3'"),
    "39 envi zero bands": (lambda f: envi(f, bands="0"), "'bands' is '0'"),
    "40 envi data type 99": (lambda f: envi(f, data_type="99"), "line 6: data type 99"),
    "40 envi complex": (lambda f: envi(f, data_type="6"), "data type 6"),
    "41 envi short file": (
        lambda f: envi(f, data=bytes(100)),
        "declares 120 bytes of voxels, the file holds 100",
    ),
    "41 envi offset": (lambda f: envi(f, header_offset="1"), "declares 121 bytes"),
    "41 envi negative offset": (lambda f: envi(f, header_offset="-7"), "header offset"),
    "42 envi interleave xyz": (lambda f: envi(f, interleave="xyz"), "interleave is 'xyz'"),
    "42 envi byte order 7": (lambda f: envi(f, byte_order="7"), "byte order is 7"),
    "43 envi two wavelengths": (lambda f: envi(f, wavelength="{450, 500}"), "2 wavelengths for 5 bands"),
    "44 envi nan": (lambda f: envi(f, wavelength="{450, nan, 550, 600, 650}"), "NaN"),
    "44 envi text": (lambda f: envi(f, wavelength="{450, red, 550, 600, 650}"), "'red' is not a number"),
    "44 envi unsorted": (lambda f: envi(f, wavelength="{450, 500, 480, 600, 650}"), "3 of 5 is out of order"),
    "44 envi double": (lambda f: envi(f, wavelength="{500, 500, 500, 500, 500}"), "out of order"),
    "44 envi nm and µm": (lambda f: envi(f, wavelength="{0.45, 0.5, 550, 600, 650}"), "mixed"),
    "44 envi wrong unit": (lambda f: envi(f, wavelength_units="µm"), "450000 to 650000 nm"),
    "45 envi brace": (lambda f: envi(f, wavelength="{450, 500, 550, 600, 650"), "line 10: the brace"),
    "46 envi no data": (lambda f: envi(f, data=None), "no data file"),
    "46 envi empty data": (lambda f: envi(f, data=b""), "is empty"),
    "47 envi samples ten": (lambda f: envi(f, samples="ten"), "line 2: 'samples' is 'ten'"),
    "envi without bands": (lambda f: envi(f, drop=("bands",)), "no 'bands'"),
    "envi outside": (envi_outside, "outside its folder"),
    "envi arcgis": (lambda f: envi(f, text="BYTEORDER I\nLAYOUT BIL\nNROWS 3\n"), "ArcGIS"),
    "envi not envi": (lambda f: envi(f, text="\x5c\x01\0\0\0"), "not an ENVI header"),
    "envi empty header": (lambda f: envi(f, text=""), "is empty"),
    "envi nan": (
        lambda f: envi(f, data_type="4", data=np.full(60, np.nan, "<f4").tobytes()),
        "no finite voxel",
    ),
    "envi data alone": (lambda f: put(f, "lonely.raw", bytes(100)), "no ENVI header"),
    "48 npy 8 TB": (lambda f: npy(f, described("(2000, 1000, 2000000)")), "7 TiB"),
    "49 npy objects": (lambda f: saved_npy(f, np.array([{}], object), allow_pickle=True), "unsafe"),
    "49 npy records": (lambda f: saved_npy(f, np.zeros(3, "i4,f4")), "unsafe"),
    "50 npy header 2 GiB": (
        lambda f: npy(f, described("(4, 5)"), length=2**31, version=2),
        "header of 2,048 MiB|2 GiB",
    ),
    "51 npy brackets": (lambda f: npy(f, "[" * 8000), "broken .npy header"),
    "npy code": (lambda f: npy(f, "__import__('os').system('true')"), "broken .npy header"),
    "npy empty": (lambda f: saved_npy(f, np.zeros((0, 4))), "no voxels"),
    "npy line": (lambda f: saved_npy(f, np.zeros(4)), "1 axes"),
    "npy 4-D": (lambda f: saved_npy(f, np.zeros((2, 2, 2, 2))), "4 axes"),
    "npy complex": (lambda f: saved_npy(f, np.zeros((2, 2), complex)), "complex128"),
    "npy text": (lambda f: saved_npy(f, np.array([["a", "b"]])), "type"),
    "npy nan": (lambda f: saved_npy(f, np.full((3, 3), np.nan)), "no finite voxel"),
    "npy short": (
        lambda f: npy(f, described("(4, 5, 13)")),
        "declares 520 bytes of voxels, the file holds 480",
    ),
    "npy magic": (lambda f: put(f, "array.npy", b"not numpy at all"), "is not a .npy"),
    "104 name with a newline": (lambda f: put(f, "a\nb.tif", b"text"), r"a\\nb.tif"),
    "104 name right to left": (lambda f: put(f, "a\u202efit.tif", b"text"), r"a\\u202efit.tif"),
    "104 name with emoji": (lambda f: put(f, "seed🌱.tif", b"text"), "seed🌱.tif"),
    "104 long name": (lambda f: put(f, "n" * 240 + ".tif", b"text"), "nnn….*n.tif"),
    "104 too long name": (lambda f: f / ("n" * 300 + ".tif"), "too long"),
    "105 symlink loop": (loop, "leads back to itself"),
    "106 fifo": (fifo, "is a pipe"),
    "108 no permission": (unreadable, "may not be read"),
    "folder": (made_folder, "is a folder"),
    "device": (lambda f: device(f), "is a device"),
    "missing": (lambda f: f / "nowhere.tif", "is not there"),
    "foreign suffix": (lambda f: put(f, "x.xlsx", b"PK"), "suffix .xlsx"),
}


def device(folder):
    (folder / "null.tif").symlink_to("/dev/null")
    return folder / "null.tif"
