"""The window over a session: what a user sees after each step."""

import subprocess
import sys
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from napari_seedlab.session.session import Session
from napari_seedlab.ui import reading
from tests.ui.fake_session import FakeSession

WAIT_MS = 60_000


def test_the_fake_has_nothing_that_the_real_session_lacks(session):
    own = {"calls", "job", "mapped"}
    public = {n for n in dir(FakeSession) if not n.startswith("_")} - own
    missing = [n for n in public if not hasattr(Session, n)]
    assert not missing


def test_a_colour_that_another_project_lacks_is_not_kept(ui, session, qtbot, tmp_path):
    session.metadata.columns = {"Weight mg": {1: 2.0, 2: 4, 9: 8}}
    ui.set_colour_by("Weight mg")
    box = ui.docks["map"].mode
    assert box.currentText() == "Weight mg"
    ui.bind(FakeSession(tmp_path))
    qtbot.waitUntil(lambda: ui.layers.find("labels") is not None, timeout=WAIT_MS)
    ui.recolour()
    assert ui.colour_by == "label" and box.currentText() == "Label"
    assert ui.docks["map"].legend.entries[-1][0] == "no label"


def test_an_answer_recolours_without_new_layers_or_colormaps(ui, session, qtbot):
    session.refit()
    qtbot.waitUntil(lambda: not ui._redraw.isActive(), timeout=WAIT_MS)
    layers, colormap = list(ui.viewer.layers), ui.layers.find("labels").colormap
    session.look_at(5)
    session.answer(2)
    qtbot.waitUntil(lambda: ui.layers.find("labels").data.codes[5] == 2, timeout=WAIT_MS)
    assert list(ui.viewer.layers) == layers
    assert ui.layers.find("labels").colormap is colormap


def test_a_deleted_layer_comes_back(ui, session, qtbot):
    ui.viewer.layers.remove(ui.layers.find("seeds"))
    session.refit()
    qtbot.waitUntil(lambda: ui.layers.find("seeds") is not None, timeout=WAIT_MS)


def test_one_scan_is_visible_and_a_cube_tells_its_wavelength(ui, session, qtbot):
    session.show_scan(2)
    qtbot.waitUntil(lambda: ui.layers.find("composite") is not None, timeout=WAIT_MS)
    assert [x.name for x in ui.viewer.layers if "tray-1" in x.name] == ["tray-1 spectra"]
    ui.viewer.dims.set_current_step(0, 0)
    text = ui.viewer.canvas.overlays.text
    assert "400 nm" in text.text and text.position.startswith("top")  # messages of napari lie at the bottom
    assert str(ui.viewer.layers[0].units[0]) == "pixel"


def test_picking_a_seed_elsewhere_flies_into_its_scan(ui, session, qtbot):
    seed = int(session.regions(2).seed[3])
    ui.pick(seed, "map")
    qtbot.waitUntil(lambda: ui.layers.shown.scan.id == 2, timeout=WAIT_MS)
    assert session.current_seed == seed


def test_the_card_shows_three_cuts_and_the_reason(ui, session, qtbot):
    session.draw()
    card = ui.docks["labelling"]
    qtbot.waitUntil(lambda: card.cuts.n_cuts == 3, timeout=WAIT_MS)
    assert "cluster of 7" in card.reason.text()
    assert card.title.text().startswith("Seed 1")


def test_a_stroke_is_one_edit_and_undo_takes_it_off_the_layer(ui, session, qtbot):
    ui.strokes.take(2, 4)
    qtbot.waitUntil(lambda: ui.strokes._before is not None, timeout=WAIT_MS)
    layer, z = ui.layers.find("strokes"), ui.viewer.dims.current_step[0]
    layer.paint((z, 30, 30), 2)
    qtbot.waitUntil(lambda: bool(session.calls), timeout=WAIT_MS)
    kind, scan, axis, index, n, class_id = session.calls[-1]
    assert (kind, scan, axis, index, class_id) == ("stroke", 1, 0, z, 2) and n > 4
    session._raster.clear()
    session.strokes_changed.emit(-1, -1, -1)
    qtbot.waitUntil(lambda: not layer.data[z].any(), timeout=WAIT_MS)
    ui.strokes.put_away()
    assert not ui.strokes.is_painting


def test_a_loss_curve_grows_beside_the_loss_of_guessing(ui, session):
    train = ui.docks["train"]
    for i in range(5):
        session.job("net-1", i, 10, loss=1.0 / (i + 1), chance_loss=np.log(4))
    assert len(train.plot.lines[0].x) == 5
    assert train.plot.reference[1] == pytest.approx(np.log(4))
    assert "42 s left" in train.job.text()


def test_the_heatmap_comes_with_one_scale(ui, session, qtbot):
    session.find_odd()
    qtbot.waitUntil(lambda: ui.layers.find("heat") is not None, timeout=WAIT_MS)
    heat = ui.layers.find("heat")
    assert tuple(heat.contrast_limits) == (0.0, 255.0)  # what the raster holds, not the score
    clear, top = heat.colormap.map(np.array([0.0, 1.0]))
    assert clear[3] == 0 and top[3] == 1


