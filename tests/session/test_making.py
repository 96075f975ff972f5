"""Rebuilding a project from its export, exporting beside a writer, labels from a table."""

import csv
import json
import shutil

import numpy as np
import pytest
import tifffile

from napari_seedlab.core import InputError, Label, LabelState, ProjectDamaged, ProjectError
from napari_seedlab.files import open_array
from napari_seedlab.session import making
from tests.jobs.tools import request
from tests.session.conftest import is_hollow, settle, small_tray

SAME = ("labels.csv", "regions.csv", "events.csv", "events.jsonl", "columns.csv", "project.json")


def rows(path):
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_labels(path, pairs):
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows([("seed", "class"), *pairs])
    return path


def label_by_truth(session, n=8):
    for seed in session.seeds_of(session.pool)[:n]:
        session.answer(2 if is_hollow(session, seed) else 1, [seed])
    settle(session)


def seen_by(session):
    """What comes back besides the journal."""
    predicted = session.predictions_of("ct")
    odd = session.anomalies["ct"]
    return {
        "queue": session.queue,
        "current": session.current_seed,
        "p": (predicted.model_id, predicted.seeds.tolist(), predicted.p.tolist()),
        "odd": (odd.model_id, odd.seeds.tolist(), odd.score.tolist(), odd.scale),
        "map": session.layouts["ct"].xy.tolist(),
        "vectors": session.embeddings["ct"].vectors.tolist(),
        "models": [card.id for card in session.models],
    }


@pytest.fixture
def copied_tray(tmp_path):
    """A compressed scan, which the project decodes into a copy of its own."""
    tifffile.imwrite(tmp_path / "tray.tif", small_tray()[0], compression="zlib")
    return tmp_path / "tray.tif"


def test_a_rebuilt_project_exports_the_same(make_session, copied_tray, tmp_path):
    session = make_session()
    session.import_scan(copied_tray).wait(60)
    session.split().wait(60)
    session.embed().wait(60)
    session.make_map("pca").wait(60)
    label_by_truth(session)
    session.draw(6).wait(60)
    settle(session)
    seeds = np.asarray(session.seeds_of("ct"))

    def score(project):  # as the training of an anomaly network leaves it
        project.put_arrays(
            "anomaly-ct", seed=seeds, score=np.linspace(0, 1, len(seeds), dtype="f4"),
            scale=np.asarray([0.0, 1.0]), model=np.asarray("fcdd-1"),
        )  # fmt: skip

    session.desk.do(score).result()
    session.close()
    session = make_session()
    before = seen_by(session)
    assert before["queue"] and before["models"]
    session.export(tmp_path / "out").wait(60)
    session.close()
    copied_tray.unlink()

    made = making.new_project(tmp_path / "q.seedlab", tmp_path / "out")
    assert made["notes"] == []
    assert making.check_project(tmp_path / "q.seedlab")["ok"]
    again = make_session(tmp_path / "q.seedlab")
    assert seen_by(again) == before
    np.testing.assert_array_equal(open_array(again.scan_source(1))[...], small_tray()[0])
    again.export(tmp_path / "out2").wait(60)
    for name in SAME:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "out2" / name).read_bytes(), name
    first = rows(tmp_path / "out2" / "labels.csv")
    assert any(r["anomaly_score"] for r in first) and any(r["asked_reason"] for r in first)
    assert all(r["model"] for r in first)
    shutil.rmtree(tmp_path / "p.seedlab")
    again.split().wait(60)  # from the copy alone


def test_a_missing_linked_file_is_a_note(make_session, tray, tmp_path):
    session = make_session()
    session.import_scan(tray).wait(60)
    session.export(tmp_path / "out").wait(60)
    tray.unlink()
    made = making.new_project(tmp_path / "q.seedlab", tmp_path / "out")
    (line,) = made["notes"]
    assert "tray.tif" in line and "\n" not in line
    assert make_session(tmp_path / "q.seedlab").scans[1].facts.source_path == str(tray)


