import numpy as np
import pytest
from balls import ball, box_of

from napari_seedlab.core import RegionTable
from napari_seedlab.imaging import crops


def test_a_crop_at_voxel_size_is_the_padded_voxels_themselves():
    image = np.random.default_rng(0).integers(0, 255, (30, 30, 30)).astype(np.uint8)
    regions = np.zeros(image.shape, np.int32)
    regions[8:20, 9:21, 10:22] = 7
    crop, mask, _ = crops.seed_crop(image, regions, 7, (8, 9, 10, 20, 21, 22), size=16, margin=2)
    np.testing.assert_allclose(crop, image[6:22, 7:23, 8:24], rtol=1e-5)
    np.testing.assert_array_equal(mask, regions[6:22, 7:23, 8:24] == 7)


def test_the_longest_edge_fills_the_cube_and_cells_are_equal_along_all_axes():
    regions = np.zeros((60, 40, 40), np.int32)
    regions[10:50, 10:30, 10:20] = 1
    _, mask, _ = crops.seed_crop(regions, regions, 1, (10, 10, 10, 50, 30, 20), size=24, margin=2)
    lengths = [mask.any(tuple({0, 1, 2} - {axis})).sum() for axis in range(3)]
    assert lengths == [20, 10, 5] or np.abs(np.array(lengths) - [20, 10, 5]).max() <= 1


def test_flat_voxels_give_a_round_seed():
    round_seed = ball((20, 60, 60), (10, 30, 30), 20, scale=(3, 1, 1))
    table = RegionTable(
        1, np.array([1], np.int32), np.array([1]), box_of(round_seed)[None], np.zeros((1, 3)), np.array([1])
    )
    regions = round_seed.astype(np.int32)
    [(_, mask, _)] = crops.seed_crops(regions, regions, table, 24, 2, (3.0, 1.0, 1.0))
    lengths = [mask.any(tuple({0, 1, 2} - {axis})).sum() for axis in range(3)]
    assert max(lengths) - min(lengths) <= 1


def test_batch_equals_single_crops():
    rng = np.random.default_rng(1)
    image = rng.normal(size=(20, 20, 40)).astype(np.float32)
    regions = np.zeros(image.shape, np.int32)
    regions[3:12, 4:15, 2:18], regions[5:18, 2:16, 20:38] = 1, 2
    boxes = np.array([[3, 4, 2, 12, 15, 18], [5, 2, 20, 18, 16, 38]], np.int32)
    table = RegionTable(
        1, np.array([1, 2], np.int32), np.array([5, 6]), boxes, np.zeros((2, 3)), np.ones(2, np.int64)
    )
    for i, (crop, mask, _) in enumerate(crops.seed_crops(image, regions, table, 16)):
        one, own, _ = crops.seed_crop(image, regions, i + 1, boxes[i], 16)
        np.testing.assert_array_equal(crop, one)
        np.testing.assert_array_equal(mask, own)


def test_large_seeds_are_averaged_not_sampled():
    checker = (np.indices((64, 64, 64)).sum(0) % 2).astype(np.float32)
    crop, _, _ = crops.seed_crop(checker, np.ones(checker.shape, np.int32), 1, (0, 0, 0, 64, 64, 64), size=16)
    assert np.abs(crop[4:12, 4:12, 4:12] - 0.5).max() < 0.1


def test_neighbours_are_not_in_the_mask_and_the_edge_of_the_scan_is_no_problem():
    regions = np.zeros((10, 10, 20), np.int32)
    regions[:, :, :10], regions[:, :, 10:] = 1, 2
    image = np.full(regions.shape, 7, np.uint16)
    crop, mask, _ = crops.seed_crop(image, regions, 1, (0, 0, 0, 10, 10, 10), size=14, margin=2)
    np.testing.assert_allclose(crop, 7, rtol=1e-6)
    assert mask[:, :, 2:12].any()
    assert not mask[:, :, 12:].any()


def test_a_plane_repeats_and_bands_are_averaged():
    cube = np.stack([np.full((20, 20), b, np.uint16) for b in (10, 20, 60)])
    regions = np.zeros((1, 20, 20), np.int32)
    regions[0, 5:15, 5:15] = 1
    crop, mask, _ = crops.seed_crop(cube, regions, 1, (0, 5, 5, 1, 15, 15), size=12)
    np.testing.assert_allclose(crop, 30, rtol=1e-6)
    assert mask.any((1, 2)).all()


