import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_seedlab.core import Label, LabelState
from napari_seedlab.session.encoders import Option
from napari_seedlab.ui.encoder_table import verdict_line

WAIT_MS = 30_000


def share(value, low, high):
    return {"value": value, "low": low, "high": high}


def said(recommended="bundled"):
    rows = [
        {"name": "descriptors", "encoders": ["descriptors"], "knn": share(0.71, 0.6, 0.8),
         "linear": share(0.8, 0.7, 0.88), "n_columns": 112},
        {"name": "bundled", "encoders": ["bundled"], "knn": share(0.9, 0.8, 0.95),
         "linear": share(0.93, 0.85, 0.97), "n_columns": 102},
    ]  # fmt: skip
    line = "bundled is ahead of descriptors by 13.0 points (4.0 to 20.1)."
    return {"rows": rows, "recommended": recommended, "line": line, "n_labels": 60, "folds": "scans"}


@pytest.fixture
def page(ui, qtbot):
    ui.raise_dock("train")
    ui.docks["train"].tabs.setCurrentIndex(2)
    page = ui.docks["train"].encoders
    qtbot.waitUntil(page.isVisible)
    yield page
    ui.docks["train"].tabs.setCurrentIndex(0)


def texts(page):
    return [label.text() for label in page.findChildren(QLabel)]


def test_the_table_says_what_is_known_and_uses_what_is_pressed(session, page, qtbot, monkeypatch):
    session.encoders.tables = {"ct": said()}
    chosen, told = [], session.encoders.options
    monkeypatch.setattr(session.encoders, "chosen", lambda pool: ("descriptors",))
    monkeypatch.setattr(session.encoders, "choose", lambda pool, names: chosen.append((pool, tuple(names))))
    session.encoders_changed.emit("ct")
    qtbot.waitUntil(lambda: "recommended" in " ".join(texts(page)), timeout=WAIT_MS)
    assert list(page.uses) == [*(option.name for option in told("ct")), "descriptors + bundled"]
    shown = " ".join(texts(page))
    assert "93 %" in shown and "85–97" in shown and page.table.note == "by 60 labels"
    assert "Ready-made is ahead of Measures by 13.0 points" in page.verdict.text()
    assert page.verdict.text().startswith("In use: ")
    assert "Compare on the 60 labels" in verdict_line({}, 60, ("bundled",))
    assert "5 newer labels are not in it" in verdict_line(
        {"line": "Keep it.", "n_labels": 60}, 65, ("bundled",)
    )
    room = page.table.contentsRect().width()
    qtbot.waitUntil(lambda: all(u.isVisible() and u.geometry().right() <= room for u in page.uses.values()))
    assert not page.uses["descriptors"].isEnabled() and page.uses["descriptors"].text() == "In use"
    assert not page.uses["own"].isEnabled() and "was not trained yet" in page.uses["own"].toolTip()
    qtbot.mouseClick(page.uses["bundled"], Qt.MouseButton.LeftButton)
    qtbot.mouseClick(page.uses["descriptors + bundled"], Qt.MouseButton.LeftButton)
    assert chosen == [("ct", ("bundled",)), ("ct", ("descriptors", "bundled"))]


def test_what_waits_says_why(ui, session, page, qtbot, monkeypatch):
    assert not page.compare.isEnabled() and "two classes" in page.compare.toolTip()
    session.labels = {1: Label(1, LabelState.LABELLED, 1), 2: Label(2, LabelState.LABELLED, 2)}
    asked = []
    monkeypatch.setattr(session.encoders, "compare", asked.append)
    monkeypatch.setattr(session.encoders, "own", asked.append)
    monkeypatch.setattr(
        session.encoders, "options", lambda pool: (Option("descriptors"), Option("bundled", "x", "y"))
    )
    page.refresh()
    assert page.compare.isEnabled() and list(page.uses) == ["descriptors", "bundled"]
    for button in (page.compare, page.own):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert asked == ["ct", "ct"]
    ui.bind(None)
    assert page.table.missing.startswith("Open a project") and not page.folder.isEnabled()


def test_nothing_is_wider_than_the_dock(page):
    assert page.minimumSizeHint().width() <= 334
