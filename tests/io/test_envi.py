from pathlib import Path

import numpy as np
import pytest
from bad_inputs import envi

from napari_seedlab.core import InputError, Modality
from napari_seedlab.files import open_array
from napari_seedlab.io import describe

SHARED = Path(__file__).parents[3] / "shared" / "data"
ORDER = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}
TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}


def cube(dtype):
    return np.random.default_rng(0).integers(0, 120, (5, 3, 4)).astype(dtype)


@pytest.mark.parametrize("interleave", ORDER)
@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("order", [0, 1])
def test_a_cube_reads_as_it_was_written(interleave, code, order, tmp_path):
    values = cube(np.dtype(TYPES[code]).newbyteorder("<>"[order]))
    data = b"#" * 17 + values.transpose(ORDER[interleave]).tobytes()
    path = envi(
        tmp_path,
        data=data,
        interleave=interleave,
        data_type=str(code),
        byte_order=str(order),
        header_offset="17",
    )

    facts, source = describe(path)

    assert (facts.shape, facts.modality, facts.axes) == ((5, 3, 4), Modality.HSI, ("band", "y", "x"))
    assert facts.wavelengths_nm == (450.0, 500.0, 550.0, 600.0, 650.0)
    np.testing.assert_array_equal(open_array(source)[...], values)


def test_the_data_file_finds_its_header(tmp_path):
    envi(tmp_path)
    facts, source = describe(tmp_path / "cube.raw")
    assert facts.shape == (5, 3, 4) and source.path == facts.source_path == str(tmp_path / "cube.raw")


@pytest.mark.parametrize("suffix", ["", ".dat", ".img", ".IMG"])
def test_data_files_of_other_names(suffix, tmp_path):
    path = envi(tmp_path)
    (tmp_path / "cube.raw").rename(tmp_path / f"cube{suffix}")
    assert describe(path)[1].path == str(tmp_path / f"cube{suffix}")


@pytest.mark.parametrize(
    ("fields", "expected", "note"),
    [
        ({"wavelength": "{0.45, 0.5, 0.55, 0.6, 0.65}", "wavelength_units": "Micrometers"}, 450.0, ""),
        ({"wavelength": "{0.45, 0.5, 0.55, 0.6, 0.65}", "wavelength_units": "Unknown"}, 450.0, "read as µm"),
        ({"wavelength_units": ""}, 450.0, "read as nm"),
        ({"wavelength": "{\n450,\n500 ,550\n,600,650\n}"}, 450.0, ""),
        ({"wavelength": "{650, 600, 550, 500, 450}"}, 650.0, ""),
        ({"wavelength_units": "Index"}, None, "bands are numbered"),
    ],
)
def test_wavelengths_are_in_nm(fields, expected, note, tmp_path):
    facts = describe(envi(tmp_path, **fields))[0]
    assert (facts.wavelengths_nm and facts.wavelengths_nm[0]) == expected
    assert any(note in line for line in facts.notes)


@pytest.mark.parametrize(
    ("drop", "note"),
    [("byte order", "little-endian"), ("wavelength", "bands are numbered"), ("header offset", "")],
)
def test_missing_fields_are_assumed_and_said(drop, note, tmp_path):
    facts = describe(envi(tmp_path, drop=(drop,)))[0]
    assert any(note in line for line in facts.notes)


def test_a_longer_data_file_is_said(tmp_path):
    assert any("8 bytes longer" in n for n in describe(envi(tmp_path, data=bytes(128)))[0].notes)


def test_a_wavelength_list_matters_to_cubes_only(tmp_path):
    path = envi(tmp_path, wavelength="{1, 2}")
    assert describe(path, Modality.CT)[0].wavelengths_nm is None
    with pytest.raises(InputError, match="2 wavelengths"):
        describe(path)


def test_a_link_to_a_header_reads_the_data_beside_the_header(tmp_path):
    (tmp_path / "real").mkdir()
    path = envi(tmp_path / "real")
    (tmp_path / "cube.hdr").symlink_to(path)
    (tmp_path / "cube.raw").symlink_to(tmp_path / "real" / "cube.raw")
    assert describe(tmp_path / "cube.hdr")[0].shape == (5, 3, 4)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is not beside the repository")
def test_the_real_cubes_agree_in_every_interleave():
    bsq = open_array(describe(SHARED / "formats/envi/corn_bsq_le_u2.hdr")[1])[...]
    bip = open_array(describe(SHARED / "formats/envi/corn_bip_le_u2.hdr")[1])[...]
    facts, source = describe(SHARED / "hyperspectral/corn_kernel.hdr")
    np.testing.assert_array_equal(bsq, bip)
    np.testing.assert_array_equal(open_array(source)[::4], bsq)
    assert len(facts.wavelengths_nm) == facts.shape[0] == 580


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ 0.00005, 0.0001, units=Meters }", (1.0, 100.0, 50.0)),
        ("{ 75, 75, units=um }", (1.0, 75.0, 75.0)),
        ("{ 0.1 , 0.2 }", (1.0, 200000.0, 100000.0)),
        ("{ -1, 2, units=Meters }", None),
        ("{ 1, 2, units=Degrees }", None),
        ("{ a }", None),
    ],
)
def test_pixel_size(text, expected):
    from napari_seedlab.io.envi import Header, _pixel_size

    notes = []
    assert _pixel_size(Header("a.hdr", f"ENVI\npixel size = {text}\n"), notes) == expected
    assert bool(notes) == (expected is None)
