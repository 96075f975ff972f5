"""Merge, split and delete by hand; each can be undone exactly."""

import numpy as np
import pytest

from napari_seedlab.core import InputError
from napari_seedlab.imaging import RegionPatch, delete_region, merge_regions, split_region

ORIGIN = (10, 20, 30)


def dumbbell(small=8, flat=False):
    """Two balls of radius 10 and `small` that overlap: region 5 on background, region 9 beside."""
    z, y, x = np.ogrid[:25, :25, :50]
    z = z - (12 if not flat else 0)
    a = z**2 + (y - 12) ** 2 + (x - 12) ** 2 < 100
    b = z**2 + (y - 12) ** 2 + (x - 28) ** 2 < small**2
    crop = np.where(a | b, 5, 0).astype(np.int32)
    crop[0:3, 0:3, 45:48] = 9
    return (crop[:1] if flat else crop), (a[:1] if flat else a)


def clicks(*points):
    return [np.add(p, ORIGIN) for p in points]


@pytest.mark.parametrize("flat", [False, True], ids=["volume", "plane"])
def test_split_cuts_at_the_waist_and_the_larger_part_keeps_its_id(flat):
    crop, large = dumbbell(flat=flat)
    z = 0 if flat else 12

    patch = split_region(crop, 5, clicks((z, 12, 28), (z, 12, 10)), [77], ORIGIN)
    after = patch.applied(crop)

    assert set(np.unique(after)) == {0, 5, 9, 77}
    assert np.mean((after == 5)[crop == 5] == large[crop == 5]) > 0.97
    np.testing.assert_array_equal(after > 0, crop > 0)
    assert patch.changed == (5, 77)


def test_split_without_a_waist_goes_by_distance():
    crop = np.full((10, 10, 20), 3, np.int32)

    after = split_region(crop, 3, [(5, 5, 1), (5, 5, 18)], [4]).applied(crop)

    assert after[5, 5, 2] != after[5, 5, 17]
    assert 0.3 < np.mean(after == 3) < 0.7


def test_split_in_three():
    x = np.arange(60)
    crop = np.broadcast_to(np.where(x % 20 < 16, 2, 0), (8, 8, 60)).astype(np.int32)
    crop[4, 4] = 2

    after = split_region(crop, 2, [(4, 4, 8), (4, 4, 28), (4, 4, 48)], [11, 12]).applied(crop)

    assert len({after[4, 4, 8], after[4, 4, 28], after[4, 4, 48]}) == 3
    assert set(np.unique(after)) == {0, 2, 11, 12}


def test_click_beside_the_region_counts_for_the_nearest_voxel():
    crop, _ = dumbbell()

    after = split_region(crop, 5, clicks((12, 12, -9), (12, 12, 60)), [77], ORIGIN).applied(crop)

    assert after[12, 12, 10] == 5
    assert after[12, 12, 30] == 77


def test_split_honours_long_voxels():
    z, y, x = np.ogrid[:9, :25, :25]
    upper = (3 * (z - 2)) ** 2 + (y - 12) ** 2 + (x - 12) ** 2 < 64
    lower = (3 * (z - 6)) ** 2 + (y - 12) ** 2 + (x - 12) ** 2 < 64
    crop = np.where(upper | lower, 1, 0).astype(np.int32)

    after = split_region(crop, 1, [(1, 12, 12), (7, 12, 12)], [2], spacing=(3.0, 1.0, 1.0)).applied(crop)

    assert len(np.unique(after[:4][crop[:4] > 0])) == 1
    assert len(np.unique(after[5:][crop[5:] > 0])) == 1
    assert after[1, 12, 12] != after[7, 12, 12]


@pytest.mark.parametrize(
    ("points", "new_ids"),
    [([(1, 1, 1)], []), ([(1, 1, 1), (2, 2, 2)], []), ([(1, 1, 1), (1, 1, 1)], [4])],
    ids=["one click", "no id", "same voxel"],
)
def test_split_refuses_what_makes_no_two_parts(points, new_ids):
    with pytest.raises(InputError):
        split_region(np.full((4, 4, 4), 3, np.int32), 3, points, new_ids)


def test_merge_keeps_the_lowest_id():
    crop = np.zeros((3, 4, 6), np.int32)
    crop[0], crop[1], crop[2] = 8, 4, 6

    patch = merge_regions(crop, [8, 4], ORIGIN)

    np.testing.assert_array_equal(patch.applied(crop), np.where(crop == 8, 4, crop))
    assert patch.box.tolist() == [10, 20, 30, 13, 24, 36]
    assert patch.slices == (slice(10, 13), slice(20, 24), slice(30, 36))


@pytest.mark.parametrize("ids", [[4], [4, 4], [4, 99], [4, 0]], ids=str)
def test_merge_refuses_less_than_two_regions(ids):
    with pytest.raises(InputError):
        merge_regions(np.full((2, 2, 2), 4, np.int32), ids)


def test_delete_leaves_the_others():
    crop, _ = dumbbell()

    after = delete_region(crop, 5, ORIGIN).applied(crop)

    assert set(np.unique(after)) == {0, 9}
    np.testing.assert_array_equal(after == 9, crop == 9)


@pytest.mark.parametrize("operation", ["merge", "split", "delete"])
def test_every_repair_is_undone_exactly(operation):
    crop, _ = dumbbell()
    patch = {
        "merge": lambda: merge_regions(crop, [5, 9]),
        "split": lambda: split_region(crop, 5, [(12, 12, 12), (12, 12, 28)], [77]),
        "delete": lambda: delete_region(crop, 9),
    }[operation]()
    kept = RegionPatch.from_columns(patch.columns())

    after = kept.applied(crop)

    assert len(kept) > 0
    assert not np.array_equal(after, crop)
    np.testing.assert_array_equal(kept.inverse().applied(after), crop)
    np.testing.assert_array_equal(np.flatnonzero(after != crop), kept.index)


def test_patch_refuses_a_raster_that_changed():
    crop, _ = dumbbell()
    patch = delete_region(crop, 9)
    crop[0, 0, 45] = 3

    with pytest.raises(InputError, match="changed since"):
        patch.applied(crop)
    with pytest.raises(InputError, match="shape"):
        patch.applied(crop[1:])
