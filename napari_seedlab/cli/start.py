"""Commands of a project that starts from another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_seedlab.cli.frame import opened
from napari_seedlab.core import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_seedlab.session import Session


def new(project: Path, source: Path | None, classes: Path | None, earlier: Path | None) -> dict[str, Any]:
    """Make a project; or let one, new or not, start from an earlier one."""
    from napari_seedlab.session import making

    if earlier is None:
        return making.new_project(project, source, classes)
    if source is not None or classes is not None:
        cause = "gives the classes itself"
        raise InputError("--start-from", cause, f"Leave {'--from' if source else '--classes'} out")
    made = {} if project.is_dir() else making.new_project(project, earlier=earlier)
    with opened(project) as session:
        taken = session.origin.start_from(earlier).wait()
        return {**made, "project": str(session.path), **taken, **predicted(session)}


def predicted(session: Session) -> dict[str, Any]:
    """Have the seeds of the shown pool predicted by the model of an earlier project; what there is to say."""
    if session.origin.serves(session.pool) and not session.read_only:
        task = session.refit()
        if task is not None:
            task.wait()
    return session.origin.told_in_json(session.pool)
