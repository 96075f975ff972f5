import time
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_seedlab.core import Label, LabelState, ModelCard, NotReady
from napari_seedlab.learn.round import Answers, RoundSettings, labelling_round
from napari_seedlab.session.anomaly import METHODS
from napari_seedlab.session.results import AnomalyScores
from napari_seedlab.session.verdicts import Verdict
from napari_seedlab.ui.method_words import WORDS
from napari_seedlab.ui.odd_row import STEPS
from napari_seedlab.ui.verdict_lines import TOO_FEW, verdict_text, verdict_tip

WAIT_MS = 30_000


@pytest.fixture
def row(ui, qtbot):
    ui.raise_dock("train")
    row = ui.docks["train"].odd_row
    qtbot.waitUntil(row.isVisible)
    return row


def test_the_chosen_method_scores_the_seeds(ui, session, row, qtbot):
    assert [row.method.itemData(i) for i in range(row.method.count())] == ["fcdd", "vae", "distance"]
    row.method.setCurrentIndex(1)
    qtbot.mouseClick(ui.docks["train"].odd, Qt.MouseButton.LeftButton)
    assert ("find_odd", "vae") in session.calls


def test_a_project_that_is_read_only_offers_no_search_for_odd_ones(ui, session):
    dock = ui.docks["train"]
    dock.refresh()
    assert dock.odd.isEnabled()
    session.read_only = True
    dock.refresh()
    assert not dock.odd.isEnabled()


def test_every_method_has_words():
    assert set(WORDS) == set(METHODS)


def test_the_threshold_flags_live_and_selects(ui, session, row, qtbot):
    assert not row.threshold.isEnabled()
    assert row.flagged.text() == "no scores"
    session.find_odd()
    qtbot.waitUntil(row.threshold.isEnabled)
    score = session.anomaly.score
    for step in (STEPS // 2, STEPS // 10):
        row.threshold.setValue(step)
        n = int((score > np.quantile(score, step / STEPS)).sum())
        assert row.flagged.text() == f"{n} flagged"
        assert row.above.text() == f"Above {np.quantile(score, step / STEPS):.2f}"
        for widget in (row.flagged, row.above):
            assert widget.fontMetrics().horizontalAdvance(widget.text()) <= widget.width()
    qtbot.mouseClick(row.flagged, Qt.MouseButton.LeftButton)
    assert session.selection == frozenset(session.anomaly.seeds[score > np.quantile(score, 0.1)].tolist())
    row.threshold.setValue(STEPS)
    assert not row.flagged.isEnabled()


def choose(box, value):
    """As a user chooses an entry of a box."""
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex())


def test_a_chosen_method_shows_its_scores_at_once_where_it_has_some(ui, session, row, qtbot):
    session.find_odd()
    session.find_odd(method="vae")
    qtbot.waitUntil(lambda: row.chosen == "vae", timeout=WAIT_MS)
    choose(row.method, "fcdd")
    assert session.anomaly.method == "fcdd"
    choose(row.method, "distance")
    assert session.anomaly.method == "fcdd"
    row.refresh()
    assert row.chosen == "distance"  # for the next Find odd ones
    session.find_odd(method=row.chosen)
    qtbot.waitUntil(lambda: row._shown is session.anomaly, timeout=WAIT_MS)
    assert session.anomaly.method == row.chosen == "distance"


def test_labels_judge_the_scores_below_the_row(ui, session, row, qtbot):
    assert row.verdict.isHidden()
    session.find_odd()
    qtbot.waitUntil(lambda: TOO_FEW in row.verdict.text(), timeout=WAIT_MS)
    order = session.anomaly.seeds[np.argsort(session.anomaly.score)].tolist()
    for seed in (*order[:3], *order[-2:]):
        session.answer(1 if seed in order[:3] else 3, [seed])
    words = "100 times in 100 (16-100), by 5 labelled seeds, chosen not at random."
    qtbot.waitUntil(lambda: words in row.verdict.text(), timeout=WAIT_MS)
    session.find_odd(method="distance")
    qtbot.waitUntil(lambda: "<table" in row.verdict.text(), timeout=WAIT_MS)
    assert "Pasted defects" in row.verdict.text() and "Feature distance" in row.verdict.text()
    qtbot.waitUntil(lambda: row.verdict.height() >= row.verdict.heightForWidth(row.verdict.width()))
    assert ui.docks["train"].width() <= 350
    assert row.verdict.minimumSizeHint().width() <= row.width()