def test_dark_seeds_are_split_and_previewed_as_such(ui, session, qtbot):
    dock = ui.docks["project"]
    assert "dark_objects" not in dock.recipe()
    dock.dark.setChecked(True)
    dock.automatic.setChecked(False)
    dock.preview.setChecked(True)
    try:
        assert dock.recipe()["dark_objects"] is True
        assert ui.layers.find("preview").data.dark
    finally:
        dock.preview.setChecked(False)
        dock.automatic.setChecked(True)
        dock.dark.setChecked(False)


def test_each_step_says_what_comes_next(ui, session, tmp_path):
    guide = ui.docks["project"].guide
    ui.bind(FakeSession(tmp_path, scans=False))
    assert "Open a scan" in guide.text()
    ui.bind(None)
    assert "new project" in guide.text()
    assert "project" in ui.docks["train"].blocked.text()


def test_no_slot_takes_long_on_many_seeds(ui, session):
    import time

    session.refit()
    start = time.process_time()
    ui.recolour()
    assert time.process_time() - start < 0.05


def test_importing_the_window_loads_nothing_that_belongs_into_a_worker():
    heavy = "torch sklearn umap dask.array zarr distributed sqlalchemy pyqtgraph".split()
    code = (
        f"import sys, napari_seedlab.ui.docks; sys.exit(str([m for m in {heavy} if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "", done.stderr


def test_seeds_that_were_split_elsewhere_are_mapped_once(ui, tmp_path, qtbot):
    session = FakeSession(tmp_path)
    session.desk.do = lambda work: work(None)
    ui.bind(session)
    qtbot.waitUntil(lambda: session.mapped == [1], timeout=WAIT_MS)
    opened = ui.layers.shown
    ui.listener.scan_opened(reading.read_scan(session, opened.scan.id))
    assert session.mapped == [1]
    unsplit = FakeSession(tmp_path, split=False)
    ui.bind(unsplit)
    qtbot.waitUntil(lambda: ui.layers.shown is not opened, timeout=WAIT_MS)
    assert unsplit.mapped == []


def test_a_project_of_an_earlier_version_is_brought_up_to_date_as_it_is_opened(ui, tmp_path, monkeypatch):
    session, asked = FakeSession(tmp_path), []
    monkeypatch.setattr(session.encoders, "renew", lambda: asked.append(session.follow_up))
    ui.bind(session)
    assert asked == [True]


def test_seeds_that_an_import_is_describing_are_not_described_once_more(ui, tmp_path, qtbot):
    session = FakeSession(tmp_path)
    session.desk.do = lambda work: work(None)
    session.desk.active = (SimpleNamespace(id="embed-000002-aa"),)
    ui.bind(session)
    qtbot.waitUntil(lambda: ui.layers.shown is not None and bool(ui.listener.mapped), timeout=WAIT_MS)
    assert session.mapped == []


@pytest.mark.parametrize(("dock", "kind"), [("project", "split"), ("train", "fcdd")])
def test_a_job_of_another_project_is_not_shown(ui, session, tmp_path, dock, kind, qtbot):
    row = ui.docks[dock].job
    ui.session.job(f"{kind}-1", 1, 10)
    qtbot.waitUntil(lambda: row.currentWidget() is not row._idle, timeout=WAIT_MS)
    ui.bind(FakeSession(tmp_path))
    assert row.status is None and row.currentWidget() is row._idle


def test_what_a_project_told_just_before_another_was_opened_is_not_heard(ui, session, tmp_path, qtbot):
    late = threading.Thread(target=session.message.emit, args=("error", "of the project before"))
    late.start()  # waits for the event loop
    late.join()
    (tmp_path / "other").mkdir()
    other = FakeSession(tmp_path / "other")
    ui.bind(other)
    then = threading.Thread(target=other.message.emit, args=("info", "of this one"))
    heard = []
    ui.said.connect(lambda text, _: heard.append(text))
    then.start()
    qtbot.waitUntil(lambda: "of this one" in heard)
    assert "of the project before" not in heard


def test_a_seed_that_was_being_halved_is_no_seed_of_the_next_project(ui, session, tmp_path, qtbot):
    ui.pick(7, "canvas")
    ui.repair("split")
    (tmp_path / "other").mkdir()
    other = FakeSession(tmp_path / "other")
    ui.bind(other)
    qtbot.waitUntil(lambda: ui.layers.find("image") is not None, timeout=WAIT_MS)
    for x in (30.0, 40.0):
        ui.clicks._clicked((10.0, 30.0, x))
    assert not [call for call in other.calls if call[0] == "split_seed"]


def test_a_project_that_another_one_replaced_is_freed(ui, session, qtbot, tmp_path):
    def is_warm():
        return ui.layers.find("labels") is not None and ui._had_project

    first = FakeSession(tmp_path)
    ui.bind(first)
    qtbot.waitUntil(is_warm, timeout=WAIT_MS)
    freed = weakref.ref(first.regions(1))
    del first
    ui.bind(session)
    qtbot.waitUntil(lambda: freed() is None, timeout=WAIT_MS)


def test_a_flight_does_not_go_on_in_the_scan_that_is_shown_next(ui, session, qtbot, monkeypatch):
    camera = ui.camera
    monkeypatch.setattr(camera, "animated", True)
    session.look_at(1)
    ui.jump()
    assert camera.is_flying
    camera._timer.stop()  # so that it is still under way when the other scan comes
    session.show_scan(2)
    qtbot.waitUntil(lambda: ui.layers.shown.scan.id == 2, timeout=WAIT_MS)
    assert not camera.is_flying
