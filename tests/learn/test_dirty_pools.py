"""What defects that nobody has labelled do to the seeds that an anomaly network learns from."""

import numpy as np
import pytest
from grains import DEFECTS, grains, one_thread  # noqa: F401
from job_folders import finish
from sklearn.metrics import roc_auc_score

from napari_seedlab.learn import fcdd
from napari_seedlab.learn.pool import Pool
from napari_seedlab.learn.refits import Method, fit_all

N_TRAINED = 120
JUDGED = tuple(kind for defect in DEFECTS for kind in ("", defect))
METHOD = Method("fcdd", "", fcdd.new_trainer, fcdd.heat_maps)


def areas_of(folder, state, share, n_judged=120, **settings):
    """AUC of fresh grains, of all kinds together and of each, after all fits on a pool with odd grains in it.

    `share` of the pool is odd, the kinds in turn; the networks never see a label or a judged grain.
    """
    folder.mkdir(exist_ok=True)
    n_odd = round(share * N_TRAINED)
    sound, odd = grains(N_TRAINED - n_odd, 100 + state), grains(max(n_odd, 1), 300 + state, DEFECTS)
    judged = grains(n_judged, 200 + state, JUDGED)
    parts = [sound, tuple(a[:n_odd] for a in odd), judged]
    pool = Pool(*(np.concatenate([p[k] for p in parts]) for k in (0, 1)))
    wanted = fcdd.FCDDSettings(size=24, device="cpu", **settings)
    found, _ = finish(fit_all(folder, pool, np.arange(N_TRAINED), METHOD, wanted, state))[1]
    score, kind = found.score[N_TRAINED:], judged[3]
    return {
        name: float(roc_auc_score(kind[rows] != "", score[rows]))
        for name in ("all", *DEFECTS)
        for rows in [(kind == "") | (kind == name) | (name == "all")]
    }


def test_odd_grains_in_a_small_pool_do_not_blind_a_short_training(tmp_path):
    assert areas_of(tmp_path, 0, 0.15, 60, n_steps=60)["all"] >= 0.8


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("share", "least"), [(0.0, 0.97), (0.05, 0.96), (0.15, 0.96)])
def test_gates_of_dirty_pools(tmp_path, share, least):
    found = [areas_of(tmp_path / str(state), state, share) for state in range(2)]
    print(share, {name: [round(f[name], 3) for f in found] for name in found[0]})
    assert min(f["all"] for f in found) >= least  # mean − 3 sd of five states
