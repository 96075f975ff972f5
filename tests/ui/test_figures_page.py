import time
from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from napari_seedlab.core import Label, LabelState
from napari_seedlab.session.figures import Report
from napari_seedlab.ui.confusion import NAME_PX, fitted_name
from napari_seedlab.ui.curves import calibration_text, kept_text
from napari_seedlab.ui.figures_page import headline, spent_text
from tests.ui.fake_session import FakeSession

SEEDS = np.arange(1, 43)
SAID = np.asarray([0, 0, 0, 1, 1, 2], np.int32)
TOLD = np.asarray([0, 0, 1, 1, 0, 2], np.int32)
FEW = "too few to say (9 of 30)"


def values(few=False, light="amber", is_counted=False):
    text = FEW if few else "88 % (75-96 %)"
    told = {"value": 0.88, "low": 0.75, "high": 0.96, "n": 9 if few else 40, "text": text}
    counts = np.zeros((4, 4))
    np.add.at(counts, (SAID, TOLD), 1)
    p0 = np.round(np.arange(0, 1, 0.01), 2)
    reject = {
        "p0": p0.tolist(), "coverage": (1 - p0 / 2).tolist(), "accuracy": (0.8 + p0 / 5).tolist(),
        "low": (0.7 + p0 / 5).tolist(), "chosen": 0.6, "is_proven": False, "target": 0.98, "n_far": 1,
        "is_provisional": few,
    }  # fmt: skip
    return {
        "n_seeds": 42, "n_labels": 6, "n_random": told["n"], "accuracy": told,
        "is_counted": is_counted, "seconds": 380.0, "n_actions": 6,
        "is_better_than_guessing": True,
        "recall": [{**told, "class_id": c, "n_answers": 2} for c in (1, 2, 3)],
        "confusion": counts.tolist(), "confusion_pool": None if few else (7 * counts).tolist(),
        "calibration": {
            "temperature": 1.2, "from": "random answers", "ece": 0.03, "ece_before": 0.2, "text": "",
            "bins": [{"n": 4, "confidence": 0.6, "accuracy": 0.5}],
        },
        "reject": reject,
        "most_wrong": [{"seed": 5, "said": 2, "predicted": 1, "p": 0.02}],
        "curve": {
            "n": [10, 20, 30], "accuracy": [0.7, 0.8, 0.85], "fitted": [None] * 3, "is_provisional": few,
            "gain": 0.02, "low": 0.0, "high": 0.04, "can_say": True,
            "text": "" if is_counted else "about +2 points for 50 more answers",
        },
        "stop": {"colour": light, "text": "Nearly: not yet.", "kappa": 0.99},
        "folds": {"by": "scan", "random": 0.9, "held_out": 0.6, "chance": 0.25},
        "gauge": {"accuracy": 0.8, "chance": 0.5, "n_scans": 2, "text": "The 2 scans differ."},
    }  # fmt: skip


@pytest.fixture
def page(ui, qtbot):
    dock = ui.docks["train"]
    ui.raise_dock("train")
    dock.tabs.setCurrentIndex(1)
    qtbot.waitUntil(dock.figures.isVisible)
    yield dock.figures
    dock.tabs.setCurrentIndex(0)


@pytest.fixture
def shown(ui, session, page, qtbot):
    """A page that shows figures of the pool."""

    def show(**changes):
        found = values(**changes)
        p = np.linspace(0.3, 1, len(SEEDS)).astype(np.float32)
        far, predicted = np.zeros(len(SEEDS), bool), np.zeros(len(SEEDS), np.int32)
        answered = np.arange(1, 7)
        report = Report(found, SEEDS, predicted, p, far, answered, SAID, TOLD, session.scheme.ids)
        session.embeddings = {"ct": SimpleNamespace(row={int(s): i for i, s in enumerate(SEEDS)})}
        session.labels = {
            int(s): Label(int(s), LabelState.LABELLED, 1 + int(c))
            for s, c in zip(answered, SAID, strict=True)
        }
        session.figures.reports = {"ct": report}
        session.figures_changed.emit("ct")
        qtbot.waitUntil(lambda: page._shown is report)
        return page

    return show


