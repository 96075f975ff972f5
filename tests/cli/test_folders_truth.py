"""`seedlab import --one-seed-per-file` and what judges `seedlab anomaly` afterwards."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_seedlab.cli import reference
from napari_seedlab.cli import truth as judge
from napari_seedlab.cli.frame import opened
from napari_seedlab.cli.main import app
from napari_seedlab.core import InputError
from napari_seedlab.session import making

SMALL = {"size": 16, "n_steps": 4, "n_fits": 1, "batch": 4, "width": 4, "device": "cpu"}
N_GOOD, N_BAD = 17, 3


def write(place, n, spot, mask=False):
    rng = np.random.default_rng(n + spot)
    y, x = np.mgrid[:40, :40]
    inside = np.hypot(y - 20, x - 20) < 12
    dark = np.hypot(y - 18, x - 22) < 4
    place.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        grey = np.where(inside, 170 + rng.normal(0, 6, (40, 40)), 10)
        if spot:
            grey[dark] = 40
        Image.fromarray(grey.astype(np.uint8)).save(place / f"{i}.png")
        if mask:
            Image.fromarray((dark * 255).astype(np.uint8)).save(place / f"{i}_mask.png")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with one sheet whose folders are called Sound and Odd."""
    root = tmp_path_factory.mktemp("folders")
    write(root / "grains" / "Sound", N_GOOD, False)
    write(root / "grains" / "Odd", N_BAD, True, mask=True)
    making.new_project(root / "p")
    done = run("import", root / "p", root / "grains", "--modality", "image", "--one-seed-per-file",
               "--truth-from-folders", "--json")  # fmt: skip
    assert done.exit_code == 0 and json.loads(done.stdout.splitlines()[-1])["n_seeds"] == N_GOOD + N_BAD
    return root / "p"


def run(*words):
    return CliRunner().invoke(app, [str(w) for w in words])


