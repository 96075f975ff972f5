"""Everything that was ever said about one seed, as the journal has it."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal

from napari_seedlab.core import LabelState
from napari_seedlab.ui.colouring import NONE_RGB, STATE_RGB
from napari_seedlab.ui.section import NOTHING, Section, dim, dot, wrapped
from napari_seedlab.ui.theme import DARK, Theme

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_seedlab.core import ClassScheme
    from napari_seedlab.session.about import Answer
    from napari_seedlab.session.session import Session

N_SHOWN = 12  # answers; older ones are counted
EMPTY = "Nothing was said about this seed yet."


def what_was_said(scheme: ClassScheme, state: LabelState, class_id: int) -> tuple[str, str]:
    """Words for an answer, and its colour ``#rrggbb``."""
    if state is LabelState.LABELLED:
        known = next((c for c in scheme if c.id == class_id), None)
        return (
            (known.name, known.color)
            if known
            else (f"class {class_id}", "#{:02x}{:02x}{:02x}".format(*NONE_RGB))
        )
    words = "no label" if state is LabelState.NONE else str(state).replace("_", " ")
    return words, "#{:02x}{:02x}{:02x}".format(*STATE_RGB.get(state, NONE_RGB))


def local_time(utc: str) -> str:
    """A moment of the journal by the clock of this computer, to the minute."""
    try:
        return f"{datetime.fromisoformat(utc).astimezone():%d %b %Y, %H:%M}"
    except ValueError:
        return utc


class HistorySection(Section):
    """Answers, newest first; those taken back are struck through.

    They are read on the thread that owns the project, which may be busy: nobody waits for it.
    """

    _came = Signal(object, object)  # session, values

    def __init__(self, theme: Theme = DARK, parent: QWidget | None = None) -> None:
        super().__init__("What was said", theme, parent)
        self._asked: tuple[Session, int] | None = None
        self._rows = tuple(wrapped(self) for _ in range(N_SHOWN))
        for row in self._rows:
            self.content.addWidget(row)
            row.hide()
        self._came.connect(self._take)
        self.forget()

    def forget(self) -> None:
        """Show nothing until others come, and nothing that was asked for before."""
        self._asked = None
        for row in self._rows:
            row.setText(f"{NOTHING}<br>{NOTHING}")
        self.wait()

    def ask(self, session: Session, seed: int) -> None:
        """Have the answers about a seed read; what stands there stays until they come."""
        if self._asked != (session, seed):
            self.forget()
        self._asked = session, seed
        session.history_of(seed).then(lambda values: self._tell(session, values))

    def _tell(self, session: Session, values: dict[str, Any]) -> None:
        """From the project's thread to that of the widgets."""
        try:
            self._came.emit(session, values)
        except RuntimeError:  # the window went away meanwhile
            return

    def _take(self, session: Session, values: dict[str, Any]) -> None:
        if self._asked is not None and (session, values["seed"]) == self._asked:
            self.show_answers(session.scheme, values["seed"], values["answers"])

    def show_answers(self, scheme: ClassScheme, seed: int, answers: tuple[Answer, ...]) -> None:
        """Show answers, newest first."""
        texts = [self._text(scheme, seed, answer) for answer in answers]
        if len(texts) > N_SHOWN:
            n_older = len(texts) - N_SHOWN + 1
            texts[N_SHOWN - 1 :] = [dim(f"and {n_older} older answers", self._theme)]
        self._show_rows(texts)

    @property
    def texts(self) -> tuple[str, ...]:
        """Rich texts of the rows that are shown."""
        return tuple(row.text() for row in self._rows if not row.isHidden() and NOTHING not in row.text())

    def _show_rows(self, texts: list[str]) -> None:
        for i, row in enumerate(self._rows):
            row.setVisible(i < len(texts))
            row.setText(texts[i] if i < len(texts) else "")
        if texts:
            self.fill()
        else:
            self.lack(EMPTY)

    def _text(self, scheme: ClassScheme, seed: int, answer: Answer) -> str:
        words, color = what_was_said(scheme, answer.state, answer.class_id)
        said = f"<s>{escape(words)}</s>" if answer.undone else f"<b>{escape(words)}</b>"
        by = f" · {answer.annotator} · {local_time(answer.utc)}"
        why = f"asked: {answer.reason}" if answer.reason else "chosen by hand"
        facts = [
            "taken back" if answer.undone else "",
            f"as seed {answer.seed}, merged since" if answer.seed != seed else "",
            why,
        ]
        below = " · ".join(f for f in facts if f)
        return f"{dot(color)} {said}{dim(by, self._theme)}<br>{dim(below, self._theme)}"
