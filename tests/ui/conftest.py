import gc
import os
import warnings

import pytest
from qtpy.QtCore import QSettings
from qtpy.QtWidgets import QApplication

os.environ["NAPARI_CONFIG"] = ""  # nothing is read from or written to the user's settings
with warnings.catch_warnings():  # napari's own, at import
    warnings.simplefilter("ignore")
    import napari
    import napari.components
    import napari.qt

    from napari_seedlab.ui.docks import open_docks
from tests.ui.fake_session import FakeSession

WAIT_MS = 60_000
FOREIGN_WARNINGS = (
    "ignore:System theme detection requires a Qt6 backend",
    "ignore:.*json_encoders.*",
    "ignore:viewer\\.\\w+ is a deprecated attribute:DeprecationWarning",
)


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/ui" in str(item.path):
            for warning in FOREIGN_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(autouse=True, scope="session")
def settings_of_their_own(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("settings"))
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, folder)


@pytest.fixture(autouse=True)
def no_widget_is_left(qapp):
    """Fail a test that leaves a window of ours behind; a closure or a signal usually holds it."""
    before = {id(w) for w in QApplication.topLevelWidgets()}
    yield
    gc.collect()
    left = [w for w in QApplication.topLevelWidgets() if id(w) not in before]
    ours = [w for w in left if type(w).__module__.startswith("napari_seedlab")]
    assert not ours, f"left behind: {ours}"


@pytest.fixture(scope="module")
def window_ui(qapp, request):
    """One window on the screen with all docks, for a whole module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        viewer = napari.Viewer(show=True)
        viewer.window._qt_window.resize(1366, 768)
        ui = open_docks(viewer)
        ui.camera.animated = False
        yield ui
        viewer.close()
        ui.close()
        qapp.processEvents()


@pytest.fixture
def session(tmp_path):
    return FakeSession(tmp_path)


@pytest.fixture
def ui(window_ui, session, qtbot):
    """A split tray on the screen, the keyboard on the canvas."""
    ui = window_ui
    ui.mode.switch(False)
    ui._mode_was_chosen, ui.colour_by = False, "label"
    ui.layers.show_predictions(True)
    ui.viewer.layers.clear()
    ui.say("")
    ui.bind(session)
    qtbot.waitUntil(lambda: ui.layers.find("labels") is not None, timeout=WAIT_MS)
    ui.viewer.window._qt_window.activateWindow()
    ui.viewer.window._qt_viewer.canvas.native.setFocus()
    qtbot.waitUntil(lambda: QApplication.focusWidget() is not None, timeout=WAIT_MS)
    yield ui
    ui.bind(None)
