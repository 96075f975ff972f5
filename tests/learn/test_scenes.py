"""FCDD on hyperspectral cubes: seeds of split ones, tiles of those that are not."""

import numpy as np
import pytest
from grains import one_thread  # noqa: F401
from job_folders import finish
from scenes import Stored, background_of, made_scene
from test_cubes import job, tray

from napari_seedlab import files
from napari_seedlab.core import InputError, NotReady
from napari_seedlab.learn import fcdd
from napari_seedlab.learn import scenes as learn_scenes
from napari_seedlab.learn.spectra import Components, merged, odd_spectra, scene_region
from napari_seedlab.learn.tiles import Tiles, project_steps

SMALL = {"n_steps": 8, "n_fits": 2, "batch": 4, "precision": "float32", "device": "cpu"}


def fcdd_job(folder, cube, regions, is_split=True, **settings):
    job(folder, cube, regions, "fcdd", is_split)
    request = files.read_json(folder / "request.json")
    request["params"]["settings"] = {**SMALL, **settings}
    files.write_json(folder / "request.json", request)
    return folder


def test_components_are_whitened_and_their_mean_is_nought():
    cube, _ = tray()
    seen = Components.of(background_of(cube), 5)(cube).reshape(5, -1)
    np.testing.assert_allclose(seen.mean(1), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(seen), np.eye(5), atol=1e-2)


def test_backgrounds_of_two_cubes_are_those_of_both_side_by_side():
    cube, _ = tray()
    both, parts = background_of(cube), (cube[:, :20], cube[:, 20:])
    joined = merged([background_of(np.ascontiguousarray(part)) for part in parts])
    assert joined.n_pixels == both.n_pixels
    np.testing.assert_allclose(joined.mean, both.mean, rtol=1e-9)
    np.testing.assert_allclose(joined.covariance, both.covariance, atol=1e-12)


def test_more_light_is_the_same_in_components_as_in_the_cube():
    cube, _ = tray()
    components = Components.of(background_of(cube), 6)
    brighter = 1.3 * components(cube) + 0.3 * components.brightness[:, None, None]
    np.testing.assert_allclose(brighter, components(1.3 * cube), rtol=1e-3, atol=1e-3)


def test_made_up_spectra_differ_from_those_they_are_made_of():
    spectra = np.random.default_rng(0).normal(size=(6, 5, 5)).astype(np.float32)
    others = np.random.default_rng(1).normal(size=(6, 50)).astype(np.float32)
    for state in range(10):
        odd = odd_spectra(np.random.default_rng(state), spectra, others, np.full(6, 2, np.float32))
        assert odd.shape == spectra.shape
        assert float(np.abs(odd - spectra).mean()) > 0.2


def test_a_made_up_thing_in_a_scene_is_small_and_never_empty():
    mask = np.ones((32, 32), bool)
    depth = np.ones(mask.shape, np.float32)
    sizes = [int(scene_region(np.random.default_rng(s), mask, depth).sum()) for s in range(50)]
    assert min(sizes) >= 1
    assert max(sizes) <= 45


def test_odd_seeds_of_a_split_cube_come_first(tmp_path):
    cube, regions = tray(odd=(4, 11))
    folder = fcdd_job(tmp_path / "job", cube, regions, size=16, n_steps=60, batch=8, n_components=6)
    _, result = finish(fcdd.run(folder))
    assert set(result.files) == {"fcdd.safetensors", "scores.npz", "heat-1.zarr", "pixels-1.npz"}
    out = files.load_arrays(folder / "scores.npz")
    assert set(out["seed"][np.argsort(-out["score"])[:2]].tolist()) == {4, 11}
    heat = files.open_zarr(folder / "heat-1.zarr")[:]
    assert heat.shape == regions.shape
    assert heat[regions > 0].all()
    assert not heat[regions == 0].any()
    pixels = files.load_arrays(folder / "pixels-1.npz")["score"]
    assert pixels.shape == regions.shape[1:]
    assert pixels[6:9, 48:51].mean() > 3 * np.median(pixels[regions[0] == 4])  # the spot of seed 4


