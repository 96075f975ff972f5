import numpy as np
import pytest

from napari_seedlab.ui.cuts import Picture, PictureRow, bar_um, length_text, under_heat
from napari_seedlab.ui.layers import DIMMED, heat_colormap
from napari_seedlab.ui.oddness import rank_text


def test_no_heat_leaves_the_dimmed_grey_and_full_heat_its_colour():
    grey = np.full((2, 3), 200, np.uint8)
    heat = np.zeros((2, 3), np.float32)
    heat[0, 0] = 1
    mixed = under_heat(grey, heat)
    assert mixed.shape == (2, 3, 3) and (mixed[1] == int(200 * DIMMED)).all()
    top = heat_colormap().map(np.array([1.0]))[0, :3] * 255
    np.testing.assert_allclose(mixed[0, 0], 0.85 * top + 0.15 * 200 * DIMMED, atol=1)


def test_the_colour_of_heat_does_not_depend_on_the_other_pixels():
    grey = np.full((1, 2), 90, np.uint8)
    alone = under_heat(grey[:, :1], np.full((1, 1), 0.5, np.float32))
    beside = under_heat(grey, np.asarray([[0.5, 1.0]], np.float32))
    np.testing.assert_array_equal(alone[0, 0], beside[0, 0])


@pytest.mark.parametrize(
    ("width", "bar", "text"), [(2600, 1000, "1 mm"), (1300, 500, "500 µm"), (6, 2, "2 µm")]
)
def test_the_scale_bar_is_a_round_length(width, bar, text):
    assert bar_um(width) == bar and length_text(bar) == text


def test_pictures_share_one_scale(qapp):
    row = PictureRow(90)
    row.resize(310, 110)
    wide, small = np.full((60, 120), 255, np.uint8), np.full((30, 60), 255, np.uint8)
    row.show_pictures([Picture(wide, "one"), Picture(small, "two")], 10.0)
    grabbed = row.grab().toImage()
    bright = np.asarray([[grabbed.pixelColor(x, y).lightness() > 250 for x in range(310)] for y in range(90)])
    left, right = bright[:, :200].any(0).sum(), bright[:, 200:].any(0).sum()
    assert left == pytest.approx(2 * right, abs=4)
    assert row.n_pictures == 2 and row.accessibleName() == "one, two"


@pytest.mark.parametrize(
    ("place", "n", "words"),
    [
        (1, 120, "the oddest of 120 seeds"),
        (2, 120, "the 2nd oddest of 120 seeds"),
        (4, 120, "the 4th oddest of 120 seeds"),
        (31, 121, "odder than 75% of 121 seeds"),
        (121, 121, "less odd than 100% of 121 seeds"),
        (1, 1, "the oddest of 1 seeds"),
        (3, 4, "less odd than 67% of 4 seeds"),
        (900, 12_000, "odder than 93% of 12,000 seeds"),
    ],
)
def test_a_rank_in_words(place, n, words):
    assert rank_text((n - place + 1) / n, n) == words
