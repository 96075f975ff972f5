"""What the manifest names: docks from the menu, and a command for every action."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_seedlab.ui.app import ui_for
from napari_seedlab.ui.docks import make_dock
from napari_seedlab.ui.docks import open_docks as _open_docks

if TYPE_CHECKING:
    import napari


class _DockWidget(QWidget):
    """A dock as napari makes it from its menu: a widget class that takes the viewer."""

    dock_name = ""

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(make_dock(ui_for(napari_viewer), self.dock_name))


class ProjectDockWidget(_DockWidget):
    """Project: scans, split, repair, export."""

    dock_name = "project"


class LabellingDockWidget(_DockWidget):
    """Labelling: the card of the asked seed."""

    dock_name = "labelling"


class MapDockWidget(_DockWidget):
    """Map: seeds that look alike lie close together."""

    dock_name = "map"


class GalleryDockWidget(_DockWidget):
    """Gallery: all seeds as pictures, clusters, a bin for each class."""

    dock_name = "gallery"


class TrainDockWidget(_DockWidget):
    """Train: odd seeds, network, loss curve."""

    dock_name = "train"


class InspectDockWidget(_DockWidget):
    """Inspect: all that is known about one seed."""

    dock_name = "inspect"


def open_docks(viewer: napari.Viewer) -> None:
    """Open all docks."""
    _open_docks(viewer)


def split(viewer: napari.Viewer) -> None:
    """Split the shown scan into seeds."""
    ui = ui_for(viewer)
    ui.slot(ui.split)()


def find_odd(viewer: napari.Viewer) -> None:
    """Score every seed by oddness, without labels."""
    _call(viewer, "find_odd")


def train_network(viewer: napari.Viewer) -> None:
    """Train the network on the labels so far."""
    _call(viewer, "train")


def draw_map(viewer: napari.Viewer) -> None:
    """Draw the map of the seeds again."""
    _call(viewer, "make_map")


def suggest(viewer: napari.Viewer) -> None:
    """Draw the next seeds to ask about."""
    _call(viewer, "draw")


def toggle_labelling(viewer: napari.Viewer) -> None:
    """Start or stop labelling."""
    ui_for(viewer).mode.toggle()


def next_seed(viewer: napari.Viewer) -> None:
    """Go to the next suggestion."""
    _call(viewer, "skip")


def previous_seed(viewer: napari.Viewer) -> None:
    """Go to the suggestion before."""
    _call(viewer, "previous")


def accept(viewer: napari.Viewer) -> None:
    """Answer with the predicted class."""
    _call(viewer, "accept")


def undo(viewer: napari.Viewer) -> None:
    """Take the newest edit back."""
    _call(viewer, "undo")


def redo(viewer: napari.Viewer) -> None:
    """Do the edit that was taken back once more."""
    _call(viewer, "redo")


def toggle_heatmap(viewer: napari.Viewer) -> None:
    """Show or hide the anomaly heatmap."""
    ui = ui_for(viewer)
    ui.slot(ui.toggle_heatmap)()


def toggle_predictions(viewer: napari.Viewer) -> None:
    """Colour the outlines by prediction, or leave them grey."""
    ui = ui_for(viewer)
    ui.slot(ui.toggle_predictions)()


def toggle_gallery(viewer: napari.Viewer) -> None:
    """Show or hide the gallery."""
    ui = ui_for(viewer)
    ui.slot(ui.toggle_gallery)()


def jump(viewer: napari.Viewer) -> None:
    """Fly to the seed on the card."""
    ui = ui_for(viewer)
    ui.slot(ui.jump)()


def merge(viewer: napari.Viewer) -> None:
    """Make one seed of the selected ones."""
    _repair(viewer, "merge")


def split_in_two(viewer: napari.Viewer) -> None:
    """Cut the selected seed between two clicks."""
    _repair(viewer, "split")


def delete(viewer: napari.Viewer) -> None:
    """Take the selected regions away."""
    _repair(viewer, "delete")


def _call(viewer: napari.Viewer, action: str) -> None:
    ui = ui_for(viewer)
    ui.slot(lambda: ui.do(action))()


def _repair(viewer: napari.Viewer, what: str) -> None:
    ui = ui_for(viewer)
    ui.slot(lambda: ui.repair(what))()
