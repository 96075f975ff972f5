"""Keys of labelling, pressed for real on every kind of layer."""

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QTabBar, QWidget

NONE, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier
CTRL = Qt.KeyboardModifier.ControlModifier
LAYERS = {
    "Image": lambda v: v.layers[0],
    "Labels": lambda v: v.add_labels(np.zeros((40, 150, 180), int)),
    "Points": lambda v: v.add_points([[20, 40, 40]], size=9),
    "Shapes": lambda v: v.add_shapes([[20, 10, 10], [20, 10, 40], [20, 40, 40], [20, 40, 10]]),
}
ANSWERS = {
    "1": (Qt.Key.Key_1, NONE, 1),
    "3": (Qt.Key.Key_3, NONE, 3),
    "0": (Qt.Key.Key_0, NONE, "not_whole"),
    "Backspace": (Qt.Key.Key_Backspace, NONE, None),
    "U": (Qt.Key.Key_U, NONE, "unsure"),
}


def native(ui):
    return ui.viewer.window._qt_viewer.canvas.native


@pytest.fixture
def labelling(ui, session, qtbot):
    session.draw()
    session.refit()
    ui.mode.switch(True)
    native(ui).setFocus()
    yield ui
    for layer in [x for x in ui.viewer.layers if "seedlab" not in x.metadata]:
        ui.viewer.layers.remove(layer)


@pytest.mark.parametrize("kind", LAYERS)
def test_every_key_means_the_same_whatever_layer_is_selected(labelling, session, qtbot, kind):
    ui = labelling
    ui.viewer.layers.selection.active = LAYERS[kind](ui.viewer)
    native(ui).setFocus()
    for key, modifier, said in ANSWERS.values():
        seed = session.current_seed
        qtbot.keyClick(native(ui), key, modifier)
        assert session.calls[-1] == ("answer", said, (seed,)), f"{key} on {kind}"
    first = session.current_seed
    qtbot.keyClick(native(ui), Qt.Key.Key_N)
    assert session.current_seed != first
    qtbot.keyClick(native(ui), Qt.Key.Key_N, SHIFT)
    assert session.current_seed == first
    qtbot.keyClick(native(ui), Qt.Key.Key_Return)
    best = session.calls[-1]
    assert best[0] == "answer" and best[2] == (first,)
    qtbot.keyClick(native(ui), Qt.Key.Key_Z, CTRL)
    assert session.calls[-1] == ("undo",)
    qtbot.keyClick(native(ui), Qt.Key.Key_Z, CTRL | SHIFT)
    assert session.calls[-1] == ("redo",)


@pytest.mark.parametrize("kind", LAYERS)
def test_shift_and_digit_answer_about_the_seed_under_the_cursor(labelling, session, qtbot, kind):
    ui = labelling
    ui.viewer.layers.selection.active = LAYERS[kind](ui.viewer)
    native(ui).setFocus()
    middle = session.regions(1).centroid[30] * 40
    z = ui.viewer.dims.point[0]
    ui.viewer.cursor.position = (z, *middle[1:])
    qtbot.keyClick(native(ui), Qt.Key.Key_2, SHIFT)
    assert session.calls[-1] == ("answer", 2, (31,))


def test_view_keys_show_and_hide(labelling, session, qtbot):
    ui = labelling
    session.find_odd()
    qtbot.waitUntil(lambda: ui.layers.find("heat") is not None, timeout=60_000)
    qtbot.keyClick(native(ui), Qt.Key.Key_H)
    assert not ui.layers.find("heat").visible
    qtbot.keyClick(native(ui), Qt.Key.Key_W)
    assert not ui.layers.predictions_on
    ui.viewer.scene.camera.center = (0, 0, 0)
    qtbot.keyClick(native(ui), Qt.Key.Key_J)
    assert tuple(ui.viewer.scene.camera.center) != (0, 0, 0)


def test_off_leaves_the_keys_to_napari_and_k_switches(labelling, session, qtbot):
    ui = labelling
    qtbot.keyClick(native(ui), Qt.Key.Key_K)
    assert not ui.mode.is_on
    n = len(session.calls)
    qtbot.keyClick(native(ui), Qt.Key.Key_1)
    qtbot.keyClick(native(ui), Qt.Key.Key_U)
    assert len(session.calls) == n
    qtbot.keyClick(native(ui), Qt.Key.Key_K)
    assert ui.mode.is_on


