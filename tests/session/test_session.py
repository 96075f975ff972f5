"""The main path through a session: open, split, ask, answer, learn, take back, reopen."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from napari_seedlab.core import InputError, LabelState, NotReady, ProjectError, ProjectLocked, SeedlabError
from napari_seedlab.session import Session
from tests.session.conftest import GRID, is_hollow, settle

N = GRID * GRID


def answer_truthfully(session, n):
    for _ in range(n):
        if session.current_seed is None:
            session.draw().wait(60)
        session.answer(2 if is_hollow(session, session.current_seed) else 1)
    settle(session)


def test_a_session_needs_no_window_and_no_torch():
    heavy = ("torch", "sklearn", "umap", "qtpy", "napari", "zarr", "dask", "sqlalchemy")
    code = f"import sys, napari_seedlab.session; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_scan_and_seeds(split_session):
    assert split_session.scans[1].facts.shape == (20, 80, 80)
    assert len(split_session.regions(1)) == N
    assert len(split_session.embeddings["ct"].seeds) == N


def test_suggestions_carry_a_reason_and_a_chance(split_session):
    drawn = split_session.draw(6).wait(60)["suggestions"]
    assert len({s.seed for s in drawn}) == 6
    assert all(s.reason and 0 < s.inclusion_p <= 1 for s in drawn)
    assert split_session.current_seed == drawn[0].seed


def test_answers_are_learned_and_all_seeds_predicted(split_session):
    answer_truthfully(split_session, 12)
    split_session.train("head").wait(60)
    shown = split_session.predictions
    right = [
        (b == 2) == is_hollow(split_session, int(s)) for s, b in zip(shown.seeds, shown.best, strict=True)
    ]
    assert len(right) == N and np.mean(right) > 0.9


def test_the_tick_comes_after_the_commit(split_session):
    split_session.draw().wait(60)
    seen = []
    split_session.saved.connect(lambda event: seen.append(split_session.labelling.pending))
    held = threading.Event()
    split_session.desk.do(lambda project: held.wait(30))  # the commit has to wait
    seed = split_session.current_seed
    split_session.answer(1)
    assert split_session.label(seed).class_id == 1 and split_session.labelling.pending == 1 and not seen
    held.set()
    settle(split_session)
    assert seen == [0] and split_session.labelling.pending == 0


def test_an_answer_stores_why_it_was_asked(split_session):
    split_session.draw().wait(60)
    asked = split_session.current
    split_session.answer(2)
    settle(split_session)
    fact = split_session.facts[asked.seed]["suggestion"]
    assert (fact["uuid"], fact["reason"], fact["inclusion_p"]) == (
        asked.uuid,
        asked.reason,
        asked.inclusion_p,
    )


@pytest.mark.parametrize(
    ("said", "state"),
    [("unsure", LabelState.UNSURE), ("not_whole", LabelState.NOT_WHOLE), (None, LabelState.NONE)],
)
def test_other_answers_are_not_trained_on(split_session, said, state):
    split_session.draw().wait(60)
    seed = split_session.current_seed
    split_session.answer(1, [seed])
    split_session.answer(said, [seed])
    settle(split_session)
    assert split_session.label(seed).state is state and sum(split_session.counts().values()) == 0


def test_undo_and_redo_survive_a_restart(split_session, make_session):
    seeds = split_session.regions(1).seed[:3].tolist()
    split_session.answer(3, seeds)
    path = split_session.path
    split_session.close()
    again = make_session(path)
    assert again.undo().wait(60)["what"] == "label"
    assert [again.label(s).state for s in seeds] == [LabelState.NONE] * 3
    assert again.redo().wait(60)["what"] == "label"
    assert [again.label(s).class_id for s in seeds] == [3] * 3


def test_what_is_taken_back_at_once_is_told_apart_also_from_an_answer_in_between(split_session):
    a, b, c = split_session.regions(1).seed[:3].tolist()
    split_session.answer(1, [a])
    split_session.answer(2, [a, b])
    first, second = split_session.undo(), split_session.undo()
    split_session.answer(3, [c])
    assert (first.wait(60)["seeds"], second.wait(60)["seeds"]) == ([a, b], [a])
    assert split_session.undo().wait(60)["seeds"] == [c]
    assert split_session.undo().wait(60) == {"event": None, "seeds": []}


def test_the_same_place_in_the_queue_after_a_restart(split_session, make_session):
    split_session.draw().wait(60)
    split_session.answer(1)
    split_session.skip()
    queue, seed, path = split_session.queue, split_session.current_seed, split_session.path
    split_session.close()
    again = make_session(path)
    assert (again.queue, again.current_seed) == (queue, seed)


def test_a_second_session_reads_only_and_says_who_writes(split_session):
    with pytest.raises(ProjectLocked):
        Session.open(split_session.path)
    with Session.open(split_session.path, read_only=True) as second:
        assert second.read_only and second.holder is not None and len(second.regions(1)) == N
        with pytest.raises(ProjectError, match="read-only"):
            second.answer(1, [1])


def test_a_failed_commit_blocks_further_answers(split_session, monkeypatch):
    def full(*args, **kwargs):
        raise ProjectError("p", "the disk is full", "Free some space")

    project = split_session.desk.do(lambda p: p).result()
    monkeypatch.setattr(project, "label", full)
    seed = int(split_session.regions(1).seed[0])
    split_session.answer(1, [seed])
    settle(split_session)
    assert split_session.label(seed).state is LabelState.NONE
    with pytest.raises(ProjectError, match="not saved"):
        split_session.answer(1, [seed])


def test_repairs_keep_seeds_and_can_be_taken_back(split_session):
    a, b = (int(s) for s in split_session.regions(1).seed[:2])
    split_session.answer(1, [a])
    split_session.merge([a, b]).wait(60)
    assert len(split_session.regions(1)) == N - 1 and split_session.seeds[b].alias_of == a
    assert split_session.undo().wait(60)["what"] == "merge"
    assert len(split_session.regions(1)) == N and split_session.label(a).class_id == 1
    table = split_session.regions(1)
    row = table.row_of_seed(a)
    z, y, x = table.centroid[row]
    split_session.split_seed(a, [(z, y - 4, x), (z, y + 4, x)]).wait(60)
    assert len(split_session.regions(1)) == N + 1
    split_session.delete([a]).wait(60)
    assert split_session.seeds[a].archived and split_session.label(a).class_id == 1


def test_a_new_split_keeps_identity_and_labels(split_session):
    seeds = split_session.regions(1).seed.tolist()
    split_session.answer(2, seeds[:4])
    split_session.split(1, {"threshold": 70.0}).wait(60)
    assert sorted(split_session.regions(1).seed.tolist()) == sorted(seeds)
    assert [split_session.label(s).class_id for s in seeds[:4]] == [2] * 4


def test_only_edited_seeds_are_embedded_again(split_session):
    a, b = (int(s) for s in split_session.regions(1).seed[:2])
    split_session.merge([a, b]).wait(60)
    assert split_session.embed().wait(60)["n_new"] == 1


def test_a_stroke_becomes_a_predicted_slice(split_session):
    got = threading.Event()
    split_session.slice_predicted.connect(lambda *args: got.set(), check_nargs=False)
    rows = np.arange(6, 11)
    split_session.stroke(1, 0, 10, np.stack([np.full(5, 24), 24 + rows - 8], 1), 2)
    split_session.stroke(1, 0, 10, np.stack([rows, np.full(5, 1)], 1), 0)
    assert got.wait(60)
    settle(split_session)
    assert split_session.predict_slice(1, 0, 10).wait(60)["scan"] == 1
    scan, axis, index, classes = split_session.strokes.predicted
    assert (scan, axis, index, classes.shape) == (1, 0, 10, (80, 80))
    assert classes[24, 24] == 2 and classes[0, 0] == 0


def test_export_and_rebuild_are_loss_free(split_session, tmp_path):
    from napari_seedlab.session import making

    answer_truthfully(split_session, 6)
    split_session.export(tmp_path / "a").wait(120)
    making.new_project(tmp_path / "again.seedlab", tmp_path / "a")
    with Session.open(tmp_path / "again.seedlab") as again:
        assert again.labels == split_session.labels
        again.export(tmp_path / "b").wait(120)
    for name in ("events.csv", "events.jsonl", "columns.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_blocks_training_is_said(make_session, tray):
    session = make_session()
    with pytest.raises(NotReady, match="open a scan"):
        session.train("head")
    session.import_scan(tray).wait(60)
    with pytest.raises(NotReady, match="split the scan"):
        session.train("net")


def test_bad_input_is_one_line_and_changes_nothing(make_session, tmp_path):
    session = make_session()
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"not a picture")
    said = []
    session.message.connect(lambda level, text: said.append((level, text)))
    with pytest.raises(SeedlabError, match=r"bad\.tif"):
        session.import_scan(bad).wait(60)
    assert not session.scans and [level for level, _ in said] == ["error"] and "\n" not in said[0][1]


def test_unknown_seeds_and_classes_are_refused(split_session):
    with pytest.raises(InputError, match="seed 999"):
        split_session.answer(1, [999])
    with pytest.raises(InputError, match="class 9"):
        split_session.answer(9, [1])


def test_any_failure_to_save_is_told_and_the_saved_answers_stay(split_session, monkeypatch):
    project = split_session.desk.do(lambda p: p).result()
    first, second, third = (int(s) for s in split_session.regions(1).seed[:3])
    split_session.answer(1, [first])
    settle(split_session)
    held = threading.Event()
    split_session.desk.do(lambda p: held.wait(30))
    monkeypatch.setattr(project, "label", lambda *a, **k: 1 / 0)
    split_session.answer(2, [second])
    split_session.answer(2, [third])  # queued behind the one that fails
    held.set()
    settle(split_session)
    states = [split_session.label(s).state for s in (first, second, third)]
    assert states == [LabelState.LABELLED, LabelState.NONE, LabelState.NONE]
    assert split_session.labelling.pending == 0 and split_session.labelling.failed
    for blocked in (split_session.undo, lambda: split_session.stroke(1, 0, 0, [[1, 1]], 1)):
        with pytest.raises(ProjectError, match="not saved"):
            blocked()


def test_an_answer_about_no_seed_is_refused(split_session):
    with pytest.raises(NotReady, match="no seed"):
        split_session.answer(1, [])
    assert split_session.labelling.pending == 0


def test_vectors_follow_a_repair_and_its_undo(split_session):
    a, b = (int(s) for s in split_session.regions(1).seed[:2])
    before = split_session.embeddings["ct"]
    split_session.merge([a, b]).wait(60)
    split_session.embed().wait(60)
    assert b not in split_session.embeddings["ct"].row
    split_session.undo().wait(60)
    split_session.embed().wait(60)
    after = split_session.embeddings["ct"]
    assert np.array_equal(after.seeds, before.seeds) and np.allclose(after.vectors, before.vectors)


def test_a_head_is_named_after_its_data(split_session):
    seeds = split_session.regions(1).seed[:6].tolist()
    names = []
    for said in ((1, 2), (2, 1), (1, 3)):
        split_session.answer(said[0], seeds[:3])
        split_session.answer(said[1], seeds[3:])
        settle(split_session)
        split_session.draw().wait(60)
        names.append(split_session.predictions.model_id)
    assert len(set(names)) == 3


def test_a_damaged_place_does_not_keep_a_project_from_opening(split_session, make_session):
    path = split_session.path
    split_session.desk.do(lambda project: project.set_state("place", {"queue": [{"odd": 1}]})).result()
    split_session.close()
    assert make_session(path).queue == ()


def test_seeds_far_apart_are_not_merged(split_session):
    seeds = split_session.regions(1).seed
    with pytest.raises(InputError, match="do not touch"):
        split_session.merge([int(seeds[0]), int(seeds[-1])])


def test_a_split_that_finds_nothing_changes_nothing(split_session):
    seeds = split_session.regions(1).seed.tolist()
    with pytest.raises(InputError, match="finds no seed at grey value 99999"):
        split_session.split(1, {"threshold": 99999.0}).wait(60)
    assert split_session.regions(1).seed.tolist() == seeds


def test_one_class_alone_predicts_nothing(split_session):
    split_session.answer(1, split_session.regions(1).seed[:3].tolist())
    settle(split_session)
    split_session.draw().wait(60)
    assert split_session.predictions is None


def test_an_export_into_the_project_is_refused(split_session):
    with pytest.raises(InputError, match="inside the project"):
        split_session.export(split_session.path / "out")
