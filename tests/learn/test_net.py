import math

import numpy as np
import pytest
import torch
from grains import grains, one_thread  # noqa: F401
from job_folders import finish, sheet, table_of, write_job

from napari_seedlab import files
from napari_seedlab.core import InputError, JobRequest, NotReady
from napari_seedlab.learn import head, net, predict, training, transfer

SMALL = {
    "size": 16,
    "fold_steps": 6,
    "final_steps": 12,
    "batch": 8,
    "widths": [4, 8],
    "precision": "float32",
    "device": "cpu",
}


@pytest.fixture
def net_job(tmp_path):
    """A job over `n` grains, every second one with a cavity (class 2); all but 8 are labelled."""

    def make(name="job", labels=None, embedding=True, n=24, **settings):
        crops, masks, _, kinds = grains(n, 5, ("", "cavity"))
        volume, regions = sheet(crops, masks)
        said = {i + 1: 1 + (kinds[i] != "") for i in range(n - 8)} if labels is None else labels
        folder = write_job(
            tmp_path / name,
            "net",
            volume,
            regions,
            said,
            random_state=3,
            class_ids=[1, 2, 7],
            settings={**SMALL, **settings},
        )
        if embedding:
            vectors = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
            files.save_arrays(folder / "embedding.npz", seed=table_of(regions).seed, vector=vectors)
        return folder

    return make


def test_the_job_classifies_all_seeds_and_reports_against_chance(net_job):
    folder = net_job()
    reports, result = finish(net.run(folder))
    arrays = files.load_arrays(folder / "probabilities.npz")
    assert result.files == ("net.safetensors", "probabilities.npz", "losses.npz")
    assert arrays["seed"].tolist() == list(range(1, 25))
    assert arrays["p"].shape == (24, 3)
    np.testing.assert_allclose(arrays["p"].sum(1), 1, rtol=1e-5)
    figures = [r.figures for r in reports if r.figures]
    assert {"loss", "chance_loss", "expected_loss", "epoch"} == set(figures[0])
    assert {"loss", "chance_loss", "epoch"} == set(figures[-1])
    assert figures[0]["loss"] == result.values["first_loss"]
    assert figures[0]["expected_loss"] == pytest.approx(math.log(3))
    assert figures[0]["chance_loss"] == pytest.approx(math.log(2))
    assert max(r.done for r in reports if r.figures) <= 5 * 6 + 12
    assert result.values["first_loss"] == pytest.approx(math.log(3), rel=0.2)
    assert {"balanced_accuracy", "head", "difference", "standard_error", "activate"} <= set(result.values)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_trained_network_sees_what_a_useless_embedding_does_not(net_job):
    folder = net_job(n=48, size=24, fold_steps=250, final_steps=300, widths=[8, 16, 32])
    _, result = finish(net.run(folder))
    assert result.values["balanced_accuracy"] >= 0.8  # 0.90 ± 0.03 over 5 random states
    assert result.values["activate"]
    p = files.load_arrays(folder / "probabilities.npz")["p"]
    unseen = np.arange(40, 48)
    assert ((p[unseen, 1] > p[unseen, 0]) == (unseen % 2 == 1)).mean() >= 0.75


@pytest.mark.parametrize("way", ["earlier model", "look-alikes"])
def test_the_head_beside_the_network_is_fitted_as_the_live_model_is(tmp_path, way):
    is_prior = way == "earlier model"
    n_answers, n_columns, gap = (6, 40, 5.0) if is_prior else (16, 12, 1.6)
    rng, said = np.random.default_rng(0), 1 + np.arange(300) % 2
    vectors = rng.normal(size=(300, n_columns))
    vectors[:, 0] += gap * said
    vectors[:, 1] += 0 if is_prior else 4 * np.sin(np.arange(300))
    files.save_arrays(tmp_path / "embedding.npz", seed=np.arange(300), vector=vectors)
    answers = net.Answers.of({s: int(said[s]) for s in range(n_answers)}, np.arange(300), (1, 2))
    folds, params = np.arange(n_answers) // 2, {"class_names": ["a", "b"]}
    alone = net.Baselines.of(tmp_path, answers, folds, params).head
    if is_prior:
        earlier = head.fit_head(vectors, said, (1, 2), head.pool_scaler(vectors))
        columns = transfer.head_columns(earlier)
        files.save_arrays(tmp_path / "prior.npz", **columns, names=np.asarray(["a", "b"]))
    params["semi_supervised"] = not is_prior
    found = net.Baselines.of(tmp_path, answers, folds, params).head
    assert (found != alone).any()
    assert not is_prior or (found == answers.columns).all()


def test_without_a_baseline_nothing_is_activated(net_job):
    _, result = finish(net.run(net_job(embedding=False)))
    assert result.values["head"] is None
    assert result.values["activate"] is False


def test_the_same_random_state_gives_the_same_probabilities(net_job):
    first, second = net_job("a"), net_job("b")
    finish(net.run(first))
    finish(net.run(second))
    assert (first / "probabilities.npz").read_bytes() == (second / "probabilities.npz").read_bytes()


