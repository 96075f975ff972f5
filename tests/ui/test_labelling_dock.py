import threading

import numpy as np

from napari_seedlab.core import Suggestion
from napari_seedlab.ui import reading
from napari_seedlab.ui.few_lines import FewLines
from napari_seedlab.ui.labelling_dock import STRATEGY_WORDS
from napari_seedlab.ui.layers import background_value
from napari_seedlab.ui.seed_text import reason_now

WAIT_MS = 30_000


def test_the_brush_for_background_says_so_in_full(ui, session, qtbot):
    dock = ui.docks["labelling"]
    dock.parentWidget().raise_()
    button = dock._tissue_buttons[background_value(session.tissues)]
    qtbot.waitUntil(button.isVisible)
    assert button.text() == "background" and "Paint background" in button.toolTip()
    for brush in dock._tissue_buttons.values():
        assert brush.fontMetrics().horizontalAdvance(brush.text()) < brush.width()


def test_why_a_seed_is_asked_stands_beside_its_number_in_full(ui, session):
    dock = ui.docks["labelling"]
    dock.parentWidget().raise_()
    for words in STRATEGY_WORDS.values():
        dock.title.tell(f"Seed 1234 · {words.lower()}")
        assert dock.title.text() == dock.title.full_text()
    session.draw()
    dock.refresh()
    asked = session.current
    assert dock.title.full_text() == f"Seed {asked.seed} · {STRATEGY_WORDS[asked.strategy].lower()}"


def test_a_reason_has_more_lines_where_there_is_room(qtbot):
    lines = FewLines(2)
    qtbot.addWidget(lines)
    lines.resize(130, 80)
    lines.tell("could be abnormal (94 %) or normal (4 %), and no labelled seed is like it")
    low = lines.sizeHint().height()
    assert "…" in lines.text()
    lines.take_lines(4)
    assert lines.sizeHint().height() > low and "…" not in lines.text()
    lines.tell("")
    assert lines.sizeHint().height() > low, "what stands below must not move"
    lines.take_lines(2)
    assert lines.sizeHint().height() == low


def test_the_card_of_a_cube_has_the_colours_of_the_viewer(session, monkeypatch):
    tint = np.asarray([1.0, 0.6, 0.3])
    real = reading.read_scan(session, 2).composite
    monkeypatch.setattr(reading, "_false_colours", lambda *_: np.asarray(real * tint, np.uint8))
    (cut,) = reading.read_cuts(session, int(session.regions(2).seed[0]))
    middle = cut[cut.shape[0] // 2, cut.shape[1] // 2].astype(float)
    np.testing.assert_allclose(middle / middle.max(), tint, atol=0.05)


def test_where_every_seed_is_answered_the_card_says_so(ui, session):
    dock = ui.docks["labelling"]
    ui.mode.switch(True)
    seeds = session.regions(session.current_scan).seed.tolist()
    session.answer(1, seeds[1:])
    session.answer("unsure", seeds[:1])
    session.queue = ()
    session.look_at(None)
    dock.show_seed(None)
    assert dock.title.text() == dock.title.full_text() == "All seeds are answered"
    assert f"All {len(seeds)} seeds of this scan are answered, 1 as unsure." in dock.cuts._empty
    assert "Start labelling" not in dock.cuts._empty and "doubtful" in dock.cuts._empty


def test_no_picture_of_another_seed_stays_where_reading_takes_long(ui, session, qtbot, monkeypatch):
    card, may_read, read = ui.docks["labelling"], threading.Event(), reading.read_cuts
    session.look_at(5)
    qtbot.waitUntil(lambda: card.cuts.seed == 5, timeout=WAIT_MS)
    monkeypatch.setattr(reading, "read_cuts", lambda *a: may_read.wait(60) and read(*a))
    session.look_at(40)
    qtbot.waitUntil(lambda: card.cuts.n_cuts == 0, timeout=WAIT_MS)
    may_read.set()
    qtbot.waitUntil(lambda: card.cuts.seed == 40 and card.cuts.n_cuts > 0, timeout=WAIT_MS)


def test_several_selected_seeds_show_no_picture_and_no_shares_of_one(ui, session, qtbot):
    dock = ui.docks["labelling"]
    session.refit()
    session.draw()
    qtbot.waitUntil(lambda: dock.cuts.n_cuts > 0)
    dock.refresh()
    assert any(button.probability for button in dock._class_buttons.values())
    ui.select(frozenset({3, 4, 5}), "map")
    qtbot.waitUntil(lambda: dock.cuts.n_cuts == 0)
    assert not any(button.probability for button in dock._class_buttons.values())
    assert dock.title.full_text() == "3 seeds selected" and "3 seeds" in dock.cuts._empty
    ui.select(frozenset(), "map")
    qtbot.waitUntil(lambda: dock.cuts.n_cuts > 0)


def test_while_a_picture_is_read_the_card_says_so_and_not_that_a_seed_is_chosen(
    ui, session, qtbot, monkeypatch
):
    dock, may_read = ui.docks["labelling"], threading.Event()
    real = reading.read_cuts
    monkeypatch.setattr(reading, "read_cuts", lambda *a: may_read.wait(20) and real(*a))
    dock.show_seed(None)
    seed = int(session.regions(1).seed[-1])
    session.look_at(seed)
    dock.show_seed(seed)
    qtbot.waitUntil(lambda: dock.cuts._empty == f"Reading seed {seed}…", timeout=WAIT_MS)
    may_read.set()
    qtbot.waitUntil(lambda: dock.cuts.seed == seed, timeout=WAIT_MS)


def test_an_odd_seed_that_is_predicted_otherwise_now_says_when_it_was_asked(session):
    session.refit()
    seed = int(session.predictions.seeds[0])
    p = session.predictions.of(seed)
    best, least = max(p, key=p.get), min(p, key=p.get)
    for class_id, is_past in ((best, False), (least, True)):
        reason = f"predicted {session.scheme.by_id(class_id).name}, yet among the 3 % oddest by anomaly score"
        asked = Suggestion("u", seed, 1.0, "anomaly", reason, 1.0, "", ())
        assert reason_now(session, asked)[1] is is_past
