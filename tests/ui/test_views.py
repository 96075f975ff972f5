import numpy as np
import pytest

from napari_seedlab.ui.views import LutView, PlaneView, RegionPlanes, ThresholdView, rim

REGIONS = np.zeros((4, 6, 8), np.int32)
REGIONS[:, 1:5, 1:4], REGIONS[:, 1:5, 4:7] = 1, 2  # two that touch
KEYS = [
    (1, slice(None), slice(None)),
    (slice(None), 2, slice(None)),
    (slice(None),) * 3,
    (1, ..., slice(2, 7)),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_view_gives_what_the_whole_lookup_would(key):
    view = LutView(RegionPlanes(REGIONS, REGIONS.shape))
    view.codes = np.asarray([0, 7, 9, 0], np.uint8)
    np.testing.assert_array_equal(view[key], view.codes[REGIONS][key])


def test_the_rim_keeps_the_line_between_touching_seeds_of_one_class():
    edges = rim(REGIONS[0], 1)
    assert edges[3, 3] == 1 and edges[3, 4] == 2
    assert edges[3, 2] == 0


def test_a_new_lookup_reads_no_plane_again():
    class Counting:
        shape, dtype, n = REGIONS.shape, REGIONS.dtype, 0

        def __getitem__(self, key):
            self.n += 1
            return REGIONS[key]

    source = Counting()
    planes = RegionPlanes(source, REGIONS.shape)
    fill, outline = LutView(planes), LutView(planes, 1)
    for view in (fill, outline, fill, outline):
        view.codes = np.arange(4, dtype=np.uint8)
        view[2]
    assert source.n == 1


def test_a_plane_of_regions_shows_on_every_band():
    planes = RegionPlanes(REGIONS[:1], (30, 6, 8))
    view = LutView(planes)
    view.codes = np.asarray([0, 1, 2, 0], np.uint8)
    np.testing.assert_array_equal(view[17], REGIONS[0])
    assert view[:].shape == (30, 6, 8)
    assert planes.region_at((29, 2, 5)) == 2
    assert planes.region_at((0, 2, 99)) == 0


def test_threshold_and_planes():
    image = np.arange(24).reshape(2, 3, 4)
    view = ThresholdView(image, 13)
    np.testing.assert_array_equal(view[1], image[1] > 13)
    view.dark = True
    np.testing.assert_array_equal(view[1], image[1] < 13)
    view = PlaneView((2, 3, 4))
    view.set_plane(1, 2, np.full((2, 4), 5, np.uint8))
    assert view[:, 2, :].min() == 5
    assert view[:, 1, :].max() == 0


def test_a_mark_hides_the_code_on_its_own_wider_rim():
    view = LutView(RegionPlanes(REGIONS, REGIONS.shape), 1, 2)
    view.codes = np.asarray([0, 7, 9, 0], np.uint8)
    view.marks = np.asarray([0, 0, 255, 0], np.uint8)
    wide, thin = rim(REGIONS[0], 2), rim(REGIONS[0], 1)
    np.testing.assert_array_equal(view[0], np.where(wide == 2, 255, np.where(thin == 1, 7, 0)))
