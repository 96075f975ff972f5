"""From an unlabelled tray to judged scores in the real window; ``SEEDLAB_PICTURES`` = folder for pictures."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from napari._qt.dialogs.qt_notification import NapariQtNotification

from napari_seedlab.core import LabelState
from napari_seedlab.files import open_array
from napari_seedlab.io.samples import write_sample
from napari_seedlab.jobs import InlineRunner
from napari_seedlab.session import Session
from napari_seedlab.ui import hands, judge
from napari_seedlab.ui.verdict_lines import TOO_FEW

N_SEEDS, N_ANSWERS, RANDOM_STATE = 40, 10, 3
SMALL = {"size": 16, "n_steps": 60, "n_fits": 1, "width": 4, "device": "cpu"}
PICTURES = os.environ.get("SEEDLAB_PICTURES")
SIZES = ((1920, 1080), (1366, 768))


class Story:
    """A window on a project, the truth about its tray, and hands."""

    def __init__(self, ui, session, truth):
        self.ui, self.session, self.truth = ui, session, truth
        self.canvas = ui.viewer.window._qt_viewer.canvas.native
        self.train, self.inspect, self.labelling = (ui.docks[n] for n in ("train", "inspect", "labelling"))

    def until(self, condition, what):
        hands.wait_until(condition, what, 90)

    def press(self, dock, name):
        self.ui.raise_dock(dock)
        hands.breathe()
        widget = getattr(self.ui.docks[dock], name)
        self.until(widget.isEnabled, name)
        hands.click(widget)

    def settled(self):
        """Nothing is under way, and what came of it is drawn."""
        return not self.session.desk.active and not self.ui._redraw.isActive()

    def sees_the_seed(self):
        seed = self.session.current_seed
        return seed is not None and seed == self.ui.card_seed and not self.ui.camera.is_flying

    def picture(self, name, dock):
        if PICTURES is None:
            return
        for notice in self.ui.viewer.window._qt_window.findChildren(NapariQtNotification):
            notice.close()
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        window = self.ui.viewer.window._qt_window
        for size in SIZES:
            window.resize(*size)
            self.ui.raise_dock(dock)
            for _ in range(60):
                hands.breathe()
            window.grab().save(f"{PICTURES}/{name}-{size[0]}x{size[1]}.png")


@pytest.fixture
def story(window_ui, tmp_path, monkeypatch):
    tray = write_sample("ct", N_SEEDS, RANDOM_STATE, tmp_path / "tray")
    session = Session.create(tmp_path / "p.seedlab", InlineRunner())
    monkeypatch.setattr(session, "find_odd", partial(session.find_odd, SMALL))
    pca = partial(type(session).make_map, session, "pca")
    monkeypatch.setattr(session, "make_map", lambda method, pool: pca(pool=pool))  # UMAP takes its time
    window_ui.bind(session)
    story = Story(window_ui, session, judge.read_truth(tray.parent))
    story.tray = tray
    yield story
    window_ui.mode.switch(False)
    window_ui.bind(None)


@pytest.mark.timeout(300)
def test_the_oddest_come_first_and_labels_judge_the_scores(story):
    open_and_split(story)
    class_of = judge.match(story.session, 1, story.truth).class_of
    find_odd(story, "fcdd")
    found = story.session.anomaly
    assert judge.anomaly_auc(class_of, found.seeds, found.score) > 0.6  # better than chance, with a tiny fit
    the_oddest_come_first(story)
    the_heat_lies_on_the_scan(story)
    inspect_the_oddest(story)
    assert TOO_FEW in story.train.odd_row.verdict.text()
    answered = label_with_keys(story, class_of)
    labels_changed_what_is_shown(story, answered)
    a_second_opinion(story)


def open_and_split(story):
    story.session.import_scan(story.tray)
    story.until(lambda: story.ui.layers.shown is not None, "the scan")
    story.press("project", "split")
    story.until(lambda: story.session.queue and story.session.layout is not None, "the first suggestions")
    story.until(story.settled, "rest")


def find_odd(story, method):
    row = story.train.odd_row
    story.ui.raise_dock("train")
    row.method.setCurrentIndex(row.method.findData(method))
    story.press("train", "odd")
    story.until(lambda: (s := story.session.anomaly) is not None and s.method == method, "the scores")
    story.until(story.settled, "rest")
    story.until(lambda: story.ui.layers.find("heat") is not None, "the heatmap")
    story.until(lambda: not row.verdict.isHidden(), "what the labels say")


def the_oddest_come_first(story):
    session, row = story.session, story.train.odd_row
    oddest = session.anomaly.seeds[np.argsort(-session.anomaly.score, kind="stable")].tolist()
    assert sorted(s.seed for s in session.queue) == sorted(oddest[: len(session.queue)])  # a short walk
    assert session.current_seed == oddest[0] and "oddest" in session.queue[0].reason
    hands.click(row.flagged)
    n = len(row.flagged_seeds())
    assert session.selection == frozenset(oddest[:n]) and n == N_SEEDS // 10
    story.ui.set_colour_by("anomaly")
    story.picture("1-odd", "train")
    session.select((), "test")


def the_heat_lies_on_the_scan(story):
    """Same grid, same place, nothing outside the seeds, and the oddest seed is hot inside its own region."""
    session, layers = story.session, story.ui.layers
    heat, image = layers.find("heat"), layers.find("image")
    assert heat.visible and heat.data.shape == image.data.shape
    corner = np.asarray(heat.data.shape) - 1
    for voxel in (corner * 0, corner // 3, corner):
        np.testing.assert_array_equal(heat.data_to_world(voxel), image.data_to_world(voxel))
    stored, regions = (open_array(s)[...] for s in (session.anomaly.heat[1], session.regions_source(1)))
    np.testing.assert_array_equal(np.asarray(heat.data), stored)
    assert not stored[regions == 0].any() and stored.any()
    table = session.regions(1)
    hottest = regions[np.unravel_index(stored.argmax(), stored.shape)]
    seed = int(table.seed[table.region == hottest][0])
    assert session.anomaly.rank[session.anomaly.row[seed]] > 0.8


def inspect_the_oddest(story):
    session, dock = story.session, story.inspect
    story.ui.raise_dock("inspect")
    session.look_at(session.queue[0].seed)
    story.until(lambda: dock.cuts.n_pictures == 3 and dock.odd.pictures.n_pictures == 2, "the cuts")
    assert f"the oddest of {len(session.seeds)} seeds" in dock.odd.words.text()
    story.until(lambda: not dock.history.is_waiting, "the history")
    assert "Nothing was said" in dock.history.missing
    story.picture("2-inspect", "inspect")


def label_with_keys(story, class_of):
    session = story.session
    story.before = [s.seed for s in session.queue], session.predictions
    hands.press(story.canvas, "k")
    story.until(lambda: story.ui.mode.is_on, "the labelling mode")
    answered = []
    story.picture("3-asked", "labelling")
    for _ in range(N_ANSWERS):
        story.until(story.sees_the_seed, "the next seed")
        seed = session.current_seed
        key = session.scheme.by_id(class_of[seed]).key if seed in class_of else "0"
        hands.press(story.canvas, key)
        hands.breathe()
        answered.append(seed)
    states = [session.label(s).state for s in answered]
    assert len(set(answered)) == N_ANSWERS and LabelState.NONE not in states
    story.until(lambda: session.current_seed not in (None, *answered), "the next batch")
    story.until(story.settled, "rest")
    story.picture("4-answered", "labelling")
    return answered


def labels_changed_what_is_shown(story, answered):
    session, row = story.session, story.train.odd_row
    queue, predictions = story.before
    assert queue == answered[: len(queue)]
    assert session.labelling.n_left == len({s.seed for s in session.queue} - set(answered)) > 0
    assert predictions is None and session.predictions is not None
    story.ui.raise_dock("train")
    story.until(lambda: "times in 100" in row.verdict.text(), "the verdict")
    assert "labelled seeds, chosen not at random" in row.verdict.text()
    story.picture("5-judged", "train")
    session.look_at(answered[0])
    story.ui.raise_dock("inspect")
    story.until(lambda: len(story.inspect.history.texts) == 1, "the answer in the history")


def choosing_the_first_shows_its_heat(story):
    session, box = story.session, story.train.odd_row.method
    second = open_array(session.anomaly.heat[1])[...]
    for method in ("fcdd", "distance"):
        box.setCurrentIndex(box.findData(method))
        box.activated.emit(box.currentIndex())
        assert session.anomaly.method == method
        stored = open_array(session.anomaly.heat[1])[...]
        drawn = lambda: np.array_equal(np.asarray(story.ui.layers.find("heat").data), stored)  # noqa: B023, E731
        story.until(drawn, "the heat of the chosen method")
        assert np.array_equal(stored, second) == (method == "distance")


def a_second_opinion(story):
    session, row, dock = story.session, story.train.odd_row, story.inspect
    find_odd(story, "distance")
    story.until(lambda: "<table" in row.verdict.text(), "both verdicts")
    choosing_the_first_shows_its_heat(story)
    story.ui.set_colour_by("disagreement")
    story.picture("6-two-methods", "train")
    box = story.train.ask_about.strategy
    story.ui.raise_dock("train")
    box.setCurrentIndex(box.findData("disagreement"))
    box.activated.emit(box.currentIndex())
    by = lambda: {s.strategy for s in session.queue} == {"disagreement"} and session.current  # noqa: E731
    story.until(by, "the disputed seeds")
    story.until(story.settled, "rest")
    spread = session.opinions.disagreement("ct").spread
    disputed = session.opinions.disagreement("ct").seeds[np.argsort(-spread, kind="stable")]
    assert session.current.seed == next(int(s) for s in disputed if not session.label(int(s)).class_id)
    story.picture("7-disputed", "labelling")
    story.ui.raise_dock("inspect")
    story.until(lambda: "Feature distance" in dock.odd.others.text(), "both ranks")
    story.until(lambda: dock.odd.pictures.n_pictures == 2, "the cuts")
    story.picture("8-two-ranks", "inspect")
