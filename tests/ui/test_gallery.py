"""The gallery in the real window: order, selection both ways, bins, clusters, keys."""

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication

from napari_seedlab.core import LabelState
from napari_seedlab.session.results import Embedding
from napari_seedlab.ui import map_dock
from napari_seedlab.ui.bins import COUNTS_PX, KEY_PX
from napari_seedlab.ui.seed_mime import carried, carry
from tests.ui.conftest import WAIT_MS


@pytest.fixture
def gallery(ui, session, qtbot):
    session.make_map()
    ui.toggle_gallery()
    dock = ui.docks["gallery"]
    qtbot.waitUntil(lambda: dock.isVisible() and len(dock.grid.seeds) > 0, timeout=WAIT_MS)
    dock.rebuild()
    yield dock
    if dock.isVisible():
        ui.toggle_gallery()


def drop(bin_, mime):
    """Enter a bin with a drag and let go, as Qt tells it."""
    how = Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(20, 10), *how)
    QApplication.sendEvent(bin_, enter)
    if enter.isAccepted():
        QApplication.sendEvent(bin_, QDropEvent(QPointF(20, 10), *how))
    return enter.isAccepted()


def test_forty_seeds_dropped_into_a_bin_are_forty_labels_and_one_undo(gallery, session):
    forty = gallery.grid.seeds[:40].tolist()
    assert drop(gallery.bins.bins[2], carry(np.asarray(forty)))
    assert [c for c in session.calls if c[0] == "answer"] == [("answer", 2, tuple(forty))]
    assert session.counts()[2] == 40
    gallery.refresh()
    assert gallery.bins.bins[2].count == 40
    session.undo()
    assert sum(session.counts().values()) == 0


def test_seeds_carried_from_the_map_are_those_of_the_lasso_and_open_the_gallery(
    ui, session, gallery, monkeypatch
):
    ui.toggle_gallery()
    carried_seeds = []
    monkeypatch.setattr(map_dock, "drag_seeds", lambda source, seeds, *_: carried_seeds.append(seeds))
    session.select((4, 9, 11), "map")
    ui.docks["map"].canvas.dragged.emit(9)
    assert gallery.isVisible() and carried_seeds[0].tolist() == [4, 9, 11]
    assert drop(gallery.bins.bins[1], carry(carried_seeds[0]))
    assert [c for c in session.calls if c[0] == "answer"] == [("answer", 1, (4, 9, 11))]


def test_a_foreign_drop_is_refused(gallery, session):
    mime = QMimeData()
    mime.setText("12, 13")
    assert not drop(gallery.bins.bins[2], mime)
    assert not session.calls and not len(carried(mime))


def test_seeds_stand_by_cluster_and_a_cluster_alone_on_a_press(gallery, session, qtbot):
    order = [session.layout.cluster[session.layout.row[s]] for s in gallery.grid.seeds.tolist()]
    assert order == sorted(order) and len(gallery.rows.clusters) == 5
    qtbot.mouseClick(gallery.rows, Qt.MouseButton.LeftButton, pos=gallery.rows.row_box(1).center())
    assert set(gallery.grid.seeds) == set(session.layout.seeds[session.layout.cluster == 1])
    gallery.label_all.menu().actions()[2].trigger()
    members = session.layout.seeds[session.layout.cluster == 1].tolist()
    assert {session.label(s).class_id for s in members} == {3}
    qtbot.waitUntil(lambda: gallery.rows.clusters[1].purity == 1.0, timeout=WAIT_MS)
    session.undo()
    assert not any(session.label(s).class_id for s in members)


def test_exceptions_come_first_and_one_key_corrects_each(gallery, session, ui, qtbot):
    rng, layout = np.random.default_rng(0), session.layout
    centres = 8 * np.eye(5)
    kind = layout.cluster.copy()
    stray = int(np.flatnonzero(layout.cluster == 1)[3])
    kind[stray] = 2
    session.embeddings = {
        "ct": Embedding(
            layout.seeds, (centres[kind] + rng.normal(0, 1, (len(kind), 5))).astype(np.float32), layout.seeds
        )
    }
    gallery._pressed_cluster(1)
    gallery.label_all.menu().actions()[0].trigger()
    strange = int(layout.seeds[stray])
    qtbot.waitUntil(lambda: gallery.grid.current_seed == strange, timeout=WAIT_MS)
    assert gallery.back.isVisible() and gallery.grid.hasFocus()
    ui.mode.switch(True)
    gallery.grid.setFocus()
    qtbot.keyClick(gallery.grid, Qt.Key.Key_2)
    assert session.label(strange).class_id == 2
    assert gallery.grid.current == 1 and gallery.grid.current_seed != strange
    qtbot.mouseClick(gallery.back, Qt.MouseButton.LeftButton)
    assert not gallery._is_review and gallery._show == ("cluster", 1)


def test_the_selection_is_shared_both_ways(gallery, session, ui, qtbot):
    ui.select(frozenset({3, 4, 5}), "map")
    qtbot.waitUntil(lambda: set(gallery.grid.seeds) == {3, 4, 5}, timeout=WAIT_MS)
    assert set(gallery.grid.chosen_seeds()) == {3, 4, 5}
    gallery.show_all()
    box = gallery.grid.box(7)
    qtbot.mouseClick(gallery.grid.viewport(), Qt.MouseButton.LeftButton, pos=box.center())
    seed = int(gallery.grid.seeds[7])
    assert session.selection == {seed} and session.current_seed == seed
    last = gallery.grid.box(9).center()
    qtbot.mouseClick(
        gallery.grid.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, last
    )
    assert session.selection == set(gallery.grid.seeds[7:10].tolist())
    other = gallery.grid.box(8).center()
    qtbot.mouseClick(
        gallery.grid.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier, other
    )
    assert session.selection == set(gallery.grid.seeds[[7, 9]].tolist())


