"""Statistics and matching of regions against loops and skimage."""

import numpy as np
import pytest

from napari_seedlab.core import InputError
from napari_seedlab.imaging import match_regions, region_statistics, region_table, rows_of


def raster(random_state=0, shape=(9, 20, 24), n=12):
    """Blocks of labels with holes, unordered, some labels missing."""
    rng = np.random.default_rng(random_state)
    labels = np.zeros(shape, np.int32)
    for k in rng.permutation(np.arange(1, n + 1))[: n - 2]:
        lo = rng.integers(0, np.subtract(shape, 4))
        hi = lo + rng.integers(2, 7, 3)
        labels[lo[0] : hi[0], lo[1] : hi[1], lo[2] : hi[2]] = k
    labels[rng.random(shape) < 0.1] = 0
    return labels


@pytest.mark.parametrize("grey", [np.uint8, np.uint16, np.int16, np.float32, np.float64, ">u2"])
def test_statistics_equal_plain_numpy(grey):
    labels = raster()
    image = np.random.default_rng(1).integers(0, 200, labels.shape).astype(grey)

    found = region_statistics(labels, image)

    assert found["label"].tolist() == [k for k in range(1, 13) if (labels == k).any()]
    for row, k in enumerate(found["label"]):
        points, values = np.argwhere(labels == k), image[labels == k].astype(float)
        assert found["n_voxels"][row] == len(points)
        np.testing.assert_array_equal(found["box"][row], [*points.min(0), *points.max(0) + 1])
        np.testing.assert_allclose(found["centroid"][row], points.mean(0))
        np.testing.assert_allclose(found["covariance"][row], np.cov(points.T, bias=True), atol=1e-9)
        assert found["grey_min"][row] == values.min()
        assert found["grey_max"][row] == values.max()
        assert found["grey_mean"][row] == pytest.approx(values.mean())
        assert found["grey_sd"][row] == pytest.approx(values.std(), abs=1e-9)


def test_statistics_equal_regionprops():
    from skimage.measure import regionprops_table

    labels = raster(3)
    image = np.random.default_rng(1).random(labels.shape).astype(np.float32)
    names = ("label", "area", "bbox", "centroid", "intensity_mean", "intensity_min", "intensity_max")
    peer = regionprops_table(labels, image, properties=names)

    found = region_statistics(labels, image)

    np.testing.assert_array_equal(found["label"], peer["label"])
    np.testing.assert_array_equal(found["n_voxels"], peer["area"])
    np.testing.assert_array_equal(found["box"], np.stack([peer[f"bbox-{i}"] for i in range(6)], 1))
    np.testing.assert_allclose(found["grey_mean"], peer["intensity_mean"], rtol=1e-6)


def test_statistics_without_image_know_no_grey():
    found = region_statistics(raster())

    assert set(found) == {"label", "n_voxels", "box", "centroid", "covariance"}


def test_statistics_of_nothing_are_empty():
    found = region_statistics(np.zeros((3, 4, 5), np.int32), np.zeros((3, 4, 5), np.uint8))

    assert all(len(v) == 0 for v in found.values())
    assert found["box"].shape == (0, 6)


def test_statistics_refuse_two_grids():
    with pytest.raises(InputError, match="shape"):
        region_statistics(np.zeros((3, 4, 5), np.int32), np.zeros((3, 4, 6)))


def test_statistics_do_not_depend_on_blocks_or_threads(monkeypatch):
    labels = raster()
    image = np.random.default_rng(1).integers(0, 200, labels.shape).astype(np.uint8)
    one = region_statistics(labels, image)
    monkeypatch.setattr("napari_seedlab.imaging.regions.SLAB_VOXELS", 500)
    monkeypatch.setattr("napari_seedlab.imaging.flood.n_threads", lambda: 4)

    many = region_statistics(labels, image)

    for name in one:
        np.testing.assert_allclose(one[name], many[name], atol=1e-9)


def test_table_has_region_ids_from_the_first_one():
    labels = raster()

    table = region_table(7, labels, first_id=101)

    assert table.scan == 7
    np.testing.assert_array_equal(table.region, np.unique(labels)[1:] + 100)
    assert not table.seed.any()
    assert table.n_voxels.sum() == np.count_nonzero(labels)


def test_rows_of_a_crop_equal_the_table():
    labels = raster()
    table = region_table(1, labels)
    crop = labels[:, 2:, 3:]
    whole = [int(k) for k, box in zip(table.region, table.box, strict=True) if box[1] >= 2 and box[2] >= 3]

    rows = rows_of(crop, [*whole, 0, 999], origin=(0, 2, 3))

    keep = np.isin(table.region, whole)
    for name in ("region", "box", "centroid", "n_voxels"):
        np.testing.assert_allclose(rows[name], getattr(table, name)[keep])


def plain_iou(old, new, a, b):
    return np.sum((old == a) & (new == b)) / np.sum((old == a) | (new == b))


def test_match_finds_moved_numbers_and_leaves_new_ones():
    old = raster(5)
    order = np.random.default_rng(0).permutation(13)
    order[order == 0] = 13
    new = np.where(old > 0, order[old] + 100, 0).astype(np.int32)
    new[0:2] = 0

    pairs = match_regions(old, new)

    expected = {
        int(b): int(a)
        for a in np.unique(old)[1:]
        for b in np.unique(new)[1:]
        if plain_iou(old, new, a, b) >= 0.5
    }
    assert pairs == expected
    assert len(pairs) >= 5


def test_match_is_one_to_one_where_a_seed_fell_into_halves():
    old = np.zeros((1, 4, 8), np.int32)
    old[0, :, :4] = 1
    new = old.copy()
    new[0, 2:, :4] = 2

    pairs = match_regions(old, new)

    assert list(pairs.values()) == [1]
    assert match_regions(old, np.zeros_like(old)) == {}
    assert match_regions(old * 0, old * 0) == {}


def test_match_survives_more_pairs_than_the_table_first_holds(monkeypatch):
    rng = np.random.default_rng(0)
    old = rng.integers(0, 400, (4, 60, 60)).astype(np.int32)

    assert match_regions(old, old) == {k: k for k in range(1, 400)}


def test_match_refuses_two_grids():
    with pytest.raises(InputError, match="shapes"):
        match_regions(np.zeros((3, 4, 5), np.int32), np.zeros((3, 4, 6), np.int32))
