"""Tables about seeds in a session: lots hold seeds together, nothing is a label, exports keep it."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from napari_seedlab.core import SeedlabError
from napari_seedlab.io import read_export
from napari_seedlab.session import making
from napari_seedlab.session.metadata import scan_names
from tests.jobs.tools import until
from tests.session.conftest import is_hollow, settle


@pytest.fixture
def table(tmp_path, split_session):
    """A table of all seeds in three lots, one row of another project's."""
    seeds = sorted(split_session.seeds)
    rows = [f"{s};L{s // 3 % 3};{'heat' if s % 2 else 'none'};{s},5" for s in seeds]
    path = tmp_path / "seeds.csv"
    path.write_text("\ufeffseed;lot;treatment;mg\n" + "\n".join([*rows, "999;L1;heat;1"]) + "\n")
    return path


def test_a_table_is_told_kept_and_taken_back(split_session, table, make_session):
    session, said, changes = split_session, [], []
    session.message.connect(lambda level, text: said.append((level, text)))
    session.metadata.changed.connect(lambda: changes.append(len(session.metadata.columns)))
    values = session.metadata.add_table(table).wait(60)
    assert values["seeds"] == len(session.seeds) and values["left_out"] == 1 and values["lot"] == "lot"
    assert ("success", f"seeds.csv tells of {len(session.seeds)} seeds: lot, treatment, mg.") in said
    rows = len(session.seeds) + 1
    line = f"seeds.csv: 1 of {rows} rows are left out: 1 of no seed of this project (first row {rows + 1})."
    assert ("warning", line) in said
    assert session.labels == {} and session.seeds[4].lot == "L1"
    assert session.metadata.of(4) == {"treatment": "none", "mg": "4.5"}
    seeds, mg = session.metadata.values("mg")
    assert mg.dtype == np.float64 and dict(zip(seeds.tolist(), mg.tolist(), strict=True))[5] == 5.5
    assert session.metadata.values("treatment")[1].dtype.kind == "U"
    session.undo().wait(60)
    assert session.metadata.columns == {} and session.seeds[4].lot == "" and changes == [2, 0]
    session.redo().wait(60)
    path = session.path
    session.close()
    again = make_session(path)
    assert again.metadata.of(4) == {"treatment": "none", "mg": "4.5"} and again.seeds[4].lot == "L1"


def test_what_cannot_be_added_is_one_line_and_changes_nothing(split_session, make_session, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("seed,lot\n999,A\n")
    with pytest.raises(SeedlabError, match="tells nothing of a seed here"):
        split_session.metadata.add_table(bad).wait(60)
    assert split_session.metadata.columns == {}
    empty = make_session(tmp_path / "empty.seedlab")
    with pytest.raises(SeedlabError, match="Open a scan and split it first"):
        empty.metadata.add_table(bad).wait(60)


def test_errors_of_a_spreadsheet_are_told(split_session, tmp_path):
    path, said = tmp_path / "t.csv", []
    path.write_text("seed,lot,mg\n1,#1,2\n2,#2,#DIV/0!\n")
    split_session.message.connect(lambda level, text: said.append((level, text)))
    assert split_session.metadata.add_table(path).wait(60)["errors"] == 1
    assert [split_session.seeds[s].lot for s in (1, 2)] == ["#1", "#2"]
    line = "t.csv: 1 cell holds an error of the spreadsheet, such as #N/A, and counts as empty."
    assert ("warning", line) in said


def test_a_merged_seed_shows_at_once_what_was_known_of_the_other(split_session, tmp_path):
    session, path, changes = split_session, tmp_path / "t.csv", []
    a, b = sorted(session.seeds)[:2]
    path.write_text(f"seed,lot,treatment\n{b},L1,heat\n")
    session.metadata.add_table(path).wait(60)
    session.metadata.changed.connect(lambda: changes.append(1))
    session.merge([a, b]).wait(60)
    assert session.seeds[a].lot == "L1" and session.metadata.of(a) == {"treatment": "heat"} and changes == [1]
    session.undo().wait(60)
    assert session.seeds[a].lot == "" and session.metadata.of(a) == {}


def test_a_scan_called_like_the_number_of_another_is_not_guessed():
    def scan(name):
        return SimpleNamespace(facts=SimpleNamespace(name=name))

    scans = {1: scan("2"), 2: scan("Tray"), 3: scan("3"), 4: scan("twin"), 5: scan("Twin"), 6: scan("70")}
    names = scan_names(SimpleNamespace(scans=scans))
    assert {n: names[n] for n in ("1", "2", "tray", "3", "twin", "70")} == {
        "1": 1, "2": 0, "tray": 2, "3": 3, "twin": 0, "70": 6,
    }  # fmt: skip


def test_folds_and_figures_go_by_lot(split_session, table):
    session = split_session
    for hollow in (False, True):
        for seed in [s for s in session.seeds if is_hollow(session, s) is np.bool_(hollow)][:6]:
            session.answer(1 + hollow, [seed])
    assert session.figures.ask().wait(60)["folds"]["by"] == "seed"
    session.follow_up = True
    session.metadata.add_table(table).wait(60)
    until(lambda: session.figures.of().values["folds"]["by"] == "lot")
    assert session.figures.of().values["folds"]["held_out"] is not None
    settle(session)


def test_an_export_holds_it_and_makes_the_same_project(split_session, table, make_session, tmp_path):
    session = split_session
    table.write_text(table.read_text().replace("treatment", "class"))
    session.metadata.add_table(table).wait(60)
    session.export(tmp_path / "out").wait(60)
    with open(tmp_path / "out" / "labels.csv", encoding="utf-8", newline="") as stream:
        rows = {int(row["seed"]): row for row in csv.DictReader(stream)}
    assert rows[4]["lot"] == "L1" and rows[4]["mg"] == "4.5"
    assert rows[4]["class (table)"] == "none" and rows[4]["class"] == ""
    export = read_export(tmp_path / "out")
    assert export.metadata == session.metadata.columns and export.seeds[4].lot == "L1"
    making.new_project(tmp_path / "Q.seedlab", tmp_path / "out")
    again = make_session(tmp_path / "Q.seedlab")
    assert again.metadata.columns == session.metadata.columns and again.seeds == session.seeds
    again.export(tmp_path / "out2").wait(60)
    for name in ("labels.csv", "columns.csv", "project.json", "events.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "out2" / name).read_bytes()
