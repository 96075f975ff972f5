import json
import subprocess
import sys

import numpy as np
import pytest

from napari_seedlab.core import ProjectDamaged
from napari_seedlab.files import create_zarr, open_zarr


def test_array_is_zarr_v3_with_zstd_and_checksums(tmp_path):
    create_zarr(tmp_path / "a", (4, 5, 6), (1, 5, 600), "i4", fill_value=-1, attrs={"scan": 3})
    facts = json.loads((tmp_path / "a" / "zarr.json").read_text())
    assert facts["zarr_format"] == 3
    assert [c["name"] for c in facts["codecs"]] == ["bytes", "zstd", "crc32c"]
    assert facts["attributes"] == {"scan": 3}
    assert facts["chunk_grid"]["configuration"]["chunk_shape"] == [1, 5, 6]
    assert (open_zarr(tmp_path / "a")[...] == -1).all()


@pytest.mark.parametrize("dtype", ["u1", "i1", "i4", "f2", "f4"])
def test_values_come_back(tmp_path, dtype):
    values = np.arange(60).reshape(3, 4, 5).astype(dtype)
    create_zarr(tmp_path / "a", values.shape, (2, 2, 2), dtype)[...] = values
    again = open_zarr(tmp_path / "a", "r+")
    np.testing.assert_array_equal(again[...], values)
    again[0, 0, 0] = 9
    assert open_zarr(tmp_path / "a")[0, 0, 0] == 9


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"zarr_format": 9, "node_type": "array"}', None])
def test_unusable_metadata_is_one_line(tmp_path, content):
    create_zarr(tmp_path / "a", (4, 5, 6), (1, 5, 6), "i4")
    if content is None:
        (tmp_path / "a" / "zarr.json").unlink()
    else:
        (tmp_path / "a" / "zarr.json").write_bytes(content)
    with pytest.raises(ProjectDamaged, match=r"^a: "):
        open_zarr(tmp_path / "a")


def test_missing_array_is_said(tmp_path):
    with pytest.raises(ProjectDamaged, match="is missing"):
        open_zarr(tmp_path / "a")


def test_importing_the_room_loads_no_heavy_library():
    heavy = ("zarr", "dask", "torch", "scipy")
    code = f"import sys, napari_seedlab.files; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