class LabelsOfAnother(Labels):
    """A kind of labels that another plugin made of napari's."""


def test_undo_counts_while_labelling_is_off_but_on_layers_that_have_their_own(labelling, session, qtbot):
    ui = labelling
    ui.mode.switch(False)
    qtbot.keyClick(native(ui), Qt.Key.Key_Z, CTRL)
    assert session.calls[-1] == ("undo",)
    qtbot.keyClick(native(ui), Qt.Key.Key_Z, CTRL | SHIFT)
    assert session.calls[-1] == ("redo",)
    n = len(session.calls)
    for kind in (Labels, LabelsOfAnother):
        ui.viewer.layers.selection.active = ui.viewer.add_layer(kind(np.zeros((40, 150, 180), int)))
        qtbot.keyClick(native(ui), Qt.Key.Key_Z, CTRL)
        assert len(session.calls) == n


class Elsewhere(QWidget):
    """A dock of another plugin, which undoes by itself."""

    n_undone = 0

    def keyPressEvent(self, event):
        self.n_undone += event.key() == Qt.Key.Key_Z


def test_undo_belongs_to_the_dock_of_another_plugin_and_to_each_of_ours(labelling, session, qtbot):
    ui, theirs = labelling, Elsewhere()
    theirs.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    ui.viewer.window.add_dock_widget(theirs, name="another plugin", area="left")
    try:
        for is_on in (True, False):
            ui.mode.switch(is_on)
            theirs.setFocus()
            qtbot.waitUntil(lambda: QApplication.focusWidget() is theirs, timeout=5000)
            n = len(session.calls)
            qtbot.keyClick(theirs, Qt.Key.Key_Z, CTRL)
            assert theirs.n_undone == 2 - is_on and len(session.calls) == n
        for name in ("project", "train"):
            ui.raise_dock(name)
            ui.docks[name].scroll.setFocus()
            qtbot.keyClick(ui.docks[name].scroll, Qt.Key.Key_Z, CTRL)
            assert session.calls[-1] == ("undo",) and len(session.calls) == n + 1
            n += 1
    finally:
        ui.viewer.window.remove_dock_widget(theirs)


def test_what_was_taken_back_is_said(labelling, session, qtbot):
    ui = labelling
    session.answer(1, (12,))
    session.answer(2, (12, 13))
    for said in ("labels of 2 seeds.", "label of seed 12.", "an edit that changed no label."):
        qtbot.keyClick(native(ui), Qt.Key.Key_Z, CTRL)
        qtbot.waitUntil(lambda said=said: ui.last_message[0].endswith(said), timeout=5000)
        assert ui.last_message[0].startswith("Taken back: ")
    for session.undoes, said in (
        ("merge", "the merging of seeds"),
        ("stroke", "a stroke"),
        ("table", "a seed table"),
    ):
        qtbot.keyClick(native(ui), Qt.Key.Key_Z, CTRL)
        qtbot.waitUntil(lambda said=said: ui.last_message[0] == f"Taken back: {said}.", timeout=5000)
    ui.say("")
    qtbot.keyClick(native(ui), Qt.Key.Key_Z, CTRL | SHIFT)
    assert session.calls[-1] == ("redo",) and ui.last_message[0] == ""  # there was nothing to do again


def test_digits_count_after_a_click_on_a_tab_of_the_docks(labelling, session, qtbot):
    ui = labelling
    window = ui.viewer.window._qt_window
    bar = next(b for b in window.findChildren(QTabBar) if b.parent() is window and b.isVisible())
    for title in ("Train", "Labelling"):
        at = next(i for i in range(bar.count()) if bar.tabText(i) == title)
        bar.setFocus(Qt.FocusReason.MouseFocusReason)
        qtbot.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(at).center())
    window.setFocus()  # where a click on a tab of napari's window leaves the keyboard
    seed = session.current_seed
    qtbot.keyClick(window, Qt.Key.Key_2)
    assert session.calls[-1] == ("answer", 2, (seed,))


