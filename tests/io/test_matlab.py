import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from napari_seedlab.core import InputError, Modality
from napari_seedlab.core.errors import MAX_LINE
from napari_seedlab.io import describe, import_file, lazy_view
from napari_seedlab.io.matlab import _kept, read_mask
from napari_seedlab.io.matlab import describe as describe_here
from napari_seedlab.io.matlab import planes as planes_here

HYPERSPECTRAL = Path(__file__).parents[3] / "shared" / "data" / "hyperspectral"
needs_shared = pytest.mark.skipif(
    not HYPERSPECTRAL.is_dir(), reason="the shared data folder is not beside the repository"
)
CODES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 9}


def cube(dtype="u2", shape=(4, 6, 5)):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def saved(folder, packed=False, name="cube.mat", **variables):
    path = folder / name
    savemat(path, variables, do_compression=packed)
    return path


def part(order, kind, content):
    return struct.pack(order + "II", kind, len(content)) + content + bytes(-len(content) % 8)


def by_hand(folder, order="<", shape=(4, 6, 5), kind="u2", packed=False, flags=6, **change):
    """A file written byte by byte; `change` may set ``content``, ``length`` or ``stated`` shape."""
    values = cube(kind, shape).astype(np.dtype(order + kind))
    content = change.get("content", values.tobytes(order="F"))
    stated = change.get("stated", shape)
    body = part(order, 6, struct.pack(order + "II", flags, 0))
    body += part(order, 5, struct.pack(f"{order}{len(stated)}i", *stated)) + part(order, 1, b"data")
    numbers = part(order, CODES[kind], content)
    if "length" in change:
        numbers = struct.pack(order + "II", CODES[kind], change["length"]) + numbers[8:]
    element = part(order, 14, body + numbers)
    if packed:
        squeezed = zlib.compress(element)
        element = struct.pack(order + "II", 15, len(squeezed)) + squeezed
    version = struct.pack(order + "H", 0x0100) + (b"IM" if order == "<" else b"MI")
    path = folder / "cube.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + version + element)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8"])
def test_a_cube_reads_as_it_was_saved(dtype, packed, tmp_path):
    path = saved(tmp_path, packed, data=cube(dtype), map=np.eye(4))

    facts, source = describe(path)

    assert (facts.shape, facts.axes, facts.modality) == ((5, 4, 6), ("band", "y", "x"), Modality.HSI)
    assert facts.dtype == np.dtype(dtype).name and source.layout == "encoded"
    view = lazy_view(facts, source)
    np.testing.assert_array_equal(view[...], cube(dtype).transpose(2, 0, 1))
    np.testing.assert_array_equal(view[3, 1:3, ::2], cube(dtype).transpose(2, 0, 1)[3, 1:3, ::2])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders(order, packed, tmp_path):
    path = by_hand(tmp_path, order, packed=packed)
    facts, _ = describe_here(path, None)
    read = np.stack(list(planes_here(path, None, 0, 5)))
    np.testing.assert_array_equal(read, loadmat(path)["data"].transpose(2, 0, 1))
    assert read.dtype.isnative and facts.dtype == "uint16"


def test_bands_are_read_in_any_order(tmp_path):
    shape = (40, 60, 50)  # packed into several pieces
    path = saved(tmp_path, True, data=np.random.default_rng(0).normal(size=shape))
    whole = loadmat(path)["data"].transpose(2, 0, 1)
    for band in (0, 49, 7, 8, 3, 3):
        np.testing.assert_array_equal(next(iter(planes_here(path, None, band, band + 1))), whole[band])


def test_the_import_takes_a_copy(tmp_path):
    path = saved(tmp_path, True, data=cube())
    steps = import_file(path, None, "", tmp_path)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            facts, source = end.value
            break
    np.testing.assert_array_equal(lazy_view(facts, source)[...], cube().transpose(2, 0, 1))


def test_the_largest_of_several_cubes_is_taken_and_said(tmp_path):
    facts = describe_here(saved(tmp_path, small=cube(shape=(2, 2, 2)), large=cube()), None)[0]
    assert facts.shape == (5, 4, 6) and any("'large' taken" in note for note in facts.notes)


