import time
from dataclasses import replace

import numpy as np
import pytest
from scenes import REAL, global_rx, local_rx, made_scene, needs_scenes, odd_pixels, real_scene

from napari_seedlab.core import InputError
from napari_seedlab.imaging.phantom import make_tray, make_twin, tray_dials
from napari_seedlab.learn import blocks
from napari_seedlab.learn.evaluate import roc_auc
from napari_seedlab.learn.pixels import PixelSettings


def planted(edge, n_bands=8, shape=(60, 60)):
    """Slowly changing spectra with one square of another material."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[0], : shape[1]] / 60
    slow = np.stack([np.sin(3 * y + k) + np.cos(2 * x * k) for k in range(3)])
    cube = np.tensordot(rng.normal(size=(n_bands, 3)), slow, 1) + 0.2 * rng.normal(size=(n_bands, *shape))
    is_odd = np.zeros(shape, bool)
    is_odd[20 : 20 + edge, 30 : 30 + edge] = True
    cube[:, is_odd] += rng.normal(size=(n_bands, 1)) * 0.5
    return cube, is_odd


@needs_scenes
def test_it_beats_global_rx_on_the_real_scenes():
    areas = []
    for name in REAL:
        cube, is_odd = real_scene(name)
        started = time.process_time()
        scores = odd_pixels(cube).scores
        assert time.process_time() - started < 60
        areas.append((roc_auc(scores, is_odd), roc_auc(global_rx(cube).scores, is_odd)))
    assert all(ours >= theirs - 0.01 for ours, theirs in areas), areas
    ours, theirs = np.mean(areas, axis=0)
    assert ours > theirs + 0.03, areas


@pytest.fixture(scope="module")
def tray():
    """A tray seen from above: reflectance, seeds, stained pixels, pixels of foreign bodies."""
    phantom = make_tray(replace(tray_dials(60), random_state=3))
    cube = make_twin(phantom, n_bands=40)
    seen = cube.instances[0]
    reflectance = cube.reflectance()
    foreign = np.isin(seen, phantom.table.id[phantom.table.class_id == 4])
    healthy = phantom.table.id[phantom.table.class_id == 1]
    stained, rng = np.zeros(seen.shape, bool), np.random.default_rng(0)
    for seed in healthy[:6]:
        y, x = np.argwhere(seen == seed)[rng.integers((seen == seed).sum())]
        far = np.hypot(*(np.indices(seen.shape) - np.array([y, x])[:, None, None]))
        stained |= (far < 3) & (seen == seed)
    curve = np.linspace(0.6, 1.0, 40)  # darker in the blue
    reflectance[:, stained] *= curve[:, None]
    return reflectance, seen > 0, stained, foreign


def test_the_same_settings_find_stains_and_stones_on_a_tray(tray):
    reflectance, seeds, stained, foreign = tray
    scores = odd_pixels(reflectance, seeds).scores
    plain = global_rx(reflectance, seeds).scores
    usual = seeds & ~stained & ~foreign
    for is_odd in (stained, foreign):
        looked_at = usual | is_odd
        area = roc_auc(scores[looked_at], is_odd[looked_at])
        assert area > 0.95 and area > roc_auc(plain[looked_at], is_odd[looked_at])
    assert (scores[~seeds] == 0).all()


@pytest.mark.parametrize("edge", [2, 6, 12])
def test_size_does_not_hide_an_odd_thing(edge):
    cube, is_odd = planted(edge)
    ours = roc_auc(odd_pixels(cube).scores, is_odd)
    assert ours > 0.97
    if edge == 12:  # larger than the guard: its pixels vouch for each other
        assert ours > roc_auc(local_rx(cube, 5, 31, 8).scores, is_odd) + 0.05


def test_pixels_outside_the_mask_do_not_matter():
    cube, _ = planted(6)
    mask = np.ones(cube.shape[1:], bool)
    mask[:, :15] = False
    changed = np.where(mask, cube, np.random.default_rng(1).normal(size=cube.shape) * 100)
    np.testing.assert_array_equal(odd_pixels(changed, mask).scores, odd_pixels(cube, mask).scores)


def test_the_same_cube_gives_the_same_map_in_any_blocks(monkeypatch):
    cube, _ = planted(6)
    first = odd_pixels(cube).scores
    np.testing.assert_array_equal(odd_pixels(cube).scores, first)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 8 * 8 * 60 * 7)
    monkeypatch.setattr(blocks, "READ_BYTES", 8 * 8 * 60 * 16)
    np.testing.assert_allclose(odd_pixels(cube).scores, first, rtol=1e-4)


def test_few_bands_and_broken_pixels_are_survived():
    cube = made_scene(2)
    cube[0, 3, 4] = np.nan
    scores, notes = odd_pixels(cube)
    assert np.isfinite(scores).all() and scores.dtype == np.float32 and "1 pixels" in notes[0]


def test_sizes_that_cannot_be_are_refused():
    for change in (
        {"trimmed": 0.5}, {"trimmed": -0.1}, {"window": 30}, {"window": 1}, {"n_components": 0},
        {"pseudo_pixels": 0}, {"rounds": 0},
    ):  # fmt: skip
        with pytest.raises(InputError):
            odd_pixels(made_scene(), None, PixelSettings(**change))
    with pytest.raises(InputError, match="is constant"):
        odd_pixels(np.ones((3, 9, 9)))
    with pytest.raises(InputError, match="has shape"):
        odd_pixels(made_scene(), np.ones((3, 3), bool))


def test_pixels_without_a_value_score_nothing_and_are_no_part_of_the_usual_share():
    cube, is_odd = planted(5)
    empty = np.zeros(is_odd.shape, bool)
    empty[:, :28] = True
    empty[22, 32] = True  # within the odd square
    cube[2, empty] = np.nan
    scores = odd_pixels(cube).scores
    assert not scores[empty].any()
    assert scores[~empty].all()
    filled = np.where(empty, 0, cube)
    np.testing.assert_allclose(scores, odd_pixels(filled, ~empty).scores, rtol=1e-6)


def test_a_strip_of_values_on_an_empty_scene_is_enough():
    cube, _ = planted(5)
    cube[:, :, 2:] = np.nan
    assert odd_pixels(cube).scores[:, :2].all()
