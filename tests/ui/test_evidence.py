"""The nearest labelled seeds beside the reason, on the card."""

from dataclasses import replace

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication

from napari_seedlab.core import SURE, Evidence


def ask_with(session, *evidence):
    session.draw()
    first, *others = session.queue
    session.queue = (replace(first, strategy="margin_kmeans", score=0.83, evidence=evidence), *others)
    session.queue_changed.emit()


def heights(card):
    """Of the dock and of what it holds, once every layout inside was told of the last change."""
    card.refresh()
    QApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest)
    return card.sizeHint().height(), card.body.sizeHint().height()


def test_the_card_shows_what_an_asked_seed_resembles_and_a_click_goes_there(ui, session, qtbot):
    card = ui.docks["labelling"]
    ui.raise_dock("labelling")
    qtbot.waitUntil(lambda: heights(card)[1] <= card.scroll.viewport().height())  # the reason's lines fit
    height = heights(card)
    ask_with(session, Evidence(7, 2, 0.4), Evidence(9, 3, 0.9))
    card.refresh()
    shown = card.evidence.tiles
    assert [tile.seed for tile in shown] == [7, 9] and all(tile.isVisible() for tile in shown)
    assert [tile.seed_class.name for tile in shown] == ["abnormal", "dead"]
    assert card.title.full_text().endswith("· hard to tell")
    qtbot.waitUntil(lambda: ui.thumbs.get(7) is not None, timeout=60_000)
    assert heights(card) == height, "the card has not grown"
    picture = shown[0].grab().toImage()
    grey = [picture.pixelColor(x, 8) for x in range(10, 45)]
    assert any(c.red() == c.green() == c.blue() and c.red() > 40 for c in grey), "its thumbnail is drawn"
    qtbot.mouseClick(shown[1], Qt.MouseButton.LeftButton)
    assert session.current_seed == 9
    assert not card.evidence.isVisible(), "a seed that was chosen has none"
    session.skip()
    assert session.current_seed in [asked.seed for asked in session.queue]


def test_no_room_is_taken_where_nothing_is_labelled_yet(ui, session):
    session.draw()
    card = ui.docks["labelling"]
    card.refresh()
    assert not card.evidence.isVisible()
    assert card.reason.width() > 250


def test_a_reason_with_shares_never_contradicts_the_bars(ui, session):
    card = ui.docks["labelling"]
    session.refit()
    session.draw()
    first, *others = session.queue
    shares = session.predictions.of(first.seed)
    best = max(shares, key=shares.get)
    name, now = session.scheme.by_id(best).name, round(100 * shares[best])
    session.queue = (replace(first, reason=f"could be {name} ({now} %)"), *others)
    card.refresh()
    assert card.reason.full_text() == f"Could be {name} ({now} %)" and card.reason.isEnabled()
    session.queue = (replace(first, reason=f"could be {name} ({now - 9} %)"), *others)
    card.refresh()
    assert card.reason.full_text() == f"When asked: could be {name} ({now - 9} %)"
    assert not card.reason.isEnabled()
    session.answer(best, (first.seed,))
    session.look_at(first.seed)
    card.refresh()
    assert card.reason.full_text() == f"When asked: could be {name}"


def test_a_sure_seed_is_not_headed_hard_to_tell(ui, session):
    card = ui.docks["labelling"]
    session.refit()
    session.draw()
    first, *others = session.queue
    for reason, words in (
        ("could be normal (50 %)", "hard to tell"),
        (f"{SURE}: normal (100 %)", "little doubt"),
    ):
        session.queue = (replace(first, strategy="margin_kmeans", reason=reason), *others)
        card.refresh()
        assert card.title.full_text().endswith(f"· {words}")


def test_what_is_shown_already_is_not_painted_again(ui, session, monkeypatch):
    card, painted = ui.docks["labelling"], []
    ask_with(session, Evidence(7, 2, 0.4), Evidence(9, 3, 0.9))
    card.refresh()
    for widget in (*card.evidence.tiles, card.tick):
        monkeypatch.setattr(widget, "update", lambda w=widget: painted.append(w))
    card.refresh()
    assert painted == []
    ask_with(session, Evidence(8, 2, 0.4), Evidence(9, 3, 0.9))
    card.refresh()
    assert painted == [card.evidence.tiles[0]]
