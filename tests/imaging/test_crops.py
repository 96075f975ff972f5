import numpy as np
import pytest

from napari_seedlab.core import RegionTable
from napari_seedlab.imaging import crops


def ball(shape, centre, radius, scale=(1, 1, 1)):
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    return (((grid - centre) * scale) ** 2).sum(-1) <= radius**2


def box_of(mask):
    where = np.argwhere(mask)
    return np.concatenate([where.min(0), where.max(0) + 1]).astype(np.int32)


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


def test_three_cuts_have_one_size_and_dim_the_neighbours():
    image = np.full((30, 40, 50), 100, np.uint16)
    seed = ball(image.shape, (15, 20, 25), 9)
    image[seed] += np.random.default_rng(3).integers(0, 50, int(seed.sum())).astype(np.uint16)
    cuts = crops.three_cuts(image, seed.astype(np.int32), 1, box_of(seed))
    assert {c.shape for c in cuts} == {cuts[0].shape}
    assert cuts[0].shape[0] == cuts[0].shape[1]
    for cut in cuts:
        assert cut.dtype == np.uint8
        middle = cut.shape[0] // 2
        assert cut[middle - 4 : middle + 4, middle - 4 : middle + 4].mean() > 2 * cut[0].mean() + 20


def test_three_cuts_of_a_plane_are_one_picture():
    image = np.random.default_rng(4).integers(0, 99, (1, 30, 30)).astype(np.uint8)
    regions = np.zeros(image.shape, np.int32)
    regions[0, 5:25, 5:20] = 3
    one, two, three = crops.three_cuts(image, regions, 3, (0, 5, 5, 1, 25, 20))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)
    assert one.max() == 255


def marked_ellipsoid(turn, size=(1.0, 1.0, 1.0), reach=30, blunt=0.0):
    """(grey, inside) of an ellipsoid turned by the rows of `turn`, with one bright spot off its centre.

    `blunt` makes one end of the long axis thicker, so that its shape has a direction of its own.
    """
    axes = [np.arange(-reach, reach + s / 2, s) for s in size]
    at = np.stack(np.meshgrid(*axes, indexing="ij"), -1) @ np.asarray(turn).T  # along the seed's own axes
    width = 1 + blunt * at[..., 0] / 22
    far = (at[..., 0] / 22) ** 2 + (at[..., 1] / 14 / width) ** 2 + (at[..., 2] / 9 / width) ** 2
    spot = ((at - (9, 5, 2)) ** 2).sum(-1) < 16
    return np.where(far < 1, np.where(spot, 200, 160 - 80 * far), 20).astype(np.uint16), far < 1


def turned(random_state):
    q, _ = np.linalg.qr(np.random.default_rng(random_state).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def centred(picture, shape):
    top, left = ((n - m) // 2 for n, m in zip(picture.shape, shape, strict=True))
    return picture[top : top + shape[0], left : left + shape[1]].astype(float)


@pytest.mark.parametrize("blunt", [0.0, 0.35], ids=["symmetrical", "blunt"])
@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0)], ids=["cubes", "flat voxels"])
@pytest.mark.parametrize("random_state", [1, 2, 3])
def test_a_turned_seed_gives_nearly_the_same_cuts(random_state, size, blunt):
    pictures = []
    for turn, edges in ((np.eye(3), (1.0, 1.0, 1.0)), (turned(random_state), size)):
        grey, inside = marked_ellipsoid(turn, edges, blunt=blunt)
        pictures.append(crops.own_cuts(grey, inside, crops.seed_pose(grey, inside, edges)))
    for before, after in zip(*pictures, strict=True):
        assert np.abs(np.subtract(before.shape, after.shape)).max() <= 8  # of 160 pixels
        shape = np.minimum(before.shape, after.shape)
        one, other = centred(before, shape), centred(after, shape)
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98
        assert np.abs(one - other).mean() < 6


