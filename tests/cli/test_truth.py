"""Scores of every method beside a reference truth."""

import csv
import json

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_seedlab.cli import truth as judge
from napari_seedlab.cli.frame import opened
from napari_seedlab.cli.main import app
from napari_seedlab.core import InputError, NotReady
from napari_seedlab.io.samples import write_sample
from napari_seedlab.session import making
from napari_seedlab.session.anomaly import METHODS_OF

SMALL = {"size": 16, "n_steps": 4, "n_fits": 1, "batch": 4, "width": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def tray(tmp_path_factory):
    """A project with a split tray of 16 seeds, and its truth."""
    root = tmp_path_factory.mktemp("truth")
    write_sample("ct", 16, 3, root / "tray")
    making.new_project(root / "p")
    with opened(root / "p") as session:
        session.import_scan(root / "tray" / "scan.tif").wait()
        session.split(1, {}).wait()
    return root


def run(*words):
    return CliRunner().invoke(app, [str(w) for w in words])


@pytest.mark.parametrize("method", METHODS_OF["ct"])
def test_each_method_scores_all_seeds_and_is_judged(tray, method):
    truth = tray / "tray" / "truth.csv"
    with opened(tray / "p") as session:
        found = session.find_odd(SMALL, method).wait()
        class_of = judge.classes_of(session, truth)
        told = judge.judged(found["scores"], class_of, "normal", 0)
        n = len(session.seeds)
        instances = tifffile.imread(tray / "tray" / "instances.tif")
        marked = instances == 1
        marked[: marked.shape[0] // 2] = False
        mask = tray / f"{method}.tif"
        tifffile.imwrite(mask, marked.astype(np.uint8))
        inside = judge.voxel_auc(session, judge.read_defects(session, mask))
        assert [m.kind for m in session.models][-1] == method
    assert found["method"] == method
    assert len(found["scores"]) == n
    assert len(class_of) >= 15
    assert 0 <= told["auc_interval"][0] <= told["auc"] <= told["auc_interval"][1] <= 1
    assert 0 < told["average_precision"] <= 1
    assert 0 <= inside <= 1


def test_the_truth_is_matched_by_place_or_by_seed(tray):
    with open(tray / "tray" / "truth.csv") as stream:
        rows = list(csv.DictReader(stream))
    by_seed = tray / "by-seed.csv"
    with opened(tray / "p") as session:
        by_place = judge.classes_of(session, tray / "tray" / "truth.csv")
        table = session.regions(1)
        for seed, name in by_place.items():
            centre = table.centroid[table.row_of_seed(seed)]
            near = min(
                rows, key=lambda r: sum((float(r[a]) - c) ** 2 for a, c in zip("zyx", centre, strict=True))
            )
            assert near["class"] == name
        by_seed.write_text("seed;class\n" + "".join(f"{s};{c}\n" for s, c in by_place.items()) + "999;dead\n")
        assert judge.classes_of(session, by_seed) == by_place


def test_bad_truth_is_refused_before_any_work(tray, tmp_path):
    table, mask = tmp_path / "t.csv", tmp_path / "m.tif"
    table.write_text("seed,class\n999,dead\n")
    tifffile.imwrite(mask, np.zeros((6, 7, 8), np.uint8))
    with opened(tray / "p") as session, pytest.raises(InputError, match="names no seed of the project"):
        judge.classes_of(session, table)
    for words, line in (
        (("--truth", table), "names no seed of the project"),
        (("--truth-mask", mask), "has shape (6, 7, 8)"),
        (("--method", "magic"), "Use fcdd, vae, distance"),
        (("--normal-class", "odd"), "is not in the class scheme"),
    ):
        done = run("anomaly", tray / "p", *words)
        assert done.exit_code == 1
        assert line in done.output
        assert done.output.strip().count("\n") == 0


@pytest.mark.parametrize("place", ["here", "nan", "inf"])
def test_a_place_that_is_no_number_is_refused(tray, tmp_path, place):
    table = tmp_path / "t.csv"
    table.write_text(f"seed,class,z,y,x\n1,dead,1,2,{place}\n")
    with (
        opened(tray / "p") as session,
        pytest.raises(InputError, match="row 2 has a place that is no number"),
    ):
        judge.classes_of(session, table)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("1 2", "t.csv: calls no seed 'normal'; all its 2 seeds are '1', '2'. Add normal seeds, or name"),
        ("dead", "t.csv: calls no seed 'normal'; its 1 seed is 'dead'. Add normal seeds"),
        ("normal normal", "t.csv: calls all its 2 seeds 'normal'; an odd class is missing. Add odd seeds"),
    ],
)
def test_a_truth_that_cannot_judge_is_refused_before_any_work(tray, tmp_path, names, words):
    table = tmp_path / "t.csv"
    table.write_text("seed,class\n" + "".join(f"{i},{n}\n" for i, n in enumerate(names.split(), 1)))
    done = run("anomaly", tray / "p", "--truth", table)
    assert done.exit_code == 1
    assert words in " ".join(done.output.split())


def test_a_class_that_the_project_does_not_have_is_named(tray, tmp_path, capsys):
    table = tmp_path / "t.csv"
    table.write_text("seed,class\n1,normal\n2,nomral\n")
    with opened(tray / "p") as session:
        assert judge.classes_of(session, table) == {1: "normal", 2: "nomral"}
    assert "t.csv: no class of the project, so odd: nomral." in capsys.readouterr().err


