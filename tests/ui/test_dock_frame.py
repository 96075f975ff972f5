import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QScrollArea

from napari_seedlab.ui.dock_frame import DockFrame

NEVER = Qt.ScrollBarPolicy.ScrollBarAlwaysOff


@pytest.mark.parametrize("name", ["project", "labelling", "train"])
def test_rows_scroll_up_and_down_and_never_sideways(ui, name):
    dock = ui.docks[name]
    assert isinstance(dock, DockFrame) and dock.scroll.widget() is dock.body
    assert dock.scroll.horizontalScrollBarPolicy() == NEVER and dock.scroll.widgetResizable()
    assert dock.scroll.frameShape() == QScrollArea.Shape.NoFrame
    dock.parentWidget().raise_()
    assert dock.body.width() <= dock.scroll.viewport().width() <= dock.width()