def test_a_check_gives_the_keyboard_back_to_the_picture(labelling, session, qtbot):
    ui = labelling
    ui.docks["train"].scroll.setFocus()
    assert not ui.mode.listens_at(QApplication.focusWidget())
    ui.start_labelling(True)
    assert QApplication.focusWidget() is native(ui)


def test_text_and_number_fields_keep_their_keys(labelling, session, qtbot):
    ui = labelling
    ui.raise_dock("labelling")
    box = ui.docks["labelling"]._brush_size
    box.setFocus()
    qtbot.waitUntil(lambda: QApplication.focusWidget() in (box, box.lineEdit()), timeout=5000)
    n = len(session.calls)
    box.selectAll()
    qtbot.keyClicks(box, "12")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert box.value() == 12
    assert len(session.calls) == n


def test_keys_count_on_the_map_and_the_card_only(labelling):
    ui = labelling
    mode = ui.mode
    assert mode.listens_at(ui.docks["map"].canvas)
    assert mode.listens_at(ui.docks["labelling"])
    assert mode.listens_at(native(ui))
    assert not mode.listens_at(ui.docks["map"].mode)
    assert not mode.listens_at(ui.docks["project"].split)
    assert not mode.listens_at(None)


def test_a_lasso_and_one_digit_are_one_answer(labelling, session, qtbot):
    ui = labelling
    ui.select(frozenset({3, 4, 5}), "map")
    qtbot.keyClick(native(ui), Qt.Key.Key_2)
    assert session.calls[-1] == ("answer", 2, (3, 4, 5))
    assert session.selection == frozenset()


def test_an_error_of_the_session_is_shown_and_raises_nothing(labelling, session, qtbot):
    ui = labelling

    def refuse(*_):
        raise OSError("disk full")

    session.answer = refuse
    qtbot.keyClick(native(ui), Qt.Key.Key_1)
    text, kind = ui.last_message
    assert "disk full" in text and kind == "error"


def test_a_lasso_while_labelling_is_off_says_which_keys_count_and_they_do(ui, session, qtbot):
    dock, canvas = ui.docks["labelling"], ui.docks["map"].canvas
    ui.docks["map"]._lassoed(np.asarray([3, 4, 5]), "only")
    assert "press K, then a digit" in ui.last_message[0] and "G shows" in ui.last_message[0]
    qtbot.waitUntil(lambda: "Press K" in dock.reason.full_text(), timeout=5000)
    canvas.setFocus()
    qtbot.keyClick(canvas, Qt.Key.Key_G)
    assert ui.docks["gallery"].isVisible()
    ui.toggle_gallery()
    canvas.setFocus()
    qtbot.keyClick(canvas, Qt.Key.Key_K)
    qtbot.keyClick(native(ui), Qt.Key.Key_2)
    assert session.calls[-1] == ("answer", 2, (3, 4, 5))


def test_a_lasso_around_nothing_keeps_the_selection_and_answers_nothing_in_surprise(labelling, session):
    ui, nobody = labelling, np.zeros(0, np.int64)
    ui.select(frozenset({3, 4}), "map")
    ui.docks["map"]._lassoed(nobody, "only")
    assert session.selection == {3, 4} and "No seed inside" in ui.last_message[0]
    ui.select(frozenset(), "map")
    ui.docks["map"]._lassoed(nobody, "only")
    ui.card_seed, n, on_card = session.current_seed, len(session.calls), session.current_seed
    ui.caught_nothing()
    ui.answer(1)
    assert len(session.calls) == n and f"seed {on_card}" in ui.last_message[0]
    ui.answer(1)
    assert session.calls[-1] == ("answer", 1, (on_card,))


def test_answers_that_a_selection_overwrites_are_counted(labelling, session):
    session.answer(1, (3, 4))
    session.answer(2, (5,))
    labelling.select(frozenset({3, 4, 5, 6}), "map")
    labelling.answer(2)
    assert labelling.last_message[0] == "2 of 4 had another answer; Ctrl+Z takes it back."
    session.answer(1, (7,))  # now it takes this one back
    assert labelling.last_message[0] == ""
