"""The whole user story, played in the real window by real keys and clicks, with the truth as annotator."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from napari._qt.dialogs.qt_notification import NapariQtNotification
from qtpy.QtCore import QPoint

from napari_seedlab.core import JobRequest, LabelState
from napari_seedlab.files import save_arrays, write_json
from napari_seedlab.ui import hands, judge
from napari_seedlab.ui.lateness import LatenessMeter
from napari_seedlab.ui.layers import background_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari import Viewer
    from qtpy.QtWidgets import QWidget

    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.app import SeedlabUi

T = TypeVar("T")
STROKES = {"embryo": 2, "cavity": 3, "background": 0}
TRAIN_AFTER = 0.5  # share of the answers after which the network starts to train


@dataclass
class Story:
    """What the autoplay measured."""

    seconds: dict[str, float] = field(default_factory=dict)
    answer_ms: list[float] = field(default_factory=list)
    answer_ms_training: list[float] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


class Player:
    """Plays the story on an open window.

    Parameters
    ----------
    viewer : napari.Viewer
    ui : SeedlabUi
    trays : tuple of Path
        Folders of the tray that is labelled and of the one that is never asked about.
    screenshots : Path or None
        Where pictures go.
    random_state : int
    """

    def __init__(
        self,
        viewer: Viewer,
        ui: SeedlabUi,
        trays: tuple[Path, Path],
        screenshots: Path | None,
        random_state: int,
    ) -> None:
        self.viewer, self.ui, self.trays, self.random_state = viewer, ui, trays, random_state
        self.truths = tuple(judge.read_truth(tray) for tray in trays)
        self.story = Story()
        self._screenshots = screenshots
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="autoplay")
        self._n_pictures = 0
        self._match: judge.Match | None = None
        self.meter = LatenessMeter(viewer)

    # -- helpers ------------------------------------------------------------------------------
    @property
    def session(self) -> Session:
        """The project on the screen."""
        if self.ui.session is None:
            raise RuntimeError("no project is open")
        return self.ui.session

    @property
    def canvas(self) -> QWidget:
        """The widget that napari draws on."""
        native: QWidget = self.viewer.window._qt_viewer.canvas.native
        return native

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step of the story."""
        begun = time.perf_counter()
        yield
        self.story.seconds[name] = time.perf_counter() - begun

    def beside(self, work: Callable[[], T]) -> T:
        """Do the judge's work in a thread while the window goes on."""
        future = self._pool.submit(work)
        hands.wait_until(future.done, "the judge")
        return future.result()

    def picture(self, name: str) -> None:
        """Take a picture of the window; the meter pauses."""
        if self._screenshots is None:
            return
        for _ in range(20):
            hands.breathe()
        with self.meter.paused():
            for notice in self.viewer.window._qt_window.findChildren(NapariQtNotification):
                notice.close()
            self._n_pictures += 1
            grabbed = self.viewer.window._qt_window.grab()
            grabbed.save(str(self._screenshots / f"{self._n_pictures:02d}-{name}.png"))

    def button(self, dock: str, name: str) -> None:
        """Raise a dock and click one of its buttons."""
        self.ui.raise_dock(dock)
        hands.breathe()
        widget = getattr(self.ui.docks[dock], name)
        hands.wait_until(widget.isEnabled, f"the button {name}", 30)
        hands.click(widget)

    def idle(self, *kinds: str) -> bool:
        """Whether no job of these kinds is under way."""
        return not any(r.id.split("-")[0] in kinds for r in self.session.desk.active)

    # -- the story ----------------------------------------------------------------------------
    def open_scan(self) -> None:
        """Open the tray."""
        with self.step("open"):
            self.session.import_scan(next(self.trays[0].glob("scan.*")))
            hands.wait_until(lambda: self.ui.layers.shown is not None, "the scan")
        self.picture("open")

    def split(self) -> None:
        """Split into seeds; map and clusters follow by themselves."""
        with self.step("split"):
            self.button("project", "split")
            hands.wait_until(lambda: self.session.regions(1) is not None, "the seeds")
        with self.step("map"):
            hands.wait_until(lambda: self.session.layout is not None, "the map")
        hands.wait_until(lambda: self.session.queue, "the first suggestions")
        self._match = found = self.beside(lambda: judge.match(self.session, 1, self.truths[0]))
        self.story.values |= {"n_true": found.n_true, "n_found": found.n_found, "instance_f1": found.f1}
        self.ui.set_colour_by("cluster")
        hands.wait_until(lambda: self.session.layout and self.session.layout.method == "umap", "the UMAP")
        self.picture("split")

    def find_odd(self) -> None:
        """Ask for the odd ones, with no label at all."""
        assert not self.session.labels
        with self.step("find_odd"):
            self.button("train", "odd")
            hands.wait_until(lambda: self.session.anomaly is not None, "the heatmap", 600)
        found, match = self.session.anomaly, self._match
        assert found is not None and match is not None
        self.story.values["anomaly_auc"] = judge.anomaly_auc(match.class_of, found.seeds, found.score)
        hands.wait_until(lambda: self.idle("fcdd", "round") and self.session.queue, "the oddest seeds")
        self.ui.set_colour_by("anomaly")
        self.picture("odd")

    def label(self, n_answers: int) -> None:
        """Answer what is asked; half-way the network begins to train meanwhile."""
        self.ui.raise_dock("labelling")
        hands.press(self.canvas, "k")
        hands.wait_until(lambda: self.ui.mode.is_on, "the labelling mode", 10)
        hands.wait_until(lambda: self.session.current_seed is not None, "the first seed")
        self.ui.set_colour_by("prediction")
        self.picture("labelling")
        begun, trained = time.perf_counter(), False
        for i in range(n_answers):
            if i >= TRAIN_AFTER * n_answers and not trained and not self.session.blocked_because:
                trained = True
                self.button("train", "net")
                self.ui.raise_dock("labelling")
            self._answer_one(i)
            if i == n_answers - 2:
                self.picture("training" if trained else "answers")
        self.story.seconds["label"] = time.perf_counter() - begun
        labelled = [x for x in self.session.labels.values() if x.state is not LabelState.NONE]
        self.story.values["answers"] = len(labelled)

    def _answer_one(self, i: int) -> None:
        """One answer by a key; now and then on another seed, chosen by a click on the canvas."""
        session = self.session
        hands.wait_until(self._sees_the_seed, "the next seed")
        if i % 20 == 19:
            self._click_on_current()
        seed = session.current_seed
        assert seed is not None and self._match is not None
        class_id = self._match.class_of.get(seed)
        key = "0" if class_id is None else session.scheme.by_id(class_id).key
        is_training = not self.idle("net")
        begun = time.perf_counter()
        hands.press(self.canvas, key)
        hands.breathe()  # a hand never presses the next key in the same turn of the event loop
        assert session.label(seed).state is not LabelState.NONE
        if session.blocked_because or class_id is None:
            return
        n = sum(x.state is LabelState.LABELLED for x in session.labels.values())
        hands.wait_until(lambda: self._is_recoloured(n), "the new predictions", 60)
        spent = (time.perf_counter() - begun) * 1000
        (self.story.answer_ms_training if is_training else self.story.answer_ms).append(spent)

    def _sees_the_seed(self) -> bool:
        seed = self.session.current_seed
        return seed is not None and self.ui.card_seed == seed and not self.ui.camera.is_flying

    def _is_recoloured(self, n_labels: int) -> bool:
        report = self.session.head_report.get(self.session.pool, {})
        return report.get("n_labels", 0) >= n_labels and not self.ui._redraw.isActive()

    def _click_on_current(self) -> None:
        """Click the suggested seed in the viewer, as a user would who is not sure which one is meant."""
        place = self.session.place_of(self.session.current_seed or 0)
        if place is None:
            return
        scan, row = place
        table = self.session.regions(scan)
        assert table is not None
        world = table.centroid[row] * np.asarray(self.session.scans[scan].facts.scale_um)
        at = hands.pixel_of(self.viewer, world[1:])
        hands.drag(self.canvas, [at])

    def finish_training(self) -> None:
        """Wait for the network and show what came of it."""
        with self.step("train_net_rest"):
            hands.wait_until(lambda: self.idle("net"), "the network", 900)
            hands.wait_until(lambda: any(m.kind == "net" for m in self.session.models), "its model", 60)
        hands.press(self.canvas, "k")
        self.ui.raise_dock("train")
        self.picture("trained")
        nets = [m for m in self.session.models if m.kind == "net"]
        self.story.values["net"] = dict(nets[-1].metrics) if nets else {}

    def look_around(self) -> None:
        """Look at all seeds in the gallery, and at how good the model is."""
        train = self.ui.docks["train"]
        train.tabs.setCurrentIndex(1)
        hands.wait_until(lambda: self.idle("figures"), "the figures", 120)
        self.picture("figures")
        train.tabs.setCurrentIndex(0)
        self.ui.toggle_gallery()
        hands.wait_until(lambda: self.idle("thumbs"), "the thumbnails", 120)
        self.picture("gallery")
        self.ui.toggle_gallery()

    def paint(self) -> None:
        """Paint embryo, cavity and background on one slice and time the predicted segmentation."""
        self.ui.raise_dock("labelling")
        z, spots = self._where_to_paint()
        scale = np.asarray(self.session.scans[1].facts.scale_um)
        self.viewer.dims.set_current_step(0, z)
        middle = np.mean([spot for path in spots.values() for spot in path], 0) * scale[1:]
        self.viewer.scene.camera.center = (0.0, *middle)
        self.viewer.scene.camera.zoom = 9.0 / scale[2]
        for _ in range(10):
            hands.breathe()
        dock, times = self.ui.docks["labelling"], []
        seen: list[float] = []
        self.session.slice_predicted.connect(lambda *_: seen.append(time.perf_counter()))
        for i, (name, path) in enumerate(spots.items()):
            value = STROKES[name] or background_value(self.session.tissues)
            hands.click(dock._tissue_buttons[value])
            pixels = [hands.pixel_of(self.viewer, np.asarray(p) * scale[1:]) for p in path]
            hands.drag(self.canvas, _dense(pixels))
            begun = time.perf_counter()  # the button is up
            seen.clear()
            saved = self.session.desk.do(lambda project: None)
            hands.wait_until(saved.done, "the strokes")
            hands.wait_until(lambda: self.idle("slice"), "the slice")
            if i:  # a slice is predicted from two classes on; the last prediction has seen the whole stroke
                hands.wait_until(seen.__len__, "the predicted slice")
                times.append((seen[-1] - begun) * 1000)
        self.story.values["stroke_to_slice_ms"] = float(np.median(times))
        self.picture("strokes")
        self.ui.strokes.put_away()

    def _where_to_paint(self) -> tuple[int, dict[str, list[tuple[float, float]]]]:
        """A slice with embryo and air, and a short path in each tissue and outside."""
        tissues = self.truths[0].tissues
        air = (tissues == STROKES["cavity"]).reshape(len(tissues), -1).sum(1)
        z = int(air.argmax())
        plane, paths = tissues[z], {}
        for name, value in STROKES.items():
            paths[name] = _longest_run(plane == value)
        return z, paths

    def export(self, to: Path) -> None:
        """Export everything."""
        with self.step("export"):
            self.session.export(to)
            hands.wait_until(lambda: (to / "manifest.json").exists() and self.idle("export"), "the export")
        self.story.values["exported_files"] = sum(p.is_file() for p in to.rglob("*"))

    def judge_on_second_tray(self) -> None:
        """Open and split a tray that nobody was asked about; the truth judges the predictions."""
        session = self.session
        with self.step("second_tray"):
            session.import_scan(next(self.trays[1].glob("scan.*")))
            hands.wait_until(lambda: 2 in session.scans, "the second tray")
            session.split(2)
            hands.wait_until(lambda: session.regions(2) is not None, "its seeds", 300)
            match = self.beside(lambda: judge.match(session, 2, self.truths[1]))
            wanted = set(match.class_of)
            hands.wait_until(lambda: wanted <= set(session.embeddings["ct"].seeds.tolist()), "vectors", 300)
            session.train("head")
            hands.wait_until(lambda: wanted <= set(session.heads["ct"].row), "the predictions", 120)
        head = session.heads["ct"]
        of = judge.balanced_accuracy(match.class_of, head.seeds, head.best)
        drawn = self.beside(lambda: self._random_baseline(match))
        self.story.values |= {
            "balanced_accuracy": of,
            "balanced_accuracy_random": drawn,
            "n_judged": len(match.class_of),
        }
        session.show_scan(2)
        hands.wait_until(lambda: self.ui.layers.shown and self.ui.layers.shown.scan.id == 2, "the tray")
        self.picture("second-tray")

    def _random_baseline(self, judged: judge.Match) -> float:
        """Balanced accuracy with as many answers, drawn at random from the first tray."""
        session, known = self.session, self._match
        assert known is not None
        rng = np.random.default_rng(self.random_state)
        seeds = rng.permutation(sorted(known.class_of))[: self.story.values["answers"]]
        embedding = session.embeddings["ct"]
        folder = session.path / "jobs" / "baseline"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        n = len(seeds)
        save_arrays(folder / "embedding.npz", **embedding.columns())
        save_arrays(
            folder / "labels.npz",
            seed=seeds.astype(np.int64),
            class_id=np.asarray([known.class_of[int(s)] for s in seeds], np.int32),
            sequence=np.arange(n),
            inclusion_p=np.ones(n),
            strategy=np.full(n, "random", "U16"),
        )
        params = {"class_ids": list(session.scheme.ids), "n": 0, "strategy": "random", "model_id": "baseline"}
        request = JobRequest("baseline", "napari_seedlab.learn.round:run", params)
        write_json(folder / "request.json", request.to_json())
        session.desk.runner.submit(request, folder)
        session.desk.runner.wait("baseline", 120)
        from napari_seedlab.files import load_arrays

        out = load_arrays(folder / "probabilities.npz")
        best = np.asarray(session.scheme.ids)[out["p"].argmax(1)]
        return judge.balanced_accuracy(judged.class_of, out["seed"], best)


def _longest_run(inside: Any) -> list[tuple[float, float]]:
    """The longest horizontal run of true pixels, without its ends, as (row, column) of both ends."""
    best = (0, 0, 0, 0)
    for row, line in enumerate(np.asarray(inside)):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(np.int8), [0]])))
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            best = max(best, (int(b - a), row, int(a), int(b)))
    length, row, a, b = best
    trim = min(2, length // 3)
    stop = min(b - 1 - trim, a + trim + 12)
    return [(float(row), float(a + trim)), (float(row), float(stop))]


def _dense(pixels: list[QPoint]) -> list[QPoint]:
    """A path with a point every few pixels."""
    a, b = pixels[0], pixels[-1]
    n = max(2, abs(b.x() - a.x()) // 4)
    return [
        QPoint(round(a.x() + (b.x() - a.x()) * i / n), round(a.y() + (b.y() - a.y()) * i / n))
        for i in range(n + 1)
    ]
