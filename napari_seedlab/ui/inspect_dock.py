"""The Inspect dock: everything that is known about one seed."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from napari_seedlab.core import Modality
from napari_seedlab.io.gate import shown_name
from napari_seedlab.session.sheets import file_of
from napari_seedlab.ui import reading
from napari_seedlab.ui.alone import SeedAloneView
from napari_seedlab.ui.cuts import Picture, PictureRow
from napari_seedlab.ui.dock_frame import DockFrame
from napari_seedlab.ui.empty_states import before_seeds
from napari_seedlab.ui.history import HistorySection, what_was_said
from napari_seedlab.ui.nearest import NearestSection
from napari_seedlab.ui.oddness import OddSection
from napari_seedlab.ui.plot import Line, LinePlot
from napari_seedlab.ui.probabilities import PredictionSection
from napari_seedlab.ui.section import Section, dim, dot, wrapped

if TYPE_CHECKING:
    from napari_seedlab.core import ScanFacts
    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.app import SeedlabUi

FIELDS = ("Label", "Scan", "File", "Position", "Size", "Cluster", "Metadata")
SOMETIMES = ("File", "Position", "Metadata")  # stand there only where there is such a thing
N_TOLD = 12  # lines of what tables told
CUT_NAMES = ("lengthwise", "edge on", "across")
OWN_AXES = (
    "Cuts along its own axes",
    "The longest axis of the seed runs to the right, so that seeds can be compared",
)
TURNED = "Picture", "Turned: its longest axis runs to the right, so that seeds can be compared"
PHOTO = "Photo", "In the colours of the file, as bright as the seed allows"
CUTS_PX = 96


class InspectDock(DockFrame):
    """The seed on the card: what it looks like, what it may be, what was said about it.

    Each part is a :class:`Section`. Nothing is read for a dock that nobody sees: a seed's pictures are
    asked for when the dock is painted, and an answer about a seed that went by is dropped.
    """

    def __init__(self, ui: SeedlabUi) -> None:
        super().__init__(ui, spacing=4)
        self._seed: int | None = None
        self._read_for: dict[str, tuple[object, ...]] = {}  # what each channel was asked about
        self._is_due = self._is_filled = False
        self.alone = SeedAloneView(ui, self._alone_changed, self)
        self._make_head()
        self.prediction = PredictionSection(ui.theme, self.body)
        self.shape = Section(OWN_AXES[0], ui.theme, self.body)
        self.cuts = PictureRow(CUTS_PX, ui.theme, self.body)
        self.shape.content.addWidget(self.cuts)
        self.odd = OddSection(ui.theme, self.body)
        self.spectrum_section = Section("Spectrum", ui.theme, self.body)
        self.spectrum = LinePlot("wavelength (nm)", "intensity", "", ui.theme, self.body)
        self.spectrum_section.content.addWidget(self.spectrum)
        self.nearest = NearestSection(ui.slot(self._look_at), ui.theme, self.body)
        self.history = HistorySection(ui.theme, self.body)
        self.sections: tuple[Section, ...] = (
            self.odd, self.prediction, self.shape, self.spectrum_section, self.nearest, self.history,
        )  # fmt: skip
        for section in self.sections:
            self.rows.addWidget(section)
        self.rows.addStretch(1)
        self.body.installEventFilter(self)
        ui.session_bound.connect(ui.slot(self._session_changed))
        self._forget()
        self.show_seed(None if ui.session is None else ui.session.current_seed)

    def _make_head(self) -> None:
        self.title = QLabel(self.body)
        font = self.title.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() + 2)
        self.title.setFont(font)
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.title.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.alone_button = QPushButton("Show alone in 3-D", self.body)
        self.alone_button.setCheckable(True)
        self.alone_button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.alone_button.clicked.connect(self._ui.slot(self._toggle_alone))
        head = QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(self.alone_button)
        self.rows.addLayout(head)
        self.hint = wrapped(self.body)
        self.rows.addWidget(self.hint)
        self._table = QWidget(self.body)
        self._form = form = QFormLayout(self._table)
        form.setContentsMargins(0, 0, 0, 0)
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(3)
        self.fields: dict[str, QLabel] = {}
        for name in FIELDS:
            title = QLabel(name, self._table)
            title.setEnabled(False)
            self.fields[name] = wrapped(self._table)
            form.addRow(title, self.fields[name])
        self.rows.addWidget(self._table)

    # -- from the session ---------------------------------------------------------------------
    def _session_changed(self) -> None:
        self.alone.leave()
        session = self._ui.session
        self.show_seed(None if session is None else session.current_seed)

    def show_seed(self, seed: int | None) -> None:
        """Show another seed."""
        if seed != self._seed:
            if self._is_filled:
                self._forget()
            self._seed = seed
            if self.alone.is_on and seed is not None and self._is_solid(seed):
                self.alone.show(seed)
            else:
                self.alone.leave()
        self.refresh()

    def _forget(self) -> None:
        """Take off what was read about the seed before."""
        self._is_filled = False
        self._read_for.clear()
        for channel in ("portrait", "nearest"):
            self._ui.background.drop(channel)
        self.cuts.show_pictures(())
        self.odd.pictures.show_pictures(())
        self.spectrum.lines = ()
        self.spectrum.update()  # at once, and without a pace: the next line is drawn at once too
        self.shape.wait()
        self.spectrum_section.wait()
        self.nearest.forget()
        self.history.forget()

    def refresh(self) -> None:
        """Write the facts anew, and read what has to be read, once the dock is seen."""
        self.write_seen(self._write)

    def _write(self) -> None:
        session = self._ui.session
        seed = self._seed if session is not None else None
        self._show_parts(session, seed)
        facts = {} if session is None or seed is None else self._facts(session, seed)
        for name, label in self.fields.items():
            label.setText(facts.get(name, "–"))
        for name in SOMETIMES:
            for part in (self.fields[name], self._form.labelForField(self.fields[name])):
                part.setVisible(name in facts)
        self.prediction.show_seed(session, seed)
        self.odd.show_seed(session, seed)
        self._is_due = session is not None and seed is not None
        self.body.update()

    def _show_parts(self, session: Session | None, seed: int | None) -> None:
        """Title and parts of a seed, or the line that says what to do for one."""
        self.title.setText(self._title(session, seed))
        what_next = before_seeds(session) or "Click a seed in the viewer or on the map."
        self.hint.setText(dim(what_next, self._ui.theme))
        self.hint.setVisible(seed is None)
        for part in (self._table, *self.sections):
            part.setVisible(seed is not None)
        scan = None if session is None or seed is None else self._scan_of(session, seed)
        is_flat = scan is not None and scan.region_shape[0] == 1
        self.alone_button.setVisible(self.alone.is_on or (scan is not None and not is_flat))
        self.spectrum_section.setVisible(scan is not None and scan.modality is Modality.HSI)
        title, tip = PHOTO if scan is not None and scan.is_colour else TURNED if is_flat else OWN_AXES
        self.shape.rename(title)
        self.shape.setToolTip(f"<p>{tip}</p>")

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Notice that the dock is on the screen."""
        if self._is_due and event is not None and event.type() == QEvent.Type.Paint:
            self._is_due = False
            QTimer.singleShot(0, self._ui.slot(self._read))
        return False

    # -- reading ------------------------------------------------------------------------------
    def _read(self) -> None:
        """Ask for what changed since it was asked for last."""
        session, seed = self._ui.session, self._seed
        if session is None or seed is None:
            return
        self._is_filled = True
        place = session.place_of(seed)
        table = None if place is None else session.regions(place[0])
        submit = self._ui.background.submit
        if self._is_new("portrait", seed, table, session.anomaly):
            submit("portrait", partial(self._unless_gone, seed, reading.read_portrait), self._draw_portrait)
        if self._is_new("nearest", seed, session.labels, session.layout):
            submit("nearest", partial(self._unless_gone, seed, _nearest), self._draw_nearest)
        if self._is_new("history", seed, session.labels, session.facts):
            self.history.ask(session, seed)

    def _is_new(self, channel: str, *about: object) -> bool:
        before = self._read_for.get(channel, ())
        self._read_for[channel] = about
        return len(before) != len(about) or any(a is not b for a, b in zip(before, about, strict=True))

    def _unless_gone(self, seed: int, read: Any) -> Any:
        """On the reading thread: nothing is read for a seed that went by meanwhile."""
        session = self._ui.session
        return None if session is None or seed != self._seed else read(session, seed)

    def _draw_portrait(self, found: reading.Portrait | None) -> None:
        if found is None:
            return
        names = CUT_NAMES if len(found.cuts) > 1 else ("",)
        self.cuts.show_pictures(
            [Picture(cut, name) for cut, name in zip(found.cuts, names, strict=False)], found.cell_um
        )
        if found.cuts:
            self.shape.fill()
        else:
            self.shape.lack("No scan shows this seed, or it is too large to be cut.")
        self.odd.show_pictures(found.odd)
        if found.spectrum is None:
            self.spectrum_section.lack("No pixel of this seed was read.")
        else:
            self.spectrum_section.fill("mean of its pixels")
            self.spectrum.show_lines((Line("mean", self._ui.theme.accent, *found.spectrum),))

    def _draw_nearest(self, found: Any) -> None:
        if found is not None:
            self.nearest.show_nearest(self._ui.session, found)

    # -- facts --------------------------------------------------------------------------------
    @staticmethod
    def _title(session: Session | None, seed: int | None) -> str:
        if session is None:
            return "No project"
        if seed is None:
            return "No seed"
        known = session.seeds.get(seed)
        return f"Seed {seed} · lot {known.lot}" if known is not None and known.lot else f"Seed {seed}"

    @staticmethod
    def _scan_of(session: Session, seed: int) -> ScanFacts | None:
        place = session.place_of(seed)
        return None if place is None else session.scans[place[0]].facts

    def _is_solid(self, seed: int) -> bool:
        """Whether a scan shows the seed in three dimensions."""
        session = self._ui.session
        scan = None if session is None else self._scan_of(session, seed)
        return scan is not None and scan.region_shape[0] > 1

    def _facts(self, session: Session, seed: int) -> dict[str, str]:
        label = session.label(seed)
        words, color = what_was_said(session.scheme, label.state, label.class_id)
        facts = {"Label": f"{dot(color)} {words}"}
        if told := [f"{escape(n)}: {escape(v)}" for n, v in session.metadata.of(seed).items()]:
            more = [f"and {len(told) - N_TOLD} more"] if len(told) > N_TOLD else []
            facts["Metadata"] = "<br>".join(told[:N_TOLD] + more)
        layout = session.layout
        if layout is not None and seed in layout.row:
            facts["Cluster"] = str(int(layout.cluster[layout.row[seed]]) + 1)
        place = session.place_of(seed)
        table = None if place is None else session.regions(place[0])
        if place is not None and table is not None:
            scan, row = session.scans[place[0]].facts, place[1]
            is_flat, facts["Scan"] = scan.region_shape[0] == 1, escape(scan.name)
            if file := file_of(session, seed):
                facts["File"] = escape(shown_name(file))
            else:
                z, y, x = (round(float(v)) for v in table.centroid[row])
                facts["Position"] = f"y {y}, x {x}" if is_flat else f"z {z}, y {y}, x {x}"
            facts["Size"] = size_text(int(table.n_voxels[row]), scan.voxel_size_um, is_flat)
        return facts

    # -- from the user ------------------------------------------------------------------------
    def _look_at(self, seed: int) -> None:
        self._ui.pick(seed, "inspect")

    def _toggle_alone(self) -> None:
        if self.alone.is_on:
            self.alone.leave()
        elif self._seed is not None:
            self.alone.show(self._seed)

    def _alone_changed(self, is_on: bool) -> None:
        self.alone_button.setChecked(is_on)
        self.alone_button.setText("Back to the scan" if is_on else "Show alone in 3-D")


def _nearest(session: Session, seed: int) -> Any:
    return session.nearest_labelled(seed)


def size_text(n_voxels: int, voxel_size_um: tuple[float, ...] | None, flat: bool) -> str:
    """Voxel count, with the volume in mm³ (the area in mm² of a plane) where the voxel size is known."""
    text = f"{n_voxels:,} {'pixels' if flat else 'voxels'}"
    if voxel_size_um is None:
        return text
    edges = [v / 1000 for v in (voxel_size_um[1:] if flat else voxel_size_um)]
    amount = float(n_voxels)
    for edge in edges:
        amount *= edge
    return f"{text} · {amount:.3g} {'mm²' if flat else 'mm³'}"
