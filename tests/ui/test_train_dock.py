import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_seedlab.session.anomaly import METHODS
from napari_seedlab.ui.odd_row import STEPS, WORDS


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


def test_every_method_has_words():
    assert set(WORDS) == set(METHODS)


def test_the_threshold_flags_live_and_selects(ui, session, row, qtbot):
    assert not row.threshold.isEnabled()
    assert row.flagged.text() == "no scores yet"
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