def test_a_scene_is_scored_pixel_by_pixel_twice_alike(tmp_path):
    cube, regions = tray(odd=())
    cube[:, 0, 0] = np.nan
    cube = np.concatenate([cube, np.full((1, *cube.shape[1:]), 7, np.float32)])
    first, second = (fcdd_job(tmp_path / name, cube, regions, is_split=False) for name in "ab")
    _, result = finish(fcdd.run(first))
    finish(fcdd.run(second))
    pixels = files.load_arrays(first / "pixels-1.npz")["score"]
    heat = files.open_zarr(first / "heat-1.zarr")[:]
    assert pixels.shape == cube.shape[1:]
    assert np.isfinite(pixels).all()
    assert pixels[0, 0] == 0 == heat[0, 0, 0]
    assert (pixels.ravel()[1:] > 0).all()
    assert heat[0].ravel()[1:].all()
    assert len(files.load_arrays(first / "scores.npz")["seed"]) == 0
    assert {"1 of 13 bands are constant and were left out"} <= set(result.values["notes"])
    assert any("NaN" in note for note in result.values["notes"])
    assert (first / "pixels-1.npz").read_bytes() == (second / "pixels-1.npz").read_bytes()


def test_tiles_are_cut_from_one_copy_of_the_components():
    cubes = [made_scene(5, (20, 33), 0), made_scene(5, (12, 40), 1)]
    cubes[1][2, 3, 4] = np.nan
    components = Components.of(background_of(cubes[0]), 4)
    _, (kept, known) = finish(project_steps(cubes, components))
    tiles = Tiles(kept, known, 16)
    assert tiles.shape == (len(tiles), 4, 12, 12) and len(tiles) == 3 * 5 + 1 * 6
    assert all(any(np.shares_memory(tile, scene) for scene in kept) for tile in tiles)
    expected = np.clip(components(cubes[1][:, :, 6:18]), -6e4, 6e4).astype(np.float16)
    np.testing.assert_array_equal(tiles[16], expected)
    assert not tiles.masks[15, 3, 4] and not tiles[15][:, 3, 4].any() and tiles.masks[15].sum() == 143
    np.testing.assert_array_equal(tiles[np.array([16, 2])], np.stack([tiles[16], tiles[2]]))


def test_maps_are_put_together_from_tiles_as_they_were_cut():
    cube = made_scene(3, (20, 33))
    _, (kept, known) = finish(project_steps([cube], Components.of(background_of(cube), 1)))
    tiles = Tiles([scene * 0 + np.arange(33, dtype=np.float16) for scene in kept], known, 8)
    (seen,) = tiles.stitched(np.stack([tile[0] for tile in tiles]))
    np.testing.assert_allclose(seen, np.broadcast_to(np.maximum(np.arange(33), 1e-6), (20, 33)), rtol=1e-6)


def test_each_chunk_of_a_scene_is_read_once_for_all_its_tiles():
    cube = Stored((6, 70, 90), (6, 16, 16))
    components = Components.of(background_of(cube), 4)
    cube.n_reads[:] = 0
    reports, _ = finish(project_steps([cube], components))
    assert (cube.n_reads == 1).all()
    assert reports


def test_scenes_that_do_not_fit_into_memory_are_one_line(tmp_path, monkeypatch):
    cube, regions = tray()
    monkeypatch.setattr(learn_scenes, "MAX_PIXELS", 3599)
    with pytest.raises(InputError, match="scan 1: 3,600 pixels are more than the 3,599") as refused:
        finish(fcdd.run(fcdd_job(tmp_path / "job", cube, regions, is_split=False)))
    assert "spectra or rx" in str(refused.value)


def test_cubes_that_cannot_be_learnt_from_are_one_line(tmp_path):
    cube, regions = tray()
    with pytest.raises(InputError, match="constant"):
        finish(fcdd.run(fcdd_job(tmp_path / "flat", np.ones_like(cube), regions)))
    with pytest.raises(InputError, match="constant"):
        finish(fcdd.run(fcdd_job(tmp_path / "scene", np.ones_like(cube), regions, is_split=False)))
    small = np.ascontiguousarray(cube[:, :5])
    with pytest.raises(NotReady, match="8 × 8 are needed"):
        finish(fcdd.run(fcdd_job(tmp_path / "small", small, regions[:, :5], is_split=False)))
    folder = fcdd_job(tmp_path / "mixed", cube, regions)
    request = files.read_json(folder / "request.json")
    request["params"]["scans"].append({**request["params"]["scans"][0], "scan": 2, "regions": None})
    files.write_json(folder / "request.json", request)
    with pytest.raises(InputError, match="scan 2"):
        finish(fcdd.run(folder))
