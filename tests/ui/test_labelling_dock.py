from napari_seedlab.ui.layers import background_value


def test_the_brush_for_background_says_so_in_full(ui, session, qtbot):
    dock = ui.docks["labelling"]
    dock.parentWidget().raise_()
    button = dock._tissue_buttons[background_value(session.tissues)]
    qtbot.waitUntil(button.isVisible)
    assert button.text() == "background" and "Paint background" in button.toolTip()
    for brush in dock._tissue_buttons.values():
        assert brush.fontMetrics().horizontalAdvance(brush.text()) < brush.width()


def test_the_user_chooses_what_is_asked_about(ui, session, qtbot):
    dock = ui.docks["labelling"]
    box = dock.ask_about.strategy
    assert [box.itemText(i) for i in range(box.count())][3] == "Most anomalous first"
    box.setCurrentIndex(3)
    box.activated.emit(3)
    assert ("ask_by", "anomaly") in session.calls
    box.setCurrentIndex(4)
    box.activated.emit(4)  # no method was run yet
    assert "Find odd ones by another method" in ui.last_message[0]
    assert box.currentIndex() == 3