@pytest.mark.parametrize("gain, offset", [(1.0, 0.0), (40.0, -3.0)])
def test_normalised_crops_do_not_know_brightness_or_contrast(gain, offset):
    rng = np.random.default_rng(2)
    crop, mask = rng.normal(size=(8, 8, 8)).astype(np.float32), rng.random((8, 8, 8)) < 0.5
    inside = crop[mask]
    expected = np.where(mask, (crop - np.median(inside)) / inside.std(), 0)
    np.testing.assert_allclose(crops.normalise_crop(crop * gain + offset, mask), expected, atol=1e-4)


@pytest.mark.parametrize("mask", [np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)], ids=["empty", "flat"])
def test_a_seed_without_contrast_gives_zeros(mask):
    assert not crops.normalise_crop(np.full((4, 4, 4), 9, np.float32), mask).any()
    assert crops.with_mask(np.full((4, 4, 4), 9, np.float32), mask).shape == (2, 4, 4, 4)


def test_heat_comes_back_to_the_voxels_it_came_from():
    z, y, x = np.indices((40, 30, 36)).astype(np.float32)
    ramp = z + 2 * y - x
    box = (4, 5, 6, 34, 25, 30)
    crop, _, _ = crops.seed_crop(ramp, np.ones(ramp.shape, np.int32), 1, box, size=24, margin=2)
    back = crops.uncrop(crop, box, margin=2)
    expected = ramp[4:34, 5:25, 6:30]
    assert back.shape == expected.shape
    np.testing.assert_allclose(back[2:-2], expected[2:-2], atol=0.2)


def one_row(regions, box):
    return RegionTable(
        1, np.array([1], np.int32), np.array([1]), np.array([box]), np.zeros((1, 3)), np.ones(1)
    )


def test_a_plane_at_pixel_size_is_its_padded_pixels_with_all_channels():
    plane = np.random.default_rng(0).integers(0, 255, (3, 30, 30)).astype(np.uint8)
    regions = np.zeros((1, 30, 30), np.int32)
    regions[0, 9:21, 10:22] = 1
    [cut] = crops.seed_planes(
        plane, regions, one_row(regions, (0, 9, 10, 1, 21, 22)), 16, 2, (500.0, 1.0, 1.0)
    )
    np.testing.assert_allclose(cut.crop, plane[:, 7:23, 8:24], rtol=1e-5)
    np.testing.assert_array_equal(cut.mask, regions[0, 7:23, 8:24] == 1)
    back = crops.uncrop(cut.crop[1], (0, 9, 10, 1, 21, 22), 2, (500.0, 1.0, 1.0))
    np.testing.assert_allclose(back, plane[1:2, 9:21, 10:22], rtol=1e-5)


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_voxels_without_a_value_are_in_no_mask_and_dim_no_neighbour(lost):
    image = np.full((20, 20, 20), 7, np.float32)
    regions = np.ones(image.shape, np.int32)
    image[8:12, 8:12, 8:12] = lost
    crop, mask, n_unknown = crops.seed_crop(image, regions, 1, (0, 0, 0, 20, 20, 20), 14, 2)
    assert n_unknown == 64
    assert not mask[6:8, 6:8, 6:8].any()
    np.testing.assert_allclose(crop[mask], 7, rtol=1e-5)
    plane, flat = image[:2], np.ones((1, 20, 20), np.int32)
    plane[1, 3, 3] = lost
    [cut] = crops.seed_planes(plane, flat, one_row(flat, (0, 0, 0, 1, 20, 20)), 24, 2)
    assert cut.n_unknown == 1
    assert not cut.mask[5, 5]
    np.testing.assert_allclose(cut.crop[:, cut.mask], 7, rtol=1e-5)


def test_a_tunnel_that_a_split_leaves_out_is_of_the_seed_and_its_neighbour_is_not():
    grid = np.stack(np.meshgrid(*[np.arange(28)] * 3, indexing="ij"), -1) - 13.5
    seed = (grid**2).sum(-1) < 11**2
    tunnel = seed & (np.abs(grid[..., 1]) < 2) & (grid[..., 2] > -4)
    crop = np.where(seed & ~tunnel, 120, 20).astype(np.float32)
    crop[:, :, 25:] = 120  # a neighbour
    bite = seed & (grid[..., 0] > 8)
    crop[bite] = 120  # which the split gave to the neighbour
    found = crops.with_gaps(crop, seed & ~tunnel & ~bite)
    assert (found & tunnel).sum() > 0.7 * (tunnel & ~bite).sum()
    assert not (found & bite & ~tunnel).any() and not (found & ~seed).any()
    assert not crops.with_gaps(crop, np.zeros_like(seed)).any()
