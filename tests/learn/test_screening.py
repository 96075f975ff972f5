"""The baseline CNN and the seed network on planes: what they take, and how well they do it."""

import time

import numpy as np
import pytest
from grains import grains, one_thread  # noqa: F401
from job_folders import finish, sheet, write_job
from phenotypes import CLASSES, phenotypes
from planes import grains as plane_grains
from planes import sheet as plane_sheet
from sklearn.linear_model import LogisticRegression

from napari_seedlab import files
from napari_seedlab.core import InputError
from napari_seedlab.learn import crops_io, net, net_input, predict
from napari_seedlab.models.screening_cnn import ScreeningCNN
from napari_seedlab.models.seed_cnn import SeedCNN

FAST = {"fold_steps": 1, "final_steps": 2, "batch": 8, "widths": [4, 8], "device": "cpu", "size": 40}
N_TAUGHT, N_FRESH = 400, 200


def plane_job(folder, n_channels, n=12, modality="image", **settings):
    crops, masks, _, kinds = plane_grains(n, 3, ("", "spot"), min(n_channels, 3))
    crops = np.concatenate([crops] * -(-n_channels // crops.shape[1]), 1)[:, :n_channels]
    said = {i + 1: 1 + (kinds[i] != "") for i in range(n)}
    return write_job(
        folder, "net", *plane_sheet(crops, masks), said, modality=modality, class_ids=[1, 2],
        settings={**FAST, **settings},
    )  # fmt: skip


@pytest.mark.parametrize("kind, model", [("seed", SeedCNN), ("screening", ScreeningCNN)])
@pytest.mark.parametrize("n_channels, modality", [(1, "image"), (3, "image"), (24, "hsi")])
def test_planes_of_any_channels_are_learnt_and_predicted(kind, model, n_channels, modality, tmp_path):
    folder = plane_job(tmp_path / "a", n_channels, modality=modality, kind=kind)
    reports, result = finish(net.run(folder))
    saved = predict.load_net(folder / "net.safetensors")
    assert type(saved.model) is model
    assert saved.shape == (n_channels, 2)
    assert saved.model.config.n_inputs == n_channels + 1
    before = files.load_arrays(folder / "probabilities.npz")
    request = files.read_json(folder / "request.json")
    request["params"]["weights"] = "net.safetensors"
    files.write_json(folder / "request.json", request)
    finish(predict.run(folder))
    after = files.load_arrays(folder / "probabilities.npz")
    np.testing.assert_allclose(after["p"], before["p"], atol=1e-5)
    need = 12 * (2 * n_channels + 1) * 40**2
    assert result.values["memory_gib"] == pytest.approx(need / 2**30)
    assert f"{need / 2**20:.1f} MiB of memory" in reports[0].message


def test_volumes_get_the_twin_of_the_baseline(tmp_path):
    crops, masks, _, kinds = grains(12, 5, ("", "cavity"))
    said = {i + 1: 1 + (kinds[i] != "") for i in range(12)}
    settings = {"kind": "screening", "fold_steps": 1, "final_steps": 1, "device": "cpu", "widths": [4, 8]}
    folder = write_job(tmp_path / "v", "net", *sheet(crops, masks), said, class_ids=[1, 2], settings=settings)
    finish(net.run(folder))
    saved = predict.load_net(folder / "net.safetensors")
    assert type(saved.model) is SeedCNN and saved.shape == (1, 3) and saved.settings.size == 24


def test_another_number_of_channels_is_refused_in_one_line(tmp_path):
    folder = plane_job(tmp_path / "a", 3)
    finish(net.run(folder))
    other = plane_job(tmp_path / "b", 4)
    request = files.read_json(other / "request.json")
    request["params"]["weights"] = str(folder / "net.safetensors")
    files.write_json(other / "request.json", request)
    with pytest.raises(InputError, match="saw planes of 3 channels, these scans are planes of 4 channels"):
        finish(predict.run(other))


def test_crops_that_do_not_fit_are_refused_before_they_are_cut(tmp_path, monkeypatch):
    folder = plane_job(tmp_path / "a", 24, modality="hsi")
    tight = type("Memory", (), {"available": 700_000})
    monkeypatch.setattr(net_input.psutil, "virtual_memory", lambda: tight)
    with pytest.raises(InputError, match="24 channels take"):
        finish(net.run(folder))


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match="'resnet': is not known"):
        finish(net.run(plane_job(tmp_path / "a", 3, kind="resnet")))


def test_seeds_classified_a_few_at_a_time_are_classified_alike(tmp_path, monkeypatch):
    folder = plane_job(tmp_path / "a", 3, n=40)
    finish(net.run(folder))
    whole = files.load_arrays(folder / "probabilities.npz")
    request = files.read_json(folder / "request.json")
    request["params"]["weights"] = "net.safetensors"
    files.write_json(folder / "request.json", request)
    monkeypatch.setattr(net_input, "CHUNK_BYTES", 1)
    finish(predict.run(folder))
    parts = files.load_arrays(folder / "probabilities.npz")
    assert parts["seed"].tolist() == whole["seed"].tolist()
    np.testing.assert_allclose(parts["p"], whole["p"], atol=1e-5)


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """600 phenotypes as a network gets them, and their classes."""
    crops, masks, kinds = phenotypes(N_TAUGHT + N_FRESH, 0)
    folder = write_job(
        tmp_path_factory.mktemp("phenotypes") / "job", "net", *plane_sheet(crops, masks), modality="image"
    )
    params = crops_io.read_request(folder).params
    cutter = net_input.Cutter(crops_io.read_scans(folder, params), 72)
    return finish(cutter.cut(np.arange(len(kinds))))[1], kinds


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_baseline_tells_phenotypes_that_channel_means_do_not(cut):
    crops, kinds = cut
    taught, fresh = np.arange(N_TAUGHT), np.arange(N_TAUGHT, N_TAUGHT + N_FRESH)
    means = np.stack(
        [c[:, m].astype(np.float32).mean(1) for c, m in zip(crops.crops, crops.masks, strict=True)]
    )
    linear = LogisticRegression(max_iter=2000).fit(means[taught], kinds[taught])
    assert 1 - linear.score(means[fresh], kinds[fresh]) >= 0.4

    begun = time.process_time()
    settings = net.NetSettings(kind="screening", device="cpu").filled(2)
    trainer = net.new_trainer(crops, taught, kinds[taught], settings, (0, 0, len(CLASSES)))
    while trainer.n_done < trainer.plan.n_steps:
        trainer.step()
    seconds = time.process_time() - begun
    wrong = net.row_logits(trainer.model, crops, fresh).argmax(1) != kinds[fresh]
    print(f"error {wrong.mean():.3f}, {seconds:.0f} s of one core")
    assert wrong.mean() <= 0.10
    assert seconds < 120


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_wrong_labels_have_the_largest_losses(tmp_path):
    random_state = 0  # 1.00 of them for 0 and for 1
    crops, masks, kinds = phenotypes(300, random_state)
    rng = np.random.default_rng(random_state)
    flipped = rng.choice(300, 15, replace=False)
    said = kinds.copy()
    said[flipped] = (said[flipped] + rng.integers(1, 4, 15)) % 4
    folder = write_job(
        tmp_path / "job", "net", *plane_sheet(crops, masks), {i + 1: int(c) + 1 for i, c in enumerate(said)},
        modality="image", class_ids=[1, 2, 3, 4], random_state=random_state,
        settings={"fold_steps": 250, "final_steps": 1, "device": "cpu"},
    )  # fmt: skip
    finish(net.run(folder))
    losses = files.load_arrays(folder / "losses.npz")
    assert (np.diff(losses["loss"]) <= 0).all()
    top = set(losses["seed"][:30].tolist())
    share = len(top & set((flipped + 1).tolist())) / 15
    print(f"{share:.2f} of the flipped labels among the tenth with the largest loss")
    assert share >= 0.7
