"""The demo: a project with a sample tray, shown to a user or played by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import InputError, JobError
from napari_seedlab.ui import judge

if TYPE_CHECKING:
    from napari import Viewer

    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.app import SeedlabUi

DEMO = "demo.seedlab"
N_FIRST, N_SECOND = 120, 1000
SECOND_STATE = 10_000  # added to the random state of the tray that is never asked about


def show() -> dict[str, Any]:
    """Open napari with the docks and the demo project in this folder; returns when it is closed."""
    import napari

    viewer = napari.Viewer(title="Seedlab")
    path = Path(DEMO).absolute()
    is_new = not path.exists()
    session = _session(path, is_new)
    from napari_seedlab.ui.docks import open_docks

    ui = open_docks(viewer, session)
    if is_new:
        from napari_seedlab.io.samples import sample_folder

        session.import_scan(sample_folder("ct_tray") / "scan.tif", name="Sample tray")
    napari.run()
    ui.close()
    return {"project": str(path)}


def _session(path: Path, is_new: bool, random_state: int = 0) -> Session:
    from napari_seedlab.core import Settings
    from napari_seedlab.jobs import ClusterRunner
    from napari_seedlab.session import Session

    settings = Settings(random_state=random_state)
    runner = ClusterRunner(settings)
    session = (Session.create if is_new else Session.open)(path, runner, settings)
    runner.start()
    return session


def play(
    screenshots: Path | None, random_state: int, n_answers: int, size: tuple[int, int]
) -> dict[str, Any]:
    """Play the whole story in a real window; returns what was measured.

    Parameters
    ----------
    screenshots : Path or None
        Folder for pictures; made if missing.
    random_state : int
        Of the trays and of everything the app draws.
    n_answers : int
        How many answers the truth gives.
    size : tuple of int
        Width and height of the window in pixels.
    """
    if not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform in ("win32", "darwin")
    ):
        raise InputError("demo", "there is no display", "Run it under xvfb-run -a")
    if screenshots is not None:
        screenshots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="seedlab-demo-", ignore_cleanup_errors=True) as folder:
        trays = _make_trays(Path(folder), random_state)
        values = _play_in(Path(folder), trays, screenshots, random_state, n_answers, size)
        values["lateness"] |= _controls(Path(folder), trays[0], size)
    return judge.rounded(values)  # type: ignore[no-any-return]


def _make_trays(folder: Path, random_state: int) -> tuple[Path, Path]:
    from napari_seedlab.io.samples import write_sample

    first, second = folder / "tray", folder / "second"
    write_sample("ct", N_FIRST, random_state, first)
    write_sample("ct", N_SECOND, random_state + SECOND_STATE, second)
    return first, second


def _play_in(
    folder: Path,
    trays: tuple[Path, Path],
    screenshots: Path | None,
    random_state: int,
    n_answers: int,
    size: tuple[int, int],
) -> dict[str, Any]:
    import napari

    from napari_seedlab.ui.autoplay import Player
    from napari_seedlab.ui.docks import open_docks

    viewer = napari.Viewer(title="Seedlab")
    viewer.window._qt_window.resize(*size)
    ui = open_docks(viewer)
    try:
        ui.bind(_session(folder / DEMO, True, random_state))
        player = Player(viewer, ui, trays, screenshots, random_state)
        player.meter.start()
        player.open_scan()
        player.split()
        player.find_odd()
        player.label(n_answers)
        player.finish_training()
        player.look_around()
        player.paint()
        player.export(folder / "export")
        player.judge_on_second_tray()
        lateness = player.meter.stop()
        return _summary(player.story, lateness) | _reopen(viewer, ui, folder / DEMO, random_state)
    finally:
        ui.close()
        viewer.close()


def _summary(story: Any, lateness: dict[str, Any]) -> dict[str, Any]:
    quiet, busy = (np.asarray(v or [0.0]) for v in (story.answer_ms, story.answer_ms_training))
    answer = {
        "median": float(np.median(quiet)), "max": float(quiet.max()),
        "training_median": float(np.median(busy)), "training_max": float(busy.max()), "training_n": len(busy),
    }  # fmt: skip
    return {**story.values, "answer_to_colours_ms": answer, "lateness": lateness, "seconds": story.seconds}


def _reopen(viewer: Viewer, ui: SeedlabUi, path: Path, random_state: int) -> dict[str, Any]:
    """Close the project, open it again, and compare what is there."""
    from napari_seedlab.ui import hands

    before = ui.session
    assert before is not None
    place, labels = [s.uuid for s in before.queue], dict(before.labels)
    ui.bind(None)
    hands.breathe()
    ui.bind(_session(path, False, random_state))
    after = ui.session
    assert after is not None
    hands.wait_until(lambda: ui.layers.shown is not None, "the reopened scan")
    return {
        "reopened_same_labels": after.labels == labels,
        "reopened_same_place": [s.uuid for s in after.queue] == place,
    }


def _controls(folder: Path, tray: Path, size: tuple[int, int]) -> dict[str, Any]:
    """Lateness of bare napari with the same layers, alone and beside the same jobs."""
    import tifffile

    np.save(folder / "volume.npy", tifffile.imread(tray / "scan.tif"))
    np.save(folder / "raster.npy", tifffile.imread(tray / "instances.tif").astype(np.int32))
    return {"control": _control(folder, size), "control_beside_jobs": _control(folder, size, folder / DEMO)}


def _control(folder: Path, size: tuple[int, int], *project: Path) -> dict[str, Any]:
    """Run the control in a process of its own."""
    command = [sys.executable, "-m", "napari_seedlab.ui.control", str(folder / "volume.npy")]
    command += [str(folder / "raster.npy"), f"{size[0]}x{size[1]}", *map(str, project)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if out.returncode:
        raise JobError("control", (out.stderr.strip().splitlines() or ["no output"])[-1], "See the log")
    return dict(json.loads(out.stdout.strip().splitlines()[-1]))
