"""What stands beside the project's name: a quiet way to start from another project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QPushButton, QSizePolicy, QWidget

if TYPE_CHECKING:
    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.app import SeedlabUi

MOST = 20  # letters of a name
TEXT = "Start from…"
TIP = (
    "Start from another project: take its classes, split settings and encoders; its model predicts these "
    "seeds at once. It is only read."
)


class OriginRow(QPushButton):
    """A quiet button: asks for a project folder, and names the one that was chosen.

    Parameters
    ----------
    ui : SeedlabUi
    parent : QWidget
    """

    def __init__(self, ui: SeedlabUi, parent: QWidget) -> None:
        super().__init__(TEXT, parent)
        self._ui = ui
        self.setFlat(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setStyleSheet("QPushButton { padding: 1px 4px; }")
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.clicked.connect(ui.slot(self._ask))

    def refresh(self) -> None:
        """Say what the shown project was started from."""
        session = self._ui.session
        name = "" if session is None else session.origin.name
        short = name if len(name) <= MOST else name[: MOST - 1] + "…"
        self.setText(f"from {short}" if name else TEXT)
        line = "" if session is None else session.origin.line(session.pool)
        self.setToolTip(f"<p>{line}</p><p>{TIP}</p>" if line else f"<p>{TIP}</p>")
        self.setEnabled(session is not None and not session.read_only)

    def _ask(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Start from a project folder (NAME.seedlab)")
        if path and self._ui.session is not None:
            self.start_from(path)

    def start_from(self, path: str) -> None:
        """Take over what a project brings; what it is worth is said in the status card."""
        session = self._ui.session
        if session is not None:
            session.origin.start_from(path)


def what_to_say(session: Session) -> tuple[str, str] | None:
    """(kind, text) where seeds look unlike those of the earlier project, or nothing is labelled yet."""
    if not session.origin.name:
        return None
    line = session.origin.line(session.pool)
    if session.origin.is_far(session.pool):
        return "warning", line
    if session.origin.serves(session.pool) and not any(session.counts().values()):
        return "info", line
    return None
