"""Opening and making projects beside the event loop, and the list of recent ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSettings

from napari_seedlab.core import ProjectLocked, Settings

if TYPE_CHECKING:
    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.app import SeedlabUi

N_RECENT = 8
SUFFIX = ".seedlab"


def make_project(ui: SeedlabUi, path: str | Path) -> None:
    """Make a project folder and show it."""
    ui.say("Making the project…")
    ui.background.submit("project", partial(_make, Path(path)), partial(_show, ui))


def open_project(ui: SeedlabUi, path: str | Path) -> None:
    """Open a project folder and show it; read-only where somebody else writes it."""
    ui.say("Opening the project…")
    ui.background.submit("project", partial(_open, Path(path)), partial(_show, ui))


def _show(ui: SeedlabUi, session: Session) -> None:
    ui.say("", "info")
    ui.bind(session)


def _make(path: Path) -> Session:
    from napari_seedlab.jobs import ClusterRunner
    from napari_seedlab.session.session import Session

    named = path if path.name.endswith(SUFFIX) else path.with_name(path.name + SUFFIX)
    return _started(lambda runner, settings: Session.create(named, runner, settings), ClusterRunner)


def _open(path: Path) -> Session:
    from napari_seedlab.jobs import ClusterRunner
    from napari_seedlab.session.session import Session

    try:
        return _started(lambda runner, settings: Session.open(path, runner, settings), ClusterRunner)
    except ProjectLocked:
        return _started(
            lambda runner, settings: Session.open(path, runner, settings, read_only=True), ClusterRunner
        )


def _started(make: object, runner_type: type) -> Session:
    settings = preferences()
    runner = runner_type(settings)
    session: Session = make(runner, settings)  # type: ignore[operator]
    runner.start()
    return session


def preferences() -> Settings:
    """What the user set under Preferences › Plugins."""
    store = _store()
    return Settings(
        annotator=str(store.value("annotator", "")),
        scheduler=str(store.value("scheduler", "")),
        memory_limit_gb=float(store.value("memory_limit_gb", 4.0)),
    )


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
