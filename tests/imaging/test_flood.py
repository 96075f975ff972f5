"""Fill, distance, smoothing and flood against plain versions."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_seedlab.imaging import flood


def drive(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def blobs(shape, random_state=0, sigma=2.0, level=0.0):
    rng = np.random.default_rng(random_state)
    return (ndi.gaussian_filter(rng.normal(size=shape), sigma) > level).astype(np.uint8)


def hills(shape=(24, 30, 28), random_state=1):
    """A smooth positive map on most of the volume, without equal heights."""
    rng = np.random.default_rng(random_state)
    h = ndi.gaussian_filter(rng.normal(size=shape), 2.5)
    return np.where(h > -0.05, h - h.min() + 0.01, 0).astype(np.float32)


@pytest.mark.parametrize("shape", [(20, 25, 30), (1, 40, 50), (30, 1, 20)], ids=["volume", "plane", "sheet"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 1.0, 1.3)], ids=["isotropic", "anisotropic"])
def test_distance_is_exact(shape, spacing):
    mask = blobs(shape)
    if shape[0] == 1:
        expected = ndi.distance_transform_edt(mask[0], spacing[1:])[None]
    else:
        expected = ndi.distance_transform_edt(mask, spacing)

    found, _ = drive(flood.distance(mask, spacing))

    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_distance_without_background_is_zero():
    found, radius = drive(flood.distance(np.ones((5, 6, 7), np.uint8)))

    assert not found.any()
    assert radius == 0


@pytest.mark.parametrize(("shape", "axes"), [((51, 51, 51), 3), ((1, 81, 81), 2)], ids=["ball", "disc"])
def test_radius_of_a_ball_is_found(shape, axes):
    grid = np.indices(shape)[3 - axes :]
    centre = np.asarray(shape[3 - axes :])[:, None, None, None] // 2
    mask = (np.square(grid - centre).sum(0) < 20**2).astype(np.uint8)

    _, radius = drive(flood.distance(mask))

    assert radius == pytest.approx(20, rel=0.06)


def test_fill_takes_enclosed_voids_within_the_limits():
    mask = np.ones((12, 12, 12), np.uint8)
    mask[2, 2, 2] = 0  # 1 voxel
    mask[5:8, 5:8, 5:8] = 0  # 27 voxels
    mask[10, 10, 6:] = 0  # open to the border

    filled = drive(flood.fill_voids(mask, (2, 30)))

    assert filled == 27
    assert mask[2, 2, 2] == 0
    assert mask[6, 6, 6] == 1
    assert not mask[10, 10, 6:].any()


@pytest.mark.parametrize("shape", [(30, 32, 34), (1, 90, 80)], ids=["volume", "plane"])
def test_fill_equals_scipy(shape):
    mask = blobs(shape, sigma=1.2, level=-0.1)
    expected = ndi.binary_fill_holes(mask[0])[None] if shape[0] == 1 else ndi.binary_fill_holes(mask)

    drive(flood.fill_voids(mask, (0, 1e9)))

    np.testing.assert_array_equal(mask, expected)


def test_fill_of_a_shell_leaves_the_shell_out():
    mask = np.zeros((9, 9, 9), np.uint8)
    shell = mask.copy()
    shell[2:7, 2:7, 2:7] = 1
    shell[3:6, 3:6, 3:6] = 0

    drive(flood.fill_voids(shell, (0, 100), mask))

    assert mask.sum() == 27
    assert mask[3:6, 3:6, 3:6].all()


def test_blur_equals_scipy_inside_the_mask():
    rng = np.random.default_rng(0)
    values = rng.random((20, 25, 22)).astype(np.float32)
    mask = blobs(values.shape)
    sigma = (1.0, 2.0, 3.0)
    expected = ndi.gaussian_filter(values, sigma, mode="nearest", truncate=3.0) * mask

    drive(flood.blur(values, mask, sigma))

    np.testing.assert_allclose(values, expected, atol=1e-5)


def plain_ascent(height):
    """Flat index of the summit above each voxel, by walking."""
    padded = np.pad(height, 1)
    up = {}
    for z, y, x in np.argwhere(height > 0):
        block = padded[z : z + 3, y : y + 3, x : x + 3]
        dz, dy, dx = np.unravel_index(np.argmax(block), block.shape)
        up[z, y, x] = (z + dz - 1, y + dy - 1, x + dx - 1)
    out = np.full(height.shape, -1)
    for start in up:
        at = start
        while up[at] != at:
            at = up[at]
        out[start] = np.ravel_multi_index(at, height.shape)
    return out


def test_ascent_equals_a_plain_walk():
    height = hills()
    expected = plain_ascent(height)
    summits = np.unique(expected[expected >= 0])

    basins = drive(flood.ascend(height))

    assert len(basins.peaks) == len(summits) + 1
    np.testing.assert_array_equal(basins.peaks[1:], height.reshape(-1)[summits])
    inside = expected >= 0
    np.testing.assert_array_equal(-basins.labels[inside], np.searchsorted(summits, expected[inside]) + 1)
    assert not basins.labels[~inside].any()
    np.testing.assert_array_equal(
        basins.sizes,
        np.bincount(-basins.labels.reshape(-1), minlength=len(basins.sizes))
        * (np.arange(len(basins.sizes)) > 0),
    )


def test_passes_are_the_highest_borders():
    height = hills((10, 12, 11))
    basins = drive(flood.ascend(height))
    expected, contacts = {}, {}
    for z, y, x in np.argwhere(basins.labels != 0):
        for d in np.ndindex(3, 3, 3):
            q = (z + d[0] - 1, y + d[1] - 1, x + d[2] - 1)
            if min(q) < 0 or any(a >= b for a, b in zip(q, height.shape, strict=True)):
                continue
            a, b = -basins.labels[z, y, x], -basins.labels[q]
            if 0 < a < b:
                expected[a, b] = max(expected.get((a, b), 0), min(height[z, y, x], height[q]))
                contacts[a, b] = contacts.get((a, b), 0) + 1

    found = {tuple(e): p for e, p in zip(basins.edges.tolist(), basins.passes.tolist(), strict=True)}

    assert found == pytest.approx(expected)
    assert dict(zip(map(tuple, basins.edges.tolist()), basins.contacts.tolist(), strict=True)) == contacts
    assert np.all(np.diff(basins.passes) <= 0)


@pytest.mark.parametrize("depth", [0.02, 0.05, 0.1])
def test_merged_basins_are_the_h_maxima(depth):
    from skimage.morphology import h_maxima

    height = hills((20, 30, 30))
    expected = ndi.label(h_maxima(height.astype(np.float64), depth), np.ones((3, 3, 3)))[1]

    root = flood.merge(drive(flood.ascend(height)), depth, 0.0)

    assert len(np.unique(root[1:])) == expected


def test_small_basin_joins_the_neighbour_with_most_border():
    height = np.zeros((1, 3, 12), np.float32)
    height[0, :, :6] = [1, 2, 3, 4, 3, 2]
    height[0, 1, 6:9] = [3, 3.5, 3]
    basins = drive(flood.ascend(height))
    root = flood.merge(basins, 0.1, 0)
    assert len(np.unique(root[1:])) == 2

    joined = flood.absorb(basins, root, 5)

    assert len(np.unique(joined[1:])) == 1


def test_numbers_are_contiguous_and_small_pieces_drop():
    height = np.zeros((1, 1, 20), np.float32)
    height[0, 0, [1, 2, 3]] = [1, 2, 1]
    height[0, 0, 6] = 1
    height[0, 0, [10, 11, 12, 13]] = [1, 2, 3, 1]
    basins = drive(flood.ascend(height))

    n = drive(flood.number(basins, np.arange(len(basins.peaks)), 2))

    assert n == 2
    np.testing.assert_array_equal(basins.labels[0, 0, [2, 6, 11]], [1, 0, 2])


def test_result_does_not_depend_on_threads_or_slabs(monkeypatch):
    height = hills((30, 20, 20))
    one = drive(flood.ascend(height))
    monkeypatch.setattr(flood, "n_threads", lambda: 5)
    monkeypatch.setattr(flood, "SLAB_VOXELS", 800)

    many = drive(flood.ascend(height))

    np.testing.assert_array_equal(one.labels, many.labels)
    np.testing.assert_array_equal(one.edges, many.edges)
    np.testing.assert_array_equal(one.passes, many.passes)


def test_closing_starts_no_more_slabs(monkeypatch):
    monkeypatch.setattr(flood, "SLAB_VOXELS", 1)
    started = []
    steps = flood.in_slabs(lambda a, b: started.append(a), 1000, 1)
    next(steps)

    steps.close()

    assert len(started) < 1000


def test_a_slab_that_fails_fails_the_step():
    def work(first, last):
        raise ValueError("slab")

    with pytest.raises(ValueError, match="slab"):
        drive(flood.in_slabs(work, 10, 1))