def test_a_truth_before_the_split_says_to_split(tray, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("seed,class\n1,normal\n")
    making.new_project(tmp_path / "empty")
    with opened(tmp_path / "empty") as session, pytest.raises(NotReady, match="Split one first"):
        judge.classes_of(session, table)


def test_two_rows_about_one_seed_are_not_counted_as_rows_without(tray, tmp_path, capsys):
    table = tmp_path / "t.csv"
    table.write_text("seed,class\n1,dead\n1,dead\n")
    with opened(tray / "p") as session:
        assert judge.classes_of(session, table) == {1: "dead"}
    assert "left out" not in capsys.readouterr().err


def test_a_mask_is_refused_in_one_line_for_a_volume_and_without_a_scan(tray, tmp_path):
    from scipy.io import savemat

    with opened(tray / "p") as session:
        savemat(tmp_path / "m.mat", {"map": np.ones(session.scans[1].facts.region_shape[1:], np.uint8)})
        with pytest.raises(InputError, match="no 3-D array"):
            judge.read_defects(session, tmp_path / "m.mat")
    making.new_project(tmp_path / "empty")
    with opened(tmp_path / "empty") as session, pytest.raises(InputError, match="has no scan"):
        judge.read_defects(session, tmp_path / "m.mat")


@pytest.fixture
def cube(tmp_path):
    """A MATLAB cube of 20 × 24 pixels with an odd patch, its mask beside it, in a project of its own."""
    from scipy.io import savemat

    data = np.random.default_rng(0).normal(100, 1, (20, 24, 6))
    mask = np.zeros((20, 24), np.uint8)
    mask[5:8, 6:9] = 1
    data[mask > 0] += 9
    savemat(tmp_path / "cube.mat", {"data": data, "map": mask})
    making.new_project(tmp_path / "p")
    with opened(tmp_path / "p") as session:
        session.import_scan(tmp_path / "cube.mat", "hsi").wait()
    return tmp_path


@pytest.mark.parametrize("method", ["", "rx", "local_rx"])
def test_a_cube_is_judged_by_the_mask_beside_it(cube, method):
    words = ("--method", method) if method else ()
    done = run("anomaly", cube / "p", "--truth-mask", cube / "cube.mat", *words, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["method"] == (method or "spectra")
    assert told["auc"] > 0.99
    assert told["auc_interval"][0] > 0.6  # nine odd pixels are few
    assert told["scores"] == {} and told["auc_on_labels"] is None
    assert told["trained_on"] is None  # spectra are compared, nothing is trained


@pytest.mark.parametrize(("value", "words"), [(0, "marks nothing"), (3, "marks everything")])
@pytest.mark.parametrize("suffix", ["npy", "mat"])
def test_a_mask_that_cannot_judge_is_refused_before_any_work(cube, value, words, suffix):
    from scipy.io import savemat

    mask = np.full((20, 24), value, np.uint8)
    np.save(cube / "mask.npy", mask)
    savemat(cube / "mask.mat", {"map": mask})
    done = run("anomaly", cube / "p", "--truth-mask", cube / f"mask.{suffix}")
    assert done.exit_code == 1
    assert f"mask.{suffix}: {words}" in done.output
    assert done.output.strip().count("\n") == 0


def test_any_ids_mark_the_defects(cube):
    mask = np.zeros((20, 24), np.uint16)
    mask[5:8, 6:8], mask[5:8, 8] = 7, 300
    np.save(cube / "ids.npy", mask)
    with opened(cube / "p") as session:
        np.testing.assert_array_equal(judge.read_defects(session, cube / "ids.npy")[0], mask > 0)


def test_methods_are_for_their_kind_of_scan(cube, tray):
    for project, method, line in ((cube, "vae", "Use spectra, rx"), (tray, "rx", "Use fcdd, vae, distance")):
        done = run("anomaly", project / "p", "--method", method)
        assert done.exit_code == 1
        assert line in done.output


def test_labels_judge_beside_the_truth_and_two_methods_can_disagree(tray):
    with opened(tray / "p") as session:
        model = session.find_odd(SMALL, "fcdd").wait()["model"]
        session.opinions._found["ct"] = {
            m: f for m, f in session.opinions._found["ct"].items() if m == "fcdd"
        }
        session.opinions._recount("ct")
        with pytest.raises(NotReady, match="two are needed"):
            session.draw(2, "disagreement").wait()
        assert judge.on_labels(session, "fcdd", 1, 0)["auc_on_labels"] is None
        score = session.anomaly.of
        class_of = {s: 2 if score(s) > np.median(session.anomaly.score) else 1 for s in session.seeds}
        for seed, class_id in list(class_of.items())[:10]:
            session.answer(class_id, [seed])
        session.desk.do(lambda project: None).result()
        told = judge.on_labels(session, "fcdd", 1, 0)
        assert told["auc_on_labels"] == 1.0 and told["auc_interval_on_labels"][1] == 1.0
        assert told["judged_on"] == "10 labelled seeds, chosen not at random"
        assert judge.on_labels(session, "fcdd", 2, 0)["auc_on_labels"] == 0.0
        assert model == session.anomaly.model_id
        session.find_odd(SMALL, "distance").wait()
    done = run("suggest", tray / "p", "-n", 2, "--strategy", "disagreement", "--json")
    assert done.exit_code == 0, done.output
    first = json.loads(done.stdout.strip().splitlines()[-1])["suggestions"][0]
    assert "oddest by" in first["reason"] and ", only among the " in first["reason"]
