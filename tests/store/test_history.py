"""Undo, redo and replay: the same state after any sequence of edits, a restart and a replay."""

import random
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_project import (
    grid_raster,
    merge,
    publish_split,
    raster_of,
    small_project,
    split,
    state_of,
)

from napari_seedlab.core import EventKind, InputError, Label, LabelState
from napari_seedlab.store import Project

STEPS = ("label", "bulk", "clear", "stroke", "undo", "undo", "redo", "merge", "split", "resplit")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "P.seedlab"
    small_project(path).close()
    return path


@pytest.fixture
def project(template, tmp_path):
    shutil.copytree(template, tmp_path / "P.seedlab")
    with Project.open(tmp_path / "P.seedlab") as opened:
        yield opened


def one_step(project, step, chance):
    alive = [s.id for s in project.seeds().values() if s.alias_of is None]
    table = project.regions(1)
    if step == "label":
        project.label([chance.choice(alive)], "labelled", chance.randint(1, 4), "ann")
    elif step == "bulk":
        project.label(chance.sample(alive, 5), chance.choice(["unsure", "not_whole"]), 0, "ann")
    elif step == "clear":
        project.label([chance.choice(alive)], "none")
    elif step == "stroke":
        project.stroke(1, 0, 1, [[chance.randrange(24), 3]], [chance.randint(-1, 3)], "ann")
    elif step in ("undo", "redo"):
        getattr(project, step)()
    elif step == "merge":
        merge(project, 1, *chance.sample(table.region.tolist(), 2))
    elif step == "split":
        wide = table.region[(table.box[:, 5] - table.box[:, 2]) > 1]
        split(project, 1, chance.choice(wide.tolist()))
    else:
        seed = [chance.choice([0, s]) for s in chance.sample(alive, 6)]
        seed = [s if seed.count(s) == 1 else 0 for s in seed]
        publish_split(project, 1, grid_raster(project.next_region_id(), n=6), seed)


@given(steps=st.lists(st.sampled_from(STEPS), min_size=3, max_size=9), seed=st.integers(0, 2**16))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_edits_survive_restart_and_replay(template, tmp_path_factory, steps, seed):
    folder = tmp_path_factory.mktemp("edits")
    shutil.copytree(template, folder / "P.seedlab")
    chance = random.Random(seed)
    with Project.open(folder / "P.seedlab") as project:
        for step in steps:
            one_step(project, step, chance)
        before = state_of(project)
        tables = {
            int(r): int(n) for t in [project.regions(1)] for r, n in zip(t.region, t.n_voxels, strict=True)
        }
        ids, counts = np.unique(raster_of(project), return_counts=True)
        assert {int(i): int(n) for i, n in zip(ids, counts, strict=True) if i} == tables
    with Project.open(folder / "P.seedlab") as project:
        assert state_of(project) == before
        assert project.check(deep=True) == []
        project.rebuild()
        project.rebuild_regions(1)
        assert state_of(project) == before
        events, blobs = project.events(), project.path / "blobs"
        raster = {1: project.regions_source(1).path}
    with Project.create_from(folder / "Q.seedlab", events, blobs, raster) as copy:
        assert state_of(copy) == before
        assert [e.hash for e in copy.events()] == [e.hash for e in events]
        assert copy.check() == []


