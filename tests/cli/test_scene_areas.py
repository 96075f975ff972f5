"""The detectors on public airborne scenes, judged by the mask beside each, through the command itself."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_seedlab.cli.main import app
from napari_seedlab.session.anomaly import METHODS_OF

SCENES = Path(__file__).parents[3] / "shared" / "data" / "hyperspectral" / "anomaly"
pytestmark = pytest.mark.skipif(
    not SCENES.is_dir(), reason="the shared data folder is not beside the repository"
)


def run(*words):
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    return done.exit_code, done.stdout.strip().splitlines()[-1:], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["abu-airport-2", "abu-airport-4", "cat-island"])
def test_no_method_is_worse_than_the_plain_one(tmp_path, scene):
    file, areas = SCENES / f"{scene}.mat", {}
    assert run("new", tmp_path / "p")[0] == run("import", tmp_path / "p", file, "--modality", "hsi")[0] == 0
    for method in METHODS_OF["hsi"]:
        code, last, told = run("anomaly", tmp_path / "p", "--method", method, "--truth-mask", file)
        assert code == 0, told
        values = json.loads(last[0])
        areas[method] = values["auc"]
        print(f"{scene} {method} {values['auc']:.3f} {values['auc_interval']} {values['seconds']} s")
    assert areas["spectra"] >= areas["rx"] - 0.01
    assert areas["local_rx"] >= areas["rx"] - 0.01


def test_a_scene_that_cannot_be_read_is_refused_in_one_line(tmp_path):
    assert run("new", tmp_path / "p")[0] == 0
    code, _, told = run("import", tmp_path / "p", SCENES / "HYDICE1_v73.mat")
    assert code == 1
    assert "7.3" in told
    assert told.strip().count("\n") == 0