@pytest.mark.parametrize("only_normal", [False, True])
def test_the_hidden_truth_judges_scores_and_heat(project, monkeypatch, only_normal):
    from napari_seedlab.session.trainings import Trainings

    whole = Trainings.find_odd
    taught = []

    def small(self, settings, *rest):
        taught.append(rest[-1])
        return whole(self, {**SMALL, **settings}, *rest)

    monkeypatch.setattr(Trainings, "find_odd", small)
    more = ("--train-on-normal",) if only_normal else ()
    done = run("anomaly", project, "--method", "vae", "--normal-class", "sound", "--json", *more)
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["normal_class"] == "Sound" and len(told["scores"]) == N_GOOD + N_BAD
    assert 0 <= told["auc"] <= 1 and told["auc_interval"][0] <= told["auc"] <= told["auc_interval"][1]
    assert 0 <= told["voxel_auc_inside"] <= 1
    assert told["trained_on"] == ("reference normal" if only_normal else "all but known odd seeds")
    with opened(project) as session:
        truth = reference.reference_of(session, None, "Sound").class_of
        card = session.models[-1]
    assert card.config["trained_on"] == told["trained_on"]
    assert told["n_judged"] == N_GOOD + N_BAD - (N_GOOD // 2 if only_normal else 0)
    if only_normal:
        assert len(taught[0]) == N_GOOD // 2 and {truth[s] for s in taught[0]} == {"Sound"}
    else:
        assert taught == [None]


@pytest.mark.parametrize("place", [None, (slice(0, 3), slice(0, 3))], ids=["black", "beside the seed"])
def test_masks_without_a_mark_in_a_seed_judge_no_heat(tmp_path, monkeypatch, place):
    from napari_seedlab.session.trainings import Trainings

    whole = Trainings.find_odd
    small = lambda self, settings, *rest: whole(self, {**SMALL, **settings}, *rest)  # noqa: E731
    monkeypatch.setattr(Trainings, "find_odd", small)
    write(tmp_path / "g" / "Good", N_GOOD, False)
    write(tmp_path / "g" / "Bad", N_BAD, True)
    marks = np.zeros((40, 40), np.uint8)
    if place:
        marks[place] = 255
    Image.fromarray(marks).save(tmp_path / "g" / "Bad" / "0_mask.png")
    making.new_project(tmp_path / "p")
    with opened(tmp_path / "p") as session:
        session.import_folder(tmp_path / "g", truth_from_folders=True).wait()
        shape = session.scans[1].facts.region_shape
    done = run("anomaly", tmp_path / "p", "--method", "distance", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["voxel_auc_inside"] is None and told["auc"] is not None
    assert done.stderr.count("The reference mask marks nothing inside a seed of the current scan") == 1
    mask = np.zeros(shape, np.uint8)
    mask[:, 0, 0] = 1
    np.save(tmp_path / "m.npy", mask)
    monkeypatch.setattr(Trainings, "find_odd", lambda *a: pytest.fail("the work was begun"))
    done = run("anomaly", tmp_path / "p", "--truth-mask", tmp_path / "m.npy")
    assert done.exit_code == 1 and "m.npy: marks nothing inside a seed" in done.stderr


def test_a_truth_about_seeds_without_a_score_judges_nothing(capsys):
    told = judge.judged({1: 0.5, 2: 0.7}, {1: "normal", 2: "normal", 3: "dead"}, "normal", 0)
    assert set(told.values()) == {None}
    assert "0 of 2 scored seeds odd" in capsys.readouterr().err


def test_who_taught_does_not_judge():
    known = reference.Reference(1, "a", {1: "a", 2: "a", 3: "b", 4: "a", 5: "a"})
    half = known.half_of_normal(0)
    assert len(half) == 2 and half == known.half_of_normal(0) and 3 not in half
    assert known.judges(half).keys() == {1, 2, 3, 4, 5} - set(half) and len(known.judges(None)) == 5


def test_a_normal_class_is_asked_for_before_the_work(project):
    done = run("anomaly", project)
    assert (
        done.exit_code == 1 and "names its classes Odd, Sound; none is called normal or good" in done.stderr
    )
    assert len(done.stderr.splitlines()) == 1
    done = run("anomaly", project, "--normal-class", "Basmati")
    assert done.exit_code == 1 and "is no class of the folders (Odd, Sound)" in done.stderr


@pytest.mark.parametrize(
    ("names", "wish", "default", "expected"),
    [
        (["Bad", "Good"], "", "normal", "Good"),
        (["HEALTHY", "sick"], "", "normal", "HEALTHY"),
        (["Normal", "good"], "", "normal", "Normal"),
        (["a", "b"], "B", "normal", "b"),
        (["dead", "viable"], "", "viable", "viable"),
    ],
)
def test_which_folder_is_normal(names, wish, default, expected):
    assert reference._normal_among(names, wish, default) == expected


def test_one_class_alone_judges_nothing(tmp_path, capsys):
    write(tmp_path / "g" / "Good", 2, False)
    making.new_project(tmp_path / "p")
    with opened(tmp_path / "p") as session:
        session.import_folder(tmp_path / "g", truth_from_folders=True).wait()
        found = reference.reference_of(session, None, "")
        assert found.class_of is None and "name one class only (Good)" in capsys.readouterr().err
        with pytest.raises(InputError, match="--train-on-normal: needs a truth"):
            found.half_of_normal(0)
        assert judge.known_defects(session) is None


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--truth-from-folders",), "Add --one-seed-per-file"),
        (("--one-seed-per-file", "--modality", "ct"), "Use --modality image"),
        ((), "a folder of seed pictures needs --one-seed-per-file"),
    ],
)
def test_options_that_do_not_go_together(project, words, line):
    done = run("import", project, project.parent / "grains", *words)
    assert done.exit_code == 1 and line in done.stderr and len(done.stderr.splitlines()) == 1