@pytest.mark.parametrize(
    ("name", "values", "expected", "note"),
    [
        ("wavelengths", [400, 500, 600, 700, 800], 400.0, "read as nm"),
        ("wavlength", [0.4, 0.5, 0.6, 0.7, 0.8], 400.0, "read as µm"),
        ("Wave", [800, 700, 600, 500, 400], 800.0, "read as nm"),
        ("wavelengths", [400, 500], None, "2 values for 5 bands"),
        ("bands", [400, 500, 600, 700, 800], None, "no wavelengths"),
    ],
)
def test_wavelengths_are_in_nm(name, values, expected, note, tmp_path):
    path = saved(tmp_path, data=cube(), **{name: np.array(values, float)[:, None]})
    for _ in range(2):  # the second time from the kept file
        facts = describe_here(path, None)[0]
        assert (facts.wavelengths_nm and facts.wavelengths_nm[0]) == expected
        assert sum(note in line for line in facts.notes) == 1


def nan(**place):
    values = cube("f4")
    values[...] = np.nan
    return values


BAD = {
    "text": (lambda f: write(f, b"no such file, but long enough " * 9), "not a MATLAB 5 to 7 file"),
    "short": (lambda f: write(f, b"MATLAB 5.0"), "cut or no MATLAB file"),
    "version 4": (lambda f: write(f, struct.pack("<5i", 0, 3, 3, 0, 2) + bytes(200)), "not a MATLAB 5"),
    "version 7.3": (
        lambda f: write(f, b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF"),
        "is a MATLAB 7.3 file",
    ),
    "HDF5": (lambda f: write(f, b"\x89HDF\r\n\x1a\n" + bytes(600)), "is a MATLAB 7.3 file"),
    "header only": (lambda f: cut(by_hand(f), 128), "no 3-D array of numbers .but no numbers"),
    "cut": (lambda f: cut(by_hand(f), 300), "is cut: a variable ends at byte"),
    "cut tag": (lambda f: cut(by_hand(f), 131), "is cut"),
    "2-D only": (lambda f: saved(f, a=np.eye(4)), "'a' 4 × 4"),
    "struct": (lambda f: saved(f, a={"cube": cube()}), "no 3-D array of numbers"),
    "cell": (lambda f: saved(f, a=np.array([cube(), "x", 1], object)), "no 3-D array of numbers"),
    "complex": (lambda f: saved(f, a=cube() * 1j), "complex values"),
    "4-D": (lambda f: saved(f, a=np.ones((2, 3, 4, 5))), "2 × 3 × 4 × 5"),
    "no voxels": (lambda f: by_hand(f, shape=(4, 0, 5)), "no voxels"),
    "NaN": (lambda f: saved(f, a=nan()), "no finite voxel"),
    "packed NaN": (lambda f: saved(f, True, a=nan()), "no finite voxel"),
    "shape lies": (lambda f: by_hand(f, stated=(400, 600, 500)), "240,000,000 bytes by its shape, 240"),
    "both lie": (lambda f: by_hand(f, stated=(4, 6, 500), length=24_000), "declares 24,"),
    "both lie, packed": (lambda f: by_hand(f, stated=(4, 6, 500), length=24_000, packed=True), "unpacks to"),
    "huge": (
        lambda f: by_hand(f, stated=(30_000, 30_000, 2), length=3_600_000_000, packed=True),
        "declares 3 GiB",
    ),
    "negative": (lambda f: by_hand(f, stated=(-4, -6, 5)), "header of a variable"),
    "one axis": (lambda f: by_hand(f, stated=(120,)), "header of a variable"),
    "kind": (lambda f: damaged(by_hand(f), 128, 77), "unknown kind 77"),
    "no flags": (lambda f: damaged(by_hand(f), 136, 9), "header of a variable"),
    "not packed": (lambda f: damaged(by_hand(f), 128, 15), "cannot be unpacked"),
    "checksum": (lambda f: damaged(by_hand(f, packed=True), -1, 0x5A), "cannot be unpacked"),
    "checksum after padding": (
        lambda f: damaged(by_hand(f, shape=(41, 41, 5), kind="u1", packed=True), -1, 0x5A),
        "cannot be unpacked",
    ),
    "wavelength NaN": (lambda f: saved(f, a=cube(), wave=[1, 2, 3, 4, np.nan]), "NaN or infinite"),
    "wavelength order": (lambda f: saved(f, a=cube(), wave=[1, 2, 4, 3, 5]), "not in order"),
    "wavelength range": (lambda f: saved(f, a=cube(), wave=[1, 2, 3, 4, 500]), "from 1 to 500 nm"),
}


def write(folder, content):
    path = folder / "cube.mat"
    path.write_bytes(content)
    return path


def cut(path, n):
    path.write_bytes(path.read_bytes()[:n])
    return path


def damaged(path, at, value):
    content = bytearray(path.read_bytes())
    content[at] = value
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("case", BAD)
def test_what_lies_is_refused_in_one_line(case, tmp_path):
    maker, words = BAD[case]
    path = maker(tmp_path)
    for ask in (describe, lambda path: describe_here(path, None)):  # in the reader process, and here
        with pytest.raises(InputError, match=words) as caught:
            ask(path)
        line = str(caught.value)
        assert "cube.mat" in line and len(line) <= MAX_LINE and "\n" not in line


@pytest.mark.parametrize("packed", [False, True])
def test_no_changed_byte_is_more_than_a_refusal(packed, tmp_path):
    good = by_hand(tmp_path, packed=packed).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(good)
        for at in rng.integers(0, min(len(good), 260), rng.integers(1, 4)):
            content[at] = rng.integers(0, 256)
        path = write(tmp_path, content[: rng.integers(1, len(good) + 1)] if rng.random() < 0.3 else content)
        try:
            facts, _ = describe_here(path, None)
            assert sum(plane.size for plane in planes_here(path, None, 0, facts.shape[0])) == 120
        except InputError as error:
            assert len(str(error).splitlines()) == 1


def test_a_file_that_changes_is_opened_anew(tmp_path):
    first = _kept(saved(tmp_path, data=cube()))
    assert _kept(tmp_path / "cube.mat") is first
    saved(tmp_path, data=cube(shape=(3, 3, 7)))
    assert _kept(tmp_path / "cube.mat").shape == (7, 3, 3)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float64])
