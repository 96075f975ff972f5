import numpy as np
import pytest

from napari_seedlab.core import JobRequest, NotReady
from napari_seedlab.files import save_arrays, write_json
from napari_seedlab.learn import compare
from tests.learn.job_folders import finish

N = 240


def write(folder, n_labels, gap=2.5, n_classes=3, n_scans=1, random_state=0, lots=None):
    """Two encoders, of which `sharp` tells the classes apart by `gap` and `blunt` hardly does."""
    rng = np.random.default_rng(random_state)
    seeds, truth = np.arange(N) + 7, rng.integers(0, n_classes, N)
    for name, by in (("blunt", 0.3), ("sharp", gap)):
        middle = rng.normal(0, by, (n_classes, 12))
        vector = (middle[truth] + rng.normal(0, 1, (N, 12))).astype(np.float32)
        save_arrays(folder / f"vectors-{name}.npz", seed=seeds, vector=vector)
    rows = rng.permutation(N)[:n_labels]
    save_arrays(folder / "labels.npz", seed=seeds[rows], class_id=(truth[rows] + 1).astype(np.int32))
    lot = np.full(N, -1) if lots is None else np.arange(N) % lots
    save_arrays(folder / "groups.npz", seed=seeds, scan=np.arange(N) % n_scans, lot=lot)
    params = {"encoders": ["blunt", "sharp"], "in_use": ["blunt"]}
    write_json(folder / "request.json", JobRequest("c", "m:f", params).to_json())
    return finish(compare.run(folder))[1].values


def test_the_truly_better_encoder_is_recommended(tmp_path):
    found = write(tmp_path, 60, n_scans=4)
    assert found["recommended"] == "sharp" and "sharp is ahead of blunt by" in found["line"]
    assert found["folds"] == "scans" and found["n_labels"] == 60
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["blunt", "sharp", "blunt + sharp"]
    for kind in ("knn", "linear"):
        assert rows["sharp"][kind]["low"] > rows["blunt"][kind]["high"]
    assert rows["blunt"]["linear"]["low"] < 1 / 3 + 0.15


def test_few_labels_and_equal_encoders_have_no_winner(tmp_path):
    assert write(tmp_path, 15)["line"] == "Too few labels to tell: 15, 20 are needed."
    even = write(tmp_path, 60, gap=0.3)
    assert even["recommended"] == "" and even["line"] == "No clear winner: keep blunt."


def test_equal_encoders_are_seldom_told_apart(tmp_path):
    rng, columns, n_wrong = np.random.default_rng(1), np.arange(60) % 3, 0
    for _ in range(200):
        a, b = (rng.random(60) < 0.7 for _ in "ab")
        n_wrong += compare.ahead(a, b, columns, 0).low > 0
    assert n_wrong <= 10  # one side of a 95 % interval: 5 expected


def test_intervals_hold_the_truth():
    rng, columns, held = np.random.default_rng(2), np.arange(40) % 2, 0
    for _ in range(200):
        found = compare.balanced(rng.random(40) < np.where(columns, 0.95, 0.7), columns, 0)
        held += found.low <= 0.825 <= found.high
    assert held >= 186


@pytest.mark.parametrize(("n_labels", "n_classes"), [(0, 3), (30, 1), (1, 3)])
def test_what_cannot_be_compared_is_said(tmp_path, n_labels, n_classes):
    with pytest.raises(NotReady, match="comparing encoders: needs labels"):
        write(tmp_path, n_labels, n_classes=n_classes)


def test_two_seeds_are_compared_without_a_verdict(tmp_path):
    found = write(tmp_path, 4)
    assert found["recommended"] == "" and len(found["rows"]) == 3


def test_seeds_of_a_lot_are_held_out_together(tmp_path):
    assert write(tmp_path, 60, n_scans=8, lots=4)["folds"] == "lots"
    assert write(tmp_path, 60)["folds"] == "classes spread evenly"
