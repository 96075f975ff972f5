"""The Inspect dock: everything that is known about one seed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFormLayout, QLabel, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_seedlab.core import LabelState, Modality
from napari_seedlab.ui.plot import Line, LinePlot

if TYPE_CHECKING:
    from napari_seedlab.ui.app import SeedlabUi

FIELDS = ("Seed", "Scan", "Position", "Size", "Label", "Given by", "Prediction", "Model", "Oddness", "Group")


class InspectDock(QScrollArea):
    """Facts of the seed on the card; its spectrum where the scan has one."""

    def __init__(self, ui: SeedlabUi) -> None:
        super().__init__()
        self._ui = ui
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        body = QWidget()
        layout = QVBoxLayout(body)
        layout.setContentsMargins(8, 6, 8, 6)
        self.setWidget(body)
        form = QFormLayout()
        form.setHorizontalSpacing(14)
        form.setVerticalSpacing(4)
        self.fields: dict[str, QLabel] = {}
        for name in FIELDS:
            value = QLabel("–", body)
            value.setWordWrap(True)
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            value.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            value.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
            title = QLabel(name, body)
            title.setEnabled(False)
            form.addRow(title, value)
            self.fields[name] = value
        layout.addLayout(form)
        self.spectrum = LinePlot(
            "wavelength (nm)", "intensity", "A spectrum appears here for hyperspectral scans.", ui.theme, body
        )
        layout.addWidget(self.spectrum)
        layout.addStretch(1)
        ui.session_bound.connect(ui.slot(self.refresh))
        self.show_seed(None if ui.session is None else ui.session.current_seed)

    def sizeHint(self) -> QSize:
        """As wide as a dock may be."""
        return QSize(330, 400)

    def show_seed(self, seed: int | None) -> None:
        """Show another seed."""
        session = self._ui.session
        self.spectrum.show_lines(())
        if session is not None and seed is not None and self._has_spectrum(seed):
            from napari_seedlab.ui import reading

            self._ui.background.submit(
                "spectrum", partial(reading.read_spectrum, session, seed), self._draw_spectrum
            )
        self.refresh()

    def refresh(self) -> None:
        """Write all facts anew."""
        session = self._ui.session
        seed = None if session is None else session.current_seed
        facts = {} if session is None or seed is None else self._facts(seed)
        if seed is None:
            facts = {"Seed": "Click a seed in the viewer or on the map."}
        for name, label in self.fields.items():
            label.setText(facts.get(name, "–"))

    def _has_spectrum(self, seed: int) -> bool:
        session = self._ui.session
        place = None if session is None else session.place_of(seed)
        return (
            session is not None
            and place is not None
            and session.scans[place[0]].facts.modality is Modality.HSI
        )

    def _draw_spectrum(self, spectrum: Any) -> None:
        if spectrum is not None:
            self.spectrum.show_lines((Line("mean", self._ui.theme.accent, *spectrum),))

    def _facts(self, seed: int) -> dict[str, str]:
        session = self._ui.session
        assert session is not None
        facts = {"Seed": str(seed), **self._label_facts(seed), **self._model_facts(seed)}
        known = session.seeds.get(seed)
        if known is not None and known.lot:
            facts["Seed"] = f"{seed} · lot {known.lot}"
        place = session.place_of(seed)
        if place is not None:
            scan, row = session.scans[place[0]], place[1]
            table = session.regions(place[0])
            assert table is not None
            z, y, x = (round(float(v)) for v in table.centroid[row])
            facts["Scan"], facts["Position"] = scan.facts.name, f"z {z}, y {y}, x {x}"
            facts["Size"] = size_text(
                int(table.n_voxels[row]), scan.facts.voxel_size_um, scan.facts.region_shape[0] == 1
            )
        return facts

    def _label_facts(self, seed: int) -> dict[str, str]:
        session = self._ui.session
        assert session is not None
        label, fact = session.label(seed), session.facts.get(seed, {})
        word = str(label.state).replace("_", " ") if label.state is not LabelState.NONE else "none"
        if label.state is LabelState.LABELLED:
            word = session.scheme.by_id(label.class_id).name
        given = (
            f"{fact.get('annotator', '')} · {str(fact.get('utc', ''))[:16].replace('T', ' ')}"
            if fact
            else "–"
        )
        return {"Label": word, "Given by": given}

    def _model_facts(self, seed: int) -> dict[str, str]:
        session = self._ui.session
        assert session is not None
        facts: dict[str, str] = {}
        p = {} if session.predictions is None else session.predictions.of(seed)
        if p and session.predictions is not None:
            order = sorted(p, key=lambda c: -p[c])
            facts["Prediction"] = ", ".join(f"{session.scheme.by_id(c).name} {p[c]:.0%}" for c in order)
            facts["Model"] = session.predictions.model_id
        odd = session.anomaly
        if odd is not None and seed in odd.row:
            i = odd.row[seed]
            facts["Oddness"] = f"{float(odd.score[i]):.2f} · odder than {float(odd.rank[i]):.0%} of the seeds"
        if session.layout is not None and seed in session.layout.row:
            facts["Group"] = str(int(session.layout.cluster[session.layout.row[seed]]) + 1)
        return facts


def size_text(n_voxels: int, voxel_size_um: tuple[float, ...] | None, flat: bool) -> str:
    """Voxel count, with the volume in mm³ (the area in mm² of a plane) where the voxel size is known."""
    text = f"{n_voxels:,} voxels"
    if voxel_size_um is None:
        return text
    edges = [v / 1000 for v in (voxel_size_um[1:] if flat else voxel_size_um)]
    amount = float(n_voxels)
    for edge in edges:
        amount *= edge
    return f"{text} · {amount:.3g} {'mm²' if flat else 'mm³'}"
