"""What napari's own menus do: docks and commands as the manifest names them."""

import warnings
from pathlib import Path

import napari
import pytest
from npe2 import PluginManager, PluginManifest
from qtpy.QtWidgets import QApplication

from napari_seedlab.ui.app import ui_for

MANIFEST = Path(__file__).parents[2] / "napari.yaml"
NAMES = ("Project", "Labelling", "Map", "Gallery", "Train", "Inspect")


@pytest.fixture
def viewer(qapp):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = napari.Viewer(show=True)
        yield made
        ui_for(made).close()
        made.close()
        qapp.processEvents()


@pytest.fixture
def manager():
    found = PluginManager.instance()
    if "napari-seedlab" not in found:
        found.register(PluginManifest.from_file(MANIFEST))
    return found


def test_the_docks_open_from_the_menu(manager, viewer):
    for widget in manager.get_manifest("napari-seedlab").contributions.widgets:
        dock, inner = viewer.window.add_plugin_dock_widget("napari-seedlab", widget.display_name)
        QApplication.processEvents()
        assert dock.isVisible() and inner.isVisible()
    assert set(ui_for(viewer).docks) == {n.lower() for n in NAMES}


def test_a_command_gets_the_viewer_behind_the_proxy(manager, viewer):
    from napari.utils._proxies import PublicOnlyProxy

    command = manager.commands.get("napari-seedlab.open_docks")
    command(PublicOnlyProxy(viewer))
    QApplication.processEvents()
    assert set(ui_for(viewer).docks) == {n.lower() for n in NAMES}
