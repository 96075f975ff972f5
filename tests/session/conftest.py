"""A labelled-by-truth tray of twelve seeds in a project whose jobs run in this process."""

import numpy as np
import pytest
import tifffile

from napari_seedlab.jobs import InlineRunner
from napari_seedlab.session import Session, encoders

GRID, STEP, RADIUS = 5, 16, 6


def small_tray(random_state=0):
    """Balls on a grid, (20, 80, 80) uint8; every third one is hollow. Returns volume and hollow flags."""
    rng = np.random.default_rng(random_state)
    volume = rng.normal(20, 3, (20, GRID * STEP, GRID * STEP))
    z, y, x = np.ogrid[:20, :STEP, :STEP]
    far = np.sqrt((z - 10.0) ** 2 + (y - 8.0) ** 2 + (x - 8.0) ** 2)
    hollow = np.arange(GRID * GRID) % 3 == 0
    for i in range(GRID * GRID):
        row, column = divmod(i, GRID)
        box = volume[:, row * STEP : (row + 1) * STEP, column * STEP : (column + 1) * STEP]
        ball = (far < RADIUS) & ~((far < RADIUS * 0.5) & hollow[i])
        box[ball] += 130
    return np.clip(volume, 0, 255).astype(np.uint8), hollow


@pytest.fixture(autouse=True)
def fewer_encoders(monkeypatch, request):
    """Descriptors alone make the vectors, save in slow tests: few are about encoders, and it is faster."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(encoders, "DEFAULT", dict.fromkeys(encoders.DEFAULT, ("descriptors",)))


@pytest.fixture
def tray(tmp_path):
    volume, _ = small_tray()
    path = tmp_path / "tray.tif"
    tifffile.imwrite(path, volume)
    return path


@pytest.fixture
def make_session(tmp_path):
    opened = []

    def make(path=None, **options):
        target = path or tmp_path / "p.seedlab"
        make_or_open = Session.open if target.exists() else Session.create
        session = make_or_open(target, InlineRunner(), **options)
        opened.append(session)
        return session

    yield make
    for session in opened:
        session.close()


@pytest.fixture
def split_session(make_session, tray):
    session = make_session()
    session.import_scan(tray).wait(60)
    session.split().wait(60)
    session.embed().wait(60)
    return session


def is_hollow(session, seed):
    """The truth about a seed of the small tray."""
    scan, row = session.place_of(seed)
    _, y, x = session.regions(scan).centroid[row]
    return small_tray()[1][int(y // STEP) * GRID + int(x // STEP)]


def settle(session):
    """Wait until everything asked of the desk so far is done."""
    session.desk.do(lambda project: None).result(60)
