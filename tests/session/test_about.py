"""What the journal says about a seed, and which labelled seeds are like it."""

import numpy as np
import pytest
import tifffile

from napari_seedlab.core import LabelState
from napari_seedlab.jobs import InlineRunner
from napari_seedlab.session import Session
from tests.session.conftest import settle, small_tray


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """One split tray for all tests here; each asks about seeds of its own."""
    folder = tmp_path_factory.mktemp("about")
    tifffile.imwrite(folder / "tray.tif", small_tray()[0])
    session = Session.create(folder / "p.seedlab", InlineRunner())
    session.import_scan(folder / "tray.tif").wait(60)
    session.split().wait(60)
    session.embed().wait(60)
    yield session
    session.close()


@pytest.fixture
def seeds(opened):
    """Seeds without any label, in the order of the table."""
    opened.answer(None, list(opened.labels) or opened.regions(1).seed[:1].tolist())
    return opened.regions(1).seed.tolist()


def history(session, seed):
    return session.history_of(seed).wait(60)["answers"]


def test_the_newest_answer_comes_first_and_says_who_and_why(opened):
    opened.draw(4).wait(60)
    asked = opened.current
    opened.answer(2)
    opened.answer("unsure", [asked.seed])
    newest, first = history(opened, asked.seed)
    assert (newest.state, newest.class_id) == (LabelState.UNSURE, 0)
    assert (first.state, first.class_id, first.reason) == (LabelState.LABELLED, 2, asked.reason)
    assert first.annotator == opened.annotator and first.utc < newest.utc
    assert newest.sequence > first.sequence and not first.undone


def test_what_was_taken_back_is_marked_until_it_is_done_again(opened, seeds):
    seed, other = seeds[20:22]
    opened.answer(1, [seed])
    opened.answer(3, [seed, other])
    assert [a.undone for a in history(opened, seed)] == [False, False]
    opened.undo().wait(60)
    assert [a.undone for a in history(opened, seed)] == [True, False]
    assert [a.class_id for a in history(opened, other)] == [3]
    opened.redo().wait(60)
    assert [a.undone for a in history(opened, seed)] == [False, False]
    opened.undo().wait(60)
    opened.undo().wait(60)
    assert [a.undone for a in history(opened, seed)] == [True, True]


def test_the_journal_is_read_once(opened, seeds, monkeypatch):
    seed = seeds[22]
    read = []
    opened.answer(1, [seed])
    settle(opened)
    project = opened.desk._project
    events = project.events
    monkeypatch.setattr(project, "events", lambda since=0: read.append(len(found := events(since))) or found)
    for _ in range(2):
        assert len(history(opened, seed)) == 1
    assert read[0] > 0 and read[1] == 0


def test_a_merged_seed_keeps_what_was_said_about_both(opened, seeds):
    one, two = seeds[23:25]
    opened.answer(1, [one])
    opened.answer(2, [two])
    opened.merge([one, two]).wait(60)
    said = [(a.seed, a.class_id) for a in history(opened, one)]
    assert said == [(two, 2), (one, 1)]
    opened.undo().wait(60)
    assert [a.seed for a in history(opened, one)] == [one]


def test_another_window_reads_the_same_history(opened, seeds):
    opened.answer(1, [seeds[19]])
    opened.undo().wait(60)
    with Session.open(opened.path, read_only=True) as second:
        assert history(second, seeds[19]) == history(opened, seeds[19])


def test_nearest_are_the_labelled_seeds_that_a_plain_loop_finds(opened, seeds):
    opened.answer(1, seeds[1:9])
    opened.answer(2, seeds[9:14])
    opened.answer("unsure", seeds[14:16])
    known = opened.embeddings["ct"]
    x = np.asarray(known.vectors, float)
    spread = x.std(0)
    blocks = np.repeat(np.arange(len(known.widths)), known.widths)
    n_varying = np.asarray([(spread[blocks == b] > 1e-9).sum() for b in range(len(known.widths))])
    spread = np.where(spread > 1e-9, spread, 1) * np.sqrt(n_varying / n_varying.min())[blocks]
    x = np.clip((x - x.mean(0)) / spread, -6, 6)
    far = {s: np.sqrt(((x[known.row[s]] - x[known.row[seeds[2]]]) ** 2).mean()) for s in seeds[1:14]}
    far.pop(seeds[2])

    found = opened.nearest_labelled(seeds[2])

    assert [f.seed for f in found] == sorted(far, key=far.get)[:4]
    np.testing.assert_allclose([f.distance for f in found], sorted(far.values())[:4], rtol=1e-6)
    assert {f.class_id for f in found} <= {1, 2}


def test_without_labels_or_vectors_nothing_is_near(opened, seeds, monkeypatch):
    assert opened.nearest_labelled(seeds[0]) == ()
    opened.answer(1, seeds[1:3])
    assert len(opened.nearest_labelled(seeds[0])) == 2
    monkeypatch.setattr(opened, "embeddings", {})
    assert opened.nearest_labelled(seeds[0]) == ()
