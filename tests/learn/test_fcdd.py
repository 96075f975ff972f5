import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from grains import TEST_KINDS, grains, leave_out_a_crack, one_thread  # noqa: F401
from job_folders import finish, sheet, write_job
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import roc_auc_score

from napari_seedlab import files
from napari_seedlab.core import InputError, JobError, NotReady
from napari_seedlab.learn import fcdd, pasting, training
from napari_seedlab.learn.heat import Found, publish
from napari_seedlab.learn.heat import scores as heat_scores
from napari_seedlab.learn.pool import Pool


def trained_heat(train, test, settings, random_state):
    """Heat of test grains by one fit on nominal ones, and by the untrained net."""
    pool, tested = Pool(*train[:2]), Pool(*test[:2])
    tested.spread = pool.spread
    fit = fcdd.new_trainer(pool, np.arange(len(pool)), settings, random_state)
    untrained = heat_of(fit.model, tested)
    for _ in range(settings.n_steps):
        fit.step()
    return heat_of(fit.model, tested), untrained


def areas_of(heat, test):
    """AUC of the scores of all grains, and of the voxels inside the odd ones, all kinds."""
    odd = test[3] != ""
    inside = test[1][odd]
    of_voxels = roc_auc_score(test[2][odd][inside], heat[odd][inside])
    return roc_auc_score(odd, heat_scores(heat, test[1])), of_voxels


def heat_of(model, pool):
    return np.concatenate([heat for _, heat in fcdd.heat_maps(model, pool)])


def intensity_baselines(crops, masks):
    """AUC-ready scores of six plain statistics inside the grain."""
    functions = (
        np.std,
        np.mean,
        np.max,
        lambda v: -np.min(v),
        lambda v: np.std(v) / np.mean(v),
        lambda v: np.ptp(np.percentile(v, (1, 99))),
    )
    return [[float(f(c[0, m])) for c, m in zip(crops, masks, strict=True)] for f in functions]


def test_the_loss_is_the_formula_of_the_paper():
    rng = np.random.default_rng(0)
    heat = rng.random((3, 4, 4, 4)).astype(np.float32)
    masks = rng.random(heat.shape) < 0.7
    defects = masks & (rng.random(heat.shape) < 0.2)
    defects[2] = False
    normal = [h for h, m, d in zip(heat.ravel(), masks.ravel(), defects.ravel(), strict=True) if m and not d]
    odd = [-math.log(1 - math.exp(-float(heat[i][defects[i]].mean())) + 1e-6) for i in (0, 1)]
    expected = sum(normal) / len(normal) + 0.5 * sum(odd) / 2
    normal = masks & ~defects
    found = fcdd.map_loss(*(torch.from_numpy(a) for a in (heat, normal, defects)))
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_the_score_is_the_mean_of_the_hottest_cells_of_the_seed_alone():
    heat = np.arange(2000, dtype=np.float32).reshape(2, 10, 10, 10)
    masks = np.zeros(heat.shape, bool)
    masks[0, :5] = True  # values 0..499: hottest 1 % are 495..499
    assert heat_scores(heat, masks).tolist() == [497.0, 0.0]


@pytest.mark.parametrize(("oddest", "top"), [(1.5, 3.0), (5.0, 5.0), (18.0, 6.0)])
def test_mild_heat_is_seen_beside_the_hottest(tmp_path, oddest, top):
    score = np.where(np.arange(50) < 40, 1.0, oddest).astype(np.float32)
    seeds = SimpleNamespace(seeds=np.arange(50))
    _, result = finish(publish(tmp_path, [], seeds, Found(np.zeros(0, np.float16), score), {}))
    assert result.values["scale"] == [0.0, top]


@pytest.mark.parametrize("random_state", range(6))
def test_pasted_defects_stay_inside_the_seed(random_state):
    crops, masks, _, _ = grains(1, random_state)
    crop, mask = crops[0], masks[0]
    pasted, defect = pasting.paste(np.random.default_rng(random_state), crop, mask, pasting.depth_map(mask))
    assert not (defect & ~mask).any()
    np.testing.assert_array_equal(pasted[:, ~mask], crop[:, ~mask])
    if defect.any():
        changed = np.abs(pasted - crop)[0]
        assert changed[defect].mean() > 3 * changed[mask & ~defect].mean()


def test_a_gap_all_round_does_not_make_the_sound_embryo_within_look_dense():
    crops, masks, _, _ = grains(30, 0, ("gap",))
    pool = Pool(crops, masks)
    shown = pool.shown(crops, masks)[:, 0].numpy()
    embryos = [np.median(x[pasting.depth_map(m) > 0.5]) for x, m in zip(shown, masks, strict=True)]
    assert np.max(np.abs(embryos)) < 0.5