def test_a_stopped_job_goes_on_to_the_same_probabilities(net_job, monkeypatch):
    monkeypatch.setattr(training.Pace, "is_due", lambda self: True)
    whole, stopped = net_job("whole"), net_job("stopped")
    finish(net.run(whole))
    job = net.run(stopped)
    for report in job:
        if report.figures and report.done == 9:  # in the second fold
            break
    job.close()
    assert not (stopped / "probabilities.npz").exists()
    reports, _ = finish(net.run(stopped))
    assert min(r.done for r in reports if r.figures) == 10
    np.testing.assert_array_equal(
        files.load_arrays(whole / "probabilities.npz")["p"],
        files.load_arrays(stopped / "probabilities.npz")["p"],
    )


@pytest.mark.parametrize(
    "labels",
    [{}, {1: 1, 2: 1, 3: 1}, {1: 1, 2: 1, 3: 2}, {90: 1, 91: 1, 92: 2, 93: 2}],
    ids=["none", "one class", "one answer", "unknown seeds"],
)
def test_too_few_answers_are_said_in_one_line(net_job, labels):
    with pytest.raises(NotReady, match="2 classes are needed"):
        finish(net.run(net_job(labels=labels)))


def test_predict_repeats_what_the_training_published(net_job, tmp_path):
    folder = net_job()
    finish(net.run(folder))
    again = write_again(folder, tmp_path / "again")
    _, result = finish(predict.run(again))
    np.testing.assert_allclose(
        files.load_arrays(again / "probabilities.npz")["p"],
        files.load_arrays(folder / "probabilities.npz")["p"],
        atol=1e-6,
    )
    assert result.values == {"n_seeds": 24, "class_ids": [1, 2, 7]}


def write_again(folder, target):
    target.mkdir()
    request = files.read_json(folder / "request.json")
    params = {
        "scans": request["params"]["scans"],
        "weights": str(folder / "net.safetensors"),
        "device": "cpu",
    }
    files.write_json(target / "request.json", JobRequest("p", "predict", params).to_json())
    files.save_arrays(target / "regions-1.npz", **files.load_arrays(folder / "regions-1.npz"))
    return target


def test_weights_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "fcdd.safetensors"
    training.save_tensors(path, {"a": torch.zeros(1)}, {"kind": "fcdd"})
    with pytest.raises(InputError, match="no network"):
        predict.load_net(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a model file"):
        predict.load_net(path)


def test_the_difference_counts_every_class_alike():
    said = np.array([0] * 8 + [1] * 2)
    ours = np.array([0] * 8 + [1, 0])
    theirs = np.array([0] * 4 + [1] * 4 + [0, 0])
    comparison = net.compare(said, ours, theirs)
    assert comparison.net == pytest.approx(0.75)
    assert comparison.baseline == pytest.approx(0.25)
    assert comparison.difference == pytest.approx(0.5)
    first, second = [0] * 4 + [1] * 4, [1, 0]
    variance = (np.var(first, ddof=1) / 8 + np.var(second, ddof=1) / 2) / 4
    assert comparison.error == pytest.approx(math.sqrt(variance))


@pytest.mark.parametrize(
    "ours, theirs, expected",
    [
        (np.arange(40) % 2, np.zeros(40, int), True),
        (np.arange(40) % 2, np.arange(40) % 2, False),
        (np.zeros(40, int), np.arange(40) % 2, False),
        (np.where(np.arange(40) < 1, 1 - np.arange(40) % 2, np.arange(40) % 2), np.arange(40) % 2, False),
    ],
    ids=["ahead", "level", "behind", "one behind"],
)
def test_the_network_is_activated_only_when_it_is_ahead(ours, theirs, expected):
    assert net.compare(np.arange(40) % 2, ours, theirs).activate is expected


@pytest.mark.parametrize(("knn", "is_used"), [(0.0, True), (1.0, False)])
def test_a_network_behind_the_nearest_answers_is_not_used(net_job, knn, is_used, monkeypatch):
    monkeypatch.setattr(net.Comparison, "activate", property(lambda self: True))
    found = {"majority": 0.5, "knn": knn, "head": 0.5}
    monkeypatch.setattr(net.Baselines, "figures", lambda self, columns: found)
    _, result = finish(net.run(net_job(fold_steps=1, final_steps=1)))
    assert result.values["balanced_accuracy"] < 1 and result.values["activate"] is is_used


def test_guesses_are_not_activated():
    rng = np.random.default_rng(0)
    said = rng.integers(0, 2, 60)
    activated = [
        net.compare(said, rng.integers(0, 2, 60), rng.integers(0, 2, 60)).activate for _ in range(200)
    ]
    assert np.mean(activated) <= 0.05


def test_a_seed_in_two_scans_gets_the_mean():
    seeds, means = net.seed_means(np.array([[1.0, 3], [5, 5], [3, 5]]), np.array([4, 2, 4]))
    assert seeds.tolist() == [2, 4]
    assert means.tolist() == [[5, 5], [2, 4]]


def test_augmentation_keeps_the_mask_and_what_is_outside_it():
    crops, masks, _, _ = grains(2, 0)
    inputs = net.network_input(crops, masks)
    out = net.augmented(inputs, np.random.default_rng(0))
    assert out[:, 1].sum() == inputs[:, 1].sum()
    assert not out[:, 0][out[:, 1] == 0].any()
    assert float((out[:, 0].mean() - inputs[:, 0].mean()).abs()) < 0.3
    assert not torch.equal(out, inputs)
