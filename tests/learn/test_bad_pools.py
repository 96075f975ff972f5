"""Seeds that an anomaly network cannot learn from, or not from all of their voxels."""

import numpy as np
import planes
import pytest
from grains import grains, one_thread  # noqa: F401
from job_folders import finish, raw_source, sheet, write_job
from test_planes import plane_job

from napari_seedlab import files
from napari_seedlab.core import InputError, NotReady
from napari_seedlab.learn import distance, fcdd, vae
from napari_seedlab.learn.pool import Pool

METHODS = {"fcdd": fcdd, "vae": vae, "distance": distance}
SMALL = {"size": 16, "n_steps": 4, "n_fits": 1, "batch": 4, "precision": "float32", "device": "cpu"}


def volume_job(folder, volume, regions, labels=None, method="fcdd"):
    return write_job(folder, method, volume, regions, labels, random_state=3, settings=SMALL)


@pytest.fixture(scope="module")
def tray():
    crops, masks, _, _ = grains(10, 5)
    return sheet(crops, masks)


@pytest.mark.parametrize("method", METHODS)
def test_seeds_of_one_grey_value_are_refused(tmp_path, tray, method):
    volume, regions = tray
    flat = np.full_like(volume, 7)
    with pytest.raises(InputError, match="one grey value each"):
        finish(METHODS[method].run(volume_job(tmp_path / "a", flat, regions, method=method)))


def test_copies_of_one_seed_are_refused(tmp_path):
    crops, masks, _, _ = grains(1, 5)
    volume, regions = sheet(np.repeat(crops, 10, 0), np.repeat(masks, 10, 0))
    with pytest.raises(InputError, match="10 times the same"):
        finish(fcdd.run(volume_job(tmp_path / "a", volume, regions)))


@pytest.mark.parametrize("kind", [np.nan, np.inf])
def test_voxels_without_a_value_are_left_out_and_told(tmp_path, tray, kind):
    volume, regions = tray
    holed = volume.copy()
    z, y, x = (int(v) for v in np.argwhere(regions == 3).mean(0))
    hole = np.zeros(regions.shape, bool)
    hole[z - 2 : z + 2, y - 2 : y + 2, x - 2 : x + 2] = True
    holed[hole] = kind
    folder = volume_job(tmp_path / "a", holed, regions)
    _, result = finish(fcdd.run(folder))
    n_lost = int((hole & (regions > 0)).sum())
    assert result.values["notes"] == [f"{n_lost} voxels of seeds with NaN or infinite values were left out"]
    assert np.isfinite(files.load_arrays(folder / "scores.npz")["score"]).all()
    heat = files.open_zarr(folder / "heat-1.zarr")[:]
    assert heat[regions > 0].all()


def test_pixels_without_a_value_in_one_channel_are_left_out_and_told(tmp_path):
    folder, regions = plane_job(tmp_path / "a", 3)
    plane = np.fromfile(folder / "image.raw", np.float32).reshape(3, *regions.shape[1:])
    places = np.argwhere(regions[0] == 5)
    y, x = places[len(places) // 2]
    plane[1, y : y + 2, x] = np.nan
    plane.tofile(folder / "image.raw")
    _, result = finish(fcdd.run(folder))
    assert result.values["notes"] == ["2 voxels of seeds with NaN or infinite values were left out"]
    assert np.isfinite(files.load_arrays(folder / "scores.npz")["score"]).all()


def test_a_constant_channel_says_nothing_even_with_a_made_up_defect():
    crops, masks, _, _ = planes.grains(4, 5, n_channels=3)
    crops[:, 2] = np.where(masks, 1, 0)
    pool = Pool(crops, masks)
    pasted, defect = pool.pasted(np.random.default_rng(0), 0)
    assert np.ptp(pasted[2][defect | masks[0]]) > 0
    shown = pool.shown(pasted[None], masks[:1])
    assert not shown[:, 2].any()
    assert shown[:, 0].any()


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_outside_its_scan_is_refused(tmp_path, tray, method):
    folder = volume_job(tmp_path / "a", *tray, method=method)
    table = files.load_arrays(folder / "regions-1.npz")
    table["box"][4, 5] += 1000
    files.save_arrays(folder / "regions-1.npz", **table)
    with pytest.raises(InputError, match=r"seed 5: has the box .* in a scan of"):
        finish(METHODS[method].run(folder))


def test_regions_of_another_shape_than_their_scan_are_refused(tmp_path, tray):
    volume, regions = tray
    folder = volume_job(tmp_path / "a", volume, regions)
    request = files.read_json(folder / "request.json")
    request["params"]["scans"][0]["image"] = raw_source(folder / "cut.raw", np.ascontiguousarray(volume[1:]))
    files.write_json(folder / "request.json", request)
    with pytest.raises(InputError, match="its regions have"):
        finish(fcdd.run(folder))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", ["one", "none"])
def test_one_seed_alone_or_no_normal_one_is_too_few(tmp_path, tray, method, case):
    crops, masks, _, _ = grains(1, 5)
    volume, regions = sheet(crops, masks) if case == "one" else tray
    labels = None if case == "one" else dict.fromkeys(range(1, 11), 2)
    with pytest.raises(NotReady, match="8 are needed"):
        finish(METHODS[method].run(volume_job(tmp_path / "a", volume, regions, labels, method)))
