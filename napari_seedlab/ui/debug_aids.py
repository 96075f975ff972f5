"""What lets a user look inside a training: first loss, batch, one batch by heart, the largest losses."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from napari_seedlab.ui.batch_layer import BatchPicture, batch_picture, batch_text
from napari_seedlab.ui.job_row import kind_of
from napari_seedlab.ui.net_row import newest_net
from napari_seedlab.ui.section import dim, wrapped
from napari_seedlab.ui.wide_button import wide_button
from napari_seedlab.ui.wrong_list import WrongList

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_seedlab.core import JobStatus
    from napari_seedlab.session.net_checks import Batch
    from napari_seedlab.ui.app import SeedlabUi

FAR_OFF = 0.2  # of the expected loss: a first loss that is farther off is odd
NOTHING_YET = "The first loss of a training stands here: it should be that of guessing."


class DebugAids(QWidget):
    """Folded away until somebody opens it.

    Parameters
    ----------
    ui : SeedlabUi
    settings : callable
        Gives the settings of the network that is chosen.
    parent : QWidget
    """

    def __init__(self, ui: SeedlabUi, settings: Callable[[], dict[str, Any]], parent: QWidget) -> None:
        super().__init__(parent)
        self._ui, self._settings = ui, settings
        self._checks: Any = None  # of the session that is heard
        self._heard = ui.slot(self._found)
        self._first: dict[str, float] = {}  # figures before the first step of the training under way
        self.title = QToolButton(self)
        self.title.setText("Look inside the training")
        self.title.setCheckable(True)
        self.title.setAutoRaise(True)
        self.title.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.title.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.title.toggled.connect(ui.slot(self._fold))
        self.inside = QWidget(self)
        self._fill_inside()
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(3)
        rows.addWidget(self.title)
        rows.addWidget(self.inside)
        self._fold(False)
        self.rebuild()

    def _fill_inside(self) -> None:
        self.first_loss, self.batch_words, self.by_heart = (wrapped(self.inside) for _ in range(3))
        self.preview = wide_button(
            "Preview batch",
            "Shows beside the scan what the network really gets in its first step: cut, scaled and changed "
            "at random as in the training, each crop with its seed and class",
            self._ui.slot(self._preview),
            self.inside,
        )
        self.learn = wide_button(
            "Learn one batch",
            "A network that cannot learn one batch by heart in 100 steps will not learn more: says what is "
            "wrong",
            self._ui.slot(self._learn),
            self.inside,
        )
        self.wrong_title = wrapped(self.inside)
        self.wrong = WrongList(self._ui.slot(self._look_at), self.inside)
        buttons = QHBoxLayout()
        buttons.addWidget(self.preview)
        buttons.addWidget(self.learn)
        rows = QVBoxLayout(self.inside)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(4)
        rows.addWidget(self.first_loss)
        rows.addLayout(buttons)
        for widget in (self.batch_words, self.by_heart, self.wrong_title, self.wrong):
            rows.addWidget(widget)

    def _fold(self, is_open: bool) -> None:
        self.title.setArrowType(Qt.ArrowType.DownArrow if is_open else Qt.ArrowType.RightArrow)
        self.inside.setVisible(is_open)

    # -- from the session ---------------------------------------------------------------------
    def rebuild(self) -> None:
        """Hear another project."""
        if self._checks is not None:
            self._checks.changed.disconnect(self._heard, missing_ok=True)
        self._ui.background.drop("batch")
        session = self._ui.session
        self._checks = None if session is None else session.net_checks
        if self._checks is not None:
            self._checks.changed.connect(self._heard, thread="main", check_nargs=False)
        self._first = {}
        self._show_picture(None)
        self.refresh()

    def refresh(self) -> None:
        """Show what is known of the shown kind of scan."""
        session = self._ui.session
        is_ready = session is not None and not session.blocked_because
        for button in (self.preview, self.learn):
            button.setEnabled(is_ready)
        self._tell_first_loss()
        found = None if session is None else session.net_checks.by_heart.get(session.pool)
        self._tell(self.by_heart, "" if found is None else found[1], bool(found and found[0]))
        wrong = () if session is None else session.net_checks.wrong.get(session.pool, ())
        self.wrong_title.setVisible(bool(wrong))
        self.wrong.setVisible(bool(wrong))
        if session is not None and wrong:
            title = "Largest losses: wrong labels, or hard seeds"
            self.wrong_title.setText(
                f"<b>{title}</b><br>{dim('seed · loss · what was said', self._ui.theme)}"
            )
            self.wrong.show_answers(wrong, session.scheme, session.labels)

    def _tell(self, label: Any, text: str, is_good: bool) -> None:
        color = self._ui.theme.good if is_good else self._ui.theme.warning
        label.setText(f'<span style="color:{color}">{escape(text)}</span>')
        label.setVisible(bool(text))

    def show_job(self, status: JobStatus) -> None:
        """Show the loss before the first step, where a training tells it."""
        figures = status.progress.figures
        if "expected_loss" in figures:
            self._first = {k: float(figures[k]) for k in ("loss", "expected_loss")}
            self._tell_first_loss()
        elif self._first and status.state.is_final and kind_of(status) == "net":
            self._first = {}  # the card of the network tells it

    def _tell_first_loss(self) -> None:
        session = self._ui.session
        card = None if session is None else newest_net(session.models, session.pool)
        metrics: Mapping[str, Any] = {} if card is None else card.metrics
        found: dict[str, Any] = self._first or {
            "loss": metrics.get("first_loss"),
            "expected_loss": metrics.get("expected_loss"),
        }
        if not all(isinstance(v, int | float) for v in found.values()):
            self.first_loss.setText(dim(NOTHING_YET, self._ui.theme))
            return
        text, is_odd = first_loss_text(found["loss"], found["expected_loss"], bool(metrics.get("is_warm")))
        if is_odd:
            self._tell(self.first_loss, text, is_good=False)
        else:
            self.first_loss.setText(dim(text, self._ui.theme))

    def _found(self, what: str) -> None:
        session = self._ui.session
        if session is None or session.net_checks is not self._checks:
            return
        if what == "batch" and session.net_checks.batch is not None:
            batch = session.net_checks.batch
            lay_out = partial(batch_picture, batch, session.scheme)
            self._ui.background.submit("batch", lay_out, partial(self._show_picture, batch=batch))
        self.refresh()

    def _show_picture(self, picture: BatchPicture | None, batch: Batch | None = None) -> None:
        self._ui.layers.show_batch(picture)
        layer = self._ui.layers.find("batch")
        if layer is not None:
            self._ui.camera.frame(*(corner[-2:] for corner in layer.extent.world))
        self.batch_words.setText("" if batch is None else dim(batch_text(batch), self._ui.theme))
        self.batch_words.setVisible(batch is not None)
        self.preview.setText("Preview batch" if picture is None else "Hide batch")

    # -- from the user ------------------------------------------------------------------------
    def _preview(self) -> None:
        session = self._ui.session
        if session is not None and self._ui.layers.find("batch") is not None:
            self._show_picture(None)
        elif session is not None:
            session.net_checks.preview(self._settings())

    def _learn(self) -> None:
        if self._ui.session is not None:
            self._ui.session.net_checks.learn_by_heart(self._settings())

    def _look_at(self, seed: int) -> None:
        self._ui.pick(seed, "train")
        card = self._ui.docks.get("labelling")
        if card is not None and not card.isVisible():
            self._ui.raise_dock("labelling")


def first_loss_text(loss: float, expected: float, is_warm: bool = False) -> tuple[str, bool]:
    """What the loss before the first step says, and whether it is odd.

    >>> first_loss_text(1.41, 1.386)
    ('First loss 1.41, guessing among 4 classes 1.39: as it should be.', False)
    """
    n_classes = round(2.718281828**expected)
    text = f"First loss {loss:.2f}, guessing among {n_classes} classes {expected:.2f}"
    if is_warm and loss < expected * (1 + FAR_OFF):
        return f"{text}: it starts from an earlier network.", False
    if abs(loss - expected) <= FAR_OFF * expected:
        return f"{text}: as it should be.", False
    return f"{text}: far off. Look at the batch: the values or the labels are not what they should be.", True