def test_digits_answer_the_selection_and_enter_accepts_it(gallery, session, ui, qtbot):
    ui.mode.switch(True)
    gallery.grid.setFocus()
    qtbot.keyClick(gallery.grid, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    n = len(gallery.grid.seeds)
    assert len(session.selection) == n
    qtbot.keyClick(gallery.grid, Qt.Key.Key_Return)
    assert session.calls[-1][0] == "accept_all" and len(session.calls[-1][1]) == n
    gallery.grid.choose_row(0)
    first = gallery.grid.current_seed
    qtbot.keyClick(gallery.grid, Qt.Key.Key_3)
    assert session.label(first).class_id == 3 and gallery.grid.current == 1
    qtbot.keyClick(gallery.grid, Qt.Key.Key_U)
    assert session.label(int(gallery.grid.seeds[1])).state is LabelState.UNSURE


def test_a_label_does_not_move_what_is_looked_at_but_leaves_the_unlabelled(gallery, session, qtbot):
    order = gallery.grid.seeds.copy()
    gallery._answer(1, order[3:6])
    gallery.refresh()
    np.testing.assert_array_equal(gallery.grid.seeds, order)
    gallery._show_chosen(1)  # no label yet
    np.testing.assert_array_equal(gallery.grid.seeds, np.delete(order, [3, 4, 5]))
    gallery._answer(1, gallery.grid.seeds[:1])
    gallery.refresh()
    assert order[0] not in gallery.grid.seeds


def test_sorting_by_what_is_not_there_says_what_to_do(gallery, session, ui):
    gallery._sort_chosen(gallery.sort.findData("anomaly"))
    assert "Find odd ones" in ui.last_message[0] and gallery._by == "cluster"
    session.find_odd(method="distance")
    gallery._sort_chosen(gallery.sort.findData("anomaly"))
    scores = [session.anomaly.of(s) for s in gallery.grid.seeds.tolist()]
    assert scores == sorted(scores, reverse=True)


def test_no_word_of_the_gallery_is_cut(gallery, session, qtbot):
    for i in range(gallery.sort.count()):
        text = gallery.sort.fontMetrics().horizontalAdvance(gallery.sort.itemText(i))
        assert text + 20 < gallery.sort.width(), gallery.sort.itemText(i)
    for one in gallery.bins.bins.values():
        one.tell(25, 20)
        assert KEY_PX + one.fontMetrics().horizontalAdvance(one.name) + COUNTS_PX <= one.width()
    session.select(gallery.grid.seeds[:7].tolist(), "map")
    qtbot.waitUntil(lambda: gallery.count.text() == "7 selected")
    for text in ("7 selected", "50,000 selected", "Drawing: 100%"):
        assert gallery.count.fontMetrics().horizontalAdvance(text) <= gallery.count.width()
    gallery._pressed_cluster(0)
    assert gallery.label_all.text().endswith("as…")


def test_g_shows_and_hides_it(gallery, ui, qtbot):
    ui.mode.switch(True)
    gallery.grid.setFocus()
    qtbot.keyClick(gallery.grid, Qt.Key.Key_G)
    assert not gallery.isVisible()
    qtbot.keyClick(ui.viewer.window._qt_viewer.canvas.native, Qt.Key.Key_G)
    qtbot.waitUntil(lambda: gallery.isVisible() and gallery.grid.hasFocus(), timeout=WAIT_MS)


def test_the_boxes_to_choose_from_leave_the_keyboard_where_it_is(gallery, ui):
    boxes = (gallery.sort, gallery.show_box, ui.docks["map"].mode, ui.docks["map"].method)
    for box in (*boxes, ui.docks["project"].scans):
        assert box.focusPolicy() == Qt.FocusPolicy.NoFocus, box.toolTip()


def test_classes_are_edited_on_a_page_and_everything_follows(gallery, session, ui, qtbot):
    dock = ui.docks["labelling"]
    ui.raise_dock("labelling")
    qtbot.mouseClick(dock.classes, Qt.MouseButton.LeftButton)
    editor = dock.editor
    assert editor.isVisible()
    editor.new_name.setText("mouldy")
    qtbot.mouseClick(editor.add_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: 5 in gallery.bins.bins, timeout=WAIT_MS)
    assert gallery.bins.bins[5].name == "mouldy" and gallery.bins.bins[5].key == "5"
    editor.new_name.setText("Dead")
    qtbot.mouseClick(editor.add_button, Qt.MouseButton.LeftButton)
    assert "is there already" in editor.said.text() and len(session.scheme) == 5
    qtbot.mouseClick(editor.buttons[4], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: 4 not in gallery.bins.bins, timeout=WAIT_MS)
    assert editor.buttons[4].text() == "Restore" and 4 not in dock._class_buttons
    editor.recolour(5, "#332288")
    qtbot.waitUntil(lambda: gallery.bins.bins[5].color.name() == "#332288", timeout=WAIT_MS)
    qtbot.mouseClick(editor.close_button, Qt.MouseButton.LeftButton)
    assert not editor.isVisible() and dock.body.isVisible()


def test_the_gallery_finds_room_again_when_the_window_changes(gallery, ui, qtbot):
    window = ui.viewer.window._qt_window
    assert gallery.grid.cells.edge == 60
    window.resize(1366, 1000)
    qtbot.waitUntil(lambda: gallery.grid.cells.edge > 60, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: gallery.height() > 300, timeout=WAIT_MS)
    window.resize(1366, 768)
    qtbot.waitUntil(lambda: gallery.grid.cells.edge == 60, timeout=WAIT_MS)
    assert window.height() <= 768
