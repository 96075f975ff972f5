"""`seedlab simulate` as a user calls it, in this process."""

import csv
import json
from itertools import pairwise

import pytest
from PIL import Image

from napari_seedlab.cli import curves, fresh
from napari_seedlab.cli import simulate as command
from napari_seedlab.cli.main import app
from napari_seedlab.io.samples import write_sample
from napari_seedlab.session import Session

N_SEEDS = 44


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A split tray in a project; the truth and the recipe lie beside the scan."""
    root = tmp_path_factory.mktemp("simulate")
    scan = write_sample("ct", N_SEEDS, 3, root / "tray")
    with Session.create(root / "p") as session:
        session.import_scan(scan).wait(60)
        session.split().wait(60)
        session.embed().wait(60)
    return root / "p"


@pytest.fixture
def simulate(project, capsys):
    def run(*args, refused=False):
        capsys.readouterr()
        try:
            app(["simulate", str(project), *map(str, args), "--json"], standalone_mode=False)
            code = 0
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        assert code == (1 if refused else 0), err
        assert "Traceback" not in err
        return err if refused else (json.loads(out.strip().splitlines()[-1]), err)

    return run


def write_truth(path, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("seed", "class"), *rows])
    return path


def names(project, n=None):
    """Seed ids of the project."""
    with Session.open(project) as session:
        return session.seeds_of("ct")[:n]


def test_a_sample_is_judged_on_fresh_seeds_that_are_kept(simulate, project, tmp_path):
    args = ("--strategies", "default,margin", "--budget", 20, "--repeats", 1, "--fresh", 30)
    args = (*args, "--encoder", "descriptors")
    told, err = simulate(*args, "--to", tmp_path / "f.png")
    assert told["budget"] == [10, 20]
    for measure in ("accuracy", "balanced_accuracy"):
        assert set(told[measure]) == {"default", "margin", "random"}
        assert all(len(curve) == 2 for curve in told[measure].values())
    assert set(told["labels_to_random"]) == {"default", "margin", "random"}
    assert told["judged_by"] == "balanced_accuracy" and told["n_judges"] == 30
    assert told["encoder"] == "descriptors" and "fresh seeds: tray 1" in err
    with Image.open(tmp_path / "f.png") as picture:
        assert picture.size == curves.SIZE
    again, err = simulate(*args)
    assert "fresh seeds" not in err
    assert {k: again[k] for k in ("accuracy", "labels_to_random")} == {
        k: told[k] for k in ("accuracy", "labels_to_random")
    }


@pytest.mark.parametrize(
    ("n", "words"), [(2, "names 2 seeds of the project"), (30, "needs seeds of two classes")]
)
def test_too_little_truth_is_refused_before_any_fresh_seed(
    simulate, project, tmp_path, monkeypatch, n, words
):
    monkeypatch.setattr(fresh, "fresh_seeds", lambda *_: pytest.fail("fresh seeds were made"))
    monkeypatch.setattr(command, "vectors_of", lambda *_: pytest.fail("seeds were described"))
    table = write_truth(tmp_path / "t.csv", [(s, "good") for s in names(project, n)])
    assert words in simulate("--truth", table, refused=True)


def test_a_truth_table_with_unknown_seeds_is_told_and_goes_on(simulate, project, tmp_path):
    seeds = names(project, 40)
    rows = [(s, "good" if i % 3 else "bad") for i, s in enumerate(seeds)]
    table = write_truth(tmp_path / "t.csv", [*rows, (99999, "bad"), (99998, "good")])
    told, err = simulate("--truth", table, "--budget", 10, "--repeats", 2, "--fresh", 0)
    assert "t.csv: 2 of 42 rows name no seed; they are left out." in err
    assert told["classes"] == ["bad", "good"] and told["n_seeds"] == 40
    assert told["judged_by"] == "accuracy" and told["n_judges"] == 12


def test_strategies_that_cannot_be_replayed_are_left_out(simulate):
    args = ("--strategies", "label_errors,disagreement,k_center", "--budget", 10, "--repeats", 1)
    told, err = simulate(*args, "--fresh", 0)
    assert set(told["accuracy"]) == {"k_center", "random"}
    assert "label_errors asks about labelled seeds only; left out." in err
    assert "disagreement needs scores of oddness by two methods; left out." in err


@pytest.mark.parametrize(
    ("rows", "args", "words"),
    [
        (None, ("--strategies", "oracle"), "strategy 'oracle': is unknown"),
        (None, ("--strategies", ","), "names none"),
        (None, ("--strategies", "label_errors"), "asks about labelled seeds only"),
        (None, ("--to", "/nowhere/at/all.png"), "all.png"),
        (None, ("--encoder", "magic"), "encoder 'magic'"),
        ("one class", (), "needs seeds of two classes"),
        ("strangers", (), "names no seed of the project"),
    ],
)
def test_bad_input_is_one_line(simulate, project, tmp_path, rows, args, words):
    if rows is not None:
        seeds = names(project, 30) if rows == "one class" else [99998, 99999]
        args = ("--truth", write_truth(tmp_path / "t.csv", [(s, "good") for s in seeds]), "--fresh", 0)
    err = simulate(*args, refused=True)
    assert words in err.strip().splitlines()[-1]


def test_labels_beside_the_curves_do_not_overlap():
    heights = curves._spread([100.0, 101.0, 102.0, curves.BOX[3] - 1.0, float(curves.BOX[3])], 24)
    assert all(b - a >= 24 - 1e-6 for a, b in pairwise(heights))
    assert heights[-1] <= curves.BOX[3]
