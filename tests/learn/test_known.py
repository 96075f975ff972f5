"""Seeds that people know to be odd, and painted defects, on their way into a batch and its loss."""

import numpy as np
import pytest
import torch
from grains import TEST_KINDS, grains, one_thread  # noqa: F401
from job_folders import sheet, write_job
from sklearn.metrics import roc_auc_score

from napari_seedlab import files
from napari_seedlab.learn import crops_io, fcdd, known
from napari_seedlab.learn.heat import scores
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


def areas_with(odd, train, extra, test, random_state):
    """AUC over all kinds and of the dense one, by a fit that knows the first of the `extra` grains."""
    pool = Pool(*(np.concatenate([train[k], extra[k]]) for k in (0, 1)))
    pool.odd = {len(train[0]) + i: cells for i, cells in enumerate(odd)}
    tested = Pool(*test[:2])
    tested.spread = pool.spread
    settings = fcdd.FCDDSettings(size=24, n_steps=300, precision="float32")
    fit = fcdd.new_trainer(pool, np.arange(len(train[0])), settings, random_state)
    for _ in range(settings.n_steps):
        fit.step()
    score = scores(np.concatenate([h for _, h in fcdd.heat_maps(fit.model, tested)]), test[1])
    kinds = test[3]
    of_dense = np.isin(kinds, ("", "dense"))
    return roc_auc_score(kinds != "", score), roc_auc_score(kinds[of_dense] == "dense", score[of_dense])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_painted_defect_costs_nothing_and_five_answers_help_with_their_kind():
    found = []
    for state in range(3):
        train, extra = grains(120, 100 + state), grains(5, 700 + state, ("dense",))
        test = grains(100, 200 + state, TEST_KINDS)
        nowhere = list(np.zeros_like(extra[2]))
        found.append([areas_with(odd, train, extra, test, state) for odd in ((), extra[2][:1], nowhere)])
    unknown, painted, answered = np.moveaxis(np.asarray(found), 1, 0)  # each (states, [all, dense])
    print(np.round(np.asarray(found), 3).tolist())
    assert (painted[:, 0] >= unknown[:, 0] - 0.02).all()
    assert answered[:, 1].mean() >= unknown[:, 1].mean() + 0.005
