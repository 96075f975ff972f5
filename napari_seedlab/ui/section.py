"""A titled part of a dock: what it shows, or one line where there is nothing to show."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_seedlab.ui.theme import DARK, Theme

NOTHING = "\u00a0"
INSET_PX = 5  # by which napari indents the text of labels


class Section(QWidget):
    """Title, a note beside it, content below.

    Parameters
    ----------
    title : str
        What the part is about.

    Attributes
    ----------
    content : QVBoxLayout
        Rows that are shown while there is something to show.
    note : str
        What stands beside the title, such as the model that said it.
    missing : str
        The line that is shown instead of the content; empty while the content is.
    is_waiting : bool
        Whether it is still being found out what there is.
    """

    def __init__(self, title: str, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.note = self.missing = ""
        self.is_waiting = False
        self._title, self._note = QLabel(title, self), QLabel(self)
        font = self._title.font()
        font.setBold(True)
        self._title.setFont(font)
        self._note.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._note.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        head = QHBoxLayout()
        head.addWidget(self._title)
        head.addWidget(self._note, 1)
        self._line, self._body = wrapped(self), QWidget(self)
        self.content = QVBoxLayout(self._body)
        self.content.setContentsMargins(0, 0, 0, 0)
        self.content.setSpacing(3)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 4, 0, 2)
        rows.setSpacing(3)
        rows.addLayout(head)
        rows.addWidget(self._line)
        rows.addWidget(self._body)
        self.lack("")

    def rename(self, title: str) -> None:
        """Show another title, where the content is of another kind."""
        self._title.setText(title)

    def lack(self, why: str) -> None:
        """Say in one line why there is nothing to show, and what to do."""
        self._show(why, "")

    def fill(self, note: str = "") -> None:
        """Show the content."""
        self._show("", note)

    def wait(self) -> None:
        """Say nothing until it is known what there is; the height stays, so that nothing jumps."""
        self._show(NOTHING if self.missing else "", "", is_waiting=True)

    def _show(self, missing: str, note: str, *, is_waiting: bool = False) -> None:
        self.missing, self.note, self.is_waiting = missing, note, is_waiting
        self._line.setText(dim(missing, self._theme))
        self._note.setText(dim(note, self._theme))
        self._line.setVisible(bool(missing))
        self._body.setVisible(not missing)


def wrapped(parent: QWidget) -> QLabel:
    """A label that is as wide as its dock and wraps; its texts are rich, so escape what users wrote."""
    label = QLabel(parent)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def align(widget: QWidget) -> None:
    """Let what paints itself begin and end where the text of labels does: inside its ``contentsRect``."""
    widget.setContentsMargins(INSET_PX, 0, INSET_PX, 0)


def dim(text: str, theme: Theme) -> str:
    """Rich text of `text` in the quiet colour of the theme."""
    return f'<span style="color:{theme.dim}">{escape(text)}</span>'


def dot(color: str) -> str:
    """Rich text of a dot in a class colour ``#rrggbb``."""
    return f'<span style="color:{color}">●</span>'
