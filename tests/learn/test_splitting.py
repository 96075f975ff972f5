"""The split job: files in, files out, cancel leaves nothing half-written."""

import sys

import numpy as np
import pytest

from napari_seedlab.core import JobRequest, RegionTable
from napari_seedlab.files import ArraySource, load_arrays, open_array, open_zarr, write_json
from napari_seedlab.imaging import SplitRecipe, split
from napari_seedlab.learn import splitting


def balls(shift=0, n=3):
    z, y, x = np.ogrid[:24, :24, : 26 * n]
    image = np.full((24, 24, 26 * n), 20, np.uint16)
    for k in range(n):
        image[(z - 12) ** 2 + (y - 12) ** 2 + (x - 13 - 22 * k - shift) ** 2 < 11.5**2] = 900
    return image


def source_of(path, array, axes=("z", "y", "x")):
    path.write_bytes(array.tobytes())
    return ArraySource(str(path), "raw", array.shape, axes, array.dtype.str)


def request(folder, array, axes=("z", "y", "x"), **params):
    defaults = {
        "image": source_of(folder / "image.raw", array, axes).to_json(),
        "recipe": SplitRecipe().to_json(),
        "scan": 4,
        "first_region": 31,
        "modality": "ct",
    }
    job = JobRequest("j1", "napari_seedlab.learn.splitting:run", {**defaults, **params})
    write_json(folder / "request.json", job.to_json())


def drive(steps):
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return end.value, seen


def test_job_writes_regions_and_their_table(tmp_path):
    image = balls()
    request(tmp_path, image)

    result, seen = drive(splitting.run(tmp_path))

    raster = open_zarr(tmp_path / "regions.zarr", "r")[...]
    table = RegionTable.from_columns(load_arrays(tmp_path / "regions-new.npz"))
    expected = split(image)
    np.testing.assert_array_equal(raster, np.where(expected > 0, expected + 30, 0))
    assert raster.dtype == np.int32
    assert table.scan == 4
    assert table.region.tolist() == [31, 32, 33]
    assert table.seed.tolist() == [0, 0, 0]
    assert result.values["n_seeds"] == 3
    assert 20 < result.values["threshold"] < 900
    assert SplitRecipe.from_json(result.values["recipe"]) == SplitRecipe()
    assert result.files == ("regions.zarr", "regions-new.npz")
    shares = [p.done / p.total for p in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_second_split_keeps_the_seeds_that_match(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    request(first, balls())
    drive(splitting.run(first))
    old = RegionTable.from_columns(load_arrays(first / "regions-new.npz"))
    columns = {**old.columns(), "seed": np.array([501, 502, 503])}
    np.savez(second / "regions.npz", **columns)
    image = balls(shift=1)
    image[:, :, :24] = 20  # the first one is gone
    raster = ArraySource(str(first / "regions.zarr"), "zarr", image.shape, ("z", "y", "x"), "<i4")
    request(second, image, first_region=61, old_regions=raster.to_json())

    result, _ = drive(splitting.run(second))

    table = RegionTable.from_columns(load_arrays(second / "regions-new.npz"))
    assert table.seed.tolist()[-2:] == [502, 503]
    assert result.values["n_matched"] == 2
    assert min(table.region) == 61


def test_cube_is_split_in_its_mean_over_bands(tmp_path):
    plane = balls()[12]
    rng = np.random.default_rng(0)
    cube = (plane[None] + rng.integers(0, 800, (12, *plane.shape))).astype(np.uint16)
    request(tmp_path, cube, ("band", "y", "x"), modality="hsi", voxel_size_um=[1.0, 30.0, 30.0])

    result, _ = drive(splitting.run(tmp_path))

    assert result.values["n_seeds"] == 3
    assert open_zarr(tmp_path / "regions.zarr", "r").shape == (1, *plane.shape)


def test_voxel_size_gives_the_spacing(tmp_path, monkeypatch):
    module = sys.modules["napari_seedlab.imaging.split"]
    used = []
    plain = module.split_steps
    monkeypatch.setattr(module, "split_steps", lambda v, r: used.append(r) or plain(v, r))
    request(tmp_path, balls(), voxel_size_um=[60.0, 20.0, 20.0])

    drive(splitting.run(tmp_path))

    assert used[0].spacing == (3.0, 1.0, 1.0)


def test_double_precision_is_read_as_single(tmp_path):
    image = balls().astype(">f8")
    source = source_of(tmp_path / "image.raw", image)

    array, _ = drive(splitting.foreground_image(open_array(source), has_bands=False))

    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, image)


@pytest.mark.parametrize("steps", [1, 4, 12, 30])
def test_closing_leaves_no_half_written_raster(tmp_path, monkeypatch, steps):
    monkeypatch.setattr(splitting, "CHUNK", (2, 8, 8))
    monkeypatch.setattr(splitting, "BLOCK_VOXELS", 1)
    request(tmp_path, balls())
    job = splitting.run(tmp_path)
    for _ in range(steps):
        next(job)

    job.close()

    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.raw", "request.json"]
