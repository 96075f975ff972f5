import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from napari_seedlab.core import Label, LabelState, ModelCard
from napari_seedlab.session.net_checks import Batch
from napari_seedlab.ui.batch_layer import batch_picture
from napari_seedlab.ui.debug_aids import first_loss_text
from napari_seedlab.ui.net_row import figures_text

WAIT_MS = 30_000


@pytest.fixture
def aids(ui, session, qtbot):
    ui.raise_dock("train")
    dock = ui.docks["train"]
    qtbot.waitUntil(dock.isVisible)
    dock.tabs.setCurrentIndex(0)
    session.labels = {s: Label(s, LabelState.LABELLED, 1 + s % 2) for s in range(1, 9)}
    dock.refresh()
    dock.aids.title.setChecked(True)
    yield dock.aids
    dock.aids.title.setChecked(False)
    dock.net_row.kind.setCurrentIndex(0)


def press(qtbot, button):
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_it_is_folded_until_somebody_looks(ui, session):
    aids = ui.docks["train"].aids
    assert not aids.title.isChecked() and aids.inside.isHidden()


def test_a_batch_is_shown_with_its_axes_and_goes_with_the_project(ui, session, aids, qtbot):
    press(qtbot, aids.preview)
    qtbot.waitUntil(lambda: ui.layers.find("names") is not None, timeout=WAIT_MS)
    layer, names = ui.layers.find("batch"), ui.layers.find("names")
    assert tuple(layer.axis_labels) == ("z", "y", "x")
    assert layer.data.shape == (32, 6 * 32, 3 * 64) and len(names.data) == 16
    assert names.text.values[:2].tolist() == ["1 abnormal", "2 dead"]
    words = aids.batch_words.text()
    assert "16 seeds × 2 channels × 32 × 32 × 32 (z, y, x)" in words and "values -3.10 to 8.00" in words
    assert ui.viewer.dims.ndim == 3  # no slider more than the scan has
    scan = ui.layers.find("image")
    assert layer.extent.world[0][2] > scan.extent.world[1][2]  # beside the scan, not over it
    assert aids.preview.text() == "Hide batch"
    ui.bind(None)
    assert ui.layers.find("batch") is None and ui.layers.find("names") is None
    assert aids.preview.text() == "Preview batch" and aids.batch_words.isHidden()


def test_a_batch_is_hidden_again(ui, session, aids, qtbot):
    press(qtbot, aids.preview)
    qtbot.waitUntil(lambda: ui.layers.find("names") is not None, timeout=WAIT_MS)
    press(qtbot, aids.preview)
    assert ui.layers.find("batch") is None
    assert [c[0] for c in session.calls].count("preview") == 1


def test_the_picture_holds_every_crop_in_its_place(session):
    values = np.arange(5 * 3 * 4 * 4, dtype=np.float32).reshape(5, 3, 4, 4)
    seeds = np.arange(5)
    batch = Batch("image", values, seeds, seeds % 2 + 1, ("seed", "channel", "y", "x"), 0.0, 1.0, 0.1)
    picture = batch_picture(batch, session.scheme)
    assert picture.axes == ("channel", "y", "x")
    for crop, (y, x) in zip(values, picture.corners.astype(int).tolist(), strict=True):
        np.testing.assert_array_equal(picture.values[:, y : y + 4, x : x + 4], crop)


def test_what_is_wrong_with_a_batch_is_said_in_its_colour(ui, session, aids, qtbot):
    for outcome, color in (((True, "Fine."), ui.theme.good), ((False, "Labels change."), ui.theme.warning)):
        session.net_checks.outcome = outcome
        press(qtbot, aids.learn)
        qtbot.waitUntil(lambda o=outcome: o[1] in aids.by_heart.text(), timeout=WAIT_MS)
        assert color in aids.by_heart.text()


