import numpy as np
import pytest
from job_folders import finish, raw_source, table_of

from napari_seedlab import files
from napari_seedlab.core import InputError, JobRequest, NotReady
from napari_seedlab.learn import cubes
from napari_seedlab.learn.rx import global_rx

EDGE, N_BANDS = 60, 12


def tray(n_seeds=16, odd=(4, 11)):
    """Square seeds on a plate: cube (band, y, x), regions (1, y, x); the `odd` ones have a bright spot."""
    rng = np.random.default_rng(0)
    base = np.linspace(0.2, 0.8, N_BANDS)
    cube = rng.normal(0, 0.01, (N_BANDS, EDGE, EDGE)) + 0.05
    regions = np.zeros((1, EDGE, EDGE), np.int32)
    for i in range(n_seeds):
        y, x = 4 + 14 * (i // 4), 4 + 14 * (i % 4)
        cube[:, y : y + 9, x : x + 9] += base[:, None, None] * rng.uniform(0.8, 1.2)
        if i + 1 in odd:
            cube[8:, y + 2 : y + 5, x + 2 : x + 5] += 0.3
        regions[0, y : y + 9, x : x + 9] = i + 1
    return cube.astype(np.float32), regions


def job(folder, cube, regions, detector, is_split=True):
    folder.mkdir()
    table = table_of(regions) if is_split else table_of(np.zeros_like(regions))
    files.save_arrays(folder / "regions-1.npz", **table.columns())
    entry = {
        "scan": 1,
        "modality": "hsi",
        "table": "regions-1.npz",
        "image": raw_source(folder / "image.raw", cube),
        "regions": raw_source(folder / "regions.raw", regions) if is_split else None,
    }
    request = JobRequest("test", "cubes", {"scans": [entry], "detector": detector})
    files.write_json(folder / "request.json", request.to_json())
    return folder


@pytest.mark.parametrize("detector", cubes.DETECTORS)
def test_odd_seeds_come_first_and_their_place_is_hot(tmp_path, detector):
    cube, regions = tray()
    folder = job(tmp_path / "job", cube, regions, detector)
    _, result = finish(cubes.run(folder))
    out = files.load_arrays(folder / "scores.npz")
    heat = files.open_zarr(folder / "heat-1.zarr")[:]
    assert set(out["seed"][np.argsort(-out["score"])[:2]].tolist()) == {4, 11}
    assert float(np.median(out["score"])) == pytest.approx(1.0)
    assert heat.shape == regions.shape
    assert not heat[regions == 0].any()
    assert heat[regions > 0].all()
    spot = heat[0, 6:9, 48:51].astype(float)  # of seed 4
    assert spot.mean() > 3 * np.median(heat[regions == 4])
    assert set(result.files) == {"scores.npz", "heat-1.zarr", "pixels-1.npz"}


def test_a_cube_without_seeds_is_scored_pixel_by_pixel(tmp_path):
    cube, regions = tray()
    folder = job(tmp_path / "job", cube, regions, "rx", is_split=False)
    _, result = finish(cubes.run(folder))
    np.testing.assert_array_equal(files.load_arrays(folder / "pixels-1.npz")["score"], global_rx(cube).scores)
    assert files.open_zarr(folder / "heat-1.zarr")[:].all()
    assert len(files.load_arrays(folder / "scores.npz")["seed"]) == 0
    assert result.values["n_seeds"] == 0


def test_constant_bands_are_said_and_leave_the_order_as_it_is(tmp_path):
    cube, regions = tray()
    padded = np.concatenate([cube, np.full((2, EDGE, EDGE), 7, np.float32)])
    plain, more = job(tmp_path / "a", cube, regions, "rx"), job(tmp_path / "b", padded, regions, "rx")
    finish(cubes.run(plain))
    _, result = finish(cubes.run(more))
    assert any("constant" in note for note in result.values["notes"])
    a, b = (files.load_arrays(folder / "scores.npz")["score"] for folder in (plain, more))
    np.testing.assert_allclose(a, b, rtol=1e-4)


def test_too_few_seeds_and_a_cube_of_one_grey_are_refused_in_one_line(tmp_path):
    cube, regions = tray(5, ())
    with pytest.raises(NotReady, match="8 are needed"):
        finish(cubes.run(job(tmp_path / "few", cube, regions, "rx")))
    cube, regions = tray()
    with pytest.raises(InputError):
        finish(cubes.run(job(tmp_path / "flat", np.ones_like(cube), regions, "rx")))


def test_a_scan_without_seeds_changes_neither_the_scores_of_others_nor_has_it_heat(tmp_path):
    cube, regions = tray()
    folder, alone = job(tmp_path / "both", cube, regions, "rx"), job(tmp_path / "alone", cube, regions, "rx")
    request = files.read_json(folder / "request.json")
    empty = dict(request["params"]["scans"][0], scan=2, table="regions-2.npz")
    files.save_arrays(folder / "regions-2.npz", **table_of(np.zeros_like(regions)).columns())
    request["params"]["scans"].append(empty)
    files.write_json(folder / "request.json", request)
    finish(cubes.run(folder))
    finish(cubes.run(alone))
    assert (folder / "scores.npz").read_bytes() == (alone / "scores.npz").read_bytes()
    assert not files.open_zarr(folder / "heat-2.zarr")[:].any()
