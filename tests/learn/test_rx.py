import tracemalloc

import numpy as np
import pytest
from scenes import REAL, Stored, background_of, global_rx, local_rx, made_scene, needs_scenes, real_scene

from napari_seedlab.core import InputError
from napari_seedlab.files import ArraySource, open_array
from napari_seedlab.learn import blocks, rx
from napari_seedlab.learn.evaluate import roc_auc


def plain_rx(cube, mask):
    """The formula of the paper, in one go."""
    pixels = cube.reshape(len(cube), -1)
    inverse = np.linalg.inv(np.cov(pixels[:, mask.ravel()]))
    apart = pixels - pixels[:, mask.ravel()].mean(1)[:, None]
    return (apart * (inverse @ apart)).sum(0).reshape(cube.shape[1:])


def plain_local(cube, inner, outer, k, mask):
    """Pixel by pixel, window by window."""
    pixels = cube[:, mask]
    variances, basis = np.linalg.eigh(np.cov(pixels))
    values = np.tensordot(
        (basis / np.sqrt(variances))[:, ::-1][:, :k].T, cube - pixels.mean(1)[:, None, None], 1
    )
    out = np.zeros(cube.shape[1:])
    for y, x in np.ndindex(out.shape):
        far = np.maximum(*np.abs(np.indices(out.shape) - np.array([y, x])[:, None, None]))
        near = values[:, mask & (far <= outer // 2) & ~((far <= inner // 2) & (inner > 0))]
        n = near.shape[1] + k
        mean = near.sum(1) / n
        covariance = (near @ near.T + k * np.eye(k)) / n - np.outer(mean, mean)
        apart = values[:, y, x] - mean
        out[y, x] = apart @ np.linalg.inv(covariance) @ apart
    return out


@pytest.fixture
def tiny_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 6 * 15 * 8 * 2)
    monkeypatch.setattr(blocks, "READ_BYTES", 6 * 15 * 8 * 5)


@pytest.fixture(params=["all", "some"])
def mask(request):
    return (
        np.ones((12, 15), bool) if request.param == "all" else np.random.default_rng(1).random((12, 15)) < 0.7
    )


def test_global_is_the_formula_of_the_paper(mask):
    cube = made_scene()
    scores, notes = global_rx(cube, mask)
    np.testing.assert_allclose(scores, plain_rx(cube, mask), rtol=1e-4)
    assert scores.dtype == np.float32 and notes == ()
    if mask.all():
        np.testing.assert_array_equal(global_rx(cube).scores, scores)


@pytest.mark.parametrize(("inner", "outer", "k"), [(3, 7, 3), (0, 5, 2), (1, 31, 6)])
def test_local_is_the_sum_over_windows(inner, outer, k, mask):
    cube = made_scene()
    np.testing.assert_allclose(
        local_rx(cube, inner, outer, k, mask).scores, plain_local(cube, inner, outer, k, mask), rtol=1e-4
    )


def test_blocks_change_nothing(mask, request):
    cube = made_scene()
    whole = global_rx(cube, mask).scores, local_rx(cube, 3, 5, 3, mask).scores
    request.getfixturevalue("tiny_blocks")
    assert len(list(blocks.all_blocks(cube))) == 7  # strips of five rows, two at a time
    for map_, other in zip(
        (global_rx(cube, mask).scores, local_rx(cube, 3, 5, 3, mask).scores), whole, strict=True
    ):
        np.testing.assert_allclose(map_, other, rtol=1e-5)


def test_a_stored_cube_is_read_in_place(tmp_path, tiny_blocks):
    cube = np.rint(made_scene()).astype("<i4")
    cube.transpose(1, 2, 0).tofile(tmp_path / "cube.raw")
    source = ArraySource(str(tmp_path / "cube.raw"), "bip", cube.shape, ("band", "y", "x"), "<i4")
    np.testing.assert_array_equal(global_rx(open_array(source)).scores, global_rx(cube).scores)


def test_memory_does_not_grow_with_the_rows(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 2**17)
    monkeypatch.setattr(blocks, "READ_BYTES", 2**17)
    peaks = []
    for n_rows in (60, 600):
        cube = Stored((8, n_rows, 50))
        tracemalloc.start()
        global_rx(cube)
        local_rx(cube, 3, 9, 4)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert cube.largest <= 2**17
    maps = 4 * 540 * 50 * 8  # of scores and masks, which do grow
    assert peaks[1] < peaks[0] + maps


@pytest.mark.parametrize("chunks", [(1, 256, 256), (1, 128, 256), (8, 1024, 256)])
def test_each_stored_chunk_is_read_once_in_each_pass(chunks, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 2**20)
    cube = Stored((8, 600, 300), chunks)
    background_of(cube)
    assert (cube.n_reads == 1).all()
    global_rx(cube)
    assert (cube.n_reads == 3).all()
    local_rx(cube, 3, 31, 2)
    assert (cube.n_reads == 5).all()


def test_every_block_is_told(tiny_blocks):
    for steps, least in (
        (rx.global_rx_steps(made_scene()), 2 * 7),
        (rx.local_rx_steps(made_scene(), 3, 5, 3), 7 + 7 + 12),
    ):
        shares = list(steps)
        assert len(shares) >= least
        assert shares == sorted(shares)
        assert shares[0] > 0 and shares[-1] == 1


@pytest.mark.parametrize("offset", [1e6, -1e6])
def test_bright_bands_lose_no_digits(offset, tiny_blocks):
    cube = made_scene()
    np.testing.assert_allclose(global_rx(cube + offset).scores, global_rx(cube).scores, rtol=1e-3)


def test_the_unit_of_a_band_does_not_matter():
    cube = made_scene()
    units = np.array([1e-6, 1, 1e3, 1e6, 0.1, 7])[:, None, None]
    np.testing.assert_allclose(global_rx(cube * units).scores, global_rx(cube).scores, rtol=1e-4)


def test_constant_bands_are_left_out_and_said():
    cube = made_scene()
    with_dead = np.concatenate([cube[:2], np.full((2, 12, 15), 0.1), cube[2:], np.zeros((1, 12, 15))])
    scores, notes = global_rx(with_dead)
    np.testing.assert_allclose(scores, global_rx(cube).scores, rtol=1e-5)
    assert notes == ("3 of 9 bands are constant and were left out",)
    np.testing.assert_allclose(local_rx(with_dead, 3, 5, 9).scores, local_rx(cube, 3, 5, 6).scores, rtol=0.5)


def test_collinear_bands_break_nothing():
    cube = made_scene()
    with_copies = np.concatenate([cube, cube[:1], cube[1:2] + cube[2:3]])
    np.testing.assert_allclose(global_rx(with_copies).scores, global_rx(cube).scores, rtol=0.02)
    assert np.isfinite(local_rx(with_copies, 3, 5, 8).scores).all()


def test_broken_pixels_are_left_out_and_said():
    cube, mask = made_scene(), np.ones((12, 15), bool)
    cube[2, 3, 4], cube[0, 7, 7], mask[3, 4], mask[7, 7] = np.nan, np.inf, False, False
    whole = made_scene()
    for found, expected in (
        (global_rx(cube), global_rx(whole, mask)),
        (local_rx(cube, 3, 7, 3), local_rx(whole, 3, 7, 3, mask)),
    ):
        assert found.scores[3, 4] == found.scores[7, 7] == 0
        np.testing.assert_allclose(found.scores[mask], expected.scores[mask], rtol=1e-5)
        assert found.notes == ("2 pixels with NaN or infinite values were left out",)


def test_few_pixels_shrink_the_covariance():
    cube, few = made_scene(40), np.zeros((12, 15), bool)
    few[2:6, 2:7] = True
    scores, notes = global_rx(cube, few)
    assert "20 pixels are few for 40 bands" in notes[0]
    assert 0.01 < background_of(cube, few).shrinkage() < 1
    assert scores[few].mean() < 60 and np.isfinite(scores).all()  # without, the inverse does not exist
    assert background_of(made_scene(), None).shrinkage() == rx.SHRINKAGE


@pytest.mark.parametrize(
    ("cube", "mask", "words"),
    [
        (np.ones((3, 4, 5)), None, "is constant: all 20 pixels"),
        (np.full((3, 4, 5), 0.1, np.float32), None, "is constant"),
        (np.full((3, 4, 5), np.nan), None, "0 usable pixels"),
        (np.ones((3, 4, 5)), np.zeros((4, 5), bool), "0 usable pixels"),
        (np.ones((3, 4, 5)), np.ones((5, 4), bool), "has shape"),
        (np.ones((4, 5)), None, "has shape"),
        (np.ones((0, 4, 5)), None, "has shape"),
    ],
)
@pytest.mark.parametrize("detect", [global_rx, lambda cube, mask: local_rx(cube, 3, 5, 2, mask)])
def test_what_has_no_background_is_refused_in_one_line(detect, cube, mask, words):
    with pytest.raises(InputError, match=words) as caught:
        detect(cube, mask)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "sizes", [(3, 3, 2), (5, 3, 2), (2, 5, 2), (3, 6, 2), (-1, 5, 2), (0, 1, 2), (3, 5, 0)]
)
def test_windows_that_do_not_nest_are_refused(sizes):
    with pytest.raises(InputError, match="do not fit"):
        local_rx(made_scene(), *sizes)


@needs_scenes
@pytest.mark.parametrize(("name", "area"), [(REAL[0], 0.840), (REAL[1], 0.953), (REAL[2], 0.981)])
def test_the_published_scenes_have_their_known_area(name, area):
    cube, is_odd = real_scene(name)
    assert roc_auc(global_rx(cube).scores, is_odd) == pytest.approx(area, abs=0.005)


def test_many_bands_are_read_with_pauses_and_told(monkeypatch):
    monkeypatch.setattr(blocks, "PART_BYTES", 3 * 256 * 256 * 8)
    cube = Stored((6, 512, 300), (1, 256, 256))
    with_pixels = [block.is_whole.size for block in blocks.all_blocks(cube) if block.is_whole.size]
    assert sum(with_pixels) == 512 * 300
    assert cube.n_reads[:, 0].tolist() == [2, 2]
    found = global_rx(cube)
    monkeypatch.setattr(blocks, "PART_BYTES", 2**30)
    np.testing.assert_array_equal(global_rx(cube).scores, found.scores)
    shares = list(rx.global_rx_steps(Stored((6, 512, 300), (1, 256, 256))))
    assert shares == sorted(shares)
