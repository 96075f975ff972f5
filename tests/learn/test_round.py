import json

import numpy as np
import pytest

from napari_seedlab.core import InputError, JobRequest, Progress
from napari_seedlab.files import load_arrays, read_json, save_arrays, write_json
from napari_seedlab.learn.head import load_head
from napari_seedlab.learn.round import Answers, RoundSettings, labelling_round, run

SETTINGS = RoundSettings((1, 2, 3), ("normal", "abnormal", "dead"), n=10, model_id="head-1")


def pool(n=150, d=6):
    rng = np.random.default_rng(0)
    truth = np.arange(n) % 3 + 1
    return np.arange(n, dtype=np.int64) + 500, 3 * np.eye(d)[truth] + rng.normal(size=(n, d)), truth


def answers(seeds, truth, rows, p=1.0):
    rows = np.asarray(rows)
    return Answers(seeds[rows], truth[rows].astype(np.int32), np.full(len(rows), p))


def drain(job):
    steps = []
    while True:
        try:
            steps.append(next(job))
        except StopIteration as end:
            return steps, end.value


def test_without_answers_there_are_suggestions_alone():
    seeds, x, _ = pool()
    result = labelling_round(seeds, x, Answers.none(), SETTINGS)
    assert result.head is None and result.probabilities is None
    assert {s.strategy for s in result.suggestions} == {"typiclust"}
    assert all(s.model_id == "" for s in result.suggestions)


def test_answers_give_a_model_that_predicts_every_seed():
    seeds, x, truth = pool()
    result = labelling_round(seeds, x, answers(seeds, truth, range(30)), SETTINGS)
    assert result.probabilities.shape == (150, 3)
    np.testing.assert_allclose(result.probabilities.sum(1), 1.0, rtol=1e-5)
    assert (result.probabilities.argmax(1) + 1 == truth).mean() > 0.9
    assert {s.model_id for s in result.suggestions} == {"head-1"}


def test_answered_and_skipped_seeds_are_not_asked():
    seeds, x, truth = pool()
    given = answers(seeds, truth, range(0, 100))
    skip = seeds[100:145]
    asked = labelling_round(seeds, x, given, SETTINGS, skip=skip).suggestions
    assert {s.seed for s in asked} == set(seeds[145:].tolist())


def test_answers_about_other_seeds_are_left_out():
    seeds, x, truth = pool()
    given = answers(seeds, truth, range(20))
    more = Answers(
        np.r_[given.seed, 9], np.r_[given.class_id, 1].astype(np.int32), np.r_[given.inclusion_p, 1.0]
    )
    one, two = (labelling_round(seeds, x, a, SETTINGS) for a in (given, more))
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    assert one.suggestions == two.suggestions


def test_the_order_of_answers_does_not_matter():
    seeds, x, truth = pool()
    rows = np.arange(30)
    one, two = (labelling_round(seeds, x, answers(seeds, truth, r), SETTINGS) for r in (rows, rows[::-1]))
    np.testing.assert_allclose(one.probabilities, two.probabilities, atol=0.05)


def test_unknown_anomaly_scores_come_last():
    seeds, x, truth = pool()
    scores = np.full(150, np.nan)
    scores[140] = 1.0
    scores[:9] = 0.5
    settings = RoundSettings((1, 2, 3), n=3, strategy="anomaly")
    asked = labelling_round(seeds, x, answers(seeds, truth, range(9)), settings, anomaly=scores).suggestions
    assert asked[0].seed == 640
    assert all(np.isfinite(s.score) for s in asked)
    nothing = np.full(150, np.nan)
    asked = labelling_round(seeds, x, answers(seeds, truth, range(9)), settings, anomaly=nothing).suggestions
    assert asked[0].reason.endswith("by how few seeds look like it")


def test_another_draw_gives_other_random_seeds():
    seeds, x, truth = pool()
    given = answers(seeds, truth, range(20))
    asked = [
        labelling_round(seeds, x, given, RoundSettings((1, 2, 3), strategy="random", draw=d)).suggestions
        for d in (0, 0, 1)
    ]
    assert asked[0] == asked[1]
    assert {s.uuid for s in asked[0]}.isdisjoint(s.uuid for s in asked[2])


def write_job(folder, **params):
    params = {"class_ids": [1, 2, 3], "class_names": ["normal", "abnormal", "dead"], "n": 8, **params}
    request = JobRequest("job-1", "napari_seedlab.learn.round:run", params, random_state=4)
    write_json(folder / "request.json", request.to_json())


def test_job_writes_model_predictions_and_suggestions(tmp_path):
    seeds, x, truth = pool()
    write_job(tmp_path, model_id="head-7")
    save_arrays(tmp_path / "embedding.npz", seed=seeds, vector=x.astype(np.float32))
    said = answers(seeds, truth, range(40), 0.2)
    save_arrays(
        tmp_path / "labels.npz",
        seed=said.seed,
        class_id=said.class_id,
        sequence=np.arange(40),
        inclusion_p=said.inclusion_p,
    )
    save_arrays(tmp_path / "skip.npz", seed=seeds[50:60])
    save_arrays(tmp_path / "anomaly.npz", seed=seeds[::-1], score=np.linspace(0, 1, 150))
    steps, result = drain(run(tmp_path))
    assert all(isinstance(s, Progress) for s in steps)
    assert set(result.files) == {"suggestions.json", "head.safetensors", "probabilities.npz"}
    found = load_arrays(tmp_path / "probabilities.npz")
    head = load_head(tmp_path / "head.safetensors")
    np.testing.assert_allclose(found["p"], head.probabilities(x.astype(np.float32)), atol=1e-5)
    asked = read_json(tmp_path / "suggestions.json")
    assert len(asked) == 8 and not {s["seed"] for s in asked} & set(seeds[50:60].tolist())
    json.dumps(result.values, allow_nan=False)
    assert result.values["n_labels"] == 40
    assert not {"accuracy", "most_wrong"} & result.values.keys()  # those that are honest: learn/figures


def test_job_without_labels_suggests(tmp_path):
    seeds, x, _ = pool()
    write_job(tmp_path)
    save_arrays(tmp_path / "embedding.npz", seed=seeds, vector=x)
    _, result = drain(run(tmp_path))
    assert result.files == ("suggestions.json",)
    assert result.values["n_suggestions"] == 8


def test_job_without_classes_is_refused(tmp_path):
    seeds, x, _ = pool()
    write_job(tmp_path, class_ids=[])
    save_arrays(tmp_path / "embedding.npz", seed=seeds, vector=x)
    with pytest.raises(InputError, match="no classes"):
        drain(run(tmp_path))
