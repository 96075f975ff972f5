"""Colour pictures in the viewer, and folders of them that are opened or dropped."""

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from PIL import Image
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QFileDialog

from napari_seedlab.core import Modality, Scan, ScanFacts
from napari_seedlab.files import ArraySource
from napari_seedlab.ui import reading
from napari_seedlab.ui.card import CutsView
from napari_seedlab.ui.drops import dropped_folder, holds_pictures
from napari_seedlab.ui.layers import SeedlabLayers

FACTS = ScanFacts(
    "sheet", Modality.IMAGE, (3, 6, 8), ("band", "y", "x"), "uint8", None, None, "grains", 144, 0
)


class OneScan:
    """What `read_scan` asks of a session."""

    def __init__(self, folder, facts, array):
        array.tofile(folder / "scan.raw")
        source = ArraySource(str(folder / "scan.raw"), "raw", array.shape, facts.axes, array.dtype.str)
        self.scans = {1: Scan(1, facts)}
        self.scan_source, self.regions_source = (lambda _: source), (lambda _: None)


def test_a_colour_picture_is_one_layer_in_its_colours(qapp, tmp_path):
    bands = np.random.default_rng(0).integers(0, 255, (3, 6, 8)).astype(np.uint8)
    opened = reading.read_scan(OneScan(tmp_path, FACTS, bands), 1)
    layers = SeedlabLayers(ViewerModel())
    layers.show(opened, None)
    image = layers.find("image")
    assert image.rgb and image.data.shape == (1, 6, 8, 3) and layers.find("composite") is None
    np.testing.assert_array_equal(image.data[0], bands.transpose(1, 2, 0))
    np.testing.assert_allclose(opened.image[0], bands.mean(0), atol=1)
    assert layers.grey_range() == opened.limits
    layers.show_heat(np.full((1, 6, 8), 9, np.uint8), (0.0, 3.0))
    assert layers.find("heat").data.shape == (1, 6, 8)
    layers.preview(100.0)
    assert layers.find("preview") is not None
    regions = np.zeros((1, 6, 8), np.int32)
    layers.show_regions(regions, None)
    assert layers.shown.planes.shape == (1, 6, 8)


def test_deep_colours_are_shown_by_their_upper_byte(qapp, tmp_path):
    bands = np.full((3, 6, 8), 0x1234, np.uint16)
    facts = ScanFacts(**{**FACTS.__dict__, "dtype": "uint16"})
    opened = reading.read_scan(OneScan(tmp_path, facts, bands), 1)
    assert (opened.composite == 0x12).all()
    assert (opened.image == 0x1234).all()  # thresholds are meant in the levels that the split sees


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "grains"
    (place / "Good").mkdir(parents=True)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(place / "Good" / "a.png")
    return place


def drop(ui, *paths):
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(p)) for p in paths])
    event = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, data,
        Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    window = ui.viewer.window._qt_viewer
    return ui.docks["project"].drops.eventFilter(window, event)


def test_a_dropped_folder_of_pictures_is_imported(ui, session, folder):
    assert drop(ui, folder)
    assert ("import_folder", str(folder)) in session.calls


def test_what_is_no_such_folder_is_left_to_napari(ui, session, folder, tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("x")
    assert not drop(ui, tmp_path / "text") and not drop(ui, folder, folder)
    assert not drop(ui, folder / "Good" / "a.png")
    session.read_only = True
    assert not drop(ui, folder)
    session.read_only = False
    assert not [c for c in session.calls if c[0] == "import_folder"]
    assert not holds_pictures(tmp_path / "missing")


def test_the_filter_sits_on_what_takes_drops(ui, folder):
    assert ui.viewer.window._qt_viewer.acceptDrops()  # Qt sends a drop to the nearest such widget
    data = QMimeData()
    data.setText("no file")
    event = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, data,
        Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    assert dropped_folder(event) is None


def test_a_folder_that_is_opened_is_shown(ui, session, monkeypatch):
    class Imported:
        def then(self, follow):
            follow({"scan": 2})

    shown = []
    monkeypatch.setattr(session, "import_folder", lambda path: Imported())
    monkeypatch.setattr(session, "show_scan", shown.append)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: "/tmp/grains")
    ui.docks["project"].add_folder.click()
    assert shown == [2]


def test_inspect_names_the_file_of_pictures_only(ui, session, monkeypatch):
    from napari_seedlab.ui import inspect_dock

    dock = ui.docks["inspect"]
    ui.raise_dock("inspect")
    dock.show_seed(3)
    assert dock.fields["File"].isHidden()
    monkeypatch.setattr(inspect_dock, "file_of", lambda _session, seed: f"Good/<grain> {seed}.png")
    dock.show_seed(4)
    assert not dock.fields["File"].isHidden() and dock.fields["File"].text() == "&lt;grain&gt; 4.png"
    monkeypatch.undo()
    dock.show_seed(3)
    assert dock.fields["File"].isHidden()


def test_the_card_shows_a_photo_in_its_colours(qapp, tmp_path):
    bands = np.full((3, 6, 8), 4, np.uint8)
    bands[:, 2:4, 2:6] = np.asarray([60, 30, 10], np.uint8)[:, None, None]
    regions = np.zeros((1, 6, 8), np.int32)
    regions[0, 2:4, 2:6] = 1
    regions.tofile(tmp_path / "regions.raw")
    session = OneScan(tmp_path, FACTS, bands)
    where = ArraySource(str(tmp_path / "regions.raw"), "raw", regions.shape, ("z", "y", "x"), "<i4")
    table = SimpleNamespace(region=np.asarray([1]), box=np.asarray([[0, 2, 2, 1, 4, 6]]))
    session.place_of, session.regions = (lambda _: (1, 0)), (lambda _: table)
    session.regions_source = lambda _: where
    (cut,) = reading.read_cuts(session, 1)
    assert cut.shape == (8, 8, 3)
    view = CutsView()
    view.show_cuts((cut,), seed=1)
    seed, beside = (view._images[0].pixelColor(x, 3).getRgb()[:3] for x in (4, 0))
    assert seed == (255, 127, 42), "as bright as its own pixels allow, in their proportion"
    assert max(beside) < 10
