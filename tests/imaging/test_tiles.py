"""Where the seed is in a picture, and how pictures are laid out on a sheet."""

import numpy as np
import pytest

from napari_seedlab.core import InputError
from napari_seedlab.imaging import tiles


def grain(shape=(60, 80), centre=(30, 40), radii=(14, 22), grey=200, ground=20, bands=1, noise=2.0):
    """A picture (c, y, x) of one ellipse, and its mask."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[0], : shape[1]]
    inside = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 <= 1
    picture = np.where(inside, float(grey), float(ground)) + rng.normal(0, noise, (bands, *shape))
    return np.clip(picture, 0, 255).astype(np.uint8), inside


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize(("grey", "ground"), [(200, 20), (30, 220)])
def test_the_object_stands_out_from_the_background(bands, grey, ground):
    picture, inside = grain(grey=grey, ground=ground, bands=bands)
    mask, is_clear = tiles.find_object(picture)
    assert is_clear and overlap(mask, inside) > 0.97


def test_a_seed_that_fills_its_picture_is_found_by_the_corners():
    picture, inside = grain(shape=(60, 80), radii=(33, 44), grey=40, ground=210)
    mask, is_clear = tiles.find_object(picture)
    assert is_clear and overlap(mask, inside) > 0.97


def test_uneven_light_is_no_object():
    picture, inside = grain(grey=60, ground=60)
    light = np.linspace(0, 120, picture.shape[2])
    lit = np.where(inside, 250, picture + light).astype(np.uint8)
    mask, is_clear = tiles.find_object(lit)
    assert is_clear and overlap(mask, inside) > 0.9


def test_a_patch_of_light_along_the_frame_is_no_object():
    picture, inside = grain(shape=(120, 100), centre=(40, 60), radii=(22, 18), grey=15, ground=120)
    y, x = np.mgrid[:120, :100]
    picture[:, np.hypot(y - 119, x - 35) < 45] = 225
    picture[:, inside] = 15
    mask, _ = tiles.find_object(picture)
    assert overlap(mask, inside) > 0.9


def test_a_sprout_as_bright_as_the_ground_belongs_to_its_seed():
    picture, inside = grain(grey=30, ground=220, bands=3)
    sprout, other = np.zeros((2, *inside.shape), bool)
    sprout[25:35, 58:72] = True
    other[4:8, 4:12] = True  # of the same colour, and nowhere near
    for place in (sprout & ~inside, other):
        picture[:, place] = np.array([245, 225, 170], np.uint8)[:, None]
    mask, _ = tiles.find_object(picture)
    assert overlap(mask, inside | sprout) > 0.95 and not mask[other].any()
    shade = picture.copy()
    shade[:, sprout & ~inside] = 190  # a shadow has no hue
    assert overlap(tiles.find_object(shade)[0], inside) > 0.97


def test_holes_belong_to_the_object_and_specks_do_not():
    picture, inside = grain()
    picture[:, 28:33, 36:44] = 20
    picture[:, 2:5, 2:5] = 255
    mask, _ = tiles.find_object(picture)
    assert mask[30, 40] and not mask[3, 3] and overlap(mask, inside) > 0.97


@pytest.mark.parametrize("picture", [np.full((1, 30, 40), 7, np.uint8), np.zeros((3, 4, 3), np.uint8)])
def test_without_a_clear_object_the_picture_is_the_seed(picture):
    mask, is_clear = tiles.find_object(picture)
    assert not is_clear and mask.any()
    if picture.shape[1] > 8:
        assert mask.sum() == (30 - 4) * (40 - 4) and not mask[:2].any()


@pytest.mark.parametrize(
    ("second", "n"),
    [(None, 1), ((30, 62), 2), ((30, 110), 2), ((5, 110), 1)],
    ids=["one", "touching", "apart", "corner"],
)
def test_seeds_in_one_picture_are_counted(second, n):
    picture, _ = grain(shape=(60, 120), centre=(30, 30), radii=(20, 17))
    if second is not None:
        y, x = np.mgrid[:60, :120]
        reach = (19, 16) if second[0] == 30 and second[1] < 100 else (11, 11)
        picture[:, ((y - second[0]) / reach[0]) ** 2 + ((x - second[1]) / reach[1]) ** 2 <= 1] = 200
    assert tiles.find_object(picture)[1] == n


def test_noise_alone_is_the_whole_picture():
    noise = np.random.default_rng(0).integers(90, 110, (1, 50, 50)).astype(np.uint8)
    mask, is_clear = tiles.find_object(noise)
    assert not is_clear and mask.sum() == 46 * 46


def test_a_sheet_has_room_for_each_picture():
    sheet, factors = tiles.plan_sheet([(30, 50), (40, 20), (10, 10)])
    assert sheet.tile == (40 + 2 * tiles.GAP, 50 + 2 * tiles.GAP) and factors == [1, 1, 1]
    assert sheet.rows * sheet.columns >= 3
    corners = [sheet.corner(i) for i in range(3)]
    assert len(set(corners)) == 3
    assert [sheet.tile_at(y + 1, x + 1) for y, x in corners] == [0, 1, 2]
    assert sheet.tile_at(*sheet.shape) is None


def test_large_pictures_get_one_factor_and_only_the_odd_one_a_larger():
    _, factors = tiles.plan_sheet([(1500, 1100)] * 19 + [(1000, 900)])
    assert factors == [2] * 20
    _, factors = tiles.plan_sheet([(100, 100)] * 19 + [(3000, 100)])
    assert factors == [1] * 19 + [3]


def test_a_sheet_of_many_pictures_stays_small_enough_to_look_at():
    sheet, factors = tiles.plan_sheet([(256, 256)] * 2000)
    assert sheet.shape[0] * sheet.shape[1] <= 1.1 * tiles.MAX_SHEET and set(factors) == {3}
    with pytest.raises(InputError, match=r"100,000 pictures, each on \d+ pixels"):
        tiles.plan_sheet([(64, 64)] * 100_000)


def test_averaging_keeps_the_mean_and_the_edge():
    picture = np.arange(2 * 6 * 8, dtype=np.uint8).reshape(2, 6, 8)
    small = tiles.averaged(picture, 2)
    assert small.shape == (2, 3, 4) and small[0, 0, 0] == np.rint(picture[0, :2, :2].mean())
    assert tiles.averaged(picture, 5).shape == (2, 2, 2)
    assert tiles.averaged(picture, 1) is picture
