from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_seedlab.core import InputError, Modality
from napari_seedlab.files import open_array
from napari_seedlab.io import describe, reader
from napari_seedlab.io.tiff_voxels import ome_size, voxel_size

SHARED = Path(__file__).parents[3] / "shared" / "data"
GREY = {"photometric": "minisblack"}
IMAGEJ = {"imagej": True}


def volume(dtype="uint16", shape=(5, 12, 14), byteorder="="):
    values = np.random.default_rng(0).integers(0, 100, shape)
    return values.astype(np.dtype(dtype).newbyteorder(byteorder))


def page_by_page(path, values, **options):
    """Pages with a gap between them, as cameras write them."""
    with tifffile.TiffWriter(path) as writer:
        for number, plane in enumerate(values):
            writer.write(plane, contiguous=False, software="x" * (7 + number), **options)


def voxels(path, facts, source):
    """All voxels as the app reads them: in place, or decoded by the reader."""
    if source.layout == "encoded":
        return reader().planes(path, facts, 0, facts.shape[0])
    return open_array(source)[...]


@pytest.mark.parametrize(
    ("options", "layout"),
    [
        ({**GREY}, "raw"),
        ({**GREY, "byteorder": ">"}, "raw"),
        ({**GREY, "bigtiff": True}, "raw"),
        ({**GREY, "metadata": None}, "pages"),
        ({**GREY, "metadata": None, "rowsperstrip": 5}, "pages"),
        ({"imagej": True, "metadata": {"axes": "ZYX"}}, "raw"),
        ({**GREY, "ome": True, "metadata": {"axes": "ZYX"}}, "raw"),
        ({**GREY, "compression": "zlib", "predictor": True}, "encoded"),
        ({**GREY, "compression": "lzw"}, "encoded"),
        ({**GREY, "compression": "zlib", "byteorder": ">", "rowsperstrip": 5}, "encoded"),
        ({**GREY, "tile": (16, 16)}, "encoded"),
        ({**GREY, "tile": (16, 16), "compression": "zstd"}, "encoded"),
        ({**GREY, "tile": (16, 16, 16), "volumetric": True, "compression": "zlib"}, "encoded"),
    ],
    ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v)) + "-" + str(v.get("byteorder", "")),
)
def test_a_stack_reads_as_it_was_written(options, layout, tmp_path):
    path, values = tmp_path / "stack.tif", volume()
    write = page_by_page if layout == "pages" else tifffile.imwrite
    write(path, values, **options)

    facts, source = describe(path)

    assert (facts.shape, facts.dtype, facts.modality, facts.axes) == (
        values.shape, "uint16", Modality.CT, ("z", "y", "x")
    )  # fmt: skip
    assert source.layout == layout
    np.testing.assert_array_equal(voxels(path, facts, source), values)
    assert (facts.source_size, facts.source_mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint32", "int32", "float16", "float32", "float64", "uint64"]
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_every_voxel_type_is_kept(dtype, compression, tmp_path):
    path, values = tmp_path / "stack.tif", volume(dtype)
    tifffile.imwrite(path, values, compression=compression, **GREY)
    facts, source = describe(path)
    assert facts.dtype == dtype
    np.testing.assert_array_equal(voxels(path, facts, source), values)


def test_bits_become_bytes(tmp_path):
    values = volume() > 50
    tifffile.imwrite(tmp_path / "mask.tif", values)
    facts, source = describe(tmp_path / "mask.tif")
    assert facts.dtype == "uint8"
    np.testing.assert_array_equal(voxels(tmp_path / "mask.tif", facts, source), values)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_colours_become_their_mean(compression, planarconfig, tmp_path):
    colours = volume("uint8", (12, 14, 3))
    stored = colours if planarconfig == "contig" else colours.transpose(2, 0, 1)
    tifffile.imwrite(
        tmp_path / "rgb.tif", stored, photometric="rgb", planarconfig=planarconfig, compression=compression
    )
    facts, source = describe(tmp_path / "rgb.tif")
    assert facts.modality is Modality.IMAGE and facts.shape == (1, 12, 14)
    assert "colours became their mean" in facts.notes
    expected = np.rint(colours.astype(float).mean(-1))
    np.testing.assert_array_equal(voxels(tmp_path / "rgb.tif", facts, source)[0], expected)


def test_a_stack_of_colours_leaves_opacity_out(tmp_path):
    colours = volume("uint8", (3, 12, 14, 4))
    tifffile.imwrite(tmp_path / "rgba.tif", colours, photometric="rgb", extrasamples=["unassalpha"])
    facts, source = describe(tmp_path / "rgba.tif")
    expected = np.rint(colours[..., :3].astype(float).mean(-1))
    np.testing.assert_array_equal(voxels(tmp_path / "rgba.tif", facts, source), expected)


def test_a_plane_is_an_image_unless_said_otherwise(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", volume(shape=(12, 14)), **GREY)
    assert describe(tmp_path / "a.tif")[0].modality is Modality.IMAGE
    assert describe(tmp_path / "a.tif", "ct")[0].modality is Modality.CT


def test_a_stack_can_be_a_cube(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", volume(), imagej=True, metadata={"axes": "CYX"}, resolution=(0.5, 0.5)
    )
    facts, source = describe(tmp_path / "a.tif", Modality.HSI)
    assert facts.axes == source.axes == ("band", "y", "x")
    with pytest.raises(InputError, match="5 channels"):
        describe(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {**IMAGEJ, "resolution": (0.5, 0.25), "metadata": {"axes": "ZYX", "spacing": 3.0, "unit": "um"}},
            (3.0, 4.0, 2.0),
        ),
        (
            {**IMAGEJ, "resolution": (50, 50), "metadata": {"axes": "ZYX", "spacing": 0.1, "unit": "mm"}},
            (100.0, 20.0, 20.0),
        ),
        (
            {"ome": True, "metadata": {
                "axes": "ZYX", "PhysicalSizeX": 500.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25,
                "PhysicalSizeZ": 0.002, "PhysicalSizeZUnit": "mm"}, **GREY},
            (2.0, 0.25, 0.5),
        ),
        ({"resolution": (400, 500), "resolutionunit": "centimeter", **GREY}, (20.0, 20.0, 25.0)),
        ({"resolution": (72, 72), "resolutionunit": "inch", **GREY}, None),
        ({"imagej": True, "resolution": (1, 1), "metadata": {"axes": "ZYX"}}, None),
        (GREY, None),
    ],
    ids=["imagej µm", "imagej mm", "ome", "cm", "screen", "imagej pixels", "none"],
)  # fmt: skip
def test_the_voxel_size_is_honoured(options, expected, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", volume(), **options)
    facts = describe(tmp_path / "a.tif")[0]
    assert facts.voxel_size_um == (expected and pytest.approx(expected))
    if expected is None:
        assert any("voxel size" in note for note in facts.notes)


@pytest.mark.parametrize("stated", ["0", "-1", "1e30", "nan", "inf"])
def test_an_impossible_voxel_size_is_ignored_and_said(stated):
    class Tif:
        is_ome = True
        ome_metadata = f'<Pixels PhysicalSizeX="{stated}" PhysicalSizeY="2" PhysicalSizeZ="2"/>'

    notes = []
    assert voxel_size(Tif(), notes) == (2.0, 2.0, 2.0)
    assert "not usable" in notes[0] and "along x" in notes[0]


def test_more_channels_than_imagej_can_show_are_a_stack(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", volume(shape=(9, 12, 14)), imagej=True)  # writes them as channels
    facts = describe(tmp_path / "a.tif")[0]
    assert facts.modality is Modality.CT and "its channels are read as depth" in facts.notes


def test_ome_sizes_ignore_unknown_units():
    assert ome_size('<a:Pixels PhysicalSizeX="1" PhysicalSizeXUnit="parsec"/>') == (None, None, None)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is not beside the repository")
@pytest.mark.parametrize(
    "name",
    [
        "ct/cement_128.tif",
        "ct/shell_225x128x128.tif",
        "ct/barley_seed.tif",
        "formats/ome-tiff/cells-2z.ome.tif",
        "formats/tiff/12bit.cropped.tif",
        "formats/tiff/16bit.MM.cropped.tif",
        "formats/tiff/16bit.deflate.tif",
    ],
)
def test_real_files_equal_what_tifffile_reads(name):
    path = SHARED / name
    expected = tifffile.imread(path)
    facts, source = describe(path)
    np.testing.assert_array_equal(voxels(path, facts, source), expected.reshape(facts.shape))
