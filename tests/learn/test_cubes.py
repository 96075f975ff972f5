import numpy as np
import pytest
from job_folders import finish, raw_source, table_of
from scenes import global_rx

from napari_seedlab import files
from napari_seedlab.core import InputError, JobCancelled, JobRequest, NotReady
from napari_seedlab.jobs.execute import execute
from napari_seedlab.learn import blocks, cubes
from napari_seedlab.learn.heat import LEAST_TOP

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
    request = JobRequest("test", "napari_seedlab.learn.cubes:run", {"scans": [entry], "detector": detector})
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


def one_grey(cube, regions):
    return np.ones_like(cube), regions


def no_value(cube, regions):
    return np.full_like(cube, np.nan), regions


def few(cube, regions):
    return cube, np.where(regions < 6, regions, 0)


def one(cube, regions):
    return cube, np.where(regions == 3, regions, 0)


def other_grid(cube, regions):
    return cube, regions[:, :-1]


@pytest.mark.parametrize("detector", cubes.DETECTORS)
@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (one_grey, InputError, "is constant: all 1,296 pixels are the same"),
        (no_value, InputError, "has 0 usable pixels"),
        (few, NotReady, "5 seeds are there, 8 are needed. Open a scan of more seeds"),
        (one, NotReady, "1 seed is there, 8 are needed"),
        (other_grid, InputError, r"regions of scan 1: lie on \(59, 60\) pixels"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path, detector, spoil, error, words):
    with pytest.raises(error, match=words) as caught:
        finish(cubes.run(job(tmp_path / "job", *spoil(*tray()), detector)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("box", [[0, 52, 4, 1, 61, 13], [0, -1, 4, 1, 8, 13]])
def test_a_seed_outside_its_scan_is_refused(tmp_path, box):
    folder = job(tmp_path / "job", *tray(), "rx")
    columns = files.load_arrays(folder / "regions-1.npz")
    columns["box"][6] = box
    files.save_arrays(folder / "regions-1.npz", **columns)
    with pytest.raises(InputError, match=r"seed 7: lies outside its scan of 60 × 60 pixels"):
        finish(cubes.run(folder))


@pytest.mark.parametrize("detector", cubes.DETECTORS)
def test_pixels_without_a_value_have_no_heat_and_change_no_unit(tmp_path, detector):
    cube, regions = tray()
    cube[3, :, 20:] = np.nan  # most of it
    folder = job(tmp_path / "job", cube, regions, detector, is_split=False)
    _, result = finish(cubes.run(folder))
    heat = files.open_zarr(folder / "heat-1.zarr")[0]
    pixels = files.load_arrays(folder / "pixels-1.npz")["score"]
    assert heat[:, :20].all() and not heat[:, 20:].any()
    assert result.values["scale"][1] < 1e3 * LEAST_TOP
    assert not pixels[:, 20:].any()
    assert "2,400 pixels with NaN or infinite values were left out" in result.values["notes"]


@pytest.mark.parametrize("detector", cubes.DETECTORS)
def test_a_job_stops_between_two_blocks_of_one_cube(tmp_path, detector, monkeypatch):
    monkeypatch.setattr(blocks, "READ_BYTES", 4 * N_BANDS * EDGE * 5)
    reads, told = [], []
    whole = files.LazyArray.__getitem__
    monkeypatch.setattr(files.LazyArray, "__getitem__", lambda a, i: reads.append(i) or whole(a, i))
    folder = job(tmp_path / "job", *tray(), detector)
    n_before = 1  # the regions
    with pytest.raises(JobCancelled):
        execute(folder, told.append, lambda: len(reads) == n_before + 3)
    assert len(reads) == n_before + 3
    assert not (folder / "scores.npz").exists()
    reports, _ = finish(cubes.run(folder))
    done = [report.done for report in reports]
    assert done == sorted(done)
    assert done[-1] == reports[-1].total
    assert len(set(done)) >= 20


def test_windows_follow_the_seeds_and_are_odd():
    _, regions = tray()
    inner, outer = cubes.windows_of(table_of(regions))
    assert inner % 2 == outer % 2 == 1
    assert inner > 9 and outer > 4 * 9  # the edge of a seed


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