def test_without_figures_the_page_says_what_to_do(ui, session, page):
    page.refresh()
    assert "not described yet" in page.headline.text()
    assert not page.check.isEnabled()
    session.embeddings = {"ct": SimpleNamespace(row={1: 0, 2: 1})}
    page.refresh()
    assert "Label two seeds each of two classes first" in page.headline.text()
    assert all(section.isHidden() for section in page.sections)


def test_counting_ends_with_its_project(ui, session, page, tmp_path, monkeypatch):
    monkeypatch.setattr(session.figures, "ask", lambda: None)
    page._count()
    assert page.headline.text().count("Counting…") == 1
    (tmp_path / "other").mkdir()
    ui.bind(FakeSession(tmp_path / "other"))
    assert "Counting…" not in page.headline.text()


def test_the_page_tells_what_is_known_and_claims_no_more(ui, shown):
    page = shown()
    assert "88 %" in page.headline.text()
    assert "75-96 %" in page.headline.text()
    assert "6 min 20 s" in page.spent.text()
    assert "The 2 scans differ." in page.scans_text.text()
    assert "On a scan without any label it is right about 60 % of each class" in page.scans_text.text()
    assert "about +2 points for 50 more answers" in page.growth.forecast.text()
    assert page.width() <= ui.docks["train"].scroll.viewport().width()
    assert page.minimumSizeHint().width() <= 330
    for light, name in (("green", "good"), ("amber", "warning"), ("red", "error")):
        assert getattr(ui.theme, name) in shown(light=light).growth.light.text()
    shown(few=True)
    assert "Too few to say (9 of 30)" in page.headline.text()
    assert "88 %" not in page.headline.text()
    assert not page.all_seeds.isEnabled()


def test_the_headline_has_the_digits_of_the_report():
    told = values()
    told["accuracy"] |= {"value": 0.998, "low": 0.996, "high": 1.0, "text": "99.8 % (99.6-100.0 %)"}
    assert "Right about 99.8 % of all seeds</b><br>99.6-100.0 % with 95 % certainty" in headline(told)


def test_a_pool_that_is_answered_whole_is_counted_and_promised_nothing(shown):
    page = shown(is_counted=True)
    assert "Counted over all 40" in page.headline.text()
    assert "drawn by chance" not in page.headline.text()
    assert page.growth.forecast.isHidden()
    assert not shown().growth.forecast.isHidden()


def test_a_click_on_a_cell_selects_its_seeds(ui, session, shown, qtbot):
    page = shown()
    matrix = page.matrix
    ui.docks["train"].scroll.ensureWidgetVisible(matrix)
    qtbot.waitUntil(lambda: matrix.height() > 100)
    assert matrix.cell_at(2, 2) is None
    assert matrix.cell_at(matrix.width() - 6, matrix.height() - 6) == (3, 3)
    cell = matrix._cell(1, 0).center()
    qtbot.mouseClick(matrix, Qt.MouseButton.LeftButton, pos=QPoint(int(cell.x()), int(cell.y())))
    assert session.selection == {5}  # said the second class, predicted the first
    assert matrix.counts[0, 0] == 2
    page.all_seeds.setChecked(True)
    assert matrix.counts[0, 0] == 14
    page.all_seeds.setChecked(False)


def test_the_slider_tells_at_once_and_is_remembered(session, shown):
    page = shown()
    assert page.reject.p0 == 0.6
    assert "Too few answers yet to be sure of 98 %" in page.reject.told.text()
    begun = time.perf_counter()
    for value in range(40, 80):
        page.reject.slider.setValue(value)
    assert (time.perf_counter() - begun) / 40 < 0.05
    assert "Decides 60 % of the seeds; of these 96 % are right" in page.reject.told.text()
    page.reject.slider.sliderReleased.emit()
    assert session.figures.p0() == pytest.approx(0.79)
    assert session.figures.rejected() == {int(s) for s in SEEDS[6:] if 0.3 + 0.7 * (s - 1) / 41 < 0.79}


