"""The six docks, and where they stand beside the viewer."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt

from napari_seedlab.ui.app import SeedlabUi, ui_for
from napari_seedlab.ui.gallery_dock import GalleryDock
from napari_seedlab.ui.inspect_dock import InspectDock
from napari_seedlab.ui.labelling_dock import LabellingDock
from napari_seedlab.ui.map_dock import MapDock
from napari_seedlab.ui.project_dock import ProjectDock
from napari_seedlab.ui.train_dock import TrainDock

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from qtpy.QtWidgets import QWidget

    from napari_seedlab.session.session import Session

DOCKS: dict[str, Callable[[SeedlabUi], QWidget]] = {
    "project": ProjectDock,
    "labelling": LabellingDock,
    "train": TrainDock,
    "inspect": InspectDock,
    "map": MapDock,
    "gallery": GalleryDock,
}
WIDTH_PX, MAX_WIDTH_PX = 330, 350
MAP_SHARE = 0.34  # of the height beside the viewer


def make_dock(ui: SeedlabUi, name: str) -> QWidget:
    """A dock of the viewer's one owner; at most one of each name is kept up to date."""
    dock = DOCKS[name](ui)
    dock.setObjectName(f"seedlab-{name}")
    ui.add_dock(name, dock)
    if name == "map":
        ui.listener.layout_came()
    ui.recolour_soon()
    return dock


def open_docks(viewer: napari.Viewer, session: Session | None = None) -> SeedlabUi:
    """Open all docks beside the viewer: four as tabs, the map below them, the gallery hidden until G.

    Parameters
    ----------
    viewer : napari.Viewer
        Where to open them.
    session : Session, optional
        The project to show.

    Returns
    -------
    SeedlabUi
        The owner; it closes with the viewer.
    """
    ui = ui_for(viewer)
    viewer = ui.viewer  # not the proxy that napari's commands get
    window = viewer.window._qt_window
    placed = {}
    for name in DOCKS:
        if name in ui.docks:
            continue
        title = name.capitalize()
        dock = make_dock(ui, name)
        area = "bottom" if name == "gallery" else "right"
        placed[name] = viewer.window.add_dock_widget(dock, name=title, area=area, add_vertical_stretch=False)
    if "gallery" in placed:  # beside the others, which keep their full height
        window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        placed["gallery"].hide()
    tabs = [placed[name] for name in placed if name not in ("map", "gallery")]
    for before, after in itertools.pairwise(tabs):
        window.tabifyDockWidget(before, after)
    if tabs:
        tabs[0].raise_()
        window.resizeDocks([tabs[0]], [WIDTH_PX], Qt.Orientation.Horizontal)
    if tabs and "map" in placed:
        height = window.height()
        sizes = [round(height * (1 - MAP_SHARE)), round(height * MAP_SHARE)]
        window.resizeDocks([tabs[0], placed["map"]], sizes, Qt.Orientation.Vertical)
    if session is not None:
        ui.bind(session)
    return ui
