from types import SimpleNamespace

import numpy as np
import pytest
from napari.layers._source import layer_source
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_seedlab.io.samples import SAMPLES, sample_scan
from napari_seedlab.ui import project_dock, projects


@pytest.fixture
def sample(ui):
    """Two loose layers, as napari's Open Sample makes them, and a layer of the user's own."""
    ui.bind(None)
    with layer_source(sample=("napari-seedlab", "hsi_tray")):
        ui.viewer.add_image(np.zeros((3, 8, 8)), name="hsi_tray", visible=False)
        ui.viewer.add_labels(np.zeros((8, 8), int), name="hsi_tray seeds", visible=False)
    ui.viewer.add_image(np.zeros((8, 8)), name="mine", visible=False)
    yield
    for name in ("hsi_tray", "hsi_tray seeds", "mine"):
        if name in ui.viewer.layers:
            ui.viewer.layers.remove(name)


def test_a_sample_without_a_project_is_offered_one(ui, session, sample, monkeypatch):
    dock, asked = ui.docks["project"], []
    assert dock.from_sample.isVisibleTo(dock) and "sample" in dock.guide.text()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a: (f"/tmp/{a[2]}", ""))
    monkeypatch.setattr(project_dock, "make_project", lambda *a: asked.append(a))
    dock.from_sample.click()
    assert asked == [(ui, "/tmp/hsi_tray.seedlab", "hsi_tray")]
    ui.viewer.layers.remove("hsi_tray")
    ui.viewer.layers.remove("hsi_tray seeds")
    assert not dock.from_sample.isVisibleTo(dock) and "new project" in dock.guide.text()


def test_the_project_gets_the_scan_in_place_of_the_loose_layers(ui, session, sample):
    projects._show(ui, session, sample="hsi_tray")
    QApplication.processEvents()
    assert ("import_scan", str(sample_scan("hsi_tray"))) in session.calls
    names = {layer.name for layer in ui.viewer.layers}
    assert "mine" in names and not names & {"hsi_tray", "hsi_tray seeds"}
    assert not ui.docks["project"].from_sample.isVisibleTo(ui.docks["project"])


@pytest.mark.parametrize("name", SAMPLES)
def test_each_sample_has_its_scan(name):
    assert sample_scan(name).is_file()


def test_a_scan_that_is_opened_is_shown(ui, session, monkeypatch, qtbot):
    class Imported:
        def then(self, follow):
            follow({"scan": 2})

    shown = []
    monkeypatch.setattr(session, "import_scan", lambda path: Imported())
    monkeypatch.setattr(session, "show_scan", shown.append)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: ("/tmp/second.tif", ""))
    ui.docks["project"]._ask_scan()
    assert shown == [2]


def test_a_sheet_of_pictures_offers_no_split(ui, session):
    dock = ui.docks["project"]
    assert dock.split.isEnabled()
    session.sheets = {session.current_scan: SimpleNamespace(sheet=SimpleNamespace(n=240))}
    dock.show_scans()
    parts = (dock.split, dock.automatic, dock.dark, dock.preview, dock.more, dock.slider)
    assert not any(part.isEnabled() for part in parts) and "one seed already" in dock.split.toolTip()
    assert dock.facts.full_text() == "240 pictures of one seed each"


def test_all_buttons_are_in_sight_on_a_small_screen(ui, qtbot):
    dock = ui.docks["project"]
    dock.parentWidget().raise_()
    qtbot.waitUntil(dock.isVisible)
    if dock.height() > 460:  # as on a screen of 1366 × 768
        dock.resize(dock.width(), 440)
    QApplication.processEvents()
    bottom = dock.scroll.viewport().height()
    for button in (dock.split, dock.merge, dock.part, dock.remove, dock.export):
        assert button.mapTo(dock.body, button.rect().bottomRight()).y() <= bottom
        assert button.width() >= button.fontMetrics().horizontalAdvance(button.text())
    assert not dock.sigma.isVisible()
    dock.more.click()
    assert dock.sigma.isVisibleTo(dock)
    dock.more.click()


def test_a_table_about_seeds_is_added(ui, session, monkeypatch, qtbot):
    dock, added = ui.docks["project"], []
    monkeypatch.setattr(session.metadata, "add_table", added.append)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: ("/tmp/t.csv", ""))
    dock.add_table.click()
    assert added == ["/tmp/t.csv"]
    session.metadata.columns = {"mg": {1: 2.5}}
    session.metadata.changed.emit()
    qtbot.waitUntil(lambda: "mg" in ui.docks["map"]._modes)
    session.seeds = {}
    dock.refresh()
    assert not dock.add_table.isEnabled()
