"""Every command as a user calls it: JSON last on stdout, one line on stderr and exit code 1 when refused."""

import csv
import json
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_seedlab.cli.main import app

N_SEEDS = 30


def fresh(*args):
    """Run the command in a process of its own: (exit code, stdout, stderr)."""
    command = [sys.executable, "-m", "napari_seedlab", *map(str, args)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=280)
    return out.returncode, out.stdout, out.stderr


def seedlab(*args):
    """Run the command here, where everything is loaded: (exit code, stdout, stderr)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = CliRunner().invoke(app, [str(arg) for arg in args])
    if out.exception is not None and not isinstance(out.exception, SystemExit):
        raise out.exception
    return out.exit_code, out.stdout, out.stderr


def values(*args, run=seedlab):
    code, stdout, stderr = run(*args, "--json")
    assert code == 0, stderr
    return json.loads(stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sample, imported and split, with a project beside it."""
    root = tmp_path_factory.mktemp("command")
    made = values("sample", "--kind", "ct", "--n-seeds", N_SEEDS, "--random-state", 3, "--to", root / "tray")
    assert {"scan.tif", "instances.tif", "tissues.tif", "truth.csv", "recipe.json"} <= set(made["files"])
    values("new", root / "p")
    scan = values("import", root / "p", root / "tray" / "scan.tif", "--name", "tray")
    assert scan["scan"] == 1 and scan["axes"] == ["z", "y", "x"] and len(scan["shape"]) == 3
    assert scan["voxel_size_um"] is not None and scan["wavelengths_nm"] is None
    assert abs(values("split", root / "p")["n_seeds"] - N_SEEDS) <= 2
    return root


def test_the_main_path(folder):
    p = folder / "p"
    assert values("embed", p, run=fresh)["n_seeds"] > 0
    assert values("map", p, "--method", "pca", run=fresh)["n_clusters"] >= 1
    code, out, line = fresh("suggest", p, "--strategy", "best")
    assert code == 1 and not out and len(line.strip().splitlines()) == 1
    code, out, line = seedlab("suggest", p, "--strategy", "label_errors")
    assert (code, out) == (0, "suggestions: none\n") and "nothing to ask again" in line
    asked = values("suggest", p, "-n", 10)["suggestions"]
    assert len(asked) == 10 and all(set(s) == {"seed", "score", "reason"} for s in asked)
    with open(folder / "labels.csv", "w", newline="") as stream:
        rows = [(s["seed"], "normal" if i % 2 else "dead") for i, s in enumerate(asked)]
        csv.writer(stream).writerows([("seed", "class"), *rows])
    assert values("label", p, "--from", folder / "labels.csv")["labels"] == 10
    assert values("train", p, "--model", "head")["n_labels"] == 10
    assert values("predict", p, "--to", folder / "predicted.csv")["rows"] > 0
    with open(folder / "predicted.csv", newline="") as stream:
        predicted = list(csv.DictReader(stream))
    chances = [float(v) for k, v in predicted[0].items() if k.startswith("p_")]
    assert sum(chances) == pytest.approx(1, abs=1e-4) and predicted[0]["class"] in (
        "normal",
        "abnormal",
        "dead",
        "foreign",
    )
    assert values("check", p)["ok"]
    assert values("export", p, "--to", folder / "out")["rows"] > 0
    values("new", folder / "again", "--from", folder / "out")
    assert values("check", folder / "again")["ok"]


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (("split", "missing"), "missing"),
        (("import", "p", "nothing.tif"), "nothing.tif"),
        (("import", "p", "empty.npy"), "empty.npy"),
        (("import", "p", "tray"), "tray: is a folder"),
        (("label", "p", "--from", "tray"), "tray: is a folder"),
        (("import", "p", "tray/scan.tif", "--modality", "xray"), "xray"),
        (("label", "p", "--from", "unknown.csv"), "unknown.csv"),
        (("split", "p", "--scan", "7"), "7"),
        (("train", "p", "--model", "forest"), "forest"),
        (("train", "p", "--model", "net", "--kind", "deep"), "--kind deep"),
        (("train", "p", "--kind", "screening"), "Add --model net"),
        (("new", "p"), "p"),
        (("new", "q", "--classes", "double.json"), "double.json"),
        (("new", "q", "--from", "tray"), "tray"),
        (("predict", "fresh", "--to", "x.csv"), "no scan yet"),
        (("sample", "--kind", "mri", "--to", "x"), "mri"),
        (("sample", "--kind", "ct", "--n-seeds", "3", "--to", "unknown.csv/x"), "x: could not be written"),
        (("predict", "p", "--to", "missing/x.csv"), "x.csv"),
        (("split", "p", "--recipe", "wrong.json"), "threshold is 'high'"),
        (("split", "p", "--threshold", "nan"), "is no grey value"),
        (("embed", "p", "--scan", "7"), "--scan 7"),
        (("suggest", "p", "--strategy", "luck"), "margin_kmeans"),
        (("suggest", "p", "--strategy", "disagreement"), "two are needed"),
    ],
    ids=lambda v: " ".join(map(str, v[:2])) if isinstance(v, tuple) else None,
)
def test_refusals_are_one_line(folder, args, names):
    (folder / "empty.npy").write_bytes(b"")
    (folder / "unknown.csv").write_text("seed,class\n1,normal\n99999,dead\n")
    (folder / "wrong.json").write_text('{"threshold": "high"}')
    double = [{"id": 1, "name": n, "color": "#112233", "key": n[0]} for n in ("normal", "dead")]
    (folder / "double.json").write_text(json.dumps({"classes": double}))
    if not (folder / "fresh").exists():
        values("new", folder / "fresh")
    paths = [args[0], *(str(folder / a) if _is_path(a) else a for a in args[1:])]
    code, stdout, stderr = seedlab(*paths, "--json")
    lines = [line for line in stderr.splitlines() if line.strip()]
    assert (code, stdout) == (1, ""), stderr
    assert len(lines) == 1 and names in lines[0] and len(lines[0]) <= 200
    assert values("check", folder / "p")["ok"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "/a/b.csv"), "b.csv: Permission denied"),
        (OSError(28, "No space left on device"), "file: No space left on device"),
        (OSError("odd"), "file: OSError"),
    ],
)
def test_what_the_drive_refuses_is_one_line(error, line, capsys):
    from napari_seedlab.cli.frame import run

    def work():
        raise error

    with pytest.raises(SystemExit) as caught:
        run(work, as_json=True)
    shown = capsys.readouterr()
    assert caught.value.code == 1 and shown.out == ""
    assert shown.err.startswith(line) and shown.err.count("\n") == 1


