import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from bad_inputs import envi

from napari_seedlab.core import InputError
from napari_seedlab.io import encoded, get_reader, reader
from napari_seedlab.io.hsi_view import colour_bands, composite, stretch
from napari_seedlab.io.reader_process import describe

ROOT = Path(__file__).parents[2]
VALUES = np.random.default_rng(0).integers(1, 99, (5, 3, 4)).astype("u2")


@pytest.fixture
def packed(tmp_path):
    tifffile.imwrite(
        tmp_path / "tray.ome.tif", VALUES, compression="zlib", photometric="minisblack", ome=True,
        metadata={"axes": "ZYX", "PhysicalSizeX": 20.0, "PhysicalSizeY": 20.0, "PhysicalSizeZ": 40.0},
    )  # fmt: skip
    return str(tmp_path / "tray.ome.tif")


@pytest.mark.parametrize("name", ["x.png", "x.tif.txt", "x.zarr", "x", "x.nii.gz", "x.raw"])
def test_foreign_files_are_left_to_others(name):
    assert get_reader(name) is None


def test_folders_lists_and_nifti_headers_are_left_to_others(tmp_path):
    (tmp_path / "a.tif").mkdir()
    (tmp_path / "n.hdr").write_bytes(b"\x5c\x01\0\0" + bytes(344))
    assert get_reader(str(tmp_path / "a.tif")) is None
    assert get_reader(["a.tif", "b.tif"]) is None
    assert get_reader(str(tmp_path / "n.hdr")) is None


def test_a_packed_stack_is_shown_lazily_in_um(packed):
    ((data, shown, kind),) = get_reader(packed)(packed)
    assert kind == "image" and shown["name"] == "tray"
    assert shown["scale"] == (40.0, 20.0, 20.0) and shown["units"] == ("um",) * 3
    assert shown["metadata"]["seedlab"]["facts"]["modality"] == "ct"
    assert shown["contrast_limits"] == (VALUES[2].min(), VALUES[2].max())
    np.testing.assert_array_equal(np.asarray(data), VALUES)


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        (1, 2),
        (slice(1, 4, 2), 1),
        (slice(None, None, -2),),
        (..., 2),
        (1, ..., slice(1, 3)),
        slice(2, 2),
        ...,
    ],
    ids=str,
)
def test_packed_planes_are_indexed_as_numpy_does(index, packed):
    ((data, _, _),) = get_reader(packed)(packed)
    assert (data.shape, data.ndim, data.nbytes, len(data)) == (VALUES.shape, 3, VALUES.nbytes, 5)
    np.testing.assert_array_equal(data[index], VALUES[index])


def test_wrong_indices_are_told_as_numpy_does(packed):
    ((data, _, _),) = get_reader(packed)(packed)
    for index in (5, -6, (0, 0, 0, 0)):
        with pytest.raises(IndexError):
            data[index]


def test_a_plane_that_was_shown_is_not_decoded_again(packed, monkeypatch):
    ((data, _, _),) = get_reader(packed)(packed)
    first = data[3]
    monkeypatch.setattr(encoded, "reader", lambda: pytest.fail("decoded again"))
    np.testing.assert_array_equal(data[3], first)


@pytest.mark.filterwarnings("ignore")  # of napari and pydantic
def test_layers_are_taken_by_napari(packed):
    from napari.layers import Layer

    layer = Layer.create(*get_reader(packed)(packed)[0])
    np.testing.assert_array_equal(layer.get_value((0.0, 20.0, 40.0), world=True), VALUES[0, 1, 2])


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_a_cube_comes_with_a_picture(interleave, tmp_path):
    order = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}[interleave]
    path = str(envi(tmp_path, data=VALUES.transpose(order).tobytes(), interleave=interleave))
    (data, shown, _), (picture, colours, _) = get_reader(path)(path)
    assert shown["units"] == ("pixel", "pixel", "pixel")
    np.testing.assert_array_equal(np.asarray(data), VALUES)
    assert picture.shape == (3, 4, 3) and picture.dtype == np.uint8 and colours["rgb"]
    np.testing.assert_array_equal(picture, composite(*cube_of(path)))


def cube_of(path):
    facts, source = describe(path)
    return source, facts.wavelengths_nm


def test_fortran_order_is_shown_upright(tmp_path):
    np.save(tmp_path / "f.npy", np.asfortranarray(VALUES))
    ((data, _, _),) = get_reader(str(tmp_path / "f.npy"))(str(tmp_path / "f.npy"))
    np.testing.assert_array_equal(np.asarray(data), VALUES)


def test_a_flat_image_has_a_contrast(tmp_path):
    np.save(tmp_path / "f.npy", np.full((4, 4), 7.0))
    ((_, shown, _),) = get_reader(str(tmp_path / "f.npy"))(str(tmp_path / "f.npy"))
    assert shown["contrast_limits"] == (7.0, 8.0)


def test_a_broken_file_is_refused_by_its_name(tmp_path):
    (tmp_path / "b.tif").write_bytes(b"text")
    with pytest.raises(InputError, match=r"b\.tif: is not a TIFF"):
        get_reader(str(tmp_path / "b.tif"))(str(tmp_path / "b.tif"))


def test_a_long_stack_is_described_within_a_second(tmp_path):
    page = np.ones((8, 8), np.uint8)
    with tifffile.TiffWriter(tmp_path / "long.tif") as writer:
        for _ in range(1500):
            writer.write(page, contiguous=False, metadata=None, compression="zlib")
    reader().warm().join()
    read = get_reader(str(tmp_path / "long.tif"))
    started = time.process_time()
    ((data, _, _),) = read(str(tmp_path / "long.tif"))
    assert data.shape == (1500, 8, 8)
    assert time.process_time() - started < 1.0  # of our own process; the child has its deadline


@pytest.mark.parametrize(
    ("n", "wavelengths", "bands"),
    [
        (5, (450.0, 500.0, 550.0, 600.0, 650.0), (4, 2, 0)),
        (6, (650.0, 600.0, 550.0, 500.0, 460.0, 420.0), (0, 2, 4)),
        (200, None, (199, 100, 0)),
        (4, (900.0, 1200.0, 1500.0, 1700.0), (3, 2, 0)),
    ],
    ids=["visible", "descending", "none", "infrared"],
)
def test_colours_stand_for_their_wavelengths(n, wavelengths, bands):
    assert colour_bands(n, wavelengths) == bands


def test_stretching_ignores_what_is_not_finite():
    band = np.linspace(0, 1, 10_000, dtype=np.float32).reshape(100, 100)
    band[0, 0], band[0, 1] = np.nan, np.inf
    shown = stretch(band)
    assert shown[0, 0] == 0 and shown[-1, -1] == 255 and 120 < np.median(shown) < 135
    assert not stretch(np.full((2, 2), np.nan)).any()


def test_the_room_is_light():
    heavy = "{'torch', 'zarr', 'dask', 'tifffile', 'scipy', 'skimage', 'qtpy', 'napari', 'sklearn'}"
    code = f"import sys, napari_seedlab.io; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
