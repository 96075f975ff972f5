import numpy as np
import pytest

from napari_seedlab.core import NotReady
from napari_seedlab.session import steps
from tests.session.conftest import is_hollow, settle

TINY = {"size": 12, "fold_steps": 3, "final_steps": 3, "widths": [4, 8], "batch": 8, "device": "cpu"}


@pytest.fixture
def labelled(split_session):
    """A tray of balls, all labelled: hollow ones are of class 2."""
    for seed in split_session.seeds_of("ct"):
        split_session.answer(2 if is_hollow(split_session, seed) else 1, [seed])
    settle(split_session)
    return split_session


def test_the_batch_and_one_learnt_by_heart_come_back(labelled):
    heard = []
    labelled.net_checks.changed.connect(heard.append)
    told = labelled.net_checks.preview(TINY).wait(60)
    batch = labelled.net_checks.batch
    assert told["shape"] == list(batch.values.shape) == [8, 2, 12, 12, 12]
    assert batch.axes == ("seed", "channel", "z", "y", "x") and batch.pool == "ct"
    said = [labelled.label(s).class_id for s in batch.seeds.tolist()]
    assert said == batch.class_ids.tolist()
    assert labelled.net_checks.learn_by_heart(TINY).wait(60)["passed"]
    assert labelled.net_checks.by_heart["ct"][0] and "fit together" in labelled.net_checks.by_heart["ct"][1]
    assert heard == ["batch", "by_heart"]
    assert not labelled.models  # nothing was trained for it


def test_a_training_leaves_its_losses_and_what_is_simpler_beside_it(labelled, make_session):
    labelled.train("net", {**TINY, "kind": "screening"}).wait(60)
    (card,) = (c for c in labelled.models if c.kind == "net")
    assert card.config["kind"] == "screening"
    assert {"majority", "knn", "head", "balanced_accuracy", "first_loss", "expected_loss"} <= set(
        card.metrics
    )
    wrong = labelled.net_checks.wrong["ct"]
    assert len(wrong) == min(20, len(labelled.labels))
    assert (np.diff([w.loss for w in wrong]) <= 0).all()
    assert all(labelled.label(w.seed).class_id == w.said for w in wrong)
    path = labelled.path
    labelled.close()
    assert make_session(path).net_checks.wrong["ct"] == wrong


@pytest.mark.parametrize("is_ahead", [True, False])
def test_only_a_network_that_is_ahead_is_used(labelled, is_ahead, monkeypatch):
    plain = steps.plain_metrics
    monkeypatch.setattr(steps, "plain_metrics", lambda values: {**plain(values), "activate": is_ahead})
    labelled.train("net", TINY).wait(60)
    (card,) = (c for c in labelled.models if c.kind == "net")
    assert card.active is is_ahead


def test_a_network_that_guesses_is_never_used(labelled, monkeypatch):
    plain = steps.plain_metrics
    monkeypatch.setattr(steps, "plain_metrics", lambda values: {**plain(values), "activate": False})
    labelled.train("net", TINY).wait(60)
    monkeypatch.setattr(steps, "plain_metrics", lambda values: {**plain(values), "is_chance": False})
    labelled.train("net", TINY).wait(60)
    guessing, other = (c for c in labelled.models if c.kind == "net")
    assert guessing.metrics["is_chance"]  # three steps teach nothing
    with pytest.raises(NotReady, match="not proven better than chance by 25 answers"):
        labelled.activate(guessing.id)
    labelled.activate(other.id).wait(60)
    assert [c.id for c in labelled.models if c.active and c.kind == "net"] == [other.id]


def test_an_interrupted_training_of_another_network_is_not_taken_up(labelled, tmp_path):
    folder = labelled.path / "jobs" / "net-9-x"
    folder.mkdir(parents=True)
    from napari_seedlab.core import JobRequest
    from napari_seedlab.files import write_json

    params = {"pool": "ct", "kind": "screening", "settings": {}}
    write_json(
        folder / "request.json", JobRequest("net-9-x", "napari_seedlab.learn.net:run", params).to_json()
    )
    labelled.trainings._interrupted["net"] = str(folder)
    task = labelled.train("net", TINY)
    assert task.wait(60)["model"] == "net-1" and task.job_id != "net-9-x"


def test_checks_without_labels_say_what_lacks(split_session):
    with pytest.raises(NotReady, match="this check"):
        split_session.net_checks.preview()
