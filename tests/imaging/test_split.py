"""Seeds are found: how many, where, and on what kinds of scan."""

import json

import numpy as np
import pytest
from beds import grain_bed, instance_f1

from napari_seedlab.core import InputError
from napari_seedlab.imaging import SplitRecipe, foreground_threshold, preview, split, split_steps
from napari_seedlab.imaging.phantom import DEFAULT_TRAY, TUBE, make_tray


def tray_f1(dials):
    phantom = make_tray(dials)
    return instance_f1(phantom.instances, split(phantom.volume))


def test_bed_of_touching_grains_with_cavities_is_split():
    image, truth = grain_bed()

    labels = split(image)

    assert labels.dtype == np.int32
    assert instance_f1(truth, labels) >= 0.97


def test_default_tray_is_split():
    assert tray_f1(DEFAULT_TRAY.replace(random_state=0)) >= 0.95


@pytest.mark.slow
def test_default_tray_is_split_over_eight_random_states():
    scores = [tray_f1(DEFAULT_TRAY.replace(random_state=r)) for r in range(8)]

    assert min(scores) >= 0.95, scores


@pytest.mark.slow
@pytest.mark.parametrize("random_state", range(3))
def test_dense_tube_is_split(random_state):
    assert tray_f1(TUBE.replace(random_state=random_state)) >= 0.95


def test_long_voxels_are_honoured():
    image, truth = grain_bed(spacing=(3.0, 1.0, 1.0), cavity=0.0)

    right = instance_f1(truth, split(image, SplitRecipe(spacing=(3.0, 1.0, 1.0))))
    wrong = instance_f1(truth, split(image))

    assert right >= 0.95
    assert right > wrong


def test_plane_of_touching_discs_is_split():
    y, x = np.ogrid[:120, :200]
    image = np.full((1, 120, 200), 20, np.uint8)
    for k in range(5):
        image[0][np.square(y - 60) + np.square(x - 30 - 35 * k) < 18**2] = 200

    labels = split(image)

    assert labels.shape == image.shape
    assert [labels[0, 60, 30 + 35 * k] for k in range(5)] == [1, 2, 3, 4, 5]


def test_dark_objects_are_found_in_a_bright_matrix():
    image, truth = grain_bed(cavity=0.0)

    labels = split(255 - image, SplitRecipe(dark_objects=True))

    assert instance_f1(truth, labels) >= 0.97


def test_empty_seed_is_one_whole_seed():
    z, y, x = np.ogrid[:60, :60, :120]
    image = np.full((60, 60, 120), 20, np.uint8)
    for k in range(2):
        d = np.square(z - 30) + np.square(y - 30) + np.square(x - 30 - 40 * k)
        image[d < 20**2] = 150
    image[np.square(z - 30) + np.square(y - 30) + np.square(x - 70) < 17**2] = 20

    labels = split(image)

    assert labels.max() == 2
    assert labels[30, 30, 70] == 2


@pytest.mark.parametrize("grey", [np.uint8, np.uint16, np.int16, np.float32, np.float64, ">u2"])
def test_every_grey_type_gives_the_same_seeds(grey):
    image, _ = grain_bed(50, 8)

    np.testing.assert_array_equal(split(image.astype(grey)), split(image))


def test_stones_do_not_shift_the_threshold():
    rng = np.random.default_rng(0)
    image = rng.normal(20, 4, (40, 80, 80))
    image[:, 10:70, 10:70] = rng.normal(110, 6, (40, 60, 60))
    plain = foreground_threshold(image, SplitRecipe())
    image[5:8, 20:30, 20:50] = 2000

    assert foreground_threshold(image, SplitRecipe()) == pytest.approx(plain, abs=10)


def test_sparse_bright_objects_survive_the_clip():
    image = np.zeros((40, 60, 60), np.uint8)
    image[20, 30, 30:34] = 200

    assert 0 <= foreground_threshold(image, SplitRecipe()) < 200


def test_masked_background_is_left_out_when_the_rest_has_two_levels():
    rng = np.random.default_rng(0)
    image = np.zeros((20, 60, 60))
    image[:, 5:55, 5:55] = rng.normal(80, 8, (20, 50, 50))
    image[5:15, 20:40, 20:40] = rng.normal(220, 8, (10, 20, 20))

    assert 110 < foreground_threshold(image, SplitRecipe()) < 190
    assert foreground_threshold(image, SplitRecipe(n_levels=2)) < 190


