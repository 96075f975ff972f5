"""Fitted methods of oddness on planes of one or several channels."""

import numpy as np
import planes
import pytest
from grains import one_thread  # noqa: F401
from job_folders import finish, raw_source, table_of, write_job
from sklearn.metrics import roc_auc_score

from napari_seedlab import files
from napari_seedlab.core import InputError
from napari_seedlab.learn import distance, fcdd, pasting, vae
from napari_seedlab.learn.heat import scores
from napari_seedlab.learn.pool import Pool

METHODS = {"fcdd": fcdd, "vae": vae, "distance": distance}
SMALL = {"size": 32, "n_steps": 6, "n_fits": 2, "batch": 8, "precision": "float32", "device": "cpu"}


def plane_job(folder, n_channels=1, n=12, size=32):
    crops, masks, _, _ = planes.grains(n, 5, ("", "", "", "spot"), n_channels)
    plane, regions = planes.sheet(crops, masks)
    settings = {**SMALL, "size": size}
    return write_job(
        folder, "fcdd", plane, regions, random_state=3, modality="image", settings=settings
    ), regions


@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_the_job_writes_scores_and_heat_of_a_plane(tmp_path, method, n_channels):
    folder, regions = plane_job(tmp_path / "a", n_channels)
    again, _ = plane_job(tmp_path / "b", n_channels)
    _, result = finish(METHODS[method].run(folder))
    finish(METHODS[method].run(again))
    assert set(result.files) == {f"{method}.safetensors", "scores.npz", "heat-1.zarr"}
    heat = files.open_zarr(folder / "heat-1.zarr")[:]
    assert heat.shape == regions.shape
    assert heat.dtype == np.uint8
    assert heat[regions > 0].all()
    assert not heat[regions == 0].any()
    assert len(np.unique(heat)) > 20
    out = files.load_arrays(folder / "scores.npz")
    assert out["seed"].tolist() == list(range(1, 13))
    assert np.isfinite(out["score"]).all()
    assert (folder / "scores.npz").read_bytes() == (again / "scores.npz").read_bytes()


def test_planes_get_larger_crops_than_volumes(tmp_path, monkeypatch):
    edges = []
    original = fcdd.new_trainer

    def spy(pool, *rest):
        edges.append(pool.crops.shape[1:])
        return original(pool, *rest)

    monkeypatch.setattr(fcdd, "new_trainer", spy)
    folder, _ = plane_job(tmp_path / "a", 3, size=0)
    finish(fcdd.run(folder))
    assert edges[0] == (3, 64, 64)
    assert (fcdd.FCDDSettings().sized("volume").size, vae.VAESettings().sized("volume").size) == (28, 24)


@pytest.mark.parametrize("change, line", [("volume", "a plane and scan"), ("channels", "channels and scan")])
def test_scans_that_are_not_alike_are_one_line(tmp_path, change, line):
    folder, regions = plane_job(tmp_path / "a", 3)
    request = files.read_json(folder / "request.json")
    other = (3, *regions.shape[1:]) if change == "volume" else regions.shape
    stack = np.ascontiguousarray(np.broadcast_to(regions, other))
    table = table_of(stack)
    files.save_arrays(folder / "regions-2.npz", **{**table.columns(), "scan": np.array([2])})
    image = np.zeros(other, np.float32)
    entry = {
        **request["params"]["scans"][0],
        "scan": 2,
        "table": "regions-2.npz",
        "image": raw_source(folder / "image-2.raw", image),
        "regions": raw_source(folder / "regions-2.raw", stack),
    }
    request["params"]["scans"].append(entry)
    files.write_json(folder / "request.json", request)
    with pytest.raises(InputError, match=line):
        finish(fcdd.run(folder))


@pytest.mark.parametrize("n_channels", [1, 3])
def test_pasted_defects_stay_inside_a_plane_and_change_it(n_channels):
    crops, masks, _, _ = planes.grains(1, 0, n_channels=n_channels)
    n_changed = 0
    for state in range(8):
        depth = pasting.depth_map(masks[0])
        pasted, defect = pasting.paste(np.random.default_rng(state), crops[0], masks[0], depth)
        assert pasted.shape == crops[0].shape
        assert not (defect & ~masks[0]).any()
        np.testing.assert_array_equal(pasted[:, ~masks[0]], crops[0][:, ~masks[0]])
        n_changed += bool(np.abs(pasted - crops[0])[:, defect].any())
    assert n_changed >= 6


def fitted(method, n_channels, state, n=120, **kind):
    """Areas of scores of unseen grains by one fit, by the untrained net, and by the best plain statistic."""
    train = planes.grains(n, 100 + state, n_channels=n_channels)
    test = planes.grains(100, 200 + state, planes.TEST_KINDS, n_channels)
    pool, unseen = Pool(*train[:2]), Pool(*test[:2])
    unseen.spread = pool.spread
    settings = SETTINGS[method](precision="float32", **kind)
    learner = fcdd if method == "distance" else METHODS[method]
    rows = np.arange(len(pool))
    fit = learner.new_trainer(pool, rows, settings, state)
    odd = test[3] != ""

    def area(model):
        heat = np.concatenate([h for _, h in learner.heat_maps(model, unseen)])
        return roc_auc_score(odd, scores(heat, unseen.masks)), heat

    untrained, _ = area(fit.model)
    for _ in range(settings.n_steps):
        fit.step()
    model = fit.model
    if method == "distance":
        model = distance.remember(model, pool, rows, settings, state)
    trained, heat = area(model)
    cells = unseen.masks[odd]
    return {
        "area": trained,
        "voxels": roc_auc_score(test[2][odd][cells], heat[odd][cells]),
        "untrained": untrained,
        "plain": max(roc_auc_score(odd, b) for b in plain_scores(*test[:2])),
    }


def plain_scores(crops, masks):
    """Six plain statistics of the grey values inside each grain, and their opposites."""
    functions = (
        np.std,
        np.mean,
        np.max,
        np.min,
        lambda v: np.std(v) / np.mean(v),
        lambda v: np.ptp(np.percentile(v, (1, 99))),
    )
    found = [[float(f(c.mean(0)[m])) for c, m in zip(crops, masks, strict=True)] for f in functions]
    return [*found, *(np.negative(f) for f in found)]


SETTINGS = {"fcdd": fcdd.FCDDSettings, "vae": vae.VAESettings, "distance": distance.DistanceSettings}


def test_a_short_training_finds_defects_that_nothing_plain_finds():
    found = fitted("fcdd", 1, 0, n_steps=220)
    assert found["area"] >= 0.9
    assert found["voxels"] >= 0.85
    assert max(found["untrained"], found["plain"]) < 0.85


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize(
    "method, least, least_cells", [("fcdd", 0.90, 0.90), ("vae", 0.95, 0.90), ("distance", 0.90, 0.80)]
)
def test_gates_on_planes(method, least, least_cells, n_channels):
    found = [fitted(method, n_channels, state) for state in range(3)]
    print(method, n_channels, {key: [round(float(f[key]), 3) for f in found] for key in found[0]})
    assert np.median([f["area"] for f in found]) >= least
    assert min(f["area"] for f in found) >= 0.85
    assert np.median([f["voxels"] for f in found]) >= least_cells
    assert min(f["area"] - max(f["untrained"], f["plain"]) for f in found) >= 0.10