@given(steps=st.lists(st.sampled_from(["label", "bulk", "stroke", "merge", "split"]), min_size=1, max_size=6))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_undoing_everything_gives_the_start_and_redoing_everything_the_end(template, tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("undo")
    shutil.copytree(template, folder / "P.seedlab")
    chance = random.Random(len(steps))
    with Project.open(folder / "P.seedlab") as project:
        start = state_of(project)
        for step in steps:
            one_step(project, step, chance)
        end = state_of(project)
        for _ in steps:
            assert project.undo() is not None
        assert project.undo() is None
        assert {**state_of(project), "history": 0} == {**start, "history": 0}
    with Project.open(folder / "P.seedlab") as project:
        for _ in steps:
            assert project.redo() is not None
        assert project.redo() is None
        assert state_of(project) == end


def test_undo_restores_what_was_said_before_even_nothing(project):
    project.label([1], "labelled", 2, "ann")
    project.label([1, 2], "labelled", 3, "ann")
    project.undo()
    assert project.labels() == {1: Label(1, LabelState.LABELLED, 2)}
    project.undo()
    assert project.labels() == {}


def test_undo_is_an_event_and_redo_undoes_it(project):
    said = project.label([1], "labelled", 2)
    undo = project.undo()
    redo = project.redo()
    assert (undo.kind, undo.payload["undoes"]) == (EventKind.UNDO, said.sequence)
    assert (redo.kind, redo.payload["undoes"]) == (EventKind.UNDO, undo.sequence)
    assert project.labels()[1].class_id == 2
    project.undo()
    assert project.labels() == {}
    project.redo()
    assert project.labels()[1].class_id == 2


def test_a_new_edit_clears_redo(project):
    project.label([1], "labelled", 2)
    project.undo()
    project.label([2], "labelled", 2)
    assert project.redo() is None
    assert [len(part) for part in project.history()] == [1, 0]


def test_bulk_answer_is_one_event_and_one_undo(project):
    before = project.events()[-1].sequence
    project.label(range(1, 17), "labelled", 1)
    assert project.events()[-1].sequence == before + 1
    assert len(project.labels()) == 16
    project.undo()
    assert project.labels() == {}


def test_undo_takes_back_own_edits_only(project):
    project.label([1], "labelled", 1, "first")
    project.label([2], "labelled", 1, "second")
    assert project.undo("first") is None
    assert project.undo("second") is not None
    assert project.undo("second") is None
    assert project.redo("first") is None
    assert project.redo("second") is not None


def test_strokes_come_and_go_with_undo(project):
    project.stroke(1, 0, 2, [[1, 2], [3, 4]], [1, -1], "ann")
    (stroke,) = project.strokes(1)
    assert (stroke.axis, stroke.index) == (0, 2)
    assert stroke.points.tolist() == [[1, 2], [3, 4]] and stroke.points.dtype == np.int32
    assert stroke.classes.tolist() == [1, -1] and stroke.classes.dtype == np.int8
    project.undo()
    assert project.strokes(1) == []
    project.redo()
    assert [s.uuid for s in project.strokes(1)] == [stroke.uuid]


def test_events_chain_and_carry_who_when_and_what_was_before(project):
    project.label([1], "labelled", 2, "ann")
    event = project.label(
        [1, 2], "labelled", 3, "bob", suggestion={2: {"uuid": "u", "inclusion_p": 0.5}}, shown={2: {1: 0.25}}
    )
    assert event.annotator == "bob"
    assert event.payload["before"][0][:2] == ["labelled", 2] and event.payload["before"][1][0] == "none"
    assert event.payload["shown"] == {"2": {"1": 0.25}}
    last = project.events()[-1]
    assert last == event and last.prev_hash == project.events()[-2].hash
    facts = project.label_facts()[2]
    assert facts == {
        "sequence": event.sequence, "annotator": "bob", "utc": event.utc,
        "suggestion": {"uuid": "u", "inclusion_p": 0.5},
    }  # fmt: skip
    assert project.label_facts()[1]["suggestion"] is None


def test_recorded_hash_is_the_one_of_core(project):
    from napari_seedlab.core import event_hash

    project.label([1, 10, 2], "labelled", 2, "Zoë\n'\"", suggestion={10: {"p": 1e-7}, 2: {"p": 1.0}})
    for e in project.events():
        assert e.hash == event_hash(e.sequence, e.uuid, e.utc, e.annotator, e.kind, e.payload, e.prev_hash)


def test_unequal_answers_are_one_event_and_one_undo(project):
    project.label([2], "labelled", 4)
    before, n = state_of(project), len(project.events())
    event = project.label_many([([1, 2], "labelled", 1), ([3], "unsure", 0)], "ann")
    assert len(project.events()) == n + 1 and project.check(deep=True) == []
    labels = {1: Label(1, LabelState.LABELLED, 1), 2: Label(2, LabelState.LABELLED, 1)}
    assert project.labels() == {**labels, 3: Label(3, LabelState.UNSURE)}
    assert {f["sequence"] for f in project.label_facts().values()} == {event.sequence}
    project.undo()
    assert project.labels() == before["labels"]
    project.redo()
    assert project.labels()[3] == Label(3, LabelState.UNSURE)


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ([([1], "labelled", 1), ([99], "labelled", 2)], "seed 99"),
        ([([1], "labelled", 1), ([2], "labelled", 9)], "class 9"),
        ([([1], "labelled", 1), ([1], "unsure", 0)], "seed 1: has two answers"),
        ([], "no seed"),
    ],
)
def test_one_wrong_answer_refuses_them_all(project, answers, cause):
    before = state_of(project)
    with pytest.raises(InputError, match=cause):
        project.label_many(answers)
    assert state_of(project) == before


def test_two_answers_about_merged_seeds_are_refused_unless_equal(project):
    table = project.regions(1)
    merge(project, 1, int(table.region[4]), int(table.region[5]))
    with pytest.raises(InputError, match="seed 5: has two answers"):
        project.label_many([([5], "labelled", 1), ([6], "labelled", 2)])
    project.label_many([([5, 6], "labelled", 1)])
    assert project.labels() == {5: Label(5, LabelState.LABELLED, 1)}