def test_all_pools_are_exported_and_predicted(split_session, tmp_path):
    session = split_session
    label_by_truth(session)
    session.draw(n=0).wait(60)
    tifffile.imwrite(tmp_path / "flat.tif", small_tray()[0][10])
    flat = session.import_scan(tmp_path / "flat.tif", "image").wait(60)["scan"]
    session.split(flat).wait(60)
    session.show_scan(flat)
    session.embed().wait(60)
    for i, seed in enumerate(session.seeds_of("image")[:6]):
        session.answer(1 + i % 2, [seed])
    settle(session)
    session.draw(n=0).wait(60)
    expected = {s: session.predictions_of(p).model_id for p in ("ct", "image") for s in session.seeds_of(p)}
    assert len(set(expected.values())) == 2

    session.export(tmp_path / "out").wait(60)
    assert {int(r["seed"]): r["model"] for r in rows(tmp_path / "out" / "labels.csv")} == expected
    written = making.write_predictions(session, tmp_path / "p.csv")
    assert {int(r["seed"]): r["model"] for r in rows(tmp_path / "p.csv")} == expected
    assert written["rows"] == len(expected)
    only = making.write_predictions(session, tmp_path / "p.csv", "ct")
    assert only["rows"] == len(session.seeds_of("ct"))


def test_a_read_only_window_exports_and_writes_nothing(split_session, make_session, tmp_path):
    path = tmp_path / "p.seedlab"
    reader = make_session(path, read_only=True)
    before = sorted(path.rglob("*"))
    reader.export(tmp_path / "out").wait(60)
    assert sorted(path.rglob("*")) == before
    assert len(rows(tmp_path / "out" / "labels.csv")) == len(split_session.seeds)


def test_an_export_does_not_wait_for_a_training(split_session, tmp_path):
    endless = request("1", "count", "background", n=10**6, pace=0.01)
    split_session.desk.runner.submit(endless, tmp_path / "1")
    split_session.export(tmp_path / "out").wait(20)
    assert (tmp_path / "out" / "labels.csv").exists()


def test_an_export_does_not_follow_repairs(split_session, tmp_path):
    session = split_session
    seeds = session.seeds_of("ct")
    folder = tmp_path / "job"
    folder.mkdir()
    snapshot = session.desk.do(lambda project: making._snapshot(session, project, folder)).result()
    expected = open_array(session.regions_source(1))[...]
    session.merge(seeds[:2]).wait(60)
    assert (open_array(session.regions_source(1))[...] != expected).any()
    np.testing.assert_array_equal(open_array(snapshot.regions_sources[1])[...], expected)


def test_what_a_check_finds_gives_one_advice(split_session):
    split_session.close()
    path = split_session.path
    for tree in (path / "regions").glob("*.zarr"):
        shutil.rmtree(tree)
    (path / "state.json").write_text("{")
    with pytest.raises(ProjectDamaged, match=r"p.seedlab: 2 problems, the first is \S+: ") as caught:
        making.check_project(path)
    line = str(caught.value)
    assert line.count(". ") == 1 and line.endswith(".") and ".." not in line


# -- labels from a table -------------------------------------------------------------------------------
def test_the_exported_labels_are_taken_back_after_repairs(split_session, tmp_path):
    session = split_session
    label_by_truth(session)
    seeds = session.seeds_of("ct")
    session.delete([seeds[0]]).wait(60)  # archived, with its label
    session.merge(seeds[10:12]).wait(60)  # an alias without one
    session.answer("unsure", [seeds[8]])
    settle(session)
    session.export(tmp_path / "out").wait(60)
    before = dict(session.labels)
    session.answer(3, seeds[:9])
    settle(session)
    making.label_from_table(session, tmp_path / "out" / "labels.csv")
    assert dict(session.labels) == before


def test_a_table_is_one_event_and_one_undo(split_session, tmp_path):
    session = split_session
    a, b, c = session.seeds_of("ct")[:3]
    table = write_labels(tmp_path / "l.csv", [(a, "normal"), (b, "dead"), (c, "unsure")])
    told = []
    session.saved.connect(told.append)
    values = making.label_from_table(session, table)
    assert values["labels"] == 3 and values["counts"]["1"] == values["counts"]["3"] == 1
    assert session.label(c) == Label(c, LabelState.UNSURE) and len(told) == 1
    session.undo().wait(60)
    assert not any(x.state is not LabelState.NONE for x in session.labels.values())


