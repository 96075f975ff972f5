"""One seed in the Inspect dock: each part with something to show, and each without."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from napari_seedlab import files
from napari_seedlab.core import Modality
from napari_seedlab.ui import hands, photos, reading
from napari_seedlab.ui.inspect_dock import FIELDS
from tests.ui.fake_session import REASON, FakeSession

WAIT_MS = 60_000


@pytest.fixture
def dock(ui, qtbot):
    """The Inspect dock in front of the others."""
    ui.raise_dock("inspect")
    dock = ui.docks["inspect"]
    dock.scroll.verticalScrollBar().setValue(0)
    yield dock
    dock.alone.leave()
    qtbot.waitUntil(lambda: dock.alone.layer() is None, timeout=WAIT_MS)
    ui.raise_dock("project")


def look_at(session, dock, seed, qtbot):
    """Show a seed, and let all that is read about it come: pictures, neighbours, answers."""
    session.look_at(seed)
    qtbot.waitUntil(lambda: dock.cuts.n_pictures > 0, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not any(s.is_waiting for s in dock.sections), timeout=WAIT_MS)


def test_without_a_seed_it_says_how_to_get_one(ui, session, dock, tmp_path):
    assert dock.title.text() == "No seed" and "Click a seed" in dock.hint.text()
    assert all(section.isHidden() for section in dock.sections) and dock.alone_button.isHidden()
    ui.bind(FakeSession(tmp_path, split=False))
    assert "Split into seeds" in dock.hint.text()
    ui.bind(FakeSession(tmp_path, scans=False))
    assert "Open a scan" in dock.hint.text()
    ui.bind(None)
    assert "Open a project" in dock.hint.text()


def test_a_part_that_has_nothing_yet_says_so_in_a_line(ui, session, dock, qtbot):
    look_at(session, dock, 5, qtbot)
    lines = [section.missing for section in dock.sections]
    assert "Find odd ones" in lines[0]
    assert "No prediction yet" in lines[1] and not lines[2]
    assert "None yet" in lines[4] and "Nothing was said" in lines[5]
    assert [s for s in dock.sections if s.isHidden()] == [dock.spectrum_section]  # a volume has none


def test_facts_probabilities_and_cuts_of_the_seed_on_the_card(ui, session, dock, qtbot):
    session.make_map()
    session.refit()
    look_at(session, dock, 5, qtbot)
    assert dock.cuts.n_pictures == 3 and not dock.shape.missing
    found = reading.read_portrait(session, 5)
    assert all(c.shape[1] >= c.shape[0] - 1 for c in found.cuts)
    assert found.cell_um == pytest.approx(40 * 25 / 160, rel=0.3)
    assert found.spectrum is None and found.odd is None
    expected = session.predictions.of(5)
    assert {c.id: p for c, p in dock.prediction.bars.rows} == expected
    assert dock.prediction.note == "live model" and "head-1" in dock.prediction.toolTip()
    assert "Cluster" in FIELDS and "Group" not in FIELDS
    assert dock.fields["Cluster"].text() == str(int(session.layout.cluster[4]) + 1)
    assert "mm³" in dock.fields["Size"].text() and dock.title.text() == "Seed 5"


def test_a_plane_has_one_cut_a_spectrum_and_no_third_dimension(ui, session, dock, qtbot):
    seed = int(session.regions(2).seed[3])
    look_at(session, dock, seed, qtbot)
    assert dock.cuts.n_pictures == 1
    assert len(dock.spectrum.lines[0].x) == 12 and not dock.spectrum_section.missing
    assert dock.alone_button.isHidden() and dock.fields["Position"].text().startswith("y ")


def test_of_a_photo_it_shows_the_colours_and_nothing_of_volumes(ui, session, dock, qtbot):
    seed, cube = int(session.regions(2).seed[3]), session.scans[2]
    facts = replace(
        cube.facts, modality=Modality.IMAGE, shape=(3, *cube.facts.shape[1:]), wavelengths_nm=None
    )
    session.scans[2] = replace(cube, facts=facts)
    look_at(session, dock, seed, qtbot)
    (photo,) = reading.read_portrait(session, seed).cuts
    bands = files.open_array(session.scan_source(2))
    table = session.regions(2)
    y, x = (int(v) for v in table.centroid[3][1:])
    window = photos.window_around(table.box[3], facts.region_shape[1:])
    at = y - window[0].start, x - window[1].start
    ratio = photo[at].astype(float) / photo[at].max()
    colour = np.asarray([bands[i][y, x] for i in range(3)], float)
    np.testing.assert_allclose(ratio, colour / colour.max(), atol=0.02)
    assert dock.alone_button.isHidden() and dock.spectrum_section.isHidden()
    assert not any(word in dock.fields["Position"].text() for word in ("z ", "voxel"))
    assert "pixels" in dock.fields["Size"].text()


def test_a_region_over_a_large_photo_is_not_read_whole(ui, session, monkeypatch):
    seed, cube = int(session.regions(2).seed[3]), session.scans[2]
    facts = replace(
        cube.facts, modality=Modality.IMAGE, shape=(3, *cube.facts.shape[1:]), wavelengths_nm=None
    )
    session.scans[2] = replace(cube, facts=facts)
    window = photos.window_around(session.regions(2).box[3], facts.region_shape[1:])
    n_values = 3 * int(np.prod([s.stop - s.start for s in window]))
    monkeypatch.setattr(reading, "MOST_VOXELS", n_values)
    assert reading.read_portrait(session, seed).cuts
    monkeypatch.setattr(reading, "MOST_VOXELS", n_values - 1)
    monkeypatch.setattr(files, "open_array", None)
    assert reading.read_portrait(session, seed) == reading.Portrait(seed)
    assert reading.read_cuts(session, seed) is None


def test_oddness_is_told_in_words_and_shown_where_the_heat_is_highest(ui, session, dock, qtbot):
    look_at(session, dock, 5, qtbot)
    assert dock.odd.missing
    session.find_odd()
    qtbot.waitUntil(lambda: dock.odd.pictures.n_pictures == 2, timeout=WAIT_MS)
    assert not dock.odd.missing
    oddest = int(session.anomaly.seeds[session.anomaly.score.argmax()])
    look_at(session, dock, oddest, qtbot)
    qtbot.waitUntil(lambda: dock.odd.pictures.n_pictures == 2, timeout=WAIT_MS)
    assert "the oddest of 42 seeds" in dock.odd.words.text() and dock.odd.note == "pasted defects"
    grey, heat = reading.read_portrait(session, oddest).odd
    assert grey.shape == heat.shape
    assert heat.max() > 0.5  # the fake's heat is the top of the scale where a seed is hollow


def test_each_method_has_a_line_of_its_own_once_there_are_two(ui, session, dock, qtbot):
    session.find_odd()
    look_at(session, dock, 5, qtbot)
    assert dock.odd.others.isHidden()
    session.find_odd(method="distance")
    qtbot.waitUntil(lambda: not dock.odd.others.isHidden(), timeout=WAIT_MS)
    text = dock.odd.others.text()
    for name, found in zip(("Feature distance", "Pasted defects"), session.opinions.of("ct"), strict=True):
        n_odder = int((found.score > found.of(5)).sum())
        assert f"{name}: rank {n_odder + 1} of {len(found.seeds)}" in text
    assert dock.odd.others.height() >= 2 * dock.odd.others.fontMetrics().height()


def test_a_seed_as_large_as_a_scan_is_not_read(ui, session, dock, qtbot, monkeypatch):
    monkeypatch.setattr(reading, "MOST_VOXELS", 1000)
    session.look_at(5)
    qtbot.waitUntil(lambda: "too large" in dock.shape.missing, timeout=WAIT_MS)
    hands.click(dock.alone_button)
    qtbot.waitUntil(lambda: not dock.alone.is_on, timeout=WAIT_MS)
    assert ui.viewer.dims.ndisplay == 2


def test_a_click_on_a_near_seed_selects_it(ui, session, dock, qtbot):
    for seed, class_id in ((3, 1), (9, 2)):
        session.answer(class_id, [seed])
    look_at(session, dock, 8, qtbot)
    qtbot.waitUntil(lambda: not dock.nearest.missing, timeout=WAIT_MS)
    near = [b for b in dock.nearest.buttons if not b.isHidden()]
    assert [(b.seed, b.seed_class.id) for b in near] == [(9, 2), (3, 1)]
    origins = []
    keep = lambda seeds, origin: origins.append((seeds, origin))  # noqa: E731
    session.selection_changed.connect(keep)
    dock.scroll.ensureWidgetVisible(near[1])
    hands.click(near[1])
    assert session.current_seed == 3 and origins == [(frozenset({3}), "inspect")]


def test_what_was_said_is_listed_newest_first_and_undone_is_marked(ui, session, dock, qtbot):
    session.draw()
    seed = session.current_seed
    session.answer(2)
    session.answer("unsure", [seed])
    session.undo()
    session.look_at(seed)
    qtbot.waitUntil(lambda: len(dock.history.texts) == 2, timeout=WAIT_MS)
    newest, first = dock.history.texts
    assert "<s>unsure</s>" in newest and "taken back" in newest
    assert "<b>abnormal</b>" in first and REASON in first and "ada" in first and "2026" in first
    assert "taken back" not in first


def test_an_answer_joins_the_history_of_the_seed_on_show(ui, session, dock, qtbot):
    look_at(session, dock, 7, qtbot)
    assert dock.history.missing
    session.annotator = "<img src=a>"
    session.answer(1, [7])
    qtbot.waitUntil(lambda: len(dock.history.texts) == 1, timeout=WAIT_MS)
    assert "&lt;img" in dock.history.texts[0]  # what a person wrote is text, not markup


def test_late_answers_about_another_seed_are_dropped(ui, session, dock, qtbot, monkeypatch):
    held, seen = threading.Event(), []
    read = reading.read_portrait

    def slow(session, seed):
        seen.append(seed)
        if seed == 4:
            held.wait(30)
        return read(session, seed)

    monkeypatch.setattr(reading, "read_portrait", slow)
    drawn = []
    monkeypatch.setattr(dock.odd, "show_pictures", lambda odd: drawn.append(dock._seed))
    session.look_at(4)
    qtbot.waitUntil(lambda: 4 in seen, timeout=WAIT_MS)
    session.look_at(6)
    qtbot.waitUntil(lambda: dock._read_for.get("portrait", (0,))[0] == 6, timeout=WAIT_MS)
    drawn.clear()
    held.set()
    qtbot.waitUntil(lambda: dock.cuts.n_pictures == 3, timeout=WAIT_MS)
    assert seen == [4, 6] and drawn == [6]


def test_nothing_is_read_for_a_dock_that_nobody_sees(ui, session, dock, qtbot, monkeypatch):
    seen = []
    monkeypatch.setattr(reading, "read_portrait", lambda session, seed: seen.append(seed))
    ui.raise_dock("project")
    qtbot.waitUntil(lambda: dock.body.visibleRegion().isEmpty(), timeout=WAIT_MS)
    session.look_at(11)
    session.look_at(12)
    ui.background.submit("probe", lambda: None, seen.append)
    qtbot.waitUntil(lambda: seen == [None], timeout=WAIT_MS)
    ui.raise_dock("inspect")
    qtbot.waitUntil(lambda: seen == [None, 12], timeout=WAIT_MS)


def test_behind_another_tab_nothing_is_written_and_in_front_it_is_right_at_once(ui, session, dock, qtbot):
    look_at(session, dock, 5, qtbot)
    train = ui.docks["train"]
    ui.raise_dock("project")
    qtbot.waitUntil(lambda: dock.visibleRegion().isEmpty(), timeout=WAIT_MS)
    before = train.blocked.text()
    for seed in (6, 7, 8, 9):
        session.look_at(seed)
        session.answer(1 + seed % 2, [seed])
    ui.recolour()
    assert dock.title.text() == "Seed 5" and train.blocked.text() == before != "Ready to train."
    assert train.net.isEnabled()
    assert dock.cuts.n_pictures == 0  # of the seed before
    ui.raise_dock("inspect")
    assert dock.title.text() == "Seed 9" and session.scheme.by_id(2).name in dock.fields["Label"].text()
    qtbot.waitUntil(lambda: dock.cuts.n_pictures == 3, timeout=WAIT_MS)
    ui.raise_dock("train")
    assert train.blocked.text() == "Ready to train."


def test_it_fits_its_width_and_scrolls(ui, session, dock, qtbot):
    window = ui.viewer.window._qt_window
    session.refit()
    session.find_odd()
    for seed in (1, 2, 3, 4, 6):
        session.answer(1 + seed % 3, [seed])
    look_at(session, dock, 5, qtbot)
    qtbot.waitUntil(lambda: not dock.nearest.missing and dock.odd.pictures.n_pictures == 2, timeout=WAIT_MS)
    for size in ((1920, 1080), (1366, 768)):
        window.resize(*size)
        fits = lambda: all(s.height() >= s.heightForWidth(s.width()) for s in dock.sections)  # noqa: E731
        qtbot.waitUntil(fits, timeout=WAIT_MS)
        assert dock.width() <= 350
        assert dock.body.width() == dock.scroll.viewport().width()
        shown = [s for s in dock.sections if not s.isHidden()]
        ends = [s.mapTo(dock.body, s.rect().bottomLeft()).y() for s in shown]
        assert ends == sorted(ends) and ends[-1] <= dock.body.height()


def test_no_slot_takes_long(ui, session, dock, qtbot):
    session.refit()
    session.find_odd()
    look_at(session, dock, 5, qtbot)
    found = reading.read_portrait(session, 6)
    for slot in (dock.refresh, lambda: dock._draw_portrait(found), lambda: session.look_at(6), dock._read):
        begun = time.thread_time()
        slot()
        assert time.thread_time() - begun < 0.05


def test_alone_in_3d_and_back(ui, session, dock, qtbot):
    look_at(session, dock, 5, qtbot)
    viewer = ui.viewer
    before = {layer.name: layer.visible for layer in viewer.layers}
    center, zoom = viewer.scene.camera.center, viewer.scene.camera.zoom
    hands.click(dock.alone_button)
    qtbot.waitUntil(lambda: viewer.dims.ndisplay == 3, timeout=WAIT_MS)
    layer = dock.alone.layer()
    assert [x for x in viewer.layers if x.visible] == [layer]
    place = session.regions(1)
    region = np.asarray(reading.read_regions(session, 1)) == place.region[4]
    volume = np.asarray(reading.in_memory(session.scan_source(1)))
    assert layer.data.sum() == volume[region].sum()
    middle = np.asarray(layer.data_to_world(np.argwhere(layer.data > 0).mean(0)))
    np.testing.assert_allclose(middle, place.centroid[4] * 40, atol=40)
    hands.click(dock.alone_button)
    qtbot.waitUntil(lambda: dock.alone._before is None, timeout=WAIT_MS)
    assert viewer.dims.ndisplay == 2 and dock.alone.layer() is None
    assert {x.name: x.visible for x in viewer.layers} == before
    assert viewer.scene.camera.center == pytest.approx(center) and viewer.scene.camera.zoom == zoom


def test_another_seed_takes_the_place_of_the_one_alone(ui, session, dock, qtbot):
    look_at(session, dock, 5, qtbot)
    hands.click(dock.alone_button)
    qtbot.waitUntil(lambda: ui.viewer.dims.ndisplay == 3, timeout=WAIT_MS)
    layer = dock.alone.layer()
    first = tuple(layer.translate)
    session.look_at(30)
    qtbot.waitUntil(lambda: tuple(layer.translate) != first, timeout=WAIT_MS)
    assert dock.alone.layer() is layer and ui.viewer.dims.ndisplay == 3
    ui.viewer.dims.ndisplay = 2  # as by napari's own button
    qtbot.waitUntil(lambda: dock.alone._before is None, timeout=WAIT_MS)
    assert dock.alone.layer() is None and ui.layers.find("image").visible


@pytest.mark.parametrize("how", ["another scan", "a new layer", "the layer deleted"])
def test_the_view_goes_back_by_itself(ui, session, dock, qtbot, how):
    look_at(session, dock, 5, qtbot)
    hands.click(dock.alone_button)
    qtbot.waitUntil(lambda: ui.viewer.dims.ndisplay == 3, timeout=WAIT_MS)
    sliced = []
    image = ui.layers.find("image")
    image.events.set_data.connect(lambda e: sliced.append(ui.viewer.dims.ndisplay))
    if how == "another scan":
        session.show_scan(2)
    elif how == "a new layer":
        session.find_odd()
    else:
        ui.viewer.layers.remove(dock.alone.layer())
    qtbot.waitUntil(lambda: dock.alone._before is None, timeout=WAIT_MS)
    assert ui.viewer.dims.ndisplay == 2 and dock.alone.layer() is None
    assert all(x.visible for x in ui.viewer.layers)
    assert 3 not in sliced  # a whole volume was never read for it
    assert not dock.alone_button.isChecked()


def test_what_tables_told_stands_there_as_it_was_written(session, dock):
    session.look_at(5)
    dock.refresh()
    assert dock.fields["Metadata"].isHidden()
    session.metadata.columns = {"treatment": {5: "<b>heat</b>"}, "mg": {5: 2.5, 6: 3}} | {
        f"c{i}": {5: i} for i in range(12)
    }
    dock.refresh()
    lines = dock.fields["Metadata"].text().split("<br>")
    assert lines[:2] == ["treatment: &lt;b&gt;heat&lt;/b&gt;", "mg: 2.5"] and lines[-1] == "and 2 more"
    assert not dock.fields["Metadata"].isHidden()