def test_a_person_reads_the_ends_of_many_numbers_and_json_has_all(capsys):
    from napari_seedlab.cli.frame import run

    made = {"shape": [224, 9, 9], "wavelengths_nm": [400 + 2.5 * i for i in range(224)]}
    run(lambda: made, as_json=False)
    assert capsys.readouterr().out == "shape: [224, 9, 9]\nwavelengths_nm: 400 to 957.5, 224 values\n"
    run(lambda: made, as_json=True)
    assert json.loads(capsys.readouterr().out) == made


@pytest.mark.parametrize("is_read_live", [True, False])
@pytest.mark.parametrize("seconds", [10, 600])
def test_a_log_gets_a_line_each_tenth_or_five_seconds(capsys, monkeypatch, is_read_live, seconds):
    from napari_seedlab.cli import frame
    from napari_seedlab.core import JobState, JobStatus, Progress

    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_read_live)
    now = 0.0
    progress = frame._Progress(lambda: now)
    for i in range(seconds * 10):
        now = i / 10
        step = Progress(i, seconds * 10, "Training")
        progress.show(JobStatus("a", "f", 1, JobState.RUNNING, step, seconds=3 + now))
    shown = capsys.readouterr().err
    expected = 2 * seconds if is_read_live else max(10, seconds / 5)
    assert abs(shown.count("\n") - expected) <= 10
    assert "\r" not in shown and shown.startswith("Training 0 %")


def _is_path(text):
    return text in ("p", "q", "x", "fresh", "missing", "tray") or "." in text or "/" in text


def test_an_unknown_strategy_is_refused_before_any_work(tmp_path):
    code, _, stderr = seedlab("suggest", tmp_path / "not there yet", "--strategy", "foo")
    assert code == 1 and "strategy 'foo'" in stderr


