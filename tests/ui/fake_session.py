"""A session over a small tray of ellipsoids: attributes and signals of the real one, no project."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from psygnal import Signal

from napari_seedlab.core import (
    GRAIN_SCHEME,
    TISSUE_SCHEME,
    JobState,
    JobStatus,
    Label,
    LabelState,
    Modality,
    Progress,
    RegionTable,
    Scan,
    ScanFacts,
    Seed,
    Suggestion,
)
from napari_seedlab.files import ArraySource
from napari_seedlab.session.about import Answer, Neighbour
from napari_seedlab.session.classes import Classes
from napari_seedlab.session.clusters import Clusters
from napari_seedlab.session.desk import Task
from napari_seedlab.session.encoders import Encoders
from napari_seedlab.session.figures import Figures
from napari_seedlab.session.metadata import Metadata
from napari_seedlab.session.opinions import Opinions
from napari_seedlab.session.origin import Origin
from napari_seedlab.session.results import AnomalyScores, Layout, Predictions
from tests.ui.fake_net_checks import FakeNetChecks
from tests.ui.fake_thumbs import FakeTable, FakeThumbs

SIDE, BANDS = (6, 7), 12
REASON = "Typical of a cluster of 7 seeds that has no label yet"


@cache
def tray(shape=(40, 150, 180), random_state=0):
    """(volume uint8, regions int32), made once: a grid of ellipsoids, every second pair touching."""
    rng = np.random.default_rng(random_state)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    volume = rng.normal(30, 4, shape)
    regions = np.zeros(shape, np.int32)
    for i in range(SIDE[0] * SIDE[1]):
        row, column = divmod(i, SIDE[1])
        centre = np.asarray([20 + rng.integers(-3, 4), 13 + row * 25, 14 + column * 25])
        axes = rng.uniform((8, 9, 9), (12, 11.5, 12.4))
        distance = sum(((grid[a] - centre[a]) / axes[a]) ** 2 for a in range(3))
        inside = (distance < 1) & (regions == 0)
        regions[inside] = i + 1
        volume[inside] = rng.normal(165 - 40 * distance[inside], 5)
        volume[(distance < 0.10 + 0.18 * (i % 5 == 0)) & inside] = 60
    return np.clip(volume, 0, 255).astype(np.uint8), regions


def table_of(scan, regions, first_seed=1):
    ids = np.unique(regions)[1:]
    known = np.argwhere(regions)
    where = [known[regions[tuple(known.T)] == i] for i in ids]
    box = np.asarray([[*w.min(0), *(w.max(0) + 1)] for w in where], np.int32)
    return RegionTable(
        scan,
        ids.astype(np.int32),
        ids.astype(np.int64) + first_seed - 1,
        box,
        np.asarray([w.mean(0) for w in where]),
        np.asarray([len(w) for w in where], np.int64),
    )


def raw(folder: Path, name: str, array, axes=("z", "y", "x")) -> ArraySource:
    path = folder / f"{name}.raw"
    array.tofile(path)
    return ArraySource(str(path), "raw", array.shape, axes, array.dtype.str)


class FakeSession:
    scans_changed = Signal()
    clusters_changed = Signal()
    scheme_changed = Signal()
    regions_changed = Signal(int)
    labels_changed = Signal(object)
    pending_changed = Signal(int)
    saved = Signal(object)
    embedding_changed = Signal(str)
    layout_changed = Signal()
    predictions_changed = Signal()
    anomaly_changed = Signal()
    thumbnails_changed = Signal(str)
    models_changed = Signal()
    figures_changed = Signal(str)
    encoders_changed = Signal(str)
    queue_changed = Signal()
    current_changed = Signal(object)
    current_scan_changed = Signal(object)
    selection_changed = Signal(object, str)
    strokes_changed = Signal(int, int, int)
    slice_predicted = Signal(int, int, int, object)
    job_changed = Signal(object)
    message = Signal(str, str)

    def __init__(self, folder: Path, split: bool = True, scans: bool = True) -> None:
        self.path, self.name = folder / "demo.seedlab", "demo"
        self.read_only, self.holder, self.annotator, self.follow_up = False, "", "ada", False
        self.notes = ()
        self.scheme, self.tissues = GRAIN_SCHEME, TISSUE_SCHEME
        self.calls: list[tuple] = []
        self.mapped: list[int] = []
        self.lock = threading.RLock()
        volume, regions = tray()
        self.scans, self._tables, self._sources, self._region_sources = {}, {}, {}, {}
        self.sheets = {}
        self.labels, self.facts, self.jobs, self.models = {}, {}, {}, ()
        self.head_report, self.pool = {}, "ct"
        self.selection, self.current_scan = frozenset(), None
        self.predictions, self.layouts = None, {}
        self.desk, self.opinions = SimpleNamespace(do=lambda work: None, active=()), Opinions(self)
        self.embeddings, self.figures, self.metadata = {}, Figures(self), Metadata(self)
        self.encoders = Encoders(self)
        self.net_checks = FakeNetChecks(self)
        self.thumbnails = FakeThumbs(FakeTable(SIDE[0] * SIDE[1]))
        self.clusters, self.classes = Clusters(self), Classes(self)
        self.origin = Origin(self)
        self.desk.do_task = lambda kind, work: Task(kind)
        self.queue, self.current_seed = (), None
        self.labelling = SimpleNamespace(
            pending=0, failed="", n_left=0, queue=(), wishes={}, ask_by=self._ask_by
        )
        self.labelling.accept_all = self._accept_all
        self.labelling.spreads, self.labelling.spread_labels = frozenset(), self._spread_labels
        self.replay = SimpleNamespace(last={}, lacks=lambda pool: "wants 20 labels, there are 0")
        self.strokes = SimpleNamespace(fetch_raster=self._fetch_raster)
        if scans:
            self._add_scans(folder, volume, regions)
        self._split_tables = dict(self._tables)
        self._split_sources = dict(self._region_sources)
        self.seeds = {int(s): Seed(int(s)) for t in self._tables.values() for s in t.seed}
        if not split:
            self._tables, self._region_sources = {}, {}
        self._answers: list[list[Answer]] = []
        self._history: list[dict] = []
        self._undone: list[dict] = []
        self.undoes = "label"  # what an undo says that it took back
        self._raster: dict = {}

    def _add_scans(self, folder, volume, regions):
        flat = regions[20:21].copy()
        cube = (volume[20].astype(float)[None] * np.linspace(2, 9, BANDS)[:, None, None]).astype(np.uint16)
        nm = tuple(np.linspace(400, 1000, BANDS).round(1).tolist())
        facts = (
            ScanFacts(
                "tray-1",
                Modality.CT,
                volume.shape,
                ("z", "y", "x"),
                "uint8",
                (40.0,) * 3,
                None,
                "tray-1.raw",
                1,
                1,
            ),
            ScanFacts(
                "tray-1 spectra",
                Modality.HSI,
                cube.shape,
                ("band", "y", "x"),
                "uint16",
                (1.0, 40.0, 40.0),
                nm,
                "t.hdr",
                1,
                1,
            ),
        )
        self.scans = {i + 1: Scan(i + 1, f) for i, f in enumerate(facts)}
        self._sources = {1: raw(folder, "ct", volume), 2: raw(folder, "hsi", cube, ("band", "y", "x"))}
        self._region_sources = {1: raw(folder, "ct-r", regions), 2: raw(folder, "hsi-r", flat)}
        n = int(regions.max())
        self._tables = {1: table_of(1, regions), 2: table_of(2, flat, first_seed=n + 1)}
        heat = np.where((regions > 0) & (volume < 90), 255, 0).astype(np.uint8)  # 255 = top of the scale
        self._heat = raw(folder, "heat", heat)
        self.current_scan = 1

    def _spread_labels(self, on):
        self.labelling.spreads = frozenset({self.pool} if on else ())
        self.calls.append(("spread_labels", on))

    # -- reading
    @property
    def anomaly(self):
        return self.opinions.shown.get(self.pool)

    @property
    def layout(self):
        return self.layouts.get(self.pool)

    def scans_of(self, pool):
        return [s for s in self.scans.values() if str(s.facts.modality) == pool]

    def seeds_of(self, pool):
        return sorted({int(s) for t in self._tables.values() for s in t.seed if t.scan == 1})

    def predictions_of(self, pool):
        return self.predictions

    def pools_of(self, seeds):
        return {"ct"}

    def refuse_if_blocked(self):
        pass

    def label_origin(self, seed):
        return 1, 0.0, ""

    def regions(self, scan):
        return self._tables.get(scan)

    def scan_source(self, scan):
        return self._sources[scan]

    def regions_source(self, scan):
        return self._region_sources.get(scan)

    def place_of(self, seed):
        for scan in sorted(self._tables, key=lambda s: s != self.current_scan):
            if (row := self._tables[scan].row_of_seed(seed)) is not None:
                return scan, row
        return None

    def label(self, seed):
        return self.labels.get(seed) or Label(seed)

    def history_of(self, seed):
        answers = [a for event in self._answers[::-1] for a in event if a.seed == seed]
        task = Task("history")
        task.future.set_result({"seed": seed, "answers": tuple(answers)})
        return task

    def nearest_labelled(self, seed, n=4):
        labelled = {s: x.class_id for s, x in self.labels.items() if x.class_id and s != seed}
        near = sorted(labelled, key=lambda s: abs(s - seed))[:n]
        return tuple(Neighbour(s, labelled[s], abs(s - seed) / 10) for s in near)

    def counts(self):
        out = dict.fromkeys(self.scheme.ids, 0)
        for label in self.labels.values():
            if label.state is LabelState.LABELLED:
                out[label.class_id] += 1
        return out

    @property
    def current(self):
        return next((s for s in self.queue if s.seed == self.current_seed), None)

    @property
    def blocked_because(self):
        if not self.scans:
            return "Open a scan first."
        if not self._tables:
            return "Split the scan into seeds first."
        return (
            "" if sum(n > 1 for n in self.counts().values()) > 1 else "Label seeds of at least two classes."
        )

    # -- actions
    def _ask_by(self, strategy):
        if strategy == "disagreement":
            self.opinions.refuse_one_opinion(self.pool)
        self.calls.append(("ask_by", strategy))
        self.labelling.wishes = {self.pool: strategy}
        self.draw(strategy=strategy)

    def import_scan(self, path, modality=None, name=None):
        self.calls.append(("import_scan", str(path)))

    def import_folder(self, path, name=None, truth_from_folders=False):
        self.calls.append(("import_folder", str(path)))

    def show_scan(self, scan):
        self.current_scan = scan
        self.current_scan_changed.emit(scan)

    def split(self, scan=None, recipe=None):
        self.calls.append(("split", dict(recipe or {})))
        self._tables, self._region_sources = dict(self._split_tables), dict(self._split_sources)
        for scan_id in self.scans:
            self.regions_changed.emit(scan_id)

    def make_map(self, method="umap", n_clusters=None, pool=None):
        rng = np.random.default_rng(0 if method == "pca" else 1)
        seeds = self._tables[1].seed
        cluster = (np.arange(len(seeds)) % 5).astype(np.int32)
        centres = rng.normal(0, 3, (5, 2))
        xy = (centres[cluster] + rng.normal(0, 0.7, (len(seeds), 2))).astype(np.float32)
        self.layouts = {**self.layouts, "ct": Layout(seeds, xy, cluster, method)}
        self.layout_changed.emit()

    def draw(self, n=10, strategy=None, pool=None):
        seeds = [int(s) for s in self._tables[1].seed if self.label(int(s)).state is LabelState.NONE][:n]
        self.queue = tuple(Suggestion(f"s{s}", s, 1.0, "typiclust", REASON, 1.0) for s in seeds)
        self.queue_changed.emit()
        self.look_at(seeds[0] if seeds else None)

    def refit(self):
        seeds = self._tables[1].seed
        logits = np.random.default_rng(len(self.labels)).normal(0, 1.2, (len(seeds), len(self.scheme)))
        logits[:, 0] += 1
        for label in self.labels.values():
            if label.class_id and label.seed <= len(seeds):
                logits[label.seed - 1, label.class_id - 1] += 4
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        self.predictions = Predictions(seeds, p.astype(np.float32), self.scheme.ids, "head-1")
        self.predictions_changed.emit()

    def answer(self, said, seeds=None):
        chosen = [self.current_seed] if seeds is None else [int(s) for s in seeds]
        self.calls.append(("answer", said, tuple(chosen)))
        before = {s: self.labels.get(s) for s in chosen}
        state = {None: LabelState.NONE, "unsure": LabelState.UNSURE, "not_whole": LabelState.NOT_WHOLE}.get(
            said, LabelState.LABELLED
        )
        self.labels = {
            **self.labels,
            **{s: Label(s, state, said if isinstance(said, int) else 0) for s in chosen},
        }
        self._history.append(before)
        asked, class_id = {x.seed for x in self.queue}, said if isinstance(said, int) else 0
        number, utc = len(self._answers) + 1, "2026-11-20T10:30:00+00:00"
        self._answers.append(
            [
                Answer(s, number, utc, self.annotator, state, class_id, REASON if s in asked else "")
                for s in chosen
            ]
        )
        self.labels_changed.emit(frozenset(chosen))
        self.pending_changed.emit(1)
        self.pending_changed.emit(0)
        self.saved.emit(SimpleNamespace(kind="label"))
        self.refit()
        if self.current_seed in chosen:
            self.skip()

    def _accept_all(self, seeds):
        self.calls.append(("accept_all", tuple(seeds)))
        return len(seeds)

    def accept(self):
        p = self.predictions.of(self.current_seed)
        self.answer(max(p, key=p.get))

    def _step(self, by):
        seeds = [s.seed for s in self.queue]
        here = seeds.index(self.current_seed) if self.current_seed in seeds else -1
        if seeds:
            self.look_at(seeds[(here + by) % len(seeds)])

    def skip(self):
        self._step(1)

    def previous(self):
        self._step(-1)

    def look_at(self, seed):
        self.current_seed = seed
        self.current_changed.emit(seed)

    def undo(self):
        self.calls.append(("undo",))
        before = self._history.pop() if self._history else {}
        if before:
            last = next(i for i in reversed(range(len(self._answers))) if not self._answers[i][0].undone)
            self._answers[last] = [replace(a, undone=True) for a in self._answers[last]]
            self.labels = {
                **{k: v for k, v in self.labels.items() if k not in before},
                **{k: v for k, v in before.items() if v},
            }
            self.labels_changed.emit(frozenset(before))
            self.strokes_changed.emit(-1, -1, -1)
        task = Task("undo")
        task.future.set_result({"event": "an edit", "seeds": sorted(before), "what": self.undoes})
        return task

    def redo(self):
        self.calls.append(("redo",))
        task = Task("redo")
        task.future.set_result({"event": None, "seeds": []})
        return task

    def select(self, seeds, origin):
        self.selection = frozenset(int(s) for s in seeds)
        self.selection_changed.emit(self.selection, origin)

    def after_split(self, scan):
        self.mapped.append(scan)

    def maps_by_itself(self, pool):
        return bool(self.mapped)

    def find_odd(self, settings=None, method="", normal_class=0):
        self.calls.append(("find_odd", method))
        seeds = self._tables[1].seed
        method = method or "fcdd"
        score = np.random.default_rng(2 + len(method) % 4).random(len(seeds)).astype(np.float32)
        found = AnomalyScores(seeds, score, (0.0, 3.0), f"{method}-1", {1: self._heat})
        self.opinions._put_first("ct", found)
        self.opinions._recount("ct")
        self.anomaly_changed.emit()

    def train(self, model="net", settings=None):
        self.calls.append(("train", model))
        self.job("net-1", 0, 200)

    def job(self, job_id, done, total, state=JobState.RUNNING, **figures):
        status = JobStatus(
            job_id,
            f"napari_seedlab.learn.{job_id.split('-')[0]}:run",
            1,
            state,
            Progress(done, total, f"step {done} of {total}", figures),
            3.0,
            42.0,
        )
        self.jobs = {**self.jobs, job_id: status}
        self.job_changed.emit(status)

    def activate(self, model_id):
        self.calls.append(("activate", model_id))

    def cancel(self, job_id):
        self.calls.append(("cancel", job_id))

    def stroke(self, scan, axis, index, points, class_id):
        self.calls.append(("stroke", scan, axis, index, len(points), class_id))
        facts = self.scans[scan].facts
        plane = [n for a, n in enumerate(facts.region_shape) if a != axis]
        raster = self._raster.setdefault((scan, axis, index), np.full(plane, -1, np.int8))
        raster[tuple(np.asarray(points).T)] = class_id
        self.strokes_changed.emit(scan, axis, index)

    def predict_slice(self, scan, axis, index):
        self.calls.append(("predict_slice", scan, axis, index))

    def _fetch_raster(self, scan, axis, index):
        facts = self.scans[scan].facts
        plane = [n for a, n in enumerate(facts.region_shape) if a != axis]
        future = Future()
        future.set_result(self._raster.get((scan, axis, index), np.full(plane, -1, np.int8)).copy())
        return future

    def merge(self, seeds, scan=None):
        self.calls.append(("merge", tuple(seeds)))

    def split_seed(self, seed, points, scan=None):
        self.calls.append(("split_seed", seed, [tuple(p) for p in points]))

    def delete(self, seeds, scan=None):
        self.calls.append(("delete", tuple(seeds)))

    def export(self, to):
        self.calls.append(("export", str(to)))

    def close(self, finish_in_background=False):
        self.calls.append(("close",))
