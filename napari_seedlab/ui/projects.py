"""Opening and making projects beside the event loop, and the list of recent ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSettings

from napari_seedlab.core import ProjectLocked, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer

    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.app import SeedlabUi

N_RECENT = 8
SUFFIX = ".seedlab"
PLUGIN = "napari-seedlab"


def make_project(ui: SeedlabUi, path: str | Path, sample: str = "") -> None:
    """Make a project folder and show it; with the scan of `sample` in place of its loose layers."""
    _submit(ui, partial(_make, Path(path)), partial(_show, ui, sample=sample))
    ui.say("Making the project…")


def open_project(ui: SeedlabUi, path: str | Path) -> None:
    """Open a project folder and show it; read-only where somebody else writes it."""
    _submit(ui, partial(_open, Path(path)), partial(_show, ui))
    ui.say("Opening the project…")


def map_what_was_split(session: Session, scan: int, pools: set[str]) -> None:
    """Have the map made of seeds that were split elsewhere, as by the command, once for each of the pools.

    Seeds of a folder of pictures come split: what the import began is not begun once more.
    """
    table = session.regions(scan)
    is_new = session.pool not in pools and session.layout is None
    if is_new and not session.read_only and table is not None and len(table):
        pools.add(session.pool)
        session.desk.do(lambda _: _map_unless_begun(session, scan))  # what was asked before is active by then


def _map_unless_begun(session: Session, scan: int) -> None:
    kinds = {request.id.partition("-")[0] for request in session.desk.active}
    if session.layout is None and not any(kind == "embed" or kind.startswith("map") for kind in kinds):
        session.after_split(scan)


def _submit(ui: SeedlabUi, work: Callable[[], Session], show: Callable[[Session], None]) -> None:
    """Show the session that `work` opens; one that another took the place of is closed, its lock freed."""
    ui.background.submit("project", work, show, lambda session: session.close())


def loose_samples(ui: SeedlabUi) -> dict[str, list[Layer]]:
    """Layers of napari's *Open Sample* by the name of our sample; they belong to no project."""
    found: dict[str, list[Layer]] = {}
    for layer in ui.viewer.layers:
        plugin, name = layer.source.sample or ("", "")
        if plugin == PLUGIN:
            found.setdefault(name, []).append(layer)
    return found


def _show(ui: SeedlabUi, session: Session, sample: str = "") -> None:
    loose = loose_samples(ui).get(sample, [])
    ui.say("", "info")
    ui.bind(session)
    if sample:
        from napari_seedlab.io.samples import sample_scan

        for layer in loose:
            ui.viewer.layers.remove(layer)
        session.import_scan(sample_scan(sample), name=sample)


def _make(path: Path) -> Session:
    from napari_seedlab.jobs import ClusterRunner
    from napari_seedlab.session.session import Session

    named = path if path.name.endswith(SUFFIX) else path.with_name(path.name + SUFFIX)
    settings = preferences()  # reads manifests: not on the thread of the widgets
    runner = ClusterRunner(settings)
    session = Session.create(named, runner, settings)
    runner.start()
    return session


def _open(path: Path) -> Session:
    from napari_seedlab.jobs import ClusterRunner
    from napari_seedlab.session.session import Session

    settings = preferences()  # reads manifests: not on the thread of the widgets
    runner = ClusterRunner(settings)
    try:
        session = Session.open(path, runner, settings)
    except ProjectLocked:
        session = Session.open(path, runner, settings, read_only=True)
    runner.start()
    return session


def preferences() -> Settings:
    """What the user set under Preferences › Plugins."""
    from napari.settings import get_plugin_settings

    try:
        chosen = get_plugin_settings("napari-seedlab").general
    except (KeyError, AttributeError):  # run from a checkout that is not installed
        return Settings()
    return Settings(str(chosen.annotator), str(chosen.scheduler), float(chosen.memory_limit_gb))


def _store() -> QSettings:
    return QSettings(
        QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-seedlab", "napari-seedlab"
    )


def recent() -> list[str]:
    """Projects opened before, the newest first."""
    value = _store().value("recent", [])
    return [value] if isinstance(value, str) else [str(v) for v in value or []]


def remember(path: Path) -> None:
    """Put a project first in the list of recent ones."""
    others = [p for p in recent() if p != str(path)]
    _store().setValue("recent", [str(path), *others][:N_RECENT])


def forget_missing() -> list[str]:
    """Recent projects that are still there."""
    return [p for p in recent() if Path(p).is_dir()]