def test_a_person_reads_no_none_and_no_brackets(capsys):
    from napari_seedlab.cli.frame import run

    run(lambda: {"suggestions": [], "origin": {"model": False, "share_outside": None}}, False)
    assert capsys.readouterr().out == "suggestions: none\norigin:\n  model  no\n"
    run(lambda: {"suggestions": [{"seed": 3, "score": None}]}, False)
    assert capsys.readouterr().out == "suggestions:\n  seed=3\n"


def test_an_empty_project_is_told_that_it_has_no_scan(tmp_path):
    values("new", tmp_path / "p")
    code, _, stderr = seedlab("suggest", tmp_path / "p")
    assert code == 1 and "this project: has no scan yet" in stderr


def test_usage_errors_exit_with_2():
    assert seedlab("split")[0] == 2 and seedlab("nonsense")[0] == 2


def test_the_command_itself_loads_no_qt():
    heavy = ("qtpy", "napari", "torch", "zarr")
    code = f"import sys, napari_seedlab.cli.main; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_command_is_in_the_readme():
    from pathlib import Path

    from napari_seedlab.cli.main import app

    readme = (Path(__file__).parents[2] / "README.md").read_text()
    names = [c.name or c.callback.__name__ for c in app.registered_commands]
    assert [n for n in names if f"seedlab {n}" not in readme] == []


def test_the_pool_of_a_scan_is_chosen_by_its_id(folder):
    """A flat second scan beside the volume: each command works on the kind of scan that is named."""
    p = folder / "two"
    values("new", p)
    values("import", p, folder / "tray" / "scan.tif")
    values("split", p, "--scan", 1)
    np.save(folder / "flat.npy", tifffile.imread(folder / "tray" / "scan.tif").max(0))
    flat = values("import", p, folder / "flat.npy", "--modality", "image")["scan"]
    n_flat = values("split", p, "--scan", flat)["n_seeds"]
    assert values("embed", p, "--scan", flat)["n_seeds"] == n_flat
    assert values("map", p, "--method", "pca", "--scan", flat)["n_seeds"] == n_flat
    first = values("suggest", p, "-n", 6, "--scan", 1)["suggestions"]
    again = values("suggest", p, "-n", 6, "--scan", 1)["suggestions"]
    assert first == again  # the same number, the same answer
    other = values("suggest", p, "-n", 6, "--scan", flat)["suggestions"]
    assert not {s["seed"] for s in first} & {s["seed"] for s in other}
    rows = [(s["seed"], "normal" if i % 2 else "dead") for i, s in enumerate([*first, *other])]
    with open(folder / "both.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([("seed", "class"), *rows])
    values("label", p, "--from", folder / "both.csv")
    assert values("train", p, "--model", "head", "--scan", flat)["n_labels"] == 6
    n_all = values("predict", p, "--to", folder / "all.csv")["rows"]
    assert n_all == values("embed", p, "--scan", 1)["n_seeds"] + n_flat
    assert values("predict", p, "--to", folder / "one.csv", "--scan", flat)["rows"] == n_flat


def test_an_edited_region_is_embedded_anew(folder):
    from napari_seedlab.files import open_array
    from napari_seedlab.session import Session

    p = folder / "edited"
    shutil.copytree(folder / "p", p)
    values("embed", p)
    with Session.open(p) as session:
        before = session.embeddings["ct"]
        seed = session.seeds_of("ct")[0]
        table = session.regions(1)
        row = table.row_of_seed(seed)
        z0, y0, x0, z1, y1, x1 = box = table.box[row].tolist()
        crop = open_array(session.regions_source(1))[z0:z1, y0:y1, x0:x1]
        crop[: (z1 - z0) // 2][crop[: (z1 - z0) // 2] == table.region[row]] = 0  # the ids stay
        session.desk.do(lambda project: project.repair(1, "split", box, crop)).result()
    values("suggest", p, "-n", 2)
    with Session.open(p) as session:
        after = session.embeddings["ct"]
        assert after.seeds.tolist() == session.seeds_of("ct")
        assert after.key[after.row[seed]] != before.key[before.row[seed]]
