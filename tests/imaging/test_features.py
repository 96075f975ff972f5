import time

import numpy as np
import pytest

from napari_seedlab.imaging.features import (
    GreyLevels,
    describe_seed,
    describe_spectrum,
    descriptor_names,
    grey_levels,
    sample_levels,
)

LEVELS = GreyLevels(air=20.0, solid=120.0)
NAMES = descriptor_names("ct")


def ellipsoid(shape=(27, 27, 27), axes=(12, 10, 9), centre=None):
    centre = (np.asarray(shape) - 1) / 2 if centre is None else np.asarray(centre)
    places = np.moveaxis(np.indices(shape), 0, -1) - centre
    return np.square(places / np.asarray(axes)).sum(-1) <= 1


def seed(random_state=0, noise=3.0):
    mask = ellipsoid()
    grey = np.where(mask, 120.0, 20.0)
    return grey + np.random.default_rng(random_state).normal(0, noise, grey.shape), mask


def value(vector, name):
    return float(vector[NAMES.index(name)])


def test_names_are_unique_and_match_the_vector():
    image, mask = seed()
    assert len(set(NAMES)) == len(NAMES) == len(describe_seed(image, mask, LEVELS))
    hsi = descriptor_names("hsi")
    assert len(set(hsi)) == len(hsi)


def test_equal_input_gives_equal_bytes():
    image, mask = seed()
    first, second = (describe_seed(image, mask, LEVELS) for _ in range(2))
    assert first.dtype == np.float32
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize(
    "turn", [lambda a: np.rot90(a, 1, (0, 1)), lambda a: a[::-1], lambda a: a.transpose(2, 0, 1)]
)
def test_does_not_depend_on_how_the_seed_lies(turn):
    image, mask = seed()
    hole = ellipsoid(axes=(3, 3, 3), centre=(13, 16, 11))
    image[hole] = 25.0
    before = describe_seed(image, mask, LEVELS)
    after = describe_seed(turn(image), turn(mask), LEVELS)
    np.testing.assert_allclose(after, before, atol=0.05)


def test_a_cavity_shows_as_a_deep_dark_part():
    image, mask = seed()
    hole = ellipsoid(axes=(4, 4, 4))
    sound = describe_seed(image, mask, LEVELS)
    image[hole] = 22.0
    hollow = describe_seed(image, mask, LEVELS)
    assert value(sound, "dark.largest") == 0.0
    share = 10 ** (value(hollow, "dark.largest") - 3.0)
    assert share == pytest.approx(hole.sum() / mask.sum(), rel=0.1)
    assert value(hollow, "dark.depth") > 1.0


def test_a_hole_of_the_mask_is_part_of_the_body():
    image, mask = seed()
    hole = ellipsoid(axes=(4, 4, 4))
    image[hole] = 22.0
    kept = describe_seed(image, mask, LEVELS)
    cut = describe_seed(image, mask & ~hole, LEVELS)
    assert value(cut, "dark.largest") == pytest.approx(value(kept, "dark.largest"), abs=0.02)
    assert value(cut, "shape.holes") > value(kept, "shape.holes")


def test_a_dense_spot_shows_as_bright_part():
    image, mask = seed()
    image[ellipsoid(axes=(3, 3, 3))] = 200.0
    assert value(describe_seed(image, mask, LEVELS), "bright.largest") > 1.0


def test_grey_scale_of_the_scanner_does_not_matter():
    image, mask = seed()
    scaled = describe_seed(image * 100 + 1000, mask, GreyLevels(3000.0, 13000.0))
    np.testing.assert_allclose(scaled, describe_seed(image, mask, LEVELS), atol=1e-2)


def test_size_is_measured_in_micrometres():
    image, mask = seed()
    small, large = (describe_seed(image, mask, LEVELS, (s,) * 3) for s in (10.0, 100.0))
    assert value(large, "shape.log_diameter_um") - value(small, "shape.log_diameter_um") == pytest.approx(4.0)


def test_thick_slices_give_nearly_the_same_shape():
    image, mask = seed(noise=0.0)
    thick = describe_seed(image[::2], mask[::2], LEVELS, (2.0, 1.0, 1.0))
    even = describe_seed(image, mask, LEVELS)
    for name in ("shape.log_diameter_um", "shape.axis_2_of_1", "shape.axis_3_of_1"):
        assert value(thick, name) == pytest.approx(value(even, name), abs=0.25)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 7), (2, 2, 2), (1, 20, 20), (40, 3, 3)])
def test_odd_shapes_give_finite_vectors(shape):
    image = np.random.default_rng(0).normal(100, 10, shape)
    assert np.isfinite(describe_seed(image, np.ones(shape, bool), LEVELS)).all()


def test_an_empty_mask_gives_zeros():
    assert not describe_seed(np.ones((3, 3, 3)), np.zeros((3, 3, 3), bool), LEVELS).any()


def test_a_large_seed_is_averaged_down_to_the_same_answer():
    image, mask = seed(noise=0.0)
    image[ellipsoid(axes=(4, 4, 4))] = 22.0
    big = [np.kron(a, np.ones((3, 3, 3), a.dtype)) for a in (image, mask)]
    fine = describe_seed(big[0], big[1].astype(bool), LEVELS, (1 / 3,) * 3)
    coarse = describe_seed(image, mask, LEVELS)
    for name in ("shape.log_diameter_um", "dark.largest", "grey.q50"):
        assert value(fine, name) == pytest.approx(value(coarse, name), abs=0.2)


def test_levels_are_medians_of_the_samples():
    image, mask = seed(noise=0.0)
    raster = mask.astype(np.int32) * 7
    assert sample_levels(image, raster, 7) == (20.0, 120.0)
    assert grey_levels([(20.0, 120.0), (22.0, 100.0), (20.0, 120.0)]) == GreyLevels(20.0, 120.0)
    assert grey_levels([(float("nan"), 1.0)]) == GreyLevels(0.0, 1.0)


def test_a_spectrum_is_freed_of_its_brightness():
    rng = np.random.default_rng(0)
    cube = rng.uniform(100, 200, (60, 12, 14)) + 100 * np.sin(np.arange(60) / 9)[:, None, None] + 200
    mask = np.ones((1, 12, 14), bool)
    names = descriptor_names("hsi")
    form = np.asarray([n.startswith(("spectrum", "spread", "ratio")) for n in names])
    dim, bright = (describe_spectrum(cube * k, mask, GreyLevels(0, 300)) for k in (1.0, 2.0))
    np.testing.assert_allclose(dim[form], bright[form], atol=1e-3)
    assert bright[names.index("light.mean")] > 1.5 * dim[names.index("light.mean")]


def test_a_band_that_rises_moves_its_own_entry_most():
    cube = np.full((64, 10, 10), 100.0) + np.arange(64)[:, None, None]
    mask = np.ones((1, 10, 10), bool)
    before = describe_spectrum(cube, mask, LEVELS)
    cube[20:22] += 300
    after = describe_spectrum(cube, mask, LEVELS)
    names = descriptor_names("hsi")
    spectrum = [i for i, n in enumerate(names) if n.startswith("spectrum.")]
    assert names[spectrum[int(np.argmax((after - before)[spectrum]))]] == "spectrum.10"


def test_a_hundred_seeds_a_second_on_a_machine_half_as_fast():
    """The target is 200; ``benchmarks/objects.py`` measures it."""
    image, mask = seed()
    describe_seed(image, mask, LEVELS)
    best = np.inf
    for _ in range(40):
        start = time.process_time()
        describe_seed(image, mask, LEVELS)
        best = min(best, time.process_time() - start)
    assert best < 1 / 100
