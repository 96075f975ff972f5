import numpy as np
import pytest
import torch
from grains import TEST_KINDS, grains, one_thread  # noqa: F401
from job_folders import finish, sheet, write_job
from sklearn.metrics import roc_auc_score

from napari_seedlab import files
from napari_seedlab.learn import distance, fcdd
from napari_seedlab.learn.heat import scores
from napari_seedlab.learn.pool import Pool
from napari_seedlab.models.fcdd import FCDD
from napari_seedlab.models.memory_bank import MemoryBank, features, inner_cells, k_center


def test_k_center_takes_the_farthest_each_time():
    rows = torch.tensor([[0.0], [1.0], [10.0], [9.0], [5.0]])
    assert k_center(rows, 3).tolist() == [0, 2, 4]
    assert k_center(rows, 99).tolist()[:3] == [0, 2, 4]


@torch.inference_mode()
def test_what_is_in_the_bank_is_at_no_distance():
    torch.manual_seed(0)
    trunk, crops = FCDD().eval(), torch.randn(2, 1, 8, 8, 8)
    found = features(trunk, crops).movedim(1, -1).flatten(0, -2)
    centre, spread = found.mean(0), found.std(0)
    bank = MemoryBank(trunk, centre, spread, (found - centre) / spread)
    assert float(bank.heat(crops).max()) < 1e-2
    far = bank.heat(crops + 3 * torch.randn_like(crops))
    assert float(far.min()) >= 0
    assert float(far.mean()) > 0.3


def test_a_cell_is_in_the_seed_from_three_tenths_on():
    masks = torch.zeros(1, 1, 4, 4, 4, dtype=torch.bool)
    masks[0, 0, 0, 0, :2] = True  # two of eight voxels of the first cell
    masks[0, 0, 2:, 2:, 2:] = True
    assert inner_cells(masks).nonzero().tolist() == [[0, 1, 1, 1]]
    masks[0, 0, 0, 1, 0] = True
    assert inner_cells(masks).sum() == 2


def areas_of(state, n_steps, n=120):
    train, test = grains(n, 100 + state), grains(100, 200 + state, TEST_KINDS)
    pool, unseen = Pool(*train[:2]), Pool(*test[:2])
    unseen.spread = pool.spread
    settings = distance.DistanceSettings(size=24, n_steps=n_steps, precision="float32")
    rows = np.arange(len(pool))
    fit = fcdd.new_trainer(pool, rows, settings, state)
    for _ in range(n_steps):
        fit.step()
    bank = distance.remember(fit.model, pool, rows, settings, state)
    heat = np.concatenate([h for _, h in fcdd.heat_maps(bank, unseen)])
    odd = test[3] != ""
    cells = unseen.masks[odd]
    return {
        "area": roc_auc_score(odd, scores(heat, unseen.masks)),
        "voxels": roc_auc_score(test[2][odd][cells], heat[odd][cells]),
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_gates_on_grains():
    found = [areas_of(state, 200) for state in range(3)]
    print({key: [round(f[key], 3) for f in found] for key in found[0]})
    assert min(f["area"] for f in found) >= 0.93
    assert np.median([f["voxels"] for f in found]) >= 0.79


def test_a_short_training_finds_defects():
    assert areas_of(0, 40, 60)["area"] >= 0.88


def test_the_job_writes_scores_and_heat_twice_alike(tmp_path):
    crops, masks, _, _ = grains(14, 5, ("", "", "", "dense"))
    volume, regions = sheet(crops, masks)
    small = {"size": 16, "n_steps": 8, "n_fits": 2, "batch": 8, "precision": "float32", "device": "cpu"}
    folders = [
        write_job(tmp_path / name, "distance", volume, regions, random_state=3, settings=small)
        for name in "ab"
    ]
    (_, result), _ = (finish(distance.run(folder)) for folder in folders)
    assert set(result.files) == {"distance.safetensors", "scores.npz", "heat-1.zarr"}
    for name in ("scores.npz", "distance.safetensors"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    heat = files.open_zarr(folders[0] / "heat-1.zarr")[:]
    assert heat[regions > 0].all()
    assert not heat[regions == 0].any()
