"""What a session knows: values that are replaced, never edited, and the signals that tell of it."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_seedlab.core import (
    JobStatus,
    Label,
    LabelState,
    Modality,
    ModelCard,
    RegionTable,
    Scan,
    Seed,
    Suggestion,
)
from napari_seedlab.session import caches, sheets
from napari_seedlab.session.trainings import what_lacks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from napari_seedlab import files
    from napari_seedlab.core import ClassScheme
    from napari_seedlab.session.classes import Classes
    from napari_seedlab.session.clusters import Clusters
    from napari_seedlab.session.encoders import Encoders
    from napari_seedlab.session.figures import Figures
    from napari_seedlab.session.kept import Kept
    from napari_seedlab.session.labelling import Labelling
    from napari_seedlab.session.metadata import Metadata
    from napari_seedlab.session.net_checks import NetChecks
    from napari_seedlab.session.opinions import Opinions
    from napari_seedlab.session.results import AnomalyScores, Embedding, Layout, Predictions
    from napari_seedlab.session.thumbnails import Thumbnails
    from napari_seedlab.store import Project


class SessionState:
    """The facts of one open project, and lookups in them.

    Attributes hold values that are replaced, not edited, so reading them needs no lock. Signals may come
    from any thread.

    Attributes
    ----------
    scans : dict of int to Scan
    sheets : dict of int to SheetFiles
        Scans that were made of one picture per seed.
    current_scan : int or None
    seeds : dict of int to Seed
    labels : dict of int to Label
        Answers, those not yet durable included; a seed without an entry has none.
    embeddings, layouts, heads : dict by pool
        Results per pool. A pool is the modality (``ct``, ``hsi``, ``image``): its scans share vectors.
    encoders : Encoders
        Which encoders there are, and which make the vectors.
    metadata : Metadata
        What tables told of seeds.
    opinions : Opinions
        Anomaly scores by every method that was run.
    selection : frozenset of int
        Selected seeds, shared by map and viewer.
    jobs : dict of str to JobStatus
    """

    scans_changed = Signal()
    regions_changed = Signal(int)
    labels_changed = Signal(object)  # frozenset of seeds
    pending_changed = Signal(int)
    saved = Signal(object)  # Event
    embedding_changed = Signal(str)
    encoders_changed = Signal(str)  # pool whose encoders in use, or what is known of them, changed
    layout_changed = Signal()
    scheme_changed = Signal()
    clusters_changed = Signal()  # other groups on the same map
    predictions_changed = Signal()
    anomaly_changed = Signal()
    thumbnails_changed = Signal(str)  # pool
    models_changed = Signal()
    figures_changed = Signal(str)  # pool
    queue_changed = Signal()
    current_changed = Signal(object)  # seed or None
    current_scan_changed = Signal(object)
    selection_changed = Signal(object, str)  # frozenset of seeds, who selected
    strokes_changed = Signal(int, int, int)
    slice_predicted = Signal(int, int, int, object)
    job_changed = Signal(object)  # JobStatus
    message = Signal(str, str)  # info | success | warning | error, one line

    encoders: Encoders
    opinions: Opinions
    labelling: Labelling
    net_checks: NetChecks
    figures: Figures
    metadata: Metadata
    thumbnails: Thumbnails
    clusters: Clusters
    classes: Classes
    scheme: ClassScheme
    tissues: ClassScheme
    _kept: Kept

    def __init__(self) -> None:
        self.lock = threading.RLock()  # of labels and jobs, which two threads replace
        self.scans: dict[int, Scan] = {}
        self.sheets: dict[int, sheets.SheetFiles] = {}
        self.current_scan: int | None = None
        self.seeds: dict[int, Seed] = {}
        self.labels: dict[int, Label] = {}
        self.facts: dict[int, dict[str, Any]] = {}
        self.embeddings: dict[str, Embedding] = {}
        self.layouts: dict[str, Layout] = {}
        self.heads: dict[str, Predictions] = {}
        self.head_report: dict[str, dict[str, Any]] = {}
        self.nets: dict[str, Predictions] = {}
        self.models: tuple[ModelCard, ...] = ()
        self.selection: frozenset[int] = frozenset()
        self.jobs: dict[str, JobStatus] = {}
        self._tables: dict[int, RegionTable] = {}
        self._sources: dict[int, files.ArraySource] = {}
        self._region_sources: dict[int, files.ArraySource] = {}
        self.notes: tuple[str, ...] = ()  # what was found while opening, one line each

    # -- what is there ------------------------------------------------------------------------
    @property
    def pool(self) -> str:
        """Pool of the current scan (``ct`` before the first)."""
        scan = self.scans.get(self.current_scan or 0)
        return str(scan.facts.modality) if scan else str(Modality.CT)

    @property
    def predictions(self) -> Predictions | None:
        """Shown predictions of the current pool: the active network's, else the live head's."""
        return self.predictions_of(self.pool)

    def predictions_of(self, pool: str) -> Predictions | None:
        """As :attr:`predictions`; seeds that the network has not seen yet are the head's."""
        net, head = self.nets.get(pool), self.heads.get(pool)
        return head if net is None else net.filled_from(head)

    @property
    def layout(self) -> Layout | None:
        """Map of the current pool."""
        return self.layouts.get(self.pool)

    @property
    def anomaly(self) -> AnomalyScores | None:
        """Shown anomaly scores of the current pool."""
        return self.opinions.shown.get(self.pool)

    @property
    def anomalies(self) -> Mapping[str, AnomalyScores]:
        """Shown anomaly scores of each pool that has some; the others are in :attr:`opinions`."""
        return self.opinions.shown

    @property
    def queue(self) -> tuple[Suggestion, ...]:
        """The batch that is asked about."""
        return self.labelling.queue

    @property
    def current(self) -> Suggestion | None:
        """The suggestion on the card."""
        return self.labelling.current

    @property
    def current_seed(self) -> int | None:
        """The seed on the card."""
        return self.labelling.current_seed

    def label(self, seed: int) -> Label:
        """The present answer about a seed."""
        return self.labels.get(seed) or Label(seed)

    def seeds_of(self, pool: str) -> list[int]:
        """Seeds that a scan of the pool shows, by id."""
        seeds = self._seed_column(pool)
        found: list[int] = seeds[np.append(np.diff(seeds) > 0, True)[: len(seeds)]].tolist()
        return found

    def _seed_column(self, pool: str) -> npt.NDArray[np.int64]:
        """Seeds of the tables of a pool, ascending; those of several scans more than once."""
        tables = [t.seed for s in self.scans_of(pool) if (t := self._tables.get(s.id)) is not None]
        return np.sort(np.concatenate(tables)) if tables else np.zeros(0, np.int64)

    def pools_of(self, seeds: Iterable[int]) -> set[str]:
        """Pools in which seeds are seen."""
        places = (self.place_of(s) for s in seeds)
        return {str(self.scans[place[0]].facts.modality) for place in places if place is not None}

    def scans_of(self, pool: str) -> list[Scan]:
        """Scans of one pool, by id."""
        return [s for s in self.scans.values() if str(s.facts.modality) == pool]

    def regions(self, scan: int) -> RegionTable | None:
        """Region table of a scan; None before it is split."""
        return self._tables.get(scan)

    def scan_source(self, scan: int) -> files.ArraySource:
        """Where the voxels of a scan lie."""
        return self._sources[scan]

    def regions_source(self, scan: int) -> files.ArraySource | None:
        """Where the region raster of a scan lies; None before it is split."""
        return self._region_sources.get(scan)

    def place_of(self, seed: int) -> tuple[int, int] | None:
        """(scan, row of its region table) where a seed is seen, the current scan first."""
        order = sorted(self._tables, key=lambda s: s != self.current_scan)
        for scan in order:
            row = self._tables[scan].row_of_seed(seed)
            if row is not None:
                return scan, row
        return None

    def counts(self) -> dict[int, int]:
        """Labelled seeds per class id, every class named."""
        out = dict.fromkeys(self.scheme.ids, 0)
        for label in self.labels.values():
            if label.state is LabelState.LABELLED:
                out[label.class_id] += 1
        return out

    def classes_labelled(self, pool: str) -> list[int]:
        """Class of each seed of a pool that was labelled."""
        said = [x for x in self.labels.values() if x.state is LabelState.LABELLED]
        here = np.isin([x.seed for x in said], self._seed_column(pool)).tolist()
        return [x.class_id for x, is_here in zip(said, here, strict=True) if is_here]

    @property
    def blocked_because(self) -> str:
        """What blocks training, in one line; empty when nothing does."""
        if not self.scans:
            return "Open a scan first."
        if not any(len(t) for t in self._tables.values()):
            return "Split the scan into seeds first."
        return what_lacks(self.scheme, Counter(self.classes_labelled(self.pool)))

    def label_origin(self, seed: int) -> tuple[int, float, str]:
        """(sequence, inclusion_p, strategy) of the answer about a seed; 0.0 where it was not drawn."""
        fact = self.facts.get(seed, {})
        drawn = fact.get("suggestion") or {}
        return (
            int(fact.get("sequence", 0)),
            float(drawn.get("inclusion_p", 0.0)),
            str(drawn.get("strategy", "")),
        )

    # -- taking over what changed (desk's thread) ----------------------------------------------
    def reload_scans(self, project: Project) -> None:
        """Read scans and their sources again."""
        self.scans = {s.id: s for s in project.scans()}
        self._sources = {s: project.scan_source(s) for s in self.scans}
        self.sheets = sheets.read_sheets(project, self.scans)
        if self.current_scan is None:
            self.current_scan = next(iter(self.scans), None)
        self.scans_changed.emit()

    def _load_regions(self, project: Project, scan: int) -> None:
        source = project.regions_source(scan)
        if source is None:
            self._tables.pop(scan, None)
            self._region_sources.pop(scan, None)
            return
        table = project.regions(scan)
        known = self._tables.get(scan)
        if known is None or not _same(known, table):
            self._tables[scan] = table
            if known is not None:
                self._kept.regions_changed(str(self.scans[scan].facts.modality), known, table)
        self._region_sources[scan] = source

    def reload_regions(self, project: Project, scan: int) -> None:
        """Read the regions of a scan and all seeds again."""
        self._load_regions(project, scan)
        self.seeds = project.seeds()
        self.metadata.load(project)
        self.reload_labels(project)
        self.regions_changed.emit(scan)

    def reload_labels(self, project: Project) -> frozenset[int]:
        """Read all answers again and tell about which seeds they changed."""
        committed, self.facts = dict(project.labels()), project.label_facts()
        with self.lock:
            before = self.labels
            self.labels = after = self.labelling.overlay(committed)
        touched = [s for s in before.keys() | after.keys() if before.get(s) != after.get(s)]
        changed = frozenset(s for s in touched if before.get(s, Label(s)) != after.get(s, Label(s)))
        if changed:
            self.labels_changed.emit(changed)
        return changed

    def reload_models(self, project: Project) -> None:
        """Read the model cards and the active predictions again."""
        self.models = tuple(project.models())
        for pool in {str(s.facts.modality) for s in self.scans.values()}:
            caches.load_net(self, project, pool)
        self.models_changed.emit()
        self.predictions_changed.emit()

    def set_labels(self, labels: Mapping[int, Label]) -> None:
        """Show answers at once, before they are durable."""
        with self.lock:
            self.labels = {**self.labels, **labels}
        self.labels_changed.emit(frozenset(labels))


def _same(a: RegionTable, b: RegionTable) -> bool:
    return all(np.array_equal(v, b.columns()[k]) for k, v in a.columns().items())
