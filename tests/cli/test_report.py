"""``seedlab report`` on a small tray, called in this process."""

import json

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_seedlab.cli.main import app
from napari_seedlab.jobs import InlineRunner
from napari_seedlab.session import Session

GRID, STEP = 4, 16


def write_tray(path):
    """Balls on a grid; the left half of them is hollow."""
    volume = np.random.default_rng(0).normal(20, 3, (20, GRID * STEP, GRID * STEP))
    z, y, x = np.ogrid[:20, :STEP, :STEP]
    far = np.sqrt((z - 10.0) ** 2 + (y - 8.0) ** 2 + (x - 8.0) ** 2)
    for i in range(GRID * GRID):
        row, column = divmod(i, GRID)
        ball = (far < 6) & ~((far < 3) & (column < GRID // 2))
        volume[:, row * STEP : (row + 1) * STEP, column * STEP : (column + 1) * STEP][ball] += 130
    tifffile.imwrite(path, np.clip(volume, 0, 255).astype(np.uint8))


@pytest.fixture
def project(tmp_path):
    write_tray(tmp_path / "tray.tif")
    with Session.create(tmp_path / "p.seedlab", InlineRunner()) as session:
        session.import_scan(tmp_path / "tray.tif").wait(60)
        session.split().wait(60)
        table = session.regions(1)
        hollow = table.centroid[:, 2] < GRID * STEP / 2
        for class_id, which in ((2, hollow), (1, ~hollow)):
            session.answer(class_id, table.seed[which][:4].tolist())
    return tmp_path / "p.seedlab"


def test_the_report_tells_what_is_known_and_what_is_not(project):
    out = CliRunner().invoke(app, ["report", str(project), "--json"])
    assert out.exit_code == 0
    values = json.loads(out.stdout.strip().splitlines()[-1])
    assert values["n_labels"] == 8
    assert values["accuracy"]["text"] == "too few to say (0 of 30)"
    assert values["stop"]["colour"] == "red"
    assert {r["class_id"] for r in values["recall"]} == {1, 2}
    plain = CliRunner().invoke(app, ["report", str(project)])
    assert "accuracy: too few to say (0 of 30)" in plain.stdout


def test_a_project_without_labels_is_refused_in_one_line(tmp_path):
    with Session.create(tmp_path / "p.seedlab", InlineRunner()):
        pass
    out = CliRunner().invoke(app, ["report", str(tmp_path / "p.seedlab")])
    assert out.exit_code == 1
    assert len(out.stderr.strip().splitlines()) == 1