def test_no_line_is_clipped_at_the_width_of_a_dock(ui, session, aids, qtbot):
    session.net_checks.outcome = (False, "Learnt by heart, but 9 of 16 seeds get another class. " * 4)
    for button in (aids.preview, aids.learn):
        press(qtbot, button)
    session.net_checks.find_wrong()
    session.job("net-1", 0, 200, loss=2.9, chance_loss=1.386, expected_loss=1.386)
    lines = (aids.first_loss, aids.batch_words, aids.by_heart, aids.wrong_title)
    qtbot.waitUntil(lambda: all(line.isVisible() for line in lines), timeout=WAIT_MS)
    for line in lines:
        qtbot.waitUntil(lambda x=line: x.height() >= x.heightForWidth(x.width()), timeout=WAIT_MS)
        assert line.mapTo(aids, line.rect().topRight()).x() < aids.width()
    assert ui.docks["train"].width() <= 350


def test_the_chosen_network_is_trained_and_looked_into(ui, session, aids, qtbot):
    dock = ui.docks["train"]
    dock.net_row.kind.setCurrentIndex(1)
    press(qtbot, aids.learn)
    assert ("learn_by_heart", {"kind": "screening"}) in session.calls
    asked = []
    session.train = lambda model, settings: asked.append((model, settings))
    press(qtbot, dock.net)
    dock.net_row.kind.setCurrentIndex(0)
    press(qtbot, dock.net)
    assert asked == [("net", {"kind": "screening"}), ("net", {})]


def test_a_click_on_a_wrong_answer_opens_the_seed(ui, session, aids, qtbot):
    session.net_checks.find_wrong()
    qtbot.waitUntil(lambda: aids.wrong.count() == 8, timeout=WAIT_MS)
    assert aids.wrong.item(2).text() == "3 · 2.20 · said abnormal, looks normal"
    where = aids.wrong.visualItemRect(aids.wrong.item(2)).center()
    qtbot.mouseClick(aids.wrong.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(where))
    assert session.current_seed == 3
    qtbot.waitUntil(lambda: ui.docks["labelling"].isVisible(), timeout=WAIT_MS)
    session.labels = {**session.labels, 3: Label(3, LabelState.LABELLED, 1)}
    aids.refresh()
    assert aids.wrong.item(2).text().startswith("✓ 3 ·")


@pytest.mark.parametrize(
    "loss, is_warm, is_odd, words",
    [
        (1.40, False, False, "as it should be"),
        (1.70, False, True, "far off"),
        (1.05, False, True, "far off"),
        (0.60, True, False, "starts from an earlier"),
        (2.50, True, True, "far off"),
    ],
)
def test_a_first_loss_off_by_a_fifth_is_odd(loss, is_warm, is_odd, words):
    text, found = first_loss_text(loss, 1.386, is_warm)
    assert found is is_odd and words in text and "among 4 classes" in text


def test_the_first_loss_of_a_job_is_told_in_the_warning_colour(ui, session, aids, qtbot):
    session.job("net-1", 0, 200, loss=2.9, chance_loss=1.386, expected_loss=1.386)
    qtbot.waitUntil(lambda: "First loss 2.90" in aids.first_loss.text(), timeout=WAIT_MS)
    assert ui.theme.warning in aids.first_loss.text()


def test_the_network_stands_beside_what_is_simpler(ui, session, aids):
    metrics = {
        "majority": 0.25, "knn": 0.71, "head": 0.8, "balanced_accuracy": 0.84, "difference": 0.04,
        "standard_error": 0.02, "activate": True,
    }  # fmt: skip
    card = ModelCard("net-1", "net", "2026", (1, 2), "", config={"pool": "ct"}, metrics=metrics)
    session.models = (card,)
    dock = ui.docks["train"]
    dock.show_models()
    text = dock.net_row.figures.text()
    assert text == (
        "guessing 25 · look-alikes 71 · live model 80 · network 84 %"
        "<br>used: ahead of the live model (+4 ± 2 points)"
    )
    assert "not used" in figures_text({**metrics, "activate": False})
    session.pool = "hsi"
    dock.show_models()
    assert dock.net_row.figures.isHidden()
    session.pool = "ct"