def test_three_levels_keep_the_brightest():
    rng = np.random.default_rng(0)
    image = rng.choice([20.0, 100.0, 200.0], (10, 50, 50), p=[0.6, 0.2, 0.2]) + rng.normal(0, 5, (10, 50, 50))

    assert 110 < foreground_threshold(image, SplitRecipe(n_levels=3)) < 190


def test_threshold_by_hand_is_used():
    image, _ = grain_bed(50, 8)

    assert foreground_threshold(image, SplitRecipe(threshold=90)) == 90
    assert not split(image, SplitRecipe(threshold=254)).any()


def test_preview_shows_what_is_over_the_threshold():
    plane = np.array([[10, 200], [90, 120]])

    np.testing.assert_array_equal(preview(plane, SplitRecipe(threshold=100)), [[False, True], [False, True]])
    np.testing.assert_array_equal(preview(plane, SplitRecipe(), threshold=0), np.ones((2, 2), bool))
    dark = preview(plane, SplitRecipe(threshold=100, dark_objects=True))
    np.testing.assert_array_equal(dark, [[True, False], [True, False]])


def test_small_pieces_are_dropped():
    image = np.full((30, 30, 60), 10, np.uint8)
    image[5:25, 5:25, 5:25] = 200
    image[14:16, 14:16, 40:42] = 200

    assert split(image, SplitRecipe(min_voxels=9)).max() == 1
    assert split(image, SplitRecipe(min_voxels=1)).max() == 2


def test_smoothing_removes_single_voxels():
    image = np.full((30, 30, 30), 10, np.uint8)
    image[8:22, 8:22, 8:22] = 200
    image[2, 2, 2] = 255

    labels = split(image, SplitRecipe(sigma_px=1.0, min_voxels=1, threshold=100))

    assert labels[2, 2, 2] == 0
    assert labels[15, 15, 15] == 1


class Planes:
    """A volume that can only be read in parts."""

    def __init__(self, values):
        self.values, self.shape, self.most = values, values.shape, 0

    def __getitem__(self, key):
        part = self.values[key]
        self.most = max(self.most, part.size)
        return part


def test_volume_may_be_read_in_parts(monkeypatch):
    image, _ = grain_bed(50, 8)
    monkeypatch.setattr("napari_seedlab.imaging.flood.SLAB_VOXELS", 5000)
    planes = Planes(image)

    np.testing.assert_array_equal(split(planes), split(image))


def test_progress_rises_and_an_exception_in_it_cancels():
    image, _ = grain_bed(50, 8)
    seen = []
    split(image, progress=lambda share, word: seen.append(share))
    assert seen == sorted(seen)
    assert seen[-1] > 0.9

    def stop(share, word):
        if share > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        split(image, progress=stop)


def test_steps_can_be_closed_half_way():
    steps = split_steps(grain_bed(50, 8)[0], SplitRecipe())
    for _ in range(5):
        next(steps)

    steps.close()

    with pytest.raises(StopIteration):
        next(steps)


def test_recipe_survives_json():
    recipe = SplitRecipe(threshold=90.0, n_levels=3, spacing=(2.0, 1.0, 1.0), seed_radius=12.5)

    assert SplitRecipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert SplitRecipe.from_json({}) == SplitRecipe()
    assert SplitRecipe.from_json({"threshold": None, "min_voxels": None}) == SplitRecipe()
    assert SplitRecipe.from_json({"threshold": 3, "spacing": [2, 1, 1]}).threshold == 3


@pytest.mark.parametrize(
    "field",
    [
        {"n_levels": 4},
        {"h": -1},
        {"seed_radius": 0},
        {"spacing": (1, 0, 1)},
        {"clip_percentile": 10},
        {"colour": 1},
        {"threshold": "high"},
        {"threshold": float("nan")},
        {"threshold": True},
        {"threshold": [1]},
        {"sigma_px": None},
        {"smooth": "0.1"},
        {"n_levels": 2.0},
        {"min_voxels": 1.5},
        {"dark_objects": 1},
        {"dark_objects": "no"},
        {"spacing": 1.0},
        {"spacing": ["a", 1, 1]},
        {"spacing": None},
        {"seed_radius": {}},
    ],
    ids=str,
)
def test_bad_recipe_is_refused_in_one_line(field):
    with pytest.raises(InputError, match="split recipe"):
        SplitRecipe.from_json(field)


@pytest.mark.parametrize(
    "image",
    [np.full((3, 4, 5), 7), np.full((3, 4, 5), np.nan), np.empty((0, 4, 5))],
    ids=["flat", "nan", "empty"],
)
def test_image_without_content_is_refused(image):
    with pytest.raises(InputError):
        split(image)
