"""Thousands of small seeds are cut from a few reads, and seeds of a few voxels break nothing."""

import numpy as np
import pytest

from napari_seedlab import files
from napari_seedlab.learn import crops_io, embedding, fcdd, net, refits
from tests.learn.job_folders import finish, table_of, write_job


def specks(n=60, shape=(80, 40, 40), random_state=0):
    """A noisy scan (z, y, x) uint8 with `n` regions of 1 to 8 voxels in any order."""
    rng = np.random.default_rng(random_state)
    volume = rng.normal(20, 3, shape)
    regions = np.zeros(shape, np.int32)
    for i in rng.permutation(n) + 1:
        z, y, x = (int(rng.integers(0, m - 2)) for m in shape)
        box = (slice(z, z + 1 + i % 2), slice(y, y + 1 + i // 2 % 2), slice(x, x + 1 + i // 4 % 2))
        regions[box] = i
        volume[box] = 150
    return volume.clip(0, 255).astype(np.uint8), regions


class Counted:
    """An array that counts how often it is read."""

    def __init__(self, array):
        self._array, self.n = array, 0
        self.shape, self.dtype, self.nbytes = array.shape, array.dtype, array.nbytes

    def __getitem__(self, key):
        self.n += 1
        return self._array[key]


def cut(volume, regions):
    table = table_of(regions)
    scan = crops_io.ScanInput(1, "ct", Counted(volume), Counted(regions), table, (1.0, 1.0, 1.0))
    _, seeds = finish(crops_io.cut_seeds([scan], 12, lambda scan: lambda crop, mask: crop))
    return scan, seeds


def test_small_neighbours_share_a_read_and_look_the_same(monkeypatch):
    volume, regions = specks()

    monkeypatch.setattr(crops_io, "SLAB_BYTES", 0)
    single, alone = cut(volume, regions)
    monkeypatch.setattr(crops_io, "SLAB_BYTES", 32 * 40 * 40)
    shared, together = cut(volume, regions)

    assert single.image.n == len(alone) >= 50
    assert shared.image.n <= 8
    np.testing.assert_array_equal(together.seeds, alone.seeds)
    np.testing.assert_array_equal(together.crops, alone.crops)
    np.testing.assert_array_equal(together.masks, alone.masks)


def test_seeds_of_few_voxels_are_cut_one_by_one(monkeypatch):
    volume, regions = specks(6)
    monkeypatch.setattr(crops_io, "SLAB_BYTES", 2 * 40 * 40)

    scan, seeds = cut(volume, regions)

    assert scan.image.n == len(seeds)


@pytest.fixture
def speck_job(tmp_path):
    def make(function, **params):
        volume, regions = specks()
        ids = np.unique(regions)[1:].tolist()
        labels = {s: 1 + s % 2 for s in ids[:12]}
        folder = write_job(tmp_path / "job", function, volume, regions, labels, class_ids=[1, 2], **params)
        return folder, ids

    return make


def test_seeds_of_few_voxels_have_finite_vectors(speck_job):
    folder, ids = speck_job("napari_seedlab.learn.embedding:run")

    finish(embedding.run(folder))

    out = files.load_arrays(folder / "vectors-descriptors.npz")
    assert out["seed"].tolist() == ids
    assert np.isfinite(out["vector"]).all()


def test_seeds_of_few_voxels_are_scored_and_painted(speck_job):
    folder, ids = speck_job(
        "napari_seedlab.learn.fcdd:run", settings={"n_steps": 3, "size": 12, "device": "cpu", "batch": 4}
    )

    _, result = finish(fcdd.run(folder))

    scores = files.load_arrays(folder / "scores.npz")
    assert scores["seed"].tolist() == ids
    assert np.isfinite(scores["score"]).all()
    heat = files.open_zarr(folder / "heat-1.zarr", "r")[...]
    regions = specks()[1]
    assert (heat[regions > 0] > 0).all() and not heat[regions == 0].any()
    assert result.values["n_seeds"] == len(ids)


def test_seeds_of_few_voxels_are_classified(speck_job):
    settings = {"size": 12, "fold_steps": 1, "final_steps": 2, "widths": [4], "batch": 4, "device": "cpu"}
    folder, ids = speck_job("napari_seedlab.learn.net:run", settings=settings)

    finish(net.run(folder))

    out = files.load_arrays(folder / "probabilities.npz")
    assert out["seed"].tolist() == ids
    np.testing.assert_allclose(out["p"].sum(1), 1, atol=1e-5)


def test_many_seeds_do_not_make_the_training_pool_larger(speck_job, monkeypatch):
    folder, _ = speck_job(
        "napari_seedlab.learn.fcdd:run", settings={"n_steps": 2, "size": 12, "device": "cpu"}
    )
    monkeypatch.setattr(refits, "MAX_MEMBERS", 10)
    sizes = []
    original = fcdd.new_trainer

    def spy(pool, members, *rest):
        sizes.append(len(members))
        return original(pool, members, *rest)

    monkeypatch.setattr(fcdd, "new_trainer", spy)
    finish(fcdd.run(folder))

    assert sizes == [10, 10]
