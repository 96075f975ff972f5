"""What stands where nothing is to be seen yet: what is on its way, or what to do for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.app import SeedlabUi


def before_seeds(session: Session | None) -> str:
    """What to do until there are seeds; empty where there are some.

    >>> before_seeds(None)
    'Open a project in the Project dock.'
    """
    if session is None:
        return "Open a project in the Project dock."
    if not session.scans:
        return "Open a scan in the Project dock."
    if not any(session.regions(scan) is not None for scan in session.scans):
        return "Press “Split into seeds” in the Project dock."
    return ""


def on_map(session: Session | None) -> str:
    """Why the map is empty, in one sentence that is true now.

    >>> on_map(None)
    'Open a project: the map of its seeds appears here.'
    """
    if session is None:
        return "Open a project: the map of its seeds appears here."
    kinds = _at_work(session)
    n_seeds = sum(
        len(table)
        for scan in session.scans_of(session.pool)
        if (table := session.regions(scan.id)) is not None
    )
    if not n_seeds:
        if "import" in kinds:
            return "The scan is being opened."
        if "split" in kinds:
            return "The scan is being split: the map of its seeds comes after."
        what = "Split the scan into seeds" if session.scans else "Open a scan and split it into seeds"
        return f"{what}: their map appears here."
    seeds = "1 seed" if n_seeds == 1 else f"{n_seeds:,} seeds"
    if "embed" in kinds:
        return f"{seeds} {'is' if n_seeds == 1 else 'are'} being described: the map comes after."
    if any(kind.startswith("map") for kind in kinds):
        return f"The map of {seeds} is being drawn."
    if session.maps_by_itself(session.pool):
        return f"{seeds}: the map comes by itself."
    if session.read_only:
        return f"{seeds}, of which no map was made."
    return f"{seeds}, not described yet: choose what describes them under Train, Encoders."


def on_canvas(ui: SeedlabUi) -> str:
    """What is on its way to a viewer that shows no layer; empty where nothing is."""
    session = ui.session
    if ui.background.is_awaited("project"):
        return "Opening the project…"
    if session is None:
        return ""
    if session.current_scan in session.scans and ui.background.is_awaited("scan"):
        return f"Reading {session.scans[session.current_scan].facts.name}…"
    return "Opening the scan…" if "import" in _at_work(session) else ""


def _at_work(session: Session) -> set[str]:
    """The kinds of the jobs that have not ended."""
    return {request.id.partition("-")[0] for request in session.desk.active}