def test_scaling_that_made_it_worse_is_not_praised(shown):
    assert "off by 3 points on average (20 before it was scaled)" in shown().calibration.told.text()
    assert calibration_text(10.8, 12.3) == "Its certainty is off by 12 points on average."


def test_the_names_of_four_classes_are_read_whole_above_their_columns(shown):
    page = shown()
    font = page.matrix.font()
    font.setPointSizeF(8)  # as it is drawn
    width = int((280 - NAME_PX - 2) / 4 - 2)  # of a dock at its narrowest
    for name in ("normal", "abnormal", "dead", "foreign"):
        assert fitted_name(name, font, width)[1] == name
    assert fitted_name("germinated late", font, width)[1].endswith("…")


def test_an_empty_cell_says_so(ui, shown):
    page = shown()
    page.matrix.clicked.emit(3, 0)
    assert ui.last_message[0] == "No answer lies in this cell."
    for (said, told), words in (((3, 0), "No seed said to be"), ((1, 0), "1 seed said to be")):
        centre = page.matrix._cell(said, told).center().toPoint()
        page.matrix.mouseMoveEvent(SimpleNamespace(pos=lambda at=centre: at))
        assert page.matrix.toolTip().startswith(words)
        assert ("Click" in page.matrix.toolTip()) == words.startswith("1")


def test_buttons_and_links_lead_on(ui, session, shown, qtbot, monkeypatch):
    page, calls, raised = shown(), [], []
    monkeypatch.setattr(ui, "raise_dock", raised.append)
    monkeypatch.setattr(session.figures, "check", lambda: calls.append("check"))
    monkeypatch.setattr(session.figures, "label_unsure", lambda: calls.append("unsure"))
    qtbot.mouseClick(page.check, Qt.MouseButton.LeftButton)
    page.reject.unsure.click()
    assert calls == ["check", "unsure"]
    assert raised == ["labelling"], "the card was not shown"
    link = page.wrong.content.itemAt(0).widget()
    assert "Seed 5" in link.text()
    link.linkActivated.emit("#")
    assert session.current_seed == 5
    assert session.selection == {5}


def test_nothing_is_asked_for_where_every_seed_is_answered(session, shown):
    page = shown(is_counted=True)
    assert page.check.isEnabled() and page.reject.unsure.isEnabled()
    session.labels = {s: Label(s, LabelState.LABELLED, 1 + s % 2) for s in session.seeds_of(session.pool)}
    page.refresh()
    assert not page.check.isEnabled() and not page.reject.unsure.isEnabled()
    page.reject.slider.setValue(60)  # where the curve of these answers proves too little
    assert "Too few answers yet" not in page.reject.told.text()
    session.labels = {**session.labels, 7: Label(7, LabelState.NONE)}
    page.refresh()
    assert page.check.isEnabled() and page.reject.unsure.isEnabled()


def test_what_a_threshold_keeps_in_words():
    curve = values()["reject"]
    assert kept_text(curve, 0.0) == "Decides 100 % of the seeds; of these 80 % are right, surely 70 %."
    curve["accuracy"][99] = None
    assert kept_text(curve, 1.0).endswith("no answer tells how many of them are right.")
    assert spent_text(9) == "9 s"


def test_the_headline_says_of_whom_it_speaks():
    assert "of all seeds" in headline(values())
    guesses = headline(values() | {"is_better_than_guessing": False})
    assert "No better than guessing" in guesses and "88 %" not in guesses
    told = headline(values() | {"untold": {"text": "not counted: 3 were asked about and got no class"}})
    assert "of the seeds that can be told" in told and "Not counted: 3 were asked about" in told
