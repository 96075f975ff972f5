"""The page of the Train dock about encoders: which are in use, how well each does, how to get others."""

from __future__ import annotations

import re
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_seedlab.ui.empty_states import before_seeds
from napari_seedlab.ui.job_row import JobRow, kind_of
from napari_seedlab.ui.section import Section, dim, wrapped
from napari_seedlab.ui.wide_button import wide_button

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent

    from napari_seedlab.core import JobStatus
    from napari_seedlab.session.encoders import Option
    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.app import SeedlabUi

TITLES = {  # of the encoders: what the page calls them, and in a few words what they are
    "descriptors": ("Measures", "shape, grey, texture"),
    "bundled": ("Ready-made", "small networks"),
    "own": ("Taught here", "by these seeds"),
    "spectral": ("Spectra", "mean and spread"),
    "vgg16": ("VGG16", "knows photographs"),
    "hf": ("Photo network", "knows photographs"),
}
KINDS = {"embed", "own", "compare", "backbone", "fetch", "vgg16"}
ENOUGH = 20  # labels from which on a comparison says something
USE_PX = 54
FIGURE_PX = 56
HEADS = {  # a heading, and what its figures are
    "look-<br>alikes": "Share right where the five nearest labelled seeds vote; each class counts the same",
    "live<br>model": "Share right by the live model; each class counts the same; below it the 95 % interval",
}
UNSEEN = "judged on labels that were not learnt from (out of fold)"


