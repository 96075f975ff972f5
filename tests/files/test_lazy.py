import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_seedlab.core import InputError, ProjectDamaged
from napari_seedlab.files import ArraySource, as_dask, create_zarr, open_array
from napari_seedlab.files import lazy as lazy_module

SHAPE = (5, 6, 7)
AXES = ("z", "y", "x")
LAYOUTS = ["raw", "pages", "bil", "bip", "zarr"]


def write(folder, layout, values, header=13):
    """Write `values` (axes as shown) in `layout`; return its source."""
    dtype = values.dtype.str
    if layout == "zarr":
        create_zarr(folder / "a.zarr", values.shape, (2, 3, 4), values.dtype)[...] = values
        return ArraySource(str(folder / "a.zarr"), "zarr", values.shape, AXES, dtype)
    path = folder / f"a.{layout}"
    if layout == "pages":  # pages stand in no order and with gaps
        order = np.random.default_rng(0).permutation(len(values))
        page, offsets = values[0].nbytes + 11, [0] * len(values)
        blob = bytearray(b"#" * (header + page * len(values)))
        for place, z in enumerate(order):
            offsets[z] = header + place * page
            blob[offsets[z] : offsets[z] + values[z].nbytes] = values[z].tobytes()
        path.write_bytes(blob)
        return ArraySource(str(path), layout, values.shape, AXES, dtype, page_offsets=tuple(offsets))
    stored = {"raw": values, "bil": values.transpose(1, 0, 2), "bip": values.transpose(1, 2, 0)}[layout]
    path.write_bytes(b"#" * header + stored.tobytes())
    return ArraySource(str(path), layout, values.shape, AXES, dtype, offset=header)


def sample(dtype="<u2", shape=SHAPE):
    return np.random.default_rng(1).integers(0, 255, shape).astype(dtype)


@st.composite
def indices(draw, shape=SHAPE):
    parts = []
    for length in shape[: draw(st.integers(0, len(shape)))]:
        whole = st.integers(-length, length - 1)
        bound = st.none() | st.integers(-length - 2, length + 2)
        step = st.none() | st.sampled_from([-3, -2, -1, 1, 2, 3])
        parts.append(draw(whole | st.builds(slice, bound, bound, step)))
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), Ellipsis)
    return tuple(parts)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layouts")
    return {layout: open_array(write(folder, layout, sample(">u2"))) for layout in LAYOUTS}


@pytest.mark.parametrize("gap", [0, 64, lazy_module.GAP])
@pytest.mark.parametrize("layout", LAYOUTS)
@given(index=indices())
@settings(max_examples=40, deadline=None)
def test_indexing_equals_numpy(opened, layout, gap, index):
    expected = sample(">u2")[index]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy_module, "GAP", gap)
        got = opened[layout][index]
    assert got.shape == expected.shape
    assert got.dtype == np.dtype("u2") and got.dtype.isnative
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["|u1", "<i2", ">f4", "<f8"])
def test_every_dtype_comes_back_whole(tmp_path, layout, dtype):
    values = sample(dtype)
    array = open_array(write(tmp_path, layout, values))
    np.testing.assert_array_equal(np.asarray(array), values)
    assert (array.ndim, len(array), array.size, array.nbytes) == (3, 5, values.size, values.nbytes)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pickles_as_its_description(tmp_path, layout):
    array = open_array(write(tmp_path, layout, sample()))
    first = array[0]
    again = pickle.loads(pickle.dumps(array))
    np.testing.assert_array_equal(again[0], first)


@pytest.mark.parametrize("layout", ["raw", "bip", "zarr"])
def test_threads_read_at_once(tmp_path, layout):
    values = sample(shape=(40, 30, 20))
    array = open_array(write(tmp_path, layout, values))
    with ThreadPoolExecutor(8) as pool:
        planes = list(pool.map(lambda z: array[z], range(40)))
    np.testing.assert_array_equal(np.stack(planes), values)


def test_reads_only_the_planes_asked_for(tmp_path, monkeypatch):
    values = sample(shape=(40, 30, 20))
    array = open_array(write(tmp_path, "raw", values))
    read, plain = [], os.preadv
    monkeypatch.setattr(os, "preadv", lambda *a: read.append(plain(*a)) or read[-1])
    _ = array[7]
    assert read == [values[0].nbytes]


