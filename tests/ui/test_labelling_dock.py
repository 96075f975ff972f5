from napari_seedlab.ui.layers import background_value


def test_the_brush_for_background_says_so_in_full(ui, session, qtbot):
    dock = ui.docks["labelling"]
    dock.parentWidget().raise_()
    button = dock._tissue_buttons[background_value(session.tissues)]
    qtbot.waitUntil(button.isVisible)
    assert button.text() == "background" and "Paint background" in button.toolTip()
    for brush in dock._tissue_buttons.values():
        assert brush.fontMetrics().horizontalAdvance(brush.text()) < brush.width()