def test_a_short_training_finds_defects_that_an_untrained_net_misses():
    train, test = grains(80, 100), grains(60, 200, TEST_KINDS)
    settings = fcdd.FCDDSettings(size=24, n_steps=110, precision="float32")
    trained, untrained = (areas_of(heat, test) for heat in trained_heat(train, test, settings, 0))
    assert max(untrained) < 0.85
    assert trained[0] >= 0.9
    assert trained[1] >= 0.85


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_gates_on_grains():
    trained, untrained, baseline = [], [], []
    for state in range(3):
        train, test = grains(120, 100 + state), grains(100, 200 + state, TEST_KINDS)
        settings = fcdd.FCDDSettings(size=24, n_steps=300, precision="float32")
        heats = trained_heat(train, test, settings, state)
        for kept, heat in zip((trained, untrained), heats, strict=True):
            kept.append(areas_of(heat, test))
        baseline.append(max(roc_auc_score(test[3] != "", b) for b in intensity_baselines(*test[:2])))
    (areas, voxels), (blind_areas, blind_voxels) = np.transpose(trained), np.transpose(untrained)
    print({"areas": areas.round(3), "voxels": voxels.round(3), "baseline": np.round(baseline, 3)})
    print({"untrained areas": blind_areas.round(3), "untrained voxels": blind_voxels.round(3)})
    assert np.median(areas) >= 0.93
    assert min(areas) >= 0.90
    assert np.median(voxels) >= 0.85
    assert np.median(areas - baseline) >= 0.04
    assert max(blind_areas) < 0.90
    assert np.median(blind_areas - baseline) < 0.04
    assert max(blind_voxels) < 0.85


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_gate_on_the_default_tray(tmp_path):
    from napari_seedlab.imaging.phantom import DEFAULT_TRAY, make_tray

    areas = []
    for state in range(4):
        phantom = make_tray(DEFAULT_TRAY.replace(random_state=state))
        folder = write_job(
            tmp_path / str(state), "fcdd", phantom.volume, phantom.instances, random_state=state
        )
        _, result = finish(fcdd.run(folder))
        arrays = files.load_arrays(folder / "scores.npz")
        class_of = dict(zip(phantom.table.id.tolist(), phantom.table.class_id.tolist(), strict=True))
        odd = [class_of[s] != 1 for s in arrays["seed"].tolist()]
        areas.append(roc_auc_score(odd, arrays["score"]))
        assert set(result.files) == {"fcdd.safetensors", "scores.npz", "heat-1.zarr"}
    print(np.round(areas, 3))
    assert np.mean(areas) >= 0.95
    assert min(areas) >= 0.92


SMALL = {"size": 16, "n_steps": 12, "n_fits": 2, "batch": 8, "precision": "float32", "device": "cpu"}


@pytest.fixture
def small_job(tmp_path):
    def make(name="job", labels=None, n=14, **settings):
        crops, masks, _, _ = grains(n, 5, ("", "", "", "dense"))
        volume, regions = sheet(crops, masks)
        return write_job(
            tmp_path / name, "fcdd", volume, regions, labels, random_state=3, settings={**SMALL, **settings}
        )

    return make


def test_the_job_writes_scores_and_one_scale_of_heat(small_job):
    folder = small_job()
    reports, result = finish(fcdd.run(folder))
    arrays = files.load_arrays(folder / "scores.npz")
    heat = files.open_zarr(folder / "heat-1.zarr")[:]
    regions = np.fromfile(folder / "regions.raw", np.int32).reshape(heat.shape)
    assert arrays["seed"].tolist() == list(range(1, 15))
    assert heat.dtype == np.uint8
    assert not heat[regions == 0].any()
    assert heat[regions > 0].all()
    hottest = [int(np.sort(heat[regions == s])[-30:].mean()) for s in arrays["seed"].tolist()]
    assert np.corrcoef(hottest, np.minimum(arrays["score"], result.values["scale"][1]))[0, 1] > 0.9
    assert result.values["scores_max"] == pytest.approx(float(arrays["score"].max()))
    assert any("loss" in r.figures for r in reports)
    assert max(r.done for r in reports if "loss" in r.figures) <= 24


