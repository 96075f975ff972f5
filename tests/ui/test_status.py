from html import escape

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QFontMetrics
from qtpy.QtWidgets import QApplication, QLabel

from napari_seedlab.ui.few_lines import FOLD, fitted
from napari_seedlab.ui.status import StatusCard

LONG = "a<b>.tif: declares 37 GiB of voxels, the file holds 12 GiB. Copy the file again from its origin."


@pytest.mark.parametrize("n_lines", [1, 2])
def test_a_card_keeps_its_room_whatever_it_says(n_lines, qtbot):
    card = StatusCard(n_lines=n_lines)
    qtbot.addWidget(card)
    card.show()
    high = card.sizeHint().height()
    for text in (LONG, "", "Ready to train."):
        card.say(text, "error")
        assert card.sizeHint().height() == card.minimumSizeHint().height() == high
        assert card.text() == text and not card.isHidden()


def test_what_does_not_fit_is_the_tooltip_and_can_be_copied(qtbot):
    card = StatusCard()
    qtbot.addWidget(card)
    card.resize(300, card.sizeHint().height())
    card.show()
    card.say(LONG)
    label = card.findChild(QLabel)
    assert label.text().endswith("…") and label.text().count("\n") == 1
    assert escape(LONG) in label.toolTip()
    card.copy.trigger()
    assert QApplication.clipboard().text() == LONG
    card.resize(1200, card.height())
    assert label.text() == LONG and label.toolTip() == ""


def test_a_card_that_may_grow_shows_the_whole_advice_and_shrinks_again(qtbot):
    card = StatusCard(n_most=7)
    qtbot.addWidget(card)
    low = card.sizeHint().height()
    card.resize(300, low)
    card.show()
    for text in (LONG, "w" * 20 + " Copy it again from its origin." * 5):
        card.say(text, "error")
        label = card.findChild(QLabel)
        assert " ".join(label.text().split()) == text
        assert label.toolTip() == FOLD
        assert card.sizeHint().height() == card.minimumSizeHint().height() > low
    qtbot.mouseClick(card, Qt.MouseButton.LeftButton)
    assert card.sizeHint().height() == low
    assert "its origin" in label.toolTip()
    card.say("Done.", "success")
    assert card.sizeHint().height() == low


def test_lines_are_broken_at_words_and_fit(qapp):
    metrics, font = QFontMetrics(qapp.font()), qapp.font()
    for n_lines in (1, 2, 3):
        lines = fitted(LONG, font, 200, n_lines)
        assert len(lines) == n_lines and all(metrics.horizontalAdvance(x) <= 201 for x in lines)
        assert LONG.startswith(" ".join(lines).removesuffix("…").strip())
    assert "".join(fitted("", font, 200, 2)) == ""
    assert fitted("x" * 500, font, 200, 2)[1].endswith("…")
