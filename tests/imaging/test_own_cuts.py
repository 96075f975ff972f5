import numpy as np
import pytest
from balls import ball, box_of

from napari_seedlab.imaging import cuts


def test_three_cuts_have_one_size_and_dim_the_neighbours():
    image = np.full((30, 40, 50), 100, np.uint16)
    seed = ball(image.shape, (15, 20, 25), 9)
    image[seed] += np.random.default_rng(3).integers(0, 50, int(seed.sum())).astype(np.uint16)
    found = cuts.three_cuts(image, seed.astype(np.int32), 1, box_of(seed))
    assert {c.shape for c in found} == {found[0].shape}
    assert found[0].shape[0] == found[0].shape[1]
    for cut in found:
        assert cut.dtype == np.uint8
        middle = cut.shape[0] // 2
        assert cut[middle - 4 : middle + 4, middle - 4 : middle + 4].mean() > 2 * cut[0].mean() + 20


def test_three_cuts_of_a_plane_are_one_picture():
    image = np.random.default_rng(4).integers(0, 99, (1, 30, 30)).astype(np.uint8)
    regions = np.zeros(image.shape, np.int32)
    regions[0, 5:25, 5:20] = 3
    one, two, three = cuts.three_cuts(image, regions, 3, (0, 5, 5, 1, 25, 20))
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
        pictures.append(cuts.own_cuts(grey, inside, cuts.seed_pose(grey, inside, edges)))
    for before, after in zip(*pictures, strict=True):
        assert np.abs(np.subtract(before.shape, after.shape)).max() <= 8  # of 160 pixels
        shape = np.minimum(before.shape, after.shape)
        one, other = centred(before, shape), centred(after, shape)
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98
        assert np.abs(one - other).mean() < 6


def test_the_longest_axis_runs_to_the_right_and_the_longer_tail_too():
    grey, inside = marked_ellipsoid(turned(4)[[2, 0, 1]], blunt=0.35)
    pose = cuts.seed_pose(grey, inside)
    lengths = pose.high - pose.low
    assert lengths[0] > lengths[1] > lengths[2]
    np.testing.assert_allclose(pose.axes @ pose.axes.T, np.eye(3), atol=1e-12)
    offsets = np.argwhere(inside) - pose.centre
    assert ((offsets @ pose.axes.T) ** 3).mean(0)[0] > 0
    for cut in cuts.own_cuts(grey, inside, pose):
        assert cut.dtype == np.uint8
    wide, thin, across = cuts.own_cuts(grey, inside, pose)
    assert wide.shape[1] == thin.shape[1] == cuts.CUT_CELLS
    assert thin.shape[0] == across.shape[0] < wide.shape[0] == across.shape[1] < wide.shape[1]


def test_a_mark_is_seen_where_it_is_cut():
    grey, inside = marked_ellipsoid(np.eye(3))
    pose = cuts.seed_pose(grey, inside)
    depth = float((np.asarray((39, 35, 32)) - pose.centre) @ pose.axes[2])
    at_mark = cuts.own_cuts(grey, inside, pose, (0.0, 0.0, depth))[0]
    away = cuts.own_cuts(grey, inside, pose, (0.0, 0.0, -6.0))[0]
    assert (at_mark > 250).sum() > 200 > (away > 250).sum()


def test_a_plane_has_one_cut_in_its_own_axes():
    grey = np.random.default_rng(4).integers(1, 99, (1, 40, 40)).astype(np.uint8)
    y, x = np.indices((40, 40)) - 20
    inside = (((x + y) / 24) ** 2 + ((x - y) / 10) ** 2 < 1)[None]
    pose = cuts.seed_pose(grey, inside, (1.0, 40.0, 40.0))
    [cut] = cuts.own_cuts(grey, inside, pose)
    assert abs(pose.axes[0] @ (0, 1, 1)) > 1.35 and abs(pose.axes[2, 0]) == 1
    assert cut.shape[1] == cuts.CUT_CELLS > 1.5 * cut.shape[0]
    assert cut[cut.shape[0] // 2, cut.shape[1] // 2] > 0


def test_tiny_and_missing_seeds_have_a_pose_or_none():
    one = np.zeros((3, 3, 3), bool)
    one[1, 1, 1] = True
    grey = np.full(one.shape, 7, np.uint8)
    assert len(cuts.own_cuts(grey, one, cuts.seed_pose(grey, one))) == 3
    with pytest.raises(ValueError, match="no voxel"):
        cuts.seed_pose(grey, np.zeros_like(one))


def test_a_seed_alone_keeps_its_mean_when_it_is_made_smaller():
    grey, inside = marked_ellipsoid(np.eye(3))
    alone, step = cuts.isolated(grey, inside)
    assert step == 1 and alone.dtype == grey.dtype
    np.testing.assert_array_equal(alone, np.where(inside, grey, 0))
    small, step = cuts.isolated(grey, inside, longest=20)
    assert step == 4 and small.shape == (16, 16, 16)
    assert abs(small.sum() * step**3 / alone.sum() - 1) < 0.02


def test_the_block_around_a_seed_holds_all_that_a_cut_shows():
    grey, inside = marked_ellipsoid(turned(5))
    scan, regions = np.pad(grey, 40, constant_values=20), np.pad(inside, 40).astype(np.int32) * 9
    block, own, low = cuts.seed_block(scan, regions, 9, box_of(regions == 9))
    assert block.dtype == scan.dtype and own.sum() == inside.sum()
    np.testing.assert_array_equal(
        block, scan[tuple(slice(a, a + n) for a, n in zip(low, block.shape, strict=True))]
    )
    large = cuts.own_cuts(scan, regions == 9, cuts.seed_pose(scan, regions == 9))
    for small, whole in zip(cuts.own_cuts(block, own, cuts.seed_pose(block, own)), large, strict=True):
        np.testing.assert_allclose(small, whole, atol=1)


def test_the_block_of_a_cube_is_the_mean_of_its_bands():
    cube = np.stack([np.full((20, 20), b, np.uint16) for b in (10, 20, 60)])
    regions = np.zeros((1, 20, 20), np.int32)
    regions[0, 5:15, 5:15] = 1
    grey, inside, low = cuts.seed_block(cube, regions, 1, (0, 5, 5, 1, 15, 15), (1.0, 40.0, 40.0))
    assert grey.shape == inside.shape and low[0] == 0 and (grey == 30).all()