class EncoderTable(QWidget):
    """One row per encoder and mixture: figures by the labels so far, and *Use*; below, how to get others.

    Parameters
    ----------
    ui : SeedlabUi
    parent : QWidget
    """

    def __init__(self, ui: SeedlabUi, parent: QWidget) -> None:
        super().__init__(parent)
        self._ui = ui
        self._shown: object = None
        self.table = Section("Described by", ui.theme, self)
        self._place = QWidget(self.table)
        self.table.content.addWidget(self._place)
        self.verdict = wrapped(self)
        slot = ui.slot
        self.compare = wide_button("Compare on my labels", "", slot(self._compare), self)
        self.job = JobRow(KINDS, slot(self._cancel), self.compare, self)
        tip = "Teach the ready-made networks by these seeds, without labels; goes on after a restart"
        self.own = wide_button("Teach here…", tip, slot(self._train), self)
        tip = "A network that knows photographs: a vision backbone of transformers (config.json, safetensors)"
        self.folder = wide_button("Open network…", tip, slot(self._open_folder), self)
        self.file = wide_button(
            "Open VGG16…", "Its weights as .pth or .safetensors", slot(self._open_file), self
        )
        self.name = QLineEdit(self)
        self.name.setPlaceholderText("organisation/name on the hub")
        self.name.setToolTip("A network (vision backbone) that Fetch gets from the hub into this project")
        tip = "Needs the internet; nothing is fetched before you press"
        self.fetch = wide_button("Fetch", tip, slot(self._fetch), self)
        self.uses: dict[str, QPushButton] = {}
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(6)
        for widget in (self.table, self.verdict, self.job):
            rows.addWidget(widget)
        for row in ((self.own, self.folder), (self.file,), (self.name, self.fetch)):
            line = QHBoxLayout()
            for widget in row:
                line.addWidget(widget, 3 if widget is self.name else 1)
            rows.addLayout(line)
        rows.addStretch(1)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Catch up with what changed while nobody looked."""
        super().showEvent(event)
        self.refresh()

    # -- from the session ---------------------------------------------------------------------
    def rebuild(self) -> None:
        """Show another project."""
        self.job.forget()
        self.refresh()

    def refresh(self) -> None:
        """Show the encoders of the shown kind of scan, and what the last comparison said."""
        if not self.isVisible():  # it is told once somebody looks
            return
        session = self._ui.session
        why = before_seeds(session)
        can = session is not None and not why and not session.read_only
        for widget in (self.own, self.folder, self.file, self.name, self.fetch):
            widget.setEnabled(can)
        self.compare.setEnabled(can and session is not None and _can_compare(session))
        tip = "Judges each on labels not learnt from; seeds that it has not described yet are described first"
        self.compare.setToolTip(tip if self.compare.isEnabled() else "Wants labels of two classes")
        if session is None or why:
            self._shown = None
            self.table.lack(why)
            self.verdict.setText("")
            return
        pool = session.pool
        said = session.encoders.tables.get(pool, {})
        options = {option.name: option for option in session.encoders.options(pool)}
        n_labels, chosen = sum(session.counts().values()), session.encoders.chosen(pool)
        self.verdict.setText(escape(verdict_line(said, n_labels, chosen)))
        shown = (pool, said, tuple(options.values()), chosen)
        if shown == self._shown:
            return
        self._shown = shown
        self._fill(session, options, said)
        n = said.get("n_labels")
        self.table.fill("" if n is None else f"by {n} labels")
        self.table.setToolTip("" if n is None else f"Folds: {said['folds']}")

    def _fill(self, session: Session, options: dict[str, Option], said: dict[str, Any]) -> None:
        """Lay the rows out anew."""
        old, self._place = self._place, QWidget(self.table)
        self.table.content.replaceWidget(old, self._place)
        old.setParent(None)
        old.deleteLater()
        grid = QGridLayout(self._place)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(4)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(0, 1)
        for column, (head, tip) in enumerate(HEADS.items(), 1):
            head = f'<span style="color:{self._ui.theme.dim}">{head}</span>'
            grid.addWidget(self._text(head, f"<p>{tip}; {UNSEEN}</p>"), 0, column)
        figures = {tuple(row["encoders"]): row for row in said.get("rows", ())}
        chosen = session.encoders.chosen(session.pool)
        mixed = [names for names in figures if len(names) > 1]
        if len(chosen) > 1 and chosen not in mixed:
            mixed.append(chosen)
        if not mixed and not options["bundled"].lacks:
            mixed.append(("descriptors", "bundled"))
        self.uses = {}
        for number, names in enumerate([*((name,) for name in options), *mixed], 1):
            best = said.get("recommended") == " + ".join(names)
            self._row(grid, number, names, options, figures.get(names, {}), names == chosen, best)

    def _row(
        self, grid: QGridLayout, number: int, names: tuple[str, ...], options: dict[str, Option],
        figures: dict[str, Any], is_used: bool, is_best: bool,
    ) -> None:  # fmt: skip
        lacking = [options[name] for name in names if name in options and options[name].lacks]
        title = " + ".join(TITLES[name][0] for name in names)
        about = _about(names, options, lacking, is_best)
        head = f"<b>{escape(title)}</b>" if is_used else escape(title)
        text = wrapped(self._place)
        text.setText(f"{head}<br><small>{dim(about, self._ui.theme)}</small>")
        called = f"The command calls it {' + '.join(names)}."
        text.setToolTip(f"<p>{escape(lacking[0].remedy + '. ' if lacking else '')}{called}</p>")
        grid.addWidget(text, number, 0)
        for column, kind in enumerate(("knn", "linear"), 1):
            grid.addWidget(self._figure(figures.get(kind)), number, column)
        use = wide_button(
            "In use" if is_used else "Use", "", self._ui.slot(partial(self._use, names)), self._place
        )
        use.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        use.setFixedWidth(USE_PX)
        use.setEnabled(not is_used and not lacking and self.own.isEnabled())
        tip = "Describe the seeds by this, then learn and map anew; the answers stay"
        use.setToolTip(f"{title} {lacking[0].lacks}" if lacking else tip)
        grid.addWidget(use, number, 3)
        self.uses[" + ".join(names)] = use

    def _figure(self, share: dict[str, float] | None) -> QLabel:
        if share is None:
            return self._text(dim("–", self._ui.theme), "not compared yet")
        value, low, high = (round(100 * share[key]) for key in ("value", "low", "high"))
        text = f"{value} %<br><small>{dim(f'{low}–{high}', self._ui.theme)}</small>"
        return self._text(text, f"{value} %; 95 % interval {low} to {high} %")

    def _text(self, text: str, tip: str) -> QLabel:
        label = QLabel(text, self._place)
        label.setTextFormat(Qt.TextFormat.RichText)
        label.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter)
        label.setFixedWidth(FIGURE_PX)
        label.setToolTip(tip)
        return label

    def show_job(self, status: JobStatus) -> None:
        """Show progress."""
        self.job.show_job(status)
        if kind_of(status) in KINDS and status.state.is_final:
            self.refresh()

    # -- from the user ------------------------------------------------------------------------
    def _use(self, names: tuple[str, ...]) -> None:
        session = self._ui.session
        if session is not None:
            session.encoders.choose(session.pool, names)

    def _compare(self) -> None:
        session = self._ui.session
        if session is not None:
            session.encoders.compare(session.pool)

    def _train(self) -> None:
        session = self._ui.session
        if session is not None:
            session.encoders.own(session.pool)

    def _open_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open the folder of a network that knows photographs")
        if path and self._ui.session is not None:
            self._ui.session.encoders.use_folder(path)

    def _open_file(self) -> None:
        pattern = "Weights (*.safetensors *.pth *.pt);;All files (*)"
        path, _ = QFileDialog.getOpenFileName(self, "Open the weights of a VGG16", "", pattern)
        if path and self._ui.session is not None:
            self._ui.session.encoders.use_file(path)

    def _fetch(self) -> None:
        name = self.name.text().strip()
        if name and self._ui.session is not None:
            self._ui.session.encoders.fetch(name)

    def _cancel(self, job_id: str) -> None:
        if self._ui.session is not None:
            self._ui.session.cancel(job_id)


def verdict_line(said: dict[str, Any], n_labels: int, chosen: tuple[str, ...]) -> str:
    """What the last comparison says beside what is in use now, and whether it is out of date."""
    use = f"In use: {' + '.join(TITLES[name][0] for name in chosen)}."
    if not said.get("line"):
        if n_labels < ENOUGH:
            return f"{use} Label {ENOUGH} seeds or more ({n_labels} so far), then compare: the figures tell."
        return f"{use} Compare on the {n_labels} labels: the figures tell which one to use."
    newer = n_labels - int(said.get("n_labels", n_labels))
    late = f" {newer} newer labels are not in it." if newer > 1 else ""
    return f"{use} Comparison: {_in_words(said['line'])}{late}"


def _in_words(line: str) -> str:
    """A line of the comparison with the names of this page."""
    return re.sub(rf"\b({'|'.join(TITLES)})\b", lambda found: TITLES[found[0]][0], line)


def _can_compare(session: Session) -> bool:
    """Whether there are labels of two classes."""
    return sum(n > 0 for n in session.counts().values()) > 1


def _about(names: tuple[str, ...], options: dict[str, Option], lacking: list[Option], is_best: bool) -> str:
    """The line below the name of an encoder."""
    if is_best:
        return "recommended"
    if lacking:
        return lacking[0].lacks.removeprefix("was ").removeprefix("has ")
    if len(names) > 1:
        return "side by side"
    return options[names[0]].about or TITLES[names[0]][1]
