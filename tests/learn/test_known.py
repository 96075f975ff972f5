"""Seeds that people know to be odd, and painted defects, on their way into a batch and its loss."""

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from grains import TEST_KINDS, grains, leave_out_a_crack, one_thread  # noqa: F401
from job_folders import finish, sheet, write_job
from sklearn.metrics import roc_auc_score
from test_cubes import job as cube_job
from test_cubes import tray

from napari_seedlab import files
from napari_seedlab.core import NotReady
from napari_seedlab.imaging.crops import cells_of
from napari_seedlab.learn import crops_io, distance, fcdd, known, refits, scenes, vae
from napari_seedlab.learn.heat import normal_members, scores
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
    _, seeds = finish(crops_io.cut_channels(scans, 28, crops_io.scan_scaling))
    return folder, scans, seeds, voxels


def odd_rows(job, labels):
    folder, scans, seeds, _ = job
    _, found = finish(known.known_odd(folder, scans, seeds, labels, 1))
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


class Counted:
    """A region raster in chunks that remembers where it was read."""

    def __init__(self, raster, chunks):
        self._raster, self.chunks, self.reads = raster, chunks, []

    def __getitem__(self, index):
        self.reads.append(tuple(s.start // n for s, n in zip(index, self.chunks, strict=True)))
        assert all(s.stop - s.start <= n for s, n in zip(index, self.chunks, strict=True))
        return self._raster[index]


def test_painted_voxels_belong_to_their_region_and_each_chunk_is_read_once(job):
    _, (scan,), seeds, voxels = job
    raster = np.asarray(scan.regions[:])
    regions = Counted(raster, (8, 8, 8))
    reports, found = finish(known._regions_at(replace(scan, regions=regions), voxels))
    np.testing.assert_array_equal(found, raster[tuple(voxels.T)])
    assert sorted(regions.reads) == [tuple(chunk) for chunk in np.unique(voxels // 8, axis=0).tolist()]
    assert reports
    stray = voxels[:1] * 0 + seeds.boxes[PAINTED - 1][:3]  # a corner of the box, outside the seed
    assert raster[tuple(stray[0])] == 0
    for places in (stray, np.zeros((0, 3), np.int32)):
        at = finish(known._regions_at(scan, places))[1]
        assert finish(known._painted(scan, seeds, places, at))[1] == {}


def test_paint_in_a_crack_that_the_region_leaves_out_makes_the_seed_odd(tmp_path):
    crops, masks, _, _ = grains(3, 5)
    crack = leave_out_a_crack(crops, masks, 1)
    volume, regions = sheet(crops, masks)
    folder = write_job(tmp_path, "fcdd", volume, regions)
    voxels = np.argwhere(crack)
    voxels[:, 2] += 24
    files.save_arrays(folder / "painted-1.npz", voxel=voxels.astype(np.int32))
    scans = crops_io.read_scans(folder, crops_io.read_request(folder).params)
    _, seeds = finish(crops_io.cut_channels(scans, 28, crops_io.scan_scaling, has_gaps=True))
    found = odd_rows((folder, scans, seeds, None), {})
    assert set(found) == {2}
    assert found[2].sum() > 20 and not (found[2] & ~seeds.masks[1]).any()
    assert not odd_rows((folder, scans, seeds, None), {2: 1})


@pytest.mark.parametrize("axis", [0, 2])
def test_paint_in_gaps_is_looked_up_seed_by_seed_of_its_scan_and_in_no_time(monkeypatch, axis):
    n, rng = 400, np.random.default_rng(0)
    boxes = np.zeros((n, 6), np.int32)
    boxes[:, 3:] = 10
    boxes[:, [axis, axis + 3]] += 12 * np.arange(n, dtype=np.int32)[:, None]
    ids, masks = np.arange(1, n + 1), np.ones((n, 8, 8, 8), np.bool_)
    gaps = {i: np.arange(512) for i in range(0, n, 2)}
    seeds = crops_io.SeedCrops(ids, 1 + ids % 4 // 3, boxes, ids, masks, masks, gaps=gaps)
    voxels = rng.integers(0, 10, (200_000, 3)).astype(np.int32)
    voxels[:, axis] = 12 * rng.integers(0, n, len(voxels)) + rng.integers(4, 6, len(voxels))
    voxels = voxels[voxels[:, axis] // 12 % 8 != 4]  # some seeds have no paint
    monkeypatch.setattr(known.Pace, "is_due", lambda _: True)
    scan = SimpleNamespace(scan=1, voxel_size_um=(1.0, 1.0, 1.0))
    start = time.thread_time()
    reports, found = finish(known._in_gaps(scan, seeds, voxels))
    assert time.thread_time() - start < 0.3
    mine = [i for i in gaps if seeds.scans[i] == 1]
    assert len(reports) == len(mine) == n // 4
    assert list(found) == [i for i in mine if i % 8 != 4]
    for i in list(found)[:5]:
        own = voxels[voxels[:, axis] // 12 == i]
        expected = cells_of(own, boxes[i], (8, 8, 8), crops_io.MARGIN)
        np.testing.assert_array_equal(found[i], expected)


class Caught(Exception):
    """What a training would have been given."""


def taught(monkeypatch, place, run, folder, **params):
    """Ids of the seeds that a method would learn as normal, and of those as odd."""

    def catch(folder, pool, members, *rest):
        raise Caught(pool, members)

    monkeypatch.setattr(place, "fit_all", catch)
    request = files.read_json(folder / "request.json")
    request["params"] |= params
    files.write_json(folder / "request.json", request)
    with pytest.raises(Caught) as caught:
        finish(run(folder))
    pool, members = caught.value.args
    return {*(members + 1).tolist()}, {row + 1 for row in pool.odd}


@pytest.mark.parametrize("method", [fcdd, vae, distance])
def test_a_painted_seed_teaches_no_method_that_its_defect_is_normal(job, monkeypatch, method):
    normal, odd = taught(monkeypatch, refits, method.run, job[0])
    assert normal == {*range(1, N + 1)} - {PAINTED, ANSWERED}
    assert odd == {PAINTED, ANSWERED}


def test_a_painted_seed_of_a_cube_is_not_normal(tmp_path, monkeypatch):
    cube, regions = tray(odd=(4, 11))
    folder = cube_job(tmp_path / "job", cube, regions, "fcdd")
    files.save_arrays(folder / "painted-1.npz", voxel=np.argwhere(regions == 4)[:30].astype(np.int32))
    normal, odd = taught(monkeypatch, scenes, fcdd.run, folder)
    assert normal == {*range(1, 17)} - {4}
    assert odd == {4}


def test_where_chosen_seeds_teach_no_odd_one_does(job, monkeypatch):
    chosen = [1, 2, 3, 4, PAINTED, 6, 7, 8, 10]
    normal, odd = taught(monkeypatch, refits, fcdd.run, job[0], teachers=chosen)
    assert normal == {*chosen} - {PAINTED}
    assert odd == set()


def test_other_views_of_an_odd_seed_teach_nothing_and_eight_seeds_are_needed(job):
    seeds = replace(job[2], seeds=np.array([1, *range(1, N)]))  # two rows of seed 1
    assert normal_members(seeds, {0}).tolist() == list(range(2, N))
    with pytest.raises(NotReady, match="7 seeds may be normal, 8"):
        normal_members(job[2], range(5))


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
    """AUC over all kinds and of the dense one, by a fit on all grains that knows the first `extra` ones.

    What it does not know is part of what may be normal, as in a job.
    """
    pool = Pool(*(np.concatenate([train[k], extra[k]]) for k in (0, 1)))
    pool.odd = {len(train[0]) + i: cells for i, cells in enumerate(odd)}
    tested = Pool(*test[:2])
    tested.spread = pool.spread
    settings = fcdd.FCDDSettings(size=24, n_steps=300, precision="float32")
    ids = np.arange(len(pool))
    seeds = crops_io.SeedCrops(ids, ids * 0, np.zeros((len(pool), 6)), ids, pool.crops, pool.masks)
    fit = fcdd.new_trainer(pool, normal_members(seeds, pool.odd), settings, random_state)
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