def test_a_mask_is_found_by_its_shape(dtype, packed, tmp_path):
    mask = (cube(shape=(4, 6)) > 50).astype(dtype)
    path = saved(tmp_path, packed, data=cube(), score=np.ones((6, 4)), odd=mask)
    read = read_mask(path, (4, 6))
    assert read.dtype == bool
    np.testing.assert_array_equal(read, mask > 0)


def test_a_name_tells_the_mask_from_other_maps(tmp_path):
    path = saved(tmp_path, height=np.ones((4, 6)), gt_map=np.zeros((4, 6)))
    assert not read_mask(path, (4, 6)).any()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"map": np.ones((6, 4))}, "no mask of 4 × 6 pixels .2-D arrays: 'map' 6 × 4"),
        ({"data": np.ones((4, 6, 2))}, "2-D arrays: none"),
        ({"a": np.ones((4, 6)), "b": np.ones((4, 6))}, "2 arrays of 4 × 6"),
        ({"map": np.full((4, 6), np.nan)}, "NaN"),
    ],
)
def test_no_mask_on_this_grid_is_refused(variables, words, tmp_path):
    with pytest.raises(InputError, match=words):
        read_mask(saved(tmp_path, **variables), (4, 6))


@needs_shared
@pytest.mark.parametrize("name", ["abu-airport-2", "abu-airport-4", "cat-island"])
def test_the_real_scenes_read_as_scipy_reads_them(name):
    path = HYPERSPECTRAL / "anomaly" / f"{name}.mat"
    oracle = loadmat(path)
    facts, source = describe(path)
    np.testing.assert_array_equal(lazy_view(facts, source)[...], oracle["data"].transpose(2, 0, 1))
    np.testing.assert_array_equal(read_mask(path, facts.shape[1:]), oracle["map"] > 0)
    with pytest.raises(InputError, match="no mask of"):
        read_mask(path, (99, 100))


@needs_shared
@pytest.mark.parametrize(("name", "n_bands"), [("muufl_sub", 72), ("muufl_class", 72)])
def test_the_real_crops_have_wavelengths(name, n_bands):
    facts, source = describe(HYPERSPECTRAL / f"{name}.mat")
    assert len(facts.wavelengths_nm) == n_bands and 300 < facts.wavelengths_nm[0] < 450
    key = "hsi_img_sub" if name == "muufl_sub" else "hsi_sub"
    oracle = loadmat(HYPERSPECTRAL / f"{name}.mat")[key]
    np.testing.assert_array_equal(lazy_view(facts, source)[...], oracle.transpose(2, 0, 1))


@needs_shared
def test_a_real_file_of_version_7_3_is_refused():
    with pytest.raises(InputError, match=r"is a MATLAB 7.3 file"):
        describe(HYPERSPECTRAL / "anomaly" / "HYDICE1_v73.mat")