def test_a_crack_that_the_region_leaves_out_is_scored_and_shown_on_its_walls(tmp_path, monkeypatch):
    crops, masks, _, _ = grains(10, 5)
    crack = leave_out_a_crack(crops, masks, 2)
    volume, regions = sheet(crops, masks)
    hot = 5.0

    def heat_maps(model, pool, members=None):
        part = np.arange(len(pool)) if members is None else members
        dark = pool.crops[part, 0] < 0.3
        yield part, (np.where(dark, hot, 1.0) * pool.masks[part]).astype(np.float32)

    monkeypatch.setattr(fcdd, "heat_maps", heat_maps)
    settings = {**SMALL, "size": 28, "n_steps": 1, "n_fits": 1}
    folder = write_job(tmp_path, "fcdd", volume, regions, random_state=3, settings=settings)
    _, result = finish(fcdd.run(folder))
    score = files.load_arrays(folder / "scores.npz")["score"]
    top = result.values["scale"][1]
    shown = files.open_zarr(folder / "heat-1.zarr")[:] * (top / 255)
    assert score[2] > 3 and np.delete(score, 2).max() < 2
    own = regions == 3
    assert shown[own].max() >= 0.95 * min(score[2], top)
    far = (distance_transform_edt(~crack) > 4) & (distance_transform_edt(masks[2]) > 2)
    np.testing.assert_allclose(shown[..., 48:72][far], 1, atol=0.02)
    assert not shown[regions == 0].any()


def test_the_same_random_state_gives_the_same_scores(small_job):
    first, second = small_job("a"), small_job("b")
    finish(fcdd.run(first))
    finish(fcdd.run(second))
    for name in ("scores.npz", "fcdd.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_stopped_job_goes_on_to_the_same_scores(small_job, monkeypatch):
    monkeypatch.setattr(training, "PAUSE", 0.0)
    monkeypatch.setattr(training.Pace, "is_due", lambda self: True)
    whole, stopped = small_job("whole"), small_job("stopped")
    finish(fcdd.run(whole))
    job = fcdd.run(stopped)
    n_reports = 0
    for report in job:
        n_reports += "loss" in report.figures
        if n_reports == 5:
            break
    job.close()
    assert (stopped / "checkpoint-0.safetensors").is_file()
    assert not (stopped / "scores.npz").exists()
    reports, _ = finish(fcdd.run(stopped))
    assert min(r.done for r in reports if "loss" in r.figures) == 6
    np.testing.assert_array_equal(
        files.load_arrays(whole / "scores.npz")["score"], files.load_arrays(stopped / "scores.npz")["score"]
    )


def test_seeds_labelled_as_anything_else_are_no_part_of_normal(small_job):
    folder = small_job(labels={1: 2, 4: 3, 5: 1}, n_steps=2)
    trained = []
    original = fcdd.new_trainer

    def spy(pool, members, *rest):
        trained.append(members.tolist())
        return original(pool, members, *rest)

    fcdd.new_trainer = spy
    try:
        finish(fcdd.run(folder))
    finally:
        fcdd.new_trainer = original
    assert trained[0] == [1, 2, *range(4, 14)]
    assert set(trained[1]) < set(trained[0])


@pytest.mark.parametrize("labels, n", [(None, 4), (dict.fromkeys(range(1, 13), 2), 14)], ids=["few", "odd"])
def test_too_few_normal_seeds_are_said_in_one_line(small_job, labels, n):
    with pytest.raises(NotReady, match="8 are needed"):
        finish(fcdd.run(small_job(labels=labels, n=n)))


def plain_trainer(loss, n_steps=8):
    model = torch.nn.Linear(2, 1)
    return training.Trainer("model", model, loss, training.Plan(n_steps, 0.1, 8, precision="float32"))


def test_a_loss_that_is_no_number_is_skipped_three_times_and_then_ends_the_training():
    trainer = plain_trainer(lambda model, step, batch: model.weight.sum() * (math.nan if step else 1.0))
    trainer.step()
    before = trainer.model.weight.detach().clone()
    for _ in range(3):
        trainer.step()
    assert torch.equal(trainer.model.weight, before)
    with pytest.raises(JobError, match="4 steps in a row"):
        trainer.step()


def test_a_full_device_halves_the_batch_three_times():
    batches = []

    def loss(model, step, batch):
        batches.append(batch)
        if batch > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return model.weight.sum()

    trainer = plain_trainer(loss)
    trainer.batch = 16
    trainer.step()
    assert batches == [16, 8, 4, 2]
    trainer.batch = 64
    with pytest.raises(JobError, match="does not fit"):
        trainer.step()


def test_other_errors_of_the_device_go_on():
    def loss(model, step, batch):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        plain_trainer(loss).step()


def test_a_model_that_went_astray_is_never_published(tmp_path):
    model = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(model.weight, math.nan)
    with pytest.raises(JobError, match="not numbers"):
        training.save_model(tmp_path / "net.safetensors", model, {})
    assert not list(tmp_path.iterdir())


def test_the_learning_rate_is_that_of_torch():
    n_steps, peak = 50, 5e-3
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, n_steps, cycle_momentum=False)
    for step in range(n_steps):
        assert training.one_cycle(step, n_steps, peak) == pytest.approx(schedule.get_last_lr()[0], rel=1e-6)
        optimizer.step()
        if step < n_steps - 1:
            schedule.step()


def test_a_device_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InputError, match="cuda"):
        training.pick_device("cuda")