def test_the_longest_axis_runs_to_the_right_and_the_longer_tail_too():
    grey, inside = marked_ellipsoid(turned(4)[[2, 0, 1]], blunt=0.35)
    pose = crops.seed_pose(grey, inside)
    lengths = pose.high - pose.low
    assert lengths[0] > lengths[1] > lengths[2]
    np.testing.assert_allclose(pose.axes @ pose.axes.T, np.eye(3), atol=1e-12)
    offsets = np.argwhere(inside) - pose.centre
    assert ((offsets @ pose.axes.T) ** 3).mean(0)[0] > 0
    for cut in crops.own_cuts(grey, inside, pose):
        assert cut.dtype == np.uint8
    wide, thin, across = crops.own_cuts(grey, inside, pose)
    assert wide.shape[1] == thin.shape[1] == crops.CUT_CELLS
    assert thin.shape[0] == across.shape[0] < wide.shape[0] == across.shape[1] < wide.shape[1]


def test_a_mark_is_seen_where_it_is_cut():
    grey, inside = marked_ellipsoid(np.eye(3))
    pose = crops.seed_pose(grey, inside)
    depth = float((np.asarray((39, 35, 32)) - pose.centre) @ pose.axes[2])
    at_mark = crops.own_cuts(grey, inside, pose, (0.0, 0.0, depth))[0]
    away = crops.own_cuts(grey, inside, pose, (0.0, 0.0, -6.0))[0]
    assert (at_mark > 250).sum() > 200 > (away > 250).sum()


def test_a_plane_has_one_cut_in_its_own_axes():
    grey = np.random.default_rng(4).integers(1, 99, (1, 40, 40)).astype(np.uint8)
    y, x = np.indices((40, 40)) - 20
    inside = (((x + y) / 24) ** 2 + ((x - y) / 10) ** 2 < 1)[None]
    pose = crops.seed_pose(grey, inside, (1.0, 40.0, 40.0))
    [cut] = crops.own_cuts(grey, inside, pose)
    assert abs(pose.axes[0] @ (0, 1, 1)) > 1.35 and abs(pose.axes[2, 0]) == 1
    assert cut.shape[1] == crops.CUT_CELLS > 1.5 * cut.shape[0]
    assert cut[cut.shape[0] // 2, cut.shape[1] // 2] > 0


def test_tiny_and_missing_seeds_have_a_pose_or_none():
    one = np.zeros((3, 3, 3), bool)
    one[1, 1, 1] = True
    grey = np.full(one.shape, 7, np.uint8)
    assert len(crops.own_cuts(grey, one, crops.seed_pose(grey, one))) == 3
    with pytest.raises(ValueError, match="no voxel"):
        crops.seed_pose(grey, np.zeros_like(one))


def test_a_seed_alone_keeps_its_mean_when_it_is_made_smaller():
    grey, inside = marked_ellipsoid(np.eye(3))
    alone, step = crops.isolated(grey, inside)
    assert step == 1 and alone.dtype == grey.dtype
    np.testing.assert_array_equal(alone, np.where(inside, grey, 0))
    small, step = crops.isolated(grey, inside, longest=20)
    assert step == 4 and small.shape == (16, 16, 16)
    assert abs(small.sum() * step**3 / alone.sum() - 1) < 0.02


def test_the_block_around_a_seed_holds_all_that_a_cut_shows():
    grey, inside = marked_ellipsoid(turned(5))
    scan, regions = np.pad(grey, 40, constant_values=20), np.pad(inside, 40).astype(np.int32) * 9
    block, own, low = crops.seed_block(scan, regions, 9, box_of(regions == 9))
    assert block.dtype == scan.dtype and own.sum() == inside.sum()
    np.testing.assert_array_equal(
        block, scan[tuple(slice(a, a + n) for a, n in zip(low, block.shape, strict=True))]
    )
    large = crops.own_cuts(scan, regions == 9, crops.seed_pose(scan, regions == 9))
    for small, whole in zip(crops.own_cuts(block, own, crops.seed_pose(block, own)), large, strict=True):
        np.testing.assert_allclose(small, whole, atol=1)


def test_the_block_of_a_cube_is_the_mean_of_its_bands():
    cube = np.stack([np.full((20, 20), b, np.uint16) for b in (10, 20, 60)])
    regions = np.zeros((1, 20, 20), np.int32)
    regions[0, 5:15, 5:15] = 1
    grey, inside, low = crops.seed_block(cube, regions, 1, (0, 5, 5, 1, 15, 15), (1.0, 40.0, 40.0))
    assert grey.shape == inside.shape and low[0] == 0 and (grey == 30).all()


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
