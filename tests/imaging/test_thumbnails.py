import numpy as np

from napari_seedlab.imaging.thumbnails import common_cell, mean_spectrum, plane_thumb, volume_thumb


def ellipsoid(turned):
    z, y, x = np.mgrid[:40, :60, :60].astype(float)
    u, v = (y - 30, x - 30) if not turned else ((y + x - 60) / 2**0.5, (y - x) / 2**0.5)
    return ((z - 20) / 8) ** 2 + (u / 12) ** 2 + (v / 24) ** 2 < 1


def test_a_turned_seed_has_the_same_cuts():
    straight, turned = (
        volume_thumb(np.where(ellipsoid(t), 200, 20), ellipsoid(t), (1.0, 1.0, 1.0), 1.5, (20, 220))
        for t in (False, True)
    )
    assert straight.shape == (3, 40, 40)
    assert np.abs(straight.astype(int) - turned).mean() < 4
    width = (straight[0] > 100).any(0).sum()
    assert abs(width * 1.5 - 48) < 4  # one scale for all seeds: 48 voxels at 1.5 µm


def test_a_seed_that_is_too_large_is_shrunk():
    thumb = volume_thumb(np.where(ellipsoid(False), 200, 20), ellipsoid(False), (1.0,) * 3, 0.5, (20, 220))
    assert not (thumb[0][:, [0, -1]] > 100).any() and (thumb[0] > 100).any(0).sum() >= 36


def test_a_picture_keeps_its_colours_and_dims_what_is_around():
    planes = np.zeros((3, 30, 50), np.uint8)
    planes[0], planes[1] = 200, 100
    inside = np.zeros((30, 50), bool)
    inside[5:25, 5:45] = True
    thumb = plane_thumb(planes, inside, (1.0, 1.0), 1.0, np.tile([0.0, 255.0], (3, 1)))
    assert thumb[:, 20, 20].tolist() == [200, 100, 0]
    assert 70 <= thumb[0, 8, 20] <= 90  # dimmed beside the seed


def test_no_voxel_and_no_number_are_black_pictures():
    empty = np.zeros((4, 4, 4), bool)
    assert not volume_thumb(np.ones((4, 4, 4)), empty, (1.0,) * 3, 1.0, (0, 1)).any()
    lost = np.full((4, 4, 4), np.nan)
    assert not volume_thumb(lost, ~empty, (1.0,) * 3, 1.0, (0, 1)).any()
    assert np.isnan(mean_spectrum(np.ones((5, 4, 4)), empty[0])).all()


def test_a_spectrum_is_the_mean_of_neighbouring_bands():
    block = np.arange(64, dtype=float)[:, None, None] * np.ones((64, 2, 2))
    got = mean_spectrum(block, np.ones((2, 2), bool))
    np.testing.assert_allclose(got, np.arange(32) * 2 + 0.5)


def test_the_scale_suits_all_but_the_largest():
    boxes = np.asarray([[0, 0, 0, 1, 10, 10]] * 99 + [[0, 0, 0, 1, 500, 500]])
    assert common_cell(boxes, (1.0, 1.0, 1.0)) * 40 < 15