def test_a_table_marks_who_was_taught_and_who_has_too_few():
    some = {"auc": 0.934, "interval": (0.81, 1.0), "average_precision": 0.88}
    found = (
        Verdict("fcdd", 8, 4, False, 6, **some),
        Verdict("vae", 8, 4, False, 0, **some),
        Verdict("distance", 9, 1),
    )
    text = verdict_text(found)
    assert "Pasted defects*" in text and "Autoencoder<" in text and "too few labels" in text
    assert text.endswith(
        "By 12 labelled seeds, chosen not at random. * some of these labels taught it, which flatters it."
    )
    assert "93 (81-100)" in text and "AUC" not in text
    assert "AUC 0.93 (0.81-1.00), average precision 0.88" in verdict_tip(found)
    assert verdict_text(()) == ""


def test_no_slot_takes_long_with_fifty_thousand_seeds(ui, session, row, qtbot):
    n = 50_000
    rng = np.random.default_rng(0)
    for method in ("fcdd", "vae"):
        found = AnomalyScores(np.arange(n), rng.random(n).astype("f4"), (0, 1), f"{method}-1")
        session.opinions._put_first("ct", found)
    session.labels = {i: Label(i, LabelState.LABELLED, 1 + i % 2) for i in range(2000)}
    for slot in (row.refresh, row.judge, row._show_chosen, row._tell, row._select):
        begun = time.thread_time()
        slot()
        assert time.thread_time() - begun < 0.05
    qtbot.waitUntil(lambda: "2,000 labelled seeds" in row.verdict.text(), timeout=WAIT_MS)


def test_long_names_of_models_keep_both_ends_and_tell_all(ui, session, row, qtbot):
    dock = ui.docks["train"]
    session.find_odd(method="vae")
    card = ModelCard("net-12", "net", "2026", (1, 2), "", config={}, metrics={"balanced_accuracy": 0.91})
    session.models = (ModelCard("vae-1", "vae", "2026", (), "", config={}, metrics={}), card)
    dock.show_models()
    assert [dock.models.itemText(i) for i in (0, 1)] == [
        "network 12 · 91%",
        "✓ autoencoder 1",
    ]
    dock.models.setItemText(0, "a very long name " * 5 + "· active")
    dock.models.setCurrentIndex(0)
    shown = dock.models.elided()
    assert shown.startswith("a very") and shown.endswith("active") and "…" in shown
    assert dock.models.fontMetrics().horizontalAdvance(shown) <= dock.models.width()
    session.models = (*session.models, replace(card, id="net-13"))
    dock.show_models()
    assert "network 13 · 91%" in dock.models.toolTip()


def test_models_are_told_apart_by_small_numbers(ui, session, row):
    dock, head = ui.docks["train"], ModelCard("head-dd0d77b8a5", "head", "2026", (1, 2), "")
    session.models = (head,)
    dock.show_models()
    assert dock.models.itemText(0) == "live model"
    session.models = (head, replace(head, id="head-1234567890", active=True))
    dock.show_models()
    assert [dock.models.itemText(i) for i in (0, 1)] == ["✓ live model 2", "live model 1"]


def test_the_live_model_says_how_good_it_is(ui, session, row):
    answers = Answers(np.arange(12), np.repeat([1, 2], 6).astype(np.int32), np.zeros(12))
    vectors = np.repeat([[0.0], [9.0]], 6, axis=0)
    told = labelling_round(np.arange(12), vectors, answers, RoundSettings((1, 2), n=0)).values
    session.head_report["ct"] = dict(told)
    ui.docks["train"].show_models()
    assert ui.docks["train"].quality.text().startswith("Live model: balanced accuracy 100% over 12 labels")


def test_the_user_chooses_what_is_asked_about(ui, session, row):
    dock = ui.docks["train"]
    box = dock.ask_about.strategy
    assert [box.itemText(i) for i in range(box.count())][3] == "Most anomalous first"
    box.setCurrentIndex(3)
    box.activated.emit(3)
    assert ("ask_by", "anomaly") in session.calls
    box.setCurrentIndex(4)
    box.activated.emit(4)  # no method was run yet
    assert "Find odd ones by another method" in ui.last_message[0]
    assert box.currentIndex() == 3


def test_a_refused_model_leaves_the_one_in_use_chosen(ui, session, monkeypatch):
    dock = ui.docks["train"]
    cards = [
        ModelCard(f"net-{n}", "net", "2026", (1, 2), "", config={}, metrics={}, active=n == 1) for n in (1, 2)
    ]
    session.models = tuple(cards)
    dock.show_models()
    refused = NotReady("model net-2", "is not proven better than chance", "Check the labels")
    monkeypatch.setattr(session, "activate", Mock(side_effect=refused))
    dock.models.setCurrentIndex(0)
    dock.models.activated.emit(0)
    session.activate.assert_called_once_with("net-2")
    assert dock.models.currentData() == "net-1"
