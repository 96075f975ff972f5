import numpy as np
import pytest
from bad_inputs import npy
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_seedlab.core import InputError, Modality
from napari_seedlab.files import open_array
from napari_seedlab.io import describe
from napari_seedlab.io.npy import HEADER


@pytest.mark.parametrize("dtype", ["|u1", "|b1", "<u2", ">u2", "<i4", ">f4", "<f8", "<f2", "|i1"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5)])
def test_an_array_reads_as_it_was_saved(dtype, shape, tmp_path):
    values = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    np.save(tmp_path / "a.npy", values)

    facts, source = describe(tmp_path / "a.npy")

    assert facts.shape == (shape if len(shape) == 3 else (1, *shape))
    assert facts.modality is (Modality.CT if len(shape) == 3 else Modality.IMAGE)
    assert facts.dtype == ("uint8" if dtype == "|b1" else np.dtype(dtype).name)
    np.testing.assert_array_equal(open_array(source)[...].reshape(shape), values)


def test_fortran_order_is_described_as_it_lies(tmp_path):
    values = np.asfortranarray(np.arange(60, dtype="u2").reshape(3, 4, 5))
    np.save(tmp_path / "a.npy", values)
    facts, source = describe(tmp_path / "a.npy", "hsi")
    assert facts.shape == (3, 4, 5) and source.axes == ("x", "y", "band")
    np.testing.assert_array_equal(open_array(source)[...].transpose(2, 1, 0), values)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_header_version(version, tmp_path):
    with open(tmp_path / "a.npy", "wb") as stream:
        np.lib.format.write_array(stream, np.ones((2, 3), np.uint8), version=version)
    assert describe(tmp_path / "a.npy")[0].shape == (1, 2, 3)


@settings(max_examples=60)
@given(st.text(max_size=200))
def test_no_text_is_evaluated(text):
    match = HEADER.fullmatch(text)
    assert match is None or "'descr'" in text


def test_a_call_in_the_shape_is_refused(tmp_path):
    with pytest.raises(InputError, match="broken"):
        describe(npy(tmp_path, "{'descr': '<u2', 'fortran_order': False, 'shape': (len('ab'), 2), }"))


def test_a_stack_is_no_image(tmp_path):
    path = tmp_path / "stack.npy"
    np.save(path, np.zeros((11, 12, 13), np.uint8))
    with pytest.raises(InputError, match=r"^stack\.npy: is a stack of 11 planes, no image"):
        describe(path, "image")