def test_small_box_of_wide_rows_is_read_row_by_row(tmp_path, monkeypatch):
    values = np.zeros((4, 6, 20_000), "u1")
    values[2, 3:5, 100:110] = 7
    array = open_array(write(tmp_path, "raw", values))
    read, plain = [], os.preadv
    monkeypatch.setattr(os, "preadv", lambda *a: read.append(plain(*a)) or read[-1])
    assert (array[2, 3:5, 100:110] == 7).all()
    assert read == [10, 10]


@pytest.mark.parametrize("layout", ["raw", "pages", "bil", "bip"])
def test_cut_file_is_refused_with_both_sizes(tmp_path, layout):
    source = write(tmp_path, layout, sample())
    size = os.path.getsize(source.path)
    needed = size - 11 if layout == "pages" else size
    os.truncate(source.path, 100)
    with pytest.raises(InputError, match=rf"^a\.{layout}: .*{needed:,} bytes are declared, it holds 100\."):
        open_array(source)


def test_file_cut_after_opening_is_an_error_not_a_crash(tmp_path):
    source = write(tmp_path, "raw", sample())
    array = open_array(source)
    _ = array[0]
    os.truncate(source.path, 100)
    with pytest.raises(InputError, match=r"433 bytes are declared, it holds 100"):
        array[...]


def test_declared_size_of_the_source_counts(tmp_path):
    source = write(tmp_path, "raw", sample())
    longer = ArraySource.from_json({**source.to_json(), "size": 1000})
    with pytest.raises(InputError, match=r"1,000 bytes are declared, it holds 433"):
        open_array(longer)


def test_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"^pipe: is not a regular file"):
        open_array(ArraySource(str(tmp_path / "pipe"), "raw", (2, 2, 2), AXES, "u1"))


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"layout": "bsp"}, "layout 'bsp' is not known"),
        ({"dtype": "nonsense"}, "voxel type 'nonsense' is not known"),
        ({"dtype": "O"}, "cannot be shown"),
        ({"shape": (-1, 2, 2)}, "cannot be shown"),
        ({"layout": "pages", "page_offsets": (0,)}, "1 pages for 5 planes"),
        ({"layout": "bil", "shape": (4, 4)}, "needs 3 axes, the shape has 2"),
        ({"offset": -5}, "start before its first byte"),
        ({"path": "/nowhere/a.raw"}, "No such file"),
    ],
)
def test_contradictions_are_refused(tmp_path, change, cause):
    source = write(tmp_path, "raw", sample())
    with pytest.raises(InputError, match=cause):
        open_array(ArraySource.from_json({**source.to_json(), **change}))


@pytest.mark.parametrize("index", [None, 1.5, (slice(None),) * 4, (..., ...), 9, -9, True, np.array([1])])
def test_other_indices_are_index_errors(opened, index):
    with pytest.raises(IndexError):
        opened["raw"][index]


def test_damaged_chunk_is_named(tmp_path):
    source = write(tmp_path, "zarr", sample())
    chunk = tmp_path / "a.zarr" / "c" / "1" / "0" / "1"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    array = open_array(source)
    _ = array[0:2]
    with pytest.raises(ProjectDamaged, match=r"^a\.zarr: chunk c/1/0/1 is damaged"):
        array[...]


def test_zarr_of_another_shape_is_refused(tmp_path):
    source = write(tmp_path, "zarr", sample())
    with pytest.raises(ProjectDamaged, match=r"has shape \(5, 6, 7\), expected \(4, 6, 7\)"):
        open_array(ArraySource.from_json({**source.to_json(), "shape": (4, 6, 7)}))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dask_array_has_the_same_voxels_by_planes(tmp_path, layout):
    values = sample()
    array = as_dask(write(tmp_path, layout, values))
    assert array.chunksize == ((2, 3, 4) if layout == "zarr" else (1, 6, 7))
    np.testing.assert_array_equal(np.asarray(array[2]), values[2])


def test_dask_names_are_new_each_time(tmp_path):
    source = write(tmp_path, "raw", sample())
    assert as_dask(source).name != as_dask(source).name


def test_a_closed_array_opens_again(opened):
    before = opened["raw"][1]
    opened["raw"].close()
    np.testing.assert_array_equal(opened["raw"][1], before)
