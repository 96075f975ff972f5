"""Seeds that people know to be odd, and painted defects, on their way into a batch and its loss."""

import numpy as np
import pytest
import torch
from grains import grains
from job_folders import sheet, write_job

from napari_seedlab import files
from napari_seedlab.learn import crops_io, fcdd, known
from napari_seedlab.learn.pool import Pool

N, PAINTED, ANSWERED = 12, 5, 9  # grains; ids of the seed with paint, and of the one that is called odd


@pytest.fixture
def job(tmp_path):
    """A job folder with a painted and an answered seed: returns (folder, scans, crops, painted voxels)."""
    crops, masks, defects, _ = grains(N, 3, ("dense",))
    volume, regions = sheet(crops, masks)
    folder = write_job(tmp_path / "job", "fcdd", volume, regions, {ANSWERED: 2, 1: 1})
    voxels = np.argwhere(defects[PAINTED - 1])
    voxels[:, 2] += (PAINTED - 1) * masks.shape[-1]
    files.save_arrays(folder / "painted-1.npz", voxel=voxels.astype(np.int32))
    scans = crops_io.read_scans(folder, crops_io.read_request(folder).params)
    *_, seeds = drained(crops_io.cut_channels(scans, 28, crops_io.scan_scaling))
    return folder, scans, seeds, voxels


def drained(steps):
    while True:
        try:
            yield next(steps)
        except StopIteration as end:
            yield end.value
            return


def odd_rows(job, labels):
    folder, scans, seeds, _ = job
    found = known.known_odd(folder, scans, seeds, labels, 1)
    return {int(seeds.seeds[row]): cells for row, cells in found.items()}


def test_answers_and_paint_make_a_seed_odd(job):
    found = odd_rows(job, crops_io.read_labels(job[0]))
    assert set(found) == {PAINTED, ANSWERED}
    assert found[PAINTED].any() and not found[ANSWERED].any()


def test_paint_in_a_seed_that_is_called_normal_is_no_defect(job):
    assert set(odd_rows(job, {PAINTED: 1})) == set()
    assert set(odd_rows(job, {PAINTED: 3})) == {PAINTED}


def test_painted_cells_show_what_was_painted(job):
    _, _, seeds, voxels = job
    cells = odd_rows(job, {})[PAINTED]
    row = int(np.flatnonzero(seeds.seeds == PAINTED)[0])
    crop, mask = seeds.crops[row, 0].astype(np.float32), seeds.masks[row]
    inner = mask & ~cells
    assert crop[cells].mean() > 1.15 * crop[inner].mean()  # a dense inclusion
    box = seeds.boxes[row]
    share = len(voxels) / np.count_nonzero(_region(job, PAINTED))
    assert cells.sum() / mask.sum() == pytest.approx(share, rel=0.5)
    centre = np.argwhere(cells).mean(0) - np.argwhere(mask).mean(0)
    moved = voxels.mean(0) - np.argwhere(_region(job, PAINTED)).mean(0)
    edge = (box[3:] - box[:3]).max() / (28 - 2 * crops_io.MARGIN)
    np.testing.assert_allclose(centre * edge, moved, atol=1.0)


def _region(job, seed):
    return np.asarray(job[1][0].regions[:]) == seed


def test_known_seeds_take_their_share_of_the_odd_half_and_teach_where_they_may():
    crops, masks, defects, _ = grains(10, 4, ("dense",))
    pool = Pool(crops, masks)
    pool.odd = {8: defects[8], 9: np.zeros_like(defects[9])}
    rng, placed, unplaced = np.random.default_rng(0), 0, 0
    for _ in range(40):
        drawn = fcdd.draw(pool, np.arange(8), 16, rng)
        assert not (drawn.normal & (drawn.defects | drawn.odd)).any()
        assert not (drawn.defects & drawn.odd).any() and not drawn.odd[::2].any()
        unplaced += int(drawn.odd.reshape(16, -1).any(1).sum())
        placed += int((~(drawn.normal | drawn.odd).reshape(16, -1).any(1)).sum())
    assert placed + unplaced == pytest.approx(known.share_of_known(2) * 40 * 8, rel=0.3)
    assert 0.5 < placed / unplaced < 2


def test_the_hottest_cells_of_an_odd_seed_are_driven_up():
    heat = torch.full((1, 10, 10), 0.5)
    heat[0, 0, :5] = 0.9
    heat.requires_grad_()
    odd, none = torch.ones(1, 10, 10, dtype=torch.bool), torch.zeros(1, 10, 10, dtype=torch.bool)
    fcdd.map_loss(heat, none, none, odd).backward()
    pulled = heat.grad[0] < 0
    assert pulled.sum() == 5 and pulled[0, :5].all()
