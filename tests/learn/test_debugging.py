import numpy as np
import pytest
import torch
from grains import grains, one_thread  # noqa: F401
from job_folders import finish, sheet, write_job
from phenotypes import phenotypes
from planes import sheet as plane_sheet

from napari_seedlab import files
from napari_seedlab.learn import debugging, net, net_input

SMALL = {"size": 16, "fold_steps": 2, "final_steps": 4, "batch": 12, "widths": [8, 16], "device": "cpu"}


@pytest.fixture
def volumes(tmp_path):
    """A job over 20 grains of two classes, of which 16 are labelled."""
    crops, masks, _, kinds = grains(20, 5, ("", "cavity"))
    said = {i + 1: 1 + (kinds[i] != "") for i in range(16)}
    return write_job(
        tmp_path / "volumes", "net", *sheet(crops, masks), said, random_state=3, class_ids=[1, 2, 7],
        settings=SMALL,
    )  # fmt: skip


@pytest.fixture
def planes(tmp_path):
    """A job over 16 planes of five channels and four classes, all labelled."""
    crops, masks, kinds = phenotypes(16, 1)
    said = {i + 1: int(kinds[i]) + 1 for i in range(16)}
    return write_job(
        tmp_path / "planes", "net", *plane_sheet(crops, masks), said, modality="image",
        class_ids=[1, 2, 3, 4],
        settings={"kind": "screening", "final_steps": 1, "fold_steps": 1, "device": "cpu", "batch": 6},
    )  # fmt: skip


@pytest.mark.parametrize("which", ["volumes", "planes"])
def test_the_preview_is_the_tensor_that_the_first_step_gets(which, request, monkeypatch):
    folder = request.getfixturevalue(which)
    _, result = finish(debugging.preview(folder))
    shown = files.load_arrays(folder / "batch.npz")
    seen = []
    original = net_input.to_device
    monkeypatch.setattr(net, "to_device", lambda x, d: seen.append(x.clone()) or original(x, d))
    made = debugging.prepare(folder, files.read_json(folder / "request.json")["params"])
    _, crops = finish(made.cutter.cut(made.rows))
    key = (files.read_json(folder / "request.json")["random_state"], 0, len(made.answers.class_ids))
    columns = made.answers.columns[made.owner]
    net.new_trainer(crops, np.arange(len(crops)), columns, made.settings, key).step()
    np.testing.assert_array_equal(shown["batch"], seen[0].numpy())
    labels = files.load_arrays(folder / "labels.npz")
    said = dict(zip(labels["seed"].tolist(), labels["class_id"].tolist(), strict=True))
    assert [said[s] for s in shown["seed"].tolist()] == shown["class_id"].tolist()
    assert result.values["axes"] == (["seed", "channel", "z", "y", "x"] if which == "volumes" else
                                     ["seed", "channel", "y", "x"])  # fmt: skip
    assert result.values["low"] == shown["batch"][:, :-1].min() < 0 < result.values["high"]


@pytest.mark.parametrize("which", ["volumes", "planes"])
def test_one_sound_batch_is_learnt_by_heart(which, request):
    reports, result = finish(debugging.overfit(request.getfixturevalue(which)))
    assert result.values["passed"], result.values["line"]
    assert result.values["loss"] < 0.05 and result.values["n_steps"] <= 100
    assert "fit together" in result.values["line"]
    assert any("loss" in r.message for r in reports)


def shuffled():
    """Labels in another order each time."""
    state = np.random.default_rng(0)

    def draw(samples, picks, rng):
        inputs, target = HONEST(samples, picks, rng)
        return inputs, target[torch.from_numpy(state.permutation(len(target)))]

    return draw


def out_of_order(samples, picks, rng):
    inputs, target = HONEST(samples, picks, rng)
    return inputs.roll(1, 0), target


def turned(samples, picks, rng):
    """The axes of seeds and of channels are swapped; there are as many of both."""
    inputs, target = HONEST(samples, picks, rng)
    return inputs.transpose(0, 1).contiguous(), target


HONEST = net_input.Samples.draw


@pytest.mark.parametrize(
    "make_bug, words",
    [
        (shuffled, "change from step to step"),
        (lambda: out_of_order, "out of step"),
        (lambda: turned, "out of step"),
    ],
    ids=["labels shuffled", "out of order", "axes swapped"],
)
def test_a_planted_bug_is_said(make_bug, words, planes, monkeypatch):
    monkeypatch.setattr(net_input.Samples, "draw", make_bug())
    _, result = finish(debugging.overfit(planes))
    assert not result.values["passed"]
    assert words in result.values["line"]


def test_twins_with_other_labels_and_empty_crops_are_named():
    crops = net_input.crops_io.SeedCrops(
        *(np.arange(4),) * 2, np.zeros((4, 6), np.int32), np.arange(4, dtype=np.int32),
        np.ones((4, 1, 4, 4), np.float16) * np.array([1, 2, 2, 3], np.float16)[:, None, None, None],
        np.ones((4, 4, 4), bool),
    )  # fmt: skip
    samples = net_input.Samples(crops, np.arange(4), np.array([0, 0, 1, 1]))
    line = debugging.what_is_wrong(samples, np.array([10, 20, 30, 40]), 0.5)
    assert "seeds 20 and 30 look the same" in line
    crops.crops[:] = 1
    assert "are empty" in debugging.what_is_wrong(samples, np.arange(4), 0.5)
    assert debugging.what_is_wrong(samples, np.arange(4), 0.01) == ""


def test_a_batch_for_learning_by_heart_holds_all_classes():
    columns = np.array([0] * 40 + [1] * 3 + [2] * 5)
    picks = debugging.balanced_picks(columns, 9, np.random.default_rng(0))
    assert np.bincount(columns[picks]).tolist() == [3, 3, 3]
    assert len(set(picks.tolist())) == 9