def test_a_table_with_two_answers_about_one_grain_is_refused_whole(split_session, tmp_path):
    session = split_session
    a, b, c = session.seeds_of("ct")[:3]
    session.merge([a, b]).wait(60)
    table = write_labels(tmp_path / "l.csv", [(a, "normal"), (b, "dead"), (c, "normal")])
    with pytest.raises(InputError, match="two answers"):
        making.label_from_table(session, table)
    assert session.labels == {}


def test_a_table_is_refused_where_nothing_may_be_written(split_session, make_session, tmp_path):
    reader = make_session(tmp_path / "p.seedlab", read_only=True)
    table = write_labels(tmp_path / "l.csv", [(1, "normal")])
    with pytest.raises(ProjectError, match="read-only"):
        making.label_from_table(reader, table)


def test_a_table_with_places_counts_by_what_lies_there(split_session, tmp_path):
    session = split_session
    table = session.regions(1)
    rows = [(table.seed[-1 - i], "normal", *table.centroid[i]) for i in range(4)]  # ids of something else
    path = tmp_path / "truth.csv"

    def write(*more):
        with open(path, "w", newline="") as stream:
            csv.writer(stream).writerows([("seed", "class", "z", "y", "x"), *rows, *more])

    write((3, "dead", 0, 0, 0))
    with pytest.raises(InputError, match="1 of 5 rows lie on no seed of the current scan, first row 6"):
        making.label_from_table(session, path)
    assert session.labels == {}
    write()
    assert making.label_from_table(session, path)["labels"] == 4
    assert set(session.labels) == set(table.seed[:4].tolist())


def test_an_empty_table_says_so(split_session, tmp_path):
    with pytest.raises(InputError, match="no row with a class"):
        making.label_from_table(split_session, write_labels(tmp_path / "l.csv", [(1, "")]))


def test_a_malformed_export_is_one_line(make_session, tray, tmp_path):
    from napari_seedlab.core import event_hash
    from napari_seedlab.files import file_hash

    session = make_session()
    session.import_scan(tray).wait(60)
    session.export(tmp_path / "out").wait(60)
    path = tmp_path / "out" / "events.jsonl"
    lines, before = [], "0" * 64
    for event in map(json.loads, path.read_text().splitlines()):
        if event["kind"] == "scan":
            del event["payload"]["source"]
        names = ("sequence", "uuid", "utc", "annotator", "kind", "payload")
        own = event_hash(*(event[n] for n in names), before)
        lines.append(json.dumps(event | {"prev_hash": before, "hash": own}))
        before = own
    path.write_text("\n".join(lines) + "\n")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    manifest["files"]["events.jsonl"] = {"sha256": file_hash(path), "bytes": path.stat().st_size}
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ProjectError, match="KeyError") as caught:
        making.new_project(tmp_path / "q.seedlab", tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "q.seedlab").exists()


# -- files for folders, folders for files --------------------------------------------------------------
@pytest.mark.parametrize("place", ["mine.txt", "mine.txt/new"])
def test_a_file_is_no_place_for_a_project_or_an_export(make_session, place, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    line = "^mine.txt: is a file, not a folder. "
    session = make_session()
    with pytest.raises(InputError, match=line + "Name a new project folder"):
        making.new_project(tmp_path / place)
    with pytest.raises(InputError, match=line + "Choose the exported folder"):
        making.new_project(tmp_path / "q", tmp_path / place)
    with pytest.raises(InputError, match=line + "Choose a new folder"):
        session.export(tmp_path / place).wait(60)
    assert (tmp_path / "mine.txt").read_text() == "mine" and not (tmp_path / "q").exists()


def test_a_folder_is_no_table(split_session, tmp_path):
    (tmp_path / "tables").mkdir()
    with pytest.raises(InputError, match=r"^tables: is a folder, not a file"):
        making.label_from_table(split_session, tmp_path / "tables")
    with pytest.raises(InputError, match=r"^tables: is a folder, not a file"):
        making.write_predictions(split_session, tmp_path / "tables")
